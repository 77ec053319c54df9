//! A slab whose keys carry a generation, so that a key that outlived its entry finds nothing.

/// Names one entry of a [`Table`]. Never valid again once its entry was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Place in the table.
    pub slot: u32,
    /// How often that place was used before.
    pub generation: u32,
}

impl From<Key> for crate::http::Ticket {
    fn from(key: Key) -> crate::http::Ticket {
        crate::http::Ticket { slot: key.slot, generation: key.generation }
    }
}

impl From<crate::http::Ticket> for Key {
    fn from(ticket: crate::http::Ticket) -> Key {
        Key { slot: ticket.slot, generation: ticket.generation }
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries by [`Key`]; places are used again, keys are not.
#[derive(Debug)]
pub struct Table<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Makes room for so many entries, so that no insertion has to move them. Whether the system gave the addresses; memory it
    /// gives when they are used.
    pub fn try_reserve(&mut self, entries: usize) -> bool {
        self.entries.try_reserve_exact(entries.saturating_sub(self.entries.len())).is_ok()
    }

    /// Puts `value` in a free place. `None` when 2^32 places are taken, which the budget makes impossible.
    pub fn insert(&mut self, value: T) -> Option<Key> {
        if let Some(slot) = self.free.pop() {
            let entry = self.entries.get_mut(slot as usize)?;
            entry.value = Some(value);
            return Some(Key { slot, generation: entry.generation });
        }
        let slot = u32::try_from(self.entries.len()).ok()?;
        self.entries.push(Entry { generation: 0, value: Some(value) });
        Some(Key { slot, generation: 0 })
    }

    /// The entry, if it is still the one that `key` was made for.
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    /// The entry, if it is still the one that `key` was made for.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Takes the entry out; its key is dead from here on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with every entry.
    pub fn for_each(&self, mut visit: impl FnMut(Key, &T)) {
        for (slot, entry) in self.entries.iter().enumerate() {
            if let Some(value) = &entry.value {
                visit(Key { slot: slot as u32, generation: entry.generation }, value);
            }
        }
    }

    /// Keys of all entries, in the order of their places. Allocates: for shutdown and timers, not for records.
    pub fn keys(&self) -> Vec<Key> {
        let live = self.entries.iter().enumerate().filter(|(_, entry)| entry.value.is_some());
        live.map(|(slot, entry)| Key { slot: slot as u32, generation: entry.generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_find_the_next_user_of_its_place() {
        let mut table = Table::default();
        let old = table.insert("old").unwrap();
        assert_eq!(table.remove(old), Some("old"));
        let new = table.insert("new").unwrap();
        assert_eq!(new.slot, old.slot);
        assert_eq!(table.get(old), None);
        assert_eq!(table.get_mut(old), None);
        assert_eq!(table.remove(old), None);
        assert_eq!(table.get(new), Some(&"new"));
        assert_eq!(table.len(), 1);
    }
}
