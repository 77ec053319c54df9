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

/// Outcome of a stream whose response head had arrived.
///
/// RST_STREAM(NO_ERROR) after a response means that the response is complete and the rest of the request is not
/// wanted (RFC 9113 section 8.1).
pub(super) fn after_head(error: &h2::Error, status: u16) -> Outcome {
    if error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) {
        return Outcome::Response { status };
    }
    failure(error, true)
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

/// Looks at the first bytes of a connection for a peer that does not speak HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    seen: [u8; 5],
    length: usize,
}

impl Greeting {
    /// What the peer speaks instead, once that is known.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Option<&'static str> {
        if self.length == self.seen.len() {
            return None;
        }
        for (place, byte) in self.seen.iter_mut().skip(self.length).zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
        match self.seen {
            [b'H', b'T', b'T', b'P', b'/'] => Some("this URL speaks HTTP/1.1; set protocol: HTTP_1_1"),
            // A TLS alert record: a frame of that length is above every frame limit that was offered.
            [0x15, 0x03, _, _, _] if self.length == self.seen.len() => {
                Some("this URL speaks TLS; clear-text HTTP/2 was tried")
            }
            _ => None,
        }
    }
}
