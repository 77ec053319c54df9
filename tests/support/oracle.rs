//! The rules that no fault excuses, checked after every run with faults, and while it runs (reliability.md):
//!
//! - G1 conservation: a 0 only after a success at every sink, watched live and once more at the end
//! - G2 integrity: bodies and digests at the sinks are those that were sent
//! - G3 no silent fate, G4 ack order: by the source's books
//! - G5 key order: [`check_key_order`], for whoever logs requests with versions
//! - G6 bounds: memory, descriptors, threads of the process ([`Bounds`])
//! - G7 duplicates: no more than requests that ended without a success, frames without a code, and retries ([`Allowance`])
//! - G9 no cross-talk: [`compare_latency`], within one run
//!
//! [`reconcile`] compares the connector's own counts, which it logs at its end, with those of both ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringpost_load::report::{self, EarlyAcks};
use ringpost_load::sink::{SinkHandle, SinkLedger};
use ringpost_load::source::{Source, SourceConfig, SourceHandle, SourceReport};

use super::{LONG, Process, wait_until};

/// A source under watch: acks are compared with the sinks' books as they come in.
pub struct Watched {
    source: SourceHandle,
    early: Arc<EarlyAcks>,
}

/// Starts `config` with the acks watched; every record is routed to all of `sinks`.
pub fn watched(config: SourceConfig, sinks: &[&SinkHandle]) -> Watched {
    let early = EarlyAcks::new(sinks.iter().map(|sink| sink.ledger()).collect());
    let watch: Arc<EarlyAcks> = Arc::clone(&early);
    let source = Source::spawn(SourceConfig { watch: Some(watch), ..config }).expect("the source starts");
    Watched { source, early }
}

impl Watched {
    pub fn stats(&self) -> ringpost_load::source::SourceStats {
        self.source.stats()
    }

    pub fn stop(&self) {
        self.source.stop();
    }

    pub fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    /// Waits for the source's end and checks all rules; every record must have ended with 0.
    #[track_caller]
    pub fn finish(self, sinks: &[&SinkHandle]) -> SourceReport {
        let report = self.finish_open(sinks);
        report::check_fates(&report).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(report.acked, report.sent, "every record is delivered in the end; acks {:?}", codes(&report));
        report
    }

    /// As `finish`, for runs that end with records unresolved (the connector went away).
    #[track_caller]
    pub fn finish_open(self, sinks: &[&SinkHandle]) -> SourceReport {
        let report = self.source.join().expect("the source ends");
        let ledgers: Vec<SinkLedger> = sinks.iter().map(|sink| sink.ledger().snapshot()).collect();
        let ledgers: Vec<&SinkLedger> = ledgers.iter().collect();
        self.early.check().unwrap_or_else(|broken| panic!("{broken}"));
        report::check_conservation(&report.ledger, &ledgers).unwrap_or_else(|broken| panic!("{broken}"));
        report::check_ack_order(&report).unwrap_or_else(|broken| panic!("{broken}"));
        for sink in sinks {
            let stats = sink.ledger().stats();
            assert_eq!((stats.corrupt, stats.unidentified), (0, 0), "G2: bodies and digests arrive intact");
        }
        report
    }
}

/// A nap of [`Noise`].
const NAP: Duration = Duration::from_millis(1);

/// Threads that a record waits for: executor, sink, executor, source.
const HOPS: u32 = 4;

/// G6: what a process may use, from what it used before the load.
#[derive(Debug)]
pub struct Bounds {
    rss_kib: u64,
    descriptors: usize,
    threads: u64,
}

impl Bounds {
    /// Before the load, with `in_flight_bytes` as configured: resident memory may reach 64 MiB and one and a half times
    /// that.
    pub fn before(process: &Process, in_flight_bytes: u64) -> Bounds {
        Bounds {
            rss_kib: (64 << 10) + in_flight_bytes * 3 / 2 / 1024,
            descriptors: process.descriptors(),
            threads: process.memory_kib("Threads"),
        }
    }

    /// After the load, with all XDR connections closed. Connections to destinations may stay: so many.
    #[track_caller]
    pub fn check(&self, process: &Process, connections: usize) {
        let peak = process.memory_kib("VmHWM");
        assert!(peak <= self.rss_kib, "G6: {peak} KiB resident, {} KiB allowed", self.rss_kib);
        assert_eq!(process.memory_kib("Threads"), self.threads, "G6: the number of threads is constant");
        let allowed = self.descriptors + connections;
        wait_until(&format!("G6: at most {allowed} descriptors"), LONG, || process.descriptors() <= allowed);
    }
}

/// G7: how many duplicates a run's faults explain.
#[derive(Debug, Default)]
pub struct Allowance {
    in_flight: u64,
}

impl Allowance {
    /// After [`Process::stop`], by what the connector and all sources counted. A record comes twice to a
    /// sink that took it only if
    ///
    /// - a request of it ended otherwise than with a success that counted, at this sink or at another one: without an
    ///   answer, with another status, at its call time-out or deadline, too late; or
    /// - the connector took its frame in, and no code for it came to the source: an XDR connection was lost.
    ///
    /// Each such request or frame explains one more at each sink, and records that are refused without being sent (no healthy
    /// URL, no room) explain none, however often they come.
    pub fn explained(&mut self, process: &Process, reports: &[&SourceReport]) {
        let totals = totals(process);
        let ended = ["requests_failed", "responses_other", "call_timeouts", "deadlines", "late_outcomes"];
        let codes: u64 = reports.iter().flat_map(|report| report.acks_by_code.iter()).sum();
        self.in_flight += ended.iter().map(|name| totals[*name]).sum::<u64>();
        self.in_flight += totals["records"].saturating_sub(codes);
    }

    /// `retries`: each retry of the connector's own may make one more; from [`totals`].
    #[track_caller]
    pub fn check(&self, sinks: &[&SinkHandle], retries: u64) {
        let duplicates: u64 = sinks.iter().map(|sink| sink.ledger().stats().duplicates).sum();
        let allowed = self.in_flight * sinks.len() as u64 + retries;
        assert!(duplicates <= allowed, "G7: {duplicates} duplicates, faults and retries explain {allowed}");
    }
}

/// Counts that a connector logged at its end, over its executors, by name. Empty before it has ended.
pub fn totals(process: &Process) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for line in process.log().lines() {
        let Some((_, counts)) = line.split_once(" in total: ") else { continue };
        for pair in counts.split([',', '{', '}']) {
            if let Some((name, number)) = pair.split_once(": ")
                && let Ok(number) = number.trim().parse::<u64>()
            {
                *totals.entry(name.trim().to_owned()).or_default() += number;
            }
        }
    }
    totals
}

/// The connector's own counts against those of its two ends, after [`Process::stop`]. `xdr_faults`: XDR connections were
/// lost, so that frames and acks may have been lost with them, and the counts are bounds. All sources' reports.
#[track_caller]
pub fn reconcile(process: &Process, reports: &[&SourceReport], xdr_faults: bool) {
    let totals = totals(process);
    let count = |name: &str| *totals.get(name).unwrap_or_else(|| panic!("no count of {name} in {totals:?}"));
    let sum = |of: &dyn Fn(&SourceReport) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
    let frames = sum(&|report| report.sent + report.resent);
    let code = |code: usize| sum(&|report| report.acks_by_code[code]);
    let acks = [("acked_ok", 0), ("acked_permanent", 10), ("acked_temporary", 11), ("acked_overload", 18)];
    let released: u64 = acks.iter().map(|(name, _)| count(name)).sum();
    assert_eq!((count("in flight"), count("in_flight_bytes")), (0, 0), "G6: nothing is in flight at the end");
    assert_eq!(count("sources_opened"), count("sources_closed"), "every XDR connection was closed");
    assert_eq!(count("panics"), 0, "no defect was caught");
    assert!(count("records") >= released, "G4: an ack for each frame at most");
    if xdr_faults {
        assert!(count("records") <= frames, "{} frames taken in, {frames} sent", count("records"));
        acks.iter().for_each(|(name, of)| assert!(count(name) >= code(*of), "G3: {name}: {totals:?}"));
    } else {
        assert_eq!(count("records"), frames, "G3: every frame was taken in once");
        acks.iter().for_each(|(name, of)| assert_eq!(count(name), code(*of), "G3: {name}: {totals:?}"));
    }
}

/// Successes that the connector counted against those that the sinks gave: it believes in none that was not given.
#[track_caller]
pub fn reconcile_sinks(process: &Process, sinks: &[&SinkHandle]) {
    let counted = totals(process)["responses_success"];
    let given: u64 = sinks.iter().map(|sink| sink.ledger().stats().succeeded).sum();
    assert!(counted <= given, "G1: {counted} answers of success counted, {given} were given");
}

/// G5, for runs with ordering: versions of each key as they first arrived at a sink, in order of arrival. Whoever logs
/// requests takes keys and versions out of them.
#[track_caller]
pub fn check_key_order<K: Ord + std::fmt::Debug>(arrivals: impl IntoIterator<Item = (K, u64)>) {
    let mut newest: BTreeMap<K, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for (key, version) in arrivals {
        match newest.get_mut(&key) {
            Some(known) if version < *known => broken.push(format!("{key:?}: {version} after {known}")),
            Some(known) => *known = version,
            None => _ = newest.insert(key, version),
        }
    }
    assert!(broken.is_empty(), "G5: {} versions out of order: {:?}", broken.len(), &broken[..broken.len().min(10)]);
}

/// Latency at a quantile.
pub fn latency(report: &SourceReport, quantile: f64) -> Duration {
    Duration::from_nanos(report.latency_ns.value_at_quantile(quantile))
}

/// How late this machine runs a thread that wants to: others work on it, too, and a record waits for several threads.
pub struct Noise {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Noise {
    /// Measures until [`Noise::finish`].
    pub fn start() -> Noise {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut late = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let started = Instant::now();
                std::thread::sleep(NAP);
                late.push(started.elapsed().saturating_sub(NAP));
            }
            late
        });
        Noise { stop, thread }
    }

    /// What a record's way was late for want of the machine, at the 99th percentile; at least `least`.
    pub fn finish(self, least: Duration) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut late = self.thread.join().expect("it only sleeps");
        late.sort_unstable();
        let place = late.len() * 99 / 100;
        late.get(place).map_or(least, |late| (*late * HOPS).max(least))
    }
}

/// G9: `disturbed` against `calm`, both of one run, recorded; at most five times, and never for less than `noise`.
#[track_caller]
pub fn compare_latency(what: &str, calm: Duration, disturbed: Duration, noise: Duration) {
    eprintln!("{what}: {calm:?} without the disturbance, {disturbed:?} with it");
    let allowed = calm.max(noise) * 5;
    assert!(disturbed <= allowed, "G9: {what}: {calm:?} without the disturbance, {disturbed:?} with it");
}

/// Acks by code, without the codes that did not occur.
pub fn codes(report: &SourceReport) -> Vec<(usize, u64)> {
    report.acks_by_code.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect()
}
