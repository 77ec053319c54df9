//! How many streams a peer allows, and when it says so (9, 10).

use std::time::Instant;

use super::*;

#[test]
fn h09_no_stream_at_the_start_then_some() {
    let mut arena = Arena::start(
        HTTP_2,
        with(&[(MAX_CONCURRENT_STREAMS, 0)], |server| {
            std::thread::sleep(Duration::from_millis(500));
            server.wire.send(settings(&[(MAX_CONCURRENT_STREAMS, 10)]));
            let mut open = Vec::new();
            while let Some((stream, record)) = server.request() {
                // Those that were opened before the limit was known are the peer's to refuse.
                if stream == 1 {
                    open.push(record);
                }
                server.answer((stream, record));
            }
        }),
    );
    assert_eq!(arena.send(0..200), [0; 200]);
    arena.finish();
}

#[test]
fn h09_no_stream_for_ever_ends_at_the_deadline_and_counts_against_the_url() {
    let mut arena = Arena::with(
        HTTP_2,
        with(&[(MAX_CONCURRENT_STREAMS, 0)], |server| {
            while let Some(stream) = server.begun() {
                server.wire.send(reset(stream, REFUSED_STREAM));
            }
        }),
        |settings, _| settings.limit("record-deadline: 1s"),
    );
    // The first ones may have left before the limit was known, and are refused.
    arena.send(0..5);
    let since = Instant::now();
    assert_eq!(arena.send(5..45), [11; 40]);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    arena.says("unhealthy");
    let since = Instant::now();
    for record in 45..50 {
        assert_eq!(arena.one(record), 11);
    }
    assert!(since.elapsed() < Duration::from_secs(5), "all but one that tests fail fast: {:?}", since.elapsed());
    arena.finish();
}

#[test]
fn h09_no_stream_later_ends_at_the_deadline() {
    let mut arena = Arena::with(
        HTTP_2,
        plain(|server| {
            while let Some(request) = server.request() {
                server.wire.send(settings(&[(MAX_CONCURRENT_STREAMS, 0)]));
                server.answer(request);
            }
        }),
        |settings, _| settings.limit("record-deadline: 1s").set("max-connections-per-endpoint: 1"),
    );
    assert_eq!(arena.one(0), 0);
    let since = Instant::now();
    assert_eq!(arena.send(1..4), [11; 3]);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    arena.finish();
}

#[test]
fn h09_with_no_stream_at_one_url_the_other_has_the_records() {
    let other = support::sink(ringpost_load::sink::Behaviour::default());
    let address = other.addr();
    let mut arena = Arena::with(
        HTTP_2,
        with(&[(MAX_CONCURRENT_STREAMS, 0)], |server| {
            while let Some(stream) = server.begun() {
                server.wire.send(reset(stream, REFUSED_STREAM));
            }
        }),
        move |mut settings, _| {
            settings.destinations[0].urls.push(format!("http://{address}/records"));
            settings.limit("record-deadline: 1s")
        },
    );
    // Until the URL is found out, records may wait there for their deadline.
    support::wait_until("the URL without streams is found out", support::LONG, || {
        arena.neutral(0..20);
        arena.connector.log().contains("unhealthy")
    });
    let mut refused = 0;
    for record in 20..120 {
        refused += arena.neutral(record..record + 1).iter().filter(|code| **code != 0).count();
    }
    assert!(refused <= 2, "{refused} of 100: all but what tests the URL");
    arena.finish();
}

#[test]
fn h09_one_stream_at_a_time() {
    limited(1);
}

#[test]
fn h09_as_many_streams_as_can_be_said() {
    limited(u32::MAX);
}

/// No more streams at once than were allowed, once that is known.
#[track_caller]
fn limited(streams: u32) {
    let mut arena = Arena::start(HTTP_2, move |wire| {
        let Some(mut server) = Server::greet(wire, &[(MAX_CONCURRENT_STREAMS, streams)]) else { return };
        let mut knows = false;
        let mut open = std::collections::BTreeMap::<u32, u64>::new();
        while let Some(frame) = server.frame() {
            knows |= frame.kind == SETTINGS && frame.flags & ACK != 0;
            if frame.kind == HEADERS {
                open.insert(frame.stream, 0);
                if knows && open.len() > streams.min(256) as usize {
                    server.wire.fault(format!("{} streams at once", open.len()));
                }
            }
            if let Some(request) = server.take(&frame) {
                std::thread::sleep(Duration::from_millis(1));
                open.remove(&request.0);
                server.answer(request);
            }
        }
    });
    assert_eq!(arena.send(0..300), [0; 300]);
    arena.finish();
}

#[test]
fn h09_a_limit_that_falls_below_what_is_open() {
    let mut arena = Arena::with(
        HTTP_2,
        plain(|server| {
            let open = server.requests(50);
            server.wire.send(settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
            // It is known when it is acknowledged; the 50 go on.
            while server.frame().is_some_and(|frame| frame.kind != SETTINGS || frame.flags & ACK == 0) {}
            let before = server.begun.len();
            for request in open {
                server.answer(request);
            }
            if server.begun.len() > before {
                server.wire.fault("a stream was opened above the limit");
            }
            server.serve();
        }),
        |settings, _| settings.set("max-connections-per-endpoint: 1"),
    );
    assert_eq!(arena.send(0..50), [0; 50]);
    assert_eq!(arena.send(50..100), [0; 50]);
    assert_eq!(arena.peer.seen().values().max(), Some(&1));
    arena.finish();
}

#[test]
fn h10_a_hundred_streams_before_the_peers_settings() {
    let mut arena = Arena::with(
        HTTP_2,
        |wire| {
            let Some(mut server) = Server::silent(wire) else { return };
            let early = server.requests(100);
            server.wire.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            if let Some(more) = server.begun() {
                server.wire.fault(format!("stream {more} before SETTINGS"));
            }
            server.wire.stream.set_read_timeout(Some(support::LONG)).unwrap();
            server.wire.send(settings(&[]));
            for request in early {
                server.answer(request);
            }
            server.serve();
        },
        |settings, _| settings.set("max-connections-per-endpoint: 1"),
    );
    assert_eq!(arena.send(0..300), [0; 300]);
    arena.finish();
}

#[test]
fn h10_settings_that_never_come() {
    // RFC 9113 section 3.4: what comes first must be SETTINGS; without them nothing that the peer says counts.
    let mut arena = Arena::start(HTTP_2, |wire| {
        let Some(mut server) = Server::silent(wire) else { return };
        while let Some((stream, _)) = server.request() {
            server.wire.send(frame(PING, 0, 0, &[1; 8]));
            server.wire.send(frame(HEADERS, END_HEADERS, stream, &status(500)));
        }
    });
    assert_eq!(arena.one(0), 11);
    arena.finish();
}
