//! What stands in the maps and records being written, so that no key comes twice and fields come in their order.
//!
//! Entries are written as they arrive. When the map or record ends, those that a later one replaces are taken out, and
//! the fields of a record are put in order. Work is n log n at worst, whatever the keys.

use super::binary::{long, long_size, read_bytes};
use super::plan::Record;
use crate::format::members::{Member, remove_repeated};
use crate::record::{BinName, Fault};

/// Scratch above this many entries, or bytes, is given back after the record.
const KEEP_ENTRIES: usize = 64 << 10;
const KEEP_BYTES: usize = 1 << 20;

/// What is known of a map's keys so far. Ordered maps come sorted, and keys that ascend need no other check.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keys {
    None,
    /// Integers, ascending up to this one.
    Integers(i64),
    /// Texts, ascending up to the one that stands here in the buffer.
    Text(u32),
    /// Anything.
    Mixed,
}

/// A stack of the entries of all open maps and records.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Where the datum begins in the buffer.
    base: usize,
    /// The tag of a record's entry is the place of its field; that of a map's says nothing.
    list: Vec<Member>,
    /// Of each field of a record, which entry it is; scratch.
    places: Vec<u32>,
    /// A record in its order; scratch.
    ordered: Vec<u8>,
}

impl Entries {
    /// Begins a datum, which is written from the end of `out` on.
    pub(super) fn begin(&mut self, out: &[u8]) {
        self.base = out.len();
        self.list.clear();
        if self.list.capacity() > KEEP_ENTRIES {
            self.list = Vec::new();
        }
        if self.ordered.capacity() > KEEP_BYTES {
            self.ordered = Vec::new();
        }
    }

    /// Bytes of the datum so far.
    pub(super) fn written(&self, out: &[u8]) -> usize {
        out.len() - self.base
    }

    pub(super) fn mark(&self) -> usize {
        self.list.len()
    }

    /// Takes back all entries after `mark`.
    pub(super) fn reset(&mut self, mark: usize) {
        self.list.truncate(mark);
    }

    /// Notes that an entry begins at the end of `out`.
    pub(super) fn add(&mut self, tag: usize, out: &[u8]) {
        self.list.push(Member { tag: tag as u32, start: (out.len() - self.base) as u32 });
    }

    /// What is known of the keys of a map after one more of this text, which was just written.
    #[inline]
    pub(super) fn with_text(&self, keys: Keys, out: &[u8]) -> Keys {
        let Some(entry) = self.list.last() else { return Keys::Mixed };
        match keys {
            Keys::None => Keys::Text(entry.start),
            Keys::Text(last) if self.key(out, last) < self.key(out, entry.start) => Keys::Text(entry.start),
            _ => Keys::Mixed,
        }
    }

    fn key<'o>(&self, out: &'o [u8], start: u32) -> &'o [u8] {
        read_bytes(out.get(self.base + start as usize..).unwrap_or_default())
    }

    /// Ends a map whose block began at `start` with the count `announced`: of entries with the same key the last stays.
    /// Corrects the count. Returns how many entries were taken out.
    pub(super) fn finish_map(
        &mut self,
        out: &mut Vec<u8>,
        mark: usize,
        keys: Keys,
        (start, announced): (usize, u32),
    ) -> u64 {
        let written = self.list.len().saturating_sub(mark);
        let mut removed = 0;
        if matches!(keys, Keys::Mixed) && written > 1 {
            removed = remove_repeated(out, self.base, self.list.get_mut(mark..).unwrap_or_default(), read_bytes);
        }
        self.list.truncate(mark);
        let count = (written as u64).saturating_sub(removed) as u32;
        if count != announced {
            correct_count(out, start, announced, count);
        }
        removed
    }

    /// Ends a record that was written from `start` on: puts its fields in order and fills in those that are missing.
    /// Returns how many entries a later one replaced.
    pub(super) fn finish_record(
        &mut self,
        record: &Record,
        out: &mut Vec<u8>,
        mark: usize,
        start: usize,
    ) -> Result<u64, Fault> {
        let entries = self.list.get(mark..).unwrap_or_default();
        let is_in_order =
            entries.len() == record.fields.len() && entries.iter().zip(0u32..).all(|(entry, place)| entry.tag == place);
        let mut replaced = 0;
        if !is_in_order {
            const NONE: u32 = u32::MAX;
            self.places.clear();
            self.places.resize(record.fields.len(), NONE);
            for (entry, at) in entries.iter().zip(0u32..) {
                if let Some(place) = self.places.get_mut(entry.tag as usize) {
                    replaced += u64::from(*place != NONE);
                    *place = at;
                }
            }
            self.ordered.clear();
            for (field, at) in record.fields.iter().zip(&self.places) {
                let bytes = match (entries.get(*at as usize), &field.missing) {
                    (Some(entry), _) => {
                        let from = self.base + entry.start as usize;
                        let next = entries.get(*at as usize + 1);
                        let to = next.map_or(out.len(), |next| self.base + next.start as usize);
                        out.get(from..to).unwrap_or_default()
                    }
                    (None, Some(missing)) => missing,
                    (None, None) => return Err(Fault::AvroMissing(BinName::new(field.name.as_bytes()))),
                };
                self.ordered.extend_from_slice(bytes);
            }
            out.truncate(start);
            out.extend_from_slice(&self.ordered);
        }
        self.list.truncate(mark);
        Ok(replaced)
    }
}

/// Makes the count at `start` say `count`. A block of nothing has no count.
fn correct_count(out: &mut Vec<u8>, start: usize, announced: u32, count: u32) {
    let before = if announced == 0 { 0 } else { long_size(announced) };
    let end = out.len();
    if count > 0 {
        long(out, i64::from(count));
    }
    let after = out.len() - end;
    out.copy_within(end.., start);
    out.truncate(end);
    out.copy_within(start + before.., start + after);
    out.truncate(end - (before - after));
}
