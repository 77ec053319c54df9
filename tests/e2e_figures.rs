//! What executors publish while they run, against the books of both ends; nobody waits for a reader.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringpost::config::{self, UnknownKeys};
use ringpost::io::Connector;
use ringpost::metrics::snapshot::Snapshot;
use ringpost::metrics::stages::{Durations, Stage, Stages};
use ringpost_load::sink::Behaviour;
use ringpost_load::source::SourceConfig;
use support::*;

fn start(settings: &Settings) -> Connector {
    let folder = folder();
    let file = folder.join("ringpost.yml");
    std::fs::write(&file, settings.yaml(&folder.join("ringpost.log"))).unwrap();
    let loaded = config::load(&file, UnknownKeys::Error);
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.faults));
    let _ = std::fs::remove_dir_all(&folder);
    Connector::start(config).unwrap()
}

/// One number of all executors.
fn sum(snapshots: &[Arc<Snapshot>], of: impl Fn(&Snapshot) -> u64) -> u64 {
    snapshots.iter().map(|snapshot| of(snapshot)).sum()
}

fn stages(snapshots: &[Arc<Snapshot>]) -> Stages {
    let mut all = Stages::default();
    snapshots.iter().for_each(|snapshot| all.add(&snapshot.stages));
    all
}

/// Some records fail and come again. In the end every figure is that of the source's or the sink's books.
fn agrees(protocol: &str, executors: usize) {
    let behaviour =
        Behaviour { error_probability: 0.1, ..Behaviour::latency(Duration::ZERO, Duration::from_millis(5)) };
    let sink = sink(behaviour);
    let settings = Settings::to(protocol, &[sink.addr()]).executors(executors);
    let mut connector = start(&settings);
    let to = SocketAddr::from(([127, 0, 0, 1], settings.port));
    let load = SourceConfig { lap: Duration::from_millis(20), ..source(to, 4, 4_000) };
    let report = oracle::watched(load, &[&sink]).finish(&[&sink]);
    connector.stop();
    assert!(connector.join());
    let end = connector.snapshots();
    let stats = sink.ledger().stats();
    let frames = report.sent + report.resent;
    assert!(report.acks_by_code[11] > 100, "{protocol}: {:?}", oracle::codes(&report));
    let (success, error) = (report.acks_by_code[0], report.acks_by_code[11]);
    assert_eq!(stats.succeeded, success);
    assert_eq!(sum(&end, |it| it.counters.records), frames);
    assert_eq!(sum(&end, |it| it.destinations[0].success), success);
    assert_eq!(sum(&end, |it| it.endpoints[0].success), success);
    assert_eq!(sum(&end, |it| it.destinations[0].error), error);
    assert_eq!(sum(&end, |it| it.endpoints[0].error), error);
    assert_eq!(sum(&end, |it| it.counters.duplicates + it.counters.duplicates_possible), 0);
    let last_error = end.iter().find_map(|snapshot| snapshot.endpoints[0].last_error.clone());
    assert!(last_error.is_some_and(|(_, text)| text.starts_with("status 5")));

    let stages = stages(&end);
    let of = |stage: Stage| stages.of(stage).unwrap();
    for stage in [Stage::QueueWait, Stage::Response, Stage::AckWait, Stage::Total] {
        assert_eq!(of(stage).count(), frames, "{protocol}: {}", stage.name());
    }
    for stage in [Stage::ReceiveWait, Stage::Decode, Stage::Encode] {
        let (count, bound) = (of(stage).count(), 16 * executors as u64);
        assert!(count.abs_diff(frames) < bound, "{protocol}: {} of {frames}: {count}", stage.name());
    }
    assert_eq!(stages.lag.count(), frames);
    // Stages follow one another: what is measured apart is no more than the whole. Records are sampled, so not to a percent.
    let parts = [Stage::QueueWait, Stage::Response, Stage::AckWait].map(|stage| of(stage).sum()).iter().sum::<u128>();
    let total = of(Stage::Total).sum();
    assert!(parts <= total, "{parts} of {total}");
    assert!(total < 2 * parts, "what is not measured is less than what is: {parts} of {total}");
    // The source sees all that we see, and both ways besides.
    let seen = report.latency_ns.value_at_quantile(0.5);
    assert!(of(Stage::Total).quantile(0.5) <= seen * 101 / 100, "{} of {seen}", of(Stage::Total).quantile(0.5));
    eprintln!("{protocol}, {executors} executors:");
    for stage in Stage::ALL {
        let micros = |quantile| of(stage).quantile(quantile) as f64 / 1e3;
        eprintln!("{:<14}{:>12.1}{:>12.1}{:>12.1}", stage.name(), micros(0.5), micros(0.99), micros(1.0));
    }
}

#[test]
fn figures_of_http1_agree_with_both_ends() {
    agrees("HTTP_1_1", 1);
}

#[test]
fn figures_of_http2_and_two_executors_agree_with_both_ends() {
    agrees("HTTP_2", 2);
}

#[test]
fn a_reader_that_keeps_what_it_has_read_stops_no_publication() {
    let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(5)));
    let settings = Settings::to("HTTP_2", &[sink.addr()]);
    let mut connector = start(&settings);
    let to = SocketAddr::from(([127, 0, 0, 1], settings.port));
    let run = oracle::watched(SourceConfig { rate: Some(1_000.0), ..source(to, 2, 3_000) }, &[&sink]);
    let figures = connector.figures();
    let reader = std::thread::spawn(move || {
        let mut kept: Vec<Arc<Snapshot>> = Vec::new();
        wait_until("ten publications, each of them kept", LONG, || {
            let read = figures.read().remove(0);
            if kept.last().is_none_or(|last| last.taken < read.taken) {
                kept.push(read);
            }
            kept.len() >= 10
        });
        kept
    });
    let kept = reader.join().unwrap();
    let different: BTreeSet<_> = kept.iter().map(Arc::as_ptr).collect();
    assert_eq!(different.len(), kept.len());
    let records: Vec<u64> = kept.iter().map(|snapshot| snapshot.counters.records).collect();
    assert!(records.is_sorted() && records[0] < records[9], "{records:?}");
    let busy = kept[9].busy_since(&kept[1]).unwrap();
    assert!(busy > 0.0 && busy <= 1.0, "{busy}");
    assert_eq!((kept[9].shown.len(), kept[9].shown[0].port), (2, settings.port));
    run.finish(&[&sink]);
    connector.stop();
    assert!(connector.join());
    let end = connector.snapshots();
    assert_eq!((end[0].counters.acked_ok, end[0].sources, end[0].is_draining), (3_000, 0, true));
    assert_eq!(end[0].stages.of(Stage::Total).map(Durations::count), Some(3_000));
}
