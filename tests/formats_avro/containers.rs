//! Object container files: one block of several records, read by apache-avro.

use super::dump;
use super::infer::metadata_schema;
use super::message::*;
use apache_avro::types::Value as Avro;
use ringpost::config::model::{BatchBody, Format};
use ringpost::format::{ContentType, Formatter, Framing, Notes};
use ringpost::record;
use serde_json::json;

/// A body of these messages, behind something else in its chunk.
fn body(format: &Format, messages: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let framing = Framing::new(format, BatchBody::Array);
    assert_eq!(framing.content_type(), ContentType::Avro);
    let mut formatter = Formatter::new(format, LIMITS);
    let mut out = vec![0xee; framing.room()];
    let mut count = 0;
    for message in messages {
        let record = record::decode(&message).unwrap();
        formatter.encode(&record, ARRIVAL_MS, &mut out, &mut Notes::default()).unwrap();
        framing.separate(&mut out);
        count += 1;
    }
    let start = framing.finish(&mut out, count);
    out.split_off(start)
}

#[test]
fn container_files_hold_all_records_whatever_their_number_and_size() {
    let schema = record_schema(&format!(
        r#"{{"name":"v","type":["null","string","long"]}},{{"name":"metadata","type":{}}}"#,
        metadata_schema()
    ));
    let spaced = schema.replace(',', " ,\n ");
    let format = ringpost::config::model::Avro { metadata_key: Some("metadata".into()), ..avro(&spaced) };
    let format = Format::Avro(format);
    let mut lines = dump::Lines::new("avro_containers.jsonl");
    // Counts and sizes on both sides of where their numbers grow by a byte.
    let cases = [
        (1u32, 0usize),
        (1, 5),
        (1, 60),
        (1, 8_000),
        (1, 8_190),
        (1, 1_048_500),
        (1, 1_048_600),
        (15, 10),
        (16, 10),
        (63, 10),
        (64, 10),
        (65, 10),
        (8_191, 1),
        (8_192, 1),
        (65_536, 1),
    ];
    for (count, size) in cases {
        let bin = |at: u32| if size == 10 { int("v", i64::from(at)) } else { text("v", &"x".repeat(size)) };
        let bytes = body(&format, (0..count).map(|at| message(WRITE, &[bin(at)])));
        let reader = apache_avro::Reader::new(&bytes[..]).unwrap();
        let mut read = 0;
        for (value, at) in reader.zip(0..) {
            let found = fields(value.unwrap());
            let expected = if size == 10 { Avro::Long(i64::from(at)) } else { Avro::String("x".repeat(size)) };
            assert_eq!(found[0], ("v".to_owned(), expected));
            assert!(matches!(&found[1].1, Avro::Record(_)));
            read += 1;
        }
        assert_eq!(read, count, "{count} records of {size}");
        assert_eq!(&bytes[bytes.len() - 16..], &bytes[head_end(&bytes) - 16..head_end(&bytes)]);
        if count < 1000 {
            let last = if size == 10 { json!(count - 1) } else { json!("x".repeat(size)) };
            lines.add(&format!("{count} of {size}"), &schema, &bytes, &json!({"count": count, "last": last}));
        }
    }
}

/// Where the head ends: the marker stands behind the map with schema and codec.
fn head_end(bytes: &[u8]) -> usize {
    let codec = b"avro.codec\x08null\x00";
    bytes.windows(codec.len()).position(|window| window == codec).unwrap() + codec.len() + 16
}

#[test]
fn the_sync_marker_is_that_of_the_schema() {
    let of = |schema: &str| {
        let bytes = body(&Format::Avro(avro(schema)), [message(WRITE, &[int("v", 1)])]);
        bytes[bytes.len() - 16..].to_vec()
    };
    let (a, b) = (schema_of(r#""long""#), schema_of(r#"["null","long"]"#));
    assert_eq!(of(&a), of(&a));
    assert_ne!(of(&a), of(&b));
}
