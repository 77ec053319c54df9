//! Pictures, with the expected text written by hand, and bounds that hold for every one.

use proptest::prelude::*;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::notices::{Kind, Notice};
use super::*;

const NOW: u64 = 1_790_000_400_000;

/// An answer as a connector with so many executors and destinations gives it.
fn answer(executors: u64, destinations: u64, connections: u64) -> Value {
    let stage = |name: &str, p50: f64| json!({ "name": name, "count": 9, "p50_us": p50, "p90_us": 0, "p99_us": p50 * 3.0, "p999_us": p50 * 7.0, "max_us": p50 * 19.0 });
    let executor = |index: u64| {
        json!({
            "index": index, "core": index * 2, "busy": 0.25, "records_per_s": 6_000.0, "records": 2_400_000, "in_flight": 365,
            "in_flight_bytes": 4 << 20, "sources": 3, "pauses": 0, "heartbeat_age_ms": 120, "stalls": 0,
            "rejecting": false, "draining": false,
        })
    };
    let url = |place: u64, number: u64| {
        json!({
            "url": format!("https://ingest-{number}.{place}.example.net:8443/v1/records"), "state": "healthy",
            "unhealthy_executors": 0, "connections": { "open": 4, "opening": 0, "draining": 0, "limit": 16 },
            "in_flight": 180, "queued": 0, "success": 2_328_000, "error": 0, "last_error": null,
        })
    };
    let destination = |place: u64| {
        json!({
            "name": format!("orders-{place}"), "protocol": "HTTP_2", "success": 4_656_000, "error": 0, "count": 9,
            "p50_us": 810.0, "p99_us": 2_600.0, "urls": [url(place, 0), url(place, 1)],
        })
    };
    let connection = |place: u64| {
        json!({
            "peer": format!("10.4.0.{}:{}", place % 200, 40_000 + place), "port": 8901, "executor": place % executors,
            "tls": place.is_multiple_of(2), "records": 800_000, "in_flight": 12, "paused": false, "opened_ms": NOW - 398_000,
        })
    };
    json!({
        "version": "0.1.0", "cluster_name": "east-1", "now_ms": NOW, "started_ms": NOW - 400_000, "uptime_s": 400,
        "state": "running",
        "totals": {
            "records": 4_800_000, "acked": { "0": 4_656_000, "10": 0, "11": 9_999, "18": 0 }, "skipped": 0, "stale": 0,
            "parse_errors": 0, "retries": 12, "batches": 0, "in_flight": 730, "in_flight_limit": 32_768,
            "in_flight_bytes": 8 << 20, "in_flight_bytes_limit": 512 << 20, "sources": connections, "not_allowed": 0,
            "duplicates": 0, "duplicates_possible": 0, "log_lines_dropped": 0, "log_lines_refused": 0,
            "permanent_share_1m": 0, "executors_rejecting": 0, "executors_draining": 0,
        },
        "stages": [
            stage("receive-wait", 22.0), stage("decode", 0.21), stage("encode", 0.34), stage("queue-wait", 4.0),
            stage("response", 820.0), stage("ack-wait", 35.0), stage("total", 930.0),
        ],
        "lag_ms": 14.0,
        "executors": (0..executors).map(executor).collect::<Vec<_>>(),
        "destinations": (0..destinations).map(destination).collect::<Vec<_>>(),
        "connections": (0..connections.min(256)).map(connection).collect::<Vec<_>>(),
        "connections_left_out": connections.saturating_sub(256),
        "certificates": [],
        "history": {
            "records_per_s": [null, 6_000.0, 12_000.0],
            "acked": { "0": [null, 0.0, 11_640.0], "10": [0.0], "11": [7.26], "18": [0.0] },
        },
    })
}

fn nothing() -> Value {
    let mut answer = answer(2, 1, 0);
    answer["cluster_name"] = Value::Null;
    answer["lag_ms"] = Value::Null;
    answer["history"] = json!({ "records_per_s": [0.0], "acked": {} });
    for (name, value) in answer["totals"].as_object_mut().unwrap() {
        if name == "acked" {
            *value = json!({});
        } else if !name.ends_with("_limit") {
            *value = json!(0);
        }
    }
    answer["stages"].as_array_mut().unwrap().iter_mut().for_each(|stage| stage["count"] = json!(0));
    answer
}

/// All that may be wrong at a time.
fn trouble() -> Value {
    let mut answer = answer(4, 3, 9);
    answer["state"] = json!("draining");
    for (name, value) in [
        ("permanent_share_1m", json!(0.041)),
        ("executors_rejecting", json!(1)),
        ("in_flight", json!(31_000)),
        ("log_lines_dropped", json!(88)),
        ("log_lines_refused", json!(1)),
    ] {
        answer["totals"][name] = value;
    }
    for (number, (state, ago)) in [("unhealthy", 3_000), ("testing", 6_000)].into_iter().enumerate() {
        let url = &mut answer["destinations"][1]["urls"][number];
        url["state"] = json!(state);
        url["unhealthy_executors"] = json!(4);
        url["last_error"] = json!({ "at_ms": NOW - ago, "text": format!("cannot connect: refused after {ago} ms") });
    }
    let url = &mut answer["destinations"][2]["urls"][1];
    url["state"] = json!("waiting");
    url["unhealthy_executors"] = json!(1);
    url["last_error"] = json!({ "at_ms": NOW - 95_000, "text": "status 503" });
    answer["executors"][1]["rejecting"] = json!(true);
    answer["executors"][2]["heartbeat_age_ms"] = json!(2_400);
    answer["certificates"] = json!([
        { "place": "service.tls", "days_left": 5 },
        { "place": "destinations.orders-1", "days_left": -1 },
        { "place": "destinations.orders-2", "days_left": 211 },
    ]);
    answer
}

fn read(answer: &Value) -> Status {
    Status::read(answer.to_string().as_bytes()).unwrap()
}

const fn screen(columns: usize, rows: Option<usize>) -> Screen {
    Screen { columns, rows, has_colour: false, is_unicode: true }
}

fn picture(answer: &Value, columns: usize, rows: Option<usize>) -> Vec<String> {
    draw(Some(&read(answer)), None, rows.map(|_| "q quits"), screen(columns, rows))
}

#[track_caller]
fn assert_lines(drawn: &[String], expected: &str) {
    assert_eq!(drawn.join("\n"), expected.trim_matches('\n'), "\n{}\n", drawn.join("\n"));
}

#[test]
fn all_is_there_at_80_by_24() {
    assert_lines(
        &picture(&answer(2, 1, 2), 80, Some(24)),
        "
Ringpost 0.1.0 · east-1 · running · up 6 min 40 s
● All is well. Nothing needs a look.
12.0 k records/s  ▅█   in all 4.80 M   lag p99 14.0 ms   retries 12
in flight 730 of 32,768 (2.2 %)   bytes 8.00 MiB of 512 MiB (1.6 %)
● 0 delivered 4.66 M (11.6 k/s)   ▲ 11 later 9,999 (7.3/s)
◆ 18 overloaded 0 (0/s)   ✕ 10 never 0 (0/s)
latency  receive-wait   decode   encode  queue-wait  response  ack-wait    total
p50           22.0 µs   210 ns   340 ns     4.00 µs    820 µs   35.0 µs   930 µs
p99           66.0 µs   630 ns  1.02 µs     12.0 µs   2.46 ms    105 µs  2.79 ms
p99.9          154 µs  1.47 µs  2.38 µs     28.0 µs   5.74 ms    245 µs  6.51 ms

2 executors  core  busy  records/s  in flight     bytes  XDR conns  records
0               0  25 %      6,000        365  4.00 MiB          3   2.40 M
1               2  25 %      6,000        365  4.00 MiB          3   2.40 M

1 destination                       state      conns  in flight  errors      p99
orders-0  HTTP/2                    ● 2 URLs    8/32        360       0  2.60 ms
  https://ingest-0.0.example.net:…  ● healthy   4/16        180       0
  https://ingest-1.0.example.net:…  ● healthy   4/16        180       0

2 XDR connections  to port  TLS  executor  records  in flight  reads    open for
10.4.0.0:40000        8901  yes         0    800 k         12  yes    6 min 38 s
10.4.0.1:40001        8901  no          1    800 k         12  yes    6 min 38 s
q quits
",
    );
}

#[test]
fn forty_columns_have_what_matters_most() {
    assert_lines(
        &picture(&answer(2, 1, 2), 40, Some(40)),
        "
Ringpost 0.1.0 · east-1 · running
up 6 min 40 s
● All is well. Nothing needs a look.
12.0 k records/s  ▅█   in all 4.80 M
lag p99 14.0 ms   retries 12
in flight 730 of 32,768 (2.2 %)
bytes 8.00 MiB of 512 MiB (1.6 %)
acks             in all  a second
● 0 delivered    4.66 M    11.6 k
▲ 11 later        9,999       7.3
◆ 18 overloaded       0         0
✕ 10 never            0         0
latency           p50      p99    p99.9
receive-wait  22.0 µs  66.0 µs   154 µs
decode         210 ns   630 ns  1.47 µs
encode         340 ns  1.02 µs  2.38 µs
queue-wait    4.00 µs  12.0 µs  28.0 µs
response       820 µs  2.46 ms  5.74 ms
ack-wait      35.0 µs   105 µs   245 µs
total          930 µs  2.79 ms  6.51 ms

2 executors  core  busy  records/s
0               0  25 %      6,000
1               2  25 %      6,000

1 destination          state      errors
orders-0  HTTP/2       ● 2 URLs        0
  https://ingest-0.0…  ● healthy       0
  https://ingest-1.0…  ● healthy       0

2 XDR connections  records  in flight
10.4.0.0:40000       800 k         12
10.4.0.1:40001       800 k         12






q quits
",
    );
}

#[test]
fn nothing_has_come_yet() {
    let drawn = picture(&nothing(), 80, None);
    assert_eq!(drawn[0], "Ringpost 0.1.0 · running · up 6 min 40 s");
    assert_eq!(drawn[1], "● All is well. No record has come yet.");
    assert_eq!(drawn[2], "0 records/s   in all 0   lag p99 –   in flight 0 of 32,768 (0 %)");
    assert!(
        drawn.iter().any(|line| line.starts_with("p99 ") && line.split_whitespace().skip(1).all(|cell| cell == "–"))
    );
    assert!(drawn.iter().any(|line| line.starts_with("0 XDR connections")));
    // Of another version, without all that this one knows.
    let other = Status::read(br#"{ "version": "9" }"#).unwrap();
    assert!(draw(Some(&other), None, None, screen(80, None))[0].starts_with("Ringpost 9"));
}

#[test]
fn what_needs_a_look_stands_first_and_says_why() {
    let expected = [
        (Kind::Bad, "4.1 % of the last minute’s records were answered 10."),
        (Kind::Bad, "1 executor answers 18 for want of room."),
        (Kind::Bad, "orders-1: no URL is healthy."),
        (Kind::Bad, "1 executor has given no sign for a second: 2."),
        (Kind::Bad, "The certificate of service.tls expires in 5 days."),
        (Kind::Bad, "The certificate of destinations.orders-1 has expired."),
        (Kind::Warn, "It stops."),
        (Kind::Warn, "orders-2: 1 of 2 URLs are not healthy."),
        (Kind::Warn, "95 % of max-concurrent-records are in flight."),
        (Kind::Warn, "88 log lines were left out,"),
        (Kind::Warn, "1 log line was refused by the log file or console:"),
    ];
    let found = notices::of(&read(&trouble()));
    let titles: Vec<(Kind, &str)> = found.iter().map(|notice| (notice.kind, notice.title.as_str())).collect();
    assert_eq!(titles, expected);
    let text = |title: &str| found.iter().find(|notice| notice.title.starts_with(title)).map(|it| it.text.as_str());
    assert_eq!(text("orders-1"), Some("Last reason, 3 s ago: cannot connect: refused after 3000 ms"));
    assert_eq!(text("orders-2"), Some("Last reason, 1 min 35 s ago: status 503"));
    // Exactly at the edge nothing is said.
    let mut edge = answer(2, 1, 2);
    edge["totals"]["permanent_share_1m"] = json!(0.01);
    edge["totals"]["in_flight"] = json!(26_214);
    edge["executors"][0]["heartbeat_age_ms"] = json!(1_500);
    edge["certificates"] = json!([{ "place": "service.tls", "days_left": 30 }]);
    let calm = Notice { kind: Kind::Calm, title: "All is well.".to_owned(), text: "Nothing needs a look.".to_owned() };
    assert_eq!(notices::of(&read(&edge)), [calm]);
}

/// The rules stand in the page's script and here; whoever changes one changes the other.
#[test]
fn the_page_has_the_same_rules() {
    let page = include_str!("../page/index.html");
    let (_, rules) = page.split_once("\nfunction notices(").unwrap();
    let (rules, _) = rules.split_once("\n}\n").unwrap();
    assert_eq!(rules.matches(" add(").count() + rules.matches(")add(").count(), 10, "{rules}");
    for part in [
        "totals.permanent_share_1m > .01",
        "totals.executors_rejecting > 0",
        "one.heartbeat_age_ms > 1500 && !one.draining",
        "!executors.some(one => one.draining) && totals.in_flight > totals.in_flight_limit * .8",
        "totals.in_flight_bytes > totals.in_flight_bytes_limit * .8",
        "one.days_left < 30",
        "one.days_left < 7 ? 'bad' : 'warn'",
        "totals.log_lines_dropped > 0",
        "totals.log_lines_refused > 0",
        "status.state === 'draining'",
        "url.state !== 'healthy'",
    ] {
        assert!(rules.contains(part), "{part}: {rules}");
    }
    let mut all = trouble();
    all["totals"]["in_flight_bytes"] = json!(500 << 20);
    all["executors"].as_array_mut().unwrap().iter_mut().for_each(|one| one["draining"] = json!(false));
    let ours: Vec<String> =
        notices::of(&read(&all)).into_iter().map(|one| format!("{} {}", one.title, one.text)).collect();
    for words in [
        "It stops.",
        "No new frames are taken; what is in flight may finish.",
        " of the last minute’s records were answered 10.",
        "The server will not send them again. Look at the last reasons of destinations, at permanent-status-codes and at content-errors.",
        " 18 for want of room.",
        "Destinations take less than comes in, or max-concurrent-records is too small.",
        "no URL is healthy.",
        " URLs are not healthy.",
        "Last reason, ",
        " given no sign for a second: ",
        "Its core may be taken by another process.",
        " of max-concurrent-records are in flight.",
        " of in-flight-bytes are in use.",
        "The certificate of ",
        " has expired.",
        " expires in ",
        "left out,",
        "since they came faster than they can be written.",
        "refused by the log file or console:",
        "a full disk, or nobody reads.",
    ] {
        assert!(rules.contains(words), "{words:?} is not on the page");
        assert!(ours.iter().any(|one| one.contains(words)), "{words:?} is not in {ours:#?}");
    }
}

#[test]
fn trouble_is_drawn_before_what_is_well() {
    let drawn = picture(&trouble(), 100, Some(36));
    let at =
        |part: &str| drawn.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {drawn:#?}"));
    assert!(at("✕ 4.1 % of the last minute’s") == 1, "{drawn:#?}");
    assert!(at("and 6 more of the same kinds") < at("records/s"), "{drawn:#?}");
    assert!(at("✕ still 2 s") < at("✕ no URL"), "{drawn:#?}");
    assert!(at("✕ unhealthy 4/4") < at("last, 3 s ago: cannot connect: refused after 3000 ms"), "{drawn:#?}");
    assert!(!drawn.iter().any(|line| line.starts_with("orders-0")), "healthy, and there is no room: {drawn:#?}");
    let whole = picture(&trouble(), 100, None).join("\n");
    for part in
        ["\norders-0", "▲ asked to wait 1/4", "◆ testing 4/4", "◆ answers 18", "expired", "211", "10.4.0.8:40008"]
    {
        assert!(whole.contains(part), "{part}: {whole}");
    }
}

#[test]
fn what_does_not_fit_is_counted() {
    let large = answer(64, 20, 640);
    let drawn = picture(&large, 80, Some(24));
    assert_eq!(drawn.len(), 24);
    let rest = |drawn: &[String], what: &str| -> u64 {
        let line = drawn.iter().find(|line| line.starts_with("  and ") && line.contains(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let shown = |drawn: &[String], start: &str| drawn.iter().filter(|line| line.starts_with(start)).count() as u64;
    assert_eq!(shown(&drawn, "orders-") + rest(&drawn, "destinations more"), 20, "{drawn:#?}");
    assert_eq!(shown(&drawn, "10.4.") + rest(&drawn, "XDR connections more"), 640, "{drawn:#?}");
    assert!(drawn.iter().any(|line| line.starts_with("64 executors")), "{drawn:#?}");
    assert!(drawn.iter().any(|line| line.contains("executors more")), "{drawn:#?}");
    // All are there in a file, connections aside, which the connector itself cuts.
    let whole = picture(&large, 120, None);
    assert_eq!((shown(&whole, "orders-"), shown(&whole, "  https://")), (20, 40));
    assert_eq!((shown(&whole, "10.4."), rest(&whole, "XDR connections more")), (256, 384));
    assert!(
        whole.iter().any(|line| line.starts_with(&format!("busy 25 % on average {}", "▃".repeat(64)))),
        "{whole:#?}"
    );
}

#[test]
fn what_others_send_cannot_act_on_the_terminal() {
    let evil = "\u{1b}]0;title\u{7}\u{1b}[2J\r\n\t\u{9b}31mred\u{202e}drawkcab\u{200b}\u{301}\u{e000}漢字";
    let mut hostile = trouble();
    for place in [
        "/version",
        "/cluster_name",
        "/state",
        "/destinations/0/name",
        "/destinations/0/urls/0/url",
        "/destinations/0/urls/1/state",
        "/destinations/1/urls/0/last_error/text",
        "/connections/0/peer",
        "/certificates/0/place",
        "/stages/0/name",
    ] {
        *hostile.pointer_mut(place).unwrap() = json!(evil);
    }
    for columns in [200, 80, 40] {
        let drawn = picture(&hostile, columns, None);
        for line in &drawn {
            assert!(!line.chars().any(|c| c.is_control() || "\u{202e}\u{200b}\u{301}\u{e000}".contains(c)), "{line:?}");
            assert!(line.width() <= columns, "{line:?}");
        }
        let start: String = drawn[0].chars().skip(9).take(20).collect();
        assert_eq!(
            start, "\u{fffd}]0;title\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}31",
            "what can be shown is"
        );
    }
    let coloured = draw(Some(&read(&hostile)), None, None, Screen { has_colour: true, ..screen(80, None) }).join("\n");
    let escapes: Vec<&str> = coloured.split('\u{1b}').skip(1).collect();
    assert!(escapes.len() > 20, "colours");
    for escape in escapes {
        let (code, _) = escape.split_once('m').unwrap();
        assert!(["[0", "[1", "[2", "[32", "[33", "[1;31"].contains(&code), "{code:?}");
    }
    let error = Status::read(b"{ \"version\": 1, \"\x1b[2J").unwrap_err();
    assert!(!error.contains('\u{1b}'), "{error:?}");
    let error = Status::read(json!({ "version": "1", "now_ms": "\u{1b}[2J" }).to_string().as_bytes()).unwrap_err();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn silence_is_told_with_what_was_known() {
    let why = "http://127.0.0.1:8902 cannot be reached: Connection refused".to_owned();
    let never = Silence { why: why.clone(), age: None };
    assert_lines(
        &draw(None, Some(&never), Some("q quits"), screen(44, Some(6))),
        "
✕ No figures. http://127.0.0.1:8902 cannot
  be reached: Connection refused It is asked
  again and again.


q quits
",
    );
    let late = Silence { why, age: Some(Duration::from_secs(75)) };
    let drawn = draw(Some(&read(&answer(2, 1, 2))), Some(&late), None, screen(160, None));
    assert!(
        drawn[1].starts_with("✕ No figures. http://127.0.0.1:8902 cannot be reached: Connection refused"),
        "{drawn:#?}"
    );
    assert!(drawn[1..3].join(" ").contains("All below is as it was 1 min 15 s ago."), "{drawn:#?}");
    assert!(!drawn.iter().any(|line| line.contains("All is well")), "{drawn:#?}");
}

#[test]
fn a_terminal_that_has_ascii_only_gets_nothing_else() {
    for answer in [trouble(), answer(64, 20, 640), nothing()] {
        let plain = Screen { is_unicode: false, ..screen(80, None) };
        let drawn = draw(Some(&read(&answer)), None, None, plain);
        assert!(drawn.iter().all(|line| line.is_ascii()), "{drawn:#?}");
    }
    let drawn = draw(Some(&read(&trouble())), None, None, Screen { is_unicode: false, ..screen(80, None) });
    assert!(drawn[1].starts_with("x 4.1 % of the last minute's records were answered 10."), "{drawn:#?}");
    assert!(drawn.iter().any(|line| line.contains("22.0 us")), "{drawn:#?}");
}

#[test]
fn numbers_have_three_digits_and_a_unit() {
    for (value, expected) in
        [(0, "0"), (9_999, "9,999"), (10_000, "10.0 k"), (1_234_567, "1.23 M"), (u64::MAX, "18446744 T")]
    {
        assert_eq!(text::amount(value), expected);
    }
    for (value, expected) in [(0.04, "40 ns"), (9.994, "9.99 µs"), (999.6, "1.00 ms"), (12e6, "12.0 s")] {
        assert_eq!(micros(value), expected);
    }
    for (value, expected) in [(1023, "1023 B"), (1 << 20, "1.00 MiB"), (3 << 40, "3.00 TiB")] {
        assert_eq!(bytes(value), expected);
    }
    for (value, expected) in [(59, "59 s"), (3_599, "59 min 59 s"), (90_061, "1 d 1 h")] {
        assert_eq!(span(value), expected);
    }
    for (value, expected) in
        [(None, "–"), (Some(0.0), "0"), (Some(9.4), "9.4"), (Some(1_234.0), "1,234"), (Some(2.4e6), "2.40 M")]
    {
        assert_eq!(rate(value), expected);
    }
    for (value, expected) in [(0.0, "0 %"), (0.004, "0.4 %"), (0.25, "25 %")] {
        assert_eq!(percent(value), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_picture_is_larger_than_its_terminal(
        columns in 1..200_usize,
        rows in 1..80_usize,
        sizes in (1..70_u64, 0..24_u64, 0..300_u64),
        name in "\\PC{0,60}",
        reason in ".{0,600}",
        is_bad in any::<bool>(),
    ) {
        let mut answer = if is_bad { trouble() } else { answer(sizes.0, sizes.1, sizes.2) };
        answer["cluster_name"] = json!(name);
        if let Some(destination) = answer["destinations"].get_mut(0) {
            destination["name"] = json!(name);
            destination["urls"][0]["last_error"] = json!({ "at_ms": 1, "text": reason });
        }
        let silence = Silence { why: reason, age: Some(Duration::from_secs(1)) };
        for silence in [None, Some(&silence)] {
            let drawn = draw(Some(&read(&answer)), silence, Some("q quits"), screen(columns, Some(rows)));
            prop_assert_eq!(drawn.len(), rows);
            for line in drawn {
                prop_assert!(line.width() <= columns, "{:?}", line);
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            }
        }
        for line in draw(Some(&read(&answer)), None, None, screen(columns, None)) {
            prop_assert!(line.width() <= columns, "{:?}", line);
        }
    }

    #[test]
    fn no_answer_ends_the_program(text in ".{0,200}") {
        let _ = Status::read(text.as_bytes());
    }
}
