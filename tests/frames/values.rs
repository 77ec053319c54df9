//! Compares what we wrote, as an independent reader reads it, with what an official client read.

use serde_json::{Map, Value};

/// Whether `actual` is the JSON of `expected`, type by type, by the documented rules for map keys, bytes, non-finite
/// doubles and GeoJSON.
pub fn same(expected: &Value, actual: &Value) -> bool {
    match expected {
        Value::Object(marked) => same_marked(marked, actual),
        Value::Array(items) => actual
            .as_array()
            .is_some_and(|found| found.len() == items.len() && items.iter().zip(found).all(|(a, b)| same(a, b))),
        Value::Number(number) => actual.as_number().is_some_and(|found| same_number(number, found)),
        other => other == actual,
    }
}

fn same_marked(marked: &Map<String, Value>, actual: &Value) -> bool {
    let (mark, content) = marked.iter().next().expect("one member");
    match mark.as_str() {
        "$b64" => content == actual,
        "$f" => actual.as_str() == Some(non_finite(content)),
        "$geo" => same_json(&serde_json::from_str(content.as_str().unwrap()).unwrap(), actual),
        "$pairs" => actual.as_object().is_some_and(|found| same_map(content.as_array().unwrap(), found)),
        other => panic!("unknown mark {other}"),
    }
}

fn non_finite(content: &Value) -> &'static str {
    match content.as_str().unwrap() {
        "nan" => "NaN",
        "inf" => "Infinity",
        "-inf" => "-Infinity",
        other => panic!("unknown double {other}"),
    }
}

/// Integers are equal as text, all 64 bits; doubles are equal bit by bit, and look like doubles.
fn same_number(expected: &serde_json::Number, actual: &serde_json::Number) -> bool {
    let is_double = |number: &serde_json::Number| number.to_string().contains(['.', 'e', 'E']);
    match (is_double(expected), is_double(actual)) {
        (false, false) => expected.to_string() == actual.to_string(),
        (true, true) => expected.as_f64().map(f64::to_bits) == actual.as_f64().map(f64::to_bits),
        _ => false,
    }
}

/// Plain JSON against plain JSON, numbers by value.
fn same_json(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|found| same_json(value, found)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => expected == actual,
    }
}

/// A set of pairs against an object. Of keys that become the same name one stays.
fn same_map(pairs: &[Value], actual: &Map<String, Value>) -> bool {
    let mut names: Vec<String> = pairs.iter().map(|pair| name(&pair[0])).collect();
    let all_found = pairs.iter().all(|pair| actual.contains_key(&name(&pair[0])));
    let all_right =
        actual.iter().all(|(found, value)| pairs.iter().any(|pair| name(&pair[0]) == *found && same(&pair[1], value)));
    names.sort();
    names.dedup();
    all_found && all_right && names.len() == actual.len()
}

/// The member name that a map key becomes.
fn name(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        Value::Object(marked) => marked.get("$b64").expect("bytes").as_str().unwrap().to_owned(),
        other => other.to_string(),
    }
}
