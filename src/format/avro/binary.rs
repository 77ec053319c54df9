//! Avro's binary encoding of single values, and which types take them.

use super::plan::{Node, Plan, Union};
use crate::format::Notes;
use crate::format::utf8::Texts;
use crate::format::value::Values;
use crate::record::cdt::Token;
use crate::record::{AvroTypes, Fault};

/// A value on its way into the datum; of a list or map only the announced count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Not necessarily UTF-8.
    Str(&'a [u8]),
    Bytes(&'a [u8]),
    /// GeoJSON text.
    Geo(&'a [u8]),
    /// Its elements are the tokens that follow.
    List(u32),
    /// Its pairs are the tokens that follow.
    Map(u32),
}

impl<'a> Value<'a> {
    #[inline]
    pub(super) const fn of(token: Token<'a>) -> Value<'a> {
        match token {
            Token::Nil => Value::Nil,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Float(value) => Value::Float(value),
            Token::Str(text) => Value::Str(text),
            Token::Bytes(_, bytes) => Value::Bytes(bytes),
            Token::Geo(text) => Value::Geo(text),
            Token::List { count, .. } => Value::List(count),
            Token::Map { count, .. } => Value::Map(count),
        }
    }

    /// With its article, for messages.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a double",
            Value::Str(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::Geo(_) => "GeoJSON",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Where a datum goes.
#[derive(Debug)]
pub(super) struct Sink<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) notes: &'o mut Notes,
    /// Writes the text of keys that are no strings.
    pub(super) values: &'o mut Values,
    /// Text that is not UTF-8.
    pub(super) texts: &'o mut Texts,
}

/// How well a type takes a value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fit {
    Exact,
    /// Without loss, but as another type.
    Promoted,
    /// Of the right kind, but this one value does not fit; with the words for it.
    Almost(&'static str),
    No,
}

/// Why a type does not take a value.
#[cold]
fn mismatch(value: &'static str, wanted: AvroTypes) -> Fault {
    Fault::AvroMismatch { value, wanted }
}

#[inline]
fn fit(node: &Node, value: &Value<'_>) -> Fit {
    let when = |fits: bool, fit: Fit, words: &'static str| if fits { fit } else { Fit::Almost(words) };
    match (node, value) {
        (Node::Null, Value::Nil)
        | (Node::Boolean, Value::Bool(_))
        | (Node::Long, Value::Int(_))
        | (Node::Double, Value::Float(_))
        | (Node::String, Value::Str(_) | Value::Geo(_))
        | (Node::Bytes, Value::Bytes(_))
        | (Node::Array(_), Value::List(_))
        | (Node::Map(_) | Node::Record(_), Value::Map(_)) => Fit::Exact,
        (Node::Int, Value::Int(value)) => when(i32::try_from(*value).is_ok(), Fit::Exact, "an integer beyond 32 bits"),
        (Node::Double, Value::Int(value)) => when(
            (*value as f64) as i128 == i128::from(*value),
            Fit::Promoted,
            "an integer that only a long can hold exactly",
        ),
        (Node::Float, Value::Int(value)) => when(
            (*value as f32) as i128 == i128::from(*value),
            Fit::Promoted,
            "an integer that a float cannot hold exactly",
        ),
        (Node::Float, Value::Float(value)) => when(
            value.is_nan() || f64::from(*value as f32) == *value,
            Fit::Promoted,
            "a double that a float cannot hold exactly",
        ),
        (Node::Enum(symbols), Value::Str(text)) => {
            when(symbols.find(text).is_some(), Fit::Exact, "a string that is none of the symbols")
        }
        (Node::Bytes, Value::Str(_)) => Fit::Promoted,
        (Node::Fixed(size), Value::Bytes(bytes)) => when(bytes.len() == *size, Fit::Exact, "bytes of another length"),
        _ => Fit::No,
    }
}

/// The branch of a union that takes `value`, which is no map: the first exact one, else the first promotion.
#[inline]
pub(super) fn branch(
    plan: &Plan,
    union: &Union,
    value: &Value<'_>,
    wanted: impl Fn() -> AvroTypes,
) -> Result<u32, Fault> {
    let (mut promoted, mut words) = (None, value.name());
    for (id, index) in union.branches.iter().zip(0u32..) {
        match fit(plan.node(*id), value) {
            Fit::Exact => return Ok(index),
            Fit::Promoted => promoted = promoted.or(Some(index)),
            Fit::Almost(why) => words = why,
            Fit::No => {}
        }
    }
    promoted.ok_or_else(|| mismatch(words, wanted()))
}

/// Writes a value that is no list or map as a value of `node`, which is no union.
#[inline]
pub(super) fn scalar(
    node: &Node,
    value: &Value<'_>,
    sink: &mut Sink<'_>,
    wanted: impl Fn() -> AvroTypes,
) -> Result<(), Fault> {
    match fit(node, value) {
        Fit::Exact | Fit::Promoted => {}
        Fit::Almost(words) => return Err(mismatch(words, wanted())),
        Fit::No => return Err(mismatch(value.name(), wanted())),
    }
    match (node, value) {
        (Node::Boolean, Value::Bool(value)) => sink.out.push(u8::from(*value)),
        (Node::Int | Node::Long, Value::Int(value)) => long(sink.out, *value),
        (Node::Double, Value::Float(value)) => sink.out.extend_from_slice(&value.to_le_bytes()),
        (Node::Double, Value::Int(value)) => sink.out.extend_from_slice(&(*value as f64).to_le_bytes()),
        (Node::Float, Value::Float(value)) => sink.out.extend_from_slice(&(*value as f32).to_le_bytes()),
        (Node::Float, Value::Int(value)) => sink.out.extend_from_slice(&(*value as f32).to_le_bytes()),
        (Node::String, Value::Str(value) | Value::Geo(value)) => text(sink, value)?,
        (Node::Bytes, Value::Bytes(value) | Value::Str(value)) => bytes(sink.out, value),
        (Node::Fixed(_), Value::Bytes(value)) => sink.out.extend_from_slice(value),
        (Node::Enum(symbols), Value::Str(value)) => {
            long(sink.out, symbols.find(value).unwrap_or_default() as i64);
        }
        _ => {}
    }
    Ok(())
}

/// The fault of a value that `node` does not take.
#[cold]
pub(super) fn refused(value: &Value<'_>, wanted: AvroTypes) -> Fault {
    mismatch(value.name(), wanted)
}

/// Writes an `int` or `long`: zigzag, then seven bits a byte, the lowest first.
#[inline]
pub(super) fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`long`] writes for a number that is not negative.
pub(super) fn long_size(value: u32) -> usize {
    let bits = (u64::BITS - (u64::from(value) << 1).leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Writes `bytes`, or text that is known to be UTF-8.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// What [`bytes`] wrote at the start of `written`.
pub(super) fn read_bytes(written: &[u8]) -> &[u8] {
    let (mut size, mut shift, mut rest) = (0u64, 0u32, written);
    while let Some((byte, after)) = rest.split_first() {
        size |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
        shift += 7;
        rest = after;
        if byte & 0x80 == 0 {
            break;
        }
    }
    rest.get(..(size >> 1) as usize).unwrap_or_default()
}

/// Writes a `string`.
#[inline]
pub(super) fn text(sink: &mut Sink<'_>, text: &[u8]) -> Result<(), Fault> {
    let Sink { out, notes, texts, .. } = sink;
    texts.write(text, notes, |text| bytes(out, text.as_bytes())).map(|_| ())
}
