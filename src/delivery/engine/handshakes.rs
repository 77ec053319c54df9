//! Connections between TCP and the end of their TLS handshake.
//!
//! Such a connection counts as one that is being opened: it is ready when its exchange is, and one whose handshake fails,
//! ends or takes too long has failed to connect, as if nobody had listened.

use super::super::endpoint::ConnectionStage;
use super::super::table::Key;
use super::super::trouble::Cause;
use super::Engine;
use super::intake::more;
use crate::http::{FailureKind, State};
use crate::time::Time;

impl Engine {
    /// TCP is open and the exchange is not.
    pub(super) fn await_handshake(&mut self, key: Key) {
        self.handshakes.push(key);
        self.wake_connection(key);
    }

    /// After bytes came: whether the exchange is open, so that it may have something to say.
    pub(super) fn is_secured(&mut self, key: Key, now: Time) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        if connection.stage != ConnectionStage::Connecting {
            return true;
        }
        if matches!(connection.exchange.state(), State::Opening | State::Closed) {
            self.wake_connection(key);
            return false;
        }
        self.connection_opened(key, now);
        true
    }

    /// The socket is closed: if the handshake was never done, the connection could not be opened.
    pub(super) fn has_no_handshake(&mut self, key: Key, now: Time) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if connection.stage != ConnectionStage::Connecting {
            return false;
        }
        connection.exchange.end();
        self.budget.recharge(&mut connection.charged, 0);
        let why = connection.exchange.why_closed().unwrap_or("it was closed before it was open").to_owned();
        self.connection_failed(key, &format_args!("TLS: {why}"), now);
        true
    }

    /// A peer that refuses the handshake after it looked done from here (a client certificate, TLS 1.3) is one that cannot
    /// be connected to: it counts as that once for each connection, whatever was sent on it.
    pub(super) fn note_refusal(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get(key) else { return };
        // What a probe's means is the probe's to say.
        let is_new = matches!(connection.stage, ConnectionStage::Open | ConnectionStage::Draining) && !connection.probe;
        if !is_new || !connection.exchange.is_refused_by_tls() {
            return;
        }
        let index = connection.endpoint;
        self.counters.connections_failed += 1;
        let Some(endpoint) = self.endpoints.get_mut(index) else { return };
        endpoint.tally.trouble.note(Cause::Failed(FailureKind::RefusedByTls), now);
        let test = endpoint.breaker.is_tested();
        if let Some(left_out) = self.limited.connect.allow(now) {
            let why = connection.exchange.why_closed().unwrap_or_default();
            tracing::warn!(target: "server", "{}: cannot connect: TLS: {why}{}", endpoint.url, more(left_out));
        }
        self.endpoint_failed(index, test, &FailureKind::RefusedByTls, now);
    }

    /// Handshakes that take longer than a whole call may.
    pub(super) fn expire_handshakes(&mut self, now: Time) {
        let mut waiting = std::mem::take(&mut self.handshakes);
        waiting.retain(|key| {
            let Some(connection) = self.connections.get_mut(*key) else { return false };
            let is_waiting =
                connection.stage == ConnectionStage::Connecting && connection.exchange.state() == State::Opening;
            let call = self.endpoints.get(connection.endpoint).and_then(|it| self.destinations.get(it.destination));
            let Some(call) = call.filter(|_| is_waiting).map(|destination| destination.call_timeout) else {
                return false;
            };
            if connection.began + call > now {
                return true;
            }
            connection.exchange.give_up_handshake("the handshake was not done within call-timeout".to_owned());
            self.wake_connection(*key);
            false
        });
        self.handshakes = waiting;
    }
}
