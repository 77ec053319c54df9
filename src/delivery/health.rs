//! Probes of one URL: when the next one is due, and what those so far say; and the verdict, which executors share.
//!
//! Each URL is probed by one executor. Its verdict stands in one word that the others look at in their tick, so that
//! nothing shared is touched for a record. Any executor takes a verdict back whose record was taken by the URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::spread::Spread;
use crate::config::model::HealthCheck;
use crate::time::Time;

/// The first probe comes within this, so that a URL that is down at the start is known soon.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// Two pauses between probes differ by up to this part of the interval, in percent, so that many connectors do not probe
/// in step.
const JITTER_PERCENT: u64 = 10;

/// Each verdict that a record took back doubles the failed probes that the next one needs, so many times at most.
/// Without it a URL that takes records and refuses probes would be left alone every few seconds.
const MOST_DOUBLINGS: u32 = 5;

/// What probes, or a record that was taken, last said about one URL: the lowest bit is set for unhealthy, the rest counts
/// the changes.
#[derive(Debug, Clone, Default)]
pub struct Verdict(Arc<AtomicU64>);

impl Verdict {
    /// The word; see [`is_unhealthy`].
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Declares it healthy or unhealthy. The new word.
    pub fn set(&self, unhealthy: bool) -> u64 {
        let next = |word: u64| (word | 1).wrapping_add(1) | u64::from(unhealthy);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(next(word)));
        before.map_or_else(|word| word, next)
    }
}

/// What a word of [`Verdict`] says.
pub const fn is_unhealthy(word: u64) -> bool {
    word & 1 == 1
}

/// What a probe led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing new.
    Nothing,
    /// Enough probes failed in a row.
    Unhealthy,
    /// Enough probes passed in a row.
    Healthy,
}

/// The probes of one URL, on the executor that sends them.
#[derive(Debug)]
pub struct Probes {
    interval: Duration,
    call_timeout: Duration,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
    spread: Spread,
    /// When the next one is sent.
    due: Option<Time>,
    /// Of the same kind, in a row.
    failed: u32,
    passed: u32,
    /// The verdict's word as it was when the last probe ended.
    seen: u64,
    doublings: u32,
}

impl Probes {
    /// Those of a URL; `seed` tells its pauses from those of others.
    pub fn new(settings: &HealthCheck, seed: u64) -> Probes {
        Probes {
            interval: settings.interval,
            call_timeout: settings.call_timeout,
            healthy_threshold: settings.healthy_threshold,
            unhealthy_threshold: settings.unhealthy_threshold,
            spread: Spread::new(seed),
            due: None,
            failed: 0,
            passed: 0,
            seen: 0,
            doublings: 0,
        }
    }

    /// How long one may take.
    pub fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// Whether one is to be sent now, while none is under way; then the next one is due an interval later.
    pub fn is_due(&mut self, now: Time) -> bool {
        let Some(due) = self.due else {
            // The clock tells one process from the next.
            self.spread.stir(now.as_nanos());
            let within = self.interval.min(FIRST_WITHIN);
            self.due = Some(now + self.spread.below(within));
            return false;
        };
        if now < due {
            return false;
        }
        let spread = self.interval * u32::try_from(2 * JITTER_PERCENT).unwrap_or(0) / 100;
        self.due = Some(now + (self.interval - spread / 2) + self.spread.below(spread));
        true
    }

    /// One ended, while the verdict's word is `word`.
    pub fn ended(&mut self, passed: bool, word: u64) -> Finding {
        if word != self.seen {
            self.changed(word);
        }
        if passed {
            self.failed = 0;
            self.doublings = 0;
            self.passed = self.passed.saturating_add(1);
            let enough = is_unhealthy(word) && self.passed >= self.healthy_threshold;
            return if enough { Finding::Healthy } else { Finding::Nothing };
        }
        self.passed = 0;
        self.failed = self.failed.saturating_add(1);
        let enough = !is_unhealthy(word) && self.failed >= self.unhealthy_threshold << self.doublings;
        if enough { Finding::Unhealthy } else { Finding::Nothing }
    }

    /// What was found was declared, which made the verdict's word `word`.
    pub fn declared(&mut self, word: u64) {
        self.seen = word;
        self.failed = 0;
        self.passed = 0;
    }

    /// A record was taken meanwhile.
    fn changed(&mut self, word: u64) {
        if is_unhealthy(self.seen) && self.passed == 0 {
            self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        }
        self.seen = word;
        self.failed = 0;
        self.passed = 0;
    }

    /// Failed probes in a row that the next verdict needs.
    pub fn needed(&self) -> u32 {
        self.unhealthy_threshold << self.doublings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(settings: HealthCheck) -> Probes {
        Probes::new(&settings, 7)
    }

    #[test]
    fn one_at_a_time_comes_once_an_interval_and_the_first_one_soon() {
        let mut probes = probes(HealthCheck { interval: Duration::from_secs(5000), ..HealthCheck::default() });
        let (mut now, mut sent) = (Time::ZERO, Vec::new());
        while sent.len() < 20 {
            if probes.is_due(now) {
                sent.push(now);
            }
            now = now + Duration::from_millis(50 + now.as_nanos() % 3);
        }
        assert!(sent[0].since(Time::ZERO) <= Duration::from_millis(1_100), "{sent:?}");
        let pauses: Vec<u64> = sent.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
        assert!(pauses.iter().all(|pause| (4_500..=5_501).contains(pause)), "{pauses:?}");
        let spread = pauses.iter().max().unwrap() - pauses.iter().min().unwrap();
        assert!(spread > 100, "not in step: {pauses:?}");
    }

    #[test]
    fn thresholds_count_in_a_row() {
        let settings = HealthCheck { unhealthy_threshold: 2, healthy_threshold: 3, ..HealthCheck::default() };
        let (mut probes, verdict) = (probes(settings), Verdict::default());
        let mut found = Vec::new();
        for passed in [false, true, false, false, false, true, true, false, true, true, true, true] {
            let finding = probes.ended(passed, verdict.get());
            match finding {
                Finding::Nothing => {}
                other => probes.declared(verdict.set(other == Finding::Unhealthy)),
            }
            found.push(finding);
        }
        use Finding::{Healthy, Nothing, Unhealthy};
        assert_eq!(
            found,
            [
                Nothing, Nothing, Nothing, Unhealthy, Nothing, Nothing, Nothing, Nothing, Nothing, Nothing, Healthy,
                Nothing
            ]
        );
    }

    #[test]
    fn each_verdict_that_a_record_takes_back_makes_the_next_one_harder_until_a_probe_passes() {
        let (mut probes, verdict) = (probes(HealthCheck::default()), Verdict::default());
        let until_unhealthy = |probes: &mut Probes| {
            for count in 1.. {
                if probes.ended(false, verdict.get()) == Finding::Unhealthy {
                    probes.declared(verdict.set(true));
                    return count;
                }
            }
            0
        };
        for expected in [3, 6, 12, 24, 48, 96, 96] {
            assert_eq!(until_unhealthy(&mut probes), expected);
            // A record is taken by the URL.
            verdict.set(false);
        }
        assert_eq!(probes.ended(true, verdict.get()), Finding::Nothing);
        assert_eq!(until_unhealthy(&mut probes), 3);
    }

    #[test]
    fn every_change_gives_another_word() {
        let verdict = Verdict::default();
        let words: Vec<u64> = [true, true, false, false, true].into_iter().map(|it| verdict.set(it)).collect();
        assert_eq!(words.iter().map(|word| is_unhealthy(*word)).collect::<Vec<_>>(), [true, true, false, false, true]);
        let mut different = words.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), words.len());
        assert_eq!(verdict.get(), words[4]);
    }
}
