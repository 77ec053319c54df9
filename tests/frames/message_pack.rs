//! Reads our MessagePack with an independent reader and compares it with what others read.

use rmpv::Value as Packed;
use serde_json::Value;
use std::collections::HashMap;

/// A record as it stands in the body.
#[derive(Debug)]
pub struct Record {
    pub is_write: bool,
    pub key: [Packed; 4],
    /// Generation, expiry and last-update time of a write.
    pub numbers: Option<[Packed; 3]>,
    /// Flags of a delete.
    pub flags: Option<u64>,
    /// What a delete has behind its flags.
    pub delete_metadata: Vec<Packed>,
    pub bins: Vec<Bin>,
}

#[derive(Debug)]
pub struct Bin {
    pub name: String,
    pub kind: u64,
    pub flags: u64,
    pub value: Packed,
}

fn array<const N: usize>(value: Packed) -> [Packed; N] {
    let Packed::Array(items) = value else { panic!("no array: {value}") };
    items.try_into().unwrap_or_else(|items| panic!("{N} elements expected: {items:?}"))
}

fn list(value: Packed) -> Vec<Packed> {
    let Packed::Array(items) = value else { panic!("no array: {value}") };
    items
}

/// Reads all of `body`; every array has exactly the documented elements.
pub fn read(body: &[u8]) -> Record {
    let mut rest = body;
    let message = rmpv::decode::read_value(&mut rest).expect("readable");
    assert!(rest.is_empty(), "{} bytes behind the record", rest.len());
    let [version, operation, payload] = array(message);
    assert_eq!(version.as_u64(), Some(1));
    if operation.as_u64() == Some(1) {
        let [key, generation, expiry, lut, bins] = array(payload);
        let bins = list(bins).into_iter().map(bin).collect();
        let numbers = Some([generation, expiry, lut]);
        return Record { is_write: true, key: array(key), numbers, flags: None, delete_metadata: Vec::new(), bins };
    }
    assert_eq!(operation.as_u64(), Some(2));
    let mut payload = list(payload);
    assert!([2, 4].contains(&payload.len()));
    let delete_metadata = payload.split_off(2);
    let [key, flags] = array(Packed::Array(payload));
    let flags = Some(flags.as_u64().unwrap());
    Record { is_write: false, key: array(key), numbers: None, flags, delete_metadata, bins: Vec::new() }
}

fn bin(value: Packed) -> Bin {
    let [name, kind, flags, value] = array(value);
    let name = name.as_str().expect("a name that is UTF-8").to_owned();
    let bin = Bin { name, kind: kind.as_u64().unwrap(), flags: flags.as_u64().unwrap(), value };
    let fits = match bin.kind {
        0 => bin.value.is_nil(),
        1 => bin.value.is_i64() || bin.value.is_u64(),
        2 => matches!(bin.value, Packed::F64(_)),
        3 | 23 => bin.value.as_str().is_some(),
        17 => bin.value.is_bool(),
        19 => bin.value.is_map(),
        20 => bin.value.is_array(),
        _ => bin.value.is_bin(),
    };
    assert!(fits, "{bin:?}");
    let most = match bin.kind {
        19 => 3,
        20 => 1,
        _ => 0,
    };
    assert!(bin.flags <= most && bin.flags != 2, "{bin:?}");
    bin
}

/// Whether a bin's value is what the official client read, type by type. GeoJSON is text in a bin.
pub fn same_bin(expected: &Value, bin: &Bin) -> bool {
    match expected.get("$geo") {
        Some(text) => bin.kind == 23 && bin.value.as_str() == text.as_str(),
        None => same(expected, &bin.value),
    }
}

/// Whether `actual` is what the official client read, type by type.
pub fn same(expected: &Value, actual: &Packed) -> bool {
    match (expected, actual) {
        (Value::Object(marked), _) => {
            let (mark, content) = marked.iter().next().expect("one member");
            same_marked(mark, content, actual)
        }
        (Value::Array(items), Packed::Array(found)) => {
            items.len() == found.len() && items.iter().zip(found).all(|(a, b)| same(a, b))
        }
        (Value::Null, Packed::Nil) => true,
        (Value::Bool(a), Packed::Boolean(b)) => a == b,
        (Value::String(a), Packed::String(b)) => Some(a.as_str()) == b.as_str(),
        (Value::Number(a), Packed::Integer(b)) => a.to_string() == b.to_string(),
        (Value::Number(a), Packed::F64(b)) => {
            a.to_string().contains(['.', 'e', 'E']) && a.as_f64().map(f64::to_bits) == Some(b.to_bits())
        }
        _ => false,
    }
}

fn same_marked(mark: &str, content: &Value, actual: &Packed) -> bool {
    match (mark, actual) {
        ("$b64", Packed::Binary(bytes)) => content == &Value::from(base64(bytes)),
        ("$geo", Packed::Ext(23, bytes)) => content.as_str().map(str::as_bytes) == Some(bytes),
        ("$f", Packed::F64(value)) => match content.as_str().unwrap() {
            "nan" => value.is_nan(),
            "inf" => *value == f64::INFINITY,
            "-inf" => *value == f64::NEG_INFINITY,
            other => panic!("unknown double {other}"),
        },
        ("$pairs", Packed::Map(found)) => {
            let pairs = content.as_array().unwrap();
            let alike = |pair: &Value, (key, value): &(Packed, Packed)| same(&pair[0], key) && same(&pair[1], value);
            pairs.len() == found.len() && pairs.iter().zip(found).all(|(pair, found)| alike(pair, found))
        }
        _ => false,
    }
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Whether a bin's value and its JSON say the same.
pub fn agrees_bin(bin: &Bin, json: &Value) -> bool {
    match bin.kind {
        23 => agrees_geojson(bin.value.as_str().unwrap().as_bytes(), json),
        _ => agrees(&bin.value, json),
    }
}

/// Whether a value and its JSON say the same, by the documented rules for what JSON cannot hold.
pub fn agrees(packed: &Packed, json: &Value) -> bool {
    match (packed, json) {
        (Packed::Nil, Value::Null) => true,
        (Packed::Boolean(a), Value::Bool(b)) => a == b,
        (Packed::Integer(a), Value::Number(b)) => a.to_string() == b.to_string(),
        (Packed::F64(a), Value::Number(b)) => {
            b.to_string().contains(['.', 'e', 'E']) && b.as_f64().map(f64::to_bits) == Some(a.to_bits())
        }
        (Packed::F64(a), Value::String(b)) => !a.is_finite() && non_finite(*a) == b,
        (Packed::String(a), Value::String(b)) => a.as_str() == Some(b),
        (Packed::Ext(23, text), json) => agrees_geojson(text, json),
        (Packed::Binary(bytes) | Packed::Ext(_, bytes), Value::String(b)) => base64(bytes) == *b,
        (Packed::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agrees(a, b)),
        (Packed::Map(pairs), Value::Object(members)) => {
            // Of keys that become the same name the last one stays.
            let named: HashMap<String, &Packed> = pairs.iter().map(|(key, value)| (name(key), value)).collect();
            let found = |(name, value): (&String, &&Packed)| members.get(name).is_some_and(|json| agrees(value, json));
            named.len() == members.len() && named.iter().all(found)
        }
        _ => false,
    }
}

fn agrees_geojson(text: &[u8], json: &Value) -> bool {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => value == *json,
        Err(_) => json.as_str() == Some(&String::from_utf8_lossy(text)),
    }
}

fn non_finite(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

/// The member name that a map key becomes.
fn name(key: &Packed) -> String {
    match key {
        Packed::String(text) => text.as_str().unwrap().to_owned(),
        Packed::F64(value) if value.is_finite() => serde_json::to_string(value).unwrap(),
        Packed::F64(value) => non_finite(*value).to_owned(),
        Packed::Nil => "null".to_owned(),
        Packed::Boolean(_) | Packed::Integer(_) => key.to_string(),
        Packed::Ext(23, _) => panic!("no frame has GeoJSON as a key"),
        Packed::Binary(bytes) | Packed::Ext(_, bytes) => base64(bytes),
        Packed::Array(items) => format!("[{}]", items.iter().map(name).collect::<Vec<_>>().join(",")),
        other => panic!("no frame has this key: {other}"),
    }
}
