//! HTTP without sockets: requests in, bytes out; bytes in, outcomes out.
//!
//! An [`Exchange`] is one connection to one URL. It owns no socket and no clock, and makes no decision about retries:
//! it says what happened to each ticket and whether the peer may have processed it.

pub mod header_value;
mod http1;
mod http2;
mod limits;
mod retry_after;
mod secured;
mod target;

use std::rc::Rc;

use bytes::Bytes;

pub use http1::Http1;
pub use http1::response::fuzz as fuzz_http1_response;
pub use http2::Http2;
pub use limits::ExchangeLimits;
pub use retry_after::RetryAfter;
pub use secured::Secured;
pub use target::{Target, TargetError};

use crate::config::model::{Protocol, StatusSet};
use crate::format::ContentType;
use crate::tls::session::{Alpn, Session};

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
    /// The digest of its only record, sent as header `aerospike-digest` in standard Base64; `None` for several records.
    pub digest: Option<[u8; 20]>,
    /// Values of the target's variable headers, as [`header_value`] writes them; empty if it has none.
    pub values: Bytes,
    /// What the body is.
    pub content: ContentType,
    /// The body is compressed.
    pub gzip: bool,
}

impl Request {
    /// No body: that of a probe.
    pub const fn empty() -> Request {
        Request { body: Bytes::new(), digest: None, values: Bytes::new(), content: ContentType::Json, gzip: false }
    }

    /// One record in JSON, not compressed, for a target without variable headers.
    pub const fn json(body: Bytes, digest: [u8; 20]) -> Request {
        Request { body, digest: Some(digest), values: Bytes::new(), content: ContentType::Json, gzip: false }
    }
}

/// What became of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A complete response.
    Response {
        /// 200 to 999.
        status: u16,
    },
    /// A complete response that asks to be left alone for a while.
    RetryAfter {
        /// 429 or 503.
        status: u16,
        /// What its `Retry-After` says.
        wait: RetryAfter,
    },
    /// No complete response.
    Failed {
        /// Why.
        kind: FailureKind,
        /// Whether the peer can have acted on the request.
        processed: Processed,
    },
}

impl Outcome {
    /// That of a complete response; `wait` is what its `Retry-After` says, which counts with two statuses only.
    fn of(status: u16, wait: Option<RetryAfter>) -> Outcome {
        match wait {
            Some(wait) if asks_to_wait(status) => Outcome::RetryAfter { status, wait },
            _ => Outcome::Response { status },
        }
    }

    /// Whether it is a complete response with one of these statuses.
    fn is_one_of(&self, statuses: &StatusSet) -> bool {
        match self {
            Outcome::Response { status } | Outcome::RetryAfter { status, .. } => statuses.contains(*status),
            Outcome::Failed { .. } => false,
        }
    }
}

/// Whether `Retry-After` is looked at in a response with this status.
const fn asks_to_wait(status: u16) -> bool {
    matches!(status, 429 | 503)
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
    /// The peer answered neither a PING nor anything else (HTTP/2).
    Silent,
    /// The peer refused the TLS handshake after it had looked done from here, so that no request was looked at.
    RefusedByTls,
    /// What came is not HTTP, or breaks a limit.
    Malformed,
}

/// Life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The TLS handshake is not done: takes no requests yet.
    Opening,
    /// Takes requests.
    Open,
    /// Takes no more, finishes those that it has.
    Draining,
    /// Over: what is left in `transmit` may still be written, then the socket is closed.
    Closed,
}

/// One connection to one URL.
///
/// Order of calls: after any of `submit`, `cancel`, `receive` the owner calls [`Exchange::transmit`] (an answer to the
/// peer may be due) and takes outcomes; after [`Exchange::end`] it takes outcomes and drops the exchange.
/// A ticket that was submitted gets exactly one outcome, unless it is cancelled first.
#[derive(Debug)]
// An executor holds one exchange per connection, in a table; a box would only add a hop.
#[allow(clippy::large_enum_variant, reason = "few of them, long-lived, never moved on the way of a record")]
pub enum Exchange {
    /// One request at a time.
    Http1(Http1),
    /// Many streams.
    Http2(Http2),
    /// Either, inside TLS.
    Secured(Box<Secured>),
}

/// The name of a protocol in a TLS handshake.
pub const fn alpn(protocol: Protocol) -> Alpn {
    match protocol {
        Protocol::Http1 => Alpn::Http1,
        Protocol::Http2 => Alpn::Http2,
    }
}

impl Exchange {
    /// A fresh connection that has read and written nothing.
    pub fn new(protocol: Protocol, target: Rc<Target>, limits: ExchangeLimits) -> Exchange {
        match protocol {
            Protocol::Http1 => Exchange::Http1(Http1::new(target, limits)),
            Protocol::Http2 => Exchange::Http2(Http2::new(target, limits)),
        }
    }

    /// The same inside TLS, over a session that was made with [`alpn`] of the protocol. It never speaks clear text; without
    /// a session it is closed, and says why.
    pub fn secured(
        protocol: Protocol,
        target: Rc<Target>,
        limits: ExchangeLimits,
        session: Result<Session, String>,
    ) -> Exchange {
        let inner = Exchange::new(protocol, target, limits);
        Exchange::Secured(Box::new(Secured::new(inner, session)))
    }

    /// How many more submits are taken now; 0 unless open.
    pub fn capacity(&self) -> usize {
        match self {
            Exchange::Http1(exchange) => exchange.capacity(),
            Exchange::Http2(exchange) => exchange.capacity(),
            Exchange::Secured(exchange) => exchange.capacity(),
        }
    }

    /// Takes a request; never waits. Its bytes come out of the next [`Exchange::transmit`].
    ///
    /// # Errors
    /// Gives the request back when [`Exchange::capacity`] is 0; nothing of it was or will be sent.
    pub fn submit(&mut self, ticket: Ticket, request: Request) -> Result<(), Request> {
        match self {
            Exchange::Http1(exchange) => exchange.submit(ticket, request),
            Exchange::Http2(exchange) => exchange.submit(ticket, request),
            Exchange::Secured(exchange) => exchange.submit(ticket, request),
        }
    }

    /// Gives up on a ticket (its deadline passed): there will be no outcome, and one that waits is dropped.
    /// HTTP/2 resets the stream; HTTP/1.1 closes the connection, unless no byte of the request was handed out yet.
    pub fn cancel(&mut self, ticket: Ticket) {
        match self {
            Exchange::Http1(exchange) => exchange.cancel(ticket),
            Exchange::Http2(exchange) => exchange.cancel(ticket),
            Exchange::Secured(exchange) => exchange.cancel(ticket),
        }
    }

    /// What the socket gave, in any split. Nothing is kept of it but what is not decided yet.
    pub fn receive(&mut self, bytes: &[u8]) {
        match self {
            Exchange::Http1(exchange) => exchange.receive(bytes),
            Exchange::Http2(exchange) => exchange.receive(bytes),
            Exchange::Secured(exchange) => exchange.receive(bytes),
        }
    }

    /// The peer closed, or the socket failed: whatever is in flight gets its outcome, the state becomes closed, and
    /// nothing is left to transmit.
    pub fn end(&mut self) {
        match self {
            Exchange::Http1(exchange) => exchange.end(),
            Exchange::Http2(exchange) => exchange.end(),
            Exchange::Secured(exchange) => exchange.end(),
        }
    }

    /// Asks the peer whether it is there (HTTP/2 PING), unless it owes an answer already: whatever it says counts as one.
    /// Whether this connection can ask.
    pub fn ping(&mut self) -> bool {
        match self {
            Exchange::Http1(_) => false,
            Exchange::Http2(exchange) => exchange.ping(),
            Exchange::Secured(exchange) => exchange.ping(),
        }
    }

    /// The peer is taken for dead: as [`Exchange::end`], and what is in flight fails as [`FailureKind::Silent`] (HTTP/2).
    pub fn lose(&mut self) {
        match self {
            Exchange::Http1(exchange) => exchange.end(),
            Exchange::Http2(exchange) => exchange.lose(),
            Exchange::Secured(exchange) => exchange.lose(),
        }
    }

    /// Ends a TLS handshake that takes too long; nothing to do with any other exchange.
    pub fn give_up_handshake(&mut self, why: String) {
        if let Exchange::Secured(exchange) = self {
            exchange.give_up_handshake(why);
        }
    }

    /// Nothing more is to be sent or received: says so to the peer where the protocol has words for it (TLS). To be called
    /// with nothing in flight.
    pub fn say_farewell(&mut self) {
        if let Exchange::Secured(exchange) = self {
            exchange.say_farewell();
        }
    }

    /// Whether the peer refused the TLS handshake after it had looked done from here: as good as no connection.
    pub fn is_refused_by_tls(&self) -> bool {
        match self {
            Exchange::Http1(_) | Exchange::Http2(_) => false,
            Exchange::Secured(exchange) => exchange.is_refused(),
        }
    }

    /// As [`Exchange::end`], for a connection that was reset or broke in another way: a response that only an orderly end
    /// of the connection completes is cut off.
    pub fn cut(&mut self) {
        match self {
            Exchange::Http1(exchange) => exchange.cut(),
            Exchange::Http2(exchange) => exchange.end(),
            Exchange::Secured(exchange) => exchange.cut(),
        }
    }

    /// Appends what to write next, at most about [`ExchangeLimits::transmit_high_water`] bytes. What was appended
    /// counts as handed out. The owner calls again after it has written all of it, until nothing is appended.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        match self {
            Exchange::Http1(exchange) => exchange.transmit(out),
            Exchange::Http2(exchange) => exchange.transmit(out),
            Exchange::Secured(exchange) => exchange.transmit(out),
        }
    }

    /// The next outcome, oldest first.
    pub fn next_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        match self {
            Exchange::Http1(exchange) => exchange.next_outcome(),
            Exchange::Http2(exchange) => exchange.next_outcome(),
            Exchange::Secured(exchange) => exchange.next_outcome(),
        }
    }

    /// Whether [`Exchange::next_outcome`] has one: there may be one after [`Exchange::transmit`], too.
    pub fn has_outcome(&self) -> bool {
        match self {
            Exchange::Http1(exchange) => exchange.has_outcome(),
            Exchange::Http2(exchange) => exchange.has_outcome(),
            Exchange::Secured(exchange) => exchange.has_outcome(),
        }
    }

    /// A ticket whose response has begun and is not complete; each is named once. To be asked after [`Exchange::receive`]: a
    /// response that is complete with the read that began it is named by its outcome only.
    pub fn next_begun(&mut self) -> Option<Ticket> {
        match self {
            Exchange::Http1(exchange) => exchange.next_begun(),
            Exchange::Http2(exchange) => exchange.next_begun(),
            Exchange::Secured(exchange) => exchange.next_begun(),
        }
    }

    /// Tickets without an outcome.
    pub fn in_flight(&self) -> usize {
        match self {
            Exchange::Http1(exchange) => exchange.in_flight(),
            Exchange::Http2(exchange) => exchange.in_flight(),
            Exchange::Secured(exchange) => exchange.in_flight(),
        }
    }

    /// How many requests the peer took, if it went away (HTTP/2 GOAWAY) and left others untouched.
    pub fn taken(&self) -> Option<usize> {
        match self {
            Exchange::Http1(_) => None,
            Exchange::Http2(exchange) => exchange.taken(),
            Exchange::Secured(exchange) => exchange.taken(),
        }
    }

    /// Whether requests are taken, finished, or over.
    pub fn state(&self) -> State {
        match self {
            Exchange::Http1(exchange) => exchange.state(),
            Exchange::Http2(exchange) => exchange.state(),
            Exchange::Secured(exchange) => exchange.state(),
        }
    }

    /// Whether the peer turned the connection down as a whole: it speaks another protocol, or asks for calm. That says as
    /// much about its URL as a connection that cannot be opened.
    pub fn is_unwelcome(&self) -> bool {
        match self {
            Exchange::Http1(exchange) => exchange.is_unwelcome(),
            Exchange::Http2(exchange) => exchange.is_unwelcome(),
            Exchange::Secured(exchange) => exchange.is_unwelcome(),
        }
    }

    /// Why it left [`State::Open`], for the log; `None` while it is open and after an ordinary end.
    pub fn why_closed(&self) -> Option<&str> {
        match self {
            Exchange::Http1(exchange) => exchange.why_closed(),
            Exchange::Http2(exchange) => exchange.why_closed(),
            Exchange::Secured(exchange) => exchange.why_closed(),
        }
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FailureKind::Closed => "the peer closed the connection before it had answered completely",
            FailureKind::Reset => "the peer reset the stream",
            FailureKind::Refused => "the peer refused the stream",
            FailureKind::GoneAway => "the peer is going away",
            FailureKind::Silent => "the peer answered neither a PING nor anything else",
            FailureKind::RefusedByTls => "the peer refused the TLS handshake",
            FailureKind::Malformed => "the answer is not valid HTTP",
        })
    }
}
