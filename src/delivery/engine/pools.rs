//! Pools of connections, looked at once a beat: who has how many, which are too old, which are dead.
//!
//! A connection that is too old, or whose address is no longer one of its name, takes requests until another one is
//! open in its place, and finishes what it has: the pool never has fewer usable ones because of it.
//!
//! HTTP/2 connections on which requests wait and nothing is heard get a PING. All times are parts of the longest
//! silence, which is a call time-out at most: no answer that would have come in time is given up.

use std::time::Duration;

use super::super::endpoint::{Connection, ConnectionStage};
use super::super::places::Give;
use super::super::table::Key;
use super::Engine;
use super::intake::more;
use crate::http::FailureKind;
use crate::time::Time;

/// How often the pools are looked at.
const BEAT: Duration = Duration::from_millis(100);

/// A connection that nothing was heard on for this long, with nothing in flight, is idle: another executor may have its
/// place. Shorter, and places move with every burst; longer, and records wait for places that nobody uses.
const IDLE_AFTER: Duration = Duration::from_millis(250);

/// In one beat, this part of what could be given up is: shares are reached within a second, and not in one leap that
/// the next burst would turn round.
const GIVE_PART: usize = 4;

/// Connections that are being opened in place of old ones at a time, for each endpoint and executor.
const REPLACE_AT_ONCE: usize = 4;

/// When no connection could be had in place of an old one, that one is kept for this long.
const REPLACE_AGAIN: Duration = Duration::from_secs(5);

/// A connection is replaced at up to this part of its time to live early, so that not all are at one time.
const SPREAD_PART: u32 = 10;

/// Connections to an address that a name has no longer are replaced within this time.
const MOVE_WITHIN: Duration = Duration::from_secs(5);

/// The longest time that a peer may say nothing while requests wait, if a call may take longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// The shortest time between two PINGs on a connection that answers them: peers punish those who ask too often.
const PING_PAUSE: Duration = Duration::from_secs(1);

/// A connection that nothing was heard on for this long gets a PING with its next request: its peer may be gone
/// without a word. Without requests no PING is sent.
const DOUBT_AFTER: Duration = Duration::from_secs(10);

/// What is due for a connection.
#[derive(Debug, Clone, Copy)]
enum Due {
    Ping,
    Retire,
    Lose,
    Replace,
}

impl Engine {
    /// Balances places between the executors, and looks after old and silent connections, if it is time to.
    pub(super) fn keep_pools(&mut self, now: Time) {
        if self.pools_due <= now {
            let late = now.since(self.pools_due);
            if late > BEAT && self.pools_due > Time::ZERO {
                self.forgive(late);
            }
            self.pools_due = now + BEAT;
            self.balance_places(now);
            self.look_after_connections(now);
        }
        for index in 0..self.endpoints.len() {
            if self.endpoints.get_mut(index).is_some_and(|endpoint| endpoint.places.ask_again()) {
                self.touch(index);
            }
        }
    }

    /// This beat is late itself (the process was stopped, say): answers to PINGs may lie there unread.
    fn forgive(&mut self, late: Duration) {
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get_mut(key)
                && let Some(pinged) = connection.pinged
            {
                connection.pinged = Some(pinged + late);
            }
        }
    }

    fn balance_places(&mut self, now: Time) {
        for index in 0..self.endpoints.len() {
            let Some(endpoint) = self.endpoints.get_mut(index) else { continue };
            let has_waiting = endpoint.waiting() > 0;
            let give = endpoint.places.balance(has_waiting);
            let (open, above) = (endpoint.open, endpoint.places.above_share());
            match give {
                Give::Nothing => {}
                Give::Idle => drop(self.give_idle(index, part_of(open), now)),
                Give::Above => {
                    let part = part_of(above);
                    let given = self.give_idle(index, part, now);
                    (given..part).for_each(|_| self.give_busy(index));
                }
            }
        }
    }

    /// Gives up to `most` idle connections up; how many there were.
    fn give_idle(&mut self, endpoint: usize, most: usize, now: Time) -> usize {
        let mut idle = Vec::new();
        self.connections.for_each(|key, connection| {
            if connection.endpoint == endpoint && connection.is_idle(now) && idle.len() < most {
                idle.push(key);
            }
        });
        self.counters.connections_given_up += idle.len() as u64;
        idle.iter().for_each(|key| self.retire(*key));
        idle.len()
    }

    /// Gives up the connection that has the least to finish, unless enough are finishing already.
    fn give_busy(&mut self, endpoint: usize) {
        if self.endpoints.get(endpoint).is_none_or(|entry| entry.draining >= entry.drain_limit()) {
            return;
        }
        let mut best: Option<(usize, Key)> = None;
        self.connections.for_each(|key, connection| {
            let load = connection.exchange.in_flight();
            let is_ours = connection.endpoint == endpoint && connection.is_pooled();
            if is_ours && best.is_none_or(|(least, _)| load < least) {
                best = Some((load, key));
            }
        });
        if let Some((_, key)) = best {
            self.counters.connections_given_up += 1;
            self.retire(key);
        }
    }

    fn look_after_connections(&mut self, now: Time) {
        let mut all = Vec::new();
        self.connections.for_each(|key, connection| {
            if let Some(due) = self.due(connection, now) {
                all.push((key, due));
            }
        });
        for (key, due) in all {
            match due {
                Due::Ping => self.ping(key, now),
                Due::Retire => self.retire(key),
                Due::Lose => self.lose(key, now),
                Due::Replace => self.replace_old(key, now),
            }
        }
    }

    fn due(&self, connection: &Connection, now: Time) -> Option<Due> {
        let is_open = connection.is_pooled();
        if connection.probe || !is_open && connection.stage != ConnectionStage::Draining {
            return None;
        }
        let silence = self.longest_silence(connection.endpoint);
        if let Some(pinged) = connection.pinged {
            if pinged + silence * 3 / 4 <= now {
                return Some(Due::Lose);
            }
            if is_open && pinged + silence / 2 <= now {
                return Some(Due::Retire);
            }
        } else if connection.exchange.in_flight() > 0
            && connection.heard.max(connection.busy_since) + silence / 4 <= now
            && connection.next_ping <= now
        {
            return Some(Due::Ping);
        }
        let is_old = is_open && !connection.is_replaced && connection.expires.is_some_and(|expires| expires <= now);
        is_old.then(|| if connection.is_idle(now) { Due::Retire } else { Due::Replace })
    }

    /// How long a peer may say nothing while requests wait for it.
    fn longest_silence(&self, endpoint: usize) -> Duration {
        let call = self.destination_of(endpoint).map_or(Duration::MAX, |destination| destination.call_timeout);
        call.min(self.limits.record_deadline).min(LONGEST_SILENCE)
    }

    fn ping(&mut self, key: Key, now: Time) {
        let endpoint = self.connections.get(key).map(|connection| connection.endpoint);
        let pause = endpoint.map_or(PING_PAUSE, |endpoint| self.longest_silence(endpoint).max(PING_PAUSE));
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.next_ping = now + pause;
        if connection.exchange.ping() {
            connection.pinged = Some(now);
            self.counters.pings += 1;
            self.wake_connection(key);
        }
    }

    /// A connection has been given a request. If nothing was heard on it for long, its peer is asked whether it is there.
    pub(super) fn doubt_idle(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.exchange.in_flight() != 1 {
            return;
        }
        connection.busy_since = now;
        if now.since(connection.heard) >= DOUBT_AFTER && connection.pinged.is_none() {
            self.ping(key, now);
        }
    }

    /// The peer has answered neither a PING nor anything else: its connection is over.
    fn lose(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (index, had_requests) = (connection.endpoint, connection.exchange.in_flight() > 0);
        connection.exchange.lose();
        self.counters.connections_silent += 1;
        if let (Some(left_out), Some(endpoint)) = (self.limited.silent.allow(now), self.endpoints.get(index)) {
            tracing::warn!(target: "server",
                "{}: connection closed: the peer answered neither a PING nor anything else{}", endpoint.url, more(left_out));
        }
        self.after_exchange(key, now);
        if had_requests {
            // One failure, however many requests it had: the other connections may be well.
            self.endpoint_failed(index, false, &FailureKind::Silent, now);
        }
    }

    fn replace_old(&mut self, key: Key, now: Time) {
        let index = self.connections.get(key).map(|connection| connection.endpoint);
        let Some(endpoint) = index.and_then(|index| self.endpoints.get(index)) else { return };
        let has_room = endpoint.replacing < REPLACE_AT_ONCE && endpoint.draining < endpoint.drain_limit();
        if has_room && self.drain_until.is_none() && endpoint.breaker.admits(now) {
            self.replace(key, now);
        }
    }

    /// A connection is open: from when on it is too old.
    pub(super) fn start_life(&mut self, key: Key, now: Time) {
        let endpoint = self.connections.get(key).map(|connection| connection.endpoint);
        let destination = endpoint.and_then(|endpoint| self.destination_of(endpoint));
        let Some(ttl) = destination.and_then(|destination| destination.connection_ttl) else { return };
        let early = self.spread.below(ttl / SPREAD_PART);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.expires = Some(now + ttl.saturating_sub(early));
        }
    }

    /// A connection that was to replace `old` is open: it has its place, and the old one gets no more requests. If the old
    /// one has ended meanwhile and another has its place, one too many is open.
    pub(super) fn take_over(&mut self, key: Key, old: Key) {
        let place = match self.connections.get_mut(old) {
            Some(old) if old.stage == ConnectionStage::Open => std::mem::take(&mut old.has_place),
            _ => false,
        };
        let index = self.connections.get(key).map(|connection| connection.endpoint);
        let Some(endpoint) = index.and_then(|index| self.endpoints.get_mut(index)) else { return };
        let has_place = place || endpoint.take_place();
        if let Some(connection) = self.connections.get_mut(key) {
            connection.has_place = has_place;
        }
        if place {
            self.counters.connections_replaced += 1;
            self.retire(old);
        } else if !has_place {
            self.retire(key);
        }
    }

    /// No connection could be had in place of `old`, which is kept for a while.
    pub(super) fn keep_old(&mut self, old: Key, now: Time) {
        if let Some(connection) = self.connections.get_mut(old) {
            connection.is_replaced = false;
            connection.expires = Some(now + REPLACE_AGAIN);
        }
    }

    /// The connection's address is no longer one of the name of its URL: it is replaced soon.
    pub fn connection_outdated(&mut self, key: Key, now: Time) {
        let at = now + self.spread.below(MOVE_WITHIN);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.expires = Some(connection.expires.map_or(at, |expires| expires.min(at)));
        }
    }
}

/// How many of `all` are given up in one beat.
fn part_of(all: usize) -> usize {
    all.div_ceil(GIVE_PART)
}

impl Connection {
    /// Whether nothing has been on it for a while.
    fn is_idle(&self, now: Time) -> bool {
        self.is_pooled() && self.exchange.in_flight() == 0 && self.heard + IDLE_AFTER <= now
    }
}
