//! HTTP/2 by hand, the server's side (RFC 9113): frames as bytes, header blocks as literals, no library.

use std::collections::BTreeMap;

use super::{Wire, record_of};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// `:status 200` alone: entry 8 of the static table (RFC 7541 appendix A).
pub fn ok(stream: u32, end: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | u8::from(end), stream, &[0x88])
}

/// `:status` as a literal without indexing, with the name of entry 8.
pub fn status(code: u16) -> Vec<u8> {
    [&[0x08, 3], code.to_string().as_bytes()].concat()
}

/// A header as a literal without indexing with a new name (RFC 7541 section 6.2.2); both below 127 bytes.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.push(value.len() as u8);
    bytes.extend(value.as_bytes());
    bytes
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1); `first` has the bits above.
pub fn integer(first: u8, prefix: u32, mut value: u64) -> Vec<u8> {
    let most = (1u64 << prefix) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let mut bytes = vec![first | most as u8];
    value -= most;
    while value >= 128 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub fn head(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | u8::from(end), stream, block)
}

pub fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, u8::from(end), stream, bytes)
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

pub fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

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
