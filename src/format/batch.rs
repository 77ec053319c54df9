//! How records of one batch stand in one request body (decisions.md, "batch bodies").
//!
//! Records are appended one after another behind [`Framing::room`] free bytes, each followed by its separator. When the
//! batch closes, the prefix is written into the end of the free bytes, so that nothing is moved: the body is what stands
//! between the prefix's first byte and the end.

use super::ContentType;
use crate::config::model::{BatchBody, Format};

/// Longest head of a MessagePack array.
const MESSAGE_PACK_HEAD: usize = 5;

/// Longest variable-length integer of Avro.
const AVRO_LONG: usize = 10;

/// Bytes of a sync marker.
const AVRO_SYNC: usize = 16;

/// The body layout of one format's batches.
#[derive(Debug, Clone)]
pub enum Framing {
    /// `[a,b]`.
    JsonArray,
    /// `a`, line feed, `b`, line feed.
    NdJson,
    /// A MessagePack array of the records' arrays.
    MessagePackArray,
    /// An Avro object container file with one block.
    AvroContainer {
        /// Magic, metadata, sync marker.
        head: Vec<u8>,
        /// The marker again, behind the block.
        sync: [u8; AVRO_SYNC],
    },
    /// Frames one after another.
    Frames,
}

impl Framing {
    /// For records in `format`; `body` says how JSON records stand together.
    pub fn new(format: &Format, body: BatchBody) -> Framing {
        match format {
            Format::Json { .. } | Format::FlatJson { .. } => match body {
                BatchBody::Array => Framing::JsonArray,
                BatchBody::NdJson => Framing::NdJson,
            },
            Format::MessagePack { .. } => Framing::MessagePackArray,
            Format::Avro(avro) => {
                let sync = marker(avro.schema.text());
                Framing::AvroContainer { head: avro_head(avro.schema.text(), &sync), sync }
            }
            Format::Xdr => Framing::Frames,
        }
    }

    /// What the body is.
    pub const fn content_type(&self) -> ContentType {
        match self {
            Framing::JsonArray => ContentType::Json,
            Framing::NdJson => ContentType::NdJson,
            Framing::MessagePackArray => ContentType::MessagePack,
            Framing::AvroContainer { .. } => ContentType::Avro,
            Framing::Frames => ContentType::Xdr,
        }
    }

    /// Bytes to leave free before the first record.
    pub fn room(&self) -> usize {
        match self {
            Framing::JsonArray => 1,
            Framing::NdJson | Framing::Frames => 0,
            Framing::MessagePackArray => MESSAGE_PACK_HEAD,
            Framing::AvroContainer { head, .. } => head.len() + 2 * AVRO_LONG,
        }
    }

    /// Bytes of the separator.
    pub const fn separator_bytes(&self) -> usize {
        match self {
            Framing::JsonArray | Framing::NdJson => 1,
            Framing::MessagePackArray | Framing::AvroContainer { .. } | Framing::Frames => 0,
        }
    }

    /// Ends a record that was just written to `out`.
    pub fn separate(&self, out: &mut Vec<u8>) {
        match self {
            Framing::JsonArray => out.push(b','),
            Framing::NdJson => out.push(b'\n'),
            Framing::MessagePackArray | Framing::AvroContainer { .. } | Framing::Frames => {}
        }
    }

    /// Completes a body of `count` records, at least one, that were written to `out` from [`Framing::room`] on, each
    /// followed by its separator. The body is what stands in `out` from the returned offset on.
    pub fn finish(&self, out: &mut Vec<u8>, count: u32) -> usize {
        let room = self.room();
        let mut prefix = [0; MESSAGE_PACK_HEAD + 2 * AVRO_LONG];
        let mut at = prefix.len();
        let mut put = |bytes: &[u8]| {
            at -= bytes.len();
            prefix.get_mut(at..at + bytes.len()).unwrap_or_default().copy_from_slice(bytes);
        };
        let mut head: &[u8] = &[];
        match self {
            Framing::JsonArray => {
                if let Some(last) = out.last_mut() {
                    *last = b']';
                }
                put(b"[");
            }
            Framing::NdJson | Framing::Frames => {}
            Framing::MessagePackArray => message_pack_array(count, &mut put),
            Framing::AvroContainer { head: all, sync } => {
                head = all;
                let size = out.len().saturating_sub(room) as u64;
                put(avro_long(size, &mut [0; AVRO_LONG]));
                put(avro_long(u64::from(count), &mut [0; AVRO_LONG]));
                out.extend_from_slice(sync);
            }
        }
        let numbers = prefix.get(at..).unwrap_or_default();
        let start = room.saturating_sub(head.len() + numbers.len());
        for (offset, bytes) in [(start, head), (start + head.len(), numbers)] {
            if let Some(place) = out.get_mut(offset..offset + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        start
    }
}

/// The shortest head of an array of `count` elements.
fn message_pack_array(count: u32, put: &mut impl FnMut(&[u8])) {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count @ 0..=15), _) => put(&[0x90 | count]),
        (_, Ok(count)) => {
            let [a, b] = count.to_be_bytes();
            put(&[0xdc, a, b]);
        }
        _ => {
            let [a, b, c, d] = count.to_be_bytes();
            put(&[0xdd, a, b, c, d]);
        }
    }
}

/// A number that is not negative as an Avro `long`: zigzag, then seven bits a byte, the lowest first.
fn avro_long(value: u64, buffer: &mut [u8; AVRO_LONG]) -> &[u8] {
    let mut rest = value << 1;
    let mut length = 0;
    for byte in buffer.iter_mut() {
        length += 1;
        *byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    buffer.get(..length).unwrap_or_default()
}

/// Magic, the metadata map (schema and codec) and the sync marker, as the Avro specification lays them out ("Object
/// Container Files").
fn avro_head(schema: &str, sync: &[u8; AVRO_SYNC]) -> Vec<u8> {
    let mut head = b"Obj\x01".to_vec();
    let long = |head: &mut Vec<u8>, value: usize| {
        head.extend_from_slice(avro_long(value as u64, &mut [0; AVRO_LONG]));
    };
    long(&mut head, 2);
    for (key, value) in [("avro.schema", schema), ("avro.codec", "null")] {
        for text in [key, value] {
            long(&mut head, text.len());
            head.extend_from_slice(text.as_bytes());
        }
    }
    head.push(0);
    head.extend_from_slice(sync);
    head
}

/// A marker that differs from schema to schema and is the same from run to run. It only has to be unlikely in data:
/// readers use it to find blocks again behind damage.
fn marker(schema: &str) -> [u8; AVRO_SYNC] {
    let mut marker = [0; AVRO_SYNC];
    // FNV-1a over the schema, then over the places.
    let step = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = schema.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    for (place, byte) in marker.iter_mut().enumerate() {
        state = step(state, place as u8);
        *byte = (state >> 32) as u8;
    }
    marker
}

#[cfg(test)]
mod tests;
