//! How far the response of one stream has come.

use std::pin::Pin;
use std::task::{Context, Poll};

use h2::RecvStream;
use h2::client::ResponseFuture;

use super::classify;
use crate::http::{Outcome, RetryAfter, asks_to_wait};

/// What is waited for.
pub(super) enum Phase {
    /// The head.
    Head(ResponseFuture),
    /// The rest of the body.
    Body { status: u16, wait: Option<RetryAfter>, read: usize, body: RecvStream },
}

impl Phase {
    /// Whether the head is here.
    pub(super) fn has_head(&self) -> bool {
        matches!(self, Phase::Body { .. })
    }

    /// Whether more of the body was to come than is read, so that dropping the stream resets it.
    pub(super) fn is_cut_short(&self, max_body_bytes: usize) -> bool {
        // The length first: the other question takes a lock of the library.
        matches!(self, Phase::Body { read, body, .. } if *read > max_body_bytes && !body.is_end_stream())
    }

    /// Goes on as far as what has come allows; `max_body_bytes` of the body are read.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, max_body_bytes: usize) -> Poll<Outcome> {
        loop {
            match self {
                Phase::Head(response) => match Pin::new(response).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(classify::failure(&error, false)),
                    Poll::Ready(Ok(response)) => {
                        let status = response.status().as_u16();
                        let wait = if asks_to_wait(status) { retry_after(response.headers()) } else { None };
                        let body = response.into_body();
                        let is_over = body.is_end_stream();
                        *self = Phase::Body { status, wait, read: 0, body };
                        if is_over {
                            return Poll::Ready(Outcome::of(status, wait));
                        }
                    }
                },
                Phase::Body { status, wait, read, body } => match body.poll_data(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(Outcome::of(*status, *wait)),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(classify::failure(&error, true)),
                    Poll::Ready(Some(Ok(data))) => {
                        *read += data.len();
                        if *read > max_body_bytes || body.is_end_stream() {
                            // Dropping the stream gives the room back.
                            return Poll::Ready(Outcome::of(*status, *wait));
                        }
                        // Fails only when more is released than was taken.
                        let _ = body.flow_control().release_capacity(data.len());
                    }
                },
            }
        }
    }
}

/// The first `Retry-After` that says anything.
fn retry_after(headers: &http::HeaderMap) -> Option<RetryAfter> {
    headers.get_all(http::header::RETRY_AFTER).iter().find_map(|value| RetryAfter::parse(value.as_bytes()))
}
