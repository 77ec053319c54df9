//! Where the time of an executor's records goes: a histogram for each stage.

use hdrhistogram::Histogram;

/// Durations are kept up to this, in nanoseconds; longer ones count as this long.
const LONGEST_NANOS: u64 = 60_000_000_000;

/// Two significant digits: within 1 % at every size.
const DIGITS: u8 = 2;

/// A part of a record's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the end of the read that completed its frame until it is decoded.
    ReceiveWait,
    /// Its message is read.
    Decode,
    /// Its body and header values are written.
    Encode,
    /// From then until a connection or stream takes its request.
    QueueWait,
    /// From then until the first byte of the response.
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

/// Durations in nanoseconds.
#[derive(Debug, Clone)]
pub struct Durations(Option<Histogram<u64>>);

impl Default for Durations {
    fn default() -> Durations {
        // The bounds are constants that the library accepts; without a histogram nothing is recorded.
        Durations(Histogram::new_with_bounds(1, LONGEST_NANOS, DIGITS).ok())
    }
}

impl Durations {
    /// Records `nanos`, `times` times.
    pub fn record(&mut self, nanos: u64, times: u64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record_n(nanos, times);
        }
    }

    /// The histogram; there always is one.
    pub fn histogram(&self) -> Option<&Histogram<u64>> {
        self.0.as_ref()
    }

    /// Adds what another one has recorded.
    pub fn add(&mut self, other: &Durations) {
        if let (Some(mine), Some(theirs)) = (&mut self.0, &other.0) {
            // Both have the same bounds.
            let _ = mine.add(theirs);
        }
    }
}

/// The time until the first byte of a destination's response.
pub type Response = Durations;

/// One executor's stages, and its lag.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    stages: [Durations; Stage::ALL.len()],
    /// From a record's last-update time to its arrival, in nanoseconds: at the wall clocks' precision, a millisecond.
    pub lag: Durations,
}

impl Stages {
    /// Records `nanos` of a stage, for so many records.
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
}
