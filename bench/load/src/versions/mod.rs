//! Updates of the same keys again and again, over several connections at once, and what destinations saw of them: for
//! `record-ordering`.
//!
//! Source and sinks write into one [`Log`], so that what happened first is known; [`check`] holds it against the rules.
//! A version is known by the digest of its key and its last-update time, which the JSON formats write.

mod sink;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use sink::{VersionSink, VersionSinkConfig};
pub use source::{VersionReport, VersionSource, VersionSourceConfig, VersionStats};

/// One version of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// Number of the key.
    pub key: u64,
    /// Last-update time, in milliseconds since 1970.
    pub lut: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole request arrived at a sink.
    Arrived {
        /// Which sink.
        sink: usize,
        /// Names the request; unique among all sinks.
        request: u64,
        /// In the order of the body.
        versions: Vec<Version>,
    },
    /// It is about to be answered.
    Answered {
        /// Which sink.
        sink: usize,
        /// Which request.
        request: u64,
        /// With which status.
        status: u16,
    },
    /// The source read a code.
    Acked {
        /// For which version.
        version: Version,
        /// Which one.
        code: u8,
    },
}

/// All that happened, in order.
#[derive(Debug, Default)]
pub struct Log {
    events: Mutex<Vec<Event>>,
}

impl Log {
    /// An empty log, to be given to all ends.
    pub fn new() -> Arc<Log> {
        Arc::default()
    }

    /// Adds what has just happened.
    pub fn add(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// A copy of everything.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a run looked like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests at all sinks.
    pub requests: u64,
    /// Versions in them.
    pub versions: u64,
    /// Requests that were not answered with success.
    pub failed: u64,
    /// Versions that a sink took again.
    pub duplicates: u64,
    /// Acks by code: 0.
    pub acked: u64,
    /// Acks by code: 11 and 18.
    pub refused: u64,
    /// Versions that were acked 0 and that no sink ever took: a newer one was.
    pub skipped: u64,
}

/// One sink's view of one key.
#[derive(Debug, Default, Clone)]
struct Seen {
    in_flight: Option<u64>,
    /// The newest version that was taken.
    taken: Option<u64>,
}

/// Holds a log against the rules: at each sink one version of a key is in flight; versions that are taken never go back; a
/// version is acked 0 only after all sinks took it or a newer one; at the end they all have the newest one.
///
/// # Errors
/// The first rule that was broken, and where.
pub fn check(events: &[Event], sinks: usize) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut seen: HashMap<(usize, u64), Seen> = HashMap::new();
    let mut requests: HashMap<u64, (usize, Vec<Version>)> = HashMap::new();
    let mut taken: HashMap<(usize, Version), u64> = HashMap::new();
    let mut newest: HashMap<u64, u64> = HashMap::new();
    let mut acked = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Arrived { sink, request, versions } => {
                arrived(&mut seen, *sink, *request, versions).map_err(|why| format!("event {place}: {why}"))?;
                summary.requests += 1;
                summary.versions += versions.len() as u64;
                requests.insert(*request, (*sink, versions.clone()));
            }
            Event::Answered { sink, request, status } => {
                let Some((_, versions)) = requests.remove(request) else { continue };
                let success = (200..300).contains(status);
                summary.failed += u64::from(!success);
                for version in versions {
                    let entry = seen.entry((*sink, version.key)).or_default();
                    entry.in_flight = None;
                    if success {
                        entry.taken = entry.taken.max(Some(version.lut));
                        let count = taken.entry((*sink, version)).or_default();
                        summary.duplicates += u64::from(*count > 0);
                        *count += 1;
                    }
                }
            }
            Event::Acked { version, code: 0 } => {
                let behind = |sink: &usize| {
                    seen.get(&(*sink, version.key)).and_then(|seen| seen.taken).is_none_or(|taken| taken < version.lut)
                };
                if let Some(sink) = (0..sinks).find(behind) {
                    return Err(format!(
                        "event {place}: {version:?} is acked 0, and sink {sink} took neither it nor a newer one"
                    ));
                }
                summary.acked += 1;
                let known = newest.entry(version.key).or_default();
                *known = version.lut.max(*known);
                acked.push(*version);
            }
            Event::Acked { .. } => summary.refused += 1,
        }
    }
    for (key, lut) in newest {
        if let Some(sink) = (0..sinks).find(|sink| !taken.contains_key(&(*sink, Version { key, lut }))) {
            return Err(format!("sink {sink} never took {lut}, the newest version of key {key}"));
        }
    }
    let is_skipped = |version: &&Version| (0..sinks).all(|sink| !taken.contains_key(&(sink, **version)));
    summary.skipped = acked.iter().filter(is_skipped).count() as u64;
    Ok(summary)
}

fn arrived(
    seen: &mut HashMap<(usize, u64), Seen>,
    sink: usize,
    request: u64,
    versions: &[Version],
) -> Result<(), String> {
    for version in versions {
        let entry = seen.entry((sink, version.key)).or_default();
        if let Some(other) = entry.in_flight {
            return Err(format!("request {request} at sink {sink} has {version:?}, while {other} of it is in flight"));
        }
        if entry.taken.is_some_and(|taken| taken > version.lut) {
            return Err(format!(
                "request {request} at sink {sink} has {version:?}, which took {:?} of it before",
                entry.taken
            ));
        }
        entry.in_flight = Some(version.lut);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: u64, lut: u64) -> Version {
        Version { key, lut }
    }

    fn arrived(request: u64, versions: &[(u64, u64)]) -> Event {
        let versions = versions.iter().map(|(key, lut)| version(*key, *lut)).collect();
        Event::Arrived { sink: 0, request, versions }
    }

    fn answered(request: u64, status: u16) -> Event {
        Event::Answered { sink: 0, request, status }
    }

    fn acked(key: u64, lut: u64) -> Event {
        Event::Acked { version: version(key, lut), code: 0 }
    }

    #[test]
    fn a_run_in_order_is_right_and_each_broken_rule_is_found() {
        let good = [
            arrived(1, &[(7, 10)]),
            answered(1, 500),
            arrived(2, &[(7, 11), (8, 1)]),
            answered(2, 200),
            acked(7, 10),
            acked(8, 1),
            acked(7, 11),
        ];
        let summary = check(&good, 1).unwrap();
        assert_eq!((summary.requests, summary.failed, summary.acked, summary.skipped), (2, 1, 3, 1));
        let two = [arrived(1, &[(7, 10)]), arrived(2, &[(7, 11)])];
        assert!(check(&two, 1).unwrap_err().contains("in flight"));
        let back = [arrived(1, &[(7, 11)]), answered(1, 200), arrived(2, &[(7, 10)])];
        assert!(check(&back, 1).unwrap_err().contains("before"));
        let twice = [arrived(1, &[(7, 10), (7, 11)])];
        assert!(check(&twice, 1).is_err());
        let early = [arrived(1, &[(7, 10)]), acked(7, 10), answered(1, 200)];
        assert!(check(&early, 1).unwrap_err().contains("acked 0"));
        assert!(check(&good, 2).is_err(), "the other sink took nothing");
    }
}
