//! An oracle that cannot fail is worthless: each kind of defect is planted in a connector and must be reported, and an
//! honest connector must pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod load_support;

use std::time::Duration;

use load_support::{Defect, connector};
use ringpost_load::report::{Broken, EarlyAcks, Report, check};
use ringpost_load::sink::{Behaviour, Fault, Sink, SinkConfig, SinkReport};
use ringpost_load::source::{Source, SourceConfig, SourceReport};

struct Outcome {
    source: SourceReport,
    sink: SinkReport,
    early: Result<(), Broken>,
}

impl Outcome {
    fn report(&self) -> Report {
        Report::new(&self.source, &[&self.sink.ledger])
    }

    fn broken(&self) -> Vec<&'static str> {
        let rules = check(&self.source, &[&self.sink.ledger]).err().unwrap_or_default();
        rules.into_iter().map(|broken| broken.rule).collect()
    }
}

fn run(defect: Defect, behaviour: Behaviour, drain: Duration) -> Outcome {
    let sink = Sink::spawn(SinkConfig { behaviour, ..SinkConfig::default() }).unwrap();
    let early = EarlyAcks::new(vec![sink.ledger()]);
    let config = SourceConfig {
        connections: 2,
        window: 16,
        records: Some(400),
        lap: Duration::from_millis(5),
        drain,
        watch: Some(early.clone()),
        ..SourceConfig::to(connector(sink.addr(), defect))
    };
    let source = Source::spawn(config).unwrap().join().unwrap();
    Outcome { source, sink: sink.join().unwrap(), early: early.check() }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn a_third_fails() -> Behaviour {
    Behaviour { error_probability: 0.3, ..Behaviour::default() }
}

#[test]
fn an_honest_connector_passes_and_the_numbers_add_up() {
    let outcome = run(Defect::None, a_third_fails(), LONG);
    assert_eq!(outcome.broken(), [""; 0]);
    assert_eq!(outcome.early, Ok(()));
    let report = outcome.report();
    assert_eq!((report.records_sent, report.records_delivered, report.records_acked), (400, 400, 400));
    assert_eq!((report.lost, report.duplicates, report.unresolved), (0, 0, 0));
    let errors = outcome.sink.stats.by_status[&500];
    assert!(errors > 50, "{errors}");
    assert_eq!(outcome.source.acks_by_code[11], errors);
    assert_eq!(outcome.source.resent, errors);
    assert_eq!(outcome.sink.stats.requests, 400 + errors);
}

#[test]
fn a_cut_answer_is_no_delivery() {
    for fault in [Fault::CloseBeforeAnswer, Fault::CloseAfterHead, Fault::CloseMidBody] {
        let behaviour = Behaviour { fault_probability: 0.2, ..Behaviour::fault(fault) };
        let outcome = run(Defect::None, behaviour, LONG);
        assert_eq!(outcome.broken(), [""; 0], "{fault:?}");
        let stats = &outcome.sink.stats;
        assert_eq!((stats.delivered, stats.duplicates), (400, 0), "{fault:?}");
        assert!(stats.by_status[&0] > 30, "{fault:?}: {stats:?}");
    }
}

#[test]
fn a_record_acked_without_delivery_is_lost() {
    let outcome = run(Defect::Lose(100), Behaviour::default(), LONG);
    assert_eq!(outcome.broken(), ["G1"]);
    let report = outcome.report();
    assert_eq!((report.records_acked, report.records_delivered, report.lost), (400, 396, 4));
    let lost: Vec<_> = report.lost_records.iter().map(|identity| identity.sequence).collect();
    assert_eq!(lost, [99, 199, 299, 399]);
}

#[test]
fn a_second_delivery_is_a_duplicate_and_no_loss() {
    let outcome = run(Defect::Repeat(100), Behaviour::default(), LONG);
    assert_eq!(outcome.broken(), [""; 0]);
    let report = outcome.report();
    assert_eq!((report.duplicates, report.lost, report.records_delivered), (4, 0, 400));
    assert_eq!(outcome.sink.stats.duplicates, 4);
}

/// A failed record is counted as shipped, a good one is sent again: it shows as soon as the two of a pair differ.
#[test]
fn acks_in_the_wrong_order_are_found() {
    let outcome = run(Defect::Swap, a_third_fails(), SHORT);
    assert!(outcome.broken().contains(&"G1"), "{:?}", outcome.broken());
    assert!(outcome.report().lost > 10);
    assert!(outcome.early.is_err());
}

#[test]
fn an_ack_before_its_answer_is_found_though_the_record_arrives_later() {
    // Not the last record: the run must not end before its late delivery.
    let outcome = run(Defect::Early(90), Behaviour::default(), LONG);
    assert_eq!(outcome.broken(), [""; 0]);
    assert_eq!(outcome.report().lost, 0);
    let text = outcome.early.unwrap_err().to_string();
    assert!(text.starts_with("G1: 4 acked 0 before their answers"), "{text}");
}

#[test]
fn a_missing_ack_leaves_a_record_without_a_fate() {
    let outcome = run(Defect::Skip(300), Behaviour::default(), SHORT);
    assert!(outcome.broken().contains(&"G3"), "{:?}", outcome.broken());
    assert_eq!(outcome.report().unresolved, 1);
}

#[test]
fn an_ack_too_many_breaks_the_order() {
    let outcome = run(Defect::Twice(300), Behaviour::default(), LONG);
    assert!(outcome.broken().contains(&"G4"), "{:?}", outcome.broken());
    let text = &outcome.source.violation_texts[0];
    assert!(text.contains("with nothing in flight") || text.contains("before its frame was written"), "{text}");
}
