//! Attempts that wait for an endpoint: first in, first out for each source, and some of each source in turn.
//!
//! A source that sends a hundred times what the others do has a long lane of its own, and holds up nobody else's records.
//! One that had nothing waiting is served before those that had, once (the rule of new flows of RFC 8290): its few records
//! do not wait for the turns of all others.
//! Retries go before all others: they are older than what waits, and each record has one at most.

use std::collections::VecDeque;

use super::flight::Origin;
use super::table::Key;

/// An empty lane that could hold more than this gives its memory back.
const SPARE_CAPACITY: usize = 1024;

/// What waits of one source.
#[derive(Debug, Default)]
struct Lane {
    /// Whose it is, as an index into `FairQueue::lane_of`.
    source: usize,
    keys: VecDeque<Key>,
    /// Entries that it may still give in this turn; 0: its next turn has not begun.
    left: usize,
}

/// Attempts of several sources; entries may be dead.
#[derive(Debug, Default)]
pub struct FairQueue {
    first: VecDeque<Key>,
    lanes: Vec<Lane>,
    /// For each source, the number of its lane and 1; 0: it has none. As long as there were sources at a time.
    lane_of: Vec<usize>,
    /// Lanes that have not had their first turn, in turn. One that it leaves empty waits in `turn` all the same, or a source
    /// could be new again with each record, and the others would never be served.
    fresh: VecDeque<usize>,
    /// The other lanes, in turn.
    turn: VecDeque<usize>,
    /// Lanes of nobody.
    spare: Vec<usize>,
    /// In all of them.
    entries: usize,
}

/// Sources of this executor and ghosts of others have tables of their own: they share one numbering here.
fn number(source: Origin) -> usize {
    match source {
        Origin::Source(key) => key.slot as usize * 2,
        Origin::Ghost(key) => key.slot as usize * 2 + 1,
    }
}

impl FairQueue {
    /// Puts an attempt behind those of its source.
    pub fn push_back(&mut self, source: Origin, key: Key) {
        let source = number(source);
        if source >= self.lane_of.len() {
            self.lane_of.resize(source + 1, 0);
        }
        let known = self.lane_of.get(source).and_then(|lane| lane.checked_sub(1));
        let lane = known.unwrap_or_else(|| self.open(source));
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.keys.push_back(key);
            self.entries += 1;
        }
    }

    /// Puts an attempt before all others.
    pub fn push_front(&mut self, key: Key) {
        self.first.push_front(key);
        self.entries += 1;
    }

    /// The next attempt. A source's turn is `turn` entries long, one at least: if sources are served one by one, each answer
    /// that many records have in common costs a write of acks for each of the sources.
    pub fn pop_front(&mut self, turn: usize) -> Option<Key> {
        let key = self.take_next(turn)?;
        self.entries -= 1;
        Some(key)
    }

    fn take_next(&mut self, turn: usize) -> Option<Key> {
        if let Some(key) = self.first.pop_front() {
            return Some(key);
        }
        // Each lane is passed over twice at most: as a new one, and as an empty one that is given up.
        loop {
            let of_fresh = self.fresh.front().copied();
            let at = of_fresh.or_else(|| self.turn.front().copied())?;
            let lane = self.lanes.get_mut(at)?;
            let key = lane.keys.pop_front();
            lane.left = if lane.left == 0 { turn } else { lane.left }.saturating_sub(1);
            if key.is_none() || lane.left == 0 {
                lane.left = 0;
                let list = if of_fresh.is_some() { &mut self.fresh } else { &mut self.turn };
                list.pop_front();
                if key.is_none() && of_fresh.is_none() {
                    self.close(at);
                } else {
                    self.turn.push_back(at);
                }
            }
            if key.is_some() {
                return key;
            }
        }
    }

    /// Entries, dead ones included.
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Entries of one source, retries aside.
    pub fn len_of(&self, source: Origin) -> usize {
        let lane = self.lane_of.get(number(source)).and_then(|lane| lane.checked_sub(1));
        lane.and_then(|lane| self.lanes.get(lane)).map_or(0, |lane| lane.keys.len())
    }

    /// Drops dead entries from the front of each lane, where expired ones gather.
    pub fn drop_dead(&mut self, is_live: impl Fn(Key) -> bool) {
        self.drop_from_lanes(|keys| {
            while keys.front().is_some_and(|key| !is_live(*key)) {
                keys.pop_front();
            }
        });
    }

    /// Drops dead entries wherever they stand.
    pub fn drop_all_dead(&mut self, is_live: impl Fn(Key) -> bool) {
        self.drop_from_lanes(|keys| keys.retain(|key| is_live(*key)));
    }

    fn drop_from_lanes(&mut self, drop: impl Fn(&mut VecDeque<Key>)) {
        drop(&mut self.first);
        self.entries = self.first.len();
        for list in [std::mem::take(&mut self.fresh), std::mem::take(&mut self.turn)] {
            for at in list {
                let Some(lane) = self.lanes.get_mut(at) else { continue };
                drop(&mut lane.keys);
                self.entries += lane.keys.len();
                if lane.keys.is_empty() {
                    self.close(at);
                } else {
                    self.turn.push_back(at);
                }
            }
        }
    }

    /// Gives a source a lane, which is a new one.
    fn open(&mut self, source: usize) -> usize {
        let at = self.spare.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            self.lanes.len() - 1
        });
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.source = source;
        }
        if let Some(known) = self.lane_of.get_mut(source) {
            *known = at + 1;
        }
        self.fresh.push_back(at);
        at
    }

    /// Takes an empty lane, which is in no list, from its source.
    fn close(&mut self, at: usize) {
        let Some(lane) = self.lanes.get_mut(at) else { return };
        if lane.keys.capacity() > SPARE_CAPACITY {
            lane.keys = VecDeque::new();
        }
        lane.left = 0;
        if let Some(known) = self.lane_of.get_mut(lane.source) {
            *known = 0;
        }
        self.spare.push(at);
    }
}

/// In the order in which they would be taken.
impl Iterator for FairQueue {
    type Item = Key;

    fn next(&mut self) -> Option<Key> {
        self.pop_front(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn source(slot: u32) -> Origin {
        let key = Key { slot: slot / 2, generation: 1 };
        if slot.is_multiple_of(2) { Origin::Source(key) } else { Origin::Ghost(key) }
    }

    fn entry(source: u32, number: u32) -> Key {
        Key { slot: number, generation: source }
    }

    proptest! {
        /// Pushed and taken in any order: each source's entries come out once, in order, and while two sources have
        /// entries neither is passed over for more than two turns.
        #[test]
        fn nothing_is_lost_or_overtaken_within_a_source_and_turns_are_even(
            steps in proptest::collection::vec((0u32..4, 1u32..30, 0u32..40), 1..60),
            turn in 1usize..5,
        ) {
            let mut queue = FairQueue::default();
            let mut model: BTreeMap<u32, VecDeque<u32>> = BTreeMap::new();
            let mut passed: BTreeMap<u32, usize> = BTreeMap::new();
            let mut count = 0;
            for (from, pushed, taken) in steps {
                for _ in 0..pushed {
                    count += 1;
                    queue.push_back(source(from), entry(from, count));
                    model.entry(from).or_default().push_back(count);
                }
                for _ in 0..taken {
                    let Some(key) = queue.pop_front(turn) else { break };
                    let from = key.generation;
                    let expected = model.get_mut(&from).and_then(VecDeque::pop_front);
                    prop_assert_eq!(expected, Some(key.slot));
                    model.retain(|_, waiting| !waiting.is_empty());
                    passed.insert(from, 0);
                    passed.retain(|other, _| model.contains_key(other));
                    for other in model.keys().filter(|other| **other != from) {
                        let times = passed.entry(*other).or_default();
                        *times += 1;
                        // Three others, each with its turn as a new one and one more.
                        prop_assert!(*times <= 6 * turn, "source {} was passed over {} times", other, times);
                    }
                }
                for slot in 0..4 {
                    prop_assert_eq!(queue.len_of(source(slot)), model.get(&slot).map_or(0, VecDeque::len));
                }
            }
            prop_assert_eq!(queue.count(), model.values().map(VecDeque::len).sum::<usize>());
        }
    }

    #[test]
    fn a_source_that_had_nothing_waiting_is_next_once() {
        let mut queue = FairQueue::default();
        (0..40).for_each(|number| queue.push_back(source(0), entry(0, number)));
        assert!((0..10).all(|_| queue.pop_front(8).is_some_and(|key| key.generation == 0)));
        queue.push_back(source(1), entry(1, 100));
        assert_eq!(queue.pop_front(8).unwrap().generation, 1, "before the rest of the other one's turn");
        queue.push_back(source(1), entry(1, 101));
        let next: Vec<u32> = (0..10).map(|_| queue.pop_front(8).unwrap().generation).collect();
        assert_eq!(next, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], "its turn goes on");
    }

    #[test]
    fn sources_with_a_record_now_and_then_do_not_shut_a_busy_one_out() {
        let mut queue = FairQueue::default();
        (0..200).for_each(|number| queue.push_back(source(0), entry(0, number)));
        assert!(queue.pop_front(8).is_some());
        for _ in 0..20 {
            (1..9).for_each(|number| queue.push_back(source(number), entry(number, 1)));
            assert!((0..8).all(|_| queue.pop_front(8).is_some()));
        }
        let served = 199 - queue.len_of(source(0));
        assert!(served >= 160 / 9, "it had {served} of 160");
    }

    #[test]
    fn retries_come_first_and_dead_entries_leave_from_every_lane() {
        let mut queue = FairQueue::default();
        for number in 0..6 {
            queue.push_back(source(number % 2), entry(number % 2, number));
        }
        queue.push_front(entry(9, 100));
        queue.drop_dead(|key| key.slot > 1);
        let order: Vec<u32> = queue.map(|key| key.slot).collect();
        assert_eq!(order, [100, 2, 3, 4, 5]);
    }
}
