//! GeoJSON text: checked, and copied without the white space between its tokens.
//!
//! Numbers and strings are copied as they are, so that no value changes on the way. Of members with the same name the
//! last stays, which is the one that readers take. The text comes from a client, so nothing here recurses.

use super::members::{Members, finish};
use super::text;

/// Reusable memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Open objects, with their mark in the members, and open lists.
    open: Vec<Option<usize>>,
    name: Vec<u8>,
}

/// Appends `text` to `out` if it is JSON, nested at most `max_depth` deep; else leaves `out` as it was and says so.
pub(super) fn compact(
    text: &[u8],
    out: &mut Vec<u8>,
    members: &mut Members,
    scratch: &mut Scratch,
    max_depth: u32,
) -> bool {
    let (start, mark) = (out.len(), members.mark());
    scratch.open.clear();
    let mut copier = Copier { rest: text, out, members, scratch, max_depth };
    let valid = std::str::from_utf8(text).is_ok() && copier.run().is_some();
    if !valid {
        out.truncate(start);
        members.drop_object(mark);
    }
    valid
}

struct Copier<'a> {
    rest: &'a [u8],
    out: &'a mut Vec<u8>,
    members: &'a mut Members,
    scratch: &'a mut Scratch,
    max_depth: u32,
}

/// What follows in the text.
enum Next {
    Value,
    End,
}

impl Copier<'_> {
    fn run(&mut self) -> Option<()> {
        loop {
            self.value()?;
            if let Next::End = self.after_value()? {
                return self.rest.is_empty().then_some(());
            }
        }
    }

    /// One scalar, or the brackets and names up to the first scalar or empty list or object inside.
    fn value(&mut self) -> Option<()> {
        loop {
            self.skip_space();
            match *self.rest.first()? {
                b'{' => {
                    self.open(b'{')?;
                    if self.rest.first() == Some(&b'}') {
                        return Some(());
                    }
                    self.name()?;
                }
                b'[' => {
                    self.open(b'[')?;
                    if self.rest.first() == Some(&b']') {
                        return Some(());
                    }
                }
                b'"' => return self.string().map(|_| ()),
                b't' => return self.literal(b"true"),
                b'f' => return self.literal(b"false"),
                b'n' => return self.literal(b"null"),
                _ => return self.number(),
            }
        }
    }

    fn open(&mut self, bracket: u8) -> Option<()> {
        if self.scratch.open.len() >= self.max_depth as usize {
            return None;
        }
        self.scratch.open.push((bracket == b'{').then(|| self.members.mark()));
        self.bump();
        self.skip_space();
        Some(())
    }

    /// Commas and closing brackets, up to the next value or the end.
    fn after_value(&mut self) -> Option<Next> {
        loop {
            self.skip_space();
            let Some(open) = self.scratch.open.last().copied() else { return Some(Next::End) };
            match (self.rest.first()?, open) {
                (b',', None) => {
                    self.bump();
                    return Some(Next::Value);
                }
                (b',', Some(_)) => {
                    self.bump();
                    self.skip_space();
                    self.name()?;
                    return Some(Next::Value);
                }
                (b']', None) => self.bump(),
                (b'}', Some(mark)) => {
                    if self.members.mark() > mark {
                        self.out.push(b',');
                        self.members.finish_object(self.out, mark, 0);
                    }
                    finish(self.out, b'}');
                    self.rest = self.rest.get(1..)?;
                }
                _ => return None,
            }
            self.scratch.open.pop();
        }
    }

    fn name(&mut self) -> Option<()> {
        let start = self.out.len();
        self.members.add(start);
        if self.string()? {
            self.spell_out(start);
        }
        self.skip_space();
        if self.rest.first() != Some(&b':') {
            return None;
        }
        self.bump();
        Some(())
    }

    /// Writes the name at the end of the buffer anew without needless escapes, so that equal names have equal text.
    fn spell_out(&mut self, start: usize) {
        self.scratch.name.clear();
        unescape(self.out.get(start + 1..self.out.len() - 1).unwrap_or_default(), &mut self.scratch.name);
        self.out.truncate(start);
        text::string(self.out, &self.scratch.name);
    }

    /// Copies a string as it is. Returns whether it has escapes.
    fn string(&mut self) -> Option<bool> {
        let (quote, body) = self.rest.split_first()?;
        if *quote != b'"' {
            return None;
        }
        let mut at = 0;
        let mut has_escapes = false;
        loop {
            match *body.get(at)? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    at += escape_length(body.get(at..)?)?;
                }
                0x20.. => at += 1,
                _ => return None,
            }
        }
        self.copy(at + 2)?;
        Some(has_escapes)
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.rest.starts_with(word).then(|| self.copy(word.len())).flatten()
    }

    fn number(&mut self) -> Option<()> {
        let digits = |from: usize| {
            let count = self.rest.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (count > 0).then_some(from + count)
        };
        let integer = usize::from(self.rest.first() == Some(&b'-'));
        let mut end = digits(integer)?;
        if self.rest.get(integer) == Some(&b'0') && end > integer + 1 {
            return None;
        }
        if self.rest.get(end) == Some(&b'.') {
            end = digits(end + 1)?;
        }
        if matches!(self.rest.get(end), Some(b'e' | b'E')) {
            let signed = matches!(self.rest.get(end + 1), Some(b'+' | b'-'));
            end = digits(end + 1 + usize::from(signed))?;
        }
        self.copy(end)
    }

    fn copy(&mut self, count: usize) -> Option<()> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.out.extend_from_slice(head);
        self.rest = rest;
        Some(())
    }

    fn bump(&mut self) {
        self.copy(1);
    }

    fn skip_space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }
}

/// Bytes of the escape that `text` begins with. A surrogate must come in a pair: half of one is no character.
fn escape_length(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match hex4(text.get(2..)?)? {
            0xD800..=0xDBFF => {
                let low = text.get(6..)?;
                let low = low.starts_with(b"\\u").then(|| hex4(low.get(2..)?)).flatten()?;
                (0xDC00..=0xDFFF).contains(&low).then_some(12)
            }
            0xDC00..=0xDFFF => None,
            _ => Some(6),
        },
        _ => None,
    }
}

fn hex4(text: &[u8]) -> Option<u32> {
    text.first_chunk::<4>()?.iter().try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

/// The text that a checked JSON string stands for.
fn unescape(mut escaped: &[u8], plain: &mut Vec<u8>) {
    while let Some((byte, rest)) = escaped.split_first() {
        if *byte != b'\\' {
            plain.push(*byte);
            escaped = rest;
            continue;
        }
        let length = escape_length(escaped).unwrap_or(1);
        let unit = |at: usize| escaped.get(at..).and_then(hex4).unwrap_or_default();
        let character = match (rest.first(), length) {
            (Some(b'u'), 12) => char::from_u32(0x10000 + ((unit(2) - 0xD800) << 10) + (unit(8) - 0xDC00)),
            (Some(b'u'), _) => char::from_u32(unit(2)),
            (Some(b'b'), _) => Some('\u{8}'),
            (Some(b'f'), _) => Some('\u{c}'),
            (Some(b'n'), _) => Some('\n'),
            (Some(b'r'), _) => Some('\r'),
            (Some(b't'), _) => Some('\t'),
            (other, _) => other.map(|byte| char::from(*byte)),
        };
        let mut buffer = [0; 4];
        plain.extend_from_slice(character.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer).as_bytes());
        escaped = escaped.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
