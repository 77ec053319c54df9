//! Bodies that are much larger than their messages.

use super::*;

/// A record with a list of `count` booleans, of which JSON makes six bytes each.
fn booleans(count: u32) -> Vec<u8> {
    let mut message = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 2, 0, 1];
    message.extend_from_slice(b"\x00\x00\x00\x05\x00test\x00\x00\x00\x15\x04");
    message.extend_from_slice(&[7; 20]);
    message.extend_from_slice(&(10 + count).to_be_bytes());
    message.extend_from_slice(&[2, 20, 0, 1, b'l', 0xdd]);
    message.extend_from_slice(&count.to_be_bytes());
    message.resize(message.len() + count as usize, 0xc2);
    [&crate::wire::frame::header(crate::wire::frame::FrameKind::Message, message.len())[..], &message].concat()
}

fn receive(rig: &mut Rig, bytes: &[u8]) {
    rig.engine.source_receive(rig.source, bytes, Now { monotonic: rig.now, unix_ms: 0 });
}

/// Lets connections write all that they have, and answers what they wrote.
fn answer_all(rig: &mut Rig, connections: &[Connect]) {
    for connect in connections {
        while !rig.write(connect.connection).is_empty() {}
        rig.answer(connect.connection, OK);
    }
}

#[test]
fn a_body_that_grows_beyond_what_is_usual_needs_room_and_is_answered_18_without() {
    let mut rig = Rig::new(&config(1));
    rig.frames = Generator::new(&RecordSpec { body_bytes: 6 << 20, ..RecordSpec::default() }).unwrap();
    rig.send(8);
    let connections = rig.connect();
    let full = rig.engine.in_flight_bytes();
    assert!(full > 48 << 20, "{full}");
    let large = booleans(4 << 20);
    receive(&mut rig, &large);
    assert!(rig.engine.in_flight_bytes() < full + (5 << 20), "its message waits for its place among the acks, no more");
    (0..4).for_each(|_| answer_all(&mut rig, &connections));
    assert_eq!(rig.codes(), [0, 0, 0, 0, 0, 0, 0, 0, 18], "the server sends it again");
    receive(&mut rig, &large);
    assert!(rig.engine.in_flight_bytes() > 24 << 20, "now there is room");
    answer_all(&mut rig, &connections[1..]);
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn a_body_that_there_can_never_be_room_for_is_bad_content() {
    let mut config = config(1);
    config.executors.in_flight_bytes = 32 << 20;
    let mut rig = Rig::new(&config);
    // 24 MiB: more than half, and more than twice the message.
    let large = booleans(4 << 20);
    receive(&mut rig, &large);
    assert_eq!(rig.codes(), [10]);
    // 12 MiB.
    let large = booleans(2 << 20);
    receive(&mut rig, &large);
    let connections = rig.connect();
    answer_all(&mut rig, &connections[..1]);
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn what_was_written_of_a_body_that_is_refused_is_given_back() {
    let mut rig = Rig::new(&config(1));
    let large = booleans(8 << 20);
    receive(&mut rig, &large);
    assert_eq!(rig.codes(), [10]);
    assert!(rig.engine.bodies.buffer().capacity() <= 64 << 10);
    let held = rig.engine.sources.get(rig.source).unwrap().assembler.as_ref().unwrap().held_bytes();
    assert_eq!(held, 0, "nor of its frame");
}
