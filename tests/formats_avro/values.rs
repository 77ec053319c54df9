//! Which types take which values, and what is said when none does.

use super::message::*;
use apache_avro::types::Value as Avro;
use ringpost::config::model::{self, Format, InvalidUtf8};
use ringpost::format::{ContentType, Formatter, Notes};

fn value_of(kind: &str, bin: Vec<u8>) -> Result<Avro, String> {
    round_trip(&schema_of(kind), &[bin]).map(|value| fields_value(value, "v"))
}

/// Without taking the union off.
fn fields_value(value: Avro, name: &str) -> Avro {
    let Avro::Record(fields) = value else { panic!("{value:?}") };
    fields.into_iter().find(|(field, _)| field == name).unwrap().1
}

/// The reason, without the place.
fn reason(result: Result<Avro, String>) -> String {
    let error = result.unwrap_err();
    error.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn each_value_goes_into_the_types_that_hold_it() {
    let string = |text: &str| Avro::String(text.into());
    let cases: Vec<(&str, Vec<u8>, Avro)> = vec![
        (r#""long""#, int("v", i64::MIN), Avro::Long(i64::MIN)),
        (r#""long""#, int("v", i64::MAX), Avro::Long(i64::MAX)),
        (r#""int""#, int("v", -1), Avro::Int(-1)),
        (r#""int""#, int("v", i64::from(i32::MIN)), Avro::Int(i32::MIN)),
        (r#""double""#, int("v", 1 << 53), Avro::Double(9_007_199_254_740_992.0)),
        (r#""float""#, int("v", -(1 << 24)), Avro::Float(-16_777_216.0)),
        (r#""double""#, float("v", 0.1), Avro::Double(0.1)),
        (r#""float""#, float("v", 0.25), Avro::Float(0.25)),
        (r#""float""#, float("v", f64::NEG_INFINITY), Avro::Float(f32::NEG_INFINITY)),
        (r#""boolean""#, boolean("v", true), Avro::Boolean(true)),
        (r#""boolean""#, boolean("v", false), Avro::Boolean(false)),
        (r#""string""#, text("v", "żółć 🚀"), string("żółć 🚀")),
        (r#""bytes""#, text("v", "żó"), Avro::Bytes("żó".into())),
        (r#""bytes""#, op(3, "v", b"\xff\x00"), Avro::Bytes(vec![255, 0])),
        (r#""bytes""#, blob("v", &[0, 255]), Avro::Bytes(vec![0, 255])),
        (r#""bytes""#, op(18, "v", &[1, 2]), Avro::Bytes(vec![1, 2])),
        (r#""bytes""#, op(7, "v", &[1]), Avro::Bytes(vec![1])),
        (r#""bytes""#, op(99, "v", &[9]), Avro::Bytes(vec![9])),
        (r#"{"type":"fixed","name":"F","size":3}"#, blob("v", b"abc"), Avro::Fixed(3, b"abc".to_vec())),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, text("v", "B"), Avro::Enum(1, "B".into())),
        (r#""string""#, geo("v", "{\"type\": \"Point\"}"), string("{\"type\": \"Point\"}")),
        (r#""null""#, nil("v"), Avro::Null),
        (r#"{"type":"array","items":"long"}"#, cdt("v", "[]"), Avro::Array(vec![])),
        (r#"{"type":"array","items":"long"}"#, cdt("v", "[1,-2]"), Avro::Array(vec![Avro::Long(1), Avro::Long(-2)])),
        (
            r#"{"type":"map","values":"string"}"#,
            cdt("v", r##"{"a":"x","#5":"y"}"##),
            Avro::Map([("a".into(), string("x")), ("5".into(), string("y"))].into()),
        ),
    ];
    for (kind, bin, expected) in cases {
        assert_eq!(value_of(kind, bin), Ok(expected), "{kind}");
    }
    let Avro::Float(nan) = value_of(r#""float""#, float("v", f64::NAN)).unwrap() else { panic!() };
    assert!(nan.is_nan());
    let Avro::Double(zero) = value_of(r#""double""#, float("v", -0.0)).unwrap() else { panic!() };
    assert_eq!(zero.to_bits(), (-0.0f64).to_bits());
}

#[test]
fn logical_types_take_what_the_type_beneath_them_takes() {
    let of = |kind: &str, logical: &str, more: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"{more}}}"#);
    for logical in ["date", "time-millis"] {
        assert!(value_of(&of("int", logical, ""), int("v", 5)).is_ok(), "{logical}");
        assert_eq!(
            reason(value_of(&of("int", logical, ""), int("v", 1 << 40))),
            "the value is an integer beyond 32 bits, the schema wants int"
        );
    }
    for logical in [
        "time-micros",
        "timestamp-millis",
        "timestamp-micros",
        "timestamp-nanos",
        "local-timestamp-millis",
        "local-timestamp-micros",
        "local-timestamp-nanos",
    ] {
        assert!(value_of(&of("long", logical, ""), int("v", 1 << 40)).is_ok(), "{logical}");
    }
    assert_eq!(value_of(&of("long", "timestamp-millis", ""), int("v", 5)), Ok(Avro::TimestampMillis(5)));
    let decimal = of("bytes", "decimal", r#","precision":9,"scale":2"#);
    assert!(matches!(value_of(&decimal, blob("v", &[1, 2])), Ok(Avro::Decimal(_))));
    let uuid = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    assert_eq!(value_of(&of("string", "uuid", ""), text("v", uuid)), Ok(Avro::Uuid(uuid.parse().unwrap())));
    let fixed = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    assert!(matches!(value_of(fixed, blob("v", &[1; 12])), Ok(Avro::Duration(_))));
    assert_eq!(
        reason(value_of(fixed, blob("v", &[1; 11]))),
        "the value is bytes of another length, the schema wants fixed"
    );
    let fixed = r#"{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":4,"scale":0}"#;
    assert!(matches!(value_of(fixed, blob("v", &[1; 4])), Ok(Avro::Decimal(_))));
    // A known type with an unknown logical one is itself.
    assert_eq!(value_of(&of("string", "sort-of-text", ""), text("v", "x")), Ok(Avro::String("x".into())));
}

#[test]
fn unions_take_the_first_exact_branch_and_else_the_first_promotion() {
    let enum_ab = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
    let fixed_2 = r#"{"type":"fixed","name":"F","size":2}"#;
    let cases: Vec<(String, Vec<u8>, u32)> = vec![
        (r#"["null","long"]"#.into(), nil("v"), 0),
        (r#"["long","null"]"#.into(), nil("v"), 1),
        (r#"["double","long"]"#.into(), int("v", 5), 1),
        (r#"["float","double"]"#.into(), int("v", 5), 0),
        (r#"["float","double"]"#.into(), int("v", (1 << 24) + 1), 1),
        (r#"["int","long"]"#.into(), int("v", 5), 0),
        (r#"["int","long"]"#.into(), int("v", 1 << 31), 1),
        (r#"["int","double"]"#.into(), int("v", 1 << 31), 1),
        (r#"["float","double"]"#.into(), float("v", 1.0), 1),
        (r#"["string","float"]"#.into(), float("v", 1.0), 1),
        (r#"["bytes","string"]"#.into(), text("v", "x"), 1),
        (r#"["long","bytes"]"#.into(), text("v", "x"), 1),
        (format!(r#"[{enum_ab},"string"]"#), text("v", "A"), 0),
        (format!(r#"[{enum_ab},"string"]"#), text("v", "C"), 1),
        (format!(r#"["string",{enum_ab}]"#), text("v", "A"), 0),
        (format!(r#"[{fixed_2},"bytes"]"#), blob("v", &[1, 2]), 0),
        (format!(r#"[{fixed_2},"bytes"]"#), blob("v", &[1]), 1),
        (r#"["string",{"type":"array","items":"long"}]"#.into(), cdt("v", "[1]"), 1),
    ];
    for (kind, bin, branch) in cases {
        match value_of(&kind, bin).unwrap() {
            Avro::Union(found, _) => assert_eq!(found, branch, "{kind}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[test]
fn a_map_goes_into_the_first_record_that_names_all_its_keys() {
    let point =
        r#"{"type":"record","name":"P","fields":[{"name":"x","type":"long"},{"name":"y","type":"long","default":0}]}"#;
    let any = r#"{"type":"record","name":"A","fields":[{"name":"x","type":["null","long","string"]}]}"#;
    let map = r#"{"type":"map","values":"long"}"#;
    let branch = |kind: &str, json: &str| match value_of(kind, cdt("v", json)) {
        Ok(Avro::Union(found, value)) => (found, *value),
        other => panic!("{kind}: {other:?}"),
    };
    let kind = format!("[\"null\",{any},{point},{map}]");
    let record = |fields: &[(&str, Avro)]| {
        Avro::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    let x = |branch: u32, value: Avro| record(&[("x", Avro::Union(branch, Box::new(value)))]);
    assert_eq!(branch(&kind, r#"{"x":1}"#), (1, x(1, Avro::Long(1))));
    assert_eq!(branch(&kind, r#"{}"#), (1, x(0, Avro::Null)));
    assert_eq!(branch(&kind, r#"{"x":"t"}"#), (1, x(2, Avro::String("t".into()))));
    let both = record(&[("x", Avro::Long(1)), ("y", Avro::Long(2))]);
    assert_eq!(branch(&kind, r#"{"y":2,"x":1}"#), (2, both.clone()));
    assert_eq!(branch(&kind, r#"{"x":1,"y":2}"#), (2, both));
    assert_eq!(branch(&kind, r#"{"z":3}"#), (3, Avro::Map([("z".into(), Avro::Long(3))].into())));
    // No type names all keys and no map takes them: the first record that fits without the others.
    let (body, notes) =
        encode(&avro(&schema_of(&kind)), &message(WRITE, &[cdt("v", r#"{"a":true,"x":1,"y":2,"z":[1,{"x":null}]}"#)]))
            .unwrap();
    assert_eq!(notes, Notes { unmatched_bins: 3, ..Notes::default() });
    assert_eq!(fields_value(read(&schema_of(&kind), &body), "v"), Avro::Union(1, Box::new(x(1, Avro::Long(1)))));
    // Deep inside one try another one begins, and what follows is read on.
    let deep = format!(r#"{{"type":"array","items":{kind}}}"#);
    let Ok(Avro::Array(items)) = value_of(&deep, cdt("v", r#"[{"z":1},{"x":2},{"x":1,"y":1},{}]"#)) else { panic!() };
    let found: Vec<u32> = items.iter().map(|item| if let Avro::Union(at, _) = item { *at } else { 99 }).collect();
    assert_eq!(found, [3, 1, 2, 1]);
}

/// What a branch wrote, counted and noted before it turned out not to fit is taken back.
#[test]
fn a_branch_that_does_not_fit_leaves_nothing_behind() {
    let branch = |name: &str, kind: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"s","type":"string"}},{{"name":"z","type":"{kind}"}}]}}"#
        )
    };
    let union = format!("[{},{}]", branch("A", "long"), branch("B", "string"));
    // {"k":{"s":"\xff","z":"x"},"l":{"z":"y","s":"t"}}
    let inner = |text: u8| [&b"\x82\xa2\x03s\xa2\x03"[..], &[text], b"\xa2\x03z\xa2\x03x"].concat();
    let value = [&b"\x82\xa2\x03k"[..], &inner(0xff), b"\xa2\x03l", &inner(b't')].concat();
    let outer_record = format!(
        r#"{{"type":"record","name":"O","fields":[{{"name":"l","type":{union}}},{{"name":"k","type":["A","B"]}}]}}"#
    );
    for kind in [format!(r#"{{"type":"map","values":{union}}}"#), outer_record] {
        let (body, notes) = encode(&avro(&schema_of(&kind)), &message(WRITE, &[op(19, "v", &value)])).unwrap();
        assert_eq!(notes, Notes { replaced_text: 1, ..Notes::default() });
        let found = fields_value(read(&schema_of(&kind), &body), "v");
        let found: Vec<(String, Avro)> = match found {
            Avro::Map(map) => map.into_iter().collect(),
            Avro::Record(fields) => fields,
            other => panic!("{other:?}"),
        };
        assert_eq!(found.len(), 2);
        for (name, value) in found {
            let s = if name == "k" { "\u{FFFD}" } else { "t" };
            let fields = [("s", s), ("z", "x")].map(|(name, text)| (name.to_owned(), Avro::String(text.into())));
            assert_eq!(value, Avro::Union(1, Box::new(Avro::Record(fields.into()))));
        }
    }
}

/// A map that was written is not tried again when something behind it does not fit.
#[test]
fn maps_that_fit_are_not_tried_again() {
    let branch =
        |name: &str| format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"x","type":["null","long"]}}]}}"#);
    let kind = format!(r#"{{"type":"array","items":[{},{}]}}"#, branch("A"), branch("B"));
    let maps = vec![r#"{"x":1}"#; 20_000].join(",");
    let error = value_of(&kind, cdt("v", &format!("[{maps},5]"))).unwrap_err();
    assert!(error.ends_with("the value is an integer, the schema wants record"), "{error}");
}

#[test]
fn nested_records_take_keys_in_any_order_and_fill_in_what_is_missing() {
    let inner = r#"{"type":"record","name":"I","fields":[
        {"name":"a","type":"long"},{"name":"b","type":["null","string"]},{"name":"c","type":"string","default":"none"},
        {"name":"next","type":["null","I"]}]}"#;
    let value = value_of(inner, cdt("v", r#"{"next":{"a":2,"c":"x","next":{"c":"z","a":3}},"c":"y","a":1}"#)).unwrap();
    let string = |text: &str| Avro::String(text.into());
    let level = |a: i64, c: &str, next: Avro| {
        let null = || Avro::Union(0, Box::new(Avro::Null));
        let next = if next == Avro::Null { null() } else { Avro::Union(1, Box::new(next)) };
        Avro::Record(vec![
            ("a".into(), Avro::Long(a)),
            ("b".into(), null()),
            ("c".into(), string(c)),
            ("next".into(), next),
        ])
    };
    assert_eq!(value, level(1, "y", level(2, "x", level(3, "z", Avro::Null))));
    assert_eq!(
        reason(value_of(inner, cdt("v", r#"{"c":"y"}"#))),
        "there is no value for field \"a\", which has no default and cannot be null"
    );
    let (_, notes) =
        encode(&avro(&schema_of(inner)), &message(WRITE, &[cdt("v", r#"{"a":1,"d":[1,{"a":2}],"e":0}"#)])).unwrap();
    assert_eq!(notes, Notes { unmatched_bins: 2, ..Notes::default() });
}

#[test]
fn of_equal_keys_and_bins_the_last_stays() {
    // {"a":1,"b":2,"a":3} and 1 beside "1", which serde_json cannot hold.
    let equal = [0x83, 0xa2, 3, b'a', 1, 0xa2, 3, b'b', 2, 0xa2, 3, b'a', 3];
    let clash = [0x82, 0x01, 0x0a, 0xa2, 3, b'1', 0x14];
    let kind = r#"{"type":"map","values":"long"}"#;
    for (value, expected) in [(&equal[..], vec![("a", 3), ("b", 2)]), (&clash[..], vec![("1", 20)])] {
        let (body, notes) = encode(&avro(&schema_of(kind)), &message(WRITE, &[op(19, "v", value)])).unwrap();
        let map = expected.iter().map(|(key, value)| ((*key).to_owned(), Avro::Long(*value))).collect();
        assert_eq!(fields_value(read(&schema_of(kind), &body), "v"), Avro::Map(map));
        assert_eq!(notes, Notes { map_key_clashes: 1, ..Notes::default() });
    }
    let record = r#"{"type":"record","name":"R","fields":[{"name":"b","type":"long"},{"name":"a","type":"long"}]}"#;
    let (body, notes) = encode(&avro(&schema_of(record)), &message(WRITE, &[op(19, "v", &equal)])).unwrap();
    assert_eq!((&body[..], notes.map_key_clashes), (&[4, 6][..], 1));
    let bins = [int("v", 1), int("w", 2), int("v", 3)];
    let (body, notes) = encode(&avro(&schema_of(r#""long""#)), &message(WRITE, &bins)).unwrap();
    assert_eq!((&body[..], notes), (&[6][..], Notes { duplicate_bins: 1, unmatched_bins: 1, ..Notes::default() }));
    let map = r#"{"type":"map","values":"long"}"#;
    let (body, notes) = encode(&avro(map), &message(WRITE, &bins)).unwrap();
    assert_eq!((body, notes.duplicate_bins), (vec![4, 2, b'w', 4, 2, b'v', 6, 0], 1));
}

/// The count of a block shrinks by a byte when 64 entries become 63.
#[test]
fn the_count_of_a_map_is_right_after_entries_were_taken_out() {
    let kind = r#"{"type":"map","values":"long"}"#;
    for (count, repeated) in [(64u16, 1u16), (64, 63), (65, 2), (8192, 1), (8193, 8192), (300, 0)] {
        let mut value = vec![0xde];
        value.extend_from_slice(&count.to_be_bytes());
        for at in 0..count {
            // The last keys are those of the first entries again.
            let key = if at < count - repeated { at } else { at - (count - repeated) };
            value.extend_from_slice(&[0xcd, (key >> 8) as u8, key as u8, 0x01]);
        }
        let unique: std::collections::HashSet<u16> =
            (0..count).map(|at| if at < count - repeated { at } else { at - (count - repeated) }).collect();
        let (body, notes) = encode(&avro(&schema_of(kind)), &message(WRITE, &[op(19, "v", &value)])).unwrap();
        let Avro::Map(found) = fields_value(read(&schema_of(kind), &body), "v") else { panic!() };
        assert_eq!(found.len(), unique.len(), "{count} {repeated}");
        assert_eq!(notes.map_key_clashes as usize, usize::from(count) - unique.len());
    }
}

#[test]
fn keys_that_are_no_strings_are_written_as_the_json_formats_do_or_refused() {
    // {5: .., 1.5: .., true: .., nil: .., bytes: .., "s": ..}
    let mut value = vec![0x86, 5, 1, 0xcb];
    value.extend_from_slice(&1.5f64.to_be_bytes());
    value.extend_from_slice(&[2, 0xc3, 3, 0xc0, 4, 0xa3, 4, 0, 255, 5, 0xa2, 3, b's', 6]);
    let kind = r#"{"type":"map","values":"int"}"#;
    let message = message(WRITE, &[op(19, "v", &value)]);
    let (body, _) = encode(&avro(&schema_of(kind)), &message).unwrap();
    let expected = [("5", 1), ("1.5", 2), ("true", 3), ("null", 4), ("AP8=", 5), ("s", 6)];
    let expected = expected.iter().map(|(key, value)| ((*key).to_owned(), Avro::Int(*value))).collect();
    assert_eq!(fields_value(read(&schema_of(kind), &body), "v"), Avro::Map(expected));
    let strict = model::Avro { stringify_map_keys: false, ..avro(&schema_of(kind)) };
    let error = encode(&strict, &message).unwrap_err();
    assert!(error.starts_with("bin \"v\" at byte "), "{error}");
    assert!(
        error.ends_with(
            "a key of the map is an integer, and keys are strings in Avro; stringify-map-keys: true makes it one"
        ),
        "{error}"
    );
    // {[1,{"a":[]}]: 7, GeoJSON: 8}
    let value = b"\x82\x92\x01\x81\xa2\x03a\x90\x07\xaa\x17{ \"a\": 1}\x08";
    let (body, _) = encode(&avro(&schema_of(kind)), &super::message::message(WRITE, &[op(19, "v", value)])).unwrap();
    let expected = [(r#"[1,{"a":[]}]"#.to_owned(), Avro::Int(7)), (r#"{"a":1}"#.to_owned(), Avro::Int(8))];
    assert_eq!(fields_value(read(&schema_of(kind), &body), "v"), Avro::Map(expected.into()));
    // Lists inside a key count from the outermost, as they do in JSON.
    let record = schema_of(r#"["null",{"type":"map","values":"Top"}]"#);
    for (depth, fits) in [(126, true), (127, false)] {
        let mut nested = [&b"\x81\xa2\x03v"[..], b"\x81\xa2\x03k"].concat().repeat(depth);
        nested.extend_from_slice(b"\x81\xa2\x03v\x81\x91\x91\x90\x80");
        let start = b"\x81\xa2\x03v".len();
        let result = encode(&avro(&record), &super::message::message(WRITE, &[op(19, "v", &nested[start..])]));
        match result {
            Ok(_) => assert!(fits, "{depth}"),
            Err(error) => assert!(!fits && error.contains("nested deeper than 256"), "{depth}: {error}"),
        }
    }
    let record = r#"{"type":"record","name":"R","fields":[{"name":"true","type":"int"},{"name":"s","type":"int"}]}"#;
    let (body, notes) = encode(&avro(&schema_of(record)), &message).unwrap();
    assert_eq!((&body[..], notes.unmatched_bins), (&[6, 12][..], 4));
}

#[test]
fn a_removed_bin_is_null_or_else_as_if_it_were_missing() {
    let message = super::message::message(WRITE, &[nil("v")]);
    let of = |field: &str| encode(&avro(&record_schema(field)), &message);
    let (body, _) = of(r#"{"name":"v","type":["string","null"],"default":"x"}"#).unwrap();
    assert_eq!(body, [2], "null is a value");
    let (body, _) = of(r#"{"name":"v","type":"string","default":"x"}"#).unwrap();
    assert_eq!(body, [2, b'x']);
    let error = of(r#"{"name":"v","type":"long"}"#).unwrap_err();
    assert!(error.ends_with("there is no value for field \"v\", which has no default and cannot be null"), "{error}");
}

#[test]
fn errors_name_the_bin_the_value_and_the_types() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (r#""long""#, float("v", 1.0), "the value is a double, the schema wants long"),
        (r#""string""#, int("v", 1), "the value is an integer, the schema wants string"),
        (r#""null""#, boolean("v", true), "the value is a boolean, the schema wants null"),
        (r#"["null","boolean"]"#, text("v", "x"), "the value is a string, the schema wants null or boolean"),
        (r#""string""#, blob("v", b"x"), "the value is bytes, the schema wants string"),
        (r#""bytes""#, geo("v", "{}"), "the value is GeoJSON, the schema wants bytes"),
        (r#""long""#, cdt("v", "[1]"), "the value is a list, the schema wants long"),
        (r#"["null","long"]"#, cdt("v", "{}"), "the value is a map, the schema wants null or long"),
        (r#"{"type":"array","items":"long"}"#, cdt("v", "{}"), "the value is a map, the schema wants array"),
        (r#"{"type":"array","items":"long"}"#, cdt("v", "[1,\"x\"]"), "the value is a string, the schema wants long"),
        (
            r#"["null","int",{"type":"map","values":"int"}]"#,
            int("v", 1 << 40),
            "the value is an integer beyond 32 bits, the schema wants null, int or map",
        ),
        (
            r#""double""#,
            int("v", (1 << 53) + 1),
            "the value is an integer that only a long can hold exactly, the schema wants double",
        ),
        (
            r#""double""#,
            int("v", i64::MAX),
            "the value is an integer that only a long can hold exactly, the schema wants double",
        ),
        (
            r#""float""#,
            int("v", (1 << 24) + 1),
            "the value is an integer that a float cannot hold exactly, the schema wants float",
        ),
        (
            r#""float""#,
            float("v", 0.1),
            "the value is a double that a float cannot hold exactly, the schema wants float",
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#,
            text("v", "a"),
            "the value is a string that is none of the symbols, the schema wants enum",
        ),
    ];
    for (kind, bin, expected) in cases {
        let error = value_of(kind, bin).unwrap_err();
        let (place, reason) = error.split_once(": ").unwrap();
        assert_eq!(reason, expected);
        assert!(place.starts_with("bin \"v\" at byte ") && place.ends_with(" of the message"), "{place}");
    }
    // The place is that of the value inside, and a whole text once.
    let list = cdt("v", "[1,\"x\"]");
    let at = message(WRITE, std::slice::from_ref(&list)).len() - 5;
    assert_eq!(
        value_of(r#"{"type":"array","items":"long"}"#, list).unwrap_err(),
        format!("bin \"v\" at byte {at} of the message: the value is a string, the schema wants long")
    );
    assert_eq!(
        round_trip(&schema_of(r#""long""#), &[]).unwrap_err(),
        "field \"v\" of the schema: there is no value for field \"v\", which has no default and cannot be null"
    );
}

#[test]
fn text_that_is_not_utf8_is_replaced_or_encoded_or_refused() {
    let bad = op(3, "v", b"a\xff\xfeb\xe2\x82");
    for (rule, expected) in [
        (InvalidUtf8::Replace, Some("a\u{FFFD}\u{FFFD}b\u{FFFD}")),
        (InvalidUtf8::Base64, Some("Yf/+YuKC")),
        (InvalidUtf8::Reject, None),
    ] {
        let format = model::Avro { invalid_utf8: rule, ..avro(&schema_of(r#""string""#)) };
        let result = encode(&format, &message(WRITE, std::slice::from_ref(&bad)));
        match expected {
            Some(text) => {
                let (body, notes) = result.unwrap();
                let value = fields_value(read(format.schema.text(), &body), "v");
                assert_eq!((value, notes.replaced_text), (Avro::String(text.into()), 1));
            }
            None => assert!(result.unwrap_err().contains("of the message: the text is not UTF-8")),
        }
    }
    for text in [&b"\xff"[..], b"\xffa", b"\xffab", b"\xffabc", b"\xffabcd"] {
        let format = model::Avro { invalid_utf8: InvalidUtf8::Base64, ..avro(&schema_of(r#""string""#)) };
        let (body, _) = encode(&format, &message(WRITE, &[op(3, "v", text)])).unwrap();
        let expected = Avro::String(base64_simd::STANDARD.encode_to_string(text));
        assert_eq!(fields_value(read(format.schema.text(), &body), "v"), expected);
    }
    // A name of a bin, and a key of a map.
    let map = r#"{"type":"map","values":{"type":"map","values":"int"}}"#;
    let mut bin = op(19, "xy", &[0x81, 0xa2, 3, 0xff, 1]);
    bin[8] = 0xff;
    let (body, notes) = encode(&avro(map), &message(WRITE, &[bin])).unwrap();
    assert_eq!(notes.replaced_text, 2);
    let inner = Avro::Map([("\u{FFFD}".to_owned(), Avro::Int(1))].into());
    assert_eq!(read(map, &body), Avro::Map([("\u{FFFD}y".to_owned(), inner)].into()));
}

#[test]
fn deletes_have_the_same_schema_and_no_bins() {
    let schema = record_schema(
        r#"{"name":"a","type":["null","long"]},{"name":"b","type":"string","default":"none"},
           {"name":"msg","type":"string"},{"name":"durable","type":["null","boolean"]},{"name":"exp","type":["null","long"]}"#,
    );
    let null = || Avro::Union(0, Box::new(Avro::Null));
    let some = |value: Avro| Avro::Union(1, Box::new(value));
    let string = |text: &str| Avro::String(text.into());
    for (info, msg, durable, exp) in [
        (WRITE, "write", null(), some(Avro::Long(1_700_000_060))),
        (DELETE, "delete", some(Avro::Boolean(false)), null()),
        (DURABLE, "delete", some(Avro::Boolean(true)), null()),
    ] {
        // A bin in a delete is no bin.
        let map = r#"{"type":"map","values":"long"}"#;
        let in_map = encode(&avro(map), &message(info, &[int("a", 5)])).unwrap().0;
        assert_eq!(in_map, if msg == "write" { vec![2, 2, b'a', 10, 0] } else { vec![0] });
        let (body, notes) = encode(&avro(&schema), &message(info, &[int("a", 5)])).unwrap();
        let a = if msg == "write" { some(Avro::Long(5)) } else { null() };
        let expected = [("a", a), ("b", string("none")), ("msg", string(msg)), ("durable", durable), ("exp", exp)];
        let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(read(&schema, &body), Avro::Record(expected));
        assert_eq!(notes, Notes::default());
    }
    let error = encode(&avro(&schema_of(r#""long""#)), &message(DELETE, &[])).unwrap_err();
    assert!(error.contains("there is no value for field \"v\""), "{error}");
    assert_eq!(encode(&avro(r#"{"type":"map","values":"long"}"#), &message(DELETE, &[])).unwrap().0, [0]);
}

#[test]
fn metadata_wins_over_bins_of_its_names() {
    let top =
        record_schema(r#"{"name":"set","type":"string"},{"name":"lut","type":"long"},{"name":"gen","type":"int"}"#);
    let bins = [text("set", "bin"), int("gen", 99), int("exp", 5)];
    let (body, notes) = encode(&avro(&top), &message(WRITE, &bins)).unwrap();
    let found = fields(read(&top, &body));
    let expected = [("set", Avro::String("set".into())), ("lut", Avro::Long(1_262_304_001_000)), ("gen", Avro::Int(7))];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(notes, Notes { dropped_bins: 2, unmatched_bins: 1, ..Notes::default() });
    // With a key, names of the metadata are names of bins, and only the key is not.
    let keyed = record_schema(
        r#"{"name":"meta","type":{"type":"record","name":"M","fields":[{"name":"gen","type":"long"}]}},{"name":"set","type":"string"}"#,
    );
    let format = model::Avro { metadata_key: Some("meta".into()), ..avro(&keyed) };
    let (body, notes) = encode(&format, &message(WRITE, &[int("meta", 1), text("set", "bin")])).unwrap();
    assert_eq!((&body[..], notes.dropped_bins), (&[14, 6, b'b', b'i', b'n'][..], 1));
    // In a map, and as a map.
    let map = r#"{"type":"map","values":["long","string","bytes",{"type":"map","values":["long","string","bytes"]}]}"#;
    let format = model::Avro { metadata_key: Some("meta".into()), ..avro(map) };
    let (body, notes) = encode(&format, &message(WRITE, &[int("meta", 1), int("a", 2)])).unwrap();
    assert_eq!(notes.dropped_bins, 1);
    let Avro::Map(found) = read(map, &body) else { panic!() };
    let Avro::Map(metadata) = bare(found["meta"].clone()) else { panic!() };
    let mut names: Vec<_> = metadata.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["digest", "exp", "gen", "lut", "msg", "namespace", "set", "userKey"]);
    assert_eq!(bare(metadata["digest"].clone()), Avro::Bytes(DIGEST.to_vec()));
    assert_eq!((found.len(), bare(metadata["userKey"].clone())), (2, Avro::Long(42)));
    // What does not fit is named.
    let wrong = record_schema(r#"{"name":"digest","type":"string"}"#);
    assert_eq!(
        encode(&avro(&wrong), &message(WRITE, &[])).unwrap_err(),
        "metadata \"digest\": the value is bytes, the schema wants string"
    );
    let absent = record_schema(r#"{"name":"durable","type":"boolean"}"#);
    assert!(encode(&avro(&absent), &message(DURABLE, &[])).is_ok());
    assert_eq!(
        encode(&avro(&absent), &message(WRITE, &[])).unwrap_err(),
        "field \"durable\" of the schema: there is no value for field \"durable\", which has no default and cannot be null"
    );
}

#[test]
fn metadata_goes_into_the_type_that_takes_all_of_it() {
    let few = r#"{"type":"record","name":"Few","fields":[{"name":"gen","type":"long"}]}"#;
    let names = ["namespace", "set", "userKey", "digest", "msg", "gen", "lut", "exp"];
    let any = r#"["null","long","string","bytes"]"#;
    let all: Vec<String> = names.iter().map(|name| format!(r#"{{"name":"{name}","type":{any}}}"#)).collect();
    let all = format!(r#"{{"type":"record","name":"All","fields":[{}]}}"#, all.join(","));
    for (kind, branch) in [(format!("[{few},{all}]"), 1), (format!("[{few},\"null\"]"), 0)] {
        let schema = schema_of(&kind);
        let format = model::Avro { metadata_key: Some("v".into()), ..avro(&schema) };
        let (body, _) = encode(&format, &message(WRITE, &[])).unwrap();
        match fields_value(read(&schema, &body), "v") {
            Avro::Union(found, _) => assert_eq!(found, branch, "{kind}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn user_keys_of_all_types_are_written() {
    let schema = record_schema(r#"{"name":"userKey","type":["null","long","double","string","bytes"]}"#);
    let keys: [(&[u8], Avro); 4] = [
        (&[1, 0, 0, 0, 0, 0, 0, 0, 9], Avro::Long(9)),
        (&[2, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Avro::Double(1.5)),
        (&[3, b'k'], Avro::String("k".into())),
        (&[4, 0, 255], Avro::Bytes(vec![0, 255])),
    ];
    for (key, expected) in keys {
        let message = message_of(WRITE, &[(0, b"ns"), (2, key), (4, &DIGEST)], &[]);
        let (body, _) = encode(&avro(&schema), &message).unwrap();
        assert_eq!(fields(read(&schema, &body))[0].1, expected);
    }
    let (body, _) = encode(&avro(&schema), &message_of(WRITE, &[(0, b"ns"), (4, &DIGEST)], &[])).unwrap();
    assert_eq!(body, [0]);
}

#[test]
fn the_formatter_is_used_again_after_errors_and_says_what_it_writes() {
    let schema = r#"{"type":"map","values":["long",{"type":"map","values":"long"}]}"#;
    let mut formatter = Formatter::new(&Format::Avro(avro(schema)), LIMITS);
    assert_eq!(formatter.content_type(), ContentType::Avro);
    let good = message(WRITE, &[int("a", 1), cdt("m", r#"{"x":1}"#)]);
    let bad = message(WRITE, &[int("a", 1), cdt("m", r#"{"x":1,"y":"text"}"#)]);
    let first = encode_with(&mut formatter, &good).unwrap();
    for _ in 0..3 {
        encode_with(&mut formatter, &bad).unwrap_err();
        assert_eq!(encode_with(&mut formatter, &good).unwrap(), first);
    }
}
