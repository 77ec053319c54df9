//! Frames without end (1, 4, 5, 6, 14, 15, 23), and resets without end (17).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// After the first request, `piece` without end; it has to be cut off, the record answered 11.
#[track_caller]
fn floods(open: fn(u32) -> Vec<u8>, piece: fn(u32) -> Vec<u8>, reads: bool) {
    let taken = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&taken);
    let mut arena = Arena::start(
        HTTP_2,
        plain(move |server| {
            let Some((stream, _)) = server.request() else { return };
            if reads {
                let mut copy = server.wire.stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut copy, &mut std::io::sink()));
            }
            server.wire.send(open(stream));
            let piece = piece(stream);
            let repeated = piece.repeat((16 << 10) / piece.len() + 1);
            theirs.fetch_max(server.wire.flood(&repeated, 1 << 30), Ordering::Relaxed);
        }),
    );
    assert_eq!(arena.one(0), 11);
    arena.wait_closed();
    assert!(taken.load(Ordering::Relaxed) < MOST, "{taken:?} bytes were taken");
    // What comes first ends it: the bound on what a peer may send, or the call's time.
    let is_said = |log: &str| log.contains("connection closed: ") || log.contains("no answer within call-timeout");
    support::wait_until("the cause is in the log", SOON, || is_said(&arena.connector.log()));
    assert!(arena.connector.log().lines().count() < 20, "{}", arena.connector.log());
    arena.finish();
}

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

#[test]
fn h01_a_flood_of_continuations() {
    floods(
        |stream| frame(HEADERS, END_STREAM, stream, &[0x88]),
        |stream| frame(CONTINUATION, 0, stream, &literal("a", "bcd")),
        true,
    );
}

#[test]
fn h01_a_flood_of_empty_continuations() {
    floods(|stream| frame(HEADERS, END_STREAM, stream, &[0x88]), |stream| frame(CONTINUATION, 0, stream, &[]), true);
}

#[test]
fn h05_a_flood_of_empty_data() {
    floods(|stream| ok(stream, false), |stream| data(stream, b"", false), true);
}

#[test]
fn h06_a_flood_of_pings_whose_answers_are_not_read() {
    floods(nothing, |_| frame(PING, 0, 0, &[7; 8]), false);
}

#[test]
fn h06_a_flood_of_pings_whose_answers_are_read() {
    floods(nothing, |_| frame(PING, 0, 0, &[7; 8]), true);
}

#[test]
fn h06_a_flood_of_settings_whose_answers_are_not_read() {
    floods(nothing, |_| settings(&[(INITIAL_WINDOW_SIZE, 65_535)]), false);
}

#[test]
fn h06_a_flood_of_settings_whose_answers_are_read() {
    floods(nothing, |_| settings(&[(INITIAL_WINDOW_SIZE, 65_535)]), true);
}

#[test]
fn h06_a_flood_of_acknowledgements_that_nobody_asked_for() {
    floods(nothing, |_| frame(PING, ACK, 0, &[7; 8]), true);
}

#[test]
fn h14_a_flood_of_interim_answers() {
    floods(
        nothing,
        |stream| head(stream, &[status(103), literal("link", "</style.css>; rel=preload")].concat(), false),
        true,
    );
}

#[test]
fn h15_a_flood_of_unknown_frames() {
    floods(nothing, |_| frame(0x42, 0, 0, &[0; 64]), true);
}

#[test]
fn h04_invalid_frames_that_force_resets_upon_a_peer_that_does_not_read() {
    floods(nothing, |stream| window(stream, 0), false);
}

#[test]
fn h05_a_flood_of_data_of_one_byte_ends_with_its_status() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            let Some((stream, record)) = server.request() else { return };
            server.wire.good(record);
            server.wire.send(ok(stream, false));
            let sent = server.wire.flood(&data(stream, b"x", false).repeat(2_000), 1 << 30);
            if sent > MOST {
                server.wire.fault(format!("{sent} bytes were taken"));
            }
        }),
    );
    assert_eq!(arena.one(0), 0, "its status is known, and its body is over the limit");
    arena.wait_closed();
    arena.finish();
}

#[test]
fn h23_ten_gigabytes_of_body_end_with_its_status_and_the_connection() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            let Some((stream, record)) = server.request() else { return };
            server.wire.good(record);
            server.wire.send(ok(stream, false));
            // It ignores the reset, and the windows with it.
            let sent = server.wire.flood(&data(stream, &[b'x'; 16_384], false), 10 << 30);
            if sent > MOST {
                server.wire.fault(format!("{sent} bytes were taken"));
            }
        }),
    );
    assert_eq!(arena.one(0), 0);
    arena.wait_closed();
    arena.finish();
}

#[test]
fn h23_a_body_that_keeps_to_its_windows_and_ignores_its_reset_ends_the_connection() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            let Some((stream, record)) = server.request() else { return };
            server.wire.good(record);
            server.wire.send(ok(stream, false));
            let mut room = 16i64 << 20;
            let mut sent = 0u64;
            loop {
                while room >= 1_024 {
                    if !server.wire.send(data(stream, &[b'x'; 1_024], false)) {
                        return;
                    }
                    (room, sent) = (room - 1_024, sent + 1_024);
                    if sent > MOST {
                        return server.wire.fault(format!("{sent} bytes were taken"));
                    }
                }
                match server.frame() {
                    None => return,
                    Some(frame) if frame.kind == WINDOW_UPDATE && frame.stream == 0 => {
                        room += i64::from(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
                    }
                    Some(_) => {}
                }
            }
        }),
    );
    assert_eq!(arena.one(0), 0);
    arena.wait_closed();
    arena.finish();
}

#[test]
fn h04_every_stream_is_reset_at_once() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            while let Some(stream) = server.begun() {
                server.wire.send(reset(stream, INTERNAL_ERROR));
            }
        }),
    );
    for round in 0..5 {
        assert_eq!(arena.send(round * 100..round * 100 + 100), [11; 100]);
    }
    arena.says("the peer reset the stream");
    arena.finish();
}

#[test]
fn h17_our_own_resets_are_capped() {
    const RESETS: usize = 800;
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            // Each answer is longer than what is read of one, so that each stream is reset.
            while let Some((stream, record)) = server.request() {
                server.wire.good(record);
                server.wire.send(ok(stream, false));
                let body: Vec<u8> = data(stream, &[b'x'; 16_000], false).repeat(5);
                if !server.wire.send(body) {
                    return;
                }
                if server.resets.len() > RESETS {
                    server.wire.fault(format!("{} resets on one connection", server.resets.len()));
                }
            }
        }),
    );
    for round in 0..20 {
        assert_eq!(arena.send(round * 50..round * 50 + 50), [0; 50]);
    }
    assert!(arena.peer.opened() > 1, "another connection");
    arena.says("too many of its requests were given up, or answered at too great a length");
    arena.finish();
}
