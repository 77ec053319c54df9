//! What became of names: worked out once, then remembered.

use std::collections::HashMap;

use super::rename::{Origin, Renamer};
use crate::record::Fault;

/// Names that are remembered. Beyond it all are forgotten and learned again; one record may go above it.
const MAX_NAMES: usize = 16_384;

/// Bytes of names that are remembered, in the same way.
const MAX_BYTES: usize = 1 << 20;

/// What becomes of a bin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate<'n> {
    Dropped,
    /// It gets this name.
    Named(&'n [u8]),
    /// The record cannot be delivered, for this name.
    Fault(&'n [u8], Fault),
}

/// As [`Fate`], remembered.
#[derive(Debug, Clone, Copy)]
enum Known {
    Dropped,
    /// Number of the original name, place of the new one.
    Named {
        source: u32,
        target: u32,
        origin: Origin,
    },
    Fault {
        target: u32,
        fault: Fault,
    },
}

/// A new name, and which bin had it last.
#[derive(Debug)]
struct Target {
    name: Box<[u8]>,
    /// The record in which a bin had it.
    record: u64,
    /// Number of that bin's original name.
    source: u32,
    origin: Origin,
}

/// The memory of one block.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Box<[u8]>, Known>,
    targets: Vec<Target>,
    by_name: HashMap<Box<[u8]>, u32>,
    /// Of all names in it.
    bytes: usize,
    /// Counts records, so that nothing needs to be cleared between them.
    record: u64,
    runs: u64,
}

impl Names {
    /// What a bin gets is compared with what the other bins of its record got, from here on.
    pub(super) const fn begin_record(&mut self) {
        self.record += 1;
    }

    /// Forgets everything if it is too much.
    pub(super) fn give_back(&mut self) {
        if self.known.len() > MAX_NAMES || self.bytes > MAX_BYTES {
            *self = Names { record: self.record, runs: self.runs, ..Names::default() };
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) const fn runs(&self) -> u64 {
        self.runs
    }

    /// What becomes of the bin called `name`.
    #[inline]
    pub(super) fn fate(&mut self, name: &[u8], renamer: &Renamer) -> Fate<'_> {
        let known = match self.known.get(name) {
            Some(known) => *known,
            None => self.learn(name, renamer),
        };
        let (source, target, origin) = match known {
            Known::Dropped => return Fate::Dropped,
            Known::Named { source, target, origin } => (source, target, origin),
            Known::Fault { target, fault } => {
                return Fate::Fault(self.targets.get(target as usize).map_or(&[], |target| &target.name), fault);
            }
        };
        let Some(target) = self.targets.get_mut(target as usize) else { return Fate::Dropped };
        if target.record == self.record && target.source != source {
            return Fate::Fault(&target.name, Fault::NameClash(origin.settings(target.origin)));
        }
        (target.record, target.source, target.origin) = (self.record, source, origin);
        Fate::Named(&target.name)
    }

    #[cold]
    fn learn(&mut self, name: &[u8], renamer: &Renamer) -> Known {
        self.runs += 1;
        let known = match renamer.rename(name) {
            None => Known::Dropped,
            Some(new) => {
                let target = self.target(&new.name);
                match new.fault {
                    Some(fault) => Known::Fault { target, fault },
                    // A record has fewer ops than this number can count, and nothing grows beyond one record's.
                    None => Known::Named { source: self.known.len() as u32, target, origin: new.origin },
                }
            }
        };
        self.bytes += name.len();
        self.known.insert(name.into(), known);
        known
    }

    /// The place of a new name.
    fn target(&mut self, name: &[u8]) -> u32 {
        if let Some(target) = self.by_name.get(name) {
            return *target;
        }
        let target = self.targets.len() as u32;
        self.targets.push(Target { name: name.into(), record: 0, source: 0, origin: Origin::Kept });
        self.by_name.insert(name.into(), target);
        self.bytes += 2 * name.len();
        target
    }
}
