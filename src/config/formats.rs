//! `format`, at any level: how a record is written, and the options of each mode.

use std::path::PathBuf;

use super::context::{Context, join};
use super::fault::shown;
use super::model::{Avro, Format, InvalidUtf8, TextRules};
use super::value;
use super::view::{View, word};
use super::yaml::{Entry, Kind, Node};
use crate::format::AvroSchema;

/// Largest Avro schema.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

/// Fields that a message names.
const MAX_NAMED_FIELDS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Json,
    FlatJson,
    MessagePack,
    Avro,
    Xdr,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Mode::Json => "json",
            Mode::FlatJson => "flat-json",
            Mode::MessagePack => "message-pack",
            Mode::Avro => "avro",
            Mode::Xdr => "xdr",
        }
    }

    /// The options that change something.
    const fn options(self) -> &'static [&'static str] {
        match self {
            Mode::Json => &["stringify-map-keys", "non-finite-floats", "invalid-utf8"],
            Mode::FlatJson => &["metadata-key", "stringify-map-keys", "non-finite-floats", "invalid-utf8"],
            Mode::MessagePack => &["delete-metadata", "invalid-utf8"],
            Mode::Avro => &["metadata-key", "stringify-map-keys", "schema", "schema-file", "invalid-utf8"],
            Mode::Xdr => &[],
        }
    }
}

/// Every option, whatever its mode.
#[derive(Default)]
struct Options {
    metadata_key: Option<String>,
    stringify_map_keys: bool,
    delete_metadata: bool,
    text: TextRules,
    schema: Option<String>,
    schema_file: Option<String>,
}

/// Reads the `format` of `level`. `None`: there is none, or it has a fault.
pub fn read(context: &mut Context<'_>, level: &View<'_>) -> Option<Format> {
    let entry = level.find("format").filter(|entry| !entry.value.is_null())?;
    if entry.value.text().is_some() {
        return short(context, level, entry);
    }
    let view = level.section(context, "format");
    if !matches!(entry.value.kind, Kind::Map(_)) {
        return None;
    }
    if view.find("mode").is_none() {
        context.fault(view.at, &view.path_of("mode"), "missing; write `mode: flat-json` or `mode: json`".to_owned());
    }
    let mode = view.read(context, "mode", None, |node| mode(node).map(Some));
    let options = options(context, &view);
    let mode = mode?;
    old_spelling(context, &view.path_of("mode"), view.find("mode"));
    for key in ["metadata-key", "stringify-map-keys", "non-finite-floats", "invalid-utf8", "delete-metadata"]
        .iter()
        .chain(&["schema", "schema-file"])
        .filter(|key| !mode.options().contains(key) && view.find(key).is_some())
    {
        view.warn(context, key, format!("has no effect with `mode: {}`; take it out", mode.word()));
    }
    if matches!(mode, Mode::Json | Mode::FlatJson) && !options.stringify_map_keys {
        let message = "`false` changes nothing: all names of JSON members are strings; take it out".to_owned();
        view.warn(context, "stringify-map-keys", message);
    }
    let Options { stringify_map_keys, text, .. } = options;
    Some(match mode {
        Mode::Json => Format::Json { stringify_map_keys, text },
        Mode::FlatJson => {
            if view.find("metadata-key").is_none() {
                let message = "missing, and flat-json needs it; write `metadata-key: metadata`".to_owned();
                context.fault(view.at, &view.path_of("metadata-key"), message);
            }
            Format::FlatJson { metadata_key: options.metadata_key?, stringify_map_keys, text }
        }
        Mode::MessagePack => {
            Format::MessagePack { delete_metadata: options.delete_metadata, invalid_utf8: text.invalid_utf8 }
        }
        Mode::Avro => Format::Avro(avro(context, &view, options)?),
        Mode::Xdr => Format::Xdr,
    })
}

/// The early spelling: the mode alone.
fn short(context: &mut Context<'_>, level: &View<'_>, entry: &Entry) -> Option<Format> {
    let path = level.path_of("format");
    context.lines.push((join(&path, "mode"), entry.key_at.line));
    let text = TextRules::default();
    let needs = |what: &str, example: &str| Err(format!("{what}; write {example}"));
    let format = mode(&entry.value).and_then(|mode| match mode {
        Mode::Json => Ok(Format::Json { stringify_map_keys: true, text }),
        Mode::FlatJson => {
            needs("flat-json needs a `metadata-key`", "`format: { mode: flat-json, metadata-key: metadata }`")
        }
        Mode::MessagePack => Ok(Format::MessagePack { delete_metadata: false, invalid_utf8: text.invalid_utf8 }),
        Mode::Avro => needs("avro needs a schema", "`format: { mode: avro, schema-file: FILE }`"),
        Mode::Xdr => Ok(Format::Xdr),
    });
    match format {
        Ok(format) => {
            old_spelling(context, &path, Some(entry));
            Some(format)
        }
        Err(message) => {
            context.fault(entry.value.at, &path, message);
            None
        }
    }
}

fn mode(node: &Node) -> Result<Mode, String> {
    match node.text().filter(|_| !node.is_null()) {
        Some("custom") => Err("`custom` runs a Java class, which is not supported; write flat-json or json".to_owned()),
        Some("msgpack") => Ok(Mode::MessagePack),
        _ => {
            let modes = [Mode::FlatJson, Mode::Json, Mode::MessagePack, Mode::Avro, Mode::Xdr];
            word(node, &modes.map(|mode| (mode.word(), mode)))
        }
    }
}

fn old_spelling(context: &mut Context<'_>, path: &str, entry: Option<&Entry>) {
    if let Some(entry) = entry.filter(|entry| entry.value.text() == Some("msgpack")) {
        let message = "`msgpack` is the spelling of 2019; write message-pack".to_owned();
        context.warn(entry.value.at, path, message);
    }
}

fn options(context: &mut Context<'_>, view: &View<'_>) -> Options {
    let utf8 = [("replace", InvalidUtf8::Replace), ("base64", InvalidUtf8::Base64), ("reject", InvalidUtf8::Reject)];
    Options {
        metadata_key: view.read(context, "metadata-key", None, |node| value::text(node).map(Some)),
        stringify_map_keys: view.boolean(context, "stringify-map-keys", true),
        delete_metadata: view.boolean(context, "delete-metadata", false),
        text: TextRules {
            invalid_utf8: view.choice(context, "invalid-utf8", &utf8, InvalidUtf8::Replace),
            non_finite_as_null: view.read(context, "non-finite-floats", false, |node| match node.text() {
                // YAML's `null` is the word here; nothing at all is not.
                Some("null" | "Null" | "NULL" | "~") => Ok(true),
                _ => word(node, &[("string", false), ("null", true)]),
            }),
        },
        schema: view.read(context, "schema", None, |node| match &node.kind {
            Kind::Map(_) | Kind::List(_) => Err(format!(
                "{} where a schema as text is needed; write `schema: |` and the JSON below it, indented",
                value::describe(node)
            )),
            Kind::Scalar { .. } => value::text(node).map(Some),
        }),
        schema_file: view.read(context, "schema-file", None, |node| value::text(node).map(Some)),
    }
}

fn avro(context: &mut Context<'_>, view: &View<'_>, options: Options) -> Option<Avro> {
    let (inline, file) = (view.find("schema"), view.find("schema-file"));
    let (key, text, path) = match (inline, file) {
        (Some(inline), Some(_)) => {
            let message = format!("`schema` is given, too, on line {}; keep one of the two", inline.key_at.line);
            view.fault(context, "schema-file", message);
            return None;
        }
        (None, None) => {
            let message =
                "missing, and avro needs a schema; write `schema-file: FILE`, or `schema: |` and JSON below it";
            view.fault(context, "schema", message.to_owned());
            return None;
        }
        (Some(_), None) => ("schema", options.schema?, None),
        (None, Some(_)) => {
            let (text, path) = schema_file(context, view, &options.schema_file?)?;
            ("schema-file", text, Some(path))
        }
    };
    let schema = match AvroSchema::parse(&text) {
        Ok(schema) => schema,
        Err(message) => {
            view.fault(context, key, with_advice(message));
            return None;
        }
    };
    if let Some(Err(message)) = options.metadata_key.as_deref().map(|key| schema.check_metadata_key(key)) {
        view.fault(context, "metadata-key", with_advice(message));
        return None;
    }
    if options.metadata_key.is_none() && schema.is_map() {
        let message = "a map schema without `metadata-key`: bodies say neither which record they are of, nor whether it was deleted; \
                       add `metadata-key`, and a record or map to the values that can hold the metadata";
        view.warn(context, key, message.to_owned());
    }
    let needed = schema.fields_that_need_a_bin(options.metadata_key.as_deref());
    if !needed.is_empty() {
        let names = needed.iter().take(MAX_NAMED_FIELDS).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
        let more = if needed.len() > MAX_NAMED_FIELDS { " and others" } else { "" };
        let message = format!(
            "{names}{more} cannot be null and have no default, so that no delete fits the schema, nor an update without \
             such a bin: each would be answered as a content error; give them a default, or write [\"null\", ...] as the type"
        );
        view.warn(context, key, message);
    }
    Some(Avro {
        schema,
        schema_file: path,
        metadata_key: options.metadata_key,
        stringify_map_keys: options.stringify_map_keys,
        invalid_utf8: options.text.invalid_utf8,
    })
}

/// Every message says what to write; those of other modules may leave it to us.
fn with_advice(message: String) -> String {
    if message.contains("; ") { message } else { format!("{message}; correct the schema") }
}

fn schema_file(context: &mut Context<'_>, view: &View<'_>, written: &str) -> Option<(String, PathBuf)> {
    let path = context.directory.join(written);
    let read = (context.outside.file)(&path, MAX_SCHEMA_BYTES)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8; save it as UTF-8".to_owned()));
    match read {
        Ok(text) => Some((text, path)),
        Err(why) => {
            view.fault(context, "schema-file", format!("cannot read {}: {why}", shown(written)));
            None
        }
    }
}
