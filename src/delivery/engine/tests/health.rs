//! Tests of a closed URL, probes, and answers that ask to be left alone.

use super::*;

const TOO_MANY: &[u8] = b"HTTP/1.1 429 Slow\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 What\r\ncontent-length: 2\r\n\r\nno";

/// A URL of destination `index` fails three times.
pub(super) fn break_url(rig: &mut Rig, endpoint: usize) {
    let now = rig.now;
    (0..3).for_each(|_| rig.engine.endpoint_failed(endpoint, false, &"broken", now));
}

/// Endpoints that requests were written to since the last call, with the connection; new ones are opened.
pub(super) fn requests(rig: &mut Rig) -> Vec<(usize, Key)> {
    let mut open = Vec::new();
    while let Some(connect) = rig.engine.next_connect() {
        rig.engine.connection_opened(connect.connection, rig.now);
        open.push(connect.connection);
    }
    let mut all = Vec::new();
    rig.engine.connections.for_each(|key, connection| all.push((connection.endpoint, key)));
    let asks = |rig: &mut Rig, key| String::from_utf8_lossy(&rig.write(key)).contains("HTTP/1.1\r\n");
    all.retain(|(_, key)| asks(rig, *key));
    all.sort_by_key(|(endpoint, _)| *endpoint);
    all
}

#[test]
fn a_record_that_tests_a_closed_destination_reaches_the_others_only_after_it_was_taken_there() {
    let mut rig = Rig::new(&config(2));
    break_url(&mut rig, 1);
    for pause in [1_000, 2_000, 4_000] {
        rig.send(1);
        assert_eq!(rig.codes(), [11], "refused");
        rig.after(pause);
        rig.send(2);
        assert_eq!(rig.codes(), [0u8; 0], "one waits for its code");
        let sent = requests(&mut rig);
        assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [1], "to the tested one alone");
        rig.answer(sent[0].1, BUSY);
        assert_eq!(rig.codes(), [11, 11]);
        assert_eq!(requests(&mut rig), [], "and nowhere else after it");
    }
    rig.after(5_000);
    rig.send(1);
    let sent = requests(&mut rig);
    rig.answer(sent[0].1, OK);
    assert_eq!(rig.codes(), [0u8; 0]);
    let sent = requests(&mut rig);
    assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [0]);
    rig.answer(sent[0].1, OK);
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn a_url_that_speaks_another_protocol_is_left_alone_after_three_connections() {
    let mut rig = Rig::new(&config(1));
    for _ in 0..3 {
        rig.send(1);
        let sent = requests(&mut rig);
        rig.answer(sent[0].1, b"SSH-2.0-OpenSSH_9.2\r\n");
        assert_eq!(rig.codes(), [11]);
    }
    rig.send(1);
    assert_eq!(rig.codes(), [11], "refused at once");
    assert_eq!(requests(&mut rig), []);
}

#[test]
fn an_answer_that_breaks_off_in_its_head_does_not_close_a_url_that_speaks_http() {
    let mut rig = Rig::new(&config(1));
    for _ in 0..6 {
        rig.send(1);
        let sent = requests(&mut rig);
        rig.answer(sent[0].1, b"HTTP/1.1 2\r\n\r\n");
        assert_eq!(rig.codes(), [11]);
    }
}

#[test]
fn a_test_that_is_never_answered_costs_the_held_attempts_nothing() {
    let mut rig = Rig::new(&config(3));
    break_url(&mut rig, 1);
    rig.after(1_000);
    rig.send(1);
    assert_eq!(requests(&mut rig).len(), 1);
    rig.after(5_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    assert_eq!(requests(&mut rig), []);
    rig.assert_empty();
}

#[test]
fn two_closed_destinations_are_tested_one_after_the_other() {
    let mut rig = Rig::new(&config(3));
    break_url(&mut rig, 0);
    break_url(&mut rig, 2);
    rig.after(1_000);
    rig.send(1);
    for expected in [vec![0], vec![2], vec![1]] {
        let sent = requests(&mut rig);
        assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), expected);
        rig.answer(sent[0].1, OK);
    }
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn a_destination_that_fails_during_another_ones_test_is_not_asked() {
    let mut rig = Rig::new(&config(2));
    break_url(&mut rig, 1);
    rig.after(1_000);
    rig.send(1);
    let sent = requests(&mut rig);
    break_url(&mut rig, 0);
    rig.answer(sent[0].1, OK);
    assert_eq!(rig.codes(), [11]);
    assert_eq!(requests(&mut rig), []);
    rig.assert_empty();
}

#[test]
fn a_record_is_sent_nowhere_before_each_of_its_destinations_has_a_connection() {
    let mut rig = Rig::new(&config(3));
    rig.send(1);
    let connects: Vec<Connect> = std::iter::from_fn(|| rig.engine.next_connect()).collect();
    assert_eq!(connects.len(), 3, "all at once");
    rig.engine.connection_opened(connects[0].connection, rig.now);
    rig.engine.connection_opened(connects[2].connection, rig.now);
    assert_eq!(requests(&mut rig), []);
    rig.engine.connection_failed(connects[1].connection, &"refused", rig.now);
    let again = rig.engine.next_connect().unwrap();
    assert_eq!(again.endpoint, connects[1].endpoint, "its retry");
    rig.engine.connection_failed(again.connection, &"refused", rig.now);
    assert_eq!(rig.codes(), [11]);
    assert_eq!(rig.engine.counters().requests, 0, "a destination that is not there costs the others nothing");
    rig.assert_empty();
    rig.send(1);
    let again = rig.engine.next_connect().unwrap();
    rig.engine.connection_opened(again.connection, rig.now);
    let sent = requests(&mut rig);
    assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 1, 2]);
    sent.iter().for_each(|(_, connection)| rig.answer(*connection, OK));
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn a_test_is_not_sent_while_another_destination_has_no_connection() {
    let mut rig = Rig::new(&config(2));
    break_url(&mut rig, 1);
    rig.after(1_000);
    rig.send(1);
    let connects: Vec<Connect> = std::iter::from_fn(|| rig.engine.next_connect()).collect();
    assert_eq!(connects.len(), 2);
    for connect in connects {
        match connect.endpoint {
            0 => rig.engine.connection_failed(connect.connection, &"refused", rig.now),
            _ => rig.engine.connection_opened(connect.connection, rig.now),
        }
    }
    let again = rig.engine.next_connect().unwrap();
    rig.engine.connection_failed(again.connection, &"refused", rig.now);
    assert_eq!(rig.codes(), [11]);
    assert_eq!(rig.engine.counters().requests, 0, "one that is back must not see a record for one that is down");
    rig.assert_empty();
    rig.send(1);
    assert_eq!(rig.engine.counters().refused, 0, "the test was not made: the next record may make it");
}

#[test]
fn a_batch_that_tests_is_held_back_from_the_others_too() {
    let mut config = config(2);
    config.rules.top.batching = Some(crate::config::model::Batching {
        enabled: true,
        max_bytes: u64::MAX,
        max_records: 3,
        interval: Duration::from_secs(1),
        body: Default::default(),
    });
    let mut rig = Rig::new(&config);
    break_url(&mut rig, 0);
    rig.after(1_000);
    rig.send(3);
    let sent = requests(&mut rig);
    assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [0]);
    rig.answer(sent[0].1, OK);
    let sent = requests(&mut rig);
    assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [1]);
    rig.answer(sent[0].1, OK);
    assert_eq!(rig.codes(), [0, 0, 0]);
    rig.assert_empty();
}

#[test]
fn after_retry_after_nothing_is_sent_until_then_and_one_record_goes_first() {
    let mut rig = Rig::new(&config(1));
    rig.send(5);
    let sent = requests(&mut rig);
    assert_eq!(sent.len(), 2, "two connections");
    rig.answer(sent[0].1, TOO_MANY);
    rig.answer(sent[1].1, OK);
    let codes = rig.codes();
    let taken = codes.iter().filter(|code| **code == 0).count();
    assert_eq!((codes.len(), taken), (5, 1), "what was under way counts, what was queued was never sent");
    assert_eq!(rig.engine.counters().requests, 2);
    rig.after(1_999);
    rig.send(1);
    assert_eq!(rig.codes(), [11]);
    rig.after(1);
    rig.send(2);
    let first = requests(&mut rig);
    assert_eq!(first.len(), 1);
    rig.answer(first[0].1, BUSY);
    assert_eq!(rig.codes(), [11, 11]);
    rig.send(2);
    assert_eq!(requests(&mut rig).len(), 2, "another status asks for nothing");
    assert_eq!(rig.engine.counters().waits, 1);
}

#[test]
fn a_date_is_held_against_the_wall_clock_and_no_wait_is_longer_than_the_cap() {
    let answer = |value: &str| format!("HTTP/1.1 503 Down\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
    // The wall clock of the rig stands at the epoch.
    for (value, wait) in [
        ("Thu, 01 Jan 1970 00:00:07 GMT", 7_000),
        ("Thursday, 01-Jan-70 00:00:07 GMT", 7_000),
        ("Thu Jan  1 00:00:07 1970", 7_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30_000),
        ("18446744073709551616", 30_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("0", 0),
        ("-3", 0),
        ("in a while", 0),
    ] {
        let mut rig = Rig::new(&config(1));
        rig.send(1);
        let sent = requests(&mut rig);
        rig.answer(sent[0].1, answer(value).as_bytes());
        assert_eq!(rig.codes(), [11]);
        if wait > 0 {
            rig.after(wait - 1);
            rig.send(1);
            assert_eq!(rig.codes(), [11], "{value}");
            rig.after(1);
        }
        rig.send(1);
        assert_eq!(requests(&mut rig).len(), 1, "{value}");
    }
}

#[test]
fn with_a_cap_of_zero_retry_after_is_not_looked_at() {
    let mut config = config(1);
    config.destinations[0].retry_after_cap = Duration::ZERO;
    let mut rig = Rig::new(&config);
    rig.send(1);
    let sent = requests(&mut rig);
    rig.answer(sent[0].1, TOO_MANY);
    rig.send(1);
    assert_eq!(requests(&mut rig).len(), 1);
}

#[test]
fn a_permanent_status_with_retry_after_gives_up_its_record_and_spares_the_next_ones() {
    let mut config = config(1);
    config.destinations[0].permanent.insert(429);
    let mut rig = Rig::new(&config);
    rig.send(1);
    let sent = requests(&mut rig);
    rig.answer(sent[0].1, TOO_MANY);
    assert_eq!(rig.codes(), [10]);
    rig.send(1);
    assert_eq!(rig.codes(), [11], "not 10: it was not asked");
}

#[test]
fn a_url_that_waits_holds_its_test_back_from_other_destinations() {
    let mut rig = Rig::new(&config(2));
    rig.send(1);
    let sent = requests(&mut rig);
    rig.answer(sent[0].1, TOO_MANY);
    rig.answer(sent[1].1, OK);
    rig.after(2_000);
    rig.send(1);
    let sent = requests(&mut rig);
    assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [0]);
}

#[test]
fn with_two_urls_the_one_that_asked_for_a_pause_leaves_its_records_to_the_other() {
    let mut config = config(1);
    let other = Url { host: "other.test".to_owned(), ..config.destinations[0].urls[0].clone() };
    config.destinations[0].urls.push(other);
    config.destinations[0].max_connections_per_endpoint = 1;
    let mut rig = Rig::new(&config);
    rig.send(4);
    let sent = requests(&mut rig);
    assert_eq!(sent.len(), 2);
    rig.answer(sent[0].1, TOO_MANY);
    let loads: Vec<u64> = rig.engine.endpoints.iter().map(Endpoint::load).collect();
    assert_eq!(loads, [0, 3], "what was queued at the first one");
}

/// The probes of one URL, on HTTP/1.1.
struct Probed {
    rig: Rig,
    shared: SharedLimits,
    config: Config,
}

impl Probed {
    fn new(health: HealthCheck, executors: usize) -> Probed {
        let mut config = config(1);
        config.destinations[0].health = health;
        let shared = SharedLimits::new(&config, executors);
        let mut rig = Rig::new(&config);
        rig.engine = Engine::new(&config, &shared, 0).unwrap();
        rig.source = rig.engine.source_open(SocketAddr::from(([127, 0, 0, 1], 9)), 0).unwrap();
        Probed { rig, shared, config }
    }

    /// Waits for the next probe; its connection.
    fn next(&mut self) -> Connect {
        for _ in 0..200 {
            self.rig.after(50);
            self.rig.tick();
            while let Some(connect) = self.rig.engine.next_connect() {
                if self.rig.engine.connections.get(connect.connection).is_some_and(|it| it.probe) {
                    return connect;
                }
            }
        }
        panic!("no probe");
    }

    /// The next probe is answered so.
    fn answer(&mut self, response: &[u8]) -> String {
        let connection = self.next().connection;
        let now = self.rig.now;
        self.rig.engine.connection_opened(connection, now);
        let request = self.rig.write(connection);
        self.rig.engine.connection_receive(connection, response, now);
        assert!(self.rig.engine.connection_is_over(connection), "one connection for each");
        self.rig.engine.connection_closed(connection, now);
        String::from_utf8(request).unwrap()
    }

    /// Whether a record is taken now.
    fn takes(&mut self) -> bool {
        let before = self.rig.engine.counters().refused;
        self.rig.send(1);
        self.rig.engine.counters().refused == before
    }
}

#[test]
fn a_probe_asks_for_the_url_without_anything_of_a_record() {
    let mut probed = Probed::new(HealthCheck::default(), 1);
    let request = probed.answer(OK);
    assert!(request.starts_with("GET / HTTP/1.1\r\nHost: d0.test\r\n"), "{request}");
    for part in ["aerospike", "Content-", "content-"] {
        assert!(!request.contains(part), "{request}");
    }
    let settings = HealthCheck {
        path: Some("/up?now".to_owned()),
        method: crate::config::model::ProbeMethod::Head,
        ..HealthCheck::default()
    };
    let mut probed = Probed::new(settings, 1);
    // The answer to HEAD has no body, whatever its length says.
    let request = probed.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n");
    assert!(request.starts_with("HEAD /up?now HTTP/1.1\r\n"), "{request}");
    assert_eq!(probed.rig.engine.counters().probes_passed, 1);
}

#[test]
fn probes_come_once_an_interval_and_one_at_a_time() {
    let mut probed = Probed::new(HealthCheck::default(), 1);
    probed.next();
    probed.rig.after(900);
    probed.rig.tick();
    assert_eq!(probed.rig.engine.counters().probes_failed, 0);
    probed.rig.after(100);
    probed.rig.tick();
    assert_eq!(probed.rig.engine.counters().probes_failed, 1, "after its own call-timeout");
    for _ in 0..1_000 {
        probed.rig.after(100);
        probed.rig.tick();
    }
    assert!(probed.rig.engine.next_connect().is_none(), "the last one's connection is not closed yet");
    assert_eq!(probed.rig.engine.counters().probes_failed, 1);
}

#[test]
fn failed_probes_in_a_row_refuse_records_and_good_ones_take_them_again() {
    let settings = HealthCheck { unhealthy_threshold: 2, healthy_threshold: 2, ..HealthCheck::default() };
    let mut probed = Probed::new(settings, 1);
    for answer in [UNAVAILABLE, NOT_FOUND, UNAVAILABLE] {
        probed.answer(answer);
    }
    assert!(probed.takes(), "any answer but 502, 503 and 504 passes, and two are needed");
    probed.answer(UNAVAILABLE);
    let codes = probed.rig.codes();
    assert_eq!(codes, [11], "what waited in the queue");
    assert!(!probed.takes());
    probed.answer(OK);
    // More than a second later a record may test it: here it meets a closed connection.
    probed.answer(OK);
    assert!(probed.takes() && probed.takes());
    assert_eq!(probed.rig.engine.counters().urls_unhealthy, 1);
}

#[test]
fn a_probe_fails_for_want_of_a_connection_or_an_answer_and_by_the_statuses_that_are_set() {
    let settings =
        HealthCheck { success: Some(StatusSet::successful()), unhealthy_threshold: 4, ..HealthCheck::default() };
    let mut probed = Probed::new(settings, 1);
    let refused = probed.next();
    let now = probed.rig.now;
    probed.rig.engine.connection_failed(refused.connection, &"refused", now);
    let ended = probed.next();
    let now = probed.rig.now;
    probed.rig.engine.connection_opened(ended.connection, now);
    probed.rig.engine.connection_ended(ended.connection, now);
    probed.rig.engine.connection_closed(ended.connection, now);
    probed.answer(b"GARBAGE\r\n\r\n");
    assert!(probed.takes());
    probed.answer(NOT_FOUND);
    assert_eq!(probed.rig.engine.counters().probes_failed, 4);
    assert!(!probed.takes());
    let endpoint = &probed.rig.engine.endpoints[0];
    assert_eq!((endpoint.open, endpoint.draining), (0, 0), "probes count among no connections");
}

#[test]
fn one_executor_probes_and_the_others_learn_of_it_and_a_record_that_is_taken_ends_it_for_all() {
    let mut probed = Probed::new(HealthCheck::default(), 2);
    let mut other = Rig::new(&probed.config);
    other.engine = Engine::new(&probed.config, &probed.shared, 1).unwrap();
    other.source = other.engine.source_open(SocketAddr::from(([127, 0, 0, 1], 9)), 0).unwrap();
    (0..3).for_each(|_| drop(probed.answer(UNAVAILABLE)));
    assert!(!probed.takes());
    other.now = probed.rig.now;
    other.tick();
    other.send(1);
    assert_eq!(other.codes(), [11]);
    other.after(1_000);
    other.send(1);
    let sent = requests(&mut other);
    assert_eq!(sent.len(), 1, "its own test");
    for _ in 0..300 {
        other.after(100);
        other.tick();
        assert!(other.engine.next_connect().is_none(), "it sends no probes");
    }
    assert_eq!(other.codes(), [11], "no answer");
    other.send(1);
    let sent = requests(&mut other);
    other.answer(sent[0].1, OK);
    assert_eq!(other.codes(), [0]);
    assert!(!probed.takes(), "up to its next tick");
    probed.rig.tick();
    assert!(probed.takes() && probed.takes());
}

#[test]
fn without_probes_records_decide_alone() {
    let mut probed = Probed::new(HealthCheck { enabled: false, unhealthy_threshold: 2, ..HealthCheck::default() }, 1);
    for _ in 0..300 {
        probed.rig.after(100);
        probed.rig.tick();
    }
    assert!(probed.rig.engine.next_connect().is_none());
    let now = probed.rig.now;
    (0..2).for_each(|_| probed.rig.engine.endpoint_failed(0, false, &"broken", now));
    assert!(!probed.takes(), "by the threshold that is set");
}

#[test]
fn a_retry_goes_on_with_the_clock_of_the_first_try() {
    let mut config = config(1);
    let other = Url { host: "other.test".to_owned(), ..config.destinations[0].urls[0].clone() };
    config.destinations[0].urls.push(other);
    config.destinations[0].call_timeout = Duration::from_millis(1_000);
    let mut rig = Rig::new(&config);
    rig.send(1);
    let connect = rig.engine.next_connect().unwrap();
    rig.after(300);
    rig.engine.connection_failed(connect.connection, &"timed out", rig.now);
    let sent = requests(&mut rig);
    assert_eq!(sent.len(), 1);
    rig.after(690);
    rig.tick();
    assert_eq!(rig.codes(), [0u8; 0]);
    rig.after(10);
    rig.tick();
    assert_eq!(rig.codes(), [11], "one call-timeout for both tries");
    rig.assert_empty();
}

#[test]
fn a_retry_prefers_the_same_healthy_url_to_one_that_may_be_down() {
    let mut config = config(1);
    let other = Url { host: "other.test".to_owned(), ..config.destinations[0].urls[0].clone() };
    config.destinations[0].urls.push(other);
    let mut rig = Rig::new(&config);
    // The first record warms a connection up.
    rig.send(1);
    let sent = requests(&mut rig);
    let (endpoint, connection) = sent[0];
    rig.answer(connection, OK);
    break_url(&mut rig, 1 - endpoint);
    rig.send(1);
    assert_eq!(requests(&mut rig), [(endpoint, connection)]);
    rig.after(1_000);
    rig.engine.connection_ended(connection, rig.now);
    rig.engine.connection_closed(connection, rig.now);
    assert_eq!(requests(&mut rig).iter().map(|it| it.0).collect::<Vec<_>>(), [endpoint]);
}

#[test]
fn a_destination_that_hangs_gets_no_more_than_half_of_the_room() {
    let mut config = config(2);
    config.rules.top.routing = Some(Routing::Destinations(vec![0]));
    config.destinations[0].max_request_queued_per_endpoint = 10_000;
    let apart = crate::config::model::Overrides { routing: Some(Routing::Destinations(vec![1])), ..Default::default() };
    let namespace = crate::config::model::NamespaceRules { name: "elsewhere".to_owned(), own: apart, sets: Vec::new() };
    config.rules.namespaces.push(namespace);
    let mut rig = Rig::new(&config);
    rig.send(900);
    let sent = requests(&mut rig);
    let refused = rig.engine.counters().refused;
    assert!((390..=400).contains(&refused), "half of 1000 before it has answered anything: {refused} refused");
    rig.answer(sent[0].1, OK);
    rig.send(300);
    assert_eq!(rig.engine.counters().refused, refused, "it is alive, and takes what there is");
    rig.after(250);
    rig.send(10);
    assert_eq!(rig.engine.counters().refused, refused + 10, "not a word for 250 ms");
    config.rules.namespaces.clear();
    let mut rig = Rig::new(&config);
    rig.send(900);
    assert_eq!(rig.engine.counters().refused, 0, "every record goes there: nothing has to wait for it");
}
