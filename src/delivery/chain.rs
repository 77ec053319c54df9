//! Deadlines without a heap: entries of a [`Table`] linked in the order in which they were added.
//!
//! All entries of one chain wait equally long, so the order of adding is nearly the order of expiry: adding, removing
//! and finding the next to expire are a few assignments each, and an entry that ends early leaves nothing behind. An
//! entry that started to wait earlier than others that are in the chain already (a record that was set aside for want
//! of room, a call that began with its connection) walks back to its place.

use super::table::{Key, Table};
use crate::time::Time;

/// An entry's place in its chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    previous: Option<Key>,
    next: Option<Key>,
    linked: bool,
    expires: Time,
}

impl Links {
    /// Whether the entry is in a chain.
    pub fn is_linked(&self) -> bool {
        self.linked
    }
}

/// What a chain needs of its entries.
pub trait Linked {
    /// The entry's links.
    fn links(&mut self) -> &mut Links;
}

/// Entries that expire in the order in which they were added.
#[derive(Debug, Default)]
pub struct Chain {
    head: Option<Key>,
    tail: Option<Key>,
    /// When the head expires.
    next: Option<Time>,
    /// Who was last put in front of others. Records that were set aside come in batches that are equally old: only
    /// the first of a batch walks, or a full chain would cost its length for each record.
    hint: Option<Key>,
}

impl Chain {
    /// Adds the entry behind all that expire no later.
    pub fn add<T: Linked>(&mut self, table: &mut Table<T>, key: Key, expires: Time) {
        let (previous, next) = self.place(table, expires);
        if next.is_some() {
            self.hint = Some(key);
        }
        let Some(entry) = table.get_mut(key) else { return };
        assert!(!entry.links().linked, "an entry is in one chain at a time");
        *entry.links() = Links { previous, next, linked: true, expires };
        match previous.and_then(|previous| table.get_mut(previous)) {
            Some(before) => before.links().next = Some(key),
            None => {
                self.head = Some(key);
                self.next = Some(expires);
            }
        }
        match next.and_then(|next| table.get_mut(next)) {
            Some(after) => after.links().previous = Some(key),
            None => self.tail = Some(key),
        }
    }

    /// The last entry that expires no later than `expires`, and the one behind it.
    fn place<T: Linked>(&self, table: &mut Table<T>, expires: Time) -> (Option<Key>, Option<Key>) {
        let mut links = |key: Option<Key>| key.and_then(|key| table.get_mut(key)).map(|entry| *entry.links());
        let is_late = |links: Option<Links>| links.is_some_and(|links| links.expires > expires);
        if is_late(links(self.tail))
            && let Some(hint) = links(self.hint).filter(|hint| hint.linked && hint.expires <= expires)
        {
            let (mut previous, mut next) = (self.hint, hint.next);
            while let Some(after) = links(next).filter(|after| after.expires <= expires) {
                previous = next;
                next = after.next;
            }
            return (previous, next);
        }
        let (mut previous, mut next) = (self.tail, None);
        while let Some(before) = links(previous).filter(|before| before.expires > expires) {
            next = previous;
            previous = before.previous;
        }
        (previous, next)
    }

    /// Takes the entry out; nothing happens if it is in no chain.
    pub fn remove<T: Linked>(&mut self, table: &mut Table<T>, key: Key) {
        let Some(entry) = table.get_mut(key) else { return };
        let links = std::mem::take(entry.links());
        if !links.linked {
            return;
        }
        match links.previous.and_then(|previous| table.get_mut(previous)) {
            Some(previous) => previous.links().next = links.next,
            None => self.head = links.next,
        }
        match links.next.and_then(|next| table.get_mut(next)) {
            Some(next) => next.links().previous = links.previous,
            None => self.tail = links.previous,
        }
        if links.previous.is_none() {
            self.next = self.head.and_then(|head| table.get_mut(head)).map(|entry| entry.links().expires);
        }
    }

    /// The first entry, if it has expired at `now`. It stays in the chain until it is removed.
    pub fn expired(&self, now: Time) -> Option<Key> {
        if self.next.is_some_and(|next| next <= now) { self.head } else { None }
    }

    /// When the first entry expires.
    pub fn next_expiry(&self) -> Option<Time> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Entry {
        links: Links,
    }

    impl Linked for Entry {
        fn links(&mut self) -> &mut Links {
            &mut self.links
        }
    }

    proptest! {
        /// Against a sorted vector: whatever is added early or removed, the rest expires in order.
        #[test]
        fn behaves_like_a_vector(operations in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0u64..4), 1..200)) {
            let mut table = Table::<Entry>::default();
            let mut chain = Chain::default();
            let mut model: Vec<(Key, u64)> = Vec::new();
            for (step, (add, index, early)) in operations.into_iter().enumerate() {
                if add || model.is_empty() {
                    let key = table.insert(Entry::default()).unwrap();
                    let expires = (step as u64).saturating_sub(early);
                    chain.add(&mut table, key, Time::from_nanos(expires));
                    let place = model.partition_point(|(_, other)| *other <= expires);
                    model.insert(place, (key, expires));
                } else {
                    let (key, _) = model.remove(index.index(model.len()));
                    chain.remove(&mut table, key);
                    table.remove(key);
                }
                prop_assert_eq!(chain.next_expiry(), model.first().map(|(_, at)| Time::from_nanos(*at)));
                prop_assert_eq!(chain.expired(Time::from_nanos(u64::MAX)), model.first().map(|(key, _)| *key));
            }
        }
    }
}
