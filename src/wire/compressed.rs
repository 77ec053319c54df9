//! Compressed messages (frame type 4): eight bytes of original size, then a zlib stream of one whole type-3 frame.
//!
//! Invariants: the claimed size is checked before anything is allocated; the output grows as it is produced and never
//! passes the claimed size by more than one byte; only a message may be inside (no nesting).

use crate::wire::frame::{FrameLimits, HEADER_SIZE};
use crate::wire::reader::Reader;
use flate2::{Decompress, FlushDecompress, Status};

/// Room for the output at first; more is added as it fills.
const FIRST_CHUNK: usize = 32 << 10;

/// An output buffer above this is given back after use ([`Inflater::give_back`]).
const KEEP_CAPACITY: usize = 256 << 10;

/// What is wrong with a compressed message. The outer frame is sound: the message is answered 10, and the connection
/// goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressedError {
    /// No room for the original size.
    #[error("a compressed message of {0} bytes has no room for its 8-byte original size")]
    Short(usize),
    /// Above the limit, or zero, in either byte order.
    #[error(
        "a compressed message claims {claimed} bytes after decompression, the limit is {limit}; if records are that large raise limits.max-frame-bytes"
    )]
    Claim {
        /// The big-endian reading.
        claimed: u64,
        /// Frame limit plus header.
        limit: u64,
    },
    /// Not zlib, or damaged.
    #[error("the zlib stream of a compressed message is damaged after {0} bytes of output")]
    Corrupt(usize),
    /// Ends early.
    #[error("a compressed message holds {produced} bytes, it claimed {claimed}")]
    TooShort {
        /// Bytes that came out.
        produced: usize,
        /// Bytes that were claimed.
        claimed: usize,
    },
    /// Goes on after what it claimed.
    #[error("a compressed message holds more than the {0} bytes that it claimed")]
    TooLong(usize),
    /// The frame inside is not one whole message.
    #[error("a compressed message must hold one whole frame of version 2 and type 3, it begins with {0:02x?}")]
    Inner([u8; HEADER_SIZE]),
}

/// Decompresses message after message with the same state and the same buffer.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    output: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater::new()
    }
}

impl Inflater {
    /// Allocates the decompressor's window (32 KiB and its tables); the output buffer comes with the first message.
    pub fn new() -> Inflater {
        Inflater { decompress: Decompress::new(true), output: Vec::new() }
    }

    /// The message body inside `body`, which is all of a type-4 frame after its header.
    ///
    /// # Errors
    /// Content faults; the inflater can be used again.
    pub fn inflate(&mut self, body: &[u8], limits: FrameLimits) -> Result<&[u8], CompressedError> {
        let mut reader = Reader::new(body);
        let size_field = reader.array().ok_or(CompressedError::Short(body.len()))?;
        let size = original_size(*size_field, limits)?;
        self.release();
        self.decompress.reset(true);
        self.run(reader.rest(), size)?;
        inner_body(self.output.get(..size).unwrap_or_default(), size)
    }

    /// Gives back what one large message took.
    pub fn give_back(&mut self) {
        self.release();
    }

    /// Bytes held on the heap for output.
    pub const fn held_bytes(&self) -> usize {
        self.output.capacity()
    }

    /// Fills `output` with `size` bytes. One byte of room more than that shows a stream that would go on.
    fn run(&mut self, stream: &[u8], size: usize) -> Result<(), CompressedError> {
        let mut produced = 0;
        let mut used = 0;
        loop {
            self.make_room(produced, size + 1);
            let room = self.output.get_mut(produced..).unwrap_or_default();
            let before = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress(stream.get(used..).unwrap_or_default(), room, FlushDecompress::None)
                .map_err(|_| CompressedError::Corrupt(produced))?;
            let read = (self.decompress.total_in() - before.0) as usize;
            let written = (self.decompress.total_out() - before.1) as usize;
            used += read;
            produced += written;
            if produced > size {
                return Err(CompressedError::TooLong(size));
            }
            match status {
                Status::StreamEnd if produced == size => return Ok(()),
                Status::StreamEnd => return Err(CompressedError::TooShort { produced, claimed: size }),
                // Room was left and nothing moved: the stream is cut off.
                _ if read == 0 && written == 0 => {
                    return Err(CompressedError::TooShort { produced, claimed: size });
                }
                _ => {}
            }
        }
    }

    /// Room behind `produced`: what the buffer has already, else twice as much, at most `most`.
    fn make_room(&mut self, produced: usize, most: usize) {
        if produced < self.output.len() {
            return;
        }
        let target = (produced * 2).max(FIRST_CHUNK).min(most);
        self.output.resize(target, 0);
    }

    fn release(&mut self) {
        self.output.clear();
        if self.output.capacity() > KEEP_CAPACITY {
            self.output = Vec::new();
        }
    }
}

/// Bytes that a compressed message whose body begins with `first` says to have when it is not; `None` if it is refused for
/// what it says.
pub fn claimed_bytes(first: [u8; 8], limits: FrameLimits) -> Option<usize> {
    original_size(first, limits).ok()
}

/// The claimed size: the big-endian reading if it is within the limit, else the little-endian one (old peers). For
/// limits below 4 GiB both can be legal only for 0, which is not (xdr-protocol.md 1.2).
fn original_size(field: [u8; 8], limits: FrameLimits) -> Result<usize, CompressedError> {
    let limit = u64::from(limits.max_frame_bytes) + HEADER_SIZE as u64;
    let claimed = u64::from_be_bytes(field);
    [claimed, u64::from_le_bytes(field)]
        .into_iter()
        .find(|size| (1..=limit).contains(size))
        .and_then(|size| usize::try_from(size).ok())
        .ok_or(CompressedError::Claim { claimed, limit })
}

/// The body of the frame that fills `frame`.
fn inner_body(frame: &[u8], size: usize) -> Result<&[u8], CompressedError> {
    let mut first = [0; HEADER_SIZE];
    first.iter_mut().zip(frame).for_each(|(to, from)| *to = *from);
    let mut reader = Reader::new(frame);
    let expected = (0x0203_u64 << 48) | (size as u64).saturating_sub(HEADER_SIZE as u64);
    match reader.u64() {
        Some(header) if header == expected => Ok(reader.rest()),
        _ => Err(CompressedError::Inner(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIMITS: FrameLimits = FrameLimits { max_frame_bytes: 16 << 20 };

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 3, 0, 0];
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn compressed(size: u64, content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(size.to_be_bytes().to_vec(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn messages_of_every_size_come_out_as_they_went_in() {
        let mut inflater = Inflater::new();
        for length in [0, 1, 100, FIRST_CHUNK - 9, FIRST_CHUNK - 8, FIRST_CHUNK - 7, FIRST_CHUNK, 300_000, 3_000_000] {
            let body: Vec<u8> = (0..length).map(|at| (at * at / 7) as u8).collect();
            let inner = frame(&body);
            let size = inner.len() as u64;
            assert_eq!(inflater.inflate(&compressed(size, &inner), LIMITS).unwrap(), body);
            let mut little = compressed(size, &inner);
            little[..8].reverse();
            assert_eq!(inflater.inflate(&little, LIMITS).unwrap(), body);
        }
    }

    #[test]
    fn a_size_that_lies_is_refused_in_both_directions() {
        let inner = frame(&[9; 500]);
        let size = inner.len() as u64;
        let mut inflater = Inflater::new();
        let error = inflater.inflate(&compressed(size - 1, &inner), LIMITS).unwrap_err();
        assert_eq!(error, CompressedError::TooLong(507));
        let error = inflater.inflate(&compressed(size + 1, &inner), LIMITS).unwrap_err();
        assert_eq!(error, CompressedError::TooShort { produced: 508, claimed: 509 });
        assert_eq!(inflater.inflate(&compressed(size, &inner), LIMITS).unwrap(), [9; 500]);
    }

    #[test]
    fn a_claim_above_the_limit_allocates_nothing() {
        let mut inflater = Inflater::new();
        for claim in [0, (16 << 20) + 9, (1 << 40) + 1, u64::MAX] {
            let error = inflater.inflate(&compressed(claim, &frame(b"x")), LIMITS).unwrap_err();
            assert!(matches!(error, CompressedError::Claim { .. }), "{claim}: {error}");
        }
        assert_eq!(inflater.held_bytes(), 0);
    }

    #[test]
    fn a_bomb_stops_at_its_claim() {
        let mut inflater = Inflater::new();
        let error = inflater.inflate(&compressed(1024, &vec![0; 8 << 20]), LIMITS).unwrap_err();
        assert_eq!(error, CompressedError::TooLong(1024));
        assert!(inflater.held_bytes() <= 1025);
        // A large claim over a short stream costs no more than what comes out.
        let error = inflater.inflate(&compressed(16 << 20, &frame(b"abc")), LIMITS).unwrap_err();
        assert_eq!(error, CompressedError::TooShort { produced: 11, claimed: 16 << 20 });
        assert!(inflater.held_bytes() <= FIRST_CHUNK);
    }

    #[test]
    fn damage_and_cuts_anywhere_are_errors() {
        let inner = frame(b"the quick brown fox jumps over the lazy dog, the quick brown fox");
        let whole = compressed(inner.len() as u64, &inner);
        let mut inflater = Inflater::new();
        for cut in 0..whole.len() {
            assert!(inflater.inflate(&whole[..cut], LIMITS).is_err(), "cut at {cut}");
        }
        for at in 8..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            // The last byte before the checksum ends in padding, which may change; content may not.
            if let Ok(body) = inflater.inflate(&damaged, LIMITS) {
                assert_eq!((at, body), (whole.len() - 5, &inner[HEADER_SIZE..]));
            }
        }
        assert!(inflater.inflate(&whole, LIMITS).is_ok());
    }

    #[test]
    fn only_one_whole_message_may_be_inside() {
        let mut inflater = Inflater::new();
        for (at, value) in [(0, 1), (1, 4), (7, 4)] {
            let mut inner = frame(b"abc");
            inner[at] = value;
            let error = inflater.inflate(&compressed(inner.len() as u64, &inner), LIMITS).unwrap_err();
            assert!(matches!(error, CompressedError::Inner(_)), "{error}");
        }
        assert_eq!(
            inflater.inflate(&compressed(3, &[2, 3, 0]), LIMITS),
            Err(CompressedError::Inner([2, 3, 0, 0, 0, 0, 0, 0]))
        );
    }
}
