use std::sync::Arc;

use super::super::view::example::{self, at};
use super::*;
use crate::metrics::snapshot::{DestinationFigures, PoolCounts, Snapshot};
use crate::time::Now;

const EVIL: &str = "a\"b\\c</script><img src=x>\u{7}é";

fn view(executors: Vec<Snapshot>) -> View {
    example::view(EVIL, executors)
}

/// An executor with a healthy URL and one in `state`, and so many XDR connections.
fn executor(state: UrlState, failed: Option<(u64, &str)>, sources: usize) -> Snapshot {
    let source = |number: usize| SourceFigures {
        peer: format!("10.0.0.1:{}", 1_000 + number).parse().unwrap(),
        port: 8901,
        is_tls: number == 0,
        opened: at(10_000),
        records: number as u64,
        in_flight: 1,
        is_paused: false,
    };
    let mut snapshot = Snapshot { taken: at(59_900), sources, ..Snapshot::default() };
    snapshot.counters.acked_permanent = 2;
    snapshot.counters.records = 10;
    snapshot.in_flight = 3;
    snapshot.shown = (0..sources.min(200)).map(source).collect();
    snapshot.destinations = vec![DestinationFigures { success: 8, error: 5, ..Default::default() }];
    let pool = PoolCounts { connecting: 1, open: 2, draining: 1, taken: 3, queued: 4, in_flight: 5 };
    let last_error = failed.map(|(ms, text)| (at(ms), text.to_owned()));
    snapshot.endpoints = vec![
        EndpointFigures::default(),
        EndpointFigures { state, pool, success: 6, error: 5, last_error, ..Default::default() },
    ];
    snapshot
}

#[test]
fn executors_are_summed_and_a_url_is_as_bad_as_the_worst_of_them_finds() {
    let one = executor(UrlState::Waiting, Some((59_000, "status 503")), 2);
    let other = executor(UrlState::Unhealthy, Some((58_000, "older")), 1);
    let status = render(&view(vec![one, other]), &History::default(), None);
    assert_eq!(status["totals"]["acked"], json!({ "0": 0, "10": 4, "11": 0, "18": 0 }));
    assert_eq!((&status["totals"]["records"], &status["totals"]["in_flight"]), (&json!(20), &json!(6)));
    assert_eq!((&status["state"], &status["lag_ms"]), (&json!("running"), &json!(2.5)));
    assert_eq!(status["started_ms"], json!(1_700_000_000_500_u64));
    assert_eq!(status["executors"][1]["core"], 5);
    assert_eq!(status["executors"][1]["heartbeat_age_ms"], 100);
    let destination = &status["destinations"][0];
    assert_eq!((&destination["name"], &destination["success"]), (&json!(EVIL), &json!(16)));
    assert_eq!(destination["urls"][0]["state"], "healthy");
    assert_eq!(destination["urls"][0]["last_error"], Value::Null);
    let url = &destination["urls"][1];
    assert_eq!((&url["state"], &url["unhealthy_executors"]), (&json!("unhealthy"), &json!(2)));
    assert_eq!(url["connections"], json!({ "open": 4, "opening": 2, "draining": 2, "limit": 7 }));
    assert_eq!((&url["in_flight"], &url["queued"], &url["error"]), (&json!(10), &json!(8), &json!(10)));
    assert_eq!(url["last_error"], json!({ "at_ms": 1_700_000_059_500_u64, "text": "status 503" }), "the newer one");
    assert_eq!(status["certificates"], json!([{ "place": "service.tls", "days_left": -2 }]));
    assert_eq!(status.get("history"), None);
}

#[test]
fn what_others_have_named_comes_back_as_it_was() {
    let text =
        render(&view(vec![executor(UrlState::Healthy, Some((1, EVIL)), 0)]), &History::default(), None).to_string();
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["destinations"][0]["name"], EVIL);
    assert_eq!(read["destinations"][0]["urls"][1]["last_error"]["text"], EVIL);
}

#[test]
fn connections_are_bounded_and_those_with_most_records_are_shown() {
    let status = render(
        &view(vec![executor(UrlState::Healthy, None, 200), executor(UrlState::Healthy, None, 5_000)]),
        &History::default(),
        None,
    );
    let shown = status["connections"].as_array().unwrap();
    assert_eq!((shown.len(), &status["connections_left_out"]), (SHOWN_CONNECTIONS, &json!(5_200 - 256)));
    assert_eq!(
        (&shown[0]["records"], &shown[0]["executor"], &shown[1]["executor"]),
        (&json!(199), &json!(0), &json!(1))
    );
    assert_eq!(shown[0]["opened_ms"], json!(1_700_000_010_500_u64));
    assert!(shown.iter().all(|source| source["records"].as_u64().unwrap() >= 72));
}

#[test]
fn the_past_has_arrays_of_one_length_with_null_where_nothing_was() {
    let mut history = History::default();
    let mut snapshot = executor(UrlState::Healthy, None, 0);
    for second in [0, 1, 4] {
        snapshot.taken = at(second * 1_000);
        snapshot.counters.acked_ok += 12;
        snapshot.stages.record(Stage::Total, 1_500_000, second);
        history.look(Now { monotonic: at(second * 1_000), unix_ms: 7_000 + second }, &[Arc::new(snapshot.clone())]);
    }
    let past = &render(&view(vec![snapshot]), &history, Some(9))["history"];
    assert_eq!((&past["end"], &past["end_ms"], &past["step_ms"]), (&json!(4), &json!(7_004), &json!(1_000)));
    assert_eq!(past["acked"]["0"], json!([0.0, 12.0, null, null, 4.0]));
    let total = past["stages"]["total"]["p999_us"].as_array().unwrap();
    assert_eq!((&total[0], &total[2]), (&Value::Null, &Value::Null));
    assert!((1_485.0..=1_515.0).contains(&total[4].as_f64().unwrap()), "{total:?}");
    fn lengths(value: &Value, found: &mut Vec<usize>) {
        match value {
            Value::Array(array) => found.push(array.len()),
            Value::Object(object) => object.values().for_each(|value| lengths(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    lengths(past, &mut found);
    assert_eq!(found, vec![5; 1 + 4 + 3 * 7]);
    let three = &render(&view(Vec::new()), &history, Some(3))["history"];
    assert_eq!(three["records_per_s"].as_array().map(Vec::len), Some(3));
}

#[test]
fn before_anything_was_published_there_is_a_status_and_a_stop_shows() {
    let empty = render(&view(vec![Snapshot::default(), Snapshot::default()]), &History::default(), Some(300));
    assert_eq!(
        (&empty["totals"]["records"], &empty["destinations"][0]["urls"][0]["state"]),
        (&json!(0), &json!("healthy"))
    );
    let draining = Snapshot { is_draining: true, ..Snapshot::default() };
    assert_eq!(render(&view(vec![draining]), &History::default(), None)["state"], "draining");
    let closed = View { is_listening: false, ..view(Vec::new()) };
    assert_eq!(render(&closed, &History::default(), None)["state"], "draining");
}
