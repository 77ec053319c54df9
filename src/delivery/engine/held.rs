//! Attempts that are held back, so that a destination that is down does not make the others see a record again and again.
//!
//! - A record that tests a closed URL goes there alone; its other destinations have their turn when it was taken.
//! - While an endpoint has no open connection, nobody knows whether it is there: a record for several destinations waits
//!   until each of its endpoints has one, and is then sent to all of them.
//!
//! An attempt that is held stands in no queue, and has its place in that of its endpoint all the same. Its flight's deadline holds, and it is dropped with the first attempt that
//! fails.

use super::super::endpoint::Endpoint;
use super::super::flight::Stage;
use super::super::table::Key;
use super::Engine;
use super::dispatch::NoWay;
use super::intake::more;
use crate::time::Time;

impl Engine {
    /// Puts the held attempts of a flight in their endpoints' queues, or those of them that go first.
    pub(super) fn send_off(&mut self, key: Key) {
        let Some(first) = self.flights.get(key).map(|flight| flight.first) else { return };
        let (mut held, mut cold, mut test) = (0_usize, 0_usize, None);
        for (key, attempt) in self.attempts_of(key).filter(|(_, attempt)| attempt.stage == Stage::Held) {
            let Some(endpoint) = self.endpoints.get(attempt.endpoint) else { continue };
            held += 1;
            cold += usize::from(endpoint.open == 0);
            if endpoint.breaker.is_closed() && test.is_none() {
                test = Some(key);
            }
        }
        let is_cold = held > 1 && cold > 0;
        if let Some(flight) = self.flights.get_mut(key) {
            flight.held = held > 1 && (test.is_some() || is_cold);
            flight.cold = is_cold;
        }
        let mut next = first;
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get(key)?))) {
            next = attempt.sibling;
            let (stage, index) = (attempt.stage, attempt.endpoint);
            let Some(endpoint) = self.endpoints.get(index).filter(|_| stage == Stage::Held) else { continue };
            // Connections come first, for a test, too: what is sent nowhere is seen by nobody.
            let goes = if is_cold { endpoint.open == 0 } else { test.is_none_or(|test| test == key) };
            if goes {
                self.enqueue(key, index, false);
            }
        }
    }

    /// What held the flight's attempts back is over. Each of their destinations needs a usable URL now, or none of them
    /// sees the record.
    pub(super) fn release_held(&mut self, key: Key, now: Time) {
        let mut next = self.flights.get(key).and_then(|flight| flight.first);
        let mut no_way = None;
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get(key)?))) {
            next = attempt.sibling;
            let (stage, destination, endpoint) = (attempt.stage, attempt.destination, attempt.endpoint);
            let is_usable = self.endpoints.get(endpoint).is_some_and(|entry| entry.breaker.admits(now));
            if stage != Stage::Held || is_usable {
                continue;
            }
            let other = self.choose_endpoint(destination, None, now);
            let mut has_place = |index: usize| self.endpoints.get_mut(index).is_some_and(Endpoint::hold_place);
            match (other.filter(|index| has_place(*index)), self.attempts.get_mut(key)) {
                (Some(other), Some(attempt)) => {
                    attempt.endpoint = other;
                    if let Some(entry) = self.endpoints.get_mut(endpoint) {
                        entry.give_held_place();
                    }
                }
                _ => no_way = Some(NoWay::unhealthy(destination)),
            }
        }
        let Some(no_way) = no_way else {
            self.send_off(key);
            return;
        };
        let records = self.flights.get(key).map_or(0, |flight| flight.len() as u64);
        self.count_no_way(&no_way, records);
        if let Some(left_out) = self.limited.refused.allow(now) {
            tracing::warn!(target: "server", "{} answered 11: {} any more, and its other destinations went first{}",
                self.describe(key), self.explain(&no_way), more(left_out));
        }
        self.end_flight(key, Some(&no_way), now);
    }

    /// The attempt `key` has a connection, and is not sent before every other one of its flight has one, too: it is held, and
    /// the last one lets all go, or the one that is a test.
    pub(super) fn wait_for_others(&mut self, flight: Key, key: Key, now: Time) {
        self.hold_back(key);
        if !self.waits_for_connection(flight) {
            self.release_held(flight, now);
        }
    }

    /// Whether an attempt of the flight is in the queue of an endpoint that has no connection.
    fn waits_for_connection(&self, flight: Key) -> bool {
        self.attempts_of(flight).any(|(_, attempt)| {
            let is_cold = self.endpoints.get(attempt.endpoint).is_some_and(|endpoint| endpoint.open == 0);
            attempt.stage == Stage::Queued && is_cold
        })
    }

    /// Takes an attempt out of its queue, of which it is no longer an entry; it keeps its place.
    fn hold_back(&mut self, key: Key) {
        let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| attempt.stage == Stage::Queued) else { return };
        attempt.stage = Stage::Held;
        let test = std::mem::take(&mut attempt.test);
        let Some(endpoint) = self.endpoints.get_mut(attempt.endpoint) else { return };
        endpoint.held += 1;
        if test {
            endpoint.breaker.abandoned();
        }
    }
}
