//! From an endpoint's queue to a connection.

use std::rc::Rc;
use std::time::Duration;

use super::super::endpoint::{Connection, ConnectionStage, Destination, Endpoint};
use super::super::flight::{Origin, Stage};
use super::super::table::Key;
use super::{Connect, Engine};
use crate::config::model::Protocol;
use crate::http::{self, Exchange, ExchangeLimits, Target};
use crate::policy::table::ProfileId;
use crate::time::Time;
use crate::tls::session::Session;
use crate::wire::ack;

/// HTTP/1.1 connections of one endpoint that are opened at the same time, so that a burst is no storm of SYNs.
const CONNECTING_AT_ONCE: usize = 16;

/// A destination that some records do not go to, and that has not answered anything for so long, may have half of what can
/// be in flight, no more. If it hangs, those other records would have to wait until its calls time out.
const SILENCE: Duration = Duration::from_millis(250);

/// Entries of a queue that may be dead, if they are not more than half of it.
const DEAD_ENTRIES: usize = 1024;

/// The share, in percent, of what can be in flight from which on [`SILENCE`] matters.
const SILENT_SHARE_PERCENT: u64 = 50;

/// Why a record cannot be sent. Made for each of them while a destination is down, so it is put in words only for the
/// lines that are written.
pub(super) struct NoWay {
    pub(super) destination: usize,
    why: Why,
}

impl NoWay {
    /// No URL of this destination is healthy.
    pub(super) fn unhealthy(destination: usize) -> NoWay {
        NoWay { destination, why: Why::Unhealthy }
    }
}

#[derive(PartialEq, Eq)]
enum Why {
    /// No URL is healthy, or due for a test.
    Unhealthy,
    /// A URL that is healthy asked to be left alone.
    Waiting,
    /// A URL is healthy, and its queue is full.
    Full,
    /// It answers nothing, and has enough of the room of all.
    Silent,
}

impl Engine {
    /// Puts a [`NoWay`] in words.
    pub(super) fn explain(&self, why: &NoWay) -> String {
        let destination = why.destination;
        let name = self.destinations.get(destination).map_or("", |destination| destination.name.as_str());
        let trouble = if why.why == Why::Unhealthy { self.last_trouble(destination) } else { None };
        let why = match why.why {
            Why::Unhealthy => "no healthy URL",
            Why::Waiting => "it asked to be left alone (Retry-After)",
            Why::Full => "max-request-queued-per-endpoint records wait already",
            Why::Silent => "it answers nothing, and has half of the records that may be in flight",
        };
        match trouble {
            Some((url, text)) => format!("destination {name}: {why}; {url} last: {text}"),
            None => format!("destination {name}: {why}"),
        }
    }

    /// What a destination's URLs did wrong last, and which one.
    fn last_trouble(&self, destination: usize) -> Option<(&str, String)> {
        let endpoints =
            self.destinations.get(destination)?.endpoints.iter().filter_map(|index| self.endpoints.get(*index));
        let troubles = endpoints.filter_map(|endpoint| {
            let mut shown = None;
            endpoint.tally.trouble.show(&mut shown);
            shown.map(|(at, text)| (at, endpoint.url.as_str(), text))
        });
        troubles.max_by_key(|(at, ..)| *at).map(|(_, url, text)| (url, text))
    }

    /// Why a record cannot be sent, as [`Engine::no_way`], after what was queued so far in this turn had its chance of a
    /// free stream: only what has to wait counts against the limit of a queue.
    ///
    /// `source`: a record of it, which may have no more than its share of a queue.
    pub(super) fn find_no_way(&mut self, profile: ProfileId, source: Option<Origin>, now: Time) -> Option<NoWay> {
        let source = source.filter(|_| self.has_others());
        let no_way = self.no_way(profile, source, now)?;
        if no_way.why != Why::Full {
            return Some(no_way);
        }
        self.seal_chunk();
        self.pump_touched(now);
        let again = self.no_way(profile, source, now)?;
        if again.why != Why::Full {
            return Some(again);
        }
        // A source's part is counted with what is dead of it.
        for index in 0..self.endpoints.len() {
            let entry = self.endpoints.get(index).filter(|entry| entry.destination == again.destination);
            if let Some(spare) = entry.map(|entry| entry.queue.len() / 4) {
                self.drop_all_dead(index, spare);
            }
        }
        self.no_way(profile, source, now)
    }

    /// Drops what is dead in an endpoint's queue, if that is more than `spare`.
    fn drop_all_dead(&mut self, index: usize, spare: usize) {
        let attempts = &self.attempts;
        if let Some(entry) = self.endpoints.get_mut(index) {
            entry.drop_all_dead(spare, |key| attempts.get(key).is_some_and(|attempt| attempt.is_queued_at(index)));
        }
    }

    /// Why a record cannot be sent: each of its destinations needs a usable URL with room, or none sees it. A dead one
    /// would make the healthy ones see the record again on each of the source's laps.
    fn no_way(&mut self, profile: ProfileId, source: Option<Origin>, now: Time) -> Option<NoWay> {
        let mut position = 0;
        while let Some(&index) = self.policy.destinations(profile).get(position) {
            position += 1;
            let why = match self.why_not(index, source, now) {
                None if self.is_silent(index, now) => Some(Why::Silent),
                why => why,
            };
            if let Some(why) = why {
                return Some(NoWay { destination: index, why });
            }
        }
        None
    }

    /// Why no URL of a destination can take a record.
    fn why_not(&mut self, destination: usize, source: Option<Origin>, now: Time) -> Option<Why> {
        let mut why = Why::Unhealthy;
        for index in &self.destinations.get(destination)?.endpoints {
            let Some(endpoint) = self.endpoints.get_mut(*index) else { continue };
            if !endpoint.breaker.admits(now) {
                if endpoint.breaker.is_waiting() && why == Why::Unhealthy {
                    why = Why::Waiting;
                }
            } else if endpoint.has_room_for(source) {
                return None;
            } else {
                why = Why::Full;
            }
        }
        Some(why)
    }

    /// The destination at `position` of a route had no way for a record just now: why.
    pub(super) fn no_way_at(&mut self, profile: ProfileId, position: usize, now: Time) -> NoWay {
        let destination = self.policy.destinations(profile).get(position).copied().unwrap_or_default();
        NoWay { destination, why: self.why_not(destination, None, now).unwrap_or(Why::Full) }
    }

    /// Whether a destination that has answered nothing for a while holds most of what is in flight, and that is much of what
    /// can be.
    fn is_silent(&mut self, index: usize, now: Time) -> bool {
        let Some(destination) = self.destinations.get(index) else { return false };
        if !destination.apart || destination.answered + SILENCE > now {
            return false;
        }
        let endpoints = destination.endpoints.iter().filter_map(|index| self.endpoints.get(*index));
        let load: u64 = endpoints.map(Endpoint::load).sum();
        load > 0 && load.saturating_mul(2) >= self.budget.used_records() && !self.budget.is_below(SILENT_SHARE_PERCENT)
    }

    /// The destination at `position` of the route, and its endpoint with the fewest requests among the usable ones;
    /// ties in turn.
    pub(super) fn choose(&mut self, profile: ProfileId, position: usize, now: Time) -> Option<(usize, usize)> {
        let destination = *self.policy.destinations(profile).get(position)?;
        self.choose_endpoint(destination, None, now).map(|endpoint| (destination, endpoint))
    }

    /// As [`Engine::choose`]; for a retry, preferring one that is healthy to a test, and another one than `avoid`.
    pub(super) fn choose_endpoint(&mut self, destination: usize, avoid: Option<usize>, now: Time) -> Option<usize> {
        let entry = self.destinations.get_mut(destination)?;
        let count = entry.endpoints.len();
        let first = entry.turn;
        entry.turn = if first + 1 < count { first + 1 } else { 0 };
        let mut best: Option<((bool, bool, u64), usize)> = None;
        for step in 0..count {
            let place = if first + step < count { first + step } else { first + step - count };
            let index = *entry.endpoints.get(place)?;
            let Some(endpoint) = self.endpoints.get_mut(index) else { continue };
            if !endpoint.breaker.admits(now) || !endpoint.queued.has_room(1) {
                continue;
            }
            let is_test = avoid.is_some() && endpoint.breaker.is_closed();
            let rank = (is_test, avoid == Some(index), endpoint.load());
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// Puts an attempt in an endpoint's queue, where it has a place if it was held back; a retry goes to the front, since it is older than what waits there.
    pub(super) fn enqueue(&mut self, key: Key, endpoint: usize, retry: bool) {
        let (Some(attempt), Some(entry)) = (self.attempts.get_mut(key), self.endpoints.get_mut(endpoint)) else {
            return;
        };
        if attempt.stage == Stage::Held {
            // It has its place.
            entry.held = entry.held.saturating_sub(1);
        } else {
            entry.queued.charge(1);
        }
        attempt.endpoint = endpoint;
        attempt.stage = Stage::Queued;
        attempt.test = entry.breaker.sent();
        if retry {
            entry.queue.push_front(key);
        } else {
            let source = self.flights.get(attempt.flight).map(|flight| flight.member.source);
            match source {
                Some(source) => entry.queue.push_back(source, key),
                None => entry.queue.push_front(key),
            }
        }
        // Where another destination refuses what this one is slow to take, dead entries gather.
        let spare = (entry.queue.len() / 2).max(DEAD_ENTRIES);
        self.drop_all_dead(endpoint, spare);
        self.touch(endpoint);
    }

    /// Sends what can be sent on every endpoint that something changed at.
    pub(super) fn pump_touched(&mut self, now: Time) {
        while let Some(endpoint) = self.touched.pop() {
            if let Some(entry) = self.endpoints.get_mut(endpoint) {
                entry.touched = false;
            }
            self.pump(endpoint, now);
        }
    }

    fn pump(&mut self, endpoint: usize, now: Time) {
        while let Some(connection) = self.ready_connection(endpoint) {
            let Some(entry) = self.endpoints.get_mut(endpoint) else { return };
            // Answers come together: so many records of one source at a time have their acks in one write.
            let turn = entry.in_flight.max(1);
            let Some(attempt) = entry.queue.pop_front(turn) else { break };
            self.send(attempt, connection, now);
        }
        self.open_connections(endpoint, now);
    }

    /// A connection of the endpoint with room for a request. Those without leave the ready list.
    fn ready_connection(&mut self, endpoint: usize) -> Option<Key> {
        let entry = self.endpoints.get_mut(endpoint)?;
        while let Some(&key) = entry.ready.last() {
            match self.connections.get_mut(key) {
                Some(connection) if connection.exchange.capacity() > 0 => return Some(key),
                Some(connection) => connection.in_ready = false,
                None => {}
            }
            entry.ready.pop();
        }
        None
    }

    /// Gives a queued attempt to a connection, unless it is over or nobody waits for it any more.
    fn send(&mut self, key: Key, connection_key: Key, now: Time) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let flight_key = attempt.flight;
        if !self.is_wanted(flight_key) {
            self.counters.orphaned += self.flights.get(flight_key).map_or(0, |flight| flight.len() as u64);
            return self.attempt_failed(key, ack::TEMPORARY, now);
        }
        if self.flights.get(flight_key).is_some_and(|flight| flight.cold) {
            return self.wait_for_others(flight_key, key, now);
        }
        let is_batch = self.flights.get(flight_key).is_some_and(|flight| flight.batch.is_some());
        if is_batch {
            self.prune_queued(flight_key);
        }
        let (Some(attempt), Some(connection)) = (self.attempts.get_mut(key), self.connections.get_mut(connection_key))
        else {
            return;
        };
        let Some(endpoint) = self.endpoints.get_mut(attempt.endpoint) else { return };
        endpoint.queued.release(1);
        if connection.exchange.submit(key.into(), attempt.request()).is_err() {
            // It said that it had room: then it is over by now, and its end brings the endpoint back here.
            endpoint.queued.charge(1);
            endpoint.queue.push_front(key);
            connection.in_ready = false;
            endpoint.ready.retain(|ready| *ready != connection_key);
            // Nothing may ever be heard of it again: without this it would keep its place among the connections.
            return self.settle_connection(connection_key, now);
        }
        attempt.stage = Stage::Sent(connection_key);
        attempt.sent_at = now;
        attempt.begun = None;
        endpoint.in_flight += 1;
        self.counters.requests += 1;
        self.counters.retries += u64::from(std::mem::replace(&mut attempt.was_sent, true));
        if self.tap.is_some() {
            self.tap_sent(key);
        }
        self.wake_connection(connection_key);
        self.start_call(key, connection_key, now);
        self.doubt_idle(connection_key, now);
    }

    /// Whether anybody still waits for the outcome.
    pub(super) fn is_wanted(&self, flight: Key) -> bool {
        self.flights.get(flight).is_some_and(|flight| {
            !flight.answered && flight.members().any(|member| self.source_takes_answers(member.source))
        })
    }

    /// Starts the call's clock, unless a first try started it. A call that had to wait for its connection to be
    /// opened began with that.
    fn start_call(&mut self, key: Key, connection: Key, now: Time) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let arrived = self.flights.get(attempt.flight).map_or(now, |flight| flight.since);
        let began = self.connections.get(connection).map_or(now, |connection| connection.call_began(arrived, now));
        self.begin_call(key, began);
    }

    /// Starts the call's clock at `began`, unless it runs.
    pub(super) fn begin_call(&mut self, key: Key, began: Time) {
        let Some(attempt) = self.attempts.get_mut(key) else { return };
        if attempt.links.is_linked() {
            return;
        }
        if let Some(destination) = self.destinations.get_mut(attempt.destination) {
            let expires = began + destination.call_timeout;
            destination.calls.add(&mut self.attempts, key, expires);
        }
    }

    /// Asks I/O for connections if more are useful than there are.
    fn open_connections(&mut self, endpoint: usize, now: Time) {
        let Some(entry) = self.endpoints.get_mut(endpoint) else { return };
        let Some(destination) = self.destinations.get(entry.destination) else { return };
        // One HTTP/2 connection at a time: its peer's stream limit is unknown until it is open.
        let (streams, at_once) = match destination.protocol {
            Protocol::Http1 => (1, CONNECTING_AT_ONCE),
            Protocol::Http2 => (destination.streams, 1),
        };
        let useful = entry.useful(streams).min(at_once.saturating_sub(entry.connecting));
        for _ in 0..useful {
            if !entry.take_place() {
                return;
            }
            let exchange = new_exchange(destination, &entry.target, entry.first_requests());
            let connection = Connection { has_place: true, ..Connection::new(endpoint, exchange, now) };
            let Some(key) = self.connections.insert(connection) else { return entry.places.give() };
            entry.connecting += 1;
            self.connects.push(Connect { connection: key, endpoint, timeout: destination.connect_timeout });
        }
    }

    /// Asks I/O for a connection in place of one that is too old. That one takes requests until the new one is open.
    pub(super) fn replace(&mut self, old: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(old) else { return };
        let endpoint = connection.endpoint;
        let Some(entry) = self.endpoints.get_mut(endpoint) else { return };
        let Some(destination) = self.destinations.get(entry.destination) else { return };
        connection.is_replaced = true;
        let exchange = new_exchange(destination, &entry.target, entry.first_requests());
        let new = Connection { replaces: Some(old), ..Connection::new(endpoint, exchange, now) };
        let Some(key) = self.connections.insert(new) else { return };
        entry.replacing += 1;
        self.connects.push(Connect { connection: key, endpoint, timeout: destination.connect_timeout });
    }

    /// A connection may take requests again, or the first ones.
    pub(super) fn offer(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage != ConnectionStage::Open {
            return;
        }
        let endpoint = connection.endpoint;
        if !connection.in_ready && connection.exchange.capacity() > 0 {
            connection.in_ready = true;
            if let Some(entry) = self.endpoints.get_mut(endpoint) {
                entry.ready.push(key);
            }
        }
        self.touch(endpoint);
    }
}

/// The protocol's state of a connection that is to be opened for requests to `target`, with so many before
/// an answer.
pub(super) fn new_exchange(destination: &Destination, target: &Rc<Target>, first_requests: usize) -> Exchange {
    let streams = match destination.protocol {
        Protocol::Http1 => 1,
        Protocol::Http2 => destination.streams,
    };
    let success = destination.success;
    let limits = ExchangeLimits { max_streams: streams, first_requests, success, ..ExchangeLimits::default() };
    let Some(host) = target.tls_host() else { return Exchange::new(destination.protocol, Rc::clone(target), limits) };
    // Each connection takes the settings of now; open ones keep theirs.
    let tls = destination.tls.as_ref().ok_or_else(|| "there are no TLS settings".to_owned());
    let session = tls.and_then(|tls| {
        let name = tls.server_name(host).map_err(|why| format!("the URL's host {host} {why}"))?;
        Ok(Session::client(tls.config(), name, http::alpn(destination.protocol)))
    });
    Exchange::secured(destination.protocol, Rc::clone(target), limits, session)
}
