//! Keeps records away from a URL that does not answer or that asked to be left alone, and tests gently when it may be
//! back.
//!
//! Two reasons close a URL, each with its own end. *Unhealthy*: records in a row failed to connect or timed out, or
//! probes did (see [`super::health`]); one live record tests it after 1, 2, 4, 5, 5 … s, and any record that succeeds
//! opens it. *Waiting*: an answer carried `Retry-After`; no record is sent until then, then one first, and the others
//! once that one is answered without a new `Retry-After`.

use std::time::Duration;

use crate::time::Time;

/// Pauses before an unhealthy URL is offered one live record; the last one repeats.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(5)];

/// Health of one URL as one executor sees it.
#[derive(Debug)]
pub struct Breaker {
    /// Failures in a row that make it unhealthy.
    threshold: u32,
    failures: u32,
    /// Set while unhealthy: when the next test is due.
    closed_until: Option<Time>,
    pauses: usize,
    /// Set since an answer with `Retry-After`, until a later test is answered without one.
    waits_until: Option<Time>,
    /// The one record that tests a closed URL is under way.
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
    /// Healthy until `threshold` failures in a row.
    pub fn new(threshold: u32) -> Breaker {
        Breaker {
            threshold: threshold.max(1),
            failures: 0,
            closed_until: None,
            pauses: 0,
            waits_until: None,
            testing: false,
        }
    }

    /// Whether a record may be sent here: open, or due for a test that nobody makes yet.
    pub fn admits(&self, now: Time) -> bool {
        let is_due = |until: Option<Time>| until.is_none_or(|until| until <= now);
        is_due(self.closed_until) && is_due(self.waits_until) && !(self.is_closed() && self.testing)
    }

    /// Whether a record that is sent here is a test, and may well fail.
    pub fn is_closed(&self) -> bool {
        self.closed_until.is_some() || self.waits_until.is_some()
    }

    /// Whether it is closed because it asked to be left alone, and not for its failures.
    pub fn is_waiting(&self) -> bool {
        self.waits_until.is_some() && self.closed_until.is_none()
    }

    /// A record is on its way here. Tells whether it is the test of a closed URL.
    pub fn sent(&mut self) -> bool {
        let test = self.is_closed() && !self.testing;
        self.testing |= test;
        test
    }

    /// The test ended without an answer to the question (the record was dropped before it was sent).
    pub fn abandoned(&mut self) {
        self.testing = false;
    }

    /// A record was taken; `test` if it is the one that tests a closed URL. What was on its way before does not end
    /// the pause that a later answer asked for.
    pub fn succeeded(&mut self, test: bool) -> Change {
        if test {
            self.waits_until = None;
            self.testing = false;
        }
        self.open()
    }

    /// It is healthy again, whoever found that out.
    pub fn open(&mut self) -> Change {
        let was_unhealthy = self.closed_until.take().is_some();
        self.failures = 0;
        self.pauses = 0;
        if !self.is_closed() {
            self.testing = false;
        }
        if was_unhealthy { Change::Healthy } else { Change::None }
    }

    /// A record was answered, without success: the URL is there, whatever it says. `test` if it is the one that tests
    /// a closed URL: only that one lengthens the pause, and ends a wait.
    pub fn answered(&mut self, test: bool, now: Time) {
        self.failures = 0;
        if !test {
            return;
        }
        self.waits_until = None;
        self.testing = false;
        if self.closed_until.is_some() {
            self.pause(now);
        }
    }

    /// A record was answered, and no record is wanted before `until`; `test` as in [`Breaker::answered`]. Whether that is
    /// later than it was.
    pub fn told_to_wait(&mut self, test: bool, until: Time, now: Time) -> bool {
        self.answered(test, now);
        let is_later = self.waits_until.is_none_or(|before| before < until);
        if is_later {
            self.waits_until = Some(until);
        }
        is_later
    }

    /// Whether a record tests it now.
    pub fn is_tested(&self) -> bool {
        self.testing
    }

    /// `records` failed to connect or timed out; `test` if the one that tests a closed URL is among them.
    pub fn failed(&mut self, records: u32, test: bool, now: Time) -> Change {
        self.failures = self.failures.saturating_add(records);
        if test {
            self.testing = false;
        }
        if self.closed_until.is_some() {
            // Records that were under way before must not stretch the pause; only the test does.
            if test {
                self.pause(now);
            }
            return Change::None;
        }
        if self.failures < self.threshold {
            return Change::None;
        }
        self.pause(now);
        Change::Unhealthy
    }

    /// Probes found it unhealthy.
    pub fn close(&mut self, now: Time) -> Change {
        if self.closed_until.is_some() {
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
        let mut breaker = Breaker::new(3);
        assert_eq!(breaker.failed(1, false, at(0)), Change::None);
        assert_eq!(breaker.failed(1, false, at(0)), Change::None);
        breaker.succeeded(false);
        assert_eq!(breaker.failed(2, false, at(0)), Change::None);
        assert!(breaker.admits(at(0)));
        assert_eq!(breaker.failed(1, false, at(0)), Change::Unhealthy);
        assert!(!breaker.admits(at(0)));
    }

    #[test]
    fn as_many_in_a_row_as_configured_close_it() {
        let mut breaker = Breaker::new(5);
        assert_eq!(breaker.failed(4, false, at(0)), Change::None);
        assert_eq!(breaker.failed(1, false, at(0)), Change::Unhealthy);
        assert_eq!(Breaker::new(1).failed(1, false, at(0)), Change::Unhealthy);
    }

    #[test]
    fn one_record_tests_it_after_1_2_4_5_5_seconds_until_one_succeeds() {
        let mut breaker = Breaker::new(3);
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
        assert_eq!(breaker.succeeded(true), Change::Healthy);
        assert!(breaker.admits(at(now)));
        assert!(!breaker.sent());
    }

    #[test]
    fn late_failures_and_answers_of_records_sent_before_do_not_stretch_the_pause() {
        let mut breaker = Breaker::new(3);
        breaker.failed(3, false, at(0));
        breaker.failed(250, false, at(0));
        breaker.answered(false, at(0));
        assert_eq!(breaker.close(at(0)), Change::None, "nor do probes");
        assert!(breaker.admits(at(1)));
        assert!(breaker.sent());
        breaker.answered(false, at(1));
        assert!(!breaker.admits(at(9)), "one record tests it, not two");
        breaker.answered(true, at(9));
        assert!(!breaker.admits(at(10)) && breaker.admits(at(11)));
    }

    #[test]
    fn any_record_that_succeeds_opens_what_failures_or_probes_closed() {
        let mut breaker = Breaker::new(3);
        assert_eq!(breaker.close(at(0)), Change::Unhealthy);
        assert!(!breaker.admits(at(0)));
        assert_eq!(breaker.succeeded(false), Change::Healthy);
        assert!(breaker.admits(at(0)));
    }

    #[test]
    fn after_a_wait_one_record_goes_first_and_no_earlier_success_ends_the_wait() {
        let mut breaker = Breaker::new(3);
        assert!(breaker.told_to_wait(false, at(7), at(0)));
        assert!(!breaker.told_to_wait(false, at(5), at(0)), "the longest wait holds");
        assert_eq!(breaker.succeeded(false), Change::None);
        assert!(!breaker.admits(at(6)));
        assert!(breaker.admits(at(7)));
        assert!(breaker.sent());
        assert!(!breaker.admits(at(7)), "one record, not two");
        assert!(breaker.told_to_wait(true, at(9), at(8)));
        assert!(!breaker.admits(at(8)) && breaker.admits(at(9)));
        assert!(breaker.sent());
        // Another status says that it may be asked again.
        breaker.answered(true, at(9));
        assert!(breaker.admits(at(9)) && !breaker.is_closed());
    }

    #[test]
    fn a_url_that_waits_can_become_unhealthy_and_has_to_be_free_of_both() {
        let mut breaker = Breaker::new(3);
        breaker.told_to_wait(false, at(2), at(0));
        for second in [2, 3, 4] {
            assert!(breaker.admits(at(second)) && breaker.sent());
            let expected = if second == 4 { Change::Unhealthy } else { Change::None };
            assert_eq!(breaker.failed(1, true, at(second)), expected);
        }
        assert!(!breaker.admits(at(4)) && breaker.admits(at(5)));
        breaker.sent();
        assert_eq!(breaker.succeeded(true), Change::Healthy);
        assert!(!breaker.is_closed() && breaker.admits(at(5)));
    }
}
