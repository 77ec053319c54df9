//! Every server frame as a datum, against what the official client read; ack classes of the synthetic frames.

use super::corpus;
use super::dump;
use super::infer::{Shape, is_field_name, metadata_schema, same};
use super::message::{ARRIVAL_MS, LIMITS, avro, bare, encode, read, rewritten};
use apache_avro::types::Value as Avro;
use ringpost::config::model::{self, Format};
use ringpost::format::{Formatter, Notes};
use ringpost::record;
use serde_json::{Value, json};
use std::collections::HashMap;

const LUT_EPOCH_MS: u64 = 1_262_304_000_000;

/// A record schema for what a frame holds, with the metadata in a field; and a map schema for it.
fn schemas_for(expect: &Value) -> (String, String) {
    let bins = expect["bins"].as_array().unwrap();
    let mut fields = vec![json!({"name": "metadata", "type": metadata_schema()})];
    let mut all = Shape::default();
    for bin in bins {
        all.add(&bin["value"]);
        if is_field_name(bin["name"].as_str().unwrap()) {
            let mut shape = Shape::default();
            shape.add(&bin["value"]);
            fields.push(json!({"name": bin["name"], "type": shape.schema(None)}));
        }
    }
    let record = json!({"type": "record", "name": "Frame", "fields": fields});
    // The metadata record stands first, where it is in the way of every map.
    let map = json!({"type": "map", "values": all.schema(Some(metadata_schema()))});
    (record.to_string(), map.to_string())
}

fn with_metadata(schema: &str) -> model::Avro {
    model::Avro { metadata_key: Some("metadata".into()), ..avro(schema) }
}

fn field<'a>(record: &'a [(String, Avro)], name: &str) -> &'a Avro {
    &record.iter().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn values_are_those_that_the_official_client_read() {
    let mut lines = dump::Lines::new("avro_datums.jsonl");
    let (mut checked, mut same_bytes) = (0, 0);
    for (line, frame) in corpus::server_frames() {
        let (name, expect) = (line["name"].as_str().unwrap(), &line["expect"]);
        let bins = expect["bins"].as_array().unwrap();
        let (record_schema, map_schema) = schemas_for(expect);

        let format = with_metadata(&record_schema);
        format.schema.check_metadata_key("metadata").unwrap();
        let (body, notes) = encode(&format, &frame[8..]).unwrap_or_else(|error| panic!("{name}: {error}"));
        lines.add(name, &record_schema, &body, expect);
        let Avro::Record(found) = read(&record_schema, &body) else { panic!("{name}") };
        check_metadata(name, expect, field(&found, "metadata"));
        // Bytes are those of apache-avro, too; it does not keep the order of maps.
        if !expect.to_string().contains("$pairs") {
            assert!(rewritten(&record_schema, Avro::Record(found.clone())) == body, "{name}");
            same_bytes += 1;
        }
        let named: Vec<_> = bins.iter().filter(|bin| is_field_name(bin["name"].as_str().unwrap())).collect();
        assert_eq!(notes.unmatched_bins as usize, bins.len() - named.len(), "{name}");
        for bin in named {
            let value = field(&found, bin["name"].as_str().unwrap());
            assert!(same(&bin["value"], value), "{name}: {} is {value:?}", bin["name"]);
            checked += 1;
        }

        let format = with_metadata(&map_schema);
        format.schema.check_metadata_key("metadata").unwrap();
        let (body, _) = encode(&format, &frame[8..]).unwrap_or_else(|error| panic!("{name}: {error}"));
        lines.add(&format!("{name} map"), &map_schema, &body, expect);
        let Avro::Map(found) = read(&map_schema, &body) else { panic!("{name}") };
        assert_eq!(found.len(), bins.len() + 1, "{name}");
        check_metadata(name, expect, &found["metadata"]);
        for bin in bins {
            let value = &found[bin["name"].as_str().unwrap()];
            assert!(same(&bin["value"], value), "{name} in a map: {} is {value:?}", bin["name"]);
            checked += 1;
        }
    }
    assert!(checked > 400 && same_bytes > 70, "{checked} {same_bytes}");
}

fn check_metadata(name: &str, expect: &Value, metadata: &Avro) {
    let Avro::Record(found) = bare(metadata.clone()) else { panic!("{name}: {metadata:?}") };
    let is_write = expect["op"] == "write";
    let bytes = |hex: &str| corpus::from_hex(hex);
    assert_eq!(field(&found, "digest"), &Avro::Bytes(bytes(expect["digest_hex"].as_str().unwrap())), "{name}");
    let lut = expect["lut_ms_cl_epoch"].as_u64().map_or(Value::Null, |lut| (lut + LUT_EPOCH_MS).into());
    let exp = match (is_write, expect["ttl_field"].as_u64().unwrap()) {
        (false, _) => Value::Null,
        (true, 0xFFFF_FFFF) => 0.into(),
        (true, ttl) => (ARRIVAL_MS / 1000 + ttl).into(),
    };
    let key = expect["user_key"].get("value").unwrap_or(&Value::Null);
    let durable = if is_write { &Value::Null } else { &expect["durable"] };
    let expected = [
        ("namespace", &expect["namespace"]),
        ("set", &expect["set"]),
        ("userKey", key),
        ("msg", &expect["op"]),
        ("gen", &expect["gen"]),
        ("lut", &lut),
        ("exp", &exp),
        ("durable", durable),
    ];
    for (part, value) in expected {
        assert!(same(value, field(&found, part)), "{name}: {part} is {:?}, not {value}", field(&found, part));
    }
}

/// Without a metadata key the metadata stands in fields of its own names, or nowhere.
#[test]
fn metadata_can_stand_at_the_top() {
    for (line, frame) in corpus::server_frames() {
        let (name, expect) = (line["name"].as_str().unwrap(), &line["expect"]);
        let schema = metadata_schema().to_string();
        let (body, notes) = encode(&avro(&schema), &frame[8..]).unwrap();
        check_metadata(name, expect, &read(&schema, &body));
        assert_eq!(notes.unmatched_bins as usize, expect["bins"].as_array().unwrap().len(), "{name}");
        let schema = schemas_for(expect).1;
        let Avro::Map(found) = read(&schema, &encode(&avro(&schema), &frame[8..]).unwrap().0) else { panic!() };
        assert_eq!(found.len(), expect["bins"].as_array().unwrap().len(), "{name}");
    }
}

/// Fits any record whose lists and maps are nested at most this deep.
fn permissive(depth: usize) -> Value {
    let mut branches = json!(["null", "boolean", "long", "double", "string", "bytes"]);
    if depth > 0 {
        let inner = permissive(depth - 1);
        branches.as_array_mut().unwrap().push(json!({"type": "array", "items": inner}));
        branches.as_array_mut().unwrap().push(json!({"type": "map", "values": inner}));
    }
    branches
}

/// As the JSON formats, except for what Avro cannot express.
#[test]
fn synthetic_frames_have_the_ack_class_of_the_json_formats() {
    // Nested deeper than the schema: Avro cannot describe lists of lists without a bound.
    const EXCEPTION: (&str, &str) =
        ("c20-depth-200", "the value is a list, the schema wants null, boolean, long, double, bytes or string");
    let schema = json!({"type": "map", "values": permissive(4)}).to_string();
    let mut avro = Formatter::new(&Format::Avro(avro(&schema)), LIMITS);
    let mut json = Formatter::new(&Format::Json { stringify_map_keys: true, text: Default::default() }, LIMITS);
    let (mut delivered, mut rejected) = (0, 0);
    let extras = corpus::extras().into_iter().map(|(line, frame)| (line["name"].to_string(), frame));
    for (name, frame) in corpus::synthetic().into_iter().chain(extras) {
        let Some(Ok(record)) = frame.get(8..).map(record::decode) else { continue };
        let run = |formatter: &mut Formatter| {
            let (mut out, mut notes) = (Vec::new(), Notes::default());
            let result = formatter.encode(&record, ARRIVAL_MS, &mut out, &mut notes);
            result.map(|()| (out, notes)).map_err(|error| error.to_string())
        };
        let (by_json, by_avro) = (run(&mut json), run(&mut avro));
        if name == EXCEPTION.0 {
            let error = by_avro.unwrap_err();
            assert!(error.ends_with(EXCEPTION.1), "{name}: {error}");
            continue;
        }
        match (by_json, by_avro) {
            (Ok((_, json_notes)), Ok((body, mut notes))) => {
                let Avro::Map(found) = read(&schema, &body) else { panic!("{name}") };
                let names: HashMap<_, ()> = record.bins.iter().map(|bin| (bin.name, ())).collect();
                let expected = if record.operation == record::Operation::Write { names.len() } else { 0 };
                assert_eq!(found.len(), expected, "{name}");
                // Typed JSON counts the text of the set, which this format does not write here, and odd GeoJSON.
                notes.replaced_text = json_notes.replaced_text;
                notes.invalid_geojson = json_notes.invalid_geojson;
                assert_eq!(notes, json_notes, "{name}");
                delivered += 1;
            }
            (Err(by_json), Err(by_avro)) => {
                assert_eq!(by_avro, by_json, "{name}");
                rejected += 1;
            }
            (by_json, by_avro) => panic!("{name}: {by_json:?} and {by_avro:?}"),
        }
    }
    assert!(delivered > 100 && rejected >= 10, "{delivered} {rejected}");
}

/// Frame c21: 200,000 nested lists.
#[test]
fn very_deep_nesting_meets_the_limit_and_not_the_stack() {
    use super::message::{WRITE, message, op, schema_of};
    let list = super::message::cdt("v", "[]");
    assert!(encode(&avro(&schema_of(r#"{"type":"array","items":"null"}"#)), &message(WRITE, &[list])).is_ok());
    // Only maps can be nested without a bound: by a record that has itself as a field.
    let schema = record_schema_of_itself();
    let nested = |depth: usize| {
        let mut value = [0x81, 0xa2, 3, b'v'].repeat(depth);
        value.push(0xc0);
        message(WRITE, &[op(19, "v", &value)])
    };
    for depth in [1, 255, 256] {
        let (body, _) = encode(&avro(&schema), &nested(depth)).unwrap();
        assert_eq!(body.len(), depth + 1, "one byte a branch");
    }
    for depth in [257, 200_000] {
        let error = encode(&avro(&schema), &nested(depth)).unwrap_err();
        assert!(
            error.ends_with(
                "lists and maps are nested deeper than 256; if the data is that deep raise limits.max-depth"
            ),
            "{error}"
        );
    }
}

fn record_schema_of_itself() -> String {
    super::message::schema_of(r#"["null","Top"]"#)
}
