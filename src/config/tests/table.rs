//! The table of keys against the readers, the documentation and the examples.

use super::*;
use schema::{Section, Shape, Status, Type};

/// Keys that work, and keys that do not yet, each with its path. Sections that stand at several places are walked once.
#[derive(Default)]
struct Known {
    works: Vec<(String, &'static schema::Key)>,
    later: Vec<String>,
    seen: Vec<&'static str>,
}

impl Known {
    fn of_the_file() -> Known {
        let mut known = Known::default();
        known.walk(&schema::ROOT, "");
        known
    }

    fn walk(&mut self, section: &'static Section, path: &str) {
        for key in section.keys {
            let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            match (key.status, key.shape) {
                (Status::Later { .. }, _) => self.later.push(path),
                (Status::Java, _) => {}
                (Status::Works, Shape::Section(below) | Shape::Items(below) | Shape::Named(below)) => {
                    let name = below.path.rsplit('.').next().unwrap();
                    let is_named = matches!(key.shape, Shape::Named(_));
                    self.works.push((path.clone(), key));
                    if !self.seen.contains(&below.path) {
                        self.seen.push(below.path);
                        self.walk(below, &if is_named { format!("{path}.{name}") } else { path });
                    }
                }
                (Status::Works, _) => self.works.push((path, key)),
            }
        }
    }
}

#[test]
fn the_documentation_has_every_key() {
    let page = include_str!("../../../docs/configuration.md");
    let known = Known::of_the_file();
    let (tables, not_yet) = page.split_once("## Known and not supported yet").unwrap();
    for path in &known.later {
        assert!(not_yet.contains(&format!("| `{path}` |")), "{path} is not in the list of keys that do not work yet");
    }
    let listed = not_yet.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, known.later.len(), "the list has keys that work or do not exist");
    for (path, key) in known.works {
        let heading = path.split('.').next().unwrap();
        let part = tables.split("\n## ").find(|part| part.starts_with(&format!("`{heading}`")));
        let part = part.unwrap_or_else(|| panic!("{heading} has no section"));
        assert!(part.contains(&format!("`{}`", key.name)), "{path} is not in its table");
    }
}

#[test]
fn the_example_of_all_settings_has_all_settings() {
    for (path, key) in Known::of_the_file().works {
        // Other spellings of settings that are there.
        if !["ports", "max-concurrent-requests", "worker-threads", "destination"].contains(&key.name) {
            // Certificates are not part of this repository, so that TLS has an example of its own.
            let text = format!("{}:", key.name);
            let is_there = ALL.contains(&text) || path.contains("tls") && TLS.contains(&text);
            assert!(is_there, "{path}");
        }
    }
}

/// `value` at `path` as the only setting of its sections, in a file that is good otherwise.
fn file_with(path: &str, value: &str) -> String {
    let mut text = String::from("{ port-based-config: {}");
    let steps: Vec<&str> = path.split('.').collect();
    let around = |text: &mut String, own: &str| {
        for (section, rest) in [
            ("service", "service: {}"),
            ("destinations", "destinations: { a: { urls: \"http://h/\" } }"),
            ("routing", "routing: { mode: static-multi-destination, destinations: a }"),
            ("format", "format: json"),
        ] {
            if section != own {
                text.push_str(&format!(", {rest}"));
            }
        }
    };
    around(&mut text, steps[0]);
    text.push_str(", ");
    for (depth, step) in steps.iter().enumerate() {
        let step = if *step == "NAME" { "a" } else { step };
        if depth + 1 == steps.len() {
            text.push_str(&format!("{step}: {value}"));
        } else {
            text.push_str(&format!("{step}: {{ "));
        }
        if depth == 1 && steps[0] == "destinations" {
            text.push_str("urls: \"http://h/\", ");
        }
        match (depth, path) {
            (0, "routing.mode" | "format.mode") => {}
            (0, "routing.destination") => text.push_str("mode: static, "),
            (0, _) if steps[0] == "routing" => text.push_str("mode: static-multi-destination, "),
            (0, _) if steps[0] == "format" => text.push_str("mode: json, "),
            _ => {}
        }
    }
    text.push_str(&" }".repeat(steps.len()));
    text + "\n"
}

/// Values just outside of what the table says for `of`, with the advice that the reader has to give.
fn outside(of: &Type) -> Vec<(String, String)> {
    match of {
        Type::Whole(low, high) => {
            let advice = format!("write {low} to {high}");
            vec![(format!("{}", i128::from(*low) - 1), advice.clone()), (format!("{}", i128::from(*high) + 1), advice)]
        }
        Type::Size(low, high) => {
            let advice = format!("write {} to {}", show_size(*low), show_size(*high));
            let small = low.checked_sub(1).map(|small| (small.to_string(), advice.clone()));
            small.into_iter().chain([((high + 1).to_string(), advice)]).collect()
        }
        Type::Duration(low, high) => vec![("99999s".to_owned(), format!("write {low} to {high}"))],
        Type::List(of) | Type::ListOrEmpty(of) => outside(of),
        Type::Boolean => vec![("5".to_owned(), "write one of them".to_owned())],
        Type::Words(_) | Type::AnyCase(_) | Type::WordOrNull(_) => vec![("zzzzzzzzz".to_owned(), "write".to_owned())],
        Type::Text | Type::AnyText => vec![("[ [] ]".to_owned(), "write".to_owned())],
        Type::Pattern(_) | Type::Cores => Vec::new(),
    }
}

#[test]
fn the_readers_have_the_ranges_of_the_table() {
    let mut tried = 0;
    for (path, key) in Known::of_the_file().works {
        let Shape::Value(of) = key.shape else { continue };
        for (value, advice) in outside(&of) {
            if path == "service.port" && value == "0" {
                continue;
            }
            let loaded = load_text(&file_with(&path, &value));
            let shown = path.replace("NAME", "a");
            let found =
                loaded.faults.iter().any(|fault| fault.path.ends_with(&shown) && fault.message.contains(&advice));
            let codes = path.ends_with("status-codes") && loaded.faults.iter().any(|fault| fault.path == shown);
            assert!(found || codes, "{path}: {value}: {advice}: {:?}", lines(&loaded.faults));
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn a_default_of_the_table_changes_nothing_when_it_is_written() {
    let mut tried = 0;
    for (path, key) in Known::of_the_file().works {
        if key.default.is_empty() {
            continue;
        }
        let written = config(&file_with(&path, key.default));
        let section = path.rsplit_once('.').map_or("", |(section, _)| section);
        // A section that is there means something by itself.
        let (section, key_of_section) = section.rsplit_once('.').unwrap_or(("", section));
        let neighbour = match (section, key_of_section) {
            ("", "batching") => file_with("batching.enabled", "true"),
            ("", "record-ordering") => file_with("record-ordering.enable", "true"),
            (section, "record-ordering") => file_with(&format!("{section}.record-ordering.enable"), "true"),
            _ => file_with("limits.max-depth", "256"),
        };
        assert_eq!(written, config(&neighbour), "{path}: {}", key.default);
        tried += 1;
    }
    assert!(tried > 35, "{tried}");
}

#[test]
fn the_json_schema_names_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let sections = schema::ALL.iter().map(|section| (section.path, section.keys));
    for (path, keys) in sections {
        let at = if path == schema::ROOT.path { &schema } else { &schema["$defs"][path.replace(' ', "-")] };
        assert_eq!(at["additionalProperties"], serde_json::json!(false), "{path}");
        let properties = at["properties"].as_object().unwrap();
        assert_eq!(properties.len(), keys.len(), "{path}");
        for key in keys {
            let about = properties[key.name]["description"].as_str().unwrap();
            assert_eq!(about.starts_with("Not supported yet; "), matches!(key.status, Status::Later { .. }), "{path}");
        }
    }
}
