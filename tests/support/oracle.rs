//! The rules that no fault excuses (conservation, fates, ack order), checked after every run, and while it runs.

use std::sync::Arc;

use ringpost_load::report::{self, EarlyAcks};
use ringpost_load::sink::{SinkHandle, SinkLedger};
use ringpost_load::source::{Source, SourceConfig, SourceHandle, SourceReport};

/// A source under watch: acks are compared with the sinks' books as they come in.
pub struct Watched {
    source: SourceHandle,
    early: Arc<EarlyAcks>,
}

/// Starts `config` with the acks watched; every record is routed to all of `sinks`.
pub fn watched(config: SourceConfig, sinks: &[&SinkHandle]) -> Watched {
    let early = EarlyAcks::new(sinks.iter().map(|sink| sink.ledger()).collect());
    let watch: Arc<EarlyAcks> = Arc::clone(&early);
    let source = Source::spawn(SourceConfig { watch: Some(watch), ..config }).expect("the source starts");
    Watched { source, early }
}

impl Watched {
    pub fn stats(&self) -> ringpost_load::source::SourceStats {
        self.source.stats()
    }

    pub fn stop(&self) {
        self.source.stop();
    }

    pub fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    /// Waits for the source's end and checks all rules; every record must have ended with 0.
    #[track_caller]
    pub fn finish(self, sinks: &[&SinkHandle]) -> SourceReport {
        let report = self.finish_open(sinks);
        report::check_fates(&report).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(report.acked, report.sent, "every record is delivered in the end; acks {:?}", codes(&report));
        report
    }

    /// As `finish`, for runs that end with records unresolved (the connector went away).
    #[track_caller]
    pub fn finish_open(self, sinks: &[&SinkHandle]) -> SourceReport {
        let report = self.source.join().expect("the source ends");
        let ledgers: Vec<SinkLedger> = sinks.iter().map(|sink| sink.ledger().snapshot()).collect();
        let ledgers: Vec<&SinkLedger> = ledgers.iter().collect();
        self.early.check().unwrap_or_else(|broken| panic!("{broken}"));
        report::check_conservation(&report.ledger, &ledgers).unwrap_or_else(|broken| panic!("{broken}"));
        report::check_ack_order(&report).unwrap_or_else(|broken| panic!("{broken}"));
        for sink in sinks {
            let stats = sink.ledger().stats();
            assert_eq!((stats.corrupt, stats.unidentified), (0, 0), "bodies and digests arrive intact");
        }
        report
    }
}

/// Acks by code, without the codes that did not occur.
pub fn codes(report: &SourceReport) -> Vec<(usize, u64)> {
    report.acks_by_code.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect()
}
