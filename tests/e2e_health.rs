//! Probes, `Retry-After`, and what one dead destination does to another: the real binary between a source and sinks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::time::{Duration, Instant};

use ringpost_load::sink::{Behaviour, Fault, SinkConfig, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::{LONG, PROTOCOLS, Settings, client, frames, one_record, oracle, sink, sink_with, source, wait_until};

/// Probes that find a change out within a second.
const QUICK: &str = "health-check: { interval-seconds: 1, unhealthy-threshold: 1, healthy-threshold: 1 }";

/// A record that is refused comes again after 100 ms, as XDR does it.
fn as_xdr(config: SourceConfig) -> SourceConfig {
    SourceConfig { lap: Duration::from_millis(100), ..config }
}

fn status_count(sink: &SinkHandle, status: u16) -> u64 {
    sink.ledger().stats().by_status.get(&status).copied().unwrap_or(0)
}

#[test]
fn while_one_of_two_destinations_is_down_the_other_receives_nothing_and_then_each_record_once() {
    for protocol in PROTOCOLS {
        let (good, dead) = (sink(Behaviour::default()), sink(Behaviour::default()));
        dead.down().unwrap();
        let settings = Settings::to(protocol, &[good.addr()]).set(QUICK).and(protocol, &[dead.addr()]).set(QUICK);
        let mut connector = settings.start();
        connector.wait_log("d1, http://127.0.0.1", LONG);
        connector.wait_log("unhealthy: 1 probes in a row failed", LONG);
        let run = oracle::watched(as_xdr(source(connector.addr(), 3, 300)), &[&good, &dead]);
        // Long enough for records to test the dead one after 1 and 2 s more.
        wait_until("records are refused again and again", LONG, || run.stats().temporary > 300 * 20);
        assert_eq!(good.ledger().stats().requests, 0, "{protocol}");
        dead.up().unwrap();
        run.finish(&[&good, &dead]);
        let (good, dead) = (good.ledger().stats(), dead.ledger().stats());
        assert_eq!((good.requests, good.duplicates, good.delivered), (300, 0, 300), "{protocol}");
        assert_eq!((dead.duplicates, dead.delivered), (0, 300), "{protocol}");
        connector.stop();
    }
}

#[test]
fn a_destination_that_refuses_connections_from_the_start_keeps_every_record_from_the_other() {
    for protocol in PROTOCOLS {
        let (good, dead) = (sink(Behaviour::default()), sink(Behaviour::default()));
        dead.down().unwrap();
        let mut connector = Settings::to(protocol, &[good.addr()]).and(protocol, &[dead.addr()]).start();
        let run = oracle::watched(as_xdr(source(connector.addr(), 3, 300)), &[&good, &dead]);
        wait_until("records are refused again and again", LONG, || run.stats().temporary > 300 * 20);
        assert_eq!(good.ledger().stats().requests, 0, "{protocol}: not even before anybody knew");
        let why = format!(
            "nothing was sent: destination d1: no healthy URL; http://{}/records last: cannot connect",
            dead.addr()
        );
        let is_said = |line: &str| line.contains(&why) && line.contains("refused");
        wait_until(&why, LONG, || connector.log().lines().any(is_said));
        dead.up().unwrap();
        run.finish(&[&good, &dead]);
        assert_eq!((good.ledger().stats().requests, dead.ledger().stats().requests), (300, 300), "{protocol}");
        connector.stop();
    }
}

#[test]
fn a_destination_that_dies_under_load_makes_the_other_see_only_what_was_in_flight_twice() {
    for protocol in PROTOCOLS {
        let (good, dead) = (sink(Behaviour::default()), sink(Behaviour::default()));
        let mut connector = Settings::to(protocol, &[good.addr()]).and(protocol, &[dead.addr()]).start();
        let config = as_xdr(SourceConfig { window: 32, ..source(connector.addr(), 2, 20_000) });
        let run = oracle::watched(config, &[&good, &dead]);
        wait_until("records flow", LONG, || run.stats().acked > 500);
        dead.down().unwrap();
        connector.wait_log("unhealthy: 3 records in a row", LONG);
        wait_until("tests fail, too", LONG, || run.stats().temporary > 1_500);
        dead.up().unwrap();
        run.finish(&[&good, &dead]);
        // At most what was in flight at the fault, and again while the first three connections fail.
        let twice = good.ledger().stats().duplicates;
        assert!(twice <= 2 * 64 * 2, "{protocol}: {twice} duplicates");
        connector.stop();
    }
}

#[test]
fn records_that_test_a_destination_that_hangs_are_not_seen_by_the_other() {
    for protocol in PROTOCOLS {
        let (good, hangs) = (sink(Behaviour::default()), sink(Behaviour::fault(Fault::Hang)));
        let settings = Settings::to(protocol, &[good.addr()]).and(protocol, &[hangs.addr()]).set("call-timeout: 500");
        let mut connector = settings.start();
        let run = oracle::watched(as_xdr(source(connector.addr(), 2, 300)), &[&good, &hangs]);
        connector.wait_log("d1, http", LONG);
        connector.wait_log("unhealthy: 3 records in a row", LONG);
        // What was on its way then ends by itself.
        std::thread::sleep(Duration::from_millis(700));
        let (seen, tested) = (good.ledger().stats().requests, hangs.ledger().stats().requests);
        wait_until("it is tested", LONG, || hangs.ledger().stats().requests >= tested + 2);
        assert_eq!(good.ledger().stats().requests, seen, "{protocol}");
        hangs.set_behaviour(Behaviour::default());
        run.finish(&[&good, &hangs]);
        let most = good.ledger().snapshot().iter().map(|(_, entry)| entry.received).max();
        assert!(most <= Some(2), "{protocol}: once before anybody knew, and once for good, not {most:?} times");
        connector.stop();
    }
}

#[test]
fn a_published_interval_of_5000_seconds_keeps_no_recovered_destination_out() {
    let target = sink(Behaviour::default());
    target.down().unwrap();
    let settings = Settings::to("HTTP_2", &[target.addr()]).set("health-check: { interval-seconds: 5000 }");
    let mut connector = settings.start();
    let run = oracle::watched(as_xdr(source(connector.addr(), 1, 50)), &[&target]);
    connector.wait_log("unhealthy: 3 records in a row", LONG);
    target.up().unwrap();
    run.finish(&[&target]);
    connector.wait_log("healthy again: it took a record", LONG);
    connector.stop();
}

#[test]
fn probes_take_a_url_out_and_in_while_the_other_takes_the_records() {
    for protocol in PROTOCOLS {
        let (one, two) = (sink(Behaviour::default()), sink(Behaviour::default()));
        let check = "health-check: { interval-seconds: 1, unhealthy-threshold: 2, healthy-threshold: 2, method: HEAD, \
                     path: /up, success-status-codes: [ 204 ] }";
        one.set_behaviour(Behaviour { probe_status: Some(200), status: 500, ..Behaviour::default() });
        two.set_behaviour(Behaviour { probe_status: Some(204), ..Behaviour::default() });
        let settings = Settings::to(protocol, &[one.addr(), two.addr()]).set(check).executors(2);
        let mut connector = settings.start();
        connector.wait_log("unhealthy: 2 probes in a row failed, the last one: status 200", LONG);
        // The one executor that probes says so, and the others take it over with their next tick.
        std::thread::sleep(Duration::from_millis(300));
        let before = one.ledger().stats().requests;
        for sequence in 0..10 {
            one_record(connector.addr(), sequence);
        }
        let tests = one.ledger().stats().requests - before;
        assert!(tests <= 2, "{protocol}: a test for each executor at most, not {tests}");
        assert!(two.ledger().stats().delivered >= 8, "{protocol}");
        one.set_behaviour(Behaviour { probe_status: Some(204), ..Behaviour::default() });
        connector.wait_log("healthy again", LONG);
        wait_until("both are probed", LONG, || two.ledger().stats().probes > 3);
        assert_eq!(two.ledger().stats().unidentified, 0, "probes are no records");
        connector.stop();
    }
}

#[test]
fn an_ordinary_answer_to_a_probe_does_not_keep_records_away() {
    // A function behind a gateway answers GET as it likes.
    let target = sink(Behaviour { probe_status: Some(403), ..Behaviour::default() });
    let mut connector = Settings::to("HTTP_2", &[target.addr()]).set(QUICK).start();
    wait_until("it is probed", LONG, || target.ledger().stats().probes >= 3);
    let run = oracle::watched(source(connector.addr(), 2, 500), &[&target]);
    assert_eq!(oracle::codes(&run.finish(&[&target])), [(0, 500)]);
    connector.stop();
    assert_eq!(connector.complaints(), [""; 0]);
}

#[test]
fn a_probe_has_the_fixed_headers_and_nothing_of_a_record() {
    for protocol in PROTOCOLS {
        let target = sink(Behaviour::default());
        let settings = Settings::to(protocol, &[target.addr()])
            .set("headers: { x-key: abc, content-type: text/plain, x-set: { source: set }, x-digest: { source: digest } }")
            .set("health-check: { interval-seconds: 1, method: options, path: \"/up?now=1\" }");
        let mut connector = settings.start();
        wait_until("it is probed", LONG, || target.ledger().stats().probes >= 1);
        let probe = target.ledger().probes().remove(0);
        let mut names: Vec<&str> = probe.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((probe.method.as_str(), probe.path.as_str()), ("OPTIONS", "/up?now=1"), "{protocol}");
        assert_eq!(names, ["host", "user-agent", "x-key"], "{protocol}");
        assert_eq!(probe.header("x-key"), Some("abc"));
        connector.stop();
    }
}

#[test]
fn one_executor_of_several_probes_a_url_once_an_interval() {
    let target = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_1_1", &[target.addr()]).set(QUICK).executors(2).start();
    wait_until("it is probed", LONG, || target.ledger().stats().probes >= 1);
    let began = Instant::now();
    wait_until("it is probed again", LONG, || target.ledger().stats().probes >= 5);
    let intervals = began.elapsed().as_secs_f64();
    assert!(intervals > 3.0, "4 more probes take 4 intervals of 0.9 to 1.1 s, and took {intervals} s");
    let descriptors = connector.descriptors();
    wait_until("more probes", LONG, || target.ledger().stats().probes >= 7);
    assert!(connector.descriptors() <= descriptors + 1, "a probe's connection is closed");
    connector.stop();
}

#[test]
fn retry_after_is_waited_for_and_one_record_goes_first() {
    for (protocol, status) in PROTOCOLS.into_iter().zip([429, 503]) {
        let busy = Behaviour { retry_after: Some("2".to_owned()), ..Behaviour::status(status) };
        let target = sink(busy);
        let mut connector = Settings::to(protocol, &[target.addr()]).start();
        assert_eq!(one_record(connector.addr(), 0), 11);
        let began = Instant::now();
        let run = oracle::watched(as_xdr(source(connector.addr(), 2, 100)), &[&target]);
        wait_until("it is asked again", LONG, || target.ledger().stats().requests > 1);
        assert!(began.elapsed() > Duration::from_millis(1_800), "{protocol}: {:?}", began.elapsed());
        assert!(run.stats().temporary > 200, "{protocol}: records were refused meanwhile");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(target.ledger().stats().requests, 2, "{protocol}: one record goes first");
        target.set_behaviour(Behaviour::default());
        run.finish(&[&target]);
        assert_eq!(status_count(&target, status), 2, "{protocol}");
        connector.stop();
    }
}

#[test]
fn a_date_in_retry_after_is_held_against_the_clock_and_the_cap_bounds_it() {
    let far = Behaviour { retry_after: Some("Fri, 31 Dec 9999 23:59:59 GMT".to_owned()), ..Behaviour::status(503) };
    let target = sink(far);
    let mut connector = Settings::to("HTTP_2", &[target.addr()]).set("retry-after-cap: 500ms").start();
    assert_eq!(one_record(connector.addr(), 0), 11);
    connector.wait_log("status 503 with Retry-After: no record is sent there for 500ms", LONG);
    let past = Behaviour { retry_after: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()), ..Behaviour::status(503) };
    target.set_behaviour(past);
    std::thread::sleep(Duration::from_millis(600));
    for sequence in 1..4 {
        assert_eq!(one_record(connector.addr(), sequence), 11);
    }
    assert_eq!(target.ledger().stats().requests, 4, "a date that has passed asks for nothing");
    connector.stop();
}

/// Routes by set: the even ports' records to one destination, the others to the other.
fn apart(first: &SinkHandle, second: &SinkHandle) -> Settings {
    let mut settings = Settings::to("HTTP_2", &[first.addr()]).and("HTTP_2", &[second.addr()]);
    settings.more_ports = vec![support::free_port()];
    settings.routing = Some("{ mode: static-multi-destination, destinations: [ d0 ] }".to_owned());
    let port = settings.more_ports[0];
    let own = format!(
        "port-based-config: {{ {port}: {{ routing: {{ mode: static-multi-destination, destinations: [ d1 ] }} }} }}"
    );
    settings.top(own)
}

#[test]
fn a_destination_that_hangs_takes_no_latency_from_another() {
    let good = sink(Behaviour::default());
    let hangs = sink_with(SinkConfig { max_concurrent_streams: 10_000, ..SinkConfig::default() });
    let mut settings = apart(&good, &hangs);
    settings.service.push("max-concurrent-records: 400".to_owned());
    let mut connector = settings.start();
    let other = std::net::SocketAddr::from(([127, 0, 0, 1], settings.more_ports[0]));
    let slowest = |from: u64| {
        let mut client = client(connector.addr());
        let mut slowest = Duration::ZERO;
        for sequence in from..from + 200 {
            let began = Instant::now();
            client.send_frame(&frames(sequence, 1)).unwrap();
            assert_eq!(client.read_ack().unwrap(), 0);
            slowest = slowest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        slowest
    };
    let before = slowest(0);
    hangs.set_behaviour(Behaviour::fault(Fault::Hang));
    let run = oracle::watched(as_xdr(SourceConfig { window: 1_000, ..source(other, 4, 4_000) }), &[&hangs]);
    let during = slowest(1_000);
    eprintln!("slowest of 200 records: {before:?} alone, {during:?} while the other destination hangs");
    // Its calls time out after 1 s: a record that had to wait for them would show it.
    assert!(during < (before * 5).max(Duration::from_millis(250)), "{during:?}, alone {before:?}");
    assert!(run.stats().temporary > 0);
    hangs.set_behaviour(Behaviour::default());
    run.finish(&[&hangs]);
    connector.stop();
}

#[test]
fn a_dead_destination_costs_its_records_nothing_but_an_answer_at_once() {
    let (good, dead) = (sink(Behaviour::default()), sink(Behaviour::default()));
    dead.down().unwrap();
    let settings = apart(&good, &dead);
    let mut connector = settings.start();
    let other = std::net::SocketAddr::from(([127, 0, 0, 1], settings.more_ports[0]));
    let run = oracle::watched(as_xdr(SourceConfig { window: 1_000, ..source(other, 4, 2_000) }), &[]);
    connector.wait_log("unhealthy: 3 records in a row", LONG);
    let (memory, descriptors) = (connector.memory_kib("VmRSS"), connector.descriptors());
    let refused = run.stats().temporary;
    wait_until("many more are refused", LONG, || run.stats().temporary > refused + 40_000);
    let more = connector.memory_kib("VmRSS").saturating_sub(memory);
    assert!(more < 8 * 1024, "{more} KiB more after 40,000 records");
    assert!(connector.descriptors() <= descriptors + 1, "a test's connection at most");
    let report = oracle::watched(source(connector.addr(), 1, 200), &[&good]).finish(&[&good]);
    assert_eq!(oracle::codes(&report), [(0, 200)]);
    dead.up().unwrap();
    run.finish(&[]);
    connector.stop();
}
