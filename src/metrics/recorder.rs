//! Records the stages of records, for the price of a few additions each.
//!
//! To read a clock takes about a tenth of what it takes to decode a small record, so that the short stages are measured for
//! one record of each [`BLOCK`] that follow each other, at a random place among them, and count for all of these. Records
//! above [`LARGE_BYTES`] are measured one by one.

use std::time::Duration;

use super::stages::{Stage, Stages};
use crate::time::{Now, Time};

/// One of so many records is measured, and counts for all of them.
pub const BLOCK: u8 = 16;

/// Records of more bytes are all measured, and stand in no block.
pub const LARGE_BYTES: usize = 4096;

/// Reads the clock that all times of an engine are of.
pub type Stopwatch = fn() -> Time;

/// Which records are measured.
#[derive(Debug)]
pub struct Sampler {
    /// Records of this block so far.
    place: u8,
    /// The one that is measured.
    chosen: u8,
    random: u64,
}

impl Sampler {
    /// Executors differ by their `seed`.
    pub const fn new(seed: u64) -> Sampler {
        Sampler { place: 0, chosen: 0, random: seed }
    }

    /// How many records the next one counts for, which has so many bytes; 0 if it is not measured.
    #[inline]
    pub fn weigh(&mut self, bytes: usize) -> u64 {
        if bytes > LARGE_BYTES {
            return 1;
        }
        if self.place == 0 {
            // A place among 16, from the best bits of a linear congruential generator.
            self.random = self.random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            self.chosen = (self.random >> 60) as u8 % BLOCK;
        }
        let is_chosen = self.place == self.chosen;
        self.place = if self.place + 1 < BLOCK { self.place + 1 } else { 0 };
        if is_chosen { BLOCK.into() } else { 0 }
    }
}

/// The stages of one executor, and the clock that they are measured with.
#[derive(Debug)]
pub struct Recorder {
    /// All but [`Stage::Response`], which destinations have.
    pub stages: Stages,
    sampler: Sampler,
    /// Blocks of their own, or the others would not be whole.
    guests: Sampler,
    stopwatch: Stopwatch,
    /// What the record at hand counts for; 0: it is not measured.
    weight: u64,
    /// When what is measured began.
    began: Time,
    /// The latest time that is known.
    moment: Time,
}

impl Recorder {
    /// `seed`: see [`Sampler::new`].
    pub fn new(stopwatch: Stopwatch, seed: u64) -> Recorder {
        Recorder {
            stages: Stages::default(),
            sampler: Sampler::new(seed),
            guests: Sampler::new(!seed),
            stopwatch,
            weight: 0,
            began: Time::ZERO,
            moment: Time::ZERO,
        }
    }

    /// The latest time that is known, which costs nothing to ask for.
    #[inline]
    pub const fn moment(&self) -> Time {
        self.moment
    }

    /// It is `now`, or a little later.
    #[inline]
    pub fn pass(&mut self, now: Time) {
        self.moment = self.moment.max(now);
    }

    /// Reads the clock.
    pub fn read(&mut self) -> Time {
        self.pass((self.stopwatch)());
        self.moment
    }

    /// A record of so many bytes is about to be decoded, whose read ended at `arrived`.
    #[inline]
    pub fn decode_begins(&mut self, bytes: usize, arrived: Time) {
        self.weight = self.sampler.weigh(bytes);
        if self.weight > 0 {
            self.began = self.read();
            self.stages.record(Stage::ReceiveWait, nanos(self.began.since(arrived)), self.weight);
        }
    }

    /// A record that another executor has decoded, and that is decoded again, is about to be: only its `encode` counts here.
    pub fn guest_begins(&mut self, bytes: usize) {
        self.weight = self.guests.weigh(bytes);
        self.began = Time::ZERO;
    }

    /// The record is decoded.
    #[inline]
    pub fn decoded(&mut self) {
        if self.weight > 0 && self.began > Time::ZERO {
            self.lap(Stage::Decode);
        }
    }

    /// The record is about to be encoded.
    #[inline]
    pub fn encode_begins(&mut self) {
        if self.weight > 0 {
            self.began = self.read();
        }
    }

    /// The record is encoded.
    #[inline]
    pub fn encoded(&mut self) {
        if self.weight > 0 {
            self.lap(Stage::Encode);
        }
    }

    fn lap(&mut self, stage: Stage) {
        let now = self.read();
        self.stages.record(stage, nanos(now.since(self.began)), self.weight);
    }

    /// A record has arrived that was last updated then.
    #[inline]
    pub fn arrived(&mut self, lut_ms: Option<u64>, now: Now) {
        if let Some(lut_ms) = lut_ms {
            let lag = now.unix_ms.saturating_sub(lut_ms);
            self.stages.lag.record(lag.saturating_mul(1_000_000), 1);
        }
    }

    /// A record's request is over that was given to a connection at `sent`; the record was encoded at `encoded`.
    #[inline]
    pub fn sent(&mut self, encoded: Time, sent: Time) {
        self.stages.record(Stage::QueueWait, nanos(sent.since(encoded)), 1);
    }

    /// A record's code was released.
    #[inline]
    pub fn released(&mut self, waited: Duration, total: Duration) {
        self.stages.record(Stage::AckWait, nanos(waited), 1);
        self.stages.record(Stage::Total, nanos(total), 1);
    }
}

/// As many nanoseconds; there are 584 years of them.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_of_small_records_has_one_that_counts_for_all_and_large_ones_count_for_themselves() {
        let mut sampler = Sampler::new(7);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let mut counted = 0;
            for place in 0..BLOCK {
                assert_eq!(sampler.weigh(LARGE_BYTES + 1), 1);
                let weight = sampler.weigh(LARGE_BYTES);
                if weight > 0 {
                    places.insert(place);
                }
                counted += weight;
            }
            assert_eq!(counted, u64::from(BLOCK));
        }
        assert_eq!(places.len(), usize::from(BLOCK), "every place has its turn");
    }
}
