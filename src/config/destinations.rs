//! `destinations` and `routing`: where records go.

use std::time::Duration;

use super::context::Context;
use super::fault::{shown, shown_key};
use super::keys::{name_fault, nearest};
use super::model::{Destination, Headers, Limits, Protocol, Routing, StatusSet, Url};
use super::value;
use super::view::{View, in_range};
use super::yaml::{Kind, Node};
use super::{context, url};

/// Defaults of the official connector.
const CALL_TIMEOUT_MS: u32 = 1_000;
const CONNECT_TIMEOUT_MS: u32 = 300;
const MAX_CONNECTIONS: u32 = 1;
const MAX_QUEUED: u32 = 32_768;
/// Ours: the official default is not documented.
const MAX_STREAMS: u32 = 256;
const HOUR_MS: u32 = 3_600_000;

/// Reads `destinations`, in the order of the file. A destination with a fault stays in the list, so that routing to it
/// is not a second fault.
pub fn read(context: &mut Context<'_>, root: &View<'_>, limits: &Limits) -> Vec<Destination> {
    let view = root.section(context, "destinations");
    if view.is_empty() && may_be_missing(root) {
        return Vec::new();
    }
    if view.is_empty() && root.find("destinations").is_none_or(|entry| entry.value.is_null() || is_empty(&entry.value))
    {
        let message = "missing; write `destinations: { NAME: { urls: [ http://HOST:PORT/PATH ] } }`".to_owned();
        context.fault(view.at, "destinations", message);
    }
    let mut destinations = Vec::new();
    for entry in view.entries() {
        let path = context::join(&view.path, &entry.key);
        name_fault(context, entry.key_at, &path, &entry.key);
        let section = View::of(context, entry, path);
        destinations.push(destination(context, &section, entry.key.clone(), limits));
    }
    destinations
}

/// Without a destination the connector can only skip.
fn may_be_missing(root: &View<'_>) -> bool {
    let mode = root.find("routing").and_then(|entry| entry.value.get("mode"));
    mode.is_some_and(|entry| entry.value.text() == Some("skip"))
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.is_empty())
}

fn destination(context: &mut Context<'_>, view: &View<'_>, name: String, limits: &Limits) -> Destination {
    let protocols = [("HTTP_1_1", Protocol::Http1), ("HTTP_2", Protocol::Http2)];
    let protocol = view.choice(context, "protocol", &protocols, Protocol::Http2);
    if protocol == Protocol::Http1 && view.find("http2-max-concurrent-streams").is_some() {
        let message = "has no effect with `protocol: HTTP_1_1`; take it out".to_owned();
        view.warn(context, "http2-max-concurrent-streams", message);
    }
    let (call_timeout, connect_timeout) = timeouts(context, view, limits);
    Destination {
        name,
        urls: urls(context, view),
        protocol,
        call_timeout,
        connect_timeout,
        max_connections_per_endpoint: view.whole(
            context,
            "max-connections-per-endpoint",
            1..=65_535,
            " connections",
            MAX_CONNECTIONS,
        ),
        max_request_queued_per_endpoint: view.whole(
            context,
            "max-request-queued-per-endpoint",
            1..=10_000_000,
            " requests",
            MAX_QUEUED,
        ),
        // A stream's number has 31 bits, and a client uses the odd ones.
        http2_max_concurrent_streams: view.whole(
            context,
            "http2-max-concurrent-streams",
            1..=1 << 30,
            " streams",
            MAX_STREAMS,
        ),
        success: success(context, view),
        permanent: StatusSet::empty(),
        gzip_above: None,
        headers: Headers::default(),
    }
}

fn timeouts(context: &mut Context<'_>, view: &View<'_>, limits: &Limits) -> (Duration, Duration) {
    let call_ms = view.whole(context, "call-timeout", 1..=HOUR_MS, " milliseconds", CALL_TIMEOUT_MS);
    let connect_ms = view.whole(context, "connect-timeout", 1..=HOUR_MS, " milliseconds", CONNECT_TIMEOUT_MS);
    let (call, connect) = (Duration::from_millis(call_ms.into()), Duration::from_millis(connect_ms.into()));
    if call > limits.record_deadline && view.find("call-timeout").is_some() {
        let message = format!(
            "{call_ms} ms is above `limits.record-deadline`, so {} holds: XDR waits 10 s for an ack; write at most {}",
            value::show_duration(limits.record_deadline),
            limits.record_deadline.as_millis()
        );
        view.warn(context, "call-timeout", message);
    }
    let holds = call.min(limits.record_deadline);
    if connect > holds && view.find("connect-timeout").is_some() {
        let message = format!(
            "{connect_ms} ms is above what a whole call may take, so {} holds; write at most {}",
            value::show_duration(holds),
            holds.as_millis()
        );
        view.warn(context, "connect-timeout", message);
    }
    (call, connect)
}

fn urls(context: &mut Context<'_>, view: &View<'_>) -> Vec<Url> {
    if view.find("urls").is_none() {
        view.fault(context, "urls", "missing; write `urls: [ http://HOST:PORT/PATH ]`".to_owned());
        return Vec::new();
    }
    let read = |node: &Node| match node.text().filter(|_| !node.is_null()) {
        Some(text) => url::parse(text),
        None => Err("no URL; write http://HOST:PORT/PATH".to_owned()),
    };
    view.list(context, "urls", read).unwrap_or_default()
}

fn success(context: &mut Context<'_>, view: &View<'_>) -> StatusSet {
    let code = |node: &Node| match value::whole(node)? {
        code @ 100..=199 => Err(format!("{code} is never the end of a response; write 200 to 599")),
        code => in_range(code, &(200_u16..=599), ""),
    };
    match view.list(context, "http-success-status-codes", code) {
        None => StatusSet::successful(),
        Some(codes) => {
            let mut set = StatusSet::empty();
            for code in codes {
                set.insert(code);
            }
            set
        }
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Several,
    /// `static`, the spelling of other connectors.
    One,
    Skip,
}

/// Reads `routing` against the destinations that exist.
pub fn routing(context: &mut Context<'_>, root: &View<'_>, known: &[Destination]) -> Option<Routing> {
    let view = root.section(context, "routing");
    let Some(entry) = root.find("routing").filter(|entry| !entry.value.is_null()) else {
        if !known.is_empty() {
            let example = "`routing: { mode: static-multi-destination, destinations: [ NAME ] }`";
            let message = format!("missing: every record is acked and none is delivered; write {example}");
            context.warn(root.at, "routing", message);
        }
        return None;
    };
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
        _ => super::view::word(node, &[("static-multi-destination", Mode::Several), ("skip", Mode::Skip)]),
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
    for (index, destination) in known.iter().enumerate() {
        if !indices.contains(&index) {
            let message = format!("{} is not in `routing.{key}`: no record goes there", shown_key(&destination.name));
            view.warn(context, key, format!("{message}; add it, or take the destination out"));
        }
    }
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
