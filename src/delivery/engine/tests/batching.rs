//! Batches: when they close, what is in them, whose codes one answer gives.

use std::io::Read;

use super::*;

/// One destination, batches of at most `records`.
fn batching(records: u32) -> Config {
    let mut config = batches_of(records);
    config.destinations[0].max_connections_per_endpoint = 8;
    config
}

/// Opens what the engine asks for; connection, head and body of each request that it writes.
fn requests(rig: &mut Rig, connections: &mut Vec<Key>) -> Vec<(Key, String, Vec<u8>)> {
    while let Some(connect) = rig.engine.next_connect() {
        rig.engine.connection_opened(connect.connection, rig.now);
        connections.push(connect.connection);
    }
    let mut all = Vec::new();
    let mut written = std::mem::take(&mut rig.written);
    written.extend(connections.iter().map(|connection| (*connection, rig.write(*connection))));
    for (connection, bytes) in written {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let (head, body) = bytes.split_at(end + 4);
        all.push((connection, String::from_utf8(head.to_vec()).unwrap(), body.to_vec()));
    }
    all
}

/// What stands behind the head of a request.
fn body_of(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    bytes[end..].to_vec()
}

/// Sequence numbers of the records in a JSON array.
fn keys(body: &[u8]) -> Vec<u64> {
    let array: serde_json::Value = serde_json::from_slice(body).unwrap();
    array.as_array().unwrap().iter().map(|record| record["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_full_batch_is_one_request_and_its_answer_is_the_code_of_all() {
    let mut rig = Rig::new(&batching(3));
    let mut open = Vec::new();
    rig.send(7);
    let sent = requests(&mut rig, &mut open);
    assert_eq!(sent.len(), 2);
    for ((_, head, body), first) in sent.iter().zip([0, 3]) {
        assert_eq!(keys(body), [first, first + 1, first + 2]);
        assert!(head.contains("Content-Type: application/json") && !head.contains("aerospike-digest"), "{head}");
    }
    assert_eq!(rig.codes(), [0u8; 0]);
    rig.answer(sent[1].0, BUSY);
    assert_eq!(rig.codes(), [0u8; 0], "acks leave in the order of arrival");
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0, 0, 0, 11, 11, 11]);
    assert_eq!(rig.engine.counts().batches, 1);
    let now = rig.now;
    rig.engine.drain(now);
    let sent = requests(&mut rig, &mut open);
    let (_, head, body) = &sent[0];
    assert_eq!(keys(body), [6]);
    assert!(head.contains("aerospike-digest"), "a batch of one carries its digest: {head}");
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn a_batch_closes_when_its_interval_is_over_or_its_oldest_record_needs_the_time() {
    for (interval, closes) in [(200, 200), (60_000, 3_500)] {
        let mut config = batching(100);
        config.rules.top.batching.as_mut().unwrap().interval = Duration::from_millis(interval);
        let mut rig = Rig::new(&config);
        let mut open = Vec::new();
        rig.send(1);
        rig.after(closes - 1);
        rig.send(1);
        rig.tick();
        assert!(requests(&mut rig, &mut open).is_empty());
        rig.after(1);
        rig.tick();
        let sent = requests(&mut rig, &mut open);
        assert_eq!(keys(&sent[0].2), [0, 1], "{interval}");
        rig.answer(sent[0].0, OK);
        assert_eq!(rig.codes(), [0, 0]);
        rig.assert_empty();
    }
}

#[test]
fn bytes_close_a_batch_after_the_record_that_reaches_them() {
    let mut config = batching(100);
    config.rules.top.batching.as_mut().unwrap().max_bytes = 600;
    let mut rig = Rig::new(&config);
    rig.send(100);
    for (_, _, body) in requests(&mut rig, &mut Vec::new()) {
        let count = keys(&body).len();
        let one = (body.len() - 1) / count;
        assert!(body.len() > 600 && (count - 1) * one < 600, "{count} records, {} bytes", body.len());
    }
}

#[test]
fn records_that_wait_in_a_batch_are_sent_when_there_is_no_room_for_more() {
    let mut config = batching(100);
    config.service.max_concurrent_records = 4;
    let mut rig = Rig::new(&config);
    let mut open = Vec::new();
    rig.send(6);
    let sent = requests(&mut rig, &mut open);
    assert_eq!(keys(&sent[0].2), [0, 1, 2, 3]);
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0; 4]);
}

#[test]
fn a_batch_that_is_refused_for_good_is_sent_again_record_by_record() {
    let mut config = batching(3);
    config.destinations[0].permanent.insert(422);
    let mut rig = Rig::new(&config);
    let mut open = Vec::new();
    rig.send(3);
    let sent = requests(&mut rig, &mut open);
    rig.answer(sent[0].0, REFUSED);
    assert_eq!(rig.codes(), [0u8; 0], "never 10 for all");
    let alone = requests(&mut rig, &mut open);
    let mut seen: Vec<u64> = alone.iter().flat_map(|(_, _, body)| keys(body)).collect();
    seen.sort_unstable();
    assert_eq!((alone.len(), seen), (3, vec![0, 1, 2]));
    for (connection, head, body) in &alone {
        assert!(head.contains("aerospike-digest"));
        rig.answer(*connection, if keys(body) == [1] { REFUSED } else { OK });
    }
    assert_eq!(rig.codes(), [0, 10, 0]);
    assert_eq!(rig.engine.counters().batches_taken_apart, 1);
    rig.assert_empty();
}

#[test]
fn only_the_destination_that_refused_a_batch_sees_its_records_again() {
    let mut config = batching(2);
    config.destinations.push(config.destinations[0].clone());
    config.destinations[1].name = "d1".to_owned();
    config.destinations[1].permanent.insert(422);
    config.rules.top.routing = Some(Routing::Destinations(vec![0, 1]));
    let mut rig = Rig::new(&config);
    rig.send(2);
    let first = rig.connect();
    assert_eq!(first.iter().map(|connect| connect.endpoint).collect::<Vec<_>>(), [0, 1]);
    rig.answer(first[1].connection, REFUSED);
    assert_eq!(rig.engine.counters().batches_taken_apart, 0, "the other one may still fail");
    rig.answer(first[0].connection, OK);
    let again = rig.connect();
    assert!(again.iter().all(|connect| connect.endpoint == 1), "{again:?}");
    // One of the two goes out on the connection that was there.
    assert!(!rig.write(first[1].connection).is_empty());
    rig.answer(first[1].connection, OK);
    again.iter().for_each(|connect| rig.answer(connect.connection, OK));
    assert_eq!(rig.codes(), [0, 0]);
    rig.assert_empty();
}

#[test]
fn one_that_fails_for_now_outweighs_one_that_refuses_for_good() {
    let mut config = config(2);
    config.destinations[0].permanent.insert(422);
    let mut rig = Rig::new(&config);
    rig.send(1);
    let connections = rig.connect();
    rig.answer(connections[0].connection, REFUSED);
    assert_eq!(rig.codes(), [0u8; 0]);
    rig.answer(connections[1].connection, BUSY);
    assert_eq!(rig.codes(), [11], "the other destination has to get it again");
    rig.send(1);
    connections.iter().for_each(|connect| _ = rig.write(connect.connection));
    rig.answer(connections[1].connection, OK);
    rig.answer(connections[0].connection, REFUSED);
    assert_eq!(rig.codes(), [10]);
    rig.assert_empty();
}

#[test]
fn records_of_a_connection_that_has_gone_are_left_out() {
    let mut rig = Rig::new(&batching(4));
    let other = rig.another_source();
    let mut open = Vec::new();
    rig.send_on(rig.source);
    rig.send_on(other);
    rig.send_on(rig.source);
    rig.engine.source_closed(other);
    rig.send(1);
    let sent = requests(&mut rig, &mut open);
    assert_eq!(keys(&sent[0].2), [0, 2, 3]);
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0; 3]);
    rig.assert_empty();
}

#[test]
fn a_closed_batch_loses_the_records_of_a_connection_that_goes_before_it_is_sent() {
    for gzip in [None, Some(0)] {
        let mut config = batching(3);
        config.destinations[0].gzip_above = gzip;
        let mut rig = Rig::new(&config);
        let other = rig.another_source();
        let mut open = Vec::new();
        rig.send_on(other);
        rig.send_on(rig.source);
        rig.send_on(other);
        rig.engine.source_closed(other);
        let sent = requests(&mut rig, &mut open);
        let (connection, head, body) = &sent[0];
        let body = if gzip.is_some() { unzip(body) } else { body.clone() };
        assert_eq!(keys(&body), [1]);
        assert!(head.contains("aerospike-digest"), "one is left, and it has a digest");
        rig.answer(*connection, OK);
        assert_eq!(rig.codes(), [0]);
        rig.assert_empty();
    }
}

#[test]
fn what_is_left_of_a_batch_is_compressed_only_if_it_is_still_large() {
    let mut config = batching(3);
    config.destinations[0].gzip_above = Some(500);
    let mut rig = Rig::new(&config);
    let other = rig.another_source();
    let mut open = Vec::new();
    rig.send_on(other);
    rig.send_on(rig.source);
    rig.send_on(other);
    rig.engine.source_closed(other);
    let sent = requests(&mut rig, &mut open);
    let (_, head, body) = &sent[0];
    assert!(!head.contains("gzip"), "{head}");
    assert_eq!(keys(body), [1]);
}

/// The destination that refused three records said nothing about the one that is left.
#[test]
fn a_batch_that_was_refused_before_it_lost_records_is_no_refusal_of_the_one_that_is_left() {
    let mut config = batching(3);
    config.destinations[0].permanent.insert(422);
    config.destinations[0].max_connections_per_endpoint = 1;
    config.destinations.push(config.destinations[0].clone());
    config.rules.top.routing = Some(Routing::Destinations(vec![0, 1]));
    let mut rig = Rig::new(&config);
    // The second destination is busy with a batch before.
    rig.send(3);
    let connects = rig.connect();
    let (first, second) = (connects[0].connection, connects[1].connection);
    rig.answer(first, OK);
    let other = rig.another_source();
    rig.send_on(other);
    rig.send_on(rig.source);
    rig.send_on(other);
    assert_eq!(keys(&body_of(&rig.write(first))), [3, 4, 5]);
    rig.answer(first, REFUSED);
    rig.engine.source_closed(other);
    rig.answer(second, OK);
    let (connection, request) = rig.written.pop().unwrap();
    assert_eq!((connection, keys(&body_of(&request))), (second, vec![4]));
    assert_eq!(rig.codes(), [0, 0, 0]);
    rig.answer(second, REFUSED);
    assert_eq!(rig.codes(), [0u8; 0]);
    let written = std::mem::take(&mut rig.written);
    let again: Vec<_> = written
        .iter()
        .chain([(first, rig.write(first))].iter())
        .filter(|(_, bytes)| !bytes.is_empty())
        .cloned()
        .collect();
    assert_eq!(
        again.iter().map(|(connection, bytes)| (*connection, keys(&body_of(bytes)))).collect::<Vec<_>>(),
        [(first, vec![4])],
        "only the one that refused the whole batch sees it again"
    );
    rig.answer(first, OK);
    assert_eq!(rig.codes(), [10], "the second one refused it alone");
    rig.assert_empty();
}

#[test]
fn records_that_fill_the_room_to_the_last_place_are_sent_when_their_source_has_to_wait() {
    let mut config = batching(100);
    config.service.max_concurrent_records = 4;
    let mut rig = Rig::new(&config);
    rig.send(4);
    let now = rig.now;
    assert_eq!(rig.engine.source_input(rig.source, now), Input::Wait);
    let sent = requests(&mut rig, &mut Vec::new());
    assert_eq!(keys(&sent[0].2), [0, 1, 2, 3]);
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0; 4]);
    rig.assert_empty();
}

#[test]
fn a_source_hears_of_its_records_that_end_while_it_asks_whether_it_is_read() {
    let mut config = batching(100);
    config.service.max_concurrent_records = 4;
    let mut rig = Rig::new(&config);
    rig.send(4);
    let now = rig.now;
    (0..3).for_each(|_| rig.engine.endpoint_failed(0, false, &"broken", now));
    assert_eq!(rig.engine.source_input(rig.source, now), Input::Again);
    assert_eq!(rig.codes(), [11; 4]);
    rig.assert_empty();
}

#[test]
fn a_batch_that_nobody_waits_for_is_not_sent() {
    let mut rig = Rig::new(&batching(3));
    rig.send(2);
    rig.engine.source_closed(rig.source);
    let other = rig.another_source();
    rig.after(3_500);
    rig.tick();
    assert!(requests(&mut rig, &mut Vec::new()).is_empty());
    assert_eq!(rig.engine.counters().orphaned, 2);
    assert_eq!(rig.codes_of(other), [0u8; 0]);
    rig.assert_empty();
}

fn unzip(bytes: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut back).unwrap();
    back
}

#[test]
fn bodies_above_the_threshold_are_compressed_and_the_others_are_not() {
    let mut config = batching(2);
    let mut plain = config.destinations[0].clone();
    plain.gzip_above = Some(1 << 20);
    config.destinations[0].gzip_above = Some(100);
    config.destinations.push(plain);
    config.rules.top.routing = Some(Routing::Destinations(vec![0, 1]));
    let mut rig = Rig::new(&config);
    let mut open = Vec::new();
    rig.send(2);
    let sent = requests(&mut rig, &mut open);
    assert_eq!(sent.len(), 2);
    for (connection, head, body) in &sent {
        if head.contains("Content-Encoding: gzip") {
            assert_eq!(keys(&unzip(body)), [0, 1]);
        } else {
            assert_eq!(keys(body), [0, 1]);
        }
        rig.answer(*connection, OK);
    }
    assert_eq!(sent.iter().filter(|(_, head, _)| head.contains("gzip")).count(), 1);
    assert_eq!(rig.codes(), [0, 0]);
    rig.assert_empty();
}

#[test]
fn while_other_records_are_in_flight_small_batches_wait_on() {
    let mut config = batching(4);
    config.service.max_concurrent_records = 5;
    let mut rig = Rig::new(&config);
    let mut open = Vec::new();
    rig.send(7);
    let sent = requests(&mut rig, &mut open);
    assert_eq!(sent.len(), 1, "one batch of four is in flight; one record waits, two are not taken in");
    assert_eq!(rig.engine.counts().batches, 1);
    rig.answer(sent[0].0, OK);
    let now = rig.now;
    rig.engine.source_receive(rig.source, &[], Now { monotonic: now, unix_ms: 0 });
    rig.send(1);
    let sent = requests(&mut rig, &mut open);
    assert_eq!(keys(&sent[0].2), [4, 5, 6, 7], "the room that came back filled the batch");
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0; 8]);
    assert_eq!(rig.engine.in_flight(), 0);
}

#[test]
fn a_batch_that_finds_no_healthy_url_when_it_closes_is_counted_and_answered() {
    let mut rig = Rig::new(&batching(3));
    rig.send(3);
    let mut open = Vec::new();
    let sent = requests(&mut rig, &mut open);
    rig.send(2);
    rig.after(3_500);
    // Three time-outs in a row make the URL unhealthy just before the next batch is closed.
    let now = rig.now;
    (0..3).for_each(|_| rig.engine.endpoint_failed(0, false, &"late", now));
    rig.tick();
    assert_eq!(rig.engine.counters().refused, 2);
    rig.answer(sent[0].0, OK);
    assert_eq!(rig.codes(), [0, 0, 0, 11, 11]);
    rig.assert_empty();
}

#[test]
fn more_batches_that_close_together_than_may_be_queued_are_sent_where_connections_are_free() {
    let mut config = batching(100);
    config.destinations[0].max_request_queued_per_endpoint = 1;
    let header =
        crate::config::model::Header { name: "x-set".to_owned(), value: crate::config::model::HeaderValue::Set };
    config.destinations[0].headers.list.push(header);
    let mut rig = Rig::new(&config);
    // Connections that are open and free.
    let mut open = Vec::new();
    for set in ["a", "b"] {
        send_in_set(&mut rig, set);
        rig.after(3_500);
        rig.tick();
        let sent = requests(&mut rig, &mut open);
        if set == "a" {
            // The first connection stays busy while the second one is opened.
            send_in_set(&mut rig, "other");
            rig.after(1);
        }
        sent.iter().for_each(|(connection, ..)| rig.answer(*connection, OK));
    }
    rig.after(3_500);
    rig.tick();
    for (connection, ..) in requests(&mut rig, &mut open) {
        rig.answer(connection, OK);
    }
    rig.codes();
    for set in ["a", "b", "c"] {
        send_in_set(&mut rig, set);
    }
    assert_eq!(rig.engine.counts().batches, 3);
    let now = rig.now;
    rig.engine.drain(now);
    let free = open.len();
    let refused = rig.engine.counters().refused;
    assert!(refused <= 3 - (free as u64 + 1).min(3), "{free} free connections and a queue of one, {refused} refused");
}

fn send_in_set(rig: &mut Rig, set: &str) {
    let spec = RecordSpec { set: set.to_owned(), ..RecordSpec::default() };
    let frame = Generator::new(&spec).unwrap().frame(0);
    rig.engine.source_receive(rig.source, &frame, Now { monotonic: rig.now, unix_ms: 0 });
}

#[test]
fn records_without_room_after_their_batch_was_taken_apart_count_as_refused() {
    let mut config = batching(5);
    config.destinations[0].permanent.insert(422);
    config.destinations[0].max_request_queued_per_endpoint = 2;
    let mut rig = Rig::new(&config);
    let mut open = Vec::new();
    rig.send(5);
    let sent = requests(&mut rig, &mut open);
    rig.answer(sent[0].0, REFUSED);
    let more = requests(&mut rig, &mut open);
    for (connection, ..) in &more {
        rig.answer(*connection, OK);
    }
    assert_eq!(rig.codes(), [0, 0, 11, 11, 11]);
    assert_eq!(rig.engine.counters().refused, 3);
}

#[test]
fn records_that_are_late_when_their_batch_is_refused_count_as_expired() {
    let mut config = batching(2);
    config.destinations[0].permanent.insert(422);
    config.destinations[0].call_timeout = Duration::from_secs(20);
    let mut rig = Rig::new(&config);
    let mut open = Vec::new();
    rig.send(2);
    let sent = requests(&mut rig, &mut open);
    rig.after(7_000);
    rig.answer(sent[0].0, REFUSED);
    assert_eq!(rig.codes(), [11, 11]);
    assert_eq!(rig.engine.counters().deadlines, 2);
}
