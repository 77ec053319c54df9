//! Records that cannot be delivered for what is in them: exactly those are given up, and each is in the file first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringpost_load::record::Identity;
use ringpost_load::sink::Behaviour;
use serde_json::Value;
use support::wire::{Frame, particle};
use support::*;

/// Flat JSON that refuses text that is not UTF-8.
fn settings(to: std::net::SocketAddr, protocol: &str) -> Settings {
    let mut settings = Settings::to(protocol, &[to]);
    settings.format = "{ mode: flat-json, metadata-key: metadata, invalid-utf8: reject }".to_owned();
    settings
}

/// Ways to be wrong: content that is none (xdr-protocol.md 8), and content that JSON cannot have.
fn bad(sequence: u64, way: u64) -> Vec<u8> {
    let frame = Frame::new(sequence);
    match way % 7 {
        // A list of two elements with one, a map that ends in its key, an integer of three bytes.
        0 => frame.bin("list", particle::LIST, &[0x92, 1]).bytes(),
        1 => frame.bin("map", particle::MAP, &[0x81, 0xa2, 3]).bytes(),
        2 => frame.bin("int", particle::INTEGER, &[1, 2, 3]).bytes(),
        3 => frame.bin("text", particle::STRING, b"\xff\xfe").bytes(),
        4 => frame.namespace(b"").bytes(),
        5 => {
            let mut frame = frame.bin("read", particle::INTEGER, &[0; 8]);
            frame.bins[1].op = 1;
            frame.bytes()
        }
        _ => {
            let mut frame = frame;
            frame.key = Some(Vec::new());
            frame.bytes()
        }
    }
}

/// Whether record `sequence` of the mixed runs is bad.
fn is_bad(sequence: u64) -> bool {
    sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61 == 0
}

/// The file's lines: frame and peer.
fn kept(path: &Path) -> Vec<(Vec<u8>, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].as_u64().is_some() && !line["reason"].as_str().unwrap().is_empty(), "{line}");
        let frame = base64_simd::STANDARD.decode_to_vec(line["frame"].as_str().unwrap()).unwrap();
        (frame, line["peer"].as_str().unwrap().to_owned())
    };
    text.lines().map(line).collect()
}

/// Sends a mix on one connection; gives its address and the bad frames.
fn send_mix(to: std::net::SocketAddr, first: u64, count: u64) -> (String, Vec<Vec<u8>>) {
    let frames: Vec<Vec<u8>> = (first..first + count)
        .map(|sequence| if is_bad(sequence) { bad(sequence, sequence) } else { Frame::new(sequence).bytes() })
        .collect();
    let mut client = client(to);
    // Of a burst with more than 1024 bad records some are answered 11, as their lines have no room.
    for (first, frames) in (first..).step_by(300).zip(frames.chunks(300)) {
        client.send_frame(&frames.concat()).unwrap();
        for sequence in first..first + frames.len() as u64 {
            let expected = if is_bad(sequence) { 10 } else { 0 };
            assert_eq!(client.read_ack().unwrap(), expected, "record {sequence}");
        }
    }
    let address = client.stream().local_addr().unwrap().to_string();
    (address, (first..first + count).zip(frames).filter(|(at, _)| is_bad(*at)).map(|(_, frame)| frame).collect())
}

/// Good and bad records on several connections at once.
fn mixed(protocol: &str, executors: usize, batching: Option<&str>) {
    let (connections, count) = (5, by_length(300, 20_000));
    let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(10)));
    let mut settings = settings(sink.addr(), protocol).executors(executors).top("rejected-file: rejected.jsonl");
    if let Some(batching) = batching {
        settings = settings.batching(batching);
    }
    let mut connector = settings.start();
    let to = connector.addr();
    let sent: Vec<(String, Vec<Vec<u8>>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|at| scope.spawn(move || send_mix(to, at * count, count))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let path = connector.folder.join("rejected.jsonl");
    let mut by_peer: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    kept(&path).into_iter().for_each(|(frame, peer)| by_peer.entry(peer).or_default().push(frame));
    let mut total = 0;
    for (peer, frames) in sent {
        total += frames.len() as u64;
        assert_eq!(by_peer.remove(&peer).unwrap_or_default(), frames, "each once, in their order");
    }
    assert!(by_peer.is_empty() && total > 100);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stats = sink.ledger().stats();
    assert_eq!((stats.delivered, stats.duplicates, stats.corrupt), (connections * count - total, 0, 0));
    assert!((0..connections * count).all(|sequence| {
        sink.ledger().entry(Identity { sequence, run: 1 }).received == u16::from(!is_bad(sequence))
    }));
    connector.stop();
}

#[test]
fn only_bad_records_are_given_up_and_each_is_in_the_file_once() {
    mixed("HTTP_1_1", 1, None);
    mixed("HTTP_2", 2, None);
}

#[test]
fn bad_records_leave_no_trace_in_batches() {
    mixed("HTTP_2", 1, Some("max-records: 20, batch-interval: 20"));
    mixed("HTTP_1_1", 2, Some("max-records: 20, batch-interval: 20, body: ndjson"));
}

/// Sends one record; its code.
fn code(connector: &Process, frame: &[u8]) -> u8 {
    let mut client = client(connector.addr());
    client.send_frame(frame).unwrap();
    client.read_ack().unwrap()
}

#[test]
fn a_full_file_answers_11_and_says_so_until_there_is_room() {
    let sink = sink(Behaviour::default());
    let folder = folder();
    let file = folder.join("kept");
    let settings = settings(sink.addr(), "HTTP_2")
        .top(format!("rejected-file: {}", file.display()))
        .top("rejected-file-max-bytes: 4KiB");
    let mut connector = settings.start();
    let codes: Vec<u8> = (0..40).map(|at| code(&connector, &bad(at, 0))).collect();
    let full = codes.iter().position(|code| *code == 11).expect("40 lines are more than 4 KiB");
    assert!(full > 5 && codes[..full].iter().all(|code| *code == 10) && codes[full..].iter().all(|code| *code == 11));
    let lines = kept(&file);
    let frames: Vec<Vec<u8>> = lines.into_iter().map(|(frame, _)| frame).collect();
    assert_eq!(frames, (0..full as u64).map(|at| bad(at, 0)).collect::<Vec<_>>());
    assert!(std::fs::metadata(&file).unwrap().len() <= 4096);
    assert_eq!(code(&connector, &Frame::new(1_000).bytes()), 0, "others are delivered");
    connector.stop();
    let says = |line: &String| line.contains("takes no more") && line.contains("rejected-file-max-bytes");
    assert_eq!(connector.complaints().iter().filter(|line| says(line)).count(), 1, "{}", connector.log());

    // The same file after a restart is still full; with room it goes on.
    let mut connector = settings.start();
    assert_eq!(code(&connector, &bad(50, 0)), 11);
    connector.stop();
    std::fs::rename(&file, folder.join("moved")).unwrap();
    let mut connector = settings.start();
    assert_eq!(code(&connector, &bad(50, 0)), 10);
    assert_eq!(kept(&file)[0].0, bad(50, 0));
    connector.stop();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_disk_without_room_answers_11() {
    let sink = sink(Behaviour::default());
    let mut connector = settings(sink.addr(), "HTTP_2").top("rejected-file: /dev/full").start();
    assert_eq!([code(&connector, &bad(1, 0)), code(&connector, &Frame::new(2).bytes())], [11, 0]);
    connector.stop();
    assert!(connector.complaints().iter().any(|line| line.contains("/dev/full")), "{}", connector.log());
}

#[test]
fn a_file_that_stands_still_holds_up_neither_records_nor_the_end() {
    // A pipe that nobody reads: as a file on a server that went away.
    let sink = sink(Behaviour::default());
    let folder = folder();
    let file = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    let _reader = std::fs::File::options().read(true).write(true).open(&file).unwrap();
    let mut connector = settings(sink.addr(), "HTTP_2")
        .top(format!("rejected-file: {}", file.display()))
        .limit("record-deadline: 1s")
        .limit("drain: 1s")
        .start();
    let mut client = client(connector.addr());
    let count = 1_000;
    client.send_frame(&(0..count).flat_map(|at| bad(at, 0)).collect::<Vec<u8>>()).unwrap();
    let codes = acks(&mut client, count as usize);
    let in_time = codes.iter().take_while(|code| **code == 10).count();
    assert!(in_time > 50 && in_time < 1_000, "{in_time}: a pipe holds 64 KiB");
    assert!(codes[in_time..].iter().all(|code| *code == 11), "the rest is not lost");
    connector.wait_log("rejected-file does not take records", LONG);
    assert_eq!(code(&connector, &Frame::new(9_999).bytes()), 0, "others are delivered");
    drop(client);
    connector.signal(libc::SIGTERM);
    let (ended, took) = connector.wait_end(LONG);
    assert!(took < Duration::from_secs(5) && ended.is_some(), "{took:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn temporary_content_errors_are_answered_11_and_not_kept() {
    let sink = sink(Behaviour::default());
    let settings =
        settings(sink.addr(), "HTTP_2").top("content-errors: temporary").top("rejected-file: rejected.jsonl");
    let mut connector = settings.start();
    for way in 0..7 {
        assert_eq!(code(&connector, &bad(way, way)), 11, "way {way}");
    }
    assert_eq!(code(&connector, &Frame::new(9).bytes()), 0);
    let size = std::fs::metadata(connector.folder.join("rejected.jsonl")).map_or(0, |file| file.len());
    assert_eq!((size, sink.ledger().stats().requests), (0, 1));
    connector.stop();
}

#[test]
fn a_file_that_cannot_be_opened_refuses_the_start() {
    let sink = sink(Behaviour::default());
    for path in ["/nowhere/at/all/rejected", "/tmp", "/proc/version/x"] {
        let mut process = settings(sink.addr(), "HTTP_2").top(format!("rejected-file: {path}")).spawn(|_| {});
        let (ended, _) = process.wait_end(LONG);
        let errors = process.errors();
        assert_eq!(ended, Some(1), "{path}: {errors}");
        assert!(errors.contains("rejected-file") && errors.contains(path) && !errors.contains("panic"), "{errors}");
    }
}

#[test]
fn half_a_line_from_before_does_not_spoil_the_next_one() {
    // What a full disk, or the end of the machine's power, can leave.
    let sink = sink(Behaviour::default());
    let folder = folder();
    let file = folder.join("kept");
    std::fs::write(&file, "{\"time\":1,\"peer\":\"1.2.3.4:5\",\"reason\":\"x\",\"fra").unwrap();
    let mut connector = settings(sink.addr(), "HTTP_2").top(format!("rejected-file: {}", file.display())).start();
    assert_eq!(code(&connector, &bad(1, 0)), 10);
    connector.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).expect("a line of its own");
    assert_eq!(base64_simd::STANDARD.decode_to_vec(line["frame"].as_str().unwrap()).unwrap(), bad(1, 0));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Sends bad records one window after another, over and over, until told to stop; notes which were acked 10.
fn flood(to: std::net::SocketAddr, first: u64, given_up: &Mutex<BTreeSet<Vec<u8>>>, stop: &AtomicBool) {
    let mut sequence = first;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = ringpost_load::source::Client::connect(to, LONG) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let frames: Vec<Vec<u8>> = (sequence..sequence + 50).map(|at| bad(at, at)).collect();
            sequence += 50;
            if client.send_frame(&frames.concat()).is_err() {
                break;
            }
            let acked = frames.into_iter().take_while(|_| matches!(client.read_ack(), Ok(10)));
            let acked: Vec<Vec<u8>> = acked.collect();
            let all = acked.len() == 50;
            given_up.lock().unwrap().extend(acked);
            if !all {
                break;
            }
        }
    }
}

#[test]
fn what_was_given_up_is_in_the_file_though_the_process_is_killed() {
    let sink = sink(Behaviour::default());
    let folder = folder();
    let file = folder.join("kept");
    let settings = settings(sink.addr(), "HTTP_2").executors(2).top(format!("rejected-file: {}", file.display()));
    let mut connector = settings.start();
    let (given_up, stop) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (given_up, stop, to) = (&given_up, &stop, connector.addr());
            scope.spawn(move || flood(to, at << 32, given_up, stop));
        }
        for round in 0..by_length(5, 100) {
            let before = given_up.lock().unwrap().len();
            wait_until("records are given up", LONG, || given_up.lock().unwrap().len() > before + 200);
            std::thread::sleep(Duration::from_millis(round * 7 % 20));
            connector.signal(libc::SIGKILL);
            assert_eq!(connector.wait_end(LONG).0, None);
            connector = settings.start();
        }
        stop.store(true, Ordering::Relaxed);
    });
    connector.stop();
    let kept: BTreeSet<Vec<u8>> = kept(&file).into_iter().map(|(frame, _)| frame).collect();
    let given_up = given_up.into_inner().unwrap();
    let missing = given_up.iter().filter(|frame| !kept.contains(*frame)).count();
    eprintln!("{} given up, {} in the file", given_up.len(), kept.len());
    assert_eq!(missing, 0, "of {}", given_up.len());
    std::fs::remove_dir_all(folder).unwrap();
}
