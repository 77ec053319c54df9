//! MessagePack (esp-connector.md 5.6): arrays in which the place says what a value is, version 1.
//!
//! Values keep their types: maps take keys of any type and keep every pair as stored, integers have 64 bits, and inside
//! lists and maps byte values other than blobs are extensions of the particle type's number. Texts are texts: bytes that
//! are not UTF-8 follow `invalid-utf8`, except GeoJSON inside lists and maps, which is an extension and so bytes.

mod primitives;

use super::Notes;
use super::bins::SeenNames;
use super::members::Members;
use super::utf8::Texts;
use crate::config::model::InvalidUtf8;
use crate::record::cdt::{self, Cdt, Order, Token};
use crate::record::{
    Bin, ChangeRecord, DecodeLimits, Fault, Operation, Particle, ParticleType, RecordError, UserKey, field,
};
use primitives as pack;

const VERSION: u8 = 1;
const WRITE: u8 = 1;
const DELETE: u8 = 2;

/// Flag of a delete that left a tombstone.
const DURABLE: u64 = 1;

/// The layout of one formatter, with its scratch memory.
#[derive(Debug)]
pub(super) struct Layout {
    delete_metadata: bool,
    limits: DecodeLimits,
    /// Bytes that a record may take.
    most: usize,
    texts: Texts,
    members: Members,
    /// For [`cdt::visit`].
    open: Vec<u64>,
}

impl Layout {
    pub(super) fn new(delete_metadata: bool, invalid_utf8: InvalidUtf8, limits: DecodeLimits) -> Layout {
        let (texts, members) = (Texts::new(invalid_utf8), Members::default());
        Layout { delete_metadata, limits, most: usize::MAX, texts, members, open: Vec::new() }
    }

    /// Bounds what is written for a record.
    pub(super) const fn limit_to(&mut self, bytes: usize) {
        self.most = bytes;
        self.texts.limit_to(bytes);
    }

    /// Appends `record` to `out`.
    pub(super) fn encode(
        &mut self,
        record: &ChangeRecord<'_>,
        arrival_unix_ms: u64,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        self.members.begin(out);
        pack::array(out, 3);
        if record.operation == Operation::Write {
            out.extend_from_slice(&[VERSION, WRITE]);
            pack::array(out, 5);
            self.key(record, out, notes)?;
            optional(out, record.generation.map(u64::from));
            optional(out, crate::record::expiry(record.ttl, arrival_unix_ms));
            optional(out, record.lut_ms);
            return self.bins(record, out, notes);
        }
        out.extend_from_slice(&[VERSION, DELETE]);
        pack::array(out, if self.delete_metadata { 4 } else { 2 });
        self.key(record, out, notes)?;
        pack::unsigned(out, if record.operation == Operation::DurableDelete { DURABLE } else { 0 });
        if self.delete_metadata {
            optional(out, record.generation.map(u64::from));
            optional(out, record.lut_ms);
        }
        Ok(())
    }

    /// Namespace, set or nil, digest, user key or nil.
    fn key(&mut self, record: &ChangeRecord<'_>, out: &mut Vec<u8>, notes: &mut Notes) -> Result<(), RecordError> {
        pack::array(out, 4);
        self.field(record, field::NAMESPACE, record.namespace, out, notes)?;
        match record.set {
            Some(set) => self.field(record, field::SET, set, out, notes)?,
            None => pack::nil(out),
        }
        pack::binary(out, record.digest);
        match record.user_key {
            Some(UserKey::Int(value)) => pack::integer(out, value),
            Some(UserKey::Float(value)) => pack::double(out, value),
            Some(UserKey::Str(value)) => self.field(record, field::KEY, value, out, notes)?,
            Some(UserKey::Bytes(value)) => pack::binary(out, value),
            None => pack::nil(out),
        }
        Ok(())
    }

    /// The text of a field.
    fn field(
        &mut self,
        record: &ChangeRecord<'_>,
        kind: u8,
        text: &[u8],
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let written = self.texts.write(text, notes, |text| pack::text(out, text));
        written.map(drop).map_err(|fault| record.field_error(kind, text, fault))
    }

    fn bins(&mut self, record: &ChangeRecord<'_>, out: &mut Vec<u8>, notes: &mut Notes) -> Result<(), RecordError> {
        let head = out.len();
        // A message has at most 65,535 ops.
        let count = record.bins.len() as u32;
        pack::array(out, count);
        let first_bin = out.len();
        let mark = self.members.mark();
        let mut seen = SeenNames::default();
        for bin in record.bins {
            self.members.add(out.len());
            pack::array(out, 4);
            let name = self.texts.write(bin.name, notes, |name| pack::text(out, name));
            let changed = name.map_err(|fault| record.bin_name_error(&bin, fault))?;
            seen.add(bin.name, changed);
            self.bin_rest(&bin, out, notes)?;
            if self.members.held(out) > self.most {
                return Err(bin.error(Fault::TooLarge(self.most), bin.value_offset()));
            }
        }
        if !seen.may_repeat() {
            self.members.drop_object(mark);
            return Ok(());
        }
        let removed = self.members.finish_members(out, mark, bin_name);
        if removed > 0 {
            notes.duplicate_bins += removed;
            let mut right = Vec::with_capacity(5);
            pack::array(&mut right, count.saturating_sub(removed as u32));
            out.splice(head..first_bin, right);
        }
        Ok(())
    }

    /// Type, flags and value.
    #[inline]
    fn bin_rest(&mut self, bin: &Bin<'_>, out: &mut Vec<u8>, notes: &mut Notes) -> Result<(), RecordError> {
        let particle = bin.particle()?;
        pack::unsigned(out, u64::from(bin.particle_type.0));
        out.push(flags(&particle));
        match particle {
            Particle::Int(value) => pack::integer(out, value),
            Particle::Float(value) => pack::double(out, value),
            Particle::Bool(value) => pack::boolean(out, value),
            Particle::Nil => pack::nil(out),
            Particle::Str(text) | Particle::Geo(text) => {
                let written = self.texts.write(text, notes, |text| pack::text(out, text));
                written.map_err(|fault| bin.error(fault, bin.value_offset()))?;
            }
            Particle::Blob(_, bytes) | Particle::Hll(bytes) => pack::binary(out, bytes),
            Particle::Unknown(_, bytes) => {
                notes.unknown_particles += 1;
                pack::binary(out, bytes);
            }
            Particle::List(cdt) => {
                pack::array(out, cdt.count);
                self.elements(&cdt, false, out, notes).map_err(|(fault, offset)| bin.error(fault, offset))?;
            }
            Particle::Map(cdt) => {
                pack::map(out, cdt.count);
                self.elements(&cdt, true, out, notes).map_err(|(fault, offset)| bin.error(fault, offset))?;
            }
        }
        Ok(())
    }

    /// What is inside a list or map whose head was written.
    fn elements(
        &mut self,
        cdt: &Cdt<'_>,
        is_map: bool,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), (Fault, usize)> {
        let (texts, members, most) = (&mut self.texts, &self.members, self.most);
        cdt::visit(cdt, is_map, self.limits.max_depth, &mut self.open, |token| {
            match token {
                Token::Nil => pack::nil(out),
                Token::Bool(value) => pack::boolean(out, value),
                Token::Int(value) => pack::integer(out, value),
                Token::Float(value) => pack::double(out, value),
                Token::Str(text) => {
                    texts.write(text, notes, |text| pack::text(out, text))?;
                }
                Token::Bytes(kind, bytes) => typed_bytes(out, kind, bytes),
                Token::Geo(text) => typed_bytes(out, ParticleType::GEOJSON, text),
                Token::List { count, .. } => pack::array(out, count),
                Token::Map { count, .. } => pack::map(out, count),
            }
            if members.held(out) > most { Err(Fault::TooLarge(most)) } else { Ok(()) }
        })
    }
}

#[inline]
fn optional(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => pack::unsigned(out, value),
        None => pack::nil(out),
    }
}

/// The order of a list or map, by the server's numbers.
#[inline]
fn flags(particle: &Particle<'_>) -> u8 {
    match particle {
        Particle::List(Cdt { order: Order::Ordered | Order::KeyValueOrdered, .. }) => 1,
        Particle::Map(Cdt { order: Order::Ordered, .. }) => 1,
        Particle::Map(Cdt { order: Order::KeyValueOrdered, .. }) => 3,
        _ => 0,
    }
}

/// Bytes inside a list or map. Extension types below zero are MessagePack's own, so that particle types above 127,
/// which no server has, are plain bytes.
#[inline]
fn typed_bytes(out: &mut Vec<u8>, kind: ParticleType, bytes: &[u8]) {
    match i8::try_from(kind.0) {
        Ok(number) if kind != ParticleType::BLOB => pack::extension(out, number, bytes),
        _ => pack::binary(out, bytes),
    }
}

/// The name, with its length, of the bin that `bytes` begins with, as [`Layout::bins`] wrote it.
fn bin_name(bytes: &[u8]) -> &[u8] {
    let name = bytes.get(1..).unwrap_or_default();
    let end = match *name {
        [short @ 0xa0..=0xbf, ..] => 1 + usize::from(short & 0x1f),
        [0xd9, length, ..] => 2 + usize::from(length),
        [0xda, a, b, ..] => 3 + usize::from(u16::from_be_bytes([a, b])),
        _ => 0,
    };
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
