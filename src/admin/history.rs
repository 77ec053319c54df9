//! What happened lately: one point a second for five minutes, and the latencies of the last seconds, out of the differences
//! between what executors have published.
//!
//! Memory is bounded by [`POINTS`], and by four sums of all histograms (two marks, the sum of now, and the difference):
//! with D destinations at most 4 · (8 + D) · 30 KiB. Rates are those between two publications of each executor, so that it
//! does not matter when a publication falls into a second. A second that was not looked at has a point without anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::snapshot::Snapshot;
use crate::metrics::stages::{Durations, Stage, Stages};
use crate::time::{Now, Time};

/// How far points are apart.
pub const STEP: Duration = Duration::from_secs(1);

/// How many of them are kept.
pub const POINTS: usize = 300;

/// Latencies "of the last seconds" begin at the older of so many marks...
const MARKS: usize = 2;

/// ... which are so many points apart: they are those of the last 5 to 10 seconds.
const MARK_EVERY: u64 = 5;

/// Shares of codes are those of so many points.
const MINUTE: u64 = 60;

/// An executor that has published nothing for so long stands still.
pub const STILL: Duration = Duration::from_secs(1);

/// Codes of acks, in the order of every list of them here.
pub const CODES: [u8; 4] = [0, 10, 11, 18];

/// Latencies of some time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many there were; without any all others are 0.
    pub count: u64,
    /// Half of them are not above this.
    pub p50: u64,
    /// 90 % of them.
    pub p90: u64,
    /// 99 % of them.
    pub p99: u64,
    /// 99.9 % of them.
    pub p999: u64,
    /// The longest, within 1 %.
    pub max: u64,
}

impl Summary {
    /// Of what was recorded.
    pub fn of(durations: &Durations) -> Summary {
        Summary {
            count: durations.count(),
            p50: durations.quantile(0.5),
            p90: durations.quantile(0.9),
            p99: durations.quantile(0.99),
            p999: durations.quantile(0.999),
            max: durations.quantile(1.0),
        }
    }
}

/// One second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// Records that came in, a second; `None`: nobody looked.
    pub records: Option<f64>,
    /// Acks a second, by [`CODES`].
    pub acked: Option<[f64; CODES.len()]>,
    /// Acks since the point before, by [`CODES`].
    counts: [u64; CODES.len()],
    /// Latencies since the point before, in the order of [`Stage::ALL`].
    pub stages: [Summary; Stage::ALL.len()],
}

/// What one executor did in the last second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// Records that came in, a second.
    pub records: f64,
    /// The share of its core that its thread used: 0 to 1.
    pub busy: f64,
    /// Times that it published nothing for a second, as far as this was looked at.
    pub stalls: u64,
    acked: [f64; CODES.len()],
    is_still: bool,
    before: Mark,
}

/// Counts of one executor at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mark {
    taken: Time,
    cpu: Duration,
    records: u64,
    acked: [u64; CODES.len()],
}

impl Mark {
    fn of(snapshot: &Snapshot) -> Mark {
        let counters = &snapshot.counters;
        Mark {
            taken: snapshot.taken,
            cpu: snapshot.cpu,
            records: counters.records,
            acked: [counters.acked_ok, counters.acked_permanent, counters.acked_temporary, counters.acked_overload],
        }
    }
}

impl Pace {
    /// Acks since the last look.
    fn look(&mut self, snapshot: &Snapshot, now: Time, is_on_time: bool) -> [u64; CODES.len()] {
        let (new, old) = (Mark::of(snapshot), self.before);
        let seconds = new.taken.since(old.taken).as_secs_f64();
        // Nothing new was published: it did nothing that is known of.
        let rate = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let counts = std::array::from_fn(|code| difference(&new.acked, &old.acked, code));
        self.records = rate(new.records.saturating_sub(old.records) as f64);
        self.busy = rate(new.cpu.saturating_sub(old.cpu).as_secs_f64()).min(1.0);
        self.acked = counts.map(|count| rate(count as f64));
        self.before = new;
        // Where nobody looked in time, the whole process or its machine stood still.
        let is_still = !snapshot.is_draining && now.since(new.taken) > STILL;
        if is_still && !self.is_still && is_on_time {
            self.stalls += 1;
        }
        self.is_still = is_still;
        counts
    }
}

fn difference(new: &[u64], old: &[u64], place: usize) -> u64 {
    let at = |counts: &[u64]| counts.get(place).copied().unwrap_or(0);
    at(new).saturating_sub(at(old))
}

/// The histograms of all executors together at one time.
#[derive(Debug, Clone, Default)]
struct Sums {
    stages: Stages,
    /// Of each destination.
    responses: Vec<Durations>,
}

impl Sums {
    fn of(executors: &[Arc<Snapshot>]) -> Sums {
        let mut sums = Sums::default();
        for snapshot in executors {
            sums.stages.add(&snapshot.stages);
            if sums.responses.len() < snapshot.destinations.len() {
                sums.responses.resize_with(snapshot.destinations.len(), Durations::default);
            }
            for (sum, destination) in sums.responses.iter_mut().zip(&snapshot.destinations) {
                sum.add(&destination.response);
            }
        }
        sums
    }

    fn stages_since(&self, earlier: Option<&Sums>) -> [Summary; Stage::ALL.len()] {
        Stage::ALL.map(|stage| {
            let new = self.stages.of(stage);
            let old = earlier.and_then(|sums| sums.stages.of(stage));
            new.map_or_else(Summary::default, |new| since(new, old))
        })
    }
}

fn since(new: &Durations, old: Option<&Durations>) -> Summary {
    match old {
        // Most are equal when little happens; a difference is a copy.
        Some(old) if old.count() == new.count() => Summary::default(),
        Some(old) => Summary::of(&new.since(old)),
        None => Summary::of(new),
    }
}

/// The last five minutes. To be told once a [`STEP`].
#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
    /// When the first look was.
    began: Option<Time>,
    /// The number of the last point, counted from the first look.
    end: u64,
    /// When the last look was, in milliseconds since 1970.
    end_ms: u64,
    paces: Vec<Pace>,
    before: Sums,
    marks: VecDeque<Sums>,
    stages: [Summary; Stage::ALL.len()],
    lag: Summary,
    responses: Vec<Summary>,
}

impl History {
    /// Looks at what executors have published. A second look at one point is none.
    pub fn look(&mut self, now: Now, executors: &[Arc<Snapshot>]) {
        let began = *self.began.get_or_insert(now.monotonic);
        // Looks are a step apart, and may each be late: the nearest point is theirs.
        let nanos = (now.monotonic.since(began) + STEP / 2).as_nanos() / STEP.as_nanos();
        let number = u64::try_from(nanos).unwrap_or(u64::MAX);
        let is_first = self.points.is_empty();
        if !is_first && number <= self.end {
            return;
        }
        let missed = if is_first { 0 } else { number - self.end - 1 };
        for _ in 0..missed.min(POINTS as u64) {
            self.push(Point::default());
        }
        (self.end, self.end_ms) = (number, now.unix_ms);
        let sums = Sums::of(executors);
        let mut point = Point { stages: sums.stages_since(Some(&self.before)), ..Point::default() };
        self.paces.resize(executors.len(), Pace::default());
        let (mut records, mut acked) = (0.0, [0.0; CODES.len()]);
        for (pace, snapshot) in self.paces.iter_mut().zip(executors) {
            let counts = pace.look(snapshot, now.monotonic, missed == 0);
            records += pace.records;
            point.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            acked.iter_mut().zip(pace.acked).for_each(|(sum, rate)| *sum += rate);
        }
        (point.records, point.acked) = (Some(records), Some(acked));
        self.push(point);
        self.look_back(&sums);
        if number.is_multiple_of(MARK_EVERY) {
            self.marks.push_back(sums.clone());
            self.marks.drain(..self.marks.len().saturating_sub(MARKS));
        }
        self.before = sums;
    }

    fn push(&mut self, point: Point) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// Latencies of the last seconds.
    fn look_back(&mut self, sums: &Sums) {
        let old = self.marks.front();
        self.stages = sums.stages_since(old);
        self.lag = since(&sums.stages.lag, old.map(|sums| &sums.stages.lag));
        let of = |(place, new)| since(new, old.and_then(|sums| sums.responses.get(place)));
        self.responses = sums.responses.iter().enumerate().map(of).collect();
    }

    /// The last `count` points, oldest first.
    pub fn points(&self, count: usize) -> impl Iterator<Item = &Point> + Clone {
        self.points.iter().skip(self.points.len().saturating_sub(count))
    }

    /// The number of the last point; the one before it has a number less.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// When the last point was made, in milliseconds since 1970.
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// What each executor did in the last second.
    pub fn pace(&self, executor: usize) -> Pace {
        self.paces.get(executor).copied().unwrap_or_default()
    }

    /// Latencies of the last seconds, in the order of [`Stage::ALL`].
    pub fn stages(&self) -> &[Summary; Stage::ALL.len()] {
        &self.stages
    }

    /// The same from the last update of records to their arrival.
    pub fn lag(&self) -> Summary {
        self.lag
    }

    /// The same until the first byte of a destination's responses.
    pub fn response(&self, destination: usize) -> Summary {
        self.responses.get(destination).copied().unwrap_or_default()
    }

    /// The share of a minute's acks that said 10, which means that a record is lost to its destination: 0 to 1.
    pub fn permanent_share(&self) -> f64 {
        let counts = self.points.iter().rev().take(MINUTE as usize).map(|point| point.counts);
        let (mut all, mut permanent) = (0, 0);
        for [ok, never, later, overload] in counts {
            all += ok + never + later + overload;
            permanent += never;
        }
        if all == 0 { 0.0 } else { permanent as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests;
