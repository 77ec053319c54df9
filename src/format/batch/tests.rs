use super::*;
use crate::config::model::{Avro, InvalidUtf8, TextRules};
use crate::format::AvroSchema;

/// Counts on both sides of where heads grow.
const COUNTS: [u32; 8] = [1, 2, 15, 16, 63, 64, 65_535, 65_536];

fn json() -> Format {
    Format::Json { stringify_map_keys: true, text: TextRules::default() }
}

fn avro(schema: &str) -> Format {
    Format::Avro(Avro {
        schema: AvroSchema::parse(schema).unwrap(),
        schema_file: None,
        metadata_key: None,
        stringify_map_keys: true,
        invalid_utf8: InvalidUtf8::Replace,
    })
}

/// A body of `count` records, in a buffer whose free bytes held something else before.
fn body(framing: &Framing, count: u32, record: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut out = vec![0xee; framing.room()];
    for at in 0..count {
        out.extend_from_slice(&record(at));
        framing.separate(&mut out);
    }
    let start = framing.finish(&mut out, count);
    assert!(start <= framing.room());
    out.split_off(start)
}

fn object(at: u32) -> Vec<u8> {
    format!("{{\"at\":{at},\"text\":\"a,b]\\n\"}}").into_bytes()
}

#[test]
fn a_json_array_is_one_value_of_all_records() {
    let framing = Framing::new(&json(), BatchBody::Array);
    assert_eq!(framing.content_type(), ContentType::Json);
    for count in COUNTS {
        let bytes = body(&framing, count, object);
        let values: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(values.len(), count as usize);
        assert!(values.iter().zip(0..count).all(|(value, at)| value["at"] == at && value["text"] == "a,b]\n"));
    }
    assert_eq!(body(&framing, 2, |at| at.to_string().into_bytes()), b"[0,1]");
}

#[test]
fn ndjson_is_a_value_a_line() {
    let framing = Framing::new(&json(), BatchBody::NdJson);
    assert_eq!(framing.content_type(), ContentType::NdJson);
    for count in COUNTS {
        let text = String::from_utf8(body(&framing, count, object)).unwrap();
        assert!(text.ends_with('\n'));
        assert_eq!(text.lines().count(), count as usize);
        for (line, at) in text.lines().zip(0..count) {
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["at"], at);
        }
    }
}

/// Heads as the MessagePack specification lists them (fixarray, array 16, array 32).
#[test]
fn a_message_pack_array_has_the_shortest_head() {
    let format = Format::MessagePack { delete_metadata: false, invalid_utf8: InvalidUtf8::Replace };
    let framing = Framing::new(&format, BatchBody::Array);
    assert_eq!(framing.content_type(), ContentType::MessagePack);
    let heads: [(u32, &[u8]); 8] = [
        (1, &[0x91]),
        (15, &[0x9f]),
        (16, &[0xdc, 0, 16]),
        (255, &[0xdc, 0, 255]),
        (256, &[0xdc, 1, 0]),
        (65_535, &[0xdc, 255, 255]),
        (65_536, &[0xdd, 0, 1, 0, 0]),
        (65_537, &[0xdd, 0, 1, 0, 1]),
    ];
    for (count, head) in heads {
        let bytes = body(&framing, count, |at| vec![(at % 100) as u8]);
        let (found, records) = bytes.split_at(head.len());
        assert_eq!((found, records.len()), (head, count as usize), "{count}");
        assert!(records.iter().zip(0..count).all(|(byte, at)| u32::from(*byte) == at % 100));
    }
}

#[test]
fn frames_stand_one_after_another() {
    let framing = Framing::new(&Format::Xdr, BatchBody::Array);
    assert_eq!((framing.content_type(), framing.room()), (ContentType::Xdr, 0));
    assert_eq!(body(&framing, 3, |at| vec![at as u8; 2]), [0, 0, 1, 1, 2, 2]);
}

/// The numbers of the block, by the bytes of the Avro specification; tests/formats_avro.rs has whole files read.
#[test]
fn a_container_tells_the_count_and_the_bytes_of_its_block() {
    let schema = r#"{"type":"map","values":"long"}"#;
    let framing = Framing::new(&avro(schema), BatchBody::NdJson);
    assert_eq!(framing.content_type(), ContentType::Avro);
    let sync = marker(schema);
    let head = avro_head(schema, &sync);
    assert!(head.starts_with(b"Obj\x01\x04\x16avro.schema\x3c{\"type\""));
    assert!(head.ends_with(&[&b"\x14avro.codec\x08null\x00"[..], &sync].concat()));
    let cases: [(u32, usize, &[u8]); 5] = [
        (1, 63, &[2, 0x7e]),
        (1, 64, &[2, 0x80, 0x01]),
        (63, 1, &[0x7e, 0x7e]),
        (64, 128, &[0x80, 0x01, 0x80, 0x80, 0x01]),
        (65_536, 1, &[0x80, 0x80, 0x08, 0x80, 0x80, 0x08]),
    ];
    for (count, size, numbers) in cases {
        let bytes = body(&framing, count, |_| vec![7; size]);
        let records = vec![7; count as usize * size];
        assert!(bytes == [&head[..], numbers, &records, &sync].concat(), "{count} of {size}");
    }
}

#[test]
fn long_numbers_have_as_many_bytes_as_they_need() {
    for bits in 0..62 {
        let value = 1u64 << bits;
        for (value, size) in [(value, (bits + 1) / 7 + 1), (value - 1, bits / 7 + 1)] {
            let mut buffer = [0; AVRO_LONG];
            assert_eq!(avro_long(value, &mut buffer).len(), size, "{value}");
        }
    }
}
