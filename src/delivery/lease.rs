//! A process-wide amount, leased by executors in chunks.
//!
//! The shared counter is touched when a lease grows or shrinks, at the edges of a batch, and not for each record.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A lease grows by this part of the whole, divided again by the number of executors.
const LEASE_PARTS: u64 = 8;

/// An amount that the executors of the process share.
#[derive(Debug, Clone)]
pub struct Shared {
    free: Arc<AtomicI64>,
    chunk: u64,
}

impl Shared {
    /// `total` for `executors` executors, leased in chunks of at least `least` (and 1).
    pub fn new(total: u64, executors: usize, least: u64) -> Shared {
        let parts = LEASE_PARTS.saturating_mul(executors.max(1) as u64);
        Shared::in_chunks(total, (total / parts).max(least))
    }

    /// `total`, leased in chunks of at least `chunk` (and 1).
    pub fn in_chunks(total: u64, chunk: u64) -> Shared {
        Shared { free: Arc::new(AtomicI64::new(signed(total))), chunk: chunk.max(1) }
    }

    /// What nobody has leased; negative while executors hold more than there was.
    pub fn free(&self) -> i64 {
        self.free.load(Ordering::Acquire)
    }

    fn take(&self, wish: u64) -> u64 {
        let part = |free: i64| free.clamp(0, signed(wish));
        let before = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| (part(free) > 0).then(|| free - part(free)));
        before.map_or(0, |free| part(free).unsigned_abs())
    }

    fn put(&self, amount: u64) {
        if amount > 0 {
            self.free.fetch_add(signed(amount), Ordering::AcqRel);
        }
    }
}

pub(super) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// One executor's part of a [`Shared`] amount, and what it uses of it.
#[derive(Debug)]
pub struct Lease {
    shared: Shared,
    held: u64,
    used: u64,
    /// Part of `held` that was taken although nothing was free. What is released pays it back first, or it would look
    /// like room.
    overdrawn: u64,
}

impl Lease {
    /// Holds nothing yet.
    pub fn new(shared: Shared) -> Lease {
        Lease { shared, held: 0, used: 0, overdrawn: 0 }
    }

    /// Whether `more` can be used besides what is used; leases another chunk if that helps.
    pub fn has_room(&mut self, more: u64) -> bool {
        let need = self.used.saturating_add(more);
        if need > self.held {
            self.held += self.shared.take((need - self.held).max(self.shared.chunk));
        }
        need <= self.held
    }

    /// Whether one of several users, who has `mine`, leaves enough to the others: `times` what is free, or less. The shared
    /// amount is looked at only when little of what is held is spare.
    pub fn has_share(&self, mine: u64, times: u64) -> bool {
        let fits = |free: u64| mine <= free.saturating_mul(times);
        fits(self.held.saturating_sub(self.used)) || fits(self.reach().saturating_sub(self.used))
    }

    /// Uses `more`, room or not: what goes beyond is taken from the shared amount all the same, so that the other
    /// executors see it.
    pub fn charge(&mut self, more: u64) {
        self.used = self.used.saturating_add(more);
        if self.used > self.held {
            let missing = self.used - self.held;
            let free = self.shared.free.fetch_sub(signed(missing), Ordering::AcqRel).max(0).unsigned_abs();
            self.held += missing;
            self.overdrawn += missing.saturating_sub(free);
        }
    }

    /// Uses `less` no longer.
    pub fn release(&mut self, less: u64) {
        assert!(self.used >= less, "no more is released than was charged");
        self.used -= less;
        if self.overdrawn > 0 {
            let back = less.min(self.overdrawn);
            self.overdrawn -= back;
            self.held -= back;
            self.shared.put(back);
        }
    }

    /// Gives back what is spare beyond one chunk; everything when nothing is used.
    pub fn trim(&mut self) {
        let keep = if self.used == 0 { 0 } else { self.used.saturating_add(self.shared.chunk) };
        self.keep(keep);
    }

    /// Gives back all that is not used.
    pub fn give_back(&mut self) {
        self.keep(self.used);
    }

    fn keep(&mut self, keep: u64) {
        let spare = self.held.saturating_sub(keep);
        self.held -= spare;
        self.shared.put(spare);
    }

    /// Whether the others can get nothing more.
    pub fn is_shared_empty(&self) -> bool {
        self.shared.free() <= 0
    }

    /// What is used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// What could be used at most: what is held and what nobody holds.
    pub fn reach(&self) -> u64 {
        self.held.saturating_add(self.shared.free().max(0).unsigned_abs())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.put(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Three executors ask, charge what they were granted, release and trim in any order: together they never
        /// use more than there is, and at the end everything is back.
        #[test]
        fn leases_never_exceed_the_shared_amount(
            total in 1u64..5_000,
            steps in proptest::collection::vec((0usize..3, 0u8..4, 1u64..600), 1..300),
        ) {
            let shared = Shared::new(total, 3, 1);
            let mut leases: Vec<Lease> = (0..3).map(|_| Lease::new(shared.clone())).collect();
            for (who, what, amount) in steps {
                let lease = &mut leases[who];
                match what {
                    0 | 1 => if lease.has_room(amount) { lease.charge(amount) },
                    2 => lease.release(amount.min(lease.used())),
                    _ => lease.trim(),
                }
                prop_assert!(leases.iter().map(Lease::used).sum::<u64>() <= total);
                prop_assert!(shared.free() >= 0);
            }
            drop(leases);
            prop_assert_eq!(shared.free(), signed(total));
        }
    }

    #[test]
    fn what_was_used_without_room_is_no_room_when_it_is_released() {
        let shared = Shared::new(100, 1, 1);
        let mut lease = Lease::new(shared.clone());
        assert!(lease.has_room(90));
        lease.charge(90);
        lease.charge(50);
        lease.release(30);
        assert!(!lease.has_room(1), "110 of 100 are used");
        lease.release(20);
        assert!(lease.has_room(10) && !lease.has_room(11));
        lease.release(90);
        lease.trim();
        assert_eq!(shared.free(), 100);
    }

    #[test]
    fn an_idle_executor_gives_everything_back() {
        let shared = Shared::new(100, 1, 1);
        let mut lease = Lease::new(shared.clone());
        assert!(lease.has_room(30));
        lease.charge(30);
        lease.release(30);
        lease.trim();
        assert_eq!(shared.free(), 100);
    }
}
