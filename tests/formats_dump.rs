//! Writes what the formats make of the frames to a file, for readers in other languages (`tests/python`).
//!
//! `RINGPOST_DUMP=FOLDER cargo test --test formats_dump` writes `FOLDER/formats.jsonl`: a line for each server frame and
//! each synthetic frame that is delivered, in each format. Without the variable there is nothing to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[allow(dead_code, reason = "shared with the tests of the formats")]
#[path = "frames/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "shared with the tests of the formats")]
#[path = "frames/pipeline.rs"]
mod pipeline;

use pipeline::{ARRIVAL_MS, Written, run_in};
use ringpost::config::model::{Format, InvalidUtf8};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// Each format under the name that the reader knows it by, and what the reader must know besides the body.
fn formats() -> Vec<(&'static str, Format, Value)> {
    let message_pack = |delete_metadata| Format::MessagePack { delete_metadata, invalid_utf8: InvalidUtf8::Replace };
    let (text, stringify_map_keys) = (Default::default(), true);
    vec![
        ("json", Format::Json { stringify_map_keys, text }, Value::Null),
        (
            "flat-json",
            Format::FlatJson { metadata_key: "metadata".into(), stringify_map_keys, text },
            json!({ "metadata_key": "metadata" }),
        ),
        ("message-pack", message_pack(false), json!({ "delete_metadata": false })),
        ("message-pack", message_pack(true), json!({ "delete_metadata": true })),
        // Avro joins here: ("avro", Format::Avro(…), json!({ "schema": … })), and a function in read_formats.py.
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn bodies_are_written_for_readers_in_other_languages() {
    let Some(folder) = std::env::var_os("RINGPOST_DUMP") else { return };
    let server = corpus::server_frames().into_iter().map(|(line, frame)| {
        let name = line["name"].as_str().unwrap().to_owned();
        (name, frame, line["expect"].clone())
    });
    let synthetic = corpus::synthetic().into_iter().map(|(name, frame)| (name, frame, Value::Null));
    let frames: Vec<_> = server.chain(synthetic).collect();
    let mut text = String::new();
    for (format_name, format, options) in formats() {
        for (name, frame, expect) in &frames {
            for written in run_in(&format, frame) {
                let Written::Delivered { sent, .. } = written else { continue };
                let mut line = json!({ "name": name, "format": format_name, "arrival_ms": ARRIVAL_MS });
                line["options"] = options.clone();
                line["body_hex"] = hex(&sent).into();
                line["expect"] = expect.clone();
                writeln!(text, "{line}").unwrap();
            }
        }
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(Path::new(&folder).join("formats.jsonl"), text).unwrap();
}
