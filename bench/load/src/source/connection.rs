//! One pipelined XDR connection of the source: bytes to write, frames in flight, acks read in order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::ack::{self, ACK_LEN};

/// A connect that takes longer failed; short, because the one thread waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// First pause after a lost connection; doubles up to the last.
const FIRST_BACKOFF_NS: u64 = 10_000_000;
/// Longest pause between attempts to connect.
const LAST_BACKOFF_NS: u64 = 500_000_000;
/// More than this many unwritten bytes, and the connection gets no further frames.
const OUT_LIMIT: usize = 1 << 20;

/// A frame without an ack.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) sequence: u64,
    /// When latency starts: the intended time of an open loop, else the write.
    pub(super) since_ns: u64,
    /// Stream offset of the frame's end: an ack before that is written cannot be for it.
    end: u64,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Fault {
    /// Closed or reset by the peer.
    Lost,
    /// The peer broke the protocol.
    Violation(String),
}

#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// Frames to write, from `written_out` on.
    out: Vec<u8>,
    written_out: usize,
    appended: u64,
    written: u64,
    in_flight: VecDeque<InFlight>,
    partial: Vec<u8>,
    retry_at_ns: u64,
    backoff_ns: u64,
}

impl Connection {
    pub(super) fn new(address: SocketAddr) -> Connection {
        Connection {
            address,
            stream: None,
            out: Vec::new(),
            written_out: 0,
            appended: 0,
            written: 0,
            in_flight: VecDeque::new(),
            partial: Vec::new(),
            retry_at_ns: 0,
            backoff_ns: FIRST_BACKOFF_NS,
        }
    }

    pub(super) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// When to connect again; `None` while connected.
    pub(super) fn retry_at_ns(&self) -> Option<u64> {
        self.stream.is_none().then_some(self.retry_at_ns)
    }

    pub(super) fn wants_write(&self) -> bool {
        self.written_out < self.out.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many more frames may be appended.
    pub(super) fn room(&self, window: usize) -> usize {
        if self.stream.is_none() || self.out.len() - self.written_out > OUT_LIMIT {
            return 0;
        }
        window.saturating_sub(self.in_flight.len())
    }

    /// Tries to connect; on failure the next attempt is later.
    pub(super) fn connect(&mut self, now_ns: u64) -> bool {
        let connected = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                self.stream = Some(stream);
                true
            }
            Err(_) => {
                self.retry_at_ns = now_ns + self.backoff_ns;
                self.backoff_ns = (self.backoff_ns * 2).min(LAST_BACKOFF_NS);
                false
            }
        }
    }

    /// Ends the connection; returns what was in flight, oldest first.
    pub(super) fn reset(&mut self, now_ns: u64) -> VecDeque<InFlight> {
        self.stream = None;
        self.out.clear();
        self.partial.clear();
        (self.written_out, self.appended, self.written) = (0, 0, 0);
        self.retry_at_ns = now_ns + self.backoff_ns;
        self.backoff_ns = (self.backoff_ns * 2).min(LAST_BACKOFF_NS);
        std::mem::take(&mut self.in_flight)
    }

    /// Lets `write` append one frame.
    pub(super) fn append(&mut self, sequence: u64, since_ns: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.out.len();
        write(&mut self.out);
        self.appended += (self.out.len() - before) as u64;
        self.in_flight.push_back(InFlight { sequence, since_ns, end: self.appended });
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let Some(stream) = self.stream.as_mut() else { return Ok(()) };
        while let Some(rest) = self.out.get(self.written_out..)
            && !rest.is_empty()
        {
            match stream.write(rest) {
                Ok(0) => return Err(Fault::Lost),
                Ok(length) => {
                    self.written_out += length;
                    self.written += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Fault::Lost),
            }
        }
        if self.written_out == self.out.len() {
            self.out.clear();
            self.written_out = 0;
        } else if self.written_out > OUT_LIMIT {
            self.out.drain(..self.written_out);
            self.written_out = 0;
        }
        Ok(())
    }

    /// Reads acks through `scratch`; gives each with its frame to `take`, in order.
    pub(super) fn receive(&mut self, scratch: &mut [u8], mut take: impl FnMut(InFlight, u8)) -> Result<(), Fault> {
        loop {
            let Some(stream) = self.stream.as_mut() else { return Ok(()) };
            let length = match stream.read(scratch) {
                Ok(0) => return Err(Fault::Lost),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(Fault::Lost),
            };
            let bytes = scratch.get(..length).unwrap_or_default();
            self.split(bytes, &mut take)?;
            if length < scratch.len() {
                return Ok(());
            }
        }
    }

    fn split(&mut self, mut bytes: &[u8], take: &mut impl FnMut(InFlight, u8)) -> Result<(), Fault> {
        if !self.partial.is_empty() {
            let missing = (ACK_LEN - self.partial.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(missing);
            self.partial.extend_from_slice(head);
            bytes = rest;
            let Ok(ack) = <&[u8; ACK_LEN]>::try_from(self.partial.as_slice()) else { return Ok(()) };
            let ack = *ack;
            self.partial.clear();
            self.take_one(&ack, take)?;
        }
        let (acks, rest) = bytes.as_chunks::<ACK_LEN>();
        for ack in acks {
            self.take_one(ack, take)?;
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    fn take_one(&mut self, ack: &[u8; ACK_LEN], take: &mut impl FnMut(InFlight, u8)) -> Result<(), Fault> {
        let code = ack::parse(ack).map_err(|fault| Fault::Violation(format!("malformed ack: {fault}")))?;
        let Some(frame) = self.in_flight.pop_front() else {
            return Err(Fault::Violation(format!("ack {code} with nothing in flight")));
        };
        if frame.end > self.written {
            let text = format!("ack {code} for record {} before its frame was written", frame.sequence);
            self.in_flight.push_front(frame);
            return Err(Fault::Violation(text));
        }
        self.backoff_ns = FIRST_BACKOFF_NS;
        take(frame, code);
        Ok(())
    }
}
