//! At most so many lines for what could be said per record. Pure: time comes in.

use std::time::Duration;

use crate::time::Time;

/// Lets so many lines of one cause through per interval, and counts those left out in between. Keep one per cause.
///
/// ```
/// use ringpost::{logging::RateLimit, time::Time};
/// let mut limit = RateLimit::per_second();
/// assert_eq!(limit.allow(Time::ZERO), Some(0));            // written, nothing was left out
/// assert_eq!(limit.allow(Time::from_nanos(1)), None);      // left out
/// assert_eq!(limit.allow(Time::from_nanos(1_000_000_000)), Some(1));
/// ```
#[derive(Debug, Clone)]
pub struct RateLimit {
    interval: Duration,
    /// Lines per interval.
    lines: u32,
    /// When the interval began.
    began: Option<Time>,
    /// Lines written in it.
    written: u32,
    left_out: u64,
}

impl RateLimit {
    /// `lines` per `interval`.
    pub const fn new(lines: u32, interval: Duration) -> RateLimit {
        RateLimit { interval, lines, began: None, written: 0, left_out: 0 }
    }

    /// One line a second.
    pub const fn per_second() -> RateLimit {
        RateLimit::new(1, Duration::from_secs(1))
    }

    /// Whether a line may be written now: `Some` with the number of lines left out since the last one, else `None`.
    pub fn allow(&mut self, now: Time) -> Option<u64> {
        if self.began.is_none_or(|began| now.since(began) >= self.interval) {
            self.began = Some(now);
            self.written = 0;
        }
        if self.written >= self.lines {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// For a timer: how many lines were left out, once the interval is over and if there were any. Without it, the
    /// last lines of a burst would stay uncounted until the cause comes up again.
    pub fn overdue(&mut self, now: Time) -> Option<u64> {
        let is_over = self.began.is_none_or(|began| now.since(began) >= self.interval);
        if self.left_out == 0 || !is_over { None } else { self.allow(now) }
    }
}

/// Ends a limited line with the number of lines that were left out before it.
pub fn more(left_out: u64) -> String {
    if left_out == 0 { String::new() } else { format!(" ({left_out} more such lines were left out)") }
}
