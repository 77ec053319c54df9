//! Back-pressure from the destination to the source, and fair between connections: one that floods gets what is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, Fault};
use ringpost_load::source::SourceConfig;
use support::oracle::Bounds;
use support::*;

const IN_FLIGHT: u64 = 16 << 20;

fn settings(protocol: &str, to: SocketAddr, records: u32) -> Settings {
    let mut settings = Settings::to(protocol, &[to]).set("max-request-queued-per-endpoint: 100000");
    settings.service.push(format!("max-concurrent-records: {records}"));
    settings.executor(&format!("in-flight-bytes: {IN_FLIGHT}"))
}

/// A run with a number of its own, so that several can share a sink.
fn numbered(run: u32, config: SourceConfig) -> SourceConfig {
    let spec = RecordSpec { run, ..RecordSpec::default() };
    SourceConfig { records_spec: spec, ..config }
}

/// One connection that always has a hundred times as much in flight as each of the light ones.
fn flood(to: SocketAddr) -> SourceConfig {
    numbered(2, SourceConfig { window: 4_000, records: None, drain: LONG, ..source(to, 1, 0) })
}

fn light(run: u32, to: SocketAddr, records: u64) -> SourceConfig {
    numbered(run, SourceConfig { window: 40, rate: Some(100.0), ..source(to, 4, records) })
}

#[test]
fn light_connections_do_not_wait_for_one_that_floods() {
    for protocol in PROTOCOLS {
        // About 1600 records a second: eight at a time, 5 ms each.
        let behaviour = Behaviour::latency(Duration::from_millis(5), Duration::from_millis(5));
        let sink = sink(behaviour);
        let settings = settings(protocol, sink.addr(), 2_000).set("max-connections-per-endpoint: 8");
        let settings = if protocol == "HTTP_2" {
            settings.set("max-connections-per-endpoint: 1").set("http2-max-concurrent-streams: 8")
        } else {
            settings
        };
        let mut connector = settings.start();
        let bounds = Bounds::before(&connector, IN_FLIGHT);
        let calm = oracle::watched(light(1, connector.addr(), 100), &[&sink]).finish(&[&sink]);

        let heavy = oracle::watched(flood(connector.addr()), &[&sink]);
        wait_until("the flood has all the room it gets", LONG, || heavy.stats().acked > 1_000);
        let before = heavy.stats().acked;
        let noise = oracle::Noise::start();
        let pressed = oracle::watched(light(3, connector.addr(), 200), &[&sink]).finish(&[&sink]);
        let during = heavy.stats().acked - before;
        heavy.stop();
        let heavy = heavy.finish(&[&sink]);
        eprintln!(
            "{protocol}: the flood had {during} records done while the light connections had 200; its acks {:?}, theirs {:?}; \
            its p50 {:?}",
            oracle::codes(&heavy),
            oracle::codes(&pressed),
            oracle::latency(&heavy, 0.5)
        );
        assert_eq!(oracle::codes(&pressed), [(0, 200)], "{protocol}: none of theirs is refused");
        assert!(during > 200, "{protocol}: the flood has the larger part");
        let (before, with) = (oracle::latency(&calm, 0.9), oracle::latency(&pressed, 0.9));
        oracle::compare_latency(
            &format!("{protocol}, p90 of the light ones"),
            before,
            with,
            noise.finish(Duration::from_millis(60)),
        );
        // Eight are served at a time, two thousand wait: that would be more than a second.
        assert!(oracle::latency(&heavy, 0.5) > with, "{protocol}: the flood waits for itself");
        bounds.check(&connector, 16);
        connector.stop();
        oracle::reconcile(&connector, &[&calm, &heavy, &pressed], false);
    }
}

#[test]
fn a_slow_destination_slows_the_source_and_nothing_is_refused() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::latency(Duration::from_millis(20), Duration::from_millis(40)));
        let mut connector = settings(protocol, sink.addr(), 200).start();
        let bounds = Bounds::before(&connector, IN_FLIGHT);
        // Five times what may be in flight, in one burst; it is over before frames have waited for 2 s.
        let burst = SourceConfig { window: 250, ..source(connector.addr(), 4, 1_000) };
        let report = oracle::watched(burst, &[&sink]).finish(&[&sink]);
        assert_eq!(oracle::codes(&report), [(0, 1_000)], "{protocol}");
        assert_eq!(sink.ledger().stats().duplicates, 0, "{protocol}");
        bounds.check(&connector, 64);
        connector.stop();
        oracle::reconcile(&connector, &[&report], false);
        assert!(oracle::totals(&connector)["pauses"] > 0, "{protocol}: the source had to wait");
    }
}

#[test]
fn when_nothing_moves_for_2_s_frames_are_answered_18_until_there_is_room() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::fault(Fault::Hang));
        let mut connector = settings(protocol, sink.addr(), 200).set("call-timeout: 6000").start();
        let run = SourceConfig { window: 1_000, records: None, drain: 2 * LONG, ..source(connector.addr(), 2, 0) };
        let started = Instant::now();
        let run = oracle::watched(run, &[&sink]);
        wait_until("frames are answered 18", LONG, || connector.log().contains("frames are answered 18"));
        assert!(started.elapsed() >= Duration::from_millis(1_900), "{:?}", started.elapsed());
        sink.set_behaviour(Behaviour::default());
        wait_until("room again", LONG, || connector.log().contains("room again"));
        let acked = run.stats().acked;
        wait_until("records flow", LONG, || run.stats().acked > acked + 500);
        run.stop();
        let report = run.finish(&[&sink]);
        assert!(report.acks_by_code[18] > 0, "{protocol}: {:?}", oracle::codes(&report));
        connector.stop();
        oracle::reconcile(&connector, &[&report], false);
    }
}

#[test]
fn what_a_closed_connection_left_undispatched_is_not_delivered() {
    for protocol in PROTOCOLS {
        // Two at a time, 300 ms each: of 100 frames hardly any is on its way when their connection ends.
        let slow = sink(Behaviour::latency(Duration::from_millis(300), Duration::from_millis(300)));
        let settings = settings(protocol, slow.addr(), 50).set("max-connections-per-endpoint: 2");
        let settings = if protocol == "HTTP_2" { settings.set("http2-max-concurrent-streams: 1") } else { settings };
        let mut connector = settings.start();
        let mut client = client(connector.addr());
        client.send_frame(&frames(0, 100)).unwrap();
        wait_until("the first are on their way", LONG, || slow.ledger().stats().requests > 0);
        drop(client);
        std::thread::sleep(Duration::from_millis(1_500));
        let requests = slow.ledger().stats().requests;
        assert!((1..=8).contains(&requests), "{protocol}: {requests} of 100 were sent");
        assert_eq!(one_record(connector.addr(), 1_000), 0, "the next connection finds all the room");
        connector.stop();
        let totals = oracle::totals(&connector);
        assert_eq!((totals["in flight"], totals["in_flight_bytes"]), (0, 0), "{totals:?}");
    }
}

/// What stands still for less than 2 s costs waiting and nothing else. The 2 s are those of the frames that wait: a burst of more
/// than twice what may be in flight would have some that wait for a second time, and be answered 18 with relief in between.
#[test]
fn when_nothing_moves_for_less_than_2_s_nothing_is_refused() {
    for protocol in PROTOCOLS {
        let pause = Duration::from_millis(1_000);
        let sink = sink(Behaviour::latency(pause, pause));
        let settings = settings(protocol, sink.addr(), 200).set("max-connections-per-endpoint: 256");
        let mut connector = settings.set("call-timeout: 6000").start();
        // All that may be in flight is answered in one instant, and before it nothing is.
        let burst = SourceConfig { window: 150, ..source(connector.addr(), 2, 300) };
        let report = oracle::watched(burst, &[&sink]).finish(&[&sink]);
        assert_eq!(oracle::codes(&report), [(0, 300)], "{protocol}");
        assert!(report.elapsed >= 2 * pause, "{protocol}: a part had to wait for room: {:?}", report.elapsed);
        assert!(!connector.log().contains("answered 18"), "{protocol}: {}", connector.log());
        connector.stop();
        oracle::reconcile(&connector, &[&report], false);
        assert!(oracle::totals(&connector)["pauses"] > 0, "{protocol}: the sources had to wait");
    }
}

/// Once frames are answered 18 it takes more than some room to end it: use has to be below 80 %.
#[test]
fn frames_are_answered_18_until_use_is_below_80_percent() {
    // Records that end before the others, and whether what is left of the room in use then (about 83 %, or 50 %) is too much.
    let both = [(5, true), (40, false)];
    std::thread::scope(|scope| {
        both.map(|(first, stays)| scope.spawn(move || half_full(first, stays))).map(|run| run.join().unwrap())
    });
}

/// Of 100 records at a destination that hangs, `first` end earlier; is a frame that comes then still answered 18?
fn half_full(first: u64, stays: bool) {
    const FLOOD: u64 = 200;
    let sink = sink(Behaviour::fault(Fault::Hang));
    let mut connector = settings("HTTP_2", sink.addr(), 100).set("call-timeout: 5500").start();
    let mut early = client(connector.addr());
    early.send_frame(&frames(0, first)).unwrap();
    wait_until("the first are on their way", LONG, || sink.ledger().stats().requests == first);
    std::thread::sleep(Duration::from_millis(2_500));
    let mut flood = client(connector.addr());
    flood.send_frame(&frames(1_000, FLOOD)).unwrap();
    connector.wait_log("frames are answered 18", LONG);
    assert_eq!(acks(&mut early, first as usize), vec![11; first as usize]);
    // Whether there is room again is looked at when something comes. The flood's own records have 2.5 s left.
    flood.send_frame(&frames(5_000, 1)).unwrap();
    connector.wait_read();
    let again = connector.log().contains("room again");
    let codes = acks(&mut flood, FLOOD as usize + 1);
    let held = codes.iter().filter(|code| **code == 11).count();
    println!("{first} of 100 ended: {held} of the flood were held, and then came a {:?}", codes.last());
    assert_eq!((again, codes.last()), (!stays, Some(if stays { &18 } else { &11 })), "{codes:?}");
    connector.stop();
}
