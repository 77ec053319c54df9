//! Parts of a record's metadata that both JSON formats have.

use super::value::Values;
use super::{Notes, text};
use crate::record::{ChangeRecord, Operation, RecordError, UserKey, field};

/// The text of the field of type `kind` as a string.
#[inline]
pub(super) fn field(
    values: &mut Values,
    record: &ChangeRecord<'_>,
    kind: u8,
    text: &[u8],
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    match values.string(out, text, notes) {
        Ok(_) => Ok(()),
        Err(fault) => Err(record.field_error(kind, text, fault)),
    }
}

/// The user key as a number or string; bytes as Base64.
pub(super) fn user_key(
    values: &mut Values,
    record: &ChangeRecord<'_>,
    key: &UserKey<'_>,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    match *key {
        UserKey::Int(value) => text::integer(out, value),
        UserKey::Float(value) => values.double(out, value),
        UserKey::Str(value) => return field(values, record, field::KEY, value, out, notes),
        UserKey::Bytes(value) => text::base64(out, value),
    }
    Ok(())
}

/// Whether a delete left a tombstone.
pub(super) fn durable(record: &ChangeRecord<'_>, out: &mut Vec<u8>) {
    let member: &[u8] =
        if record.operation == Operation::DurableDelete { b",\"durable\":true" } else { b",\"durable\":false" };
    out.extend_from_slice(member);
}
