//! The kinds of settings at each level: the top level in full, the others as far as the file gives them.

use super::{Page, list, quoted};
use crate::config::context::join;
use crate::config::model::{
    BatchBody, Batching, BinSet, BinTransforms, Config, Format, InvalidUtf8, NameTransform, NamespaceRules, Overrides,
    RecordOrdering, Routing, TextRules,
};
use crate::config::value::show_size;

/// Every level of the file.
pub fn print(page: &mut Page<'_>, config: &Config) {
    let top = &config.rules.top;
    if top.routing.is_none() {
        let more = if is_routed(config) { ": other records are acked and not delivered" } else { NOTHING_DELIVERED };
        page.setting(0, &[], "routing", "null", more);
    }
    overrides(page, 0, "", top, config);
    if top.format.is_none() {
        format(page, 0, "", &Format::Xdr);
    }
    namespaces(page, 0, "", &config.rules.namespaces, config);
    if config.rules.ports.is_empty() {
        return;
    }
    page.section(0, "port-based-config");
    for block in &config.rules.ports {
        let path = join("port-based-config", &block.port.to_string());
        page.section(1, &block.port.to_string());
        overrides(page, 2, &path, &block.own, config);
        namespaces(page, 2, &path, &block.namespaces, config);
    }
}

const NOTHING_DELIVERED: &str = ": every record is acked, and none is delivered";

/// Whether any namespace, set or port has a route.
fn is_routed(config: &Config) -> bool {
    let namespace = |it: &NamespaceRules| it.own.routing.is_some() || it.sets.iter().any(|it| it.1.routing.is_some());
    let rules = &config.rules;
    rules.namespaces.iter().any(namespace)
        || rules.ports.iter().any(|port| port.own.routing.is_some() || port.namespaces.iter().any(namespace))
}

fn namespaces(page: &mut Page<'_>, depth: usize, path: &str, namespaces: &[NamespaceRules], config: &Config) {
    if namespaces.is_empty() {
        return;
    }
    page.section(depth, "namespaces");
    for namespace in namespaces {
        let path = join(&join(path, "namespaces"), &namespace.name);
        page.section(depth + 1, &namespace.name);
        overrides(page, depth + 2, &path, &namespace.own, config);
        if namespace.sets.is_empty() {
            continue;
        }
        page.section(depth + 2, "sets");
        for (name, own) in &namespace.sets {
            page.section(depth + 3, name);
            overrides(page, depth + 4, &join(&join(&path, "sets"), name), own, config);
        }
    }
}

fn overrides(page: &mut Page<'_>, depth: usize, path: &str, own: &Overrides, config: &Config) {
    if let Some(own) = &own.routing {
        routing(page, depth, path, own, config);
    }
    if let Some(own) = &own.format {
        format(page, depth, path, own);
    }
    if let Some(own) = &own.bin_transforms {
        bin_transforms(page, depth, path, own);
    }
    if let Some(own) = &own.batching {
        batching(page, depth, path, own);
    }
    if let Some(own) = &own.ordering {
        ordering(page, depth, path, own);
    }
}

/// `routing` of the level at `path`.
pub fn routing(page: &mut Page<'_>, depth: usize, path: &str, routing: &Routing, config: &Config) {
    let section = join(path, "routing");
    page.section(depth, "routing");
    match routing {
        Routing::Skip => page.one(depth + 1, &section, "mode", "skip"),
        Routing::Destinations(indices) => {
            page.one(depth + 1, &section, "mode", "static-multi-destination");
            let names = indices.iter().filter_map(|index| config.destinations.get(*index)).map(|it| quoted(&it.name));
            let paths = [join(&section, "destinations"), join(&section, "destination")];
            page.setting(depth + 1, &paths, "destinations", &list(names), "");
        }
    }
}

/// `format` of the level at `path`.
pub fn format(page: &mut Page<'_>, depth: usize, path: &str, format: &Format) {
    let section = join(path, "format");
    page.section(depth, "format");
    let mut one = |key: &str, value: &str| page.one(depth + 1, &section, key, value);
    match format {
        Format::Json { stringify_map_keys, text } => {
            one("mode", "json");
            one("stringify-map-keys", &stringify_map_keys.to_string());
            text_rules(&mut one, *text);
        }
        Format::FlatJson { metadata_key, stringify_map_keys, text } => {
            one("mode", "flat-json");
            one("metadata-key", &quoted(metadata_key));
            one("stringify-map-keys", &stringify_map_keys.to_string());
            text_rules(&mut one, *text);
        }
        Format::MessagePack { delete_metadata, invalid_utf8 } => {
            one("mode", "message-pack");
            one("delete-metadata", &delete_metadata.to_string());
            one("invalid-utf8", utf8(*invalid_utf8));
        }
        Format::Avro(avro) => {
            one("mode", "avro");
            match &avro.schema_file {
                Some(file) => one("schema-file", &quoted(&file.display().to_string())),
                None => one("schema", &quoted(avro.schema.text())),
            }
            if let Some(metadata_key) = &avro.metadata_key {
                one("metadata-key", &quoted(metadata_key));
            }
            one("stringify-map-keys", &avro.stringify_map_keys.to_string());
            one("invalid-utf8", utf8(avro.invalid_utf8));
        }
        Format::Xdr => one("mode", "xdr"),
    }
}

fn text_rules(one: &mut impl FnMut(&str, &str), text: TextRules) {
    one("non-finite-floats", if text.non_finite_as_null { "null" } else { "string" });
    one("invalid-utf8", utf8(text.invalid_utf8));
}

const fn utf8(rule: InvalidUtf8) -> &'static str {
    match rule {
        InvalidUtf8::Replace => "replace",
        InvalidUtf8::Base64 => "base64",
        InvalidUtf8::Reject => "reject",
    }
}

/// `bin-transforms` of the level at `path`.
pub fn bin_transforms(page: &mut Page<'_>, depth: usize, path: &str, transforms: &BinTransforms) {
    let section = join(path, "bin-transforms");
    page.section(depth, "bin-transforms");
    bins(page, depth + 1, &section, "include", &transforms.include);
    if let Some(exclude) = &transforms.exclude {
        bins(page, depth + 1, &section, "exclude", exclude);
    }
    if !transforms.map.is_empty() {
        page.section(depth + 1, "map");
        for (old, new) in &transforms.map {
            page.one(depth + 2, &join(&section, "map"), old, &quoted(new));
        }
    }
    if !transforms.transforms.is_empty() {
        let transforms = transforms.transforms.iter().map(|transform| match transform {
            NameTransform::Lowercase => "lowercase".to_owned(),
            NameTransform::Uppercase => "uppercase".to_owned(),
            NameTransform::Trim => "trim".to_owned(),
            NameTransform::Regex { pattern, replacement } => {
                format!("{{ regex: {{ pattern: {}, replacement: {} }} }}", quoted(pattern), quoted(replacement))
            }
        });
        page.one(depth + 1, &section, "transforms", &list(transforms));
    }
}

fn bins(page: &mut Page<'_>, depth: usize, section: &str, key: &str, set: &BinSet) {
    let section = join(section, key);
    page.section(depth, key);
    let kind = match set {
        BinSet::All => "all",
        BinSet::None => "none",
        BinSet::Specified(_) => "specified",
    };
    page.one(depth + 1, &section, "type", kind);
    if let BinSet::Specified(names) = set {
        page.one(depth + 1, &section, "bins", &list(names.iter().map(|name| quoted(name))));
    }
}

/// `batching` of the level at `path`.
pub fn batching(page: &mut Page<'_>, depth: usize, path: &str, batching: &Batching) {
    let section = join(path, "batching");
    page.section(depth, "batching");
    page.one(depth + 1, &section, "enabled", &batching.enabled.to_string());
    page.one(depth + 1, &section, "max-bytes", &show_size(batching.max_bytes));
    page.one(depth + 1, &section, "max-records", &batching.max_records.to_string());
    let interval = join(&section, "batch-interval");
    // The default is above what the record deadline leaves, which would be a warning if it were written.
    let key = if page.lines.contains_key(interval.as_str()) { "batch-interval" } else { "# batch-interval" };
    page.setting(depth + 1, &[interval], key, &batching.interval.as_millis().to_string(), "");
    let body = if batching.body == BatchBody::NdJson { "ndjson" } else { "array" };
    page.one(depth + 1, &section, "body", body);
}

/// `record-ordering` of the level at `path`.
pub fn ordering(page: &mut Page<'_>, depth: usize, path: &str, ordering: &RecordOrdering) {
    let section = join(path, "record-ordering");
    page.section(depth, "record-ordering");
    page.one(depth + 1, &section, "enable", &ordering.enable.to_string());
    page.one(depth + 1, &section, "lut-cache-ttl-seconds", &ordering.ttl.as_secs().to_string());
    page.one(depth + 1, &section, "coalesce-waiting", &ordering.coalesce_waiting.to_string());
    page.one(depth + 1, &section, "max-entries", &ordering.max_entries.to_string());
}
