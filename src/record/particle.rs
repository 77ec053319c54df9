//! Bin values (xdr-protocol.md 4).

use crate::record::Fault;
use crate::record::cdt::{self, Cdt};
use crate::wire::reader::Reader;

/// The type of a value, as its number on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParticleType(pub u8);

impl ParticleType {
    /// Bin removed.
    pub const NULL: ParticleType = ParticleType(0);
    /// 64-bit integer.
    pub const INTEGER: ParticleType = ParticleType(1);
    /// Double.
    pub const FLOAT: ParticleType = ParticleType(2);
    /// Text.
    pub const STRING: ParticleType = ParticleType(3);
    /// Bytes.
    pub const BLOB: ParticleType = ParticleType(4);
    /// Serialized object of a language; [`ParticleType::ERLANG`] is the last of them.
    pub const JAVA: ParticleType = ParticleType(7);
    /// The last language blob.
    pub const ERLANG: ParticleType = ParticleType(12);
    /// Reserved number; bytes.
    pub const VECTOR: ParticleType = ParticleType(16);
    /// Boolean.
    pub const BOOL: ParticleType = ParticleType(17);
    /// HyperLogLog.
    pub const HLL: ParticleType = ParticleType(18);
    /// Map.
    pub const MAP: ParticleType = ParticleType(19);
    /// List.
    pub const LIST: ParticleType = ParticleType(20);
    /// GeoJSON.
    pub const GEOJSON: ParticleType = ParticleType(23);
}

impl std::fmt::Debug for ParticleType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for ParticleType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match *self {
            ParticleType::NULL => "null",
            ParticleType::INTEGER => "integer",
            ParticleType::FLOAT => "double",
            ParticleType::STRING => "string",
            ParticleType::BLOB => "blob",
            ParticleType::BOOL => "boolean",
            ParticleType::HLL => "HyperLogLog",
            ParticleType::MAP => "map",
            ParticleType::LIST => "list",
            ParticleType::GEOJSON => "GeoJSON",
            ParticleType(number) => return write!(f, "{number}"),
        };
        f.write_str(name)
    }
}

/// A bin's value.
#[derive(Debug, Clone, Copy)]
pub enum Particle<'a> {
    /// The bin was removed.
    Nil,
    /// Integer.
    Int(i64),
    /// Double, NaN and infinities included.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// Text, not necessarily UTF-8.
    Str(&'a [u8]),
    /// Bytes: a blob, a language blob or a vector.
    Blob(ParticleType, &'a [u8]),
    /// HyperLogLog, opaque.
    Hll(&'a [u8]),
    /// List.
    List(Cdt<'a>),
    /// Map.
    Map(Cdt<'a>),
    /// GeoJSON text, as the client wrote it.
    Geo(&'a [u8]),
    /// A type that no known server has; its bytes.
    Unknown(ParticleType, &'a [u8]),
}

/// Reads a value that is all of `value`.
#[inline]
pub(super) fn read(kind: ParticleType, value: Reader<'_>) -> Result<Particle<'_>, Fault> {
    let bytes = value.rest();
    Ok(match kind {
        ParticleType::INTEGER => Particle::Int(integer(bytes)?),
        ParticleType::STRING => Particle::Str(bytes),
        ParticleType::FLOAT => {
            let bits = bytes.try_into().map_err(|_| size_fault(kind, bytes, "8"))?;
            Particle::Float(f64::from_be_bytes(bits))
        }
        ParticleType::BOOL => match bytes {
            [value] => Particle::Bool(*value != 0),
            _ => return Err(size_fault(kind, bytes, "1")),
        },
        ParticleType::LIST => Particle::List(cdt::root_list(value)?),
        ParticleType::MAP => Particle::Map(cdt::root_map(value)?),
        ParticleType::GEOJSON => Particle::Geo(geojson(value)?),
        ParticleType::HLL => Particle::Hll(bytes),
        ParticleType::NULL if bytes.is_empty() => Particle::Nil,
        ParticleType::NULL => return Err(size_fault(kind, bytes, "0")),
        ParticleType::BLOB | ParticleType::VECTOR => Particle::Blob(kind, bytes),
        ParticleType(number) if (ParticleType::JAVA.0..=ParticleType::ERLANG.0).contains(&number) => {
            Particle::Blob(kind, bytes)
        }
        _ => Particle::Unknown(kind, bytes),
    })
}

#[cold]
fn size_fault(kind: ParticleType, bytes: &[u8], expected: &'static str) -> Fault {
    Fault::ParticleSize { kind, is: bytes.len(), expected }
}

/// Servers ship eight bytes; 4, 2 and 1 are legal on the wire and are zero-extended, as the server reads them.
#[inline]
fn integer(bytes: &[u8]) -> Result<i64, Fault> {
    if let Ok(eight) = <[u8; 8]>::try_from(bytes) {
        return Ok(i64::from_be_bytes(eight));
    }
    match *bytes {
        [a, b, c, d] => Ok(i64::from(u32::from_be_bytes([a, b, c, d]))),
        [a, b] => Ok(i64::from(u16::from_be_bytes([a, b]))),
        [a] => Ok(i64::from(a)),
        _ => Err(size_fault(ParticleType::INTEGER, bytes, "8, 4, 2 or 1")),
    }
}

/// Flags, a count of cells, the cells that the server computed, then the text (xdr-protocol.md 4.2).
fn geojson(mut value: Reader<'_>) -> Result<&[u8], Fault> {
    let is = value.rest().len();
    let (Some(_flags), Some(cells)) = (value.u8(), value.u16()) else {
        return Err(Fault::ParticleSize { kind: ParticleType::GEOJSON, is, expected: "3 or more" });
    };
    value.take(8 * usize::from(cells)).ok_or(Fault::GeoCells { cells, is })?;
    Ok(value.rest())
}
