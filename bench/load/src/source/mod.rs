//! The XDR side: what an Aerospike cluster does to a connector.
//!
//! One thread drives all connections without blocking: many frames per write, many acks per read. Closed loop (a
//! window per connection) or open loop (a schedule fixed beforehand, so that a slow connector cannot hide its
//! latency). What is refused with a temporary code, or lost with its connection, is sent again, as a server does.

pub mod ack;
mod client;
mod connection;
mod engine;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;

pub use client::{Client, ClientError};

use crate::record::{Generator, Identity, RecordError, RecordSpec};

/// What a source does. `SourceConfig::to(address)` gives the defaults.
#[derive(Clone)]
pub struct SourceConfig {
    /// The connector.
    pub address: SocketAddr,
    /// XDR connections; at least 1.
    pub connections: usize,
    /// Records in flight per connection, in an open loop as well; at least 1.
    pub window: usize,
    /// Open loop: records a second over all connections. `None`: closed loop.
    pub rate: Option<f64>,
    /// Stops after so many records.
    pub records: Option<u64>,
    /// Stops issuing new records after this.
    pub duration: Option<Duration>,
    /// After the last new record: how long to wait for acks, resends included.
    pub drain: Duration,
    /// Sends temporary failures again; without it every ack is final.
    pub resend: bool,
    /// A refused record is sent again after this (a server's lap: `period-ms`, 100).
    pub lap: Duration,
    /// What to send.
    pub records_spec: RecordSpec,
    /// Sequence number of the first record; several sources of one run take ranges of their own.
    pub first_sequence: u64,
    /// Sees every ack as it is read.
    pub watch: Option<Arc<dyn AckWatch>>,
}

impl std::fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceConfig").field("address", &self.address).finish_non_exhaustive()
    }
}

impl SourceConfig {
    /// One connection, closed loop with a window of 256, no limit, default records.
    pub fn to(address: SocketAddr) -> SourceConfig {
        SourceConfig {
            address,
            connections: 1,
            window: 256,
            rate: None,
            records: None,
            duration: None,
            drain: Duration::from_secs(10),
            resend: true,
            lap: Duration::from_millis(100),
            records_spec: RecordSpec::default(),
            first_sequence: 0,
            watch: None,
        }
    }
}

/// Sees acks in the order in which they were read; runs on the source's thread.
pub trait AckWatch: Send + Sync {
    /// One read's worth of acks.
    fn acked(&self, acks: &[(Identity, u8)]);
}

/// Totals while a source runs. All counts are records or acks, never bytes.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stop: AtomicBool,
    pub(crate) sent: AtomicU64,
    pub(crate) resent: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) temporary: AtomicU64,
    pub(crate) abandoned: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) connections_lost: AtomicU64,
    pub(crate) violations: AtomicU64,
}

/// A snapshot of a running source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Records sent at least once.
    pub sent: u64,
    /// Frames sent again.
    pub resent: u64,
    /// Records acked 0.
    pub acked: u64,
    /// Acks with a temporary code.
    pub temporary: u64,
    /// Records given up by their ack.
    pub abandoned: u64,
    /// Frames without an ack.
    pub in_flight: u64,
    /// Connections that ended while they were in use.
    pub connections_lost: u64,
    /// Broken protocol rules.
    pub violations: u64,
}

/// A running source. Dropping it asks the source to stop, and does not wait.
#[derive(Debug)]
pub struct SourceHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<SourceReport>>,
}

impl SourceHandle {
    /// No new records; those in flight are waited for up to [`SourceConfig::drain`].
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Totals up to now.
    pub fn stats(&self) -> SourceStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStats {
            sent: load(&self.shared.sent),
            resent: load(&self.shared.resent),
            acked: load(&self.shared.acked),
            temporary: load(&self.shared.temporary),
            abandoned: load(&self.shared.abandoned),
            in_flight: load(&self.shared.in_flight),
            connections_lost: load(&self.shared.connections_lost),
            violations: load(&self.shared.violations),
        }
    }

    /// Whether the source has ended by itself.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the source's thread ended by a panic.
    pub fn join(mut self) -> Result<SourceReport, SourceError> {
        self.thread.take().ok_or(SourceError::Panicked)?.join().map_err(|_| SourceError::Panicked)
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A source that cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The record specification.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A number that makes no sense.
    #[error("{0}")]
    Config(&'static str),
    /// No thread.
    #[error("cannot start the source's thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A defect in the source.
    #[error("the source's thread panicked")]
    Panicked,
}

/// What became of one record, by the source's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceEntry {
    /// How often it was sent.
    pub sent: u16,
    /// The last ack; `None`: no ack yet.
    pub code: Option<u8>,
}

/// One entry per record, in the order of sequence numbers.
#[derive(Debug, Clone, Default)]
pub struct SourceLedger {
    /// [`RecordSpec::run`].
    pub run: u32,
    /// Sequence number of the first entry.
    pub first_sequence: u64,
    /// The entries.
    pub entries: Vec<SourceEntry>,
}

impl SourceLedger {
    /// Identities with their entries.
    pub fn iter(&self) -> impl Iterator<Item = (Identity, SourceEntry)> + '_ {
        let identity = |sequence| Identity { sequence, run: self.run };
        (self.first_sequence..).map(identity).zip(self.entries.iter().copied())
    }
}

/// What a source did.
#[derive(Debug, Clone)]
pub struct SourceReport {
    /// Records sent at least once.
    pub sent: u64,
    /// Frames sent again (refused, or lost with their connection).
    pub resent: u64,
    /// Records acked 0.
    pub acked: u64,
    /// Records given up because of their ack.
    pub abandoned: u64,
    /// Records without a final ack at the end.
    pub unresolved: u64,
    /// Acks by result code, indexed by the code.
    pub acks_by_code: Vec<u64>,
    /// Frames that had no ack when their connection ended.
    pub lost_with_connection: u64,
    /// Frames without an ack at the end.
    pub in_flight: u64,
    /// Connections that ended while they were in use.
    pub connections_lost: u64,
    /// How often the peer broke the protocol.
    pub violations: u64,
    /// The first of them, in words.
    pub violation_texts: Vec<String>,
    /// From frame sent (open loop: from when it should have been sent) to ack, nanoseconds, acks of any code.
    pub latency_ns: Histogram<u64>,
    /// First frame to last ack.
    pub elapsed: Duration,
    /// CPU time of the source's thread.
    pub cpu: Duration,
    /// Every record's fate.
    pub ledger: SourceLedger,
}

/// The XDR source.
#[derive(Debug)]
pub struct Source;

impl Source {
    /// Starts a source on its own thread.
    ///
    /// # Errors
    /// When the configuration makes no sense, or there is no thread.
    pub fn spawn(config: SourceConfig) -> Result<SourceHandle, SourceError> {
        if config.connections == 0 || config.window == 0 {
            return Err(SourceError::Config("a source needs at least one connection and a window of one record"));
        }
        if config.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err(SourceError::Config("a rate is a number of records a second above zero"));
        }
        let generator = Generator::new(&config.records_spec)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let body = move || engine::Engine::new(config, generator, theirs).run();
        let thread = std::thread::Builder::new().name(String::from("xdr-source")).spawn(body)?;
        Ok(SourceHandle { shared, thread: Some(thread) })
    }
}
