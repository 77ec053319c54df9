//! One HTTP/2 connection: the `h2` crate driven over an in-memory pipe, without a runtime.
//!
//! The crate is polled when bytes arrived, when something was submitted, and when it asked for it; only streams that
//! it woke are looked at. Invariants: a slot holds one ticket from submit to its outcome or cancellation; a stream's
//! handles are dropped with its slot, which resets the stream if it is not over and gives its flow control back.

mod body;
mod classify;
mod phase;
mod pipe;
mod ready;
mod start;
mod values;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong, SendStream};

use super::{ExchangeLimits, FailureKind, Outcome, Processed, Request, State, Target, Ticket};
use body::{Body, Sent};
use classify::{Greeting, Verdict};
use phase::Phase;
use pipe::{Pipe, PipeEnd};
use ready::{Flag, ReadySet, SlotWaker};
use start::{CONNECTION_WINDOW_BYTES, STREAMS_BEFORE_SETTINGS};
use values::HeaderValues;

/// Bytes given to the crate between two polls of it: bounds the copy that the pipe keeps.
const FEED_BYTES: usize = 16 << 10;
/// Bytes that may wait because the crate cannot write its answers. Without it a peer that never reads, but sends
/// PING after PING, fills memory.
const MAX_UNREAD_BYTES: usize = 1 << 20;
/// Streams reset here (given up, or answered at too great a length) for which there was no complete answer. Peers take more
/// in a row for an attack; a connection that comes to so many is replaced.
const MAX_OWN_RESETS: usize = 800;
/// Polls of the crate in a row when it wakes itself.
const MAX_POLLS: usize = 8;

/// One HTTP/2 connection by prior knowledge.
pub struct Http2 {
    target: Rc<Target>,
    limits: ExchangeLimits,
    pipe: Rc<RefCell<Pipe>>,
    /// `None` once it is over.
    connection: Option<Connection<PipeEnd, Body>>,
    send: Option<SendRequest<Body>>,
    wake: Arc<Flag>,
    waker: Waker,
    ready: Arc<ReadySet>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    in_flight: usize,
    /// Streams that the peer allows at once.
    peer_streams: usize,
    /// Requests so far, how many of them the peer left when it went away, and how many may be made for now.
    requests: usize,
    left: usize,
    allowed: usize,
    /// Attempts with [`Attempt::early`].
    early: usize,
    /// See [`MAX_OWN_RESETS`].
    own_resets: usize,
    /// Bytes from the peer since the last outcome.
    unanswered_bytes: usize,
    unwelcome: bool,
    /// How often `transmit` handed out bytes.
    handed_out: u64,
    outcomes: VecDeque<(Ticket, Outcome)>,
    /// See [`super::Exchange::next_begun`].
    begun: Vec<Ticket>,
    values: HeaderValues,
    greeting: Greeting,
    /// Made for the first PING.
    ping_pong: Option<PingPong>,
    draining: bool,
    why: Option<String>,
}

struct Slot {
    waker: Waker,
    attempt: Option<Attempt>,
    sent: Sent,
}

struct Attempt {
    ticket: Ticket,
    /// Counts from 1.
    number: usize,
    /// [`Http2::handed_out`] when it was submitted.
    submitted: u64,
    phase: Phase,
    has_body: bool,
    /// A success that was complete before the request was: it counts when the request is written.
    early: Option<Outcome>,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2")
            .field("in_flight", &self.in_flight)
            .field("peer_streams", &self.peer_streams)
            .field("draining", &self.draining)
            .field("open", &self.connection.is_some())
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl Http2 {
    /// A fresh connection; preface and SETTINGS come out of the first [`Http2::transmit`].
    pub fn new(target: Rc<Target>, limits: ExchangeLimits) -> Http2 {
        let pipe = Rc::new(RefCell::new(Pipe::new(limits.transmit_high_water)));
        let wake = Arc::new(Flag::default());
        wake.set();
        let waker = Waker::from(wake.clone());
        let ready = ReadySet::new(limits.max_streams);
        let (send, connection) = match start::handshake(&limits, PipeEnd(pipe.clone())) {
            Some((send, connection)) => (Some(send), Some(connection)),
            None => (None, None),
        };
        Http2 {
            why: connection.is_none().then(|| "the HTTP/2 preface could not be written".to_owned()),
            target,
            pipe,
            connection,
            send,
            wake,
            waker,
            ready,
            slots: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            peer_streams: STREAMS_BEFORE_SETTINGS,
            requests: 0,
            left: 0,
            allowed: limits.first_requests.max(1),
            early: 0,
            own_resets: 0,
            unanswered_bytes: 0,
            unwelcome: false,
            handed_out: 0,
            outcomes: VecDeque::new(),
            begun: Vec::new(),
            values: HeaderValues::default(),
            greeting: Greeting::default(),
            ping_pong: None,
            draining: false,
            limits,
        }
    }

    /// See [`super::Exchange::capacity`].
    pub fn capacity(&self) -> usize {
        match self.state() {
            State::Open => {
                let streams = self.limits.max_streams.min(self.peer_streams).saturating_sub(self.in_flight);
                streams.min(self.allowed.saturating_sub(self.requests))
            }
            State::Opening | State::Draining | State::Closed => 0,
        }
    }

    /// See [`super::Exchange::submit`].
    ///
    /// # Errors
    /// Gives the request back when there is no capacity.
    pub fn submit(&mut self, ticket: Ticket, request: Request) -> Result<(), Request> {
        if self.capacity() == 0 {
            return Err(request);
        }
        let Some(send) = &mut self.send else { return Err(request) };
        let digest = request.digest.filter(|_| self.target.sends_digest()).map(|digest| self.values.digest(&digest));
        let length = self.values.length(request.body.len());
        let head = self.target.http2_request(&request, digest, length);
        let empty = request.body.is_empty();
        let (response, mut stream) = match send.send_request(head, empty) {
            Ok(handles) => handles,
            Err(error) => {
                self.drain(&error);
                return Err(request);
            }
        };
        self.requests += 1;
        let (number, submitted) = (self.requests, self.handed_out);
        let phase = Phase::Head(response);
        let slot = self.place(Attempt { ticket, number, submitted, phase, has_body: !empty, early: None });
        if !empty && let Err(error) = self.send_body(slot, number, request.body, &mut stream) {
            self.vacate(slot);
            self.outcomes.push_back((ticket, classify::failure(&error, false)));
            return Ok(());
        }
        // Looked at after the next read, which may already bring its response: that saves registering the waker.
        self.ready.insert(slot);
        if self.requests >= self.limits.max_requests {
            self.draining = true;
        }
        Ok(())
    }

    fn send_body(&self, slot: u32, number: usize, body: Bytes, stream: &mut SendStream<Body>) -> Result<(), h2::Error> {
        let Some(slot) = self.slots.get(slot as usize) else { return Ok(()) };
        stream.send_data(Body::new(body, number, &slot.sent), true)
    }

    /// See [`super::Exchange::cancel`].
    pub fn cancel(&mut self, ticket: Ticket) {
        let found = self.slots.iter().position(|slot| slot.attempt.as_ref().is_some_and(|a| a.ticket == ticket));
        match found.and_then(|slot| u32::try_from(slot).ok()) {
            Some(slot) => {
                // Dropping the handles sends RST_STREAM(CANCEL).
                if self.vacate(slot).is_some_and(|attempt| attempt.submitted < self.handed_out) {
                    self.count_reset();
                }
            }
            None => self.outcomes.retain(|(other, _)| *other != ticket),
        }
        self.finish_drain();
    }

    /// See [`super::Exchange::receive`].
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.connection.is_none() {
            return;
        }
        self.unanswered_bytes = self.unanswered_bytes.saturating_add(bytes.len());
        if self.greeting.over() {
            self.feed(bytes);
            return;
        }
        match self.greeting.check(bytes) {
            Verdict::Hold => {}
            Verdict::Pass(bytes) => self.feed(&bytes),
            Verdict::Foreign(why) => {
                self.unwelcome = true;
                self.pipe.borrow_mut().end();
                self.close(why.to_owned(), FailureKind::Malformed, true);
            }
        }
    }

    /// Bytes that a peer may send without an outcome: all that its open streams may carry, and what was under way when
    /// others were given up. Without it frames that mean nothing keep a connection busy for ever.
    fn max_unanswered_bytes(&self) -> usize {
        let per_stream = self.limits.max_response_head_bytes.saturating_add(self.limits.max_response_body_bytes);
        self.limits.max_streams.saturating_mul(per_stream).saturating_add(CONNECTION_WINDOW_BYTES as usize)
    }

    /// A stream was reset here.
    fn count_reset(&mut self) {
        self.own_resets += 1;
        if self.own_resets >= MAX_OWN_RESETS && !self.draining {
            self.draining = true;
            self.why.get_or_insert_with(|| {
                "too many of its requests were given up, or answered at too great a length".to_owned()
            });
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(FEED_BYTES) {
            self.pipe.borrow_mut().feed(chunk);
            self.wake.set();
            self.drive();
            if self.connection.is_none() {
                break;
            }
        }
        self.poll_ready_slots();
        self.poll_early();
        if self.pipe.borrow().unread() > MAX_UNREAD_BYTES && self.connection.is_some() {
            self.close("the peer sends without reading".to_owned(), FailureKind::Malformed, false);
        }
        if self.unanswered_bytes > self.max_unanswered_bytes() && self.connection.is_some() {
            let why = format!("the peer sent {} bytes without answering a request", self.unanswered_bytes);
            self.close(why, FailureKind::Malformed, false);
        }
        self.settle();
    }

    /// See [`super::Exchange::end`].
    pub fn end(&mut self) {
        self.pipe.borrow_mut().end();
        if self.connection.is_none() {
            return;
        }
        // One that nobody uses is closed by its peer sooner or later: no reason for a line in the log.
        let is_ordinary = self.in_flight == 0 && self.why.is_none();
        if self.greeting.is_silent() && self.in_flight > 0 {
            self.unwelcome = true;
            self.why.get_or_insert_with(|| "the peer closed the connection without a word of HTTP/2; if this URL speaks HTTP/1.1, set protocol: HTTP_1_1".to_owned());
        }
        self.wake.set();
        self.drive();
        self.poll_attempts(true);
        self.close("the peer closed the connection".to_owned(), FailureKind::Closed, true);
        if is_ordinary {
            self.why = None;
        }
    }

    /// See [`super::Exchange::ping`].
    pub fn ping(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        if self.ping_pong.is_none() {
            self.ping_pong = connection.ping_pong();
        }
        let Some(ping_pong) = &mut self.ping_pong else { return false };
        // Takes the last answer, or the crate sends no further PING.
        let _ = ping_pong.poll_pong(&mut Context::from_waker(Waker::noop()));
        // It fails only while one is on its way.
        let _ = ping_pong.send_ping(Ping::opaque());
        self.wake.set();
        true
    }

    /// See [`super::Exchange::lose`].
    pub fn lose(&mut self) {
        self.pipe.borrow_mut().end();
        self.close("the peer answered neither a PING nor anything else".to_owned(), FailureKind::Silent, true);
        // The owner knows, and has said so.
        self.why = None;
    }

    /// See [`super::Exchange::transmit`].
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        let unread = self.pipe.borrow().unread() > 0;
        self.drive();
        if unread {
            // Reading had stopped because there was no room to answer.
            self.poll_ready_slots();
            self.settle();
        }
        self.poll_early();
        let mut pipe = self.pipe.borrow_mut();
        if pipe.blocked {
            pipe.blocked = false;
            self.wake.set();
        }
        if pipe.output.is_empty() {
            return;
        }
        self.handed_out += 1;
        if out.is_empty() {
            std::mem::swap(out, &mut pipe.output);
        } else {
            out.extend_from_slice(&pipe.output);
        }
        pipe.output.clear();
    }

    /// See [`super::Exchange::next_outcome`].
    pub fn next_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.outcomes.pop_front()
    }

    /// See [`super::Exchange::has_outcome`].
    pub fn has_outcome(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// See [`super::Exchange::next_begun`].
    pub fn next_begun(&mut self) -> Option<Ticket> {
        self.begun.pop()
    }

    /// See [`super::Exchange::in_flight`].
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// See [`super::Exchange::taken`].
    pub fn taken(&self) -> Option<usize> {
        (self.left > 0).then(|| self.requests.saturating_sub(self.left))
    }

    /// See [`super::Exchange::state`].
    pub fn state(&self) -> State {
        match (&self.connection, self.draining) {
            (None, _) => State::Closed,
            (Some(_), true) => State::Draining,
            (Some(_), false) => State::Open,
        }
    }

    /// See [`super::Exchange::is_unwelcome`].
    pub fn is_unwelcome(&self) -> bool {
        self.unwelcome
    }

    /// See [`super::Exchange::why_closed`].
    pub fn why_closed(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Polls the crate until it has nothing more to do for now.
    fn drive(&mut self) {
        for _ in 0..MAX_POLLS {
            if !self.wake.take() {
                return;
            }
            let Some(connection) = &mut self.connection else { return };
            match Pin::new(connection).poll(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => {}
                Poll::Ready(result) => {
                    let ended = self.pipe.borrow().ended();
                    self.unwelcome |= result.as_ref().is_err_and(classify::asks_for_calm);
                    let (why, kind) = classify::connection_end(result.err(), ended);
                    self.close(why, kind, ended);
                    return;
                }
            }
        }
        // It wakes itself again and again: go on at the next call.
        self.wake.set();
    }

    /// After a read: what the peer allows now, and whether it is going away.
    fn settle(&mut self) {
        if let Some(send) = &mut self.send {
            self.peer_streams = send.current_max_send_streams();
            if !self.draining
                && let Poll::Ready(Err(error)) = send.poll_ready(&mut Context::from_waker(Waker::noop()))
            {
                self.drain(&error);
            }
        }
        self.finish_drain();
    }

    fn drain(&mut self, error: &h2::Error) {
        self.draining = true;
        self.unwelcome |= classify::asks_for_calm(error);
        self.why.get_or_insert_with(|| classify::text(error));
    }

    /// A connection that takes nothing more and has nothing in flight is over.
    fn finish_drain(&mut self) {
        if self.draining && self.in_flight == 0 && self.connection.is_some() {
            self.close("the peer is going away".to_owned(), FailureKind::GoneAway, false);
        }
    }

    /// Ends the connection: every attempt gets its outcome, from the crate if it has one, else `kind`.
    /// `cut`: what is not handed out yet never will be.
    fn close(&mut self, why: String, kind: FailureKind, cut: bool) {
        let Some(connection) = self.connection.take() else { return };
        self.send = None;
        self.why.get_or_insert(why);
        // Streams that the crate knows an answer or a reason for come first; dropping it fails the rest.
        self.poll_attempts(cut);
        drop(connection);
        for slot in 0..self.slots.len() {
            let Some(attempt) = u32::try_from(slot).ok().and_then(|slot| self.vacate(slot)) else { continue };
            let processed = self.processed(&attempt, cut);
            self.outcomes.push_back((attempt.ticket, Outcome::Failed { kind, processed }));
        }
    }

    fn processed(&self, attempt: &Attempt, cut: bool) -> Processed {
        let untouched = cut && attempt.submitted == self.handed_out;
        if untouched { Processed::No } else { Processed::Unknown }
    }

    fn poll_ready_slots(&mut self) {
        for word in 0..self.ready.words() {
            let mut bits = self.ready.take(word);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                self.poll_slot(word as u32 * 64 + bit, false);
            }
        }
    }

    fn poll_attempts(&mut self, cut: bool) {
        for slot in 0..self.slots.len() {
            self.poll_slot(slot as u32, cut);
        }
    }

    fn poll_slot(&mut self, index: u32, cut: bool) {
        let is_alive = self.connection.is_some() && !self.pipe.borrow().ended();
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(attempt) = &mut slot.attempt else { return };
        let mut context = Context::from_waker(&slot.waker);
        let had_head = attempt.phase.has_head();
        let polled = match attempt.early {
            // The peer may have said that it does not want the rest (RFC 9113 section 8.1: a reset with NO_ERROR, for which
            // a response must not be discarded). At the end of a connection everything is dropped: that says nothing.
            Some(outcome) if attempt.is_written(&slot.sent) => Poll::Ready(outcome),
            Some(outcome) if is_alive && slot.sent.is_dropped(attempt.number) => Poll::Ready(outcome),
            Some(_) => Poll::Pending,
            None => attempt.phase.poll(&mut context, self.limits.max_response_body_bytes),
        };
        if !had_head && polled.is_pending() && attempt.phase.has_head() {
            self.begun.push(attempt.ticket);
        }
        let Poll::Ready(mut outcome) = polled else { return };
        if attempt.early.is_none() && outcome.is_one_of(&self.limits.success) && !attempt.is_written(&slot.sent) {
            attempt.early = Some(outcome);
            self.early += 1;
            return self.poll_slot(index, cut);
        }
        let is_cut_short = attempt.phase.is_cut_short(self.limits.max_response_body_bytes);
        let Some(attempt) = self.vacate(index) else { return };
        self.unanswered_bytes = 0;
        match outcome {
            Outcome::Response { .. } | Outcome::RetryAfter { .. } if is_cut_short => self.count_reset(),
            Outcome::Response { .. } | Outcome::RetryAfter { .. } => {
                self.own_resets = self.own_resets.saturating_sub(1);
            }
            Outcome::Failed { .. } => {}
        }
        if let Outcome::Failed { kind: FailureKind::Closed, processed } = &mut outcome {
            *processed = self.processed(&attempt, cut);
        }
        let left = Outcome::Failed { kind: FailureKind::GoneAway, processed: Processed::No };
        self.left += usize::from(outcome == left);
        self.outcomes.push_back((attempt.ticket, outcome));
    }

    /// Successes that wait for the rest of their request.
    fn poll_early(&mut self) {
        if self.early > 0 {
            for slot in 0..self.slots.len() {
                if self.slots.get(slot).is_some_and(|slot| slot.attempt.as_ref().is_some_and(|a| a.early.is_some())) {
                    self.poll_slot(slot as u32, false);
                }
            }
            self.finish_drain();
        }
    }

    fn place(&mut self, attempt: Attempt) -> u32 {
        self.in_flight += 1;
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.attempt = Some(attempt);
            return index;
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot {
            waker: SlotWaker::waker(&self.ready, index),
            attempt: Some(attempt),
            sent: Sent::default(),
        });
        index
    }

    fn vacate(&mut self, index: u32) -> Option<Attempt> {
        let attempt = self.slots.get_mut(index as usize)?.attempt.take()?;
        self.free.push(index);
        self.in_flight -= 1;
        if attempt.number >= self.allowed {
            // The last of those that were allowed is over, and the peer is still there.
            self.allowed = self.allowed.saturating_mul(2);
        }
        self.early -= usize::from(attempt.early.is_some());
        Some(attempt)
    }
}

impl Attempt {
    /// Whether the crate has written the whole request.
    fn is_written(&self, sent: &Sent) -> bool {
        !self.has_body || sent.is_written(self.number)
    }
}
