//! Everything that the status page and `ringpost top` show, as one JSON object.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::history::{CODES, History, Point, Summary};
use super::view::{DestinationFacts, View};
use crate::metrics::Counters;
use crate::metrics::snapshot::{EndpointFigures, SourceFigures, UrlState};
use crate::metrics::stages::Stage;

/// XDR connections that are shown one by one, those with most records; of further ones there is only the number.
pub const SHOWN_CONNECTIONS: usize = 256;

/// The object; `points`: how many seconds of the past there are to be in it at most, `None`: no history.
pub fn render(view: &View, history: &History, points: Option<usize>) -> Value {
    let (shown, left_out) = connections(view);
    let mut status = json!({
        "version": view.facts.version,
        "cluster_name": view.facts.cluster_name,
        "now_ms": view.now.unix_ms,
        "started_ms": (view.facts.started * 1000.0) as u64,
        "uptime_s": view.uptime.as_secs(),
        "state": if view.is_open() { "running" } else { "draining" },
        "totals": totals(view, history),
        "stages": stages(history),
        "lag_ms": view.lag.map(|lag| milliseconds(lag.as_secs_f64())),
        "executors": executors(view, history),
        "destinations": destinations(view, history),
        "connections": shown,
        "connections_left_out": left_out,
        "certificates": certificates(view),
    });
    if let (Some(points), Some(object)) = (points, status.as_object_mut()) {
        object.insert("history".to_owned(), past(history, points));
    }
    status
}

/// With three decimals: enough for all that is shown, and short.
fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

fn micros(nanos: u64) -> Value {
    rounded(nanos as f64 / 1e3)
}

fn milliseconds(seconds: f64) -> Value {
    rounded(seconds * 1e3)
}

fn totals(view: &View, history: &History) -> Value {
    let [dropped, refused] = view.lost_lines;
    let sum = |of: fn(&Counters) -> u64| view.sum(|snapshot| of(&snapshot.counters));
    let executors = |is: fn(&crate::metrics::snapshot::Snapshot) -> bool| view.sum(|snapshot| u64::from(is(snapshot)));
    json!({
        "records": sum(|it| it.records),
        "acked": {
            "0": sum(|it| it.acked_ok),
            "10": sum(|it| it.acked_permanent),
            "11": sum(|it| it.acked_temporary),
            "18": sum(|it| it.acked_overload),
        },
        "skipped": sum(|it| it.skipped),
        "stale": sum(|it| it.stale + it.coalesced),
        "parse_errors": sum(|it| it.content_faults),
        "retries": sum(|it| it.retries),
        "batches": sum(|it| it.batches),
        "in_flight": view.sum(|snapshot| snapshot.in_flight),
        "in_flight_limit": view.facts.max_records,
        "in_flight_bytes": view.sum(|snapshot| snapshot.in_flight_bytes),
        "in_flight_bytes_limit": view.facts.max_bytes,
        "sources": view.sum(|snapshot| snapshot.sources as u64),
        "not_allowed": view.not_allowed,
        "duplicates": sum(|it| it.duplicates),
        "duplicates_possible": sum(|it| it.duplicates_possible),
        "log_lines_dropped": dropped,
        "log_lines_refused": refused,
        "permanent_share_1m": history.permanent_share(),
        "executors_rejecting": executors(|snapshot| snapshot.is_rejecting),
        "executors_draining": executors(|snapshot| snapshot.is_draining),
    })
}

fn stages(history: &History) -> Vec<Value> {
    let of = |(stage, summary): (Stage, &Summary)| {
        json!({
            "name": stage.name(),
            "count": summary.count,
            "p50_us": micros(summary.p50),
            "p90_us": micros(summary.p90),
            "p99_us": micros(summary.p99),
            "p999_us": micros(summary.p999),
            "max_us": micros(summary.max),
        })
    };
    Stage::ALL.into_iter().zip(history.stages()).map(of).collect()
}

fn executors(view: &View, history: &History) -> Vec<Value> {
    let of = |(index, snapshot): (usize, &std::sync::Arc<crate::metrics::snapshot::Snapshot>)| {
        let pace = history.pace(index);
        json!({
            "index": index,
            "core": view.facts.cores.get(index),
            "busy": rounded(pace.busy),
            "records_per_s": rounded(pace.records),
            "records": snapshot.counters.records,
            "in_flight": snapshot.in_flight,
            "in_flight_bytes": snapshot.in_flight_bytes,
            "sources": snapshot.sources,
            "pauses": snapshot.counters.pauses,
            "heartbeat_age_ms": view.now.monotonic.since(snapshot.taken).as_millis() as u64,
            "stalls": pace.stalls,
            "rejecting": snapshot.is_rejecting,
            "draining": snapshot.is_draining,
        })
    };
    view.executors.iter().enumerate().map(of).collect()
}

fn destinations(view: &View, history: &History) -> Vec<Value> {
    let mut before = 0;
    let of = |(place, facts): (usize, &DestinationFacts)| {
        let sum = |of: fn(&crate::metrics::snapshot::DestinationFigures) -> u64| {
            view.sum(|snapshot| snapshot.destinations.get(place).map_or(0, of))
        };
        let response = history.response(place);
        let urls: Vec<Value> =
            facts.urls.iter().enumerate().map(|(url, text)| self::url(view, facts, before + url, text)).collect();
        before += urls.len();
        json!({
            "name": facts.name,
            "protocol": facts.protocol,
            "success": sum(|it| it.success),
            "error": sum(|it| it.error),
            "count": response.count,
            "p50_us": micros(response.p50),
            "p99_us": micros(response.p99),
            "urls": urls,
        })
    };
    view.facts.destinations.iter().enumerate().map(of).collect()
}

/// What all executors together know of a URL: its state is the worst that one of them finds.
fn url(view: &View, facts: &DestinationFacts, place: usize, text: &str) -> Value {
    let figures = || view.executors.iter().filter_map(|snapshot| snapshot.endpoints.get(place));
    let sum = |of: fn(&EndpointFigures) -> u64| figures().map(of).sum::<u64>();
    let state = figures().map(|it| it.state).max_by_key(|state| gravity(*state)).unwrap_or_default();
    let last = figures().filter_map(|it| it.last_error.as_ref()).max_by_key(|(at, _)| *at);
    json!({
        "url": text,
        "state": state_name(state),
        "unhealthy_executors": sum(|it| u64::from(it.state != UrlState::Healthy)),
        "connections": {
            "open": sum(|it| it.pool.open as u64),
            "opening": sum(|it| it.pool.connecting as u64),
            "draining": sum(|it| it.pool.draining as u64),
            "limit": facts.max_connections,
        },
        "in_flight": sum(|it| it.pool.in_flight as u64),
        "queued": sum(|it| it.pool.queued),
        "success": sum(|it| it.success),
        "error": sum(|it| it.error),
        "probes_passed": sum(|it| it.probes_passed),
        "probes_failed": sum(|it| it.probes_failed),
        "last_error": last.map(|(at, text)| json!({ "at_ms": view.wall_ms(*at), "text": text })),
    })
}

const fn gravity(state: UrlState) -> u8 {
    match state {
        UrlState::Healthy => 0,
        UrlState::Waiting => 1,
        UrlState::Testing => 2,
        UrlState::Unhealthy => 3,
    }
}

const fn state_name(state: UrlState) -> &'static str {
    match state {
        UrlState::Healthy => "healthy",
        UrlState::Unhealthy => "unhealthy",
        UrlState::Testing => "testing",
        UrlState::Waiting => "waiting",
    }
}

/// XDR connections, and how many more there are.
fn connections(view: &View) -> (Vec<Value>, u64) {
    let of = |(index, snapshot): (usize, &'_ std::sync::Arc<crate::metrics::snapshot::Snapshot>)| {
        snapshot.shown.iter().map(move |source| (index, *source)).collect::<Vec<_>>()
    };
    let mut all: Vec<(usize, SourceFigures)> = view.executors.iter().enumerate().flat_map(of).collect();
    all.sort_by_key(|(executor, source)| (Reverse(source.records), *executor, source.peer));
    all.truncate(SHOWN_CONNECTIONS);
    let open = view.sum(|snapshot| snapshot.sources as u64);
    let left_out = open.saturating_sub(all.len() as u64);
    let show = |(executor, source): &(usize, SourceFigures)| {
        json!({
            "peer": source.peer.to_string(),
            "port": source.port,
            "executor": executor,
            "tls": source.is_tls,
            "records": source.records,
            "in_flight": source.in_flight,
            "paused": source.is_paused,
            "opened_ms": view.wall_ms(source.opened),
        })
    };
    (all.iter().map(show).collect(), left_out)
}

fn certificates(view: &View) -> Vec<Value> {
    let of = |it: &super::view::CertificateFacts| json!({ "place": it.place, "days_left": view.days_left(it) });
    view.certificates.iter().map(of).collect()
}

/// Arrays of one length, oldest first; `null` where nothing was recorded.
fn past(history: &History, points: usize) -> Value {
    let points = history.points(points);
    let each = |of: &dyn Fn(&Point) -> Value| points.clone().map(of).collect::<Vec<Value>>();
    let acked: Map<String, Value> = CODES
        .iter()
        .enumerate()
        .map(|(place, code)| {
            let rate =
                |point: &Point| point.acked.and_then(|rates| rates.get(place).copied()).map_or(Value::Null, rounded);
            (code.to_string(), Value::Array(each(&rate)))
        })
        .collect();
    let stages: Map<String, Value> = Stage::ALL
        .into_iter()
        .map(|stage| {
            let quantile = |of: fn(&Summary) -> u64| {
                each(&|point: &Point| {
                    let summary = point.stages.get(stage as usize).filter(|summary| summary.count > 0);
                    summary.map_or(Value::Null, |summary| micros(of(summary)))
                })
            };
            let quantiles = json!({
                "p50_us": quantile(|it| it.p50),
                "p99_us": quantile(|it| it.p99),
                "p999_us": quantile(|it| it.p999),
            });
            (stage.name().to_owned(), quantiles)
        })
        .collect();
    json!({
        "step_ms": super::history::STEP.as_millis() as u64,
        "end": history.end(),
        "end_ms": history.end_ms(),
        "records_per_s": each(&|point: &Point| point.records.map_or(Value::Null, rounded)),
        "acked": acked,
        "stages": stages,
    })
}

#[cfg(test)]
mod tests;
