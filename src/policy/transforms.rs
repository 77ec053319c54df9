//! `bin-transforms`: which bins of a record are delivered, and under which names.

use crate::config::model;
use crate::record::{ChangeRecord, RecordError};

/// Which part of a regex transform is wrong, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegexFault {
    /// The pattern.
    Pattern(String),
    /// The replacement.
    Replacement(String),
}

/// Whether a regex transform can be carried out.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn check_regex(_pattern: &str, _replacement: &str) -> Result<(), RegexFault> {
    Ok(())
}

/// Applies one `bin-transforms` block to record after record. Belongs to one executor; remembers the result per bin
/// name.
#[derive(Debug)]
pub struct Transformer {
    /// The message of the last record, with the bins that are left, under their new names.
    message: Vec<u8>,
}

impl Transformer {
    /// For one executor.
    ///
    /// # Errors
    /// As [`check_regex`], in words; never for a block that the configuration accepted.
    pub fn new(_config: &model::BinTransforms) -> Result<Transformer, String> {
        Ok(Transformer { message: Vec::new() })
    }

    /// The record with the bins that are left, under their new names.
    ///
    /// # Errors
    /// Two bins end with one name, or a name is too long.
    pub fn apply<'s>(&'s mut self, record: &ChangeRecord<'_>) -> Result<ChangeRecord<'s>, RecordError> {
        self.message.clear();
        self.message.extend_from_slice(record.body);
        crate::record::decode(&self.message)
    }
}
