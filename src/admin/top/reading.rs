//! The answer of `/status`, read. It came from the network: texts are cleaned on their way in, and what is missing (of
//! another version) is nothing.

use serde::{Deserialize, Deserializer};

use super::text::clean;

/// A text of others that may be shown: no control character, no character without a width, of a bounded length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        Ok(Text(clean(&String::deserialize(from)?)))
    }
}

/// The whole of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: Text,
    pub cluster_name: Option<Text>,
    /// Milliseconds since 1970, as all that end so.
    pub now_ms: u64,
    pub uptime_s: u64,
    pub state: Text,
    pub totals: Totals,
    pub stages: Vec<Stage>,
    pub lag_ms: Option<f64>,
    pub executors: Vec<Executor>,
    pub destinations: Vec<Destination>,
    pub connections: Vec<Connection>,
    pub connections_left_out: u64,
    pub certificates: Vec<Certificate>,
    pub history: History,
}

impl Status {
    /// Reads an answer.
    ///
    /// # Errors
    /// Why it is none, cleaned.
    pub fn read(answer: &[u8]) -> Result<Status, String> {
        let status: Status = serde_json::from_slice(answer).map_err(|error| clean(&error.to_string()))?;
        if status.version.0.is_empty() { Err("it names no version".to_owned()) } else { Ok(status) }
    }
}

/// Numbers by ack code.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ByCode<T> {
    #[serde(rename = "0")]
    pub done: T,
    #[serde(rename = "10")]
    pub never: T,
    #[serde(rename = "11")]
    pub later: T,
    #[serde(rename = "18")]
    pub overload: T,
}

/// Since the start, and in flight now.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub records: u64,
    pub acked: ByCode<u64>,
    pub skipped: u64,
    pub stale: u64,
    pub parse_errors: u64,
    pub retries: u64,
    pub batches: u64,
    pub in_flight: u64,
    pub in_flight_limit: u64,
    pub in_flight_bytes: u64,
    pub in_flight_bytes_limit: u64,
    pub not_allowed: u64,
    pub duplicates: u64,
    pub log_lines_dropped: u64,
    pub log_lines_refused: u64,
    pub permanent_share_1m: f64,
    pub executors_rejecting: u64,
}

/// Latencies of the last 5 to 10 seconds, in microseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Stage {
    pub name: Text,
    pub count: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// A thread of the connector.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Executor {
    pub index: u64,
    pub core: Option<u64>,
    /// A share, 0 to 1.
    pub busy: f64,
    pub records_per_s: f64,
    pub records: u64,
    pub in_flight: u64,
    pub in_flight_bytes: u64,
    pub sources: u64,
    pub heartbeat_age_ms: u64,
    pub stalls: u64,
    pub rejecting: bool,
    pub draining: bool,
}

/// A destination; times in microseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    pub name: Text,
    pub protocol: Text,
    pub success: u64,
    pub error: u64,
    pub count: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub urls: Vec<Url>,
}

/// What all executors together know of a URL.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Url {
    pub url: Text,
    pub state: Text,
    pub unhealthy_executors: u64,
    pub connections: Pool,
    pub in_flight: u64,
    pub queued: u64,
    pub success: u64,
    pub error: u64,
    pub last_error: Option<Failure>,
}

impl Url {
    /// Whether every executor finds it so.
    pub fn is_healthy(&self) -> bool {
        self.state.0 == "healthy"
    }
}

/// Connections to it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pool {
    pub open: u64,
    pub limit: u64,
}

/// What went wrong last.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub at_ms: u64,
    pub text: Text,
}

/// From an Aerospike node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    pub peer: Text,
    pub port: u64,
    pub executor: u64,
    pub tls: bool,
    pub records: u64,
    pub in_flight: u64,
    pub paused: bool,
    pub opened_ms: u64,
}

/// One of the connector's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Certificate {
    pub place: Text,
    pub days_left: i64,
}

/// A number for each second, oldest first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct History {
    pub records_per_s: Vec<Option<f64>>,
    pub acked: ByCode<Vec<Option<f64>>>,
}
