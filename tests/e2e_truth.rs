//! Every count is the number of the books of both ends, exactly, once all is quiet: with several executors, with
//! record-ordering, in which records are handed from one executor to another, with batches, retries, refusals and bad frames.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use ringpost_load::sink::{Behaviour, Fault, Poison, Poisoned, SinkHandle, SinkStats};
use ringpost_load::source::{SourceConfig, SourceReport};
use support::manage::{settled, with_manage};
use support::*;

const ORDERED: &str = "record-ordering: { enable: true }";
const RULES: &str = "namespaces:\n  nowhere:\n    routing: { mode: skip }";

/// What is sent by hand beside the load: frames with bad content, records that nobody wants, and bytes that are no frame.
const BAD: u64 = 7;
const SKIPPED: u64 = 11;
const BROKEN: u64 = 3;

/// A count of the official page.
fn official(status: &str) -> String {
    format!("aerospike_esp_outbound_requests{{status=\"{status}\"}}")
}

/// One of ours.
fn ours(name: &str) -> String {
    format!("ringpost_{name}_total")
}

/// The same of the first destination's only URL.
fn of_the_url(sink: &SinkHandle, status: &str) -> String {
    let url = sink.addr();
    format!(
        "aerospike_esp_outbound_destination_requests{{status=\"{status}\",destination=\"d0\",destination_endpoint=\"{url}\"}}"
    )
}

fn acks(code: u8) -> String {
    format!("ringpost_acks_total{{code=\"{code}\"}}")
}

/// Sends what no load has, each kind as often as its constant says.
fn send_by_hand(connector: &Process) {
    let mut client = client(connector.addr());
    for number in 0..BAD {
        client.send_frame(&wire::Frame::new(50_000 + number).namespace("").bytes()).unwrap();
        assert_eq!(client.read_ack().unwrap(), 10);
    }
    for number in 0..SKIPPED {
        client.send_frame(&wire::Frame::new(60_000 + number).namespace("nowhere").bytes()).unwrap();
        assert_eq!(client.read_ack().unwrap(), 0);
    }
    for _ in 0..BROKEN {
        let mut client = support::client(connector.addr());
        client.send_frame(&[0xff; 64]).unwrap();
        assert!(client.read_ack().is_err(), "the connection is closed");
    }
}

/// Runs `records` through four connections, with what [`send_by_hand`] sends, until every record has its last code.
fn run(connector: &Process, records: u64, sinks: &[&SinkHandle]) -> SourceReport {
    let load = SourceConfig { lap: Duration::from_millis(20), ..source(connector.addr(), 4, records) };
    let run = oracle::watched(load, sinks);
    send_by_hand(connector);
    let report = run.finish_open(sinks);
    assert_eq!((report.unresolved, report.in_flight, report.lost_with_connection), (0, 0, 0), "all is quiet");
    report
}

/// What holds in every run, whatever the destinations do.
fn of_the_source(report: &SourceReport) -> Vec<(String, u64)> {
    let frames = report.sent + report.resent + BAD + SKIPPED;
    let code = |code: usize| report.acks_by_code[code];
    vec![
        (ours("records"), frames),
        ("aerospike_esp_outbound_requests_total_count".to_owned(), frames - code(18)),
        (official("success"), code(0)),
        (official("skipped"), SKIPPED),
        (official("parse-error"), BAD),
        (official("error"), code(10) + code(11) + code(18)),
        (acks(0), code(0) + SKIPPED),
        (acks(10), code(10) + BAD),
        (acks(11), code(11)),
        (acks(18), code(18)),
        (ours("records_skipped"), SKIPPED),
        (ours("content_errors"), BAD),
        (ours("xdr_framing_faults"), BROKEN),
        (ours("xdr_connections_opened"), 4 + 1 + BROKEN),
        ("aerospike_esp_outbound_connections{status=\"active\"}".to_owned(), 0),
        ("aerospike_esp_outbound_connections{status=\"closed\"}".to_owned(), 4 + 1 + BROKEN),
        (ours("records_expired"), 0),
        (ours("records_orphaned"), 0),
        (ours("panics"), 0),
    ]
}

/// How many of the sink's requests ended in this way.
fn ended(stats: &SinkStats, status: u16) -> u64 {
    stats.by_status.get(&status).copied().unwrap_or_default()
}

/// Waits until the pages have these figures, and ends the connector.
fn check(mut connector: Process, manage: std::net::SocketAddr, expected: &[(String, u64)]) -> BTreeMap<String, f64> {
    let all = settled(manage, expected);
    let in_flight = all.iter().filter(|(name, _)| name.starts_with("ringpost_executor_in_flight"));
    assert!(in_flight.clone().count() == 4 && in_flight.clone().all(|(_, count)| *count == 0.0), "{in_flight:?}");
    connector.stop();
    all
}

/// Streams that are refused are sent a second time, once; statuses of both kinds besides.
#[test]
fn retries_errors_and_permanent_refusals_are_those_of_the_destination() {
    for ordering in [None, Some(ORDERED)] {
        let sink = sink(Behaviour {
            error_probability: 0.1,
            error_status: 503,
            fault: Some(Fault::Refuse),
            fault_probability: 0.05,
            poison: Some(Poison { records: Poisoned::Every(50), status: 422 }),
            ..Behaviour::latency(Duration::ZERO, Duration::from_millis(2))
        });
        let settings = Settings::to("HTTP_2", &[sink.addr()]).set("permanent-status-codes: [ 422 ]").executors(2);
        let settings = ordering.into_iter().fold(settings.top(RULES), Settings::top);
        let (settings, manage) = with_manage(settings, "");
        let connector = settings.start();
        let report = run(&connector, 3_000, &[&sink]);
        let stats = sink.ledger().stats();
        let (refused, failed, permanent) = (ended(&stats, 0), ended(&stats, 503), ended(&stats, 422));
        assert!(refused > 50 && failed > 100 && permanent == 60, "{:?}", stats.by_status);
        // A refused stream is sent again, unless that was the second try: then the record is answered 11, like one with 503.
        let retries = refused - (report.acks_by_code[11] - failed);
        let mut expected = of_the_source(&report);
        expected.extend([
            (ours("requests"), stats.requests),
            (ours("requests_retried"), retries),
            (ours("requests_unanswered"), refused),
            (ours("responses_success"), stats.succeeded),
            (ours("responses_other"), failed),
            (ours("responses_permanent"), permanent),
            (of_the_url(&sink, "success"), stats.succeeded),
            (of_the_url(&sink, "error"), refused + failed + permanent),
            (of_the_url(&sink, "queued"), 0),
            (ours("http_connections_opened"), stats.connections),
            (ours("duplicates"), stats.duplicates),
            (ours("duplicates_possible"), 0),
        ]);
        let all = check(connector, manage, &expected);
        let handed = all[&ours("records_handed_over")];
        assert_eq!(handed > 1_000.0, ordering.is_some(), "{handed} records were handed over");
    }
}

/// Each round that fails at one destination after the other one took the record makes it come again there.
#[test]
fn duplicates_at_two_destinations_are_those_of_their_books() {
    for ordering in [None, Some(ORDERED)] {
        let errors = || Behaviour {
            error_probability: 0.2,
            error_status: 503,
            ..Behaviour::latency(Duration::ZERO, Duration::from_millis(4))
        };
        let sinks = [sink(errors()), sink(errors())];
        let settings = Settings::to("HTTP_2", &[sinks[0].addr()]).and("HTTP_1_1", &[sinks[1].addr()]).executors(2);
        let settings = ordering.into_iter().fold(settings.top(RULES), Settings::top);
        let (settings, manage) = with_manage(settings, "");
        let connector = settings.start();
        let report = run(&connector, 2_000, &[&sinks[0], &sinks[1]]);
        assert_eq!(report.acked, 2_000);
        let stats = [0, 1].map(|index| sinks[index].ledger().stats());
        let sum = |of: fn(&SinkStats) -> u64| stats.iter().map(of).sum::<u64>();
        assert!(sum(|it| it.duplicates) > 200, "{stats:?}");
        let mut expected = of_the_source(&report);
        expected.extend([
            (ours("duplicates"), sum(|it| it.duplicates)),
            (ours("duplicates_possible"), 0),
            (ours("requests"), sum(|it| it.requests)),
            (ours("responses_success"), sum(|it| it.succeeded)),
            (ours("responses_other"), sum(|it| ended(it, 503))),
            (ours("requests_retried"), 0),
        ]);
        check(connector, manage, &expected);
    }
}

/// Batches, and records in them, as the destination counts them.
#[test]
fn batches_and_their_records_are_those_of_the_destination() {
    for ordering in [None, Some(ORDERED)] {
        let sink = sink(Behaviour { error_probability: 0.1, error_status: 503, ..Behaviour::default() });
        let settings = Settings::to("HTTP_1_1", &[sink.addr()]).executors(2);
        let settings = settings.batching("max-records: 10, batch-interval: 5").top(RULES);
        let (settings, manage) = with_manage(ordering.into_iter().fold(settings, Settings::top), "");
        let connector = settings.start();
        let report = run(&connector, 3_000, &[&sink]);
        assert_eq!(report.acked, 3_000);
        let stats = sink.ledger().stats();
        assert!(ended(&stats, 503) > 10, "{:?}", stats.by_status);
        let mut expected = of_the_source(&report);
        expected.extend([
            (ours("batches"), stats.requests),
            (ours("batched_records"), stats.records),
            (ours("requests"), stats.requests),
            (ours("responses_success"), stats.succeeded),
            (ours("responses_other"), ended(&stats, 503)),
            (ours("batches_taken_apart"), 0),
            (ours("duplicates"), 0),
        ]);
        check(connector, manage, &expected);
    }
}

/// Headers that a record has no value for, frames that are kept in a file, connections that end after some requests.
#[test]
fn headers_kept_frames_and_connections_are_those_of_both_ends() {
    let sink = sink(Behaviour { requests_per_connection: Some(100), ..Behaviour::default() });
    let settings = Settings::to("HTTP_1_1", &[sink.addr()])
        .set("headers: { x-none: { source: bin-value, bin-name: nowhere } }")
        .executors(2)
        .top(RULES)
        .top("rejected-file: rejected.jsonl");
    let (settings, manage) = with_manage(settings, "");
    let connector = settings.start();
    let report = run(&connector, 2_000, &[&sink]);
    assert_eq!(report.acks_by_code[0], 2_000);
    let stats = sink.ledger().stats();
    let kept = std::fs::read_to_string(connector.folder.join("rejected.jsonl")).unwrap().lines().count() as u64;
    assert!(kept == BAD && stats.connections >= 20, "{stats:?}");
    let mut expected = of_the_source(&report);
    expected.extend([
        (ours("rejected_kept"), kept),
        (ours("rejected_refused"), 0),
        (ours("headers_absent"), stats.requests),
        (ours("headers_too_long"), 0),
        (ours("requests"), stats.requests),
        (ours("http_connections_opened"), stats.connections),
        (ours("http_connections_failed"), 0),
    ]);
    check(connector, manage, &expected);
}

/// An older version is acked without being sent, by the executor that has its record, and counts where its connection is.
#[test]
fn stale_versions_are_skipped_records_whichever_executor_finds_them() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]).executors(2).top(ORDERED);
    let (settings, manage) = with_manage(settings, "");
    let connector = settings.start();
    let mut client = client(connector.addr());
    let keys = 40;
    for key in 0..keys {
        let newer = wire::Frame::new(key);
        let older = wire::Frame { lut: newer.lut.map(|lut| lut - 1), ..newer.clone() };
        for frame in [newer, older] {
            client.send_frame(&frame.bytes()).unwrap();
            assert_eq!(client.read_ack().unwrap(), 0);
        }
    }
    assert_eq!(sink.ledger().stats().requests, keys);
    let expected = [
        (official("success"), keys),
        (official("skipped"), keys),
        (official("error"), 0),
        (ours("records_stale"), keys),
        (ours("records"), 2 * keys),
        (acks(0), 2 * keys),
    ];
    let all = settled(manage, &expected);
    let handed = all[&ours("records_handed_over")];
    assert!(handed > 10.0 && handed < 70.0, "both executors have records: {handed} were handed over");
}
