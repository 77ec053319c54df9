//! Walks the file beside the table of known keys: unknown keys with the nearest known one, keys that do not work yet.

use super::context::{Context, join};
use super::fault::shown_key;
use super::schema::{self, Key, Section, Shape, Status};
use super::yaml::{Entry, Kind, Node, Pos};

/// Longest name that is compared with the known ones; a longer one has no near name.
const MAX_COMPARED: usize = 48;

/// Reports every key of `root` that is unknown or does not work yet.
pub fn check(context: &mut Context<'_>, root: &Node) {
    section(context, root, &schema::ROOT, "", true);
}

/// `report_later`: false below a section that is reported as a whole; unknown keys are reported everywhere.
fn section(context: &mut Context<'_>, node: &Node, known: &'static Section, path: &str, report_later: bool) {
    let Kind::Map(entries) = &node.kind else { return };
    for entry in entries {
        let path = join(path, &entry.key);
        match known.keys.iter().find(|key| key.name == entry.key) {
            Some(key) => one(context, entry, key, &path, report_later),
            None if context.is_full() => context.count_unknown(),
            None => context.unknown(entry.key_at, &path, unknown_message(&entry.key, known)),
        }
    }
}

fn one(context: &mut Context<'_>, entry: &Entry, key: &Key, path: &str, report_later: bool) {
    let mut report_below = report_later;
    match key.status {
        Status::Works => {}
        Status::Later { hint, harmless } => {
            if report_later && !entry.value.is_null() && !harmless(&entry.value) {
                context.fault(entry.key_at, path, format!("not supported yet; {hint}"));
            }
            report_below = false;
        }
        Status::Java if report_later && !entry.value.is_null() => {
            context.fault(entry.key_at, path, "Java classes are not supported; take it out".to_owned());
        }
        Status::Java => {}
    }
    match key.shape {
        Shape::Value(_) | Shape::Map(_) | Shape::Free => {}
        Shape::Section(known) => section(context, &entry.value, known, path, report_below),
        Shape::Items(known) => match &entry.value.kind {
            Kind::List(items) => items.iter().for_each(|item| section(context, item, known, path, report_below)),
            _ => section(context, &entry.value, known, path, report_below),
        },
        Shape::Named(known) => {
            if let Kind::Map(entries) = &entry.value.kind {
                for entry in entries {
                    section(context, &entry.value, known, &join(path, &entry.key), report_below);
                }
            }
        }
    }
}

/// What to write instead of an unknown key: the nearest known one here, the section where it belongs, or what is
/// known here.
fn unknown_message(name: &str, known: &'static Section) -> String {
    let wanted = normal(name);
    let near = nearest(&wanted, known.keys.iter().map(|key| key.name));
    if near == Some(wanted.as_str()) {
        return format!("unknown key; write `{wanted}`");
    }
    let has = |section: &Section, only_working: bool| {
        section.keys.iter().any(|key| key.name == wanted && (works(key) || !only_working))
    };
    // What the top level has, namespaces, sets and ports have, too; one place is enough.
    let at_top = has(&schema::ROOT, false) && known.path != schema::ROOT.path;
    let others = || {
        let others = schema::ALL.iter().filter(|section| section.path != known.path);
        others.filter(move |section| !at_top || section.path == schema::ROOT.path)
    };
    // Nobody should be led to a key that does not work while there is one that does.
    let only_working = others().any(|section| has(section, true));
    let elsewhere: Vec<&str> =
        others().filter(|section| has(section, only_working)).map(|section| section.path).collect();
    match (near, elsewhere.is_empty()) {
        (Some(near), true) => format!("unknown key; write `{near}`"),
        (near, false) => {
            let places = elsewhere.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" or ");
            let near = near.map(|near| format!(", or write `{near}`")).unwrap_or_default();
            format!(
                "unknown key here; `{wanted}` belongs in {}{near}",
                places.replace("`the top level`", "the top level")
            )
        }
        (None, true) => {
            let names: Vec<&str> = known.keys.iter().filter(|key| works(key)).map(|key| key.name).collect();
            if names.is_empty() {
                "unknown key; take it out".to_owned()
            } else {
                format!("unknown key; take it out, or write one of {}", names.join(", "))
            }
        }
    }
}

fn works(key: &Key) -> bool {
    // Two spellings of other keys: nobody should be led to them.
    matches!(key.status, Status::Works) && !["ports", "max-concurrent-requests", "destination"].contains(&key.name)
}

/// `callTimeout`, `call_timeout` and `Call-Timeout` are all meant to be `call-timeout`.
fn normal(name: &str) -> String {
    let mut normal = String::new();
    let mut before = '-';
    for c in name.chars().take(MAX_COMPARED + 1) {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            normal.push('-');
        }
        normal.push(if c == '_' || c == ' ' || c == '.' { '-' } else { c.to_ascii_lowercase() });
        before = c;
    }
    normal
}

/// The candidate that `name` was probably meant to be, if one is near enough.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > MAX_COMPARED {
        return None;
    }
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        // A third of the letters may be wrong; of a short name one.
        .filter(|(distance, candidate)| *distance <= (length.min(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Says that names such as destinations have to be text.
pub fn name_fault(context: &mut Context<'_>, at: Pos, path: &str, name: &str) {
    if name.trim().is_empty() {
        context.fault(at, path, format!("the name {} is empty; write a name", shown_key(name)));
    }
}
