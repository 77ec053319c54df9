//! Flat JSON (esp-connector.md 5.4): the metadata as one member, each bin a member beside it.

use super::bins::SeenNames;
use super::members::finish;
use super::value::Values;
use super::{Notes, metadata, text};
use crate::record::{ChangeRecord, Operation, RecordError, field};

/// What does not change from record to record.
#[derive(Debug)]
pub(super) struct Layout {
    /// The metadata key as a JSON string.
    metadata_name: Vec<u8>,
    /// `{"METADATA KEY":{"namespace":`.
    head: Vec<u8>,
}

impl Layout {
    pub(super) fn new(metadata_key: &str) -> Layout {
        let mut metadata_name = Vec::new();
        text::string(&mut metadata_name, metadata_key.as_bytes());
        let head = [b"{", &metadata_name[..], b":{\"namespace\":"].concat();
        Layout { metadata_name, head }
    }

    /// Appends `record` to `out`.
    pub(super) fn encode(
        &self,
        values: &mut Values,
        record: &ChangeRecord<'_>,
        arrival_unix_ms: u64,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        out.extend_from_slice(&self.head);
        metadata(values, record, arrival_unix_ms, out, notes)?;
        out.push(b',');
        if record.operation == Operation::Write {
            self.bins(values, record, out, notes)?;
        }
        finish(out, b'}');
        Ok(())
    }

    fn bins(
        &self,
        values: &mut Values,
        record: &ChangeRecord<'_>,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let mark = values.members.mark();
        let mut seen = SeenNames::default();
        for bin in record.bins {
            let start = out.len();
            let name = values.string(out, bin.name, notes);
            let changed = name.map_err(|fault| record.bin_name_error(&bin, fault))?;
            if out.get(start..) == Some(&self.metadata_name[..]) {
                out.truncate(start);
                notes.dropped_bins += 1;
                continue;
            }
            seen.add(bin.name, changed);
            values.members.add(start);
            out.push(b':');
            let particle = bin.particle()?;
            values.bin(out, &bin, &particle, notes)?;
            out.push(b',');
        }
        if seen.may_repeat() {
            notes.duplicate_bins += values.members.finish_object(out, mark, 0);
        } else {
            values.members.drop_object(mark);
        }
        Ok(())
    }
}

/// The metadata from the namespace's value to the closing bracket, in the order in which it was seen from the official
/// connectors; what a record does not have is left out.
#[inline]
fn metadata(
    values: &mut Values,
    record: &ChangeRecord<'_>,
    arrival_unix_ms: u64,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    metadata::field(values, record, field::NAMESPACE, record.namespace, out, notes)?;
    if let Some(set) = record.set {
        out.extend_from_slice(b",\"set\":");
        metadata::field(values, record, field::SET, set, out, notes)?;
    }
    if let Some(user_key) = &record.user_key {
        out.extend_from_slice(b",\"userKey\":");
        metadata::user_key(values, record, user_key, out, notes)?;
    }
    out.extend_from_slice(b",\"digest\":");
    text::base64(out, record.digest);
    let is_write = record.operation == Operation::Write;
    let message: &[u8] = if is_write { b",\"msg\":\"write\"" } else { b",\"msg\":\"delete\"" };
    out.extend_from_slice(message);
    if let Some(generation) = record.generation {
        out.extend_from_slice(b",\"gen\":");
        text::unsigned(out, u64::from(generation));
    }
    if let Some(lut) = record.lut_ms {
        out.extend_from_slice(b",\"lut\":");
        text::unsigned(out, lut);
    }
    if is_write {
        if let Some(expiry) = crate::record::expiry(record.ttl, arrival_unix_ms) {
            out.extend_from_slice(b",\"exp\":");
            text::unsigned(out, expiry);
        }
    } else {
        metadata::durable(record, out);
    }
    out.push(b'}');
    Ok(())
}
