//! HTTP/2 by hand, the server's side.

use std::collections::BTreeMap;

#[path = "../http_exchange/frames.rs"]
mod frames;
pub use frames::*;

use super::{Wire, record_of};

/// The server's end of one connection.
pub struct Server<'a> {
    pub wire: &'a mut Wire,
    bodies: BTreeMap<u32, Vec<u8>>,
    /// Whether the windows are opened again after DATA.
    pub credits: bool,
    /// Whether PINGs and SETTINGS are acknowledged.
    pub acknowledges: bool,
    /// Streams that the connector reset, with the code.
    pub resets: Vec<(u32, u32)>,
    /// Streams that were opened.
    pub begun: Vec<u32>,
}

impl<'a> Server<'a> {
    /// Waits for the client's preface, and sends SETTINGS.
    pub fn greet(wire: &'a mut Wire, values: &[(u16, u32)]) -> Option<Server<'a>> {
        let server = Server::silent(wire)?;
        server.wire.send(settings(values)).then_some(server)
    }

    /// Waits for the client's preface, and says nothing.
    pub fn silent(wire: &'a mut Wire) -> Option<Server<'a>> {
        while wire.unread.len() < PREFACE.len() {
            if !wire.read() {
                return None;
            }
        }
        let preface: Vec<u8> = wire.unread.drain(..PREFACE.len()).collect();
        if preface != PREFACE {
            wire.fault(format!("no preface: {}", String::from_utf8_lossy(&preface)));
            return None;
        }
        let (bodies, resets, begun) = Default::default();
        Some(Server { wire, bodies, credits: true, acknowledges: true, resets, begun })
    }

    pub fn send(&mut self, parts: impl AsRef<[Vec<u8>]>) -> bool {
        self.wire.send(parts.as_ref().concat())
    }

    /// The next frame; `None` when the connection is over.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.wire.unread.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if let Some(payload) = rest.get(..length) {
                    let frame = Frame {
                        kind: head[3],
                        flags: head[4],
                        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                        payload: payload.to_vec(),
                    };
                    self.wire.unread.drain(..9 + length);
                    return Some(frame);
                }
            }
            if !self.wire.read() {
                return None;
            }
        }
    }

    /// Takes one frame in, with what a server owes for it: the request that is complete with it, if one is.
    pub fn take(&mut self, frame: &Frame) -> Option<(u32, u64)> {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 && self.acknowledges => {
                self.wire.send(self::frame(SETTINGS, ACK, 0, &[]));
            }
            PING if frame.flags & ACK == 0 && self.acknowledges => {
                self.wire.send(self::frame(PING, ACK, 0, &frame.payload));
            }
            RST_STREAM => self.resets.push((frame.stream, u32::from_be_bytes(frame.payload[..4].try_into().unwrap()))),
            HEADERS => {
                self.begun.push(frame.stream);
                self.bodies.insert(frame.stream, Vec::new());
            }
            DATA => {
                self.bodies.entry(frame.stream).or_default().extend(&frame.payload);
                let bytes = frame.payload.len() as u32;
                if self.credits && bytes > 0 {
                    self.wire.send([window(0, bytes), window(frame.stream, bytes)].concat());
                }
                if frame.flags & END_STREAM != 0 {
                    let body = self.bodies.remove(&frame.stream).unwrap_or_default();
                    let Some(record) = record_of(&body) else {
                        self.wire.fault(format!("a body without a record: {}", String::from_utf8_lossy(&body)));
                        return None;
                    };
                    self.wire.note(record);
                    return Some((frame.stream, record));
                }
            }
            _ => {}
        }
        None
    }

    /// The next whole request: its stream and its record.
    pub fn request(&mut self) -> Option<(u32, u64)> {
        loop {
            let frame = self.frame()?;
            if let Some(request) = self.take(&frame) {
                return Some(request);
            }
        }
    }

    /// The stream of the next request's head.
    pub fn begun(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame()?;
            self.take(&frame);
            if frame.kind == HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// So many whole requests, or fewer if the connection ends.
    pub fn requests(&mut self, count: usize) -> Vec<(u32, u64)> {
        std::iter::from_fn(|| self.request()).take(count).collect()
    }

    /// Answers a request with success.
    pub fn answer(&mut self, (stream, record): (u32, u64)) -> bool {
        self.wire.good(record);
        self.wire.send([ok(stream, false), data(stream, b"ok", true)].concat())
    }

    /// Answers all that comes.
    pub fn serve(&mut self) {
        while let Some(request) = self.request() {
            if !self.answer(request) {
                return;
            }
        }
    }

    /// Reads until the connector resets a stream; `false` if the connection ends before.
    pub fn wait_reset(&mut self, stream: u32) -> bool {
        while !self.resets.iter().any(|(reset, _)| *reset == stream) {
            let Some(frame) = self.frame() else { return false };
            self.take(&frame);
        }
        true
    }
}

/// Answers everything with success.
pub fn honest(wire: &mut Wire) {
    if let Some(mut server) = Server::greet(wire, &[]) {
        server.serve();
    }
}
