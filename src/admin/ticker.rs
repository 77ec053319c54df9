//! Ticker lines: one figure each, in the layout of Dropwizard's SLF4J reporter, which scripts search for.

use std::sync::Arc;

use super::outcomes::Outcomes;
use crate::metrics::snapshot::Snapshot;
use crate::metrics::stages::{Durations, Stage, Stages};

/// Nanoseconds of a millisecond.
const MILLI: f64 = 1e6;

/// The lines of now.
pub fn lines(executors: &[Arc<Snapshot>]) -> Vec<String> {
    let outcomes = executors.iter().map(|snapshot| Outcomes::of(&snapshot.counters));
    let all = outcomes.fold(Outcomes::default(), Outcomes::plus);
    let sum = |of: fn(&Snapshot) -> u64| executors.iter().map(|snapshot| of(snapshot)).sum::<u64>();
    let counters = [
        ("connections-active", sum(|it| it.sources as u64)),
        ("connections-closed", sum(|it| it.counters.sources_closed)),
        ("records-inprocess", sum(|it| it.in_flight)),
        ("requests-error", all.error + all.parse_error),
        ("requests-parse-error", all.parse_error),
        ("requests-queued", sum(|it| it.endpoints.iter().map(|url| url.pool.queued).sum())),
        ("requests-skipped", all.skipped),
        ("requests-success", all.success),
    ];
    let counter = |(name, count)| format!("type=COUNTER, name={name}, count={count}");
    let mut lines: Vec<String> = counters.into_iter().map(counter).collect();
    let mut stages = Stages::default();
    executors.iter().for_each(|snapshot| stages.add(&snapshot.stages));
    lines.extend(stages.of(Stage::Total).map(|total| timer("requests-total", total)));
    lines.push(timer("requests-lag", &stages.lag));
    lines
}

fn timer(name: &str, durations: &Durations) -> String {
    let [min, max, mean, deviation] =
        durations.histogram().filter(|histogram| !histogram.is_empty()).map_or([0.0; 4], |histogram| {
            [histogram.min() as f64, histogram.max() as f64, histogram.mean(), histogram.stdev()]
        });
    let of = |quantile| durations.quantile(quantile) as f64 / MILLI;
    format!(
        "type=TIMER, name={name}, count={}, min={:.3}, max={:.3}, mean={:.3}, stddev={:.3}, p50={:.3}, p75={:.3}, p95={:.3}, p98={:.3}, p99={:.3}, p999={:.3}, duration_unit=milliseconds",
        durations.count(),
        min / MILLI,
        max / MILLI,
        mean / MILLI,
        deviation / MILLI,
        of(0.5),
        of(0.75),
        of(0.95),
        of(0.98),
        of(0.99),
        of(0.999),
    )
}
