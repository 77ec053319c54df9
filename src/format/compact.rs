//! Single values as text, for what is not a body: values of request headers.

use super::value::Values;
use super::{Notes, text};
use crate::config::model::TextRules;
use crate::record::{Bin, DecodeLimits, Particle, RecordError};

/// A value is larger than any header: it is not written to its end.
const MAX_BYTES: usize = 64 << 10;

/// Writes lists and maps as compact JSON; keeps its scratch memory.
#[derive(Debug)]
pub(crate) struct CompactJson {
    values: Values,
}

impl CompactJson {
    pub(crate) fn new(limits: DecodeLimits) -> CompactJson {
        let mut values = Values::new(limits, TextRules::default());
        values.limit_to(MAX_BYTES);
        CompactJson { values }
    }

    /// Appends the value of `bin`, which is `particle`, as in the JSON formats.
    ///
    /// # Errors
    /// It is nested too deeply, or cannot be read; [`Fault::TooLarge`](crate::record::Fault::TooLarge) if it is larger than
    /// any header.
    pub(crate) fn append(
        &mut self,
        bin: &Bin<'_>,
        particle: &Particle<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        self.values.members.begin(out);
        // What is odd about a value is counted where it is part of a body.
        let mut notes = Notes::default();
        self.values.bin(out, bin, particle, &mut notes)
    }
}

/// Appends a double as the JSON formats write it, without the quotes of those that JSON has no number for.
pub(crate) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        text::double(out, value);
    } else {
        out.extend_from_slice(text::non_finite(value).as_bytes());
    }
}
