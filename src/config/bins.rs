//! `bin-transforms`, at any level: which bins are delivered, and under which names.

use super::context::{Context, join};
use super::fault::shown_key;
use super::model::{BinSet, BinTransforms, NameTransform};
use super::value;
use super::view::{MAX_ITEMS, View, word};
use super::yaml::{Kind, Node};
use crate::policy::transforms::{RegexFault, check_regex};

/// Reads the `bin-transforms` of `level`. `None`: there are none.
pub fn read(context: &mut Context<'_>, level: &View<'_>) -> Option<BinTransforms> {
    level.find("bin-transforms").filter(|entry| !entry.value.is_null())?;
    let view = level.section(context, "bin-transforms");
    Some(BinTransforms {
        include: set(context, &view, "include").unwrap_or_default(),
        exclude: set(context, &view, "exclude"),
        map: map(context, &view),
        transforms: transforms(context, &view),
    })
}

#[derive(Clone, Copy)]
enum Kinds {
    All,
    None,
    Specified,
}

fn set(context: &mut Context<'_>, transforms: &View<'_>, key: &str) -> Option<BinSet> {
    let entry = transforms.find(key).filter(|entry| !entry.value.is_null())?;
    if let Some(word @ ("all" | "none")) = entry.value.text() {
        let message = format!("`{word}` where a section is needed; write `{key}: {{ type: {word} }}`");
        context.fault(entry.value.at, &transforms.path_of(key), message);
        return None;
    }
    let view = transforms.section(context, key);
    if !matches!(entry.value.kind, Kind::Map(_)) {
        return None;
    }
    let words = [("all", Kinds::All), ("none", Kinds::None), ("specified", Kinds::Specified)];
    if view.find("type").is_none() {
        let message = "missing; write `type: specified` with `bins`, or `type: all` or `type: none`".to_owned();
        view.fault(context, "type", message);
    }
    let kind = view.read(context, "type", None, |node| word(node, &words).map(Some));
    let bins = view.list(context, "bins", value::text);
    let kind = kind?;
    let useless = match kind {
        Kinds::Specified => {
            if view.find("bins").is_none() {
                let message = "missing, and `type: specified` needs them; write `bins: [ NAME ]`".to_owned();
                view.fault(context, "bins", message);
            }
            return Some(BinSet::Specified(bins?));
        }
        Kinds::All => "all",
        Kinds::None => "none",
    };
    if view.find("bins").is_some() {
        view.warn(context, "bins", format!("has no effect with `type: {useless}`; take it out"));
    }
    Some(if matches!(kind, Kinds::All) { BinSet::All } else { BinSet::None })
}

fn map(context: &mut Context<'_>, transforms: &View<'_>) -> Vec<(String, String)> {
    let view = transforms.section(context, "map");
    let mut names: Vec<(String, String)> = Vec::new();
    for (count, entry) in view.entries().iter().enumerate() {
        if count >= MAX_ITEMS {
            context.fault(entry.key_at, &view.path, format!("more than {MAX_ITEMS} names; write fewer"));
            break;
        }
        let Some(new) = view.read(context, &entry.key, None, |node| value::text(node).map(Some)) else { continue };
        if let Some((other, _)) = names.iter().find(|(_, known)| *known == new) {
            let message = format!(
                "also the new name of {}: a record with both bins cannot be written; write another name",
                shown_key(other)
            );
            view.warn(context, &entry.key, message);
        }
        names.push((entry.key.clone(), new));
    }
    names
}

fn transforms(context: &mut Context<'_>, view: &View<'_>) -> Vec<NameTransform> {
    let Some(entry) = view.find("transforms").filter(|entry| !entry.value.is_null()) else { return Vec::new() };
    let path = view.path_of("transforms");
    context.lines.push((path.clone(), entry.key_at.line));
    let items = match &entry.value.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    if items.len() > MAX_ITEMS {
        context.fault(entry.value.at, &path, format!("more than {MAX_ITEMS} values; write fewer"));
        return Vec::new();
    }
    items.iter().filter_map(|item| transform(context, item, &path)).collect()
}

fn transform(context: &mut Context<'_>, item: &Node, path: &str) -> Option<NameTransform> {
    let words = [
        ("lowercase", NameTransform::Lowercase),
        ("uppercase", NameTransform::Uppercase),
        ("trim", NameTransform::Trim),
    ];
    let example = "`regex: { pattern: \"...\", replacement: \"...\" }`";
    if !matches!(item.kind, Kind::Map(_)) {
        let places: Vec<(&str, usize)> = words.iter().enumerate().map(|(place, (word, _))| (*word, place)).collect();
        return match word(item, &places) {
            Ok(place) => words.into_iter().nth(place).map(|(_, transform)| transform),
            Err(message) => {
                context.fault(item.at, path, format!("{message}, or {example}"));
                None
            }
        };
    }
    let Some(entry) = item.get("regex") else {
        let message = format!("a section without `regex`; write lowercase, uppercase, trim or {example}");
        context.fault(item.at, path, message);
        return None;
    };
    let view = View::of(context, entry, join(path, "regex"));
    for key in ["pattern", "replacement"] {
        if view.find(key).is_none() {
            view.fault(context, key, format!("missing; write {example}"));
        }
    }
    let pattern = view.read(context, "pattern", None, |node| value::any_text(node).map(Some));
    let replacement = view.read(context, "replacement", None, |node| value::any_text(node).map(Some));
    let (pattern, replacement) = (pattern?, replacement?);
    let (key, message) = match check_regex(&pattern, &replacement) {
        Ok(()) if pattern.is_empty() => ("pattern", "an empty pattern; write what is replaced".to_owned()),
        Ok(()) => return Some(NameTransform::Regex { pattern, replacement }),
        Err(RegexFault::Pattern(message)) => ("pattern", message),
        Err(RegexFault::Replacement(message)) => ("replacement", message),
    };
    let advice = if message.contains("; ") { "" } else { "; write it in Java's syntax" };
    view.fault(context, key, format!("{message}{advice}"));
    None
}
