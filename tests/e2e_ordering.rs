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

use ringpost_load::sink::{Behaviour, Fault};
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

/// Batches, deletes, updates, two destinations of which each fails now and then, all at once.
#[test]
fn batches_and_two_destinations_with_retries_and_deletes_stay_in_order() {
    for protocol in PROTOCOLS {
        for batched in [false, true] {
            let log = Log::new();
            let sinks = [sink(0, 6, 5, &log), sink(1, 3, 5, &log)];
            let mut settings = settings(protocol, &[&sinks[0], &sinks[1]]).executors(2);
            if batched {
                settings = settings.batching("max-records: 20, batch-interval: 20");
            }
            let mut connector = settings.start();
            let config = VersionSourceConfig {
                lap: Duration::from_millis(30),
                delete_every: 7,
                update_every: 5,
                ..VersionSourceConfig::to(connector.addr(), 100, by_length(30, 200))
            };
            let (_, summary) = run(config, &log, 2);
            assert_eq!(summary.requests < summary.versions, batched, "{summary:?}");
            connector.stop();
        }
    }
}

/// One key takes all that four connections send.
#[test]
fn a_hot_key_stays_in_order_with_and_without_merging() {
    for (more, limit) in [("enable: true", u64::MAX), ("coalesce-waiting: true", 300)] {
        let log = Log::new();
        let sink = sink(0, 2, 5, &log);
        let mut settings = settings("HTTP_2", &[&sink]).executors(2);
        settings.more = vec![format!("record-ordering: {{ {more} }}")];
        let mut connector = settings.start();
        let config = VersionSourceConfig {
            lap: Duration::from_millis(30),
            window: 40,
            ..VersionSourceConfig::to(connector.addr(), 1, by_length(600, 2_000))
        };
        let (report, summary) = run(config, &log, 1);
        assert!(report.by_code.iter().any(|(code, _)| *code == 11), "more wait than a record may have: {report:?}");
        assert!(summary.requests < limit.saturating_mul(by_length(1, 3)), "{more}: {summary:?}");
        connector.stop();
    }
}

/// SIGTERM while every executor has records of the other one: it ends in order and in time, and what was acked is right.
#[test]
fn a_drain_of_two_executors_under_load_ends_in_order() {
    for protocol in PROTOCOLS {
        let log = Log::new();
        let sink = sink(0, 20, 5, &log);
        let mut connector = settings(protocol, &[&sink]).executors(2).start();
        let config = VersionSourceConfig::to(connector.addr(), 500, 1_000_000);
        let source = VersionSource::spawn(config, &log).unwrap();
        wait_until("records flow", LONG, || source.stats().acked > 2_000);
        connector.signal(libc::SIGTERM);
        let (code, took) = connector.wait_end(LONG);
        source.stop();
        source.join();
        assert_eq!(code, Some(0), "{}{}", connector.log(), connector.errors());
        assert!(took < Duration::from_secs(9), "{took:?}");
        // What is in flight at the end has no newer one to come: only the rules that hold at any time.
        let rules = check(&log.events(), 1);
        assert!(rules.as_ref().map_or_else(|why| why.contains("never took"), |_| true), "{rules:?}");
    }
}

/// With one executor, or without ordering, nothing is handed over, and order is not promised without it.
#[test]
fn without_ordering_versions_may_overtake_each_other_which_shows_that_the_check_sees_it() {
    let log = Log::new();
    let sink = sink(0, 8, 5, &log);
    let mut settings = settings("HTTP_2", &[&sink]).executors(2);
    settings.more.clear();
    let mut connector = settings.start();
    let config =
        VersionSourceConfig { lap: Duration::from_millis(20), ..VersionSourceConfig::to(connector.addr(), 20, 50) };
    let report = VersionSource::spawn(config, &log).unwrap().join();
    assert_eq!(report.open, 0, "{report:?}");
    assert!(check(&log.events(), 1).is_err());
    connector.stop();
}

/// An executor may have 4096 records at another one without a code. Then sources wait, and after 2 s frames of that other
/// one's records are answered 18, while those of the own ones are still dispatched; when codes come back there is room again.
/// The bound in bytes (1 MiB that the other one has not looked at) is not reached here, since it takes an executor that stands
/// still at the right moment: `delivery::engine::tests::handover` has it.
#[test]
fn what_is_handed_over_and_not_answered_is_bounded_and_the_rest_waits_then_gets_18() {
    const RECORDS: u64 = 9_500;
    let hanging = support::sink(Behaviour::fault(Fault::Hang));
    let settings = Settings::to("HTTP_2", &[hanging.addr()]).set("call-timeout: 6000");
    let settings = settings.set("max-request-queued-per-endpoint: 100000").top(ORDERED).executors(2);
    let mut connector = settings.start();
    let frames = |lap: u64| -> Vec<u8> {
        let frame = |record: u64| {
            let mut frame = wire::Frame::new(record);
            frame.lut = frame.lut.map(|lut| lut + lap * RECORDS);
            frame.bytes()
        };
        (0..RECORDS).flat_map(frame).collect()
    };
    let mut client = client(connector.addr());
    client.send_frame(&frames(0)).unwrap();
    let codes = acks(&mut client, RECORDS as usize);
    let count = |code: u8| codes.iter().filter(|known| **known == code).count() as u64;
    println!("{} records of {RECORDS} were answered 18, {} 11", count(18), count(11));
    assert_eq!(count(11) + count(18), RECORDS, "nothing was delivered");
    // Digests are spread evenly: half of the records, but for those that had room.
    assert!((300..=1_000).contains(&count(18)), "{}", count(18));

    // Every place comes back: all pass, once both executors have found out that the destination takes records again.
    hanging.set_behaviour(Behaviour::default());
    let mut laps = 0;
    wait_until("all are delivered", LONG, || {
        laps += 1;
        client.send_frame(&frames(laps)).unwrap();
        acks(&mut client, RECORDS as usize).iter().all(|code| *code == 0)
    });
    connector.stop();
    let away = oracle::totals(&connector)["handed_over"];
    // Each lap has the same records: what was answered 18 in the first is what had no room.
    assert_eq!(away, 4096 + laps * (4096 + count(18)), "{laps} further laps");
}
