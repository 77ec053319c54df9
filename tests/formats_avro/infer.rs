//! A schema that fits what the official client read, and whether a datum has the same values.

use apache_avro::types::Value as Avro;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The type of all values that were added.
#[derive(Default)]
pub struct Shape {
    scalars: BTreeSet<&'static str>,
    items: Option<Box<Shape>>,
    values: Option<Box<Shape>>,
}

impl Shape {
    pub fn add(&mut self, value: &Value) {
        match value {
            Value::Null => drop(self.scalars.insert("null")),
            Value::Bool(_) => drop(self.scalars.insert("boolean")),
            Value::Number(number) => {
                self.scalars.insert(if is_double(number) { "double" } else { "long" });
            }
            Value::String(_) => drop(self.scalars.insert("string")),
            Value::Array(items) => {
                let shape = self.items.get_or_insert_default();
                items.iter().for_each(|item| shape.add(item));
            }
            Value::Object(marked) => match marked.iter().next().unwrap() {
                (mark, _) if mark == "$b64" => drop(self.scalars.insert("bytes")),
                (mark, _) if mark == "$f" => drop(self.scalars.insert("double")),
                (mark, _) if mark == "$geo" => drop(self.scalars.insert("string")),
                (mark, pairs) if mark == "$pairs" => {
                    let shape = self.values.get_or_insert_default();
                    pairs.as_array().unwrap().iter().for_each(|pair| shape.add(&pair[1]));
                }
                other => panic!("{other:?}"),
            },
        }
    }

    /// As a type; `first` stands before all others in the union.
    pub fn schema(&self, first: Option<Value>) -> Value {
        let mut branches: Vec<Value> = first.into_iter().collect();
        branches.extend(self.scalars.iter().map(|name| Value::from(*name)));
        if let Some(items) = &self.items {
            branches.push(json!({"type": "array", "items": items.schema(None)}));
        }
        if let Some(values) = &self.values {
            branches.push(json!({"type": "map", "values": values.schema(None)}));
        }
        match branches.len() {
            0 => "null".into(),
            1 => branches.remove(0),
            _ => branches.into(),
        }
    }
}

pub fn is_double(number: &serde_json::Number) -> bool {
    number.to_string().contains(['.', 'e', 'E'])
}

/// The record type of the metadata, with the documented types.
pub fn metadata_schema() -> Value {
    json!({"type": "record", "name": "Metadata", "fields": [
        {"name": "namespace", "type": "string"},
        {"name": "set", "type": ["null", "string"]},
        {"name": "userKey", "type": ["null", "long", "double", "bytes", "string"]},
        {"name": "digest", "type": "bytes"},
        {"name": "msg", "type": "string"},
        {"name": "gen", "type": ["null", "int"]},
        {"name": "lut", "type": ["null", "long"]},
        {"name": "exp", "type": ["null", "int"]},
        {"name": "durable", "type": ["null", "boolean"]},
    ]})
}

/// Whether a name can be that of a field.
pub fn is_field_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Whether `actual` is `expected`, type by type.
pub fn same(expected: &Value, actual: &Avro) -> bool {
    match (expected, actual) {
        (_, Avro::Union(_, inner)) => same(expected, inner),
        (Value::Null, Avro::Null) => true,
        (Value::Bool(a), Avro::Boolean(b)) => a == b,
        (Value::Number(a), Avro::Long(b)) => !is_double(a) && a.as_i64() == Some(*b),
        (Value::Number(a), Avro::Int(b)) => !is_double(a) && a.as_i64() == Some(i64::from(*b)),
        (Value::Number(a), Avro::Double(b)) => is_double(a) && a.as_f64().map(f64::to_bits) == Some(b.to_bits()),
        (Value::String(a), Avro::String(b)) => a == b,
        (Value::Array(a), Avro::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(marked), _) => same_marked(marked, actual),
        _ => false,
    }
}

fn same_marked(marked: &Map<String, Value>, actual: &Avro) -> bool {
    let (mark, content) = marked.iter().next().unwrap();
    match (mark.as_str(), actual) {
        ("$b64", Avro::Bytes(bytes)) => base64_simd::STANDARD.encode_to_string(bytes) == content.as_str().unwrap(),
        ("$geo", Avro::String(text)) => content == text,
        ("$f", Avro::Double(value)) => match content.as_str().unwrap() {
            "nan" => value.is_nan(),
            "inf" => *value == f64::INFINITY,
            _ => *value == f64::NEG_INFINITY,
        },
        ("$pairs", Avro::Map(found)) => {
            let pairs = content.as_array().unwrap();
            let names: BTreeSet<String> = pairs.iter().map(|pair| key(&pair[0])).collect();
            let has =
                |name: &str, value: &Avro| pairs.iter().any(|pair| key(&pair[0]) == name && same(&pair[1], value));
            names.len() == found.len() && found.iter().all(|(name, value)| has(name, value))
        }
        _ => false,
    }
}

/// What a key of a map becomes.
fn key(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        Value::Object(marked) => marked["$b64"].as_str().unwrap().to_owned(),
        other => other.to_string(),
    }
}
