//! What a seed decides before the first event: configuration, sizes, times.

use std::time::Duration;

use ringpost::config::model::{
    Config, ContentErrors, Cores, Destination, Executors, Header, HeaderValue, Headers, HealthCheck, Limits, LogFormat,
    Logging, ProbeMethod, Protocol, Rejected, Scheme, Service, StatusSet, Url,
};

use super::random::Random;
use super::rejected::{DISKS, Disk};
use super::settings::{self, Draw, Kind, PORTS};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

#[derive(Debug)]
pub struct Scenario {
    pub config: Config,
    /// What holds for each kind of record.
    pub kinds: Vec<Kind>,
    /// Some records are put in batches.
    pub batches: bool,
    /// How `rejected-file` behaves, if there is one.
    pub disk: Disk,
    pub engines: usize,
    pub nodes: usize,
    /// New records per node at most.
    pub records: usize,
    /// Frames without a code that a node allows itself.
    pub outstanding: usize,
    /// Largest string of a record.
    pub large: usize,
    /// Bytes of one read.
    pub scratch: usize,
    /// Faults end here; everything must be acked some time after it.
    pub heal_at: u64,
    /// All engines drain here, faults or not; `None`: after everything is acked.
    pub drain_all_at: Option<u64>,
    /// Engine 1 drains here, while the others go on.
    pub drain_one_at: Option<u64>,
    /// Percent of the records that destinations with permanent codes refuse.
    pub poison: u64,
    /// Percent of a node's steps that do something unkind.
    pub unkind: u64,
    pub hpack_pauses: bool,
    /// Different records of each namespace and set, if any records are ordered.
    pub keys: Option<u64>,
}

fn service(max_concurrent_records: u32) -> Service {
    Service {
        addresses: Vec::new(),
        ports: PORTS.to_vec(),
        max_concurrent_records,
        tls: None,
        socket_receive_buffer_bytes: None,
        allowed_networks: Vec::new(),
        manage: None,
        cluster_name: None,
    }
}

impl Scenario {
    pub fn new(random: &mut Random) -> Scenario {
        let engines = random.size(1, 3);
        let nodes = random.size(1, 4);
        let destinations: Vec<Destination> = (0..random.size(1, 3)).map(|index| destination(index, random)).collect();
        let large = random.pick(&[500, 4_000, 40_000, 150_000]);
        let batches = random.chance(75);
        let ordering = random.chance(50).then(|| random.chance(40));
        let (levels, large_ones) = (random.chance(60), large > 4_000);
        let draw = Draw { destinations: destinations.len(), batches, levels, large: large_ones, ordering };
        let rules = draw.rules(random);
        let kept = random.chance(60);
        let deadline = random.between(1_000, 3_000);
        let limits = Limits {
            record_deadline: Duration::from_millis(deadline),
            drain: Duration::from_millis(random.between(500, 4_000)),
            max_frame_bytes: 256 * 1024,
            partial_frame_timeout: Duration::from_secs(3),
            ack_write_timeout: Duration::from_secs(4),
            ..Limits::default()
        };
        let config = Config {
            service: service(random.pick(&[2, 5, 20, 100, 1_000])),
            rules,
            content_errors: if random.chance(80) { ContentErrors::Permanent } else { ContentErrors::Temporary },
            rejected: kept.then(|| Rejected { file: "rejected".into(), max_bytes: 1 << 30 }),
            destinations,
            logging: Logging {
                file: None,
                console: false,
                format: LogFormat::Simple,
                levels: Vec::new(),
                max_history: 30,
                ticker_interval: Duration::from_secs(10),
            },
            executors: Executors {
                cores: Cores::All,
                pin: false,
                in_flight_bytes: random.pick(&[64 << 10, 256 << 10, 1 << 20, 64 << 20]),
                heartbeat_limit: Duration::from_secs(5),
                busy_poll: Duration::ZERO,
            },
            limits,
        };
        let heal_at = SECOND + random.between(2_000, 8_000) * MS;
        let drain_all_at = random.chance(30).then(|| SECOND + random.between(200, 6_000) * MS);
        // An executor that owns records of others does not end before them.
        let drain_one_at =
            (engines > 1 && ordering.is_none() && random.chance(30)).then(|| SECOND + random.between(200, 6_000) * MS);
        Scenario {
            kinds: settings::kinds(&config.rules),
            batches,
            disk: random.pick(&DISKS),
            config,
            engines,
            nodes,
            records: random.size(20, 250),
            outstanding: random.pick(&[1, 10, 100, 1_000]),
            large,
            // A large record comes in a few reads, or it would wait for its turn as often.
            scratch: random.pick(if large > 4_000 { &[16 << 10, 256 << 10] } else { &[1_000, 16 << 10] }),
            heal_at,
            drain_all_at,
            drain_one_at,
            poison: random.pick(&[3, 10, 40]),
            unkind: random.pick(&[0, 1, 3, 8]),
            hpack_pauses: random.chance(50),
            keys: ordering.map(|_| random.pick(&[1, 5, 50])),
        }
    }
}

fn health(random: &mut Random) -> HealthCheck {
    HealthCheck {
        enabled: random.chance(60),
        interval: Duration::from_millis(random.pick(&[200, 1_000, 3_000, 5_000_000])),
        call_timeout: Duration::from_millis(random.between(50, 500)),
        healthy_threshold: random.pick(&[1, 2, 3]),
        unhealthy_threshold: random.pick(&[1, 2, 3, 5]),
        path: random.chance(30).then(|| "/health?a=b".to_owned()),
        method: random.pick(&[ProbeMethod::Get, ProbeMethod::Head, ProbeMethod::Options]),
        success: random.chance(30).then(StatusSet::successful),
    }
}

fn destination(index: usize, random: &mut Random) -> Destination {
    let urls = (0..random.size(1, 2))
        .map(|url| Url {
            scheme: Scheme::Http,
            host: format!("d{index}u{url}.test"),
            port: 80,
            path: "/records".to_owned(),
        })
        .collect();
    let mut permanent = StatusSet::empty();
    if random.chance(50) {
        permanent.insert(422);
    }
    let header = |name: &str, value| Header { name: name.to_owned(), value };
    let mut list = vec![
        header("x-ns", HeaderValue::Namespace),
        header("x-set", HeaderValue::Set),
        header("x-op", HeaderValue::Operation),
    ];
    let share = random.pick(&[0, 0, 50]);
    list.retain(|_| random.chance(share));
    Destination {
        name: format!("d{index}"),
        urls,
        protocol: if random.chance(50) { Protocol::Http1 } else { Protocol::Http2 },
        call_timeout: Duration::from_millis(random.between(100, 800)),
        connect_timeout: Duration::from_millis(random.between(50, 300)),
        connection_ttl: random.chance(50).then(|| Duration::from_millis(random.pick(&[1, 200, 1_000, 4_000]))),
        max_connections_per_endpoint: random.pick(&[1, 2, 8]),
        max_request_queued_per_endpoint: random.pick(&[1, 5, 50, 1_000]),
        http2_max_concurrent_streams: random.pick(&[1, 4, 100]),
        success: StatusSet::successful(),
        permanent,
        gzip_above: random.chance(40).then(|| random.pick(&[0, 300, 2_000])),
        headers: Headers { digest: true, list },
        health: health(random),
        retry_after_cap: Duration::from_millis(random.pick(&[0, 500, 3_000])),
        tls: None,
    }
}
