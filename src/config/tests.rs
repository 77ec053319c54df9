//! The loader as a whole: values as they arrive, an independent YAML reader, mutated and hostile files.

use std::time::Duration;

mod levels;
mod mutations;
mod table;
mod tls;

use super::*;
use model::{Cores, Format, LogLevel, Protocol, Routing};
use yaml::{Kind, Node};

const MINIMAL: &str = include_str!("../../examples/minimal.yml");
const TWO: &str = include_str!("../../examples/two-destinations.yml");
const TLS: &str = include_str!("../../examples/tls.yml");
const ALL: &str = include_str!("../../examples/all-settings.yml");
const OFFICIAL: &str = include_str!("../../tests/data/config/official/composed.yml");
const ACCEPTED: &str = include_str!("../../tests/data/config/warnings/accepted.yml");

/// Files and variables that the tests of this module name; no other exists.
const OUTSIDE: Outside = Outside {
    file: |path, _| match path.file_name().and_then(std::ffi::OsStr::to_str) {
        Some("key") => Ok(b"hunter2 \r\nsecond line".iter().filter(|byte| **byte != b' ').copied().collect()),
        Some("a.avsc") => Ok(br#"{ "type": "map", "values": "long" }"#.to_vec()),
        Some("two-words") => Ok(b"two words".to_vec()),
        Some("blank-at-the-end") => Ok(b"hunter2 \n".to_vec()),
        Some("empty") => Ok(Vec::new()),
        Some("bytes") => Ok(vec![0xFF, b'\n']),
        Some(name) => tls::file(name).ok_or_else(|| "there is no such file; write its path".to_owned()),
        None => Err("there is no such file; write its path".to_owned()),
    },
    variable: |name| match name {
        "TOKEN" => Ok("hunter2".to_owned()),
        "BROKEN" => Ok("hunter2\n".to_owned()),
        _ => Err("it is not set; set it where ringpost is started".to_owned()),
    },
    system: tls::authorities,
    now: || tls::NOW,
};

fn load_text(text: &str) -> Loaded {
    parse_with("/etc/ringpost/a.yml", text, UnknownKeys::Error, OUTSIDE)
}

/// Path and message of each fault, or of each warning.
fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
}

/// What of `config` a printed file gives: texts of headers and queries are masked, defaults written.
fn printed(mut config: model::Config) -> model::Config {
    for destination in &mut config.destinations {
        if destination.protocol == Protocol::Http1 {
            destination.http2_max_concurrent_streams = 256;
        }
        for header in &mut destination.headers.list {
            if let model::HeaderValue::Static(value) = &mut header.value {
                value.0 = "***".to_owned();
            }
        }
        for url in &mut destination.urls {
            url.path.truncate(url.path.find('?').unwrap_or(url.path.len()));
        }
    }
    config.rules.top.format.get_or_insert(Format::Xdr);
    if !config.logging.levels.iter().any(|(name, _)| name == "root") {
        config.logging.levels.insert(0, ("root".to_owned(), LogLevel::Info));
    }
    if let Cores::AtMost(count) = config.executors.cores {
        config.executors.cores = Cores::Count(count);
    }
    config
}

fn config(text: &str) -> model::Config {
    let loaded = load_text(text);
    assert!(loaded.faults.is_empty(), "{:#?}", loaded.faults);
    loaded.config.unwrap()
}

/// The faults of the minimal file with `more` behind it.
fn faults(more: &str) -> Vec<String> {
    lines(&load_text(&format!("{MINIMAL}{more}")).faults)
}

#[test]
fn defaults_are_those_of_the_official_documentation() {
    let config = config(MINIMAL);
    assert_eq!(config.service.addresses, ["0.0.0.0".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(config.service.max_concurrent_records, 32_768);
    assert_eq!(config.service.socket_receive_buffer_bytes, None);
    let billing = &config.destinations[0];
    assert_eq!(billing.protocol, Protocol::Http2);
    assert_eq!((billing.call_timeout, billing.connect_timeout), (Duration::from_secs(1), Duration::from_millis(300)));
    assert_eq!((billing.max_connections_per_endpoint, billing.max_request_queued_per_endpoint), (1, 32_768));
    assert_eq!((billing.http2_max_concurrent_streams, billing.connection_ttl), (256, None));
    assert_eq!(billing.success.codes().collect::<Vec<_>>(), (200..300).collect::<Vec<_>>());
    assert_eq!(config.limits, model::Limits::default());
    assert_eq!(config.executors.in_flight_bytes, 256 << 20);
    assert!(config.logging.console && config.logging.file.is_none());
    let without_port = MINIMAL.replace("  port: 8901\n", "  address: 127.0.0.1\n");
    assert_eq!(self::config(&without_port).service.ports, [8080]);
}

#[test]
fn values_arrive_in_their_units() {
    let all = config(ALL);
    assert_eq!(all.service.ports, [8901, 8902]);
    assert_eq!(all.service.socket_receive_buffer_bytes, Some(262_144));
    assert_eq!(all.destinations[0].success.codes().collect::<Vec<_>>(), [200, 201, 202, 204]);
    assert_eq!(all.executors.heartbeat_limit, Duration::from_secs(5));
    assert_eq!(all.logging.file.as_deref(), Some(Path::new("/var/log/ringpost/ringpost.log")));
    assert_eq!(all.logging.levels.len(), 5);
    assert_eq!(
        all.rules.top.format.unwrap(),
        Format::FlatJson { metadata_key: "metadata".to_owned(), stringify_map_keys: true, text: Default::default() }
    );

    let two = config(TWO);
    assert_eq!(two.rules.top.routing, Some(Routing::Destinations(vec![0, 1])));
    assert_eq!(two.service.ports, [8901, 8911]);
    let audit = &two.destinations[1];
    assert_eq!((audit.call_timeout, audit.connect_timeout), (Duration::from_millis(5100), Duration::from_secs(5)));
    assert_eq!((audit.urls[0].host.as_str(), audit.urls[0].port, audit.urls[0].path.as_str()), ("::1", 9002, "/audit"));
    assert_eq!(two.executors.cores, Cores::Count(1));

    let own = "executors: { cores: \"2-4,8\", pin: false, in-flight-bytes: 1GiB, heartbeat-limit: 1500ms, busy-poll: 50us }\n\
               limits: { record-deadline: 1s, max-frame-bytes: 65536, drain: 0s }\nlogging: { levels: { root: WARN } }\n";
    let config = config(&format!("{MINIMAL}{own}"));
    assert_eq!(config.executors.cores, Cores::List(vec![2, 3, 4, 8]));
    assert!(!config.executors.pin);
    assert_eq!(config.executors.in_flight_bytes, 1 << 30);
    assert_eq!(config.executors.heartbeat_limit, Duration::from_millis(1500));
    assert_eq!(config.executors.busy_poll, Duration::from_micros(50));
    assert_eq!(config.limits.record_deadline, Duration::from_secs(1));
    assert_eq!((config.limits.max_frame_bytes, config.limits.drain), (65_536, Duration::ZERO));
    assert_eq!(config.logging.levels, [("root".to_owned(), LogLevel::Warn)]);
}

#[test]
fn a_quoted_number_of_cores_is_a_core_and_a_plain_one_a_count() {
    let cores = |value: &str| config(&format!("{MINIMAL}executors: {{ cores: {value} }}\n")).executors.cores;
    assert_eq!(cores("4"), Cores::Count(4));
    assert_eq!(cores("\"4\""), Cores::List(vec![4]));
    assert_eq!(cores("2-5"), Cores::List(vec![2, 3, 4, 5]));
    assert_eq!(cores("all"), Cores::All);
    let with_threads = MINIMAL.replace("  port: 8901\n", "  port: 8901\n  io-threads: 100\n");
    assert_eq!(config(&with_threads).executors.cores, Cores::AtMost(100));
    assert_eq!(config(&format!("{with_threads}executors: {{ cores: 2 }}\n")).executors.cores, Cores::Count(2));
    for wrong in ["5-2", "\"2,2\"", "1-", "a", "\"\"", "9999999", "1-99999", "0", "-1", "~", "1.5"] {
        assert_eq!(faults(&format!("executors: {{ cores: {wrong} }}\n")).len(), 1, "{wrong}");
    }
}

#[test]
fn early_spellings_are_accepted_without_a_word() {
    let text = "service: { ports: [ 8901 ] }\ndestinations: { a: { urls: http://h } }\n\
                routing: { mode: static-multi-destination, destinations: a }\nformat: json\n";
    let loaded = parse("a.yml", text, UnknownKeys::Error);
    assert_eq!((loaded.faults, loaded.warnings), (vec![], vec![]));
    let config = loaded.config.unwrap();
    assert_eq!(config.service.ports, [8901]);
    assert_eq!(config.rules.top.format.unwrap(), Format::Json { stringify_map_keys: true, text: Default::default() });
    assert_eq!(config.destinations[0].urls[0].to_string(), "http://h/");
}

#[test]
fn a_relative_log_file_starts_at_the_configuration_file() {
    let text = format!("{MINIMAL}logging: {{ file: logs/a.log }}\n");
    let loaded = parse("/etc/ringpost/a.yml", &text, UnknownKeys::Error);
    assert_eq!(loaded.config.unwrap().logging.file.unwrap(), Path::new("/etc/ringpost/logs/a.log"));
}

#[test]
fn unknown_keys_can_be_warnings() {
    let text = format!("{MINIMAL}zzz: 1\n");
    let refused = parse("a.yml", &text, UnknownKeys::Error);
    assert!(refused.config.is_none() && refused.faults[0].unknown_key);
    let accepted = parse("a.yml", &text, UnknownKeys::Warn);
    assert!(accepted.config.is_some() && accepted.faults.is_empty());
    assert!(accepted.warnings[0].to_string().starts_with("a.yml:16:1: zzz: unknown key; "), "{:?}", accepted.warnings);
}

/// Our reading of `node` and that of another reader are the same, or ours is an error.
fn compare(ours: &Node, theirs: &serde_norway::Value, strict: bool) {
    use serde_norway::Value;
    match (&ours.kind, theirs) {
        (Kind::Map(entries), Value::Mapping(map)) => {
            assert_eq!(entries.len(), map.len(), "{ours:?}");
            for entry in entries {
                let value = map.iter().find(|(key, _)| match key {
                    Value::String(key) => *key == entry.key,
                    Value::Number(key) => key.to_string() == entry.key,
                    _ => false,
                });
                compare(&entry.value, value.unwrap_or_else(|| panic!("{} is missing", entry.key)).1, strict);
            }
        }
        (Kind::List(items), Value::Sequence(list)) => {
            assert_eq!(items.len(), list.len());
            items.iter().zip(list).for_each(|(ours, theirs)| compare(ours, theirs, strict));
        }
        (Kind::Scalar { text, .. }, theirs) => {
            assert_eq!(ours.is_null(), theirs.is_null(), "{text:?} {theirs:?}");
            if let Ok(number) = value::whole(ours) {
                let theirs = theirs.as_i64().map(i128::from).or(theirs.as_u64().map(i128::from));
                assert_eq!(Some(number), theirs, "{text:?}");
            } else {
                assert!(!strict || !theirs.is_i64(), "{text:?} {theirs:?}");
            }
            match value::boolean(ours) {
                Ok(truth) => assert_eq!(Some(truth), theirs.as_bool(), "{text:?}"),
                Err(_) => assert_eq!(theirs.as_bool(), None, "{text:?}"),
            }
            if let Value::String(theirs) = theirs {
                assert_eq!(text, theirs);
            }
        }
        (ours, theirs) => panic!("{ours:?} {theirs:?}"),
    }
}

#[test]
fn an_independent_reader_sees_the_same_values_in_the_same_files() {
    for text in [MINIMAL, TWO, ALL, OFFICIAL, ACCEPTED] {
        let (ours, faults) = yaml::read(text);
        assert!(faults.is_empty(), "{faults:?}");
        let mut theirs: serde_norway::Value = serde_norway::from_str(text).unwrap();
        theirs.apply_merge().unwrap();
        compare(&ours.unwrap(), &theirs, true);
    }
}

#[test]
fn what_is_read_as_a_number_a_boolean_or_nothing_is_that_for_an_independent_reader() {
    let scalars = "1 -1 +1 01 010 0x1F 0o17 0b11 1_000 1.0 1e3 .5 -0 00 ~ null Null NULL nULL true True TRUE tRUE yes on off no y \
                   12:30 1,000 2-5,8 '1' \"true\" 'null' !!str1 9223372036854775807 .inf 1. - a:b ' 1' \"\" '' 1s 64KiB HTTP_2";
    for scalar in scalars.split(' ').chain(["", "!!str 1", "!!str null", "\"a\\n\\u00fc\"", "'it''s'", "1 # 2", "a  b"])
    {
        let text = format!("key: {scalar}\n");
        // What we refuse cannot be misread.
        let (Some(ours), faults) = yaml::read(&text) else { continue };
        if !faults.is_empty() {
            continue;
        }
        let theirs = serde_norway::from_str::<serde_norway::Value>(&text);
        let Ok(theirs) = theirs else { continue };
        compare(&ours, &theirs, false);
    }
}

#[test]
fn what_yaml_leaves_to_the_reader_is_read_or_refused_never_passed_over() {
    let twice = "a: &a { port: 1 }\n";
    let read = |text: &str| yaml::read(text);
    // Alias, merge, list of merges; the first one wins, and what is given wins over it.
    let (root, faults) =
        read(&format!("{twice}b: *a\nc: {{ <<: *a, port: 2 }}\nd: {{ <<: [ *a, {{ port: 3, x: 4 }} ] }}\n"));
    assert!(faults.is_empty(), "{faults:?}");
    let root = root.unwrap();
    let port = |key: &str| root.get(key).unwrap().value.get("port").unwrap().value.text().unwrap().to_owned();
    assert_eq!([port("b"), port("c"), port("d")], ["1", "2", "1"]);
    for (text, line, part) in [
        ("a: &a { b: *a }\n", 1, "contains it"),
        ("a: { <<: 5 }\n", 1, "merges sections"),
        ("a: 1\n---\nb: 2\n", 2, "second YAML document"),
        ("? [ 1 ]\n: 2\n", 1, "no text"),
        ("a: !x 1\n", 1, "tag"),
        ("a: !!binary aGk=\n", 1, "tag"),
        ("a: b\u{1}c\n", 1, "U+0001"),
        ("a: b\n\u{feff}c: d\n", 2, "U+FEFF"),
        ("a: \"b\n", 1, "not valid YAML"),
        ("a:\r\n\tb: 1\r\n", 2, "tab"),
        ("%YAML 3.0\nx", 1, "not valid YAML"),
    ] {
        let (_, faults) = read(text);
        let found = faults.iter().any(|fault| fault.at.line.abs_diff(line) <= 1 && fault.message.contains(part));
        assert!(found, "{text:?}: {faults:?}");
    }
}

#[test]
fn no_message_repeats_a_password() {
    let password = "hunter2";
    let places = [
        "destinations: { a: { urls: \"http://me:hunter2@h/\" } }",
        "destinations: { a: { urls: \"https://me:hunter2@h/\" } }",
        "destinations: { a: { urls: \"me:hunter2@h\" } }",
        "destinations: { a: { urls: \"http://h me:hunter2@h/\" } }",
        "destinations: { a: { urls: \"http://me:hunter2/3@h/\" } }",
        "destinations: { a: { urls: [ \"http://h/?key=hunter2#a\" ] } }",
        "destinations: { a: { headers: { authorization: hunter2 } } }",
        "destinations: { \"http://me:hunter2@h/\": 5 }",
        "service: { port: \"http://me:hunter2@h/\", address: \"http://me:hunter2@h/\", protocol: \"http://me:hunter2@h/\" }",
        "routing: { mode: static-multi-destination, destinations: [ \"http://me:hunter2@h/\" ] }",
        "\"http://me:hunter2@h/\": 5",
        "executors: { cores: \"http://me:hunter2@h/\", busy-poll: \"http://me:hunter2@h/\" }",
        "service: \"http://me:hunter2@h/\"",
        "format: \"http://me:hunter2@h/\"",
    ];
    for place in places {
        let loaded = parse("a.yml", place, UnknownKeys::Error);
        assert!(!loaded.faults.is_empty(), "{place}");
        for fault in loaded.faults.iter().chain(&loaded.warnings) {
            assert!(!fault.to_string().contains(password), "{fault}");
        }
    }
    let text = MINIMAL.replace("/records", "/records?key=hunter2");
    let loaded = parse("a.yml", &text, UnknownKeys::Error);
    let shown = effective::print(&loaded, &Ok(vec![0]));
    assert!(shown.contains("/records?...") && !shown.contains(password), "{shown}");
}
