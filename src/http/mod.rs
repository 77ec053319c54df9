//! HTTP without sockets: requests in, bytes out; bytes in, outcomes out.
//!
//! An [`Exchange`] is one connection to one URL. It owns no socket and no clock, and makes no decision about retries:
//! it says what happened to each ticket and whether the peer may have processed it.

use bytes::Bytes;

/// Names one attempt to deliver one record. An outcome whose generation is old belongs to an attempt that is over,
/// and must never touch the attempt that has the slot now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Place in the executor's table of attempts.
    pub slot: u32,
    /// How often that place was used before.
    pub generation: u32,
}

/// What differs from request to request; everything else stands in the target.
#[derive(Debug, Clone)]
pub struct Request {
    /// Shared between destinations of the same format.
    pub body: Bytes,
    /// The record's digest; sent as header `aerospike-digest` in standard Base64.
    pub digest: [u8; 20],
}

/// What became of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A complete response.
    Response {
        /// 200 to 999.
        status: u16,
    },
    /// No complete response.
    Failed {
        /// Why.
        kind: FailureKind,
        /// Whether the peer can have acted on the request.
        processed: Processed,
    },
}

/// Whether a request that failed may have been acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processed {
    /// Certainly not: it may be sent again at once.
    No,
    /// Nobody knows: only the source may send it again.
    Unknown,
}

/// Why there is no complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The peer closed the connection.
    Closed,
    /// The stream was reset (HTTP/2).
    Reset,
    /// The peer refused the stream before it looked at it (HTTP/2 REFUSED_STREAM).
    Refused,
    /// The peer is going away and did not take this stream (HTTP/2 GOAWAY).
    GoneAway,
    /// What came is not HTTP, or breaks a limit.
    Malformed,
}

/// Life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Takes requests.
    Open,
    /// Takes no more, finishes those that it has.
    Draining,
    /// Over: what is left in `transmit` may still be written, then the socket is closed.
    Closed,
}
