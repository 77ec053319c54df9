//! A change notification as a borrowed view of one message: header, fields, and the bins as slices.
//!
//! Knows the message layout (22-byte header, fields, ops; xdr-protocol.md 2 to 4). Builds no tree and allocates
//! nothing: [`particle`] and [`cdt`] read values when a format asks for them. Every fault here is one of content: the
//! message is answered 10 and the connection goes on.

pub mod cdt;
mod error;
mod identity;
pub mod particle;

pub use error::{AvroTypes, BinName, Fault, Place, RecordError};
pub use identity::{Hex, Identity, Parsed};
pub use particle::{Particle, ParticleType};

use crate::wire::epoch;
use crate::wire::reader::Reader;

/// Bytes of the message header.
pub const HEADER_SIZE: usize = 22;

/// The set in which the server keeps the monitors of multi-record transactions (xdr-protocol.md 2.6).
pub const TRANSACTION_MONITOR_SET: &[u8] = b"<ERO~MRT";

/// Bits of `info2` and `info3` (xdr-protocol.md 2.1).
mod bits {
    pub const WRITE: u8 = 0x01;
    pub const DELETE: u8 = 0x02;
    pub const DURABLE_DELETE: u8 = 0x10;
    pub const CREATE_ONLY: u8 = 0x20;
    pub const UPDATE_ONLY: u8 = 0x08;
    pub const REPLACE: u8 = 0x10;
    pub const REPLACE_ONLY: u8 = 0x20;
}

/// Types of fields that are read; all others are skipped (xdr-protocol.md 3.1).
pub(crate) mod field {
    pub const NAMESPACE: u8 = 0;
    pub const SET: u8 = 1;
    pub const KEY: u8 = 2;
    pub const DIGEST: u8 = 4;
    pub const LUT: u8 = 14;
}

const OP_WRITE: u8 = 2;
const OP_HAS_LUT: u8 = 0x01;

/// Bounds on what is inside a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Deepest nesting of lists and maps; a list of integers has depth 1.
    pub max_depth: u32,
}

/// What happened to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It was written.
    Write,
    /// It was deleted.
    Delete,
    /// It was deleted, and the server keeps a tombstone.
    DurableDelete,
}

/// What a write assumes about the record before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistsAction {
    /// Bins that are not in the message stay as they were.
    Update,
    /// As [`ExistsAction::Update`]; the record must exist.
    UpdateOnly,
    /// The message has the complete record.
    Replace,
    /// As [`ExistsAction::Replace`]; the record must exist.
    ReplaceOnly,
    /// The record must not exist.
    CreateOnly,
}

/// The `record_ttl` of a message (xdr-protocol.md 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// 0: what the destination's default is.
    NamespaceDefault,
    /// 0xFFFFFFFF.
    Never,
    /// 0xFFFFFFFE: the expiry before this write stays.
    Unchanged,
    /// Seconds left.
    Seconds(u32),
}

impl Ttl {
    const fn from_wire(value: u32) -> Ttl {
        match value {
            0 => Ttl::NamespaceDefault,
            u32::MAX => Ttl::Never,
            0xFFFF_FFFE => Ttl::Unchanged,
            seconds => Ttl::Seconds(seconds),
        }
    }
}

/// When a record that arrived at `arrival_unix_ms` expires, in seconds since the Unix epoch; 0: never, `None`: not
/// known (decisions.md, Time).
pub const fn expiry(ttl: Ttl, arrival_unix_ms: u64) -> Option<u64> {
    match ttl {
        Ttl::NamespaceDefault | Ttl::Never => Some(0),
        Ttl::Unchanged => None,
        Ttl::Seconds(seconds) => Some(arrival_unix_ms / 1000 + seconds as u64),
    }
}

/// The user key, when the source stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UserKey<'a> {
    /// Eight bytes, signed.
    Int(i64),
    /// From old clients.
    Float(f64),
    /// Not necessarily UTF-8.
    Str(&'a [u8]),
    /// A blob of any kind.
    Bytes(&'a [u8]),
}

/// One notification, borrowed from the message body.
#[derive(Debug, Clone, Copy)]
pub struct ChangeRecord<'a> {
    /// 1 to 31 bytes, as a rule; not necessarily UTF-8.
    pub namespace: &'a [u8],
    /// `None`: the record is in no set.
    pub set: Option<&'a [u8]>,
    /// RIPEMD-160 of set and key; what identifies the record in its namespace.
    pub digest: &'a [u8; 20],
    /// `None`: not stored at the source.
    pub user_key: Option<UserKey<'a>>,
    /// Write or delete.
    pub operation: Operation,
    /// Of a write; says nothing on a delete.
    pub exists_action: ExistsAction,
    /// `None`: a delete that was shipped without one.
    pub generation: Option<u32>,
    /// Last-update time in milliseconds since the Unix epoch; `None`: not shipped (servers before 5.4).
    pub lut_ms: Option<u64>,
    /// Time to live; says nothing on a delete.
    pub ttl: Ttl,
    /// In wire order.
    pub bins: Bins<'a>,
    /// All of the message, for the format that passes it through.
    pub body: &'a [u8],
}

impl ChangeRecord<'_> {
    /// Whether this is the server's own book-keeping of a transaction, which is acked and not delivered.
    pub fn is_transaction_monitor(&self) -> bool {
        self.set == Some(TRANSACTION_MONITOR_SET)
    }

    /// Whether the message has the complete record: a bin that is not in it does not exist.
    pub const fn is_replace(&self) -> bool {
        matches!(self.exists_action, ExistsAction::Replace | ExistsAction::ReplaceOnly)
    }

    /// `fault` in the `text` of the field of type `kind`, as an error.
    #[cold]
    pub fn field_error(&self, kind: u8, text: &[u8], fault: Fault) -> RecordError {
        RecordError::new(Place::Field(kind), self.offset_of(text), fault)
    }

    /// `fault` in the name of `bin`, as an error.
    #[cold]
    pub fn bin_name_error(&self, bin: &Bin<'_>, fault: Fault) -> RecordError {
        bin.error(fault, self.offset_of(bin.name))
    }

    /// Where `part`, a slice of the message, begins in it.
    fn offset_of(&self, part: &[u8]) -> usize {
        part.as_ptr().addr().saturating_sub(self.body.as_ptr().addr()).min(self.body.len())
    }
}

/// The bins of a record. The structure of the ops was checked; the values were not.
#[derive(Debug, Clone, Copy)]
pub struct Bins<'a> {
    ops: Reader<'a>,
    count: u16,
}

impl<'a> Bins<'a> {
    /// Number of ops, repeated names included.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no bin.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where the first op begins in the message.
    pub(crate) const fn offset(&self) -> usize {
        self.ops.offset()
    }

    /// The bins, in wire order.
    pub const fn iter(&self) -> BinIter<'a> {
        BinIter { ops: self.ops }
    }

    /// The bin that stands at `offset` of the message, as [`BinIter::offset`] gave it.
    #[inline]
    pub fn at(&self, offset: usize) -> Option<Bin<'a>> {
        let mut ops = self.ops;
        ops.take(offset.checked_sub(ops.offset())?)?;
        read_op(&mut ops).ok().map(|(_, bin)| bin)
    }
}

impl<'a> IntoIterator for Bins<'a> {
    type Item = Bin<'a>;
    type IntoIter = BinIter<'a>;

    fn into_iter(self) -> BinIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Bins`].
#[derive(Debug, Clone)]
pub struct BinIter<'a> {
    ops: Reader<'a>,
}

impl BinIter<'_> {
    /// Where the op of the next bin begins in the message; never 0.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.ops.offset()
    }
}

impl<'a> Iterator for BinIter<'a> {
    type Item = Bin<'a>;

    #[inline]
    fn next(&mut self) -> Option<Bin<'a>> {
        read_op(&mut self.ops).ok().map(|(_, bin)| bin)
    }
}

/// One bin. Its value is read by [`Bin::particle`], when it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Bin<'a> {
    /// 0 to 15 bytes, as a rule; not necessarily UTF-8.
    pub name: &'a [u8],
    /// Raw last-update time of this bin; `None`: not shipped.
    lut: Option<&'a [u8; 8]>,
    /// Type of the value as on the wire.
    pub particle_type: ParticleType,
    value: Reader<'a>,
}

impl<'a> Bin<'a> {
    /// Last-update time of this bin in milliseconds since the Unix epoch, if shipped.
    pub fn lut_ms(&self) -> Option<u64> {
        self.lut.map(|raw| epoch::lut_to_unix_ms(u64::from_be_bytes(*raw)))
    }

    /// The value's bytes, as shipped.
    pub const fn raw_value(&self) -> &'a [u8] {
        self.value.rest()
    }

    /// Where the value begins in the message.
    #[inline]
    pub const fn value_offset(&self) -> usize {
        self.value.offset()
    }

    /// The value. Lists and maps are not walked yet: they are checked while they are read.
    ///
    /// # Errors
    /// The bytes do not fit the type.
    #[inline]
    pub fn particle(&self) -> Result<Particle<'a>, RecordError> {
        particle::read(self.particle_type, self.value).map_err(|fault| self.error(fault, self.value.offset()))
    }

    /// `fault`, found at `offset` of the message, as an error that names this bin.
    #[cold]
    pub fn error(&self, fault: Fault, offset: usize) -> RecordError {
        RecordError::new(Place::Bin(BinName::new(self.name)), offset, fault)
    }
}

/// Reads a message: all of a type-3 frame after its header. Header, fields and the structure of the ops are checked to
/// the exact end; bin values are checked when they are read. `header_sz`, result code, the other info bits and unknown
/// fields say nothing to a connector. Of a field that comes twice the first is taken.
///
/// # Errors
/// Faults of content, with the place; see [`Fault`].
pub fn decode(body: &[u8]) -> Result<ChangeRecord<'_>, RecordError> {
    let mut reader = Reader::new(body);
    let Some(header) = reader.array::<HEADER_SIZE>() else {
        return Err(RecordError::new(Place::Header, 0, Fault::ShortMessage(body.len())));
    };
    let &[
        header_size,
        _info1,
        info2,
        info3,
        _info4,
        _result,
        g0,
        g1,
        g2,
        g3,
        t0,
        t1,
        t2,
        t3,
        _,
        _,
        _,
        _,
        f0,
        f1,
        o0,
        o1,
    ] = header;
    if usize::from(header_size) < HEADER_SIZE {
        return Err(RecordError::new(Place::Header, 0, Fault::HeaderSize(header_size)));
    }
    let operation = classify(info2)?;
    let fields = Fields::read(&mut reader, u16::from_be_bytes([f0, f1]))?;
    let bins = check_ops(&mut reader, u16::from_be_bytes([o0, o1]))?;
    let generation = u32::from_be_bytes([g0, g1, g2, g3]);
    Ok(ChangeRecord {
        namespace: fields.namespace.ok_or(RecordError::new(Place::Header, 18, Fault::NoNamespace))?,
        set: fields.set.filter(|set| !set.is_empty()),
        digest: fields.digest.ok_or(RecordError::new(Place::Header, 18, Fault::NoDigest))?,
        user_key: fields.user_key,
        operation,
        exists_action: exists_action(info2, info3),
        generation: (operation == Operation::Write || generation != 0).then_some(generation),
        lut_ms: fields.lut_ms,
        ttl: Ttl::from_wire(u32::from_be_bytes([t0, t1, t2, t3])),
        bins,
        body,
    })
}

/// What a message that cannot be decoded says about its record, as far as it can be read: for the log.
pub fn glimpse(body: &[u8]) -> Option<Identity<'_>> {
    let mut reader = Reader::new(body);
    let header = reader.array::<HEADER_SIZE>()?;
    let count = u16::from_be_bytes([*header.get(18)?, *header.get(19)?]);
    let mut fields = Fields::default();
    for _ in 0..count {
        let size = reader.u32().and_then(|size| (size as usize).checked_sub(1));
        let Some((kind, data)) = size.and_then(|size| Some((reader.u8()?, reader.take(size)?))) else { break };
        // One of them may be what is wrong.
        let _ = fields.put(kind, data);
    }
    let digest = fields.digest.map(<[u8; 20]>::as_slice).unwrap_or_default();
    fields.namespace.map(|namespace| Identity::new(namespace, fields.set, digest))
}

fn classify(info2: u8) -> Result<Operation, RecordError> {
    if info2 & bits::DELETE != 0 {
        Ok(if info2 & bits::DURABLE_DELETE != 0 { Operation::DurableDelete } else { Operation::Delete })
    } else if info2 & bits::WRITE != 0 {
        Ok(Operation::Write)
    } else {
        Err(RecordError::new(Place::Header, 2, Fault::NotAChange(info2)))
    }
}

const fn exists_action(info2: u8, info3: u8) -> ExistsAction {
    if info2 & bits::CREATE_ONLY != 0 {
        ExistsAction::CreateOnly
    } else if info3 & bits::UPDATE_ONLY != 0 {
        ExistsAction::UpdateOnly
    } else if info3 & bits::REPLACE != 0 {
        ExistsAction::Replace
    } else if info3 & bits::REPLACE_ONLY != 0 {
        ExistsAction::ReplaceOnly
    } else {
        ExistsAction::Update
    }
}

#[derive(Default)]
struct Fields<'a> {
    namespace: Option<&'a [u8]>,
    set: Option<&'a [u8]>,
    digest: Option<&'a [u8; 20]>,
    user_key: Option<UserKey<'a>>,
    lut_ms: Option<u64>,
}

impl<'a> Fields<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>, count: u16) -> Result<Fields<'a>, RecordError> {
        let mut fields = Fields::default();
        for index in 0..count {
            let offset = reader.offset();
            let Some(size) = reader.u32() else {
                return Err(RecordError::new(Place::FieldNumber(index), offset, Fault::FieldMissing));
            };
            let data = (size as usize).checked_sub(1).and_then(|size| Some((reader.u8()?, reader.take(size)?)));
            let Some((kind, data)) = data else {
                return Err(RecordError::new(Place::FieldNumber(index), offset, Fault::FieldSize(size)));
            };
            fields.put(kind, data).map_err(|fault| RecordError::new(Place::Field(kind), offset, fault))?;
        }
        Ok(fields)
    }

    #[inline]
    fn put(&mut self, kind: u8, data: &'a [u8]) -> Result<(), Fault> {
        match kind {
            field::NAMESPACE if self.namespace.is_none() => {
                if data.is_empty() {
                    return Err(Fault::EmptyNamespace);
                }
                self.namespace = Some(data);
            }
            field::SET if self.set.is_none() => self.set = Some(data),
            field::DIGEST if self.digest.is_none() => {
                self.digest = Some(data.try_into().map_err(|_| Fault::Size { is: data.len(), expected: "20" })?);
            }
            field::KEY if self.user_key.is_none() => self.user_key = Some(user_key(data)?),
            field::LUT if self.lut_ms.is_none() => {
                self.lut_ms = Some(epoch::lut_to_unix_ms(u64::from_be_bytes(eight(data)?)));
            }
            _ => {}
        }
        Ok(())
    }
}

fn user_key(data: &[u8]) -> Result<UserKey<'_>, Fault> {
    let (kind, value) = data.split_first().ok_or(Fault::EmptyKey)?;
    Ok(match ParticleType(*kind) {
        ParticleType::INTEGER => UserKey::Int(i64::from_be_bytes(eight(value)?)),
        ParticleType::FLOAT => UserKey::Float(f64::from_be_bytes(eight(value)?)),
        ParticleType::STRING => UserKey::Str(value),
        _ => UserKey::Bytes(value),
    })
}

fn eight(data: &[u8]) -> Result<[u8; 8], Fault> {
    data.try_into().map_err(|_| Fault::Size { is: data.len(), expected: "8" })
}

/// Walks the ops to the end of the message, which must be there.
#[inline]
fn check_ops<'a>(reader: &mut Reader<'a>, count: u16) -> Result<Bins<'a>, RecordError> {
    let ops = *reader;
    for index in 0..count {
        let offset = reader.offset();
        let (op, bin) = read_op(reader).map_err(|fault| RecordError::new(Place::OpNumber(index), offset, fault))?;
        if op != OP_WRITE {
            return Err(bin.error(Fault::NotAWriteOp(op), offset));
        }
    }
    if reader.is_empty() {
        Ok(Bins { ops, count })
    } else {
        Err(RecordError::new(Place::End, reader.offset(), Fault::Surplus(reader.rest().len())))
    }
}

/// One op: size, code, particle type, flags, name size, name, last-update time if flagged, value (xdr-protocol.md 3.3).
#[inline]
fn read_op<'a>(reader: &mut Reader<'a>) -> Result<(u8, Bin<'a>), Fault> {
    let size = reader.u32().ok_or(Fault::OpMissing)?;
    let mut op = reader.sub(size as usize).ok_or(Fault::OpSize(size))?;
    let &[code, particle_type, flags, name_size] = op.array().ok_or(Fault::OpSize(size))?;
    let name = op.take(usize::from(name_size)).ok_or(Fault::NameSize { name: name_size, op: size })?;
    let lut = match flags & OP_HAS_LUT {
        0 => None,
        _ => Some(op.array().ok_or(Fault::NoRoomForLut { op: size })?),
    };
    Ok((code, Bin { name, lut, particle_type: ParticleType(particle_type), value: op }))
}

#[cfg(test)]
mod tests;
