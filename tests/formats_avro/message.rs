//! Messages for the tests, and what the format makes of them.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use ringpost::config::model::{self, Format, InvalidUtf8};
use ringpost::format::{AvroSchema, Formatter, Notes};
use ringpost::record::{self, DecodeLimits};

pub const LIMITS: DecodeLimits = DecodeLimits { max_depth: 256 };
pub const ARRIVAL_MS: u64 = 1_700_000_000_500;
pub const DIGEST: [u8; 20] = [7; 20];

/// Info bytes of a write, a delete and a durable delete.
pub const WRITE: [u8; 3] = [0x10, 0x01, 0x10];
pub const DELETE: [u8; 3] = [0x10, 0x03, 0x00];
pub const DURABLE: [u8; 3] = [0x10, 0x13, 0x00];

/// A message of generation 7, which lives for 60 s, in namespace `ns` and set `set`, with an integer key.
pub fn message(info: [u8; 3], ops: &[Vec<u8>]) -> Vec<u8> {
    let key = [&[1][..], &42i64.to_be_bytes()].concat();
    message_of(info, &[(0, b"ns"), (1, b"set"), (2, &key), (4, &DIGEST), (14, &1000u64.to_be_bytes())], ops)
}

pub fn message_of(info: [u8; 3], fields: &[(u8, &[u8])], ops: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![22, info[0], info[1], info[2], 0, 0, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 0];
    body.extend_from_slice(&(fields.len() as u16).to_be_bytes());
    body.extend_from_slice(&(ops.len() as u16).to_be_bytes());
    for (kind, data) in fields {
        body.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
        body.push(*kind);
        body.extend_from_slice(data);
    }
    body.extend(ops.concat());
    body
}

/// A bin of this particle type.
pub fn op(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + name.len() as u32 + value.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[2, kind, 0, name.len() as u8]);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(value);
    bytes
}

pub fn int(name: &str, value: i64) -> Vec<u8> {
    op(1, name, &value.to_be_bytes())
}

pub fn float(name: &str, value: f64) -> Vec<u8> {
    op(2, name, &value.to_be_bytes())
}

pub fn text(name: &str, value: &str) -> Vec<u8> {
    op(3, name, value.as_bytes())
}

pub fn blob(name: &str, value: &[u8]) -> Vec<u8> {
    op(4, name, value)
}

pub fn boolean(name: &str, value: bool) -> Vec<u8> {
    op(17, name, &[u8::from(value)])
}

pub fn nil(name: &str) -> Vec<u8> {
    op(0, name, &[])
}

pub fn geo(name: &str, value: &str) -> Vec<u8> {
    op(23, name, &[&[0, 0, 0][..], value.as_bytes()].concat())
}

/// A list or map whose MessagePack is that of this JSON; names of members are text, `#5` is the integer 5.
pub fn cdt(name: &str, json: &str) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut bytes = Vec::new();
    pack(&value, &mut bytes);
    op(if value.is_array() { 20 } else { 19 }, name, &bytes)
}

fn pack(value: &serde_json::Value, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>, kind: u8, count: usize| {
        out.push(kind);
        out.extend_from_slice(&(count as u16).to_be_bytes());
    };
    let text = |out: &mut Vec<u8>, text: &str| {
        head(out, 0xda, text.len() + 1);
        out.push(3);
        out.extend_from_slice(text.as_bytes());
    };
    match value {
        serde_json::Value::Null => out.push(0xc0),
        serde_json::Value::Bool(truth) => out.push(0xc2 + u8::from(*truth)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => {
                out.push(0xd3);
                out.extend_from_slice(&whole.to_be_bytes());
            }
            None => {
                out.push(0xcb);
                out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
            }
        },
        serde_json::Value::String(value) => text(out, value),
        serde_json::Value::Array(items) => {
            head(out, 0xdc, items.len());
            items.iter().for_each(|item| pack(item, out));
        }
        serde_json::Value::Object(members) => {
            head(out, 0xde, members.len());
            for (name, value) in members {
                match name.strip_prefix('#') {
                    Some(number) => pack(&serde_json::from_str(number).unwrap(), out),
                    None => text(out, name),
                }
                pack(value, out);
            }
        }
    }
}

/// The format of the tests, unless they say otherwise.
pub fn avro(schema: &str) -> model::Avro {
    model::Avro {
        schema: AvroSchema::parse(schema).unwrap(),
        schema_file: None,
        metadata_key: None,
        stringify_map_keys: true,
        invalid_utf8: InvalidUtf8::Replace,
    }
}

/// The datum that the format makes of a message, or why it does not.
pub fn encode(format: &model::Avro, message: &[u8]) -> Result<(Vec<u8>, Notes), String> {
    let mut formatter = Formatter::new(&Format::Avro(format.clone()), LIMITS);
    encode_with(&mut formatter, message)
}

pub fn encode_with(formatter: &mut Formatter, message: &[u8]) -> Result<(Vec<u8>, Notes), String> {
    let record = record::decode(message).map_err(|error| error.to_string())?;
    let mut out = b"before".to_vec();
    let mut notes = Notes::default();
    let result = formatter.encode(&record, ARRIVAL_MS, &mut out, &mut notes);
    assert!(out.starts_with(b"before"));
    let body = out.split_off(6);
    match result {
        Ok(()) => Ok((body, notes)),
        Err(error) => {
            assert_eq!((body.len(), notes), (0, Notes::default()), "a record that fails leaves nothing behind");
            Err(error.to_string())
        }
    }
}

/// Reads a datum with apache-avro, to its last byte.
pub fn read(schema: &str, body: &[u8]) -> Value {
    let schema = Schema::parse_str(schema).unwrap();
    read_parsed(&schema, body)
}

pub fn read_parsed(schema: &Schema, body: &[u8]) -> Value {
    let mut rest = body;
    let value = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes behind {value:?}", rest.len());
    value
}

/// The bytes that apache-avro writes for a value.
pub fn rewritten(schema: &str, value: Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

/// Writes a record with these bins, and reads it back.
pub fn round_trip(schema: &str, ops: &[Vec<u8>]) -> Result<Value, String> {
    encode(&avro(schema), &message(WRITE, ops)).map(|(body, _)| read(schema, &body))
}

/// The fields of a record by name, unions taken off.
pub fn fields(value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Record(fields) => fields.into_iter().map(|(name, value)| (name, bare(value))).collect(),
        other => panic!("{other:?}"),
    }
}

/// Without the union around it.
pub fn bare(value: Value) -> Value {
    match value {
        Value::Union(_, value) => bare(*value),
        other => other,
    }
}

/// A record schema with these fields, each as JSON.
pub fn record_schema(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"Top","fields":[{fields}]}}"#)
}

/// A record schema with one field `v` of this type.
pub fn schema_of(kind: &str) -> String {
    record_schema(&format!(r#"{{"name":"v","type":{kind}}}"#))
}
