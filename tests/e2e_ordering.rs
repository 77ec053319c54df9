//! `record-ordering` with the real binary: whatever destinations and connections do, no version of a record overtakes
//! another one, and one is in flight.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringpost_load::versions::{
    Log, Summary, VersionReport, VersionSink, VersionSinkConfig, VersionSource, VersionSourceConfig, check,
};
use support::*;

const ORDERED: &str = "record-ordering: { enable: true }";

/// A sink with pauses of up to `longest` milliseconds and so many percent of errors.
fn sink(number: usize, longest: u64, errors: u64, log: &Arc<Log>) -> VersionSink {
    let latency = (Duration::from_micros(100), Duration::from_millis(longest));
    for _ in 0..20 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = VersionSinkConfig { address, number, latency, errors, seed: number as u64 + 7 };
        if let Ok(sink) = VersionSink::spawn(config, log) {
            return sink;
        }
    }
    panic!("no sink");
}

/// Runs a source to its end; every version has to be acked, and the log to be in order.
#[track_caller]
fn run(config: VersionSourceConfig, log: &Arc<Log>, sinks: usize) -> (VersionReport, Summary) {
    let versions = config.keys * config.updates;
    let report = VersionSource::spawn(config, log).unwrap().join();
    let summary = check(&log.events(), sinks).unwrap_or_else(|broken| panic!("{broken}\n{report:?}"));
    println!("{report:?}\n{summary:?}");
    assert_eq!((report.open, report.acked, report.faults.as_slice()), (0, versions, &[][..]), "{report:?}");
    (report, summary)
}

fn settings(protocol: &str, sinks: &[&VersionSink]) -> Settings {
    let mut settings = Settings::to(protocol, &[sinks[0].addr()]);
    for sink in &sinks[1..] {
        settings = settings.and(protocol, &[sink.addr()]);
    }
    settings.top(ORDERED)
}

/// The proof of the issue: 1,000 keys, 200 versions of each, over four connections to two executors.
#[test]
fn a_thousand_keys_on_two_executors_stay_in_order_with_random_latency_and_errors() {
    for protocol in PROTOCOLS {
        let log = Log::new();
        let sink = sink(0, by_length(4, 8), 5, &log);
        let mut connector = settings(protocol, &[&sink]).executors(2).set("max-connections-per-endpoint: 64").start();
        let lap = Duration::from_millis(by_length(20, 100));
        let keys = by_length(200, 1_000);
        let updates = by_length(60, 200);
        let config = VersionSourceConfig { lap, ..VersionSourceConfig::to(connector.addr(), keys, updates) };
        let (report, summary) = run(config, &log, 1);
        assert!(summary.failed > 0 && report.by_code.iter().any(|(code, _)| *code == 11), "{report:?}");
        connector.stop();
    }
}
