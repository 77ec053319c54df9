//! `routing`, at any level: which destinations a record goes to.

use super::context::Context;
use super::fault::{shown, shown_key};
use super::keys::nearest;
use super::model::{Destination, Routing};
use super::value;
use super::view::{View, word};
use super::yaml::{Kind, Node};

#[derive(Clone, Copy)]
enum Mode {
    Several,
    /// `static`, the spelling of other connectors.
    One,
    Skip,
}

/// Reads the `routing` of `level` against the destinations that exist. `None`: there is none, or it has a fault.
pub fn read(context: &mut Context<'_>, level: &View<'_>, known: &[Destination]) -> Option<Routing> {
    let entry = level.find("routing").filter(|entry| !entry.value.is_null())?;
    let view = level.section(context, "routing");
    if !matches!(entry.value.kind, Kind::Map(_)) {
        return None;
    }
    if view.find("mode").is_none() {
        let message = "missing; write `mode: static-multi-destination` or `mode: skip`".to_owned();
        view.fault(context, "mode", message);
    }
    match view.read(context, "mode", None, |node| mode(node).map(Some))? {
        Mode::Skip => {
            for key in ["destinations", "destination"] {
                if view.find(key).is_some() {
                    view.warn(context, key, "has no effect with `mode: skip`; take it out".to_owned());
                }
            }
            Some(Routing::Skip)
        }
        Mode::One => {
            let message = "`static` is taken as `static-multi-destination`; write that, with `destinations: [ NAME ]`";
            view.warn(context, "mode", message.to_owned());
            if let (Some(_), Some(entry)) = (view.find("destinations"), view.find("destination")) {
                let message = format!("the same setting as `destination` on line {}; take it out", entry.key_at.line);
                view.fault(context, "destinations", message);
            }
            let key = if view.find("destination").is_some() { "destination" } else { "destinations" };
            named(context, &view, key, known)
        }
        Mode::Several => {
            if let Some(entry) = view.find("destination") {
                let message =
                    "unknown with `mode: static-multi-destination`; write `destinations: [ NAME ]`".to_owned();
                context.fault(entry.key_at, &view.path_of("destination"), message);
            }
            named(context, &view, "destinations", known)
        }
    }
}

fn mode(node: &Node) -> Result<Mode, String> {
    match node.text() {
        Some("custom") => {
            Err("`custom` runs a Java class, which is not supported; write static-multi-destination".to_owned())
        }
        Some(other @ ("namespace" | "set" | "bin" | "key")) => {
            Err(format!("`{other}` is a mode of other connectors; write static-multi-destination or skip"))
        }
        Some("static") => Ok(Mode::One),
        _ => word(node, &[("static-multi-destination", Mode::Several), ("skip", Mode::Skip)]),
    }
}

fn named(context: &mut Context<'_>, view: &View<'_>, key: &str, known: &[Destination]) -> Option<Routing> {
    if view.find(key).is_none() {
        if view.find("destination").is_none() {
            let message = "missing; write `destinations: [ NAME ]` with names from `destinations`".to_owned();
            view.fault(context, key, message);
        }
        return None;
    }
    let indices = view.list(context, key, |node| match node.text().filter(|_| !node.is_null()) {
        None => Err(format!("{} where a destination's name is needed; write one", value::describe(node))),
        Some(name) => index_of(name, known),
    })?;
    Some(Routing::Destinations(indices))
}

fn index_of(name: &str, known: &[Destination]) -> Result<usize, String> {
    if let Some(index) = known.iter().position(|destination| destination.name == name) {
        return Ok(index);
    }
    let names = known.iter().map(|destination| destination.name.as_str());
    let lower = name.to_lowercase();
    let near = names.clone().find(|known| known.to_lowercase() == lower).or_else(|| nearest(name, names.clone()));
    Err(match near {
        Some(near) => format!("there is no destination {}; write {}", shown(name), shown_key(near)),
        None if known.is_empty() => {
            format!("there is no destination {}; describe it under `destinations`", shown(name))
        }
        None => {
            let names = names.take(8).map(shown_key).collect::<Vec<_>>().join(", ");
            format!(
                "there is no destination {}; write one of {names}, or describe it under `destinations`",
                shown(name)
            )
        }
    })
}
