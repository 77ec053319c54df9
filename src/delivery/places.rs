//! Places for connections to one endpoint: a process-wide number, which executors lease one by one.
//!
//! An executor that has records for the endpoint always gets one place, whether one is free or not. What it gets besides
//! depends on what the others want: an executor that has less than its share *claims*, and those above theirs give up
//! connections, even busy ones, until it has its share; one that has its share and could use more *wishes*, and gets
//! what stands idle. So one busy executor uses what idle ones do not, busy ones end at equal shares, and nothing flaps.
//!
//! The shared counters are touched when a connection is opened or ends and once a beat, never for a record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::lease::{Lease, Shared};

/// The places of one endpoint, as all executors of the process share them.
#[derive(Debug, Clone)]
pub struct SharedPlaces {
    free: Shared,
    total: u64,
    wants: Arc<Wants>,
}

/// Executors that want places and get none.
#[derive(Debug, Default)]
struct Wants {
    claims: AtomicUsize,
    wishes: AtomicUsize,
}

impl SharedPlaces {
    /// `total` places.
    pub fn new(total: u64) -> SharedPlaces {
        SharedPlaces { free: Shared::in_chunks(total, 1), total, wants: Arc::default() }
    }

    /// Places that are taken, in the whole process. More than the number by at most one for each executor.
    pub fn taken(&self) -> u64 {
        self.total.saturating_add_signed(self.free.free().saturating_neg())
    }
}

/// What an executor would like to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Nothing more.
    Nothing,
    /// It has its share, and could use more.
    Wish,
    /// It has less than its share, and could use more.
    Claim,
}

/// What an executor is asked to give up for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Give {
    /// Nothing.
    Nothing,
    /// Connections that stand idle.
    Idle,
    /// Some of the connections above its share, busy or not.
    Above,
}

/// One executor's places at one endpoint.
#[derive(Debug)]
pub struct Places {
    shared: SharedPlaces,
    lease: Lease,
    /// What it has when all executors want as many as they can get.
    share: u64,
    want: Want,
    /// There was none to be had. Asked again at the next tick, and not for each record until then.
    refused: bool,
}

impl Places {
    /// Those of executor `index` of `executors`; none is taken yet.
    pub fn new(shared: &SharedPlaces, index: usize, executors: usize) -> Places {
        Places {
            lease: Lease::new(shared.free.clone()),
            share: share(shared.total, index, executors),
            shared: shared.clone(),
            want: Want::Nothing,
            refused: false,
        }
    }

    /// Takes a place, if there is one for this executor. The first one there always is.
    pub fn take(&mut self) -> bool {
        if self.lease.used() == 0 {
            self.lease.charge(1);
            return true;
        }
        if self.refused {
            return false;
        }
        // What is free is for those who have less than their share first.
        let is_claimed = self.lease.used() >= self.share && self.shared.wants.claims.load(Ordering::Acquire) > 0;
        if is_claimed || !self.lease.has_room(1) {
            self.refused = true;
            return false;
        }
        self.lease.charge(1);
        true
    }

    /// Takes a place whether there is one or not, for a connection that is there already.
    pub fn insist(&mut self) {
        self.lease.charge(1);
    }

    /// A place is free again.
    pub fn give(&mut self) {
        self.lease.release(1);
        self.lease.give_back();
        self.refused = false;
    }

    /// Whether a place was refused since the last call; it may be asked for again.
    pub fn ask_again(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    /// Once a beat: tells the others what this executor wants, and says what they want of it. `has_waiting`: requests
    /// wait that a further connection would take.
    pub fn balance(&mut self, has_waiting: bool) -> Give {
        let used = self.lease.used();
        let want = match self.refused && has_waiting {
            true if used < self.share => Want::Claim,
            // With all places it could get no more.
            true if used < self.shared.total => Want::Wish,
            _ => Want::Nothing,
        };
        self.set_want(want);
        let wants = &self.shared.wants;
        let (claims, wishes) = (wants.claims.load(Ordering::Acquire), wants.wishes.load(Ordering::Acquire));
        if want == Want::Claim || claims + wishes == 0 || self.shared.free.free() > 0 {
            return Give::Nothing;
        }
        match (claims > 0 && used > self.share, want) {
            (true, _) => Give::Above,
            (false, Want::Nothing) => Give::Idle,
            (false, _) => Give::Nothing,
        }
    }

    fn set_want(&mut self, want: Want) {
        if want == self.want {
            return;
        }
        let wants = &self.shared.wants;
        let count = |want: Want| match want {
            Want::Nothing => None,
            Want::Wish => Some(&wants.wishes),
            Want::Claim => Some(&wants.claims),
        };
        if let Some(count) = count(self.want) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(count) = count(want) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        self.want = want;
    }

    /// Places that this executor has.
    pub fn taken(&self) -> u64 {
        self.lease.used()
    }

    /// Places that this executor has beyond its share.
    pub fn above_share(&self) -> usize {
        usize::try_from(self.lease.used().saturating_sub(self.share)).unwrap_or(usize::MAX)
    }

    /// Places that are taken, in the whole process.
    pub fn taken_by_all(&self) -> u64 {
        self.shared.taken()
    }

    /// What this executor has when all want as many as they can get.
    pub fn share(&self) -> u64 {
        self.share
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.set_want(Want::Nothing);
    }
}

/// The share of executor `index` of `executors` in `total`: the total divided, the rest to the first ones, at least one
/// each.
pub(super) fn share(total: u64, index: usize, executors: usize) -> u64 {
    let (index, executors) = (index as u64, executors.max(1) as u64);
    (total / executors + u64::from(index < total % executors)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(total: u64, executors: usize) -> (SharedPlaces, Vec<Places>) {
        let shared = SharedPlaces::new(total);
        let places = (0..executors).map(|index| Places::new(&shared, index, executors)).collect();
        (shared, places)
    }

    /// As many beats as it takes: who is asked for places gives them, who waits takes what it gets.
    fn settle(places: &mut [Places], waits: &[bool], idle: &mut [u64]) {
        for _ in 0..100 {
            for index in 0..places.len() {
                while waits[index] && places[index].take() {}
                let give = places[index].balance(waits[index]);
                match give {
                    Give::Nothing => {}
                    Give::Idle => {
                        for _ in 0..std::mem::take(&mut idle[index]).min(places[index].taken()) {
                            places[index].give();
                        }
                    }
                    Give::Above => places[index].give(),
                }
                places[index].ask_again();
            }
        }
    }

    fn taken(places: &[Places]) -> Vec<u64> {
        places.iter().map(Places::taken).collect()
    }

    #[test]
    fn shares_add_up_to_the_total_and_nobody_has_none() {
        let all: Vec<u64> = (0..4).map(|index| share(10, index, 4)).collect();
        assert_eq!(all, [3, 3, 2, 2]);
        assert_eq!((0..4).map(|index| share(1, index, 4)).sum::<u64>(), 4);
    }

    #[test]
    fn one_busy_executor_uses_all_places_that_the_others_leave() {
        let (shared, mut places) = all(8, 2);
        settle(&mut places, &[true, false], &mut [0, 0]);
        assert_eq!((taken(&places), shared.taken()), (vec![8, 0], 8));
    }

    #[test]
    fn idle_places_move_to_the_busy_one_and_back() {
        let (shared, mut places) = all(8, 2);
        settle(&mut places, &[true, false], &mut [0, 0]);
        settle(&mut places, &[false, true], &mut [8, 0]);
        assert_eq!((taken(&places), shared.taken()), (vec![0, 8], 8));
        assert!(places[0].take(), "one is always to be had");
        assert_eq!(shared.taken(), 9);
        settle(&mut places, &[true, true], &mut [0, 0]);
        assert_eq!((taken(&places), shared.taken()), (vec![4, 4], 8));
    }

    #[test]
    fn busy_executors_end_at_equal_shares_and_stay_there() {
        let (shared, mut places) = all(10, 3);
        settle(&mut places, &[true, false, false], &mut [0; 3]);
        settle(&mut places, &[true, true, true], &mut [0; 3]);
        assert_eq!((taken(&places), shared.taken()), (vec![4, 3, 3], 10));
        for place in &mut places {
            assert!(!place.take());
            assert_eq!(place.balance(true), Give::Nothing, "nothing flaps");
        }
    }

    #[test]
    fn with_one_place_each_executor_has_one_and_none_gives_it_up_in_vain() {
        let (shared, mut places) = all(1, 2);
        settle(&mut places, &[true, true], &mut [0, 0]);
        assert_eq!((taken(&places), shared.taken()), (vec![1, 1], 2));
        settle(&mut places, &[true, false], &mut [0, 1]);
        assert_eq!(taken(&places), [1, 1], "the other could not get it anyway");
        drop(places);
        assert_eq!((shared.taken(), shared.free.free()), (0, 1));
    }

    proptest! {
        /// Whatever executors do, together they have at most one place each beyond the number, and in the end none.
        #[test]
        fn places_are_bounded_and_all_come_back(
            total in 1u64..12,
            steps in proptest::collection::vec((0usize..3, 0u8..5), 1..300),
        ) {
            let (shared, mut places) = all(total, 3);
            for (who, what) in steps {
                let place = &mut places[who];
                match what {
                    0 | 1 => { place.take(); }
                    2 => if place.taken() > 0 { place.give() },
                    3 => { place.ask_again(); }
                    _ => if place.balance(true) != Give::Nothing && place.taken() > 0 { place.give() },
                }
                prop_assert_eq!(places.iter().map(Places::taken).sum::<u64>(), shared.taken());
                prop_assert!(shared.taken() <= total + 2);
            }
            drop(places);
            prop_assert_eq!(shared.taken(), 0);
            prop_assert_eq!(shared.wants.claims.load(Ordering::Acquire) + shared.wants.wishes.load(Ordering::Acquire), 0);
        }
    }
}
