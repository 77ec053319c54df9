//! A record as a datum of the top of the schema: its bins and metadata in fields or map entries.

use super::AvroSchema;
use super::binary::{self, Sink, Value, long};
use super::datum::Datum;
use super::entries::Keys;
use super::metadata::{self, Metadata};
use super::plan::{Field, Node, NodeId, Plan, Record};
use crate::config::model;
use crate::format::Notes;
use crate::format::utf8::Texts;
use crate::format::value::Values;
use crate::record::{BinName, ChangeRecord, DecodeLimits, Fault, Operation, Particle, Place, RecordError};

/// What errors call the metadata as a whole.
const METADATA: &str = "the metadata";

/// Writes records in one schema.
#[derive(Debug)]
pub(in crate::format) struct Encoder {
    schema: AvroSchema,
    texts: Texts,
    top: Top,
}

/// Fits records to the top of the schema; keeps its scratch memory.
#[derive(Debug)]
struct Top {
    metadata_key: Option<String>,
    /// Of each top-level field, where the bin stands in the message; 0: there is none.
    bins: Vec<usize>,
    datum: Datum,
}

impl Encoder {
    pub(in crate::format) fn new(format: &model::Avro, limits: DecodeLimits) -> Encoder {
        Encoder {
            schema: format.schema.clone(),
            texts: Texts::new(format.invalid_utf8),
            top: Top {
                metadata_key: format.metadata_key.clone(),
                bins: Vec::new(),
                datum: Datum::new(limits, format.stringify_map_keys),
            },
        }
    }

    /// Bounds what is written for a record.
    pub(in crate::format) const fn limit_to(&mut self, bytes: usize) {
        self.texts.limit_to(bytes);
        self.top.datum.limit_to(bytes);
    }

    /// Appends `record` to `out`.
    pub(in crate::format) fn encode(
        &mut self,
        values: &mut Values,
        record: &ChangeRecord<'_>,
        arrival_unix_ms: u64,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let top = &mut self.top;
        top.datum.begin(out, record.body.len());
        let metadata = metadata::of(record, arrival_unix_ms);
        // Not a clone of the plan's `Arc`: executors share the plan, and would all write to its counter.
        let plan = &*self.schema.plan;
        let mut sink = Sink { out, notes, values, texts: &mut self.texts };
        match plan.node(plan.root) {
            Node::Record(fields) => top.record(plan, fields, record, &metadata, &mut sink),
            Node::Map(values) => top.map(plan, *values, record, &metadata, &mut sink),
            _ => Ok(()),
        }
    }
}

impl Top {
    fn record(
        &mut self,
        plan: &Plan,
        top: &Record,
        record: &ChangeRecord<'_>,
        metadata: &Metadata<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RecordError> {
        self.match_bins(top, record, sink);
        let metadata_key = self.metadata_key.as_deref();
        for (field, bin) in top.fields.iter().zip(&self.bins) {
            if metadata_key == Some(&field.name) {
                write_metadata(&mut self.datum, plan, field.node, metadata, sink)?;
            } else if let (None, Some(index)) = (metadata_key, field.metadata) {
                write_metadata_field(&mut self.datum, plan, field, index, metadata, sink)
                    .map_err(|(place, fault)| RecordError::new(place, 0, fault))?;
            } else if let Some(bin) = record.bins.at(*bin) {
                let offset = bin.value_offset();
                let particle = bin.particle()?;
                match self.datum.particle(plan, field.node, (&particle, offset), sink) {
                    // A bin that was removed is missing where its field cannot be null.
                    Err((fault, _)) if matches!(particle, Particle::Nil) && fault.is_mismatch() => {
                        missing(field, sink).map_err(|(place, fault)| RecordError::new(place, offset, fault))?;
                    }
                    written => written.map_err(|(fault, offset)| bin.error(fault, offset))?,
                }
            } else {
                missing(field, sink).map_err(|(place, fault)| RecordError::new(place, record.body.len(), fault))?;
            }
        }
        Ok(())
    }

    /// Finds the bin of each field; of bins with the same name the last. A delete has none.
    fn match_bins(&mut self, top: &Record, record: &ChangeRecord<'_>, sink: &mut Sink<'_>) {
        self.bins.clear();
        self.bins.resize(top.fields.len(), 0);
        if record.operation != Operation::Write {
            return;
        }
        let metadata_key = self.metadata_key.as_deref();
        let mut bins = record.bins.iter();
        let mut guess = 0;
        loop {
            let offset = bins.offset();
            let Some(bin) = bins.next() else { break };
            let place = top.find(bin.name, guess);
            let found = place.and_then(|place| Some((place, top.fields.get(place)?, self.bins.get_mut(place)?)));
            let Some((place, field, slot)) = found else {
                sink.notes.unmatched_bins += 1;
                continue;
            };
            guess = place + 1;
            let is_metadata = match metadata_key {
                Some(key) => key == field.name,
                None => field.metadata.is_some(),
            };
            if is_metadata {
                sink.notes.dropped_bins += 1;
                continue;
            }
            sink.notes.duplicate_bins += u64::from(*slot != 0);
            *slot = offset;
        }
    }

    fn map(
        &mut self,
        plan: &Plan,
        values: NodeId,
        record: &ChangeRecord<'_>,
        metadata: &Metadata<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RecordError> {
        let has_bins = record.operation == Operation::Write;
        let bins = if has_bins { record.bins.len() as u32 } else { 0 };
        let announced = bins + u32::from(self.metadata_key.is_some());
        let (start, mark, mut keys) = (sink.out.len(), self.datum.entries.mark(), Keys::None);
        if announced > 0 {
            long(sink.out, i64::from(announced));
        }
        for bin in record.bins.iter().take(bins as usize) {
            if self.metadata_key.as_deref().map(str::as_bytes) == Some(bin.name) {
                sink.notes.dropped_bins += 1;
                continue;
            }
            let offset = bin.value_offset();
            self.datum.entries.add(0, sink.out);
            binary::text(sink, bin.name).map_err(|fault| bin.error(fault, offset))?;
            keys = self.datum.entries.with_text(keys, sink.out);
            let particle = bin.particle()?;
            self.datum
                .particle(plan, values, (&particle, offset), sink)
                .map_err(|(fault, offset)| bin.error(fault, offset))?;
        }
        if let Some(key) = &self.metadata_key {
            self.datum.entries.add(0, sink.out);
            binary::bytes(sink.out, key.as_bytes());
            keys = self.datum.entries.with_text(keys, sink.out);
            write_metadata(&mut self.datum, plan, values, metadata, sink)?;
        }
        sink.notes.duplicate_bins += self.datum.entries.finish_map(sink.out, mark, keys, (start, announced));
        sink.out.push(0);
        Ok(())
    }
}

/// What is wrong, and with which part of the metadata.
type Misplaced = (Place, Fault);

/// Writes what stands for a field without a value.
fn missing(field: &Field, sink: &mut Sink<'_>) -> Result<(), Misplaced> {
    match &field.missing {
        Some(bytes) => sink.out.extend_from_slice(bytes),
        None => {
            let name = BinName::new(field.name.as_bytes());
            return Err((Place::AvroField(name), Fault::AvroMissing(name)));
        }
    }
    Ok(())
}

/// Writes all metadata as a value of node `id`: a record, a map or a union with such.
fn write_metadata(
    datum: &mut Datum,
    plan: &Plan,
    id: NodeId,
    metadata: &Metadata<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), RecordError> {
    let located = |(place, fault): Misplaced| RecordError::new(place, 0, fault);
    let Node::Union(union) = plan.node(id) else {
        return metadata_as(datum, plan, id, metadata, false, sink).map_err(located);
    };
    let (start, notes) = (sink.out.len(), *sink.notes);
    let refused = Fault::AvroMismatch { value: "a map", wanted: plan.types(id) };
    let mut last = (Place::Metadata(METADATA), refused);
    // First only types that take all there is.
    for strict in [true, false] {
        for index in &union.maps {
            long(sink.out, i64::from(*index));
            match metadata_as(datum, plan, plan.branch(union, *index), metadata, strict, sink) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            sink.out.truncate(start);
            *sink.notes = notes;
        }
    }
    Err(located(last))
}

fn metadata_as(
    datum: &mut Datum,
    plan: &Plan,
    id: NodeId,
    metadata: &Metadata<'_>,
    strict: bool,
    sink: &mut Sink<'_>,
) -> Result<(), Misplaced> {
    let present = || metadata::NAMES.iter().zip(metadata).filter_map(|(name, value)| Some((*name, (*value)?)));
    let refused = || Fault::AvroMismatch { value: "a map", wanted: plan.types(id) };
    match plan.node(id) {
        Node::Record(record) => {
            if strict && present().any(|(name, _)| record.find(name.as_bytes(), 0).is_none()) {
                return Err((Place::Metadata(METADATA), refused()));
            }
            record.fields.iter().try_for_each(|field| match field.metadata {
                Some(index) => write_metadata_field(datum, plan, field, index, metadata, sink),
                None => missing(field, sink),
            })
        }
        Node::Map(values) => {
            long(sink.out, present().count() as i64);
            for (name, value) in present() {
                binary::bytes(sink.out, name.as_bytes());
                datum.scalar(plan, *values, &value, sink).map_err(|fault| (Place::Metadata(name), fault))?;
            }
            sink.out.push(0);
            Ok(())
        }
        _ => Err((Place::Metadata(METADATA), refused())),
    }
}

/// Writes one part of the metadata, or what stands for it when the record does not have it.
fn write_metadata_field(
    datum: &mut Datum,
    plan: &Plan,
    field: &Field,
    index: usize,
    metadata: &Metadata<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Misplaced> {
    let value: Option<Value<'_>> = metadata.get(index).copied().flatten();
    let name = metadata::NAMES.get(index).copied().unwrap_or(METADATA);
    match value {
        Some(value) => datum.scalar(plan, field.node, &value, sink).map_err(|fault| (Place::Metadata(name), fault)),
        None => missing(field, sink),
    }
}
