//! What is told of records that somebody looks at while they go through; see [`super::super::tap`].
//!
//! Without a tap each place that tells something looks at one pointer of this engine, and that is all. With one, nothing
//! that the engine decides depends on it.

use super::super::answer::Answer;
use super::super::flight::{Attempt, Flight, Origin, Stage};
use super::super::table::Key;
use super::super::tap::{Arrival, Candidate, Event, Filter, Sent, TEXT_BYTES, Taps, Way, Word};
use super::Engine;
use super::dispatch::NoWay;
use super::intake::Verdict;
use super::timers::TOO_LATE;
use crate::config::model::Protocol;
use crate::policy::table::ProfileId;
use crate::record::{self, ChangeRecord, DecodeLimits};
use crate::time::{Now, Time};
use crate::wire::frame::FrameKind;

impl Engine {
    /// These are the taps from now on, each with its name; none: all that was kept for them is dropped. `executor`: the place
    /// among executors, for what is shown.
    pub fn set_taps(&mut self, executor: usize, taps: &[(u64, Filter)]) {
        if taps.is_empty() {
            self.tap = None;
            return;
        }
        let limits = DecodeLimits { max_depth: self.limits.max_depth };
        self.tap.get_or_insert_with(|| Box::new(Taps::new(executor, limits))).set(taps);
    }

    /// The next line for somebody who taps.
    pub fn next_tapped(&mut self) -> Option<Event> {
        self.tap.as_mut()?.next_event()
    }

    /// Tells for each tap how many records it wanted and did not get, since the last call.
    pub fn take_missed(&mut self, mut tell: impl FnMut(u64, u64)) {
        if let Some(tap) = &mut self.tap {
            tap.take_missed().for_each(|(id, missed)| tell(id, missed));
        }
    }

    /// Whether a tap takes no more lines for now.
    pub fn set_tap_full(&mut self, id: u64, is_full: bool) {
        if let Some(tap) = &mut self.tap {
            tap.set_full(id, is_full);
        }
    }

    /// Records that are followed, and the bytes that are kept for them.
    pub fn tapped(&self) -> (usize, usize) {
        self.tap.as_ref().map_or((0, 0), |tap| (tap.followed(), tap.kept_bytes()))
    }

    /// A record is about to be looked at.
    pub(super) fn tap_begins(&mut self, arrived: Time) {
        let now = self.recorder.read();
        if let Some(tap) = &mut self.tap {
            tap.begins(arrived, now);
        }
    }

    /// The record at hand is decoded, and its route is known. One that is handed over is its owner's to show.
    pub(super) fn tap_record(&mut self, origin: Origin, record: &ChangeRecord<'_>, profile: ProfileId, now: Now) {
        if !self.is_handed_over(origin, record, profile) {
            self.tap_consider(origin, record, profile, now);
        }
    }

    fn tap_consider(&mut self, origin: Origin, record: &ChangeRecord<'_>, profile: ProfileId, now: Now) {
        let (decoded, arrival) = (self.recorder.read(), self.arrival(origin, now));
        let candidate = Candidate {
            namespace: Some(record.namespace),
            set: record.set,
            destinations: self.policy.destinations(profile),
        };
        if let Some(tap) = &mut self.tap {
            tap.consider(&candidate, arrival, record.body, decoded);
        }
    }

    fn arrival(&self, origin: Origin, now: Now) -> Arrival {
        let port = match origin {
            Origin::Source(key) => self.sources.get(key).map(|source| source.port_number),
            Origin::Ghost(_) => None,
        };
        Arrival { peer: self.ends(origin).map(|(peer, _)| peer), port, unix_ms: now.unix_ms }
    }

    /// Answers a frame with `code` that is not looked at, since `why`. `message`: what it holds, if that can be read.
    pub(super) fn leave_unseen(
        &mut self,
        origin: Origin,
        message: Option<&[u8]>,
        (answer, why): (Answer, &'static str),
        now: Now,
    ) -> Verdict {
        if self.tap.is_none() {
            return Verdict::Answer(answer);
        }
        self.guarded(origin, now.monotonic, |engine| {
            engine.tap_unseen(origin, message, why, now);
            Verdict::Answer(answer)
        })
    }

    /// Such frames are decoded for taps alone, and not all of them.
    fn tap_unseen(&mut self, origin: Origin, message: Option<&[u8]>, why: &'static str, now: Now) {
        let ends = self.ends(origin);
        let Some(tap) = &mut self.tap else { return };
        let message = message.filter(|_| tap.looks_at());
        let Some((record, (_, port))) = message.and_then(|message| record::decode(message).ok()).zip(ends) else {
            return tap.leave_unseen();
        };
        let kind = self.names.kind(port, &record, &self.policy.table);
        self.tap_consider(origin, &record, kind.profile, now);
        self.tap_note(&why);
    }

    /// The content of the record at hand is bad: it could not be decoded, or not encoded.
    pub(super) fn tap_fault(
        &mut self,
        origin: Origin,
        fault: &dyn std::fmt::Display,
        (kind, body): (FrameKind, &[u8]),
        now: Now,
    ) {
        let (decoded, arrival) = (self.recorder.read(), self.arrival(origin, now));
        let Some(tap) = &mut self.tap else { return };
        if !tap.is_considered() {
            let identity = (kind == FrameKind::Message).then(|| record::glimpse(body)).flatten();
            let candidate = Candidate {
                namespace: identity.map(|identity| identity.namespace()),
                set: identity.and_then(|identity| identity.set()),
                destinations: &[],
            };
            tap.consider(&candidate, arrival, body, decoded);
        }
        tap.fault(fault);
    }

    /// Why the record at hand is not sent.
    pub(super) fn tap_note(&mut self, note: &dyn std::fmt::Display) {
        if let Some(tap) = &mut self.tap {
            tap.note(note);
        }
    }

    /// The same for the records of a flight.
    pub(super) fn tap_note_of(&mut self, flight: &Flight, note: &str) {
        if let Some(tap) = &mut self.tap {
            tap.note_all(flight, note);
        }
    }

    /// A flight ends since one of its destinations has no way any more: what was not sent is not sent.
    pub(super) fn tap_no_way(&mut self, key: Key, no_way: &NoWay) {
        let why = self.explain(no_way);
        if let (Some(tap), Some(flight)) = (&mut self.tap, self.flights.get(key)) {
            tap.note_all(flight, &why);
        }
    }

    /// The deadline of an attempt's record has passed. What waited for another destination says nothing of its own.
    pub(super) fn tap_late(&mut self, key: Key, stage: Stage) {
        match stage {
            Stage::Sent(_) => self.tap_error(key, &TOO_LATE),
            Stage::Queued => self.tap_error(key, &"not sent within limits.record-deadline"),
            Stage::Held | Stage::Done => {}
        }
    }

    /// The encoding of the record at hand begins (0), or is done (1).
    pub(super) fn tap_encoding(&mut self, step: usize) {
        if self.tap.as_ref().is_some_and(|tap| tap.has_current()) {
            let now = self.recorder.read();
            if let Some(tap) = &mut self.tap {
                tap.encoding(step, now);
            }
        }
    }

    /// The records of a flight are in it.
    pub(super) fn tap_flies(&mut self, key: Key) {
        if let (Some(tap), Some(flight)) = (&mut self.tap, self.flights.get(key)) {
            flight.members().for_each(|member| tap.flies((member.source, member.number), true));
        }
    }

    /// A flight is over.
    pub(super) fn tap_lands(&mut self, flight: &Flight) {
        if let Some(tap) = &mut self.tap {
            flight.members().for_each(|member| tap.flies((member.source, member.number), false));
        }
    }

    /// Tells `tell` about the records of an attempt that are followed: where each is, at which place in its flight, and how
    /// many records that has.
    fn tell(&mut self, key: Key, mut tell: impl FnMut(&mut Taps, &Way<'_>, (usize, usize), &Attempt)) {
        let Some(tap) = &mut self.tap else { return };
        let Some(attempt) = self.attempts.get(key) else { return };
        let Some(flight) = self.flights.get(attempt.flight) else { return };
        let (Some(destination), Some(endpoint)) =
            (self.destinations.get(attempt.destination), self.endpoints.get(attempt.endpoint))
        else {
            return;
        };
        let records = flight.len();
        for (at, member) in flight.members().enumerate() {
            let place = (member.source, member.number);
            if !tap.follows(place) {
                continue;
            }
            let names = (destination.name.as_str(), endpoint.url.as_str());
            let way = Way { place, flight: attempt.flight, destination: attempt.destination, names };
            tell(tap, &way, (at, records), attempt);
        }
    }

    /// An attempt was given to a connection.
    pub(super) fn tap_sent(&mut self, key: Key) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let Some(endpoint) = self.endpoints.get(attempt.endpoint) else { return };
        let Some(protocol) = self.destinations.get(attempt.destination).map(|entry| entry.protocol) else { return };
        let target = std::rc::Rc::clone(&endpoint.target);
        let is_batch = self.flights.get(attempt.flight).is_some_and(|flight| flight.batch.is_some());
        let mut shown = None;
        self.tell(key, |tap, way, (at, records), attempt| {
            let (start, headers) = shown.get_or_insert_with(|| {
                (target.show_start(), target.show_headers(&attempt.request(), protocol == Protocol::Http2))
            });
            let sent = Sent {
                protocol: protocol.name(),
                start: start.clone(),
                headers: headers.clone(),
                body_bytes: attempt.body.len(),
                body: attempt.body.slice(..attempt.body.len().min(TEXT_BYTES)),
                content: attempt.content,
            };
            tap.sent(way, is_batch.then_some((at, records)), sent);
        });
    }

    /// A complete answer came for an attempt, which means success, or that it is refused for good.
    pub(super) fn tap_status(&mut self, key: Key, status: u16, (success, permanent): (bool, bool)) {
        let word = match (success, permanent) {
            (true, _) => Word::Success,
            (false, true) => Word::Refused,
            (false, false) => Word::Error,
        };
        self.tell(key, |tap, way, _, _| tap.status(way, status, word));
    }

    /// An attempt failed.
    pub(super) fn tap_error(&mut self, key: Key, why: &dyn std::fmt::Display) {
        self.tell(key, |tap, way, _, _| tap.error(way, why));
    }

    /// An attempt is over, wherever it stood.
    pub(super) fn tap_ended(&mut self, key: Key, stage: Stage) {
        let Some(flight) = self.attempts.get(key).and_then(|attempt| self.flights.get(attempt.flight)) else { return };
        let encoded = flight.member.encoded;
        let is_sent = matches!(stage, Stage::Sent(_));
        self.tell(key, |tap, way, _, attempt| {
            tap.ended(way, encoded, is_sent.then_some((attempt.sent_at, attempt.begun)));
        });
    }
}
