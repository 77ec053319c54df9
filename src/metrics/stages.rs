//! Where the time of an executor's records goes: a histogram for each stage.
//!
//! What is counted how often:
//! - `receive-wait`, `decode` and `encode` are sampled ([`super::recorder`]): their counts are within 16 of the true ones,
//!   that of `encode` about right, since only some of the records that are decoded are encoded.
//! - `queue-wait` counts each record once for each destination that it was sent to, when its request there is over;
//!   `response` the same, if there was a first byte of a response. A request that is sent a second time is measured from
//!   the second time on: all that was before it is `queue-wait`. A batch that is taken apart is a request, and so is each
//!   of its records then.
//! - `ack-wait` and `total` count each record once, when its code is released; records that were answered 18 were not
//!   dispatched, and are not counted.
//! - `lag` counts each record that has a last-update time.

use hdrhistogram::Histogram;

/// Durations are kept up to this, in nanoseconds; longer ones count as this long.
pub const LONGEST_NANOS: u64 = 60_000_000_000;

/// The longest lag that is told apart, in nanoseconds: a month.
pub const LONGEST_LAG_NANOS: u64 = 30 * 86_400 * 1_000_000_000;

/// Two significant digits: within 1 % at every size.
const DIGITS: u8 = 2;

/// Bytes of one histogram that has seen every size; one that saw less has less, and none before the first.
pub const HISTOGRAM_BYTES: usize = 30 * 1024;

/// Wall clocks say milliseconds.
const LAG_UNIT_NANOS: u64 = 1_000_000;

/// A part of a record's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the end of the read that completed its frame until it is decoded.
    ReceiveWait,
    /// Its message is read, and inflated if it is compressed.
    Decode,
    /// Its body and header values are written.
    Encode,
    /// From then until a connection or stream takes its request: the wait for the rest of its batch, for an older version
    /// of it, for a connection.
    QueueWait,
    /// From then until the first byte of the response (HTTP/2: the end of its head).
    Response,
    /// Its code is known, and waits for those of records before it.
    AckWait,
    /// From the end of the read until its code may be written.
    Total,
}

impl Stage {
    /// All of them, in the order of a record's way.
    pub const ALL: [Stage; 7] = [
        Stage::ReceiveWait,
        Stage::Decode,
        Stage::Encode,
        Stage::QueueWait,
        Stage::Response,
        Stage::AckWait,
        Stage::Total,
    ];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::ReceiveWait => "receive-wait",
            Stage::Decode => "decode",
            Stage::Encode => "encode",
            Stage::QueueWait => "queue-wait",
            Stage::Response => "response",
            Stage::AckWait => "ack-wait",
            Stage::Total => "total",
        }
    }
}

/// Durations in nanoseconds. Takes memory with the first one, and more with each new size, at most [`HISTOGRAM_BYTES`].
#[derive(Debug, Clone)]
pub struct Durations {
    histogram: Option<Histogram<u64>>,
    sum: u128,
    /// Shorter ones are not told apart.
    unit: u64,
    longest: u64,
}

impl Default for Durations {
    fn default() -> Durations {
        Durations::new(1, LONGEST_NANOS)
    }
}

impl Durations {
    const fn new(unit: u64, longest: u64) -> Durations {
        Durations { histogram: None, sum: 0, unit, longest }
    }

    /// Records `nanos`, `times` times.
    #[inline]
    pub fn record(&mut self, nanos: u64, times: u64) {
        let nanos = nanos.min(self.longest);
        let unit = self.unit;
        let histogram = match &mut self.histogram {
            Some(histogram) => histogram,
            missing => match empty(unit) {
                Some(histogram) => missing.insert(histogram),
                None => return,
            },
        };
        // It grows as needed, up to the longest.
        let _ = histogram.record_n(nanos, times);
        self.sum += u128::from(nanos) * u128::from(times);
    }

    /// The histogram, if anything was recorded.
    pub fn histogram(&self) -> Option<&Histogram<u64>> {
        self.histogram.as_ref()
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// All of them together, in nanoseconds: exact, but for those that were longer than the longest.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The duration that `quantile` (0 to 1) of them are not above, in nanoseconds; 0 if there are none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile))
    }

    /// Adds what another one has recorded.
    pub fn add(&mut self, other: &Durations) {
        let Some(theirs) = &other.histogram else { return };
        match &mut self.histogram {
            // Both grow as needed, and count in the same units.
            Some(mine) => _ = mine.add(theirs),
            mine => *mine = Some(theirs.clone()),
        }
        self.sum += other.sum;
    }

    /// What was recorded since `earlier`, an older copy of this: a histogram of its own.
    pub fn since(&self, earlier: &Durations) -> Durations {
        let mut new = self.clone();
        if let (Some(mine), Some(theirs)) = (&mut new.histogram, &earlier.histogram) {
            // It is an older copy, so that it has nothing that this one has not.
            let _ = mine.subtract(theirs);
        }
        new.sum = self.sum.saturating_sub(earlier.sum);
        new
    }

    /// Takes over what `other` has, in the memory that there is; does nothing if it has it already.
    pub fn copy_from(&mut self, other: &Durations) {
        if self.count() == other.count() && self.sum == other.sum {
            return;
        }
        match (&mut self.histogram, &other.histogram) {
            (Some(mine), Some(theirs)) if mine.buckets() == theirs.buckets() => _ = mine.set_to(theirs),
            (mine, theirs) => mine.clone_from(theirs),
        }
        self.sum = other.sum;
    }

    /// Forgets everything but the memory.
    fn clear(&mut self) {
        if let Some(histogram) = &mut self.histogram {
            histogram.reset();
        }
        self.sum = 0;
    }
}

/// One that grows as needed.
fn empty(unit: u64) -> Option<Histogram<u64>> {
    // The bounds are constants that the library accepts; without a histogram nothing is recorded.
    let mut histogram = Histogram::new_with_bounds(unit, unit * 2, DIGITS).ok()?;
    histogram.auto(true);
    Some(histogram)
}

/// The time until the first byte of a destination's response.
pub type Response = Durations;

/// One executor's stages, and its lag.
#[derive(Debug, Clone)]
pub struct Stages {
    stages: [Durations; Stage::ALL.len()],
    /// From a record's last-update time to its arrival, in nanoseconds: at the wall clocks' precision, a millisecond. A
    /// clock that is ahead of ours makes it 0.
    pub lag: Durations,
}

impl Default for Stages {
    fn default() -> Stages {
        Stages { stages: Default::default(), lag: Durations::new(LAG_UNIT_NANOS, LONGEST_LAG_NANOS) }
    }
}

impl Stages {
    /// Records `nanos` of a stage, for so many records.
    #[inline]
    pub fn record(&mut self, stage: Stage, nanos: u64, times: u64) {
        if let Some(durations) = self.stages.get_mut(stage as usize) {
            durations.record(nanos, times);
        }
    }

    /// What was recorded of a stage.
    pub fn of(&self, stage: Stage) -> Option<&Durations> {
        self.stages.get(stage as usize)
    }

    /// Adds another executor's.
    pub fn add(&mut self, other: &Stages) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.add(theirs);
        }
        self.lag.add(&other.lag);
    }

    /// Takes over what `other` has, in the memory that there is, `response` aside.
    pub fn copy_from(&mut self, other: &Stages) {
        for (stage, (mine, theirs)) in Stage::ALL.into_iter().zip(self.stages.iter_mut().zip(&other.stages)) {
            if stage != Stage::Response {
                mine.copy_from(theirs);
            }
        }
        self.lag.copy_from(&other.lag);
    }

    /// Makes [`Stage::Response`] of the responses of all destinations.
    pub fn gather_responses<'a>(&mut self, mut responses: impl ExactSizeIterator<Item = &'a Response>) {
        let [.., all, _, _] = &mut self.stages;
        if responses.len() == 1 {
            return responses.for_each(|only| all.copy_from(only));
        }
        all.clear();
        responses.by_ref().for_each(|one| all.add(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kept_within_a_percent_and_their_sum_exactly() {
        let mut durations = Durations::default();
        for nanos in [180, 7_777, 1_234_567, 5_000_000_000] {
            durations.record(nanos, 3);
        }
        assert_eq!((durations.count(), durations.sum()), (12, 3 * 5_001_242_524));
        for (quantile, nanos) in [(0.2, 180_u64), (0.5, 7_777), (0.7, 1_234_567), (1.0, 5_000_000_000)] {
            let found = durations.quantile(quantile);
            assert!(found >= nanos && found - nanos <= nanos / 100, "{nanos} is {found}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_recorded() {
        let mut stages = Stages::default();
        for shift in 0..64 {
            stages.record(Stage::Total, u64::MAX >> shift, u64::from(u32::MAX));
            stages.lag.record(u64::MAX >> shift, 1);
        }
        for durations in [stages.of(Stage::Total).unwrap(), &stages.lag] {
            let bytes = durations.histogram().unwrap().distinct_values() * size_of::<u64>();
            assert!(bytes <= HISTOGRAM_BYTES, "{bytes}");
        }
        assert_eq!(stages.of(Stage::Decode).unwrap().histogram().map(Histogram::len), None, "nothing, no memory");
        let longest = stages.lag.quantile(1.0);
        assert!((LONGEST_LAG_NANOS..LONGEST_LAG_NANOS / 100 * 101).contains(&longest));
    }

    #[test]
    fn a_copy_is_what_it_was_copied_from_whichever_has_seen_longer_ones() {
        let mut from = Durations::default();
        let mut copy = Durations::default();
        for nanos in [100, 50_000_000, 3] {
            from.record(nanos, 2);
            copy.copy_from(&from);
            assert_eq!(copy.histogram(), from.histogram());
            assert_eq!((copy.count(), copy.sum()), (from.count(), from.sum()));
        }
        let before = copy.clone();
        from.record(9_000, 4);
        let since = from.since(&before);
        assert_eq!((since.count(), since.sum()), (4, 36_000));
    }

    #[test]
    fn the_responses_of_all_destinations_are_the_stage() {
        let mut stages = Stages::default();
        let mut one = Durations::default();
        one.record(1_000, 1);
        stages.gather_responses([&one].into_iter());
        assert_eq!(stages.of(Stage::Response).map(Durations::count), Some(1));
        let mut other = Durations::default();
        other.record(70_000, 2);
        for _ in 0..2 {
            stages.gather_responses([&one, &other].into_iter());
            assert_eq!(stages.of(Stage::Response).map(Durations::sum), Some(141_000));
        }
        assert_eq!(stages.of(Stage::AckWait).map(Durations::count), Some(0));
    }
}
