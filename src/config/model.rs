//! The configuration as the rest of the program reads it: validated, defaults filled in, units converted once.

mod headers;
mod health;
mod rules;
mod tls;

pub use headers::{Header, HeaderValue, Headers, Secret};
pub use health::{HealthCheck, ProbeMethod};
pub use rules::{Level, NamespaceRules, Overrides, PortRules, Resolved, Rules};
pub use tls::{DestinationTls, KeyFiles, Offer, ServiceTls, TrustFile};

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// The whole configuration of one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where XDR connections are accepted.
    pub service: Service,
    /// Where records go, in the order of the file.
    pub destinations: Vec<Destination>,
    /// Routing, format, bin transforms, batching and ordering, which can differ by port, namespace and set.
    pub rules: Rules,
    /// How a record is answered that cannot be decoded or expressed.
    pub content_errors: ContentErrors,
    /// Where such records are kept; `None`: nowhere.
    pub rejected: Option<Rejected>,
    /// Where log lines go.
    pub logging: Logging,
    /// Cores and memory.
    pub executors: Executors,
    /// Named bounds.
    pub limits: Limits,
}

/// `service`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Addresses to bind; `0.0.0.0` unless set.
    pub addresses: Vec<IpAddr>,
    /// Clear-text ports, each bound on each address; 8080 unless set, none when there is a TLS port.
    pub ports: Vec<u16>,
    /// Ports with TLS.
    pub tls: Option<ServiceTls>,
    /// Records in flight in the whole process; 32,768 unless set.
    pub max_concurrent_records: u32,
    /// Bytes of one read from an XDR connection; `None`: the executor's own default.
    pub socket_receive_buffer_bytes: Option<u32>,
    /// Networks from which XDR connections are taken; empty: all.
    pub allowed_networks: Vec<IpNet>,
    /// Metrics and health; `None`: no port for them.
    pub manage: Option<Manage>,
    /// A label of metrics.
    pub cluster_name: Option<String>,
}

/// `service.manage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manage {
    /// Addresses to bind; `0.0.0.0` unless set.
    pub addresses: Vec<IpAddr>,
    /// At least one.
    pub ports: Vec<u16>,
    /// The content of `token-file`.
    pub token: Option<Secret>,
    /// The ports speak TLS, with these addresses and ports in it.
    pub tls: Option<ServiceTls>,
}

impl Service {
    /// Every port on which XDR connects, the clear-text ones first.
    pub fn all_ports(&self) -> Vec<u16> {
        let of_tls = self.tls.iter().flat_map(|tls| tls.ports.iter());
        self.ports.iter().chain(of_tls.filter(|port| !self.ports.contains(port))).copied().collect()
    }
}

/// `destinations.NAME`.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Its name in the file.
    pub name: String,
    /// At least one.
    pub urls: Vec<Url>,
    /// HTTP/2 unless set.
    pub protocol: Protocol,
    /// From leaving the queue to the end of the response; 1 s unless set.
    pub call_timeout: Duration,
    /// 300 ms unless set.
    pub connect_timeout: Duration,
    /// `connection-ttl`: a connection that is older is replaced; `None`: never.
    pub connection_ttl: Option<Duration>,
    /// Process-wide, per URL; 1 unless set.
    pub max_connections_per_endpoint: u32,
    /// Records that wait for a connection or stream, process-wide, per URL; 32,768 unless set.
    pub max_request_queued_per_endpoint: u32,
    /// Streams per HTTP/2 connection; 256 unless set; the peer's limit if that is lower.
    pub http2_max_concurrent_streams: u32,
    /// Status codes that count as success; 200 to 299 unless set.
    pub success: StatusSet,
    /// Status codes that say that the record will never be taken: answered 10. None unless set.
    pub permanent: StatusSet,
    /// `compression: gzip`: bodies of more than so many bytes are compressed; `None`: none are.
    pub gzip_above: Option<u64>,
    /// `headers`, and whether `aerospike-digest` is sent.
    pub headers: Headers,
    /// `health-check`.
    pub health: HealthCheck,
    /// Longest pause that `Retry-After` can ask for; 30 s unless set, zero: it is not looked at.
    pub retry_after_cap: Duration,
    /// TLS of `https` URLs; `None`: the defaults.
    pub tls: Option<DestinationTls>,
}

impl Destination {
    /// Connections to one of its URLs that the whole process may have: while one executor has all of
    /// `max-connections-per-endpoint`, each of the others has one as soon as it has a record.
    pub fn most_connections(&self, executors: usize) -> u64 {
        u64::from(self.max_connections_per_endpoint) + executors.saturating_sub(1) as u64
    }
}

/// How a URL is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Clear text or TLS.
    pub scheme: Scheme,
    /// Host as in the file, without brackets around an IPv6 address.
    pub host: String,
    /// 80 or 443 unless given.
    pub port: u16,
    /// Path and query, at least `/`.
    pub path: String,
}

impl Url {
    /// Host and port as the `Host` header and `:authority` give them: IPv6 in brackets, the default port left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

/// For log lines and messages: the query, which may hold a key, is not shown.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.split_once('?') {
            Some((path, _)) => write!(f, "{}://{}{path}?...", self.scheme.name(), self.authority()),
            None => write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.path),
        }
    }
}

/// HTTP version spoken to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `HTTP_1_1`: one request at a time on a kept-alive connection.
    Http1,
    /// `HTTP_2`, by prior knowledge on clear text.
    Http2,
}

impl Protocol {
    /// As it stands in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP_1_1",
            Protocol::Http2 => "HTTP_2",
        }
    }
}

/// A set of HTTP status codes (100 to 599), one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSet {
    bits: [u64; 8],
}

impl StatusSet {
    /// No code.
    pub const fn empty() -> StatusSet {
        StatusSet { bits: [0; 8] }
    }

    /// 200 to 299.
    pub fn successful() -> StatusSet {
        let mut set = StatusSet::empty();
        for code in 200..300 {
            set.insert(code);
        }
        set
    }

    /// Adds `code`; anything outside 100 to 599 is left out.
    pub fn insert(&mut self, code: u16) {
        if let Some((word, bit)) = Self::place(code)
            && let Some(bits) = self.bits.get_mut(word)
        {
            *bits |= 1 << bit;
        }
    }

    /// Whether `code` is in the set.
    pub fn contains(&self, code: u16) -> bool {
        Self::place(code).is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|bits| bits >> bit & 1 == 1))
    }

    /// The codes, ascending.
    pub fn codes(&self) -> impl Iterator<Item = u16> + '_ {
        (100..600).filter(|code| self.contains(*code))
    }

    fn place(code: u16) -> Option<(usize, u32)> {
        let index = code.checked_sub(100).filter(|index| *index < 500)?;
        Some((usize::from(index / 64), u32::from(index % 64)))
    }
}

/// `routing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routing {
    /// `static-multi-destination`: indices into [`Config::destinations`], without repetition, at least one.
    Destinations(Vec<usize>),
    /// `skip`: acked 0, not delivered.
    Skip,
}

/// `format`: how a record is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Typed JSON.
    Json {
        /// Numbers as map keys become strings; true unless set. JSON has no other keys, so that it changes nothing.
        stringify_map_keys: bool,
        /// Text and doubles that JSON cannot hold.
        text: TextRules,
    },
    /// Flat JSON.
    FlatJson {
        /// The member that holds the metadata object.
        metadata_key: String,
        /// As for [`Format::Json`].
        stringify_map_keys: bool,
        /// Text and doubles that JSON cannot hold.
        text: TextRules,
    },
    /// MessagePack arrays, version 1.
    MessagePack {
        /// Deletes carry generation and last-update time; false unless set.
        delete_metadata: bool,
        /// Text that is not UTF-8.
        invalid_utf8: InvalidUtf8,
    },
    /// Avro, raw datums of one schema.
    Avro(Avro),
    /// The frame as it came in; the official default.
    Xdr,
}

/// `format` with `mode: avro`.
#[derive(Debug, Clone, PartialEq)]
pub struct Avro {
    /// The schema, checked and compiled.
    pub schema: crate::format::AvroSchema,
    /// Where the schema was read, when it was given as `schema-file`.
    pub schema_file: Option<PathBuf>,
    /// The field that holds the metadata; `None`: top-level fields of their own.
    pub metadata_key: Option<String>,
    /// Numbers as map keys become strings; true unless set. Otherwise such a record does not fit.
    pub stringify_map_keys: bool,
    /// Text that is not UTF-8.
    pub invalid_utf8: InvalidUtf8,
}

/// What becomes of text and doubles that a text format cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextRules {
    /// `invalid-utf8`.
    pub invalid_utf8: InvalidUtf8,
    /// `non-finite-floats: null`: NaN and infinities become null, not strings.
    pub non_finite_as_null: bool,
}

/// `format.invalid-utf8`: text (values, names, keys) with bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidUtf8 {
    /// Each sequence becomes U+FFFD; counted.
    #[default]
    Replace,
    /// The whole text as standard Base64; counted.
    Base64,
    /// The record is not delivered: a content error.
    Reject,
}

/// `bin-transforms`: which bins are delivered, and under which names. In this order: include and exclude, by the
/// original names; `map`; for bins that `map` does not name, `transforms`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BinTransforms {
    /// Bins that are kept; all unless set.
    pub include: BinSet,
    /// Bins that are dropped, even if they are included.
    pub exclude: Option<BinSet>,
    /// Old name, new name.
    pub map: Vec<(String, String)>,
    /// One after another.
    pub transforms: Vec<NameTransform>,
}

/// `include` or `exclude`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BinSet {
    /// Every bin.
    #[default]
    All,
    /// No bin.
    None,
    /// These.
    Specified(Vec<String>),
}

/// One of `bin-transforms.transforms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameTransform {
    /// Java's `toLowerCase`.
    Lowercase,
    /// Java's `toUpperCase`.
    Uppercase,
    /// Java's `trim`: characters up to U+0020 at both ends.
    Trim,
    /// Java's `replaceAll`.
    Regex {
        /// Pattern in Java's syntax.
        pattern: String,
        /// Replacement in Java's syntax: `$1`, `${name}`, backslash for literals.
        replacement: String,
    },
}

/// `batching`: records of one level with the same route in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batching {
    /// Switched on; true in a section that is there, unless set.
    pub enabled: bool,
    /// A batch that has so many bytes is closed; unbounded unless set.
    pub max_bytes: u64,
    /// A batch that has so many records is closed; unbounded unless set.
    pub max_records: u32,
    /// A batch is closed so long after its first record; 8 s unless set.
    pub interval: Duration,
    /// How JSON records stand in one body.
    pub body: BatchBody,
}

/// `batching.body`, for the JSON formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BatchBody {
    /// One JSON array.
    #[default]
    Array,
    /// One record a line (`application/x-ndjson`).
    NdJson,
}

/// `record-ordering`: one version of a record in flight, in the order of their last-update times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOrdering {
    /// Switched on; true in a section that is there, unless set.
    pub enable: bool,
    /// How long the last version of a record is remembered; 30 s unless set.
    pub ttl: Duration,
    /// Of versions that wait, a newer one that has the complete record stands for the older ones; false unless set.
    pub coalesce_waiting: bool,
    /// Records that the whole process remembers; 1,000,000 unless set. Of several sections the largest holds.
    pub max_entries: u32,
}

/// `content-errors`: the answer to a record that cannot be decoded, or not expressed in its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentErrors {
    /// 10: the server gives the record up.
    #[default]
    Permanent,
    /// 11: the server sends it again.
    Temporary,
}

/// `rejected-file`: where records go that are answered 10 for their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Appended to.
    pub file: PathBuf,
    /// The file does not grow beyond this; 1 GiB unless set.
    pub max_bytes: u64,
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Log file; `None`: console.
    pub file: Option<PathBuf>,
    /// Console, too; true if there is no file.
    pub console: bool,
    /// `simple` or `json`.
    pub format: LogFormat,
    /// Logger name to level, in the order of the file; `root` is the default level.
    pub levels: Vec<(String, LogLevel)>,
    /// Days that files of earlier days are kept; 30 unless set.
    pub max_history: u32,
    /// Between two rounds of ticker lines; 10 s unless set.
    pub ticker_interval: Duration,
}

/// Layout of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-12-08 14:53:50.607 GMT INFO  server - text`.
    Simple,
    /// One JSON object a line.
    Json,
}

/// Least severe level that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And information.
    Info,
    /// And debugging.
    Debug,
    /// Everything.
    Trace,
}

/// `executors`, our own section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executors {
    /// Which cores; resolved against the machine at start.
    pub cores: Cores,
    /// Pin each executor to its core; true unless set.
    pub pin: bool,
    /// Process-wide bound of bytes in flight; 256 MiB unless set.
    pub in_flight_bytes: u64,
    /// An executor that stands still longer ends the process with exit code 70; 5 s unless set.
    pub heartbeat_limit: Duration,
    /// How long an idle executor spins before it sleeps; zero unless set.
    pub busy_poll: Duration,
}

/// A body that is larger than is usual for its message has this part of `in-flight-bytes` at most: its message stands beside it,
/// and others.
pub const BODY_PART: u64 = 2;

/// `executors.cores`, or `service.io-threads` when `executors` is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// Every usable core.
    All,
    /// So many of the usable cores; more than there are is an error.
    Count(usize),
    /// At most so many of the usable cores (from `io-threads`; an excess is logged).
    AtMost(usize),
    /// Exactly these.
    List(Vec<usize>),
}

/// `limits`, our own section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the read that completes a frame to its ack; 7 s unless set, 1 s to 9 s.
    pub record_deadline: Duration,
    /// How long a shutdown waits for what is in flight; 8 s unless set.
    pub drain: Duration,
    /// Largest frame, after decompression too; 16 MiB unless set.
    pub max_frame_bytes: u32,
    /// Deepest nesting of lists and maps; 256 unless set.
    pub max_depth: u32,
    /// A frame without progress closes its connection; 30 s unless set.
    pub partial_frame_timeout: Duration,
    /// A peer that does not read its acks; 10 s unless set.
    pub ack_write_timeout: Duration,
    /// TCP keep-alive on XDR connections; 60 s unless set.
    pub xdr_keepalive: Duration,
}

impl Limits {
    /// How long a record may wait in a batch whose request may take `call_timeout`: what is left of its deadline is the
    /// smaller of that and half of the deadline (decisions.md, "a batch closes").
    pub fn longest_batch_wait(&self, call_timeout: Duration) -> Duration {
        self.record_deadline.saturating_sub(call_timeout.min(self.record_deadline / 2))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            record_deadline: Duration::from_secs(7),
            drain: Duration::from_secs(8),
            max_frame_bytes: 16 << 20,
            max_depth: 256,
            partial_frame_timeout: Duration::from_secs(30),
            ack_write_timeout: Duration::from_secs(10),
            xdr_keepalive: Duration::from_secs(60),
        }
    }
}
