//! Random values and bytes against random schemas: never a panic, and what is written can be read to its last byte.

use super::message::*;
use apache_avro::Schema;
use proptest::prelude::*;
use ringpost::config::model::Format;
use ringpost::format::{AvroSchema, Formatter};
use serde_json::{Value, json};

/// A type; named ones get their names afterwards.
fn kind() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
            .prop_map(Value::from),
        (0usize..4).prop_map(|size| json!({"type": "fixed", "size": size})),
        Just(json!({"type": "enum", "symbols": ["a", "b", "key"]})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let union = prop::collection::vec(inner.clone(), 1..5).prop_map(|branches| distinct(branches).into());
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|values| json!({"type": "map", "values": values})),
            prop::collection::vec((inner.clone(), any::<bool>()), 0..4).prop_map(|fields| {
                let fields: Vec<_> = ["a", "b", "key", "z"]
                    .iter()
                    .zip(fields)
                    .map(|(name, (kind, nullable))| {
                        let kind = match (nullable, kind) {
                            (true, Value::Array(branches)) => distinct([vec!["null".into()], branches].concat()).into(),
                            (true, kind) => distinct(vec!["null".into(), kind]).into(),
                            (false, kind) => kind,
                        };
                        json!({"name": name, "type": kind})
                    })
                    .collect();
                json!({"type": "record", "fields": fields})
            }),
            union,
        ]
    })
}

/// The branches of a union: no two of a kind, unless they have names; no unions.
fn distinct(branches: Vec<Value>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for branch in branches {
        let name = |kind: &Value| kind.get("type").unwrap_or(kind).clone();
        let is_named = ["record", "fixed", "enum"].iter().any(|named| name(&branch) == *named);
        if !branch.is_array() && (is_named || found.iter().all(|other| name(other) != name(&branch))) {
            found.push(branch);
        }
    }
    if found.is_empty() { vec!["null".into()] } else { found }
}

fn give_names(kind: &mut Value, next: &mut usize) {
    match kind {
        Value::Array(branches) => branches.iter_mut().for_each(|branch| give_names(branch, next)),
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| ["record", "fixed", "enum"].iter().any(|named| kind == named)) {
                *next += 1;
                members.insert("name".into(), format!("N{next}").into());
            }
            for member in ["items", "values", "type"] {
                members.get_mut(member).into_iter().for_each(|inner| give_names(inner, next));
            }
            let fields = members.get_mut("fields").and_then(Value::as_array_mut);
            fields.into_iter().flatten().for_each(|field| give_names(&mut field["type"], next));
        }
        _ => {}
    }
}

fn schema() -> impl Strategy<Value = String> {
    (prop::collection::vec(kind(), 1..4), any::<bool>()).prop_map(|(kinds, is_map)| {
        let mut schema = if is_map {
            json!({"type": "map", "values": kinds[0]})
        } else {
            let fields: Vec<_> =
                ["a", "b", "key"].iter().zip(kinds).map(|(name, kind)| json!({"name": name, "type": kind})).collect();
            json!({"type": "record", "fields": fields})
        };
        give_names(&mut schema, &mut 0);
        schema.to_string()
    })
}

/// A value as JSON, for [`cdt`].
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "text", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 32, 5, |inner| {
        let name = prop::sample::select(vec!["a", "b", "key", "z", "#1", "#2.5", "#true"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

fn bin(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => value().prop_map(move |value| match value {
            Value::Null => nil(name),
            Value::Bool(truth) => boolean(name, truth),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => int(name, whole),
                None => float(name, number.as_f64().unwrap()),
            },
            Value::String(value) => text(name, &value),
            other => cdt(name, &other.to_string()),
        }),
        1 => (0u8..26, prop::collection::vec(any::<u8>(), 0..40)).prop_map(move |(kind, bytes)| op(kind, name, &bytes)),
        1 => (19u8..21, prop::collection::vec(msgpack(), 0..12))
            .prop_map(move |(kind, bytes)| op(kind, name, &bytes.concat())),
    ]
}

/// Pieces of MessagePack that often go together.
fn msgpack() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0x80u8..0x84).prop_map(|byte| vec![byte]),
        (0x90u8..0x94).prop_map(|byte| vec![byte]),
        Just(vec![0xa2, 3, b'a']),
        Just(vec![0xa2, 3, 0xff]),
        Just(vec![0xa2, 4, 1]),
        Just(vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        Just(vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn what_is_written_reads_back(
        schema in schema(),
        bins in (bin("a"), bin("b"), bin("key"), bin("other")),
        info in prop::sample::select(vec![WRITE, WRITE, WRITE, DELETE]),
        key in prop::sample::select(vec![None, None, Some("key"), Some("m")]),
    ) {
        let mut format = avro(&schema);
        format.metadata_key = key.filter(|key| format.schema.check_metadata_key(key).is_ok()).map(str::to_owned);
        let mut formatter = Formatter::new(&Format::Avro(format), LIMITS);
        let parsed = Schema::parse_str(&schema).unwrap();
        for bins in [&[bins.0.clone(), bins.1.clone(), bins.2.clone(), bins.3][..], &[bins.1, bins.0, bins.2][..]] {
            if let Ok((body, _)) = encode_with(&mut formatter, &message(info, bins)) {
                read_parsed(&parsed, &body);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}", schema in schema(), cut in 0usize..2000) {
        let _ = AvroSchema::parse(&text);
        let cut = schema.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(schema.len());
        let _ = AvroSchema::parse(&schema[..cut]);
        let swapped = schema.replace("string", "N1").replace("\"items\"", "\"values\"");
        let _ = AvroSchema::parse(&swapped);
    }
}
