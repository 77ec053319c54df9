//! Levels, formats, bin-transforms, batching, headers: values as they arrive, and what is said about wrong ones.

use super::*;
use model::{BatchBody, BinSet, ContentErrors, HeaderValue, InvalidUtf8, NameTransform, TextRules};

/// Every level, every format but avro.
pub const LEVELS: &str = r#"
service: { port: [ 8901, 8902 ] }
destinations:
  a: { urls: "http://a/", call-timeout: 500 }
  b: { urls: "http://b/", permanent-status-codes: 422, compression: gzip, compression-threshold: 1KiB }
routing: { mode: static-multi-destination, destinations: a }
format: { mode: json, non-finite-floats: null, invalid-utf8: base64 }
bin-transforms:
  include: { type: specified, bins: name }
  exclude: { type: all }
  map: { old: new, "1": one }
  transforms: [ trim, lowercase, regex: { pattern: "^a(.)", replacement: "" }, uppercase, trim ]
batching: { max-bytes: 1MiB, max-records: 25, batch-interval: 2000, body: ndjson }
namespaces:
  users:
    routing: { mode: skip }
    format: { mode: message-pack, delete-metadata: true, invalid-utf8: reject }
    sets:
      s: { format: { mode: flat-json, metadata-key: m }, bin-transforms: { transforms: uppercase } }
  logs: { format: xdr, batching: { enabled: false } }
port-based-config:
  8902:
    bin-transforms: {}
    namespaces:
      users:
        routing: { mode: static-multi-destination, destinations: [ b, a ] }
        sets: { s: { batching: { max-bytes: 5 } } }
content-errors: permanent
rejected-file: kept/rejected
rejected-file-max-bytes: 4KiB
"#;

/// Every source of a header.
pub const HEADERS: &str = r#"
destinations:
  a:
    urls: "http://a/"
    headers:
      x-static: "Basic hunter2"
      x-plain: hunter2
      X-Env: { source: env, name: TOKEN }
      x-file: { source: file, path: secrets/key }
      x-namespace: { source: namespace }
      x-set: { source: set }
      x-user-key: { source: user-key }
      x-lut: { source: lut }
      x-generation: { source: generation }
      x-operation: { source: operation }
      x-bin: { source: bin-value, bin-name: tenant }
      x-digest: { source: digest }
      Aerospike-Digest: null
  b: { urls: "http://b/", headers: { aerospike-digest: { source: digest } } }
  c: { urls: "http://c/", headers: { aerospike-digest: { source: set } } }
  d: { urls: "http://d/" }
routing: { mode: static-multi-destination, destinations: [ a, b, c, d ] }
"#;

fn levels() -> model::Config {
    config(LEVELS)
}

#[test]
fn every_level_arrives() {
    let config = levels();
    let rules = &config.rules;
    let top = &rules.top;
    assert_eq!(top.routing, Some(Routing::Destinations(vec![0])));
    let text = TextRules { invalid_utf8: InvalidUtf8::Base64, non_finite_as_null: true };
    assert_eq!(top.format, Some(Format::Json { stringify_map_keys: true, text }));
    let batching = top.batching.as_ref().unwrap();
    assert_eq!((batching.enabled, batching.max_bytes, batching.max_records), (true, 1 << 20, 25));
    assert_eq!((batching.interval, batching.body), (Duration::from_secs(2), BatchBody::NdJson));

    let transforms = top.bin_transforms.as_ref().unwrap();
    assert_eq!(transforms.include, BinSet::Specified(vec!["name".to_owned()]));
    assert_eq!(transforms.exclude, Some(BinSet::All));
    let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
    assert_eq!(transforms.map, [pair("old", "new"), pair("1", "one")]);
    let regex = NameTransform::Regex { pattern: "^a(.)".to_owned(), replacement: String::new() };
    let (trim, small) = (NameTransform::Trim, NameTransform::Lowercase);
    assert_eq!(transforms.transforms, [trim.clone(), small, regex, NameTransform::Uppercase, trim]);

    let [users, logs] = rules.namespaces.as_slice() else { panic!("{rules:?}") };
    assert_eq!((users.name.as_str(), &users.own.routing), ("users", &Some(Routing::Skip)));
    let message_pack = Format::MessagePack { delete_metadata: true, invalid_utf8: InvalidUtf8::Reject };
    assert_eq!(users.own.format, Some(message_pack));
    let (name, own) = &users.sets[0];
    let flat = Format::FlatJson { metadata_key: "m".to_owned(), stringify_map_keys: true, text: TextRules::default() };
    assert_eq!((name.as_str(), &own.format), ("s", &Some(flat)));
    assert_eq!(logs.own.format, Some(Format::Xdr));
    let batching = logs.own.batching.as_ref().unwrap();
    assert!(!batching.enabled);
    assert_eq!((batching.max_bytes, batching.max_records), (i64::MAX as u64, i32::MAX as u32));
    assert_eq!((batching.interval, batching.body), (Duration::from_secs(8), BatchBody::Array));

    let [block] = rules.ports.as_slice() else { panic!("{rules:?}") };
    assert_eq!((block.port, &block.own.bin_transforms), (8902, &Some(model::BinTransforms::default())));
    assert_eq!(block.namespaces[0].own.routing, Some(Routing::Destinations(vec![1, 0])));
    assert_eq!(block.namespaces[0].sets[0].1.batching.as_ref().unwrap().max_bytes, 5);
}

#[test]
fn destinations_and_content_errors_arrive() {
    let config = levels();
    let [a, b] = config.destinations.as_slice() else { panic!() };
    assert_eq!(b.permanent.codes().collect::<Vec<_>>(), [422]);
    assert_eq!((b.gzip_above, a.gzip_above), (Some(1024), None));
    assert_eq!(a.permanent, model::StatusSet::empty());
    assert_eq!(config.content_errors, ContentErrors::Permanent);
    let rejected = config.rejected.unwrap();
    assert_eq!((rejected.file.as_path(), rejected.max_bytes), (Path::new("/etc/ringpost/kept/rejected"), 4096));
    let config = self::config(&format!("{MINIMAL}content-errors: temporary\n"));
    assert_eq!((config.content_errors, config.rejected), (ContentErrors::Temporary, None));
}

#[test]
fn every_header_arrives() {
    let config = config(HEADERS);
    let [a, b, c, d] = config.destinations.as_slice() else { panic!() };
    let secret = |text: &str| model::Secret(text.to_owned());
    let expected = [
        ("x-static", HeaderValue::Static(secret("Basic hunter2"))),
        ("x-plain", HeaderValue::Static(secret("hunter2"))),
        ("X-Env", HeaderValue::Env("TOKEN".to_owned(), secret("hunter2"))),
        ("x-file", HeaderValue::File("/etc/ringpost/secrets/key".into(), secret("hunter2"))),
        ("x-namespace", HeaderValue::Namespace),
        ("x-set", HeaderValue::Set),
        ("x-user-key", HeaderValue::UserKey),
        ("x-lut", HeaderValue::LastUpdate),
        ("x-generation", HeaderValue::Generation),
        ("x-operation", HeaderValue::Operation),
        ("x-bin", HeaderValue::Bin("tenant".to_owned())),
        ("x-digest", HeaderValue::Digest),
    ];
    assert!(!a.headers.digest);
    assert_eq!(a.headers.list.len(), expected.len());
    for (header, (name, value)) in a.headers.list.iter().zip(expected) {
        assert_eq!((header.name.as_str(), &header.value), (name, &value));
    }
    assert_eq!((&b.headers, &d.headers), (&model::Headers::default(), &model::Headers::default()));
    assert!(!c.headers.digest);
    assert_eq!(c.headers.list[0].value, HeaderValue::Set);
}

#[test]
fn what_is_printed_loads_to_the_same_settings() {
    for text in [LEVELS, HEADERS, ALL, MINIMAL, TWO] {
        let loaded = load_text(text);
        let shown = effective::print(&loaded, &Ok(vec![0]));
        assert!(!shown.contains("hunter2"), "{shown}");
        let again = load_text(&shown);
        assert_eq!((lines(&again.faults), lines(&again.warnings)), (vec![], lines(&loaded.warnings)), "{shown}");
        assert_eq!(printed(loaded.config.unwrap()), printed(again.config.unwrap()), "{shown}");
    }
}

#[test]
fn ordering_arrives_at_each_level_and_is_printed() {
    let text = format!(
        "{MINIMAL}record-ordering: {{ lut-cache-ttl-seconds: 60, coalesce-waiting: true, max-entries: 5 }}\n\
         namespaces: {{ logs: {{ record-ordering: {{ enable: false }} }} }}\n"
    );
    let loaded = load_text(&text);
    assert_eq!((lines(&loaded.faults), lines(&loaded.warnings)), (vec![], vec![]));
    let shown = effective::print(&loaded, &Ok(vec![0]));
    let of = |namespace| {
        let selection = effective::Selection { namespace: Some(namespace), ..effective::Selection::default() };
        effective::print_selected(&loaded, selection)
    };
    assert!(of("logs").contains("# namespaces.logs.record-ordering, line"), "{}", of("logs"));
    assert!(of("other").contains("  coalesce-waiting: true"), "{}", of("other"));
    let rules = load_text(&shown).config.unwrap().rules;
    let top = rules.top.ordering.unwrap();
    assert_eq!((top.enable, top.ttl, top.coalesce_waiting, top.max_entries), (true, Duration::from_secs(60), true, 5));
    assert_eq!(rules.resolve(None, Some("logs"), None).ordering.map(|(_, own)| own.enable), Some(false));
    let plain = load_text(&format!("{MINIMAL}record-ordering: {{}}\n")).config.unwrap().rules.top.ordering.unwrap();
    assert_eq!((plain.ttl, plain.coalesce_waiting, plain.max_entries), (Duration::from_secs(30), false, 1_000_000));
    let set = load_text(&format!("{MINIMAL}namespaces: {{ n: {{ sets: {{ s: {{ record-ordering: {{}} }} }} }} }}\n"));
    assert!(lines(&set.faults)[0].contains("record-ordering"), "{:?}", lines(&set.faults));
}

#[test]
fn only_what_holds_for_a_record_is_printed() {
    let loaded = load_text(LEVELS);
    let show = |port, namespace, set| effective::print_selected(&loaded, effective::Selection { port, namespace, set });
    let page = show(Some(8902), Some("users"), Some("s"));
    for part in [
        "# port-based-config.8902.namespaces.users.routing, line 26\nrouting:",
        "# namespaces.users.sets.s.format, line 19\nformat:",
        "# port-based-config.8902.bin-transforms, line 23\nbin-transforms:",
        "# port-based-config.8902.namespaces.users.sets.s.batching, line 27\nbatching:",
        "    # content-type: application/json\n",
        "http://b/",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = show(Some(8901), Some("logs"), None);
    assert!(
        page.contains("# routing, line 6\n") && page.contains("# content-type: application/octet-stream\n"),
        "{page}"
    );
    assert!(!page.contains("http://b/"), "{page}");
    let page = show(None, None, None);
    assert!(page.contains("# content-type: application/x-ndjson\n"), "{page}");
    let loaded = load_text(HEADERS);
    let page = effective::print_selected(&loaded, effective::Selection::default());
    assert!(page.contains("# default\nformat:") && page.contains("x-static: \"***\""), "{page}");
    assert!(!page.contains("hunter2"), "{page}");
    assert!(load_text(&page).config.is_none_or(|config| config.destinations.len() == 4), "{page}");
}

/// The faults of a destination with `headers`.
fn header_faults(headers: &str) -> Vec<String> {
    let text = format!(
        "destinations: {{ a: {{ urls: \"http://h/\", headers: {headers} }} }}\n\
         routing: {{ mode: static-multi-destination, destinations: a }}\n"
    );
    let loaded = load_text(&text);
    assert!(loaded.faults.iter().all(|fault| !fault.to_string().contains("hunter2")), "{:?}", loaded.faults);
    lines(&loaded.faults)
}

#[test]
fn wrong_headers_are_refused_without_a_word_of_their_value() {
    for (headers, part) in [
        ("{ x: 5 }", "in quotes"),
        ("{ x: true }", "in quotes"),
        ("{ x: null }", "no value"),
        ("{ x: }", "no value"),
        ("{ aerospike-digest: }", "no value"),
        ("{ x: [ hunter2 ] }", "a list"),
        ("{ x: \" hunter2\" }", "blank"),
        ("{ x: \"hunter2\\nb\" }", "line break"),
        ("{ x: \"hunter2\\0\" }", "visible ASCII"),
        ("{ x: \"\" }", "empty"),
        ("{ host: hunter2 }", "taken from the URL"),
        ("{ \"x y\": hunter2 }", "no header can have this name"),
        ("{ x: hunter2, X: hunter2 }", "the same header as on line 1"),
        ("{ aerospike-digest: null, AEROSPIKE-DIGEST: hunter2 }", "the same header"),
        ("{ x: { source: static, value: hunter2 } }", "needs no source"),
        ("{ x: { name: TOKEN } }", "x.source: missing"),
        ("{ x: { source: env } }", "write `name: ...`"),
        ("{ x: { source: bin-value } }", "write `bin-name: ...`"),
        ("{ x: { source: user_key } }", "write user-key"),
        ("{ x: { source: env, name: NONE } }", "variable `NONE` cannot be read: it is not set"),
        ("{ x: { source: env, name: BROKEN } }", "variable `BROKEN` has a line break"),
        ("{ x: { source: file, path: none } }", "the file `none` cannot be read: there is no such file"),
        ("{ x: { source: file, path: empty } }", "is empty"),
        ("{ x: { source: file, path: bytes } }", "not UTF-8"),
        ("{ x: { source: file, path: blank-at-the-end } }", "a blank"),
    ] {
        let found = header_faults(headers);
        assert!(found.iter().any(|line| line.contains(part) && line.contains("; ")), "{headers}: {found:?}");
        assert!(found.len() <= 2, "{headers}: {found:?}");
    }
    assert_eq!(header_faults("{ x: { source: file, path: two-words } }"), Vec::<String>::new());
    let many: String = (0..65).map(|number| format!("x{number}: v, ")).collect();
    assert_eq!(header_faults(&format!("{{ {many} }}")), ["destinations.a.headers: more than 64 headers; write fewer"]);
}

#[test]
fn headers_of_one_record_and_batches_exclude_each_other() {
    let with = |more: &str| {
        let text = format!("{HEADERS}{more}");
        let loaded = load_text(&text);
        lines(&loaded.faults)
    };
    let five = with("namespaces: { n: { sets: { s: { batching: {} } } } }\n");
    let names = ["x-user-key", "x-lut", "x-generation", "x-bin", "x-digest"];
    assert_eq!(five.len(), names.len(), "{five:?}");
    for (line, name) in five.iter().zip(names) {
        assert!(line.starts_with(&format!("destinations.a.headers.{name}: ")), "{line}");
        assert!(line.contains("`namespaces.n.sets.s.batching`"), "{line}");
    }
    // Batches that never go there.
    for none in [
        "batching: { enabled: false }\n",
        "namespaces: { n: { batching: {}, routing: { mode: skip } } }\n",
        "namespaces: { n: { batching: {}, routing: { mode: static-multi-destination, destinations: [ b, c ] } } }\n",
        "port-based-config: { 8080: { batching: {}, routing: { mode: skip } } }\n",
        "batching: {}\nport-based-config: { 8080: { batching: { enabled: false } } }\n",
    ] {
        assert_eq!(with(none), Vec::<String>::new(), "{none}");
    }
    // A set routes there although its namespace, which batches, does not.
    let set = "namespaces: { n: { batching: {}, routing: { mode: skip }, \
               sets: { s: { routing: { mode: static-multi-destination, destinations: a } } } } }\n";
    assert_eq!(with(set).len(), 5);
}

#[test]
fn a_batch_interval_that_cannot_be_kept_is_a_warning_that_says_what_holds() {
    let with = |batching: &str, more: &str| {
        let text = format!("{MINIMAL}batching: {batching}\n{more}");
        let loaded = load_text(&text);
        assert_eq!(lines(&loaded.faults), Vec::<String>::new());
        lines(&loaded.warnings)
    };
    assert_eq!(with("{ batch-interval: 6000 }", ""), Vec::<String>::new());
    assert_eq!(with("{ max-records: 5 }", ""), Vec::<String>::new());
    assert_eq!(with("{ batch-interval: 8000, enabled: false }", ""), Vec::<String>::new());
    let found = with("{ batch-interval: 6001 }", "");
    assert!(found[0].contains("has only 1s of its 7s left, so 6s holds; write at most 6000"), "{found:?}");
    let found = with("{ batch-interval: 2000 }", "limits: { record-deadline: 1s }\n");
    assert!(found[0].contains("has only 500ms of its 1s left, so 500ms holds; write at most 500"), "{found:?}");
}

#[test]
fn body_ndjson_needs_a_json_format_somewhere() {
    let warnings = |format: &str, more: &str| {
        let text = MINIMAL.replace("format:\n  mode: flat-json\n  metadata-key: metadata\n", "");
        lines(&load_text(&format!("{text}format: {format}\nbatching: {{ body: ndjson }}\n{more}")).warnings)
    };
    let found = warnings("message-pack", "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("batching.body: has no effect") && found[0].contains("`message-pack`"), "{found:?}");
    assert_eq!(warnings("json", ""), Vec::<String>::new());
    assert_eq!(warnings("xdr", "namespaces: { n: { format: json } }\n"), Vec::<String>::new());
}

#[test]
fn without_a_format_records_are_written_as_xdr() {
    let text = MINIMAL.replace("format:\n  mode: flat-json\n  metadata-key: metadata\n", "");
    let loaded = load_text(&text);
    assert_eq!((lines(&loaded.faults), lines(&loaded.warnings)), (vec![], vec![]));
    assert!(effective::print(&loaded, &Ok(vec![0])).contains("  mode: xdr"));
    assert_eq!(loaded.config.unwrap().rules.top.format, None);
}

#[test]
fn formats_take_the_options_of_their_mode_only() {
    let found = |format: &str| {
        let text = MINIMAL.replace("format:\n  mode: flat-json\n  metadata-key: metadata\n", "");
        let loaded = load_text(&format!("{text}format: {format}\n"));
        (lines(&loaded.faults), lines(&loaded.warnings))
    };
    for (format, part) in [
        ("{ metadata-key: x }", "format.mode: missing"),
        ("{ mode: flat-json }", "format.metadata-key: missing"),
        ("flat-json", "needs a `metadata-key`"),
        ("avro", "avro needs a schema"),
        ("{ mode: avro }", "format.schema: missing"),
        ("{ mode: avro, schema: \"{}\", schema-file: a }", "format.schema-file: `schema` is given, too"),
        ("{ mode: avro, schema: { type: map } }", "write `schema: |`"),
        ("{ mode: avro, schema-file: none }", "format.schema-file: cannot read `none`: there is no such file"),
        ("{ mode: avro, schema-file: bytes }", "not UTF-8"),
        ("{ mode: avro, schema: nonsense }", "format.schema: "),
        ("{ mode: custom }", "Java class"),
        ("{ mode: json, non-finite-floats: }", "has no value"),
        ("{ mode: json, non-finite-floats: nan }", "write"),
        ("{ mode: json, invalid-utf8: keep }", "write one of replace, base64, reject"),
        ("[ json ]", "a list where a section is needed"),
    ] {
        let (faults, _) = found(format);
        assert_eq!(faults.len(), 1, "{format}: {faults:?}");
        assert!(faults[0].contains(part) && faults[0].contains("; "), "{format}: {faults:?}");
    }
    for (format, warned) in [
        ("msgpack", 1),
        ("{ mode: json, metadata-key: m, delete-metadata: true, schema: a, schema-file: b }", 4),
        ("{ mode: json, stringify-map-keys: false }", 1),
        ("{ mode: message-pack, stringify-map-keys: true, non-finite-floats: string }", 2),
        ("{ mode: xdr, invalid-utf8: replace }", 1),
        ("{ mode: json, non-finite-floats: ~, invalid-utf8: reject }", 0),
        ("null", 0),
    ] {
        let (faults, warnings) = found(format);
        assert_eq!((faults.len(), warnings.len()), (0, warned), "{format}: {faults:?} {warnings:?}");
    }
}

/// Every way to give a schema.
pub const AVRO: &str = r#"
destinations: { a: { urls: "http://a/" } }
routing: { mode: static-multi-destination, destinations: a }
format:
  mode: avro
  metadata-key: metadata
  stringify-map-keys: false
  schema: |
    { "type": "map", "values": [ "null", "long", "string", { "type": "map", "values": [ "null", "long", "string", "bytes" ] } ] }
namespaces: { n: { format: { mode: avro, schema-file: a.avsc, invalid-utf8: base64 } } }
"#;

#[test]
fn what_a_schema_cannot_hold_is_said_before_the_start() {
    let map = AVRO.replace(", { \"type\": \"map\", \"values\": [ \"null\", \"long\", \"string\", \"bytes\" ] }", "");
    let faults = lines(&load_text(&map).faults);
    assert!(faults.len() == 1 && faults[0].starts_with("format.metadata-key: "), "{faults:?}");
    let record =
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":["null","long"]}]}"#;
    let strict = format!(
        "destinations: {{ a: {{ urls: \"http://a/\" }} }}\nrouting: {{ mode: static-multi-destination, destinations: a }}\n\
         format:\n  mode: avro\n  schema: '{record}'\n"
    );
    let loaded = load_text(&strict);
    let warnings = lines(&loaded.warnings);
    assert!(loaded.faults.is_empty() && warnings.len() == 1, "{:?} {warnings:?}", loaded.faults);
    assert!(warnings[0].starts_with("format.schema: `a` cannot be null"), "{warnings:?}");
}

#[test]
fn avro_schemas_arrive() {
    let loaded = load_text(AVRO);
    assert_eq!(lines(&loaded.faults), [""; 0]);
    let warnings = lines(&loaded.warnings);
    let of_map = "namespaces.n.format.schema-file: a map schema without `metadata-key`";
    assert!(warnings.len() == 1 && warnings[0].starts_with(of_map), "{warnings:?}");
    let shown = effective::print(&loaded, &Ok(vec![0]));
    let rules = &loaded.config.as_ref().unwrap().rules;
    let Some(Format::Avro(avro)) = &rules.top.format else { panic!("{shown}") };
    assert_eq!((avro.stringify_map_keys, &avro.schema_file), (false, &None));
    assert_eq!(avro.metadata_key.as_deref(), Some("metadata"));
    let Some(Format::Avro(avro)) = &rules.namespaces[0].own.format else { panic!("{shown}") };
    assert_eq!(avro.schema_file.as_deref(), Some(Path::new("/etc/ringpost/a.avsc")));
    assert_eq!((avro.stringify_map_keys, avro.invalid_utf8), (true, InvalidUtf8::Base64));
    let again = load_text(&shown).config.unwrap();
    assert_eq!(printed(loaded.config.unwrap()), printed(again), "{shown}");
}
