//! One direction of a fake TCP connection: bytes arrive after a delay, in order, and only so many fit.

use std::collections::VecDeque;

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(Vec<u8>),
    /// Nothing has arrived.
    Nothing,
    /// The writer has closed.
    End,
}

#[derive(Debug)]
pub struct Pipe {
    segments: VecDeque<(u64, Vec<u8>)>,
    held: usize,
    room: usize,
    /// When the end arrives.
    end: Option<u64>,
    /// The reader is gone: writing fails.
    pub broken: bool,
    /// The writer found no room and has to be woken.
    pub writer_waits: bool,
    last: u64,
    /// Bytes that were ever read.
    pub total_read: u64,
    /// Bytes that were ever written.
    pub total_written: u64,
}

impl Pipe {
    pub fn new(room: usize) -> Pipe {
        Pipe {
            segments: VecDeque::new(),
            held: 0,
            room,
            end: None,
            broken: false,
            writer_waits: false,
            last: 0,
            total_read: 0,
            total_written: 0,
        }
    }

    /// Takes as much as fits, to arrive at `at` (not before what was written before). How much, and when it arrives.
    pub fn write(&mut self, bytes: &[u8], at: u64) -> (usize, u64) {
        let taken = bytes.len().min(self.room - self.held.min(self.room));
        if taken < bytes.len() {
            self.writer_waits = true;
        }
        self.last = self.last.max(at);
        if taken > 0 {
            self.held += taken;
            self.total_written += taken as u64;
            self.segments.push_back((self.last, bytes[..taken].to_vec()));
        }
        (taken, self.last)
    }

    /// Nothing more comes; the end arrives at the time that is returned.
    pub fn close(&mut self, at: u64) -> u64 {
        self.last = self.last.max(at);
        self.end.get_or_insert(self.last);
        self.last
    }

    /// What is on its way is lost, and the end is there.
    pub fn reset(&mut self, now: u64) {
        self.segments.clear();
        self.held = 0;
        self.end = Some(now);
    }

    pub fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    pub fn read(&mut self, now: u64, max: usize) -> Read {
        let mut out = Vec::new();
        while out.len() < max
            && let Some((at, bytes)) = self.segments.front_mut()
            && *at <= now
        {
            let wanted = max - out.len();
            if bytes.len() <= wanted {
                out.append(bytes);
                self.segments.pop_front();
            } else {
                out.extend(bytes.drain(..wanted));
            }
        }
        self.held -= out.len();
        self.total_read += out.len() as u64;
        match (out.is_empty(), self.end) {
            (false, _) => Read::Bytes(out),
            (true, Some(at)) if at <= now && self.segments.is_empty() => Read::End,
            (true, _) => Read::Nothing,
        }
    }
}
