//! What is wrong with a message, and where.

use crate::record::ParticleType;

/// A fault of content: the frame was sound, what is in it cannot be read. It is answered 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", At(*place, *offset))]
pub struct RecordError {
    /// The part in which it is.
    pub place: Place,
    /// Bytes from the start of the message (its 22-byte header).
    pub offset: u32,
    /// What it is.
    pub fault: Fault,
}

impl RecordError {
    /// `fault`, found at `offset` of the message.
    #[cold]
    pub fn new(place: Place, offset: usize, fault: Fault) -> RecordError {
        RecordError { place, offset: u32::try_from(offset).unwrap_or(u32::MAX), fault }
    }
}

/// Where a fault is, with its offset if that says something.
struct At(Place, u32);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Place::Metadata(_) | Place::AvroField(_) => self.0.fmt(f),
            place => write!(f, "{place} at byte {} of the message", self.1),
        }
    }
}

/// Part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The 22-byte header.
    Header,
    /// A field that could not be read at all, counted from 0.
    FieldNumber(u16),
    /// A field of this type.
    Field(u8),
    /// An op that could not be read at all, counted from 0.
    OpNumber(u16),
    /// A bin.
    Bin(BinName),
    /// A part of the metadata, by its name in the formats. Its offset says nothing.
    Metadata(&'static str),
    /// A field of the Avro schema. Its offset says nothing.
    AvroField(BinName),
    /// Behind the last op.
    End,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Place::Header => "header",
            Place::FieldNumber(number) => return write!(f, "field number {number}"),
            Place::Field(0) => "namespace field",
            Place::Field(1) => "set field",
            Place::Field(2) => "user key field",
            Place::Field(4) => "digest field",
            Place::Field(14) => "last-update time field",
            Place::Field(kind) => return write!(f, "field of type {kind}"),
            Place::OpNumber(number) => return write!(f, "op number {number}"),
            Place::Bin(name) => return write!(f, "bin {name}"),
            Place::Metadata(name) => return write!(f, "metadata \"{name}\""),
            Place::AvroField(name) => return write!(f, "field {name} of the schema"),
            Place::End => "end",
        };
        f.write_str(name)
    }
}

/// A bin name in an error: its first 15 bytes, which is all of it as a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BinName {
    bytes: [u8; 15],
    length: u8,
}

impl BinName {
    /// Of these bytes.
    pub fn new(name: &[u8]) -> BinName {
        let mut bytes = [0; 15];
        bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        BinName { bytes, length: u8::try_from(name.len()).unwrap_or(u8::MAX) }
    }
}

impl std::fmt::Display for BinName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.bytes.get(..usize::from(self.length)).unwrap_or(&self.bytes);
        let more = if usize::from(self.length) > self.bytes.len() { "…" } else { "" };
        write!(f, "\"{}{more}\"", shown.escape_ascii())
    }
}

impl std::fmt::Debug for BinName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// What cannot be read. Numbers in comments are the cases of xdr-protocol.md section 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// 10.
    #[error("the message has {0} bytes, its header alone needs 22")]
    ShortMessage(usize),
    /// A `header_sz` below 22.
    #[error("header_sz is {0}, not 22 or more")]
    HeaderSize(u8),
    /// 30: neither the write nor the delete bit.
    #[error("info2 is {0:#04x}: neither a write nor a delete; only change notifications are delivered")]
    NotAChange(u8),
    /// 11.
    #[error("the field's size is {0}, which is zero or passes the end of the message")]
    FieldSize(u32),
    /// 13.
    #[error("the header announces this field, the message ends before it")]
    FieldMissing,
    /// 12.
    #[error("the op's size is {0}, which is below 4 or passes the end of the message")]
    OpSize(u32),
    /// 13.
    #[error("the header announces this op, the message ends before it")]
    OpMissing,
    /// 12.
    #[error("the bin name has {name} bytes, which does not fit an op of {op}")]
    NameSize {
        /// Bytes of the name.
        name: u8,
        /// Bytes of the op.
        op: u32,
    },
    /// 12.
    #[error("the op announces a last-update time, which does not fit its {op} bytes")]
    NoRoomForLut {
        /// Bytes of the op.
        op: u32,
    },
    /// XDR ships whole values only.
    #[error("op code {0} is not a write (2)")]
    NotAWriteOp(u8),
    /// 14.
    #[error("{0} bytes follow the last op")]
    Surplus(usize),
    /// 16.
    #[error("there is no namespace")]
    NoNamespace,
    /// 16.
    #[error("the namespace is empty")]
    EmptyNamespace,
    /// 16.
    #[error("there is no digest")]
    NoDigest,
    /// A key field without even a type.
    #[error("the key is empty")]
    EmptyKey,
    /// 17.
    #[error("the value has {is} bytes, not {expected}")]
    Size {
        /// Bytes that it has.
        is: usize,
        /// Bytes that it should have.
        expected: &'static str,
    },
    /// 20.
    #[error("a value of particle type {kind} has {is} bytes, not {expected}")]
    ParticleSize {
        /// Type of the value.
        kind: ParticleType,
        /// Bytes that it has.
        is: usize,
        /// Bytes that it should have.
        expected: &'static str,
    },
    /// 20.
    #[error("the GeoJSON value announces {cells} cells, which do not fit its {is} bytes")]
    GeoCells {
        /// As announced.
        cells: u16,
        /// Bytes that it has.
        is: usize,
    },
    /// 22.
    #[error("a list or map ends inside an element")]
    CdtTruncated,
    /// 22.
    #[error("{0} bytes follow the end of a list or map")]
    CdtSurplus(usize),
    /// 22.
    #[error("byte {0:#04x} is no MessagePack")]
    CdtReserved(u8),
    /// 22.
    #[error("a {expected} begins with byte {found:#04x}")]
    CdtRoot {
        /// List or map.
        expected: &'static str,
        /// What stands there.
        found: u8,
    },
    /// 22: an extension element that is not the first of its list or map, or one that is never stored.
    #[error("an extension element of type {0} stands where none may be")]
    CdtExtension(u8),
    /// 22.
    #[error("lists and maps are nested deeper than {0}; if the data is that deep raise limits.max-depth")]
    TooDeep(u32),
    /// A map key that is a list or map whose own map keys are lists or maps, and so on: each turn doubles the text.
    #[error("lists and maps as map keys are nested {0} times, more than JSON can express in reasonable space")]
    KeyNesting(u32),
    /// Transforms would lose one of them.
    #[error("two bins with different names both get this name: change {0}, or exclude one of them")]
    NameClash(&'static str),
    /// The wire has one byte for the size of a name.
    #[error("this new name has {size} bytes, more than the 255 that a name can have: change {setting}")]
    NewNameSize {
        /// Bytes of the name.
        size: usize,
        /// What made it.
        setting: &'static str,
    },
    /// While a regex was at work.
    #[error(
        "a regex of bin-transforms.transforms takes too many steps on this name: write it without repetitions inside of \
         repetitions"
    )]
    RegexSteps,
    /// Text that is not UTF-8, where the format says `invalid-utf8: reject`.
    #[error("the text is not UTF-8, which `invalid-utf8: reject` does not let through")]
    InvalidText,
    /// The schema has another type there.
    #[error("the value is {value}, the schema wants {wanted}")]
    AvroMismatch {
        /// What it is, with its article.
        value: &'static str,
        /// What the schema has there.
        wanted: AvroTypes,
    },
    /// A field of the schema without anything to write.
    #[error("there is no value for field {0}, which has no default and cannot be null")]
    AvroMissing(BinName),
    /// A key of a map.
    #[error("a key of the map is {0}, and keys are strings in Avro; stringify-map-keys: true makes it one")]
    AvroKey(&'static str),
    /// Bounds of `format`: see `format::most_bytes`, and the room that there is.
    #[error(
        "the record takes more than {0} bytes in its format; if records grow that much raise executors.in-flight-bytes, or choose another format"
    )]
    TooLarge(usize),
    /// Bounds of `format::avro`.
    #[error("fitting the record to the schema takes too long, or makes it too large")]
    AvroWork,
}

impl Fault {
    /// Whether the value is sound, and another type might take it.
    pub(crate) const fn is_mismatch(&self) -> bool {
        matches!(self, Fault::AvroMismatch { .. } | Fault::AvroMissing(_))
    }
}

/// A set of Avro types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvroTypes(u16);

impl AvroTypes {
    /// No type.
    pub const NONE: AvroTypes = AvroTypes(0);
    /// `null`.
    pub const NULL: AvroTypes = AvroTypes(1 << 0);
    /// `boolean`.
    pub const BOOLEAN: AvroTypes = AvroTypes(1 << 1);
    /// `int`.
    pub const INT: AvroTypes = AvroTypes(1 << 2);
    /// `long`.
    pub const LONG: AvroTypes = AvroTypes(1 << 3);
    /// `float`.
    pub const FLOAT: AvroTypes = AvroTypes(1 << 4);
    /// `double`.
    pub const DOUBLE: AvroTypes = AvroTypes(1 << 5);
    /// `bytes`.
    pub const BYTES: AvroTypes = AvroTypes(1 << 6);
    /// `string`.
    pub const STRING: AvroTypes = AvroTypes(1 << 7);
    /// `fixed`.
    pub const FIXED: AvroTypes = AvroTypes(1 << 8);
    /// `enum`.
    pub const ENUM: AvroTypes = AvroTypes(1 << 9);
    /// `array`.
    pub const ARRAY: AvroTypes = AvroTypes(1 << 10);
    /// `map`.
    pub const MAP: AvroTypes = AvroTypes(1 << 11);
    /// `record`.
    pub const RECORD: AvroTypes = AvroTypes(1 << 12);

    /// In the order of their bits.
    const NAMES: [&str; 13] = [
        "null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum", "array", "map",
        "record",
    ];

    /// Both sets.
    pub const fn or(self, other: AvroTypes) -> AvroTypes {
        AvroTypes(self.0 | other.0)
    }
}

impl std::fmt::Display for AvroTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut left = self.0.count_ones();
        if left == 0 {
            return f.write_str("nothing");
        }
        for (place, name) in AvroTypes::NAMES.iter().enumerate() {
            if self.0 >> place & 1 == 1 {
                left -= 1;
                let end = match left {
                    0 => "",
                    1 => " or ",
                    _ => ", ",
                };
                write!(f, "{name}{end}")?;
            }
        }
        Ok(())
    }
}
