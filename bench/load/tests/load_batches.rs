//! Batches at the sink and in the oracle, over both protocols.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod load_support;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use load_support::batcher;
use load_support::client::{BOTH, connect, digest, identity};
use ringpost_load::report::{EarlyAcks, Report, check, check_refusals};
use ringpost_load::sink::{Behaviour, Poisoned, Sink, SinkConfig, SinkReport};
use ringpost_load::source::{Source, SourceConfig, SourceReport};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn record(sequence: u64) -> String {
    let digest = digest(sequence);
    format!(r#"{{"metadata":{{"msg":"write","namespace":"test","digest":"{digest}"}},"seq":{sequence}}}"#)
}

fn array(sequences: &[u64]) -> Vec<u8> {
    let records: Vec<String> = sequences.iter().map(|sequence| record(*sequence)).collect();
    format!("[{}]", records.join(",")).into_bytes()
}

fn zipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

/// The sampled check is off: a body without a digest is looked at all the same.
fn sink(behaviour: Behaviour) -> ringpost_load::sink::SinkHandle {
    Sink::spawn(SinkConfig { behaviour, verify_every: 0, log_requests: 0, ..SinkConfig::default() }).unwrap()
}

#[test]
fn a_batch_is_entered_once_per_record() {
    for version in BOTH {
        let sink = sink(Behaviour::default());
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            let lines = format!("{}\n{}\n", record(4), record(5));
            let lines_type = ("content-type", "application/x-ndjson");
            let plain = ("x-plain", "1");
            for (head, body) in [
                ([JSON, plain], array(&[0, 1, 2])),
                ([JSON, GZIP], zipped(&array(&[2, 3]))),
                ([lines_type, plain], lines.into_bytes()),
                ([JSON, plain], record(6).into_bytes()),
            ] {
                assert_eq!(sender.send(&head, &body).await.unwrap().0, 200, "{version:?}");
            }
        });
        let report = sink.join().unwrap();
        let stats = &report.stats;
        assert_eq!((stats.requests, stats.batches, stats.records), (4, 3, 8), "{version:?}");
        assert_eq!((stats.delivered, stats.duplicates, stats.succeeded), (7, 1, 4), "{version:?}");
        assert_eq!((stats.unidentified, stats.corrupt), (0, 0), "{version:?}");
        assert!((0..7).all(|sequence| report.ledger.entry(identity(sequence)).succeeded > 0));
    }
}

#[test]
fn what_is_no_batch_is_unidentified_or_corrupt() {
    for version in BOTH {
        let sink = sink(Behaviour::default());
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            // Not gzip; cut; a member that is no record; and an ordinary request.
            sender.send(&[JSON, GZIP], &array(&[1, 2])).await.unwrap();
            sender.send(&[JSON], &array(&[3, 4])[..60]).await.unwrap();
            sender.send(&[JSON], format!("[{},{{}}]", record(5)).as_bytes()).await.unwrap();
            sender.send(&[("content-type", "text/plain")], b"hello").await.unwrap();
        });
        let stats = sink.join().unwrap().stats;
        assert_eq!((stats.unidentified, stats.corrupt, stats.records), (3, 3, 1), "{version:?}");
    }
}

#[test]
fn a_sample_of_compressed_bodies_is_compared_with_the_digest() {
    for version in BOTH {
        let sink = Sink::spawn(SinkConfig { verify_every: 1, ..SinkConfig::default() }).unwrap();
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            for (sequence, body) in [(7, zipped(record(7).as_bytes())), (8, zipped(record(7).as_bytes()))] {
                let lines = [JSON, GZIP, ("aerospike-digest", &digest(sequence))];
                sender.send(&lines, &body).await.unwrap();
            }
        });
        let stats = sink.join().unwrap().stats;
        assert_eq!((stats.delivered, stats.corrupt, stats.unidentified), (2, 1, 0), "{version:?}");
    }
}

#[test]
fn a_poisoned_record_is_refused_with_all_that_stand_beside_it() {
    let some = Poisoned::Sequences(Arc::new(BTreeSet::from([3, 5])));
    for (version, records) in BOTH.into_iter().zip([some, Poisoned::Every(3)]) {
        let hits_five = matches!(records, Poisoned::Sequences(_));
        let sink = sink(Behaviour::poison(422, records));
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            for (sequences, status) in [(&[1, 2][..], 200), (&[2, 3], 422), (&[3], 422), (&[4, 7], 200)] {
                assert_eq!(sender.send(&[JSON], &array(sequences)).await.unwrap().0, status, "{sequences:?}");
            }
            assert_eq!(sender.post(3, b"{}").await.unwrap().0, 422, "by its digest, too");
            assert_eq!(sender.post(5, b"{}").await.unwrap().0, if hits_five { 422 } else { 200 });
        });
        let ledger = sink.join().unwrap().ledger;
        let entry = |sequence| ledger.entry(identity(sequence));
        assert_eq!((entry(2).succeeded, entry(2).refused), (1, 0), "its batch was refused, not itself");
        assert_eq!((entry(3).received, entry(3).succeeded, entry(3).refused), (3, 0, 2));
    }
}

fn run(size: usize, alone: bool, behaviour: Behaviour) -> (SourceReport, SinkReport, Arc<EarlyAcks>) {
    let sink = Sink::spawn(SinkConfig { behaviour, ..SinkConfig::default() }).unwrap();
    let early = EarlyAcks::new(vec![sink.ledger()]);
    let config = SourceConfig {
        connections: 2,
        window: 16,
        records: Some(400),
        lap: Duration::from_millis(5),
        drain: Duration::from_secs(20),
        watch: Some(early.clone()),
        ..SourceConfig::to(batcher(sink.addr(), size, alone))
    };
    let source = Source::spawn(config).unwrap().join().unwrap();
    (source, sink.join().unwrap(), early)
}

#[test]
fn an_honest_connector_with_batches_passes() {
    let behaviour = Behaviour { error_probability: 0.2, ..Behaviour::poison(422, Poisoned::Every(50)) };
    let (source, sink, early) = run(8, true, behaviour);
    assert_eq!(check(&source, &[&sink.ledger]), Ok(()));
    assert_eq!(check_refusals(&source.ledger, &[&sink.ledger]), Ok(()));
    assert_eq!(early.check(), Ok(()));
    let report = Report::new(&source, &[&sink.ledger]);
    assert_eq!((report.abandoned, report.records_acked, report.lost), (8, 392, 0));
    assert!(sink.stats.batches > 10 && sink.stats.records > 400, "{:?}", sink.stats);
    assert_eq!((sink.stats.corrupt, sink.stats.unidentified), (0, 0));
}

#[test]
fn records_that_are_given_up_for_their_neighbours_are_found() {
    let (source, sink, _) = run(8, false, Behaviour::poison(422, Poisoned::Every(50)));
    assert!(source.abandoned > 8, "{}", source.abandoned);
    let text = check_refusals(&source.ledger, &[&sink.ledger]).unwrap_err().to_string();
    assert!(text.contains("acked 10 without a refusal of their own"), "{text}");
}
