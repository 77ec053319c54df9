//! The metrics as JSON, with the official names, in the layout of the library that the official connector has them from
//! (Dropwizard's `MetricsModule`). What that layout has and nobody measures here (moving rates) is left out.

use serde_json::{Map, Value, json};

use super::outcomes::Outcomes;
use super::view::View;
use crate::metrics::stages::{Durations, Stage};

/// The quantiles of a timer.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p95", 0.95), ("p98", 0.98), ("p99", 0.99), ("p999", 0.999)];

/// The object.
pub fn render(view: &View) -> Value {
    let outcomes = view.executors.iter().map(|snapshot| Outcomes::of(&snapshot.counters));
    let all = outcomes.fold(Outcomes::default(), Outcomes::plus);
    let counters = [
        ("connections-active", view.sum(|snapshot| snapshot.sources as u64)),
        ("connections-closed", view.sum(|snapshot| snapshot.counters.sources_closed)),
        ("records-inprocess", view.sum(|snapshot| snapshot.in_flight)),
        ("requests-errors", all.error + all.parse_error),
        ("requests-parse-error", all.parse_error),
        ("requests-queued", view.sum(|snapshot| snapshot.endpoints.iter().map(|url| url.pool.queued).sum())),
        ("requests-skipped", all.skipped),
        ("requests-success", all.success),
    ];
    let counters: Map<String, Value> =
        counters.into_iter().map(|(name, count)| (name.to_owned(), json!({ "count": count }))).collect();
    let lag = view.lag.map_or(0, |lag| lag.as_millis());
    let stages = view.stages();
    let timers: Map<String, Value> =
        stages.of(Stage::Total).map(|total| ("requests-total".to_owned(), timer(total))).into_iter().collect();
    json!({
        "version": "4.0.0",
        "gauges": { "requests-lag": { "value": u64::try_from(lag).unwrap_or(u64::MAX) } },
        "counters": counters,
        "histograms": {},
        "meters": {},
        "timers": timers,
    })
}

fn timer(durations: &Durations) -> Value {
    let seconds = |nanos: f64| nanos / 1e9;
    let spread = durations.histogram().filter(|histogram| !histogram.is_empty()).map_or([0.0; 4], |histogram| {
        [histogram.max() as f64, histogram.mean(), histogram.min() as f64, histogram.stdev()]
    });
    let mut timer = Map::new();
    timer.insert("count".to_owned(), json!(durations.count()));
    for (name, value) in ["max", "mean", "min", "stddev"].into_iter().zip(spread) {
        timer.insert(name.to_owned(), json!(seconds(value)));
    }
    for (name, quantile) in QUANTILES {
        timer.insert(name.to_owned(), json!(seconds(durations.quantile(quantile) as f64)));
    }
    timer.insert("duration_units".to_owned(), json!("seconds"));
    Value::Object(timer)
}
