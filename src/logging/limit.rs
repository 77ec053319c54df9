//! At most so many lines for what could be said per record. Pure: time comes in.

use std::time::Duration;

use crate::time::Time;

/// Lets one line of one cause through per interval, and counts those left out in between. Keep one per cause.
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
    last: Option<Time>,
    left_out: u64,
}

impl RateLimit {
    /// One line per `interval`.
    pub const fn new(interval: Duration) -> RateLimit {
        RateLimit { interval, last: None, left_out: 0 }
    }

    /// One line a second.
    pub const fn per_second() -> RateLimit {
        RateLimit::new(Duration::from_secs(1))
    }

    /// Whether a line may be written now: `Some` with the number of lines left out since the last one, else `None`.
    pub fn allow(&mut self, now: Time) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < self.interval) {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }

    /// For a timer: how many lines were left out, once the interval is over and if there were any. Without it, the
    /// last lines of a burst would stay uncounted until the cause comes up again.
    pub fn overdue(&mut self, now: Time) -> Option<u64> {
        if self.left_out == 0 { None } else { self.allow(now) }
    }
}
