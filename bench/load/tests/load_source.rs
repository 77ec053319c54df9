//! The source against ack servers of the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod load_support;

use std::collections::HashMap;
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use load_support::{identity, read_frame, serve};
use ringpost_load::record::{Generator, RecordSpec};
use ringpost_load::report::{check_ack_order, check_fates};
use ringpost_load::source::{Client, ClientError, Source, SourceConfig, ack};

fn records(count: u64, address: std::net::SocketAddr) -> SourceConfig {
    SourceConfig { records: Some(count), lap: Duration::from_millis(5), ..SourceConfig::to(address) }
}

#[test]
fn temporary_codes_are_sent_again_and_permanent_ones_given_up() {
    let seen = Arc::new(Mutex::new(HashMap::<u64, u32>::new()));
    let theirs = Arc::clone(&seen);
    let address = serve(move |mut stream| {
        while let Some(frame) = read_frame(&mut stream) {
            let sequence = identity(&frame).sequence;
            let times = *theirs.lock().unwrap().entry(sequence).and_modify(|times| *times += 1).or_insert(1);
            let code = match (sequence % 4, times) {
                (1, 1) => 11,
                (2, 1 | 2) => 18,
                (3, _) => 10,
                _ => 0,
            };
            stream.write_all(&ack::encode(code)).unwrap();
        }
    });
    let report = Source::spawn(records(40, address)).unwrap().join().unwrap();
    assert_eq!((report.sent, report.acked, report.abandoned, report.resent, report.unresolved), (40, 30, 10, 30, 0));
    let codes = [0, 10, 11, 18].map(|code| report.acks_by_code[code]);
    assert_eq!(codes, [30, 10, 10, 20]);
    assert_eq!(report.ledger.entries[2].sent, 3);
    assert_eq!(report.ledger.entries[3].code, Some(10));
    assert_eq!(check_fates(&report), Ok(()));
    let seen = seen.lock().unwrap();
    assert!((0..40).all(|sequence| seen[&sequence] == [1, 2, 3, 1][sequence as usize % 4]));
}

#[test]
fn what_was_in_flight_on_a_lost_connection_is_sent_again() {
    let count = Arc::new(AtomicU64::new(0));
    let address = serve(move |mut stream| {
        while let Some(_frame) = read_frame(&mut stream) {
            if count.fetch_add(1, Ordering::SeqCst) % 50 == 49 {
                stream.shutdown(Shutdown::Both).unwrap();
                return;
            }
            let _ = stream.write_all(&ack::encode(0));
        }
    });
    let config = SourceConfig { connections: 2, window: 20, ..records(500, address) };
    let report = Source::spawn(config).unwrap().join().unwrap();
    assert_eq!((report.acked, report.unresolved), (500, 0));
    assert!(report.connections_lost >= 10, "{}", report.connections_lost);
    assert!(report.resent >= 10);
    assert_eq!(report.violations, 0, "{:?}", report.violation_texts);
    assert_eq!(check_fates(&report), Ok(()));
}

#[test]
fn acks_cut_anywhere_are_read() {
    let address = serve(|mut stream| {
        let mut waiting = Vec::new();
        while let Some(_frame) = read_frame(&mut stream) {
            waiting.extend_from_slice(&ack::encode(0));
            if waiting.len() == 300 {
                for part in waiting.chunks(7) {
                    stream.write_all(part).unwrap();
                    thread::sleep(Duration::from_micros(300));
                }
                waiting.clear();
            }
        }
    });
    let report = Source::spawn(SourceConfig { window: 10, ..records(50, address) }).unwrap().join().unwrap();
    assert_eq!((report.acked, report.violations), (50, 0));
}

#[test]
fn a_malformed_ack_is_a_violation_and_the_connection_is_given_up() {
    let address = serve(|mut stream| {
        let first = read_frame(&mut stream).map(|frame| identity(&frame).sequence);
        let mut bad = ack::encode(0);
        bad[1] = 4;
        let _ = stream.write_all(&if first == Some(0) { bad } else { ack::encode(0) });
        while read_frame(&mut stream).is_some() {
            let _ = stream.write_all(&ack::encode(0));
        }
    });
    let config = SourceConfig { drain: Duration::from_millis(200), window: 1, ..records(1, address) };
    let report = Source::spawn(config).unwrap().join().unwrap();
    assert!(report.violations >= 1);
    assert!(report.violation_texts[0].contains("malformed ack: proto header"), "{:?}", report.violation_texts);
    assert_eq!(check_ack_order(&report).unwrap_err().rule, "G4");
    assert_eq!(report.acked, 0);
}

/// A connector that stands still for 300 ms must show in an open loop's latency for every record that was due then.
#[test]
fn an_open_loop_does_not_hide_a_standstill() {
    let address = serve(|mut stream| {
        let mut count = 0;
        while let Some(_frame) = read_frame(&mut stream) {
            count += 1;
            if count == 200 {
                thread::sleep(Duration::from_millis(300));
            }
            stream.write_all(&ack::encode(0)).unwrap();
        }
    });
    let config = SourceConfig { rate: Some(1_000.0), window: 8, ..records(1_000, address) };
    let report = Source::spawn(config).unwrap().join().unwrap();
    assert_eq!(report.acked, 1_000);
    let slow = report.latency_ns.count_between(100_000_000, u64::MAX);
    assert!((150..400).contains(&slow), "{slow} of 1000 records above 100 ms");
    let second = report.elapsed.as_secs_f64();
    assert!((0.95..1.5).contains(&second), "{second} s for 1000 records at 1000/s");
}

#[test]
fn a_source_without_a_connector_ends_after_its_drain() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = SourceConfig {
        duration: Some(Duration::from_millis(100)),
        drain: Duration::from_millis(100),
        ..SourceConfig::to(closed)
    };
    let report = Source::spawn(config).unwrap().join().unwrap();
    assert_eq!((report.sent, report.acked), (0, 0));
}

#[test]
fn a_stopped_source_waits_for_what_is_in_flight() {
    let address = serve(|mut stream| {
        while read_frame(&mut stream).is_some() {
            thread::sleep(Duration::from_millis(1));
            let _ = stream.write_all(&ack::encode(0));
        }
    });
    let source = Source::spawn(SourceConfig::to(address)).unwrap();
    while source.stats().acked < 10 {
        thread::sleep(Duration::from_millis(1));
    }
    source.stop();
    let report = source.join().unwrap();
    assert_eq!((report.sent, report.unresolved), (report.acked, 0));
}

#[test]
fn a_client_reads_acks_one_by_one_and_sees_the_end() {
    let address = serve(|mut stream| {
        for code in [0, 11, 10] {
            read_frame(&mut stream).unwrap();
            stream.write_all(&ack::encode(code)).unwrap();
        }
        stream.write_all(&ack::encode(0)[..12]).unwrap();
    });
    let generator = Generator::new(&RecordSpec::default()).unwrap();
    let mut client = Client::connect(address, Duration::from_secs(2)).unwrap();
    client.send_frame(&[generator.frame(0), generator.frame(1)].concat()).unwrap();
    assert_eq!((client.read_ack().unwrap(), client.read_ack().unwrap()), (0, 11));
    client.set_read_timeout(Duration::from_millis(50)).unwrap();
    assert!(matches!(client.read_ack(), Err(ClientError::TimedOut)));
    client.send_frame(&generator.frame(2)).unwrap();
    client.set_read_timeout(Duration::from_secs(2)).unwrap();
    assert_eq!(client.read_ack().unwrap(), 10);
    assert!(matches!(client.read_ack(), Err(ClientError::CutAck(12))));
}
