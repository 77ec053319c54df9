//! How a request or a connection ends: GOAWAY, REFUSED_STREAM, silence, early answers, another protocol, drips (11 to 14, 16, 22).

use std::time::Instant;

use super::*;

#[test]
fn h11_streams_above_the_last_of_a_go_away_are_sent_once_more() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            if server.wire.number > 0 {
                return server.serve();
            }
            let requests = server.requests(20);
            // The first ten are taken, the others were never looked at.
            let last = requests[9].0;
            server.wire.send(go_away(last, NO_ERROR));
            std::thread::sleep(Duration::from_millis(100));
            for request in &requests[..10] {
                server.answer(*request);
            }
            server.wire.expect_closed(SOON);
        }),
    );
    assert_eq!(arena.send(0..20), [0; 20]);
    let seen = arena.peer.seen();
    assert_eq!(seen.values().filter(|count| **count == 2).count(), 10, "{seen:?}");
    assert_eq!(seen.values().max(), Some(&2));
    arena.finish();
}

#[test]
fn h11_a_graceful_go_away_in_two_steps_loses_and_repeats_nothing() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            if server.wire.number > 0 {
                return server.serve();
            }
            let requests = server.requests(20);
            server.wire.send(go_away(0x7FFF_FFFF, NO_ERROR));
            std::thread::sleep(Duration::from_millis(100));
            server.wire.send(go_away(requests[19].0, NO_ERROR));
            for request in requests {
                server.answer(request);
            }
            server.wire.expect_closed(SOON);
        }),
    );
    assert_eq!(arena.send(0..20), [0; 20]);
    assert_eq!(arena.one(20), 0, "on a new connection");
    assert_eq!((arena.peer.seen().values().max(), arena.peer.opened()), (Some(&1), 2));
    arena.finish();
}

#[test]
fn h11_streams_that_a_go_away_took_and_that_then_end_are_not_sent_again() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            let requests = server.requests(10);
            if let Some(last) = requests.last() {
                server.wire.send(go_away(last.0, NO_ERROR));
            }
        }),
    );
    assert_eq!(arena.send(0..10), [11; 10]);
    assert_eq!(arena.peer.seen().values().max(), Some(&1), "they may have been processed");
    arena.finish();
}

#[test]
fn h11_a_second_go_away_for_the_same_record_is_the_last() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            if server.request().is_some() {
                server.wire.send(go_away(0, NO_ERROR));
                server.wire.expect_closed(SOON);
            }
        }),
    );
    assert_eq!(arena.one(0), 11);
    assert_eq!(arena.peer.seen()[&0], 2);
    arena.says("going away");
    arena.finish();
}

#[test]
fn h11_a_go_away_that_asks_for_calm_is_heeded() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            if let Some((stream, _)) = server.request() {
                server.wire.send(go_away(stream, ENHANCE_YOUR_CALM));
            }
        }),
    );
    for record in 0..20 {
        assert_eq!(arena.one(record), 11);
    }
    arena.says("unhealthy");
    assert!(arena.peer.opened() < 10, "{} connections for 20 records", arena.peer.opened());
    arena.finish();
}

#[test]
fn h12_a_refused_stream_is_sent_once_more() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            let mut refused = std::collections::BTreeSet::new();
            while let Some((stream, record)) = server.request() {
                if refused.insert(record) {
                    server.wire.send(reset(stream, REFUSED_STREAM));
                } else {
                    server.answer((stream, record));
                }
            }
        }),
    );
    assert_eq!(arena.send(0..20), [0; 20]);
    let seen = arena.peer.seen();
    assert!(seen.values().all(|count| *count == 2), "{seen:?}");
    arena.finish();
}

#[test]
fn h12_a_stream_that_is_refused_twice_is_left_to_the_source() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            while let Some((stream, _)) = server.request() {
                server.wire.send(reset(stream, REFUSED_STREAM));
            }
        }),
    );
    assert_eq!(arena.send(0..20), [11; 20]);
    assert!(arena.peer.seen().values().all(|count| *count == 2), "{:?}", arena.peer.seen());
    arena.says("the peer refused the stream");
    arena.finish();
}

#[test]
fn h12_a_stream_that_is_refused_after_half_an_answer_is_not_sent_again() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            while let Some((stream, _)) = server.request() {
                server.send([ok(stream, false), data(stream, b"o", false), reset(stream, REFUSED_STREAM)]);
            }
        }),
    );
    assert_eq!(arena.send(0..20), [11; 20]);
    assert_eq!(arena.peer.seen().values().max(), Some(&1));
    arena.finish();
}

#[test]
fn h13_a_peer_that_falls_silent_fails_calls_in_time_and_is_left() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            if let Some(request) = server.request() {
                server.answer(request);
            }
            server.wire.hang();
        }),
    );
    assert_eq!(arena.one(0), 0);
    let since = Instant::now();
    assert_eq!(arena.send(1..100), [11; 99]);
    assert!(since.elapsed() < Duration::from_millis(5 * 1_500), "{:?}", since.elapsed());
    arena.says("no answer within call-timeout");
    arena.says("unhealthy");
    let since = Instant::now();
    assert_eq!(arena.send(100..110), [11; 10]);
    assert!(since.elapsed() < Duration::from_millis(5 * 1_500), "{:?}", since.elapsed());
    arena.finish();
}

#[test]
fn h13_a_peer_that_never_says_a_word() {
    let mut arena = Arena::start(HTTP_2, |wire| wire.hang());
    assert_eq!(arena.send(0..5), [11; 5]);
    arena.says("no answer within call-timeout");
    arena.finish();
}

#[test]
fn h14_an_early_success_counts_when_the_rest_of_the_request_was_taken() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            let Some(stream) = server.begun() else { return };
            server.wire.send(ok(stream, true));
            std::thread::sleep(Duration::from_millis(200));
            match server.request() {
                Some((_, record)) => server.wire.good(record),
                None => server.wire.fault("the rest of the request never came"),
            }
            server.serve();
        }),
    );
    arena.blob(300_000);
    assert_eq!(arena.one(0), 0);
    arena.finish();
}

#[test]
fn h14_an_early_success_by_a_peer_that_never_takes_the_request_is_none() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            server.credits = false;
            while let Some(stream) = server.begun() {
                server.wire.send(ok(stream, true));
            }
        }),
    );
    arena.blob(300_000);
    assert_eq!(arena.one(0), 11);
    arena.says("no answer within call-timeout");
    arena.finish();
}

#[test]
fn h14_an_early_refusal_is_taken_at_once() {
    let mut arena = Arena::start(
        HTTP_2,
        plain(|server| {
            server.credits = false;
            while let Some(stream) = server.begun() {
                server.send([head(stream, &status(413), true), reset(stream, NO_ERROR)]);
            }
        }),
    );
    arena.blob(300_000);
    let since = Instant::now();
    assert_eq!(arena.one(0), 11);
    assert!(since.elapsed() < Duration::from_millis(1_500), "{:?}", since.elapsed());
    arena.says("status 413");
    arena.finish();
}

/// An answer to the preface in another protocol: an operator is told what to set, records fail at once.
#[track_caller]
fn speaks(answer: &'static [u8], says: &str) {
    let mut arena = Arena::start(HTTP_2, move |wire| {
        if wire.read() {
            wire.send(answer);
        }
        std::thread::sleep(Duration::from_millis(50));
    });
    let since = Instant::now();
    for record in 0..20 {
        assert_eq!(arena.one(record), 11);
    }
    assert!(since.elapsed() < Duration::from_secs(7), "they fail fast: {:?}", since.elapsed());
    arena.says(says);
    arena.finish();
}

#[test]
fn h16_a_server_of_http1_that_answers_400_to_the_preface() {
    speaks(
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "this URL speaks HTTP/1.1; set protocol: HTTP_1_1",
    );
}

#[test]
fn h16_a_server_of_http1_that_closes_without_a_word() {
    speaks(b"", "without a word of HTTP/2; if this URL speaks HTTP/1.1, set protocol: HTTP_1_1");
}

#[test]
fn h16_a_server_of_tls() {
    speaks(b"\x15\x03\x01\0\x02\x02\x46", "this URL speaks TLS");
}

#[test]
fn h16_a_server_of_something_else() {
    speaks(b"220 mail.example ESMTP\r\n", "connection closed");
}

#[test]
fn h22_a_head_that_drips_ends_at_the_call_timeout() {
    drips(|stream| continued(stream, &many(20, &literal("a", "bcd")), true), 1);
}

#[test]
fn h22_a_body_that_drips_ends_at_the_call_timeout() {
    drips(|stream| [ok(stream, false), data(stream, b"x", false).repeat(100)].concat(), 10);
}

/// The call's whole time counts, not the time since the last byte; the connection is of no further use.
#[track_caller]
fn drips(answer: fn(u32) -> Vec<u8>, piece: usize) {
    let mut arena = Arena::start(
        HTTP_2,
        plain(move |server| {
            let Some((stream, _)) = server.request() else { return };
            for bytes in answer(stream).chunks(piece).take(50) {
                if !server.wire.send(bytes) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            server.wire.expect_closed(SOON);
        }),
    );
    let since = Instant::now();
    assert_eq!(arena.one(0), 11);
    assert!(since.elapsed() < Duration::from_millis(3 * 1_500), "{:?}", since.elapsed());
    arena.says("no answer within call-timeout");
    arena.wait_closed();
    arena.finish();
}
