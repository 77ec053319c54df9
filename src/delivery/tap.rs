//! Records that somebody looks at while they go through: which of them, and what was seen of each.
//!
//! [`Taps`] is one executor's side, and exists only while somebody taps. A record that a [`Filter`] wants is followed from
//! its decoding to its ack: the engine tells what it does with it (`engine/tap.rs`), and at its end a line of JSON is
//! waiting for I/O. Everything is bounded, and nothing ever waits: what is beyond a bound is counted and goes on unseen.

mod event;
mod filter;
mod followed;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;

pub use filter::{Candidate, Filter, Share};
pub use followed::{Arrival, Sent, Way, Word};
use followed::{Call, Followed, Message};

use super::flight::{Flight, Origin};
use super::table::Key;
use super::window::Released;
use crate::config::model::Format;
use crate::format::Formatter;
use crate::record::DecodeLimits;
use crate::time::Time;
use crate::wire::ack;

/// Taps at a time, in the whole process.
pub const MOST_TAPS: usize = 4;

/// Records that an executor follows at a time.
pub const FOLLOWED: usize = 256;

/// Records that an executor begins to follow between two ticks, which costs about as much as their encoding; and those that
/// it decodes for taps alone.
pub const FOLLOWED_PER_TICK: u32 = 256;

/// Lines of one executor that I/O has not taken, and as many in what I/O keeps of that executor for each tap. Further ones
/// are dropped, and counted.
pub const QUEUE: usize = 256;

/// Bytes of these lines.
pub const QUEUE_BYTES: usize = 4 << 20;

/// Bytes of a record's JSON, or of a request's body, that are shown.
pub const TEXT_BYTES: usize = 16 << 10;

/// A record whose message has more bytes is shown without its content.
pub const MESSAGE_BYTES: usize = 1 << 20;

/// Bytes that an executor keeps for the records that it follows: once there are so many, messages, headers and bodies are
/// left out. Names and reasons are not, of which a record has 2 KiB at most, and 1 KiB and a URL for each of its requests.
pub const KEPT_BYTES: usize = 8 << 20;

/// Requests that are shown of one record.
const CALLS: usize = 32;

/// A record that is followed for longer than this is shown as far as it was seen.
const LONGEST: Duration = Duration::from_secs(600);

/// A tap as its executor knows it.
#[derive(Debug)]
struct Watch {
    id: u64,
    filter: Filter,
    missed: u64,
    /// It takes no more lines for now.
    is_full: bool,
}

/// A line for those who want it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The taps.
    pub taps: Vec<u64>,
    /// A JSON object and a line feed.
    pub line: Bytes,
}

/// One executor's side of all taps.
#[derive(Debug)]
pub struct Taps {
    executor: usize,
    watches: Vec<Watch>,
    limits: DecodeLimits,
    formatter: Formatter,
    random: u64,
    /// The record that is being judged.
    current: Option<Followed>,
    /// Filters have been asked about it.
    is_considered: bool,
    /// When the record at hand arrived, and when its decoding began.
    begins: (Time, Time),
    followed: HashMap<(Origin, u64), Followed>,
    /// Records whose code is released and not written, and the place of their ack among those that are to be written.
    unwritten: Vec<((Origin, u64), usize)>,
    kept: usize,
    /// Since the last tick: records that were begun with, and records that were decoded for taps alone.
    this_tick: u32,
    looked: u32,
    events: VecDeque<Event>,
    event_bytes: usize,
}

impl Taps {
    /// For executor `executor`, with nobody who taps.
    pub fn new(executor: usize, limits: DecodeLimits) -> Taps {
        Taps {
            executor,
            watches: Vec::new(),
            limits,
            formatter: formatter(limits),
            random: (executor as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            current: None,
            is_considered: false,
            begins: (Time::ZERO, Time::ZERO),
            followed: HashMap::new(),
            unwritten: Vec::new(),
            kept: 0,
            this_tick: 0,
            looked: 0,
            events: VecDeque::new(),
            event_bytes: 0,
        }
    }

    /// These are the taps from now on; what others waited for is dropped.
    pub fn set(&mut self, taps: &[(u64, Filter)]) {
        let before = std::mem::take(&mut self.watches);
        let known = |id: u64| before.iter().find(|watch| watch.id == id);
        let watch = |(id, filter): &(u64, Filter)| Watch {
            id: *id,
            filter: filter.clone(),
            missed: known(*id).map_or(0, |watch| watch.missed),
            is_full: known(*id).is_some_and(|watch| watch.is_full),
        };
        self.watches = taps.iter().take(MOST_TAPS).map(watch).collect();
        self.drop_unwanted();
    }

    /// Drops what only taps wanted that have ended.
    fn drop_unwanted(&mut self) {
        let watches = &self.watches;
        let is_there = |id: &u64| watches.iter().any(|watch| watch.id == *id);
        let kept = &mut self.kept;
        self.followed.retain(|_, followed| {
            followed.wanted.retain(is_there);
            let stays = !followed.wanted.is_empty();
            *kept = kept.saturating_sub(if stays { 0 } else { followed.kept });
            stays
        });
        self.events.retain_mut(|event| {
            event.taps.retain(is_there);
            !event.taps.is_empty()
        });
        self.event_bytes = self.events.iter().map(|event| event.line.len()).sum();
        let followed = &self.followed;
        self.unwritten.retain(|(place, _)| followed.contains_key(place));
    }

    /// Records that are followed now.
    pub fn followed(&self) -> usize {
        self.followed.len()
    }

    /// Bytes that are kept for them.
    pub fn kept_bytes(&self) -> usize {
        self.kept
    }

    /// Time passed: more records may be followed, and what has been followed for too long is shown as it is.
    pub fn tick(&mut self, now: Time) {
        (self.this_tick, self.looked) = (0, 0);
        let is_old = |followed: &Followed| followed.arrived + LONGEST <= now;
        let old: Vec<(Origin, u64)> =
            self.followed.iter().filter(|(_, followed)| is_old(followed)).map(|(place, _)| *place).collect();
        for place in old {
            self.end(place);
        }
    }

    /// The next line.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.event_bytes = self.event_bytes.saturating_sub(event.line.len());
        Some(event)
    }

    /// Whether a tap takes no more lines for now: what it wants is not followed, and counted.
    pub fn set_full(&mut self, id: u64, is_full: bool) {
        if let Some(watch) = self.watches.iter_mut().find(|watch| watch.id == id) {
            watch.is_full = is_full;
        }
    }

    /// Records that a tap wanted and did not get, since the last call.
    pub fn take_missed(&mut self) -> impl Iterator<Item = (u64, u64)> {
        self.watches.iter_mut().map(|watch| (watch.id, std::mem::take(&mut watch.missed)))
    }

    /// A record is about to be looked at, which arrived then.
    pub fn begins(&mut self, arrived: Time, now: Time) {
        self.current = None;
        self.is_considered = false;
        self.begins = (arrived, now);
    }

    fn has_place(&self) -> bool {
        self.followed.len() < FOLLOWED && self.this_tick < FOLLOWED_PER_TICK && !self.has_no_room()
    }

    /// The record at hand is answered without being looked at: whether it is to be decoded for the taps alone.
    pub fn looks_at(&mut self) -> bool {
        let may = self.looked < FOLLOWED_PER_TICK && self.has_place();
        self.looked += u32::from(may);
        may
    }

    /// Nobody knows which filters want the record at hand: it counts as missed for each tap, its share aside.
    pub fn leave_unseen(&mut self) {
        for watch in &mut self.watches {
            watch.missed += u64::from(watch.filter.share.takes(&mut self.random));
        }
    }

    /// Whether filters have been asked about the record at hand.
    pub fn is_considered(&self) -> bool {
        self.is_considered
    }

    /// The record at hand is known as far as filters ask, which happens once. Whether it is followed from here on.
    pub fn consider(&mut self, candidate: &Candidate<'_>, arrival: Arrival, message: &[u8], decoded: Time) -> bool {
        self.is_considered = true;
        let mut wanted = Vec::new();
        for watch in self.watches.iter_mut().filter(|watch| watch.filter.matches(candidate)) {
            if watch.filter.share.takes(&mut self.random) {
                if watch.is_full {
                    watch.missed += 1;
                } else {
                    wanted.push(watch.id);
                }
            }
        }
        if wanted.is_empty() {
            return false;
        }
        if !self.has_place() {
            self.miss(&wanted);
            return false;
        }
        self.this_tick += 1;
        let fits = message.len() <= MESSAGE_BYTES && self.kept + message.len() <= KEPT_BYTES;
        let kept = if fits { message.len() } else { 0 };
        self.kept += kept;
        let (arrived, began) = self.begins;
        self.current = Some(Followed {
            wanted,
            arrival,
            message: if fits { Message::Kept(message.to_vec()) } else { Message::Left(message.len()) },
            arrived,
            began,
            decoded,
            encoded: [None; 2],
            fault: None,
            note: None,
            calls: Vec::new(),
            code: None,
            in_flight: false,
            released: None,
            is_told: false,
            is_gone: false,
            kept,
        });
        true
    }

    fn has_no_room(&self) -> bool {
        self.events.len() >= QUEUE || self.event_bytes >= QUEUE_BYTES
    }

    fn miss(&mut self, wanted: &[u64]) {
        for watch in self.watches.iter_mut().filter(|watch| wanted.contains(&watch.id)) {
            watch.missed += 1;
        }
    }

    /// Whether the record at hand is followed.
    pub fn has_current(&self) -> bool {
        self.current.is_some()
    }

    /// What is wrong with the content of the record at hand.
    pub fn fault(&mut self, fault: &dyn std::fmt::Display) {
        if let Some(current) = &mut self.current {
            current.fault = Some(event::cut(&fault.to_string()).to_owned());
        }
    }

    /// Why the record at hand is not sent.
    pub fn note(&mut self, note: &dyn std::fmt::Display) {
        if let Some(current) = &mut self.current {
            current.note = Some(event::cut(&note.to_string()).to_owned());
        }
    }

    /// The same for one that was sent on its way.
    pub fn note_of(&mut self, place: (Origin, u64), note: &str) {
        if let Some(followed) = self.followed.get_mut(&place) {
            followed.note = Some(event::cut(note).to_owned());
            self.weigh(place);
        }
    }

    /// The same for each record of a flight.
    pub fn note_all(&mut self, flight: &Flight, note: &str) {
        flight.members().for_each(|member| self.note_of((member.source, member.number), note));
    }

    /// The encoding of the record at hand begins (0), or is done (1).
    pub fn encoding(&mut self, step: usize, now: Time) {
        if let Some(time) = self.current.as_mut().and_then(|current| current.encoded.get_mut(step)) {
            *time = Some(now);
        }
    }

    /// The record at hand goes on under this name; `is_kept` unless another executor goes on with it.
    pub fn enter(&mut self, place: (Origin, u64), is_kept: bool) {
        let Some(current) = self.current.take() else { return };
        if is_kept {
            self.followed.insert(place, current);
            self.weigh(place);
        } else {
            self.kept = self.kept.saturating_sub(current.kept);
        }
    }

    /// Whether this record is followed.
    pub fn follows(&self, place: (Origin, u64)) -> bool {
        self.followed.contains_key(&place)
    }

    /// The record is in a flight, or in none any more.
    pub fn flies(&mut self, place: (Origin, u64), in_flight: bool) {
        if let Some(followed) = self.followed.get_mut(&place) {
            followed.in_flight = in_flight;
            self.settle(place);
        }
    }

    /// The first code of a record stands.
    pub fn answered(&mut self, place: (Origin, u64), code: u8, now: Time) {
        if let Some(followed) = self.followed.get_mut(&place) {
            followed.code.get_or_insert((code, now));
            self.settle(place);
        }
    }

    /// The code is to be written to the source, as number `at` of the acks that are written together.
    pub fn released(&mut self, place: (Origin, u64), released: &Released, at: usize) {
        if let Some(followed) = self.followed.get_mut(&place) {
            followed.code.get_or_insert((released.answer.code(), followed.arrived + released.total));
            followed.released = Some((released.waited, released.total));
            self.unwritten.push((place, at));
        }
    }

    /// So many of those acks are written.
    pub fn wrote(&mut self, source: Key, acks: usize) {
        let is_written = |(place, at): &mut ((Origin, u64), usize)| place.0 == Origin::Source(source) && *at < acks;
        let written: Vec<_> = self.unwritten.extract_if(.., is_written).collect();
        for (place, _) in written {
            if let Some(followed) = self.followed.get_mut(&place) {
                followed.is_told = true;
                self.settle(place);
            }
        }
    }

    /// Nobody will hear the code of a record.
    pub fn unheard(&mut self, place: (Origin, u64)) {
        if let Some(followed) = self.followed.get_mut(&place) {
            followed.is_gone = true;
            self.settle(place);
        }
    }

    /// A connection has gone, with all its codes that were not written.
    pub fn source_gone(&mut self, source: Key) {
        self.unwritten.retain(|(place, _)| place.0 != Origin::Source(source));
        let is_of = |place: &(Origin, u64)| place.0 == Origin::Source(source);
        let places: Vec<(Origin, u64)> = self.followed.keys().filter(|place| is_of(place)).copied().collect();
        places.into_iter().for_each(|place| self.unheard(place));
    }

    /// The record's way to a destination, by the flight that it goes with; `names` are those of the destination and its URL.
    fn call(
        &mut self,
        place: (Origin, u64),
        flight: Key,
        destination: usize,
        names: (&str, &str),
    ) -> Option<&mut Call> {
        let calls = &mut self.followed.get_mut(&place)?.calls;
        let is_it = |call: &Call| call.flight == flight && call.destination == destination;
        let at = match calls.iter().position(is_it) {
            Some(at) => at,
            None if calls.len() >= CALLS => return None,
            None => {
                calls.push(Call::new(flight, destination, names.0));
                calls.len() - 1
            }
        };
        let call = calls.get_mut(at)?;
        if call.url != names.1 {
            names.1.clone_into(&mut call.url);
        }
        Some(call)
    }

    /// A request with the record was given to a connection.
    pub fn sent(&mut self, at: &Way<'_>, batch: Option<(usize, usize)>, mut sent: Sent) {
        for (_, value) in sent.headers.iter_mut().filter(|(_, value)| event::cut(value).len() < value.len()) {
            *value = event::cut(value).to_owned();
        }
        if self.kept + sent.weight() <= KEPT_BYTES {
            // What is kept of a body must not keep the chunk that it stands in.
            sent.body = Bytes::copy_from_slice(&sent.body);
        } else {
            (sent.body, sent.headers) = (Bytes::new(), Vec::new());
        }
        let Some(call) = self.call(at.place, at.flight, at.destination, at.names) else { return };
        call.batch = batch;
        call.tries += 1;
        call.sent = Some(sent);
        self.weigh(at.place);
    }

    /// Counts what is kept for a record anew.
    fn weigh(&mut self, place: (Origin, u64)) {
        let Some(followed) = self.followed.get_mut(&place) else { return };
        let weight = followed.weight();
        let before = std::mem::replace(&mut followed.kept, weight);
        self.kept = (self.kept + weight).saturating_sub(before);
    }

    /// The destination answered with this status.
    pub fn status(&mut self, at: &Way<'_>, status: u16, word: Word) {
        if let Some(call) = self.call(at.place, at.flight, at.destination, at.names) {
            call.status = Some(status);
            call.word = Some(word);
        }
    }

    /// A request, or an attempt at one, failed. What its status says needs no words.
    pub fn error(&mut self, at: &Way<'_>, why: &dyn std::fmt::Display) {
        if let Some(call) = self.call(at.place, at.flight, at.destination, at.names)
            && call.status.is_none()
        {
            call.error = Some(event::cut(&why.to_string()).to_owned());
            call.word = Some(Word::Error);
            self.weigh(at.place);
        }
    }

    /// The way to a destination is over. `encoded`: since when the request waited, unless it is known more exactly.
    pub fn ended(&mut self, at: &Way<'_>, encoded: Time, times: Option<(Time, Option<Time>)>) {
        let known = self.followed.get(&at.place).and_then(|followed| followed.encoded.last().copied().flatten());
        let Some(call) = self.call(at.place, at.flight, at.destination, at.names) else { return };
        if let Some((sent, begun)) = times {
            call.waited = Some(sent.since(known.unwrap_or(encoded)));
            call.response = begun.map(|begun| begun.since(sent));
        }
        let unsent = if call.sent.is_some() { Word::Error } else { Word::NotSent };
        call.word.get_or_insert(unsent);
    }

    /// Ends a record of which everything is known.
    fn settle(&mut self, place: (Origin, u64)) {
        let Some(followed) = self.followed.get(&place) else { return };
        // What its source hears of a record that was handed over is its own executor's.
        let is_known = followed.is_told || followed.is_gone || matches!(place.0, Origin::Ghost(_));
        if followed.code.is_some() && !followed.in_flight && is_known {
            self.end(place);
        }
    }

    fn end(&mut self, place: (Origin, u64)) {
        let Some(mut followed) = self.followed.remove(&place) else { return };
        self.kept = self.kept.saturating_sub(followed.kept);
        let is_ok = followed.code.is_some_and(|(code, _)| code == ack::OK) && !followed.is_unheard();
        let watches = &self.watches;
        followed.wanted.retain(|id| {
            let watch = watches.iter().find(|watch| watch.id == *id);
            watch.is_some_and(|watch| !watch.filter.failed || !is_ok)
        });
        if followed.wanted.is_empty() {
            return;
        }
        if self.has_no_room() {
            return self.miss(&followed.wanted);
        }
        // Connections that open in any order must not make the order of what is shown.
        followed.calls.sort_by_key(|call| call.destination);
        // This encodes what the record's own format may not have, outside of what guards the record: a defect costs a line.
        let (executor, shown) = (self.executor, &mut self.formatter);
        let Ok(line) = catch_unwind(AssertUnwindSafe(|| event::line(&followed, executor, shown))) else {
            self.formatter = formatter(self.limits);
            return self.miss(&followed.wanted);
        };
        self.event_bytes += line.len();
        self.events.push_back(Event { taps: followed.wanted, line: line.into() });
    }
}

/// Flat JSON with everything in it.
fn formatter(limits: DecodeLimits) -> Formatter {
    // No bin can have this name, which is too long for one, so that none of them is left out.
    let metadata_key = "aerospike-metadata".to_owned();
    let format = Format::FlatJson { metadata_key, stringify_map_keys: true, text: Default::default() };
    Formatter::new(&format, limits)
}

#[cfg(test)]
mod tests;
