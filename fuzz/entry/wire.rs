//! What the fuzz targets of the wire call, shared with the test that replays their corpus.
//!
//! Each takes any bytes and panics when something is wrong beyond what bytes can be blamed for.

use ringpost::config::model::Format;
use ringpost::format::{Formatter, Notes};
use ringpost::record::{self, DecodeLimits, Fault};
use ringpost::wire::compressed::Inflater;
use ringpost::wire::frame::{Assembler, FrameKind, FrameLimits};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;

const FRAME_LIMITS: FrameLimits = FrameLimits { max_frame_bytes: 1 << 20 };
/// Below the nesting that serde_json reads.
const DECODE_LIMITS: DecodeLimits = DecodeLimits { max_depth: 60 };

/// A stream, cut by its first byte: the frames are the same as without cuts, and so is the end.
pub fn frame(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let whole = assemble([stream].into_iter());
    let cut = assemble(stream.chunks(usize::from(*first) + 1));
    assert_eq!(whole, cut);
    for (kind, body) in &whole.0 {
        if *kind == FrameKind::Compressed {
            let mut inflater = Inflater::new();
            let _ = inflater.inflate(body, FRAME_LIMITS);
            assert!(inflater.held_bytes() <= 3 * (1 << 20));
        } else {
            message(body);
        }
    }
}

type Frames = (Vec<(FrameKind, Vec<u8>)>, Option<String>);

fn assemble<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Frames {
    let mut assembler = Assembler::new(FRAME_LIMITS);
    let (mut frames, mut fed) = (Vec::new(), 0);
    for piece in pieces {
        fed += piece.len();
        let mut input = piece;
        loop {
            match assembler.next(&mut input) {
                Ok(Some(frame)) => frames.push((frame.kind, frame.body.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        assert!(input.is_empty());
        assert!(assembler.held_bytes() <= 2 * fed + 256, "memory follows what arrived");
    }
    (frames, None)
}

/// A message: what can be decoded is JSON with no member twice, MessagePack that is readable to its end, and the frame
/// itself, or leaves the buffer alone. All formats take or refuse a record alike.
pub fn message(data: &[u8]) {
    let Ok(record) = record::decode(data) else { return };
    for bin in record.bins {
        let _ = (bin.lut_ms(), bin.particle());
    }
    let flat = Format::FlatJson { metadata_key: "metadata".into(), stringify_map_keys: true, text: Default::default() };
    let json = Format::Json { stringify_map_keys: true, text: Default::default() };
    let message_pack = Format::MessagePack { delete_metadata: true, invalid_utf8: Default::default() };
    let mut verdicts = Vec::new();
    for format in [json, flat, message_pack, Format::Xdr] {
        let mut formatter = Formatter::new(&format, DECODE_LIMITS);
        let (mut out, mut notes) = (b"kept".to_vec(), Notes::default());
        match formatter.encode(&record, 1_700_000_000_000, &mut out, &mut notes) {
            Ok(()) => {
                let mut body = out.strip_prefix(b"kept").unwrap_or_default();
                match format {
                    Format::MessagePack { .. } => {
                        assert!(rmpv::decode::read_value(&mut body).is_ok_and(|_| body.is_empty()));
                    }
                    Format::Xdr => assert!(body.strip_prefix(&[2, 3]).is_some_and(|rest| rest[6..] == *data)),
                    _ => check_json(body),
                }
                verdicts.push(None);
            }
            Err(error) => {
                assert_eq!((&out[..], notes), (&b"kept"[..], Notes::default()));
                assert!(error.offset as usize <= data.len(), "{error}");
                verdicts.push(Some(error.fault));
            }
        }
    }
    // Flat JSON stands aside, as it does not look at a bin that has the name of the metadata; JSON alone has a limit on
    // keys inside keys.
    if let [json, _, message_pack, xdr] = verdicts[..] {
        assert_eq!(message_pack, xdr);
        assert!(json == xdr || matches!(json, Some(Fault::KeyNesting(_))), "{json:?} {xdr:?}");
    }
}

/// A bin's value: the particle type, then its bytes.
pub fn values(data: &[u8]) {
    let Some((kind, value)) = data.split_first() else { return };
    let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 2, 0, 1];
    body.extend_from_slice(b"\x00\x00\x00\x03\x00ns\x00\x00\x00\x15\x04");
    body.extend_from_slice(&[0; 20]);
    body.extend_from_slice(&(5 + value.len() as u32).to_be_bytes());
    body.extend_from_slice(&[2, *kind, 0, 1, b'v']);
    body.extend_from_slice(value);
    message(&body);
}

fn check_json(text: &[u8]) {
    if let Err(error) = serde_json::from_slice::<Strict>(text) {
        // A GeoJSON number beyond all doubles is JSON all the same.
        assert!(error.to_string().contains("number out of range"), "{error}: {}", String::from_utf8_lossy(text));
    }
}

/// Any JSON in which no object has a member twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

macro_rules! accept {
    ($($name:ident: $kind:ty),*) => {
        $(fn $name<E>(self, _: $kind) -> Result<Strict, E> { Ok(Strict) })*
    };
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    accept!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        while items.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            members.next_value::<Strict>()?;
            assert!(names.insert(name.clone()), "member {name:?} comes twice");
        }
        Ok(Strict)
    }
}
