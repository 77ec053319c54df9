//! Destinations that fail in every way they can: nothing is acked that was not answered with success, and everything is
//! delivered once they are back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::time::{Duration, Instant};

use ringpost_load::sink::{Behaviour, Fault, Goodbye, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::neighbour::Beside;
use support::*;

/// A steady stream, so that a fault meets records in every stage.
fn stream(to: std::net::SocketAddr, records: u64) -> SourceConfig {
    SourceConfig { rate: Some(3_000.0), window: 64, ..source(to, 4, records) }
}

/// Runs records through `fault`, then heals the sink; all must be delivered.
fn through(
    protocol: &str,
    fault: Behaviour,
    settings: impl Fn(Settings) -> Settings,
) -> ringpost_load::source::SourceReport {
    let sink = sink(Behaviour::default());
    let mut beside = Beside::start(settings(Settings::to(protocol, &[sink.addr()])), protocol);
    let run = oracle::watched(stream(beside.connector.addr(), 3_000), &[&sink]);
    wait_until("records flow", LONG, || run.stats().acked > 300);
    sink.set_behaviour(fault.clone());
    wait_until("the fault shows", LONG, || run.stats().temporary > 20);
    sink.set_behaviour(Behaviour::default());
    let report = run.finish(&[&sink]);
    let codes = oracle::codes(&report);
    assert!(codes.iter().all(|(code, _)| [0, 11].contains(code)), "{protocol}, {fault:?}: {codes:?}");
    assert_eq!(report.connections_lost, 0, "XDR connections outlive the destination's faults");
    beside.check(&format!("{protocol}, {fault:?}"), &[&report], &[&sink]);
    report
}

#[test]
fn answers_of_500() {
    for protocol in PROTOCOLS {
        through(protocol, Behaviour::status(500), |settings| settings);
    }
}

#[test]
fn closing_before_any_byte() {
    for protocol in PROTOCOLS {
        through(protocol, Behaviour::fault(Fault::CloseBeforeAnswer), |settings| settings);
    }
}

#[test]
fn closing_after_the_head_and_inside_the_body() {
    for protocol in PROTOCOLS {
        for fault in [Fault::CloseAfterHead, Fault::CloseMidBody] {
            through(
                protocol,
                Behaviour { fault: Some(fault), body_bytes: 2_000, ..Behaviour::default() },
                |settings| settings,
            );
        }
    }
}

#[test]
fn resets_and_refused_streams() {
    for fault in [Fault::Reset, Fault::Refuse] {
        through("HTTP_2", Behaviour::fault(fault), |settings| settings);
    }
}

#[test]
fn hanging() {
    for protocol in PROTOCOLS {
        through(protocol, Behaviour::fault(Fault::Hang), |settings| settings.set("call-timeout: 300"));
    }
}

#[test]
fn a_share_of_the_requests_meets_each_fault() {
    for protocol in PROTOCOLS {
        for fault in [Fault::CloseBeforeAnswer, Fault::CloseMidBody, Fault::Reset, Fault::Refuse, Fault::Hang] {
            let behaviour =
                Behaviour { fault: Some(fault), fault_probability: 0.02, body_bytes: 500, ..Behaviour::default() };
            let sink = sink(behaviour);
            let settings = Settings::to(protocol, &[sink.addr()]).set("call-timeout: 300");
            let mut beside = Beside::start(settings, protocol);
            let config = SourceConfig { window: 64, ..source(beside.connector.addr(), 4, 1_000) };
            let report = oracle::watched(config, &[&sink]).finish(&[&sink]);
            beside.check(&format!("{protocol}, a share of {fault:?}"), &[&report], &[&sink]);
        }
    }
}

fn wait_delivered(sink: &SinkHandle, count: u64) {
    wait_until("records arrive", LONG, || sink.ledger().stats().delivered >= count);
}

#[test]
fn down_at_the_start_then_up() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::default());
        sink.down().unwrap();
        let mut connector = Settings::to(protocol, &[sink.addr()]).start();
        let run = oracle::watched(stream(connector.addr(), 2_000), &[&sink]);
        wait_until("records are refused", LONG, || run.stats().temporary > 100);
        assert_eq!(run.stats().acked, 0);
        sink.up().unwrap();
        let healed = Instant::now();
        wait_delivered(&sink, 1);
        // The breaker has paused for 1 s or 2 s by now; the next probe comes within 5 s at the latest.
        assert!(healed.elapsed() < Duration::from_secs(6), "{:?}", healed.elapsed());
        run.finish(&[&sink]);
        connector.stop();
    }
}

#[test]
fn down_under_load_then_back() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(5)));
        let mut beside = Beside::start(Settings::to(protocol, &[sink.addr()]), protocol);
        let run = oracle::watched(stream(beside.connector.addr(), by_length(6_000, 60_000)), &[&sink]);
        for round in 1..=2 {
            wait_delivered(&sink, round * 500);
            sink.down().unwrap();
            wait_until("records are refused", LONG, || run.stats().temporary > round * 50);
            sink.up().unwrap();
        }
        let report = run.finish(&[&sink]);
        // Duplicates only of what was in flight when it went down: at most the windows of the connections, twice.
        assert!(sink.ledger().stats().duplicates <= 2 * 4 * 64, "{:?}", sink.ledger().stats());
        assert_eq!(report.connections_lost, 0);
        beside.check(&format!("{protocol}, down and back"), &[&report], &[&sink]);
    }
}

#[test]
fn connections_that_end_after_1_10_and_1000_requests_lose_nothing() {
    for protocol in PROTOCOLS {
        for limit in [1, 10, 1_000] {
            for goodbye in [Goodbye::Announced, Goodbye::Abrupt] {
                if protocol == "HTTP_2" && goodbye == Goodbye::Abrupt && limit < 1_000 {
                    // That sink leaves with the last request unanswered, and the ones before it in the same read.
                    continue;
                }
                let behaviour = Behaviour { requests_per_connection: Some(limit), goodbye, ..Behaviour::default() };
                let sink = sink(behaviour);
                let mut beside = Beside::start(Settings::to(protocol, &[sink.addr()]), protocol);
                let config = SourceConfig { window: 64, ..source(beside.connector.addr(), 4, 3_000) };
                let report = oracle::watched(config, &[&sink]).finish(&[&sink]);
                let stats = sink.ledger().stats();
                eprintln!(
                    "{protocol}, {goodbye:?} after {limit}: {:?}, {} connections, {} duplicates, acks {:?}",
                    report.elapsed,
                    stats.connections,
                    stats.duplicates,
                    oracle::codes(&report)
                );
                if goodbye == Goodbye::Announced {
                    assert_eq!(stats.duplicates, 0, "{protocol}: an announced end makes nobody send twice");
                    // A record may meet two such ends in a row (it is retried once), no more.
                    assert!(report.acks_by_code[11] <= 300, "{protocol}, after {limit}: {:?}", oracle::codes(&report));
                }
                beside.check(&format!("{protocol}, {goodbye:?} after {limit}"), &[&report], &[&sink]);
            }
        }
    }
}

#[test]
fn with_two_urls_a_dead_one_takes_no_records_from_the_other() {
    for protocol in PROTOCOLS {
        let (alive, dead) = (sink(Behaviour::default()), sink(Behaviour::default()));
        dead.down().unwrap();
        let mut connector = Settings::to(protocol, &[dead.addr(), alive.addr()]).start();
        let run = oracle::watched(stream(connector.addr(), 2_000), &[&alive]);
        let report = run.finish(&[&alive]);
        // Each record that meets the dead URL is retried on the other at once.
        assert_eq!(oracle::codes(&report), [(0, 2_000)], "{protocol}");
        connector.stop();
    }
}

#[test]
fn with_two_urls_one_may_go_and_come_back_under_load() {
    for protocol in PROTOCOLS {
        let (one, two) = (sink(Behaviour::default()), sink(Behaviour::default()));
        let mut connector = Settings::to(protocol, &[one.addr(), two.addr()]).start();
        // No sink has all records: conservation is checked over both below.
        let run = oracle::watched(stream(connector.addr(), 9_000), &[]);
        wait_delivered(&one, 200);
        wait_delivered(&two, 200);
        two.down().unwrap();
        let before = one.ledger().stats().delivered;
        wait_delivered(&one, before + 1_000);
        two.up().unwrap();
        let before = two.ledger().stats().delivered;
        wait_delivered(&two, before + 200);
        let report = run.finish(&[]);
        let missing = |identity| one.ledger().entry(identity).succeeded + two.ledger().entry(identity).succeeded == 0;
        assert_eq!(report.ledger.iter().filter(|(identity, _)| missing(*identity)).count(), 0);
        connector.stop();
    }
}

#[test]
fn with_two_destinations_nothing_is_acked_while_one_fails() {
    for protocol in PROTOCOLS {
        let (good, bad) = (sink(Behaviour::default()), sink(Behaviour::status(503)));
        let mut connector = Settings::to(protocol, &[good.addr()]).and(protocol, &[bad.addr()]).start();
        let run = oracle::watched(SourceConfig { window: 8, ..source(connector.addr(), 2, 300) }, &[&good, &bad]);
        wait_until("records are refused", LONG, || run.stats().temporary > 50);
        assert_eq!(run.stats().acked, 0, "{protocol}");
        bad.set_behaviour(Behaviour::default());
        run.finish(&[&good, &bad]);
        connector.stop();
    }
}

#[test]
fn with_two_destinations_a_dead_one_keeps_records_from_the_other() {
    // Else a dead destination would make the healthy one see every record again on each lap.
    let (good, dead) = (sink(Behaviour::default()), sink(Behaviour::default()));
    dead.down().unwrap();
    let mut connector = Settings::to("HTTP_2", &[good.addr()]).and("HTTP_2", &[dead.addr()]).start();
    let run = oracle::watched(
        SourceConfig { window: 16, lap: Duration::from_millis(20), ..source(connector.addr(), 2, 200) },
        &[&good, &dead],
    );
    wait_until("records are refused often", LONG, || run.stats().temporary > 1_000);
    let seen = good.ledger().stats().requests;
    assert!(seen < 200, "{seen} requests at the healthy destination for 1000 refusals");
    dead.up().unwrap();
    run.finish(&[&good, &dead]);
    connector.stop();
}

#[test]
fn the_first_failure_of_two_destinations_is_the_answer() {
    let (slow, bad) =
        (sink(Behaviour::latency(Duration::from_secs(3), Duration::from_secs(3))), sink(Behaviour::status(500)));
    let settings = Settings::to("HTTP_2", &[slow.addr()]).set("call-timeout: 6000").and("HTTP_2", &[bad.addr()]);
    let mut connector = settings.start();
    let started = Instant::now();
    assert_eq!(one_record(connector.addr(), 1), 11);
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    connector.stop();
}
