//! Bytes of a source become records in flight: reassemble, decode, route, encode, queue.

use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::answer::{Answer, Cause};
use super::super::endpoint::Endpoint;
use super::super::flight::{Attempt, Flight, Member, Origin, Stage};
use super::super::names::Kind;
use super::super::ordering::Version;
use super::super::rejects::RejectedLine;
use super::super::source::Phase;
use super::super::table::Key;
use super::ordering::Place;
use super::room::BodyLimit;
use super::{Engine, REJECT_UNTIL_PERCENT, RESERVE_ABOVE};
use crate::config::model::ContentErrors;
use crate::format::ContentType;
pub(super) use crate::logging::more;
use crate::policy::Route;
use crate::policy::table::{PortId, ProfileId};
use crate::record::{self, ChangeRecord, RecordError};
use crate::time::{Now, Time};
use crate::wire::ack;
use crate::wire::compressed::claimed_bytes;
use crate::wire::frame::{Assembler, Frame, FrameError, FrameKind};

/// A record whose body stands in the open chunk.
#[derive(Debug)]
pub(super) struct Encoded {
    first: Key,
    body: Range<usize>,
    heads: Range<usize>,
}

/// A record that is to be delivered.
pub(super) struct Accepted {
    digest: [u8; 20],
    pub(super) kind: Kind,
    /// Its place among the versions of its record, if they are ordered.
    version: Option<Version>,
    /// Where its body stands in the open chunk.
    pub(super) body: Range<usize>,
    /// Where the values of variable headers stand, behind it.
    heads: Range<usize>,
}

/// What is to be done with a record before it is in flight.
pub(super) enum Verdict {
    /// Deliver; the body was appended to the chunk.
    Deliver(Accepted),
    /// Answer with this code at once.
    Answer(Answer),
    /// Answer 10 once this line stands in `rejected-file`.
    Keep(RejectedLine),
    /// Do not deliver: the answer is that of a newer version.
    Follow(Version, Kind),
    /// It is another executor's; its message was appended to what goes there.
    HandOver(usize),
}

/// The code of a frame that there is no room for, and what a tap says of it.
pub(super) const NO_ROOM: (Answer, &str) =
    (Answer::new(ack::OVERLOAD, Cause::Other), "answered 18 without being looked at: there is no room");

impl Engine {
    /// The source's socket gave `bytes`; none to go on with frames that were set aside.
    pub fn source_receive(&mut self, key: Key, bytes: &[u8], now: Now) {
        self.clock = now;
        self.recorder.pass(now.monotonic);
        let Some(source) = self.sources.get_mut(key) else { return };
        if source.phase == Phase::Closing || self.drain_until.is_some() {
            return;
        }
        if !bytes.is_empty() {
            source.received_any = true;
            // All that was set aside has been taken in: what waits from here on came with this read.
            source.stop_waiting();
        }
        // Frames that had to wait are as old as the read that brought them.
        let arrived = source.waiting_since.filter(|_| source.has_kept).unwrap_or(now.monotonic);
        source.has_kept = false;
        // Without a record in flight nothing would ever end it: then one source at a time goes on.
        let is_over = self.rejecting
            && (self.budget.is_below(REJECT_UNTIL_PERCENT) || self.budget.used_records() == 0 && self.admits(key, 0));
        if is_over {
            self.end_rejecting();
        }
        let Some(mut assembler) = self.sources.get_mut(key).and_then(|source| source.assembler.take()) else { return };
        let end = self.take_frames(key, &mut assembler, bytes, arrived, now);
        self.seal_chunk();
        // What is sent from here on is sent after all of them were encoded.
        let now = Now { monotonic: self.recorder.read(), ..now };
        match end {
            End::NoRoom | End::WindowFull => self.make_room(now.monotonic),
            End::UsedUp | End::Broken(_) | End::LinkFull => {}
        }
        self.close_due_batches(now.monotonic);
        self.after_frames(key, assembler, end, bytes.len(), now.monotonic);
        self.go_on(now.monotonic);
    }

    pub(super) fn end_rejecting(&mut self) {
        self.rejecting = false;
        tracing::info!(target: "server", "room again: frames are dispatched, no longer answered 18");
    }

    /// Takes frames until the bytes are used up, framing breaks, or there is no room.
    fn take_frames(&mut self, key: Key, assembler: &mut Assembler, bytes: &[u8], arrived: Time, now: Now) -> End {
        let mut rest = bytes;
        loop {
            // Room first: a frame that was taken out of the assembler has to be answered.
            if !self.rejecting && !self.admits(key, 0) {
                if rest.is_empty() && !assembler.has_frames() {
                    return End::UsedUp;
                }
                assembler.keep(rest);
                return End::NoRoom;
            }
            let limit = self.window_limit();
            if self.sources.get(key).is_none_or(|source| source.window.len() >= limit) {
                assembler.keep(rest);
                return End::WindowFull;
            }
            if !self.rejecting && self.is_link_full(now.monotonic) {
                assembler.keep(rest);
                return End::LinkFull;
            }
            match assembler.next(&mut rest) {
                Ok(Some(frame)) => self.take_frame(key, &frame, arrived, now),
                Ok(None) => return End::UsedUp,
                Err(error) => return End::Broken(error),
            }
        }
    }

    fn take_frame(&mut self, key: Key, frame: &Frame<'_>, arrived: Time, now: Now) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let number = source.window.open(arrived);
        source.count_frame(frame.body.len());
        self.counters.records += 1;
        if self.grace == Some(key) {
            self.grace = None;
        }
        let origin = Origin::Source(key);
        if self.tap.is_some() {
            self.tap_begins(arrived);
        }
        let verdict = if self.rejecting && !self.is_calm(key) || frame.kind == FrameKind::Dropped {
            let message = (frame.kind == FrameKind::Message).then_some(frame.body);
            self.leave_unseen(origin, message, NO_ROOM, now)
        } else {
            self.recorder.decode_begins(frame.body.len(), arrived);
            self.guarded(origin, now.monotonic, |engine| engine.judge(origin, frame, now))
        };
        self.carry_out_verdict(origin, number, verdict, arrived, now);
    }

    /// Does what was decided about a frame.
    pub(super) fn carry_out_verdict(&mut self, origin: Origin, number: u64, verdict: Verdict, arrived: Time, now: Now) {
        if let Some(tap) = &mut self.tap {
            tap.enter((origin, number), !matches!(verdict, Verdict::HandOver(_)));
        }
        match verdict {
            Verdict::Answer(answer) => self.answer(origin, number, answer),
            Verdict::Keep(line) => self.rejects.push(line, origin, number, arrived + self.limits.record_deadline),
            Verdict::Deliver(record) => self.start(origin, number, record, arrived, now.monotonic),
            Verdict::Follow(version, kind) => {
                let digest = version.id.digest;
                let encoded = self.recorder.moment();
                let member = Member { source: origin, number, arrived, encoded, name: kind.name, digest, slot: None };
                self.follow(version, member, kind.profile, now.monotonic);
            }
            Verdict::HandOver(owner) => {
                if let Origin::Source(key) = origin {
                    self.finish_hand_over(owner, key, number, arrived, now);
                }
            }
        }
        if self.bodies.is_full() {
            self.seal_chunk();
        }
    }

    /// A panic while one record is judged costs that record an 11, and what was written of it.
    pub(super) fn guarded(&mut self, origin: Origin, now: Time, judge: impl FnOnce(&mut Engine) -> Verdict) -> Verdict {
        let written = self.bodies.buffer().len();
        match catch_unwind(AssertUnwindSafe(|| judge(self))) {
            Ok(verdict) => verdict,
            Err(_) => {
                self.bodies.cut(written);
                self.report_panic(origin, now);
                Verdict::Answer(ack::TEMPORARY.into())
            }
        }
    }

    /// Decides about one frame, and writes its body if it is to be delivered.
    fn judge(&mut self, origin: Origin, frame: &Frame<'_>, now: Now) -> Verdict {
        if frame.kind == FrameKind::Message {
            return self.judge_message(origin, frame.body, now);
        }
        let claimed = frame.body.first_chunk().and_then(|first| claimed_bytes(*first, self.frame_limits)).unwrap_or(0);
        let _charge = (claimed > RESERVE_ABOVE).then(|| self.budget.charge_until_dropped(claimed as u64));
        // The inflater is taken out for as long as the record borrows its buffer.
        let mut inflater = self.inflater.take().unwrap_or_default();
        let verdict = match inflater.inflate(frame.body, self.frame_limits) {
            Ok(body) => self.judge_message(origin, body, now),
            Err(fault) => self.bad_content(origin, &fault, false, (FrameKind::Compressed, frame.body), now),
        };
        inflater.give_back();
        self.inflater = Some(inflater);
        verdict
    }

    pub(super) fn judge_message(&mut self, origin: Origin, body: &[u8], now: Now) -> Verdict {
        match record::decode(body) {
            Ok(record) => {
                self.recorder.decoded();
                self.judge_record(origin, &record, now)
            }
            Err(fault) => match record::glimpse(body) {
                Some(identity) => self.bad_content(
                    origin,
                    &format_args!("{identity}: {fault}"),
                    true,
                    (FrameKind::Message, body),
                    now,
                ),
                None => self.bad_content(origin, &fault, false, (FrameKind::Message, body), now),
            },
        }
    }

    fn judge_record(&mut self, origin: Origin, record: &ChangeRecord<'_>, now: Now) -> Verdict {
        tracing::debug!(target: "record-parser", "{}", record::Parsed(record));
        if let Origin::Source(_) = origin {
            self.recorder.arrived(record.lut_ms, now);
        }
        if record.is_transaction_monitor() {
            self.counters.skipped += 1;
            self.counters.skipped_monitors += 1;
            return Verdict::Answer(ack::OK.into());
        }
        let Some((_, port)) = self.ends(origin) else { return Verdict::Answer(ack::TEMPORARY.into()) };
        let kind = self.names.kind(port, record, &self.policy.table);
        if self.tap.is_some() {
            self.tap_record(origin, record, kind.profile, now);
        }
        match self.policy.route(kind.profile) {
            Route::To(_) => {}
            Route::Skip => {
                self.tap_note(&"its routing is skip");
                self.counters.skipped += 1;
                return Verdict::Answer(ack::OK.into());
            }
            Route::None => {
                self.tap_note(&"no route");
                self.counters.skipped += 1;
                self.counters.skipped_unrouted += 1;
                let set = record.set.unwrap_or_default();
                if self.policy.is_first_unrouted(record.namespace, set) {
                    tracing::warn!(target: "server",
                        "namespace {}, set {}: no route, so its records are skipped and acked as done; if that is not wanted, add `routing`{}",
                        text(record.namespace), text(set),
                        if self.policy.has_warned_enough() { " (further namespaces and sets without a route are not named)" } else { "" });
                }
                return Verdict::Answer(ack::OK.into());
            }
        }
        let version = match self.place(origin, record, kind, now) {
            Place::Free(version) => version,
            Place::Over(verdict) => return verdict,
        };
        if let Some(why) = self.find_no_way(kind.profile, Some(origin), now.monotonic) {
            self.count_no_way(&why, 1);
            if self.tap.as_ref().is_some_and(|tap| tap.has_current()) {
                self.tap_note(&self.explain(&why));
            }
            if let Some(left_out) = self.limited.refused.allow(now.monotonic) {
                tracing::warn!(target: "server", "{}: answered 11, nothing was sent: {why}{}",
                    record.identity(), more(left_out), why = self.explain(&why));
            }
            return Verdict::Answer(ack::TEMPORARY.into());
        }
        let written = self.bodies.buffer().len();
        self.recorder.encode_begins();
        self.tap_encoding(0);
        let limit = self.body_limit(record.body.len());
        match self.encode(kind, record, (now.unix_ms, limit.bytes)) {
            Ok(accepted) => {
                self.recorder.encoded();
                self.tap_encoding(1);
                Verdict::Deliver(Accepted { version, ..accepted })
            }
            Err(fault) => {
                self.bodies.cut(written);
                self.not_written(origin, record, &fault, limit, now)
            }
        }
    }

    /// What comes of a record that was not written.
    fn not_written(
        &mut self,
        origin: Origin,
        record: &ChangeRecord<'_>,
        fault: &RecordError,
        limit: BodyLimit,
        now: Now,
    ) -> Verdict {
        if let Some(verdict) = self.has_no_room(record, fault, limit, now) {
            return verdict;
        }
        let fault = format_args!("{}: {fault}", record.identity());
        self.bad_content(origin, &fault, true, (FrameKind::Message, record.body), now)
    }

    /// Writes body and header values of a record into the open chunk: a body of `most` bytes at most.
    fn encode(
        &mut self,
        kind: Kind,
        record: &ChangeRecord<'_>,
        (unix_ms, most): (u64, usize),
    ) -> Result<Accepted, RecordError> {
        let out = self.bodies.buffer();
        let start = out.len();
        // A kind's profile is one of its own table.
        if let Some(profile) = self.policy.table.profile(kind.profile) {
            self.encoders.body(profile, record, (unix_ms, most), out, &mut self.counters.notes)?;
        }
        let end = out.len();
        let left_out = self.encoders.heads(self.policy.destinations(kind.profile), record, out)?;
        self.counters.headers_absent += u64::from(left_out.absent);
        self.counters.headers_too_long += u64::from(left_out.too_long);
        let heads = end..out.len();
        Ok(Accepted { digest: *record.digest, kind, version: None, body: start..end, heads })
    }

    /// A record that cannot be decoded, or not expressed in its format. `is_named`: the fault says which record it is.
    fn bad_content(
        &mut self,
        origin: Origin,
        fault: &dyn std::fmt::Display,
        is_named: bool,
        (kind, body): (FrameKind, &[u8]),
        now: Now,
    ) -> Verdict {
        self.counters.content_faults += 1;
        if self.tap.is_some() {
            self.tap_fault(origin, fault, (kind, body), now);
        }
        let bad = |code| Verdict::Answer(Answer::new(code, Cause::Content));
        let peer = self.ends(origin).map(|(peer, _)| peer);
        let (verdict, outcome) = match self.content_errors {
            ContentErrors::Temporary => (bad(ack::TEMPORARY), "answered 11, so the server sends it again"),
            ContentErrors::Permanent if !self.rejects.is_kept() => {
                (bad(ack::PERMANENT), "answered 10, which the server does not send again")
            }
            ContentErrors::Permanent => match self.rejects.line(peer, fault, kind, body, now.unix_ms, &mut self.budget)
            {
                Some(line) => (Verdict::Keep(line), "answered 10, once it is in rejected-file"),
                None => {
                    self.counters.rejected_refused += 1;
                    let outcome = "answered 11, so the server sends it again: too much waits for rejected-file";
                    (bad(ack::TEMPORARY), outcome)
                }
            },
        };
        let limit = if is_named { &mut self.limited.content } else { &mut self.limited.unnamed };
        if let Some(left_out) = limit.allow(now.monotonic) {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            tracing::warn!(target: "record-parser", "{peer}: record {outcome}: {fault}{}", more(left_out));
        }
        verdict
    }

    pub(super) fn report_panic(&mut self, origin: Origin, now: Time) {
        self.counters.panics += 1;
        if let Some(left_out) = self.limited.panic.allow(now) {
            let peer = self.ends(origin).map(|(peer, _)| peer.to_string()).unwrap_or_default();
            tracing::error!(target: "server",
                "{peer}: a defect of this program stopped the handling of a record, which was answered 11; please report it with the lines above{}",
                more(left_out));
        }
    }

    /// Who sends, and the port that it came in on.
    pub(super) fn ends(&self, origin: Origin) -> Option<(SocketAddr, PortId)> {
        match origin {
            Origin::Source(key) => self.sources.get(key).map(|source| (source.peer, source.port)),
            Origin::Ghost(key) => self.handover.ghost(key).map(|ghost| (ghost.peer, ghost.port)),
        }
    }

    /// Puts a record in flight, or in its batch.
    fn start(&mut self, source: Origin, number: u64, record: Accepted, arrived: Time, now: Time) {
        let (digest, kind) = (record.digest, record.kind);
        let encoded = self.recorder.moment();
        let mut member = Member { source, number, arrived, encoded, name: kind.name, digest, slot: None };
        if let Some(version) = record.version {
            let Some(claimed) = self.claim(version, member, &record, now) else { return };
            member = claimed;
        }
        let Accepted { body, heads, .. } = record;
        if self.rules.of(kind.profile).is_some() {
            return self.add_to_batch(kind.profile, member, body, heads, now);
        }
        let destinations = self.policy.destinations(kind.profile).len();
        self.budget.charge_record();
        if let Some(first) = self.open_flight(Flight::of_one(member, kind.profile), 0..destinations, now) {
            self.unsealed.push(Encoded { first, body, heads });
        }
    }

    /// Puts a flight in the table: an attempt for each of the destinations at `positions` of its route, in its
    /// endpoint's queue unless it has to wait for a test, without a body yet. The first attempt; `None` if the flight is
    /// over.
    pub(super) fn open_flight(
        &mut self,
        flight: Flight,
        positions: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator,
        now: Time,
    ) -> Option<Key> {
        let profile = flight.profile;
        let digest = flight.only_digest();
        let deadline = flight.members().map(|member| member.arrived).min().unwrap_or(now) + self.limits.record_deadline;
        let content = self.content_type(profile);
        let flight_key = self.flights.insert(flight)?;
        self.deadlines.add(&mut self.flights, flight_key, deadline);
        let mut next = None;
        let (mut pending, mut lacking) = (0, None);
        let wanted = positions.len();
        for position in positions.rev() {
            let chosen = self.choose(profile, position, now);
            let has_place =
                chosen.is_some_and(|(_, endpoint)| self.endpoints.get_mut(endpoint).is_some_and(Endpoint::hold_place));
            let Some((destination, endpoint)) = chosen.filter(|_| has_place) else {
                lacking = Some(position);
                continue;
            };
            let attempt = Attempt {
                flight: flight_key,
                destination,
                endpoint,
                stage: Stage::Held,
                body: bytes::Bytes::new(),
                values: bytes::Bytes::new(),
                content,
                gzip: false,
                digest,
                refused_for_good: false,
                retried: false,
                was_sent: false,
                test: false,
                sent_at: now,
                begun: None,
                sibling: next,
                links: Default::default(),
            };
            if let Some(attempt_key) = self.attempts.insert(attempt) {
                next = Some(attempt_key);
                pending += 1;
            } else if let Some(entry) = self.endpoints.get_mut(endpoint) {
                entry.give_held_place();
            }
        }
        if let Some(flight) = self.flights.get_mut(flight_key) {
            flight.first = next;
            flight.pending = pending;
        }
        if self.tap.is_some() {
            self.tap_flies(flight_key);
        }
        if pending < wanted || next.is_none() {
            let no_way = self.no_way_at(profile, lacking.unwrap_or_default(), now);
            let records = self.flights.get(flight_key).map_or(0, |flight| flight.len() as u64);
            self.count_no_way(&no_way, records);
            // Each had room a moment ago; a record that reached only some must never be answered 0.
            self.end_flight(flight_key, Some(&no_way), now);
            return None;
        }
        self.send_off(flight_key);
        next
    }

    /// What the body of a request is.
    fn content_type(&self, profile: ProfileId) -> ContentType {
        match self.rules.of(profile) {
            Some(rule) => rule.framing.content_type(),
            None => self.policy.table.profile(profile).map_or(ContentType::Xdr, |it| self.encoders.content_type(it)),
        }
    }

    /// Ends the open chunk and gives its records their bodies.
    pub(super) fn seal_chunk(&mut self) {
        if self.unsealed.is_empty() {
            return;
        }
        let chunk = self.bodies.seal(&mut self.budget);
        let mut batch = std::mem::take(&mut self.unsealed);
        for Encoded { first, body, heads } in batch.drain(..) {
            self.give_bodies(first, &chunk.slice(body), &chunk.slice(heads));
        }
        self.unsealed = batch;
    }

    /// Puts the assembler back and notes what the source waits for.
    fn after_frames(&mut self, key: Key, assembler: Assembler, end: End, received: usize, now: Time) {
        let held = assembler.held_bytes();
        let wanted = assembler.wanted_bytes();
        let Some(source) = self.sources.get_mut(key) else { return };
        let mid_frame = assembler.is_mid_frame() || source.is_mid_record;
        source.assembler = Some(assembler);
        source.has_kept = matches!(end, End::NoRoom | End::WindowFull | End::LinkFull);
        let reserved = if wanted > RESERVE_ABOVE && source.charged >= wanted as u64 { wanted.max(held) } else { held };
        self.budget.recharge(&mut source.charged, reserved as u64);
        let acks = source.ack_bytes();
        self.budget.recharge(&mut source.charged_acks, acks);
        match (mid_frame, received > 0) {
            (true, true) => source.partial_since = Some(now),
            // The frames before it had been set aside: its time begins when they are gone.
            (true, false) => source.partial_since = source.partial_since.or(Some(now)),
            (false, _) => source.partial_since = None,
        }
        match end {
            End::UsedUp => source.stop_waiting(),
            // What was set aside keeps the time of its read.
            End::WindowFull | End::LinkFull => _ = source.waiting_since.get_or_insert(now),
            End::NoRoom => self.pause(key, now),
            End::Broken(error) => self.broken(key, &error, now),
        }
    }

    /// Framing broke: nothing after it can be trusted. What arrived before is answered, then the connection is closed.
    fn broken(&mut self, key: Key, error: &FrameError, now: Time) {
        let Some(source) = self.sources.get(key) else { return };
        self.counters.framing_faults += 1;
        if let Some(left_out) = self.limited.framing.allow(now) {
            tracing::warn!(target: "server", "{}: connection closed: {error}{}", source.peer, more(left_out));
        }
        self.stop_taking(key);
    }
}

/// Why no more frames are taken now.
enum End {
    /// All bytes were taken in or belong to a partial frame.
    UsedUp,
    /// The budget is used; the rest was set aside.
    NoRoom,
    /// Too many records of this connection wait for their code; the rest was set aside.
    WindowFull,
    /// An executor that may own the next record has no room; the rest was set aside.
    LinkFull,
    /// Framing broke.
    Broken(FrameError),
}

/// A name as text for the log.
fn text(name: &[u8]) -> std::borrow::Cow<'_, str> {
    if name.is_empty() { "(none)".into() } else { String::from_utf8_lossy(name) }
}
