//! What may be in flight: records and bytes, as each executor's leases on process-wide amounts.
//!
//! Everything that a record makes the process hold is charged: the partial frame that it arrives in, the chunk that
//! its body stands in, its table entries, gathered copies. Without room a connection is not read, so memory is
//! bounded by construction and the source is slowed by TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::lease::{Lease, Shared, signed};

/// Table entries, ack place and the HTTP library's own state for one record, in bytes. A record without a body has
/// to cost something, or a bound on bytes would not bound them.
pub const RECORD_OVERHEAD: u64 = 1024;

/// With others beside it, a source may have so many times what is free, so that there is always room for a record of
/// another one: one that floods has seven eighths, two have fourteen fifteenths together.
pub const SHARE: u64 = 7;

/// While frames are answered 18, those of a source are dispatched that has less than so many times what is free: of one
/// that floods they are not.
pub const CALM_SHARE: u64 = 1;

/// The least that a lease on bytes grows by.
const LEAST_BYTE_CHUNK: u64 = 64 * 1024;

/// What the whole process may have in flight.
#[derive(Debug, Clone)]
pub struct Pool {
    bytes: Shared,
    records: Shared,
}

impl Pool {
    /// `in-flight-bytes` and `max-concurrent-records`, for `executors` executors.
    pub fn new(bytes: u64, records: u64, executors: usize) -> Pool {
        Pool { bytes: Shared::new(bytes, executors, LEAST_BYTE_CHUNK), records: Shared::new(records, executors, 1) }
    }
}

/// One executor's use of the [`Pool`].
#[derive(Debug)]
pub struct Budget {
    bytes: Lease,
    records: Lease,
    /// Given back by chunks as their last body is dropped, on this executor's thread, and by lines of `rejected-file` on
    /// that of its writer.
    returned: Arc<AtomicI64>,
}

impl Budget {
    /// Holds nothing yet.
    pub fn new(pool: &Pool) -> Budget {
        let (bytes, records) = (Lease::new(pool.bytes.clone()), Lease::new(pool.records.clone()));
        Budget { bytes, records, returned: Arc::new(AtomicI64::new(0)) }
    }

    /// Whether one more record may be taken in, whose frame has `frame_bytes`.
    pub fn has_room(&mut self, frame_bytes: u64) -> bool {
        self.settle();
        self.bytes.has_room(frame_bytes + RECORD_OVERHEAD) && self.records.has_room(1)
    }

    /// Whether a source that has so much in flight leaves enough to the others: see [`SHARE`].
    ///
    /// `bytes` may be an estimate. Whoever is refused has at least [`SHARE`] parts of what there is, so that use is not
    /// below the 80 % that end the answers of 18.
    pub fn has_share(&mut self, records: u64, bytes: u64, times: u64) -> bool {
        self.settle();
        // Records that were handed to another executor are charged there.
        let (records, bytes) = (records.min(self.records.used()), bytes.min(self.bytes.used()));
        self.records.has_share(records, times) && self.bytes.has_share(bytes, times)
    }

    /// Whether `bytes` more may be held for a record that was taken in already.
    pub fn has_bytes(&mut self, bytes: u64) -> bool {
        self.settle();
        self.bytes.has_room(bytes)
    }

    /// Bytes that could be charged without going beyond what there is.
    pub fn room(&mut self) -> u64 {
        self.settle();
        self.bytes.reach().saturating_sub(self.bytes.used())
    }

    /// Whether nothing is left for any executor but what each has leased.
    pub fn is_pool_empty(&self) -> bool {
        self.bytes.is_shared_empty() || self.records.is_shared_empty()
    }

    /// Counts what chunks gave back.
    fn settle(&mut self) {
        if self.returned.load(Ordering::Relaxed) != 0 {
            let returned = self.returned.swap(0, Ordering::Relaxed);
            self.bytes.release(returned.max(0).unsigned_abs());
        }
    }

    /// A record was taken in.
    pub fn charge_record(&mut self) {
        self.records.charge(1);
        self.bytes.charge(RECORD_OVERHEAD);
    }

    /// A record is over.
    pub fn release_record(&mut self) {
        self.records.release(1);
        self.bytes.release(RECORD_OVERHEAD);
    }

    /// Replaces the charge `before` by `now`, for a buffer that grew or shrank.
    pub fn recharge(&mut self, before: &mut u64, now: u64) {
        if now > *before {
            self.bytes.charge(now - *before);
        } else {
            self.bytes.release(*before - now);
        }
        *before = now;
    }

    /// Charges `bytes`, and hands out what gives them back when it is dropped.
    pub fn charge_until_dropped(&mut self, bytes: u64) -> Charge {
        self.bytes.charge(bytes);
        Charge { bytes, returned: Arc::clone(&self.returned) }
    }

    /// Gives spare leases back to the other executors.
    pub fn trim(&mut self) {
        self.settle();
        self.bytes.trim();
        self.records.trim();
    }

    /// Whether use is below `percent` of what this executor has and could get.
    pub fn is_below(&mut self, percent: u64) -> bool {
        self.settle();
        let below = |lease: &Lease| lease.used().saturating_mul(100) <= lease.reach().saturating_mul(percent);
        below(&self.bytes) && below(&self.records)
    }

    /// Bytes in use.
    pub fn used_bytes(&mut self) -> u64 {
        self.settle();
        self.bytes.used()
    }

    /// Records in flight.
    pub fn used_records(&self) -> u64 {
        self.records.used()
    }
}

/// Bytes that are charged to a [`Budget`] until this is dropped.
#[derive(Debug)]
pub struct Charge {
    bytes: u64,
    returned: Arc<AtomicI64>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.returned.fetch_add(signed(self.bytes), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_refused_when_the_bytes_are_used_and_admitted_when_they_are_back() {
        let pool = Pool::new(1 << 20, 1000, 1);
        let mut budget = Budget::new(&pool);
        assert!(budget.has_room(100));
        budget.charge_record();
        let charge = budget.charge_until_dropped(1 << 20);
        assert!(!budget.has_room(100));
        drop(charge);
        assert!(budget.has_room(100));
        assert_eq!(budget.used_bytes(), RECORD_OVERHEAD);
    }

    #[test]
    fn the_number_of_records_is_a_bound_of_its_own() {
        let pool = Pool::new(1 << 30, 2, 1);
        let mut budget = Budget::new(&pool);
        for _ in 0..2 {
            assert!(budget.has_room(10));
            budget.charge_record();
        }
        assert!(!budget.has_room(10));
        budget.release_record();
        assert!(budget.has_room(10));
    }
}
