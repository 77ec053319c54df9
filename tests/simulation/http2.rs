//! A fake HTTP/2 server: frames by RFC 9113, answers with HPACK literals, no header decoding (the record is known by
//! its body). It gives flow-control room late and in pieces, changes its settings, refuses, resets and goes away.

use std::collections::BTreeMap;

use super::scenario::MS;
use super::server::{Act, Reaction};
use super::world::{Event, World};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Debug, Default)]
pub struct Http2 {
    greeted: bool,
    /// Bodies of requests that are not whole yet.
    streams: BTreeMap<u32, Vec<u8>>,
    /// Whole requests without an answer.
    waiting: BTreeMap<u32, Option<usize>>,
    last_stream: u32,
    /// Streams above are not taken.
    gone_above: Option<u32>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn setting(out: &mut Vec<u8>, name: u16, value: u32) {
    out.extend_from_slice(&name.to_be_bytes());
    out.extend_from_slice(&value.to_be_bytes());
}

/// `:status` as a literal without indexing (RFC 7541 section 6.2.2, static index 8).
///
/// With `Retry-After` (static index 53), if it asks to wait.
fn status_block(status: u16, wait: &str) -> Vec<u8> {
    let mut block = vec![0x08, 3];
    block.extend_from_slice(status.to_string().as_bytes());
    if !wait.is_empty() {
        block.extend_from_slice(&[0x0f, 53 - 15, wait.len() as u8]);
        block.extend_from_slice(wait.as_bytes());
    }
    block
}

impl World {
    pub fn http2_greet(&mut self, server: usize) {
        let mut payload = Vec::new();
        let streams = self.random.pick(&[1, 3, 100, 1_000]);
        setting(&mut payload, 3, streams);
        let window = self.random.pick(&[65_535, 65_535, 1_000, 50]);
        setting(&mut payload, 4, window);
        self.servers[server].send(&frame(kind::SETTINGS, 0, 0, &payload));
        if self.random.chance(30) {
            let delay = self.random.between(1, 1_000) * MS;
            self.after(delay, Event::Act(server, Act::Settings));
        }
        if self.random.chance(10) {
            self.servers[server].send(&frame(kind::PING, 0, 0, b"12345678"));
        }
    }

    pub fn http2_settings(&mut self, server: usize) {
        if self.servers[server].http2.is_none() {
            return;
        }
        let mut payload = Vec::new();
        let healed = self.is_healed();
        let streams = if healed { 100 } else { self.random.pick(&[0, 1, 5, 200]) };
        setting(&mut payload, 3, streams);
        if healed || self.random.chance(50) {
            let window = if healed { 65_535 } else { self.random.pick(&[0, 10, 1_000, 1 << 20]) };
            setting(&mut payload, 4, window);
        }
        self.servers[server].send(&frame(kind::SETTINGS, 0, 0, &payload));
    }

    pub fn http2_window(&mut self, server: usize, stream: u32, bytes: u32) {
        let entry = &mut self.servers[server];
        let open = entry.http2.as_ref().is_some_and(|state| stream == 0 || state.streams.contains_key(&stream));
        if open && bytes > 0 {
            entry.send(&frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()));
        }
    }

    pub fn http2_input(&mut self, server: usize) {
        loop {
            let entry = &mut self.servers[server];
            let Some(state) = entry.http2.as_mut() else { return };
            if !state.greeted {
                if entry.input.len() < PREFACE.len() {
                    return;
                }
                if !entry.input.starts_with(PREFACE) {
                    return self.ledger.violation("the HTTP/2 preface is wrong".to_owned());
                }
                entry.input.drain(..PREFACE.len());
                state.greeted = true;
            }
            let Some(head) = entry.input.first_chunk::<9>().copied() else { return };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7FFF_FFFF;
            if entry.input.len() < 9 + length {
                return;
            }
            let payload: Vec<u8> = entry.input.drain(..9 + length).skip(9).collect();
            self.http2_frame(server, head[3], head[4], stream, &payload);
            if self.servers[server].closed {
                return;
            }
        }
    }

    fn http2_frame(&mut self, server: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let entry = &mut self.servers[server];
        let Some(state) = entry.http2.as_mut() else { return };
        match kind {
            kind::SETTINGS if flags & ACK == 0 => entry.send(&frame(kind::SETTINGS, ACK, 0, &[])),
            kind::PING if flags & ACK == 0 => entry.send(&frame(kind::PING, ACK, 0, payload)),
            kind::HEADERS => {
                state.last_stream = state.last_stream.max(stream);
                if state.gone_above.is_none_or(|last| stream <= last) {
                    state.streams.insert(stream, Vec::new());
                }
                // Without a body: a probe. One for a record would be missed by the ledger.
                if flags & END_STREAM != 0 && state.streams.remove(&stream).is_some() {
                    state.waiting.insert(stream, None);
                    self.probed(server, stream);
                }
            }
            kind::CONTINUATION | kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE | kind::GOAWAY => {}
            kind::DATA => self.http2_data(server, flags, stream, payload),
            kind::RST_STREAM => {
                state.streams.remove(&stream);
                // Half of the answers come all the same: they are on their way.
                if self.random.chance(50)
                    && let Some(state) = self.servers[server].http2.as_mut()
                {
                    state.waiting.remove(&stream);
                }
            }
            other => self.ledger.violation(format!("an HTTP/2 frame of type {other}")),
        }
    }

    fn http2_data(&mut self, server: usize, flags: u8, stream: u32, payload: &[u8]) {
        let delay = if self.is_healed() { 0 } else { self.random.pick(&[0, MS, 15 * MS]) };
        let bytes = payload.len() as u32;
        self.after(delay, Event::Act(server, Act::Window { stream: 0, bytes }));
        let Some(state) = self.servers[server].http2.as_mut() else { return };
        let Some(body) = state.streams.get_mut(&stream) else { return };
        body.extend_from_slice(payload);
        if flags & END_STREAM == 0 {
            return self.after(delay, Event::Act(server, Act::Window { stream, bytes }));
        }
        let body = state.streams.remove(&stream).unwrap_or_default();
        let request = self.server_requested(server, stream, None, &body);
        if let Some(state) = self.servers[server].http2.as_mut() {
            state.waiting.insert(stream, request);
        }
    }

    pub fn http2_react(&mut self, server: usize, stream: u32, request: Option<usize>, reaction: Reaction) {
        let with_body = self.random.chance(30) && request.is_some();
        let entry = &mut self.servers[server];
        let Some(state) = entry.http2.as_mut() else { return };
        if state.waiting.remove(&stream).is_none() {
            return;
        }
        self.log("reacts", [server as u64, u64::from(stream), reaction.number()]);
        let entry = &mut self.servers[server];
        let Some(state) = entry.http2.as_mut() else { return };
        match reaction {
            Reaction::Status(status) => self.http2_answer(server, stream, request, status, with_body),
            Reaction::Last(status) => {
                let last = state.last_stream;
                self.http2_answer(server, stream, request, status, with_body);
                self.http2_go_away(server, last);
            }
            Reaction::Cut => {
                entry.send(&frame(kind::HEADERS, END_HEADERS, stream, &status_block(200, "")));
                entry.send(&frame(kind::RST_STREAM, 0, stream, &2u32.to_be_bytes()));
            }
            Reaction::End => self.server_close(server, with_body),
            Reaction::Refuse => {
                entry.send(&frame(kind::RST_STREAM, 0, stream, &7u32.to_be_bytes()));
                if let Some(request) = request {
                    self.ledger.excused(request);
                }
            }
            Reaction::Reset => entry.send(&frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())),
            Reaction::GoAway => {
                state.waiting.insert(stream, request);
                self.http2_go_away(server, stream.saturating_sub(2));
            }
            Reaction::Never => {
                state.waiting.insert(stream, request);
            }
        }
    }

    fn http2_answer(&mut self, server: usize, stream: u32, request: Option<usize>, status: u16, with_body: bool) {
        let flags = if with_body { END_HEADERS } else { END_HEADERS | END_STREAM };
        let wait = self.choose_wait(status);
        let mut bytes = frame(kind::HEADERS, flags, stream, &status_block(status, wait));
        if with_body {
            bytes.extend(frame(kind::DATA, END_STREAM, stream, b"some text"));
        }
        self.servers[server].send_answer(&bytes, request, status);
    }

    /// No stream above `last` was or will be looked at; the others are answered, then the connection ends.
    fn http2_go_away(&mut self, server: usize, last: u32) {
        let delay = self.random.between(1, 300) * MS;
        let Some(state) = self.servers[server].http2.as_mut() else { return };
        if state.gone_above.is_some_and(|before| before <= last) {
            return;
        }
        state.gone_above = Some(last);
        self.log("goes away", [server as u64, u64::from(last), 0]);
        let Some(state) = self.servers[server].http2.as_mut() else { return };
        let refused = state.waiting.split_off(&(last + 1));
        state.streams.split_off(&(last + 1));
        for request in refused.into_values().flatten() {
            self.ledger.excused(request);
        }
        let payload = (u64::from(last) << 32).to_be_bytes();
        self.servers[server].send(&frame(kind::GOAWAY, 0, 0, &payload));
        self.after(delay, Event::Act(server, Act::Close));
    }
}
