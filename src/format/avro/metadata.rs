//! The metadata of a record under the names and in the Avro types of esp-connector.md 5.1.

use super::binary::Value;
use crate::record::{ChangeRecord, Operation, UserKey, expiry};

/// Names, in the order in which maps list them.
pub(super) const NAMES: [&str; 9] = ["namespace", "set", "userKey", "digest", "msg", "gen", "lut", "exp", "durable"];

/// What a record has; `None`: nothing under that name.
pub(super) type Metadata<'a> = [Option<Value<'a>>; NAMES.len()];

/// Place of `name` in [`NAMES`].
pub(super) fn index(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The metadata of `record`.
pub(super) fn of<'a>(record: &ChangeRecord<'a>, arrival_unix_ms: u64) -> Metadata<'a> {
    let is_write = record.operation == Operation::Write;
    let exp = if is_write { expiry(record.ttl, arrival_unix_ms) } else { None };
    let unsigned = |value: u64| Value::Int(value as i64);
    [
        Some(Value::Str(record.namespace)),
        record.set.map(Value::Str),
        record.user_key.map(|key| match key {
            UserKey::Int(value) => Value::Int(value),
            UserKey::Float(value) => Value::Float(value),
            UserKey::Str(text) => Value::Str(text),
            UserKey::Bytes(bytes) => Value::Bytes(bytes),
        }),
        Some(Value::Bytes(record.digest)),
        Some(Value::Str(if is_write { b"write" } else { b"delete" })),
        record.generation.map(|generation| Value::Int(i64::from(generation))),
        record.lut_ms.map(unsigned),
        exp.map(unsigned),
        (!is_write).then_some(Value::Bool(record.operation == Operation::DurableDelete)),
    ]
}
