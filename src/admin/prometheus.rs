//! The page for Prometheus: the official series under their names, and ours. docs/metrics.md lists them.

use super::history::History;
use super::outcomes::Outcomes;
use super::text::{Exposition, Kind, Page};
use super::view::{CertificateFacts, View};
use crate::metrics::Counters;
use crate::metrics::snapshot::{EndpointFigures, Snapshot, UrlState};
use crate::metrics::stages::{Durations, Stage};

/// Before the official series.
const OFFICIAL: &str = "aerospike_esp_outbound_";

/// The quantiles of the official summary.
const QUANTILES: [(&str, f64); 6] =
    [("0.5", 0.5), ("0.75", 0.75), ("0.95", 0.95), ("0.98", 0.98), ("0.99", 0.99), ("0.999", 0.999)];

/// The page; `history`: what was seen of the executors so far.
pub fn render(view: &View, history: &History, format: Exposition) -> String {
    let common: Vec<(&str, &str)> =
        view.facts.cluster_name.iter().map(|name| ("cluster_name", name.as_str())).collect();
    let mut page = Page::new(format, &common);
    official(&mut page, view);
    official_endpoints(&mut page, view);
    official_process(&mut page, view);
    process(&mut page, view);
    own(&mut page, view);
    counts(&mut page, view);
    executors(&mut page, view, history);
    endpoints(&mut page, view);
    certificates(&mut page, view);
    histograms(&mut page, view);
    page.finish()
}

fn official(page: &mut Page, view: &View) {
    let outcomes = view.executors.iter().map(|snapshot| Outcomes::of(&snapshot.counters));
    let all = outcomes.fold(Outcomes::default(), Outcomes::plus);
    page.family(&format!("{OFFICIAL}requests"), Kind::OldCounter, "Change notifications by outcome.");
    let by_status =
        [("success", all.success), ("error", all.error), ("skipped", all.skipped), ("parse-error", all.parse_error)];
    by_status.iter().for_each(|(status, count)| page.sample(&[("status", status)], *count as f64));

    let stages = view.stages();
    let help = "Seconds from the end of the read that completed a record's frame until its ack may be written.";
    page.family(&format!("{OFFICIAL}requests_total"), Kind::Summary, help);
    if let Some(total) = stages.of(Stage::Total) {
        for (name, quantile) in QUANTILES {
            page.sample(&[("quantile", name)], seconds(total.quantile(quantile) as f64));
        }
        page.suffixed("_sum", &[], seconds(total.sum() as f64));
        page.suffixed("_count", &[], total.count() as f64);
    }

    let help = "Milliseconds from a record's last update to its arrival: the 99th percentile of the last 5 to 10 seconds, 0 without records.";
    page.family(&format!("{OFFICIAL}requests_lag"), Kind::Gauge, help);
    page.sample(&[], view.lag.unwrap_or_default().as_millis() as f64);

    page.family(&format!("{OFFICIAL}connections"), Kind::Gauge, "XDR connections, open and ended.");
    page.sample(&[("status", "active")], view.sum(|snapshot| snapshot.sources as u64) as f64);
    page.sample(&[("status", "closed")], view.sum(|snapshot| snapshot.counters.sources_closed) as f64);
}

fn official_endpoints(page: &mut Page, view: &View) {
    page.family(
        &format!("{OFFICIAL}destination_requests"),
        Kind::OldCounter,
        "Records by outcome, each try of them, and those that wait for a connection or stream (status queued, a current value).",
    );
    for (place, (destination, endpoint)) in view.facts.endpoints().enumerate() {
        let sum = |of: fn(&EndpointFigures) -> u64| sum_at(view, place, of);
        let by_status = [
            ("success", sum(|url| url.success)),
            ("error", sum(|url| url.error)),
            ("queued", sum(|url| url.pool.queued)),
        ];
        for (status, count) in by_status {
            let labels = [("status", status), ("destination", destination), ("destination_endpoint", endpoint)];
            page.sample(&labels, count as f64);
        }
    }
    page.family(&format!("{OFFICIAL}health_check"), Kind::OldCounter, "Probes of a destination's URLs by outcome.");
    let mut place = 0;
    for destination in &view.facts.destinations {
        let places = place..place + destination.endpoints.len();
        place = places.end;
        let sum = |of: fn(&EndpointFigures) -> u64| places.clone().map(|place| sum_at(view, place, of)).sum::<u64>();
        for (status, count) in [("success", sum(|url| url.probes_passed)), ("error", sum(|url| url.probes_failed))] {
            page.sample(&[("status", status), ("destination", &destination.name)], count as f64);
        }
    }
}

/// Series of the Java machine that mean something here.
fn official_process(page: &mut Page, view: &View) {
    let process = &view.process;
    let mut gauge = |name: &str, help: &str, labels: &[(&str, &str)], value: Option<f64>| {
        if let Some(value) = value {
            page.family(&format!("{OFFICIAL}jvm_{name}"), Kind::Gauge, help);
            page.sample(labels, value);
        }
    };
    gauge("attribute_uptime", "Milliseconds since the start.", &[], Some(view.uptime.as_millis() as f64));
    gauge(
        "os_processCpuLoad",
        "Percent of all cores that this process used, over the last seconds.",
        &[],
        process.process_load,
    );
    gauge(
        "os_systemCpuLoad",
        "Percent of all cores that were in use, over the last seconds.",
        &[],
        process.system_load,
    );
    gauge("files_open", "Open descriptors.", &[], process.descriptors.map(|count| count as f64));
    gauge("files_max", "Descriptors that there may be.", &[], process.max_descriptors.map(|count| count as f64));
    gauge("threads_count", "Threads.", &[("state", "runnable")], process.threads.map(|count| count as f64));
    // The official dashboards look for connectors by this series.
    gauge("gc_count", "Garbage collections: none, there is no collector.", &[], Some(0.0));
    gauge("gc_time", "Milliseconds of them.", &[], Some(0.0));
}

fn process(page: &mut Page, view: &View) {
    let process = &view.process;
    let mut one = |name: &str, kind: Kind, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.family(name, kind, help);
            page.sample(&[], value);
        }
    };
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    let cpu = process.cpu.map(|cpu| cpu.as_secs_f64());
    one("process_cpu_seconds_total", Kind::Counter, "User and system CPU time.", cpu);
    one("process_resident_memory_bytes", Kind::Gauge, "Resident memory.", bytes(process.resident));
    one("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory.", bytes(process.virtual_memory));
    one("process_open_fds", Kind::Gauge, "Open descriptors.", bytes(process.descriptors));
    one("process_max_fds", Kind::Gauge, "Descriptors that there may be.", bytes(process.max_descriptors));
    one("process_start_time_seconds", Kind::Gauge, "When it started, since 1970.", Some(view.facts.started));
}

fn own(page: &mut Page, view: &View) {
    page.family("ringpost_build_info", Kind::Gauge, "1, with the version.");
    page.sample(&[("version", view.facts.version)], 1.0);
    page.family("ringpost_healthy", Kind::Gauge, "1 while /health says so: every executor ticks.");
    page.sample(&[], flag(view.is_alive));
    page.family("ringpost_ready", Kind::Gauge, "1 while /ready says so: it listens, and every executor ticks.");
    page.sample(&[], flag(view.is_open() && view.is_alive));
    page.family("ringpost_max_records_in_flight", Kind::Gauge, "service.max-concurrent-records.");
    page.sample(&[], view.facts.max_records as f64);
    page.family("ringpost_max_in_flight_bytes", Kind::Gauge, "executors.in-flight-bytes.");
    page.sample(&[], view.facts.max_bytes as f64);
    page.family(
        "ringpost_connections_not_allowed_total",
        Kind::Counter,
        "XDR connections that service.allowed-networks turned away.",
    );
    page.sample(&[], view.not_allowed as f64);
    page.family(
        "ringpost_connections_too_many_total",
        Kind::Counter,
        "XDR connections that were closed as they came, since 16,384 were open.",
    );
    page.sample(&[], view.too_many as f64);
    page.family(
        "ringpost_log_lines_lost_total",
        Kind::Counter,
        "Log lines that were lost: they came too fast (queue), or the file did not take them (file).",
    );
    let [dropped, refused] = view.lost_lines;
    page.sample(&[("where", "queue")], dropped as f64);
    page.sample(&[("where", "file")], refused as f64);
    page.family("ringpost_acks_total", Kind::Counter, "Acks by code: 0 done, 10 never, 11 later, 18 overload.");
    type Code = (&'static str, fn(&Counters) -> u64);
    let codes: [Code; 4] = [
        ("0", |counters| counters.acked_ok),
        ("10", |counters| counters.acked_permanent),
        ("11", |counters| counters.acked_temporary),
        ("18", |counters| counters.acked_overload),
    ];
    for (code, of) in codes {
        page.sample(&[("code", code)], view.sum(|snapshot| of(&snapshot.counters)) as f64);
    }
}

/// A count of its own: name without `ringpost_` and `_total`, help, where it is.
type Count = (&'static str, &'static str, fn(&Counters) -> u64);

/// What executors count, beside acks.
const COUNTS: [Count; 42] = [
    ("records", "Frames that were taken in.", |it| it.records),
    ("records_skipped", "Records acked 0 without a delivery: no route, skip, monitor records.", |it| it.skipped),
    ("records_stale", "Versions acked 0 without a delivery, since a newer one was delivered.", |it| it.stale),
    ("records_stale_updates", "Of the stale ones, updates that do not have the complete record (bin-policy).", |it| {
        it.stale_updates
    }),
    ("records_coalesced", "Versions acked 0 with a newer one that stood for them.", |it| it.coalesced),
    ("records_waited", "Versions that had to wait for one before them.", |it| it.ordered_waits),
    ("records_order_refused", "Versions answered 11 for record-ordering.", |it| it.ordered_refused),
    ("records_unordered", "Records without a last-update time, which cannot be ordered.", |it| it.unordered),
    ("records_handed_over", "Records that were handed to the executor that orders them.", |it| it.handed_over),
    ("records_refused", "Records that found no usable URL or no room in a queue, answered 11.", |it| it.refused),
    ("records_expired", "Records that were given up at limits.record-deadline, answered 11.", |it| it.deadlines),
    (
        "records_orphaned",
        "Records whose XDR connection was gone before they were sent to each of their destinations.",
        |it| it.orphaned,
    ),
    ("duplicates", "Records that come again although a destination has taken them.", |it| it.duplicates),
    ("duplicates_possible", "Records that come again although a request for them may have been acted on.", |it| {
        it.duplicates_possible
    }),
    ("content_errors", "Frames whose content cannot be read or written.", |it| it.content_faults),
    ("panics", "Records whose handling met a defect of this program, answered 11.", |it| it.panics),
    ("rejected_kept", "Frames that were appended to rejected-file.", |it| it.rejected_kept),
    ("rejected_refused", "Frames that rejected-file did not take, answered 11.", |it| it.rejected_refused),
    ("xdr_connections_opened", "XDR connections that were accepted.", |it| it.sources_opened),
    ("xdr_framing_faults", "XDR connections that ended because their framing broke.", |it| it.framing_faults),
    ("xdr_handshakes_crowded_out", "XDR connections closed since too many others had their TLS handshake.", |it| {
        it.handshakes_crowded_out
    }),
    ("xdr_pauses", "Times that an XDR connection began to wait for room.", |it| it.pauses),
    ("requests", "HTTP requests that were given to a connection.", |it| it.requests),
    ("requests_retried", "Requests that were sent a second time, since they were certainly not looked at.", |it| {
        it.retries
    }),
    ("requests_timed_out", "Requests that were given up at call-timeout.", |it| it.call_timeouts),
    ("requests_late", "Answers that came after their request was over.", |it| it.late_outcomes),
    ("responses_success", "Responses with a status of success.", |it| it.responses_success),
    ("responses_permanent", "Responses with a status of permanent-status-codes.", |it| it.responses_permanent),
    ("responses_other", "Responses with another status.", |it| it.responses_other),
    ("requests_unanswered", "Requests without a complete response.", |it| it.requests_failed),
    ("batches", "Batches that were closed and sent.", |it| it.batches),
    ("batched_records", "Records in them.", |it| it.batched_records),
    ("batches_taken_apart", "Batches refused for good, whose records were sent again one by one.", |it| {
        it.batches_taken_apart
    }),
    ("headers_absent", "Header values that were left out, since a record does not have them.", |it| it.headers_absent),
    ("headers_too_long", "Header values that were left out, since they are too long.", |it| it.headers_too_long),
    ("retry_after", "Times that a URL asked to be left alone.", |it| it.waits),
    ("urls_unhealthy", "Times that a URL became unhealthy for an executor.", |it| it.urls_unhealthy),
    ("http_connections_opened", "Connections to destinations that were opened.", |it| it.connections_opened),
    ("http_connections_failed", "Connections to destinations that could not be opened.", |it| it.connections_failed),
    ("http_connections_replaced", "Connections replaced because of their age or address.", |it| {
        it.connections_replaced
    }),
    ("http_connections_silent", "Connections whose peer answered neither a PING nor anything else.", |it| {
        it.connections_silent
    }),
    ("http_pings", "HTTP/2 PINGs that were sent.", |it| it.pings),
];

fn counts(page: &mut Page, view: &View) {
    for (name, help, of) in COUNTS {
        page.family(&format!("ringpost_{name}_total"), Kind::Counter, help);
        page.sample(&[], view.sum(|snapshot| of(&snapshot.counters)) as f64);
    }
}

fn executors(page: &mut Page, view: &View, history: &History) {
    type Figure = (&'static str, Kind, &'static str, fn(&Snapshot) -> f64);
    let figures: [Figure; 7] = [
        (
            "executor_cpu_seconds_total",
            Kind::Counter,
            "CPU time of an executor's thread; its rate is the busy share.",
            |it| it.cpu.as_secs_f64(),
        ),
        ("executor_records_total", Kind::Counter, "Frames that an executor took in.", |it| it.counters.records as f64),
        ("executor_in_flight", Kind::Gauge, "Records in flight.", |it| it.in_flight as f64),
        ("executor_in_flight_bytes", Kind::Gauge, "Bytes in flight, as charged to executors.in-flight-bytes.", |it| {
            it.in_flight_bytes as f64
        }),
        ("executor_xdr_connections", Kind::Gauge, "Open XDR connections.", |it| it.sources as f64),
        ("executor_rejecting", Kind::Gauge, "1 while frames are answered 18.", |it| flag(it.is_rejecting)),
        ("executor_draining", Kind::Gauge, "1 while it takes no new frames, since the process is to end.", |it| {
            flag(it.is_draining)
        }),
    ];
    let mut each = |name: &str, kind: Kind, help: &str, of: &dyn Fn(usize, &Snapshot) -> f64| {
        page.family(&format!("ringpost_{name}"), kind, help);
        for (place, snapshot) in view.executors.iter().enumerate() {
            let core = view.facts.cores.get(place).map_or_else(String::new, usize::to_string);
            page.sample(&[("executor", &place.to_string()), ("core", &core)], of(place, snapshot));
        }
    };
    for (name, kind, help, of) in figures {
        each(name, kind, help, &|_, snapshot| of(snapshot));
    }
    let help = "Times that an executor published nothing for a second.";
    each("executor_stalls_total", Kind::Counter, help, &|place, _| history.pace(place).stalls as f64);
}

fn endpoints(page: &mut Page, view: &View) {
    type Figure = (&'static str, &'static str, fn(&EndpointFigures) -> u64);
    let figures: [Figure; 6] = [
        ("url_connections_open", "Connections that take requests.", |it| it.pool.open as u64),
        ("url_connections_opening", "Connections that are being opened.", |it| it.pool.connecting as u64),
        ("url_connections_draining", "Connections that finish what they have.", |it| it.pool.draining as u64),
        ("url_in_flight", "Requests without an answer.", |it| it.pool.in_flight as u64),
        (
            "url_unhealthy_executors",
            "Executors that find the URL unhealthy; one record tests it from time to time.",
            |it| u64::from(matches!(it.state, UrlState::Unhealthy | UrlState::Testing)),
        ),
        ("url_waiting_executors", "Executors that leave the URL alone, since it asked for it (Retry-After).", |it| {
            u64::from(it.state == UrlState::Waiting)
        }),
    ];
    for (name, help, of) in figures {
        page.family(&format!("ringpost_{name}"), Kind::Gauge, help);
        for (place, (destination, endpoint)) in view.facts.endpoints().enumerate() {
            let labels = [("destination", destination), ("destination_endpoint", endpoint)];
            page.sample(&labels, sum_at(view, place, of) as f64);
        }
    }
    most_connections(page, view);
    last_errors(page, view);
}

fn most_connections(page: &mut Page, view: &View) {
    let help = "Connections that there may be: max-connections-per-endpoint, and one more for each further executor.";
    page.family("ringpost_url_connections_max", Kind::Gauge, help);
    for destination in &view.facts.destinations {
        for endpoint in &destination.endpoints {
            let labels = [("destination", destination.name.as_str()), ("destination_endpoint", endpoint)];
            page.sample(&labels, destination.max_connections as f64);
        }
    }
}

/// When each URL last failed. 0 if it did not, so that the series is there before it does.
fn last_errors(page: &mut Page, view: &View) {
    let help = "When a record or probe last failed at the URL, since 1970; 0 if none did.";
    page.family("ringpost_url_last_error_timestamp_seconds", Kind::Gauge, help);
    for (place, (destination, endpoint)) in view.facts.endpoints().enumerate() {
        let of =
            |snapshot: &std::sync::Arc<Snapshot>| snapshot.endpoints.get(place)?.last_error.as_ref().map(|it| it.0);
        let last = view.executors.iter().filter_map(of).max();
        // Whole seconds: two clocks are read for it, which differ by a millisecond now and then.
        let at = last.map_or(0, |at| view.wall_ms(at) / 1000);
        page.sample(&[("destination", destination), ("destination_endpoint", endpoint)], at as f64);
    }
}

fn certificates(page: &mut Page, view: &View) {
    type Figure = (&'static str, &'static str, fn(&View, &CertificateFacts) -> f64);
    let figures: [Figure; 2] = [
        ("expiry_timestamp_seconds", "When an own certificate expires, since 1970.", |_, it| it.expiry.0 as f64),
        ("expiry_days", "Whole days until then; negative when it has expired.", |view, it| view.days_left(it) as f64),
    ];
    for (name, help, of) in figures {
        page.family(&format!("ringpost_certificate_{name}"), Kind::Gauge, help);
        view.certificates.iter().for_each(|it| page.sample(&[("place", &it.place)], of(view, it)));
    }
}

fn sum_at(view: &View, place: usize, of: fn(&EndpointFigures) -> u64) -> u64 {
    view.sum(|snapshot| snapshot.endpoints.get(place).map_or(0, of))
}

/// Bounds of a histogram's buckets, in seconds: as text, and in nanoseconds.
const BUCKETS: [(&str, u64); 22] = [
    ("1e-06", 1_000),
    ("2.5e-06", 2_500),
    ("5e-06", 5_000),
    ("1e-05", 10_000),
    ("2.5e-05", 25_000),
    ("5e-05", 50_000),
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1.0", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5.0", 5_000_000_000),
    ("10.0", 10_000_000_000),
];

fn histogram(page: &mut Page, labels: &[(&str, &str)], durations: &Durations) {
    let below = |nanos: u64| durations.histogram().map_or(0, |histogram| histogram.count_between(0, nanos));
    let with = |bound| labels.iter().copied().chain([("le", bound)]).collect::<Vec<_>>();
    for (bound, nanos) in BUCKETS {
        page.suffixed("_bucket", &with(bound), below(nanos) as f64);
    }
    page.suffixed("_bucket", &with("+Inf"), durations.count() as f64);
    page.suffixed("_sum", labels, seconds(durations.sum() as f64));
    page.suffixed("_count", labels, durations.count() as f64);
}

fn histograms(page: &mut Page, view: &View) {
    let stages = view.stages();
    let help = "Where the time of records goes. receive-wait, decode and encode are sampled.";
    page.family("ringpost_stage_seconds", Kind::Histogram, help);
    for stage in Stage::ALL {
        if let Some(durations) = stages.of(stage) {
            histogram(page, &[("stage", stage.name())], durations);
        }
    }
    page.family("ringpost_lag_seconds", Kind::Histogram, "From a record's last update to its arrival.");
    histogram(page, &[], &stages.lag);
    let help = "From handing a request to a connection to the first byte of its response.";
    page.family("ringpost_response_seconds", Kind::Histogram, help);
    for (place, destination) in view.facts.destinations.iter().enumerate() {
        let mut all = Durations::default();
        let of = view.executors.iter().filter_map(|snapshot| snapshot.destinations.get(place));
        of.for_each(|figures| all.add(&figures.response));
        histogram(page, &[("destination", &destination.name)], &all);
    }
}

fn seconds(nanos: f64) -> f64 {
    nanos / 1e9
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests;
