//! `namespaces`, `sets` and `port-based-config`: the same kinds of settings at every level.

use super::context::{Context, join};
use super::keys::name_fault;
use super::model::{Destination, NamespaceRules, Overrides, PortRules, Rules};
use super::view::View;
use super::yaml::Entry;
use super::{batching, bins, formats, ordering, routing};

/// Longest names that the server takes.
const MAX_NAMESPACE: usize = 31;
const MAX_SET: usize = 63;

/// The kinds of settings that a level can hold.
pub const KINDS: [&str; 5] = ["routing", "format", "bin-transforms", "batching", "record-ordering"];

/// What was read, and whether all of it is there.
#[derive(Debug, Default)]
pub struct Levels {
    /// Every level.
    pub rules: Rules,
    /// Whether a `routing` has a fault, so that it cannot be said which destinations are used.
    pub routing_has_fault: bool,
}

/// Reads every level. `listening`: the ports, unless they have a fault of their own.
pub fn read(context: &mut Context<'_>, root: &View<'_>, known: &[Destination], listening: Option<&[u16]>) -> Levels {
    let mut levels = Levels::default();
    levels.rules.top = overrides(context, &mut levels, root, known);
    levels.rules.namespaces = namespaces(context, &mut levels, root, known);
    levels.rules.ports = ports(context, &mut levels, root, known, listening);
    levels
}

fn overrides(context: &mut Context<'_>, levels: &mut Levels, level: &View<'_>, known: &[Destination]) -> Overrides {
    for kind in KINDS {
        if let Some(entry) = level.find(kind).filter(|entry| !entry.value.is_null()) {
            context.lines.push((level.path_of(kind), entry.key_at.line));
        }
    }
    let before = context.count();
    let routing = routing::read(context, level, known);
    levels.routing_has_fault |= context.count() > before;
    Overrides {
        routing,
        format: formats::read(context, level),
        bin_transforms: bins::read(context, level),
        batching: batching::read(context, level),
        ordering: ordering::read(context, level),
    }
}

fn namespaces(
    context: &mut Context<'_>,
    levels: &mut Levels,
    level: &View<'_>,
    known: &[Destination],
) -> Vec<NamespaceRules> {
    let view = level.section(context, "namespaces");
    let mut namespaces = Vec::new();
    for entry in view.entries() {
        let section = named(context, entry, &view.path, ("namespace", MAX_NAMESPACE));
        let own = overrides(context, levels, &section, known);
        let sets = section.section(context, "sets");
        let mut read = Vec::new();
        for entry in sets.entries() {
            let section = named(context, entry, &sets.path, ("set", MAX_SET));
            read.push((entry.key.clone(), overrides(context, levels, &section, known)));
        }
        namespaces.push(NamespaceRules { name: entry.key.clone(), own, sets: read });
    }
    namespaces
}

/// The section of one namespace or set, whose name is looked at.
fn named<'a>(context: &mut Context<'_>, entry: &'a Entry, path: &str, (what, longest): (&str, usize)) -> View<'a> {
    let path = join(path, &entry.key);
    name_fault(context, entry.key_at, &path, &entry.key);
    if entry.key.len() > longest {
        let message = format!("no {what} has a name of more than {longest} bytes; write it as the server has it");
        context.warn(entry.key_at, &path, message);
    }
    View::of(context, entry, path)
}

fn ports(
    context: &mut Context<'_>,
    levels: &mut Levels,
    root: &View<'_>,
    known: &[Destination],
    listening: Option<&[u16]>,
) -> Vec<PortRules> {
    let view = root.section(context, "port-based-config");
    let mut ports = Vec::new();
    for entry in view.entries() {
        let path = join(&view.path, &entry.key);
        let section = View::of(context, entry, path.clone());
        let own = overrides(context, levels, &section, known);
        let namespaces = namespaces(context, levels, &section, known);
        let port = entry.key.parse::<u16>().ok().filter(|port| port.to_string() == entry.key);
        let all = show_ports(listening.unwrap_or_default());
        match port {
            None => {
                let message = format!("no port number; write one of the listening ports: {all}");
                context.fault(entry.key_at, &path, message);
            }
            // The official connector starts with such a block, and so does its documentation's example.
            Some(port) if listening.is_some_and(|listening| !listening.contains(&port)) => {
                let message = format!(
                    "nothing listens on {port}, so no record has these settings; write one of {all}, or add it to `service.port`"
                );
                context.warn(entry.key_at, &path, message);
            }
            Some(_) => {}
        }
        ports.extend(port.map(|port| PortRules { port, own, namespaces }));
    }
    ports
}

/// The first few ports, for a message.
pub fn show_ports(ports: &[u16]) -> String {
    let mut shown = ports.iter().take(8).map(u16::to_string).collect::<Vec<_>>().join(", ");
    if ports.len() > 8 {
        shown.push_str(", ...");
    }
    shown
}
