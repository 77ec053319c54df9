//! Every frame of `tests/data/frames`: the right values in both formats, the right ack class, however the bytes are cut.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[allow(dead_code, reason = "shared with the tests of the other formats")]
#[path = "frames/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "shared with the tests of the other formats")]
#[path = "frames/pipeline.rs"]
mod pipeline;
#[path = "frames/synthetic_table.rs"]
mod synthetic_table;
#[path = "frames/values.rs"]
mod values;

use pipeline::{ARRIVAL_MS, DECODE_LIMITS, Outcome, run, run_one};
use serde_json::Value;

const LUT_EPOCH_MS: u64 = 1_262_304_000_000;

/// Both formats of a delivered frame as an independent reader reads them: typed, flat.
fn read(outcome: &Outcome) -> (Value, Value) {
    match outcome {
        Outcome::Delivered { typed, flat, .. } => {
            (serde_json::from_str(typed).expect(typed), serde_json::from_str(flat).expect(flat))
        }
        other => panic!("{other:?}"),
    }
}

/// The bins of a flat record.
fn flat_bins(flat: &Value) -> Value {
    let mut bins = flat.as_object().unwrap().clone();
    bins.remove("metadata").unwrap();
    Value::Object(bins)
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

#[test]
fn values_are_those_that_the_official_client_read() {
    let frames = corpus::server_frames();
    assert_eq!(frames.len(), 105);
    for (line, frame) in frames {
        let (name, expect) = (line["name"].as_str().unwrap(), &line["expect"]);
        let (typed, flat) = read(&run_one(&frame));
        check_metadata(name, expect, &typed, &flat);
        let expected_bins = expect["bins"].as_array().unwrap();
        let bins = flat_bins(&flat);
        assert_eq!(bins.as_object().unwrap().len(), expected_bins.len(), "{name}");
        for (at, bin) in expected_bins.iter().enumerate() {
            let bin_name = bin["name"].as_str().unwrap();
            assert!(values::same(&bin["value"], &bins[bin_name]), "{name} {bin_name}: {}", bins[bin_name]);
            let typed_bin = &typed["bins"][at];
            assert_eq!(typed_bin["name"], bin["name"], "{name}");
            assert!(values::same(&bin["value"], &typed_bin["value"]), "{name} {bin_name}: {typed_bin}");
            let kind = match bin["type"].as_str().unwrap() {
                "string" => "str",
                same => same,
            };
            assert_eq!(typed_bin["type"], kind, "{name}");
            assert_eq!(typed_bin.get("ordered").is_some(), kind == "list", "{name}");
        }
    }
}

fn check_metadata(name: &str, expect: &Value, typed: &Value, flat: &Value) {
    let metadata = &flat["metadata"];
    let is_write = expect["op"] == "write";
    let digest = base64(&corpus::from_hex(expect["digest_hex"].as_str().unwrap()));
    let key = match &expect["user_key"] {
        Value::Null => Value::Null,
        key => key["value"].get("$b64").unwrap_or(&key["value"]).clone(),
    };
    let expected_key = serde_json::json!([expect["namespace"], expect["set"], digest, key]);
    assert_eq!(typed["key"], expected_key, "{name}");
    let of_flat = ["namespace", "set", "digest", "userKey"].map(|member| metadata.get(member).unwrap_or(&Value::Null));
    assert_eq!(serde_json::json!(of_flat), expected_key, "{name}");
    let lut = match expect["lut_ms_cl_epoch"].as_u64() {
        Some(lut) => Value::from(lut + LUT_EPOCH_MS),
        None => Value::Null,
    };
    let exp = match (is_write, expect["ttl_field"].as_u64().unwrap()) {
        (false, _) => Value::Null,
        (true, 0xFFFF_FFFF) => Value::from(0),
        (true, ttl) => Value::from(ARRIVAL_MS / 1000 + ttl),
    };
    let durable = if is_write { &Value::Null } else { &expect["durable"] };
    for record in [typed, metadata] {
        assert_eq!(record["msg"], expect["op"], "{name}");
        assert_eq!(record["gen"], expect["gen"], "{name}");
        let optional = ["lut", "exp", "durable"].map(|member| record.get(member).unwrap_or(&Value::Null));
        assert_eq!(optional, [&lut, &exp, durable], "{name}");
    }
}

#[test]
fn the_order_of_server_collections_is_told() {
    let expected = [
        ("list_ordered", "ordered", Value::from(true)),
        ("list_mixed", "ordered", Value::from(false)),
        ("map_str_keys", "order", Value::Null),
        ("map_k_ordered_put", "order", "key".into()),
        ("map_kv_ordered_ops", "order", "key-value".into()),
        ("map_empty_k_ordered", "order", "key".into()),
    ];
    let frames = corpus::server_frames();
    for (name, member, value) in expected {
        let (_, frame) = frames.iter().find(|(line, _)| line["name"] == name).unwrap();
        let (typed, _) = read(&run_one(frame));
        assert_eq!(typed["bins"][0].get(member).unwrap_or(&Value::Null), &value, "{name}");
    }
}

/// Every field of the one public frame of a real source, as `captured-01.md` lists them.
#[test]
fn the_captured_frame_is_read_field_by_field() {
    use ringpost::record::{ExistsAction, Operation, Particle, Ttl, UserKey, decode};
    let frame = &corpus::hex_lines("captured-01.hex")[0];
    let record = decode(&frame[8..]).unwrap();
    assert_eq!(record.namespace, b"source-ns1");
    assert_eq!(record.set, Some(&b"set1"[..]));
    assert_eq!(record.digest.to_vec(), corpus::from_hex("ffe3edca38f4eb05bdcf1d009f13a6ab8e71273b"));
    assert_eq!(record.user_key, Some(UserKey::Int(777)));
    assert_eq!((record.operation, record.exists_action), (Operation::Write, ExistsAction::Replace));
    assert_eq!((record.generation, record.ttl), (Some(2), Ttl::Seconds(2_592_000)));
    assert_eq!(record.lut_ms, Some(1_733_842_166_168));
    assert!(record.is_replace() && !record.is_transaction_monitor());
    let bins: Vec<_> = record.bins.iter().collect();
    assert_eq!((bins.len(), bins[0].name, bins[0].lut_ms()), (1, &b"a"[..], None));
    assert!(matches!(bins[0].particle(), Ok(Particle::Str(b"zzzzzzzzzzzzzzz"))));
}

#[test]
fn frames_of_the_rust_client_are_read() {
    let frames = corpus::hex_lines("rust-client-xdr.hex");
    assert_eq!(frames.len(), 21);
    let mut keys = Vec::new();
    for frame in &frames[..20] {
        let (typed, flat) = read(&run_one(frame));
        let key = flat["metadata"]["userKey"].as_i64().unwrap();
        keys.push(key);
        let expected = serde_json::json!({"i": key, "s": "from rust é", "f": 0.25, "b": "AP8="});
        assert_eq!(flat_bins(&flat), expected);
        assert_eq!(typed["exp"], ARRIVAL_MS / 1000 + 3600);
    }
    keys.sort_unstable();
    assert_eq!(keys, (0..20).collect::<Vec<i64>>());
    let (typed, _) = read(&run_one(&frames[20]));
    assert_eq!((&typed["msg"], &typed["durable"], typed.get("gen")), (&"delete".into(), &false.into(), None));
}

#[test]
fn every_synthetic_frame_has_its_ack_class() {
    use synthetic_table::{BINS, CLOSED, REJECTED, STREAMS};
    let frames = corpus::synthetic();
    assert_eq!(frames.len(), 133);
    for (name, frame) in &frames {
        let (outcomes, mid_frame) = run([&frame[..]]);
        let classes: Vec<_> = outcomes.iter().map(Outcome::class).collect();
        if let Some((_, expected, cut)) = STREAMS.iter().find(|(stream, ..)| stream == name) {
            assert_eq!((&classes[..], mid_frame), (*expected, *cut), "{name}");
        } else if let Some((_, word)) = CLOSED.iter().find(|(closed, _)| closed == name) {
            assert!(
                matches!(&outcomes[..], [Outcome::Closed(reason)] if reason.contains(word)),
                "{name}: {outcomes:?}"
            );
        } else if REJECTED.contains(&name.as_str()) {
            assert_eq!(classes, ["10"], "{name}");
        } else {
            assert_eq!(classes, ["ok"], "{name}: {outcomes:?}");
        }
    }
    for name in BINS.iter().map(|row| row.0).chain(REJECTED.iter().copied()).chain(CLOSED.iter().map(|row| row.0)) {
        assert!(frames.iter().any(|(frame, _)| frame == name), "{name} is not there");
    }
}

#[test]
fn synthetic_frames_have_the_values_of_their_index() {
    let frames = corpus::synthetic();
    for (name, bins) in synthetic_table::BINS {
        let (_, frame) = frames.iter().find(|(frame, _)| frame == name).unwrap();
        let (typed, flat) = read(&run_one(frame));
        let expected: Value = serde_json::from_str(bins).unwrap();
        assert_eq!(flat_bins(&flat), expected, "{name}");
        let typed_bins = typed["bins"].as_array().unwrap().iter();
        let of_typed: serde_json::Map<_, _> =
            typed_bins.map(|bin| (bin["name"].as_str().unwrap().to_owned(), bin["value"].clone())).collect();
        assert_eq!(Value::Object(of_typed), expected, "{name}");
    }
}

fn synthetic(name: &str) -> Vec<u8> {
    corpus::synthetic().into_iter().find(|(frame, _)| frame == name).unwrap().1
}

/// The metadata of a synthetic frame in flat JSON.
fn metadata(name: &str) -> Value {
    read(&run_one(&synthetic(name))).1["metadata"].clone()
}

#[test]
fn synthetic_frames_have_the_metadata_of_their_index() {
    let arrival = ARRIVAL_MS / 1000;
    let lut: u64 = 1_733_842_166_168;
    let cases: [(&str, &str, Value); 28] = [
        ("w26-no-set", "set", Value::Null),
        ("w27-empty-set-field", "set", Value::Null),
        ("w28-no-user-key", "userKey", Value::Null),
        ("w29-string-key", "userKey", "user-1".into()),
        ("w30-blob-key", "userKey", base64(&[0, 0xff, 0x10]).into()),
        ("w31-double-key", "userKey", serde_json::from_str("2.5").unwrap()),
        ("w32-int-key-negative", "userKey", (-1).into()),
        ("w33-int-key-big", "userKey", 1_099_511_627_781u64.into()),
        ("w34-ttl-zero", "exp", 0.into()),
        ("w35-ttl-never", "exp", 0.into()),
        ("w36-ttl-keep", "exp", Value::Null),
        ("w37-ttl-10y", "exp", (arrival + 315_360_000).into()),
        ("w38-gen-65535", "gen", 65_535.into()),
        ("w39-no-lut", "lut", Value::Null),
        ("w40-lut-high-bits", "lut", lut.into()),
        ("w41-fields-reordered", "lut", lut.into()),
        ("w42-unknown-field", "userKey", 42.into()),
        ("w43-set-63-bytes", "set", "s".repeat(63).into()),
        ("w45-update-policy", "msg", "write".into()),
        ("d01-delete", "durable", false.into()),
        ("d01-delete", "exp", Value::Null),
        ("d02-durable-delete", "durable", true.into()),
        ("d03-delete-digest-only", "set", Value::Null),
        ("d04-delete-bit-only", "msg", "delete".into()),
        ("x35-set-not-utf8", "set", "\u{FFFD}\u{FFFD}".into()),
        ("x36-ns-not-utf8", "namespace", "\u{FFFD}".into()),
        ("x40-duplicate-field", "namespace", "test".into()),
        ("x38-no-xdr-bit", "msg", "write".into()),
    ];
    for (name, member, expected) in cases {
        assert_eq!(metadata(name).get(member).unwrap_or(&Value::Null), &expected, "{name} {member}");
    }
}

#[test]
fn synthetic_frames_with_large_or_deep_values_are_whole() {
    let (_, flat) = read(&run_one(&synthetic("w16-many-bins")));
    let expected: serde_json::Map<_, _> = (0..300).map(|at| (format!("b{at}"), Value::from(at))).collect();
    assert_eq!(flat_bins(&flat), Value::Object(expected));

    let (_, flat) = read(&run_one(&synthetic("c18-str-long")));
    let texts: Vec<_> = flat["l"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts, ["x".repeat(31), "y".repeat(255), "z".repeat(65_536)]);

    let Outcome::Delivered { flat, .. } = run_one(&synthetic("c20-depth-200")) else { panic!() };
    let nested = format!("\"l\":{}{}}}", "[".repeat(201), "]".repeat(201));
    assert!(flat.ends_with(&nested), "{flat}");
}

/// Frame c21, which is too large to store: 200,000 nested lists.
#[test]
fn very_deep_nesting_meets_the_limit_and_not_the_stack() {
    let mut frame = synthetic("c20-depth-200");
    let value_at = frame.len() - 201;
    assert!(frame[value_at..frame.len() - 1].iter().all(|byte| *byte == 0x91));
    frame.splice(value_at..value_at, std::iter::repeat_n(0x91, 199_799));
    let size = u32::try_from(frame.len() - 8).unwrap();
    frame[4..8].copy_from_slice(&size.to_be_bytes());
    let op_at = value_at - 9;
    frame[op_at..op_at + 4].copy_from_slice(&(5u32 + 200_000).to_be_bytes());
    match run_one(&frame) {
        Outcome::Rejected(reason) => assert!(reason.contains("limits.max-depth"), "{reason}"),
        other => panic!("{}", other.class()),
    }
    assert_eq!(DECODE_LIMITS.max_depth, 256);
}

#[test]
fn compressed_frames_are_the_frames_inside() {
    for name in ["z01-compressed-be", "z02-compressed-le"] {
        let (_, flat) = read(&run_one(&synthetic(name)));
        assert_eq!(flat["metadata"]["namespace"], "test", "{name}");
        assert!(!flat_bins(&flat).as_object().unwrap().is_empty());
    }
    assert_eq!(run_one(&synthetic("z01-compressed-be")), run_one(&synthetic("z02-compressed-le")));
}

/// What the real server answered is no measure of our ack; this list is that of the decisions.
#[test]
fn every_extra_frame_has_its_ack_class() {
    const REJECTED: &[&str] = &[
        "int_3_bytes",
        "list_truncated_msgpack",
        "list_trailing_bytes",
        "list_zero_bytes",
        "key_field_empty",
        "trailing_garbage_in_body",
        "op_incr",
        "header_sz_21",
        "n_fields_plus_1",
        "n_ops_plus_1",
        "field_size_huge",
        "field_size_zero",
        "op_size_huge",
        "op_size_small",
        "op_name_over",
        "size_zero",
        "size_10",
        "digest_19",
        "no_digest_no_key",
        "no_namespace",
        "namespace_empty",
    ];
    const CLOSED: &[&str] =
        &["proto_version_1", "proto_type_9", "proto_type_5", "size_over_128m", "size_max", "http_get", "tls_hello"];
    let extras = corpus::extras();
    assert_eq!(extras.len(), 73);
    for (line, frame) in &extras {
        let name = line["name"].as_str().unwrap();
        let expected = match name {
            _ if REJECTED.contains(&name) => "10",
            _ if CLOSED.contains(&name) => "close",
            _ => "ok",
        };
        let outcomes = run([&frame[..]]).0;
        assert_eq!(outcomes.iter().map(Outcome::class).collect::<Vec<_>>(), [expected], "{name}: {outcomes:?}");
    }
    for name in REJECTED.iter().chain(CLOSED) {
        assert!(extras.iter().any(|(line, _)| line["name"] == *name), "{name} is not there");
    }
}

/// Where the server stored an extra frame, what we wrote is what it stored.
#[test]
fn extra_frames_have_the_values_that_the_server_stored() {
    let mut checked = 0;
    for (line, frame) in corpus::extras() {
        let Some(stored) = line["server_after"]["ops"].as_object() else { continue };
        let Outcome::Delivered { .. } = run_one(&frame) else { continue };
        let bins = flat_bins(&read(&run_one(&frame)).1);
        for (name, value) in stored {
            let bytes = corpus::from_hex(value[1].as_str().unwrap());
            let expected: Value = match value[0].as_u64().unwrap() {
                1 => i64::from_be_bytes(bytes.try_into().unwrap()).into(),
                3 => String::from_utf8_lossy(&bytes).into(),
                4 | 7..=12 | 16 => base64(&bytes).into(),
                _ => continue,
            };
            // An update leaves bins in the database that are not in the message.
            if let Some(found) = bins.get(name) {
                assert_eq!(found, &expected, "{} {name}", line["name"]);
                checked += 1;
            }
        }
    }
    assert!(checked >= 25, "{checked}");
}

#[test]
fn extra_frames_with_odd_values_are_written_by_the_documented_rules() {
    let extras = corpus::extras();
    let cases = [
        ("partial_update_null_bin", r#"{"b":22,"c":null}"#),
        ("null_bin_with_replace", r#"{"b":22,"c":null}"#),
        ("bool_2", r#"{"b":true}"#),
        ("geo_no_cells_compact", r#"{"g":{"type":"Point","coordinates":[1.5,2]}}"#),
        ("list_float32", r#"{"l":[1.5,2.5]}"#),
        ("list_untyped_str", r#"{"l":["YmM=","eXo="]}"#),
        ("list_uint64_max", r#"{"l":[-1]}"#),
        ("write_without_ops", "{}"),
    ];
    for (name, bins) in cases {
        let (_, frame) = extras.iter().find(|(line, _)| line["name"] == name).unwrap();
        let (_, flat) = read(&run_one(frame));
        assert_eq!(flat_bins(&flat), serde_json::from_str::<Value>(bins).unwrap(), "{name}");
    }
}

/// A connection with a bit of everything, a few KiB long.
fn stream() -> Vec<u8> {
    let frames = corpus::synthetic();
    let part = |names: &[&str]| {
        names.iter().flat_map(|name| frames.iter().find(|(frame, _)| frame == name).unwrap().1.clone()).collect()
    };
    let parts: Vec<u8> = part(&[
        "w01-captured",
        "z01-compressed-be",
        "x10-body-21",
        "c11-nested",
        "x09-size-zero",
        "d01-delete",
        "x42-cdt-trailing",
        "w08-blob",
        "s02-good-bad-good",
    ]);
    parts
}

#[test]
fn a_stream_cut_at_any_place_gives_the_same_records() {
    let bytes = stream();
    let whole = run([&bytes[..]]);
    let classes: Vec<_> = whole.0.iter().map(Outcome::class).collect();
    assert_eq!(classes, ["ok", "ok", "10", "ok", "10", "ok", "10", "ok", "ok", "ok", "ok"]);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert!(run([head, tail]) == whole, "cut at {cut}");
    }
}

#[test]
fn a_stream_byte_by_byte_gives_the_same_records() {
    let bytes = stream();
    assert!(run(bytes.chunks(1)) == run([&bytes[..]]));
    let large = synthetic("c18-str-long");
    assert!(run(large.chunks(1)) == run([&large[..]]));
}
