//! Values of the request headers that differ from record to record.
//!
//! They are written when the record is read, behind one another, so that a request on its way needs no more of the
//! record than these bytes: per header two bytes of length, little-endian, 0xFFFF for a header that is left out, and
//! the value. [`spans`] and [`values`] read them back.
//!
//! A value can be anything that is in a database, and a header must not be: what is not visible ASCII is
//! percent-encoded (RFC 3986), and `%` itself, so that decoding gives the exact text back.

use std::ops::Range;

use crate::config::model::{Header, HeaderValue};
use crate::format::{CompactJson, double_text};
use crate::record::{Bin, ChangeRecord, DecodeLimits, Fault, Operation, Particle, RecordError, UserKey};

/// Bytes of a value as it is sent; a header with a longer one is left out.
pub const MAX_HEADER_VALUE: usize = 4096;

/// Scratch above this many bytes is given back after the value.
const KEEP_BYTES: usize = 64 << 10;

/// The length of a header that is left out.
const ABSENT: u16 = u16::MAX;

const LENGTH_BYTES: usize = 2;

/// Headers that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The record does not have the value, or it is empty.
    pub absent: u32,
    /// The value is longer than [`MAX_HEADER_VALUE`].
    pub too_long: u32,
}

/// Writes the values of record after record. Belongs to one executor.
#[derive(Debug)]
pub struct HeaderValues {
    json: CompactJson,
    /// A value before it is percent-encoded.
    scratch: Vec<u8>,
}

/// What was written of one header.
enum Written {
    Value,
    Absent,
    TooLong,
}

impl HeaderValues {
    /// For one executor.
    pub fn new(limits: DecodeLimits) -> HeaderValues {
        HeaderValues { json: CompactJson::new(limits), scratch: Vec::new() }
    }

    /// Appends the values of those of `headers` whose value is not fixed, in their order, to `out`. Bins are looked for
    /// under their original names: `record` is the one before `bin-transforms`.
    ///
    /// # Errors
    /// The value of a bin cannot be read; `out` is as it was.
    pub fn append(
        &mut self,
        headers: &[Header],
        record: &ChangeRecord<'_>,
        out: &mut Vec<u8>,
    ) -> Result<LeftOut, RecordError> {
        let mut left_out = LeftOut::default();
        let begin = out.len();
        for header in headers.iter().filter(|header| header.value.fixed().is_none()) {
            let start = out.len();
            out.extend_from_slice(&ABSENT.to_le_bytes());
            let written = self.value(&header.value, record, out).inspect_err(|_| out.truncate(begin))?;
            let value = start + LENGTH_BYTES;
            match (written, u16::try_from(out.len().saturating_sub(value))) {
                (Written::Absent, _) | (Written::Value, Ok(0)) => left_out.absent += 1,
                (Written::Value, Ok(length)) => {
                    if let Some(place) = out.get_mut(start..value) {
                        place.copy_from_slice(&length.to_le_bytes());
                    }
                    continue;
                }
                (Written::TooLong, _) | (Written::Value, Err(_)) => left_out.too_long += 1,
            }
            out.truncate(value);
        }
        Ok(left_out)
    }

    fn value(
        &mut self,
        source: &HeaderValue,
        record: &ChangeRecord<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Written, RecordError> {
        Ok(match source {
            HeaderValue::Static(_) | HeaderValue::Env(..) | HeaderValue::File(..) => Written::Absent,
            HeaderValue::Digest => base64(record.digest, out),
            HeaderValue::Namespace => escaped(record.namespace, out),
            HeaderValue::Set => record.set.map_or(Written::Absent, |set| escaped(set, out)),
            HeaderValue::Operation => escaped(operation(record.operation), out),
            HeaderValue::Generation => record.generation.map_or(Written::Absent, |value| integer(value, out)),
            HeaderValue::LastUpdate => record.lut_ms.map_or(Written::Absent, |value| integer(value, out)),
            HeaderValue::UserKey => match record.user_key {
                None => Written::Absent,
                Some(UserKey::Int(value)) => integer(value, out),
                Some(UserKey::Float(value)) => double(value, out),
                Some(UserKey::Str(text)) => escaped(text, out),
                Some(UserKey::Bytes(bytes)) => base64(bytes, out),
            },
            // Of a name that comes twice the last one counts, as in the formats.
            HeaderValue::Bin(name) => match record.bins.iter().filter(|bin| bin.name == name.as_bytes()).last() {
                Some(bin) => self.bin(&bin, out)?,
                None => Written::Absent,
            },
        })
    }

    fn bin(&mut self, bin: &Bin<'_>, out: &mut Vec<u8>) -> Result<Written, RecordError> {
        let particle = bin.particle()?;
        Ok(match particle {
            Particle::Nil => Written::Absent,
            Particle::Int(value) => integer(value, out),
            Particle::Float(value) => double(value, out),
            Particle::Bool(value) => escaped(if value { b"true" } else { b"false" }, out),
            Particle::Str(text) | Particle::Geo(text) => escaped(text, out),
            Particle::Blob(_, bytes) | Particle::Hll(bytes) | Particle::Unknown(_, bytes) => base64(bytes, out),
            Particle::List(_) | Particle::Map(_) => {
                self.scratch.clear();
                let result = self.json.append(bin, &particle, &mut self.scratch);
                let written = escaped(&self.scratch, out);
                if self.scratch.capacity() > KEEP_BYTES {
                    self.scratch = Vec::new();
                }
                match result {
                    Err(RecordError { fault: Fault::TooLarge(_), .. }) => Written::TooLong,
                    result => result.map(|()| written)?,
                }
            }
        })
    }
}

const fn operation(operation: Operation) -> &'static [u8] {
    match operation {
        Operation::Write => b"write",
        Operation::Delete | Operation::DurableDelete => b"delete",
    }
}

fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) -> Written {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    Written::Value
}

fn double(value: f64, out: &mut Vec<u8>) -> Written {
    double_text(out, value);
    Written::Value
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) -> Written {
    if base64_simd::STANDARD.encoded_length(bytes.len()) > MAX_HEADER_VALUE {
        return Written::TooLong;
    }
    base64_simd::STANDARD.encode_append(bytes, out);
    Written::Value
}

/// Visible ASCII as it is, and single spaces that stand inside; the rest, and `%`, percent-encoded.
fn escaped(text: &[u8], out: &mut Vec<u8>) -> Written {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    // The encoded text is no shorter than the text.
    if text.len() > MAX_HEADER_VALUE {
        return Written::TooLong;
    }
    let start = out.len();
    let is_letter = |neighbour: Option<&u8>| neighbour.is_some_and(|byte| *byte != b' ');
    let mut before = None;
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        let stays = match *byte {
            b'%' => false,
            // Others could be cut off or drawn together on the way.
            b' ' => is_letter(before) && is_letter(rest.as_slice().first()),
            other => other.is_ascii_graphic(),
        };
        if stays {
            out.push(*byte);
        } else {
            let digit = |half: u8| HEX.get(usize::from(half)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0x0F)]);
        }
        before = Some(byte);
    }
    if out.len() - start > MAX_HEADER_VALUE { Written::TooLong } else { Written::Value }
}

/// Where the values stand in what [`HeaderValues::append`] wrote; `None`: the header is left out. Ends at the first
/// length that does not fit.
pub const fn spans(encoded: &[u8]) -> Spans<'_> {
    Spans { encoded, at: 0 }
}

/// The values themselves, see [`spans`].
pub fn values(encoded: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    spans(encoded).map(move |span| span.and_then(|span| encoded.get(span)))
}

/// Iterator of [`spans`].
#[derive(Debug, Clone)]
pub struct Spans<'a> {
    encoded: &'a [u8],
    at: usize,
}

impl Iterator for Spans<'_> {
    type Item = Option<Range<usize>>;

    fn next(&mut self) -> Option<Option<Range<usize>>> {
        let (length, rest) = self.encoded.get(self.at..)?.split_first_chunk::<LENGTH_BYTES>()?;
        self.at += LENGTH_BYTES;
        let length = u16::from_le_bytes(*length);
        if length == ABSENT {
            return Some(None);
        }
        let length = usize::from(length);
        if length > rest.len() {
            self.at = self.encoded.len();
            return None;
        }
        let start = self.at;
        self.at += length;
        Some(Some(start..self.at))
    }
}

#[cfg(test)]
mod tests;
