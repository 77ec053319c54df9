//! The manage port: what it counts is what happened, it answers whoever may ask, and nobody who asks costs a record anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, Fault};
use ringpost_load::source::SourceConfig;
use support::manage::{BASE, ask, ask_raw, series, settled, with_manage};
use support::*;

const PREFIX: &str = "aerospike_esp_outbound_";

/// Those of which a test can say no number.
fn series_without_a_count(all: &BTreeMap<String, f64>, cluster: &str, endpoint: &str) {
    // Those by which the official dashboards find it.
    assert_eq!(all[&format!("{PREFIX}jvm_gc_count{{{cluster}}}")], 0.0);
    let failed_at = all[&format!("ringpost_url_last_error_timestamp_seconds{{{cluster}{endpoint}}}")];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 2.0 * LONG.as_secs_f64()..=now).contains(&failed_at), "{failed_at} is not a while ago: {now}");
    let stalls = all.keys().filter(|name| name.starts_with("ringpost_executor_stalls_total{")).count();
    assert_eq!(stalls, 2, "one for each executor");
}

#[test]
fn every_figure_is_what_happened() {
    let behaviour = Behaviour { error_probability: 0.2, error_status: 503, ..Behaviour::default() };
    let sink = sink(behaviour);
    let settings = Settings::to("HTTP_1_1", &[sink.addr()])
        .executors(2)
        .top("namespaces:\n  nowhere:\n    routing: { mode: skip }");
    let (mut settings, manage) = with_manage(settings, "");
    settings.service.push("cluster-name: 'c \"1\"'".to_owned());
    let mut connector = settings.start();
    let report = oracle::watched(source(connector.addr(), 4, 2_000), &[&sink]).finish(&[&sink]);
    // Frames whose content is bad, and records that nobody wants.
    let mut client = client(connector.addr());
    let (bad, skipped) = (7, 11);
    for number in 0..bad {
        client.send_frame(&wire::Frame::new(50_000 + number).namespace("").bytes()).unwrap();
        assert_eq!(client.read_ack().unwrap(), 10);
    }
    for number in 0..skipped {
        client.send_frame(&wire::Frame::new(60_000 + number).namespace("nowhere").bytes()).unwrap();
        assert_eq!(client.read_ack().unwrap(), 0);
    }
    let cluster = "cluster_name=\"c \\\"1\\\"\"";
    let name = |family: &str, labels: &str| format!("{PREFIX}{family}{{{cluster}{labels}}}");
    let failed = report.acks_by_code[11];
    assert!(failed > 100, "{:?}", oracle::codes(&report));
    let endpoint = format!(",destination=\"d0\",destination_endpoint=\"{}\"", sink.addr());
    let stats = sink.ledger().stats();
    let expected = [
        (name("requests", ",status=\"success\""), 2_000),
        (name("requests", ",status=\"error\""), failed),
        (name("requests_total_count", ""), 2_000 + failed + bad + skipped),
        (name("connections", ",status=\"active\""), 1),
        (name("connections", ",status=\"closed\""), 4),
        (name("destination_requests", &format!(",status=\"success\"{endpoint}")), stats.succeeded),
        (name("destination_requests", &format!(",status=\"error\"{endpoint}")), stats.requests - stats.succeeded),
        (name("destination_requests", &format!(",status=\"queued\"{endpoint}")), 0),
        (name("health_check", ",status=\"error\",destination=\"d0\""), 0),
        (format!("ringpost_acks_total{{{cluster},code=\"0\"}}"), 2_000 + skipped),
        (format!("ringpost_acks_total{{{cluster},code=\"10\"}}"), bad),
        (format!("ringpost_acks_total{{{cluster},code=\"11\"}}"), failed),
        (format!("ringpost_acks_total{{{cluster},code=\"18\"}}"), 0),
        (format!("ringpost_records_total{{{cluster}}}"), report.sent + report.resent + bad + skipped),
        (format!("ringpost_records_skipped_total{{{cluster}}}"), skipped),
        (format!("ringpost_content_errors_total{{{cluster}}}"), bad),
        (format!("ringpost_requests_total{{{cluster}}}"), stats.requests),
        (format!("ringpost_responses_other_total{{{cluster}}}"), stats.by_status[&503]),
        (format!("ringpost_xdr_connections_opened_total{{{cluster}}}"), 5),
        (format!("ringpost_url_connections_max{{{cluster}{endpoint}}}"), 32 + 1),
    ];
    let all = settled(manage, &expected);
    assert!(all.keys().all(|name| name.contains(cluster)), "every series has the cluster's name");
    series_without_a_count(&all, cluster, &endpoint);
    let json: serde_json::Value = serde_json::from_str(&ask(manage, &format!("{BASE}/metrics"), "").body).unwrap();
    for (name, value) in [
        ("requests-success", 2_000),
        ("requests-skipped", skipped),
        ("requests-parse-error", bad),
        ("requests-errors", failed + bad),
        ("connections-active", 1),
        ("connections-closed", 4),
        ("records-inprocess", 0),
    ] {
        assert_eq!(json["counters"][name]["count"], value, "{name}: {json}");
    }
    assert_eq!(json["timers"]["requests-total"]["count"], 2_000 + failed + bad + skipped);
    drop(client);
    connector.stop();
}

#[test]
fn the_page_for_prometheus_costs_records_nothing() {
    let sink = sink(Behaviour::latency(Duration::from_millis(1), Duration::from_millis(3)));
    let (settings, manage) = with_manage(Settings::to("HTTP_2", &[sink.addr()]).executors(2), "");
    let mut connector = settings.start();
    let stream = |run| {
        let spec = RecordSpec { run, ..RecordSpec::default() };
        SourceConfig { rate: Some(2_000.0), records_spec: spec, ..source(connector.addr(), 4, 6_000) }
    };
    let calm = oracle::watched(stream(1), &[&sink]).finish(&[&sink]);
    let noise = oracle::Noise::start();
    let (over, scrapes) = (AtomicBool::new(false), AtomicU64::new(0));
    let with = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let started = Instant::now();
                assert_eq!(ask(manage, &format!("{BASE}/prometheus"), "").status, 200);
                scrapes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10).saturating_sub(started.elapsed()));
            }
        });
        let report = oracle::watched(stream(2), &[&sink]).finish(&[&sink]);
        over.store(true, Ordering::Relaxed);
        report
    });
    let (before, scraped) = (oracle::latency(&calm, 0.99), oracle::latency(&with, 0.99));
    eprintln!("{} scrapes in {:?}", scrapes.load(Ordering::Relaxed), with.elapsed);
    let noise = noise.finish(Duration::from_millis(60));
    oracle::compare_latency("p99 while it is scraped 100 times a second", before, scraped, noise);
    connector.stop();
}

#[test]
fn health_and_readiness_tell_a_dead_destination_and_a_stop_from_a_dead_process() {
    let hanging = sink(Behaviour::fault(Fault::Hang));
    let settings = Settings::to("HTTP_1_1", &[hanging.addr()]).set("call-timeout: 300").limit("drain: 3s");
    let (settings, manage) = with_manage(settings, "");
    let mut connector = settings.start();
    let status = |path: &str| ask(manage, path, "").status;
    wait_until("it is ready", LONG, || status("/ready") == 200);
    let flags = || ["ringpost_healthy", "ringpost_ready"].map(|name| series(manage)[name]);
    assert_eq!(flags(), [1.0, 1.0]);
    assert_eq!(status("/health"), 200);
    assert_eq!(status(&format!("{BASE}/ready?destinations=1")), 200, "URLs begin healthy");
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 3)).unwrap();
    assert_eq!(acks(&mut client, 3), [11, 11, 11]);
    wait_until("its URL is unhealthy", LONG, || status("/ready?destinations=1") == 503);
    let answer = ask(manage, "/ready?destinations=1", "");
    assert!(answer.body.contains("no healthy URL: d0"), "{}", answer.body);
    assert_eq!((status("/ready"), status("/health")), (200, 200), "the connector is well");
    // A request that hangs holds the drain.
    wait_until("a record tests it", LONG, || {
        client.send_frame(&frames(10, 1)).unwrap();
        let sent = hanging.ledger().stats().requests;
        client.read_ack().unwrap();
        sent > 3
    });
    client.send_frame(&frames(11, 1)).unwrap();
    connector.signal(libc::SIGTERM);
    wait_until("it says that it stops", LONG, || connector.has_ended() || status("/ready") == 503);
    let (code, _) = connector.wait_end(LONG);
    assert_eq!(code, Some(0));
}

#[test]
fn pages_with_settings_answer_this_machine_and_who_has_the_token() {
    let sink = sink(Behaviour::default());
    let token = "0123456789abcdef-of-a-test";
    let basic = |pair: &str| base64_simd::STANDARD.encode_to_string(pair);
    let file = folder().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]).set("headers: { x-key: planted-secret-header }");
    let (settings, open) = with_manage(settings, "");
    let mut connector = settings.start();
    let config = format!("{BASE}/config");
    let shown = ask(open, &config, "");
    assert_eq!(shown.status, 200);
    assert!(shown.body.contains("destinations:") && shown.body.contains("max-concurrent-records"), "{}", shown.body);
    let page = ask(open, "/", "");
    assert!(page.head.contains("content-type: text/html") && page.body.contains("<title>Ringpost"), "{}", page.head);
    assert!(page.head.contains("content-security-policy: default-src 'none'; "), "{}", page.head);
    let status = ask(open, &format!("{BASE}/status?history=0"), "").body;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["destinations"][0]["name"], status.get("history")), (&"d0".into(), None));
    for (headers, status) in [
        ("Host: localhost\r\n", 200),
        ("Host: evil.example\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        ("Host: evil.example\r\nOrigin: http://evil.example\r\n", 403),
        ("Sec-Fetch-Site: none\r\nSec-Fetch-Dest: document\r\n", 200),
        ("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: empty\r\n", 200),
        ("Sec-Fetch-Site: same-site\r\nSec-Fetch-Dest: image\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: iframe\r\n", 403),
    ] {
        let tap = format!("{BASE}/tap?seconds=1");
        for path in [&config, "/", "/status", &format!("{BASE}/status"), &format!("{BASE}/logging"), &tap] {
            assert_eq!(ask(open, path, headers).status, status, "{path} {headers:?}");
        }
        assert_eq!(ask(open, &format!("{BASE}/version"), headers).status, 200, "open to all");
    }
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(ask(open, "/", link).status, 200, "a link leads to the page");
    for path in ["/status", "/config", "/logging", "/tap"] {
        assert_eq!(ask(open, &format!("{BASE}{path}"), link).status, 403, "{path}");
    }
    connector.stop();

    let settings = Settings::to("HTTP_1_1", &[sink.addr()]);
    let (settings, closed) = with_manage(settings, &format!(", token-file: {}", file.display()));
    let mut connector = settings.start();
    for (headers, status) in [
        (format!("Host: evil.example\r\nAuthorization: Bearer {token}\r\n"), 200),
        (format!("Host: evil.example\r\nAuthorization: Basic {}\r\n", basic(&format!("me:{token}"))), 200),
        (format!("Sec-Fetch-Site: cross-site\r\nAuthorization: Basic {}\r\n", basic(&format!("me:{token}"))), 403),
        ("Authorization: Bearer wrong-token-of-a-test\r\n".to_owned(), 401),
        (format!("Authorization: Basic {}\r\n", basic("me:wrong-token-of-a-test")), 401),
        (String::new(), 200),
    ] {
        let answer = ask(closed, &config, &headers);
        assert_eq!(answer.status, status, "{headers:?}");
        assert!(!answer.body.contains(token), "the token is not shown");
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401);
        assert_eq!(answer.head.contains("www-authenticate: basic realm=\"ringpost\""), status == 401, "browsers ask");
    }
    connector.stop();
    assert!(!connector.log().contains(token));
}

#[test]
fn odd_requests_and_slow_peers_cost_themselves() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    let version = format!("{BASE}/version");
    assert_eq!(ask(manage, "/nothing", "").status, 404);
    assert!(ask(manage, "/nothing", "").body.contains("/manage/rest/v1/prometheus"), "it says what there is");
    let post = format!("POST {version} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    let refused = ask_raw(manage, &post);
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: get, head"), "{}", refused.head);
    let head = ask_raw(manage, &format!("HEAD {version} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for odd in ["\r\n\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1}\u{0}", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(manage).unwrap();
        stream.write_all(odd.as_bytes()).unwrap();
    }
    let mut large = TcpStream::connect(manage).unwrap();
    let _ = large.write_all(format!("GET {version} HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes());
    let mut answer = Vec::new();
    let _ = large.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    // More than there are places: they are closed one after another, and records flow meanwhile.
    let slow: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(manage).unwrap()).collect();
    assert_eq!(one_record(connector.addr(), 1), 0);
    wait_until("it answers again", LONG, || ask(manage, &version, "").status == 200);
    drop(slow);
    assert!(connector.memory_kib("VmHWM") < 128 << 10, "{} KiB", connector.memory_kib("VmHWM"));
    connector.stop();
}

/// A connection from another address of this machine.
fn connect_from(last: usize, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from = SocketAddr::from(([127, 1, 0, u8::try_from(last).unwrap()], 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn sockets_that_say_nothing_or_read_nothing_do_not_keep_probes_out() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    let health = || ask(manage, "/health", "").status;
    // If each batch of them held all places for its ten seconds, no answer would come in time.
    let mut silent: Vec<TcpStream> = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(manage).unwrap());
    }
    assert_eq!(health(), 200, "silent sockets of one address");
    for number in 0..300 {
        silent.push(connect_from(1 + number / 2, manage));
    }
    assert_eq!(health(), 200, "silent sockets of many addresses");
    for number in 0..200 {
        let mut greedy = connect_from(1 + number, manage);
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {manage}\r\n\r\n");
        greedy.set_nonblocking(true).unwrap();
        let _ = greedy.write(request.repeat(400).as_bytes());
        silent.push(greedy);
    }
    assert_eq!(health(), 200, "sockets that ask and do not read");
    assert_eq!(one_record(connector.addr(), 1), 0);
    // One address that has many costs another one nothing: it goes on after a request.
    let mut other = connect_from(250, manage);
    let mut ask_on = || {
        write!(other, "GET /version HTTP/1.1\r\nHost: {manage}\r\n\r\n").unwrap();
        let mut start = [0; 12];
        other.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}\n") {
            let mut byte = [0];
            other.read_exact(&mut byte).unwrap();
            rest.extend_from_slice(&byte);
        }
    };
    drop(silent);
    ask_on();
    let many: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(manage).unwrap()).collect();
    assert_eq!(health(), 200);
    ask_on();
    drop(many);
    connector.stop();
    assert!(connector.log().contains("has been idle longest is closed for a new one"), "{}", connector.log());
}

#[test]
fn a_silent_connection_is_probed_by_the_kernel() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    let tap = TcpStream::connect(manage).unwrap();
    write!(&tap, "GET {BASE}/tap HTTP/1.1\r\nHost: {manage}\r\n\r\n").unwrap();
    (&tap).read_exact(&mut [0; 12]).unwrap();
    // The server's end, as the kernel lists it: addresses, state, queues, kind of timer.
    let ends = [manage.port(), tap.local_addr().unwrap().port()].map(|port| format!("0100007F:{port:04X}"));
    wait_until("its timer is that of keep-alive", LONG, || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let end = lines.find(|line| line[1] == ends[0] && line[2] == ends[1]).unwrap();
        end[5].starts_with("02:")
    });
    connector.stop();
}

#[test]
fn docs_metrics_has_every_series_and_no_other() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    // Loads are there after 5 s.
    let page = || ask(manage, "/metrics", "").body;
    wait_until("loads are known", LONG, || page().contains("os_systemCpuLoad"));
    let types = page();
    let shown: std::collections::BTreeSet<&str> =
        types.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let docs = include_str!("../docs/metrics.md");
    let (there, _) = docs.split_once("## Gone").unwrap();
    let named: std::collections::BTreeSet<&str> = there
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .filter(|name| ["aerospike_", "ringpost_", "process_"].iter().any(|start| name.starts_with(start)))
        .collect();
    assert_eq!(shown.difference(&named).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in docs/metrics.md");
    assert_eq!(named.difference(&shown).collect::<Vec<_>>(), Vec::<&&str>::new(), "only in docs/metrics.md");
    connector.stop();
}

#[test]
fn a_manage_port_in_use_is_a_refused_start() {
    let (taken, address) = silent_listener();
    let sink = sink(Behaviour::default());
    let mut settings = Settings::to("HTTP_1_1", &[sink.addr()]);
    settings.service.push(format!("manage: {{ port: {}, address: 127.0.0.1 }}", address.port()));
    let mut connector = settings.spawn(|_| {});
    let (code, _) = connector.wait_end(LONG);
    assert_eq!(code, Some(1));
    let errors = connector.errors();
    assert!(
        errors.contains("service.manage: cannot listen on 127.0.0.1") && errors.contains("another process"),
        "{errors}"
    );
    drop(taken);
}
