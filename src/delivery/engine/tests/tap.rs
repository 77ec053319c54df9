//! What somebody sees who taps is what happened to the record; without a tap nothing is kept.

use serde_json::Value;

use super::*;
use crate::config::model::{Header, HeaderValue, Secret};
use crate::delivery::tap::Filter;

const ALL: Filter = Filter::ALL;

fn tapped(config: &Config, filter: Filter) -> Rig {
    let mut rig = Rig::new(config);
    rig.engine.set_taps(3, &[(1, filter)]);
    rig
}

/// One destination, which may refuse batches of `records`.
fn batching(records: u32) -> Config {
    let mut config = batches_of(records);
    config.destinations[0].permanent.insert(422);
    config.destinations[0].max_connections_per_endpoint = 8;
    config
}

/// What came since the last call.
fn seen(rig: &mut Rig) -> Vec<Value> {
    let line = |rig: &mut Rig| rig.engine.next_tapped().map(|event| event.line);
    std::iter::from_fn(|| line(rig)).map(|line| serde_json::from_slice(&line).unwrap()).collect()
}

fn nothing_is_left(rig: &mut Rig) {
    assert_eq!(rig.engine.tapped(), (0, 0));
    rig.assert_empty();
}

/// The body of the request that a connection wrote.
fn body_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_record_is_seen_with_its_content_both_requests_their_answers_and_its_times() {
    let mut rig = tapped(&config(2), ALL);
    rig.send(1);
    let mut bodies = Vec::new();
    while let Some(connect) = rig.engine.next_connect() {
        rig.engine.connection_opened(connect.connection, rig.now);
        bodies.push((connect.endpoint, connect.connection));
    }
    bodies.sort_by_key(|(endpoint, _)| *endpoint);
    let bodies: Vec<Key> = bodies.into_iter().map(|(_, connection)| connection).collect();
    rig.after(7);
    let sent: Vec<String> = bodies.iter().map(|connection| body_of(&rig.write(*connection))).collect();
    rig.answer(bodies[0], OK);
    rig.after(5);
    rig.answer(bodies[1], OK);
    assert!(seen(&mut rig).is_empty(), "its code is not on its way");
    rig.after(2);
    assert_eq!(rig.codes(), [0]);
    let [event] = &seen(&mut rig)[..] else { panic!("one record") };
    let body: Value = serde_json::from_str(&sent[0]).unwrap();
    let mut record = event["record"].clone();
    let metadata = record.as_object_mut().unwrap().remove("aerospike-metadata").unwrap();
    let mut expected = body.clone();
    assert_eq!(expected.as_object_mut().unwrap().remove("metadata").unwrap(), metadata);
    assert_eq!(record, expected, "the bins are those that were sent");
    for (name, value) in
        [("namespace", &metadata["namespace"]), ("generation", &metadata["gen"]), ("lut", &metadata["lut"])]
    {
        assert_eq!(&event[name], value, "{name}");
    }
    assert_eq!((&event["executor"], &event["peer"], &event["code"]), (&3.into(), &"127.0.0.1:9".into(), &0.into()));
    assert_eq!((&event["operation"], &event["outcome"]), (&"write".into(), &"success".into()));
    assert_eq!(event["digest"].as_str().unwrap().len(), 40);
    let calls = event["destinations"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    for (call, name) in calls.iter().zip(["d0", "d1"]) {
        assert_eq!((&call["name"], &call["status"], &call["outcome"]), (&name.into(), &200.into(), &"success".into()));
        assert_eq!((&call["method"], &call["path"], &call["attempts"]), (&"POST".into(), &"/".into(), &1.into()));
        assert_eq!(call["url"], format!("http://{name}.test/"));
        assert_eq!(
            (call["body"].as_str(), call["body_bytes"].as_u64()),
            (Some(&sent[0][..]), Some(sent[0].len() as u64))
        );
        assert_eq!(call["request_headers"]["aerospike-digest"], metadata["digest"]);
        assert_eq!(call["request_headers"]["Host"], format!("{name}.test"));
        assert_eq!(call["queue_us"].as_f64(), Some(0.0), "{call}");
    }
    assert_eq!(calls[0]["response_us"].as_f64().zip(calls[1]["response_us"].as_f64()), Some((7_000.0, 12_000.0)));
    let times = &event["timings_us"];
    for (name, time) in [("ack-wait", 2_000.0), ("total", 14_000.0), ("response", 12_000.0), ("queue-wait", 0.0)] {
        assert_eq!(times[name].as_f64(), Some(time), "{name}: {times}");
    }
    nothing_is_left(&mut rig);
}

#[test]
fn failed_shows_what_was_not_answered_0_and_what_became_of_the_other_destination() {
    let mut rig = tapped(&config(2), Filter { failed: true, ..ALL });
    rig.send(1);
    let connections = rig.connect();
    connections.iter().for_each(|connect| rig.answer(connect.connection, OK));
    rig.send(1);
    connections.iter().for_each(|connect| drop(rig.write(connect.connection)));
    rig.answer(connections[0].connection, BUSY);
    assert_eq!(rig.codes(), [0, 11]);
    assert!(seen(&mut rig).is_empty(), "the other request is on its way");
    rig.answer(connections[1].connection, OK);
    let [event] = &seen(&mut rig)[..] else { panic!("one record") };
    assert_eq!((&event["code"], &event["outcome"]), (&11.into(), &"error".into()));
    let (failed, other) = (&event["destinations"][0], &event["destinations"][1]);
    assert_eq!((&failed["status"], &failed["outcome"]), (&500.into(), &"error".into()));
    assert_eq!((&other["status"], &other["outcome"]), (&200.into(), &"success".into()));
    nothing_is_left(&mut rig);
}

#[test]
fn a_record_that_times_out_says_so_and_one_that_is_not_sent_says_why() {
    let mut rig = tapped(&config(1), ALL);
    rig.send(1);
    rig.connect();
    rig.after(5_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    let [event] = &seen(&mut rig)[..] else { panic!("one record") };
    assert_eq!(event["destinations"][0]["error"], "no answer within call-timeout");
    assert!(event["destinations"][0]["status"].is_null());
    let mut rig = tapped(&config(1), ALL);
    rig.engine.destinations[0].health.unhealthy_threshold = 1;
    rig.send(1);
    while let Some(connect) = rig.engine.next_connect() {
        rig.engine.connection_failed(connect.connection, &"refused", rig.now);
    }
    rig.tick();
    let mut shown = seen(&mut rig);
    assert_eq!(rig.codes(), [11]);
    shown.extend(seen(&mut rig));
    let [event] = &shown[..] else { panic!("one record: {shown:?}") };
    assert_eq!(
        (&event["destinations"][0]["error"], &event["destinations"][0]["attempts"]),
        (&"refused".into(), &0.into())
    );
}

#[test]
fn at_its_deadline_a_record_says_whether_it_was_sent() {
    let mut config = config(1);
    config.destinations[0].call_timeout = Duration::from_secs(20);
    config.destinations[0].max_connections_per_endpoint = 1;
    let mut rig = tapped(&config, ALL);
    rig.send(2);
    rig.connect();
    rig.after(7_000);
    rig.tick();
    assert_eq!(rig.codes(), [11, 11]);
    let errors: Vec<_> = seen(&mut rig).iter().map(|event| event["destinations"][0]["error"].clone()).collect();
    assert_eq!(errors, ["no answer within limits.record-deadline", "not sent within limits.record-deadline"]);
    nothing_is_left(&mut rig);
}

#[test]
fn at_the_limit_of_a_drain_a_record_says_so_and_whether_it_was_sent() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 1;
    config.limits.drain = Duration::from_secs(1);
    let mut rig = tapped(&config, ALL);
    rig.send(2);
    rig.connect();
    let now = rig.now;
    rig.engine.drain(now);
    rig.now = rig.engine.drain_until().unwrap();
    rig.tick();
    assert_eq!(rig.codes(), [11, 11]);
    let shown = seen(&mut rig);
    let told = |event: &Value| (event["note"].clone(), event["destinations"][0]["error"].clone());
    let told: Vec<_> = shown.iter().map(told).collect();
    let over = Value::from("limits.drain passed");
    assert_eq!(told, [(over.clone(), "not answered within limits.drain".into()), (over, Value::Null)]);
    nothing_is_left(&mut rig);
}

#[test]
fn a_record_of_which_a_destination_became_unhealthy_while_another_one_was_tested_says_so() {
    let mut rig = tapped(&config(2), ALL);
    let break_url = |rig: &mut Rig, endpoint: usize| {
        let now = rig.now;
        (0..3).for_each(|_| rig.engine.endpoint_failed(endpoint, false, &"broken", now));
    };
    break_url(&mut rig, 1);
    rig.after(1_000);
    rig.send(1);
    let connections = rig.connect();
    break_url(&mut rig, 0);
    rig.answer(connections[1].connection, OK);
    assert_eq!(rig.codes(), [11]);
    let [event] = &seen(&mut rig)[..] else { panic!("one record") };
    assert_eq!(event["note"], "destination d0: no healthy URL");
    let (unhealthy, tested) = (&event["destinations"][0], &event["destinations"][1]);
    assert_eq!((&unhealthy["outcome"], &unhealthy["error"]), (&"not-sent".into(), &Value::Null));
    assert_eq!((&tested["outcome"], &tested["status"]), (&"success".into(), &200.into()));
    nothing_is_left(&mut rig);
}

#[test]
fn records_of_a_refused_batch_that_have_no_room_or_time_on_their_own_say_so() {
    for is_late in [false, true] {
        let mut config = batching(3);
        config.destinations[0].max_request_queued_per_endpoint = 1;
        let mut rig = tapped(&config, ALL);
        rig.send(3);
        let connections = rig.connect();
        rig.after(if is_late { 7_000 } else { 0 });
        rig.answer(connections[0].connection, REFUSED);
        let mut expected =
            vec!["it was not sent on its own after its batch was refused: limits.record-deadline passed"; 3];
        if !is_late {
            rig.answer(connections[0].connection, OK);
            expected = vec!["destination d0: max-request-queued-per-endpoint records wait already"; 2];
        }
        assert_eq!(rig.codes(), if is_late { [11, 11, 11] } else { [0, 11, 11] });
        let mut shown = seen(&mut rig);
        shown.retain(|event| event["code"] == 11);
        let notes: Vec<_> = shown.iter().map(|event| event["note"].clone()).collect();
        assert_eq!(notes, expected);
        for event in shown {
            let [call] = &event["destinations"].as_array().unwrap()[..] else { panic!("the batch: {event}") };
            assert_eq!((&call["status"], &call["outcome"]), (&422.into(), &"refused".into()));
        }
        nothing_is_left(&mut rig);
    }
}

#[test]
fn records_of_a_batch_know_their_place_and_one_that_is_taken_apart_shows_both_requests() {
    let mut rig = tapped(&batching(2), ALL);
    rig.send(2);
    let connections = rig.connect();
    rig.answer(connections[0].connection, OK);
    assert_eq!(rig.codes(), [0, 0]);
    let shown = seen(&mut rig);
    let places: Vec<_> = shown.iter().map(|event| &event["destinations"][0]).collect();
    assert_eq!(places.len(), 2);
    for (place, call) in places.iter().enumerate() {
        assert_eq!((&call["batch"], &call["batch_place"]), (&2.into(), &place.into()));
        let array: Value = serde_json::from_str(call["body"].as_str().unwrap()).unwrap();
        assert_eq!(array[place]["seq"], shown[place]["record"]["seq"]);
    }
    assert_ne!(shown[0]["digest"], shown[1]["digest"]);
    rig.send(2);
    rig.write(connections[0].connection);
    rig.answer(connections[0].connection, REFUSED);
    let mut alone: Vec<Key> = rig.connect().iter().map(|connect| connect.connection).collect();
    alone.push(connections[0].connection);
    alone.into_iter().for_each(|connection| rig.answer(connection, OK));
    assert_eq!(rig.codes(), [0, 0]);
    for event in seen(&mut rig) {
        let calls = event["destinations"].as_array().unwrap();
        let statuses: Vec<_> = calls.iter().map(|call| (call["status"].as_u64(), call["batch"].as_u64())).collect();
        assert_eq!(statuses, [(Some(422), Some(2)), (Some(200), None)], "{event}");
    }
    nothing_is_left(&mut rig);
}

#[test]
fn a_record_that_cannot_be_decoded_is_seen_with_the_reason() {
    let mut rig = tapped(&config(1), ALL);
    let body = [0_u8; 40];
    let mut frame = crate::wire::frame::header(crate::wire::frame::FrameKind::Message, body.len()).to_vec();
    frame.extend_from_slice(&body);
    rig.engine.source_receive(rig.source, &frame, Now { monotonic: rig.now, unix_ms: 1_764_108_000_123 });
    let code = rig.codes();
    let [event] = &seen(&mut rig)[..] else { panic!("one record") };
    assert_eq!((code.as_slice(), &event["outcome"]), (&[10][..], &"parse-error".into()));
    assert!(event["fault"].as_str().unwrap().contains("header"), "{event}");
    assert_eq!(event["at"], "2025-11-25T22:00:00.123Z");
    nothing_is_left(&mut rig);
}

/// What there is to carry between two executors.
fn carry(one: &mut Rig, two: &mut Rig) {
    loop {
        let before = (one.engine.next_parcel(), two.engine.next_parcel());
        if before.0.is_none() && before.1.is_none() {
            return;
        }
        if let Some((_, parcel)) = before.0 {
            two.engine.take_parcel(0, parcel, two.now);
        }
        if let Some((_, parcel)) = before.1 {
            one.engine.take_parcel(1, parcel, one.now);
        }
    }
}

fn missed(rig: &mut Rig) -> u64 {
    let mut all = 0;
    rig.engine.take_missed(|_, missed| all += missed);
    all
}

#[test]
fn a_record_that_is_handed_over_is_shown_or_counted_by_the_executor_that_judges_it_alone() {
    const SENT: u64 = 1_200;
    let (mut one, mut two) = super::handover::pair(100);
    one.engine.set_taps(0, &[(1, ALL)]);
    two.engine.set_taps(1, &[(1, ALL)]);
    one.send(SENT);
    let handed = one.engine.counters().handed_over;
    assert!((400..800).contains(&handed), "{handed}");
    assert_eq!((one.engine.tapped().0, missed(&mut one)), (256, SENT - handed - 256));
    carry(&mut one, &mut two);
    assert_eq!((two.engine.tapped().0, missed(&mut two)), (256, handed - 256));
    one.engine.set_taps(0, &[]);
    one.engine.set_taps(0, &[(1, ALL)]);
    one.send(40);
    let own = one.engine.tapped().0;
    two.engine.tick(two.now);
    carry(&mut one, &mut two);
    assert_eq!(own as u64 + one.engine.counters().handed_over - handed, 40, "its own are followed here");
    assert_eq!(missed(&mut one), 0);
}

#[test]
fn what_the_owner_of_a_record_does_not_look_at_is_shown_with_its_code() {
    type Happens = fn(&mut Rig, &mut Rig);
    let gone: Happens = |one, _| one.engine.source_closed(one.source);
    let late: Happens = |_, two| two.after(7_000);
    let full: Happens = |_, two| {
        (0..100_000).for_each(|_| two.engine.budget.charge_record());
        two.engine.rejecting = true;
    };
    let cases = [
        (gone, ("unheard", 11), "its connection has gone"),
        (late, ("code", 11), "limits.record-deadline passed before the executor of its record had room for it"),
        (full, ("code", 18), "answered 18 without being looked at: there is no room"),
    ];
    for (happens, (member, code), why) in cases {
        let (mut one, mut two) = super::handover::pair(100);
        two.engine.set_taps(1, &[(1, ALL)]);
        one.send(300);
        happens(&mut one, &mut two);
        let handed = one.engine.counters().handed_over;
        carry(&mut one, &mut two);
        let shown = seen(&mut two);
        assert_eq!((shown.len() as u64, missed(&mut two)), (handed, 0), "{why}");
        for event in shown {
            assert_eq!((&event[member], &event["note"]), (&code.into(), &why.into()), "{event}");
            assert_eq!((&event["namespace"], &event["executor"]), (&"test".into(), &1.into()));
        }
    }
}

#[test]
fn a_record_that_is_answered_18_since_its_owner_has_no_room_says_so() {
    let (mut one, _) = super::handover::pair(100);
    one.send(10_000);
    one.after(2_000);
    one.engine.set_taps(0, &[(1, ALL)]);
    one.engine.source_receive(one.source, &[], Now { monotonic: one.now, unix_ms: 0 });
    assert!(one.engine.tapped().0 > 0);
    one.after(7_000);
    one.tick();
    while !one.codes().is_empty() {}
    let notes: Vec<_> = seen(&mut one).iter().map(|event| (event["code"].clone(), event["note"].clone())).collect();
    let expected = (18.into(), "answered 18: the executor of its record has no room".into());
    assert!(notes.contains(&expected), "{notes:?}");
}

#[test]
fn a_record_that_cannot_be_written_is_asked_about_once() {
    let mut rig = tapped(&config(1), ALL);
    rig.engine.set_tap_full(1, true);
    let mut frame = Vec::new();
    rig.frames.write(0, 0, &mut frame);
    // One bin more: a list of a byte that is no MessagePack.
    frame.extend_from_slice(&[0, 0, 0, 6, 2, 20, 0, 1, b'x', 0xc1]);
    frame[29] += 1;
    frame[7] += 10;
    rig.engine.source_receive(rig.source, &frame, Now { monotonic: rig.now, unix_ms: 0 });
    assert_eq!((rig.codes(), missed(&mut rig)), (vec![10], 1));
}

#[test]
fn frames_that_are_answered_18_are_decoded_only_while_they_can_be_followed() {
    let wanted = Filter { namespace: Some(b"other".to_vec()), ..ALL };
    let mut rig = Rig::new(&config(1));
    (0..1_000).for_each(|_| rig.engine.budget.charge_record());
    rig.engine.rejecting = true;
    rig.engine.set_taps(0, &[(1, ALL), (2, wanted.clone())]);
    let missed = |rig: &mut Rig| {
        let mut all = Vec::new();
        rig.engine.take_missed(|_, missed| all.push(missed));
        all
    };
    rig.send(200);
    assert_eq!(missed(&mut rig), [0, 0], "each was looked at");
    rig.send(200);
    assert_eq!(missed(&mut rig), [144, 144], "nobody knows whose the last ones are");
    assert_eq!(rig.codes(), [18; 400]);
    let shown = seen(&mut rig);
    assert_eq!((shown.len(), &shown[0]["code"]), (256, &18.into()));
    rig.engine.tick(rig.now);
    rig.engine.set_taps(0, &[(2, wanted.clone())]);
    rig.send(400);
    assert_eq!(
        (rig.codes(), missed(&mut rig)),
        (vec![18; 400], vec![144]),
        "nor is more decoded for who wants none of them"
    );
    rig.engine.tick(rig.now);
    rig.engine.set_taps(0, &[(1, ALL), (2, wanted)]);
    // Compressed: nothing of it is known.
    rig.engine.source_receive(
        rig.source,
        &[2, 4, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        Now { monotonic: rig.now, unix_ms: 0 },
    );
    assert_eq!((rig.codes(), missed(&mut rig)), (vec![18], vec![1, 1]));
}

#[test]
fn secrets_are_masked_in_urls_and_headers() {
    let secret = || Secret("hunter2".to_owned());
    let mut config = config(1);
    config.destinations[0].urls[0].path = "/in?key=hunter2".to_owned();
    config.destinations[0].headers.list = vec![
        Header { name: "Authorization".to_owned(), value: HeaderValue::Env("X".to_owned(), secret()) },
        Header { name: "x-mine".to_owned(), value: HeaderValue::Static(secret()) },
        Header { name: "x-space".to_owned(), value: HeaderValue::Namespace },
        Header { name: "X-Auth-Set".to_owned(), value: HeaderValue::Namespace },
    ];
    let mut rig = tapped(&config, ALL);
    rig.send(1);
    let connections = rig.connect();
    rig.answer(connections[0].connection, OK);
    rig.codes();
    let event = rig.engine.next_tapped().unwrap();
    let text = String::from_utf8(event.line.to_vec()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let event: Value = serde_json::from_str(&text).unwrap();
    let call = &event["destinations"][0];
    assert_eq!((&call["path"], &call["url"]), (&"/in?...".into(), &"http://d0.test/in?...".into()));
    let headers = &call["request_headers"];
    for masked in ["Authorization", "x-mine", "X-Auth-Set"] {
        assert_eq!(headers[masked], "***", "{headers}");
    }
    assert_eq!(headers["x-space"], event["namespace"]);
}

#[test]
fn when_its_connection_has_gone_a_record_ends_with_its_last_request() {
    let mut rig = tapped(&config(1), ALL);
    rig.send(1);
    let connections = rig.connect();
    rig.engine.source_closed(rig.source);
    assert!(seen(&mut rig).is_empty());
    rig.answer(connections[0].connection, OK);
    let [event] = &seen(&mut rig)[..] else { panic!("one record") };
    assert_eq!((&event["unheard"], &event["outcome"]), (&0.into(), &"unheard".into()));
    assert_eq!((&event["code"], &event["destinations"][0]["status"]), (&Value::Null, &200.into()));
    assert!(event["timings_us"]["ack-wait"].is_null(), "nobody heard it: {event}");
    nothing_is_left(&mut rig);
}

#[test]
fn a_code_that_was_to_be_written_and_was_not_is_told_from_one_that_was() {
    let failed = Filter { failed: true, ..ALL };
    for (filter, expected) in [(ALL, vec![Some(0), None, None]), (failed, vec![None, None])] {
        let mut rig = tapped(&config(1), filter);
        rig.send(3);
        let connections = rig.connect();
        (0..3).for_each(|turn| rig.answer(connections[turn % 2].connection, OK));
        let acks = rig.engine.source_output(rig.source, rig.now).len();
        assert!(seen(&mut rig).is_empty(), "nothing is written");
        // All of the first, and a part of the second.
        rig.engine.source_wrote(rig.source, acks / 2);
        let mut shown = seen(&mut rig);
        rig.engine.source_closed(rig.source);
        shown.extend(seen(&mut rig));
        let codes: Vec<_> = shown.iter().map(|event| event["code"].as_u64()).collect();
        assert_eq!(codes, expected);
        assert!(shown.iter().all(|event| event["code"].is_null() == (event["unheard"] == 0)), "{shown:?}");
        nothing_is_left(&mut rig);
    }
}

#[test]
fn a_record_that_was_handed_over_is_unheard_when_its_connection_has_gone() {
    for is_gone in [false, true] {
        let (mut one, mut two) = super::handover::pair(100);
        two.engine.set_taps(1, &[(1, ALL)]);
        one.send(4);
        carry(&mut one, &mut two);
        let connections = two.connect();
        if is_gone {
            one.engine.source_closed(one.source);
            carry(&mut one, &mut two);
        }
        connections.iter().cycle().take(8).for_each(|connect| two.answer(connect.connection, OK));
        let shown = seen(&mut two);
        assert!(!shown.is_empty());
        let (told, untold) = if is_gone { ("unheard", "code") } else { ("code", "unheard") };
        for event in shown.iter().filter(|event| event["destinations"][0]["status"] == 200) {
            assert_eq!((&event[told], &event[untold]), (&0.into(), &Value::Null), "{event}");
        }
    }
}

#[test]
fn who_stops_leaves_nothing_and_who_does_not_tap_keeps_nothing() {
    let mut rig = Rig::new(&config(1));
    rig.send(1);
    assert_eq!(rig.engine.tapped(), (0, 0));
    let connections = rig.connect();
    rig.answer(connections[0].connection, OK);
    rig.engine.set_taps(0, &[(1, ALL)]);
    rig.send(2);
    assert_eq!(rig.engine.tapped().0, 2, "and not what was in flight before");
    rig.engine.set_taps(0, &[]);
    assert_eq!(rig.engine.tapped(), (0, 0));
    rig.write(connections[0].connection);
    rig.answer(connections[0].connection, OK);
    assert!(rig.engine.next_tapped().is_none());
}
