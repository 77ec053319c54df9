//! Replays the corpus of the fuzz targets, and mutations of it, so that what fuzzing found stays found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "../fuzz/entry/config.rs"]
mod config;
#[path = "../fuzz/entry/wire.rs"]
mod wire;

use std::path::Path;

/// Mutations of each file; the seed is fixed, so that a failure comes again.
const MUTATIONS: u64 = 400;

fn replay(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the corpus is there");
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        entry(&bytes);
        for seed in 0..MUTATIONS {
            let mutated = mutate(&bytes, seed);
            let result = std::panic::catch_unwind(|| entry(&mutated));
            assert!(result.is_ok(), "{} with seed {seed}: {mutated:02x?}", path.display());
        }
    }
}

/// One to four changes: a bit, a byte, a number's worth of bytes, a piece repeated or cut out.
fn mutate(bytes: &[u8], seed: u64) -> Vec<u8> {
    const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xc1, 0xc7, 0xdd, 0xff];
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let count = random.below((bytes.len() - at).min(9)) + 1;
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = ODD[random.below(ODD.len())],
            2 => bytes[at..at + count].fill(ODD[random.below(ODD.len())]),
            3 => {
                let piece = bytes[at..at + count].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                bytes.drain(at..at + count);
            }
        }
    }
    bytes
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

#[test]
fn frames() {
    replay("frame", wire::frame);
}

#[test]
fn messages() {
    replay("message", wire::message);
}

#[test]
fn values() {
    replay("values", wire::values);
}

#[test]
fn http1_responses() {
    replay("http1_response", ringpost::http::fuzz_http1_response);
}

/// The seeds are the examples, valid and invalid.
#[test]
fn configurations() {
    replay("../../examples/invalid", config::config);
}
