//! Lists and maps: Aerospike's dialect of MessagePack (xdr-protocol.md 4.3), read token by token.
//!
//! Nothing here recurses and nothing is reserved by an announced count, so neither depth nor counts can hurt. Whoever
//! walks a value ([`walk`], the formats) keeps the stack of open lists and maps, and its limit.

use crate::record::{Fault, ParticleType};
use crate::wire::reader::Reader;

/// The order that a list or map keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Insertion order of a list, no order of a map.
    Unordered,
    /// A list by value, a map by key.
    Ordered,
    /// A map by key, with an index by value.
    KeyValueOrdered,
}

/// One scalar, or the head of a list or map; its elements are the tokens that follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// Nil.
    Nil,
    /// Boolean.
    Bool(bool),
    /// Integer. An unsigned one above 2^63 - 1 wraps, as official clients read it.
    Int(i64),
    /// Double.
    Float(f64),
    /// Text, not necessarily UTF-8.
    Str(&'a [u8]),
    /// Bytes of any kind.
    Bytes(ParticleType, &'a [u8]),
    /// GeoJSON text.
    Geo(&'a [u8]),
    /// So many elements follow.
    List {
        /// Without the element that carries the order.
        count: u32,
        /// From that element.
        order: Order,
    },
    /// So many pairs of key and value follow.
    Map {
        /// Without the pair that carries the order.
        count: u32,
        /// From that pair.
        order: Order,
    },
}

/// A top-level list or map whose head was read.
#[derive(Debug, Clone, Copy)]
pub struct Cdt<'a> {
    /// Elements of the list, pairs of the map.
    pub count: u32,
    /// As flagged.
    pub order: Order,
    /// Over the elements.
    pub elements: Reader<'a>,
}

pub(super) fn root_list(value: Reader<'_>) -> Result<Cdt<'_>, Fault> {
    let mut elements = value;
    match read_token(&mut elements)? {
        Token::List { count, order } => Ok(Cdt { count, order, elements }),
        _ => Err(Fault::CdtRoot { expected: "list", found: value.peek().unwrap_or_default() }),
    }
}

pub(super) fn root_map(value: Reader<'_>) -> Result<Cdt<'_>, Fault> {
    let mut elements = value;
    match read_token(&mut elements)? {
        Token::Map { count, order } => Ok(Cdt { count, order, elements }),
        _ => Err(Fault::CdtRoot { expected: "map", found: value.peek().unwrap_or_default() }),
    }
}

/// The next token.
///
/// # Errors
/// It is cut off, it is the reserved byte, or it is an extension element out of place.
#[inline]
pub fn read_token<'a>(reader: &mut Reader<'a>) -> Result<Token<'a>, Fault> {
    let first = need(reader.u8())?;
    Ok(match first {
        0x00..=0x7f => Token::Int(i64::from(first)),
        0xe0..=0xff => Token::Int(i64::from(first as i8)),
        0xa0..=0xbf => raw(reader, u32::from(first & 0x1f))?,
        0x80..=0x8f => map(reader, u32::from(first & 0x0f))?,
        0x90..=0x9f => list(reader, u32::from(first & 0x0f))?,
        0xc0 => Token::Nil,
        0xc2 => Token::Bool(false),
        0xc3 => Token::Bool(true),
        0xcc => Token::Int(i64::from(need(reader.u8())?)),
        0xcd => Token::Int(i64::from(need(reader.u16())?)),
        0xce => Token::Int(i64::from(need(reader.u32())?)),
        0xcf | 0xd3 => Token::Int(need(reader.u64())? as i64),
        0xd0 => Token::Int(i64::from(need(reader.u8())? as i8)),
        0xd1 => Token::Int(i64::from(need(reader.u16())? as i16)),
        0xd2 => Token::Int(i64::from(need(reader.u32())? as i32)),
        0xca => Token::Float(f64::from(f32::from_bits(need(reader.u32())?))),
        0xcb => Token::Float(f64::from_bits(need(reader.u64())?)),
        0xc4 | 0xd9 => {
            let size = need(reader.u8())?;
            raw(reader, u32::from(size))?
        }
        0xc5 | 0xda => {
            let size = need(reader.u16())?;
            raw(reader, u32::from(size))?
        }
        0xc6 | 0xdb => {
            let size = need(reader.u32())?;
            raw(reader, size)?
        }
        0xdc => {
            let count = need(reader.u16())?;
            list(reader, u32::from(count))?
        }
        0xdd => {
            let count = need(reader.u32())?;
            list(reader, count)?
        }
        0xde => {
            let count = need(reader.u16())?;
            map(reader, u32::from(count))?
        }
        0xdf => {
            let count = need(reader.u32())?;
            map(reader, count)?
        }
        0xc7..=0xc9 | 0xd4..=0xd8 => return Err(stray_extension(first, reader)),
        0xc1 => return Err(Fault::CdtReserved(first)),
    })
}

/// Skips one value with everything in it.
///
/// # Errors
/// As [`read_token`].
pub fn skip_value(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let mut pending: u64 = 1;
    while pending > 0 {
        pending -= 1;
        // A value takes at least one byte, so a count that lies runs into the end of the bytes, not of this number.
        pending += match read_token(reader)? {
            Token::List { count, .. } => u64::from(count),
            Token::Map { count, .. } => 2 * u64::from(count),
            _ => 0,
        };
    }
    Ok(())
}

/// Reads all of a list or map, for nothing but its faults. As [`visit`].
///
/// # Errors
/// As [`visit`].
pub fn walk(cdt: &Cdt<'_>, is_map: bool, max_depth: u32, open: &mut Vec<u64>) -> Result<(), (Fault, usize)> {
    visit(cdt, is_map, max_depth, open, |_| Ok(()))
}

/// Calls `each` with every token inside a list or map, in wire order. `open` is scratch: the values left of each open
/// list and map.
///
/// # Errors
/// As [`read_token`]; deeper than `max_depth`; bytes behind the end; what `each` returns. With the offset.
#[inline]
pub fn visit<'a>(
    cdt: &Cdt<'a>,
    is_map: bool,
    max_depth: u32,
    open: &mut Vec<u64>,
    mut each: impl FnMut(Token<'a>) -> Result<(), Fault>,
) -> Result<(), (Fault, usize)> {
    let mut reader = cdt.elements;
    let values = |count: u32, is_map: bool| u64::from(count) * if is_map { 2 } else { 1 };
    open.clear();
    let mut left = values(cdt.count, is_map);
    loop {
        if left == 0 {
            let Some(outer) = open.pop() else { break };
            left = outer;
            continue;
        }
        left -= 1;
        let offset = reader.offset();
        let token = read_token(&mut reader).map_err(|fault| (fault, offset))?;
        let inner = match token {
            Token::List { count, .. } => Some(values(count, false)),
            Token::Map { count, .. } => Some(values(count, true)),
            _ => None,
        };
        if let Some(inner) = inner {
            if open.len() + 1 >= max_depth as usize {
                return Err((Fault::TooDeep(max_depth), offset));
            }
            open.push(left);
            left = inner;
        }
        each(token).map_err(|fault| (fault, offset))?;
    }
    match reader.rest().len() {
        0 => Ok(()),
        surplus => Err((Fault::CdtSurplus(surplus), reader.offset())),
    }
}

#[inline]
fn need<T>(value: Option<T>) -> Result<T, Fault> {
    value.ok_or(Fault::CdtTruncated)
}

/// A raw of `size` bytes: its first byte is the particle type. One without any is empty bytes.
#[inline]
fn raw<'a>(reader: &mut Reader<'a>, size: u32) -> Result<Token<'a>, Fault> {
    let bytes = need(reader.take(size as usize))?;
    Ok(match bytes.split_first() {
        Some((3, text)) => Token::Str(text),
        Some((23, text)) => Token::Geo(text),
        Some((kind, bytes)) => Token::Bytes(ParticleType(*kind), bytes),
        None => Token::Bytes(ParticleType::BLOB, bytes),
    })
}

/// Flags of the extension element (xdr-protocol.md 4.3).
const ORDERED: u8 = 0x01;
const KEY_VALUE_ORDERED: u8 = 0x03;

#[inline]
fn list<'a>(reader: &mut Reader<'a>, count: u32) -> Result<Token<'a>, Fault> {
    let mut token = (count, Order::Unordered);
    if count > 0
        && let Some(flags) = extension(reader)?
    {
        token = (count - 1, if flags & ORDERED != 0 { Order::Ordered } else { Order::Unordered });
    }
    Ok(Token::List { count: token.0, order: token.1 })
}

#[inline]
fn map<'a>(reader: &mut Reader<'a>, count: u32) -> Result<Token<'a>, Fault> {
    let mut token = (count, Order::Unordered);
    if count > 0
        && let Some(flags) = extension(reader)?
    {
        skip_extension_value(reader)?;
        let order = match flags & KEY_VALUE_ORDERED {
            KEY_VALUE_ORDERED => Order::KeyValueOrdered,
            ORDERED => Order::Ordered,
            _ => Order::Unordered,
        };
        token = (count - 1, order);
    }
    Ok(Token::Map { count: token.0, order: token.1 })
}

/// The value behind a map's extension key: nil as a rule. Only a scalar can stand there.
fn skip_extension_value(reader: &mut Reader<'_>) -> Result<(), Fault> {
    match need(reader.peek())? {
        0xc0 => {
            reader.u8();
            Ok(())
        }
        // Reading a list or map here would let nested ones recurse through `map`.
        0x80..=0x9f | 0xdc..=0xdf => Err(Fault::CdtExtension(0)),
        _ => read_token(reader).map(|_| ()),
    }
}

/// Takes the extension element, if one is next, and returns its type byte, which is flags.
#[inline]
fn extension(reader: &mut Reader<'_>) -> Result<Option<u8>, Fault> {
    let size = match reader.peek() {
        Some(first @ (0xc7..=0xc9 | 0xd4..=0xd8)) => {
            reader.u8();
            need(extension_size(first, reader))?
        }
        _ => return Ok(None),
    };
    let flags = need(reader.u8())?;
    need(reader.take(size))?;
    // 0xff marks wildcard and infinity: values of requests, which are never stored.
    if flags == 0xff { Err(Fault::CdtExtension(flags)) } else { Ok(Some(flags)) }
}

fn extension_size(first: u8, reader: &mut Reader<'_>) -> Option<usize> {
    match first {
        0xc7 => reader.u8().map(usize::from),
        0xc8 => reader.u16().map(usize::from),
        0xc9 => reader.u32().map(|size| size as usize),
        _ => 1usize.checked_shl(u32::from(first) - 0xd4),
    }
}

#[cold]
fn stray_extension(first: u8, reader: &mut Reader<'_>) -> Fault {
    match extension_size(first, reader).and_then(|_| reader.u8()) {
        Some(kind) => Fault::CdtExtension(kind),
        None => Fault::CdtTruncated,
    }
}

#[cfg(test)]
mod tests;
