//! Batches that are still being filled.
//!
//! Records stand in one batch if they have the same settings and their requests the same headers: the key is both. A
//! batch is closed by whoever owns this ([`super::engine`]): when it is full, when its time is over, or when there is no
//! room for more.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::budget::Budget;
use super::flight::Member;
use crate::config::model::Batching;
use crate::format::Framing;
use crate::policy::table::ProfileId;
use crate::time::Time;

/// Batches that are filled at the same time. Namespace and set can be part of the headers that tell them apart, and those
/// come from outside: without it each new set name would hold memory for as long as a batch waits.
pub const MAX_OPEN: usize = 1024;

/// A batch that has so many bytes is closed, whatever the configuration says: its body is one allocation, and is
/// compressed in one go.
pub const MAX_BATCH_BYTES: usize = 16 << 20;

/// A new batch reserves what the one before it had, up to this: more would make rare kinds of records hold the memory
/// that a frequent one needs.
const MAX_RESERVE: usize = 16 << 10;

/// How records with one profile are batched.
#[derive(Debug)]
pub struct Rule {
    /// As configured.
    pub batching: Batching,
    /// Layout of the body; shared by the profiles of one format.
    pub framing: Rc<Framing>,
    /// A batch is closed so long after its oldest record came, however long it may still wait for others: what is left
    /// of the record's deadline is for the request.
    pub longest_wait: Duration,
}

/// The rules of all profiles, in their order; `None`: requests of that profile's records have one record each.
#[derive(Debug)]
pub struct Rules(pub Vec<Option<Rule>>);

impl Rules {
    /// How records with this profile are batched, if they are.
    pub fn of(&self, profile: ProfileId) -> Option<&Rule> {
        self.0.get(profile.index()).and_then(Option::as_ref)
    }
}

/// A record for a batch.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The settings of the record.
    pub profile: ProfileId,
    /// The record.
    pub member: Member,
    /// Written in its format.
    pub body: &'a [u8],
    /// Values of the destinations' variable headers.
    pub heads: &'a [u8],
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
    /// Bytes charged for `data` and `heads`.
    pub charged: u64,
}

/// All batches of one executor.
#[derive(Debug, Default)]
pub struct OpenBatches {
    /// By profile and header values, in an order that does not differ from run to run, for the simulation.
    by_key: BTreeMap<Vec<u8>, OpenBatch>,
    /// Records in them.
    records: u64,
    /// The key that is looked for.
    key: Vec<u8>,
    /// No batch has to be closed before this.
    next_close: Option<Time>,
    /// Bytes of the batch that was closed last.
    last_bytes: usize,
}

impl OpenBatches {
    /// Number of batches.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Records in all of them.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// When the first of them has to be closed; a moment before that at the most.
    pub fn next_close(&self) -> Option<Time> {
        self.next_close.filter(|_| !self.is_empty())
    }

    /// Adds a record to its batch, which is opened if it is not there. Gives back what has to be closed now, in this
    /// order: a batch that had to make place, and the record's own if it is full.
    pub fn add(&mut self, rule: &Rule, new: NewRecord<'_>, budget: &mut Budget, now: Time) -> [Option<OpenBatch>; 2] {
        let NewRecord { profile, member, body, heads } = new;
        self.key.clear();
        self.key.extend_from_slice(&profile.index().to_le_bytes());
        self.key.extend_from_slice(heads);
        let latest = member.arrived + rule.longest_wait;
        // A record that had to wait for room goes with others of its age, or it would take fresh ones with it.
        let fits = self.by_key.get(&self.key).map(|batch| (batch.close_at <= now) == (latest <= now));
        let gone = match fits {
            Some(true) => None,
            Some(false) => self.take_selected(),
            None if self.by_key.len() >= MAX_OPEN => self.take_oldest(),
            None => None,
        };
        if fits != Some(true) {
            let close_at = latest.min(now + rule.batching.interval);
            let batch = OpenBatch::new(rule, profile, heads, close_at, self.last_bytes.min(MAX_RESERVE));
            self.by_key.insert(self.key.clone(), batch);
        }
        let Some(batch) = self.by_key.get_mut(&self.key) else { return [gone, None] };
        batch.data.extend_from_slice(body);
        batch.ends.push(batch.data.len());
        rule.framing.separate(&mut batch.data);
        batch.members.push(member);
        batch.close_at = batch.close_at.min(latest);
        budget.recharge(&mut batch.charged, (batch.data.capacity() + batch.heads.capacity()) as u64);
        self.records += 1;
        self.next_close = Some(self.next_close.map_or(batch.close_at, |next| next.min(batch.close_at)));
        let full = batch.is_full(rule);
        [gone, if full { self.take_selected() } else { None }]
    }

    /// Makes the batches of a profile close now: somebody waits for a record that is in one of them.
    pub fn hurry(&mut self, profile: ProfileId, now: Time) {
        for batch in self.by_key.values_mut().filter(|batch| batch.profile == profile) {
            batch.close_at = batch.close_at.min(now);
            self.next_close = Some(self.next_close.map_or(now, |next| next.min(now)));
        }
    }

    fn take_selected(&mut self) -> Option<OpenBatch> {
        let batch = self.by_key.remove(&self.key);
        self.note(batch)
    }

    /// Takes a batch out that has to be closed by `now`.
    pub fn take_due(&mut self, now: Time) -> Option<OpenBatch> {
        if self.next_close.is_none_or(|next| next > now) {
            return None;
        }
        let key = self.by_key.iter().find(|(_, batch)| batch.close_at <= now).map(|(key, _)| key.clone());
        let Some(key) = key else {
            self.next_close = self.by_key.values().map(|batch| batch.close_at).min();
            return None;
        };
        let batch = self.by_key.remove(&key);
        self.note(batch)
    }

    /// Takes any batch out.
    pub fn take_any(&mut self) -> Option<OpenBatch> {
        let batch = self.by_key.pop_first().map(|(_, batch)| batch);
        self.note(batch)
    }

    /// Takes the batch out that has waited longest.
    fn take_oldest(&mut self) -> Option<OpenBatch> {
        let key = self.by_key.iter().min_by_key(|(_, batch)| batch.close_at).map(|(key, _)| key.clone());
        let batch = key.and_then(|key| self.by_key.remove(&key));
        self.note(batch)
    }

    fn note(&mut self, batch: Option<OpenBatch>) -> Option<OpenBatch> {
        if let Some(batch) = &batch {
            self.last_bytes = batch.data.len();
            self.records = self.records.saturating_sub(batch.members.len() as u64);
        }
        batch
    }
}

impl OpenBatch {
    fn new(rule: &Rule, profile: ProfileId, heads: &[u8], close_at: Time, reserve: usize) -> OpenBatch {
        let mut data = Vec::with_capacity(reserve.max(rule.framing.room()));
        data.resize(rule.framing.room(), 0);
        OpenBatch { profile, members: Vec::new(), ends: Vec::new(), data, heads: heads.to_vec(), close_at, charged: 0 }
    }

    /// Whether nothing more may be added (`batching.max-records`, `batching.max-bytes`).
    fn is_full(&self, rule: &Rule) -> bool {
        let bytes = self.data.len().saturating_sub(rule.framing.room());
        self.members.len() as u64 >= u64::from(rule.batching.max_records)
            || bytes as u64 >= rule.batching.max_bytes
            || bytes >= MAX_BATCH_BYTES
    }
}
