//! The two ends around a connector, and the ledger that compares them: an XDR [`source`], an HTTP [`sink`], a
//! [`report`] with the oracle, and a fault [`proxy`] for either side. Written once for `ringpost demo`, the end-to-end tests and `ringpost-bench`.
//!
//! It shares no code with the connector on purpose: it is the independent check of it. The XDR side is made from the
//! public wire format alone.
//!
//! Invariants: a record is known by the sequence number in its digest ([`record::Identity`]); the source writes down
//! what it sent and which code came back, the sink what it answered; whoever was acked 0 without an answer of success
//! is lost, and nothing else is.

pub mod proxy;
pub mod record;
pub mod report;
pub mod sink;
pub mod source;
pub mod tls;
pub mod versions;

mod clock;
