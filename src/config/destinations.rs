//! `destinations`: where records can go.

use std::time::Duration;

use super::context::Context;
use super::keys::name_fault;
use super::model::{Destination, Limits, Protocol, StatusSet, Url};
use super::value;
use super::view::{View, in_range};
use super::yaml::{Kind, Node};
use super::{context, headers, health, tls, url};

/// Defaults of the official connector.
const CALL_TIMEOUT_MS: u32 = 1_000;
const CONNECT_TIMEOUT_MS: u32 = 300;
const MAX_CONNECTIONS: u32 = 1;
const MAX_QUEUED: u32 = 32_768;
/// Ours: the official default is not documented.
const MAX_STREAMS: u32 = 256;
const HOUR_MS: u32 = 3_600_000;
const RETRY_AFTER_CAP: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
/// A shorter time to live was probably meant in seconds.
const SHORT_TTL_MS: i128 = 1_000;

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
    let protocols = [Protocol::Http1, Protocol::Http2].map(|protocol| (protocol.name(), protocol));
    let protocol = view.choice(context, "protocol", &protocols, Protocol::Http2);
    if protocol == Protocol::Http1 && view.find("http2-max-concurrent-streams").is_some() {
        let message = "has no effect with `protocol: HTTP_1_1`; take it out".to_owned();
        view.warn(context, "http2-max-concurrent-streams", message);
    }
    let (call_timeout, connect_timeout) = timeouts(context, view, limits);
    let connection_ttl = connection_ttl(context, view);
    let success = success(context, view);
    let urls = urls(context, view);
    let tls = tls::destination(context, view, protocol, &urls);
    Destination {
        name,
        urls,
        protocol,
        call_timeout,
        connect_timeout,
        connection_ttl,
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
        success,
        permanent: permanent(context, view, &success),
        gzip_above: gzip_above(context, view),
        headers: headers::read(context, view),
        health: health::read(context, view),
        retry_after_cap: view.duration(context, "retry-after-cap", Duration::ZERO..=HOUR, RETRY_AFTER_CAP),
        tls,
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

/// `-1` is never. A year is more than any connection lives.
fn connection_ttl(context: &mut Context<'_>, view: &View<'_>) -> Option<Duration> {
    let key = "connection-ttl";
    let longest = i64::from(HOUR_MS) * 24 * 365;
    let ttl = view.read(context, key, None, |node| match value::whole(node)? {
        -1 => Ok(None),
        0 => Err("0 would replace a connection as soon as it is open; write -1 to keep connections".to_owned()),
        ms => in_range::<i64>(ms, &(-1..=longest), " milliseconds")
            .map(|ms| Some(Duration::from_millis(ms.unsigned_abs()))),
    });
    if let Some(ms) = ttl.map(|ttl| ttl.as_millis() as i128).filter(|ms| *ms < SHORT_TTL_MS) {
        let message = format!(
            "milliseconds, not seconds? every connection would be replaced after {ms} ms; write {} for {ms} seconds",
            ms * 1_000
        );
        view.warn(context, key, message);
    }
    ttl
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

/// A status code that can end a response.
pub(super) fn status(node: &Node) -> Result<u16, String> {
    match value::whole(node)? {
        code @ 100..=199 => Err(format!("{code} is never the end of a response; write 200 to 599")),
        code => in_range(code, &(200_u16..=599), ""),
    }
}

/// The codes as a set.
pub(super) fn set_of(codes: Vec<u16>) -> StatusSet {
    let mut set = StatusSet::empty();
    for code in codes {
        set.insert(code);
    }
    set
}

fn success(context: &mut Context<'_>, view: &View<'_>) -> StatusSet {
    view.list(context, "http-success-status-codes", status).map_or_else(StatusSet::successful, set_of)
}

fn permanent(context: &mut Context<'_>, view: &View<'_>, success: &StatusSet) -> StatusSet {
    let key = "permanent-status-codes";
    if view.is_empty_list(context, key) {
        return StatusSet::empty();
    }
    let code = |node: &Node| match status(node)? {
        code if success.contains(code) => {
            Err(format!("{code} counts as success (`http-success-status-codes`); list it in one of the two"))
        }
        code => Ok(code),
    };
    view.list(context, key, code).map_or_else(StatusSet::empty, set_of)
}

fn gzip_above(context: &mut Context<'_>, view: &View<'_>) -> Option<u64> {
    let words = [("none", Some(false)), ("gzip", Some(true))];
    let gzip = match view.find("compression") {
        Some(_) => view.choice(context, "compression", &words, None),
        None => Some(false),
    };
    let threshold = view.size(context, "compression-threshold", 0..=1 << 30, 0);
    if gzip == Some(false) && view.find("compression-threshold").is_some() {
        let message = "has no effect without `compression: gzip`; take it out".to_owned();
        view.warn(context, "compression-threshold", message);
    }
    (gzip == Some(true)).then_some(threshold)
}
