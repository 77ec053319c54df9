//! Records to send: deterministic by seed, encoded once as templates, patched per record.
//!
//! Wire layout: `xdr-protocol.md` sections 1.1 (proto header), 2 (message header), 3.1 (fields), 3.3 (ops), 4
//! (particles). All integers are big-endian.

use crate::clock::mix;

/// Bytes of a digest.
pub const DIGEST_LEN: usize = 20;
/// Digest bytes as header text: 28 characters of standard Base64.
pub const DIGEST_TEXT_LEN: usize = 28;
/// Different contents that a generator cycles through; enough that nothing can cache one body.
const VARIANTS: u64 = 16;
/// Flat JSON around the bins: braces, names and the metadata members without namespace, set and padding.
const FLAT_JSON_OVERHEAD: usize = 206;

/// A record specification that cannot be encoded, or a raw frame that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// Namespace or set length outside the wire's bounds.
    #[error("{what} has {len} bytes; use {min} to {max}")]
    Name {
        /// `namespace` or `set`.
        what: &'static str,
        /// Bytes given.
        len: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
    /// A body size that no record can have.
    #[error("a body of {0} bytes is too large; use at most 8388608 (the largest record of a server)")]
    Size(usize),
    /// A raw frame without a digest field, or cut short.
    #[error("frame {0} is not a type 3 message with a digest field of 20 bytes; give whole frames with their header")]
    Frame(usize),
}

/// What to send. `RecordSpec::default()` is about 250 bytes of flat JSON with five bins.
#[derive(Debug, Clone)]
pub struct RecordSpec {
    /// 1 to 31 bytes.
    pub namespace: String,
    /// 0 to 63 bytes; empty: no set field.
    pub set: String,
    /// Contents of the bins.
    pub seed: u64,
    /// Goes into every digest, so that a sink can tell runs apart.
    pub run: u32,
    /// Approximate size of the flat JSON body; a string bin is padded to reach it.
    pub body_bytes: usize,
    /// Further integer bins beside the five (`seq`, `name`, `price`, `active`, `note`).
    pub extra_bins: usize,
    /// Sends the sequence number as user key.
    pub user_key: bool,
    /// If not empty, these frames (whole, with proto header) are sent in turn instead of generated ones; only their
    /// digest is replaced, so that the ledger knows them.
    pub frames: Vec<Vec<u8>>,
}

impl Default for RecordSpec {
    fn default() -> RecordSpec {
        RecordSpec {
            namespace: String::from("test"),
            set: String::from("demo"),
            seed: 1,
            run: 1,
            body_bytes: 250,
            extra_bins: 0,
            user_key: false,
            frames: Vec::new(),
        }
    }
}

/// Which record of which run a digest names: bytes 0 to 7 sequence, 8 to 11 run, 12 to 19 a hash of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Counts from 0 in the order of first sending.
    pub sequence: u64,
    /// [`RecordSpec::run`].
    pub run: u32,
}

impl Identity {
    /// The digest of this record.
    pub fn digest(self) -> [u8; DIGEST_LEN] {
        let mut digest = [0; DIGEST_LEN];
        let (sequence, rest) = digest.split_at_mut(8);
        let (run, hash) = rest.split_at_mut(4);
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        run.copy_from_slice(&self.run.to_be_bytes());
        hash.copy_from_slice(&self.hash().to_be_bytes());
        digest
    }

    /// The record of a digest, or `None` when a generator did not make it (or it was damaged on the way).
    pub fn from_digest(digest: &[u8; DIGEST_LEN]) -> Option<Identity> {
        let (sequence, rest) = digest.split_first_chunk::<8>()?;
        let (run, rest) = rest.split_first_chunk::<4>()?;
        let (hash, _) = rest.split_first_chunk::<8>()?;
        let identity = Identity { sequence: u64::from_be_bytes(*sequence), run: u32::from_be_bytes(*run) };
        (identity.hash() == u64::from_be_bytes(*hash)).then_some(identity)
    }

    /// The record of an `aerospike-digest` header: standard Base64 with padding.
    pub fn from_header(value: &[u8]) -> Option<Identity> {
        let mut digest = [0; DIGEST_LEN + 1];
        let text: &[u8; DIGEST_TEXT_LEN] = value.try_into().ok()?;
        let out = base64_simd::Out::from_slice(&mut digest);
        let decoded = base64_simd::STANDARD.decode(text, out).ok()?;
        Identity::from_digest((&*decoded).try_into().ok()?)
    }

    fn hash(self) -> u64 {
        mix(self.sequence ^ mix(u64::from(self.run)))
    }
}

/// A frame with the places that differ from record to record.
#[derive(Debug, Clone)]
struct Template {
    bytes: Vec<u8>,
    digest_at: usize,
    lut_at: Option<usize>,
    sequence_at: [Option<usize>; 2],
}

impl Template {
    fn write(&self, identity: Identity, lut: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let Some(frame) = out.get_mut(start..) else { return };
        patch(frame, Some(self.digest_at), &identity.digest());
        patch(frame, self.lut_at, &lut.to_be_bytes());
        for place in self.sequence_at {
            patch(frame, place, &identity.sequence.to_be_bytes());
        }
    }
}

fn patch(frame: &mut [u8], at: Option<usize>, value: &[u8]) {
    if let Some(at) = at
        && let Some(place) = frame.get_mut(at..at + value.len())
    {
        place.copy_from_slice(value);
    }
}

/// Writes the frame of any sequence number, at any time, always the same (last-update time aside).
#[derive(Debug, Clone)]
pub struct Generator {
    run: u32,
    templates: Vec<Template>,
}

impl Generator {
    /// Encodes the templates.
    ///
    /// # Errors
    /// When a name or the size does not fit the wire, or a raw frame has no digest.
    pub fn new(spec: &RecordSpec) -> Result<Generator, RecordError> {
        check_len("namespace", spec.namespace.len(), 1, 31)?;
        check_len("set", spec.set.len(), 0, 63)?;
        if spec.body_bytes > 8 << 20 {
            return Err(RecordError::Size(spec.body_bytes));
        }
        let templates = if spec.frames.is_empty() {
            (0..VARIANTS).map(|variant| generated(spec, variant)).collect()
        } else {
            let raw = spec.frames.iter().enumerate();
            raw.map(|(index, bytes)| raw_template(bytes).ok_or(RecordError::Frame(index))).collect::<Result<_, _>>()?
        };
        Ok(Generator { run: spec.run, templates })
    }

    /// Who a sequence number is.
    pub fn identity(&self, sequence: u64) -> Identity {
        Identity { sequence, run: self.run }
    }

    /// Appends the frame of `sequence`; `lut` in milliseconds since 2010.
    pub fn write(&self, sequence: u64, lut: u64, out: &mut Vec<u8>) {
        let count = self.templates.len().max(1) as u64;
        let index = usize::try_from(sequence % count).unwrap_or(0);
        if let Some(template) = self.templates.get(index) {
            template.write(self.identity(sequence), lut, out);
        }
    }

    /// The frame of `sequence` with the last-update time of now.
    pub fn frame(&self, sequence: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(sequence, crate::clock::lut_now(), &mut out);
        out
    }
}

fn check_len(what: &'static str, len: usize, min: usize, max: usize) -> Result<(), RecordError> {
    if (min..=max).contains(&len) { Ok(()) } else { Err(RecordError::Name { what, len, min, max }) }
}

/// Particle types of `xdr-protocol.md` section 4.
mod particle {
    pub(super) const INTEGER: u8 = 1;
    pub(super) const FLOAT: u8 = 2;
    pub(super) const STRING: u8 = 3;
    pub(super) const BOOL: u8 = 17;
}

/// Field types of `xdr-protocol.md` section 3.1.
mod field {
    pub(super) const NAMESPACE: u8 = 0;
    pub(super) const SET: u8 = 1;
    pub(super) const KEY: u8 = 2;
    pub(super) const DIGEST: u8 = 4;
    pub(super) const LUT: u8 = 14;
}

/// Order of fields as in the one public capture: namespace, digest, set, key, last-update time.
fn generated(spec: &RecordSpec, variant: u64) -> Template {
    let random = mix(spec.seed ^ mix(variant));
    let mut fields = 3;
    let mut frame = vec![0; 30];
    put_field(&mut frame, field::NAMESPACE, spec.namespace.as_bytes());
    let digest_at = put_field(&mut frame, field::DIGEST, &[0; DIGEST_LEN]);
    if !spec.set.is_empty() {
        put_field(&mut frame, field::SET, spec.set.as_bytes());
        fields += 1;
    }
    let mut key_at = None;
    if spec.user_key {
        let mut key = [0; 9];
        key[0] = particle::INTEGER;
        key_at = Some(put_field(&mut frame, field::KEY, &key) + 1);
        fields += 1;
    }
    let lut_at = put_field(&mut frame, field::LUT, &[0; 8]);

    let sequence_at = put_bin(&mut frame, "seq", particle::INTEGER, &[0; 8]);
    let name = format!("user-{:08x}", random >> 32);
    put_bin(&mut frame, "name", particle::STRING, name.as_bytes());
    let price = 10.0 + (random % 90_000) as f64 / 1_000.0;
    put_bin(&mut frame, "price", particle::FLOAT, &price.to_be_bytes());
    put_bin(&mut frame, "active", particle::BOOL, &[(random & 1) as u8]);
    let used = FLAT_JSON_OVERHEAD + spec.namespace.len() + spec.set.len() + spec.extra_bins * 12;
    let note = text(random, spec.body_bytes.saturating_sub(used).max(1));
    put_bin(&mut frame, "note", particle::STRING, note.as_bytes());
    for bin in 0..spec.extra_bins {
        let value = i64::try_from(mix(random ^ bin as u64) % 1_000).unwrap_or(0);
        put_bin(&mut frame, &format!("n{bin}"), particle::INTEGER, &value.to_be_bytes());
    }
    put_header(&mut frame, fields, 5 + spec.extra_bins);
    Template { bytes: frame, digest_at, lut_at: Some(lut_at), sequence_at: [Some(sequence_at), key_at] }
}

/// Proto header and message header into the first 30 bytes: a write that replaces, generation 1, never expires.
fn put_header(frame: &mut [u8], fields: u16, ops: usize) {
    let size = (frame.len() - 8) as u64;
    patch(frame, Some(0), &size.to_be_bytes());
    patch(frame, Some(0), &[2, 3]);
    patch(frame, Some(8), &[22, 0x10, 0x01, 0x10, 0, 0]);
    patch(frame, Some(14), &1u32.to_be_bytes());
    patch(frame, Some(18), &u32::MAX.to_be_bytes());
    patch(frame, Some(26), &fields.to_be_bytes());
    patch(frame, Some(28), &u16::try_from(ops).unwrap_or(u16::MAX).to_be_bytes());
}

/// Appends a field; returns where its data starts.
fn put_field(frame: &mut Vec<u8>, kind: u8, data: &[u8]) -> usize {
    frame.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
    frame.push(kind);
    let at = frame.len();
    frame.extend_from_slice(data);
    at
}

/// Appends a write op; returns where its value starts.
fn put_bin(frame: &mut Vec<u8>, name: &str, particle: u8, value: &[u8]) -> usize {
    const WRITE: u8 = 2;
    frame.extend_from_slice(&((4 + name.len() + value.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&[WRITE, particle, 0, name.len() as u8]);
    frame.extend_from_slice(name.as_bytes());
    let at = frame.len();
    frame.extend_from_slice(value);
    at
}

/// `len` characters that need no escape in JSON.
fn text(seed: u64, len: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz      ";
    let letter = |at: usize| {
        let word = mix(seed ^ at as u64);
        LETTERS.get((word % 32) as usize).map_or('a', |letter| char::from(*letter))
    };
    (0..len).map(letter).collect()
}

/// Finds digest and last-update time of a foreign frame; `None` if it is not a whole type 3 message with a digest.
fn raw_template(bytes: &[u8]) -> Option<Template> {
    let size = u64::from_be_bytes(*bytes.first_chunk::<8>()?) & 0xFFFF_FFFF_FFFF;
    if bytes.first_chunk::<2>()? != &[2, 3] || size + 8 != bytes.len() as u64 {
        return None;
    }
    let fields = u16::from_be_bytes(*bytes.get(26..)?.first_chunk::<2>()?);
    let (mut at, mut digest_at, mut lut_at) = (30, None, None);
    for _ in 0..fields {
        let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        match (*rest.first()?, length) {
            (field::DIGEST, 21) => digest_at = Some(at + 5),
            (field::LUT, 9) => lut_at = Some(at + 5),
            _ => {}
        }
        at = at.checked_add(4)?.checked_add(length)?;
    }
    Some(Template { bytes: bytes.to_vec(), digest_at: digest_at?, lut_at, sequence_at: [None, None] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_digest_names_its_record_and_a_damaged_one_names_none() {
        let identity = Identity { sequence: 0x0102_0304_0506_0708, run: 9 };
        let digest = identity.digest();
        assert_eq!(digest[..12], hex("010203040506070800000009")[..]);
        assert_eq!(Identity::from_digest(&digest), Some(identity));
        for byte in 0..DIGEST_LEN {
            let mut damaged = digest;
            damaged[byte] ^= 1;
            assert_eq!(Identity::from_digest(&damaged), None, "byte {byte}");
        }
    }

    #[test]
    fn the_header_text_is_standard_base64_with_padding() {
        let identity = Identity { sequence: 7, run: 1 };
        let text = base64_simd::STANDARD.encode_to_string(identity.digest());
        assert_eq!(text.len(), DIGEST_TEXT_LEN);
        assert_eq!(Identity::from_header(text.as_bytes()), Some(identity));
        assert_eq!(Identity::from_header(b"short"), None);
        assert_eq!(Identity::from_header(&[b'!'; 28]), None);
        // 28 characters of 21 bytes are no digest.
        assert_eq!(Identity::from_header(base64_simd::STANDARD.encode_to_string([0; 21]).as_bytes()), None);
    }

    /// The one public frame of a real server (`frames/captured-01.md`), with what our writer has in common with it.
    const CAPTURED: &str = "020300000000007a161001100000000000020027\
        8d0000000000000500010000000b00736f757263652d6e73310000001504ffe3edca38f4eb05bdcf1d009f13a6ab8e71273b\
        00000005017365743100000\
        00a0201000000000000030900000009\
        0e0000006dc9dd699800000014020300\
        01617a7a7a7a7a7a7a7a7a7a7a7a7a7a7a";

    #[test]
    fn a_raw_frame_keeps_all_but_digest_and_last_update_time() {
        let captured = hex(&CAPTURED.replace([' ', '\n'], ""));
        assert_eq!(captured.len(), 130);
        let spec = RecordSpec { frames: vec![captured.clone()], ..RecordSpec::default() };
        let generator = Generator::new(&spec).unwrap();
        let mut frame = Vec::new();
        generator.write(5, 0x6d_c9dd_6998, &mut frame);
        assert_eq!(frame[..50], captured[..50]);
        assert_eq!(frame[50..70], generator.identity(5).digest());
        assert_eq!(frame[70..], captured[70..]);
    }

    #[test]
    fn a_frame_without_a_digest_is_refused_with_its_number() {
        let mut captured = hex(&CAPTURED.replace([' ', '\n'], ""));
        captured[49] = 5;
        let spec = RecordSpec { frames: vec![captured], ..RecordSpec::default() };
        assert_eq!(Generator::new(&spec).unwrap_err(), RecordError::Frame(0));
    }

    #[test]
    fn a_generated_frame_walks_as_the_wire_page_says() {
        let generator = Generator::new(&RecordSpec { user_key: true, ..RecordSpec::default() }).unwrap();
        let frame = generator.frame(77);
        assert_eq!(frame[..2], [2, 3]);
        assert_eq!(u64::from_be_bytes(frame[..8].try_into().unwrap()) & 0xFFFF_FFFF_FFFF, frame.len() as u64 - 8);
        let count = |at: usize| usize::from(u16::from_be_bytes(frame[at..at + 2].try_into().unwrap()));
        let long = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
        let mut at = 30;
        for _ in 0..count(26) {
            at += 4 + long(at);
        }
        let mut names = Vec::new();
        for _ in 0..count(28) {
            let name = usize::from(frame[at + 7]);
            names.push(String::from_utf8(frame[at + 8..at + 8 + name].to_vec()).unwrap());
            if names.last().unwrap() == "seq" {
                assert_eq!(frame[at + 8 + name..at + 4 + long(at)], 77u64.to_be_bytes());
            }
            at += 4 + long(at);
        }
        assert_eq!(at, frame.len());
        assert_eq!(names, ["seq", "name", "price", "active", "note"]);
    }

    #[test]
    fn the_same_seed_gives_the_same_frames_and_another_one_others() {
        let frames = |seed| {
            let generator = Generator::new(&RecordSpec { seed, ..RecordSpec::default() }).unwrap();
            let mut out = Vec::new();
            (0..40).for_each(|sequence| generator.write(sequence, 1, &mut out));
            out
        };
        assert_eq!(frames(3), frames(3));
        assert_ne!(frames(3), frames(4));
    }

    #[test]
    fn sizes_and_names_outside_the_wire_are_refused() {
        let named = |namespace: &str| RecordSpec { namespace: namespace.to_owned(), ..RecordSpec::default() };
        let refused = Generator::new(&named("")).unwrap_err().to_string();
        assert_eq!(refused, "namespace has 0 bytes; use 1 to 31");
        assert!(Generator::new(&named(&"x".repeat(32))).is_err());
        assert!(Generator::new(&RecordSpec { body_bytes: 9 << 20, ..RecordSpec::default() }).is_err());
    }
}
