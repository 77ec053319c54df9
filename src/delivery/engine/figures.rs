//! What is counted and shown of an executor: by destination, by endpoint, by source; and what it publishes.

use super::super::breaker::Breaker;
use super::super::endpoint::Endpoint;
use super::super::flight::{Flight, Origin, Stage};
use super::super::table::Key;
use super::super::trouble::Cause;
use super::Engine;
use super::dispatch::NoWay;
use crate::metrics::recorder::nanos;
use crate::metrics::snapshot::{
    DestinationFigures, EndpointFigures, PoolCounts, SHOWN_SOURCES, Snapshot, SourceFigures, UrlState,
};
use crate::metrics::stages::Stages;
use crate::time::Time;

impl Engine {
    /// Writes what is published of this executor, CPU time and time aside, over what `snapshot` has.
    pub fn publish(&mut self, snapshot: &mut Snapshot) {
        snapshot.counters = self.counters;
        snapshot.in_flight = self.in_flight();
        snapshot.in_flight_bytes = self.in_flight_bytes();
        snapshot.sources = self.source_count();
        snapshot.is_rejecting = self.rejecting;
        snapshot.is_draining = self.drain_until.is_some();
        snapshot.stages.copy_from(&self.recorder.stages);
        snapshot.stages.gather_responses(self.destinations.iter().map(|destination| &destination.response));
        self.show_sources(&mut snapshot.shown);
        snapshot.destinations.resize_with(self.destinations.len(), DestinationFigures::default);
        for (figures, destination) in snapshot.destinations.iter_mut().zip(&self.destinations) {
            figures.success = destination.success_records;
            figures.error = destination.error_records;
            figures.response.copy_from(&destination.response);
        }
        snapshot.endpoints.resize_with(self.endpoints.len(), EndpointFigures::default);
        for (figures, endpoint) in snapshot.endpoints.iter_mut().zip(&self.endpoints) {
            figures.state = state_of(&endpoint.breaker);
            figures.pool = pool_of(endpoint);
            figures.success = endpoint.tally.success;
            figures.error = endpoint.tally.error;
            figures.probes_passed = endpoint.tally.probes_passed;
            figures.probes_failed = endpoint.tally.probes_failed;
            endpoint.tally.trouble.show(&mut figures.last_error);
        }
    }

    /// Some of the sources.
    fn show_sources(&self, shown: &mut Vec<SourceFigures>) {
        shown.clear();
        self.sources.for_each(|_, source| {
            if shown.len() < SHOWN_SOURCES {
                shown.push(SourceFigures {
                    peer: source.peer,
                    port: source.port_number,
                    is_tls: source.is_tls,
                    opened: source.opened,
                    records: source.records,
                    in_flight: source.window.len() as u64,
                    is_paused: source.paused,
                });
            }
        });
    }

    /// Where the time of records went, [`Response`](crate::metrics::stages::Stage::Response) aside, which is made for
    /// what is published.
    pub fn stages(&self) -> &Stages {
        &self.recorder.stages
    }

    /// Connections to each endpoint, in the order of destinations and URLs.
    pub fn pools(&self) -> impl Iterator<Item = PoolCounts> + '_ {
        self.endpoints.iter().map(pool_of)
    }

    /// A request of a flight is over that was given to a connection at `sent_at`, and answered from `begun` on, if it was.
    pub(super) fn record_request(&mut self, destination: usize, flight: Key, sent_at: Time, begun: Option<Time>) {
        let Some(flight) = self.flights.get(flight) else { return };
        for member in flight.members() {
            self.recorder.sent(member.encoded, sent_at);
        }
        if let (Some(begun), Some(destination)) = (begun, self.destinations.get_mut(destination)) {
            destination.response.record(nanos(begun.since(sent_at)), flight.len() as u64);
        }
    }

    /// The destination of this attempt has taken it.
    pub(super) fn count_success(&mut self, key: Key) {
        let Some((records, destination, endpoint)) = self.counted(key) else { return };
        if let Some(destination) = self.destinations.get_mut(destination) {
            destination.success_records += records;
        }
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.tally.success += records;
        }
    }

    /// It has not.
    pub(super) fn count_error(&mut self, key: Key) {
        let Some((records, destination, endpoint)) = self.counted(key) else { return };
        self.count_not_taken(destination, records);
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.tally.error += records;
        }
    }

    /// This URL has not, and another one may.
    pub(super) fn count_failed_try(&mut self, key: Key) {
        let Some((records, _, endpoint)) = self.counted(key) else { return };
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.tally.error += records;
        }
    }

    /// Records that are not sent, as there is no way to one of their destinations.
    pub(super) fn count_no_way(&mut self, no_way: &NoWay, records: u64) {
        self.counters.refused += records;
        self.count_not_taken(no_way.destination, records);
    }

    /// Records that a destination has not taken, or is not sent.
    fn count_not_taken(&mut self, destination: usize, records: u64) {
        if let Some(destination) = self.destinations.get_mut(destination) {
            destination.error_records += records;
        }
    }

    /// Records of an attempt, its destination and its endpoint.
    fn counted(&self, key: Key) -> Option<(u64, usize, usize)> {
        let attempt = self.attempts.get(key)?;
        let records = self.flights.get(attempt.flight)?.len() as u64;
        Some((records, attempt.destination, attempt.endpoint))
    }

    /// Notes what an endpoint did wrong.
    pub(super) fn note_trouble(&mut self, endpoint: usize, cause: Cause, now: Time) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.tally.trouble.note(cause, now);
        }
    }

    /// The deadline of a flight has passed: whoever was to take it has not.
    pub(super) fn count_expired(&mut self, key: Key) {
        let mut next = self.flights.get(key).and_then(|flight| flight.first);
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get(key)?))) {
            next = attempt.sibling;
            if matches!(attempt.stage, Stage::Queued | Stage::Sent(_)) {
                self.count_error(key);
            }
        }
    }

    /// A request that was given up, or broke off: its peer may have acted on it.
    pub(super) fn note_unknown(&mut self, key: Key) {
        let flight = self.attempts.get(key).map(|attempt| attempt.flight);
        if let Some(flight) = flight.and_then(|flight| self.flights.get_mut(flight)) {
            flight.unknown = true;
        }
    }

    /// Records of a flight that is over come again, unless they were answered with a code that ends them.
    pub(super) fn count_duplicates(&mut self, flight: &Flight) {
        if !flight.taken && !flight.unknown {
            return;
        }
        let is_ended = flight.delivered || flight.given_up;
        for member in flight.members() {
            let is_unheard = match member.source {
                Origin::Source(key) => self.sources.get(key).is_none(),
                // If one has it, the executor that acks counts it.
                Origin::Ghost(key) => !flight.taken && !self.handover.takes_answers(key),
            };
            if !is_ended || is_unheard {
                self.count_duplicate(flight.taken);
            }
        }
    }

    /// The same for one that is dropped out of a flight.
    pub(super) fn count_duplicate(&mut self, is_taken: bool) {
        if is_taken {
            self.counters.duplicates += 1;
        } else {
            self.counters.duplicates_possible += 1;
        }
    }
}

fn state_of(breaker: &Breaker) -> UrlState {
    match (breaker.is_closed(), breaker.is_tested(), breaker.is_waiting()) {
        (false, ..) => UrlState::Healthy,
        (true, true, _) => UrlState::Testing,
        (true, false, true) => UrlState::Waiting,
        (true, false, false) => UrlState::Unhealthy,
    }
}

fn pool_of(endpoint: &Endpoint) -> PoolCounts {
    PoolCounts {
        connecting: endpoint.connecting + endpoint.replacing,
        open: endpoint.open,
        draining: endpoint.draining,
        taken: endpoint.places.taken_by_all(),
        queued: endpoint.waiting(),
        in_flight: endpoint.in_flight,
    }
}
