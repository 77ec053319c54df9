//! Connections to endpoints: opening, bytes in and out, closing.

use super::super::endpoint::ConnectionStage;
use super::super::flight::Stage;
use super::super::table::Key;
use super::super::trouble::Cause;
use super::Engine;
use super::intake::more;
use crate::http::State;
use crate::time::Time;

/// Gathered output above this is charged to the budget.
const FREE_OUTPUT: usize = 64 * 1024;

/// Why a URL counts a failure although its connection could be opened.
const MUTE: &str = "it closed a connection without a word";
const TURNED_DOWN: &str = "it turned the connection down";

impl Engine {
    /// The connection is open.
    pub fn connection_opened(&mut self, key: Key, now: Time) {
        self.recorder.pass(now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage != ConnectionStage::Connecting {
            return;
        }
        if matches!(connection.exchange.state(), State::Opening | State::Closed) {
            return self.await_handshake(key);
        }
        if connection.probe {
            connection.stage = ConnectionStage::Open;
            connection.opened = Some(now);
            connection.heard = now;
            return self.drive_probe(key, now);
        }
        let has_place = std::mem::take(&mut connection.has_place);
        if let Some(endpoint) = self.endpoints.get_mut(connection.endpoint) {
            endpoint.leave(connection);
            endpoint.open += 1;
        }
        connection.has_place = has_place;
        connection.stage = ConnectionStage::Open;
        connection.opened = Some(now);
        connection.heard = now;
        let replaces = connection.replaces.take();
        self.counters.connections_opened += 1;
        self.start_life(key, now);
        if let Some(old) = replaces {
            self.take_over(key, old);
        }
        self.wake_connection(key);
        self.offer(key);
        self.pump_touched(now);
    }

    /// The connection could not be opened.
    pub fn connection_failed(&mut self, key: Key, why: &dyn std::fmt::Display, now: Time) {
        self.recorder.pass(now);
        let Some(mut connection) = self.connections.remove(key) else { return };
        let index = connection.endpoint;
        if connection.probe {
            self.probe_ended(index, &Err(why), now);
            return self.forget_probe(index, now);
        }
        let Some(endpoint) = self.endpoints.get_mut(index) else { return };
        endpoint.leave(&mut connection);
        self.counters.connections_failed += 1;
        endpoint.tally.trouble.note_text(&format_args!("cannot connect: {why}"), now);
        if let Some(left_out) = self.limited.connect.allow(now) {
            tracing::warn!(target: "server", "{}: cannot connect: {why}{}", endpoint.url, more(left_out));
        }
        if let Some(old) = connection.replaces {
            // The old one serves on: nothing has failed for a record.
            self.keep_old(old, now);
            return self.go_on(now);
        }
        let alone = endpoint.open == 0 && endpoint.connecting == 0;
        let test = endpoint.breaker.is_tested();
        self.endpoint_failed(index, test, why, now);
        if alone {
            self.empty_queue(index, why, Some(connection.began), now);
        }
        self.go_on(now);
    }

    /// The connection's socket gave `bytes`.
    pub fn connection_receive(&mut self, key: Key, bytes: &[u8], now: Time) {
        self.recorder.pass(now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.spoke = true;
        connection.heard = now;
        connection.pinged = None;
        connection.exchange.receive(bytes);
        self.take_begun(key, now);
        if self.is_secured(key, now) {
            self.note_refusal(key, now);
            self.after_exchange(key, now);
        }
    }

    /// Requests whose response has begun and is not complete.
    fn take_begun(&mut self, key: Key, now: Time) {
        while let Some(ticket) = self.connections.get_mut(key).and_then(|entry| entry.exchange.next_begun()) {
            let attempt = self.attempts.get_mut(ticket.into());
            if let Some(attempt) = attempt.filter(|attempt| attempt.stage == Stage::Sent(key)) {
                attempt.begun.get_or_insert(now);
            }
        }
    }

    /// The peer closed the connection, or the socket failed.
    pub fn connection_ended(&mut self, key: Key, now: Time) {
        self.recorder.pass(now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_mute = connection.is_mute();
        connection.exchange.end();
        self.note_mute(key, is_mute, now);
        self.after_exchange(key, now);
    }

    /// The connection's socket was reset, or failed in another way than by its orderly end.
    pub fn connection_broken(&mut self, key: Key, now: Time) {
        self.recorder.pass(now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_mute = connection.is_mute();
        connection.exchange.cut();
        self.note_mute(key, is_mute, now);
        self.after_exchange(key, now);
    }

    /// A connection that had requests ended without a word from its peer. That says as much about the URL as one that
    /// cannot be opened: a balancer without a server behind it accepts, and closes at once. Without this each record would
    /// open a connection of its own, as fast as they come.
    fn note_mute(&mut self, key: Key, is_mute: bool, now: Time) {
        let Some(connection) = self.connections.get(key).filter(|_| is_mute) else { return };
        let index = connection.endpoint;
        let test = self.endpoints.get(index).is_some_and(|endpoint| endpoint.breaker.is_tested());
        self.note_trouble(index, Cause::Words(MUTE), now);
        self.endpoint_failed(index, test, &MUTE, now);
    }

    /// Appends what is to be written next.
    pub fn connection_output(&mut self, key: Key, out: &mut Vec<u8>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage == ConnectionStage::Draining && connection.exchange.in_flight() == 0 {
            connection.exchange.say_farewell();
        }
        connection.exchange.transmit(out);
        if connection.exchange.has_outcome() {
            self.spoken.push(key);
        }
        let held = out.capacity().saturating_sub(FREE_OUTPUT) as u64;
        self.budget.recharge(&mut connection.charged, held);
    }

    /// Whether the connection is over, so that its socket is to be closed once its output is written.
    pub fn connection_is_over(&self, key: Key) -> bool {
        self.connections.get(key).is_none_or(|connection| {
            connection.stage == ConnectionStage::Closed
                || connection.stage == ConnectionStage::Draining && connection.exchange.in_flight() == 0
                || connection.stage == ConnectionStage::Connecting && connection.exchange.state() == State::Closed
        })
    }

    /// The connection's socket is closed.
    pub fn connection_closed(&mut self, key: Key, now: Time) {
        if self.has_no_handshake(key, now) {
            return;
        }
        self.connection_ended(key, now);
        if let Some(mut connection) = self.connections.remove(key) {
            self.budget.recharge(&mut connection.charged, 0);
            if connection.probe {
                return self.forget_probe(connection.endpoint, now);
            }
            if let Some(endpoint) = self.endpoints.get_mut(connection.endpoint) {
                endpoint.leave(&mut connection);
            }
            self.touch(connection.endpoint);
        }
        self.pump_touched(now);
    }

    /// After anything that may have changed an exchange: outcomes, state, room.
    pub(super) fn after_exchange(&mut self, key: Key, now: Time) {
        if self.connections.get(key).is_some_and(|connection| connection.probe) {
            return self.drive_probe(key, now);
        }
        self.take_outcomes(key, now);
        self.settle_connection(key, now);
        // The library may have something to say of its own: settings, window updates, pings.
        self.wake_connection(key);
        self.go_on(now);
    }

    /// Takes over what the exchange says about itself.
    pub(super) fn settle_connection(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match (connection.exchange.state(), connection.stage) {
            (State::Open, ConnectionStage::Open) => self.offer(key),
            (State::Open | State::Opening, _) | (_, ConnectionStage::Closed | ConnectionStage::Connecting) => {}
            (State::Draining, stage) => {
                let turned_down = stage == ConnectionStage::Open && connection.exchange.is_unwelcome();
                let index = connection.endpoint;
                self.learn(key);
                self.retire(key);
                if turned_down {
                    self.note_trouble(index, Cause::Words(TURNED_DOWN), now);
                    self.endpoint_failed(index, false, &TURNED_DOWN, now);
                }
            }
            (State::Closed, stage) => {
                let turned_down = stage == ConnectionStage::Open && connection.exchange.is_unwelcome();
                self.learn(key);
                let Some(connection) = self.connections.get_mut(key) else { return };
                let index = connection.endpoint;
                if let Some(endpoint) = self.endpoints.get_mut(index) {
                    endpoint.leave(connection);
                    endpoint.ready.retain(|ready| *ready != key);
                }
                connection.stage = ConnectionStage::Closed;
                if let Some(why) = connection.exchange.why_closed()
                    && let Some(left_out) = self.limited.connect.allow(now)
                {
                    let url = self.endpoints.get(index).map_or("", |endpoint| endpoint.url.as_str());
                    tracing::info!(target: "server", "{url}: connection closed: {why}{}", more(left_out));
                }
                self.take_outcomes(key, now);
                self.wake_connection(key);
                self.touch(index);
                if turned_down {
                    self.note_trouble(index, Cause::Words(TURNED_DOWN), now);
                    self.endpoint_failed(index, false, &TURNED_DOWN, now);
                }
            }
        }
    }

    /// A peer that ends its connections after some requests does so with the next one, too: what is sent beyond them
    /// would have to be sent again, and a second time it is not.
    fn learn(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.stage == ConnectionStage::Open
            && let Some(taken) = connection.exchange.taken()
            && let Some(endpoint) = self.endpoints.get_mut(connection.endpoint)
        {
            let [_, before] = endpoint.taken;
            endpoint.taken = [before, taken.max(1)];
        }
    }

    /// Outcomes that came up while output was taken.
    pub(super) fn take_spoken(&mut self, now: Time) {
        while let Some(key) = self.spoken.pop() {
            if self.connections.get(key).is_some_and(|connection| connection.probe) {
                self.drive_probe(key, now);
                continue;
            }
            self.take_outcomes(key, now);
            self.settle_connection(key, now);
        }
    }

    /// The connection gets no further requests.
    pub(super) fn retire(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_pooled() {
            return;
        }
        let index = connection.endpoint;
        if let Some(endpoint) = self.endpoints.get_mut(index) {
            endpoint.leave(connection);
            endpoint.draining += 1;
            endpoint.ready.retain(|ready| *ready != key);
        }
        connection.stage = ConnectionStage::Draining;
        connection.in_ready = false;
        self.wake_connection(key);
        self.touch(index);
    }
}
