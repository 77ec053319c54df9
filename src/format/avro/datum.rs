//! Values of bins, of any depth, as values of a type of the schema. Nothing here recurses.
//!
//! Open lists and maps are frames on a stack. A map in a union with several records or maps is tried against one after
//! the other: where that began is kept as a choice, and a mismatch anywhere inside returns to it. A branch that took
//! its map is never left again. Records are tried twice: first only if they name every key of the map.

use super::binary::{self, Sink, Value, long};
use super::entries::{Entries, Keys};
use super::plan::{Node, NodeId, Plan};
use crate::record::cdt::{Token, read_token, skip_value};
use crate::record::{DecodeLimits, Fault, Particle};
use crate::wire::reader::Reader;

/// Bytes of a datum for each byte of the message, beyond [`DATUM_FLOOR`]: defaults that are filled into many small
/// maps could otherwise ask for all memory there is.
const MAX_GROWTH: usize = 16;
const DATUM_FLOOR: usize = 2 << 20;

/// No datum is larger: offsets inside it have 32 bits.
const MAX_DATUM_BYTES: usize = 1 << 31;

/// Bytes read and written again for branches that did not fit, and fields looked at, for each byte of the message,
/// beyond [`WORK_FLOOR`]: nested unions could otherwise ask for all time there is.
const MAX_WORK: usize = 32;
const WORK_FLOOR: usize = 1 << 20;

/// What a try costs at least.
const TRY_COST: usize = 4;

/// Scratch above this many bytes is given back with the next key.
const KEEP_KEY_BYTES: usize = 64 << 10;

/// A fault and its offset in the message.
pub(super) type Located = (Fault, usize);

/// Writes values; keeps its scratch memory.
#[derive(Debug)]
pub(super) struct Datum {
    limits: DecodeLimits,
    stringify_map_keys: bool,
    pub(super) entries: Entries,
    frames: Vec<Frame>,
    choices: Vec<Choice>,
    key: Vec<u8>,
    work: usize,
    max_work: usize,
    max_bytes: usize,
    /// Bytes that a record may take, by the room that there is.
    most: usize,
}

/// An open list or map.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// Of an array or map: the type of its values. Of a record: its own.
    node: NodeId,
    count: u32,
    /// Elements or pairs not yet begun.
    left: u32,
    /// Where it begins in the buffer.
    start: usize,
    /// Where its entries begin.
    mark: usize,
    keys: Keys,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Array,
    Map,
    /// A record; if it is strict, a key that no field names is a mismatch.
    Record {
        strict: bool,
    },
}

/// A map that more than one branch of a union might take, and how everything stood when it began.
#[derive(Debug, Clone, Copy)]
struct Choice {
    union: NodeId,
    count: u32,
    /// Which branch comes next: all of them strictly, then the records again.
    next: usize,
    frames: usize,
    mark: usize,
    start: usize,
    offset: usize,
    notes: crate::format::Notes,
}

impl Datum {
    pub(super) fn new(limits: DecodeLimits, stringify_map_keys: bool) -> Datum {
        Datum {
            limits,
            stringify_map_keys,
            entries: Entries::default(),
            frames: Vec::new(),
            choices: Vec::new(),
            key: Vec::new(),
            work: 0,
            max_work: 0,
            max_bytes: 0,
            most: usize::MAX,
        }
    }

    /// Bounds what is written for a record.
    pub(super) const fn limit_to(&mut self, bytes: usize) {
        self.most = bytes;
    }

    /// Begins a datum for a message of this size at the end of `out`.
    pub(super) fn begin(&mut self, out: &[u8], message: usize) {
        self.entries.begin(out);
        self.work = 0;
        self.max_work = message.saturating_mul(MAX_WORK).saturating_add(WORK_FLOOR);
        self.max_bytes = message.saturating_mul(MAX_GROWTH).saturating_add(DATUM_FLOOR).min(MAX_DATUM_BYTES);
    }

    /// Writes a bin's value, which stands at `offset`, as a value of node `id`.
    #[inline]
    pub(super) fn particle(
        &mut self,
        plan: &Plan,
        id: NodeId,
        (particle, offset): (&Particle<'_>, usize),
        sink: &mut Sink<'_>,
    ) -> Result<(), Located> {
        let value = match *particle {
            Particle::Nil => Value::Nil,
            Particle::Int(value) => Value::Int(value),
            Particle::Float(value) => Value::Float(value),
            Particle::Bool(value) => Value::Bool(value),
            Particle::Str(text) => Value::Str(text),
            Particle::Geo(text) => Value::Geo(text),
            Particle::Blob(_, bytes) | Particle::Hll(bytes) => Value::Bytes(bytes),
            Particle::Unknown(_, bytes) => {
                sink.notes.unknown_particles += 1;
                Value::Bytes(bytes)
            }
            Particle::List(cdt) => return self.collection(plan, id, (Value::List(cdt.count), cdt.elements), sink),
            Particle::Map(cdt) => return self.collection(plan, id, (Value::Map(cdt.count), cdt.elements), sink),
        };
        self.scalar(plan, id, &value, sink).map_err(|fault| (fault, offset))
    }

    /// Writes a value that is no list or map.
    #[inline]
    pub(super) fn scalar(
        &mut self,
        plan: &Plan,
        id: NodeId,
        value: &Value<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let wanted = || plan.types(id);
        match plan.node(id) {
            Node::Union(union) => {
                let index = binary::branch(plan, union, value, wanted)?;
                long(sink.out, i64::from(index));
                binary::scalar(plan.node(plan.branch(union, index)), value, sink, wanted)
            }
            node => binary::scalar(node, value, sink, wanted),
        }
    }

    fn collection(
        &mut self,
        plan: &Plan,
        id: NodeId,
        (value, elements): (Value<'_>, Reader<'_>),
        sink: &mut Sink<'_>,
    ) -> Result<(), Located> {
        self.frames.clear();
        self.choices.clear();
        let mut reader = elements;
        let mut offset = reader.offset();
        let mut result = self.put(plan, id, value, offset, sink);
        loop {
            if let Err(fault) = result {
                let goes_on = fault.is_mismatch()
                    && self.retry(plan, &elements, &mut reader, sink).map_err(|fault| (fault, offset))?;
                if !goes_on {
                    return Err((fault, offset));
                }
            }
            if self.frames.is_empty() {
                break;
            }
            offset = reader.offset();
            result = self.step(plan, &mut reader, sink);
        }
        match reader.rest().len() {
            0 => Ok(()),
            surplus => Err((Fault::CdtSurplus(surplus), reader.offset())),
        }
    }

    /// Writes a value, or the beginning of a list or map whose elements stand at `offset`.
    #[inline]
    fn put(
        &mut self,
        plan: &Plan,
        id: NodeId,
        value: Value<'_>,
        offset: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        match value {
            Value::List(count) => self.list(plan, id, count, sink),
            Value::Map(count) => self.map(plan, id, count, offset, sink),
            _ => self.scalar(plan, id, &value, sink),
        }
    }

    fn list(&mut self, plan: &Plan, id: NodeId, count: u32, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let value = Value::List(count);
        let mut node = plan.node(id);
        if let Node::Union(union) = node {
            let index = binary::branch(plan, union, &value, || plan.types(id))?;
            long(sink.out, i64::from(index));
            node = plan.node(plan.branch(union, index));
        }
        match node {
            Node::Array(items) => self.open(Kind::Array, *items, count, sink),
            _ => Err(binary::refused(&value, plan.types(id))),
        }
    }

    fn map(&mut self, plan: &Plan, id: NodeId, count: u32, offset: usize, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let Node::Union(union) = plan.node(id) else { return self.branch(plan, id, count, false, sink) };
        match union.maps[..] {
            [] => Err(binary::refused(&Value::Map(count), plan.types(id))),
            [only] => {
                long(sink.out, i64::from(only));
                self.branch(plan, plan.branch(union, only), count, false, sink)
            }
            _ => {
                self.choices.push(Choice {
                    union: id,
                    count,
                    next: 0,
                    frames: self.frames.len(),
                    mark: self.entries.mark(),
                    start: sink.out.len(),
                    offset,
                    notes: *sink.notes,
                });
                self.next_branch(plan, sink).map(|_| ())
            }
        }
    }

    /// Begins a map as a value of node `id`, which is no union.
    fn branch(&mut self, plan: &Plan, id: NodeId, count: u32, strict: bool, sink: &mut Sink<'_>) -> Result<(), Fault> {
        match plan.node(id) {
            Node::Map(values) => self.open(Kind::Map, *values, count, sink),
            Node::Record(_) => self.open(Kind::Record { strict }, id, count, sink),
            _ => Err(binary::refused(&Value::Map(count), plan.types(id))),
        }
    }

    /// Begins the next branch of the innermost choice. False: there is none, and the choice is over.
    fn next_branch(&mut self, plan: &Plan, sink: &mut Sink<'_>) -> Result<bool, Fault> {
        let Some(choice) = self.choices.last_mut() else { return Ok(false) };
        let Node::Union(union) = plan.node(choice.union) else { return Ok(false) };
        loop {
            let at = choice.next;
            choice.next += 1;
            let strict = at < union.maps.len();
            let place = if strict { at } else { at - union.maps.len() };
            let Some(index) = union.maps.get(place) else {
                self.choices.pop();
                return Ok(false);
            };
            let id = plan.branch(union, *index);
            if !strict && matches!(plan.node(id), Node::Map(_)) {
                continue;
            }
            let count = choice.count;
            long(sink.out, i64::from(*index));
            self.branch(plan, id, count, strict, sink)?;
            return Ok(true);
        }
    }

    /// After a mismatch: returns to the innermost choice that has a branch left. False: there is none.
    #[cold]
    fn retry<'a>(
        &mut self,
        plan: &Plan,
        elements: &Reader<'a>,
        reader: &mut Reader<'a>,
        sink: &mut Sink<'_>,
    ) -> Result<bool, Fault> {
        while let Some(choice) = self.choices.last().copied() {
            let again = reader.offset().saturating_sub(choice.offset) + sink.out.len().saturating_sub(choice.start);
            self.spend(again + TRY_COST)?;
            self.frames.truncate(choice.frames);
            self.entries.reset(choice.mark);
            sink.out.truncate(choice.start);
            *sink.notes = choice.notes;
            let mut back = *elements;
            back.take(choice.offset.saturating_sub(elements.offset()));
            *reader = back;
            if self.next_branch(plan, sink)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn spend(&mut self, work: usize) -> Result<(), Fault> {
        self.work = self.work.saturating_add(work);
        if self.work > self.max_work { Err(Fault::AvroWork) } else { Ok(()) }
    }

    fn open(&mut self, kind: Kind, node: NodeId, count: u32, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if self.frames.len() >= self.limits.max_depth as usize {
            return Err(Fault::TooDeep(self.limits.max_depth));
        }
        let (start, mark) = (sink.out.len(), self.entries.mark());
        if count > 0 && matches!(kind, Kind::Array | Kind::Map) {
            long(sink.out, i64::from(count));
        }
        self.frames.push(Frame { kind, node, count, left: count, start, mark, keys: Keys::None });
        Ok(())
    }

    /// One element or pair, or the end of the innermost list or map.
    #[inline]
    fn step(&mut self, plan: &Plan, reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        if frame.left == 0 {
            return self.end(plan, sink);
        }
        frame.left -= 1;
        let mut node = frame.node;
        match frame.kind {
            Kind::Array => {}
            Kind::Map => {
                self.entries.add(0, sink.out);
                self.key(reader, sink)?;
            }
            Kind::Record { strict } => match self.field(plan, strict, reader, sink)? {
                Some(id) => node = id,
                None => return Ok(()),
            },
        }
        let value = Value::of(read_token(reader)?);
        self.put(plan, node, value, reader.offset(), sink)
    }

    /// Writes the key of a map.
    #[inline]
    fn key(&mut self, reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let token = read_token(reader)?;
        let before = self.frames.last().map_or(Keys::Mixed, |frame| frame.keys);
        let keys = if let Token::Str(text) = token {
            binary::text(sink, text)?;
            self.entries.with_text(before, sink.out)
        } else {
            self.key_text(token, reader, sink)?;
            binary::text(sink, &self.key)?;
            match (token, before) {
                (Token::Int(value), Keys::None) => Keys::Integers(value),
                (Token::Int(value), Keys::Integers(last)) if last < value => Keys::Integers(value),
                _ => Keys::Mixed,
            }
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.keys = keys;
        }
        Ok(())
    }

    /// Reads a key of a map that is written as a record. Returns the type of the field; `None`: there is no such field,
    /// and the value was skipped.
    fn field(
        &mut self,
        plan: &Plan,
        strict: bool,
        reader: &mut Reader<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Option<NodeId>, Fault> {
        let Some(frame) = self.frames.last().copied() else { return Ok(None) };
        let Node::Record(record) = plan.node(frame.node) else { return Ok(None) };
        let guess = self.entries.mark() - frame.mark;
        let token = read_token(reader)?;
        let place = if let Token::Str(text) = token {
            record.find(text, guess)
        } else {
            self.key_text(token, reader, sink)?;
            record.find(&self.key, guess)
        };
        if let Some((place, field)) = place.and_then(|place| Some((place, record.fields.get(place)?))) {
            self.entries.add(place, sink.out);
            return Ok(Some(field.node));
        }
        if strict {
            return Err(binary::refused(&Value::Map(frame.count), plan.types(frame.node)));
        }
        sink.notes.unmatched_bins += 1;
        skip_value(reader).map(|()| None)
    }

    /// Makes the text of a key that is no string, as the JSON formats write it.
    fn key_text(&mut self, token: Token<'_>, reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if !self.stringify_map_keys {
            return Err(Fault::AvroKey(Value::of(token).name()));
        }
        self.key.clear();
        if self.key.capacity() > KEEP_KEY_BYTES {
            self.key = Vec::new();
        }
        sink.values.key_text(&mut self.key, token, reader, self.frames.len(), sink.notes)
    }

    fn end(&mut self, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        match frame.kind {
            Kind::Array => sink.out.push(0),
            Kind::Map => {
                let block = (frame.start, frame.count);
                sink.notes.map_key_clashes += self.entries.finish_map(sink.out, frame.mark, frame.keys, block);
                sink.out.push(0);
            }
            Kind::Record { .. } => {
                let Node::Record(record) = plan.node(frame.node) else { return Ok(()) };
                self.spend(record.fields.len())?;
                sink.notes.map_key_clashes += self.entries.finish_record(record, sink.out, frame.mark, frame.start)?;
                self.check_size(sink.out)?;
            }
        }
        while self.choices.last().is_some_and(|choice| choice.frames == self.frames.len()) {
            self.choices.pop();
        }
        Ok(())
    }

    fn check_size(&self, out: &[u8]) -> Result<(), Fault> {
        match self.entries.written(out) {
            written if written > self.max_bytes => Err(Fault::AvroWork),
            written if written > self.most => Err(Fault::TooLarge(self.most)),
            _ => Ok(()),
        }
    }
}
