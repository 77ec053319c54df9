//! MessagePack of every frame of `tests/data/frames`, read back by an independent reader: the values that the official
//! client read, type by type, and the ack classes of the JSON formats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "frames/corpus.rs"]
mod corpus;
#[path = "frames/message_pack.rs"]
mod message_pack;
#[allow(dead_code, reason = "shared with the tests of the other formats")]
#[path = "frames/pipeline.rs"]
mod pipeline;
#[path = "frames/synthetic_table.rs"]
mod synthetic_table;

use message_pack::{Record, agrees, agrees_bin, read, same, same_bin};
use pipeline::{ARRIVAL_MS, Outcome, Written, run, run_in};
use ringpost::config::model::{Format, InvalidUtf8};
use rmpv::Value as Packed;
use serde_json::Value;

const LUT_EPOCH_MS: u64 = 1_262_304_000_000;

fn format(delete_metadata: bool) -> Format {
    Format::MessagePack { delete_metadata, invalid_utf8: InvalidUtf8::Replace }
}

/// The record of the only frame in `frame`.
fn record(frame: &[u8]) -> Record {
    match &run_in(&format(true), frame)[..] {
        [Written::Delivered { sent, .. }] => read(sent),
        other => panic!("{other:?}"),
    }
}

fn synthetic(name: &str) -> Vec<u8> {
    corpus::synthetic().into_iter().find(|(frame, _)| frame == name).unwrap().1
}

#[test]
fn values_are_those_that_the_official_client_read() {
    let frames = corpus::server_frames();
    assert_eq!(frames.len(), 105);
    for (line, frame) in frames {
        let (name, expect) = (line["name"].as_str().unwrap(), &line["expect"]);
        let record = record(&frame);
        check_metadata(name, expect, &record);
        let expected_bins = expect["bins"].as_array().unwrap();
        assert_eq!(record.bins.len(), expected_bins.len(), "{name}");
        for (expected, bin) in expected_bins.iter().zip(&record.bins) {
            assert_eq!(expected["name"], bin.name.as_str(), "{name}");
            let kind = match expected["type"].as_str().unwrap() {
                "int" => 1,
                "float" => 2,
                "string" => 3,
                "blob" => 4,
                "bool" => 17,
                "hll" => 18,
                "map" => 19,
                "list" => 20,
                "geojson" => 23,
                other => panic!("{other}"),
            };
            assert_eq!(bin.kind, kind, "{name} {}", bin.name);
            assert!(same_bin(&expected["value"], bin), "{name} {}: {}", bin.name, bin.value);
        }
    }
}

fn check_metadata(name: &str, expect: &Value, record: &Record) {
    let [namespace, set, digest, user_key] = &record.key;
    assert!(same(&expect["namespace"], namespace) && same(&expect["set"], set), "{name}: {record:?}");
    assert_eq!(digest.as_slice().unwrap(), corpus::from_hex(expect["digest_hex"].as_str().unwrap()), "{name}");
    let expected_key = expect["user_key"].get("value").unwrap_or(&Value::Null);
    assert!(same(expected_key, user_key), "{name}: {user_key}");
    assert_eq!(record.is_write, expect["op"] == "write", "{name}");
    let lut = expect["lut_ms_cl_epoch"].as_u64().map_or(Value::Null, |lut| Value::from(lut + LUT_EPOCH_MS));
    if let Some([generation, expiry, written_lut]) = &record.numbers {
        let expected_expiry = match expect["ttl_field"].as_u64().unwrap() {
            0xFFFF_FFFF => 0,
            ttl => ARRIVAL_MS / 1000 + ttl,
        };
        assert!(same(&expect["gen"], generation), "{name}: {generation}");
        assert!(same(&expected_expiry.into(), expiry), "{name}: {expiry}");
        assert!(same(&lut, written_lut), "{name}: {written_lut}");
    } else {
        assert_eq!(record.flags, Some(u64::from(expect["durable"] == true)), "{name}");
        let [generation, written_lut] = &record.delete_metadata[..] else { panic!("{name}") };
        assert!(same(&expect["gen"], generation) && same(&lut, written_lut), "{name}: {record:?}");
    }
}

#[test]
fn every_frame_says_the_same_as_its_json_and_has_the_same_ack_class() {
    let frames = corpus::all();
    assert_eq!(frames.len(), 133 + 105 + 73 + 1 + 21);
    let mut delivered = 0;
    for (name, frame) in frames {
        let (json, packed) = (run([&frame[..]]).0, run_in(&format(true), &frame));
        let classes: Vec<_> = json.iter().map(Outcome::class).collect();
        assert_eq!(packed.iter().map(Written::class).collect::<Vec<_>>(), classes, "{name}");
        for pair in json.iter().zip(&packed) {
            let (json_reason, reason) = match pair {
                (Outcome::Delivered { flat, notes, .. }, Written::Delivered { sent, notes: packed_notes, .. }) => {
                    let record = read(sent);
                    match serde_json::from_str(flat) {
                        Ok(flat) => agree(&name, &flat, &record),
                        // Deeper than serde_json reads; a test of its own looks at it.
                        Err(_) => assert_eq!(name, "c20-depth-200"),
                    }
                    assert_eq!(notes.replaced_text, packed_notes.replaced_text, "{name}");
                    assert_eq!(notes.duplicate_bins, packed_notes.duplicate_bins, "{name}");
                    assert_eq!(notes.unknown_particles, packed_notes.unknown_particles, "{name}");
                    delivered += 1;
                    continue;
                }
                (Outcome::Rejected(json), Written::Rejected(packed)) => (json, packed),
                (Outcome::Closed(json), Written::Closed(packed)) => (json, packed),
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(json_reason, reason, "{name}");
        }
    }
    assert!(delivered > 250, "{delivered}");
}

/// `flat` is the flat JSON of the same frame.
fn agree(name: &str, flat: &Value, record: &Record) {
    let metadata = &flat["metadata"];
    let member = |member: &str| metadata.get(member).unwrap_or(&Value::Null);
    for (packed, json) in record.key.iter().zip(["namespace", "set", "digest", "userKey"]) {
        assert!(agrees(packed, member(json)), "{name} {json}: {packed}");
    }
    assert_eq!(metadata["msg"], if record.is_write { "write" } else { "delete" }, "{name}");
    let (numbers, names) = match &record.numbers {
        Some(numbers) => (&numbers[..], &["gen", "exp", "lut"][..]),
        None => (&record.delete_metadata[..], &["gen", "lut"][..]),
    };
    assert_eq!(numbers.len(), names.len(), "{name}");
    for (packed, json) in numbers.iter().zip(names) {
        assert!(agrees(packed, member(json)), "{name} {json}: {packed}");
    }
    assert_eq!(record.flags.map(|flags| Value::from(flags == 1)).as_ref(), metadata.get("durable"), "{name}");
    assert_eq!(record.bins.len(), flat.as_object().unwrap().len() - 1, "{name}");
    for bin in &record.bins {
        assert!(agrees_bin(bin, &flat[&bin.name]), "{name} {}: {}", bin.name, bin.value);
    }
}

#[test]
fn synthetic_frames_have_the_values_of_their_index() {
    for (name, bins) in synthetic_table::BINS {
        let expected: serde_json::Map<String, Value> = serde_json::from_str(bins).unwrap();
        let record = record(&synthetic(name));
        assert_eq!(record.bins.len(), expected.len(), "{name}");
        for bin in &record.bins {
            assert!(agrees_bin(bin, &expected[&bin.name]), "{name} {}: {}", bin.name, bin.value);
        }
    }
    let rejected = synthetic_table::REJECTED.iter().map(|name| (*name, "10"));
    let closed = synthetic_table::CLOSED.iter().map(|(name, _)| (*name, "close"));
    for (name, class) in rejected.chain(closed) {
        let written = run_in(&format(false), &synthetic(name));
        assert_eq!(written.iter().map(Written::class).collect::<Vec<_>>(), [class], "{name}");
    }
    for (name, classes, _) in synthetic_table::STREAMS {
        let written = run_in(&format(false), &synthetic(name));
        assert_eq!(written.iter().map(Written::class).collect::<Vec<_>>(), *classes, "{name}");
    }
}

/// Where JSON cannot tell two types apart.
#[test]
fn types_that_json_has_not_are_kept() {
    let binary = |bytes: &[u8]| Packed::Binary(bytes.to_vec());
    let ext = |kind: i8, bytes: &[u8]| Packed::Ext(kind, bytes.to_vec());
    assert_eq!(record(&synthetic("w30-blob-key")).key[3], binary(&[0, 0xff, 0x10]));
    assert_eq!(record(&synthetic("w31-double-key")).key[3], Packed::F64(2.5));
    assert_eq!(record(&synthetic("w29-string-key")).key[3], "user-1".into());
    let kinds: Vec<_> = record(&synthetic("w14-legacy-blobs")).bins.iter().map(|bin| bin.kind).collect();
    assert_eq!(kinds, [7, 8, 9, 10, 11, 12]);
    assert_eq!(record(&synthetic("w15-vector")).bins[0].kind, 16);
    for (name, kind) in [("x27-particle-5", 5), ("x27-particle-24", 24), ("x27-particle-255", 255)] {
        assert_eq!(record(&synthetic(name)).bins[0].kind, kind);
    }
    let list = |name: &str| record(&synthetic(name)).bins[0].value.clone();
    let geojson = br#"{"type":"Point","coordinates":[-122.0,37.5]}"#;
    let inside = Packed::Array(vec![binary(&[0, 0xff]), "".into(), binary(b""), ext(23, geojson)]);
    assert_eq!(list("c12-blob-str-geo-inside"), inside);
    assert_eq!(list("c13-bin-headers"), Packed::Array(vec![binary(&[1, 2]), "A".into(), binary(&[9])]));
    let keys: Vec<_> = list("c16-map-weird-keys").as_map().unwrap().iter().map(|(key, _)| key.clone()).collect();
    let expected = [Packed::F64(1.5), Packed::Array(vec![1.into()]), true.into(), binary(&[1])];
    assert_eq!(keys.len(), expected.len());
    assert!(expected.iter().all(|key| keys.contains(key)), "{keys:?}");
    let repeated = Packed::Map(vec![(1.into(), 10.into()), (1.into(), 20.into())]);
    assert_eq!(list("c17-map-dup-keys"), repeated, "maps keep every pair");
    let point = br#"{"type":"Point","coordinates":[-122.0,37.5]}"#;
    let text = record(&synthetic("w11-geo-point-1cell")).bins[0].value.clone();
    assert_eq!(text.as_str().unwrap().as_bytes(), point);
}

#[test]
fn the_order_of_collections_is_told() {
    let frames = corpus::server_frames();
    let cases = [
        ("list_ordered", 1),
        ("list_mixed", 0),
        ("map_str_keys", 0),
        ("map_k_ordered_put", 1),
        ("map_kv_ordered_ops", 3),
        ("map_empty_k_ordered", 1),
    ];
    for (name, flags) in cases {
        let (_, frame) = frames.iter().find(|(line, _)| line["name"] == name).unwrap();
        assert_eq!(record(frame).bins[0].flags, flags, "{name}");
    }
}

#[test]
fn a_delete_has_two_parts_unless_more_is_asked_for() {
    let frames = ["d01-delete", "d02-durable-delete", "d03-delete-digest-only", "d04-delete-bit-only"];
    for name in frames {
        let Written::Delivered { sent, .. } = &run_in(&format(false), &synthetic(name))[0] else { panic!("{name}") };
        assert_eq!(read(sent).delete_metadata, [], "{name}");
        assert_eq!(record(&synthetic(name)).delete_metadata.len(), 2, "{name}");
    }
}

#[test]
fn large_and_deep_values_are_whole() {
    let many = record(&synthetic("w16-many-bins")).bins;
    assert_eq!(many.len(), 300);
    assert!(
        many.iter().enumerate().all(|(at, bin)| bin.name == format!("b{at}") && bin.value.as_u64() == Some(at as u64))
    );
    let texts: Vec<_> = record(&synthetic("c18-str-long")).bins[0].value.as_array().unwrap().to_vec();
    let expected = [("x", 31), ("y", 255), ("z", 65_536)].map(|(letter, count)| Packed::from(letter.repeat(count)));
    assert_eq!(texts, expected);
    let mut deep = &record(&synthetic("c20-depth-200")).bins[0].value;
    let mut depth = 0;
    while let Some(items) = deep.as_array() {
        depth += 1;
        let Some(inner) = items.first() else { break };
        deep = inner;
    }
    assert_eq!(depth, 201);
}
