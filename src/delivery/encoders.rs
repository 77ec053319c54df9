//! What writes records, once per executor: formatters, bin transforms, header values, the compressor.

use bytes::Bytes;

use super::budget::Budget;
use super::gzip::Gzip;
use crate::config::model::{Config, Header};
use crate::format::{ContentType, Formatter, Notes};
use crate::http::header_value::{HeaderValues, LeftOut};
use crate::policy::table::{Profile, ProfileTable};
use crate::policy::transforms::Transformer;
use crate::record::{ChangeRecord, DecodeLimits, RecordError};

/// Everything that turns records into requests.
#[derive(Debug)]
pub struct Encoders {
    /// In the order of [`ProfileTable::formats`].
    formatters: Vec<Formatter>,
    /// In the order of [`ProfileTable::transforms`].
    transformers: Vec<Transformer>,
    /// Variable headers of each destination.
    headers: Vec<Vec<Header>>,
    writer: HeaderValues,
    /// Made for the first body that is compressed.
    gzip: Option<Gzip>,
}

impl Encoders {
    /// For the profiles of `table` and the destinations of `config`.
    ///
    /// # Errors
    /// A transform that cannot be carried out; the configuration was checked for that.
    pub fn new(config: &Config, table: &ProfileTable) -> Result<Encoders, String> {
        let limits = DecodeLimits { max_depth: config.limits.max_depth };
        let variable = |list: &[Header]| list.iter().filter(|header| header.value.fixed().is_none()).cloned().collect();
        Ok(Encoders {
            formatters: table.formats.iter().map(|format| Formatter::new(format, limits)).collect(),
            transformers: table.transforms.iter().map(Transformer::new).collect::<Result<_, _>>()?,
            headers: config.destinations.iter().map(|destination| variable(&destination.headers.list)).collect(),
            writer: HeaderValues::new(limits),
            gzip: None,
        })
    }

    /// What the body of a request with one record is.
    pub fn content_type(&self, profile: &Profile) -> ContentType {
        self.formatters.get(profile.format).map_or(ContentType::Xdr, Formatter::content_type)
    }

    /// Appends `record` in the format of its profile, after its transforms, in `most` bytes at most.
    ///
    /// # Errors
    /// What keeps the record from being written; `out` and `notes` are as they were.
    pub fn body(
        &mut self,
        profile: &Profile,
        record: &ChangeRecord<'_>,
        (arrival_unix_ms, most): (u64, usize),
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        // A profile's places are those of its own table.
        let Some(formatter) = self.formatters.get_mut(profile.format) else { return Ok(()) };
        formatter.limit_to(most);
        match profile.transforms.and_then(|place| self.transformers.get_mut(place)) {
            None => formatter.encode(record, arrival_unix_ms, out, notes),
            Some(transformer) => formatter.encode(&transformer.apply(record)?, arrival_unix_ms, out, notes),
        }
    }

    /// Appends the values of the variable headers, for each of `destinations` that has any: four bytes of length, the
    /// lowest first, then the values.
    ///
    /// # Errors
    /// A bin that a header asks for cannot be read; what was appended is for the caller to take back.
    pub fn heads(
        &mut self,
        destinations: &[usize],
        record: &ChangeRecord<'_>,
        out: &mut Vec<u8>,
    ) -> Result<LeftOut, RecordError> {
        let mut all = LeftOut::default();
        for destination in destinations {
            let Some(headers) = self.headers.get(*destination).filter(|headers| !headers.is_empty()) else { continue };
            let start = out.len();
            out.extend_from_slice(&[0; LENGTH_BYTES]);
            let left_out = self.writer.append(headers, record, out)?;
            all.absent += left_out.absent;
            all.too_long += left_out.too_long;
            let length = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
            if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
                place.copy_from_slice(&length.to_le_bytes());
            }
        }
        Ok(all)
    }

    /// Gives memory back that one large record took.
    pub fn give_back(&mut self) {
        self.transformers.iter_mut().for_each(Transformer::give_back);
    }

    /// Takes the values for `destination` off the front of what [`Encoders::heads`] wrote.
    pub fn take_head(&self, destination: usize, heads: &mut Bytes) -> Bytes {
        if self.headers.get(destination).is_none_or(Vec::is_empty) {
            return Bytes::new();
        }
        let Some(length) = heads.first_chunk::<LENGTH_BYTES>() else { return Bytes::new() };
        let length = u32::from_le_bytes(*length) as usize;
        let end = (LENGTH_BYTES + length).min(heads.len());
        heads.split_to(end).slice(LENGTH_BYTES.min(end)..)
    }

    /// `body` compressed, charged to `budget` until it is dropped.
    pub fn gzip(&mut self, body: &[u8], budget: &mut Budget) -> Option<Bytes> {
        let data = self.gzip.get_or_insert_default().compress(body)?;
        Some(super::bodies::charged(data, budget))
    }
}

/// Bytes of the length before a destination's header values.
const LENGTH_BYTES: usize = 4;
