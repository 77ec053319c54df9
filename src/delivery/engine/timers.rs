//! What happens because time passed: deadlines, call time-outs, slow peers, the end of a drain.

use std::time::Duration;

use super::super::answer::{self, Answer};
use super::super::flight::{Attempt, Stage};
use super::super::source::Phase;
use super::super::table::Key;
use super::super::trouble::Cause;
use super::dispatch::NoWay;
use super::intake::more;
use super::{Engine, PAUSE_LIMIT};
use crate::http::State;
use crate::time::Time;
use crate::wire::ack;
use crate::wire::frame::Assembler;

/// How often [`Engine::tick`] wants to be called while nothing is in flight.
pub const IDLE_TICK: Duration = Duration::from_millis(100);

/// How often [`Engine::tick`] wants to be called while something is in flight.
pub const BUSY_TICK: Duration = Duration::from_millis(10);

/// What became of a call that timed out.
const LATE: &str = "no answer within call-timeout";

/// The same for a record's deadline.
pub(super) const TOO_LATE: &str = "no answer within limits.record-deadline";

/// What became of a record when the drain was over.
pub(super) const OVER: &str = "limits.drain passed";

/// The same for a request.
const DRAINED: &str = "not answered within limits.drain";

/// The shortest time between two ticks: batches that are to be closed earlier wait for this.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

impl Engine {
    /// Does what is due at `now`. To be called at least every [`BUSY_TICK`] or [`IDLE_TICK`]: deadlines are seen that
    /// much late at most.
    pub fn tick(&mut self, now: Time) {
        self.recorder.pass(now);
        self.count_unnamed(now);
        self.close_due_batches(now);
        if !self.batches.is_empty() && self.budget.is_pool_empty() {
            // Another executor may wait for it.
            self.make_room(now);
        }
        self.check_health(now);
        self.expire_handshakes(now);
        self.expire_calls(now);
        self.expire_records(now);
        self.expire_rejects(now);
        self.expire_ordered(now);
        self.keep_pools(now);
        self.check_sources(now);
        self.check_pauses(now);
        if let Some(tap) = &mut self.tap {
            tap.tick(now);
        }
        if self.drain_until.is_some_and(|until| until <= now) {
            self.give_up(now);
        }
        self.release_idle_buffers();
        self.trim();
        self.go_on(now);
    }

    /// When [`Engine::tick`] wants to be called next, from `now`.
    pub fn next_tick(&self, now: Time) -> Duration {
        let regular = if self.is_busy() { BUSY_TICK } else { IDLE_TICK };
        match self.batches.next_close() {
            Some(close) => regular.min(close.since(now)).max(SHORTEST_TICK),
            None => regular,
        }
    }

    /// Whether something waits that is due sooner than in an [`IDLE_TICK`]: a batch, or a line of `rejected-file`.
    pub fn has_to_be_in_time(&self) -> bool {
        !self.batches.is_empty() || self.rejects.is_waiting()
    }

    /// The last records of a burst that were not named in the log.
    fn count_unnamed(&mut self, now: Time) {
        for (limit, what) in [
            (&mut self.limited.content, "of bad content"),
            (&mut self.limited.permanent, "that a destination refused for good"),
        ] {
            if let Some(count) = limit.overdue(now) {
                tracing::warn!(target: "server", "{count} more records {what} were not named here, since they came too fast");
            }
        }
    }

    /// Calls that are given up: the record's other attempts are not touched.
    fn expire_calls(&mut self, now: Time) {
        for index in 0..self.destinations.len() {
            while let Some(key) = self.destinations.get(index).and_then(|destination| destination.calls.expired(now)) {
                self.counters.call_timeouts += 1;
                let sent = self.attempts.get(key).filter(|attempt| matches!(attempt.stage, Stage::Sent(_)));
                let endpoint = sent.map(|attempt| (attempt.endpoint, attempt.test));
                let is_news = self.is_news(key);
                self.count_error(key);
                if let Some((endpoint, _)) = endpoint {
                    self.note_trouble(endpoint, Cause::Words(LATE), now);
                    self.note_unknown(key);
                }
                self.report_failure(key, &LATE, now);
                self.cancel(key, now);
                self.attempt_failed(key, ack::TEMPORARY, now);
                if let Some((endpoint, test)) = endpoint
                    && (is_news || test)
                {
                    self.endpoint_failed(endpoint, test, &LATE, now);
                }
            }
        }
    }

    /// Whether this attempt's time-out counts against its URL. A peer that goes away and answers none of the requests
    /// that it had taken fails a hundred of them in one instant: that is one failure, since it may answer on the next
    /// connection.
    fn is_news(&mut self, key: Key) -> bool {
        let Some(Stage::Sent(connection)) = self.attempts.get(key).map(|attempt| attempt.stage) else { return true };
        let Some(connection) = self.connections.get_mut(connection) else { return true };
        connection.exchange.state() != State::Draining || !std::mem::replace(&mut connection.left_calls, true)
    }

    /// Records whose deadline has passed.
    fn expire_records(&mut self, now: Time) {
        let mut any = false;
        while let Some(key) = self.deadlines.expired(now) {
            any = true;
            // One that was answered when another destination failed has missed nothing: only its calls end here.
            let is_open = self.flights.get(key).is_some_and(|flight| !flight.answered);
            if is_open && let Some(left_out) = self.limited.deadline.allow(now) {
                let record = self.describe(key);
                tracing::warn!(target: "server",
                    "{record} was not delivered within limits.record-deadline and was answered 11, so the server sends it again{}",
                    more(left_out));
            }
            self.count_expired(key);
            self.answer_flight(key, Answer::new(ack::TEMPORARY, answer::Cause::Late), now);
            self.end_flight(key, None, now);
        }
        if any {
            self.drop_dead();
            self.retire_mute(now);
        }
    }

    /// Connections that allow no request and have said nothing for as long as a record waits. A peer that vanished after
    /// it announced room for none is found by nothing else: without a request there is none that times out, and the
    /// connection would keep its place for good.
    fn retire_mute(&mut self, now: Time) {
        let deadline = self.limits.record_deadline;
        let mut mute = Vec::new();
        self.connections.for_each(|key, connection| {
            let exchange = &connection.exchange;
            let is_idle = exchange.in_flight() == 0 && exchange.capacity() == 0;
            if connection.is_pooled() && is_idle && connection.heard + deadline <= now {
                mute.push(key);
            }
        });
        mute.into_iter().for_each(|key| self.retire(key));
    }

    /// Ends a record and all its attempts, answered 11 unless it has its code: one of its destinations has no way, or
    /// else its deadline has passed.
    pub(super) fn end_flight(&mut self, key: Key, no_way: Option<&NoWay>, now: Time) {
        if let (Some(no_way), Some(_)) = (no_way, &self.tap) {
            self.tap_no_way(key, no_way);
        }
        self.answer_flight(key, ack::TEMPORARY, now);
        let mut next = self.flights.get(key).and_then(|flight| flight.first);
        while let Some(attempt_key) = next {
            let Some(attempt) = self.attempts.get(attempt_key) else { break };
            next = attempt.sibling;
            let (stage, endpoint, test) = (attempt.stage, attempt.endpoint, attempt.test);
            let had_time = self.had_time(attempt, now);
            if self.tap.is_some() && no_way.is_none() {
                self.tap_late(attempt_key, stage);
            }
            if let Stage::Sent(_) = stage {
                self.note_unknown(attempt_key);
                self.note_trouble(endpoint, Cause::Words(TOO_LATE), now);
                self.cancel(attempt_key, now);
            }
            self.finish_attempt(attempt_key);
            let is_shut_out = stage == Stage::Queued && no_way.is_none() && self.takes_nothing(endpoint);
            if matches!(stage, Stage::Sent(_)) && (test || had_time) || is_shut_out {
                self.endpoint_failed(endpoint, test, &TOO_LATE, now);
            }
        }
        self.finish_flight(key);
    }

    /// Whether a call that ends at its record's deadline says something about its URL. Where more arrives than is
    /// answered, records leave the queue just before their deadline: to count those would make every busy URL
    /// unhealthy and its queue be thrown away.
    fn had_time(&self, attempt: &Attempt, now: Time) -> bool {
        let call = self.destinations.get(attempt.destination).map_or(Duration::ZERO, |entry| entry.call_timeout);
        now.since(attempt.sent_at) >= call.min(self.limits.record_deadline) / 2
    }

    /// Whether the peer accepts connections and allows no request on any of them (SETTINGS_MAX_CONCURRENT_STREAMS 0): a
    /// record that waited for one until its deadline says as much about the URL as a call that timed out.
    fn takes_nothing(&self, endpoint: usize) -> bool {
        self.endpoints
            .get(endpoint)
            .is_some_and(|entry| entry.open > 0 && entry.in_flight == 0 && entry.ready.is_empty())
    }

    /// Queue entries of records that are over leave from the front.
    fn drop_dead(&mut self) {
        for index in 0..self.endpoints.len() {
            let attempts = &self.attempts;
            if let Some(endpoint) = self.endpoints.get_mut(index) {
                endpoint.drop_dead(|key| attempts.get(key).is_some_and(|attempt| attempt.is_queued_at(index)));
            }
        }
    }

    /// Peers that send half a frame and stop, and peers that do not read their acks.
    fn check_sources(&mut self, now: Time) {
        if self.sources.is_empty() {
            return;
        }
        let (partial, stuck) = (self.limits.partial_frame_timeout, self.limits.ack_write_timeout);
        let mut late = Vec::new();
        self.sources.for_each(|key, source| {
            // While we are the ones who do not read, the peer is not slow.
            let is_reading = !source.paused && !source.has_kept;
            let half = source.partial_since.filter(|since| is_reading && *since + partial <= now);
            let deaf = source.stuck_since.filter(|since| *since + stuck <= now);
            if half.is_some() || deaf.is_some() {
                let what = match (deaf.is_some(), source.is_securing, source.is_mid_frame()) {
                    (true, ..) => "it did not read its acks within limits.ack-write-timeout",
                    (false, true, _) => "its TLS handshake was not done within limits.partial-frame-timeout",
                    (false, false, true) => "a frame was not completed within limits.partial-frame-timeout",
                    (false, false, false) => "a TLS record was not completed within limits.partial-frame-timeout",
                };
                late.push((key, what, source.peer));
            }
        });
        for (key, why, peer) in late {
            if let Some(left_out) = self.limited.framing.allow(now) {
                tracing::warn!(target: "server", "{peer}: connection closed: {why}{}", more(left_out));
            }
            self.source_closed(key);
            self.wakes.push(super::Wake::Source(key));
        }
    }

    /// A source that waited too long for room makes the executor answer 18 until there is some.
    fn check_pauses(&mut self, now: Time) {
        if self.rejecting {
            return;
        }
        let sources = &self.sources;
        let waited = |key: &Key| {
            sources.get(*key).and_then(|source| source.waiting_since).is_some_and(|since| since + PAUSE_LIMIT <= now)
        };
        let inbound = self.handover.waiting_since().is_some_and(|since| since + PAUSE_LIMIT <= now);
        if inbound || self.paused.iter().any(waited) {
            self.rejecting = true;
            tracing::warn!(target: "server",
                "no room for 2 s (in-flight-bytes or max-concurrent-records is used up, a destination is slow): frames are answered 18 until use is below 80 %");
        }
    }

    /// Under pressure, connections give up the buffers that they keep for their next split frame: those of many idle
    /// connections could otherwise fill the budget for good.
    fn release_idle_buffers(&mut self) {
        if !self.rejecting && self.paused.is_empty() {
            return;
        }
        for key in self.sources.keys() {
            let Some(source) = self.sources.get_mut(key) else { continue };
            let is_empty = |assembler: &Assembler| !assembler.is_mid_frame() && !assembler.has_frames();
            if source.charged > 0 && source.assembler.as_ref().is_some_and(is_empty) {
                source.assembler = Some(Assembler::new(self.frame_limits));
                self.budget.recharge(&mut source.charged, 0);
            }
        }
    }

    fn trim(&mut self) {
        self.budget.trim();
        if self.flights.is_empty() {
            self.encoders.give_back();
        }
        for endpoint in &mut self.endpoints {
            endpoint.queued.trim();
        }
    }

    /// Stops taking frames. What is in flight may finish until `limits.drain` has passed.
    pub fn drain(&mut self, now: Time) {
        if self.drain_until.is_some() {
            return;
        }
        self.recorder.pass(now);
        self.drain_until = Some(now + self.limits.drain);
        self.close_all_batches(now);
        self.pump_touched(now);
        for key in self.sources.keys() {
            self.wake_source(key);
        }
    }

    /// Whether nothing is left to drain.
    pub fn is_drained(&self) -> bool {
        self.drain_until.is_some() && self.sources.is_empty()
    }

    /// When the drain is over at the latest.
    pub fn drain_until(&self) -> Option<Time> {
        self.drain_until
    }

    /// Records whose frame was not written to `rejected-file` by their deadline.
    fn expire_rejects(&mut self, now: Time) {
        while let Some((source, number)) = self.rejects.expired(now) {
            self.report_unkept(now);
            self.answer(source, number, Answer::new(ack::TEMPORARY, answer::Cause::Late));
        }
    }

    /// The drain took too long: what is left is answered 11, and what was not sent never is.
    fn give_up(&mut self, now: Time) {
        self.gave_up = true;
        for key in self.sources.keys() {
            if self.sources.get(key).is_some_and(|source| source.phase == Phase::Open) {
                self.stop_taking(key);
            }
        }
        self.close_all_batches(now);
        self.flights.keys().into_iter().for_each(|key| self.abandon(key, now));
        // Versions that wait for another one, records that other executors have, and lines of rejected-file.
        for key in self.sources.keys() {
            if let Some(source) = self.sources.get_mut(key) {
                source.window.complete_all(ack::TEMPORARY, now);
            }
            self.wake_source(key);
        }
    }

    /// Ends a record and its requests; that says nothing about their URLs.
    fn abandon(&mut self, flight: Key, now: Time) {
        if let (Some(tap), Some(entry)) = (&mut self.tap, self.flights.get(flight)) {
            tap.note_all(entry, OVER);
        }
        self.answer_flight(flight, ack::TEMPORARY, now);
        let mut next = self.flights.get(flight).and_then(|flight| flight.first);
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get(key)?))) {
            next = attempt.sibling;
            if let Stage::Sent(_) = attempt.stage {
                self.note_unknown(key);
                self.count_error(key);
                if self.tap.is_some() {
                    self.tap_error(key, &DRAINED);
                }
                self.cancel(key, now);
            }
            self.finish_attempt(key);
        }
        self.finish_flight(flight);
    }
}
