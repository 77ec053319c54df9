//! Settings of a destination, and the rules about retries and time, each seen at the sink or in the acks.

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringpost_load::record::{Generator, RecordSpec};
use ringpost_load::sink::{Behaviour, Fault};
use support::*;

/// What a scripted server does with one request, by the connection's number and the request's number on it.
type Script = fn(connection: usize, request: usize) -> Step;

enum Step {
    Answer(&'static str),
    /// These bytes, then the end of the connection.
    AnswerAndClose(&'static str),
}

const OK: Step = Step::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");

/// An HTTP/1.1 server in a few lines, for what the sink cannot do: a fate for one particular request. Counts requests.
fn scripted(script: Script) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || serve(stream.unwrap(), number, script, &counted));
        }
    });
    (address, requests)
}

fn serve(mut stream: TcpStream, connection: usize, script: Script, counted: &AtomicUsize) {
    let mut request = 0;
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut chunk) else { return };
        bytes.extend_from_slice(&chunk[..count]);
        while let Some(length) = whole(&bytes) {
            bytes.drain(..length);
            counted.fetch_add(1, Ordering::SeqCst);
            let (answer, close) = match script(connection, request) {
                Step::Answer(text) => (text, false),
                Step::AnswerAndClose(text) => (text, true),
            };
            request += 1;
            if stream.write_all(answer.as_bytes()).is_err() || close {
                return;
            }
        }
    }
}

/// Length of the first request, if it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let lower = text[..head].to_ascii_lowercase();
    let length: usize = lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    (bytes.len() >= head + length).then_some(head + length)
}

fn http1(to: SocketAddr) -> Settings {
    Settings::to("HTTP_1_1", &[to]).set("max-connections-per-endpoint: 1")
}

#[test]
fn a_kept_alive_connection_that_closes_under_a_request_is_retried_once() {
    // The first connection answers one request and dies under its second, without a byte.
    let (server, requests) = scripted(|connection, request| match (connection, request) {
        (0, 1) => Step::AnswerAndClose(""),
        _ => OK,
    });
    let mut connector = http1(server).start();
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 1)).unwrap();
    assert_eq!(client.read_ack().unwrap(), 0);
    client.send_frame(&frames(1, 1)).unwrap();
    assert_eq!(client.read_ack().unwrap(), 0, "retried on a new connection");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    connector.stop();
}

#[test]
fn a_retry_is_not_repeated() {
    // Every connection dies under its second request. A record that meets two such ends is not sent a third time.
    let (server, requests) = scripted(|_, _| Step::AnswerAndClose(""));
    let mut connector = http1(server).start();
    assert_eq!(one_record(connector.addr(), 0), 11, "a fresh connection that closes may have processed the request");
    assert_eq!(requests.load(Ordering::SeqCst), 1, "so it is not retried at all");
    connector.stop();
}

#[test]
fn nothing_is_retried_after_a_byte_of_the_response() {
    let (server, requests) = scripted(|connection, request| match (connection, request) {
        (0, 1) => Step::AnswerAndClose("H"),
        _ => OK,
    });
    let mut connector = http1(server).start();
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 1)).unwrap();
    assert_eq!(client.read_ack().unwrap(), 0);
    client.send_frame(&frames(1, 1)).unwrap();
    assert_eq!(client.read_ack().unwrap(), 11);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    connector.stop();
}

#[test]
fn the_success_set_decides_and_not_the_class_of_the_status() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::status(202));
        let mut connector =
            Settings::to(protocol, &[sink.addr()]).set("http-success-status-codes: [ 200, 404 ]").start();
        assert_eq!(one_record(connector.addr(), 1), 11, "202 is not in the set");
        for (status, code) in [(404, 0), (200, 0), (204, 11), (302, 11), (500, 11)] {
            sink.set_behaviour(Behaviour::status(status));
            assert_eq!(one_record(connector.addr(), u64::from(status)), code, "{protocol}, {status}");
        }
        connector.stop();
    }
}

#[test]
fn a_full_queue_answers_11_at_once() {
    let sink = sink(Behaviour::fault(Fault::Hang));
    let settings = http1(sink.addr()).set("max-request-queued-per-endpoint: 10").set("call-timeout: 6000");
    let mut connector = settings.start();
    let mut first = client(connector.addr());
    let mut others: Vec<_> = (0..4).map(|_| client(connector.addr())).collect();
    // One is sent, nine or ten wait: with others beside it, one connection may not have the last place.
    first.send_frame(&frames(0, 1)).unwrap();
    wait_until("the first is sent", LONG, || sink.ledger().stats().requests == 1);
    first.send_frame(&frames(1, 11)).unwrap();
    wait_until("the queue is full", LONG, || connector.log().contains("max-request-queued-per-endpoint"));
    // At most one of four more has a place; the others are not kept waiting for one.
    let started = Instant::now();
    for (number, client) in others.iter_mut().enumerate() {
        client.send_frame(&frames(100 + number as u64, 1)).unwrap();
        client.set_read_timeout(Duration::from_millis(500)).unwrap();
    }
    let answers: Vec<Option<u8>> = others.iter_mut().map(|client| client.read_ack().ok()).collect();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(answers.iter().flatten().all(|code| *code == 11), "{answers:?}");
    assert!(answers.iter().flatten().count() >= 3, "{answers:?}");
    assert!(acks(&mut first, 12).iter().all(|code| *code == 11));
    connector.stop();
}

#[test]
fn call_timeout_holds() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::fault(Fault::Hang));
        let mut connector = Settings::to(protocol, &[sink.addr()]).set("call-timeout: 400").start();
        let started = Instant::now();
        assert_eq!(one_record(connector.addr(), 1), 11);
        let took = started.elapsed();
        eprintln!("{protocol}: call-timeout 400 ms took {took:?}");
        assert!(took >= Duration::from_millis(380) && took < Duration::from_secs(2), "{protocol}: {took:?}");
        connector.stop();
    }
}

#[test]
fn the_record_deadline_cuts_a_longer_call_timeout() {
    let sink = sink(Behaviour::fault(Fault::Hang));
    let mut connector =
        Settings::to("HTTP_2", &[sink.addr()]).set("call-timeout: 6000").limit("record-deadline: 1s").start();
    let started = Instant::now();
    assert_eq!(one_record(connector.addr(), 1), 11);
    let took = started.elapsed();
    eprintln!("record-deadline 1 s took {took:?}");
    assert!(took >= Duration::from_millis(950) && took < Duration::from_secs(5), "{took:?}");
    connector.stop();
}

#[test]
fn connect_timeout_holds() {
    // A listener whose backlog is full drops further SYNs: connecting hangs.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        fill.push(stream);
        assert!(fill.len() < 100, "the backlog does not fill");
    }
    let settings = Settings::to("HTTP_1_1", &[address]).set("connect-timeout: 300").set("call-timeout: 2000");
    let mut connector = settings.start();
    let started = Instant::now();
    assert_eq!(one_record(connector.addr(), 1), 11);
    let took = started.elapsed();
    eprintln!("connect-timeout 300 ms took {took:?}");
    // The one retry may wait for a second attempt to connect.
    assert!(took >= Duration::from_millis(280) && took < Duration::from_millis(1_900), "{took:?}");
    connector.stop();
}

#[test]
fn skip_and_no_route_ack_0_and_send_nothing() {
    let sink = sink(Behaviour::default());
    for (routing, warned) in [("routing: { mode: skip }\n", false), ("", true)] {
        let settings = Settings::to("HTTP_2", &[sink.addr()]);
        let yaml = |log: &std::path::Path| {
            let text = settings.yaml(log);
            let lines = text.lines().filter(|line| !line.starts_with("routing"));
            lines.map(|line| format!("{line}\n")).collect::<String>() + routing
        };
        let mut connector = settings.spawn(|command| {
            let file = command.get_args().last().unwrap().to_owned();
            let log = std::path::Path::new(&file).with_file_name("ringpost.log");
            std::fs::write(&file, yaml(&log)).unwrap();
        });
        connector.wait_listening();
        let mut client = client(connector.addr());
        client.send_frame(&frames(0, 50)).unwrap();
        assert_eq!(acks(&mut client, 50), [0; 50]);
        connector.stop();
        let lines = connector.log().lines().filter(|line| line.contains("no route")).count();
        assert_eq!(lines, usize::from(warned), "one line per namespace and set, not per record");
    }
    assert_eq!(sink.ledger().stats().requests, 0);
}

#[test]
fn headers_of_a_request() {
    for (protocol, version) in [("HTTP_1_1", "HTTP/1.1"), ("HTTP_2", "HTTP/2")] {
        let sink = sink_with(ringpost_load::sink::SinkConfig { log_requests: 1, ..Default::default() });
        let mut connector = Settings::to(protocol, &[sink.addr()]).start();
        assert_eq!(one_record(connector.addr(), 7), 0);
        let request = sink.ledger().requests(0).remove(0);
        assert!(request.version.starts_with(version), "{}", request.version);
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/records"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let digest = ringpost_load::record::Identity { sequence: 7, run: 1 }.digest();
        assert_eq!(request.header("aerospike-digest"), Some(base64_simd::STANDARD.encode_to_string(digest).as_str()));
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["seq"], 7);
        connector.stop();
    }
}

/// A destination that answers before it has read the body, and closes with bytes unread, so that the connection is reset
/// while the connector writes.
fn answers_early(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn an_answer_that_came_before_the_connection_broke_is_read_and_a_success_for_half_a_request_is_none() {
    for (answer, code) in [
        ("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n", 10),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 11),
    ] {
        let mut connector = http1(answers_early(answer)).set("permanent-status-codes: [ 413 ]").start();
        let large = RecordSpec { body_bytes: 8 << 20, ..RecordSpec::default() };
        let generator = Generator::new(&large).unwrap();
        let mut client = client(connector.addr());
        for sequence in 0..3 {
            client.send_frame(&generator.frame(sequence)).unwrap();
            assert_eq!(client.read_ack().unwrap(), code, "{answer}");
        }
        connector.stop();
    }
}
