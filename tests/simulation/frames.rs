//! XDR frames as a node sends them, by the public wire format alone. A digest names its frame, so that each sending
//! of a record can be told apart; a node would repeat the digest, which the connector does not look at.

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
    /// A compressed frame whose content cannot be inflated: 10.
    BadCompressed,
}

impl Class {
    pub fn is_delivered(self) -> bool {
        matches!(self, Class::Write | Class::Delete | Class::Compressed | Class::Large(_))
    }

    pub fn allows(self, code: u8) -> bool {
        match self {
            Class::Bad | Class::BadCompressed => matches!(code, 10 | 18),
            Class::Skip => matches!(code, 0 | 18),
            _ => matches!(code, 0 | 11 | 18),
        }
    }
}

pub fn digest(frame: u64) -> [u8; 20] {
    let mut digest = [0xA5; 20];
    digest[..8].copy_from_slice(&frame.to_be_bytes());
    digest
}

/// The frame that a digest names.
pub fn frame_of(digest: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(digest.first_chunk::<8>().copied()?);
    (digest.len() == 20 && digest[8..] == [0xA5; 12]).then_some(number)
}

/// The frame that a flat JSON body is of; checks that the body is whole and is that frame's.
pub fn frame_of_body(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let metadata = json.get("metadata")?;
    let bytes = base64_simd::STANDARD.decode_to_vec(metadata.get("digest")?.as_str()?).ok()?;
    let frame = frame_of(&bytes)?;
    let is_write = metadata.get("msg")?.as_str()? == "write";
    (!is_write || json.get("f")?.as_u64()? == frame).then_some(frame)
}

pub fn encode(frame: u64, class: Class, out: &mut Vec<u8>) {
    match class {
        Class::Write => message(frame, b"s", 12, false, out),
        Class::Large(bytes) => message(frame, b"s", bytes, false, out),
        Class::Skip => message(frame, b"<ERO~MRT", 5, false, out),
        Class::Delete => message(frame, b"s", 0, true, out),
        Class::Compressed => {
            let mut plain = Vec::new();
            message(frame, b"s", 100, false, &mut plain);
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            compressed(plain.len() as u64, &encoder.finish().unwrap(), out);
        }
        Class::Bad => {
            let start = out.len();
            message(frame, b"s", 12, false, out);
            // One more field than there is.
            out[start + 27] += 9;
        }
        Class::BadCompressed => compressed(200, &[0x55; 40], out),
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

fn message(frame: u64, set: &[u8], text: usize, delete: bool, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(text + 160);
    body.extend_from_slice(&[22, 0x10, if delete { 0x03 } else { 0x01 }, if delete { 0 } else { 0x10 }, 0, 0]);
    body.extend_from_slice(&1u32.to_be_bytes());
    body.extend_from_slice(&u32::MAX.to_be_bytes());
    body.extend_from_slice(&0u32.to_be_bytes());
    body.extend_from_slice(&4u16.to_be_bytes());
    body.extend_from_slice(&(if delete { 0u16 } else { 2 }).to_be_bytes());
    field(0, b"test", &mut body);
    field(4, &digest(frame), &mut body);
    field(1, set, &mut body);
    field(14, &500_000_000_000u64.to_be_bytes(), &mut body);
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
