//! Windows that stay shut, open late, shrink or overflow (7).

use std::time::Instant;

use super::*;

#[test]
fn h07_a_stream_window_that_overflows_while_its_request_is_sent_costs_the_request() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            server.credits = false;
            while let Some(stream) = server.begun() {
                // Twice: all of the window may have been used by now.
                server.send([window(stream, 0x7FFF_FFFF), window(stream, 0x7FFF_FFFF)]);
                if !server.wait_reset(stream) {
                    return;
                }
            }
        }),
    );
    arena.blob(300_000);
    let since = Instant::now();
    assert_eq!(arena.one(0), 11);
    assert!(since.elapsed() < Duration::from_millis(1_500), "at once: {:?}", since.elapsed());
    arena.finish();
}

#[test]
fn h07_windows_of_nothing_that_open_later() {
    let mut arena = Arena::start(
        HTTP_2,
        with(&[(INITIAL_WINDOW_SIZE, 0)], |server| {
            if server.begun().is_some() {
                std::thread::sleep(Duration::from_millis(300));
                server.wire.send(settings(&[(INITIAL_WINDOW_SIZE, 100_000)]));
                server.serve();
            }
        }),
    );
    assert_eq!(arena.send(0..50), [0; 50]);
    assert_eq!(arena.peer.seen().values().max(), Some(&1));
    arena.finish();
}

#[test]
fn h07_windows_of_nothing_for_ever_fail_calls_in_time() {
    let mut arena = Arena::start(
        HTTP_2,
        with(&[(INITIAL_WINDOW_SIZE, 0)], |server| {
            // It is there and says so, which must not keep its connection in use.
            while server.begun().is_some() {
                server.wire.send(frame(PING, 0, 0, &[1; 8]));
            }
        }),
    );
    let since = Instant::now();
    // What was sent before the first SETTINGS had a window of 65,535 bytes; nothing after it has one.
    let codes: Vec<u8> = (0..4).flat_map(|round| arena.send(round * 10..round * 10 + 10)).collect();
    assert!(codes.iter().all(|code| *code == 11), "{codes:?}");
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    arena.says("no answer within call-timeout");
    arena.says("unhealthy");
    arena.finish();
}

#[test]
fn h07_a_window_that_shrinks_below_what_is_in_flight_and_opens_again() {
    let mut arena = Arena::start(
        HTTP_2,
        with(&[(INITIAL_WINDOW_SIZE, 60_000)], |server| {
            server.credits = false;
            let Some(stream) = server.begun() else { return };
            // 60,000 bytes may be on their way: the stream's window is 60,000 below nothing now.
            std::thread::sleep(Duration::from_millis(100));
            server.wire.send(settings(&[(INITIAL_WINDOW_SIZE, 0)]));
            std::thread::sleep(Duration::from_millis(100));
            server.send([window(0, 1 << 20), window(stream, 1 << 20)]);
            server.credits = true;
            server.wire.send(settings(&[(INITIAL_WINDOW_SIZE, 65_535)]));
            server.serve();
        }),
    );
    arena.blob(300_000);
    assert_eq!(arena.one(0), 0);
    arena.finish();
}

#[test]
fn h07_a_connection_window_that_never_opens_again_costs_the_connection() {
    let mut arena = Arena::start(
        HTTP_2,
        with(&[(INITIAL_WINDOW_SIZE, 1 << 20)], |server| {
            server.credits = false;
            while let Some(request) = server.request() {
                server.answer(request);
                // The peer is there, and says so while the request cannot be sent.
                server.begun();
                server.wire.send(frame(PING, 0, 0, &[1; 8]));
            }
        }),
    );
    arena.blob(20_000);
    // 65,535 bytes are two such requests, and part of a third.
    assert_eq!((arena.one(0), arena.one(1)), (0, 0));
    let since = Instant::now();
    assert_eq!(arena.one(2), 11);
    assert!(since.elapsed() < Duration::from_secs(7), "{:?}", since.elapsed());
    assert_eq!(arena.one(3), 0, "on a new connection");
    assert_eq!(arena.peer.opened(), 2);
    wait_ended(&arena, 1);
    arena.says("no answer within call-timeout");
    arena.finish();
}

#[track_caller]
fn wait_ended(arena: &Arena, count: usize) {
    support::wait_until("the connection is closed", support::LONG, || arena.peer.ended() >= count);
}
