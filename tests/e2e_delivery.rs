//! Records arrive, whole and in time, over both protocols; acks come in the order of the records.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::time::Duration;

use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, SinkConfig};
use ringpost_load::source::SourceConfig;
use support::*;

fn ten_thousand(protocol: &str, executors: usize) {
    let latency = Behaviour::latency(Duration::ZERO, Duration::from_millis(20));
    let sink = sink_with(SinkConfig { behaviour: latency, verify_every: 1, ..SinkConfig::default() });
    let mut connector = Settings::to(protocol, &[sink.addr()]).executors(executors).start();
    let run = oracle::watched(source(connector.addr(), 8, by_length(10_000, 1_000_000)), &[&sink]);
    let report = run.finish(&[&sink]);
    let stats = sink.ledger().stats();
    assert_eq!(oracle::codes(&report), [(0, report.sent)], "nothing is refused when nothing goes wrong");
    assert_eq!((stats.delivered, stats.duplicates), (report.sent, 0));
    eprintln!("{protocol}, {executors} executors: {} records in {:?}", report.acked, report.elapsed);
    connector.stop();
    assert_eq!(connector.complaints(), [""; 0]);
}

#[test]
fn ten_thousand_records_arrive_over_http1() {
    ten_thousand("HTTP_1_1", 1);
}

#[test]
fn ten_thousand_records_arrive_over_http2() {
    ten_thousand("HTTP_2", 1);
}

#[test]
fn ten_thousand_records_arrive_from_two_executors_over_http1() {
    ten_thousand("HTTP_1_1", 2);
}

#[test]
fn ten_thousand_records_arrive_from_two_executors_over_http2() {
    ten_thousand("HTTP_2", 2);
}

#[test]
fn acks_leave_in_the_order_of_the_records_though_answers_do_not() {
    // Some answers fail: a code that took another record's place would be a 0 for a record that failed.
    for protocol in PROTOCOLS {
        let behaviour =
            Behaviour { error_probability: 0.3, ..Behaviour::latency(Duration::ZERO, Duration::from_millis(10)) };
        let sink = sink(behaviour);
        let mut connector = Settings::to(protocol, &[sink.addr()]).start();
        let run = oracle::watched(
            SourceConfig { lap: Duration::from_millis(20), ..source(connector.addr(), 4, 2_000) },
            &[&sink],
        );
        let report = run.finish(&[&sink]);
        assert!(report.acks_by_code[11] > 300, "{protocol}: {:?}", oracle::codes(&report));
        assert_eq!(sink.ledger().stats().duplicates, 0, "{protocol}: a record that was taken is not sent again");
        connector.stop();
    }
}

#[test]
fn large_and_small_records_share_connections() {
    for protocol in PROTOCOLS {
        let sink = sink_with(SinkConfig { verify_every: 1, ..SinkConfig::default() });
        let mut connector = Settings::to(protocol, &[sink.addr()]).set("call-timeout: 6000").start();
        let large = RecordSpec { body_bytes: 3 << 20, run: 2, ..RecordSpec::default() };
        let big = SourceConfig { records_spec: large, window: 4, ..source(connector.addr(), 2, 24) };
        let (small, big) =
            (oracle::watched(source(connector.addr(), 2, 2_000), &[&sink]), oracle::watched(big, &[&sink]));
        let report = big.finish(&[&sink]);
        assert_eq!(oracle::codes(&report), [(0, 24)], "{protocol}");
        small.finish(&[&sink]);
        connector.stop();
    }
}

#[test]
fn typed_json_over_connections_that_close_after_each_answer() {
    let behaviour = Behaviour { requests_per_connection: Some(1), ..Behaviour::default() };
    let sink = sink_with(SinkConfig { behaviour, verify_every: 1, ..SinkConfig::default() });
    let mut settings = Settings::to("HTTP_1_1", &[sink.addr()]);
    settings.format = "{ mode: json }".to_owned();
    let mut connector = settings.start();
    let report = oracle::watched(source(connector.addr(), 2, 1_000), &[&sink]).finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, 1_000)]);
    connector.stop();
}
