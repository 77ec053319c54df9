//! The text of a schema, before it is parsed: bounds, compact form, and defaults set aside.

use serde_json::Value;

/// Longest schema. It is part of every object container file, so that a longer one would cost more than the records.
pub(super) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// Deepest nesting of brackets in a schema: parsers of schemas recurse.
const MAX_SCHEMA_DEPTH: usize = 64;

/// The attribute under which [`read`] leaves the default of a record field.
pub(super) const DEFAULT: &str = "ringpost-default";

/// Reads the text as JSON, and moves the default of each record field to [`DEFAULT`]: apache-avro would try each default
/// against the schema, without a bound on depth or work, and would read those of bytes as UTF-8.
pub(super) fn read(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Err(
            "the schema is empty; write a record or a map, e.g. {\"type\":\"map\",\"values\":\"string\"}".into()
        );
    }
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(format!("the schema has {} bytes, more than {MAX_SCHEMA_BYTES}", text.len()));
    }
    if depth(text) > MAX_SCHEMA_DEPTH {
        return Err(format!(
            "the schema is nested deeper than {MAX_SCHEMA_DEPTH} brackets; give inner types names and refer to them"
        ));
    }
    let mut schema = serde_json::from_str(text).map_err(|error| format!("the schema is not JSON: {error}"))?;
    set_defaults_aside(&mut schema)?;
    Ok(schema)
}

/// The text without white space between its tokens.
pub(super) fn compact(text: &str) -> String {
    let mut strings = Strings::default();
    text.chars().filter(|letter| strings.holds(*letter) || !letter.is_ascii_whitespace()).collect()
}

/// Deepest nesting of brackets.
fn depth(text: &str) -> usize {
    let (mut strings, mut open, mut deepest) = (Strings::default(), 0usize, 0);
    for letter in text.chars() {
        match letter {
            _ if strings.holds(letter) => {}
            '{' | '[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            '}' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Follows which characters of a JSON text stand inside strings.
#[derive(Default)]
struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Whether `letter`, the next one, stands inside a string or ends one.
    fn holds(&mut self, letter: char) -> bool {
        let inside = self.inside;
        match letter {
            _ if self.escaped => self.escaped = false,
            '\\' if inside => self.escaped = true,
            '"' => self.inside = !inside,
            _ => {}
        }
        inside
    }
}

/// Recurses as deep as the text is nested, which was checked.
fn set_defaults_aside(schema: &mut Value) -> Result<(), String> {
    match schema {
        Value::Array(branches) => branches.iter_mut().try_for_each(set_defaults_aside),
        Value::Object(members) => {
            for member in ["type", "items", "values"] {
                members.get_mut(member).map_or(Ok(()), set_defaults_aside)?;
            }
            let Some(Value::Array(fields)) = members.get_mut("fields") else { return Ok(()) };
            for field in fields {
                let Value::Object(field) = field else {
                    return Err(format!("a field is an object with \"name\" and \"type\", not {field}"));
                };
                field.remove(DEFAULT);
                if let Some(default) = field.remove("default") {
                    field.insert(DEFAULT.to_owned(), default);
                }
                field.get_mut("type").map_or(Ok(()), set_defaults_aside)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
