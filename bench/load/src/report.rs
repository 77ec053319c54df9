//! What came of a run, and the oracle: the rules that no fault excuses (`reliability.md`, G1, G3, G4).

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::record::Identity;
use crate::sink::{Ledger, SinkEntry, SinkLedger};
use crate::source::{AckWatch, SourceLedger, SourceReport, ack};

/// Records that a message names.
const NAMED: usize = 10;

/// Latency in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// Longest.
    pub max: f64,
}

/// Source and sinks, compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Records sent at least once.
    pub records_sent: u64,
    /// Records that every sink answered with success.
    pub records_delivered: u64,
    /// Records acked 0.
    pub records_acked: u64,
    /// Answers of success beyond the first of their record, over all sinks.
    pub duplicates: u64,
    /// Records acked 0 that some sink never answered with success.
    pub lost: u64,
    /// Records given up because of a permanent ack.
    pub abandoned: u64,
    /// Records without a final ack.
    pub unresolved: u64,
    /// Acked records by time from first frame to last ack.
    pub records_per_second: f64,
    /// From frame sent to ack received.
    pub latency_us: Latency,
    /// The first lost records.
    pub lost_records: Vec<Identity>,
}

impl Report {
    /// Compares a source's books with those of every sink that each record was routed to.
    pub fn new(source: &SourceReport, sinks: &[&SinkLedger]) -> Report {
        let us = |quantile| source.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        let seconds = source.elapsed.as_secs_f64();
        let mut report = Report {
            records_sent: source.sent,
            records_acked: source.acked,
            abandoned: source.abandoned,
            unresolved: source.unresolved,
            records_per_second: if seconds > 0.0 { source.acked as f64 / seconds } else { 0.0 },
            latency_us: Latency {
                p50: us(0.5),
                p90: us(0.9),
                p99: us(0.99),
                p999: us(0.999),
                max: source.latency_ns.max() as f64 / 1e3,
            },
            ..Report::default()
        };
        report.compare(&source.ledger, sinks);
        report
    }

    fn compare(&mut self, source: &SourceLedger, sinks: &[&SinkLedger]) {
        for (identity, entry) in source.iter() {
            let answers = sinks.iter().map(|sink| sink.entry(identity).succeeded);
            let everywhere = answers.clone().all(|count| count > 0);
            self.duplicates += answers.map(|count| u64::from(count.saturating_sub(1))).sum::<u64>();
            self.records_delivered += u64::from(everywhere);
            if entry.code == Some(ack::OK) && !everywhere {
                self.lost += 1;
                if self.lost_records.len() < NAMED {
                    self.lost_records.push(identity);
                }
            }
        }
    }

    /// One JSON object. `cpu_us_per_record`: CPU time of the connector, which only its owner can measure.
    pub fn json(&self, cpu_us_per_record: Option<f64>) -> serde_json::Value {
        let latency = &self.latency_us;
        serde_json::json!({
            "records_sent": self.records_sent,
            "records_delivered": self.records_delivered,
            "records_acked": self.records_acked,
            "duplicates": self.duplicates,
            "lost": self.lost,
            "records_per_second": self.records_per_second,
            "cpu_us_per_record": cpu_us_per_record,
            "latency_us": {
                "p50": latency.p50, "p90": latency.p90, "p99": latency.p99, "p999": latency.p999, "max": latency.max,
            },
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<22}{value:>14}");
        line("records sent", &self.records_sent)?;
        line("records delivered", &self.records_delivered)?;
        line("records acked", &self.records_acked)?;
        line("duplicates", &self.duplicates)?;
        line("lost", &self.lost)?;
        line("records a second", &format_args!("{:.0}", self.records_per_second))?;
        let latency = &self.latency_us;
        let percentiles = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p99.9", latency.p999)];
        for (name, value) in percentiles.into_iter().chain([("max", latency.max)]) {
            line(&format!("latency {name}, us"), &format_args!("{value:.0}"))?;
        }
        Ok(())
    }
}

/// A rule that was broken, with what broke it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {text}")]
pub struct Broken {
    /// `G1`, `G3` or `G4`.
    pub rule: &'static str,
    /// What, and for which records.
    pub text: String,
}

/// G1, conservation: every record acked 0 was answered with success by every sink.
///
/// # Errors
/// Names the first records that were not.
pub fn check_conservation(source: &SourceLedger, sinks: &[&SinkLedger]) -> Result<(), Broken> {
    let mut lost = Vec::new();
    for (identity, entry) in source.iter().filter(|(_, entry)| entry.code == Some(ack::OK)) {
        for (at, sink) in sinks.iter().enumerate() {
            if sink.entry(identity).succeeded == 0 {
                lost.push((identity.sequence, at, entry.sent));
            }
        }
    }
    let text = |(sequence, sink, sent): &(u64, usize, u16)| format!("record {sequence} at sink {sink} (sent {sent}x)");
    refuse("G1", "acked 0 without an answer of success", &lost, text)
}

/// Permanent acks: every record acked 10 was refused by a sink in a request with nothing else ([`crate::sink::Poison`]),
/// and every sink that did not refuse it has answered it with success. Not for runs in which records are answered 10 for
/// their content: those reach no sink.
///
/// # Errors
/// Names the first records that were given up without that.
pub fn check_refusals(source: &SourceLedger, sinks: &[&SinkLedger]) -> Result<(), Broken> {
    let refused = |entry: SinkEntry| entry.refused > 0;
    let fair = |identity: Identity| {
        let entries = || sinks.iter().map(|sink| sink.entry(identity));
        entries().any(refused) && entries().all(|entry| refused(entry) || entry.succeeded > 0)
    };
    let given_up = source.iter().filter(|(_, entry)| entry.code == Some(ack::PERMANENT));
    let unfair: Vec<_> = given_up.filter(|(identity, _)| !fair(*identity)).collect();
    refuse("G1", "acked 10 without a refusal of their own", &unfair, |(identity, entry)| {
        format!("record {} (sent {}x)", identity.sequence, entry.sent)
    })
}

/// G3, no silent fate: every frame sent was acked, or its connection ended; every record ended with a final ack.
///
/// # Errors
/// Says how many frames, or which records, have no fate.
pub fn check_fates(source: &SourceReport) -> Result<(), Broken> {
    let acks: u64 = source.acks_by_code.iter().sum();
    let frames = source.sent + source.resent;
    let fates = acks + source.lost_with_connection;
    if frames != fates {
        let text = format!("{frames} frames sent, but {acks} acks and {} lost", source.lost_with_connection);
        return Err(Broken { rule: "G3", text });
    }
    if source.unresolved == 0 {
        return Ok(());
    }
    let open = |code: Option<u8>| code.is_none_or(|code| ack::verdict(code) == ack::Verdict::Retry);
    let all: Vec<_> = source.ledger.iter().filter(|(_, entry)| open(entry.code)).collect();
    refuse("G3", "without a final ack", &all, |(identity, entry)| {
        format!("record {} (sent {}x, last ack {:?})", identity.sequence, entry.sent, entry.code)
    })
}

/// G4, ack order, as far as one side can see it: no ack without a frame, none before its frame, none malformed. A wrong
/// order among them shows in G1 and in [`EarlyAcks`].
///
/// # Errors
/// Quotes the first violations.
pub fn check_ack_order(source: &SourceReport) -> Result<(), Broken> {
    refuse("G4", "in the ack stream", &source.violation_texts, String::clone)
}

/// G1, G3 and G4.
///
/// # Errors
/// All the rules that were broken.
pub fn check(source: &SourceReport, sinks: &[&SinkLedger]) -> Result<(), Vec<Broken>> {
    let all = [check_conservation(&source.ledger, sinks), check_fates(source), check_ack_order(source)];
    let broken: Vec<_> = all.into_iter().filter_map(Result::err).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

fn refuse<T>(rule: &'static str, what: &str, all: &[T], name: impl Fn(&T) -> String) -> Result<(), Broken> {
    if all.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} {what}: ", all.len());
    let names: Vec<_> = all.iter().take(NAMED).map(name).collect();
    // Writing to a String does not fail.
    let _ = write!(text, "{}{}", names.join(", "), if all.len() > NAMED { ", …" } else { "" });
    Err(Broken { rule, text })
}

/// Watches a source's acks live: a 0 must not come before every sink has answered that record with success. It sees
/// what the books at the end cannot: an ack given in advance, or in the wrong order, whose record arrived later.
#[derive(Debug)]
pub struct EarlyAcks {
    sinks: Vec<Arc<Ledger>>,
    count: AtomicU64,
    first: Mutex<Vec<Identity>>,
}

impl EarlyAcks {
    /// For sinks in this process; give it to [`crate::source::SourceConfig::watch`].
    pub fn new(sinks: Vec<Arc<Ledger>>) -> Arc<EarlyAcks> {
        Arc::new(EarlyAcks { sinks, count: AtomicU64::new(0), first: Mutex::new(Vec::new()) })
    }

    /// G1, in time.
    ///
    /// # Errors
    /// Names the first records that were acked 0 too early.
    pub fn check(&self) -> Result<(), Broken> {
        let count = self.count.load(Ordering::Relaxed);
        if count == 0 {
            return Ok(());
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = first.iter().map(|identity| identity.sequence.to_string()).collect();
        let text = format!("{count} acked 0 before their answers: records {}", names.join(", "));
        Err(Broken { rule: "G1", text })
    }
}

impl AckWatch for EarlyAcks {
    fn acked(&self, acks: &[(Identity, u8)]) {
        let ok = || acks.iter().filter(|(_, code)| *code == ack::OK).map(|(identity, _)| *identity);
        for sink in &self.sinks {
            let missing = sink.missing(ok());
            if !missing.is_empty() {
                self.count.fetch_add(missing.len() as u64, Ordering::Relaxed);
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                let room = NAMED.saturating_sub(first.len());
                first.extend(missing.into_iter().take(room));
            }
        }
    }
}

/// CPU time of a process, user and system, from `/proc/PID/stat`; `None` when it is gone. Counts ticks of 10 ms.
pub fn process_cpu(pid: u32) -> Option<Duration> {
    /// Every Linux that we run on: `getconf CLK_TCK`.
    const TICKS_PER_SECOND: u64 = 100;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; state follows it, then field 4 and on.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}
