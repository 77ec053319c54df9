//! The table of keys as a JSON Schema (draft 2020-12), for editors that complete and check the file while it is written.
//!
//! It describes shapes: what depends on other settings, and whether names, files and numbers fit together, is for
//! `ringpost check`.

use serde_json::{Map, Value, json};

use super::schema::{self, Key, Section, Shape, Status, Type};

/// The schema as text.
pub fn json_schema() -> String {
    let mut root = section(&schema::ROOT);
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("Configuration of ringpost, in the format of aerospike-esp-outbound"));
    let others = schema::ALL.iter().filter(|section| section.path != schema::ROOT.path);
    let definitions: Map<String, Value> =
        others.map(|known| (definition(known), Value::Object(section(known)))).collect();
    root.insert("$defs".to_owned(), Value::Object(definitions));
    format!("{:#}\n", Value::Object(root))
}

/// In a section of this path, a key with this word needs one of these other keys.
const NEEDS: [(&str, &str, &str, &[&str]); 7] = [
    ("format", "mode", "flat-json", &["metadata-key"]),
    ("format", "mode", "avro", &["schema", "schema-file"]),
    ("routing", "mode", "static-multi-destination", &["destinations"]),
    ("bin-transforms.include", "type", "specified", &["bins"]),
    ("destinations.NAME.headers.NAME", "source", "bin-value", &["bin-name"]),
    ("destinations.NAME.headers.NAME", "source", "env", &["name"]),
    ("destinations.NAME.headers.NAME", "source", "file", &["path"]),
];

/// The conditions on a section's keys.
fn conditions(known: &Section) -> Vec<Value> {
    let of_section = NEEDS.iter().filter(|(path, ..)| *path == known.path);
    let condition = |(_, key, word, needed): &(&str, &str, &str, &[&str])| {
        let needed: Vec<Value> = needed.iter().map(|needed| json!({ "required": [needed] })).collect();
        json!({
            "if": { "properties": { *key: { "const": word } }, "required": [key] },
            "then": { "anyOf": needed },
        })
    };
    of_section.map(condition).collect()
}

/// Its name under `$defs`.
fn definition(section: &Section) -> String {
    section.path.replace(' ', "-")
}

fn section(known: &Section) -> Map<String, Value> {
    let properties: Map<String, Value> = known.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = known.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    let conditions = conditions(known);
    if !conditions.is_empty() {
        object.insert("allOf".to_owned(), json!(conditions));
    }
    object
}

fn property(key: &Key) -> Value {
    let mut value = match key.status {
        Status::Java => json!({ "type": "null" }),
        _ => shape(&key.shape),
    };
    let later = matches!(key.status, Status::Later { .. });
    let is_section = matches!(key.shape, Shape::Section(_) | Shape::Named(_) | Shape::Map(_));
    if (key.nullable || later || is_section) && !matches!(key.status, Status::Java) {
        value = any_of(vec![value, json!({ "type": "null" })]);
    }
    if let Some(value) = value.as_object_mut() {
        let about = match key.status {
            Status::Later { hint, .. } => format!("Not supported yet; {hint}. {}", key.about),
            _ => key.about.to_owned(),
        };
        value.insert("description".to_owned(), json!(about));
        if !key.default.is_empty() {
            let default = serde_json::from_str(key.default).unwrap_or_else(|_| json!(key.default));
            value.insert("default".to_owned(), default);
        }
    }
    value
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Value(of) => one(of),
        Shape::Section(known) => reference(known),
        Shape::Named(known) => {
            let mut member = reference(known);
            if known.keys.iter().all(|key| !key.required) || known.short.is_some() {
                member = any_of(vec![member, json!({ "type": "null" })]);
            }
            let mut object = json!({ "type": "object", "additionalProperties": member });
            if let (Some(pattern), Some(object)) = (names(known), object.as_object_mut()) {
                object.insert("propertyNames".to_owned(), json!({ "pattern": pattern }));
            }
            object
        }
        Shape::Items(known) => {
            let item = reference(known);
            any_of(vec![item.clone(), json!({ "type": "array", "items": item })])
        }
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": one(of) }),
        Shape::Free => json!({}),
    }
}

/// What the names of such sections look like, where not every text is one.
fn names(known: &Section) -> Option<&'static str> {
    match known.path {
        "port-based-config.PORT" => Some("^[1-9][0-9]{0,4}$"),
        "destinations.NAME.headers.NAME" => Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"),
        _ => None,
    }
}

fn reference(known: &Section) -> Value {
    let section = json!({ "$ref": format!("#/$defs/{}", definition(known)) });
    match &known.short {
        Some(short) => any_of(vec![one(short), section]),
        None => section,
    }
}

/// Alternatives; those that are alternatives themselves are taken in.
fn any_of(values: Vec<Value>) -> Value {
    let mut all = Vec::new();
    for value in values {
        match value.get("anyOf").and_then(Value::as_array) {
            Some(inner) => all.extend(inner.iter().cloned()),
            None => all.push(value),
        }
    }
    json!({ "anyOf": all })
}

fn one(of: &Type) -> Value {
    match of {
        Type::Text => json!({ "type": "string", "pattern": "\\S" }),
        Type::AnyText => json!({ "type": "string" }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Whole(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Type::Size(low, high) => any_of(vec![
            json!({ "type": "integer", "minimum": low, "maximum": high }),
            json!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)?$" }),
        ]),
        Type::Duration(low, high) => {
            json!({ "type": "string", "pattern": "^[0-9]+(us|ms|s)$", "$comment": format!("{low} to {high}") })
        }
        Type::Words(words) => json!({ "enum": words }),
        Type::AnyCase(words) => {
            let capitals = words.iter().map(|word| word.to_ascii_uppercase());
            json!({ "enum": words.iter().map(|word| (*word).to_owned()).chain(capitals).collect::<Vec<_>>() })
        }
        Type::WordOrNull(word) => json!({ "enum": [word, "null", null] }),
        Type::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Type::List(of) => list(of, 1),
        Type::ListOrEmpty(of) => list(of, 0),
        Type::Cores => any_of(vec![
            json!({ "type": "integer", "minimum": 1, "maximum": 1024 }),
            json!({ "type": "string", "pattern": "^(all|[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)$" }),
        ]),
    }
}

/// A value alone is a list of one.
fn list(of: &Type, least: u32) -> Value {
    let items = one(of);
    let list = json!({ "type": "array", "items": items, "minItems": least, "uniqueItems": true });
    any_of(vec![items, list])
}
