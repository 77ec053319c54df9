//! What a destination receives: a record, written straight from the message into a buffer.
//!
//! Knows the shapes of the formats (esp-connector.md 5, decisions.md "Formats"). A [`Formatter`] belongs to one
//! executor and keeps its scratch memory from record to record. If a record cannot be written, the buffer is left as it
//! was.

mod avro;
mod batch;
mod bins;
mod compact;
mod flat_json;
mod geojson;
mod json;
mod members;
mod message_pack;
mod metadata;
mod text;
mod utf8;
mod value;
mod xdr;

pub use avro::AvroSchema;
pub use batch::Framing;
pub(crate) use compact::{CompactJson, double as double_text};

use crate::config::model;
use crate::record::{ChangeRecord, DecodeLimits, RecordError};

/// What was odd about records that were written all the same; the executor adds it to its counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Members of maps left out because a later key has the same JSON text.
    pub map_key_clashes: u64,
    /// Texts (values, names, keys) with bytes that are not UTF-8, which became U+FFFD or Base64.
    pub replaced_text: u64,
    /// GeoJSON values that are not JSON, and were written as strings.
    pub invalid_geojson: u64,
    /// Bins left out because their name is the metadata key.
    pub dropped_bins: u64,
    /// Bins left out because a later one has the same name.
    pub duplicate_bins: u64,
    /// Values of particle types that no known server has, written as bytes.
    pub unknown_particles: u64,
    /// Bins, and keys of maps, left out because the Avro schema has no field of their name.
    pub unmatched_bins: u64,
}

/// What a request body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// One JSON value.
    Json,
    /// A JSON value a line.
    NdJson,
    /// A datum or an object container file.
    Avro,
    /// A MessagePack value.
    MessagePack,
    /// XDR frames.
    Xdr,
}

impl ContentType {
    /// Every one, in the order of [`ContentType::index`].
    pub const ALL: [ContentType; 5] =
        [ContentType::Json, ContentType::NdJson, ContentType::Avro, ContentType::MessagePack, ContentType::Xdr];

    /// The media type (esp-connector.md 3.3).
    pub const fn name(self) -> &'static str {
        match self {
            ContentType::Json => "application/json",
            ContentType::NdJson => "application/x-ndjson",
            ContentType::Avro => "application/avro",
            ContentType::MessagePack => "application/x-msgpack",
            ContentType::Xdr => "application/octet-stream",
        }
    }

    /// Place in [`ContentType::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A record may take so many times the bytes of its message, beyond [`GROWTH_FLOOR`]: JSON writes `false,` for a byte, and
/// what is a key of a key escapes itself over and over.
const MOST_GROWTH: usize = 8;

/// Small messages may grow more.
const GROWTH_FLOOR: usize = 2 << 20;

/// Bytes that a record may take in any format, with what is kept for it while it is written, if its message has so many.
/// What takes more is a fault of its content.
pub fn most_bytes(message: usize) -> usize {
    message.saturating_mul(MOST_GROWTH).saturating_add(GROWTH_FLOOR).min(u32::MAX as usize)
}

/// Writes records in the configured format.
#[derive(Debug)]
pub struct Formatter {
    layout: Layout,
    values: value::Values,
}

#[derive(Debug)]
enum Layout {
    Json,
    FlatJson(flat_json::Layout),
    MessagePack(message_pack::Layout),
    Xdr(xdr::Layout),
    Avro(Box<avro::Encoder>),
}

impl Formatter {
    /// For one executor.
    pub fn new(format: &model::Format, limits: DecodeLimits) -> Formatter {
        let layout = match format {
            model::Format::FlatJson { metadata_key, .. } => Layout::FlatJson(flat_json::Layout::new(metadata_key)),
            model::Format::MessagePack { delete_metadata, invalid_utf8 } => {
                Layout::MessagePack(message_pack::Layout::new(*delete_metadata, *invalid_utf8, limits))
            }
            model::Format::Xdr => Layout::Xdr(xdr::Layout::new(limits)),
            model::Format::Avro(avro) => Layout::Avro(Box::new(avro::Encoder::new(avro, limits))),
            model::Format::Json { .. } => Layout::Json,
        };
        let rules = match format {
            model::Format::Json { text, .. } | model::Format::FlatJson { text, .. } => *text,
            // For keys that are no text, which have their JSON text.
            model::Format::Avro(avro) => model::TextRules { invalid_utf8: avro.invalid_utf8, ..Default::default() },
            model::Format::MessagePack { .. } | model::Format::Xdr => model::TextRules::default(),
        };
        Formatter { layout, values: value::Values::new(limits, rules) }
    }

    /// Bounds what is written for a record from here on; what takes more is [`Fault::TooLarge`](crate::record::Fault::TooLarge).
    pub fn limit_to(&mut self, bytes: usize) {
        self.values.limit_to(bytes);
        match &mut self.layout {
            Layout::Json | Layout::FlatJson(_) => {}
            Layout::MessagePack(layout) => layout.limit_to(bytes),
            Layout::Xdr(layout) => layout.most = bytes,
            Layout::Avro(encoder) => encoder.limit_to(bytes),
        }
    }

    /// What the body of a request with one record is.
    pub const fn content_type(&self) -> ContentType {
        match self.layout {
            Layout::Json | Layout::FlatJson(_) => ContentType::Json,
            Layout::MessagePack(_) => ContentType::MessagePack,
            Layout::Xdr(_) => ContentType::Xdr,
            Layout::Avro(_) => ContentType::Avro,
        }
    }

    /// Appends `record`, which arrived at `arrival_unix_ms`, to `out`.
    ///
    /// # Errors
    /// A value cannot be read, or cannot be expressed in the format; `out` and `notes` are as they were.
    pub fn encode(
        &mut self,
        record: &ChangeRecord<'_>,
        arrival_unix_ms: u64,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let (start, notes_before) = (out.len(), *notes);
        self.values.members.begin(out);
        let result = match &mut self.layout {
            Layout::Json => json::encode(&mut self.values, record, arrival_unix_ms, out, notes),
            Layout::FlatJson(layout) => layout.encode(&mut self.values, record, arrival_unix_ms, out, notes),
            Layout::MessagePack(layout) => layout.encode(record, arrival_unix_ms, out, notes),
            Layout::Xdr(layout) => layout.encode(record, out, notes),
            Layout::Avro(encoder) => encoder.encode(&mut self.values, record, arrival_unix_ms, out, notes),
        };
        if result.is_err() {
            out.truncate(start);
            *notes = notes_before;
        }
        result
    }
}

#[cfg(test)]
mod tests;
