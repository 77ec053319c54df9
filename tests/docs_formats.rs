//! The bytes that `docs/formats.md` shows are those that the program writes.
//!
//! To write the page's blocks anew, after reading the difference: `RINGPOST_ACCEPT=1 cargo test --test docs_formats`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use std::fmt::Write;
use std::path::Path;

use ringpost::config::model::{Avro, BatchBody, Format, InvalidUtf8, TextRules};
use ringpost::format::{AvroSchema, Formatter, Framing, Notes};
use ringpost::record::{self, DecodeLimits};

const PAGE: &str = include_str!("../docs/formats.md");
const SCHEMA: &str = include_str!("../examples/schemas/formats-page.avsc");
const ARRIVAL_MS: u64 = 1_700_000_000_000;
const LIMITS: DecodeLimits = DecodeLimits { max_depth: 256 };

fn field(message: &mut Vec<u8>, kind: u8, data: &[u8]) {
    message.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(data);
}

fn bin(message: &mut Vec<u8>, name: &str, particle: u8, value: &[u8]) {
    message.extend_from_slice(&((4 + name.len() + value.len()) as u32).to_be_bytes());
    message.extend_from_slice(&[2, particle, 0, name.len() as u8]);
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(value);
}

/// Header, fields and, for a write, bins (xdr-protocol.md 2 and 3).
fn message(is_write: bool) -> Vec<u8> {
    let (info2, bins) = if is_write { (0x01, 9) } else { (0x03, 0) };
    let mut message = vec![22, 0x10, info2, 0, 0, 0];
    message.extend_from_slice(&3u32.to_be_bytes());
    message.extend_from_slice(&(if is_write { 30 * 86_400u32 } else { 0 }).to_be_bytes());
    message.extend_from_slice(&[0, 0, 0, 0, 0, 5, 0, bins]);
    field(&mut message, 0, b"test");
    field(&mut message, 1, b"users");
    field(&mut message, 2, b"\x03u-1");
    let digest: Vec<u8> = (1..=20).map(|byte| byte * 11).collect();
    field(&mut message, 4, &digest);
    field(&mut message, 14, &(1_733_842_166_168u64 - 1_262_304_000_000).to_be_bytes());
    if is_write {
        bin(&mut message, "count", 1, &42u64.to_be_bytes());
        bin(&mut message, "ratio", 2, &0.25f64.to_be_bytes());
        bin(&mut message, "active", 17, &[1]);
        bin(&mut message, "name", 3, "Zoë".as_bytes());
        bin(&mut message, "raw", 4, &[0, 0xff]);
        // [1, "a", nil]
        bin(&mut message, "list", 20, &[0x93, 0x01, 0xa2, 3, b'a', 0xc0]);
        // {"x": 1, "y": 2}, ordered by key: an extension element comes first.
        bin(&mut message, "map", 19, &[0x83, 0xc7, 0, 1, 0xc0, 0xa2, 3, b'x', 1, 0xa2, 3, b'y', 2]);
        bin(&mut message, "place", 23, b"\0\0\0{\"type\":\"Point\",\"coordinates\":[8.5,47.4]}");
        bin(&mut message, "gone", 0, &[]);
    }
    message
}

fn format(name: &str) -> Format {
    let text = TextRules::default();
    match name {
        "json" => Format::Json { stringify_map_keys: true, text },
        "flat-json" => Format::FlatJson { metadata_key: "metadata".into(), stringify_map_keys: true, text },
        "message-pack" => Format::MessagePack { delete_metadata: false, invalid_utf8: InvalidUtf8::Replace },
        "avro" => Format::Avro(Avro {
            schema: AvroSchema::parse(SCHEMA).unwrap(),
            schema_file: None,
            metadata_key: None,
            stringify_map_keys: true,
            invalid_utf8: InvalidUtf8::Replace,
        }),
        "xdr" => Format::Xdr,
        other => panic!("{other}"),
    }
}

/// One record, or a batch of a write and a delete.
fn body(format: &Format, kind: &str) -> Vec<u8> {
    let mut formatter = Formatter::new(format, LIMITS);
    let framing = Framing::new(format, BatchBody::Array);
    let mut out = Vec::new();
    let kinds: &[bool] = match kind {
        "write" => &[true],
        "delete" => &[false],
        "batch" => &[false, false],
        other => panic!("{other}"),
    };
    if kind == "batch" {
        out.resize(framing.room(), 0);
    }
    for is_write in kinds {
        let message = message(*is_write);
        let record = record::decode(&message).unwrap();
        formatter.encode(&record, ARRIVAL_MS, &mut out, &mut Notes::default()).unwrap();
        if kind == "batch" {
            framing.separate(&mut out);
        }
    }
    if kind == "batch" {
        let start = framing.finish(&mut out, kinds.len() as u32);
        out.drain(..start);
    }
    out
}

/// Text as it is, bytes as a dump.
fn shown(name: &str, body: &[u8]) -> String {
    if name.contains("json") {
        return format!("```json\n{}\n```\n", std::str::from_utf8(body).unwrap());
    }
    let mut text = String::from("```text\n");
    for (line, bytes) in body.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String =
            bytes.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
        writeln!(text, "{:04x}  {:<47}  {ascii}", line * 16, hex.join(" ")).unwrap();
    }
    text + "```\n"
}

/// The page with every block as the program writes it.
fn page() -> (String, usize) {
    let mut out = String::new();
    let mut blocks = 0;
    let mut lines = PAGE.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").unwrap();
        let Some(what) = line.strip_prefix("<!-- bytes: ").and_then(|rest| rest.strip_suffix(" -->")) else { continue };
        blocks += 1;
        let (name, kind) = what.split_once(' ').unwrap();
        out.push_str(&shown(name, &body(&format(name), kind)));
        if lines.peek().is_some_and(|next| next.starts_with("```")) {
            lines.next();
            lines.by_ref().find(|line| *line == "```");
        }
    }
    (out, blocks)
}

#[test]
fn the_page_shows_what_the_program_writes() {
    let (page, blocks) = page();
    assert!(blocks >= 12);
    if std::env::var_os("RINGPOST_ACCEPT").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md"), page).unwrap();
        return;
    }
    for (line, (written, shown)) in page.lines().zip(PAGE.lines()).enumerate() {
        assert_eq!(written, shown, "line {}", line + 1);
    }
    assert_eq!(page.len(), PAGE.len());
}
