//! What an executor publishes of itself, as plain values: everything that is shown of it comes from here.

use std::net::SocketAddr;
use std::time::Duration;

use super::Counters;
use super::stages::{Response, Stages};
use crate::time::Time;

/// XDR connections that are published one by one; of further ones there is only the number.
pub const SHOWN_SOURCES: usize = 256;

/// One executor at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub taken: Time,
    /// Its counts.
    pub counters: Counters,
    /// Where the time of its records went.
    pub stages: Stages,
    /// CPU time of its thread.
    pub cpu: Duration,
    /// Records in flight.
    pub in_flight: u64,
    /// Bytes in flight, as charged.
    pub in_flight_bytes: u64,
    /// Open XDR connections.
    pub sources: usize,
    /// Frames are answered 18 until there is room.
    pub is_rejecting: bool,
    /// It takes no new frames, since it was told to end.
    pub is_draining: bool,
    /// Some of its XDR connections, at most [`SHOWN_SOURCES`].
    pub shown: Vec<SourceFigures>,
    /// Its destinations, in the order of the configuration.
    pub destinations: Vec<DestinationFigures>,
    /// Its endpoints, in the order of destinations and URLs.
    pub endpoints: Vec<EndpointFigures>,
}

impl Snapshot {
    /// The share of its core that the executor used since `earlier`, an older one of the same executor: 0 to 1. `None` if
    /// both are one.
    pub fn busy_since(&self, earlier: &Snapshot) -> Option<f64> {
        let time = self.taken.since(earlier.taken).as_secs_f64();
        let cpu = self.cpu.saturating_sub(earlier.cpu).as_secs_f64();
        (time > 0.0).then(|| (cpu / time).min(1.0))
    }
}

/// One XDR connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFigures {
    /// Who sends.
    pub peer: SocketAddr,
    /// The port of ours.
    pub port: u16,
    /// It speaks TLS.
    pub is_tls: bool,
    /// When it was accepted, to a tick.
    pub opened: Time,
    /// Frames that came on it.
    pub records: u64,
    /// Frames without an ack.
    pub in_flight: u64,
    /// It waits for room.
    pub is_paused: bool,
}

/// One destination, all its URLs together.
#[derive(Debug, Clone, Default)]
pub struct DestinationFigures {
    /// Records that it took.
    pub success: u64,
    /// Records that it did not take: another status, a failure that was not retried, a time-out, no usable URL. Those of a
    /// batch that is taken apart count with it, and on their own. Records that were not sent here after all, since another
    /// destination had failed, count nowhere.
    pub error: u64,
    /// How long its first byte takes, from the hand-over of the request to a connection.
    pub response: Response,
}

/// Whether a URL gets records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UrlState {
    /// It does.
    #[default]
    Healthy,
    /// It failed, and gets one record now and then.
    Unhealthy,
    /// It has that one record.
    Testing,
    /// It asked to be left alone (`Retry-After`).
    Waiting,
}

/// One URL.
#[derive(Debug, Clone, Default)]
pub struct EndpointFigures {
    /// Whether it gets records.
    pub state: UrlState,
    /// Its connections, and what they have.
    pub pool: PoolCounts,
    /// Records that it took.
    pub success: u64,
    /// Records that it did not take, each try of them: what a retry then brings to another URL is an error here.
    pub error: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// What it last did wrong, and when: some 200 bytes at most, no secret.
    pub last_error: Option<(Time, String)>,
}

/// Connections of one executor to one endpoint, and what they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Being opened.
    pub connecting: usize,
    /// Open for requests.
    pub open: usize,
    /// Finishing what they have.
    pub draining: usize,
    /// Places of `max-connections-per-endpoint` that are taken, in the whole process.
    pub taken: u64,
    /// Requests that wait.
    pub queued: u64,
    /// Requests that connections have.
    pub in_flight: usize,
}
