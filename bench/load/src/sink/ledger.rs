//! The sink's books: what arrived, and what was answered with success.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::records::Records;
use crate::record::Identity;

/// Different runs that a ledger keeps; requests of further ones count as unidentified.
const RUNS: usize = 64;
/// Sequence numbers above this are not believed: an entry costs six bytes.
const SEQUENCES: u64 = 1 << 29;

/// What became of one record, by the sink's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkEntry {
    /// Complete requests with it.
    pub received: u16,
    /// Answers of success for it, alone or in a batch.
    pub succeeded: u16,
    /// Refusals of it ([`super::Poison`]) in requests with nothing else.
    pub refused: u16,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Counts requests on the whole sink from 0.
    pub number: u64,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order of arrival; HTTP/2's `:authority` as `host`.
    pub headers: Vec<(String, String)>,
    /// Whole body.
    pub body: Vec<u8>,
}

impl LoggedRequest {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Totals of a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// Complete requests.
    pub requests: u64,
    /// Records in them, alone or in batches, as often as they came.
    pub records: u64,
    /// Requests with more than one record.
    pub batches: u64,
    /// Body bytes of them.
    pub body_bytes: u64,
    /// Answers of success, each counted once, whatever its request held.
    pub succeeded: u64,
    /// Different records that were answered with success at least once.
    pub delivered: u64,
    /// Answers of success beyond the first of their record.
    pub duplicates: u64,
    /// Requests in which no record of a generator was found, neither by `aerospike-digest` nor in the body.
    pub unidentified: u64,
    /// Bodies that are not what their type says, or have a record of no generator, or of another one than its digest.
    /// Of requests with a digest, JSON bodies are looked at, by sample; of those without, all that are of a known type.
    pub corrupt: u64,
    /// Requests with another method than POST, which count as nothing else.
    pub probes: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Requests by what became of them: a status, or 0 for hung, cut and reset ones.
    pub by_status: BTreeMap<u16, u64>,
}

/// A plain copy of the books.
#[derive(Debug, Clone, Default)]
pub struct SinkLedger {
    runs: Vec<(u32, Vec<SinkEntry>)>,
}

impl SinkLedger {
    /// The books on one record; all zero when it never came.
    pub fn entry(&self, identity: Identity) -> SinkEntry {
        let entries = self.runs.iter().find(|(run, _)| *run == identity.run).map(|(_, entries)| entries);
        let index = usize::try_from(identity.sequence).unwrap_or(usize::MAX);
        entries.and_then(|entries| entries.get(index)).copied().unwrap_or_default()
    }

    /// Every record that came, by run and sequence.
    pub fn iter(&self) -> impl Iterator<Item = (Identity, SinkEntry)> + '_ {
        self.runs.iter().flat_map(|(run, entries)| {
            let identity = |sequence| Identity { sequence, run: *run };
            let all = (0..).map(identity).zip(entries.iter().copied());
            all.filter(|(_, entry)| *entry != SinkEntry::default())
        })
    }

    fn slot(&mut self, identity: Identity) -> Option<&mut SinkEntry> {
        if identity.sequence >= SEQUENCES {
            return None;
        }
        let at = match self.runs.iter().position(|(run, _)| *run == identity.run) {
            Some(at) => at,
            None if self.runs.len() < RUNS => {
                self.runs.push((identity.run, Vec::new()));
                self.runs.len() - 1
            }
            None => return None,
        };
        let (_, entries) = self.runs.get_mut(at)?;
        let index = usize::try_from(identity.sequence).ok()?;
        if index >= entries.len() {
            entries.resize(index + 1, SinkEntry::default());
        }
        entries.get_mut(index)
    }
}

/// What a request is answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) records: Records,
    pub(super) status: u16,
    /// One of the records is the reason.
    pub(super) refused: bool,
}

impl Answer {
    fn succeeds(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The only record, if it is refused for itself.
    fn refused_alone(&self) -> Option<Identity> {
        match self.records {
            Records::One(identity) if self.refused => Some(identity),
            _ => None,
        }
    }
}

/// The books behind their lock; connections write in batches.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) stats: SinkStats,
    pub(super) ledger: SinkLedger,
    pub(super) log: Vec<LoggedRequest>,
    /// The first probes.
    pub(super) probes: Vec<LoggedRequest>,
}

impl Books {
    /// A complete request; returns its number.
    pub(super) fn received(&mut self, records: &Records, body_bytes: usize) -> u64 {
        let number = self.stats.requests;
        self.stats.requests += 1;
        self.stats.body_bytes += body_bytes as u64;
        let mut known = 0;
        for identity in records.as_slice() {
            if let Some(entry) = self.ledger.slot(*identity) {
                entry.received = entry.received.saturating_add(1);
                known += 1;
            }
        }
        self.stats.records += known;
        self.stats.batches += u64::from(known > 1);
        self.stats.unidentified += u64::from(known == 0);
        number
    }

    /// An answer that is about to be written whole; one of success is a delivery of every record.
    pub(super) fn answered(&mut self, answer: &Answer) {
        *self.stats.by_status.entry(answer.status).or_default() += 1;
        if let Some(entry) = answer.refused_alone().and_then(|identity| self.ledger.slot(identity)) {
            entry.refused = entry.refused.saturating_add(1);
        }
        if !answer.succeeds() {
            return;
        }
        self.stats.succeeded += 1;
        for identity in answer.records.as_slice() {
            let Some(entry) = self.ledger.slot(*identity) else { continue };
            entry.succeeded = entry.succeeded.saturating_add(1);
            if entry.succeeded == 1 {
                self.stats.delivered += 1;
            } else {
                self.stats.duplicates += 1;
            }
        }
    }

    /// Takes an answer back: it could not be written.
    pub(super) fn unanswered(&mut self, answer: &Answer) {
        if let Some(count) = self.stats.by_status.get_mut(&answer.status) {
            *count = count.saturating_sub(1);
        }
        *self.stats.by_status.entry(0).or_default() += 1;
        if let Some(entry) = answer.refused_alone().and_then(|identity| self.ledger.slot(identity)) {
            entry.refused = entry.refused.saturating_sub(1);
        }
        if !answer.succeeds() {
            return;
        }
        self.stats.succeeded = self.stats.succeeded.saturating_sub(1);
        for identity in answer.records.as_slice() {
            let Some(entry) = self.ledger.slot(*identity) else { continue };
            entry.succeeded = entry.succeeded.saturating_sub(1);
            if entry.succeeded == 0 {
                self.stats.delivered = self.stats.delivered.saturating_sub(1);
            } else {
                self.stats.duplicates = self.stats.duplicates.saturating_sub(1);
            }
        }
    }
}

/// The sink's books, shared by its connections and its owner.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
}

impl Ledger {
    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Totals up to now.
    pub fn stats(&self) -> SinkStats {
        self.lock().stats.clone()
    }

    /// The books on one record.
    pub fn entry(&self, identity: Identity) -> SinkEntry {
        self.lock().ledger.entry(identity)
    }

    /// Of these records, those that were not answered with success yet.
    pub fn missing(&self, identities: impl IntoIterator<Item = Identity>) -> Vec<Identity> {
        let books = self.lock();
        identities.into_iter().filter(|identity| books.ledger.entry(*identity).succeeded == 0).collect()
    }

    /// A copy of all books.
    pub fn snapshot(&self) -> SinkLedger {
        self.lock().ledger.clone()
    }

    /// The first probes, always logged.
    pub fn probes(&self) -> Vec<LoggedRequest> {
        self.lock().probes.clone()
    }

    /// The logged requests from `from` on (see [`super::SinkConfig::log_requests`]).
    pub fn requests(&self, from: usize) -> Vec<LoggedRequest> {
        self.lock().log.get(from..).map(<[LoggedRequest]>::to_vec).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(sequence: u64) -> Identity {
        Identity { sequence, run: 1 }
    }

    fn one(sequence: u64) -> Records {
        Records::One(identity(sequence))
    }

    fn several(sequences: &[u64]) -> Records {
        Records::Several(sequences.iter().map(|sequence| identity(*sequence)).collect())
    }

    fn answer(records: Records, status: u16) -> Answer {
        Answer { records, status, refused: status == 422 }
    }

    fn entry(received: u16, succeeded: u16, refused: u16) -> SinkEntry {
        SinkEntry { received, succeeded, refused }
    }

    #[test]
    fn the_second_success_of_a_record_is_a_duplicate_and_an_error_is_none() {
        let mut books = Books::default();
        for (sequence, status) in [(0, 200), (1, 500), (1, 200), (0, 200)] {
            books.received(&one(sequence), 10);
            books.answered(&answer(one(sequence), status));
        }
        assert_eq!((books.stats.delivered, books.stats.duplicates, books.stats.succeeded), (2, 1, 3));
        assert_eq!((books.stats.records, books.stats.batches), (4, 0));
        assert_eq!(books.stats.by_status, BTreeMap::from([(200, 3), (500, 1)]));
        assert_eq!(books.ledger.entry(identity(0)), entry(2, 2, 0));
    }

    #[test]
    fn one_answer_is_that_of_every_record_of_a_batch() {
        let mut books = Books::default();
        books.received(&several(&[4, 5, 6]), 100);
        books.answered(&answer(several(&[4, 5, 6]), 200));
        books.received(&one(5), 30);
        books.answered(&answer(one(5), 200));
        let stats = &books.stats;
        assert_eq!((stats.requests, stats.records, stats.batches, stats.succeeded), (2, 4, 1, 2));
        assert_eq!((stats.delivered, stats.duplicates, stats.unidentified), (3, 1, 0));
        assert_eq!(books.ledger.entry(identity(5)), entry(2, 2, 0));
        books.unanswered(&answer(several(&[4, 5, 6]), 200));
        assert_eq!((books.stats.delivered, books.stats.duplicates, books.stats.succeeded), (1, 0, 1));
        for (sequence, left) in [(4, 0), (5, 1), (6, 0)] {
            assert_eq!(books.ledger.entry(identity(sequence)).succeeded, left);
        }
    }

    #[test]
    fn a_refusal_is_of_a_record_only_if_it_stood_alone() {
        let mut books = Books::default();
        books.answered(&answer(several(&[1, 2]), 422));
        books.answered(&answer(one(1), 422));
        books.answered(&answer(one(2), 422));
        books.unanswered(&answer(one(2), 422));
        books.answered(&answer(one(2), 500));
        assert_eq!(books.ledger.entry(identity(1)), entry(0, 0, 1));
        assert_eq!(books.ledger.entry(identity(2)), entry(0, 0, 0));
        assert_eq!(books.stats.by_status, BTreeMap::from([(0, 1), (422, 2), (500, 1)]));
    }

    #[test]
    fn an_answer_that_was_not_written_is_no_delivery() {
        let mut books = Books::default();
        books.received(&one(3), 10);
        books.answered(&answer(one(3), 200));
        books.unanswered(&answer(one(3), 200));
        assert_eq!((books.stats.delivered, books.stats.succeeded), (0, 0));
        assert_eq!(books.ledger.entry(identity(3)), entry(1, 0, 0));
    }

    #[test]
    fn an_absurd_sequence_costs_no_memory() {
        let mut books = Books::default();
        books.received(&one(u64::MAX), 10);
        books.received(&Records::Unknown, 10);
        assert_eq!((books.stats.unidentified, books.stats.records), (2, 0));
        assert_eq!(books.ledger.iter().count(), 0);
    }
}
