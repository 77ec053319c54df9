//! Headers with values of the record, the environment and files: whatever is in a database, a request stays one request
//! with one header of a name, and the receiver gets the value back by percent-decoding.
//!
//! HTTP/1.1 is read by a parser of the tests, HTTP/2 by the `h2` crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ringpost_load::sink::{SinkConfig, SinkHandle};
use serde_json::Value;
use support::raw::{RawServer, Request};
use support::wire::{Frame, LUT_EPOCH_MS, particle};
use support::*;

/// The longest value of a header, once it is encoded (coming-from-esp.md).
const LONGEST: usize = 4096;

/// A header of every source.
const ALL: &str = "headers: { x-digest: { source: digest }, x-namespace: { source: namespace }, x-set: { source: set }, \
    x-key: { source: user-key }, x-lut: { source: lut }, x-generation: { source: generation }, \
    x-operation: { source: operation }, x-bin: { source: bin-value, bin-name: v } }";

/// A destination of either protocol.
enum Receiver {
    Raw(RawServer),
    Sink(SinkHandle),
}

impl Receiver {
    fn of(protocol: &str) -> Receiver {
        match protocol {
            "HTTP_1_1" => Receiver::Raw(RawServer::start()),
            _ => Receiver::Sink(sink_with(SinkConfig { log_requests: 1_000_000, ..SinkConfig::default() })),
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Receiver::Raw(server) => server.address,
            Receiver::Sink(sink) => sink.addr(),
        }
    }

    #[track_caller]
    fn requests(&self) -> Vec<Request> {
        match self {
            Receiver::Raw(server) => server.requests(),
            Receiver::Sink(sink) => {
                let requests = sink.ledger().requests(0).into_iter();
                requests.map(|request| Request { headers: request.headers, body: request.body }).collect()
            }
        }
    }
}

/// Sends frames on one connection to a new connector; the requests, by digest, and nothing else but them.
#[track_caller]
fn deliver(protocol: &str, headers: &str, frames: &[Frame]) -> BTreeMap<String, Request> {
    let receiver = Receiver::of(protocol);
    let mut connector = Settings::to(protocol, &[receiver.address()]).set(headers).start();
    let mut client = client(connector.addr());
    client.send_frame(&frames.iter().flat_map(Frame::bytes).collect::<Vec<u8>>()).unwrap();
    assert_eq!(acks(&mut client, frames.len()), vec![0; frames.len()]);
    connector.stop();
    let requests = receiver.requests();
    assert_eq!(requests.len(), frames.len(), "{protocol}: one request per record");
    let by_digest: BTreeMap<String, Request> =
        requests.into_iter().map(|request| (request.header("aerospike-digest").unwrap().to_owned(), request)).collect();
    assert_eq!(by_digest.len(), frames.len());
    by_digest
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// RFC 3986, 2.1. A `%` that is none of an escape fails.
#[track_caller]
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
        bytes.push(digit() << 4 | digit());
    }
    bytes
}

/// `value` comes back from the header, unless it is too long or nothing.
#[track_caller]
fn comes_back(request: &Request, name: &str, value: &[u8]) {
    let Some(text) = request.header(name) else {
        let may_be_left_out = value.is_empty() || value.len() * 3 > LONGEST;
        return assert!(may_be_left_out, "{name} is missing: {:?}", String::from_utf8_lossy(value));
    };
    assert!(text.len() <= LONGEST && !value.is_empty(), "{name}: {} bytes", text.len());
    assert!(
        text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && text.trim() == text,
        "{name}: {text:?}"
    );
    assert_eq!(decoded(text), value, "{name}: {text:?}");
}

/// Values that would break a header, or another one's reading of it.
fn hostile() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 19] = [
        b"plain",
        b"two words",
        b"a\r\nx-injected: 1",
        b"a\nx-injected: 1",
        b"a\rx-injected: 1",
        b"\r\n\r\nPOST /records HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        b"\0",
        b"nul\0inside",
        b"%41%0d%0ax-injected: 1",
        b"100%",
        "Zo\u{eb} \u{65e5}\u{672c} \u{1f600}".as_bytes(),
        b"\xff\xfe not UTF-8 \x80",
        b"   leading",
        b"trailing   ",
        b"  ",
        b"in  between\ttab\x0b\x0c",
        b"\x7f\x1b[31m",
        b"a: b, c; d=\"e\"",
        b"\xc2\xa0nbsp\xe2\x80\xa8",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    all.push((0..=255).collect());
    all.extend([LONGEST / 3, LONGEST / 3 + 1, LONGEST, LONGEST + 1, 100_000].map(|length| vec![b'\n'; length]));
    all.extend([LONGEST, LONGEST + 1, 100_000].map(|length| vec![b'x'; length]));
    all
}

#[test]
fn hostile_values_come_back_and_break_nothing() {
    for protocol in PROTOCOLS {
        let frames: Vec<Frame> = hostile()
            .into_iter()
            .enumerate()
            .map(|(at, value)| {
                Frame::new(at as u64).namespace(&value).set(Some(&value)).key(particle::STRING, &value).bin(
                    "v",
                    particle::STRING,
                    &value,
                )
            })
            .collect();
        let requests = deliver(protocol, ALL, &frames);
        let names: BTreeSet<&str> =
            requests.values().flat_map(|request| &request.headers).map(|(name, _)| name.as_str()).collect();
        assert!(!names.iter().any(|name| name.contains("injected")), "{names:?}");
        for frame in &frames {
            let request = &requests[&base64(&frame.digest)];
            comes_back(request, "x-namespace", &frame.namespace);
            comes_back(request, "x-set", frame.set.as_ref().unwrap());
            comes_back(request, "x-key", &frame.key.as_ref().unwrap()[1..]);
            comes_back(request, "x-bin", &frame.bins[1].value);
            let longest = frame.namespace.iter().all(|byte| *byte == b'x') && frame.namespace.len() == LONGEST;
            assert!(!longest || request.header("x-set").is_some(), "exactly the longest value is sent");
        }
    }
}

#[test]
fn values_of_every_source_are_those_of_the_record() {
    for protocol in PROTOCOLS {
        let mut with_all = Frame::new(1).key(particle::STRING, b"key");
        with_all.generation = 77;
        let mut bare = Frame::new(2).set(None);
        bare.lut = None;
        let delete = Frame::new(3).delete();
        let requests = deliver(protocol, ALL, &[with_all.clone(), bare.clone(), delete.clone()]);
        let lut = |frame: &Frame| frame.lut.map(|lut| (LUT_EPOCH_MS + lut).to_string());
        for (frame, operation, generation) in
            [(&with_all, "write", Some("77")), (&bare, "write", Some("1")), (&delete, "delete", Some("1"))]
        {
            let request = &requests[&base64(&frame.digest)];
            assert_eq!(request.header("x-digest"), Some(base64(&frame.digest).as_str()));
            assert_eq!(request.header("x-namespace"), Some("test"));
            assert_eq!(request.header("x-set"), frame.set.as_ref().map(|_| "demo"));
            assert_eq!(request.header("x-key"), frame.key.as_ref().map(|_| "key"));
            assert_eq!(request.header("x-operation"), Some(operation));
            assert_eq!(request.header("x-lut"), lut(frame).as_deref());
            assert_eq!(request.header("x-generation"), generation);
            assert_eq!(request.header("x-bin"), None, "there is no such bin");
        }
    }
}

/// What a value of a type is expected to be, once it is decoded.
fn check_value(request: &Request, name: &str, particle: u8, value: &[u8]) {
    let text = String::from_utf8(decoded(request.header(name).unwrap())).unwrap();
    match particle {
        particle::INTEGER => {
            assert_eq!(text.parse::<i64>().unwrap().to_be_bytes(), value);
        }
        particle::FLOAT => {
            let expected = f64::from_be_bytes(value.try_into().unwrap());
            let seen: f64 = text.parse().unwrap();
            assert!(seen.to_bits() == expected.to_bits() || (seen.is_nan() && expected.is_nan()), "{text}, {expected}");
        }
        particle::BOOL => assert_eq!(text, if value == [1] { "true" } else { "false" }),
        particle::STRING => assert_eq!(text.as_bytes(), value),
        _ => assert_eq!(base64_simd::STANDARD.decode_to_vec(&text).unwrap(), value),
    }
}

#[test]
fn user_keys_and_bins_of_all_types() {
    let mut values: Vec<(u8, Vec<u8>)> = vec![
        (particle::STRING, b"text".to_vec()),
        (particle::BLOB, b"\0\r\nblob\xff".to_vec()),
        (9, b"an object of Ruby".to_vec()),
    ];
    values.extend([0, -5, i64::MIN, i64::MAX].map(|value| (particle::INTEGER, value.to_be_bytes().to_vec())));
    let floats = [0.1, -0.0, 1e300, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    values.extend(floats.map(|value| (particle::FLOAT, value.to_be_bytes().to_vec())));
    let frames: Vec<Frame> = values
        .iter()
        .enumerate()
        .map(|(at, (particle, value))| Frame::new(at as u64).key(*particle, value).bin("v", *particle, value))
        .chain([0, 1].map(|value| Frame::new(100 + u64::from(value)).bin("v", particle::BOOL, &[value])))
        .collect();
    for protocol in PROTOCOLS {
        let requests = deliver(protocol, ALL, &frames);
        for frame in &frames {
            let request = &requests[&base64(&frame.digest)];
            if let Some(key) = &frame.key {
                check_value(request, "x-key", key[0], &key[1..]);
            }
            check_value(request, "x-bin", frame.bins[1].particle, &frame.bins[1].value);
        }
    }
}

#[test]
fn lists_and_maps_are_json_and_nothing_is_left_out() {
    let geo = b"\0\0\0{\"type\":\"Point\",\"coordinates\":[8.5,47.4]}";
    // [1, "é\n", nil]; {"x": [true]}.
    let list = [0x93, 0x01, 0xa4, 3, 0xc3, 0xa9, b'\n', 0xc0];
    let map = [0x81, 0xa2, 3, b'x', 0x91, 0xc3];
    let frames = [
        Frame::new(1).bin("v", particle::LIST, &list),
        Frame::new(2).bin("v", particle::MAP, &map),
        Frame::new(3).bin("v", particle::GEOJSON, geo),
        Frame::new(4).bin("v", 0, b""),
        Frame::new(5).bin("v", particle::STRING, b""),
    ];
    let json = [
        serde_json::json!([1, "\u{e9}\n", null]),
        serde_json::json!({ "x": [true] }),
        serde_json::json!({ "type": "Point", "coordinates": [8.5, 47.4] }),
    ];
    for protocol in PROTOCOLS {
        let requests = deliver(protocol, ALL, &frames);
        let header = |at: usize| requests[&base64(&frames[at].digest)].header("x-bin");
        for (at, json) in json.iter().enumerate() {
            assert_eq!(&serde_json::from_slice::<Value>(&decoded(header(at).unwrap())).unwrap(), json);
        }
        assert_eq!((header(3), header(4)), (None, None), "no value leaves the header out");
    }
}

#[test]
fn fixed_values_come_from_the_file_the_environment_and_files() {
    let headers = "headers: { x-static: 'fixed value: 100%, \"quoted\"', Authorization: { source: env, name: RINGPOST_TEST_VALUE }, \
        x-file: { source: file, path: secret.txt } }";
    for protocol in PROTOCOLS {
        let receiver = Receiver::of(protocol);
        let mut connector = Settings::to(protocol, &[receiver.address()]).set(headers).spawn(|command| {
            let file = command.get_args().last().unwrap().to_owned();
            let secret = std::path::Path::new(&file).with_file_name("secret.txt");
            std::fs::write(secret, "from a file\r\nx-injected: 1\r\n").unwrap();
            command.env("RINGPOST_TEST_VALUE", "Bearer abc.def==");
        });
        connector.wait_listening();
        assert_eq!(one_record(connector.addr(), 1), 0);
        connector.stop();
        let requests = receiver.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("x-static"), Some("fixed value: 100%, \"quoted\""), "as it is written");
        assert_eq!(requests[0].header("authorization"), Some("Bearer abc.def=="));
        assert_eq!(requests[0].header("x-file"), Some("from a file"));
        assert_eq!(requests[0].header("x-injected"), None);
        assert!(
            !connector.log().contains("abc.def") && !connector.log().contains("from a file"),
            "{}",
            connector.log()
        );
    }
}

#[test]
fn a_fixed_value_that_would_break_its_header_refuses_the_start_and_is_not_repeated() {
    for value in ["hush\r\nx-injected: 1", "hush\n", "hush\u{e9}", " hush"] {
        let settings = Settings::to("HTTP_2", &["127.0.0.1:9".parse().unwrap()])
            .set("headers: { x-env: { source: env, name: RINGPOST_TEST_VALUE } }");
        let mut process = settings.spawn(|command| {
            command.env("RINGPOST_TEST_VALUE", value);
        });
        let (code, _) = process.wait_end(LONG);
        let errors = process.errors();
        assert_eq!(code, Some(2), "{value:?}: {errors}");
        assert!(errors.contains("headers.x-env") && !errors.contains("hush"), "{value:?}: {errors}");
    }
}

#[test]
fn the_digest_can_be_taken_out() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::of(protocol);
        let mut connector =
            Settings::to(protocol, &[receiver.address()]).set("headers: { aerospike-digest: null }").start();
        assert_eq!(one_record(connector.addr(), 1), 0);
        connector.stop();
        let requests = receiver.requests();
        assert_eq!((requests.len(), requests[0].header("aerospike-digest")), (1, None), "{protocol}");
    }
}

#[test]
fn a_configured_content_type_is_the_only_one() {
    for protocol in PROTOCOLS {
        for (name, batching) in [("content-type", None), ("Content-Type", Some("max-records: 1, body: ndjson"))] {
            let receiver = Receiver::of(protocol);
            let mut settings = Settings::to(protocol, &[receiver.address()])
                .set(&format!("headers: {{ {name}: 'application/vnd.own+json; v=1' }}"));
            if let Some(batching) = batching {
                settings = settings.batching(batching);
            }
            let mut connector = settings.start();
            assert_eq!(one_record(connector.addr(), 1), 0);
            connector.stop();
            let requests = receiver.requests();
            assert_eq!(requests[0].all("content-type"), ["application/vnd.own+json; v=1"], "{protocol}, {batching:?}");
        }
    }
}

#[test]
fn a_content_type_of_the_record_replaces_ours() {
    for protocol in PROTOCOLS {
        let with = Frame::new(1).bin("v", particle::STRING, b"text/x-own");
        let without = Frame::new(2);
        let headers = "headers: { content-type: { source: bin-value, bin-name: v } }";
        let requests = deliver(protocol, headers, &[with.clone(), without.clone()]);
        assert_eq!(requests[&base64(&with.digest)].all("content-type"), ["text/x-own"], "{protocol}");
        let ours = requests[&base64(&without.digest)].all("content-type");
        assert_eq!(ours, ["application/json"], "{protocol}: where a record does not have the value, ours is sent");
    }
}

/// Records whose names run into each other when they are put behind one another.
fn of_many_names(count: u64) -> Vec<Frame> {
    let names: [(&str, Option<&[u8]>); 6] = [
        ("ab", Some(b"c")),
        ("a", Some(b"bc")),
        ("a", None),
        ("abc", None),
        ("a", Some(b"b\r\nx-injected: 1")),
        ("a", Some(b"b%0D%0Ax-injected: 1")),
    ];
    (0..count)
        .map(|at| {
            let (namespace, set) = names[(at % 6) as usize];
            let frame = Frame::new(at).namespace(namespace).set(set);
            if at / 6 % 2 == 0 { frame } else { frame.delete() }
        })
        .collect()
}

#[test]
fn batches_are_split_by_the_headers_of_their_records() {
    let headers =
        "headers: { x-namespace: { source: namespace }, x-set: { source: set }, x-operation: { source: operation } }";
    for protocol in PROTOCOLS {
        let receiver = Receiver::of(protocol);
        let mut connector = Settings::to(protocol, &[receiver.address()])
            .set(headers)
            .batching("max-records: 1000, batch-interval: 300")
            .start();
        let frames = of_many_names(240);
        let mut client = client(connector.addr());
        client.send_frame(&frames.iter().flat_map(Frame::bytes).collect::<Vec<u8>>()).unwrap();
        assert_eq!(acks(&mut client, 240), [0; 240]);
        connector.stop();
        let requests = receiver.requests();
        assert!(requests.len() >= 12 && requests.len() < 120, "{protocol}: {} requests", requests.len());
        let mut seen = BTreeSet::new();
        for request in &requests {
            let records: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
            for record in records {
                let metadata = &record["metadata"];
                comes_back(request, "x-namespace", metadata["namespace"].as_str().unwrap().as_bytes());
                comes_back(request, "x-set", metadata["set"].as_str().unwrap_or_default().as_bytes());
                assert_eq!(request.header("x-set").is_some(), metadata["set"].is_string());
                assert_eq!(request.header("x-operation"), metadata["msg"].as_str());
                assert!(seen.insert(metadata["digest"].as_str().unwrap().to_owned()), "once each");
            }
            assert_eq!(request.header("x-injected"), None);
        }
        assert_eq!(seen, frames.iter().map(|frame| base64(&frame.digest)).collect());
    }
}
