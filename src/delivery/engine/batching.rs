//! Batches: filling, closing, leaving out what nobody waits for any more, and taking apart what a destination refused.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use super::super::answer::{Answer, Cause};
use super::super::batch::{NewRecord, OpenBatch};
use super::super::bodies;
use super::super::flight::{Batch, Flight, Member, Stage};
use super::super::ordering::Outcome;
use super::super::table::Key;
use super::Engine;
use super::intake::more;
use crate::format::Framing;
use crate::policy::table::ProfileId;
use crate::time::Time;
use crate::wire::ack;

/// A body of its own for some records of a batch.
struct Rebuilt {
    data: Vec<u8>,
    ends: Vec<usize>,
    /// Where the body begins in `data`.
    start: usize,
}

impl Engine {
    /// Adds a record to its batch. Body and header values stand at the end of the chunk of single bodies, and leave it.
    pub(super) fn add_to_batch(
        &mut self,
        profile: ProfileId,
        member: Member,
        body: Range<usize>,
        heads: Range<usize>,
        now: Time,
    ) {
        let Some(rule) = self.rules.of(profile) else { return };
        debug_assert_eq!(heads.start, body.end);
        self.budget.charge_record();
        let (batches, budget) = (&mut self.batches, &mut self.budget);
        let closed = self.bodies.take_last(body.start, |written| {
            let (body, heads) = written.split_at_checked(body.len()).unwrap_or((written, &[]));
            batches.add(rule, NewRecord { profile, member, body, heads }, budget, now)
        });
        self.batch_opens(&member);
        for batch in closed.into_iter().flatten() {
            self.close_batch(batch, now);
        }
    }

    /// Closes the batches whose time is over.
    pub(super) fn close_due_batches(&mut self, now: Time) {
        while let Some(batch) = self.batches.take_due(now) {
            self.close_batch(batch, now);
        }
    }

    /// Room is wanted that records hold which wait in batches. While others are in flight theirs will come back, and small
    /// batches would only be more requests: then batches are closed only if they hold most of it.
    pub(super) fn make_room(&mut self, now: Time) {
        let waiting = self.batches.records();
        if waiting > 0 && (self.flights.is_empty() || waiting > self.budget.used_records() / 2) {
            self.close_all_batches(now);
        }
    }

    /// Closes all batches: no more records will come, or there is no room for them.
    pub(super) fn close_all_batches(&mut self, now: Time) {
        while let Some(batch) = self.batches.take_any() {
            self.close_batch(batch, now);
        }
    }

    /// Puts a batch in flight. Records whose connection has gone are left out: the server sends them again elsewhere.
    pub(super) fn close_batch(&mut self, mut batch: OpenBatch, now: Time) {
        self.budget.recharge(&mut batch.charged, 0);
        self.batch_closes(&batch.members);
        // It was opened by this rule.
        let Some(rule) = self.rules.of(batch.profile) else { return };
        let count = u32::try_from(batch.members.len()).unwrap_or(u32::MAX);
        let start = rule.framing.finish(&mut batch.data, count);
        let data = bodies::charged(batch.data, &mut self.budget);
        let mut members = batch.members.into_iter();
        let Some(member) = members.next() else { return };
        let mut flight = Flight::of_one(member, batch.profile);
        flight.since = now;
        flight.batch =
            Some(Box::new(Batch { more: members.collect(), data, ends: batch.ends, sources_gone: u64::MAX }));
        let start = self.prune(&mut flight, false).unwrap_or(start);
        if flight.members().all(|member| !self.source_takes_answers(member.source)) {
            self.counters.orphaned += flight.len() as u64;
            return self.drop_unsent(&flight);
        }
        self.counters.batches += 1;
        self.counters.batched_records += flight.len() as u64;
        let body = flight.batch.as_ref().map(|batch| batch.data.slice(start..)).unwrap_or_default();
        self.launch(flight, &body, &Bytes::from(batch.heads), now);
    }

    /// Answers the records of a flight that is not in the table, 11, and gives their room back.
    fn drop_unsent(&mut self, flight: &Flight) {
        flight.members().for_each(|member| self.drop_member(member));
    }

    /// The same for one of its records.
    pub(super) fn drop_member(&mut self, member: &Member) {
        self.drop_member_as(member, ack::TEMPORARY.into(), Outcome::Failed);
    }

    /// The same, where some destination may have taken it.
    fn drop_member_as(&mut self, member: &Member, answer: Answer, outcome: Outcome) {
        self.answer(member.source, member.number, answer);
        if let Some(tap) = &mut self.tap {
            tap.flies((member.source, member.number), false);
        }
        self.budget.release_record();
        self.free_slot(member, outcome);
    }

    /// Puts a batch with its body in the queues of all its destinations; or answers its records 11 if one of them has no
    /// healthy URL by now, or no room.
    pub(super) fn launch(&mut self, flight: Flight, body: &Bytes, heads: &Bytes, now: Time) {
        if let Some(why) = self.find_no_way(flight.profile, None, now) {
            self.count_no_way(&why, flight.len() as u64);
            if self.tap.is_some() {
                self.tap_note_of(&flight, &self.explain(&why));
            }
            if let Some(left_out) = self.limited.refused.allow(now) {
                let batch = self.describe_flight(&flight);
                tracing::warn!(target: "server", "{batch} answered 11, nothing was sent: {why}{}",
                    more(left_out), why = self.explain(&why));
            }
            return self.drop_unsent(&flight);
        }
        let destinations = self.policy.destinations(flight.profile).len();
        if let Some(first) = self.open_flight(flight, 0..destinations, now) {
            self.give_bodies(first, body, heads);
        }
    }

    /// Gives the attempts of one flight their bodies.
    pub(super) fn give_bodies(&mut self, first: Key, body: &Bytes, heads: &Bytes) {
        let mut heads = heads.clone();
        let mut zipped = None;
        let mut next = Some(first);
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get_mut(key)?))) {
            next = attempt.sibling;
            attempt.values = self.encoders.take_head(attempt.destination, &mut heads);
            self.give_body(key, body, &mut zipped);
        }
    }

    /// Gives one attempt its body, compressed if its destination wants that of so many bytes. `zipped` is for the other
    /// attempts with this body: it is compressed once.
    fn give_body(&mut self, key: Key, body: &Bytes, zipped: &mut Option<Option<Bytes>>) {
        let Some(attempt) = self.attempts.get_mut(key) else { return };
        let threshold = self.destinations.get(attempt.destination).and_then(|entry| entry.gzip_above);
        let is_large = threshold.is_some_and(|threshold| body.len() as u64 > threshold);
        let compressed = match is_large {
            true => zipped.get_or_insert_with(|| self.encoders.gzip(body, &mut self.budget)).clone(),
            false => None,
        };
        // What does not shrink goes as it is.
        let compressed = compressed.filter(|zipped| zipped.len() < body.len());
        attempt.gzip = compressed.is_some();
        attempt.body = compressed.unwrap_or_else(|| body.clone());
    }

    /// Takes records out of a batch whose connections have gone, if that leaves any. Where its new body begins in its
    /// data, if it has one. `is_out`: a destination has or had the batch, and a version in it is in flight until the flight
    /// ends: it stays.
    fn prune(&mut self, flight: &mut Flight, is_out: bool) -> Option<usize> {
        let gone = self.sources_gone;
        if flight.batch.as_ref().is_none_or(|batch| batch.sources_gone == gone) {
            return None;
        }
        let stays = |member: &Member| is_out && member.slot.is_some() || self.source_takes_answers(member.source);
        let live: Vec<bool> = flight.members().map(stays).collect();
        let batch = flight.batch.as_mut()?;
        batch.sources_gone = gone;
        if live.iter().all(|live| *live) || !live.contains(&true) {
            return None;
        }
        let framing = &self.rules.of(flight.profile)?.framing;
        let kept: Vec<usize> = live.iter().enumerate().filter(|(_, live)| **live).map(|(at, _)| at).collect();
        let rebuilt = rebuild(framing, batch, &kept);
        let all: Vec<Member> = std::iter::once(flight.member).chain(batch.more.drain(..)).collect();
        batch.ends = rebuilt.ends;
        batch.data = bodies::charged(rebuilt.data, &mut self.budget);
        let mut left = all.iter().zip(&live).filter(|(_, live)| **live).map(|(member, _)| *member);
        flight.member = left.next()?;
        batch.more = left.collect();
        for (member, _) in all.iter().zip(&live).filter(|(_, live)| !**live) {
            self.counters.orphaned += 1;
            if flight.taken || flight.unknown {
                self.count_duplicate(flight.taken);
            }
            self.drop_member(member);
        }
        Some(rebuilt.start)
    }

    /// Before a batch is sent: connections may have gone since it was closed. Every attempt that still waits gets the
    /// body that is left.
    pub(super) fn prune_queued(&mut self, key: Key) {
        let Some(entry) = self.flights.get_mut(key) else { return };
        let mut flight = Flight::of_one(entry.member, entry.profile);
        let first = entry.first;
        (flight.taken, flight.unknown) = (entry.taken, entry.unknown);
        flight.batch = entry.batch.take();
        let is_sent = self.attempts_of(key).any(|(_, attempt)| matches!(attempt.stage, Stage::Sent(_)));
        flight.unknown |= is_sent;
        let is_out = is_sent || self.attempts_of(key).any(|(_, attempt)| attempt.stage == Stage::Done);
        let start = self.prune(&mut flight, is_out);
        let body = start.and_then(|start| flight.batch.as_ref().map(|batch| batch.data.slice(start..)));
        let digest = flight.only_digest();
        if let Some(entry) = self.flights.get_mut(key) {
            entry.member = flight.member;
            entry.batch = flight.batch;
        }
        let Some(body) = body else { return };
        let mut zipped = None;
        let mut next = first;
        while let Some((key, attempt)) = next.and_then(|key| Some((key, self.attempts.get_mut(key)?))) {
            next = attempt.sibling;
            if matches!(attempt.stage, Stage::Queued | Stage::Held) {
                attempt.digest = digest;
                self.give_body(key, &body, &mut zipped);
            }
        }
    }

    /// A record of a batch that is taken apart is not sent on its own.
    fn leave_apart(&mut self, flight: &Flight, member: &Member, is_late: bool, why: &str) {
        if flight.taken || flight.unknown {
            self.count_duplicate(flight.taken);
        }
        if let Some(tap) = &mut self.tap {
            let note = format!("it was not sent on its own after its batch was refused: {why}");
            tap.note_of((member.source, member.number), &note);
        }
        let outcome = if flight.taken { Outcome::Partly } else { Outcome::Failed };
        let cause = if is_late { Cause::Late } else { Cause::Other };
        self.drop_member_as(member, Answer::new(ack::TEMPORARY, cause), outcome);
    }

    /// A destination will never take a batch, which says nothing about a single record of it: each is sent again on its
    /// own, to the destinations that refused the batch. The others have taken it; or they refused what is one record by
    /// now on its own, since the others' connections had gone, and that stands.
    pub(super) fn take_apart(&mut self, key: Key, now: Time) {
        self.deadlines.remove(&mut self.flights, key);
        let Some(flight) = self.flights.remove(key) else { return };
        let mut refused_alone = false;
        let mut places = Vec::new();
        let mut values = Vec::new();
        let (mut next, mut place) = (flight.first, 0);
        while let Some(attempt) = next.and_then(|key| self.attempts.remove(key)) {
            if attempt.refuses_batch() {
                places.push(place);
                values.push(attempt.values);
            } else {
                refused_alone |= attempt.refused_for_good;
            }
            next = attempt.sibling;
            place += 1;
        }
        let framing = self.rules.of(flight.profile).map(|rule| Rc::clone(&rule.framing));
        self.tap_lands(&flight);
        let Some((batch, framing)) = flight.batch.as_ref().zip(framing) else { return };
        self.counters.batches_taken_apart += 1;
        for (at, member) in flight.members().enumerate() {
            let is_late = member.arrived + self.limits.record_deadline <= now;
            let size = framing.room() + batch.record(at, &framing).len();
            let left = match (is_late, self.source_takes_answers(member.source), self.budget.has_bytes(size as u64)) {
                (true, ..) => Some("limits.record-deadline passed"),
                (_, false, _) => Some("its connection takes no answers any more"),
                (.., false) => Some("there was no room"),
                _ => None,
            };
            if let Some(why) = left {
                self.leave_apart(&flight, member, is_late, why);
                continue;
            }
            let rebuilt = rebuild(&framing, batch, &[at]);
            let data = bodies::charged(rebuilt.data, &mut self.budget);
            let mut one = Flight::of_one(*member, flight.profile);
            one.since = now;
            one.refused_for_good = refused_alone;
            (one.taken, one.unknown) = (flight.taken, flight.unknown);
            let Some(first) = self.open_flight(one, places.iter().copied(), now) else { continue };
            self.give_bodies(first, &data.slice(rebuilt.start..), &Bytes::new());
            let mut next = Some(first);
            for values in &values {
                let Some(attempt) = next.and_then(|key| self.attempts.get_mut(key)) else { break };
                attempt.values = values.clone();
                next = attempt.sibling;
            }
        }
    }
}

/// The records at `kept` of a batch as a body of their own.
fn rebuild(framing: &Framing, batch: &Batch, kept: &[usize]) -> Rebuilt {
    let mut data = vec![0; framing.room()];
    let mut ends = Vec::with_capacity(kept.len());
    for at in kept {
        data.extend_from_slice(batch.record(*at, framing));
        ends.push(data.len());
        framing.separate(&mut data);
    }
    let start = framing.finish(&mut data, u32::try_from(kept.len()).unwrap_or(u32::MAX));
    Rebuilt { data, ends, start }
}
