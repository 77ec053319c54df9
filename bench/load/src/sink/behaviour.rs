//! How a sink answers: the faults of a destination, switchable while it runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::mix;
use crate::record::Identity;

/// What happens to a request instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Accepted, never answered.
    Hang,
    /// The connection closes before any byte of the answer.
    CloseBeforeAnswer,
    /// It closes after the head of an answer of success.
    CloseAfterHead,
    /// It closes inside the body of an answer of success.
    CloseMidBody,
    /// HTTP/2: RST_STREAM INTERNAL_ERROR. HTTP/1.1: as `CloseBeforeAnswer`.
    Reset,
    /// HTTP/2: RST_STREAM REFUSED_STREAM. HTTP/1.1: as `CloseBeforeAnswer`.
    Refuse,
}

/// How a connection ends after [`Behaviour::requests_per_connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// HTTP/1.1: `Connection: close` on the last answer. HTTP/2: two GOAWAYs, what is open is finished.
    Announced,
    /// HTTP/1.1: closes after the last answer without a word (the keep-alive race). HTTP/2: one GOAWAY with the last
    /// stream, then the connection closes at once, answers or not.
    Abrupt,
}

/// Records that are refused, whatever else stands in their request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Which ones.
    pub records: Poisoned,
    /// What a request with any of them is answered, where it would be a success.
    pub status: u16,
}

/// Which records a [`Poison`] hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poisoned {
    /// Those whose sequence number is a multiple of this; 0: none.
    Every(u64),
    /// These sequence numbers.
    Sequences(Arc<BTreeSet<u64>>),
}

impl Poison {
    /// Whether this record is refused.
    pub fn hits(&self, identity: Identity) -> bool {
        match &self.records {
            Poisoned::Every(every) => *every > 0 && identity.sequence.is_multiple_of(*every),
            Poisoned::Sequences(all) => all.contains(&identity.sequence),
        }
    }
}

/// How the sink answers. The default answers 200 at once, without a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Status of an ordinary answer.
    pub status: u16,
    /// Bytes of the answer's body.
    pub body_bytes: usize,
    /// Share of requests, 0 to 1, answered with `error_status` instead.
    pub error_probability: f64,
    /// See `error_probability`.
    pub error_status: u16,
    /// Requests that are refused for a record in them. Faults and errors come first.
    pub poison: Option<Poison>,
    /// Shortest and longest pause before an answer, evenly spread; timers count milliseconds.
    pub latency: (Duration, Duration),
    /// Instead of an answer, for a share of the requests.
    pub fault: Option<Fault>,
    /// Share of requests, 0 to 1, that `fault` hits.
    pub fault_probability: f64,
    /// The connection ends after so many requests.
    pub requests_per_connection: Option<u64>,
    /// How it ends.
    pub goodbye: Goodbye,
    /// Pause before a body, or the next part of it, is read.
    pub slow_read: Duration,
    /// Value of `Retry-After` in every answer.
    pub retry_after: Option<String>,
    /// Status of the answer to a probe (any method but POST); `None`: as an ordinary request. Probes are answered
    /// without latency, and meet `fault` if every request does.
    pub probe_status: Option<u16>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            status: 200,
            body_bytes: 0,
            error_probability: 0.0,
            error_status: 500,
            poison: None,
            latency: (Duration::ZERO, Duration::ZERO),
            fault: None,
            fault_probability: 1.0,
            requests_per_connection: None,
            goodbye: Goodbye::Announced,
            slow_read: Duration::ZERO,
            retry_after: None,
            probe_status: None,
        }
    }
}

impl Behaviour {
    /// Every request is answered with `status`.
    pub fn status(status: u16) -> Behaviour {
        Behaviour { status, ..Behaviour::default() }
    }

    /// Requests with one of these records are answered `status`, all others 200.
    pub fn poison(status: u16, records: Poisoned) -> Behaviour {
        Behaviour { poison: Some(Poison { records, status }), ..Behaviour::default() }
    }

    /// Every request meets `fault`.
    pub fn fault(fault: Fault) -> Behaviour {
        Behaviour { fault: Some(fault), ..Behaviour::default() }
    }

    /// Every request is answered 200 after a pause in this range.
    pub fn latency(shortest: Duration, longest: Duration) -> Behaviour {
        Behaviour { latency: (shortest, longest), ..Behaviour::default() }
    }

    /// What happens to a probe.
    pub(super) fn plan_probe(&self) -> Plan {
        let fault = self.fault.filter(|_| self.fault_probability >= 1.0 && self.probe_status.is_none());
        Plan { delay: Duration::ZERO, fault, status: self.probe_status.unwrap_or(self.status) }
    }

    /// What happens to the next request.
    pub(super) fn plan(&self, random: &mut Random) -> Plan {
        let hit = self.fault_probability >= 1.0 || random.share() < self.fault_probability;
        let fault = self.fault.filter(|_| hit);
        let failed = self.error_probability > 0.0 && random.share() < self.error_probability;
        let (shortest, longest) = self.latency;
        let spread = longest.saturating_sub(shortest);
        let delay = if spread.is_zero() { shortest } else { shortest + spread.mul_f64(random.share()) };
        Plan { delay, fault, status: if failed { self.error_status } else { self.status } }
    }
}

/// One request's fate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
    pub(super) status: u16,
}

/// Repeatable randomness: one per connection, seeded by the sink's seed and the connection's number.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, connection: u64) -> Random {
        Random(mix(seed ^ mix(connection)))
    }

    /// 0 to below 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_repeat_with_the_seed() {
        let behaviour = Behaviour { error_probability: 0.25, ..Behaviour::default() };
        let errors = |seed| {
            let mut random = Random::new(seed, 0);
            (0..10_000).map(|_| behaviour.plan(&mut random).status == 500).collect::<Vec<_>>()
        };
        let count = errors(1).iter().filter(|error| **error).count();
        assert!((2_300..2_700).contains(&count), "{count}");
        assert_eq!(errors(1), errors(1));
        assert_ne!(errors(1), errors(2));
    }

    #[test]
    fn pauses_stay_in_their_range() {
        let (low, high) = (Duration::from_millis(2), Duration::from_millis(9));
        let mut random = Random::new(5, 5);
        let pauses: Vec<_> = (0..1_000).map(|_| Behaviour::latency(low, high).plan(&mut random).delay).collect();
        assert!(pauses.iter().all(|pause| (low..=high).contains(pause)));
        assert!(pauses.iter().max() > pauses.iter().min());
    }
}
