//! Log lines of a running connector: ticker lines, levels that change, a disk that is full.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::time::Instant;

use ringpost_load::sink::Behaviour;
use support::manage::{BASE, ask, ask_raw, series, with_manage};
use support::*;

/// PUT of levels.
fn put(manage: std::net::SocketAddr, content_type: &str, more: &str, body: &str) -> support::manage::Answer {
    let length = body.len();
    ask_raw(
        manage,
        &format!(
            "PUT {BASE}/logging HTTP/1.1\r\nHost: {manage}\r\n{more}Content-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
    )
}

#[test]
fn levels_change_while_it_runs_for_who_may() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    let keys = |log: &str| log.lines().filter(|line| line.contains(" DEBUG record-parser - ")).count();
    assert_eq!(one_record(connector.addr(), 1), 0);
    assert_eq!(keys(&connector.log()), 0);
    let levels: serde_json::Value = serde_json::from_str(&ask(manage, &format!("{BASE}/logging"), "").body).unwrap();
    assert_eq!(levels, serde_json::json!({ "root": "info" }));

    let body = r#"{"record-parser": "debug"}"#;
    assert_eq!(put(manage, "text/plain", "", body).status, 415, "what a form of another site can send");
    assert_eq!(put(manage, "application/json", "Origin: http://evil.example\r\n", body).status, 403);
    let refused = put(manage, "application/json", "", r#"{"record-parser": "loud"}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("write one of error, warn, info, debug, trace, or null"), "{}", refused.body);
    assert_eq!(put(manage, "application/json", "", &" ".repeat(70_000)).status, 413);
    assert_eq!(one_record(connector.addr(), 2), 0);
    assert_eq!(keys(&connector.log()), 0, "nothing has changed");

    assert_eq!(put(manage, "application/json; charset=utf-8", "", body).status, 200);
    // The digest and its Base64 of the official connector's documentation.
    let mut frame = wire::Frame::new(3).key(wire::particle::STRING, b"a\nb");
    frame.digest = *b"\xd8\x4a\x51\x8b\x23\x0c\x56\x13\x9f\xea\x75\x78\x5c\x1a\xff\x3c\x5a\x1f\x64\x16";
    let mut client = client(connector.addr());
    client.send_frame(&frame.bytes()).unwrap();
    assert_eq!(client.read_ack().unwrap(), 0);
    wait_until("the key of the record is logged", LONG, || keys(&connector.log()) == 1);
    let line = "record-parser - Write of test/demo/d84a518b230c56139fea75785c1aff3c5a1f6416, userKey=\"a\\nb\", \
                digest=2EpRiyMMVhOf6nV4XBr/PFofZBY=, generation=1, lastUpdateTimeMs=1733842166171\n";
    assert!(connector.log().contains(line), "{}", connector.log());
    assert_eq!(put(manage, "application/json", "", r#"{"record-parser": null}"#).status, 200);
    assert_eq!(one_record(connector.addr(), 4), 0);
    connector.stop();
    assert_eq!(keys(&connector.log()), 1);
    assert!(connector.log().contains("changed log levels on the manage port"), "{}", connector.log());
}

#[test]
fn ticker_lines_say_what_happened() {
    let sink = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).start();
    let report = oracle::watched(source(connector.addr(), 2, 300), &[&sink]).finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, 300)]);
    connector.stop();
    // The last round comes with the end, whatever the interval.
    let log = connector.log();
    for line in [
        "GMT INFO  metrics-ticker - type=COUNTER, name=requests-success, count=300",
        "type=COUNTER, name=requests-error, count=0",
        "type=COUNTER, name=connections-closed, count=2",
        "type=TIMER, name=requests-total, count=300, min=",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_no_record() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]).level("debug"), "");
    let folder = folder();
    let text = settings.yaml(std::path::Path::new("/dev/full"));
    std::fs::write(folder.join("ringpost.yml"), text).unwrap();
    let mut connector = spawn_in(folder, settings.port, |_| {});
    wait_until("it listens", LONG, || std::net::TcpStream::connect(connector.addr()).is_ok());
    let started = Instant::now();
    let report = oracle::watched(source(connector.addr(), 2, 2_000), &[&sink]).finish(&[&sink]);
    eprintln!("2,000 records with a line each that cannot be written: {:?}", started.elapsed());
    assert_eq!(oracle::codes(&report), [(0, 2_000)]);
    wait_until("lost lines are counted", LONG, || {
        series(manage)["ringpost_log_lines_lost_total{where=\"file\"}"] > 100.0
    });
    let errors = || connector.errors().contains("the log file: No space left on device");
    wait_until("standard error says why", LONG, errors);
    connector.signal(libc::SIGTERM);
    assert_eq!(connector.wait_end(LONG).0, Some(0));
}

#[test]
fn a_console_that_nobody_reads_costs_lines_that_are_counted_and_no_record() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]).level("debug"), "");
    let folder = folder();
    let text = settings.yaml(std::path::Path::new("unused"));
    let text: String =
        text.lines().filter(|line| !line.starts_with("  file:")).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("ringpost.yml"), text).unwrap();
    let (console, writer) = std::io::pipe().unwrap();
    let mut connector = spawn_in(folder, settings.port, |command| _ = command.stderr(writer));
    wait_until("it listens", LONG, || std::net::TcpStream::connect(connector.addr()).is_ok());
    // A pipe holds 64 KiB, the queue 8,192 lines.
    let report = oracle::watched(source(connector.addr(), 2, 20_000), &[&sink]).finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, 20_000)]);
    wait_until("lost lines are counted", LONG, || {
        series(manage)["ringpost_log_lines_lost_total{where=\"queue\"}"] > 5_000.0
    });
    drop(console);
    connector.signal(libc::SIGTERM);
    assert_eq!(connector.wait_end(LONG).0, Some(0));
}
