//! Connections to endpoints: opening, bytes in and out, closing.

use super::super::endpoint::ConnectionStage;
use super::super::table::Key;
use super::Engine;
use super::intake::more;
use crate::http::State;
use crate::time::Time;

/// Gathered output above this is charged to the budget.
const FREE_OUTPUT: usize = 64 * 1024;

impl Engine {
    /// The connection is open.
    pub fn connection_opened(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage != ConnectionStage::Connecting {
            return;
        }
        connection.stage = ConnectionStage::Open;
        connection.opened = Some(now);
        connection.heard = now;
        if let Some(endpoint) = self.endpoints.get_mut(connection.endpoint) {
            endpoint.leave(ConnectionStage::Connecting);
            endpoint.open += 1;
        }
        self.counters.connections_opened += 1;
        self.wake_connection(key);
        self.offer(key);
        self.pump_touched(now);
    }

    /// The connection could not be opened.
    pub fn connection_failed(&mut self, key: Key, why: &dyn std::fmt::Display, now: Time) {
        let Some(connection) = self.connections.remove(key) else { return };
        let index = connection.endpoint;
        let Some(endpoint) = self.endpoints.get_mut(index) else { return };
        endpoint.leave(ConnectionStage::Connecting);
        self.counters.connections_failed += 1;
        if let Some(left_out) = self.limited.connect.allow(now) {
            tracing::warn!(target: "server", "{}: cannot connect: {why}{}", endpoint.url, more(left_out));
        }
        let alone = endpoint.open == 0 && endpoint.connecting == 0;
        let test = endpoint.breaker.is_tested();
        self.endpoint_failed(index, test, now);
        if alone {
            self.empty_queue(index, why, now);
        }
        self.go_on(now);
    }

    /// The connection's socket gave `bytes`.
    pub fn connection_receive(&mut self, key: Key, bytes: &[u8], now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.heard = now;
        connection.exchange.receive(bytes);
        self.after_exchange(key, now);
    }

    /// The peer closed the connection, or the socket failed.
    pub fn connection_ended(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.exchange.end();
        self.after_exchange(key, now);
    }

    /// The connection's socket was reset, or failed in another way than by its orderly end.
    pub fn connection_broken(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.exchange.cut();
        self.after_exchange(key, now);
    }

    /// Appends what is to be written next.
    pub fn connection_output(&mut self, key: Key, out: &mut Vec<u8>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
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
        })
    }

    /// The connection's socket is closed.
    pub fn connection_closed(&mut self, key: Key, now: Time) {
        self.connection_ended(key, now);
        if let Some(mut connection) = self.connections.remove(key) {
            self.budget.recharge(&mut connection.charged, 0);
            if let Some(endpoint) = self.endpoints.get_mut(connection.endpoint) {
                endpoint.leave(connection.stage);
            }
            self.touch(connection.endpoint);
        }
        self.pump_touched(now);
    }

    /// After anything that may have changed an exchange: outcomes, state, room.
    fn after_exchange(&mut self, key: Key, now: Time) {
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
            (State::Open, _) | (_, ConnectionStage::Closed | ConnectionStage::Connecting) => {}
            (State::Draining, stage) => {
                let turned_down = stage == ConnectionStage::Open && connection.exchange.is_unwelcome();
                let index = connection.endpoint;
                self.retire(key);
                if turned_down {
                    self.endpoint_failed(index, false, now);
                }
            }
            (State::Closed, stage) => {
                connection.stage = ConnectionStage::Closed;
                let turned_down = stage == ConnectionStage::Open && connection.exchange.is_unwelcome();
                let index = connection.endpoint;
                if let Some(why) = connection.exchange.why_closed()
                    && let Some(left_out) = self.limited.connect.allow(now)
                {
                    let url = self.endpoints.get(index).map_or("", |endpoint| endpoint.url.as_str());
                    tracing::info!(target: "server", "{url}: connection closed: {why}{}", more(left_out));
                }
                if let Some(endpoint) = self.endpoints.get_mut(index) {
                    endpoint.leave(stage);
                    endpoint.ready.retain(|ready| *ready != key);
                }
                self.take_outcomes(key, now);
                self.wake_connection(key);
                self.touch(index);
                if turned_down {
                    self.endpoint_failed(index, false, now);
                }
            }
        }
    }

    /// Outcomes that came up while output was taken.
    pub(super) fn take_spoken(&mut self, now: Time) {
        while let Some(key) = self.spoken.pop() {
            self.take_outcomes(key, now);
            self.settle_connection(key, now);
        }
    }

    /// The connection gets no further requests.
    pub(super) fn retire(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage != ConnectionStage::Open {
            return;
        }
        connection.stage = ConnectionStage::Draining;
        connection.in_ready = false;
        let index = connection.endpoint;
        if let Some(endpoint) = self.endpoints.get_mut(index) {
            endpoint.leave(ConnectionStage::Open);
            endpoint.draining += 1;
            endpoint.ready.retain(|ready| *ready != key);
        }
        self.wake_connection(key);
        self.touch(index);
    }
}
