//! A stand-in connector: small, blocking, honest or wrong in one chosen way.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod client;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ringpost_load::record::{DIGEST_LEN, Identity};
use ringpost_load::source::ack;

/// Accepts connections on a free port for the rest of the test, each on its own thread.
pub fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            // Else an ack may wait 40 ms for the source's TCP to confirm the one before.
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// One whole frame, or `None` at the end of the connection.
pub fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 8];
    stream.read_exact(&mut frame).ok()?;
    let size = u64::from_be_bytes(frame[..8].try_into().unwrap()) & 0xFFFF_FFFF_FFFF;
    frame.resize(8 + size as usize, 0);
    stream.read_exact(&mut frame[8..]).ok()?;
    Some(frame)
}

/// The digest of a frame: field type 4.
pub fn digest(frame: &[u8]) -> [u8; DIGEST_LEN] {
    let mut at = 30;
    loop {
        let length = u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
        if frame[at + 4] == 4 {
            return frame[at + 5..at + 4 + length].try_into().unwrap();
        }
        at += 4 + length;
    }
}

pub fn identity(frame: &[u8]) -> Identity {
    Identity::from_digest(&digest(frame)).expect("a digest of the generator")
}

/// Posts one record; the status, or `None` when there was no whole answer.
pub fn post(sink: &mut Option<TcpStream>, address: SocketAddr, digest: &[u8; DIGEST_LEN]) -> Option<u16> {
    let digest = base64_simd::STANDARD.encode_to_string(digest);
    exchange(sink, address, &format!("aerospike-digest: {digest}\r\n"), b"{}")
}

/// Posts frames, known by their bodies alone.
fn post_frames(sink: &mut Option<TcpStream>, address: SocketAddr, frames: &[Vec<u8>]) -> Option<u16> {
    exchange(sink, address, "content-type: application/octet-stream\r\n", &frames.concat())
}

fn exchange(sink: &mut Option<TcpStream>, address: SocketAddr, line: &str, body: &[u8]) -> Option<u16> {
    let mut stream = match sink.take() {
        Some(stream) => stream,
        None => TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?,
    };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let head = format!("POST /x HTTP/1.1\r\nhost: a\r\n{line}content-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).ok()?;
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let length = answer.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
    stream.read_exact(&mut vec![0; length]).ok()?;
    if !answer.contains("connection: close") {
        *sink = Some(stream);
    }
    Some(status)
}

/// In which way a stand-in is wrong.
#[derive(Clone, Copy, PartialEq)]
pub enum Defect {
    None,
    /// Acks these 0 without delivering them.
    Lose(u64),
    /// Delivers these twice.
    Repeat(u64),
    /// Gives the acks of each pair of records in the wrong order.
    Swap,
    /// Acks these 0, and delivers them afterwards.
    Early(u64),
    /// Never acks these; later acks slip into their place.
    Skip(u64),
    /// Acks these twice.
    Twice(u64),
}

/// A connector that delivers one record at a time to `sink`, with a defect.
pub fn connector(sink: SocketAddr, defect: Defect) -> SocketAddr {
    serve(move |mut stream| {
        let mut http = None;
        let mut held = None;
        while let Some(frame) = read_frame(&mut stream) {
            let sequence = identity(&frame).sequence;
            let digest = digest(&frame);
            let deliver = |http: &mut Option<TcpStream>| match post(http, sink, &digest) {
                Some(200..300) => ack::OK,
                _ => ack::UNAVAILABLE,
            };
            let every = |every: u64| sequence % every == every - 1;
            let acks = match defect {
                Defect::Lose(n) if every(n) => vec![ack::OK],
                Defect::Repeat(n) if every(n) => {
                    deliver(&mut http);
                    vec![deliver(&mut http)]
                }
                Defect::Early(n) if every(n) => {
                    stream.write_all(&ack::encode(ack::OK)).unwrap();
                    thread::sleep(Duration::from_millis(30));
                    deliver(&mut http);
                    vec![]
                }
                Defect::Skip(n) if every(n) => {
                    deliver(&mut http);
                    vec![]
                }
                Defect::Twice(n) if every(n) => vec![deliver(&mut http); 2],
                Defect::Swap => match held.take() {
                    None => {
                        held = Some(deliver(&mut http));
                        vec![]
                    }
                    Some(first) => vec![deliver(&mut http), first],
                },
                _ => vec![deliver(&mut http)],
            };
            let bytes: Vec<u8> = acks.into_iter().flat_map(ack::encode).collect();
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    })
}

/// A connector that puts what is there of a connection in one request, up to so many records, as XDR frames; it acks
/// each by the answer of its batch. With `alone`, a batch that is refused is sent again record by record, and a record
/// that is refused again is acked 10; without, all records of a refused batch are.
pub fn batcher(sink: SocketAddr, size: usize, alone: bool) -> SocketAddr {
    serve(move |mut stream| {
        let (sender, frames) = mpsc::channel();
        let mut reader = stream.try_clone().unwrap();
        thread::spawn(move || while read_frame(&mut reader).is_some_and(|frame| sender.send(frame).is_ok()) {});
        let mut http = None;
        while let Ok(first) = frames.recv() {
            let mut batch = vec![first];
            while batch.len() < size
                && let Ok(next) = frames.recv_timeout(Duration::from_millis(5))
            {
                batch.push(next);
            }
            let codes = match post_frames(&mut http, sink, &batch) {
                Some(200..300) => vec![ack::OK; batch.len()],
                Some(422) if alone => {
                    let one = |frame: &Vec<u8>| match post_frames(&mut http, sink, std::slice::from_ref(frame)) {
                        Some(200..300) => ack::OK,
                        Some(422) => ack::PERMANENT,
                        _ => ack::UNAVAILABLE,
                    };
                    batch.iter().map(one).collect()
                }
                Some(422) => vec![ack::PERMANENT; batch.len()],
                _ => vec![ack::UNAVAILABLE; batch.len()],
            };
            let bytes: Vec<u8> = codes.into_iter().flat_map(ack::encode).collect();
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    })
}
