//! An exchange inside a TLS session.
//!
//! Invariants: a request is taken only once the handshake is done and the protocol agreed on; what the protocol hands out
//! is encrypted and handed out in the same call, so that "handed out" means the same as in clear text; nothing ever leaves
//! without the session.

use super::{Exchange, FailureKind, Outcome, Processed, Request, State, Ticket};
use crate::tls::session::{Phase, Session};

/// A buffer for plain text above this is given back once it is encrypted.
const KEEP_PLAIN: usize = 64 << 10;

/// HTTP/1.1 or HTTP/2 over TLS.
#[derive(Debug)]
pub struct Secured {
    inner: Exchange,
    session: Option<Session>,
    /// What the protocol handed out; empty between calls.
    plain: Vec<u8>,
    /// The peer sent data.
    answered: bool,
    /// Why there is no session.
    why: Option<String>,
}

impl Secured {
    /// `inner` has read and written nothing.
    pub(super) fn new(inner: Exchange, session: Result<Session, String>) -> Secured {
        let (session, why) = match session {
            Ok(session) => (Some(session), None),
            Err(why) => (None, Some(why)),
        };
        Secured { inner, session, plain: Vec::new(), answered: false, why }
    }

    fn phase(&self) -> Phase {
        self.session.as_ref().map_or(Phase::Closed, Session::phase)
    }

    pub(super) fn capacity(&self) -> usize {
        if self.phase() == Phase::Open { self.inner.capacity() } else { 0 }
    }

    pub(super) fn submit(&mut self, ticket: Ticket, request: Request) -> Result<(), Request> {
        if self.phase() == Phase::Open { self.inner.submit(ticket, request) } else { Err(request) }
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.inner.cancel(ticket);
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let Some(session) = &mut self.session else { return };
        if session.phase() == Phase::Closed {
            return;
        }
        let (inner, answered) = (&mut self.inner, &mut self.answered);
        session.receive(bytes, |plain| {
            *answered = true;
            inner.receive(plain);
        });
        if session.phase() == Phase::Closed {
            self.finish();
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(session) = &mut self.session {
            session.cut();
        }
        self.finish();
    }

    pub(super) fn next_begun(&mut self) -> Option<Ticket> {
        self.inner.next_begun()
    }

    pub(super) fn ping(&mut self) -> bool {
        self.phase() == Phase::Open && self.inner.ping()
    }

    pub(super) fn lose(&mut self) {
        self.inner.lose();
        if let Some(session) = &mut self.session {
            session.cut();
        }
    }

    pub(super) fn cut(&mut self) {
        if let Some(session) = &mut self.session {
            session.cut();
        }
        self.inner.cut();
    }

    pub(super) fn taken(&self) -> Option<usize> {
        self.inner.taken()
    }

    pub(super) fn has_outcome(&self) -> bool {
        self.inner.has_outcome()
    }

    pub(super) fn is_unwelcome(&self) -> bool {
        self.inner.is_unwelcome()
    }

    /// The session is over: so is what it carried, whole or cut off.
    fn finish(&mut self) {
        if self.session.as_ref().is_some_and(Session::ended) { self.inner.end() } else { self.inner.cut() }
    }

    pub(super) fn give_up_handshake(&mut self, why: String) {
        if let Some(session) = &mut self.session
            && session.phase() == Phase::Handshaking
        {
            session.fail(why);
            self.inner.end();
        }
    }

    pub(super) fn say_farewell(&mut self) {
        if let Some(session) = &mut self.session
            && session.phase() == Phase::Open
        {
            session.close();
            self.inner.end();
        }
    }

    pub(super) fn transmit(&mut self, out: &mut Vec<u8>) {
        let Some(session) = &mut self.session else { return };
        if session.phase() == Phase::Open {
            self.inner.transmit(&mut self.plain);
            if !self.plain.is_empty() {
                session.write(&self.plain);
                self.plain.clear();
                if self.plain.capacity() > KEEP_PLAIN {
                    self.plain = Vec::new();
                }
            } else if self.inner.state() == State::Closed {
                session.close();
            }
        }
        session.transmit(out);
    }

    pub(super) fn next_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        let (ticket, outcome) = self.inner.next_outcome()?;
        match outcome {
            Outcome::Failed { .. } if self.is_refused() => {
                // A peer that refused the handshake has not looked at anything behind it.
                Some((ticket, Outcome::Failed { kind: FailureKind::RefusedByTls, processed: Processed::No }))
            }
            outcome => Some((ticket, outcome)),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    pub(super) fn state(&self) -> State {
        match self.phase() {
            Phase::Handshaking => State::Opening,
            Phase::Open => self.inner.state(),
            Phase::Closed => State::Closed,
        }
    }

    pub(super) fn why_closed(&self) -> Option<&str> {
        let of_session = self.session.as_ref().and_then(Session::why);
        self.why.as_deref().or(of_session).or_else(|| self.inner.why_closed())
    }

    /// It was refused before it sent any data.
    pub(super) fn is_refused(&self) -> bool {
        !self.answered && self.session.as_ref().is_some_and(Session::was_refused)
    }
}

#[cfg(test)]
mod tests;
