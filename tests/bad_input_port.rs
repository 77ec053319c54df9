//! What must not hurt on the XDR port: strangers, liars, the silent and the deaf. An ordinary connection goes on
//! undisturbed through each of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringpost_load::sink::{Behaviour, SinkHandle};
use support::*;

/// Runs `strange` beside an ordinary source, which must not notice.
fn undisturbed(settings: impl Fn(Settings) -> Settings, strange: impl FnOnce(&Process, &SinkHandle)) -> Process {
    let sink = sink(Behaviour::default());
    let mut connector = settings(Settings::to("HTTP_2", &[sink.addr()])).start();
    let ordinary =
        ringpost_load::source::SourceConfig { rate: Some(500.0), records: None, ..source(connector.addr(), 2, 0) };
    let run = oracle::watched(ordinary, &[&sink]);
    strange(&connector, &sink);
    let before = run.stats().acked;
    wait_until("records still flow", LONG, || run.stats().acked > before + 50);
    run.stop();
    let report = run.finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, report.sent)]);
    assert_eq!(report.connections_lost, 0);
    assert!(!connector.has_ended());
    assert!(!connector.log().contains("panicked"), "{}", connector.log());
    connector
}

/// Sends bytes and waits until the connector closes the connection, without an ack.
#[track_caller]
fn closed_after(to: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(to);
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => assert!(got.is_empty(), "{got:?}"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

#[test]
fn strangers_are_closed_and_named() {
    let hello = [&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 190]].concat();
    let cases: [(&[u8], &str); 5] = [
        (&hello, "TLS"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP request"),
        (&[2, 1, 0, 0, 0, 0, 0, 6, b's', b't', b'a', b't', b'u', b's'], "info request"),
        (&[2, 3, 0, 0, 0x80, 0, 0, 0, 1, 2, 3], "max-frame-bytes"),
        (&[9, 9, 9, 9, 9, 9, 9, 9, 9], "not Aerospike XDR"),
    ];
    for (bytes, word) in cases {
        let mut connector = undisturbed(
            |settings| settings,
            |connector, _| {
                closed_after(connector.addr(), bytes);
                connector.wait_log("connection closed", LONG);
            },
        );
        assert_eq!(connector.complaints().len(), 1, "{:?}", connector.complaints());
        assert!(connector.complaints()[0].contains(word), "{:?}", connector.complaints());
        assert!(connector.memory_kib("VmHWM") < 100 * 1024);
        connector.stop();
    }
}

#[test]
fn random_bytes_disturb_nobody() {
    let mut connector = undisturbed(
        |settings| settings.limit("partial-frame-timeout: 1s"),
        |connector, _| {
            let mut state = 0x1234_5678_9abc_def1u64;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            for round in 0..by_length(300, 20_000) {
                let mut bytes: Vec<u8> = (0..random() % 4000).map(|_| random() as u8).collect();
                if round % 2 == 0 {
                    // A good header makes it through to the decoder.
                    let size = (bytes.len() as u32).to_be_bytes();
                    bytes.splice(0..0, [2, 3 + (round % 4 == 0) as u8, 0, 0, size[0], size[1], size[2], size[3]]);
                }
                let mut stream = connect(connector.addr());
                let _ = stream.write_all(&bytes);
            }
        },
    );
    let baseline = connector.complaints().len();
    assert!(baseline < 60, "lines are limited: {baseline}");
    connector.stop();
}

#[test]
fn a_compressed_bomb_is_answered_and_takes_no_memory() {
    // 64 MiB of zeros behind a claim of 64 MiB, and behind a claim of 100 bytes.
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    (0..64).for_each(|_| deflate.write_all(&vec![0; 1 << 20]).unwrap());
    let packed = deflate.finish().unwrap();
    for claim in [64u64 << 20, 100] {
        let body = [&claim.to_be_bytes()[..], &packed].concat();
        let frame = [&[2, 4, 0, 0][..], &(body.len() as u32).to_be_bytes(), &body].concat();
        let mut connector = undisturbed(
            |settings| settings,
            |connector, _| {
                let mut client = client(connector.addr());
                client.send_frame(&frame).unwrap();
                // Answered as bad content; whoever prefers to close the connection does no harm either.
                match client.read_ack() {
                    Ok(code) => assert_eq!(code, 10),
                    Err(error) => assert!(matches!(error, ringpost_load::source::ClientError::Closed), "{error}"),
                }
            },
        );
        let peak = connector.memory_kib("VmHWM");
        assert!(peak < 60 * 1024, "{peak} KiB");
        connector.stop();
    }
}

#[test]
fn a_connection_that_closes_without_a_byte_is_no_error() {
    let mut connector =
        undisturbed(|settings| settings, |connector, _| (0..50).for_each(|_| drop(connect(connector.addr()))));
    connector.stop();
    assert_eq!(connector.complaints(), [""; 0]);
}

#[test]
fn half_frames_are_closed_by_partial_frame_timeout() {
    let mut connector = undisturbed(
        |settings| settings.limit("partial-frame-timeout: 1s"),
        |connector, _| {
            for cut in [1, 7, 8, 100] {
                let started = Instant::now();
                closed_after(connector.addr(), &frames(1_000_000, 1)[..cut]);
                let took = started.elapsed();
                assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "cut at {cut}: {took:?}");
            }
        },
    );
    connector.wait_log("partial-frame-timeout", LONG);
    connector.stop();
}

#[test]
fn a_peer_that_reads_no_acks_is_closed_and_the_others_go_on() {
    let mut connector = undisturbed(
        |settings| settings.limit("ack-write-timeout: 1s"),
        |connector, _| {
            let mut stream = connect(connector.addr());
            socket2::SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            // The same records over and over: every one has its ack, and nobody reads them.
            let frames = frames(2_000_000, 2_000);
            let started = Instant::now();
            let mut sent = 0;
            while !connector.log().contains("ack-write-timeout") {
                assert!(started.elapsed() < Duration::from_secs(60), "it is never closed");
                // What was taken in part goes on where it stopped.
                sent = (sent + stream.write(&frames[sent..]).unwrap_or(0)) % frames.len();
            }
            assert!(connector.memory_kib("VmHWM") < 160 * 1024);
        },
    );
    connector.stop();
}

#[test]
fn five_thousand_idle_connections_cost_little() {
    // SAFETY: rlimit is a plain struct of two numbers.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        if limit.rlim_max < 6_000 {
            return eprintln!("left out: no more than {} open files", limit.rlim_max);
        }
    }
    let mut connector = undisturbed(
        |settings| settings.executors(2),
        |connector, _| {
            let before = connector.memory_kib("VmRSS");
            let idle: Vec<TcpStream> = (0..5_000).map(|_| connect(connector.addr())).collect();
            wait_until("all are accepted", LONG, || connector.descriptors() > 5_000);
            std::thread::sleep(Duration::from_millis(500));
            let each = (connector.memory_kib("VmRSS").saturating_sub(before)) * 1024 / 5_000;
            eprintln!("{each} bytes of resident memory per idle connection");
            assert!(each < 16 * 1024, "{each} bytes per idle connection");
            drop(idle);
            wait_until("all are closed", LONG, || connector.descriptors() < 100);
        },
    );
    connector.stop();
    assert_eq!(connector.complaints(), [""; 0]);
}

#[test]
fn a_half_closed_connection_still_gets_its_acks() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::latency(Duration::from_millis(200), Duration::from_millis(300)));
        let mut connector = Settings::to(protocol, &[sink.addr()]).start();
        let mut client = client(connector.addr());
        client.send_frame(&frames(0, 20)).unwrap();
        wait_until("they are sent", LONG, || sink.ledger().stats().requests == 20);
        client.close_sending().unwrap();
        assert_eq!(acks(&mut client, 20), [0; 20], "{protocol}");
        client.wait_closed().unwrap();
        connector.stop();
    }
}

#[test]
fn a_source_that_goes_away_takes_nothing_with_it() {
    // In the middle of a frame, of a batch, before its acks.
    let mut connector = undisturbed(
        |settings| settings,
        |connector, _| {
            let bytes = frames(3_000_000, 200);
            for cut in [10, 1_000, 10_000, bytes.len()] {
                for _ in 0..20 {
                    let mut stream = connect(connector.addr());
                    stream.write_all(&bytes[..cut.min(bytes.len())]).unwrap();
                    // Half of them with a reset.
                    if cut % 3 == 1 {
                        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                }
            }
        },
    );
    connector.stop();
    assert_eq!(connector.complaints(), [""; 0]);
}
