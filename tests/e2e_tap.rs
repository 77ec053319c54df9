//! `ringpost tap`: what it shows is what the source sent and the sink got, and nobody who taps costs the connector an ack.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use ringpost_load::record::Identity;
use ringpost_load::sink::{Behaviour, SinkConfig, SinkHandle};
use serde_json::Value;
use support::manage::{BASE, ask, with_manage};
use support::*;

/// Executors look for new taps in their tick, which comes every 100 ms at the latest while nothing is in flight.
const BEGINS: Duration = Duration::from_secs(1);

fn logging_sink(behaviour: Behaviour) -> SinkHandle {
    sink_with(SinkConfig { behaviour, log_requests: 100, ..SinkConfig::default() })
}

fn command(manage: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
    command.args(["tap", "--url", &format!("http://{manage}")]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A tap that every executor knows of by now.
fn tap(manage: SocketAddr, arguments: &[&str]) -> Child {
    let child = command(manage, arguments).spawn().unwrap();
    std::thread::sleep(BEGINS);
    child
}

#[track_caller]
fn end(child: Child) -> (String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (out, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(0), "{errors}");
    (out, errors)
}

/// The records, and the last line.
fn lines(child: Child) -> (Vec<Value>, Value) {
    let (out, _) = end(child);
    let mut all: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = all.pop().unwrap();
    (all, last)
}

fn hex(digest: [u8; 20]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_shown_is_what_was_sent_and_what_both_sinks_got() {
    for protocol in PROTOCOLS {
        let sinks = [logging_sink(Behaviour::default()), logging_sink(Behaviour::default())];
        let settings = Settings::to(protocol, &[sinks[0].addr()]).and(protocol, &[sinks[1].addr()]);
        let (mut settings, manage) = with_manage(settings, "");
        settings.destinations[1].settings.push("headers: { Authorization: hunter2 }".to_owned());
        let mut connector = settings.start();
        let watching = tap(manage, &["--json", "--limit", "5"]);
        let mut client = client(connector.addr());
        client.send_frame(&frames(0, 5)).unwrap();
        assert_eq!(acks(&mut client, 5), [0; 5]);
        let (mut shown, last) = lines(watching);
        assert_eq!((&last["end"], &last["shown"], &last["missed"]), (&"limit".into(), &5.into(), &0.into()));
        shown.sort_by_key(|event| event["record"]["seq"].as_u64());
        for (sequence, event) in shown.iter().enumerate() {
            let identity = Identity { sequence: sequence as u64, run: 0 };
            assert_eq!(event["digest"], hex(Identity { run: event_run(event), ..identity }.digest()), "{event}");
            assert_eq!((&event["code"], &event["port"]), (&0.into(), &settings.port.into()));
            assert_eq!(event["peer"], client.stream().local_addr().unwrap().to_string());
            for (place, sink) in sinks.iter().enumerate() {
                let call = &event["destinations"][place];
                let digest = call["request_headers"]["aerospike-digest"].as_str().unwrap();
                let log = sink.ledger().requests(0);
                let got = log.iter().find(|request| request.header("aerospike-digest") == Some(digest)).unwrap();
                assert_eq!(call["body"].as_str().unwrap().as_bytes(), got.body);
                assert_eq!((&call["method"], &call["path"]), (&got.method[..].into(), &got.path[..].into()));
                assert_eq!((&call["status"], &call["outcome"]), (&200.into(), &"success".into()));
                let headers = call["request_headers"].as_object().unwrap();
                for (name, value) in
                    headers.iter().filter(|(name, _)| *name != "Authorization" && *name != "authorization")
                {
                    assert_eq!(Some(value.as_str().unwrap()), got.header(&name.to_ascii_lowercase()), "{name}");
                }
                let others = got.headers.iter().filter(|(name, _)| protocol == "HTTP_1_1" || name != "host");
                assert_eq!(headers.len(), others.count(), "{headers:?} {:?}", got.headers);
            }
            assert!(!event.to_string().contains("hunter2"));
            let times = &event["timings_us"];
            let parts = ["receive-wait", "decode", "encode", "queue-wait", "response", "ack-wait"];
            let parts: f64 = parts.iter().map(|name| times[name].as_f64().unwrap_or_else(|| panic!("{times}"))).sum();
            assert!(parts <= times["total"].as_f64().unwrap() * 1.001 + 1.0, "{times}");
        }
        connector.stop();
    }
}

/// The run that the generator's digests are of: it stands in bytes 8 to 12.
fn event_run(event: &Value) -> u32 {
    u32::from_str_radix(&event["digest"].as_str().unwrap()[16..24], 16).unwrap()
}

#[test]
fn failed_shows_failures_only_and_filters_are_filters() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]).executors(2), "");
    let mut connector = settings.start();
    let failed = tap(manage, &["--json", "--failed", "--limit", "3"]);
    let other = tap(manage, &["--json", "--namespace", "other", "--seconds", "4"]);
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 10)).unwrap();
    assert_eq!(acks(&mut client, 10), [0; 10]);
    sink.set_behaviour(Behaviour::status(503));
    client.send_frame(&frames(10, 2)).unwrap();
    assert_eq!(acks(&mut client, 2), [11; 2]);
    // Without a digest's namespace it is no record at all.
    client.send_frame(&wire::Frame::new(50_000).namespace("").bytes()).unwrap();
    assert_eq!(client.read_ack().unwrap(), 10);
    let (shown, last) = lines(failed);
    assert_eq!((&last["end"], &last["shown"]), (&"limit".into(), &3.into()));
    let codes: Vec<_> = shown.iter().map(|event| event["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [11, 11, 10]);
    for event in &shown[..2] {
        let call = &event["destinations"][0];
        assert_eq!((&call["status"], &call["outcome"]), (&503.into(), &"error".into()));
    }
    assert_eq!((&shown[2]["outcome"], &shown[2]["destinations"]), (&"parse-error".into(), &Value::Array(Vec::new())));
    assert!(shown[2]["fault"].as_str().unwrap().contains("namespace"), "{}", shown[2]);
    let (shown, last) = lines(other);
    assert_eq!((shown.len(), &last["end"], &last["missed"]), (0, &"seconds".into(), &0.into()));
    connector.stop();
}

#[test]
fn batches_are_shown_and_a_share_is_a_share() {
    let sink = logging_sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]).batching("max-records: 4, batch-interval: 1000");
    let (settings, manage) = with_manage(settings, "");
    let mut connector = settings.start();
    let all = tap(manage, &["--limit", "4", "--json"]);
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 4)).unwrap();
    assert_eq!(acks(&mut client, 4), [0; 4]);
    let (shown, _) = lines(all);
    let body: Vec<Value> = serde_json::from_slice(&sink.ledger().requests(0)[0].body).unwrap();
    for event in &shown {
        let call = &event["destinations"][0];
        let place = call["batch_place"].as_u64().unwrap() as usize;
        assert_eq!((&call["batch"], &body[place]["seq"]), (&4.into(), &event["record"]["seq"]));
    }
    let some = tap(manage, &["--sample", "0.1", "--seconds", "5", "--limit", "100000", "--json"]);
    for round in 0..20 {
        client.send_frame(&frames(100 + round * 100, 100)).unwrap();
        assert_eq!(acks(&mut client, 100), [0; 100]);
        std::thread::sleep(Duration::from_millis(20));
    }
    let (shown, last) = lines(some);
    let wanted = shown.len() as u64 + last["missed"].as_u64().unwrap();
    assert!((120..=280).contains(&wanted), "{wanted} of 2000");
    connector.stop();
}

#[test]
fn who_does_not_read_costs_no_ack_and_five_taps_are_too_many() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_2", &[sink.addr()]).executors(2), "");
    let mut connector = settings.start();
    let deaf: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(manage).unwrap();
            let head = format!("GET {BASE}/tap?limit=100000&seconds=15 HTTP/1.1\r\nHost: {manage}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(BEGINS);
    let refused = command(manage, &[]).output().unwrap();
    let why = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), why.contains("4 taps are open")), (Some(1), true), "{why}");
    let before = connector.memory_kib("VmRSS");
    let report = oracle::watched(source(connector.addr(), 4, by_length(20_000, 200_000)), &[&sink]).finish(&[&sink]);
    assert_eq!(report.acks_by_code[11], 0, "{:?}", oracle::codes(&report));
    let after = connector.memory_kib("VmRSS");
    assert!(after < before + (128 << 10), "{before} KiB, then {after} KiB");
    // One of them reads now, until its time is over.
    let mut last = deaf.into_iter().next().unwrap();
    wait_until("the other taps are over", LONG, || {
        let answer = ask(manage, &format!("{BASE}/tap?seconds=1"), "");
        answer.status == 200
    });
    let mut text = String::new();
    last.set_read_timeout(Some(LONG)).unwrap();
    let mut some = [0; 1 << 16];
    while !text.contains("\"end\":") {
        let count = last.read(&mut some).unwrap();
        assert!(count > 0, "it ends without a last line");
        text.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    let end =
        text.lines().find(|line| line.contains("\"end\"")).unwrap_or_else(|| panic!("no end: {} bytes", text.len()));
    let end: Value = serde_json::from_str(end).unwrap();
    let (shown, missed) = (end["shown"].as_u64().unwrap(), end["missed"].as_u64().unwrap());
    assert!(shown > 0 && missed > 0, "{end}");
    assert_eq!(shown + missed, report.sent + report.resent, "each is shown or counted: {end}");
    connector.stop();
}

/// A server of a few lines that answers one request with these bytes, for ever or once, and then waits for the client's end.
fn stub(write: impl FnOnce(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n").unwrap();
        write(&mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[test]
fn a_line_that_cannot_be_read_is_shown_as_it_came_and_others_follow() {
    let deep = format!("{{\"record\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let all = [
        "{\"namespace\":\"first\"}".to_owned(),
        deep.clone(),
        "{\"record\":{\"a\":1e999}}".to_owned(),
        "no JSON \u{1b}[2J\u{9b}\u{202e}".to_owned(),
        "{\"namespace\":\"\u{9b}2J\u{202e}last\"}".to_owned(),
        "{\"end\":\"limit\",\"shown\":5,\"missed\":0}".to_owned(),
    ];
    let ask = |arguments: &[&str]| {
        let text = all.join("\n") + "\n";
        let at = stub(move |stream| stream.write_all(text.as_bytes()).unwrap());
        let (out, errors) = end(command(at, arguments).spawn().unwrap());
        assert_eq!(errors, "");
        let is_clean = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
        assert!(out.chars().all(is_clean), "{out:?}");
        out
    };
    let blocks = ask(&[]);
    for part in [&deep[..], "999}", "no JSON \\u{1b}[2J", "\\u{9b}2J\\u{202e}last", "end: limit, 5 shown, 0 missed"] {
        assert!(blocks.contains(part), "{part}: {blocks}");
    }
    let json = ask(&["--json"]);
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(lines.len(), all.len());
    assert_eq!((lines[1], lines[2]), (&deep[..], &all[2][..]));
    assert_eq!(lines[4], "{\"namespace\":\"\\u009b2J\\u202elast\"}");
    let same = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(same(lines[4]), same(&all[4]), "it means the same");
}

/// Some 64 MiB of records.
fn many_records(stream: &mut TcpStream) -> std::io::Result<u64> {
    let line = format!("{{\"namespace\":\"{}\"}}\n", "n".repeat(16 << 10));
    for _ in 0..4_000 {
        stream.write_all(line.as_bytes())?;
    }
    Ok(4_000)
}

#[test]
fn one_who_reads_slowly_is_told_what_he_did_not_get() {
    let (send, all_is_sent) = std::sync::mpsc::channel();
    let at = stub(move |stream| {
        let count = many_records(stream).unwrap();
        writeln!(stream, "{{\"end\":\"limit\",\"shown\":{count},\"missed\":7}}").unwrap();
        send.send(()).unwrap();
    });
    let child = command(at, &["--json"]).spawn().unwrap();
    // Nobody reads before the other side is through.
    all_is_sent.recv_timeout(LONG).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (out, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(0), "{errors}");
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let shown = out.lines().count() as u64 - 1;
    assert!(shown > 100 && shown < 4_000, "{shown}");
    assert_eq!((&last["shown"], &last["missed"]), (&shown.into(), &(4_007 - shown).into()), "{last}");
    assert!(errors.contains(&format!("{} records were not printed", 4_000 - shown)), "{errors}");
}

#[test]
fn ctrl_c_ends_it_while_nobody_reads() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let (send, all_is_sent) = std::sync::mpsc::channel();
        let at = stub(move |stream| {
            many_records(stream).unwrap();
            send.send(()).unwrap();
            // No last line: it is open until the client goes.
            let _ = stream.read(&mut [0; 1]);
        });
        let mut child = command(at, &["--json"]).spawn().unwrap();
        all_is_sent.recv_timeout(LONG).unwrap();
        // SAFETY: the child has not been waited for, so that the number is its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        let mut code = None;
        wait_until("it ends", LONG, || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        assert_eq!(code.unwrap().code(), Some(0));
    }
}

#[test]
fn with_record_ordering_on_two_executors_each_record_is_shown_or_counted_once() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]).executors(2).top("record-ordering: { enable: true }");
    let (settings, manage) = with_manage(settings, "");
    let mut connector = settings.start();
    let watching = tap(manage, &["--json", "--limit", "100000", "--seconds", "8"]);
    let mut client = client(connector.addr());
    // One connection: half of its records are the other executor's.
    for round in 0..40 {
        client.send_frame(&frames(round * 100, 100)).unwrap();
        assert_eq!(acks(&mut client, 100), [0; 100]);
    }
    let (shown, last) = lines(watching);
    let digests: std::collections::HashSet<_> = shown.iter().map(|event| event["digest"].to_string()).collect();
    assert_eq!((digests.len(), &last["end"]), (shown.len(), &"seconds".into()), "none is shown twice");
    for executor in 0..2 {
        assert!(shown.iter().any(|event| event["executor"] == executor), "{executor}");
    }
    assert_eq!(shown.len() as u64 + last["missed"].as_u64().unwrap(), 4_000, "{last}");
    connector.stop();
}

#[test]
fn a_code_that_nobody_heard_is_not_shown_as_told() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    let watching = tap(manage, &["--limit", "2"]);
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 1)).unwrap();
    client.stream().peek(&mut [0]).unwrap();
    let late = Duration::from_millis(500);
    sink.set_behaviour(Behaviour { latency: (late, late), ..Behaviour::default() });
    client.send_frame(&frames(1, 1)).unwrap();
    wait_until("the second one is on its way", LONG, || sink.ledger().stats().requests == 2);
    // With an ack unread it ends with a reset.
    drop(client);
    let (out, _) = end(watching);
    let codes: Vec<_> = out.lines().filter_map(|line| line.split_once(" code ")).map(|(_, code)| code).collect();
    assert_eq!(codes, ["0 success", "0 unheard"], "{out}");
    assert_eq!(out.matches("success, status 200").count(), 2, "the destination has both: {out}");
    connector.stop();
}

#[test]
fn who_may_not_and_what_is_wrong_is_said() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink.addr()]), "");
    let mut connector = settings.start();
    for (arguments, code, words) in [
        (&["--destination", "nobody"][..], 2, "there are: d0"),
        (&["--sample", "7"], 2, "--sample: "),
        (&["--limit", "0"], 2, "--limit"),
        (&["--url", "http://127.0.0.1:1"], 1, "cannot be reached"),
    ] {
        let output = if arguments[0] == "--url" {
            Command::new(env!("CARGO_BIN_EXE_ringpost")).arg("tap").args(arguments).output().unwrap()
        } else {
            command(manage, arguments).output().unwrap()
        };
        let why = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), why.contains(words)), (Some(code), true), "{arguments:?}: {why}");
    }
    let path = format!("{BASE}/tap");
    assert_eq!(ask(manage, &path, "Host: evil.example\r\n").status, 403);
    assert_eq!(ask(manage, &format!("{path}?limit=x"), "").status, 400);
    let blocks = tap(manage, &["--limit", "1"]);
    assert_eq!(one_record(connector.addr(), 1), 0);
    let (out, _) = end(blocks);
    for part in
        ["code 0 success", "aerospike-digest: ", "answer    success, status 200", "end: limit, 1 shown, 0 missed"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    connector.stop();
}
