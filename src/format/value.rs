//! Bin values as JSON, shared by both JSON formats.
//!
//! Inside lists and maps values are plain JSON without their type. Map keys become member names (decisions.md, Formats):
//! strings as they are; integers, doubles, booleans and nil as their JSON text; bytes as Base64; lists, maps and GeoJSON
//! as compact JSON text. JSON has no other kind of name, so `stringify-map-keys: false` changes nothing here.

use super::geojson;
use super::members::{Members, finish};
use super::utf8::Texts;
use super::{Notes, text};
use crate::config::model::{InvalidUtf8, TextRules};
use crate::record::cdt::{Cdt, Token, read_token};
use crate::record::{Bin, DecodeLimits, Fault, Particle, RecordError};
use crate::wire::reader::Reader;

/// Lists and maps as keys of maps that are keys themselves: each turn escapes the quotes and backslashes of the one
/// inside, so the text can double each time. Without a bound 300 bytes could ask for all memory there is.
const MAX_KEY_NESTING: u32 = 4;

/// Of a text above this many bytes it is found out how large it will be before it is written.
const LONG_TEXT: usize = 64 << 10;

/// Scratch above this many bytes is given back after the value.
const KEEP_KEY_BYTES: usize = 64 << 10;

/// A fault and its offset in the message.
type Located = (Fault, usize);

/// Writes values; keeps its scratch memory.
#[derive(Debug)]
pub(super) struct Values {
    limits: DecodeLimits,
    /// Bytes that a record may take here.
    most: usize,
    texts: Texts,
    non_finite_as_null: bool,
    pub(super) members: Members,
    open: Vec<Level>,
    /// How many of the open levels are being written as a key.
    open_keys: u32,
    key: Vec<u8>,
    geo: geojson::Scratch,
}

/// An open list or map.
#[derive(Debug)]
struct Level {
    /// Elements or pairs not yet begun.
    left: u32,
    next: Next,
    names: Names,
    /// Where its members begin, for a map.
    mark: usize,
    /// Where its text begins, if it is a map's key.
    key_start: Option<usize>,
}

/// What the next token of a level is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Next {
    Element,
    Key,
    Value,
}

/// What is known of a map's names so far. Ordered maps come sorted, and names that ascend need no other check.
#[derive(Debug, Clone, Copy)]
enum Names {
    None,
    /// Integers, ascending up to this one.
    Integers(i64),
    /// Texts, ascending up to the one that stands here in the buffer.
    Texts(usize, usize),
    /// Anything.
    Mixed,
}

impl Values {
    pub(super) fn new(limits: DecodeLimits, rules: TextRules) -> Values {
        Values {
            limits,
            most: usize::MAX,
            texts: Texts::new(rules.invalid_utf8),
            non_finite_as_null: rules.non_finite_as_null,
            members: Members::default(),
            open: Vec::new(),
            open_keys: 0,
            key: Vec::new(),
            geo: geojson::Scratch::default(),
        }
    }

    /// Bounds what is written for a record, and kept for it meanwhile.
    pub(super) const fn limit_to(&mut self, bytes: usize) {
        self.most = bytes;
    }

    /// Whether what was written is within the bound, and `more` still is.
    #[inline]
    fn check(&self, out: &[u8], more: usize) -> Result<(), Fault> {
        if self.members.held(out).saturating_add(more) > self.most { Err(Fault::TooLarge(self.most)) } else { Ok(()) }
    }

    /// The same for a text that is to be written as a string.
    #[inline]
    fn check_text(&self, out: &[u8], text: &[u8]) -> Result<(), Fault> {
        if text.len() <= LONG_TEXT || self.check(out, text.len().saturating_mul(text::MOST_ESCAPED)).is_ok() {
            return Ok(());
        }
        self.check(out, text::escaped_bytes(text))
    }

    /// Writes the value of `bin`, which is `particle`.
    // Left to itself the compiler keeps one copy, which takes 15 to 20 % longer for a flat record.
    #[inline(always)]
    pub(super) fn bin(
        &mut self,
        out: &mut Vec<u8>,
        bin: &Bin<'_>,
        particle: &Particle<'_>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let in_value = |fault| bin.error(fault, bin.value_offset());
        match *particle {
            Particle::Int(value) => text::integer(out, value),
            Particle::Str(value) => {
                self.string(out, value, notes).map_err(in_value)?;
            }
            Particle::Float(value) => self.double(out, value),
            Particle::Bool(value) => boolean(out, value),
            Particle::Nil => out.extend_from_slice(b"null"),
            Particle::Blob(_, bytes) | Particle::Hll(bytes) => text::base64(out, bytes),
            Particle::Unknown(_, bytes) => {
                notes.unknown_particles += 1;
                text::base64(out, bytes);
            }
            Particle::Geo(text) => {
                self.geojson(out, text, notes).map_err(in_value)?;
            }
            Particle::List(cdt) => {
                self.collection(out, &cdt, Next::Element, notes).map_err(|(fault, offset)| bin.error(fault, offset))?
            }
            Particle::Map(cdt) => {
                self.collection(out, &cdt, Next::Key, notes).map_err(|(fault, offset)| bin.error(fault, offset))?
            }
        }
        self.check(out, 0).map_err(in_value)
    }

    /// Writes `text` as a string. Returns whether it was changed, as it is not UTF-8.
    #[inline]
    pub(super) fn string(&mut self, out: &mut Vec<u8>, text: &[u8], notes: &mut Notes) -> Result<bool, Fault> {
        let start = out.len();
        self.check_text(out, text)?;
        if text::string(out, text) { self.not_utf8(out, start, text, notes) } else { Ok(false) }
    }

    /// Puts right what [`text::string`] wrote from `start` on, which is replaced text.
    #[cold]
    fn not_utf8(&mut self, out: &mut Vec<u8>, start: usize, text: &[u8], notes: &mut Notes) -> Result<bool, Fault> {
        if self.texts.rule() == InvalidUtf8::Replace {
            notes.replaced_text += 1;
            return Ok(true);
        }
        out.truncate(start);
        self.texts.write(text, notes, |text| {
            text::string(out, text.as_bytes());
        })
    }

    /// Writes a double that is a value.
    #[inline]
    pub(super) fn double(&self, out: &mut Vec<u8>, value: f64) {
        if value.is_finite() || !self.non_finite_as_null {
            text::double(out, value);
        } else {
            out.extend_from_slice(b"null");
        }
    }

    fn collection(&mut self, out: &mut Vec<u8>, cdt: &Cdt<'_>, first: Next, notes: &mut Notes) -> Result<(), Located> {
        self.open_keys = 0;
        let mut reader = cdt.elements;
        self.elements(out, &mut reader, (cdt.count, first), notes)?;
        if self.key.capacity() > KEEP_KEY_BYTES {
            self.key = Vec::new();
        }
        match reader.rest().len() {
            0 => Ok(()),
            surplus => Err((Fault::CdtSurplus(surplus), reader.offset())),
        }
    }

    /// Writes a list or map whose head was read, and leaves `reader` behind it.
    fn elements(
        &mut self,
        out: &mut Vec<u8>,
        reader: &mut Reader<'_>,
        (count, first): (u32, Next),
        notes: &mut Notes,
    ) -> Result<(), Located> {
        self.open.clear();
        self.begin(out, count, first, None).map_err(|fault| (fault, reader.offset()))?;
        while !self.open.is_empty() {
            let offset = reader.offset();
            self.step(out, reader, notes).map_err(|fault| (fault, offset))?;
        }
        Ok(())
    }

    /// Writes the text that a member name has for this key (`out` holds nothing else): for formats whose keys are
    /// strings, but not JSON. Text that is not UTF-8 stays as it is. `open` lists and maps stand around it.
    pub(super) fn key_text(
        &mut self,
        out: &mut Vec<u8>,
        token: Token<'_>,
        reader: &mut Reader<'_>,
        open: usize,
        notes: &mut Notes,
    ) -> Result<(), Fault> {
        self.members.begin(out);
        match token {
            Token::Str(text) => out.extend_from_slice(text),
            Token::Int(value) => text::integer(out, value),
            Token::Float(value) if value.is_finite() => text::double(out, value),
            Token::Float(value) => out.extend_from_slice(text::non_finite(value).as_bytes()),
            Token::Bool(value) => boolean(out, value),
            Token::Nil => out.extend_from_slice(b"null"),
            Token::Bytes(_, bytes) => base64_simd::STANDARD.encode_append(bytes, out),
            Token::Geo(text) => self.geojson(out, text, notes)?,
            Token::List { count, .. } => return self.key_collection(out, reader, (count, Next::Element), open, notes),
            Token::Map { count, .. } => return self.key_collection(out, reader, (count, Next::Key), open, notes),
        }
        Ok(())
    }

    fn key_collection(
        &mut self,
        out: &mut Vec<u8>,
        reader: &mut Reader<'_>,
        collection: (u32, Next),
        open: usize,
        notes: &mut Notes,
    ) -> Result<(), Fault> {
        self.open_keys = 1;
        let limits = self.limits;
        self.limits.max_depth = limits.max_depth.saturating_sub(open as u32);
        let result = self.elements(out, reader, collection, notes);
        self.limits = limits;
        result.map_err(|(fault, _)| match fault {
            Fault::TooDeep(_) => Fault::TooDeep(limits.max_depth),
            fault => fault,
        })
    }

    /// One token, or the end of the innermost list or map.
    #[inline]
    fn step(&mut self, out: &mut Vec<u8>, reader: &mut Reader<'_>, notes: &mut Notes) -> Result<(), Fault> {
        self.check(out, 0)?;
        let Some(level) = self.open.last_mut() else { return Ok(()) };
        if level.next == Next::Key {
            if level.left == 0 {
                return self.end(out, notes);
            }
            level.next = Next::Value;
            let token = read_token(reader)?;
            return self.name(out, token, notes);
        }
        if level.next == Next::Value {
            level.next = Next::Key;
        } else if level.left == 0 {
            return self.end(out, notes);
        }
        level.left -= 1;
        match read_token(reader)? {
            Token::List { count, .. } => return self.begin(out, count, Next::Element, None),
            Token::Map { count, .. } => return self.begin(out, count, Next::Key, None),
            Token::Int(value) => text::integer(out, value),
            Token::Str(value) => {
                self.string(out, value, notes)?;
            }
            // In a key a null would hide which double it was.
            Token::Float(value) if self.open_keys > 0 => text::double(out, value),
            Token::Float(value) => self.double(out, value),
            Token::Bool(value) => boolean(out, value),
            Token::Nil => out.extend_from_slice(b"null"),
            Token::Bytes(_, bytes) => text::base64(out, bytes),
            Token::Geo(text) => self.geojson(out, text, notes)?,
        }
        out.push(b',');
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>, count: u32, next: Next, key_start: Option<usize>) -> Result<(), Fault> {
        if self.open.len() >= self.limits.max_depth as usize {
            return Err(Fault::TooDeep(self.limits.max_depth));
        }
        out.push(if next == Next::Key { b'{' } else { b'[' });
        let mark = self.members.mark();
        self.open.push(Level { left: count, next, names: Names::None, mark, key_start });
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>, notes: &mut Notes) -> Result<(), Fault> {
        let Some(level) = self.open.pop() else { return Ok(()) };
        if level.next == Next::Key {
            if matches!(level.names, Names::Mixed) {
                notes.map_key_clashes += self.members.finish_object(out, level.mark, 0);
            } else {
                self.members.drop_object(level.mark);
            }
            finish(out, b'}');
        } else {
            finish(out, b']');
        }
        if let Some(start) = level.key_start {
            self.open_keys -= 1;
            self.text_to_name(out, start)?;
            out.push(b':');
        } else if !self.open.is_empty() {
            out.push(b',');
        }
        Ok(())
    }

    /// Writes a map's key and the colon; of a list or map only the beginning.
    fn name(&mut self, out: &mut Vec<u8>, token: Token<'_>, notes: &mut Notes) -> Result<(), Fault> {
        let start = out.len();
        self.members.add(start);
        let before = self.open.last().map_or(Names::Mixed, |level| level.names);
        let mut names = Names::Mixed;
        match token {
            Token::Str(value) => {
                self.string(out, value, notes)?;
                names = before.with_text(out, start);
            }
            Token::Int(value) => {
                out.push(b'"');
                text::integer(out, value);
                out.push(b'"');
                names = before.with_integer(value);
            }
            Token::Float(value) => text::double_name(out, value),
            Token::Bool(value) => out.extend_from_slice(if value { b"\"true\"" } else { b"\"false\"" }),
            Token::Nil => out.extend_from_slice(b"\"null\""),
            Token::Bytes(_, bytes) => text::base64(out, bytes),
            Token::Geo(value) => {
                self.geojson(out, value, notes)?;
                self.text_to_name(out, start)?;
            }
            Token::List { .. } | Token::Map { .. } => {}
        }
        if let Some(level) = self.open.last_mut() {
            level.names = names;
        }
        match token {
            Token::List { count, .. } => self.begin_key(out, count, Next::Element, start),
            Token::Map { count, .. } => self.begin_key(out, count, Next::Key, start),
            _ => {
                out.push(b':');
                Ok(())
            }
        }
    }

    fn begin_key(&mut self, out: &mut Vec<u8>, count: u32, next: Next, start: usize) -> Result<(), Fault> {
        self.open_keys += 1;
        if self.open_keys > MAX_KEY_NESTING {
            return Err(Fault::KeyNesting(self.open_keys));
        }
        self.begin(out, count, next, Some(start))
    }

    /// Makes the JSON text from `start` on a string.
    fn text_to_name(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), Fault> {
        let text = out.get(start..).unwrap_or_default();
        // Its copy stands beside what is written of it.
        self.check_text(out, text)?;
        self.key.clear();
        self.key.extend_from_slice(text);
        out.truncate(start);
        text::string(out, &self.key);
        Ok(())
    }

    fn geojson(&mut self, out: &mut Vec<u8>, text: &[u8], notes: &mut Notes) -> Result<(), Fault> {
        if !geojson::compact(text, out, &mut self.members, &mut self.geo, self.limits.max_depth) {
            notes.invalid_geojson += 1;
            self.string(out, text, notes)?;
        }
        Ok(())
    }
}

impl Names {
    #[inline]
    fn with_integer(self, value: i64) -> Names {
        match self {
            Names::None => Names::Integers(value),
            Names::Integers(last) if last < value => Names::Integers(value),
            _ => Names::Mixed,
        }
    }

    /// With the text that was just written from `start` on.
    #[inline]
    fn with_text(self, out: &[u8], start: usize) -> Names {
        match self {
            Names::None => Names::Texts(start, out.len()),
            Names::Texts(from, to) if out.get(from..to) < out.get(start..) => Names::Texts(start, out.len()),
            _ => Names::Mixed,
        }
    }
}

#[inline]
fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}
