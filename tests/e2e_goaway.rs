//! A peer that takes a few requests per HTTP/2 connection and leaves all others untouched, as nginx does with
//! `keepalive_requests`: its connections are soon begun with as many as it takes, and nothing is sent twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringpost_load::source::SourceConfig;
use support::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PREFACE_BYTES: usize = 24;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Takes the first `limit` requests of a connection and says with the last of them that it goes away. It answers all
/// but the last `unanswered`, and closes then; or never, if there are any of those. The headers are not looked at.
fn serve(mut stream: TcpStream, limit: u64, unanswered: u64, answered: &AtomicU64) -> std::io::Result<()> {
    stream.read_exact(&mut [0; PREFACE_BYTES])?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    let (mut taken, mut done, mut last) = (0, 0, 0);
    while done < limit {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload)?;
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        match kind {
            SETTINGS if flags == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[]))?,
            HEADERS if taken < limit => {
                (taken, last) = (taken + 1, id);
                if taken == limit {
                    stream.write_all(&frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()))?;
                }
            }
            DATA if flags & END_STREAM != 0 && id <= last && done < limit - unanswered => {
                // Entry 8 of the static table: status 200.
                stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &[0x88]))?;
                answered.fetch_add(1, Ordering::Relaxed);
                done += 1;
            }
            _ => {}
        }
    }
    // What still comes is read and dropped: closing with bytes unread would reset the connection, answers and all.
    stream.shutdown(std::net::Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

/// The peer; counts what it answered. It ends with the process.
fn peer(limit: u64, unanswered: u64) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, answered) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let theirs = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, theirs) = (stream.unwrap(), Arc::clone(&theirs));
            std::thread::spawn(move || serve(stream, limit, unanswered, &theirs));
        }
    });
    (address, answered)
}

#[test]
fn a_peer_that_takes_few_requests_per_connection_is_sent_no_more() {
    for limit in [1, 10] {
        let (address, answered) = peer(limit, 0);
        let mut connector = Settings::to("HTTP_2", &[address]).start();
        let run = oracle::watched(SourceConfig { window: 64, ..source(connector.addr(), 4, 2_000) }, &[]);
        let report = run.finish_open(&[]);
        eprintln!("limit {limit}: {:?} in {:?}", oracle::codes(&report), report.elapsed);
        assert_eq!(report.acked, 2_000, "limit {limit}: {:?}", oracle::codes(&report));
        assert_eq!(answered.load(Ordering::Relaxed), 2_000, "limit {limit}: none twice");
        // Those that met the first few connections. When each connection was given all that it had room for, a record
        // was refused 40 times.
        assert!(report.acks_by_code[11] <= 512, "limit {limit}: {:?}", oracle::codes(&report));
        connector.stop();
    }
}

#[test]
fn a_peer_that_leaves_requests_without_an_answer_when_it_goes_away_stays_healthy() {
    // One connection after the other, so that answers come between the ends.
    let (address, answered) = peer(250, 20);
    let mut connector = Settings::to("HTTP_2", &[address]).set("call-timeout: 300").start();
    let config = SourceConfig { window: 64, rate: Some(1_000.0), ..source(connector.addr(), 4, 1_000) };
    let report = oracle::watched(config, &[]).finish_open(&[]);
    assert_eq!((report.acked, answered.load(Ordering::Relaxed)), (1_000, 1_000), "{:?}", oracle::codes(&report));
    connector.wait_log("no answer within call-timeout", LONG);
    let log = connector.log();
    assert!(!log.contains("unhealthy"), "its next connections answer:\n{log}");
    connector.stop();
}
