//! `bin-transforms`: which bins of a record are delivered, and under which names.
//!
//! The message is written anew with the bins that are left, and read again, so that every format sees a record as any
//! other. What becomes of a name is remembered (`names::Names`): a regex runs once per name, not per record.

mod names;
mod rename;

use crate::config::model;
use crate::policy::java_regex::JavaRegex;
pub use crate::policy::java_regex::RegexFault;
use crate::record::{BinName, ChangeRecord, HEADER_SIZE, Place, RecordError};
use names::{Fate, Names};
use rename::Renamer;

/// Scratch above this many bytes is given back before the next record.
const KEEP_BYTES: usize = 256 << 10;

/// Where the number of ops stands in the header.
const OPS_COUNT: std::ops::Range<usize> = HEADER_SIZE - 2..HEADER_SIZE;

/// Whether a regex transform can be carried out.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn check_regex(pattern: &str, replacement: &str) -> Result<(), RegexFault> {
    JavaRegex::new(pattern, replacement).map(|_| ())
}

/// Applies one `bin-transforms` block to record after record. Belongs to one executor; remembers the result per bin
/// name.
#[derive(Debug)]
pub struct Transformer {
    renamer: Renamer,
    names: Names,
    /// The message of the last record, with the bins that are left, under their new names.
    message: Vec<u8>,
}

impl Transformer {
    /// For one executor.
    ///
    /// # Errors
    /// As [`check_regex`], in words; never for a block that the configuration accepted.
    pub fn new(config: &model::BinTransforms) -> Result<Transformer, String> {
        Ok(Transformer { renamer: Renamer::new(config)?, names: Names::default(), message: Vec::new() })
    }

    /// The record with the bins that are left, under their new names. A name that comes twice in the record comes
    /// twice in the result.
    ///
    /// # Errors
    /// Two bins with different names end with one name, a new name is too long, or a regex takes too long.
    pub fn apply<'s>(&'s mut self, record: &ChangeRecord<'_>) -> Result<ChangeRecord<'s>, RecordError> {
        self.give_back();
        self.names.begin_record();
        self.message.clear();
        self.message.extend_from_slice(record.body.get(..record.bins.offset()).unwrap_or(record.body));
        let mut kept: u16 = 0;
        let mut bins = record.bins.iter();
        let mut offset = bins.offset();
        while let Some(bin) = bins.next() {
            let end = bins.offset();
            let op = record.body.get(offset..end).unwrap_or_default();
            let name = self.names.fate(bin.name, &self.renamer);
            match name {
                Fate::Dropped => {}
                Fate::Named(name) => {
                    append_op(&mut self.message, op, bin.name.len(), name);
                    kept = kept.saturating_add(1);
                }
                Fate::Fault(name, fault) => {
                    return Err(RecordError::new(Place::Bin(BinName::new(name)), offset, fault));
                }
            }
            offset = end;
        }
        if let Some(count) = self.message.get_mut(OPS_COUNT) {
            count.copy_from_slice(&kept.to_be_bytes());
        }
        crate::record::decode(&self.message)
    }

    /// Gives memory of unusual records back; called by [`Transformer::apply`] for the record before.
    pub fn give_back(&mut self) {
        if self.message.capacity() > KEEP_BYTES {
            self.message = Vec::new();
        }
        self.names.give_back();
    }

    /// How many names went through the transforms so far; a name that was remembered does not count.
    pub const fn runs(&self) -> u64 {
        self.names.runs()
    }
}

/// Appends `op`, whose name has `size` bytes, with `name` in its place: size, code, particle type, flags, size of the
/// name, name, the rest.
#[inline]
fn append_op(message: &mut Vec<u8>, op: &[u8], size: usize, name: &[u8]) {
    let (Some((_, after_size)), Ok(name_size)) = (op.split_first_chunk::<4>(), u8::try_from(name.len())) else {
        return;
    };
    let Some((&[code, particle, flags, _], named)) = after_size.split_first_chunk::<4>() else { return };
    let rest = named.get(size..).unwrap_or_default();
    let op_size = u32::try_from(4 + name.len() + rest.len()).unwrap_or(u32::MAX);
    message.extend_from_slice(&op_size.to_be_bytes());
    message.extend_from_slice(&[code, particle, flags, name_size]);
    message.extend_from_slice(name);
    message.extend_from_slice(rest);
}

#[cfg(test)]
mod tests;
