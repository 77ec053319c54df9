//! Records whose owner is another executor: with `record-ordering`, all versions of a record are looked at by the one
//! executor that its digest names, whatever connection they came on.
//!
//! An executor that reads a frame of another one's record appends it to the [`Parcel`] for that executor, and keeps its
//! place in the connection's window. The owner takes the frame like one of its own, and its code comes back in a
//! parcel. Parcels between two executors keep their order; I/O carries them, one for each read or so.
//!
//! Invariants: each frame that is handed over gets one code back; what is handed over and not answered is bounded in
//! records and bytes for each pair; a record without a code is answered by its own executor at its deadline.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use super::answer::Answer;
use super::budget::{Budget, Charge};
use super::chain::{Chain, Linked, Links};
use super::table::{Key, Table};
use crate::policy::table::PortId;
use crate::time::Time;

/// Records that one executor has handed to another one and has no code for.
pub const LINK_RECORDS: usize = 4096;

/// Bytes of frames that one executor has handed to another one and that this one has not looked at. One frame may go
/// beyond.
pub const LINK_BYTES: u64 = 1 << 20;

/// A connection of the sending executor that the other one has not heard of.
#[derive(Debug, Clone, Copy)]
struct Opened {
    source: Key,
    peer: SocketAddr,
    port: PortId,
}

/// A frame's place in its parcel.
#[derive(Debug, Clone, Copy)]
struct Handed {
    /// Names the record at the executor that handed it over.
    token: Key,
    source: Key,
    arrived: Time,
    unix_ms: u64,
    /// Where its message ends in the bytes of the parcel.
    end: usize,
}

/// What one executor has to say to another one.
#[derive(Debug, Default)]
pub struct Parcel {
    opened: Vec<Opened>,
    frames: Vec<Handed>,
    /// Messages, one after another.
    bytes: Vec<u8>,
    /// Of the sender's budget, for the bytes.
    charge: Option<Charge>,
    codes: Vec<(Key, Answer)>,
    /// Connections of the sender that take no more answers. They stand behind all frames of theirs.
    closed: Vec<Key>,
    /// Bytes of the receiver's frames that the sender has looked at.
    taken: u64,
}

/// A connection of another executor.
#[derive(Debug)]
pub struct Ghost {
    /// Index of that executor.
    from: usize,
    /// Its key there.
    source: Key,
    /// Who sends.
    pub peer: SocketAddr,
    /// The settings of the port that it came in on.
    pub port: PortId,
    /// It takes answers.
    pub is_open: bool,
    /// Its frames that are here and have no code.
    waiting: usize,
}

/// A frame to look at.
#[derive(Debug)]
pub struct Taken {
    /// Whose.
    pub ghost: Key,
    /// Names it when it is answered.
    pub number: u64,
    /// When the read ended that completed it.
    pub arrived: Time,
    /// The same in Unix time, in milliseconds.
    pub unix_ms: u64,
    /// Where its message stands in the bytes that come with it.
    pub message: std::ops::Range<usize>,
}

/// A parcel's frames that are not all looked at.
#[derive(Debug)]
struct Inbound {
    frames: Vec<Handed>,
    next: usize,
    bytes: Vec<u8>,
    _charge: Option<Charge>,
}

/// What this executor has with one other.
#[derive(Debug, Default)]
struct Link {
    parcel: Parcel,
    is_dirty: bool,
    /// Records without a code.
    records: usize,
    /// Bytes that were not looked at.
    bytes: u64,
    /// Since when there is no room.
    full_since: Option<Time>,
    /// Connections that it has heard of.
    known: HashSet<Key>,
    last: Option<Key>,
    inbound: VecDeque<Inbound>,
    /// Since when the frames from there have had no room here.
    waiting_since: Option<Time>,
}

/// A record that another executor has.
#[derive(Debug)]
struct Away {
    link: usize,
    source: Key,
    number: u64,
    answered: bool,
    links: Links,
}

impl Linked for Away {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// One executor's side of all hand-overs.
#[derive(Debug)]
pub struct Handover {
    index: usize,
    links: Vec<Link>,
    dirty: Vec<usize>,
    away: Table<Away>,
    deadlines: Chain,
    ghosts: Table<Ghost>,
    names: HashMap<(usize, Key), Key>,
    /// Whose frames are looked at next.
    turn: usize,
    /// Links without room.
    full: usize,
}

impl Handover {
    /// For executor `index` of `executors`.
    pub fn new(index: usize, executors: usize) -> Handover {
        Handover {
            index,
            links: (0..executors).map(|_| Link::default()).collect(),
            dirty: Vec::new(),
            away: Table::default(),
            deadlines: Chain::default(),
            ghosts: Table::default(),
            names: HashMap::new(),
            turn: 0,
            full: 0,
        }
    }

    /// The executor that looks at this record, unless it is this one.
    pub fn owner(&self, digest: &[u8; 20]) -> Option<usize> {
        let owner = owner(digest, self.links.len());
        (owner != self.index).then_some(owner)
    }

    /// Whether nothing more may be handed to this executor.
    pub fn is_full(&self, to: usize) -> bool {
        self.links.get(to).is_none_or(|link| link.full_since.is_some())
    }

    /// Since when there has been an executor without room, the shortest of all.
    pub fn full_since(&self) -> Option<Time> {
        if self.full == 0 {
            return None;
        }
        self.links.iter().filter_map(|link| link.full_since).max()
    }

    /// Appends a message for `to`; [`Handover::hand_over`] follows.
    pub fn append(&mut self, to: usize, message: &[u8]) {
        if let Some(link) = self.links.get_mut(to) {
            link.parcel.bytes.extend_from_slice(message);
        }
    }

    /// The last appended message is this record's.
    pub fn hand_over(
        &mut self,
        to: usize,
        (source, number): (Key, u64),
        (peer, port): (SocketAddr, PortId),
        (arrived, unix_ms): (Time, u64),
        deadline: Time,
        now: Time,
    ) {
        let away = Away { link: to, source, number, answered: false, links: Links::default() };
        let (Some(token), Some(link)) = (self.away.insert(away), self.links.get_mut(to)) else { return };
        self.deadlines.add(&mut self.away, token, deadline);
        if link.last != Some(source) {
            link.last = Some(source);
            if link.known.insert(source) {
                link.parcel.opened.push(Opened { source, peer, port });
            }
        }
        let before = link.parcel.frames.last().map_or(0, |frame| frame.end);
        let end = link.parcel.bytes.len();
        link.parcel.frames.push(Handed { token, source, arrived, unix_ms, end });
        link.records += 1;
        link.bytes += (end - before) as u64;
        if link.full_since.is_none() && link.is_at_limit() {
            link.full_since = Some(now);
            self.full += 1;
        }
        self.touch(to);
    }

    /// A connection of this executor takes no more answers.
    pub fn source_gone(&mut self, source: Key) {
        for to in 0..self.links.len() {
            let Some(link) = self.links.get_mut(to) else { continue };
            if link.known.remove(&source) {
                link.last = None;
                link.parcel.closed.push(source);
                self.touch(to);
            }
        }
    }

    /// What is to be carried to another executor, and its index.
    pub fn next_parcel(&mut self, budget: &mut Budget) -> Option<(usize, Parcel)> {
        let to = self.dirty.pop()?;
        let link = self.links.get_mut(to)?;
        link.is_dirty = false;
        let mut parcel = std::mem::take(&mut link.parcel);
        if !parcel.bytes.is_empty() {
            parcel.charge = Some(budget.charge_until_dropped(parcel.bytes.capacity() as u64));
        }
        Some((to, parcel))
    }

    /// Takes a parcel in, but for its frames' content. Gives the answers of own records to `answer`, with whether they are in
    /// time, and says whether connections have gone.
    pub fn receive(&mut self, from: usize, parcel: Parcel, mut answer: impl FnMut(Key, u64, Answer, bool)) -> bool {
        for Opened { source, peer, port } in parcel.opened {
            let ghost = Ghost { from, source, peer, port, is_open: true, waiting: 0 };
            if let Some(key) = self.ghosts.insert(ghost) {
                self.names.insert((from, source), key);
            }
        }
        for (token, code) in parcel.codes {
            self.deadlines.remove(&mut self.away, token);
            let Some(away) = self.away.remove(token) else { continue };
            if let Some(link) = self.links.get_mut(away.link) {
                link.records = link.records.saturating_sub(1);
            }
            answer(away.source, away.number, code, !away.answered);
        }
        for frame in &parcel.frames {
            if let Some(ghost) = self.names.get(&(from, frame.source)).and_then(|key| self.ghosts.get_mut(*key)) {
                ghost.waiting += 1;
            }
        }
        for source in &parcel.closed {
            let Some(key) = self.names.get(&(from, *source)).copied() else { continue };
            if let Some(ghost) = self.ghosts.get_mut(key) {
                ghost.is_open = false;
            }
            self.forget_idle(key);
        }
        let Some(link) = self.links.get_mut(from) else { return false };
        link.bytes = link.bytes.saturating_sub(parcel.taken);
        if link.full_since.is_some() && !link.is_at_limit() {
            link.full_since = None;
            self.full = self.full.saturating_sub(1);
        }
        if !parcel.frames.is_empty() {
            let (frames, bytes, charge) = (parcel.frames, parcel.bytes, parcel.charge);
            link.inbound.push_back(Inbound { frames, next: 0, bytes, _charge: charge });
        }
        !parcel.closed.is_empty()
    }

    /// Whether frames of other executors wait to be looked at.
    pub fn has_inbound(&self) -> bool {
        self.links.iter().any(|link| !link.inbound.is_empty())
    }

    /// Since when the frames from any executor have had no room.
    pub fn waiting_since(&self) -> Option<Time> {
        self.links.iter().filter_map(|link| link.waiting_since).min()
    }

    /// There is no room for the frames that are here.
    pub fn has_to_wait(&mut self, now: Time) {
        for link in self.links.iter_mut().filter(|link| !link.inbound.is_empty()) {
            link.waiting_since.get_or_insert(now);
        }
    }

    /// The next frame to look at, and the bytes that it stands in, which [`Handover::put_back`] wants back. Executors have
    /// their turn one after another.
    pub fn take(&mut self) -> Option<(usize, Taken, Vec<u8>)> {
        let count = self.links.len();
        for step in 0..count {
            let from = (self.turn + step) % count.max(1);
            let Some(inbound) = self.links.get_mut(from).and_then(|link| link.inbound.front_mut()) else { continue };
            let start = inbound.next.checked_sub(1).and_then(|at| inbound.frames.get(at)).map_or(0, |frame| frame.end);
            let Some(frame) = inbound.frames.get(inbound.next).copied() else { continue };
            inbound.next += 1;
            let bytes = std::mem::take(&mut inbound.bytes);
            let ghost = self.names.get(&(from, frame.source)).copied().unwrap_or(frame.token);
            let Handed { token, arrived, unix_ms, end, .. } = frame;
            return Some((from, Taken { ghost, number: pack(token), arrived, unix_ms, message: start..end }, bytes));
        }
        None
    }

    /// The frame was looked at. When all of its parcel were, the parcel is given up, and the other side told.
    pub fn put_back(&mut self, from: usize, bytes: Vec<u8>) {
        let Some(link) = self.links.get_mut(from) else { return };
        link.waiting_since = None;
        let Some(inbound) = link.inbound.front_mut() else { return };
        inbound.bytes = bytes;
        if inbound.next < inbound.frames.len() {
            return;
        }
        link.parcel.taken += inbound.frames.last().map_or(0, |frame| frame.end as u64);
        link.inbound.pop_front();
        self.turn = from + 1;
        self.touch(from);
    }

    /// A connection of another executor.
    pub fn ghost(&self, key: Key) -> Option<&Ghost> {
        self.ghosts.get(key)
    }

    /// Whether a connection of another executor takes answers.
    pub fn takes_answers(&self, key: Key) -> bool {
        self.ghosts.get(key).is_some_and(|ghost| ghost.is_open)
    }

    /// The answer to a frame that came from another executor.
    pub fn answer(&mut self, key: Key, number: u64, answer: Answer) {
        let Some(ghost) = self.ghosts.get_mut(key) else { return };
        ghost.waiting = ghost.waiting.saturating_sub(1);
        let from = ghost.from;
        if let Some(link) = self.links.get_mut(from) {
            link.parcel.codes.push((unpack(number), answer));
        }
        self.touch(from);
        self.forget_idle(key);
    }

    /// A record whose code has not come by its deadline. Its place at the other side stays taken until it comes.
    pub fn expired(&mut self, now: Time) -> Option<(Key, u64)> {
        let token = self.deadlines.expired(now)?;
        self.deadlines.remove(&mut self.away, token);
        let away = self.away.get_mut(token)?;
        away.answered = true;
        Some((away.source, away.number))
    }

    /// Records that other executors have.
    pub fn away(&self) -> usize {
        self.away.len()
    }

    /// Frames of other executors that have no code, and connections of theirs that are known.
    pub fn guests(&self) -> (usize, usize) {
        let mut waiting = 0;
        self.ghosts.for_each(|_, ghost| waiting += ghost.waiting);
        (waiting, self.ghosts.len())
    }

    fn touch(&mut self, to: usize) {
        if let Some(link) = self.links.get_mut(to)
            && !link.is_dirty
        {
            link.is_dirty = true;
            self.dirty.push(to);
        }
    }

    fn forget_idle(&mut self, key: Key) {
        if self.ghosts.get(key).is_some_and(|ghost| !ghost.is_open && ghost.waiting == 0)
            && let Some(ghost) = self.ghosts.remove(key)
        {
            self.names.remove(&(ghost.from, ghost.source));
        }
    }
}

impl Link {
    fn is_at_limit(&self) -> bool {
        self.records >= LINK_RECORDS || self.bytes >= LINK_BYTES
    }
}

/// The executor that looks at a record. Digests are hashes, so that any bits of them would do; all are used, since a test's
/// may be anything.
fn owner(digest: &[u8; 20], executors: usize) -> usize {
    let mut mixed = 0u64;
    for chunk in digest.as_chunks::<4>().0 {
        mixed = (mixed.rotate_left(23) ^ u64::from(u32::from_le_bytes(*chunk))).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    // The upper half of a product is spread over all executors evenly.
    usize::try_from((u128::from(mixed) * executors as u128) >> 64).unwrap_or(0)
}

fn pack(token: Key) -> u64 {
    u64::from(token.slot) << 32 | u64::from(token.generation)
}

fn unpack(number: u64) -> Key {
    Key { slot: (number >> 32) as u32, generation: number as u32 }
}
