//! What is known of one record, and what waits for it.

use super::super::chain::{Linked, Links};
use super::super::table::Key;
use super::{RecordId, Version};

/// Routes of one record whose delivered versions are remembered. A record has more than one only if it comes on several
/// ports that send it elsewhere.
pub(super) const ROUTES: usize = 2;

/// What a delivered or dispatched version is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) lut: u64,
    pub(super) route: u16,
}

/// What is known of one record.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: RecordId,
    pub(super) ttl: u8,
    /// Waiters.
    pub(super) waiting: u8,
    /// The version in flight is still being gathered with others.
    pub(super) parked: bool,
    /// The first of them; the others follow by [`Node::next`].
    pub(super) first: Option<Key>,
    /// The newest one that was delivered, on each of the last two routes.
    pub(super) delivered: [Option<Mark>; ROUTES],
    /// The newest one that some destinations took, if it is not delivered.
    pub(super) partly: Option<Mark>,
    pub(super) in_flight: Option<Mark>,
    /// Place among the idle ones.
    pub(super) links: Links,
}

impl Entry {
    /// Whether there is anything to remember.
    pub(super) fn is_known(&self) -> bool {
        self.partly.is_some() || self.delivered.iter().any(Option::is_some)
    }

    /// Nobody waits any more for a version up to this one to be delivered everywhere.
    pub(super) fn give_up(&mut self, mark: Mark) {
        if self.partly.is_some_and(|partly| partly.route == mark.route && partly.lut <= mark.lut) {
            self.partly = None;
        }
    }

    /// A version is delivered. Of its route the newest one is known, and of the routes the one that was used before.
    pub(super) fn remember(&mut self, mark: Mark) {
        self.give_up(mark);
        let known = self.delivered.iter_mut().flatten().find(|known| known.route == mark.route);
        match known {
            Some(known) => known.lut = known.lut.max(mark.lut),
            None => {
                self.delivered.rotate_right(1);
                if let Some(first) = self.delivered.first_mut() {
                    *first = Some(mark);
                }
            }
        }
    }
}

impl Linked for Entry {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// How a waiter ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is sent.
    Sent,
    /// It shares the outcome of the next one in the list that is sent; or of the one in flight, if [`Node::joined`].
    Older {
        /// It came before the one that stands for it.
        merged: bool,
    },
}

/// One waiter in its record's list: first those that share the outcome of the version in flight, then by LUT, each after
/// those that share its outcome.
#[derive(Debug)]
pub(super) struct Node<W> {
    pub(super) entry: Key,
    pub(super) next: Option<Key>,
    pub(super) version: Version,
    pub(super) role: Role,
    pub(super) joined: bool,
    pub(super) waiter: W,
    pub(super) links: Links,
}

impl<W> Linked for Node<W> {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl<W> Node<W> {
    /// Whether an older version need not be sent before this one.
    pub(super) fn stands_for(&self, older: &Version) -> bool {
        let version = &self.version;
        version.rule.coalesce && version.complete && version.rule.route == older.rule.route
    }
}

/// Whether a version is older than one that goes, or went, to the same destinations.
pub(super) fn is_older(version: &Version, mark: Option<Mark>) -> bool {
    mark.is_some_and(|mark| version.lut < mark.lut && version.rule.route == mark.route)
}
