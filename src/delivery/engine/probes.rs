//! Probes: requests without a record that ask whether a URL is there, and what their verdict does.
//!
//! A probe has a connection of its own, which counts among none of the endpoint's and is closed after the answer: it asks
//! whether a new connection can be had, and takes no stream or place from a record. One at a time for each URL, on the one
//! executor that probes it.

use std::fmt::Display;

use super::super::breaker::Change;
use super::super::endpoint::{Connection, ConnectionStage};
use super::super::health::{Finding, is_unhealthy};
use super::super::table::Key;
use super::dispatch::new_exchange;
use super::{Connect, Engine};
use crate::http::{Outcome, Request, State, Ticket};
use crate::time::Time;

/// A probe's exchange has one request: any name does.
const TICKET: Ticket = Ticket { slot: 0, generation: 0 };

impl Engine {
    /// Takes over what was found out elsewhere, and sends the probes that are due.
    pub(super) fn check_health(&mut self, now: Time) {
        for index in 0..self.endpoints.len() {
            self.take_verdict(index, now);
            self.probe(index, now);
        }
    }

    /// What the executor that probes this URL, or a record on another one, found out.
    fn take_verdict(&mut self, index: usize, now: Time) {
        let Some(entry) = self.endpoints.get_mut(index) else { return };
        let word = entry.verdict.get();
        if word == entry.verdict_seen {
            return;
        }
        entry.verdict_seen = word;
        if !is_unhealthy(word) {
            entry.breaker.open();
        } else if entry.breaker.close(now) == Change::Unhealthy {
            self.closed(index, now);
        }
    }

    fn probe(&mut self, index: usize, now: Time) {
        let is_draining = self.drain_until.is_some();
        let Some(probing) = self.endpoints.get_mut(index).and_then(|entry| entry.probing.as_mut()) else { return };
        if let Some(key) = probing.connection {
            if probing.expires.is_some_and(|expires| expires <= now) {
                self.probe_ended(index, &Err(&"no answer within health-check.call-timeout"), now);
                self.close_probe(key);
            }
        } else if !is_draining && probing.probes.is_due(now) {
            self.open_probe(index, now);
        }
    }

    fn open_probe(&mut self, index: usize, now: Time) {
        let Some(entry) = self.endpoints.get_mut(index) else { return };
        let Some(destination) = self.destinations.get(entry.destination) else { return };
        let Some(probing) = &mut entry.probing else { return };
        let mut connection = Connection::new(index, new_exchange(destination, &probing.target, usize::MAX), now);
        connection.probe = true;
        let Some(key) = self.connections.insert(connection) else { return };
        let timeout = probing.probes.call_timeout();
        probing.connection = Some(key);
        probing.expires = Some(now + timeout);
        self.connects.push(Connect {
            connection: key,
            endpoint: index,
            timeout: destination.connect_timeout.min(timeout),
        });
    }

    /// Goes on with a probe after anything that may have changed its exchange.
    pub(super) fn drive_probe(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage != ConnectionStage::Open {
            return;
        }
        let index = connection.endpoint;
        let exchange = &mut connection.exchange;
        let outcome = exchange.next_outcome().map(|(_, outcome)| outcome);
        let (is_over, is_asked) = (exchange.state() == State::Closed, exchange.in_flight() > 0);
        // A call that has to wait for its connection is asked as soon as that takes requests.
        if outcome.is_none() && !is_over && !is_asked && exchange.capacity() > 0 {
            let _ = exchange.submit(TICKET, Request::empty());
        }
        let why = exchange.why_closed().unwrap_or("the peer closed the connection").to_owned();
        match outcome {
            Some(Outcome::Response { status } | Outcome::RetryAfter { status, .. }) => {
                self.probe_ended(index, &Ok(status), now);
                self.close_probe(key);
            }
            Some(Outcome::Failed { kind, .. }) => {
                self.probe_ended(index, &Err(&kind), now);
                self.close_probe(key);
            }
            None if is_over => {
                self.probe_ended(index, &Err(&why), now);
                self.close_probe(key);
            }
            None => self.wake_connection(key),
        }
        self.go_on(now);
    }

    fn close_probe(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.stage = ConnectionStage::Closed;
        }
        self.wake_connection(key);
    }

    /// The connection of a probe is gone: there may be a next one.
    pub(super) fn forget_probe(&mut self, index: usize, now: Time) {
        if let Some(probing) = self.endpoints.get_mut(index).and_then(|entry| entry.probing.as_mut()) {
            probing.connection = None;
        }
        self.go_on(now);
    }

    /// A probe was answered with a status, or was not. Only the first end of each counts.
    pub(super) fn probe_ended(&mut self, index: usize, end: &Result<u16, &dyn Display>, now: Time) {
        let Some(entry) = self.endpoints.get_mut(index) else { return };
        let Some(destination) = self.destinations.get(entry.destination) else { return };
        let Some(probing) = &mut entry.probing else { return };
        if probing.expires.take().is_none() {
            return;
        }
        let passed = end.is_ok_and(|status| destination.health.passes(status));
        let finding = probing.probes.ended(passed, entry.verdict.get());
        if passed {
            self.counters.probes_passed += 1;
            entry.tally.probes_passed += 1;
        } else {
            self.counters.probes_failed += 1;
            entry.tally.probes_failed += 1;
            entry.tally.trouble.note_text(&format_args!("probe: {}", Shown(end)), now);
        }
        tracing::debug!(target: "server", "destination {}, {}: probe {}", destination.name, entry.url, Shown(end));
        match finding {
            Finding::Nothing => {}
            Finding::Healthy => {
                tracing::info!(target: "server", "destination {}, {}: healthy again: {} probes in a row passed",
                    destination.name, entry.url, destination.health.healthy_threshold);
                entry.verdict_seen = entry.verdict.set(false);
                probing.probes.declared(entry.verdict_seen);
                entry.breaker.open();
            }
            Finding::Unhealthy => {
                tracing::warn!(target: "server",
                    "destination {}, {}: unhealthy: {} probes in a row failed, the last one: {}; one record tests it from time to time",
                    destination.name, entry.url, probing.probes.needed(), Shown(end));
                entry.verdict_seen = entry.verdict.set(true);
                probing.probes.declared(entry.verdict_seen);
                if entry.breaker.close(now) == Change::Unhealthy {
                    self.closed(index, now);
                }
            }
        }
    }
}

/// The end of a probe in words.
struct Shown<'a>(&'a Result<u16, &'a dyn Display>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Ok(status) => write!(f, "status {status}"),
            Err(why) => write!(f, "{why}"),
        }
    }
}
