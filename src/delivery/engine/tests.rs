//! Single rules of the engine, by hand-fed bytes and times; whole runs are in `tests/simulation.rs`.

mod batching;
mod fairness;
mod figures;
mod handover;
mod health;
mod ordering;
mod pauses;
mod pools;
mod queues;
mod rejecting;
mod room;
mod tap;
mod windows;

use std::net::SocketAddr;

use ringpost_load::record::{Generator, RecordSpec};

use super::*;
use crate::config::model::{
    BatchBody, Batching, Config, Cores, Destination as Settings, Executors, Format, Headers, HealthCheck, LogFormat,
    Logging, Protocol, Routing, Rules, Scheme, Service, StatusSet, Url,
};
use crate::time::Now;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n";
const BUSY: &[u8] = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";

/// Destinations with one URL each, HTTP/1.1, two connections, a call time-out of 5 s.
fn config(destinations: usize) -> Config {
    let destination = |index| Settings {
        name: format!("d{index}"),
        urls: vec![Url { scheme: Scheme::Http, host: format!("d{index}.test"), port: 80, path: "/".to_owned() }],
        protocol: Protocol::Http1,
        call_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_millis(300),
        connection_ttl: None,
        max_connections_per_endpoint: 2,
        max_request_queued_per_endpoint: 100,
        http2_max_concurrent_streams: 256,
        success: StatusSet::successful(),
        permanent: StatusSet::empty(),
        gzip_above: None,
        headers: Headers::default(),
        health: HealthCheck { enabled: false, ..HealthCheck::default() },
        retry_after_cap: Duration::from_secs(30),
        tls: None,
    };
    Config {
        service: Service {
            addresses: Vec::new(),
            ports: vec![0],
            tls: None,
            max_concurrent_records: 1000,
            socket_receive_buffer_bytes: None,
            allowed_networks: Vec::new(),
            manage: None,
            cluster_name: None,
        },
        destinations: (0..destinations).map(destination).collect(),
        rules: Rules::same_for_all(
            Routing::Destinations((0..destinations).collect()),
            Format::FlatJson {
                metadata_key: "metadata".to_owned(),
                stringify_map_keys: true,
                text: Default::default(),
            },
        ),
        content_errors: Default::default(),
        rejected: None,
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
            in_flight_bytes: 64 << 20,
            heartbeat_limit: Duration::from_secs(5),
            busy_poll: Duration::ZERO,
        },
        limits: Limits::default(),
    }
}

/// One destination, batches of at most `records`.
fn batches_of(records: u32) -> Config {
    let mut config = config(1);
    config.rules.top.batching = Some(Batching {
        enabled: true,
        max_bytes: u64::MAX,
        max_records: records,
        interval: Duration::from_secs(60),
        body: BatchBody::Array,
    });
    config
}

/// An engine with one source.
struct Rig {
    engine: Engine,
    source: Key,
    frames: Generator,
    sent: u64,
    now: Time,
    /// What connections wrote after an answer.
    written: Vec<(Key, Vec<u8>)>,
}

impl Rig {
    fn new(config: &Config) -> Rig {
        Rig::of(config, &SharedLimits::new(config, 1), 0)
    }

    /// Executor `index` of those that share `shared`.
    fn of(config: &Config, shared: &SharedLimits, index: usize) -> Rig {
        let mut engine = Engine::new(config, shared, index).unwrap();
        let source = engine.source_open(SocketAddr::from(([127, 0, 0, 1], 9)), 0).unwrap();
        let frames = Generator::new(&RecordSpec::default()).unwrap();
        Rig { engine, source, frames, sent: 0, now: Time::ZERO + Duration::from_secs(100), written: Vec::new() }
    }

    fn after(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// Sends so many records in one read.
    fn send(&mut self, records: u64) {
        let mut bytes = Vec::new();
        for _ in 0..records {
            self.frames.write(self.sent, 0, &mut bytes);
            self.sent += 1;
        }
        self.engine.source_receive(self.source, &bytes, Now { monotonic: self.now, unix_ms: 0 });
    }

    /// One more source.
    fn another_source(&mut self) -> Key {
        self.engine.source_open(SocketAddr::from(([127, 0, 0, 1], 10)), 0).unwrap()
    }

    /// Sends one record on `source`.
    fn send_on(&mut self, source: Key) {
        let mut bytes = Vec::new();
        self.frames.write(self.sent, 0, &mut bytes);
        self.sent += 1;
        self.engine.source_receive(source, &bytes, Now { monotonic: self.now, unix_ms: 0 });
    }

    /// Opens the connections that the engine asks for, by endpoint.
    fn connect(&mut self) -> Vec<Connect> {
        let mut opened = Vec::new();
        while let Some(connect) = self.engine.next_connect() {
            self.engine.connection_opened(connect.connection, self.now);
            opened.push(connect);
        }
        // A record for several endpoints is sent when the last of them has a connection.
        for connect in &opened {
            self.write(connect.connection);
        }
        opened.sort_by_key(|connect| connect.endpoint);
        opened
    }

    /// What the connection writes.
    fn write(&mut self, connection: Key) -> Vec<u8> {
        let mut out = Vec::new();
        self.engine.connection_output(connection, &mut out);
        out
    }

    fn answer(&mut self, connection: Key, response: &[u8]) {
        self.engine.connection_receive(connection, response, self.now);
        let bytes = self.write(connection);
        self.written.push((connection, bytes));
    }

    fn tick(&mut self) {
        self.engine.tick(self.now);
    }

    /// Codes that have come since the last call.
    fn codes(&mut self) -> Vec<u8> {
        self.codes_of(self.source)
    }

    /// The same for any source.
    fn codes_of(&mut self, source: Key) -> Vec<u8> {
        let bytes = self.engine.source_output(source, self.now).to_vec();
        self.engine.source_wrote(source, bytes.len());
        bytes.chunks(30).map(|ack| ack[13]).collect()
    }

    /// Everything is over, and nothing was kept.
    #[track_caller]
    fn assert_empty(&mut self) {
        let counts = self.engine.counts();
        let left = [counts.flights, counts.attempts, counts.batches, counts.queued, counts.loads];
        assert_eq!(left, [0; 5], "{counts:?}");
        assert_eq!((self.engine.in_flight(), self.engine.in_flight_bytes()), (0, 0));
    }
}

#[test]
fn a_destination_that_is_routed_to_twice_and_has_room_once_fails_the_record_and_not_the_process() {
    let mut config = config(1);
    config.rules.top.routing = Some(Routing::Destinations(vec![0, 0]));
    config.destinations[0].max_request_queued_per_endpoint = 1;
    let mut rig = Rig::new(&config);
    rig.send(1);
    assert_eq!(rig.codes(), [11]);
    assert_eq!(rig.engine.counts().flights, 0);
    assert_eq!(rig.engine.counts().queued, 0);
}

#[test]
fn a_record_that_was_answered_before_its_deadline_is_no_missed_deadline() {
    let mut config = config(2);
    config.destinations.iter_mut().for_each(|destination| destination.call_timeout = Duration::from_secs(20));
    let mut rig = Rig::new(&config);
    rig.send(1);
    let connections = rig.connect();
    rig.answer(connections[0].connection, BUSY);
    assert_eq!(rig.codes(), [11]);
    rig.after(7_000);
    rig.tick();
    assert_eq!(rig.engine.counts().flights, 0);
    assert_eq!(rig.engine.counters().deadlines, 0);
}

#[test]
fn records_that_spent_their_time_in_the_queue_do_not_make_a_busy_url_unhealthy() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 4;
    let mut rig = Rig::new(&config);
    rig.send(8);
    let connections = rig.connect();
    rig.after(4_900);
    connections.iter().for_each(|connect| rig.answer(connect.connection, OK));
    rig.after(2_100);
    rig.tick();
    assert_eq!(rig.codes(), [0, 0, 0, 0, 11, 11, 11, 11]);
    rig.send(1);
    assert_eq!(rig.codes(), [0u8; 0], "it is sent, not refused");
    assert_eq!(rig.engine.counters().refused, 0);
}

#[test]
fn a_url_that_never_answers_becomes_unhealthy_by_deadlines_too() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 4;
    config.destinations[0].call_timeout = Duration::from_secs(20);
    let mut rig = Rig::new(&config);
    rig.send(4);
    rig.connect();
    rig.after(7_000);
    rig.tick();
    rig.send(1);
    assert_eq!(rig.codes(), [11; 5]);
    assert_eq!(rig.engine.counters().refused, 1);
}

#[test]
fn what_a_source_whose_tls_broke_left_waiting_is_not_sent() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 1;
    let mut rig = Rig::new(&config);
    rig.send(3);
    let connections = rig.connect();
    let now = rig.now;
    rig.engine.source_insecure(rig.source, "the peer sent the TLS alert BadRecordMac", now);
    rig.answer(connections[0].connection, OK);
    assert_eq!(
        rig.written.pop().unwrap().1,
        b"",
        "nobody hears of the others any more: the server sends them again elsewhere"
    );
    assert_eq!(rig.engine.counters().requests, 1);
    rig.engine.source_closed(rig.source);
    rig.assert_empty();
}

/// SETTINGS with MAX_CONCURRENT_STREAMS 0, and then not a word.
#[test]
fn a_connection_that_allows_nothing_and_says_nothing_loses_its_place() {
    let mut config = config(1);
    config.destinations[0].protocol = Protocol::Http2;
    config.destinations[0].max_connections_per_endpoint = 1;
    let mut rig = Rig::new(&config);
    rig.send(1);
    let connections = rig.connect();
    let connection = connections[0].connection;
    // Settings, and status 200 for stream 1.
    rig.engine.connection_receive(connection, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0], rig.now);
    rig.engine.connection_receive(connection, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88], rig.now);
    assert_eq!(rig.codes(), [0]);
    rig.after(500);
    rig.send(1);
    rig.after(6_500);
    rig.tick();
    assert!(rig.engine.next_connect().is_none(), "a peer may allow nothing for a while");
    rig.after(500);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    assert!(rig.engine.connection_is_over(connection));
    rig.engine.connection_closed(connection, rig.now);
    rig.send(1);
    assert_eq!(rig.connect().len(), 1, "the next record has a connection to wait for");
}

#[test]
fn frames_that_wait_for_a_place_in_the_window_age_from_the_read_that_brought_them() {
    let mut config = config(1);
    config.destinations[0].call_timeout = Duration::from_secs(20);
    config.destinations[0].max_request_queued_per_endpoint = 100_000;
    config.service.max_concurrent_records = 100_000;
    config.executors.in_flight_bytes = 1 << 30;
    let mut rig = Rig::new(&config);
    let limit = super::super::source::WINDOW_LIMIT as u64;
    rig.send(limit + 1);
    let connections = rig.connect();
    rig.after(3_000);
    rig.answer(connections[0].connection, OK);
    rig.answer(connections[1].connection, OK);
    assert_eq!(rig.codes(), [0, 0]);
    let now = rig.now;
    assert_eq!(rig.engine.source_input(rig.source, now), Input::Resume);
    rig.engine.source_receive(rig.source, &[], Now { monotonic: now, unix_ms: 0 });
    rig.after(4_000);
    rig.tick();
    assert_eq!(rig.engine.counts().flights, 0, "7 s after the read that brought it");
}

#[test]
fn after_the_limit_of_a_drain_nothing_more_is_sent() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 1;
    config.limits.drain = Duration::from_secs(1);
    let mut rig = Rig::new(&config);
    rig.send(3);
    let connections = rig.connect();
    let now = rig.now;
    rig.engine.drain(now);
    rig.now = rig.engine.drain_until().unwrap();
    rig.tick();
    assert_eq!(rig.codes(), [11; 3]);
    rig.answer(connections[0].connection, OK);
    assert_eq!(rig.written.pop().unwrap().1, b"", "those that waited were answered, and are sent again elsewhere");
    let counters = *rig.engine.counters();
    assert_eq!((counters.requests, counters.duplicates_possible, counters.urls_unhealthy), (1, 1, 0));
    rig.assert_empty();
}
