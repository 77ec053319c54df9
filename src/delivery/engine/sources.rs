//! XDR connections: opening, closing, what to write to them, whether to read them.

use std::net::SocketAddr;

use super::super::answer::{Answer, Cause};
use super::super::budget::{CALM_SHARE, RECORD_OVERHEAD, SHARE};
use super::super::flight::Origin;
use super::super::source::{Phase, REJECTING_WINDOW_LIMIT, Source, WINDOW_LIMIT};
use super::super::table::Key;
use super::intake::more;
use super::{Engine, RESERVE_ABOVE, RESUME_AT_ONCE};
use crate::metrics::Counters;
use crate::time::Time;
use crate::wire::ack;
use crate::wire::frame::Assembler;

/// What I/O does with a source's socket next, once its output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Read.
    Read,
    /// Call [`Engine::source_receive`] without bytes: frames that were set aside may be taken in now.
    Resume,
    /// Do nothing until it is woken.
    Wait,
    /// Records of it ended just now: write their acks, and ask again.
    Again,
    /// Everything is answered: close the write side, read and drop what is left, close.
    Finish,
    /// It is gone: close at once.
    Gone,
}

/// TLS handshakes of XDR connections in the process at a time, divided over its executors: each may hold 128 KiB, so that all
/// of them hold 32 MiB, or 1 MiB for each executor if there are more than 32.
const HANDSHAKES_AT_ONCE: usize = 256;

/// The least of one executor: nodes that connect again after a restart come together.
const LEAST_HANDSHAKES: usize = 8;

/// One executor's part of them.
pub(super) fn handshakes_at_once(executors: usize) -> usize {
    (HANDSHAKES_AT_ONCE / executors.max(1)).max(LEAST_HANDSHAKES)
}

impl Engine {
    /// A connection was accepted on the listening port `port`. `None` when there is no place for it.
    pub fn source_open(&mut self, peer: SocketAddr, port: u16) -> Option<Key> {
        let ports = (port, self.policy.table.port(port));
        let source = Source::new(peer, ports, Assembler::new(self.frame_limits), self.recorder.moment());
        let key = self.sources.insert(source)?;
        self.counters.sources_opened += 1;
        tracing::debug!(target: "server", "{peer}: XDR connection opened");
        Some(key)
    }

    /// The connection begins with a TLS handshake. Until [`Engine::source_secured`] it has the time of a partial frame, and
    /// less where there are too many of them: then the oldest one has to go. An honest one is done within some round trips.
    pub fn source_handshake_begins(&mut self, key: Key, now: Time) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.is_securing = true;
        source.is_tls = true;
        source.partial_since = Some(now);
        let most = self.most_handshakes;
        if self.securing.len() >= most {
            let sources = &self.sources;
            self.securing.retain(|key| sources.get(*key).is_some_and(|source| source.is_securing));
        }
        self.securing.push_back(key);
        if self.securing.len() <= most {
            return;
        }
        let Some(oldest) = self.securing.pop_front() else { return };
        self.counters.handshakes_crowded_out += 1;
        if let Some(left_out) = self.limited.framing.allow(now)
            && let Some(source) = self.sources.get(oldest)
        {
            tracing::warn!(target: "server",
                "{}: connection closed: its TLS handshake was the oldest of more than {most} on one executor; if these peers are not yours, see service.allowed-networks{}",
                source.peer, more(left_out));
        }
        self.source_closed(oldest);
        self.wakes.push(super::Wake::Source(oldest));
    }

    /// What to do with the socket next while the handshake is not done: it needs no room.
    pub fn source_handshake(&self, key: Key) -> Input {
        match self.sources.get(key) {
            None => Input::Gone,
            Some(source) if source.phase == Phase::Closing || self.drain_until.is_some() => Input::Finish,
            Some(_) => Input::Read,
        }
    }

    /// The handshake is done.
    pub fn source_secured(&mut self, key: Key) {
        if let Some(source) = self.sources.get_mut(key) {
            source.is_securing = false;
            source.partial_since = None;
        }
    }

    /// What came last on the open TLS session ends inside a TLS record, or not; before [`Engine::source_receive`] of what it
    /// held. A peer that stops there has the time of a partial frame, and holds as much.
    pub fn source_record_edge(&mut self, key: Key, is_mid_record: bool, now: Time) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.is_mid_record = is_mid_record;
        if is_mid_record {
            source.partial_since = Some(now);
        } else if !source.is_mid_frame() {
            source.partial_since = None;
        }
    }

    /// TLS failed, so that the connection is of no use any more: says why. Nobody waits for what was not dispatched yet.
    pub fn source_insecure(&mut self, key: Key, why: &str, now: Time) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.is_securing = false;
        let peer = source.peer;
        if let Some(left_out) = self.limited.framing.allow(now) {
            tracing::warn!(target: "server", "{peer}: connection closed: TLS: {why}{}", more(left_out));
        }
        self.source_ended(key);
    }

    /// The acks that can be written at `now`.
    pub fn source_output(&mut self, key: Key, now: Time) -> &[u8] {
        let Some(source) = self.sources.get_mut(key) else { return &[] };
        let (counters, recorder, tap) = (&mut self.counters, &mut self.recorder, &mut self.tap);
        let mut at = 0;
        source.output(now, |released| {
            if let Some(tap) = tap {
                tap.released((Origin::Source(key), released.number), &released, at);
                at += 1;
            }
            if released.answer.code() != ack::OVERLOAD {
                recorder.released(released.waited, released.total);
            }
            count_ack(counters, released.answer);
        })
    }

    /// `bytes` of the output were written.
    pub fn source_wrote(&mut self, key: Key, bytes: usize) {
        if let Some(source) = self.sources.get_mut(key) {
            let acks = source.wrote(bytes);
            if let Some(tap) = &mut self.tap {
                tap.wrote(key, acks);
            }
        }
        self.charge_acks(key);
    }

    /// Charges what the acks of a source take, those that cannot be given yet as well.
    pub(super) fn charge_acks(&mut self, key: Key) {
        if let Some(source) = self.sources.get_mut(key) {
            let bytes = source.ack_bytes();
            self.budget.recharge(&mut source.charged_acks, bytes);
        }
    }

    /// Records of a source without a released code beyond which it is not read.
    pub(super) fn window_limit(&self) -> usize {
        if self.rejecting { REJECTING_WINDOW_LIMIT } else { WINDOW_LIMIT }
    }

    /// The socket took no more of the output.
    pub fn source_stuck(&mut self, key: Key, now: Time) {
        if let Some(source) = self.sources.get_mut(key) {
            source.stuck_since.get_or_insert(now);
        }
        self.charge_acks(key);
    }

    /// What to do with the socket next.
    pub fn source_input(&mut self, key: Key, now: Time) -> Input {
        let limit = self.window_limit();
        let Some(source) = self.sources.get_mut(key) else { return Input::Gone };
        if source.phase == Phase::Closing || self.drain_until.is_some() {
            return if source.is_flushed() { Input::Finish } else { Input::Wait };
        }
        if source.paused || source.window.len() >= limit || source.stuck_since.is_some() {
            return Input::Wait;
        }
        if self.waits_for_link(key, now) {
            return Input::Wait;
        }
        let Some(source) = self.sources.get_mut(key) else { return Input::Gone };
        let go_on = if source.has_kept { Input::Resume } else { Input::Read };
        let whole = source.assembler.as_ref().map_or(0, Assembler::wanted_bytes);
        let whole = if whole > RESERVE_ABOVE { whole as u64 } else { 0 };
        let wanted = whole.saturating_sub(source.charged);
        if whole > 0 && wanted == 0 {
            return go_on;
        }
        if self.admits(key, wanted) {
            if let Some(source) = self.sources.get_mut(key) {
                if wanted > 0 {
                    self.budget.recharge(&mut source.charged, whole);
                }
                if go_on == Input::Read {
                    source.stop_waiting();
                }
            }
            return go_on;
        }
        if self.rejecting {
            // It is answered 18 in any case, and nobody bounds how many frames are half here.
            if let Some(source) = self.sources.get_mut(key)
                && let Some(assembler) = &mut source.assembler
            {
                assembler.drop_frame();
                let held = assembler.held_bytes() as u64;
                self.budget.recharge(&mut source.charged, held);
            }
            return go_on;
        }
        self.pause(key, now);
        // Records that wait in batches hold the room that this one waits for.
        self.make_room(now);
        self.pump_touched(now);
        // Its task does not hear its own wake while it asks.
        match self.sources.get(key) {
            Some(source) if source.woken => Input::Again,
            _ => Input::Wait,
        }
    }

    /// Whether `frame_bytes` more may be taken in from this source. While no record is in flight, one source at a
    /// time may without room: partial frames alone could otherwise fill the budget for good.
    pub(super) fn admits(&mut self, key: Key, frame_bytes: u64) -> bool {
        if self.has_share(key, SHARE) && self.budget.has_room(frame_bytes) {
            return true;
        }
        if self.budget.used_records() == 0
            && self.grace.is_none_or(|grace| grace == key || self.is_between_frames(grace))
        {
            self.grace = Some(key);
            return true;
        }
        false
    }

    /// Whether there are sources that one has to leave room to.
    pub(super) fn has_others(&self) -> bool {
        self.shares || self.sources.len() > 1
    }

    /// Whether a source leaves enough room to the others: see [`SHARE`].
    fn has_share(&mut self, key: Key, times: u64) -> bool {
        if !self.has_others() {
            return true;
        }
        let Some(source) = self.sources.get(key) else { return true };
        let records = source.window.pending() as u64;
        let bytes = records.saturating_mul(source.frame_bytes + RECORD_OVERHEAD);
        self.budget.has_share(records, bytes, times)
    }

    /// Whether frames of a source are dispatched while others' are answered 18: it is not the one who took the room.
    pub(super) fn is_calm(&mut self, key: Key) -> bool {
        self.has_others() && self.has_share(key, CALM_SHARE) && self.budget.has_room(0)
    }

    /// Whether nothing of a frame waits here: a source that has nothing to send must not keep the others waiting.
    fn is_between_frames(&self, key: Key) -> bool {
        let Some(source) = self.sources.get(key) else { return true };
        let is_empty = |assembler: &Assembler| !assembler.is_mid_frame() && !assembler.has_frames();
        !source.has_kept && source.assembler.as_ref().is_some_and(is_empty)
    }

    pub(super) fn pause(&mut self, key: Key, now: Time) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.waiting_since.get_or_insert(now);
        self.counters.pauses += u64::from(!std::mem::replace(&mut source.wants_room, true));
        if !source.paused {
            source.paused = true;
            self.paused.push_back(key);
        }
    }

    /// After records may have ended: sends what can be sent now, and lets sources that wait for room try again.
    pub(super) fn go_on(&mut self, now: Time) {
        self.take_spoken(now);
        self.relieve(now);
        self.pump_touched(now);
        if self.flights.is_empty() {
            // The last of what was in flight may have ended just now, since nobody waits for it any more.
            self.relieve(now);
        }
        if self.order.is_some() {
            self.go_on_in_order(now);
            self.relieve(now);
        }
        self.resume();
    }

    /// Sends the records of batches that hold the room which sources wait for.
    fn relieve(&mut self, now: Time) {
        if !self.paused.is_empty() && !self.budget.has_room(0) {
            self.make_room(now);
            self.pump_touched(now);
        }
    }

    /// Lets those that have waited longest try again.
    pub(super) fn resume(&mut self) {
        if self.paused.is_empty() || !(self.rejecting || self.budget.used_records() == 0 || self.budget.has_room(0)) {
            return;
        }
        for _ in 0..RESUME_AT_ONCE.min(self.paused.len()) {
            let Some(key) = self.paused.pop_front() else { break };
            if !self.rejecting && self.budget.used_records() > 0 && !self.has_share(key, SHARE) {
                // The room that there is is the others'.
                self.paused.push_back(key);
                continue;
            }
            if let Some(source) = self.sources.get_mut(key) {
                source.paused = false;
                self.wake_source(key);
            }
        }
    }

    /// The peer closed its side, or reading failed. What it has in flight is answered as far as it can be.
    pub fn source_ended(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        if !source.received_any {
            tracing::debug!(target: "server", "{}: closed without a byte (a probe)", source.peer);
        } else if source.is_mid_frame() {
            tracing::debug!(target: "server", "{}: closed inside a frame, which the server sends again", source.peer);
        }
        self.stop_taking(key);
    }

    /// No more frames are taken from a source, and what is not dispatched of it is not delivered.
    pub(super) fn stop_taking(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.phase = Phase::Closing;
        self.sources_gone += 1;
        self.handover.source_gone(key);
        self.wake_source(key);
    }

    /// The socket is gone: nothing can be answered any more. What was not dispatched yet is not delivered, since the
    /// server sends it again elsewhere.
    pub fn source_closed(&mut self, key: Key) {
        let Some(mut source) = self.sources.remove(key) else { return };
        self.budget.recharge(&mut source.charged, 0);
        self.budget.recharge(&mut source.charged_acks, 0);
        if self.grace == Some(key) {
            self.grace = None;
        }
        self.counters.sources_closed += 1;
        self.counters.duplicates += source.unheard();
        self.sources_gone += 1;
        self.handover.source_gone(key);
        if let Some(tap) = &mut self.tap {
            tap.source_gone(key);
        }
        tracing::debug!(target: "server", "{}: XDR connection closed, {} records unanswered", source.peer, source.window.len());
        self.resume();
    }

    /// Whether the source still exists and is still read from, so that its queued records are worth sending.
    pub(super) fn source_takes_answers(&self, source: Origin) -> bool {
        match source {
            Origin::Source(key) => self.sources.get(key).is_some_and(|source| source.phase == Phase::Open),
            Origin::Ghost(key) => !self.gave_up && self.handover.takes_answers(key),
        }
    }
}

/// An ack may be written. What is known of its record counts at this one place, so that the parts never disagree.
fn count_ack(counters: &mut Counters, answer: Answer) {
    match answer.code() {
        ack::OK => counters.acked_ok += 1,
        ack::PERMANENT => counters.acked_permanent += 1,
        ack::OVERLOAD => counters.acked_overload += 1,
        _ => counters.acked_temporary += 1,
    }
    match answer.cause() {
        Cause::Taken => counters.acked_delivered += u64::from(answer.code() == ack::OK),
        Cause::Content => counters.acked_bad_content += 1,
        Cause::Other | Cause::Late => {}
    }
}
