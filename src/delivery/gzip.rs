//! gzip of request bodies, with one compressor for one body after another.

use flate2::{Compress, Compression, FlushCompress, Status};

/// zlib's level: bodies are small and many, and higher levels cost a multiple of the time for a tenth of the size. Level 1
/// of this library has no codes of its own for a body, and makes Base64 and random bytes larger than they were.
const LEVEL: u32 = 2;

/// Window of 32 KiB, as gzip has it.
const WINDOW_BITS: u8 = 15;

/// Room for head and trailer of a body that does not shrink.
const OVERHEAD: usize = 64;

/// Compresses body after body with the same state.
#[derive(Debug)]
pub struct Gzip {
    compress: Compress,
}

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip { compress: Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS) }
    }
}

impl Gzip {
    /// `body` as one gzip member; `None` if the library fails, which it does not for a whole body.
    pub fn compress(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        self.compress.reset();
        let mut out = Vec::with_capacity(body.len() / 2 + OVERHEAD);
        loop {
            let read = usize::try_from(self.compress.total_in()).ok()?;
            let before = out.len();
            let rest = body.get(read..)?;
            match self.compress.compress_vec(rest, &mut out, FlushCompress::Finish).ok()? {
                Status::StreamEnd => return Some(out),
                Status::Ok | Status::BufError if out.len() < out.capacity() && out.len() == before => return None,
                Status::Ok | Status::BufError => out.reserve((body.len() / 4).max(OVERHEAD)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn unzip(bytes: &[u8]) -> Vec<u8> {
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut back).unwrap();
        back
    }

    #[test]
    fn bodies_of_every_size_come_back_one_after_another() {
        let mut gzip = Gzip::default();
        let mut noise = 1u32;
        for size in [0, 1, 10, 300, 4_096, 70_000, 3_000_000] {
            let text: Vec<u8> = b"{\"bin\":\"value\",".iter().copied().cycle().take(size).collect();
            let random: Vec<u8> = std::iter::repeat_with(|| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .take(size)
            .collect();
            for body in [text, random] {
                let out = gzip.compress(&body).unwrap();
                assert!(out.starts_with(&[0x1f, 0x8b, 8]));
                assert_eq!(unzip(&out), body);
            }
        }
    }
}
