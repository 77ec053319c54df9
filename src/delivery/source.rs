//! One XDR connection: its partial frame, its acks, and whether it may be read.

use std::net::SocketAddr;

use super::answer::{Answer, Cause};
use super::window::{AckWindow, Released};
use crate::policy::table::PortId;
use crate::time::Time;
use crate::wire::ack;
use crate::wire::frame::Assembler;

/// Acks that are encoded at a time; one write carries as many.
const ACKS_PER_WRITE: usize = 2048;

/// The same in TLS: a record of it has room for 546, and what waits for a peer that does not read is there once more,
/// encrypted.
pub const ACKS_PER_TLS_WRITE: usize = 512;

/// What a connection without acks to write keeps for the next ones.
const IDLE_ACK_BYTES: usize = 2048;

/// Frames that the mean size of a source's frames is made of.
const FRAMES_OF_MEAN: u64 = 8;

/// Records of one connection without a released code. Beyond it the connection is not read: rejected frames cost
/// no budget, but each has a place here.
pub const WINDOW_LIMIT: usize = 65_536;

/// The same while frames are answered 18. Such a code waits for those before it, so that it is of no use to anybody any
/// sooner when its frame is read sooner.
pub const REJECTING_WINDOW_LIMIT: usize = 1024;

/// Bytes of places and encoded acks that are not charged.
const FREE_ACK_BYTES: usize = 4 << 10;

/// Why a connection takes no more frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Frames are read.
    Open,
    /// No more is read: what has arrived is answered, then the connection is closed.
    Closing,
}

/// One XDR connection.
#[derive(Debug)]
pub struct Source {
    /// Who sends.
    pub peer: SocketAddr,
    /// The settings of the port that it came in on.
    pub port: PortId,
    /// The number of that port.
    pub port_number: u16,
    /// When it was accepted.
    pub opened: Time,
    /// Frames that came on it.
    pub records: u64,
    /// It speaks TLS.
    pub is_tls: bool,
    /// Reassembly. Taken out while its frames are looked at.
    pub assembler: Option<Assembler>,
    /// Codes in order of arrival.
    pub window: AckWindow,
    /// Whether it is read.
    pub phase: Phase,
    /// Waits in the engine's queue for room in the budget.
    pub paused: bool,
    /// Since when bytes that were read have not been taken in for want of room, or since when it is not read.
    pub waiting_since: Option<Time>,
    /// Room is what it has waited for since then, or for a part of that time.
    pub wants_room: bool,
    /// Frames were set aside and can be taken in without reading.
    pub has_kept: bool,
    /// About how large its frames are, in bytes: the mean of the last ones.
    pub frame_bytes: u64,
    /// Bytes charged to the budget for its partial frame.
    pub charged: u64,
    /// Bytes charged for places in its window, and for encoded acks.
    pub charged_acks: u64,
    /// A TLS record has come in part: nothing of it can be taken in.
    pub is_mid_record: bool,
    /// Since when the partial frame, or the partial TLS record, has had no new byte.
    pub partial_since: Option<Time>,
    /// Its TLS handshake is not done.
    pub is_securing: bool,
    /// Since when encoded acks could not be written.
    pub stuck_since: Option<Time>,
    /// Any byte was ever received; a connection without one is a probe.
    pub received_any: bool,
    /// A wake of its task is due already.
    pub woken: bool,
    /// Waits in the engine's list for room at another executor.
    pub waits_for_link: bool,
    acks: Vec<u8>,
    /// What they say.
    answers: Vec<Answer>,
    written: usize,
}

impl Source {
    /// A connection that has just been accepted.
    pub fn new(peer: SocketAddr, (port_number, port): (u16, PortId), assembler: Assembler, now: Time) -> Source {
        Source {
            peer,
            port,
            port_number,
            opened: now,
            records: 0,
            is_tls: false,
            assembler: Some(assembler),
            window: AckWindow::default(),
            phase: Phase::Open,
            paused: false,
            waiting_since: None,
            wants_room: false,
            has_kept: false,
            frame_bytes: 0,
            charged: 0,
            charged_acks: 0,
            is_mid_record: false,
            partial_since: None,
            is_securing: false,
            stuck_since: None,
            received_any: false,
            woken: false,
            waits_for_link: false,
            acks: Vec::new(),
            answers: Vec::new(),
            written: 0,
        }
    }

    /// All that was set aside is taken in, and it is read.
    pub fn stop_waiting(&mut self) {
        self.waiting_since = None;
        self.wants_room = false;
    }

    /// A frame has come in part.
    pub fn is_mid_frame(&self) -> bool {
        self.assembler.as_ref().is_some_and(Assembler::is_mid_frame)
    }

    /// Acks that are ready to be written at `now`, and what was released for them just now.
    pub fn output(&mut self, now: Time, mut released: impl FnMut(Released)) -> &[u8] {
        if self.written == self.acks.len() {
            self.acks.clear();
            self.answers.clear();
            self.written = 0;
            let most = if self.is_tls { ACKS_PER_TLS_WRITE } else { ACKS_PER_WRITE };
            for _ in 0..most {
                let Some(next) = self.window.release(now) else { break };
                self.acks.extend_from_slice(&ack::encode(next.answer.code()));
                self.answers.push(next.answer);
                released(next);
            }
            if self.acks.is_empty() {
                self.trim();
            }
        }
        self.acks.get(self.written..).unwrap_or_default()
    }

    /// Records that a destination has taken, and whose code was never written.
    pub fn unheard(&self) -> u64 {
        let unwritten = self.answers.iter().skip(self.acks_written());
        let released = unwritten.filter(|answer| answer.cause() == Cause::Taken).count();
        self.window.taken() + released as u64
    }

    /// How many of the acks that were last given out are written. One that is written in part was not heard.
    pub fn acks_written(&self) -> usize {
        self.written / ack::SIZE
    }

    /// A frame of `bytes` was taken in.
    pub fn count_frame(&mut self, bytes: usize) {
        self.records += 1;
        self.frame_bytes = self.frame_bytes - self.frame_bytes / FRAMES_OF_MEAN + bytes as u64 / FRAMES_OF_MEAN;
    }

    /// `bytes` of the output were written. As [`Source::acks_written`], before memory is given back.
    pub fn wrote(&mut self, bytes: usize) -> usize {
        self.written = (self.written + bytes).min(self.acks.len());
        self.stuck_since = None;
        let acks = self.acks_written();
        // In TLS they wait for the socket in another place.
        if self.written == self.acks.len() && (self.is_tls || self.window.is_empty()) {
            self.trim();
        }
        acks
    }

    /// An idle connection keeps next to nothing.
    fn trim(&mut self) {
        if self.acks.capacity() > IDLE_ACK_BYTES {
            self.acks = Vec::new();
            self.answers = Vec::new();
            self.written = 0;
        }
        self.window.trim();
    }

    /// Bytes to be charged for places in the window and encoded acks.
    pub fn ack_bytes(&self) -> u64 {
        (self.window.held_bytes() + self.acks.capacity() + self.answers.capacity()).saturating_sub(FREE_ACK_BYTES)
            as u64
    }

    /// Nothing is left to answer or to write.
    pub fn is_flushed(&self) -> bool {
        self.window.is_empty() && self.written == self.acks.len()
    }
}
