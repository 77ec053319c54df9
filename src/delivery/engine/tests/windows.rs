//! What acks that cannot be given yet take, and what they are charged.

use super::super::super::source::{ACKS_PER_TLS_WRITE, REJECTING_WINDOW_LIMIT, WINDOW_LIMIT};
use super::*;

/// One connection, and room for as many records as a window has places.
fn wide() -> Config {
    let mut config = config(1);
    config.destinations[0].call_timeout = Duration::from_secs(20);
    config.destinations[0].max_request_queued_per_endpoint = 100_000;
    config.service.max_concurrent_records = 100_000;
    config.executors.in_flight_bytes = 1 << 30;
    config
}

/// Bytes that the window and the acks of the source really have, and what is charged for them.
fn acks(rig: &Rig) -> (u64, u64) {
    let source = rig.engine.sources.get(rig.source).unwrap();
    (source.ack_bytes(), source.charged_acks)
}

/// The record on its way is taken, and the next one comes.
fn answer_and_send(rig: &mut Rig, connection: Key) {
    rig.answer(connection, OK);
    rig.now = rig.now + Duration::from_nanos(100);
    rig.send(1);
    rig.write(connection);
}

#[test]
fn codes_that_wait_for_an_older_one_are_charged() {
    let mut rig = Rig::new(&wide());
    rig.send(2);
    let connections = rig.connect();
    // Each in a read of its own, which takes most.
    for _ in 2..WINDOW_LIMIT {
        answer_and_send(&mut rig, connections[1].connection);
    }
    rig.answer(connections[1].connection, OK);
    assert_eq!((rig.codes().len(), rig.engine.in_flight()), (0, 1));
    let (held, charged) = acks(&rig);
    assert_eq!(held, charged);
    assert!((1 << 20..1_400 << 10).contains(&held), "{held} bytes: what the documentation says");
    assert!(rig.engine.in_flight_bytes() > held);
    let now = rig.now;
    assert_eq!(rig.engine.source_input(rig.source, now), Input::Wait);
    rig.answer(connections[0].connection, OK);
    let mut codes = 0;
    while codes < WINDOW_LIMIT {
        codes += rig.codes().len();
    }
    assert_eq!(acks(&rig), (0, 0), "what is not needed any more was given back");
    rig.assert_empty();
}

#[test]
fn while_frames_are_answered_18_few_codes_wait_for_an_older_one() {
    let mut config = wide();
    config.service.max_concurrent_records = 10;
    let mut rig = Rig::new(&config);
    rig.send(5_000);
    rig.connect();
    rig.after(2_000);
    rig.tick();
    let now = rig.now;
    assert_eq!(rig.engine.source_input(rig.source, now), Input::Resume);
    rig.engine.source_receive(rig.source, &[], Now { monotonic: now, unix_ms: 0 });
    let window = rig.engine.sources.get(rig.source).unwrap().window.len();
    assert_eq!((window, rig.engine.in_flight()), (REJECTING_WINDOW_LIMIT, 10), "the rest waits where it is");
    assert_eq!(rig.engine.source_input(rig.source, now), Input::Wait);
    let mut codes = Vec::new();
    rig.after(5_000);
    rig.tick();
    while codes.len() < 5_000 {
        let more = rig.codes();
        assert!(!more.is_empty(), "{} codes", codes.len());
        codes.extend(more);
        if rig.engine.source_input(rig.source, rig.now) == Input::Resume {
            rig.engine.source_receive(rig.source, &[], Now { monotonic: rig.now, unix_ms: 0 });
        }
        rig.tick();
    }
    assert_eq!((&codes[..10], codes[10]), (&[11; 10][..], 18));
}

#[test]
fn what_is_written_in_tls_fits_one_record_and_is_not_kept_here() {
    let mut rig = Rig::new(&wide());
    let now = rig.now;
    rig.engine.source_handshake_begins(rig.source, now);
    rig.engine.source_secured(rig.source);
    rig.send(2);
    let connections = rig.connect();
    for _ in 0..2_000 {
        answer_and_send(&mut rig, connections[1].connection);
    }
    rig.answer(connections[0].connection, OK);
    let bytes = rig.engine.source_output(rig.source, now).len();
    assert_eq!(bytes, ACKS_PER_TLS_WRITE * 30);
    let with = acks(&rig).0;
    rig.engine.source_wrote(rig.source, bytes);
    assert!(acks(&rig).0 + bytes as u64 <= with, "they wait in TLS now, and not here");
}

#[test]
fn handshakes_of_all_executors_hold_what_the_documentation_says() {
    for executors in 1..=1024 {
        let mib = super::super::sources::handshakes_at_once(executors) * executors * 128 / 1024;
        assert!(mib <= 32.max(executors), "{mib} MiB for {executors} executors");
    }
}
