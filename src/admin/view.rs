//! What there is to show: facts that stand since the start, and figures of now.

use std::sync::Arc;
use std::time::Duration;

use crate::config::model::{Config, Url};
use crate::metrics::snapshot::Snapshot;
use crate::metrics::stages::Stages;
use crate::time::{Now, Time};
use crate::tls::Expiry;

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The program's version.
    pub version: &'static str,
    /// `service.cluster-name`.
    pub cluster_name: Option<String>,
    /// In the order of the configuration.
    pub destinations: Vec<DestinationFacts>,
    /// The core of each executor.
    pub cores: Vec<usize>,
    /// `max-concurrent-records`.
    pub max_records: u64,
    /// `executors.in-flight-bytes`.
    pub max_bytes: u64,
    /// The effective configuration, without secrets.
    pub config: String,
    /// When the process started, in seconds since 1970.
    pub started: f64,
}

/// One destination.
#[derive(Debug, Clone)]
pub struct DestinationFacts {
    /// Its name.
    pub name: String,
    /// Host and port of each of its URLs.
    pub endpoints: Vec<String>,
    /// Its URLs, without the query, which may hold a key.
    pub urls: Vec<String>,
    /// As the configuration calls it.
    pub protocol: &'static str,
    /// Connections to one URL that the process may have.
    pub max_connections: u64,
}

/// An own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// What it is for: `service.tls`, `service.manage.tls`, or `destinations.NAME`.
    pub place: String,
    /// When it expires.
    pub expiry: Expiry,
}

impl Facts {
    /// Those of a configuration; `config` is its effective text.
    pub fn new(config: &Config, cores: Vec<usize>, text: String, started: f64) -> Facts {
        let destination = |destination: &crate::config::model::Destination| DestinationFacts {
            name: destination.name.clone(),
            endpoints: endpoint_names(&destination.urls),
            urls: destination.urls.iter().map(shown_url).collect(),
            protocol: destination.protocol.name(),
            max_connections: destination.most_connections(cores.len()),
        };
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            cluster_name: config.service.cluster_name.clone(),
            destinations: config.destinations.iter().map(destination).collect(),
            cores,
            max_records: config.service.max_concurrent_records.into(),
            max_bytes: config.executors.in_flight_bytes,
            config: text,
            started,
        }
    }

    /// Destination and endpoint of each entry of `Snapshot::endpoints`.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, &str)> {
        self.destinations.iter().flat_map(|destination| {
            destination.endpoints.iter().map(|endpoint| (destination.name.as_str(), endpoint.as_str()))
        })
    }
}

/// A URL without its query.
fn shown_url(url: &Url) -> String {
    let path = url.path.split('?').next().unwrap_or_default();
    format!("{}://{}{path}", url.scheme.name(), url.authority())
}

/// Host and port of each URL; with the path where two of them differ in nothing else.
fn endpoint_names(urls: &[Url]) -> Vec<String> {
    let short = |url: &Url| {
        if url.host.contains(':') {
            format!("[{}]:{}", url.host, url.port)
        } else {
            format!("{}:{}", url.host, url.port)
        }
    };
    let path = |url: &Url| url.path.split('?').next().unwrap_or_default().to_owned();
    let name = |(place, url): (usize, &Url)| {
        let is_alone = urls.iter().filter(|other| short(other) == short(url)).count() == 1;
        let twins =
            urls.iter().take(place).filter(|other| short(other) == short(url) && path(other) == path(url)).count();
        match (is_alone, twins) {
            (true, _) => short(url),
            (false, 0) => short(url) + &path(url),
            (false, before) => format!("{}{} ({})", short(url), path(url), before + 1),
        }
    };
    urls.iter().enumerate().map(name).collect()
}

/// Figures of the process and its machine. What cannot be read is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Process {
    /// User and system time.
    pub cpu: Option<Duration>,
    /// Resident memory, in bytes.
    pub resident: Option<u64>,
    /// Virtual memory, in bytes.
    pub virtual_memory: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// How many there may be.
    pub max_descriptors: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Percent of all cores that this process used lately, 0 to 100.
    pub process_load: Option<f64>,
    /// Percent of all cores that were in use lately, 0 to 100.
    pub system_load: Option<f64>,
}

/// Everything at one time.
#[derive(Debug, Clone)]
pub struct View {
    /// What stands.
    pub facts: Arc<Facts>,
    /// What each executor published last.
    pub executors: Vec<Arc<Snapshot>>,
    /// The process.
    pub process: Process,
    /// When all this was read.
    pub now: Now,
    /// Own certificates.
    pub certificates: Vec<CertificateFacts>,
    /// Since the start.
    pub uptime: Duration,
    /// Every executor has ticked lately.
    pub is_alive: bool,
    /// Connections are accepted.
    pub is_listening: bool,
    /// Connections that `service.allowed-networks` turned away.
    pub not_allowed: u64,
    /// XDR connections that were closed as they came, since there were too many.
    pub too_many: u64,
    /// Log lines that were lost: since they came faster than they can be written, and since the file did not take them.
    pub lost_lines: [u64; 2],
    /// From a record's last update to its arrival, of the slowest records of the last seconds but a hundredth; `None`: none
    /// came.
    pub lag: Option<Duration>,
}

impl View {
    /// The sum of a count over the executors.
    pub fn sum(&self, of: impl Fn(&Snapshot) -> u64) -> u64 {
        self.executors.iter().map(|snapshot| of(snapshot)).sum()
    }

    /// It listens, and takes new frames: not before the start, and not while it drains.
    pub fn is_open(&self) -> bool {
        self.is_listening && !self.executors.iter().any(|snapshot| snapshot.is_draining)
    }

    /// Whole days until a certificate expires; negative when it has.
    pub fn days_left(&self, certificate: &CertificateFacts) -> i64 {
        certificate.expiry.days_left(self.now.unix_ms / 1000)
    }

    /// A time of the executors' clock, in milliseconds since 1970.
    pub fn wall_ms(&self, at: Time) -> u64 {
        self.now.unix_ms.saturating_sub(self.now.monotonic.since(at).as_millis() as u64)
    }

    /// Where the time of all executors' records went.
    pub fn stages(&self) -> Stages {
        let mut all = Stages::default();
        self.executors.iter().for_each(|snapshot| all.add(&snapshot.stages));
        all
    }

    /// Whether some executor finds a URL of the destination at this place healthy.
    pub fn is_reachable(&self, destination: usize) -> bool {
        use crate::metrics::snapshot::UrlState;
        let before: usize = self.facts.destinations.iter().take(destination).map(|it| it.endpoints.len()).sum();
        let count = self.facts.destinations.get(destination).map_or(0, |it| it.endpoints.len());
        self.executors.iter().any(|snapshot| {
            // Before the first publication: URLs begin healthy.
            snapshot.endpoints.is_empty()
                || snapshot.endpoints.iter().skip(before).take(count).any(|url| url.state == UrlState::Healthy)
        })
    }
}

/// A connector with one destination of two URLs, for tests of what is made of it: 60 s after its start.
#[cfg(test)]
pub mod example {
    use super::*;

    /// So many milliseconds after the start.
    pub fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    /// With what these executors have published.
    pub fn view(destination: &str, executors: Vec<Snapshot>) -> View {
        let destination = DestinationFacts {
            name: destination.to_owned(),
            endpoints: vec!["a:1".to_owned(), "b:2".to_owned()],
            urls: vec!["http://a:1/x".to_owned(), "http://b:2/".to_owned()],
            protocol: "HTTP_2",
            max_connections: 7,
        };
        View {
            facts: Arc::new(Facts {
                version: "1.2.3",
                cluster_name: Some("east".to_owned()),
                destinations: vec![destination],
                cores: vec![3, 5],
                max_records: 1_000,
                max_bytes: 1 << 30,
                config: String::new(),
                started: 1_700_000_000.5,
            }),
            executors: executors.into_iter().map(Arc::new).collect(),
            process: Process::default(),
            now: Now { monotonic: at(60_000), unix_ms: 1_700_000_060_500 },
            certificates: vec![CertificateFacts { place: "service.tls".to_owned(), expiry: Expiry(1_699_900_000) }],
            uptime: Duration::from_secs(60),
            is_alive: true,
            is_listening: true,
            not_allowed: 4,
            too_many: 3,
            lost_lines: [6, 2],
            lag: Some(Duration::from_micros(2_500)),
        }
    }
}
