//! The process as its service manager sees it: signals, exit codes, a kill under load, idle CPU.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::time::{Duration, Instant};

use ringpost_load::sink::{Behaviour, Fault};
use ringpost_load::source::{ClientError, SourceConfig};
use support::*;

/// A source that does not send again, so that every ack is final, with endless records.
fn endless(to: std::net::SocketAddr) -> SourceConfig {
    SourceConfig {
        rate: Some(5_000.0),
        window: 256,
        records: None,
        drain: Duration::from_millis(500),
        ..source(to, 4, 0)
    }
}

#[test]
fn killed_under_load_and_started_again_no_acked_record_is_missing() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(10)));
        let settings = Settings::to(protocol, &[sink.addr()]);
        let mut connector = settings.start();
        let run = oracle::watched(SourceConfig { records: None, ..endless(connector.addr()) }, &[&sink]);
        for _ in 0..by_length(4, 100) {
            let before = run.stats().acked;
            wait_until("records flow", LONG, || run.stats().acked > before + 200);
            connector.signal(libc::SIGKILL);
            assert_eq!(connector.wait_end(LONG).0, None);
            let started = Instant::now();
            connector = settings.start();
            assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        }
        run.stop();
        let report = run.finish_open(&[&sink]);
        assert!(report.connections_lost > 0 && report.resent > 0, "the kills met records in flight");
        let most = u64::try_from(by_length(4, 100) * 4 * 256).unwrap();
        assert!(sink.ledger().stats().duplicates <= most, "duplicates only of what was in flight");
        connector.stop();
    }
}

/// Sends a stream, then `signal` under load: everything read before is answered, and the process ends.
fn drains(protocol: &str, signal: i32) {
    let sink = sink(Behaviour::latency(Duration::from_millis(100), Duration::from_millis(400)));
    let settings = Settings::to(protocol, &[sink.addr()]).set("max-connections-per-endpoint: 64");
    let mut connector = settings.start();
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 60)).unwrap();
    wait_until("all are sent", LONG, || sink.ledger().stats().requests == 60);
    connector.signal(signal);
    let (code, took) = connector.wait_end(LONG);
    assert_eq!(code, Some(0), "{}", connector.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(acks(&mut client, 60), [0; 60], "{protocol}: what was in flight was finished");
    assert!(matches!(client.read_ack(), Err(ClientError::Closed)), "then the connection ends in good order");
}

#[test]
fn sigterm_lets_what_is_in_flight_finish() {
    PROTOCOLS.iter().for_each(|protocol| drains(protocol, libc::SIGTERM));
}

#[test]
fn sigint_lets_what_is_in_flight_finish() {
    drains("HTTP_2", libc::SIGINT);
}

#[test]
fn sigterm_under_load_ends_within_the_drain_deadline() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(50)));
        let mut connector = Settings::to(protocol, &[sink.addr()]).executors(2).start();
        let run = oracle::watched(endless(connector.addr()), &[&sink]);
        wait_until("records flow", LONG, || run.stats().acked > 500);
        connector.signal(libc::SIGTERM);
        let (code, took) = connector.wait_end(LONG);
        eprintln!("{protocol}: ended {took:?} after SIGTERM under load");
        assert_eq!(code, Some(0), "{}", connector.log());
        assert!(took < Duration::from_secs(5), "{took:?}");
        run.stop();
        run.finish_open(&[&sink]);
    }
}

#[test]
fn sigterm_with_a_hanging_destination_answers_11_and_ends() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::fault(Fault::Hang));
        let settings = Settings::to(protocol, &[sink.addr()]).set("call-timeout: 6500").limit("drain: 1s");
        let mut connector = settings.start();
        let mut client = client(connector.addr());
        client.send_frame(&frames(0, 100)).unwrap();
        wait_until("some are sent", LONG, || sink.ledger().stats().requests >= 20);
        connector.signal(libc::SIGTERM);
        let started = Instant::now();
        assert_eq!(acks(&mut client, 100), [11; 100]);
        let answered = started.elapsed();
        let (code, _) = connector.wait_end(LONG);
        eprintln!("{protocol}: drain of 1 s: answered after {answered:?}, ended after {:?}", started.elapsed());
        assert_eq!(code, Some(0), "{}", connector.log());
        assert!(answered >= Duration::from_millis(900), "not before the drain deadline: {answered:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[test]
fn a_peer_that_reads_no_acks_does_not_hold_up_the_end() {
    let sink = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).limit("drain: 1s").start();
    let mut deaf = client(connector.addr());
    deaf.send_frame(&frames(0, 100)).unwrap();
    wait_until("they are delivered", LONG, || sink.ledger().stats().delivered == 100);
    connector.signal(libc::SIGTERM);
    let (code, took) = connector.wait_end(LONG);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let sink = sink(Behaviour::fault(Fault::Hang));
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).set("call-timeout: 6500").start();
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 10)).unwrap();
    wait_until("they are sent", LONG, || sink.ledger().stats().requests == 10);
    connector.signal(libc::SIGTERM);
    connector.wait_log("stopping", LONG);
    connector.signal(libc::SIGINT);
    let (code, took) = connector.wait_end(LONG);
    assert_eq!(code, Some(1));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn new_connections_are_refused_while_it_drains() {
    let sink = sink(Behaviour::fault(Fault::Hang));
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).set("call-timeout: 2000").start();
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 1)).unwrap();
    wait_until("it is sent", LONG, || sink.ledger().stats().requests == 1);
    connector.signal(libc::SIGTERM);
    wait_until("connections are refused", Duration::from_secs(1), || {
        std::net::TcpStream::connect(connector.addr()).is_err()
    });
    assert!(!connector.has_ended());
    assert_eq!(client.read_ack().unwrap(), 11);
    assert_eq!(connector.wait_end(LONG).0, Some(0));
}

#[test]
fn a_paused_process_goes_on_and_is_not_killed_by_its_watchdog() {
    let sink = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).executor("heartbeat-limit: 1s").start();
    let run = oracle::watched(endless(connector.addr()), &[&sink]);
    wait_until("records flow", LONG, || run.stats().acked > 200);
    connector.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_secs(by_length(3, 15)));
    connector.signal(libc::SIGCONT);
    let before = run.stats().acked;
    wait_until("records flow again", LONG, || run.stats().acked > before + 200);
    run.stop();
    run.finish_open(&[&sink]);
    connector.wait_log("did not run for", LONG);
    connector.stop();
}

#[test]
fn idle_executors_use_next_to_no_cpu() {
    let sink = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).executors(2).start();
    // Not before its first record: idle connections on both sides are part of being idle.
    let mut idle = client(connector.addr());
    idle.send_frame(&frames(0, 1)).unwrap();
    assert_eq!(idle.read_ack().unwrap(), 0);
    let (before, started) = (connector.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(by_length(4, 60)));
    let share = (connector.cpu() - before).as_secs_f64() / started.elapsed().as_secs_f64() / 2.0;
    eprintln!("idle: {:.2} % of a core per executor", share * 100.0);
    assert!(share < 0.05, "{share}: above five times the 1 % that is allowed");
    connector.stop();
}

#[test]
fn descriptors_come_back_after_load() {
    let sink = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_1_1", &[sink.addr()]).start();
    let before = connector.descriptors();
    for _ in 0..3 {
        oracle::watched(source(connector.addr(), 100, 2_000), &[&sink]).finish(&[&sink]);
    }
    sink.close_connections();
    wait_until("all are closed", LONG, || connector.descriptors() <= before + 1);
    connector.stop();
}
