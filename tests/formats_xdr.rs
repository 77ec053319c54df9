//! The `xdr` format of every frame of `tests/data/frames`: its bytes, and the ack classes of the JSON formats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "frames/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "shared with the tests of the other formats")]
#[path = "frames/pipeline.rs"]
mod pipeline;

use pipeline::{DECODE_LIMITS, Outcome, Written, run, run_in};
use ringpost::config::model::Format;
use ringpost::format::{ContentType, Formatter};

#[test]
fn the_body_is_the_frame_and_every_frame_has_the_ack_class_of_json() {
    let frames = corpus::all();
    assert_eq!(frames.len(), 133 + 105 + 73 + 1 + 21);
    let (mut equal, mut compressed) = (0, 0);
    for (name, frame) in frames {
        let (json, written) = (run([&frame[..]]).0, run_in(&Format::Xdr, &frame));
        let classes: Vec<_> = json.iter().map(Outcome::class).collect();
        assert_eq!(written.iter().map(Written::class).collect::<Vec<_>>(), classes, "{name}");
        let mut rest = &frame[..];
        for (json, written) in json.iter().zip(&written) {
            match (json, written) {
                (Outcome::Rejected(reason), Written::Rejected(other)) => assert_eq!(reason, other, "{name}"),
                (Outcome::Delivered { notes, .. }, Written::Delivered { sent, message, notes: written_notes }) => {
                    assert_eq!(notes.unknown_particles, written_notes.unknown_particles, "{name}");
                    if rest[1] == 4 {
                        // Compressed: the frame that is inside (the 8 bytes behind the header are its size).
                        let inside = inflated(&rest[16..]);
                        assert_eq!((sent, &sent[8..]), (&inside, &message[..]), "{name}");
                        compressed += 1;
                        continue;
                    }
                    assert_eq!(&sent[..], &rest[..sent.len()], "{name}");
                    equal += 1;
                }
                _ => {}
            }
            let size = u64::from_be_bytes(rest[..8].try_into().unwrap()) & 0xFFFF_FFFF_FFFF;
            rest = rest.get(8 + size as usize..).unwrap_or_default();
        }
    }
    assert!(equal > 250, "{equal}");
    assert_eq!(compressed, 4);
}

/// What zlib makes of `bytes`.
fn inflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn the_content_is_octets() {
    assert_eq!(Formatter::new(&Format::Xdr, DECODE_LIMITS).content_type(), ContentType::Xdr);
}
