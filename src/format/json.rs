//! Typed JSON (esp-connector.md 5.3): each bin an object with its name, type and value.

use super::bins::SeenNames;
use super::members::finish;
use super::value::Values;
use super::{Notes, metadata, text};
use crate::record::cdt::{Cdt, Order};
use crate::record::{Bin, ChangeRecord, Operation, Particle, RecordError, field};

const BIN_HEAD: &[u8] = b"{\"name\":";

/// Appends `record` to `out`.
pub(super) fn encode(
    values: &mut Values,
    record: &ChangeRecord<'_>,
    arrival_unix_ms: u64,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    let is_write = record.operation == Operation::Write;
    let head: &[u8] = if is_write { b"{\"msg\":\"write\",\"key\":[" } else { b"{\"msg\":\"delete\",\"key\":[" };
    out.extend_from_slice(head);
    key(values, record, out, notes)?;
    if let Some(generation) = record.generation {
        out.extend_from_slice(b",\"gen\":");
        text::unsigned(out, u64::from(generation));
    }
    if is_write && let Some(expiry) = crate::record::expiry(record.ttl, arrival_unix_ms) {
        out.extend_from_slice(b",\"exp\":");
        text::unsigned(out, expiry);
    }
    if let Some(lut) = record.lut_ms {
        out.extend_from_slice(b",\"lut\":");
        text::unsigned(out, lut);
    }
    if is_write {
        out.extend_from_slice(b",\"bins\":[");
        bins(values, record, out, notes)?;
        out.push(b'}');
    } else {
        metadata::durable(record, out);
        out.push(b'}');
    }
    Ok(())
}

/// `NAMESPACE, SET or null, DIGEST, USER KEY or null]`.
fn key(
    values: &mut Values,
    record: &ChangeRecord<'_>,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    metadata::field(values, record, field::NAMESPACE, record.namespace, out, notes)?;
    out.push(b',');
    match record.set {
        Some(set) => metadata::field(values, record, field::SET, set, out, notes)?,
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
    text::base64(out, record.digest);
    out.push(b',');
    match &record.user_key {
        Some(user_key) => metadata::user_key(values, record, user_key, out, notes)?,
        None => out.extend_from_slice(b"null"),
    }
    out.push(b']');
    Ok(())
}

fn bins(
    values: &mut Values,
    record: &ChangeRecord<'_>,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    let mark = values.members.mark();
    let mut seen = SeenNames::default();
    for bin in record.bins {
        values.members.add(out.len());
        out.extend_from_slice(BIN_HEAD);
        let name = values.string(out, bin.name, notes);
        seen.add(bin.name, name.map_err(|fault| record.bin_name_error(&bin, fault))?);
        bin_rest(values, &bin, out, notes)?;
        out.push(b',');
    }
    if seen.may_repeat() {
        notes.duplicate_bins += values.members.finish_object(out, mark, BIN_HEAD.len());
    } else {
        values.members.drop_object(mark);
    }
    finish(out, b']');
    Ok(())
}

/// Type, value, and the order of a list or map.
fn bin_rest(values: &mut Values, bin: &Bin<'_>, out: &mut Vec<u8>, notes: &mut Notes) -> Result<(), RecordError> {
    let particle = bin.particle()?;
    let head: &[u8] = match particle {
        Particle::Nil => b",\"type\":\"nil\",\"value\":",
        Particle::Int(_) => b",\"type\":\"int\",\"value\":",
        Particle::Float(_) => b",\"type\":\"float\",\"value\":",
        Particle::Bool(_) => b",\"type\":\"bool\",\"value\":",
        Particle::Str(_) => b",\"type\":\"str\",\"value\":",
        Particle::Blob(..) | Particle::Unknown(..) => b",\"type\":\"blob\",\"value\":",
        Particle::Hll(_) => b",\"type\":\"hll\",\"value\":",
        Particle::List(_) => b",\"type\":\"list\",\"value\":",
        Particle::Map(_) => b",\"type\":\"map\",\"value\":",
        Particle::Geo(_) => b",\"type\":\"geojson\",\"value\":",
    };
    out.extend_from_slice(head);
    values.bin(out, bin, &particle, notes)?;
    let tail: &[u8] = match particle {
        Particle::List(Cdt { order: Order::Unordered, .. }) => b",\"ordered\":false}",
        Particle::List(_) => b",\"ordered\":true}",
        Particle::Map(Cdt { order: Order::Ordered, .. }) => b",\"order\":\"key\"}",
        Particle::Map(Cdt { order: Order::KeyValueOrdered, .. }) => b",\"order\":\"key-value\"}",
        _ => b"}",
    };
    out.extend_from_slice(tail);
    Ok(())
}
