//! The settings of a connection, and its preface.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, Connection, SendRequest};

use super::body::Body;
use super::pipe::PipeEnd;
use crate::http::ExchangeLimits;

/// Streams before the peer's SETTINGS arrive (RFC 9113 section 6.5.2 asks peers to allow no fewer than 100).
pub(super) const STREAMS_BEFORE_SETTINGS: usize = 100;
/// Room for responses per stream; more than the body limit only delays the reset of one that is too long.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Room for responses per connection: large, so that window updates are few, and since the crate's allowance for
/// small DATA frames is half of it.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// How long the crate remembers a stream that was reset here, so that late frames on it are ignored and not counted
/// against the connection; longer than any record's deadline.
const RESET_MEMORY: Duration = Duration::from_secs(10);
/// Remembered resets per stream of the limit: deadlines of a tenth of the memory at full use.
const RESETS_PER_STREAM: usize = 16;

fn builder(limits: &ExchangeLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        .max_concurrent_reset_streams(limits.max_streams.saturating_mul(RESETS_PER_STREAM))
        .reset_stream_duration(RESET_MEMORY)
        .max_header_list_size(u32::try_from(limits.max_response_head_bytes).unwrap_or(u32::MAX))
        .enable_push(false);
    builder
}

/// The crate's handshake writes the preface into the pipe and so is done at its first poll.
pub(super) fn handshake(
    limits: &ExchangeLimits,
    io: PipeEnd,
) -> Option<(SendRequest<Body>, Connection<PipeEnd, Body>)> {
    let builder = builder(limits);
    let handshake = pin!(builder.handshake(io));
    match handshake.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(pair)) => Some(pair),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}
