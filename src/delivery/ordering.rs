//! Order of the versions of a record: which may be sent, which waits, which is over.
//!
//! A record is its namespace and digest. One version of it is in flight; newer ones wait in the order of their
//! last-update times (LUT) and are handed out one after another, whatever became of the one before. A version that is
//! older than a delivered one is stale. One that is older than the version in flight waits for what becomes of that.
//!
//! Knows no body and no connection: what waits is a [`Waiter`]. What this decides on its own is taken out with
//! [`Ordering::next_ended`] and [`Ordering::next_released`].
//!
//! Invariants: of a record one version is in flight; every waiter is handed out once, as ended or as released; an entry
//! with nothing in flight and nothing waiting is dropped when its time is over, or before that, oldest first, when there
//! are too many.

mod entry;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use self::entry::{Entry, Mark, Node, ROUTES, Role, is_older};
use super::chain::{Chain, Links};
use super::table::{Key, Table};
use crate::time::Time;

/// Versions of one record that wait. Without a bound one hot record could fill the budget, and each newcomer looks for
/// its place among them.
pub const WAITING_LIMIT: u8 = 64;

/// Namespaces that are told apart, in each domain; a server has 32 at the most. Their names come from outside.
const NAMESPACE_LIMIT: u16 = 4096;

/// Entries that are dropped for their age at a time: the rest has its turn at the next tick.
const DROPPED_AT_ONCE: usize = 10_000;

/// A record, whatever its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// As [`Ordering::namespace`] numbers it.
    pub namespace: u16,
    /// Its digest.
    pub digest: [u8; 20],
}

/// How records of one profile are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Number of the list of destinations. A version that went elsewhere makes none of these stale.
    pub route: u16,
    /// Number of the lists of destinations that have any in common with it, and with each other: records of different
    /// domains have nothing to do with each other.
    pub domain: u16,
    /// Place of its time to live among [`Ordering::new`]'s.
    pub ttl: u8,
    /// `coalesce-waiting`.
    pub coalesce: bool,
}

/// One version of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Whose.
    pub id: RecordId,
    /// Last-update time.
    pub lut: u64,
    /// It has the complete record, or says that there is none: it can stand for an older version.
    pub complete: bool,
    /// How its record is ordered.
    pub rule: Rule,
}

/// What has to be done with a version that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing is in its way: [`Ordering::begin`].
    Send,
    /// It will be sent later: [`Ordering::wait`].
    Wait,
    /// It will not be sent; the outcome of a newer one is its own: [`Ordering::wait`], without a body.
    Follow,
    /// A newer one is delivered.
    Stale,
    /// A newer one was taken by some of its destinations and not by all: it comes again, and this one after it.
    Behind,
    /// Too many versions of this record wait.
    TooManyWait,
    /// All records that may be remembered have a version in flight.
    NoPlace,
}

/// What waits: the engine's record.
pub trait Waiter {
    /// It will not be sent, so that its body is of no use.
    fn drop_body(&mut self);
}

/// What became of a version in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every destination took it.
    Delivered,
    /// Some did.
    Partly,
    /// None did, as far as is known.
    Failed,
    /// One never will, so that it does not come again.
    GivenUp,
}

/// Why a waiter will not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A newer version is delivered, and it was older when it came: 0.
    Stale,
    /// The newer version that stands for it is delivered: 0.
    Merged,
    /// The version whose outcome it waited for was not delivered: 11.
    Undone,
    /// Its deadline has passed: 11.
    Late,
}

/// A waiter that will not be sent.
#[derive(Debug)]
pub struct Ended<W> {
    /// It.
    pub waiter: W,
    /// Why.
    pub ending: Ending,
    /// [`Version::complete`].
    pub complete: bool,
}

/// The records of one executor. See the module.
#[derive(Debug)]
pub struct Ordering<W> {
    limit: usize,
    ids: HashMap<RecordId, Key>,
    entries: Table<Entry>,
    nodes: Table<Node<W>>,
    /// Idle entries by time to live, each in the order of expiry.
    idle: Vec<(Duration, Chain)>,
    deadlines: Chain,
    namespaces: HashMap<Vec<u8>, u16>,
    /// The namespace and domain that are looked for.
    name: Vec<u8>,
    in_flight: usize,
    released: VecDeque<Key>,
    ended: VecDeque<Ended<W>>,
    evicted: u64,
}

impl<W: Waiter> Ordering<W> {
    /// For at most `limit` records, remembered for one of `ttls` after their last version ended.
    pub fn new(limit: usize, ttls: &[Duration]) -> Ordering<W> {
        let limit = limit.max(1);
        let (mut ids, mut entries) = (HashMap::new(), Table::default());
        // What is reserved is never moved, which would be a pause, and is no larger than it has to be. The system gives the
        // memory when it is used. Where it does not even give the addresses, both grow.
        let _ = ids.try_reserve(limit).is_ok() && entries.try_reserve(limit);
        Ordering {
            limit,
            ids,
            entries,
            nodes: Table::default(),
            idle: ttls.iter().map(|ttl| (*ttl, Chain::default())).collect(),
            deadlines: Chain::default(),
            namespaces: HashMap::new(),
            name: Vec::new(),
            in_flight: 0,
            released: VecDeque::new(),
            ended: VecDeque::new(),
            evicted: 0,
        }
    }

    /// The number of a namespace in a domain ([`Rule::domain`]); `None`: there are too many.
    pub fn namespace(&mut self, name: &[u8], domain: u16) -> Option<u16> {
        self.name.clear();
        self.name.extend_from_slice(&domain.to_le_bytes());
        self.name.extend_from_slice(name);
        if let Some(number) = self.namespaces.get(&self.name) {
            return Some(*number);
        }
        let number = u16::try_from(self.namespaces.len()).ok().filter(|number| *number < NAMESPACE_LIMIT)?;
        self.namespaces.insert(self.name.clone(), number);
        Some(number)
    }

    /// What has to be done with a version. Changes nothing.
    pub fn judge(&self, version: &Version) -> Judgement {
        let Some(entry) = self.ids.get(&version.id).and_then(|key| self.entries.get(*key)) else {
            let is_full = self.entries.len() >= self.limit && self.oldest_idle().is_none();
            return if is_full { Judgement::NoPlace } else { Judgement::Send };
        };
        if entry.delivered.iter().any(|mark| is_older(version, *mark)) {
            return Judgement::Stale;
        }
        if is_older(version, entry.partly) && !is_older(version, entry.in_flight) {
            return Judgement::Behind;
        }
        if entry.in_flight.is_none() && entry.first.is_none() {
            return Judgement::Send;
        }
        if entry.waiting >= WAITING_LIMIT {
            return Judgement::TooManyWait;
        }
        let stands_for_it = || self.next_sent(entry, version.lut).is_some_and(|node| node.stands_for(version));
        if is_older(version, entry.in_flight) || stands_for_it() { Judgement::Follow } else { Judgement::Wait }
    }

    /// A version that was judged [`Judgement::Send`] is in flight from here on, until [`Ordering::settle`] is called with
    /// what this gives. `None` if there is no place for it after all.
    pub fn begin(&mut self, version: &Version) -> Option<Key> {
        let key = match self.ids.get(&version.id) {
            Some(key) => *key,
            None => self.add(version.id)?,
        };
        self.set_in_flight(key, version);
        Some(key)
    }

    /// A version that was judged [`Judgement::Wait`] or [`Judgement::Follow`] waits, until `deadline` at the most.
    /// Gives it back if nothing is there to wait for.
    pub fn wait(&mut self, version: Version, waiter: W, deadline: Time) -> Result<(), W> {
        let known = self.ids.get(&version.id).and_then(|key| Some((*key, self.entries.get(*key)?)));
        let Some((key, entry)) = known.filter(|(_, entry)| entry.in_flight.is_some() || entry.first.is_some()) else {
            return Err(waiter);
        };
        let joined = is_older(&version, entry.in_flight);
        let merged = !joined && self.next_sent(entry, version.lut).is_some_and(|node| node.stands_for(&version));
        let role = if joined || merged { Role::Older { merged } } else { Role::Sent };
        let previous = if joined { None } else { self.place(entry, version.lut) };
        let next = match previous {
            Some(previous) => self.nodes.get(previous).and_then(|node| node.next),
            None => entry.first,
        };
        let mut node = Node { entry: key, next, version, role, joined, waiter, links: Links::default() };
        if role != Role::Sent {
            node.waiter.drop_body();
        }
        let Some(new) = self.nodes.insert(node) else { return Ok(()) };
        self.deadlines.add(&mut self.nodes, new, deadline);
        self.link(key, previous, Some(new));
        if let Some(entry) = self.entries.get_mut(key) {
            entry.waiting += 1;
        }
        if role == Role::Sent && version.rule.coalesce && version.complete {
            self.merge_before(key, new, &version);
        }
        Ok(())
    }

    /// The version in flight of `entry` is over, with all requests that it had. Those that wait for it end, and the next
    /// one is released.
    pub fn settle(&mut self, key: Key, outcome: Outcome, now: Time) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(mark) = entry.in_flight.take() else { return };
        self.in_flight = self.in_flight.saturating_sub(1);
        let delivered = outcome == Outcome::Delivered;
        if delivered {
            entry.remember(mark);
        } else if outcome == Outcome::GivenUp {
            entry.give_up(mark);
        } else if outcome == Outcome::Partly && entry.partly.is_none_or(|known| known.lut <= mark.lut) {
            entry.partly = Some(mark);
        }
        while let Some(first) = self.entries.get(key).and_then(|entry| entry.first)
            && let Some(node) = self.nodes.get(first).filter(|node| node.joined)
        {
            let ending = match (delivered, node.role) {
                (true, Role::Older { merged: true }) => Ending::Merged,
                (true, _) => Ending::Stale,
                (false, _) => Ending::Undone,
            };
            self.end(first, None, ending);
        }
        if self.entries.get(key).is_some_and(|entry| entry.first.is_some()) {
            self.released.push_back(key);
        } else {
            self.rest(key, now);
        }
    }

    /// A waiter whose turn it is, and the key to [`Ordering::settle`] it with: it is in flight from here on.
    pub fn next_released(&mut self, now: Time) -> Option<(Key, W)> {
        while let Some(key) = self.released.pop_front() {
            let Some(entry) = self.entries.get(key).filter(|entry| entry.in_flight.is_none()) else { continue };
            let mut next = entry.first;
            let mut previous = None;
            while let Some(at) = next
                && let Some(node) = self.nodes.get_mut(at)
                && node.role != Role::Sent
            {
                node.joined = true;
                previous = next;
                next = node.next;
            }
            if let Some(node) = next.and_then(|at| self.unlink(at, previous)) {
                self.set_in_flight(key, &node.version);
                return Some((key, node.waiter));
            }
            // All that waited have expired.
            while let Some(first) = self.entries.get(key).and_then(|entry| entry.first) {
                self.end(first, None, Ending::Undone);
            }
            self.rest(key, now);
        }
        None
    }

    /// A waiter that will not be sent.
    pub fn next_ended(&mut self) -> Option<Ended<W>> {
        self.ended.pop_front()
    }

    /// The version in flight is being gathered with others (`true`), or is on its way.
    pub fn park(&mut self, key: Key, parked: bool) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.parked = parked;
        }
    }

    /// Whether the version in flight is being gathered with others.
    pub fn is_parked(&self, id: &RecordId) -> bool {
        self.ids.get(id).and_then(|key| self.entries.get(*key)).is_some_and(|entry| entry.parked)
    }

    /// Whether others wait for the version in flight.
    pub fn has_waiters(&self, key: Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.first.is_some())
    }

    /// Ends waiters whose deadline has passed, and forgets records whose time is over.
    pub fn expire(&mut self, now: Time) {
        while let Some(key) = self.deadlines.expired(now) {
            let previous = self.before(key);
            let is_sent = self.nodes.get(key).is_some_and(|node| node.role == Role::Sent);
            self.end(key, previous, Ending::Late);
            // Those that were to share its outcome have none now.
            let mut orphan = previous.filter(|_| is_sent);
            while let Some(at) = orphan
                && self.nodes.get(at).is_some_and(|node| node.role != Role::Sent && !node.joined)
            {
                let before = self.before(at);
                self.end(at, before, Ending::Undone);
                orphan = before;
            }
        }
        for place in 0..self.idle.len() {
            for _ in 0..DROPPED_AT_ONCE {
                let Some(key) = self.idle.get(place).and_then(|(_, chain)| chain.expired(now)) else { break };
                self.forget(key);
            }
        }
    }

    /// Whether anything is in flight or waits.
    pub fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.nodes.is_empty()
    }

    /// Records with a version in flight, and waiters.
    pub fn busy(&self) -> usize {
        self.in_flight + self.nodes.len()
    }

    /// Records that are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no record is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records that were forgotten before their time was over, for want of places.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A new entry; the oldest idle one makes place if there are too many.
    fn add(&mut self, id: RecordId) -> Option<Key> {
        if self.entries.len() >= self.limit {
            let oldest = self.oldest_idle()?;
            self.forget(oldest);
            self.evicted += 1;
        }
        let links = Links::default();
        let entry = Entry {
            id,
            ttl: 0,
            waiting: 0,
            parked: false,
            first: None,
            delivered: [None; ROUTES],
            partly: None,
            in_flight: None,
            links,
        };
        let key = self.entries.insert(entry)?;
        self.ids.insert(id, key);
        Some(key)
    }

    fn oldest_idle(&self) -> Option<Key> {
        let chains = self.idle.iter().filter_map(|(_, chain)| Some((chain.next_expiry()?, chain)));
        let (_, chain) = chains.min_by_key(|(at, _)| *at)?;
        chain.expired(Time::from_nanos(u64::MAX))
    }

    fn set_in_flight(&mut self, key: Key, version: &Version) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        assert!(entry.in_flight.is_none(), "one version of a record is in flight");
        entry.in_flight = Some(Mark { lut: version.lut, route: version.rule.route });
        entry.parked = false;
        let ttl = usize::from(entry.ttl);
        entry.ttl = version.rule.ttl;
        self.in_flight += 1;
        if let Some((_, chain)) = self.idle.get_mut(ttl) {
            chain.remove(&mut self.entries, key);
        }
    }

    /// Nothing of the record is in flight or waits: it is remembered for a while if a version was delivered, or taken somewhere.
    fn rest(&mut self, key: Key, now: Time) {
        let Some(entry) = self.entries.get(key).filter(|entry| !entry.links.is_linked()) else { return };
        let place = usize::from(entry.ttl);
        match self.idle.get_mut(place).filter(|_| entry.is_known()) {
            Some((ttl, chain)) => {
                let until = now + *ttl;
                chain.add(&mut self.entries, key, until);
            }
            None => self.forget(key),
        }
    }

    fn forget(&mut self, key: Key) {
        if let Some((_, chain)) = self.entries.get(key).and_then(|entry| self.idle.get_mut(usize::from(entry.ttl))) {
            chain.remove(&mut self.entries, key);
        }
        if let Some(entry) = self.entries.remove(key) {
            self.ids.remove(&entry.id);
        }
    }

    /// The waiter behind which a new one with this LUT is put: the last that is sent no later than it, or that waits for
    /// the version in flight.
    fn place(&self, entry: &Entry, lut: u64) -> Option<Key> {
        let mut place = None;
        let mut next = entry.first;
        while let Some(node) = next.and_then(|at| self.nodes.get(at)) {
            match node.role {
                Role::Sent if node.version.lut > lut => break,
                Role::Sent => place = next,
                Role::Older { .. } if node.joined => place = next,
                Role::Older { .. } => {}
            }
            next = node.next;
        }
        place
    }

    /// The first waiter that is sent and newer.
    fn next_sent(&self, entry: &Entry, lut: u64) -> Option<&Node<W>> {
        let mut next = entry.first;
        while let Some(node) = next.and_then(|at| self.nodes.get(at)) {
            if node.role == Role::Sent && node.version.lut > lut {
                return Some(node);
            }
            next = node.next;
        }
        None
    }

    /// Makes the waiters right before `new` share its outcome, as far as they go where it goes.
    fn merge_before(&mut self, entry: Key, new: Key, version: &Version) {
        let mut next = self.entries.get(entry).and_then(|entry| entry.first);
        // The first one from which on all up to `new` go there.
        let mut from = None;
        while let Some(at) = next.filter(|at| *at != new)
            && let Some(node) = self.nodes.get(at)
        {
            if node.joined || node.version.rule.route != version.rule.route {
                from = None;
            } else if from.is_none() {
                from = next;
            }
            next = node.next;
        }
        let mut next = from;
        while let Some(at) = next.filter(|at| *at != new)
            && let Some(node) = self.nodes.get_mut(at)
        {
            if node.role == Role::Sent {
                node.role = Role::Older { merged: true };
                node.waiter.drop_body();
            }
            next = node.next;
        }
    }

    /// The waiter before `key` in its record's list.
    fn before(&self, key: Key) -> Option<Key> {
        let entry = self.nodes.get(key).and_then(|node| self.entries.get(node.entry))?;
        let mut next = entry.first;
        while let Some(at) = next {
            let node = self.nodes.get(at)?;
            if node.next == Some(key) {
                return Some(at);
            }
            next = node.next;
        }
        None
    }

    fn link(&mut self, entry: Key, previous: Option<Key>, next: Option<Key>) {
        match previous.and_then(|previous| self.nodes.get_mut(previous)) {
            Some(previous) => previous.next = next,
            None => {
                if let Some(entry) = self.entries.get_mut(entry) {
                    entry.first = next;
                }
            }
        }
    }

    /// Takes a waiter out; `previous` is the one before it.
    fn unlink(&mut self, key: Key, previous: Option<Key>) -> Option<Node<W>> {
        self.deadlines.remove(&mut self.nodes, key);
        let node = self.nodes.remove(key)?;
        self.link(node.entry, previous, node.next);
        if let Some(entry) = self.entries.get_mut(node.entry) {
            entry.waiting = entry.waiting.saturating_sub(1);
        }
        Some(node)
    }

    fn end(&mut self, key: Key, previous: Option<Key>, ending: Ending) {
        if let Some(node) = self.unlink(key, previous) {
            self.ended.push_back(Ended { waiter: node.waiter, ending, complete: node.version.complete });
        }
    }
}

#[cfg(test)]
mod tests;
