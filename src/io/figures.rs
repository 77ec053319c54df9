//! What executors publish of themselves, and how others read it: nobody waits for anybody.
//!
//! An executor fills a snapshot that nobody else has, then swaps it for the one that is published, under a lock that it
//! only tries: a reader that has it takes a reference, no more, and what could not be published now is at the next tick.
//! What was published before is filled next, unless a reader still has it: then it is the reader's, and a new one is made.
//!
//! Memory: with E executors and D destinations, at most 3 · E · (8 + D) · 30 KiB (what is recorded, published, and filled
//! next; [`HISTOGRAM_BYTES`](crate::metrics::stages::HISTOGRAM_BYTES)), and what readers keep. A histogram takes as much
//! as the sizes that it has seen need: usually half of that, and nothing where nothing was recorded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::metrics::snapshot::Snapshot;

/// How often an executor publishes, to a tick.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(250);

/// The snapshot of one executor that is published.
type Place = Mutex<Arc<Snapshot>>;

/// The lock, unless somebody has it.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// An executor's end.
#[derive(Debug, Default)]
pub struct Publisher {
    place: Arc<Place>,
    /// What was published before.
    spare: Option<Arc<Snapshot>>,
}

impl Publisher {
    /// Publishes what `fill` writes over an older snapshot, or a new one. False if it could not be published without
    /// waiting.
    pub fn publish(&mut self, fill: impl FnOnce(&mut Snapshot)) -> bool {
        let next = self.fill(fill);
        let mut published = try_lock(&self.place);
        let is_published = published.is_some();
        self.spare = Some(match &mut published {
            Some(published) => std::mem::replace(&mut **published, next),
            None => next,
        });
        is_published
    }

    /// The same for the last time: waits for whoever takes a reference just now.
    pub fn publish_last(mut self, fill: impl FnOnce(&mut Snapshot)) {
        let next = self.fill(fill);
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn fill(&mut self, fill: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
        let mut next = self.spare.take().unwrap_or_default();
        match Arc::get_mut(&mut next) {
            Some(snapshot) => fill(snapshot),
            None => {
                let mut snapshot = Snapshot::default();
                fill(&mut snapshot);
                next = Arc::new(snapshot);
            }
        }
        next
    }
}

/// Reads what executors have published, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<[Arc<Place>]>);

impl Figures {
    /// Of these executors, in this order.
    pub fn of<'a>(publishers: impl IntoIterator<Item = &'a Publisher>) -> Figures {
        Figures(publishers.into_iter().map(|publisher| Arc::clone(&publisher.place)).collect())
    }

    /// What each executor published last; before that, a snapshot of nothing.
    pub fn read(&self) -> Vec<Arc<Snapshot>> {
        self.0.iter().map(|place| Arc::clone(&place.lock().unwrap_or_else(PoisonError::into_inner))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(publisher: &mut Publisher, records: u64) -> bool {
        publisher.publish(|snapshot| snapshot.counters.records = records)
    }

    #[test]
    fn a_reader_that_keeps_a_snapshot_keeps_what_it_read_and_stops_nobody() {
        let mut publisher = Publisher::default();
        let figures = Figures::of([&publisher]);
        publish(&mut publisher, 1);
        let kept = figures.read();
        for records in 2..20 {
            assert!(publish(&mut publisher, records));
            assert_eq!(figures.read()[0].counters.records, records);
        }
        assert_eq!(kept[0].counters.records, 1);
    }

    #[test]
    fn without_readers_two_snapshots_are_used_in_turn() {
        let mut publisher = Publisher::default();
        let figures = Figures::of([&publisher]);
        let mut seen = Vec::new();
        for records in 0..6 {
            publish(&mut publisher, records);
            seen.push(Arc::as_ptr(&figures.read()[0]));
        }
        assert!(seen[0] != seen[1] && seen[..2] == seen[2..4] && seen[..2] == seen[4..]);
    }

    #[test]
    fn while_the_place_is_locked_nothing_is_published_and_nobody_waits() {
        let mut publisher = Publisher::default();
        let place = Arc::clone(&publisher.place);
        let reader = place.lock().unwrap();
        assert!(!publish(&mut publisher, 5));
        drop(reader);
        assert!(publish(&mut publisher, 6));
        assert_eq!(Figures::of([&publisher]).read()[0].counters.records, 6);
        let figures = Figures::of([&publisher]);
        publisher.publish_last(|snapshot| snapshot.counters.records = 7);
        assert_eq!(figures.read()[0].counters.records, 7);
    }
}
