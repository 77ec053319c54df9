//! What an error of the `h2` crate means for a ticket, and in words.

use h2::Reason;

use crate::http::{FailureKind, Outcome, Processed};

/// Outcome of a stream that failed with `error`; `head_seen`: part of a response had arrived.
///
/// A peer says that it did not process a request in two ways only: REFUSED_STREAM (RFC 9113 section 8.7) and a GOAWAY
/// whose last stream is lower (section 6.8), which the crate reports on just the streams above it.
pub(super) fn failure(error: &h2::Error, head_seen: bool) -> Outcome {
    let untouched = if head_seen { Processed::Unknown } else { Processed::No };
    let (kind, processed) = if error.is_go_away() && error.is_remote() {
        (FailureKind::GoneAway, untouched)
    } else if error.is_reset() && error.is_remote() {
        match error.reason() {
            Some(Reason::REFUSED_STREAM) => (FailureKind::Refused, untouched),
            _ => (FailureKind::Reset, Processed::Unknown),
        }
    } else if error.is_library() {
        (FailureKind::Malformed, Processed::Unknown)
    } else {
        (FailureKind::Closed, Processed::Unknown)
    };
    Outcome::Failed { kind, processed }
}

/// Whether the peer closes since it takes our requests for an attack: the next connection would end like this one.
pub(super) fn asks_for_calm(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
}

/// Why the connection is over, and the kind for streams without a reason of their own.
pub(super) fn connection_end(error: Option<h2::Error>, ended: bool) -> (String, FailureKind) {
    match error {
        _ if ended => ("the peer closed the connection".to_owned(), FailureKind::Closed),
        None => ("the peer is going away".to_owned(), FailureKind::Closed),
        Some(error) if error.is_library() => (text(&error), FailureKind::Malformed),
        Some(error) => (text(&error), FailureKind::Closed),
    }
}

/// An error in words.
pub(super) fn text(error: &h2::Error) -> String {
    if error.is_go_away() && error.is_remote() {
        return format!("the peer is going away: {error}");
    }
    if error.is_library() {
        return format!("the peer broke HTTP/2: {error}");
    }
    error.to_string()
}

/// How an answer in another protocol begins. Read as a frame, either is far above any length that was allowed.
const FOREIGN: [(&[u8], &str); 2] = [
    (b"HTTP/", "this URL speaks HTTP/1.1; set protocol: HTTP_1_1"),
    // A TLS alert record.
    (&[0x15, 0x03], "this URL speaks TLS; clear-text HTTP/2 was tried"),
];

/// Looks at the first bytes of a connection for a peer that does not speak HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    held: Vec<u8>,
    over: bool,
}

/// What the first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does not speak HTTP/2: what it speaks, in words.
    Foreign(&'static str),
    /// Not decided: the bytes are kept.
    Hold,
    /// Go on, with these bytes first.
    Pass(Vec<u8>),
}

impl Greeting {
    /// Whether the first bytes were let pass.
    pub(super) fn over(&self) -> bool {
        self.over
    }

    /// Whether not one byte has come.
    pub(super) fn is_silent(&self) -> bool {
        !self.over && self.held.is_empty()
    }

    /// Judges the bytes so far.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Verdict {
        self.held.extend_from_slice(bytes);
        for (start, text) in FOREIGN {
            if self.held.starts_with(start) {
                return Verdict::Foreign(text);
            }
            if start.starts_with(&self.held) {
                return Verdict::Hold;
            }
        }
        self.over = true;
        Verdict::Pass(std::mem::take(&mut self.held))
    }
}
