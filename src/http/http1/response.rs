//! Reads HTTP/1.1 responses: status and framing, strictly; the body is counted and dropped.
//!
//! Strict where leniency would let two readers disagree about where a response ends (RFC 9112 sections 2.2, 6.3):
//! lines end in CR LF, no folded headers, one framing. Each byte is looked at once; only a head that is cut by the
//! end of a read is copied.

mod chunked;
mod head;

use chunked::{Chunked, Step};
use head::{Framing, Head};

use crate::http::RetryAfter;

pub(super) use head::other_protocol;

/// Interim responses (1xx) before the final one. Without it a peer sends them for ever.
const MAX_INTERIM: u32 = 16;

/// State of one connection's responses, one after another.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    max_head_bytes: usize,
    max_body_bytes: usize,
    phase: Phase,
    /// What has come of a head that is not complete; empty otherwise.
    partial: Vec<u8>,
    interim: u32,
    status: u16,
    keep: bool,
    retry_after: Option<RetryAfter>,
    /// Responses have no body, whatever their heads say.
    is_head: bool,
    body_read: usize,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The response goes on.
    More,
    /// It is complete, or its body is over the limit.
    Done {
        /// 200 to 999.
        status: u16,
        /// Whether another request may follow on this connection.
        keep: bool,
        /// Bytes of the read that belong to it; the rest came without a request.
        consumed: usize,
    },
    /// The connection cannot be used any more.
    Malformed(&'static str),
}

#[derive(Debug)]
enum Phase {
    Head,
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Broken(&'static str),
}

impl ResponseReader {
    /// Starts before the first response.
    pub(crate) fn new(max_head_bytes: usize, max_body_bytes: usize) -> ResponseReader {
        ResponseReader {
            max_head_bytes,
            max_body_bytes,
            phase: Phase::Head,
            partial: Vec::new(),
            interim: 0,
            status: 0,
            keep: true,
            retry_after: None,
            is_head: false,
            body_read: 0,
        }
    }

    /// Of requests with the method HEAD: no response has a body (RFC 9112 section 6.3).
    pub(crate) fn of_head(mut self, is_head: bool) -> ResponseReader {
        self.is_head = is_head;
        self
    }

    /// What the last response's `Retry-After` said.
    pub(crate) fn retry_after(&self) -> Option<RetryAfter> {
        self.retry_after
    }

    /// Reads on. After [`Progress::Done`] the next call starts the next response.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Progress {
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let step = match &mut self.phase {
                Phase::Head => self.receive_head(rest),
                Phase::Length(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    let done = *left == 0;
                    self.body_read += taken;
                    Ok((taken, done))
                }
                Phase::Chunked(chunked) => match chunked.receive(rest, &mut self.body_read) {
                    Ok((taken, step)) => Ok((taken, step == Step::Done)),
                    Err(why) => Err(why),
                },
                Phase::UntilClose => {
                    self.body_read += rest.len();
                    Ok((rest.len(), false))
                }
                Phase::Broken(why) => Err(*why),
            };
            let (taken, done) = match step {
                Ok(step) => step,
                Err(why) => {
                    self.phase = Phase::Broken(why);
                    return Progress::Malformed(why);
                }
            };
            consumed += taken;
            let too_long = self.body_read > self.max_body_bytes;
            if done || too_long {
                let keep = self.keep && !too_long;
                let status = self.status;
                self.start_over();
                return Progress::Done { status, keep, consumed };
            }
            if consumed >= bytes.len() {
                return Progress::More;
            }
        }
    }

    /// The connection ended: the status, if that is how the response ends; `None` if it is cut off or has not begun.
    pub(crate) fn end(&mut self) -> Option<u16> {
        matches!(self.phase, Phase::UntilClose).then_some(self.status)
    }

    /// The connection broke: its end completes nothing any more.
    pub(crate) fn cut(&mut self) {
        if matches!(self.phase, Phase::UntilClose) {
            self.phase = Phase::Broken("the connection broke inside a response");
        }
    }

    fn start_over(&mut self) {
        self.phase = Phase::Head;
        self.partial.clear();
        self.interim = 0;
        self.body_read = 0;
    }

    /// Bytes taken, and whether the response is complete with them.
    fn receive_head(&mut self, rest: &[u8]) -> Result<(usize, bool), &'static str> {
        let before = self.partial.len();
        let found = head::find_end(&self.partial, rest);
        let taken = found.unwrap_or(rest.len());
        if before + taken > self.max_head_bytes {
            return Err("the response head is over the limit");
        }
        let parsed = if before == 0 && found.is_some() {
            Head::parse(rest.get(..taken).unwrap_or_default())?
        } else {
            self.partial.extend_from_slice(rest.get(..taken).unwrap_or_default());
            if before < head::START.len() {
                head::check_start(&self.partial)?;
            }
            if found.is_none() {
                return Ok((taken, false));
            }
            let parsed = Head::parse(&self.partial)?;
            self.partial.clear();
            parsed
        };
        match parsed.status {
            101 => Err("the peer switched protocols without being asked"),
            100..200 if self.interim >= MAX_INTERIM => Err("too many interim responses"),
            100..200 => {
                self.interim += 1;
                Ok((taken, false))
            }
            _ => Ok((taken, self.begin_body(&parsed))),
        }
    }

    /// Whether there is no body.
    fn begin_body(&mut self, head: &Head) -> bool {
        self.status = head.status;
        self.keep = head.keep;
        self.retry_after = head.retry_after;
        if self.is_head {
            return true;
        }
        match head.framing {
            Framing::None | Framing::Length(0) => return true,
            Framing::Length(length) => self.phase = Phase::Length(length),
            Framing::Chunked => self.phase = Phase::Chunked(Chunked::new(self.max_head_bytes, self.max_body_bytes)),
            Framing::UntilClose => {
                self.keep = false;
                self.phase = Phase::UntilClose;
            }
        }
        false
    }
}

/// Entry of the fuzz target: the first byte says how the rest is cut into reads. The same bytes must come to the same
/// end however they are cut.
pub fn fuzz(data: &[u8]) {
    let Some((cut, response)) = data.split_first() else { return };
    let whole = read_all(response, response.len().max(1));
    let pieces = read_all(response, usize::from(*cut).max(1));
    assert_eq!(whole, pieces, "the outcome depends on how the bytes were cut");
}

/// What a response comes to when it is read in pieces of `size` bytes: status and whether the connection is kept, and
/// how many bytes it took; else the status of one that the end of the connection completes, 0 for a malformed one.
fn read_all(response: &[u8], size: usize) -> Result<(u16, bool, usize), Option<u16>> {
    let mut reader = ResponseReader::new(1 << 10, 1 << 10);
    let mut before = 0;
    for piece in response.chunks(size) {
        match reader.receive(piece) {
            Progress::More => before += piece.len(),
            // Where a body that is over the limit is left depends on the read; nothing after it is looked at.
            Progress::Done { status, keep: false, .. } => return Ok((status, false, 0)),
            Progress::Done { status, keep, consumed } => return Ok((status, keep, before + consumed)),
            Progress::Malformed(_) => return Err(Some(0)),
        }
    }
    Err(reader.end())
}

#[cfg(test)]
mod tests;
