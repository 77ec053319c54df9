//! Keeps records away from a URL that does not answer, and tests gently when it may be back.

use std::time::Duration;

use crate::time::Time;

/// Records in a row that failed to connect or timed out before a URL counts as unhealthy.
const UNHEALTHY_THRESHOLD: u32 = 3;

/// Pauses before an unhealthy URL is offered one live record; the last one repeats.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(5)];

/// Health of one URL as one executor sees it.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// Set while unhealthy.
    closed_until: Option<Time>,
    pauses: usize,
    /// The one record that tests an unhealthy URL is under way.
    testing: bool,
}

/// What a failure or a success changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anybody has to hear of.
    None,
    /// From healthy to unhealthy.
    Unhealthy,
    /// From unhealthy to healthy.
    Healthy,
}

impl Breaker {
    /// Whether a record may be sent here: healthy, or due for a test that nobody makes yet.
    pub fn admits(&self, now: Time) -> bool {
        match self.closed_until {
            None => true,
            Some(until) => until <= now && !self.testing,
        }
    }

    /// A record is on its way here. Tells whether it is the test of an unhealthy URL.
    pub fn sent(&mut self) -> bool {
        let test = self.closed_until.is_some() && !self.testing;
        self.testing |= test;
        test
    }

    /// The test ended without an answer to the question (the record was dropped before it was sent).
    pub fn abandoned(&mut self) {
        self.testing = false;
    }

    /// A record was answered with success.
    pub fn succeeded(&mut self) -> Change {
        let was_unhealthy = self.closed_until.is_some();
        *self = Breaker::default();
        if was_unhealthy { Change::Healthy } else { Change::None }
    }

    /// A record was answered, without success: the URL is there, whatever it says. `test` if it is the one that tests
    /// an unhealthy URL: only that one lengthens the pause.
    pub fn answered(&mut self, test: bool, now: Time) {
        self.failures = 0;
        if test && self.closed_until.is_some() {
            self.pause(now);
        }
    }

    /// Whether a record tests it now.
    pub fn is_tested(&self) -> bool {
        self.testing
    }

    /// `records` failed to connect or timed out; `test` if the one that tests an unhealthy URL is among them.
    pub fn failed(&mut self, records: u32, test: bool, now: Time) -> Change {
        self.failures = self.failures.saturating_add(records);
        if self.closed_until.is_some() {
            // Records that were under way before must not stretch the pause; only the test does.
            if test {
                self.pause(now);
            }
            return Change::None;
        }
        if self.failures < UNHEALTHY_THRESHOLD {
            return Change::None;
        }
        self.pause(now);
        Change::Unhealthy
    }

    fn pause(&mut self, now: Time) {
        let pause = PAUSES.get(self.pauses).or(PAUSES.last()).copied().unwrap_or_default();
        self.pauses = (self.pauses + 1).min(PAUSES.len());
        self.closed_until = Some(now + pause);
        self.testing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn three_in_a_row_close_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(1, false, at(0)), Change::None);
        assert_eq!(breaker.failed(1, false, at(0)), Change::None);
        breaker.succeeded();
        assert_eq!(breaker.failed(2, false, at(0)), Change::None);
        assert!(breaker.admits(at(0)));
        assert_eq!(breaker.failed(1, false, at(0)), Change::Unhealthy);
        assert!(!breaker.admits(at(0)));
    }

    #[test]
    fn one_record_tests_it_after_1_2_4_5_5_seconds_until_one_succeeds() {
        let mut breaker = Breaker::default();
        breaker.failed(3, false, at(100));
        let mut now = 100;
        for pause in [1, 2, 4, 5, 5, 5] {
            assert!(!breaker.admits(Time::from_nanos(at(now + pause).as_nanos() - 1)));
            now += pause;
            assert!(breaker.admits(at(now)));
            assert!(breaker.sent());
            assert!(!breaker.admits(at(now)), "one record, not two");
            assert_eq!(breaker.failed(1, true, at(now)), Change::None);
        }
        breaker.sent();
        assert_eq!(breaker.succeeded(), Change::Healthy);
        assert!(breaker.admits(at(now)));
        assert!(!breaker.sent());
    }

    #[test]
    fn late_failures_and_answers_of_records_sent_before_do_not_stretch_the_pause() {
        let mut breaker = Breaker::default();
        breaker.failed(3, false, at(0));
        breaker.failed(250, false, at(0));
        breaker.answered(false, at(0));
        assert!(breaker.admits(at(1)));
        assert!(breaker.sent());
        breaker.answered(false, at(1));
        assert!(!breaker.admits(at(9)), "one record tests it, not two");
        breaker.answered(true, at(9));
        assert!(!breaker.admits(at(10)) && breaker.admits(at(11)));
    }
}
