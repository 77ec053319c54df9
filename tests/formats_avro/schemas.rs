//! Schemas: what is accepted, what is refused and with which words, defaults, and bounds.

use super::message::*;
use apache_avro::types::Value as Avro;
use ringpost::format::AvroSchema;

fn refused(schema: &str) -> String {
    AvroSchema::parse(schema).unwrap_err()
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_write() {
    let record = |fields: &str| record_schema(fields);
    let cases: Vec<(String, &str)> = vec![
        ("".into(), "the schema is empty; write a record or a map, e.g. {\"type\":\"map\",\"values\":\"string\"}"),
        ("  \n ".into(), "the schema is empty; write a record or a map"),
        ("string".into(), "the schema is not JSON: expected value at line 1 column 1"),
        ("{\"type\":\"map\",".into(), "the schema is not JSON: EOF while parsing"),
        ("{\"type\":\"map\",\"values\":\"long\"} x".into(), "the schema is not JSON: trailing characters"),
        ("\"string\"".into(), "the top of the schema is string; write a record ("),
        ("{\"type\":\"array\",\"items\":\"long\"}".into(), "the top of the schema is array; write a record ("),
        (
            "[\"null\",{\"type\":\"map\",\"values\":\"long\"}]".into(),
            "the top of the schema is null or map; write a record (",
        ),
        ("5".into(), "the schema is not valid: "),
        ("{}".into(), "the schema is not valid: "),
        ("{\"type\":\"map\"}".into(), "the schema is not valid: "),
        ("{\"type\":\"map\",\"values\":\"text\"}".into(), "the schema is not valid: "),
        ("{\"type\":\"record\",\"name\":\"R\"}".into(), "the schema is not valid: "),
        ("{\"type\":\"record\",\"fields\":[]}".into(), "the schema is not valid: "),
        (record("5"), "a field is an object with \"name\" and \"type\", not 5"),
        (record(r#"{"name":"a b","type":"long"}"#), "the schema is not valid: "),
        (record(r#"{"name":"a","type":"long"},{"name":"a","type":"int"}"#), "the schema is not valid: "),
        (record(r#"{"name":"a","type":["long","long"]}"#), "the schema is not valid: "),
        (record(r#"{"name":"a","type":[]}"#), "a union without types fits no value; write at least one"),
        (record(r#"{"name":"a","type":"Missing"}"#), "the schema is not valid: "),
    ];
    check_refusals(cases);
}

#[test]
fn types_and_defaults_that_cannot_be_written_are_refused() {
    let record = |fields: &str| record_schema(fields);
    let cases: Vec<(String, &str)> = vec![
        (
            record(
                r#"{"name":"a","type":{"type":"fixed","name":"F","size":1}},{"name":"b","type":{"type":"fixed","name":"F","size":2}}"#,
            ),
            "the name \"F\" is defined twice; define it once and then write only its name as the type",
        ),
        (
            record(r#"{"name":"a","type":{"type":"enum","name":"Top","symbols":["A"]}}"#),
            "the name \"Top\" is defined twice",
        ),
        (
            record(r#"{"name":"a","type":"Top"}"#),
            "record \"Top\" contains itself without an end; make the field that does a union with \"null\", an array or a map",
        ),
        (record(r#"{"name":"a","type":["Top"]}"#), "record \"Top\" contains itself without an end"),
        (
            record(
                r#"{"name":"a","type":["null",{"type":"record","name":"x.B","fields":[{"name":"b","type":"x.B"}]}]}"#,
            ),
            "record \"x.B\" contains itself without an end",
        ),
        (record(r#"{"name":"a","type":"long","default":"x"}"#), "the default of field \"a\": \"x\" is no long"),
        (
            record(r#"{"name":"a","type":"int","default":2147483648}"#),
            "the default of field \"a\": 2147483648 is no int",
        ),
        (
            record(r#"{"name":"a","type":["null","long"],"default":"x"}"#),
            "the default of field \"a\": \"x\" is no null or long",
        ),
        (record(r#"{"name":"a","type":"bytes","default":"\u0100"}"#), "the default of field \"a\": \"Ā\" is no bytes"),
        (
            record(r#"{"name":"a","type":{"type":"fixed","name":"F","size":2},"default":"abc"}"#),
            "the default of field \"a\": \"abc\" is no fixed of 2 bytes, one character a byte",
        ),
        (
            record(
                r#"{"name":"a","type":{"type":"record","name":"B","fields":[{"name":"b","type":"long"}]},"default":{}}"#,
            ),
            "the default of field \"a\": field \"b\" is not there and has no default",
        ),
    ];
    check_refusals(cases);
}

fn check_refusals(cases: Vec<(String, &str)>) {
    for (schema, expected) in cases {
        let error = refused(&schema);
        assert!(error.starts_with(expected), "{schema}: {error}");
        // More than the bare prefix of the parser.
        assert!(error.len() > 30, "{error}");
    }
}

#[test]
fn large_and_deep_schemas_are_refused_before_they_are_parsed() {
    let deep = |depth: usize| {
        let open = r#"{"type":"array","items":"#.repeat(depth);
        format!(r#"{{"type":"map","values":{open}"long"{}}}"#, "}".repeat(depth))
    };
    assert!(AvroSchema::parse(&deep(63)).is_ok());
    assert_eq!(
        refused(&deep(64)),
        "the schema is nested deeper than 64 brackets; give inner types names and refer to them"
    );
    assert!(refused(&"[".repeat(200_000)).contains("nested deeper"));
    assert!(refused(&deep(9_000)).contains("nested deeper"));
    // Brackets in texts are no brackets.
    let doc = format!(r#"{{"type":"map","values":"long","doc":"\"{}"}}"#, "[".repeat(100));
    assert!(AvroSchema::parse(&doc).is_ok());
    let long = format!(r#"{{"type":"map","values":"long","doc":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(refused(&long), format!("the schema has {} bytes, more than 262144", long.len()));
    let enough: Vec<String> = (0..6000).map(|at| format!(r#"{{"name":"f{at}","type":"long"}}"#)).collect();
    assert!(AvroSchema::parse(&record_schema(&enough.join(","))).is_ok());
    let types: Vec<String> = (0..8_000).map(|at| format!(r#"{{"name":"f{at}","type":["int"]}}"#)).collect();
    assert_eq!(refused(&record_schema(&types.join(","))), "the schema has more than 20000 types and fields");
}

/// A short schema whose defaults would be endless: each record holds two of the one before.
#[test]
fn defaults_that_multiply_are_refused() {
    let level = |at: usize| {
        let inner = if at == 0 { "\"long\"".to_owned() } else { format!("\"R{}\"", at - 1) };
        let default = if at == 0 { "0" } else { "{}" };
        let field = |name: &str| format!(r#"{{"name":"{name}","type":{inner},"default":{default}}}"#);
        format!(
            r#"{{"name":"f{at}","type":{{"type":"record","name":"R{at}","fields":[{},{}]}},"default":{{}}}}"#,
            field("a"),
            field("b")
        )
    };
    let schema = |levels: usize| record_schema(&(0..levels).map(level).collect::<Vec<_>>().join(","));
    assert!(AvroSchema::parse(&schema(10)).is_ok());
    let error = refused(&schema(50));
    assert!(error.ends_with("all defaults of the schema need more than 1048576 bytes"), "{error}");
    // One of each: long instead of wide.
    let chain = |at: usize| {
        let inner = if at == 0 { "\"long\"".to_owned() } else { format!("\"R{}\"", at - 1) };
        let default = if at == 0 { "0" } else { "{}" };
        format!(
            r#"{{"name":"f{at}","type":{{"type":"record","name":"R{at}","fields":[{{"name":"a","type":{inner},"default":{default}}}]}},"default":{{}}}}"#
        )
    };
    let error = refused(&record_schema(&(0..2000).map(chain).collect::<Vec<_>>().join(",")));
    assert!(error.ends_with("records are nested deeper than 64 in it"), "{error}");
}

/// Each record ends only if the one before does, which is found out one after another.
#[test]
fn long_chains_of_records_are_checked_in_reasonable_time() {
    let level = |at: usize| {
        let inner = if at == 0 { "\"long\"".to_owned() } else { format!("\"R{}\"", at - 1) };
        format!(
            r#"{{"name":"f{at}","type":{{"type":"record","name":"R{at}","fields":[{{"name":"x","type":{{"type":"record","name":"N{at}","fields":[{{"name":"y","type":{inner}}}]}}}}]}}}}"#
        )
    };
    let schema = record_schema(&(0..1600).map(level).collect::<Vec<_>>().join(","));
    let started = std::time::Instant::now();
    AvroSchema::parse(&schema).unwrap();
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn fields_without_a_value_take_their_default_else_null() {
    let schema = record_schema(
        r#"{"name":"b","type":"boolean","default":true},
        {"name":"i","type":"int","default":-7},
        {"name":"l","type":"long","default":9223372036854775807},
        {"name":"f","type":"float","default":1.5},
        {"name":"d","type":"double","default":3},
        {"name":"s","type":"string","default":"żółć"},
        {"name":"y","type":"bytes","default":"\u0000\u00ffA"},
        {"name":"x","type":{"type":"fixed","name":"F","size":2},"default":"\u0001\u00fe"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"B"},
        {"name":"a","type":{"type":"array","items":"long"},"default":[1,2]},
        {"name":"a0","type":{"type":"array","items":"long"},"default":[]},
        {"name":"m","type":{"type":"map","values":"string"},"default":{"k":"v"}},
        {"name":"m0","type":{"type":"map","values":"string"},"default":{}},
        {"name":"r","type":{"type":"record","name":"R","fields":[{"name":"p","type":"long"},{"name":"q","type":"long","default":4}]},"default":{"p":3}},
        {"name":"n","type":["null","long"],"default":null},
        {"name":"n1","type":["long","null"],"default":5},
        {"name":"n2","type":["null","long"],"default":5},
        {"name":"n3","type":["long","null"]},
        {"name":"z","type":"null"},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"},"default":12}"#,
    );
    let (body, _) = encode(&avro(&schema), &message(WRITE, &[])).unwrap();
    let found = fields(read(&schema, &body));
    let string = |text: &str| Avro::String(text.into());
    let expected = [
        Avro::Boolean(true),
        Avro::Int(-7),
        Avro::Long(i64::MAX),
        Avro::Float(1.5),
        Avro::Double(3.0),
        string("żółć"),
        Avro::Bytes(vec![0, 255, b'A']),
        Avro::Fixed(2, vec![1, 254]),
        Avro::Enum(1, "B".into()),
        Avro::Array(vec![Avro::Long(1), Avro::Long(2)]),
        Avro::Array(vec![]),
        Avro::Map([("k".to_owned(), string("v"))].into()),
        Avro::Map(Default::default()),
        Avro::Record(vec![("p".into(), Avro::Long(3)), ("q".into(), Avro::Long(4))]),
        Avro::Null,
        Avro::Long(5),
        Avro::Long(5),
        Avro::Null,
        Avro::Null,
        Avro::TimestampMillis(12),
    ];
    let found: Vec<Avro> = found.into_iter().map(|(_, value)| value).collect();
    assert_eq!(found, expected);
}

#[test]
fn names_of_types_are_found_in_their_namespaces_and_by_alias() {
    let schema = r#"{"type":"record","name":"Top","namespace":"a.b","fields":[
        {"name":"p","type":{"type":"record","name":"P","aliases":["Q"],"fields":[{"name":"x","type":"long"}]}},
        {"name":"q","type":["null","Q"]},
        {"name":"r","type":["null","a.b.P"]},
        {"name":"e","type":{"type":"enum","name":"other.E","symbols":["A"]}},
        {"name":"f","type":["null","other.E"]}]}"#;
    let bins = [cdt("p", r#"{"x":1}"#), cdt("q", r#"{"x":2}"#), cdt("r", r#"{"x":3}"#), text("e", "A"), text("f", "A")];
    let (body, notes) = encode(&avro(schema), &message(WRITE, &bins)).unwrap();
    assert_eq!((&body[..], notes.unmatched_bins), (&[2, 2, 4, 2, 6, 0, 2, 0][..], 0));
    // apache-avro cannot read what is named by an alias.
    read(&schema.replace("\"Q\"]}", "\"P\"]}"), &body);
}

#[test]
fn schemas_are_equal_by_their_compact_text() {
    let schema = " {\n \"type\" : \"map\",\t\"values\": [ \"null\", \"string\" ], \"doc\": \"a \\\" b  c\" }\n";
    let parsed = AvroSchema::parse(schema).unwrap();
    assert_eq!(parsed.text(), r#"{"type":"map","values":["null","string"],"doc":"a \" b  c"}"#);
    assert_eq!(parsed, AvroSchema::parse(parsed.text()).unwrap());
    assert_ne!(parsed, AvroSchema::parse(r#"{"type":"map","values":["null","string"]}"#).unwrap());
    assert!(format!("{:?}", parsed.clone()).starts_with("AvroSchema(\"{"));
}

#[test]
fn metadata_keys_that_cannot_hold_metadata_are_refused() {
    let check = |schema: &str, key: &str| AvroSchema::parse(schema).unwrap().check_metadata_key(key);
    let top = |kind: &str| record_schema(&format!(r#"{{"name":"meta","type":{kind}}},{{"name":"v","type":"long"}}"#));
    let record = r#"{"type":"record","name":"M","fields":[{"name":"gen","type":"int"}]}"#;
    let other = r#"{"type":"record","name":"M","fields":[{"name":"gen","type":"int"},{"name":"foo","type":"int"}]}"#;
    let map = r#"{"type":"map","values":"string"}"#;
    assert_eq!(check(&top(record), "meta"), Ok(()));
    assert_eq!(check(&top(&format!(r#"["null",{record}]"#)), "meta"), Ok(()));
    assert_eq!(check(&top(map), "meta"), Ok(()));
    assert_eq!(check(&top(&format!("[{other},{map}]")), "meta"), Ok(()));
    assert_eq!(
        check(&top(record), "metadata").unwrap_err(),
        "the schema has no field \"metadata\" for the metadata; its fields are: meta, v"
    );
    assert_eq!(
        check(&top(record), "v").unwrap_err(),
        "field \"v\" is long, which cannot hold the metadata; make it a record or map, or a union with one"
    );
    assert_eq!(
        check(&top(r#"["null","string"]"#), "meta").unwrap_err(),
        "field \"meta\" is null or string, which cannot hold the metadata; make it a record or map, or a union with one"
    );
    assert_eq!(
        check(&top(other), "meta").unwrap_err(),
        "field \"meta\" asks for \"foo\", which is no metadata; give it a default, or take it out \
         (metadata: namespace, set, userKey, digest, msg, gen, lut, exp, durable)"
    );
    assert_eq!(check(&format!(r#"{{"type":"map","values":["long",{record}]}}"#), "m"), Ok(()));
    assert_eq!(
        check(r#"{"type":"map","values":["long","string"]}"#, "m").unwrap_err(),
        "the map's value type is long or string, which cannot hold the metadata; make it a record or map, or a union with one"
    );
}

#[test]
fn fields_that_deletes_cannot_fill_are_named() {
    let schema = AvroSchema::parse(&record_schema(
        r#"{"name":"a","type":"long"},{"name":"b","type":["null","long"]},{"name":"c","type":"long","default":1},
        {"name":"set","type":"string"},{"name":"d","type":{"type":"map","values":"long"}},{"name":"z","type":"null"}"#,
    ))
    .unwrap();
    assert_eq!(schema.fields_that_need_a_bin(None), ["a", "d"]);
    assert_eq!(schema.fields_that_need_a_bin(Some("d")), ["a", "set"]);
    assert!(AvroSchema::parse(r#"{"type":"map","values":"long"}"#).unwrap().fields_that_need_a_bin(None).is_empty());
}

/// Unions of records that fail late, nested: every branch is tried at every level.
#[test]
fn tries_are_bounded() {
    let record = |name: &str, last: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"n","type":"Any"}},{{"name":"z","type":{last}}}]}}"#
        )
    };
    let schema = |last: &str| {
        record_schema(&format!(
            r#"{{"name":"v","type":{{"type":"record","name":"Any","fields":[{{"name":"u","type":["null",{}]}}]}}}}"#,
            [record("A", last), record("B", last), record("C", last)].join(",")
        ))
    };
    let nested = |depth: usize| {
        let mut value = serde_json::json!({"u": null});
        for _ in 0..depth {
            value = serde_json::json!({"u": {"n": value, "z": "text"}});
        }
        message(WRITE, &[cdt("v", &value.to_string())])
    };
    assert!(encode(&avro(&schema(r#""string""#)), &nested(40)).is_ok());
    assert!(encode(&avro(&schema(r#""long""#)), &nested(3)).unwrap_err().contains("the schema wants long"));
    let started = std::time::Instant::now();
    let error = encode(&avro(&schema(r#""long""#)), &nested(40)).unwrap_err();
    assert!(error.ends_with("fitting the record to the schema takes too long, or makes it too large"), "{error}");
    assert!(started.elapsed().as_secs() < 5);
}

/// Many small maps that each become a large default.
#[test]
fn sizes_are_bounded() {
    let schema = schema_of(&format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[{{"name":"d","type":"string","default":"{}"}}]}}}}"#,
        "x".repeat(100_000)
    ));
    let list = |count: usize| cdt("v", &format!("[{}]", vec!["{}"; count].join(",")));
    assert_eq!(encode(&avro(&schema), &message(WRITE, &[list(5)])).unwrap().0.len(), 500_017);
    let error = encode(&avro(&schema), &message(WRITE, &[list(1000)])).unwrap_err();
    assert!(error.ends_with("fitting the record to the schema takes too long, or makes it too large"), "{error}");
}
