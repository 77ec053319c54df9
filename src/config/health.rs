//! `destinations.NAME.health-check`: probes, and what makes a URL unhealthy.

use std::time::Duration;

use super::context::Context;
use super::destinations::{set_of, status};
use super::fault::shown;
use super::model::{HealthCheck, ProbeMethod};
use super::view::{View, word};
use super::yaml::Node;
use super::{url, value};

/// A longer pause between probes is probably a mistake: published examples have milliseconds there.
const LONG_INTERVAL_S: u32 = 300;
const DAY_S: u32 = 86_400;
const HOUR_MS: u32 = 3_600_000;
const MAX_THRESHOLD: u32 = 1_000;

/// Reads the section of a destination; on with the defaults when it is absent.
pub fn read(context: &mut Context<'_>, destination: &View<'_>) -> HealthCheck {
    let view = destination.section(context, "health-check");
    let default = HealthCheck::default();
    let threshold = |context: &mut Context<'_>, key: &str, what: &str, default: u32| {
        view.whole(context, key, 1..=MAX_THRESHOLD, what, default)
    };
    let enabled = view.boolean(context, "enabled", default.enabled);
    let seconds = view.whole(context, "interval-seconds", 1..=DAY_S, " seconds", 5);
    if enabled && seconds > LONG_INTERVAL_S {
        warn_of_interval(context, &view, seconds);
    }
    let timeout_ms = view.whole(context, "call-timeout", 1..=HOUR_MS, " milliseconds", 1_000);
    let passes = view.list(context, "success-status-codes", status).map(set_of);
    let method = view.read(context, "method", default.method, method);
    HealthCheck {
        enabled,
        interval: Duration::from_secs(seconds.into()),
        call_timeout: Duration::from_millis(timeout_ms.into()),
        healthy_threshold: threshold(context, "healthy-threshold", " probes", default.healthy_threshold),
        unhealthy_threshold: threshold(context, "unhealthy-threshold", " probes", default.unhealthy_threshold),
        path: view.read(context, "path", None, path),
        method,
        success: passes,
    }
}

fn warn_of_interval(context: &mut Context<'_>, view: &View<'_>, seconds: u32) {
    let written = view.find("interval-seconds").map(|entry| value::describe(&entry.value)).unwrap_or_default();
    let sensible = (seconds / 1000).clamp(1, LONG_INTERVAL_S);
    let message = format!(
        "seconds, not milliseconds? {written} seconds hold, so that a URL is probed every {} minutes; write {sensible}",
        seconds / 60
    );
    view.warn(context, "interval-seconds", message);
}

fn method(node: &Node) -> Result<ProbeMethod, String> {
    let safe = [ProbeMethod::Get, ProbeMethod::Head, ProbeMethod::Options];
    if let Some(known) =
        safe.iter().find(|method| node.text().is_some_and(|text| text.eq_ignore_ascii_case(method.name())))
    {
        return Ok(*known);
    }
    if let Some(text) =
        node.text().filter(|text| ["POST", "PUT", "PATCH", "DELETE"].contains(&text.to_ascii_uppercase().as_str()))
    {
        return Err(format!("{} can change something at the destination; write GET, HEAD or OPTIONS", shown(text)));
    }
    word(node, &safe.map(|method| (method.name(), method)))
}

fn path(node: &Node) -> Result<Option<String>, String> {
    let text = value::text(node)?;
    if !text.starts_with('/') {
        return Err(format!("{} is not a path; write one that starts with '/'", shown(&text)));
    }
    if text.contains('#') {
        return Err("the path has a fragment (`#...`), which is never sent; take it out".to_owned());
    }
    url::check_path(&text).map(Some)
}
