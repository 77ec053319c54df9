//! XDR frames as a node sends them, by the public wire format alone. A digest names its frame, so that each sending
//! of a record can be told apart; a node would repeat the digest. Where records are ordered, the digest names a key, and the
//! generation the frame.

use std::io::Write;

/// What a record is, and so which codes it may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Write,
    Delete,
    /// A write inside a compressed frame.
    Compressed,
    /// A write with a string of so many bytes.
    Large(usize),
    /// A record of the transaction monitor set: 0, and nothing is sent.
    Skip,
    /// A message whose content cannot be decoded: 10.
    Bad,
    /// A message with a bin that cannot be read: that is seen when half of its body is written.
    BadBin,
    /// A compressed frame whose content cannot be inflated: 10.
    BadCompressed,
}

impl Class {
    pub fn is_delivered(self) -> bool {
        matches!(self, Class::Write | Class::Delete | Class::Compressed | Class::Large(_))
    }

    pub fn is_bad(self) -> bool {
        matches!(self, Class::Bad | Class::BadBin | Class::BadCompressed)
    }
}

pub fn digest(frame: u64) -> [u8; 20] {
    let mut digest = [0xA5; 20];
    digest[..8].copy_from_slice(&frame.to_be_bytes());
    digest
}

/// Which record a frame is of, where that matters, and its last-update time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub key: u64,
    pub lut: u64,
}

pub fn digest_of_key(key: u64) -> [u8; 20] {
    let mut digest = [0x5A; 20];
    digest[..8].copy_from_slice(&key.to_be_bytes());
    digest
}

/// The frame that digest and generation name.
pub fn frame_by(digest: &[u8], generation: Option<u64>) -> Option<u64> {
    if digest.len() == 20 && digest[8..] == [0x5A; 12] {
        return generation?.checked_sub(1);
    }
    frame_of(digest)
}

/// The frame that a digest names.
pub fn frame_of(digest: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(digest.first_chunk::<8>().copied()?);
    (digest.len() == 20 && digest[8..] == [0xA5; 12]).then_some(number)
}

/// The frame that these bytes are of, by the digest or what a frame without one has instead.
pub fn frame_in(bytes: &[u8]) -> Option<u64> {
    // The last place of several: the number may end in the same byte.
    let at = bytes.windows(12).rposition(|window| window == [0xA5; 12])?;
    frame_of(bytes.get(at.checked_sub(8)?..at + 12)?)
}

pub fn encode(frame: u64, class: Class, names: (&str, &str), version: Option<Version>, out: &mut Vec<u8>) {
    match class {
        Class::Write => message(frame, names, 12, (false, version), out),
        Class::Large(bytes) => message(frame, names, bytes, (false, version), out),
        Class::Skip => message(frame, (names.0, "<ERO~MRT"), 5, (false, None), out),
        Class::Delete => message(frame, names, 0, (true, version), out),
        Class::Compressed => {
            let mut plain = Vec::new();
            message(frame, names, 100, (false, version), &mut plain);
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            compressed(plain.len() as u64, &encoder.finish().unwrap(), out);
        }
        Class::Bad => {
            let start = out.len();
            message(frame, names, 12, (false, version), out);
            // More fields than there are.
            out[start + 27] += 9;
        }
        Class::BadBin => {
            let start = out.len();
            message(frame, names, 12, (false, version), out);
            // The last bin becomes a list of nothing that a list is made of.
            let particle = out.len() - (12 + 1 + 3);
            assert_eq!(out[start..][particle - start], 3);
            out[particle] = 20;
        }
        Class::BadCompressed => {
            let mut stream = vec![0x55; 10];
            stream.extend_from_slice(&digest(frame));
            stream.extend_from_slice(&[0x55; 10]);
            compressed(200, &stream, out);
        }
    }
}

fn compressed(size: u64, stream: &[u8], out: &mut Vec<u8>) {
    header(4, 8 + stream.len(), out);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(stream);
}

fn header(kind: u8, size: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&(size as u64).to_be_bytes());
    out[at] = 2;
    out[at + 1] = kind;
}

fn message(
    frame: u64,
    names: (&str, &str),
    text: usize,
    (delete, version): (bool, Option<Version>),
    out: &mut Vec<u8>,
) {
    let (namespace, set) = names;
    let mut body = Vec::with_capacity(text + 160);
    body.extend_from_slice(&[22, 0x10, if delete { 0x03 } else { 0x01 }, if delete { 0 } else { 0x10 }, 0, 0]);
    let generation = if version.is_some() { frame as u32 + 1 } else { 1 };
    body.extend_from_slice(&generation.to_be_bytes());
    body.extend_from_slice(&u32::MAX.to_be_bytes());
    body.extend_from_slice(&0u32.to_be_bytes());
    body.extend_from_slice(&(if set.is_empty() { 3u16 } else { 4 }).to_be_bytes());
    body.extend_from_slice(&(if delete { 0u16 } else { 2 }).to_be_bytes());
    field(0, namespace.as_bytes(), &mut body);
    field(4, &version.map_or(digest(frame), |version| digest_of_key(version.key)), &mut body);
    if !set.is_empty() {
        field(1, set.as_bytes(), &mut body);
    }
    field(14, &version.map_or(500_000_000_000, |version| version.lut).to_be_bytes(), &mut body);
    if !delete {
        bin(b"f", 1, &frame.to_be_bytes(), &mut body);
        bin(b"t", 3, &vec![b'x'; text], &mut body);
    }
    header(3, body.len(), out);
    out.extend_from_slice(&body);
}

fn field(kind: u8, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(data);
}

fn bin(name: &[u8], particle: u8, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&((4 + name.len() + value.len()) as u32).to_be_bytes());
    out.extend_from_slice(&[2, particle, 0, name.len() as u8]);
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}
