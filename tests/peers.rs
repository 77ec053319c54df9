//! Real servers: every record through each of them, none lost, duplicates explained. `scripts/test-peers` installs them
//! and runs these tests; without it they are ignored.
//!
//! `RINGPOST_PEER_RECORDS`: records through each server, 2,000 if it is not set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "peers/books.rs"]
mod books;
#[path = "peers/servers.rs"]
mod servers;
mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use ringpost_load::record::RecordSpec;
use ringpost_load::report;
use ringpost_load::source::{Source, SourceConfig, SourceReport, ack};
use servers::{HTTP1, HTTP1_TLS, HTTP2, HTTP2_TLS, Kind, Server, Wire};
use support::{Process, Settings, oracle};

/// The ack of a failure that the source repeats.
const TEMPORARY: usize = 11;
/// Connections of the source, and records in flight on each.
const CONNECTIONS: usize = 4;
const WINDOW: usize = 64;
/// Records of [`Way::Trickle`], and how many a second: one in 21 ms, where idle connections are closed after 20.
const TRICKLE: u64 = 200;
const TRICKLE_RATE: f64 = 47.0;
/// Time between two reloads.
const RELOAD_EVERY: Duration = Duration::from_millis(300);
/// Time between two crashes; more than the second for which a URL is left alone that three connections failed to.
const CRASH_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a body: ordinary, and of [`Way::Large`], with the number of those.
const BODY_BYTES: usize = 250;
const LARGE_BYTES: usize = 400_000;
const LARGE: u64 = 100;
/// Longest run of one server.
const LIMIT: Duration = Duration::from_secs(300);

fn records() -> u64 {
    std::env::var("RINGPOST_PEER_RECORDS").ok().map_or(2_000, |text| text.parse().expect("a number of records"))
}

/// One server, one protocol.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Kind,
    wire: Wire,
    /// What else happens.
    way: Way,
}

/// How records come, and what happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As fast as they are acked.
    Full,
    /// At a rate, while the server is reloaded again and again.
    Reload,
    /// One by one, each about when an idle connection is closed.
    Trickle,
    /// Few and large, so that flow control decides.
    Large,
    /// At a rate, while the server is killed and started again.
    Crash,
}

impl Way {
    /// How many records, how many a second if not as many as possible, and the longest body.
    fn load(self) -> (u64, Option<f64>, usize) {
        let all = records();
        match self {
            Way::Full => (all, None, BODY_BYTES),
            // Long enough for a few of them.
            Way::Reload => (all, Some((all as f64 / 2.0).min(10_000.0)), BODY_BYTES),
            Way::Crash => (all, Some((all as f64 / 5.0).min(10_000.0)), BODY_BYTES),
            Way::Trickle => (TRICKLE, Some(TRICKLE_RATE), BODY_BYTES),
            Way::Large => (LARGE, None, LARGE_BYTES),
        }
    }

    /// Time between two reloads, or crashes.
    fn interval(self) -> Option<Duration> {
        match self {
            Way::Reload => Some(RELOAD_EVERY),
            Way::Crash => Some(CRASH_EVERY),
            Way::Full | Way::Trickle | Way::Large => None,
        }
    }
}

/// What came of it.
struct Outcome {
    report: SourceReport,
    /// Reloads, or crashes.
    ends: u64,
    lost: u64,
    duplicates: u64,
    cpu: Option<Duration>,
}

/// All records through one server; the books of both ends agree.
#[track_caller]
fn through(kind: Kind, wire: Wire, way: Way) -> Outcome {
    let case = Case { kind, wire, way };
    let server = Server::start(kind, wire);
    let mut settings = settings(&server, wire);
    if way == Way::Large {
        // They take their time in Python.
        settings = settings.set("call-timeout: 6000");
    }
    let mut connector = settings.start();
    let outcome = run(&case, server, &connector);
    report_line(&case, &outcome);
    let codes = oracle::codes(&outcome.report);
    assert_eq!(outcome.lost, 0, "{case:?}: acked 0, and not in the server's books; acks {codes:?}");
    assert_eq!(outcome.report.acked, outcome.report.sent, "{case:?}: {codes:?}");
    assert!(codes.iter().all(|(code, _)| [0, 11].contains(code)), "{case:?}: {codes:?}");
    connector.stop();
    outcome
}

fn settings(server: &Server, wire: Wire) -> Settings {
    let mut settings = Settings::to(wire.protocol(), &[server.address]);
    if wire.tls {
        settings.destinations[0].urls = vec![format!("https://{}/records", server.address)];
        settings = settings.set(&format!("tls: {{ ca-file: {} }}", servers::made().join("ca.pem").display()));
    }
    settings
}

#[track_caller]
fn run(case: &Case, mut server: Server, connector: &Process) -> Outcome {
    let (count, rate, body_bytes) = case.way.load();
    let config = SourceConfig {
        connections: CONNECTIONS,
        window: if case.way == Way::Large { 4 } else { WINDOW },
        records_spec: RecordSpec { body_bytes, ..RecordSpec::default() },
        records: Some(count),
        rate,
        drain: LIMIT,
        watch: server.watch(),
        ..SourceConfig::to(connector.addr())
    };
    let before = report::process_cpu(connector.pid());
    let source = Source::spawn(config).expect("the source starts");
    let (started, mut ends) = (Instant::now(), 0);
    while !source.is_finished() {
        assert!(started.elapsed() < LIMIT, "{case:?}: not within {LIMIT:?}: {:?}\n{}", source.stats(), server.errors());
        if case.way.interval().is_some_and(|interval| started.elapsed() >= interval * (ends as u32 + 1)) {
            if case.way == Way::Crash {
                server.crash()
            } else {
                server.reload()
            }
            ends += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let report = source.join().expect("the source ends");
    let cpu = report::process_cpu(connector.pid()).zip(before).map(|(after, before)| after - before);
    report::check_fates(&report).unwrap_or_else(|broken| panic!("{case:?}: {broken}"));
    report::check_ack_order(&report).unwrap_or_else(|broken| panic!("{case:?}: {broken}"));
    let counts = server.finish(&report.ledger);
    assert_eq!(counts.wrong, [""; 0], "{case:?}: the server got something else than was sent");
    let delivered = |identity| counts.of(identity);
    let all = || report.ledger.iter();
    let lost = all().filter(|(id, entry)| entry.code == Some(ack::OK) && delivered(*id) == 0).count() as u64;
    let duplicates = all().map(|(id, _)| delivered(id).saturating_sub(1)).sum();
    Outcome { report, ends, lost, duplicates, cpu }
}

/// One line for the table, on standard error and in the folder that the script made.
fn report_line(case: &Case, outcome: &Outcome) {
    let report = &outcome.report;
    let per_record = outcome.cpu.map_or(0.0, |cpu| cpu.as_micros() as f64 / report.acked.max(1) as f64);
    let rate = report.acked as f64 / report.elapsed.as_secs_f64();
    let more = match case.way {
        Way::Full | Way::Trickle => String::new(),
        Way::Large => format!(", bodies of {} KB", LARGE_BYTES / 1_000),
        Way::Reload => format!(", {} reloads", outcome.ends),
        Way::Crash => format!(", killed {} times", outcome.ends),
    };
    let name = case.kind.name() + &more;
    let line = format!(
        "| {name} | {} | {} | {} | {} | {} | {rate:.0} | {per_record:.1} |\n",
        case.wire.name(),
        report.acked,
        outcome.lost,
        outcome.duplicates,
        report.acks_by_code[TEMPORARY],
    );
    eprint!("{line}");
    let file = std::fs::File::options().append(true).create(true).open(servers::made().join("table.md"));
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the table is written");
}

/// Nothing goes wrong, so that every record is delivered once and acked at once.
#[track_caller]
fn undisturbed(kind: Kind, wire: Wire) {
    undisturbed_in(Way::Full, kind, wire);
}

#[track_caller]
fn undisturbed_in(way: Way, kind: Kind, wire: Wire) {
    let outcome = through(kind, wire, way);
    assert_eq!(outcome.duplicates, 0);
    assert_eq!(oracle::codes(&outcome.report), [(0, outcome.report.sent)]);
}

/// nginx ends connections after some requests, and says so: nothing arrives twice. Over HTTP/2 it leaves what was sent
/// beyond them untouched; a record that meets two such ends in a row is answered 11, until the connector knows the limit.
#[track_caller]
fn short_lived(kind: Kind, wire: Wire) {
    let outcome = through(kind, wire, Way::Full);
    assert_eq!(outcome.duplicates, 0);
    let allowed = if wire.http2 { 2 * CONNECTIONS * WINDOW } else { 0 };
    let codes = oracle::codes(&outcome.report);
    assert!(outcome.report.acks_by_code[TEMPORARY] <= allowed as u64, "{codes:?}");
}

/// Idle connections are closed just when the next record is sent: it is sent again, once, and arrives once.
#[track_caller]
fn idle(wire: Wire) {
    undisturbed_in(Way::Trickle, Kind::NginxIdle, wire);
}

/// hypercorn ends an HTTP/2 connection after 1,000 requests (`keep_alive_max_requests`) and answers none of the up to 100
/// (`h2_max_concurrent_streams`) that it has in hand: those are sent again.
#[track_caller]
fn cut(kind: Kind, wire: Wire) {
    let outcome = through(kind, wire, Way::Full);
    let ends = (outcome.report.sent + outcome.report.resent) / 1_000;
    assert!(outcome.duplicates <= ends * 100, "{} duplicates, {ends} connections", outcome.duplicates);
}

/// Workers come and go: at most what was in flight at a reload may arrive twice.
#[track_caller]
fn reloaded(kind: Kind, wire: Wire) {
    ended(kind, wire, Way::Reload);
}

/// The server dies and comes back: what it had in hand may arrive twice.
#[track_caller]
fn killed(kind: Kind, wire: Wire) {
    ended(kind, wire, Way::Crash);
}

#[track_caller]
fn ended(kind: Kind, wire: Wire, way: Way) {
    let outcome = through(kind, wire, way);
    assert!(outcome.ends > 1, "{}", outcome.ends);
    let in_flight = (CONNECTIONS * WINDOW) as u64;
    assert!(outcome.duplicates <= outcome.ends * in_flight, "{}", outcome.duplicates);
}

/// Bodies above any window of flow control and most buffers.
#[track_caller]
fn large(kind: Kind, wire: Wire) {
    undisturbed_in(Way::Large, kind, wire);
}

/// Names a test for each line.
macro_rules! tests {
    ($($name:ident: $how:ident($($argument:expr),*);)*) => {$(
        #[test]
        #[ignore = "needs real servers: scripts/test-peers"]
        fn $name() {
            $how($($argument),*);
        }
    )*};
}

const ONE: Kind = Kind::Nginx { keepalive_requests: 1 };
const TEN: Kind = Kind::Nginx { keepalive_requests: 10 };
const THOUSAND: Kind = Kind::Nginx { keepalive_requests: 1_000 };

tests! {
    nginx_closes_after_1_request_over_http1: short_lived(ONE, HTTP1);
    nginx_closes_after_10_requests_over_http1: short_lived(TEN, HTTP1);
    nginx_closes_after_1000_requests_over_http1: short_lived(THOUSAND, HTTP1);
    nginx_closes_after_1_request_over_http2: short_lived(ONE, HTTP2);
    nginx_closes_after_10_requests_over_http2: short_lived(TEN, HTTP2);
    nginx_closes_after_1000_requests_over_http2: short_lived(THOUSAND, HTTP2);
    nginx_answers_by_itself_over_http1: undisturbed(Kind::NginxAlone, HTTP1);
    nginx_answers_by_itself_over_http2: short_lived(Kind::NginxAlone, HTTP2);
    nginx_is_reloaded_over_http1: reloaded(THOUSAND, HTTP1);
    nginx_is_reloaded_over_http2: reloaded(THOUSAND, HTTP2);
    nginx_closes_idle_connections_over_http1: idle(HTTP1);
    nginx_closes_idle_connections_over_http2: idle(HTTP2);
    haproxy_over_http1: undisturbed(Kind::Haproxy, HTTP1);
    haproxy_over_http2: undisturbed(Kind::Haproxy, HTTP2);
    haproxy_is_reloaded_over_http1: reloaded(Kind::Haproxy, HTTP1);
    haproxy_is_reloaded_over_http2: reloaded(Kind::Haproxy, HTTP2);
    nghttpd_over_http2: undisturbed(Kind::Nghttpd, HTTP2);
    node_over_http1: undisturbed(Kind::Node, HTTP1);
    node_over_http2: undisturbed(Kind::Node, HTTP2);
    go_over_http1: undisturbed(Kind::Go, HTTP1);
    hypercorn_over_http1: undisturbed(Kind::Hypercorn, HTTP1);
    hypercorn_over_http2: cut(Kind::Hypercorn, HTTP2);
    nginx_takes_large_bodies_over_http1: large(THOUSAND, HTTP1);
    nginx_takes_large_bodies_over_http2: large(THOUSAND, HTTP2);
    haproxy_takes_large_bodies_over_http2: large(Kind::Haproxy, HTTP2);
    nghttpd_takes_large_bodies_over_http2: large(Kind::Nghttpd, HTTP2);
    node_takes_large_bodies_over_http2: large(Kind::Node, HTTP2);
    go_takes_large_bodies_over_http1: large(Kind::Go, HTTP1);
    hypercorn_takes_large_bodies_over_http2: large(Kind::Hypercorn, HTTP2);
    node_is_killed_over_http2: killed(Kind::Node, HTTP2);
    go_is_killed_over_http1: killed(Kind::Go, HTTP1);
    nginx_closes_after_1_request_over_http1_and_tls: short_lived(ONE, HTTP1_TLS);
    nginx_closes_after_10_requests_over_http1_and_tls: short_lived(TEN, HTTP1_TLS);
    nginx_closes_after_1000_requests_over_http1_and_tls: short_lived(THOUSAND, HTTP1_TLS);
    nginx_closes_after_1_request_over_http2_and_tls: short_lived(ONE, HTTP2_TLS);
    nginx_closes_after_10_requests_over_http2_and_tls: short_lived(TEN, HTTP2_TLS);
    nginx_closes_after_1000_requests_over_http2_and_tls: short_lived(THOUSAND, HTTP2_TLS);
    nginx_answers_by_itself_over_http2_and_tls: short_lived(Kind::NginxAlone, HTTP2_TLS);
    nginx_closes_idle_connections_over_http1_and_tls: idle(HTTP1_TLS);
    nginx_closes_idle_connections_over_http2_and_tls: idle(HTTP2_TLS);
    nginx_is_reloaded_over_http1_and_tls: reloaded(THOUSAND, HTTP1_TLS);
    nginx_is_reloaded_over_http2_and_tls: reloaded(THOUSAND, HTTP2_TLS);
    nginx_takes_large_bodies_over_http2_and_tls: large(THOUSAND, HTTP2_TLS);
    haproxy_over_http1_and_tls: undisturbed(Kind::Haproxy, HTTP1_TLS);
    haproxy_over_http2_and_tls: undisturbed(Kind::Haproxy, HTTP2_TLS);
    haproxy_is_reloaded_over_http2_and_tls: reloaded(Kind::Haproxy, HTTP2_TLS);
    nghttpd_over_http2_and_tls: undisturbed(Kind::Nghttpd, HTTP2_TLS);
    node_over_http1_and_tls: undisturbed(Kind::Node, HTTP1_TLS);
    node_over_http2_and_tls: undisturbed(Kind::Node, HTTP2_TLS);
    go_over_http1_and_tls: undisturbed(Kind::Go, HTTP1_TLS);
    go_over_http2_and_tls: undisturbed(Kind::Go, HTTP2_TLS);
    go_takes_large_bodies_over_http2_and_tls: large(Kind::Go, HTTP2_TLS);
    hypercorn_over_http1_and_tls: undisturbed(Kind::Hypercorn, HTTP1_TLS);
    hypercorn_over_http2_and_tls: cut(Kind::Hypercorn, HTTP2_TLS);
}
