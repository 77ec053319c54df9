//! Batches over real sockets: no fault of a destination, a source or the process loses a record of a batch, or acks
//! one too early.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpost_load::record::{Identity, RecordSpec};
use ringpost_load::report;
use ringpost_load::sink::{Behaviour, Fault, Goodbye, Poison, Poisoned, SinkConfig, SinkHandle};
use ringpost_load::source::{ClientError, SourceConfig};
use support::*;

/// The two bodies of JSON batches, each compressed.
const BODIES: [&str; 2] = ["array", "ndjson"];

/// Batches of at most 40 records that wait at most 20 ms.
fn batched(protocol: &str, sinks: &[&SinkHandle], body: &str) -> Settings {
    let mut settings = Settings::to(protocol, &[sinks[0].addr()]).set("compression: gzip");
    for sink in &sinks[1..] {
        settings = settings.and(protocol, &[sink.addr()]);
    }
    settings.batching(&format!("max-records: 40, batch-interval: 20, body: {body}"))
}

/// A sink that reads every body.
fn watchful(behaviour: Behaviour) -> SinkHandle {
    sink_with(SinkConfig { behaviour, verify_every: 1, ..SinkConfig::default() })
}

/// Records for a run with faults: a refused one comes again soon.
fn load(to: std::net::SocketAddr, records: u64) -> SourceConfig {
    SourceConfig { lap: Duration::from_millis(20), drain: 2 * LONG, ..source(to, 4, records) }
}

/// Runs `records` records against `behaviour` until each is delivered; says how many acks were temporary.
fn survives(protocol: &str, executors: usize, body: &str, behaviour: Behaviour) -> (u64, SinkHandle) {
    // HTTP/2 that ends abruptly takes the answers with it that still wait behind others.
    let streams = if behaviour.goodbye == Goodbye::Abrupt { 1 } else { 256 };
    let sink = watchful(behaviour);
    let settings = batched(protocol, &[&sink], body)
        .set("call-timeout: 400")
        .set(&format!("http2-max-concurrent-streams: {streams}"))
        .executors(executors);
    let mut connector = settings.start();
    let run = oracle::watched(load(connector.addr(), by_length(3_000, 200_000)), &[&sink]);
    let report = run.finish(&[&sink]);
    let stats = sink.ledger().stats();
    assert!(stats.batches > 0 && stats.records > 4 * stats.requests, "records travel together: {stats:?}");
    eprintln!(
        "{protocol}, {executors} executors, {body}: {} requests for {} records in {:?}, acks {:?}",
        stats.requests,
        report.sent,
        report.elapsed,
        oracle::codes(&report)
    );
    connector.stop();
    (report.acks_by_code[11], sink)
}

#[test]
fn nothing_is_lost_or_doubled_when_answers_are_slow_and_fail() {
    for (at, protocol) in PROTOCOLS.into_iter().enumerate() {
        for executors in [1, 2] {
            // Above 0.25 three failures in a row are no rarity, and a status is no reason to close the URL.
            let error_probability = if executors == 1 { 0.3 } else { 0.05 };
            let behaviour =
                Behaviour { error_probability, ..Behaviour::latency(Duration::ZERO, Duration::from_millis(20)) };
            let (refused, sink) = survives(protocol, executors, BODIES[(at + executors) % 2], behaviour);
            assert!(refused > 0, "the errors met batches");
            assert_eq!(sink.ledger().stats().duplicates, 0, "{protocol}: a batch that was taken is not sent again");
        }
    }
}

#[test]
fn connections_that_end_lose_no_batch() {
    for protocol in PROTOCOLS {
        for (goodbye, body) in [(Goodbye::Announced, "array"), (Goodbye::Abrupt, "ndjson")] {
            let behaviour = Behaviour {
                requests_per_connection: Some(3),
                goodbye,
                ..Behaviour::latency(Duration::ZERO, Duration::from_millis(5))
            };
            let (_, sink) = survives(protocol, 1, body, behaviour);
            assert!(sink.ledger().stats().connections > 2, "{protocol}, {goodbye:?}: connections did end");
        }
    }
}

#[test]
fn answers_that_never_come_or_break_off_lose_no_batch() {
    let both = [Fault::Hang, Fault::CloseBeforeAnswer, Fault::CloseAfterHead, Fault::CloseMidBody];
    let both = both.into_iter().flat_map(|fault| PROTOCOLS.map(|protocol| (fault, protocol)));
    let faults = both.chain([Fault::Reset, Fault::Refuse].map(|fault| (fault, "HTTP_2")));
    for (at, (fault, protocol)) in faults.enumerate() {
        // Calls that time out one after another close the URL for a second.
        let fault_probability = if fault == Fault::Hang { 0.04 } else { 0.15 };
        let behaviour = Behaviour { body_bytes: 100, fault_probability, ..Behaviour::fault(fault) };
        survives(protocol, 1 + at / 2 % 2, BODIES[at % 2], behaviour);
    }
}

#[test]
fn a_destination_that_goes_down_and_comes_up_again_gets_every_record() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::latency(Duration::ZERO, Duration::from_millis(10)));
        let mut connector = batched(protocol, &[&sink], "array").executors(2).start();
        let endless = SourceConfig { records: None, rate: Some(3_000.0), ..load(connector.addr(), 0) };
        let run = oracle::watched(endless, &[&sink]);
        for _ in 0..by_length(2, 20) {
            let acked = run.stats().acked;
            wait_until("records flow", LONG, || run.stats().acked > acked + 300);
            let refused = run.stats().temporary;
            sink.down().unwrap();
            wait_until("records are refused", LONG, || run.stats().temporary > refused + 50);
            sink.up().unwrap();
        }
        let acked = run.stats().acked;
        wait_until("records flow again", LONG, || run.stats().acked > acked + 300);
        run.stop();
        run.finish(&[&sink]);
        connector.stop();
    }
}

#[test]
fn a_batch_is_acked_when_both_destinations_took_it() {
    for protocol in PROTOCOLS {
        let latency = Behaviour::latency(Duration::ZERO, Duration::from_millis(20));
        let slow = watchful(latency.clone());
        let fails = watchful(Behaviour { error_probability: 0.2, ..latency });
        // The first one gets gzip, the second one the same batches as they are.
        let mut connector = batched(protocol, &[&slow, &fails], "ndjson").executors(2).start();
        let run = oracle::watched(load(connector.addr(), by_length(3_000, 200_000)), &[&slow, &fails]);
        let report = run.finish(&[&slow, &fails]);
        assert!(report.acks_by_code[11] > 0, "{protocol}: errors of one destination are those of the record");
        let (slow, fails) = (slow.ledger().stats(), fails.ledger().stats());
        assert!(slow.body_bytes * 2 < fails.body_bytes, "{protocol}: gzip for one of the two");
        assert_eq!(fails.duplicates, 0, "{protocol}");
        connector.stop();
    }
}

#[test]
fn killed_with_open_batches_and_started_again_no_acked_record_is_missing() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::latency(Duration::ZERO, Duration::from_millis(10)));
        // Batches are filled slowly, so that every kill finds open ones.
        let settings = Settings::to(protocol, &[sink.addr()])
            .set("compression: gzip")
            .executors(2)
            .batching("max-records: 300, batch-interval: 150");
        let mut connector = settings.start();
        let endless = SourceConfig { records: None, rate: Some(3_000.0), ..load(connector.addr(), 0) };
        let run = oracle::watched(endless, &[&sink]);
        for round in 0..by_length(4, 100) {
            let before = run.stats().acked;
            wait_until("records flow", LONG, || run.stats().acked > before + 100);
            std::thread::sleep(Duration::from_millis(round * 37 % 150));
            connector.signal(libc::SIGKILL);
            assert_eq!(connector.wait_end(LONG).0, None);
            connector = settings.start();
        }
        run.stop();
        let report = run.finish(&[&sink]);
        assert!(report.lost_with_connection > 100, "{protocol}: the kills met records that waited");
        connector.stop();
    }
}

#[test]
fn sigterm_sends_open_batches_at_once() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::default());
        let settings = Settings::to(protocol, &[sink.addr()]).executors(2).batching("max-records: 1000");
        let mut connector = settings.start();
        let mut clients = [client(connector.addr()), client(connector.addr())];
        for (at, client) in clients.iter_mut().enumerate() {
            client.send_frame(&frames(at as u64 * 30, 30)).unwrap();
        }
        connector.wait_read();
        assert_eq!(sink.ledger().stats().requests, 0, "they wait for 8 s, or what the deadline leaves of it");
        let started = Instant::now();
        connector.signal(libc::SIGTERM);
        for client in &mut clients {
            assert_eq!(acks(client, 30), [0; 30], "{protocol}");
            assert!(matches!(client.read_ack(), Err(ClientError::Closed)), "then the connection ends in good order");
        }
        let took = started.elapsed();
        eprintln!("{protocol}: acked {took:?} after SIGTERM with open batches");
        assert!(took < Duration::from_millis(2_500), "{took:?}: their interval would be 6 s");
        drop(clients);
        assert_eq!(connector.wait_end(LONG).0, Some(0), "{}", connector.log());
        let stats = sink.ledger().stats();
        assert_eq!((stats.requests, stats.delivered, stats.duplicates), (2, 60, 0), "{protocol}: a batch per executor");
    }
}

#[test]
fn records_of_a_source_that_is_gone_leave_their_batch() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::default());
        // The batch is sent when 30 records were put into it, those that have left it included.
        let settings = Settings::to(protocol, &[sink.addr()]).level("debug").batching("max-records: 30");
        let mut connector = settings.start();
        let (mut goes, mut stays) = (client(connector.addr()), client(connector.addr()));
        // In turn, so that the records of both stand between each other.
        for turn in 0..2 {
            goes.send_frame(&frames(100 + turn * 5, 5)).unwrap();
            connector.wait_read();
            stays.send_frame(&frames(turn * 5, 5)).unwrap();
            connector.wait_read();
        }
        socket2::SockRef::from(goes.stream()).set_linger(Some(Duration::ZERO)).unwrap();
        drop(goes);
        connector.wait_log("10 records unanswered", LONG);
        stays.send_frame(&frames(10, 10)).unwrap();
        assert_eq!(acks(&mut stays, 20), [0; 20]);
        let ledger = sink.ledger();
        let stats = ledger.stats();
        assert_eq!((stats.requests, stats.delivered, stats.corrupt), (1, 20, 0), "{protocol}: {stats:?}");
        for sequence in 0..20 {
            assert_eq!(ledger.entry(Identity { sequence, run: 1 }).succeeded, 1);
            assert_eq!(ledger.entry(Identity { sequence: 100 + sequence, run: 1 }).received, 0);
        }
        connector.stop();
    }
}

#[test]
fn batches_of_every_format_are_read_back() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/schemas/row.avsc");
    let avro = format!("{{ mode: avro, schema-file: {schema}, metadata-key: metadata }}");
    let formats = ["{ mode: json }", "{ mode: message-pack }", "{ mode: xdr }", &avro];
    for (at, format) in formats.into_iter().enumerate() {
        for protocol in PROTOCOLS {
            let latency = Behaviour::latency(Duration::ZERO, Duration::from_millis(5));
            let sink = watchful(Behaviour { error_probability: 0.1, ..latency });
            let mut settings = batched(protocol, &[&sink], "array").executors(1 + at % 2);
            settings.format = format.to_owned();
            let mut connector = settings.start();
            let run = oracle::watched(load(connector.addr(), by_length(1_000, 100_000)), &[&sink]);
            run.finish(&[&sink]);
            let stats = sink.ledger().stats();
            assert!(stats.batches > 10 && stats.duplicates == 0, "{protocol}, {format}: {stats:?}");
            connector.stop();
        }
    }
}

/// Some records are refused for good, alone or with others: those get 10, and all others are delivered.
fn poisoned(protocol: &str, executors: usize, body: &str, error_probability: f64) {
    let count = by_length(2_000, 100_000);
    // Neighbours, a lonely one, and a regular sprinkling.
    let poison: BTreeSet<u64> = (0..count).filter(|at| at % 97 == 5 || (400..403).contains(at)).collect();
    let behaviour = Behaviour {
        poison: Some(Poison { records: Poisoned::Sequences(Arc::new(poison.clone())), status: 422 }),
        error_probability,
        ..Behaviour::default()
    };
    let sink = watchful(behaviour);
    let settings = batched(protocol, &[&sink], body).executors(executors).set("permanent-status-codes: [ 400, 422 ]");
    let mut connector = settings.start();
    let report = oracle::watched(load(connector.addr(), count), &[&sink]).finish_open(&[&sink]);
    report::check_fates(&report).unwrap();
    let books = sink.ledger().snapshot();
    report::check_refusals(&report.ledger, &[&books]).unwrap();
    for (identity, entry) in report.ledger.iter() {
        let is_poison = poison.contains(&identity.sequence);
        let expected = if is_poison { Some(10) } else { Some(0) };
        assert_eq!(entry.code, expected, "{protocol}, record {}", identity.sequence);
        assert_eq!(books.entry(identity).succeeded, u16::from(!is_poison), "{protocol}, record {}", identity.sequence);
    }
    assert_eq!(report.abandoned, poison.len() as u64);
    assert!(sink.ledger().stats().batches > 0);
    connector.stop();
    let complaints = connector.complaints();
    assert!(complaints.iter().any(|line| line.contains("422")), "given-up records are logged: {complaints:?}");
}

#[test]
fn only_the_records_that_a_destination_never_takes_are_given_up() {
    poisoned("HTTP_1_1", 1, "ndjson", 0.0);
    poisoned("HTTP_1_1", 2, "array", 0.1);
    poisoned("HTTP_2", 1, "array", 0.1);
    poisoned("HTTP_2", 2, "ndjson", 0.0);
}

#[test]
fn a_record_that_one_of_two_destinations_never_takes_is_given_up_and_the_other_one_has_it() {
    for protocol in PROTOCOLS {
        let takes = watchful(Behaviour::latency(Duration::ZERO, Duration::from_millis(10)));
        let refuses = watchful(Behaviour::poison(422, Poisoned::Every(50)));
        let mut settings = batched(protocol, &[&takes, &refuses], "ndjson").set("permanent-status-codes: [ 422 ]");
        settings.destinations[1].settings.push("compression-threshold: 1000000".to_owned());
        let mut connector = settings.start();
        let sinks = [&takes, &refuses];
        let report = oracle::watched(load(connector.addr(), 1_000), &sinks).finish_open(&sinks);
        report::check_fates(&report).unwrap();
        let books = [takes.ledger().snapshot(), refuses.ledger().snapshot()];
        report::check_refusals(&report.ledger, &[&books[0], &books[1]]).unwrap();
        assert_eq!(oracle::codes(&report), [(0, 980), (10, 20)], "{protocol}");
        let (takes, refuses) = (takes.ledger().stats(), refuses.ledger().stats());
        assert_eq!((takes.delivered, refuses.delivered), (1_000, 980), "{protocol}");
        assert_eq!(
            (takes.duplicates, refuses.duplicates),
            (0, 0),
            "{protocol}: who took the batch gets no record again"
        );
        connector.stop();
    }
}

#[test]
fn sigterm_with_open_batches_and_a_hanging_destination_answers_11_and_ends() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::fault(Fault::Hang));
        let settings = Settings::to(protocol, &[sink.addr()])
            .set("call-timeout: 6500")
            .limit("drain: 1s")
            .batching("max-records: 1000");
        let mut connector = settings.start();
        let mut client = client(connector.addr());
        client.send_frame(&frames(0, 50)).unwrap();
        connector.wait_read();
        connector.signal(libc::SIGTERM);
        assert_eq!(acks(&mut client, 50), [11; 50], "{protocol}");
        drop(client);
        let (code, took) = connector.wait_end(LONG);
        assert_eq!(code, Some(0), "{}", connector.log());
        assert!(took < Duration::from_secs(5), "{protocol}: {took:?}");
        assert_eq!(sink.ledger().stats().records, 50, "{protocol}: they were sent");
    }
}

#[test]
fn acks_keep_their_order_though_neighbours_travel_in_different_batches() {
    // Sets tell batches apart, and each has its own fate: a code in another one's place would be one for another set.
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::latency(Duration::ZERO, Duration::from_millis(30)));
        let mut settings = Settings::to(protocol, &[sink.addr()])
            .set("headers: { x-set: { source: set } }")
            .batching("max-records: 9, batch-interval: 50")
            .top("namespaces: { test: { sets: { gone: { routing: { mode: static-multi-destination, destinations: d1 } }, skipped: { routing: { mode: skip } } } } }");
        settings.routing = Some("{ mode: static-multi-destination, destinations: d0 }".to_owned());
        let settings = settings.and(protocol, &["127.0.0.1:9".parse().unwrap()]);
        let mut connector = settings.start();
        let sets = ["a", "gone", "b", "skipped", "c", "a", "gone"];
        let set = |at: u64| sets[(at * at / 3 % 7) as usize];
        let mut client = client(connector.addr());
        let count = 600;
        let bytes: Vec<u8> =
            (0..count).flat_map(|at| wire::Frame::new(at).set(Some(set(at).as_bytes())).bytes()).collect();
        client.send_frame(&bytes).unwrap();
        let codes = acks(&mut client, count as usize);
        for at in 0..count {
            let expected = if set(at) == "gone" { 11 } else { 0 };
            assert_eq!(codes[at as usize], expected, "{protocol}, record {at} of set {}", set(at));
            let received = sink.ledger().entry(Identity { sequence: at, run: 1 }).received;
            assert_eq!(received, u16::from(!["gone", "skipped"].contains(&set(at))), "{protocol}, record {at}");
        }
        connector.stop();
    }
}

#[test]
fn records_that_fill_the_limit_are_sent_though_their_batch_is_not_full() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::default());
        let mut settings = Settings::to(protocol, &[sink.addr()]).batching("max-records: 1000");
        settings.service.push("max-concurrent-records: 20".to_owned());
        let mut connector = settings.start();
        let report = oracle::watched(load(connector.addr(), 1_000), &[&sink]).finish(&[&sink]);
        eprintln!("{protocol}: 1000 records with 20 in flight took {:?}", report.elapsed);
        // Every batch would wait for 6 s otherwise: five minutes.
        assert!(report.elapsed < LONG, "{protocol}: {:?}", report.elapsed);
        connector.stop();
    }
}

#[test]
fn a_set_of_its_own_for_every_record_costs_batches_and_not_memory() {
    // Sets come from outside, and tell batches apart here: none of them is ever full.
    for protocol in &PROTOCOLS[by_length(1, 0)..] {
        let sink = watchful(Behaviour::default());
        let mut connector = Settings::to(protocol, &[sink.addr()])
            .set("headers: { x-set: { source: set } }")
            .executor(&format!("in-flight-bytes: {IN_FLIGHT_MIB}MiB"))
            .batching("max-records: 100, batch-interval: 3000")
            .start();
        let (count, mut client) = (by_length(1_100, 20_000), client(connector.addr()));
        let mut writer = client.stream().try_clone().unwrap();
        let sends = std::thread::spawn(move || {
            use std::io::Write;
            let large = vec![0x5a; 160 << 10];
            let frame = |at: u64| wire::Frame::new(at).set(Some(format!("set-{at}").as_bytes()));
            let frame = |at: u64| frame(at).bin("large", wire::particle::BLOB, &large).bytes();
            (0..count).for_each(|at| writer.write_all(&frame(at)).unwrap());
        });
        assert_eq!(acks(&mut client, count as usize), vec![0; count as usize], "{protocol}");
        sends.join().unwrap();
        let (stats, peak) = (sink.ledger().stats(), connector.memory_kib("VmHWM"));
        assert_eq!((stats.requests, stats.delivered, stats.duplicates), (count, count, 0), "{protocol}");
        eprintln!("{protocol}, a set per record: peak {peak} KiB of {ALLOWED_KIB}");
        assert!(peak <= ALLOWED_KIB, "{protocol}: {peak} KiB, allowed {ALLOWED_KIB}");
        connector.stop();
    }
}

#[test]
fn a_lonely_record_waits_for_its_interval_and_no_longer() {
    for protocol in PROTOCOLS {
        let sink = watchful(Behaviour::default());
        let mut connector =
            Settings::to(protocol, &[sink.addr()]).batching("max-records: 100, batch-interval: 300").start();
        for sequence in 0..3 {
            let started = Instant::now();
            assert_eq!(one_record(connector.addr(), sequence), 0);
            let took = started.elapsed();
            eprintln!("{protocol}: a lonely record with an interval of 300 ms took {took:?}");
            assert!(took > Duration::from_millis(290) && took < Duration::from_millis(1_500), "{protocol}: {took:?}");
        }
        connector.stop();
    }
}

/// `in-flight-bytes`, and what resident memory may reach with it: 64 MiB and one and a half times.
const IN_FLIGHT_MIB: u64 = 32;
const ALLOWED_KIB: u64 = (64 + IN_FLIGHT_MIB + IN_FLIGHT_MIB / 2) * 1024;

/// Sends far more than may be in flight to a destination that hangs, heals it, and looks at the peak of memory.
fn flood(protocol: &str, body_bytes: usize, window: usize, records: u64) {
    let sink = sink(Behaviour::fault(Fault::Hang));
    let mut settings = Settings::to(protocol, &[sink.addr()])
        .set("compression: gzip")
        .set("call-timeout: 1000")
        .set("max-request-queued-per-endpoint: 4000000")
        .batching("max-records: 500, max-bytes: 1MiB, batch-interval: 200")
        .executor(&format!("in-flight-bytes: {IN_FLIGHT_MIB}MiB"));
    settings.service.push("max-concurrent-records: 4000000".to_owned());
    let mut connector = settings.start();
    let records_spec = RecordSpec { body_bytes, run: 2, ..RecordSpec::default() };
    let flood = SourceConfig { records_spec, window, drain: 2 * LONG, ..source(connector.addr(), 16, records) };
    let run = oracle::watched(flood, &[&sink]);
    wait_until("calls time out", LONG, || run.stats().temporary > 300);
    std::thread::sleep(Duration::from_millis(by_length(500, 60_000)));
    let hanging = connector.memory_kib("VmHWM");
    sink.set_behaviour(Behaviour::default());
    let acked = run.stats().acked;
    wait_until("records flow again", LONG, || run.stats().acked > acked + 50);
    run.stop();
    let report = run.finish(&[&sink]);
    let peak = connector.memory_kib("VmHWM");
    eprintln!(
        "{protocol}, bodies of {body_bytes}: hanging {hanging} KiB, peak {peak} KiB of {ALLOWED_KIB}, acks {:?}",
        oracle::codes(&report)
    );
    assert!(peak <= ALLOWED_KIB, "{protocol}, bodies of {body_bytes}: {peak} KiB, allowed {ALLOWED_KIB}");
    connector.stop();
}

#[test]
fn compressed_batches_of_small_records_stay_within_their_memory() {
    PROTOCOLS[..by_length(1, 2)].iter().for_each(|protocol| flood(protocol, 250, 8_000, by_length(130_000, 2_000_000)));
}

#[test]
fn compressed_batches_of_large_records_stay_within_their_memory() {
    PROTOCOLS[by_length(1, 0)..].iter().for_each(|protocol| flood(protocol, 40 << 10, 100, by_length(1_800, 20_000)));
}
