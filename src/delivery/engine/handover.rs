//! Records of other executors, and records for them; see [`super::super::handover`].

use super::super::answer::{Answer, Cause};
use super::super::flight::Origin;
use super::super::handover::{Parcel, Taken};
use super::super::table::Key;
use super::intake::{NO_ROOM, Verdict};
use super::{Engine, PAUSE_LIMIT, REJECT_UNTIL_PERCENT};
use crate::record::ChangeRecord;
use crate::time::{Now, Time};
use crate::wire::ack;

/// Frames of other executors that are taken at a time while sources of this one wait for room, too.
const TAKEN_AT_ONCE: usize = 16;

impl Engine {
    /// What is to be carried to another executor, and its index. I/O asks after each call until there is nothing.
    pub fn next_parcel(&mut self) -> Option<(usize, Parcel)> {
        self.handover.next_parcel(&mut self.budget)
    }

    /// A parcel came from executor `from`. Parcels of one executor have to come in their order.
    pub fn take_parcel(&mut self, from: usize, parcel: Parcel, now: Time) {
        self.recorder.pass(now);
        let mut answers = Vec::new();
        let gone = self.handover.receive(from, parcel, |source, number, answer, is_in_time| {
            answers.push((source, number, answer, is_in_time));
        });
        for (source, number, answer, is_in_time) in answers {
            let is_told = is_in_time && self.answer_source(source, number, answer);
            // It comes again, since its source was told otherwise, or has gone.
            self.counters.duplicates += u64::from(!is_told && answer.cause() == Cause::Taken);
        }
        self.sources_gone += u64::from(gone);
        self.wake_link_waiters(now);
        self.go_on(now);
    }

    /// Whether everything that this executor has to do with others is over.
    pub fn is_alone(&self) -> bool {
        self.handover.away() == 0 && self.handover.guests().0 == 0
    }

    /// The message of a record whose owner is another executor is appended to what goes there. After it has had no room
    /// for 2 s the record is answered 18, as if there was no room here.
    pub(super) fn hand_over(&mut self, owner: usize, record: &ChangeRecord<'_>) -> Verdict {
        if self.handover.is_full(owner) {
            self.tap_note(&"answered 18: the executor of its record has no room");
            return Verdict::Answer(ack::OVERLOAD.into());
        }
        self.handover.append(owner, record.body);
        Verdict::HandOver(owner)
    }

    /// The record whose message was just appended.
    pub(super) fn finish_hand_over(&mut self, owner: usize, key: Key, number: u64, arrived: Time, now: Now) {
        let Some(ends) = self.sources.get(key).map(|source| (source.peer, source.port)) else { return };
        self.counters.handed_over += 1;
        let deadline = arrived + self.limits.record_deadline;
        let times = (arrived, now.unix_ms);
        self.handover.hand_over(owner, (key, number), ends, times, deadline, now.monotonic);
    }

    /// Whether frames have to wait since an executor that may own them has no room.
    pub(super) fn is_link_full(&self, now: Time) -> bool {
        self.handover.full_since().is_some_and(|since| since + PAUSE_LIMIT > now)
    }

    /// The same for a source that is about to be read; it is woken when there is room.
    pub(super) fn waits_for_link(&mut self, key: Key, now: Time) -> bool {
        if !self.is_link_full(now) {
            return false;
        }
        if let Some(source) = self.sources.get_mut(key)
            && !std::mem::replace(&mut source.waits_for_link, true)
        {
            self.link_waiters.push(key);
        }
        true
    }

    pub(super) fn wake_link_waiters(&mut self, now: Time) {
        if self.link_waiters.is_empty() || self.is_link_full(now) {
            return;
        }
        for key in std::mem::take(&mut self.link_waiters) {
            if let Some(source) = self.sources.get_mut(key) {
                source.waits_for_link = false;
            }
            self.wake_source(key);
        }
    }

    /// Takes frames of other executors for as long as there is room; each executor's parcels in turn.
    pub(super) fn take_handed(&mut self, now: Time) {
        let mut left = if self.paused.is_empty() { usize::MAX } else { TAKEN_AT_ONCE };
        while left > 0 && self.handover.has_inbound() {
            let nothing_in_flight = self.budget.used_records() == 0;
            if self.rejecting && (self.budget.is_below(REJECT_UNTIL_PERCENT) || nothing_in_flight) {
                self.end_rejecting();
            }
            if !self.rejecting && !nothing_in_flight && !self.budget.has_room(0) {
                self.handover.has_to_wait(now);
                break;
            }
            let Some((from, taken, bytes)) = self.handover.take() else { break };
            self.take_one(&taken, &bytes, now);
            self.handover.put_back(from, bytes);
            left -= 1;
        }
        self.seal_chunk();
        if self.handover.has_inbound() {
            self.make_room(now);
        }
        self.close_due_batches(now);
    }

    fn take_one(&mut self, taken: &Taken, bytes: &[u8], now: Time) {
        let origin = Origin::Ghost(taken.ghost);
        let at = Now { monotonic: now, unix_ms: taken.unix_ms };
        if self.tap.is_some() {
            self.tap_begins(taken.arrived);
        }
        let message = bytes.get(taken.message.clone()).unwrap_or_default();
        let verdict = if !self.source_takes_answers(origin) {
            self.counters.orphaned += 1;
            self.leave_unseen(origin, Some(message), (ack::TEMPORARY.into(), "its connection has gone"), at)
        } else if taken.arrived + self.limits.record_deadline <= now {
            // Whichever answer is first counts it.
            let why = "limits.record-deadline passed before the executor of its record had room for it";
            self.leave_unseen(origin, Some(message), (Answer::new(ack::TEMPORARY, Cause::Late), why), at)
        } else if self.rejecting {
            self.leave_unseen(origin, Some(message), NO_ROOM, at)
        } else {
            self.recorder.guest_begins(message.len());
            self.guarded(origin, now, |engine| engine.judge_message(origin, message, at))
        };
        self.carry_out_verdict(origin, taken.number, verdict, taken.arrived, at);
    }
}
