//! Batches that are still being filled.
//!
//! Records stand in one batch if they have the same settings and their requests the same headers. A batch is closed by
//! whoever owns this ([`super::engine`]): when it is full, when its time is over, or when there is no room for more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::flight::Member;
use crate::config::model::Batching;
use crate::format::Framing;
use crate::policy::table::ProfileId;
use crate::time::Time;

/// Batches that are filled at the same time. Namespace and set can be part of what tells them apart, and those come from
/// outside: without it each new set name would hold memory for as long as a batch waits.
pub const MAX_OPEN: usize = 1024;

/// A batch that has so many bytes is closed, whatever the configuration says: its body is one allocation.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

/// A new batch reserves what the one before it had, up to this.
const MAX_RESERVE: usize = 1 << 20;

/// How records with one profile are batched.
#[derive(Debug)]
pub struct Rule {
    /// As configured.
    pub batching: Batching,
    /// Layout of the body.
    pub framing: Framing,
    /// Records of different namespaces stand in different batches, since a header says which it is.
    pub by_namespace: bool,
    /// The same for sets.
    pub by_set: bool,
    /// The same for writes and deletes.
    pub by_operation: bool,
    /// A batch is closed so long after its oldest record came, however long it may still wait for others: what is left
    /// of the record's deadline is for the request.
    pub longest_wait: Duration,
}

/// One batch.
#[derive(Debug)]
pub struct OpenBatch {
    /// The settings of its records.
    pub profile: ProfileId,
    /// Its records.
    pub members: Vec<Member>,
    /// Where each record ends in `data`, its separator not included.
    pub ends: Vec<usize>,
    /// Room for the body's prefix, then the records with their separators.
    pub data: Vec<u8>,
    /// Values of the destinations' variable headers.
    pub heads: Vec<u8>,
    /// When it is closed at the latest.
    pub close_at: Time,
    /// Bytes charged for `data`.
    pub charged: u64,
}

/// All batches of one executor.
#[derive(Debug, Default)]
pub struct OpenBatches {
    /// In an order that does not differ from run to run, for the simulation.
    by_key: BTreeMap<Vec<u8>, OpenBatch>,
    /// The key of the record that is being looked at.
    key: Vec<u8>,
    /// No batch has to be closed before this.
    next_close: Option<Time>,
    /// Bytes of the batch that was closed last.
    last_bytes: usize,
}

impl OpenBatches {
    /// Says which batch the next calls are about.
    pub fn select(&mut self, profile: ProfileId, parts: [Option<&[u8]>; 3]) {
        self.key.clear();
        self.key.extend_from_slice(&profile.index().to_le_bytes());
        for part in parts.into_iter().flatten() {
            self.key.extend_from_slice(&part.len().to_le_bytes());
            self.key.extend_from_slice(part);
        }
    }

    /// Whether the selected batch is there.
    pub fn is_open(&self) -> bool {
        self.by_key.contains_key(self.key.as_slice())
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds a record to the selected batch, which is opened if it is not there.
    pub fn add(&mut self, rule: &Rule, profile: ProfileId, member: Member, body: &[u8], heads: &[u8], now: Time) {
        let latest = member.arrived + rule.longest_wait;
        if !self.is_open() {
            let mut data =
                Vec::with_capacity(self.last_bytes.min(MAX_RESERVE).max(rule.framing.room() + body.len() + 1));
            data.resize(rule.framing.room(), 0);
            let batch = OpenBatch {
                profile,
                members: Vec::new(),
                ends: Vec::new(),
                data,
                heads: heads.to_vec(),
                close_at: latest.min(now + rule.batching.interval),
                charged: 0,
            };
            self.by_key.insert(self.key.clone(), batch);
        }
        let Some(batch) = self.by_key.get_mut(self.key.as_slice()) else { return };
        batch.data.extend_from_slice(body);
        batch.ends.push(batch.data.len());
        rule.framing.separate(&mut batch.data);
        batch.members.push(member);
        // A record that had to wait for room is older than those before it.
        batch.close_at = batch.close_at.min(latest);
        self.next_close = Some(self.next_close.map_or(batch.close_at, |next| next.min(batch.close_at)));
    }

    /// The selected batch.
    pub fn selected(&mut self) -> Option<&mut OpenBatch> {
        self.by_key.get_mut(self.key.as_slice())
    }

    /// Takes the selected batch out, to be closed.
    pub fn take_selected(&mut self) -> Option<OpenBatch> {
        let batch = self.by_key.remove(self.key.as_slice());
        self.note(batch)
    }

    /// Takes a batch out that has to be closed by `now`.
    pub fn take_due(&mut self, now: Time) -> Option<OpenBatch> {
        if self.next_close.is_none_or(|next| next > now) {
            return None;
        }
        let key = self.by_key.iter().find(|(_, batch)| batch.close_at <= now).map(|(key, _)| key.clone());
        match key.and_then(|key| self.by_key.remove(&key)) {
            Some(batch) => self.note(Some(batch)),
            None => {
                self.next_close = self.by_key.values().map(|batch| batch.close_at).min();
                None
            }
        }
    }

    /// Takes any batch out.
    pub fn take_any(&mut self) -> Option<OpenBatch> {
        let key = self.by_key.iter().min_by_key(|(_, batch)| batch.close_at).map(|(key, _)| key.clone());
        let batch = key.and_then(|key| self.by_key.remove(&key));
        self.note(batch)
    }

    fn note(&mut self, batch: Option<OpenBatch>) -> Option<OpenBatch> {
        if let Some(batch) = &batch {
            self.last_bytes = batch.data.len();
        }
        batch
    }
}

impl OpenBatch {
    /// Whether nothing more may be added (`batching.max-records`, `batching.max-bytes`).
    pub fn is_full(&self, rule: &Rule) -> bool {
        let bytes = self.data.len().saturating_sub(rule.framing.room());
        self.members.len() as u64 >= u64::from(rule.batching.max_records)
            || bytes as u64 >= rule.batching.max_bytes
            || bytes >= MAX_BATCH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::UNNAMED;
    use super::super::table::Key;
    use super::*;
    use crate::config::model::{BatchBody, Rules};
    use crate::policy::table::ProfileTable;

    #[test]
    fn a_batch_closes_early_enough_for_its_oldest_record_whenever_that_joins() {
        let batching = Batching {
            enabled: true,
            max_bytes: 1 << 20,
            max_records: 9,
            interval: Duration::from_secs(60),
            body: BatchBody::Array,
        };
        let rule = Rule {
            batching,
            framing: Framing::JsonArray,
            by_namespace: false,
            by_set: false,
            by_operation: false,
            longest_wait: Duration::from_secs(3),
        };
        let profile = ProfileTable::new(&Rules::default()).profiles().next().unwrap().0;
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        let member = |millis| Member {
            source: Key { slot: 0, generation: 0 },
            number: 0,
            arrived: at(millis),
            name: UNNAMED,
            digest: [0; 20],
        };
        let mut batches = OpenBatches::default();
        batches.select(profile, [None; 3]);
        // The second one had to wait for room; the third one is as young as it seems.
        for (arrived, now) in [(5_000, 5_000), (4_200, 5_100), (5_200, 5_200)] {
            batches.add(&rule, profile, member(arrived), b"{}", b"", at(now));
        }
        assert!(batches.take_due(at(7_199)).is_none());
        assert_eq!(batches.take_due(at(7_200)).map(|batch| batch.members.len()), Some(3));
        assert!(batches.is_empty());
    }
}
