//! One HTTP/1.1 connection: one request at a time.

pub(crate) mod response;

use std::rc::Rc;

use bytes::Bytes;

use super::{ExchangeLimits, FailureKind, Outcome, Processed, Request, State, Target, Ticket};
use response::{Progress, ResponseReader};

/// One kept-alive HTTP/1.1 connection.
#[derive(Debug)]
pub struct Http1 {
    target: Rc<Target>,
    limits: ExchangeLimits,
    attempt: Option<Attempt>,
    /// Head of the request in flight; the buffer is used again and again.
    head: Vec<u8>,
    reader: ResponseReader,
    /// Whether a response has come on this connection before.
    reused: bool,
    outcome: Option<(Ticket, Outcome)>,
    /// See [`super::Exchange::next_begun`].
    begun: Option<Ticket>,
    /// A success that was complete before the request was: it counts when the request is written.
    early: Option<Outcome>,
    closed: bool,
    /// The first byte of its first answer was not one of HTTP.
    unwelcome: bool,
    why: Option<&'static str>,
}

#[derive(Debug)]
struct Attempt {
    ticket: Ticket,
    body: Bytes,
    /// Bytes of head and body that were handed out.
    sent: usize,
    /// All of it was handed out, and its owner came for more.
    written: bool,
    /// Whether a byte of a response has come.
    answered: bool,
}

impl Http1 {
    /// A fresh connection.
    pub fn new(target: Rc<Target>, limits: ExchangeLimits) -> Http1 {
        Http1 {
            reader: ResponseReader::new(limits.max_response_head_bytes, limits.max_response_body_bytes)
                .of_head(target.is_head()),
            target,
            limits,
            attempt: None,
            head: Vec::new(),
            reused: false,
            outcome: None,
            begun: None,
            early: None,
            closed: false,
            unwelcome: false,
            why: None,
        }
    }

    /// See [`super::Exchange::capacity`].
    pub fn capacity(&self) -> usize {
        usize::from(!self.closed && self.attempt.is_none() && self.outcome.is_none())
    }

    /// See [`super::Exchange::submit`].
    ///
    /// # Errors
    /// Gives the request back when one is in flight or the connection is over.
    pub fn submit(&mut self, ticket: Ticket, request: Request) -> Result<(), Request> {
        if self.capacity() == 0 {
            return Err(request);
        }
        self.head.clear();
        self.target.write_http1_head(&request, &mut self.head);
        self.attempt = Some(Attempt { ticket, body: request.body, sent: 0, written: false, answered: false });
        Ok(())
    }

    /// See [`super::Exchange::cancel`].
    pub fn cancel(&mut self, ticket: Ticket) {
        if self.outcome.is_some_and(|(other, _)| other == ticket) {
            self.outcome = None;
        }
        if let Some(attempt) = self.attempt.take_if(|attempt| attempt.ticket == ticket)
            && attempt.sent > 0
        {
            self.close("a request was given up");
        }
    }

    /// See [`super::Exchange::receive`].
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.closed || bytes.is_empty() {
            return;
        }
        let Some(attempt) = &mut self.attempt else {
            self.close("the peer sent bytes that nothing asked for");
            return;
        };
        self.unwelcome |= !self.reused && !attempt.answered && !bytes.starts_with(b"H");
        if attempt.sent == 0 {
            // Whatever its status says, it is not about this request.
            self.finish(Outcome::Failed { kind: FailureKind::Malformed, processed: Processed::No });
            self.close(match bytes {
                [b'H', ..] => "the peer answered before it was asked",
                _ => response::other_protocol(bytes),
            });
            return;
        }
        let begins = !std::mem::replace(&mut attempt.answered, true);
        if self.early.is_some() {
            self.finish(Outcome::Failed { kind: FailureKind::Malformed, processed: Processed::Unknown });
            self.close("the peer sent bytes that nothing asked for");
            return;
        }
        match self.reader.receive(bytes) {
            Progress::More => self.begun = self.begun.or(begins.then_some(attempt.ticket)),
            Progress::Done { status, keep, consumed } => {
                let unsent = attempt.sent < self.head.len() + attempt.body.len();
                let rest = consumed < bytes.len();
                // A success for a request that the peer does not have yet: what is left of it has to follow, or the
                // record would be lost with an answer that says that it was taken.
                let outcome = Outcome::of(status, self.reader.retry_after());
                if outcome.is_one_of(&self.limits.success) && (unsent || !keep && !attempt.written) {
                    self.early = Some(outcome);
                    return;
                }
                self.finish(outcome);
                self.reused = true;
                if !keep {
                    self.closed = true;
                } else if unsent {
                    self.close("the peer answered before it had the whole request");
                } else if rest {
                    self.close("the peer sent bytes that nothing asked for");
                }
            }
            Progress::Malformed(why) => {
                self.finish(Outcome::Failed { kind: FailureKind::Malformed, processed: Processed::Unknown });
                self.close(why);
            }
        }
    }

    /// See [`super::Exchange::end`].
    pub fn end(&mut self) {
        if let Some(attempt) = &self.attempt {
            let outcome = match self.reader.end() {
                Some(status) if attempt.answered => Outcome::of(status, self.reader.retry_after()),
                _ => {
                    let untouched = attempt.sent == 0 || (self.reused && !attempt.answered);
                    let processed = if untouched { Processed::No } else { Processed::Unknown };
                    Outcome::Failed { kind: FailureKind::Closed, processed }
                }
            };
            self.finish(outcome);
            self.close("the peer closed the connection");
        }
        // A kept-alive connection that nobody uses is closed by its peer sooner or later.
        self.closed = true;
    }

    /// See [`super::Exchange::is_unwelcome`].
    pub fn is_unwelcome(&self) -> bool {
        self.unwelcome
    }

    /// See [`super::Exchange::cut`].
    pub fn cut(&mut self) {
        self.reader.cut();
        self.end();
    }

    /// See [`super::Exchange::transmit`].
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        let Some(attempt) = &mut self.attempt else { return };
        let mut room = self.limits.transmit_high_water.max(1);
        if let Some(rest) = self.head.get(attempt.sent..) {
            let taken = rest.len().min(room);
            out.extend_from_slice(rest.get(..taken).unwrap_or_default());
            attempt.sent += taken;
            room -= taken;
        }
        if let Some(offset) = attempt.sent.checked_sub(self.head.len())
            && let Some(rest) = attempt.body.get(offset..)
        {
            let taken = rest.len().min(room);
            out.extend_from_slice(rest.get(..taken).unwrap_or_default());
            attempt.sent += taken;
        }
        attempt.written = out.len() == before;
        if attempt.written
            && let Some(outcome) = self.early.take()
        {
            self.finish(outcome);
            self.close("the peer answered before it had the whole request");
        }
    }

    /// See [`super::Exchange::next_outcome`].
    pub fn next_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.outcome.take()
    }

    /// See [`super::Exchange::has_outcome`].
    pub fn has_outcome(&self) -> bool {
        self.outcome.is_some()
    }

    /// See [`super::Exchange::next_begun`].
    pub fn next_begun(&mut self) -> Option<Ticket> {
        self.begun.take()
    }

    /// See [`super::Exchange::in_flight`].
    pub fn in_flight(&self) -> usize {
        usize::from(self.attempt.is_some())
    }

    /// See [`super::Exchange::state`].
    pub fn state(&self) -> State {
        if self.closed { State::Closed } else { State::Open }
    }

    /// See [`super::Exchange::why_closed`].
    pub fn why_closed(&self) -> Option<&str> {
        self.why
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(attempt) = self.attempt.take() {
            self.outcome = Some((attempt.ticket, outcome));
        }
    }

    fn close(&mut self, why: &'static str) {
        self.closed = true;
        self.why.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests;
