//! Records in binary bodies: MessagePack messages, XDR frames, Avro containers.

use super::records::Found;
use crate::record::{DIGEST_LEN, DIGEST_TEXT_LEN, Identity};

/// Deepest nesting of MessagePack that is followed.
const DEPTH: usize = 300;

/// One message `[1, kind, payload]`, or an array of them. A payload begins with its key: `[namespace, set, digest, …]`.
pub(super) fn message_pack(body: &[u8], found: &mut Found) {
    let part = message_pack_body(&mut Reader { rest: body }, found);
    found.check(part);
}

fn message_pack_body(reader: &mut Reader<'_>, found: &mut Found) -> Option<()> {
    let whole = Reader { rest: reader.rest };
    let count = reader.array()?;
    let mut first = Reader { rest: reader.rest };
    if first.array().is_some() {
        for _ in 0..count {
            let identity = message(reader)?;
            found.add(identity);
        }
    } else {
        *reader = whole;
        let identity = message(reader)?;
        found.add(identity);
    }
    reader.rest.is_empty().then_some(())
}

/// `None`: no message; `Some(None)`: one whose digest is of no generator.
fn message(reader: &mut Reader<'_>) -> Option<Option<Identity>> {
    let parts = reader.array().filter(|parts| *parts >= 3)?;
    reader.skip(2)?;
    let fields = reader.array().filter(|fields| *fields >= 1)?;
    let key = reader.array().filter(|key| *key >= 3)?;
    reader.skip(2)?;
    let digest = reader.bytes()?;
    reader.skip(key - 3 + fields - 1 + parts - 3)?;
    Some(digest.try_into().ok().and_then(Identity::from_digest))
}

/// A MessagePack reader that knows sizes, not values.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(part)
    }

    /// A big-endian length of so many bytes.
    fn length(&mut self, bytes: usize) -> Option<usize> {
        let value = self.take(bytes)?.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    }

    /// Elements of an array; nothing is taken if it is none.
    fn array(&mut self) -> Option<usize> {
        let before = self.rest;
        let count = match self.byte()? {
            head @ 0x90..=0x9f => Some(usize::from(head & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => None,
        };
        if count.is_none() {
            self.rest = before;
        }
        count
    }

    /// The content of a `bin`.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.length(1),
            0xc5 => self.length(2),
            0xc6 => self.length(4),
            _ => None,
        }?;
        self.take(length)
    }

    /// Passes over so many values, and all that is in them.
    fn skip(&mut self, values: usize) -> Option<()> {
        // Values that are still to come, level by level: no recursion, for bodies from outside.
        let mut levels = vec![values];
        while let Some(left) = levels.last_mut() {
            let Some(less) = left.checked_sub(1) else {
                levels.pop();
                continue;
            };
            *left = less;
            let inner = self.scalar()?;
            if inner > 0 {
                (levels.len() < DEPTH).then_some(())?;
                levels.push(inner);
            }
        }
        Some(())
    }

    /// Passes over one value; how many are inside it.
    fn scalar(&mut self) -> Option<usize> {
        let head = self.byte()?;
        let (length, inner) = match head {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0x80..=0x8f => (0, 2 * usize::from(head & 0x0f)),
            0x90..=0x9f => (0, usize::from(head & 0x0f)),
            0xa0..=0xbf => (usize::from(head & 0x1f), 0),
            0xc4 | 0xd9 => (self.length(1)?, 0),
            0xc5 | 0xda => (self.length(2)?, 0),
            0xc6 | 0xdb => (self.length(4)?, 0),
            0xc7 => (self.length(1)? + 1, 0),
            0xc8 => (self.length(2)? + 1, 0),
            0xc9 => (self.length(4)? + 1, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4..=0xd8 => (1 + (1 << (head - 0xd4)), 0),
            0xdc => (0, self.length(2)?),
            0xdd => (0, self.length(4)?),
            0xde => (0, 2 * self.length(2)?),
            0xdf => (0, 2 * self.length(4)?),
            0xc1 => return None,
        };
        self.take(length)?;
        Some(inner)
    }
}

/// XDR frames one after another, or one: messages with a digest field (`xdr-protocol.md` sections 1.1, 2, 3.1).
pub(super) fn frames(body: &[u8], found: &mut Found) {
    let mut rest = body;
    while !rest.is_empty() {
        let Some((message, behind)) = frame(rest) else {
            found.corrupt = true;
            return;
        };
        found.add(digest_field(message));
        rest = behind;
    }
}

/// The first frame's message, and what stands behind it.
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const MESSAGE: [u8; 2] = [2, 3];
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let size = usize::try_from(u64::from_be_bytes(*head) & 0xFFFF_FFFF_FFFF).ok()?;
    head.starts_with(&MESSAGE).then(|| rest.split_at_checked(size))?
}

fn digest_field(message: &[u8]) -> Option<Identity> {
    const DIGEST: u8 = 4;
    let header = usize::from(*message.first()?);
    let fields = u16::from_be_bytes(*message.get(18..)?.first_chunk::<2>()?);
    let mut rest = message.get(header..)?;
    for _ in 0..fields {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (field, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        if let Some((&DIGEST, data)) = field.split_first() {
            return Identity::from_digest(data.try_into().ok()?);
        }
        rest = behind;
    }
    None
}

/// An Avro object container, or one datum. Where the digest stands depends on the schema, which is not read here: any
/// 20 bytes and any 28 letters that are a digest by their hash are taken for one, and there have to be as many of them
/// as the container says that it has objects. (A generator writes no digest into a bin.)
pub(super) fn avro(body: &[u8], found: &mut Found) {
    match body.strip_prefix(b"Obj\x01") {
        Some(rest) => {
            let part = avro_container(rest, found);
            found.check(part);
        }
        None => {
            digests(body, found);
            found.corrupt |= found.count() > 1;
        }
    }
}

fn avro_container(body: &[u8], found: &mut Found) -> Option<()> {
    let mut rest = body;
    loop {
        let entries = avro_long(&mut rest)?;
        if entries == 0 {
            break;
        }
        // A negative count is followed by the size of its entries.
        if entries < 0 {
            avro_long(&mut rest)?;
        }
        for _ in 0..2 * entries.unsigned_abs() {
            avro_bytes(&mut rest)?;
        }
    }
    let sync;
    (sync, rest) = rest.split_first_chunk::<16>()?;
    while !rest.is_empty() {
        let objects = usize::try_from(avro_long(&mut rest)?).ok()?;
        let data = avro_bytes(&mut rest)?;
        let before = found.count();
        digests(data, found);
        let marker;
        (marker, rest) = rest.split_first_chunk::<16>()?;
        if found.count() - before != objects || marker != sync {
            return None;
        }
    }
    Some(())
}

fn digests(data: &[u8], found: &mut Found) {
    let mut at = 0;
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        let binary = rest.first_chunk::<DIGEST_LEN>().and_then(Identity::from_digest).map(|id| (id, DIGEST_LEN));
        // The last character of the text is its padding.
        let letters = || rest.get(..DIGEST_TEXT_LEN).filter(|text| text.last() == Some(&b'='));
        let text = || letters().and_then(Identity::from_header).map(|id| (id, DIGEST_TEXT_LEN));
        match binary.or_else(text) {
            Some((identity, length)) => {
                found.add(Some(identity));
                at += length;
            }
            None => at += 1,
        }
    }
}

/// Zigzag, seven bits a byte, the lowest first.
fn avro_long(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

fn avro_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(avro_long(rest)?).ok()?;
    let (part, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::super::records::{Content, find};
    use super::*;
    use crate::record::{Generator, RecordSpec};

    fn digest(sequence: u64) -> [u8; DIGEST_LEN] {
        Identity { sequence, run: 1 }.digest()
    }

    fn sequences(content: Content, body: &[u8]) -> (Vec<u64>, bool) {
        let found = find(content, body);
        let corrupt = found.corrupt;
        (found.records().as_slice().iter().map(|identity| identity.sequence).collect(), corrupt)
    }

    /// A body is whole; cut anywhere, or with a byte behind it, it is corrupt.
    fn check(content: Content, body: &[u8], expected: &[u64], cuts: std::ops::Range<usize>) {
        assert_eq!(sequences(content, body), (expected.to_vec(), false));
        for end in cuts {
            assert!(sequences(content, &body[..end]).1, "cut at {end}");
        }
        assert!(sequences(content, &[body, b"\x01"].concat()).1);
    }

    /// `[1, 1, [[namespace, nil, digest, key], nil, nil, 8 bytes, [[name, 20, 0, …]]]]`.
    fn write(sequence: u64) -> Vec<u8> {
        let mut out = vec![0x93, 1, 1, 0x95, 0x94, 0xa4];
        out.extend_from_slice(b"test\xc0\xc4\x14");
        out.extend_from_slice(&digest(sequence));
        out.extend_from_slice(b"\xcf12345678\xc0\xc0\xd312345678\x91\x94\xa1n\x14\x00");
        // A list with a map with another record's digest in it.
        out.extend_from_slice(b"\x92\x81\xa1k\xc4\x14");
        out.extend_from_slice(&digest(99));
        out.extend_from_slice(b"\xd81\x01234567890123456");
        out
    }

    fn delete(sequence: u64) -> Vec<u8> {
        let mut out = b"\x93\x01\x02\x92\x94\xa1t\xa1s\xc4\x14".to_vec();
        out.extend_from_slice(&digest(sequence));
        out.extend_from_slice(b"\xc0\x01");
        out
    }

    #[test]
    fn message_pack_alone_and_in_arrays() {
        for body in [write(5), delete(5)] {
            check(Content::MessagePack, &body, &[5], 1..body.len());
        }
        let batch = [vec![0x92], write(6), delete(7)].concat();
        check(Content::MessagePack, &batch, &[6, 7], 1..batch.len());
        // Three messages are no message of three parts.
        let batch = [vec![0xdc, 0, 3], delete(1), delete(2), delete(3)].concat();
        check(Content::MessagePack, &batch, &[1, 2, 3], 1..batch.len());
    }

    #[test]
    fn nesting_without_end_is_corrupt() {
        assert!(sequences(Content::MessagePack, &vec![0x91; 1 << 20]).1);
        let mut deep = b"\x93\x01\x02\x93\x94\xa1t\xa1s\xc4\x14".to_vec();
        deep.extend_from_slice(&digest(1));
        deep.extend_from_slice(b"\xc0\x01");
        deep.resize(1 << 20, 0x91);
        assert!(sequences(Content::MessagePack, &deep).1);
    }

    #[test]
    fn frames_one_after_another() {
        let generator = Generator::new(&RecordSpec { user_key: true, ..RecordSpec::default() }).unwrap();
        let (first, second) = (generator.frame(8), generator.frame(9));
        let both = [first.clone(), second].concat();
        check(Content::Xdr, &both, &[8, 9], first.len() + 1..both.len());
        assert_eq!(sequences(Content::Xdr, &first), (vec![8], false));
        let mut damaged = both;
        damaged[first.len() + 50] ^= 1;
        assert_eq!(sequences(Content::Xdr, &damaged), (vec![8], true));
    }

    /// A container with one block of these data.
    fn container(objects: u8, data: &[u8]) -> Vec<u8> {
        let mut out = b"Obj\x01\x04\x16avro.schema\x0a\"int\"\x14avro.codec\x08null\x00".to_vec();
        out.extend_from_slice(&[0x5a; 16]);
        out.push(objects * 2);
        let length = data.len() * 2;
        out.extend_from_slice(&[(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        out.extend_from_slice(data);
        out.extend_from_slice(&[0x5a; 16]);
        out
    }

    #[test]
    fn avro_containers_hold_as_many_digests_as_objects() {
        let text = base64_simd::STANDARD.encode_to_string(digest(11));
        let data = [b"\x02a".as_slice(), &digest(10), b"\x38", text.as_bytes(), b"tail"].concat();
        let body = container(2, &data);
        let head = body.len() - data.len() - 16;
        check(Content::Avro, &body, &[10, 11], head + 1..body.len());
        assert!(sequences(Content::Avro, &container(3, &data)).1);
        assert_eq!(sequences(Content::Avro, &data[..25]), (vec![10], false), "a datum alone");
    }
}
