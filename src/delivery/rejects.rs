//! Records that are answered 10 for their content, on their way to `rejected-file`.
//!
//! The server never sends such a record again, so that the code is given only once I/O says that the line was written. A
//! file that takes no more (full disk, `rejected-file-max-bytes`) turns the answer into 11: the record is not lost, and
//! the log says what to do.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::budget::{Budget, Charge};
use super::flight::Origin;
use crate::time::Time;
use crate::wire::frame::FrameKind;

/// Lines that wait to be written. Beyond it, records are answered 11 at once.
const MAX_WAITING: usize = 1024;

/// Bytes of lines that wait to be written: a few of the largest frames.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// One line of the file, charged to the budget until it is dropped.
#[derive(Debug)]
pub struct RejectedLine {
    /// A JSON object and a line feed.
    pub bytes: Vec<u8>,
    _charge: Charge,
}

/// A record whose line is being written. Lines are written in the order in which they were handed out.
#[derive(Debug)]
struct Waiting {
    source: Origin,
    number: u64,
    deadline: Time,
    bytes: usize,
    answered: bool,
}

/// Lines and records of one executor.
#[derive(Debug, Default)]
pub struct Rejects {
    kept: bool,
    lines: VecDeque<RejectedLine>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

impl Rejects {
    /// `kept`: whether there is a `rejected-file`.
    pub fn new(kept: bool) -> Rejects {
        Rejects { kept, ..Rejects::default() }
    }

    /// Whether records are kept at all.
    pub const fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether a record waits for its line.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Makes the line of a frame with this message; `None` when too much waits already. One line always may.
    pub fn line(
        &self,
        peer: Option<SocketAddr>,
        fault: &dyn std::fmt::Display,
        kind: FrameKind,
        body: &[u8],
        unix_ms: u64,
        budget: &mut Budget,
    ) -> Option<RejectedLine> {
        // Base64 has four letters for three bytes.
        let size = body.len() / 3 * 4;
        let is_full = self.waiting.len() >= MAX_WAITING || self.waiting_bytes.saturating_add(size) > MAX_WAITING_BYTES;
        if is_full && self.is_waiting() {
            return None;
        }
        let bytes = line(peer, fault, kind, body, unix_ms);
        let charge = budget.charge_until_dropped(bytes.capacity() as u64);
        Some(RejectedLine { bytes, _charge: charge })
    }

    /// Hands a line to I/O. Its record waits until it is written.
    pub fn push(&mut self, line: RejectedLine, source: Origin, number: u64, deadline: Time) {
        let bytes = line.bytes.len();
        self.lines.push_back(line);
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting { source, number, deadline, bytes, answered: false });
    }

    /// The next line for I/O to write.
    pub fn next_line(&mut self) -> Option<RejectedLine> {
        self.lines.pop_front()
    }

    /// The oldest line was written, or could not be: whose code is to be given now.
    pub fn ended(&mut self) -> Option<(Origin, u64)> {
        let first = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(first.bytes);
        (!first.answered).then_some((first.source, first.number))
    }

    /// A record whose deadline has passed. It keeps its place, since its line may still be written.
    pub fn expired(&mut self, now: Time) -> Option<(Origin, u64)> {
        let late = self.waiting.iter_mut().find(|waiting| !waiting.answered && waiting.deadline <= now)?;
        late.answered = true;
        Some((late.source, late.number))
    }
}

/// `{"time":…,"peer":…,"reason":…,"frame":"BASE64"}`, the frame as it came in, its header included.
fn line(
    peer: Option<SocketAddr>,
    fault: &dyn std::fmt::Display,
    kind: FrameKind,
    body: &[u8],
    unix_ms: u64,
) -> Vec<u8> {
    let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
    let reason = serde_json::Value::from(fault.to_string()).to_string();
    let mut line = format!("{{\"time\":{unix_ms},\"peer\":\"{peer}\",\"reason\":{reason},\"frame\":\"").into_bytes();
    let mut frame = crate::wire::frame::header(kind, body.len()).to_vec();
    frame.extend_from_slice(body);
    base64_simd::STANDARD.encode_append(&frame, &mut line);
    line.extend_from_slice(b"\"}\n");
    line
}
