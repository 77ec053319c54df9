//! One version of a record in flight: what a record has to wait for, and what is sent when its turn has come.
//!
//! A flight that ends only notes that its records' slots are free ([`Engine::free_slot`]); what waits for them is started
//! by [`Engine::go_on`], outside of whatever ended the flight.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::super::answer::{Answer, Cause};
use super::super::batch::NewRecord;
use super::super::bodies;
use super::super::flight::{Flight, Member, Origin};
use super::super::names::Kind;
use super::super::ordering::{Ended, Ending, Judgement, Ordering, Outcome, RecordId, Rule, Version, Waiter};
use super::super::places::share;
use super::super::table::Key;
use super::Engine;
use super::intake::{Accepted, Verdict, more};
use super::timers::OVER;
use crate::config::model::Routing;
use crate::policy::table::{Profile, ProfileId, ProfileTable};
use crate::record::{ChangeRecord, Operation};
use crate::time::{Now, Time};
use crate::wire::ack;

/// A version that waits, written in its format already; charged like a record in flight.
#[derive(Debug)]
pub(super) struct Held {
    member: Member,
    profile: ProfileId,
    body: Bytes,
    heads: Bytes,
}

impl Waiter for Held {
    fn drop_body(&mut self) {
        self.body = Bytes::new();
        self.heads = Bytes::new();
    }
}

/// The versions of an executor's records.
#[derive(Debug)]
pub(super) struct Order {
    versions: Ordering<Held>,
    /// By profile.
    rules: Vec<Option<Rule>>,
    /// Slots whose flight has ended, and how.
    settled: Vec<(Key, Outcome)>,
}

impl Order {
    /// `None` if no record is ordered.
    pub fn new(table: &ProfileTable, index: usize, executors: usize) -> Option<Order> {
        let ordered = || table.profiles().iter().filter_map(|profile| profile.ordering);
        let limit = ordered().map(|ordering| ordering.max_entries).max()?;
        let mut ttls: Vec<Duration> = ordered().map(|ordering| ordering.ttl).collect();
        ttls.sort_unstable();
        ttls.dedup();
        // There are as many as different numbers of seconds in a file; those beyond what a place can name share one.
        ttls.truncate(usize::from(u8::MAX));
        let domains = domains(table.profiles());
        let rule = |profile: &Profile| {
            let ordering = profile.ordering?;
            let Some(Routing::Destinations(list)) = &profile.routing else { return None };
            let (route, domain) = *domains.get(list)?;
            let place = ttls.partition_point(|ttl| *ttl < ordering.ttl).min(ttls.len().saturating_sub(1));
            Some(Rule { route, domain, ttl: u8::try_from(place).ok()?, coalesce: ordering.coalesce_waiting })
        };
        let rules = table.profiles().iter().map(rule).collect();
        let entries = usize::try_from(share(limit.into(), index, executors)).unwrap_or(usize::MAX);
        Some(Order { versions: Ordering::new(entries, &ttls), rules, settled: Vec::new() })
    }

    /// How records with this profile are ordered, if they are.
    fn rule(&self, profile: ProfileId) -> Option<Rule> {
        self.rules.get(profile.index()).copied().flatten()
    }
}

/// Number and domain of every list of destinations. Lists that have one in common are in one domain.
fn domains(profiles: &[Profile]) -> HashMap<Vec<usize>, (u16, u16)> {
    let mut lists: Vec<Vec<usize>> = Vec::new();
    for profile in profiles {
        if let Some(Routing::Destinations(list)) = &profile.routing
            && !lists.contains(list)
        {
            lists.push(list.clone());
        }
    }
    let mut domain: Vec<usize> = (0..lists.len()).collect();
    for (at, list) in lists.iter().enumerate() {
        for (before, other) in lists.iter().enumerate().take(at) {
            let (Some(&from), Some(&to)) = (domain.get(at), domain.get(before)) else { continue };
            if list.iter().any(|index| other.contains(index)) {
                domain.iter_mut().filter(|place| **place == from).for_each(|place| *place = to);
            }
        }
    }
    let numbers = domain.into_iter().map(|place| u16::try_from(place).unwrap_or(u16::MAX));
    let named = lists.into_iter().zip(numbers).enumerate();
    named.map(|(at, (list, domain))| (list, (u16::try_from(at).unwrap_or(u16::MAX), domain))).collect()
}

/// What comes of a record's place among its versions.
pub(super) enum Place {
    /// It goes on: to be sent, or to wait with its body. `None`: it is not ordered.
    Free(Option<Version>),
    /// That is all.
    Over(Verdict),
}

impl Engine {
    /// Whether [`Engine::place`] hands a record over, so that another executor judges it.
    pub(super) fn is_handed_over(&self, origin: Origin, record: &ChangeRecord<'_>, profile: ProfileId) -> bool {
        let is_ordered = self.order.as_ref().is_some_and(|order| order.rule(profile).is_some());
        let owner = match (origin, record.lut_ms) {
            (Origin::Source(_), Some(_)) if is_ordered => self.handover.owner(record.digest),
            _ => None,
        };
        owner.is_some_and(|owner| !self.handover.is_full(owner))
    }

    /// Looks at a record's place among its versions, before anything is written.
    pub(super) fn place(&mut self, origin: Origin, record: &ChangeRecord<'_>, kind: Kind, now: Now) -> Place {
        let Some(order) = &mut self.order else { return Place::Free(None) };
        let Some(rule) = order.rule(kind.profile) else { return Place::Free(None) };
        let Some(lut) = record.lut_ms else {
            self.counters.unordered += 1;
            if let Some(left_out) = self.limited.unordered.allow(now.monotonic) {
                tracing::warn!(target: "server",
                    "{}: record-ordering has no effect on it, since it came without a last-update time (servers before 5.4 do not ship it){}",
                    record.identity(), more(left_out));
            }
            return Place::Free(None);
        };
        if let (Origin::Source(_), Some(owner)) = (origin, self.handover.owner(record.digest)) {
            return Place::Over(self.hand_over(owner, record));
        }
        let Some(namespace) = order.versions.namespace(record.namespace, rule.domain) else {
            return Place::Over(self.refuse_order(record, "records of too many namespaces are ordered already", now));
        };
        let complete = record.is_replace() || record.operation != Operation::Write;
        let version = Version { id: RecordId { namespace, digest: *record.digest }, lut, complete, rule };
        let why = match order.versions.judge(&version) {
            Judgement::Send | Judgement::Wait => return Place::Free(Some(version)),
            Judgement::Follow => return Place::Over(Verdict::Follow(version, kind)),
            Judgement::Stale => {
                self.count_stale(complete, &|| record.identity().to_string(), now.monotonic);
                self.tap_note(&"stale: a newer version was delivered before it");
                return Place::Over(Verdict::Answer(ack::OK.into()));
            }
            Judgement::Behind => "a newer version of it is at some of its destinations and comes again to the others",
            Judgement::TooManyWait => "too many versions of it wait for one another already",
            Judgement::NoPlace => "record-ordering.max-entries records are in flight",
        };
        Place::Over(self.refuse_order(record, why, now))
    }

    fn refuse_order(&mut self, record: &ChangeRecord<'_>, why: &str, now: Now) -> Verdict {
        self.counters.ordered_refused += 1;
        self.tap_note(&why);
        if let Some(left_out) = self.limited.refused.allow(now.monotonic) {
            tracing::warn!(target: "server", "{}: answered 11, nothing was sent: {why}{}", record.identity(), more(left_out));
        }
        Verdict::Answer(ack::TEMPORARY.into())
    }

    fn count_stale(&mut self, complete: bool, name: &dyn Fn() -> String, now: Time) {
        self.counters.stale += 1;
        if complete {
            return;
        }
        self.counters.stale_updates += 1;
        if let Some(left_out) = self.limited.stale.allow(now) {
            tracing::warn!(target: "server",
                "{}: acked and not delivered, since a newer version was delivered before it; it has only some of its record's bins, which the newer one may \
                 not have: set `bin-policy all` for this datacenter at the source, or take record-ordering out{}",
                name(), more(left_out));
        }
    }

    /// Gives a record its slot, so that it may be sent now; or makes it wait, with its body taken off the chunk.
    pub(super) fn claim(&mut self, version: Version, member: Member, record: &Accepted, now: Time) -> Option<Member> {
        let order = self.order.as_mut()?;
        let code = match order.versions.judge(&version) {
            Judgement::Send => {
                if let Some(slot) = order.versions.begin(&version) {
                    return Some(Member { slot: Some(slot), ..member });
                }
                self.counters.ordered_refused += 1;
                ack::TEMPORARY
            }
            Judgement::Wait | Judgement::Follow => {
                let (body, heads) = self.take_written(&record.body);
                self.hold(version, Held { member, profile: record.kind.profile, body, heads }, now);
                return None;
            }
            Judgement::Stale => {
                self.counters.stale += 1;
                self.counters.stale_updates += u64::from(!version.complete);
                ack::OK
            }
            Judgement::Behind | Judgement::TooManyWait | Judgement::NoPlace => {
                self.counters.ordered_refused += 1;
                ack::TEMPORARY
            }
        };
        self.bodies.cut(record.body.start);
        self.answer(member.source, member.number, code);
        None
    }

    /// What stands at the end of the chunk, for a record that is sent later.
    fn take_written(&mut self, body: &Range<usize>) -> (Bytes, Bytes) {
        let written = self.bodies.take_last(body.start, <[u8]>::to_vec);
        let mut body_bytes = bodies::charged(written, &mut self.budget);
        let heads = body_bytes.split_off(body.len().min(body_bytes.len()));
        (body_bytes, heads)
    }

    /// A version whose outcome is that of a newer one.
    pub(super) fn follow(&mut self, version: Version, member: Member, profile: ProfileId, now: Time) {
        self.hold(version, Held { member, profile, body: Bytes::new(), heads: Bytes::new() }, now);
    }

    fn hold(&mut self, version: Version, held: Held, now: Time) {
        let Some(order) = &mut self.order else { return };
        let (member, profile) = (held.member, held.profile);
        let deadline = member.arrived + self.limits.record_deadline;
        self.counters.ordered_waits += 1;
        self.budget.charge_record();
        if order.versions.wait(version, held, deadline).is_err() {
            return self.drop_member(&member);
        }
        if order.versions.is_parked(&version.id) {
            self.batches.hurry(profile, now);
        }
    }

    /// A record that is over frees its slot; what waits for it is started later.
    pub(super) fn free_slot(&mut self, member: &Member, outcome: Outcome) {
        if let (Some(slot), Some(order)) = (member.slot, &mut self.order) {
            order.settled.push((slot, outcome));
        }
    }

    /// The records are no longer in an open batch.
    pub(super) fn batch_closes(&mut self, members: &[Member]) {
        let Some(order) = &mut self.order else { return };
        members.iter().filter_map(|member| member.slot).for_each(|slot| order.versions.park(slot, false));
    }

    /// The record is in an open batch.
    pub(super) fn batch_opens(&mut self, member: &Member) {
        if let (Some(slot), Some(order)) = (member.slot, &mut self.order) {
            order.versions.park(slot, true);
        }
    }

    /// Whether anything is ordered now.
    pub(super) fn is_ordering(&self) -> bool {
        let has = |order: &Order| order.versions.is_busy() || !order.settled.is_empty();
        self.order.as_ref().is_some_and(has) || self.handover.away() > 0 || self.handover.has_inbound()
    }

    /// Records with a version in flight, and versions that wait.
    pub(super) fn ordered(&self) -> usize {
        self.order.as_ref().map_or(0, |order| order.versions.busy())
    }

    /// Records whose last version is remembered.
    pub fn remembered(&self) -> usize {
        self.order.as_ref().map_or(0, |order| order.versions.len())
    }

    /// Records that were forgotten before their time was over, for want of places.
    pub fn evicted(&self) -> u64 {
        self.order.as_ref().map_or(0, |order| order.versions.evicted())
    }

    /// After records may have ended: what waited for them, and frames of other executors that waited for room.
    pub(super) fn go_on_in_order(&mut self, now: Time) {
        self.start_waiting(now);
        if self.handover.has_inbound() {
            self.take_handed(now);
            self.start_waiting(now);
        }
        if self.drain_until.is_some() && !self.batches.is_empty() {
            self.close_all_batches(now);
        }
        self.pump_touched(now);
    }

    /// Starts the versions whose turn has come, until none is left: one that cannot be sent makes room for the next.
    fn start_waiting(&mut self, now: Time) {
        loop {
            let Some(order) = &mut self.order else { return };
            while let Some((slot, outcome)) = order.settled.pop() {
                order.versions.settle(slot, outcome, now);
            }
            if let Some(ended) = order.versions.next_ended() {
                self.end_waiter(&ended, now);
                continue;
            }
            if let Some((slot, held)) = order.versions.next_released(now) {
                self.start_held(slot, held, now);
                continue;
            }
            self.pump_touched(now);
            if self.order.as_ref().is_none_or(|order| order.settled.is_empty()) {
                return;
            }
        }
    }

    fn end_waiter(&mut self, ended: &Ended<Held>, now: Time) {
        let member = &ended.waiter.member;
        if let Some(tap) = &mut self.tap {
            let note = match ended.ending {
                Ending::Stale => "stale: a newer version was delivered before it",
                Ending::Merged => "merged: a newer version, with all of its bins, was delivered in its place",
                Ending::Undone => "the version whose outcome it waited for was not delivered",
                Ending::Late => "limits.record-deadline passed while it waited for another version of its record",
            };
            tap.note_of((member.source, member.number), note);
        }
        let code = match ended.ending {
            Ending::Stale => {
                let name = self.names.text(member.name).to_owned();
                let digest = member.digest;
                self.count_stale(ended.complete, &|| format!("{name}{}", crate::record::Hex(&digest)), now);
                ack::OK
            }
            Ending::Merged => {
                self.counters.coalesced += 1;
                ack::OK
            }
            Ending::Undone | Ending::Late => ack::TEMPORARY,
        };
        let cause = if ended.ending == Ending::Late { Cause::Late } else { Cause::Other };
        self.answer(member.source, member.number, Answer::new(code, cause));
        self.budget.release_record();
    }

    /// Sends a version whose turn has come, unless nobody waits for it any more or there is no way.
    fn start_held(&mut self, slot: Key, held: Held, now: Time) {
        let Held { member, profile, body, heads } = held;
        let member = Member { slot: Some(slot), ..member };
        if !self.source_takes_answers(member.source) {
            self.counters.orphaned += 1;
            if let Some(tap) = &mut self.tap {
                let why = if self.gave_up { OVER } else { "its connection takes no answers any more" };
                tap.note_of((member.source, member.number), why);
            }
            return self.drop_member(&member);
        }
        if let Some(rule) = self.rules.of(profile) {
            let new = NewRecord { profile, member, body: &body, heads: &heads };
            let closed = self.batches.add(rule, new, &mut self.budget, now);
            self.batch_opens(&member);
            closed.into_iter().flatten().for_each(|batch| self.close_batch(batch, now));
            if self.order.as_ref().is_some_and(|order| order.versions.has_waiters(slot)) {
                self.batches.hurry(profile, now);
            }
            return self.close_due_batches(now);
        }
        let mut flight = Flight::of_one(member, profile);
        flight.since = now;
        self.launch(flight, &body, &heads, now);
    }

    /// Waiters whose deadline has passed, records that are remembered no longer, and records that other executors have.
    pub(super) fn expire_ordered(&mut self, now: Time) {
        while let Some((source, number)) = self.handover.expired(now) {
            self.answer(Origin::Source(source), number, Answer::new(ack::TEMPORARY, Cause::Late));
        }
        if let Some(order) = &mut self.order {
            order.versions.expire(now);
        }
        self.wake_link_waiters(now);
    }
}
