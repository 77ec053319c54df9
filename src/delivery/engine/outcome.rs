//! What a request's end means for its record, and the code for the source.

use std::time::Duration;

use super::super::answer::{Answer, Cause};
use super::super::breaker::Change;
use super::super::endpoint::ConnectionStage;
use super::super::flight::{Flight, Origin, Stage};
use super::super::table::Key;
use super::super::trouble;
use super::Engine;
use super::intake::more;
use crate::config::show_duration;
use crate::http::{Outcome, Processed};
use crate::record::Hex;
use crate::time::Time;
use crate::wire::ack;

impl Engine {
    /// Sets a record's code; the first one stands.
    pub(super) fn answer(&mut self, source: Origin, number: u64, answer: impl Into<Answer>) {
        let answer = answer.into();
        match source {
            Origin::Source(source) => _ = self.answer_source(source, number, answer),
            // What is counted by answer counts where the record came in.
            Origin::Ghost(ghost) => {
                if let Some(tap) = &mut self.tap {
                    if !self.handover.takes_answers(ghost) {
                        tap.unheard((source, number));
                    }
                    tap.answered((source, number), answer.code(), self.recorder.moment());
                }
                self.handover.answer(ghost, number, answer);
            }
        }
    }

    /// The same for a record that came in here. Whether its source will be told.
    pub(super) fn answer_source(&mut self, source: Key, number: u64, answer: Answer) -> bool {
        let now = self.recorder.moment();
        let mut is_first = false;
        if let Some(entry) = self.sources.get_mut(source) {
            is_first = entry.window.complete(number, answer, now);
            self.counters.deadlines += u64::from(is_first && answer.cause() == Cause::Late);
            if is_first && entry.window.is_ready() {
                self.wake_source(source);
            }
        }
        if let Some(tap) = &mut self.tap {
            tap.answered((Origin::Source(source), number), answer.code(), now);
        }
        is_first
    }

    /// Takes what a connection has to say about its requests.
    pub(super) fn take_outcomes(&mut self, connection: Key, now: Time) {
        while let Some((ticket, outcome)) =
            self.connections.get_mut(connection).and_then(|entry| entry.exchange.next_outcome())
        {
            if let Some(entry) = self.connections.get_mut(connection) {
                entry.answered = now;
            }
            let key = Key::from(ticket);
            let is_current = self.attempts.get(key).is_some_and(|attempt| attempt.stage == Stage::Sent(connection));
            if is_current {
                self.take_outcome(key, outcome, now);
            } else {
                self.counters.late_outcomes += 1;
            }
        }
    }

    fn take_outcome(&mut self, key: Key, outcome: Outcome, now: Time) {
        let Some(attempt) = self.attempts.get_mut(key) else { return };
        if let Outcome::Response { .. } | Outcome::RetryAfter { .. } = outcome {
            attempt.begun.get_or_insert(now);
        }
        if let Some(destination) = self.destinations.get_mut(attempt.destination) {
            destination.answered = now;
        }
        let (endpoint, is_test) = (attempt.endpoint, attempt.test);
        match outcome {
            Outcome::Response { status } => self.take_status(key, status, None, now),
            Outcome::RetryAfter { status, wait } => {
                let wait = wait.wait(self.unix_ms(now));
                self.take_status(key, status, Some(wait).filter(|wait| !wait.is_zero()), now);
            }
            Outcome::Failed { kind, processed } => {
                self.counters.requests_failed += 1;
                self.note_trouble(endpoint, trouble::Cause::Failed(kind), now);
                // A test that breaks off answers its question, too: without a pause each further record would be a test.
                if is_test && self.endpoints.get(endpoint).is_some_and(|entry| entry.breaker.is_tested()) {
                    self.endpoint_failed(endpoint, true, &kind, now);
                }
                match processed {
                    Processed::No => self.retry_or_fail(key, &kind, None, now),
                    Processed::Unknown => {
                        self.note_unknown(key);
                        self.count_error(key);
                        self.report_failure(key, &kind, now);
                        self.attempt_failed(key, ack::TEMPORARY, now);
                    }
                }
            }
        }
    }

    /// A complete answer; `wait`: no further record is wanted for so long.
    fn take_status(&mut self, key: Key, status: u16, wait: Option<Duration>, now: Time) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let (endpoint, test) = (attempt.endpoint, attempt.test);
        let Some(destination) = self.destinations.get(attempt.destination) else { return };
        let (success, permanent) = (destination.success.contains(status), destination.permanent.contains(status));
        let cap = destination.retry_after_cap;
        let wait = wait.map(|wait| wait.min(cap)).filter(|wait| !success && !wait.is_zero());
        if success || permanent {
            self.recovered(endpoint, test);
        }
        if self.tap.is_some() {
            self.tap_status(key, status, (success, permanent));
        }
        // Whatever becomes of this record: the URL wants no other one.
        let waits = match (self.endpoints.get_mut(endpoint), wait) {
            (Some(entry), Some(wait)) => entry.breaker.told_to_wait(test && !permanent, now + wait, now),
            (Some(entry), None) if !success && !permanent => {
                entry.breaker.answered(test, now);
                false
            }
            _ => false,
        };
        if success {
            self.counters.responses_success += 1;
            self.count_success(key);
            self.attempt_ended(key, now);
        } else if permanent {
            self.counters.responses_permanent += 1;
            self.count_error(key);
            self.note_trouble(endpoint, trouble::Cause::Status(status), now);
            self.refused_for_good(key, status, now);
        } else {
            self.counters.responses_other += 1;
            self.count_error(key);
            self.note_trouble(endpoint, trouble::Cause::Status(status), now);
            self.report_failure(key, &format_args!("status {status}"), now);
            self.attempt_failed(key, ack::TEMPORARY, now);
        }
        if waits {
            self.begin_wait(endpoint, status, wait.unwrap_or_default(), now);
        }
    }

    /// A URL asked to be left alone: what waits in its queue goes elsewhere, or is answered.
    fn begin_wait(&mut self, endpoint: usize, status: u16, wait: Duration, now: Time) {
        self.counters.waits += 1;
        if let Some(left_out) = self.limited.wait.allow(now) {
            let (name, url) = self.name_of(endpoint);
            tracing::warn!(target: "server",
                "destination {name}, {url}: status {status} with Retry-After: no record is sent there for {}, then one first{}",
                show_duration(wait), more(left_out));
        }
        self.empty_queue(endpoint, &"the URL asked to be left alone (Retry-After)", None, now);
    }

    /// A record was taken: the URL is healthy for every executor, whatever they or probes had found.
    fn recovered(&mut self, endpoint: usize, test: bool) {
        let Some(entry) = self.endpoints.get_mut(endpoint) else { return };
        if entry.breaker.succeeded(test) == Change::Healthy {
            entry.verdict_seen = entry.verdict.set(false);
            let (name, url) = self.name_of(endpoint);
            tracing::info!(target: "server", "destination {name}, {url}: healthy again: it took a record");
        }
    }

    /// Names of a destination and its URL, for the log.
    pub(super) fn name_of(&self, endpoint: usize) -> (&str, &str) {
        let Some(entry) = self.endpoints.get(endpoint) else { return ("", "") };
        let name = self.destinations.get(entry.destination).map_or("", |destination| destination.name.as_str());
        (name, entry.url.as_str())
    }

    /// What the wall clock says at `now`: it was read with the last bytes of a source.
    fn unix_ms(&self, now: Time) -> u64 {
        let since = u64::try_from(now.since(self.clock.monotonic).as_millis()).unwrap_or(u64::MAX);
        self.clock.unix_ms.saturating_add(since)
    }

    /// One line a second about requests that failed.
    pub(super) fn report_failure(&mut self, key: Key, why: &dyn std::fmt::Display, now: Time) {
        if self.tap.is_some() {
            self.tap_error(key, why);
        }
        let Some(left_out) = self.limited.failed.allow(now) else { return };
        let Some(attempt) = self.attempts.get(key) else { return };
        let (name, url) = self.name_of(attempt.endpoint);
        let record = self.describe(attempt.flight);
        tracing::warn!(target: "server",
            "destination {name}, {url}: {why}; {record} answered 11, so the server sends it again{}", more(left_out));
    }

    /// The records of a flight, for a log line.
    pub(super) fn describe(&self, key: Key) -> String {
        self.flights.get(key).map_or_else(|| "record".to_owned(), |flight| self.describe_flight(flight))
    }

    /// The same for one that is not in the table.
    pub(super) fn describe_flight(&self, flight: &Flight) -> String {
        let (name, digest) = (self.names.text(flight.member.name), Hex(&flight.member.digest));
        match flight.len() {
            1 => format!("record {name}{digest}"),
            count => format!("batch of {count} records, the first of them {name}{digest},"),
        }
    }

    /// The destination said that it will never take this (`permanent-status-codes`).
    fn refused_for_good(&mut self, key: Key, status: u16, now: Time) {
        let Some(attempt) = self.attempts.get_mut(key) else { return };
        attempt.refused_for_good = true;
        let (flight_key, endpoint) = (attempt.flight, attempt.endpoint);
        let as_batch = attempt.refuses_batch();
        if let Some(flight) = self.flights.get_mut(flight_key) {
            flight.refused_for_good = true;
            flight.refused_as_batch |= as_batch;
        }
        let is_one = self.flights.get(flight_key).map_or(1, Flight::len) == 1;
        // A line about a batch must not take the place of one about a record.
        let limit = if is_one { &mut self.limited.permanent } else { &mut self.limited.taken_apart };
        if let Some(left_out) = limit.allow(now) {
            let (name, url) = self.name_of(endpoint);
            let record = self.describe(flight_key);
            let others = self.flights.get(flight_key).is_some_and(|flight| flight.pending > 1);
            let then = match (is_one, others) {
                (true, false) => "is answered 10, so the server does not send it again",
                (true, true) => "is answered 10 if no other destination fails, so the server does not send it again",
                (false, _) => "is taken apart: each is sent again on its own",
            };
            tracing::warn!(target: "server",
                "destination {name}, {url}: status {status} is one of permanent-status-codes; {record} {then}{}", more(left_out));
        }
        self.attempt_ended(key, now);
    }

    /// A destination has taken the flight, or will never take it. The last one decides.
    fn attempt_ended(&mut self, key: Key, now: Time) {
        let Some(flight_key) = self.finish_attempt(key) else { return };
        let taken = self.attempts.get(key).is_some_and(|attempt| !attempt.refused_for_good);
        let Some(flight) = self.flights.get_mut(flight_key) else { return };
        flight.taken |= taken;
        flight.pending = flight.pending.saturating_sub(1);
        if flight.pending > 0 {
            if flight.held && !flight.answered {
                self.release_held(flight_key, now);
            }
            return;
        }
        if flight.refused_for_good && !flight.answered {
            if flight.refused_as_batch {
                return self.take_apart(flight_key, now);
            }
            flight.given_up = true;
            self.answer_flight(flight_key, ack::PERMANENT, now);
        } else {
            flight.delivered = !flight.answered;
            self.answer_flight(flight_key, ack::OK, now);
        }
        self.finish_flight(flight_key);
    }

    /// Answers every record of a flight, once.
    pub(super) fn answer_flight(&mut self, key: Key, answer: impl Into<Answer>, now: Time) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if std::mem::replace(&mut flight.answered, true) {
            return;
        }
        self.recorder.pass(now);
        let mut answer = answer.into();
        if flight.taken && answer.code() != ack::TEMPORARY {
            answer = Answer::new(answer.code(), Cause::Taken);
        }
        let member = flight.member;
        self.answer(member.source, member.number, answer);
        let Some(batch) = self.flights.get_mut(key).and_then(|flight| flight.batch.take()) else { return };
        batch.more.iter().for_each(|member| self.answer(member.source, member.number, answer));
        if let Some(flight) = self.flights.get_mut(key) {
            flight.batch = Some(batch);
        }
    }

    /// One destination did not take the record: the source is told at once. Attempts that are held back or queued elsewhere
    /// are dropped, since all destinations will see the record again; those on their way end by themselves.
    pub(super) fn attempt_failed(&mut self, key: Key, code: u8, now: Time) {
        let Some(flight_key) = self.finish_attempt(key) else { return };
        let Some(flight) = self.flights.get_mut(flight_key) else { return };
        flight.pending = flight.pending.saturating_sub(1);
        if !flight.answered {
            self.answer_flight(flight_key, code, now);
            self.drop_waiting(flight_key);
        }
        if self.flights.get(flight_key).is_some_and(|flight| flight.pending == 0) {
            self.finish_flight(flight_key);
        }
    }

    /// Ends those attempts of a flight that no connection has.
    fn drop_waiting(&mut self, flight_key: Key) {
        let mut next = self.flights.get(flight_key).and_then(|flight| flight.first);
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get(key)?))) {
            next = attempt.sibling;
            if matches!(attempt.stage, Stage::Queued | Stage::Held)
                && self.finish_attempt(key).is_some()
                && let Some(flight) = self.flights.get_mut(flight_key)
            {
                flight.pending = flight.pending.saturating_sub(1);
            }
        }
    }

    /// Ends an attempt wherever it stands, and says whose it was; `None` if it was over already.
    pub(super) fn finish_attempt(&mut self, key: Key) -> Option<Key> {
        let attempt = self.attempts.get_mut(key)?;
        let (stage, endpoint, destination, flight) =
            (attempt.stage, attempt.endpoint, attempt.destination, attempt.flight);
        let (sent_at, begun) = (attempt.sent_at, attempt.begun);
        attempt.stage = Stage::Done;
        attempt.body = bytes::Bytes::new();
        let was_test = std::mem::take(&mut attempt.test);
        let entry = self.endpoints.get_mut(endpoint);
        match (stage, entry) {
            (Stage::Done, _) => return None,
            (Stage::Held, Some(entry)) => entry.give_held_place(),
            (Stage::Queued, Some(entry)) => {
                entry.queued.release(1);
                if was_test {
                    entry.breaker.abandoned();
                }
            }
            (Stage::Sent(_), Some(entry)) => {
                entry.in_flight = entry.in_flight.saturating_sub(1);
                if was_test {
                    entry.breaker.abandoned();
                }
            }
            (_, None) => {}
        }
        if let Some(destination) = self.destinations.get_mut(destination) {
            destination.calls.remove(&mut self.attempts, key);
        }
        if let Stage::Sent(_) = stage {
            self.record_request(destination, flight, sent_at, begun);
        }
        if self.tap.is_some() {
            self.tap_ended(key, stage);
        }
        Some(flight)
    }

    /// The record is over: its entries and its place in the budget are free.
    pub(super) fn finish_flight(&mut self, key: Key) {
        self.deadlines.remove(&mut self.flights, key);
        let Some(flight) = self.flights.remove(key) else { return };
        let mut next = flight.first;
        while let Some(attempt) = next.and_then(|key| self.attempts.remove(key)) {
            next = attempt.sibling;
        }
        self.count_duplicates(&flight);
        self.tap_lands(&flight);
        for member in flight.members() {
            self.budget.release_record();
            self.free_slot(member, flight.outcome());
        }
    }

    /// The peer has not acted on the request: once more, on another healthy URL if there is one. `began`: its call began
    /// then, with the connection that it waited for.
    pub(super) fn retry_or_fail(&mut self, key: Key, why: &dyn std::fmt::Display, began: Option<Time>, now: Time) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let (destination, endpoint, stage) = (attempt.destination, attempt.endpoint, attempt.stage);
        let wanted = !attempt.retried && self.is_wanted(attempt.flight);
        let next = if wanted { self.choose_endpoint(destination, Some(endpoint), now) } else { None };
        let (Some(next), Some(entry)) = (next, self.endpoints.get_mut(endpoint)) else {
            self.report_failure(key, why, now);
            self.count_error(key);
            return self.attempt_failed(key, ack::TEMPORARY, now);
        };
        match stage {
            Stage::Queued => entry.queued.release(1),
            Stage::Sent(_) => entry.in_flight = entry.in_flight.saturating_sub(1),
            Stage::Held | Stage::Done => return,
        }
        if let Some(attempt) = self.attempts.get_mut(key) {
            attempt.retried = true;
            if std::mem::take(&mut attempt.test) {
                entry.breaker.abandoned();
            }
        }
        if self.tap.is_some() {
            self.tap_error(key, why);
        }
        if let Stage::Sent(_) = stage {
            self.count_failed_try(key);
        }
        if let Some(began) = began {
            self.begin_call(key, began);
        }
        self.enqueue(key, next, true);
    }

    /// Records that failed to connect or timed out at an endpoint; its queue is emptied when it becomes unhealthy.
    /// `test` if one of them tested whether a closed endpoint is back. `why`: what the last one met.
    pub(super) fn endpoint_failed(&mut self, endpoint: usize, test: bool, why: &dyn std::fmt::Display, now: Time) {
        let Some(entry) = self.endpoints.get_mut(endpoint) else { return };
        if entry.breaker.failed(1, test, now) == Change::Unhealthy {
            let (name, url) = self.name_of(endpoint);
            let threshold = self.threshold_of(endpoint);
            tracing::warn!(target: "server",
                "destination {name}, {url}: unhealthy: {threshold} records in a row could not connect or were not answered in time, the last one: {why}; one record tests it from time to time");
            self.closed(endpoint, now);
        }
    }

    /// An endpoint became unhealthy.
    pub(super) fn closed(&mut self, endpoint: usize, now: Time) {
        self.counters.urls_unhealthy += 1;
        self.empty_queue(endpoint, &"the URL became unhealthy", None, now);
    }

    fn threshold_of(&self, endpoint: usize) -> u32 {
        self.destination_of(endpoint).map_or(0, |destination| destination.health.unhealthy_threshold)
    }

    /// Gives every attempt in the queue its retry elsewhere, or fails it. `began`: see [`Engine::retry_or_fail`].
    pub(super) fn empty_queue(&mut self, endpoint: usize, why: &dyn std::fmt::Display, began: Option<Time>, now: Time) {
        let Some(entry) = self.endpoints.get_mut(endpoint) else { return };
        // Retries may come back to this queue: only what is in it now is looked at.
        let queue = std::mem::take(&mut entry.queue);
        for key in queue {
            if self.attempts.get(key).is_some_and(|attempt| attempt.is_queued_at(endpoint)) {
                self.retry_or_fail(key, why, began, now);
            }
        }
    }

    /// Takes a sent attempt back from its connection; its outcome, if one still comes, is late.
    pub(super) fn cancel(&mut self, key: Key, now: Time) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let Stage::Sent(connection_key) = attempt.stage else { return };
        let sent_at = attempt.sent_at;
        let Some(connection) = self.connections.get_mut(connection_key) else { return };
        connection.exchange.cancel(key.into());
        // No request came to its end since this one went out: the peer may be gone without a word, or hold its windows
        // shut, and every further request on this connection would end in the same way.
        if connection.answered <= sent_at && connection.stage == ConnectionStage::Open {
            self.retire(connection_key);
        }
        self.settle_connection(connection_key, now);
        // HTTP/2 has a reset to write, and a connection that only waited for this request is over now.
        self.wake_connection(connection_key);
    }
}
