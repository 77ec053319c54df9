use std::sync::Arc;

use super::super::view::example::{self, at};
use super::*;
use crate::time::Now;
use crate::tls::Expiry;

fn view(executors: Vec<Snapshot>) -> View {
    let mut view = example::view("d", executors);
    view.certificates.push(CertificateFacts { place: "destinations.d".to_owned(), expiry: Expiry(1_702_600_000) });
    view
}

/// An executor whose URLs failed last at these times.
fn executor(failed: [Option<u64>; 2]) -> Snapshot {
    let endpoint = |failed: Option<u64>| EndpointFigures {
        last_error: failed.map(|ms| (at(ms), "status 503".to_owned())),
        ..EndpointFigures::default()
    };
    Snapshot { taken: at(59_900), endpoints: failed.map(endpoint).to_vec(), ..Snapshot::default() }
}

/// The samples of a family, each without name and cluster.
fn samples(page: &str, name: &str) -> Vec<String> {
    let line = |line: &str| Some(line.strip_prefix(name)?.strip_prefix("{cluster_name=\"east\"")?.to_owned());
    page.lines().filter_map(line).collect()
}

#[test]
fn certificates_have_the_time_of_their_end_and_the_days_until_then() {
    let page = render(&view(Vec::new()), &History::default(), Exposition::Text);
    let expected = [",place=\"service.tls\"} 1699900000", ",place=\"destinations.d\"} 1702600000"];
    assert_eq!(samples(&page, "ringpost_certificate_expiry_timestamp_seconds"), expected);
    let expected = [",place=\"service.tls\"} -2", ",place=\"destinations.d\"} 30"];
    assert_eq!(samples(&page, "ringpost_certificate_expiry_days"), expected);
}

#[test]
fn a_url_failed_last_when_the_last_executor_saw_it_fail() {
    let executors = vec![executor([None, Some(58_000)]), executor([None, Some(59_000)]), Snapshot::default()];
    let page = render(&view(executors), &History::default(), Exposition::Text);
    let expected = [
        ",destination=\"d\",destination_endpoint=\"a:1\"} 0",
        ",destination=\"d\",destination_endpoint=\"b:2\"} 1700000059",
    ];
    assert_eq!(samples(&page, "ringpost_url_last_error_timestamp_seconds"), expected);
}

#[test]
fn an_executor_that_publishes_nothing_has_stalled_once() {
    let mut history = History::default();
    let (mut works, still) = (Snapshot::default(), Arc::new(Snapshot { taken: at(1_000), ..Snapshot::default() }));
    for second in 1..=6 {
        works.taken = at(second * 1_000);
        let now = Now { monotonic: works.taken, unix_ms: 1_700_000_000_000 };
        history.look(now, &[Arc::new(works.clone()), Arc::clone(&still)]);
    }
    let page = render(&view(vec![works, Snapshot::clone(&still)]), &history, Exposition::Text);
    let expected = [",executor=\"0\",core=\"3\"} 0", ",executor=\"1\",core=\"5\"} 1"];
    assert_eq!(samples(&page, "ringpost_executor_stalls_total"), expected);
}

#[test]
fn health_and_readiness_are_those_of_their_pages() {
    let flags = |view: &View| {
        let page = render(view, &History::default(), Exposition::Text);
        ["ringpost_healthy", "ringpost_ready"].map(|name| samples(&page, name) == ["} 1"])
    };
    assert_eq!(flags(&view(vec![executor([None; 2])])), [true, true]);
    assert_eq!(flags(&View { is_alive: false, ..view(Vec::new()) }), [false, false]);
    assert_eq!(flags(&View { is_listening: false, ..view(Vec::new()) }), [true, false]);
    assert_eq!(flags(&view(vec![Snapshot { is_draining: true, ..Snapshot::default() }])), [true, false]);
}
