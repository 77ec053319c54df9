//! Exact times of every stage, and what is counted of destinations, URLs and sources.

use std::cell::Cell;

use super::*;
use crate::metrics::snapshot::{SHOWN_SOURCES, Snapshot, UrlState};
use crate::metrics::stages::{Durations, Stage};

thread_local! {
    static CLOCK: Cell<u64> = const { Cell::new(0) };
    static STEP: Cell<u64> = const { Cell::new(0) };
}

/// Each reading comes a step after the one before.
fn stopwatch() -> Time {
    CLOCK.set(CLOCK.get() + STEP.get());
    Time::from_nanos(CLOCK.get())
}

/// Destinations with 422 as a permanent status; time stands still within a call.
fn rig(destinations: usize) -> Rig {
    let mut config = config(destinations);
    config.destinations.iter_mut().for_each(|destination| destination.permanent.insert(422));
    rig_of(&config)
}

fn rig_of(config: &Config) -> Rig {
    CLOCK.set(0);
    STEP.set(0);
    Rig::of(config, &SharedLimits::new(config, 1).with_stopwatch(stopwatch), 0)
}

/// They may be refused for good.
fn refusable(records: u32) -> Config {
    let mut config = batches_of(records);
    config.destinations[0].permanent.insert(422);
    config
}

fn snapshot(rig: &mut Rig) -> Snapshot {
    let mut snapshot = Snapshot::default();
    rig.engine.publish(&mut snapshot);
    snapshot
}

/// How often something was recorded, and all of it together in milliseconds.
fn of(durations: &Durations) -> (u64, f64) {
    (durations.count(), durations.sum() as f64 / 1e6)
}

fn stage(rig: &mut Rig, stage: Stage) -> (u64, f64) {
    of(snapshot(rig).stages.of(stage).unwrap())
}

#[test]
fn each_stage_of_a_record_has_its_time_and_a_code_that_waits_for_an_older_one_waits_for_just_that_long() {
    let mut rig = rig(1);
    rig.send(1);
    rig.after(5);
    let older = rig.connect()[0].connection;
    rig.after(1);
    rig.send(1);
    rig.after(2);
    let newer = rig.connect()[0].connection;
    rig.after(7);
    rig.answer(newer, OK);
    assert_eq!(rig.codes(), [0u8; 0]);
    rig.after(3);
    rig.answer(older, OK);
    assert_eq!(rig.codes(), [0, 0]);
    assert_eq!(stage(&mut rig, Stage::QueueWait), (2, 5.0 + 2.0));
    assert_eq!(stage(&mut rig, Stage::Response), (2, 13.0 + 7.0));
    assert_eq!(stage(&mut rig, Stage::AckWait), (2, 0.0 + 3.0));
    assert_eq!(stage(&mut rig, Stage::Total), (2, 18.0 + 12.0));
}

#[test]
fn the_short_stages_are_sampled_and_count_for_all_records() {
    let mut rig = rig(1);
    let micros = 1_000;
    CLOCK.set(rig.now.as_nanos());
    STEP.set(micros);
    rig.send(32);
    let snapshot = snapshot(&mut rig);
    let of = |stage| {
        let durations = snapshot.stages.of(stage).unwrap();
        (durations.count(), durations.sum() as u64)
    };
    // From reading to reading it is a microsecond; two records are measured, with four readings each.
    assert_eq!(of(Stage::Decode), (32, 32 * micros));
    assert_eq!(of(Stage::Encode), (32, 32 * micros));
    assert_eq!(of(Stage::ReceiveWait), (32, 16 * micros + 16 * 5 * micros));
}

#[test]
fn response_ends_with_the_first_byte_and_not_with_the_last() {
    let mut rig = rig(1);
    rig.send(1);
    let connection = rig.connect()[0].connection;
    rig.after(4);
    rig.answer(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12");
    rig.after(3);
    rig.answer(connection, b"3");
    rig.after(3);
    rig.answer(connection, b"45");
    assert_eq!(rig.codes(), [0]);
    assert_eq!(stage(&mut rig, Stage::Response), (1, 4.0));
    assert_eq!(stage(&mut rig, Stage::Total), (1, 10.0));
}

#[test]
fn http2_response_ends_with_its_head() {
    let mut config = config(1);
    config.destinations[0].protocol = Protocol::Http2;
    let mut rig = rig_of(&config);
    rig.send(2);
    let connection = rig.connect()[0].connection;
    // Settings; then status 200 for streams 1 and 3, the first with its end and the other one without.
    rig.answer(connection, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    rig.after(4);
    rig.answer(connection, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]);
    rig.answer(connection, &[0, 0, 1, 1, 4, 0, 0, 0, 3, 0x88]);
    rig.after(3);
    rig.answer(connection, &[0, 0, 1, 0, 1, 0, 0, 0, 3, b'x']);
    assert_eq!(rig.codes(), [0, 0]);
    assert_eq!(stage(&mut rig, Stage::Response), (2, 8.0));
}

#[test]
fn each_record_of_a_batch_waited_since_its_own_arrival() {
    let mut rig = rig_of(&refusable(3));
    rig.send(1);
    rig.after(2);
    rig.send(1);
    rig.after(2);
    rig.send(1);
    rig.after(2);
    let connection = rig.connect()[0].connection;
    rig.after(10);
    rig.answer(connection, OK);
    assert_eq!(rig.codes(), [0, 0, 0]);
    assert_eq!(stage(&mut rig, Stage::QueueWait), (3, 6.0 + 4.0 + 2.0));
    assert_eq!(stage(&mut rig, Stage::Response), (3, 30.0));
    assert_eq!(stage(&mut rig, Stage::Total), (3, 42.0));
    let snapshot = snapshot(&mut rig);
    assert_eq!((snapshot.destinations[0].success, snapshot.endpoints[0].success), (3, 3));
}

#[test]
fn each_destination_has_its_own_responses_and_the_stage_has_all() {
    let mut rig = rig(2);
    rig.send(1);
    rig.after(1);
    let connections = rig.connect();
    rig.after(4);
    rig.answer(connections[0].connection, OK);
    rig.after(5);
    rig.answer(connections[1].connection, OK);
    assert_eq!(rig.codes(), [0]);
    let snapshot = snapshot(&mut rig);
    let responses: Vec<_> = snapshot.destinations.iter().map(|it| of(&it.response)).collect();
    assert_eq!(responses, [(1, 4.0), (1, 9.0)]);
    assert_eq!(of(snapshot.stages.of(Stage::Response).unwrap()), (2, 13.0));
    assert_eq!(of(snapshot.stages.of(Stage::QueueWait).unwrap()), (2, 2.0));
    assert_eq!(of(snapshot.stages.of(Stage::Total).unwrap()), (1, 10.0));
}

#[test]
fn a_request_that_is_sent_again_is_measured_from_then_on() {
    let mut rig = rig(1);
    rig.send(1);
    let first = rig.connect()[0].connection;
    rig.answer(first, OK);
    rig.after(1);
    rig.send(1);
    rig.write(first);
    rig.after(3);
    // A connection that was used before, and ends without a byte: the request was not looked at.
    rig.engine.connection_ended(first, rig.now);
    rig.engine.connection_closed(first, rig.now);
    let second = rig.connect()[0].connection;
    rig.after(6);
    rig.answer(second, OK);
    assert_eq!(rig.codes(), [0, 0]);
    assert_eq!(rig.engine.counters().retries, 1);
    assert_eq!(stage(&mut rig, Stage::QueueWait), (2, 3.0));
    assert_eq!(stage(&mut rig, Stage::Response), (2, 6.0));
    let snapshot = snapshot(&mut rig);
    assert_eq!((snapshot.destinations[0].success, snapshot.destinations[0].error), (2, 0));
    assert_eq!((snapshot.endpoints[0].success, snapshot.endpoints[0].error), (2, 1), "one try failed");
}

#[test]
fn skipped_records_have_a_total_and_frames_that_are_answered_18_have_none() {
    let mut config = config(1);
    config.rules.top.routing = None;
    config.service.max_concurrent_records = 1;
    let mut rig = rig_of(&config);
    rig.send(3);
    assert_eq!(rig.codes(), [0, 0, 0]);
    let counters = *rig.engine.counters();
    assert_eq!((counters.skipped, counters.skipped_unrouted, counters.skipped_monitors), (3, 3, 0));
    assert_eq!((stage(&mut rig, Stage::Total).0, stage(&mut rig, Stage::AckWait).0), (3, 3));
    rig.engine.rejecting = true;
    rig.engine.budget.charge_record();
    rig.send(2);
    rig.engine.budget.release_record();
    assert_eq!(rig.codes(), [18, 18]);
    assert_eq!((stage(&mut rig, Stage::Total).0, stage(&mut rig, Stage::AckWait).0), (3, 3));
    assert_eq!(snapshot(&mut rig).shown[0].records, 5);
}

#[test]
fn lag_is_from_the_last_update_to_the_arrival() {
    let mut rig = rig(1);
    let mut bytes = Vec::new();
    rig.frames.write(0, 0, &mut bytes);
    let lut = {
        let body = &bytes[8..];
        crate::record::decode(body).unwrap().lut_ms.unwrap()
    };
    for unix_ms in [lut + 250, lut - 9] {
        rig.engine.source_receive(rig.source, &bytes, Now { monotonic: rig.now, unix_ms });
    }
    assert_eq!(of(&snapshot(&mut rig).stages.lag), (2, 250.0));
}

#[test]
fn records_that_come_again_after_a_destination_took_them_are_counted() {
    let mut rig = rig(2);
    rig.send(1);
    let connections = rig.connect();
    rig.answer(connections[0].connection, OK);
    assert_eq!(rig.engine.counters().duplicates, 0);
    rig.answer(connections[1].connection, BUSY);
    assert_eq!(rig.codes(), [11]);
    assert_eq!((rig.engine.counters().duplicates, rig.engine.counters().duplicates_possible), (1, 0));
    // The other way round: it is answered first, and taken after that.
    rig.send(1);
    rig.write(connections[0].connection);
    rig.write(connections[1].connection);
    rig.answer(connections[1].connection, BUSY);
    assert_eq!(rig.codes(), [11]);
    rig.answer(connections[0].connection, OK);
    assert_eq!((rig.engine.counters().duplicates, rig.engine.counters().duplicates_possible), (2, 0));
    // One that is refused for good comes again nowhere, though the other one took it.
    rig.send(1);
    rig.write(connections[0].connection);
    rig.write(connections[1].connection);
    rig.answer(connections[0].connection, OK);
    rig.answer(connections[1].connection, REFUSED);
    assert_eq!(rig.codes(), [10]);
    assert_eq!((rig.engine.counters().duplicates, rig.engine.counters().duplicates_possible), (2, 0));
    rig.assert_empty();
}

#[test]
fn records_that_may_have_been_taken_are_counted_as_that() {
    let mut rig = rig(1);
    rig.send(1);
    rig.connect();
    rig.after(5_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    assert_eq!((rig.engine.counters().duplicates, rig.engine.counters().duplicates_possible), (0, 1));
    let figures = snapshot(&mut rig);
    let (at, text) = figures.endpoints[0].last_error.clone().unwrap();
    assert_eq!((at, text.as_str()), (rig.now, "no answer within call-timeout"));
    assert_eq!((figures.destinations[0].error, figures.endpoints[0].error), (1, 1));
    assert_eq!(of(figures.stages.of(Stage::QueueWait).unwrap()).0, 1);
    assert_eq!(of(figures.stages.of(Stage::Response).unwrap()).0, 0, "there was none");
}

#[test]
fn acks_that_a_lost_connection_never_got_are_duplicates_if_a_destination_has_the_records() {
    let mut rig = rig(1);
    rig.send(2);
    let connections = rig.connect();
    let second = connections.iter().rev().map(|connect| connect.connection);
    second.for_each(|connection| rig.answer(connection, OK));
    // Both codes are known, and one ack is written in part.
    let source = rig.source;
    let bytes = rig.engine.source_output(source, rig.now).len();
    assert_eq!(bytes, 60);
    rig.engine.source_wrote(source, 40);
    rig.engine.source_closed(source);
    assert_eq!(rig.engine.counters().duplicates, 1);
}

#[test]
fn a_batch_counts_each_of_its_records() {
    let mut rig = rig_of(&refusable(3));
    rig.send(3);
    let connection = rig.connect()[0].connection;
    rig.answer(connection, REFUSED);
    assert_eq!(rig.codes(), [0u8; 0], "it is taken apart");
    let figures = snapshot(&mut rig);
    assert_eq!((figures.destinations[0].error, figures.endpoints[0].error), (3, 3));
    assert_eq!(figures.endpoints[0].last_error.as_ref().map(|(_, text)| text.as_str()), Some("status 422"));
    rig.engine.source_closed(rig.source);
    rig.answer(connection, OK);
    rig.tick();
    // One was on its way, and was taken; the others were not sent.
    assert_eq!((rig.engine.counters().duplicates, rig.engine.counters().duplicates_possible), (1, 0));
}

#[test]
fn what_is_left_of_a_batch_that_one_destination_took_and_another_one_refused_comes_again() {
    let mut config = config(2);
    config.rules = refusable(2).rules;
    config.rules.top.routing = Some(Routing::Destinations(vec![0, 1]));
    config.destinations[1].permanent.insert(422);
    let mut rig = rig_of(&config);
    rig.send(2);
    let connections = rig.connect();
    rig.answer(connections[0].connection, OK);
    rig.answer(connections[1].connection, REFUSED);
    assert_eq!(rig.codes(), [0u8; 0], "each goes to the second one on its own");
    let another = rig.connect()[0].connection;
    rig.answer(connections[1].connection, BUSY);
    rig.answer(another, BUSY);
    assert_eq!(rig.codes(), [11, 11]);
    assert_eq!((rig.engine.counters().duplicates, rig.engine.counters().duplicates_possible), (2, 0));
    let figures = snapshot(&mut rig);
    let counts: Vec<_> = figures.destinations.iter().map(|it| (it.success, it.error)).collect();
    assert_eq!(counts, [(2, 0), (0, 4)], "a batch that is refused counts, and each of its records");
}

#[test]
fn a_url_is_shown_in_the_state_that_it_is_in() {
    let mut rig = rig(1);
    assert_eq!(snapshot(&mut rig).endpoints[0].state, UrlState::Healthy);
    for _ in 0..3 {
        rig.send(1);
        while let Some(connect) = rig.engine.next_connect() {
            rig.engine.connection_failed(connect.connection, &"10.0.0.1:80: refused", rig.now);
        }
    }
    let figures = snapshot(&mut rig);
    assert_eq!(figures.endpoints[0].state, UrlState::Unhealthy);
    let text = figures.endpoints[0].last_error.clone().map(|(_, text)| text);
    assert_eq!(text.as_deref(), Some("cannot connect: 10.0.0.1:80: refused"));
    let refused = rig.engine.counters().records;
    assert_eq!(figures.destinations[0].error, refused, "each record was an error once");
    rig.send(1);
    assert_eq!(snapshot(&mut rig).destinations[0].error, refused + 1, "so is one without a usable URL");
    rig.after(1_000);
    rig.send(1);
    assert_eq!(snapshot(&mut rig).endpoints[0].state, UrlState::Testing);
    let connection = rig.connect()[0].connection;
    rig.answer(connection, b"HTTP/1.1 503 No\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n");
    rig.after(5_000);
    rig.send(1);
    rig.write(connection);
    rig.answer(connection, OK);
    assert_eq!(snapshot(&mut rig).endpoints[0].state, UrlState::Healthy);
    rig.send(1);
    rig.write(connection);
    rig.answer(connection, b"HTTP/1.1 503 No\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(snapshot(&mut rig).endpoints[0].state, UrlState::Waiting);
}

#[test]
fn sources_are_shown_one_by_one_up_to_a_bound() {
    let mut rig = rig(1);
    rig.tick();
    for port in 0..SHOWN_SOURCES as u16 + 5 {
        rig.engine.source_open(SocketAddr::from(([10, 0, 0, 1], port)), 3000).unwrap();
    }
    rig.send(1);
    let mut figures = snapshot(&mut rig);
    assert_eq!((figures.shown.len(), figures.sources), (SHOWN_SOURCES, SHOWN_SOURCES + 6));
    assert_eq!((figures.shown[0].records, figures.shown[0].in_flight), (1, 1));
    assert_eq!((figures.shown[1].port, figures.shown[1].opened), (3000, rig.now));
    rig.engine.source_closed(rig.source);
    rig.engine.publish(&mut figures);
    assert_eq!(figures.shown[0].port, 3000, "the snapshot is written anew");
}

#[test]
fn a_wait_for_room_counts_once_however_often_its_source_tries() {
    let mut config = config(1);
    config.service.max_concurrent_records = 2;
    let mut rig = rig_of(&config);
    rig.send(4);
    let connections = rig.connect();
    for connect in &connections {
        assert_eq!(rig.engine.counters().pauses, 1);
        rig.answer(connect.connection, OK);
        let now = rig.now;
        assert_eq!(rig.engine.source_input(rig.source, now), Input::Resume);
        rig.engine.source_receive(rig.source, &[], Now { monotonic: now, unix_ms: 0 });
    }
    assert_eq!(rig.engine.counters().pauses, 1, "one of four was taken at a time");
    rig.send(1);
    assert_eq!(rig.engine.counters().pauses, 2);
}
