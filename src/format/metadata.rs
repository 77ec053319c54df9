//! Parts of a record's metadata that both JSON formats have.

use super::{Notes, text};
use crate::record::{ChangeRecord, Operation, UserKey};

/// The user key as a number or string; bytes as Base64.
pub(super) fn user_key(key: &UserKey<'_>, out: &mut Vec<u8>, notes: &mut Notes) {
    match *key {
        UserKey::Int(value) => text::integer(out, value),
        UserKey::Float(value) => text::double(out, value),
        UserKey::Str(value) => notes.replaced_text += u64::from(text::string(out, value)),
        UserKey::Bytes(value) => text::base64(out, value),
    }
}

/// Whether a delete left a tombstone.
pub(super) fn durable(record: &ChangeRecord<'_>, out: &mut Vec<u8>) {
    let member: &[u8] =
        if record.operation == Operation::DurableDelete { b",\"durable\":true" } else { b",\"durable\":false" };
    out.extend_from_slice(member);
}
