//! HTTP/2 servers that break every rule (`reliability.md`, HTTP peers, 1 to 17), against the real binary, each with an
//! honest neighbour on the same executor. See `hostile::Arena` for what holds in all of them. Exact windows and a million
//! repetitions are in `fault_http2_exchange.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod hostile;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hostile::http2::*;
use hostile::{Arena, Wire};

const HTTP_2: &str = "HTTP_2";
/// Within this the connector has to close a connection that it cannot use.
const SOON: Duration = Duration::from_secs(12);
/// More than any flood may send before its connection is closed: the connector's bound is 40 MiB, the rest is the kernel's.
const MOST: u64 = 64 << 20;

/// A script over frames, without any setting.
fn plain(script: impl Fn(&mut Server<'_>) + Send + Sync + 'static) -> impl Fn(&mut Wire) + Send + Sync + 'static {
    with(&[], script)
}

fn with(
    values: &'static [(u16, u32)],
    script: impl Fn(&mut Server<'_>) + Send + Sync + 'static,
) -> impl Fn(&mut Wire) + Send + Sync + 'static {
    move |wire| {
        if let Some(mut server) = Server::greet(wire, values) {
            script(&mut server);
        }
    }
}

/// What becomes of a connection after the abuse.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// The connector has to close it.
    Closed,
    /// It goes on with the next request.
    Kept,
}

/// Every request is answered with `answer`, made for its stream; each record is acked `code`, and `says` stands in the log.
#[track_caller]
fn answers(answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static, then: Then, code: u8, says: &str) {
    let mut arena = Arena::start(
        HTTP_2,
        plain(move |server| {
            while let Some((stream, record)) = server.request() {
                if code == 0 {
                    server.wire.good(record);
                }
                server.wire.send(answer(stream));
                if then == Then::Closed {
                    return server.wire.expect_closed(SOON);
                }
            }
        }),
    );
    for record in 0..3 {
        assert_eq!(arena.one(record), code, "{}", arena.connector.log());
    }
    if !says.is_empty() {
        arena.says(says);
    }
    if then == Then::Kept {
        assert_eq!(arena.peer.opened(), 1, "{}", arena.connector.log());
    } else {
        arena.wait_closed();
        assert_eq!(arena.peer.opened(), 3, "no connection is used again");
    }
    assert_eq!(arena.peer.seen().values().max(), Some(&1), "nothing is sent twice by the connector itself");
    arena.finish();
}

/// One test per answer: name, answer of a stream, what becomes of the connection, ack, words of the log.
macro_rules! answers {
    ($($name:ident: $answer:expr, $then:ident, $code:expr, $says:expr;)*) => {
        $(#[test] fn $name() { answers($answer, Then::$then, $code, $says); })*
    };
}

/// A success whose header block has `more` behind `:status 200`.
fn headed(stream: u32, more: &[u8], end: bool) -> Vec<u8> {
    head(stream, &[&[0x88], more].concat(), end)
}

fn success(stream: u32) -> Vec<u8> {
    [ok(stream, false), data(stream, b"ok", true)].concat()
}

/// A header block over as many frames as it needs.
fn continued(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = block.chunks(16_384).collect();
    let last = pieces.pop().unwrap();
    if pieces.is_empty() {
        return head(stream, last, end);
    }
    let mut bytes = frame(HEADERS, u8::from(end), stream, pieces[0]);
    pieces[1..].iter().for_each(|piece| bytes.extend(frame(CONTINUATION, 0, stream, piece)));
    bytes.extend(frame(CONTINUATION, END_HEADERS, stream, last));
    bytes
}

fn many(count: usize, header: &[u8]) -> Vec<u8> {
    [&[0x88], header.repeat(count).as_slice()].concat()
}

const BROKE: &str = "the peer broke HTTP/2";

// 2 and 3: header lists and HPACK.
answers! {
    h02_a_header_list_over_the_limit: |stream| continued(stream, &many(2_000, &literal("a", "bcdefghijklmnopq")), true), Kept, 11, "the answer is not valid HTTP";
    h02_a_header_list_far_over_the_limit: |stream| continued(stream, &many(20_000, &literal("a", "bcdefghijklmnopq")), true), Closed, 11, BROKE;
    h02_a_hundred_thousand_tiny_headers: |stream| continued(stream, &many(100_000, &literal("a", "")), true), Closed, 11, BROKE;
    h03_a_table_that_flaps: |stream| head(stream, &[[&[0x20][..], &integer(0x20, 5, 4_096)].concat().repeat(2_000), vec![0x88]].concat(), true), Kept, 0, "";
    h03_a_table_that_shrinks_and_grows_once: |stream| head(stream, &[&[0x20][..], &integer(0x20, 5, 4_096), &[0x88]].concat(), true), Kept, 0, "";
    h03_a_table_above_what_was_allowed: |stream| head(stream, &[&integer(0x20, 5, 1 << 20)[..], &[0x88]].concat(), true), Closed, 11, BROKE;
    h03_an_integer_that_overflows: |stream| head(stream, &[0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], true), Closed, 11, BROKE;
    h03_an_index_of_zero: |stream| head(stream, &[0x88, 0x80], true), Closed, 11, BROKE;
    h03_an_index_that_is_not_there: |stream| head(stream, &[&[0x88][..], &integer(0x80, 7, 5_000)].concat(), true), Closed, 11, BROKE;
    h03_a_bomb_of_references: |stream| {
        // One entry of 3 KiB in the table, then 16,000 references of a byte each: 48 MiB if it were unpacked.
        let entry = [&[0x40, 1, b'a'][..], &integer(0, 7, 3_000), &[b'x'; 3_000]].concat();
        continued(stream, &[&[0x88][..], &entry, &[0xBE; 16_000]].concat(), true)
    }, Closed, 11, BROKE;
    h03_a_broken_huffman_code: |stream| head(stream, &[0x88, 0x00, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, b'x'], true), Closed, 11, BROKE;
}

// 7: windows that may not be.
answers! {
    h07_a_connection_window_that_overflows: |_| window(0, 0x7FFF_FFFF), Closed, 11, BROKE;
    h07_a_window_that_overflows_of_a_request_that_was_sent: |stream| [window(stream, 0x7FFF_FFFF), success(stream)].concat(), Kept, 0, "";
    h07_a_connection_window_opened_by_nothing: |_| window(0, 0), Closed, 11, BROKE;
    h07_an_initial_window_above_what_can_be: |_| settings(&[(INITIAL_WINDOW_SIZE, 0x8000_0000)]), Closed, 11, BROKE;
}

// 14: answers that are odd, and answers that are wrong.
answers! {
    h14_an_interim_answer: |stream| [head(stream, &status(103), false), success(stream)].concat(), Kept, 0, "";
    h14_trailers: |stream| [ok(stream, false), data(stream, b"ok", false), head(stream, &literal("a", "b"), true)].concat(), Kept, 0, "";
    h14_trailers_that_do_not_end_the_stream: |stream| [ok(stream, false), data(stream, b"ok", false), head(stream, &literal("a", "b"), false)].concat(), Kept, 11, "";
    h14_a_final_answer_and_a_reset_without_error: |stream| [success(stream), reset(stream, NO_ERROR)].concat(), Kept, 0, "";
    h14_half_an_answer_and_a_reset_without_error: |stream| [ok(stream, false), reset(stream, NO_ERROR)].concat(), Kept, 11, "the peer reset the stream";
    h14_headers_after_the_end_of_the_stream: |stream| [success(stream), ok(stream, true)].concat(), Kept, 0, "";
    h14_data_after_the_end_of_the_stream: |stream| [success(stream), data(stream, b"more", false)].concat(), Kept, 0, "";
    h14_a_body_shorter_than_its_length: |stream| [headed(stream, &literal("content-length", "5"), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_a_body_longer_than_its_length: |stream| [headed(stream, &literal("content-length", "1"), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_a_length_and_no_body: |stream| headed(stream, &literal("content-length", "5"), true), Kept, 11, "the answer is not valid HTTP";
    h14_two_lengths_that_differ: |stream| [headed(stream, &[literal("content-length", "2"), literal("content-length", "3")].concat(), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_a_negative_length: |stream| [headed(stream, &literal("content-length", "-2"), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_no_status: |stream| head(stream, &literal("a", "b"), true), Kept, 11, "the answer is not valid HTTP";
    h14_switching_protocols: |stream| [head(stream, &status(101), false), success(stream)].concat(), Kept, 0, "";
}

// 15: frames that have no place here.
answers! {
    h15_a_push_although_push_is_off: |stream| frame(PUSH_PROMISE, END_HEADERS, stream, &[&2u32.to_be_bytes()[..], &[0x82, 0x86, 0x84]].concat()), Closed, 11, BROKE;
    h15_unknown_frames: |stream| [frame(0x42, 0xFF, stream, b"whatever"), frame(0xEE, 0, 0, &[0; 16_384]), success(stream)].concat(), Kept, 0, "";
    h15_unknown_settings: |stream| [settings(&[(0x42, 1), (0xFFFF, u32::MAX)]), success(stream)].concat(), Kept, 0, "";
    h15_a_frame_above_the_size_that_was_allowed: |stream| [ok(stream, false), data(stream, &[b'x'; 16_385], true)].concat(), Closed, 11, BROKE;
    h15_a_stream_of_the_servers_own: |_| ok(2, true), Closed, 11, BROKE;
    h15_a_stream_that_was_never_opened: |_| ok(999, true), Closed, 11, BROKE;
    h15_data_on_stream_0: |_| data(0, b"x", false), Closed, 11, BROKE;
    h15_settings_of_an_odd_length: |_| frame(SETTINGS, 0, 0, &[0; 5]), Closed, 11, BROKE;
    h15_padding_longer_than_its_frame: |stream| [ok(stream, false), frame(DATA, PADDED, stream, &[200, 1, 2])].concat(), Closed, 11, BROKE;
    h15_a_continuation_of_nothing: |stream| frame(CONTINUATION, END_HEADERS, stream, &[0x88]), Closed, 11, BROKE;
}

// 12 and 24.
answers! {
    h12_a_cancelled_stream_may_have_been_processed: |stream| reset(stream, CANCEL), Kept, 11, "the peer reset the stream";
    h12_an_internal_error_may_have_been_processed: |stream| reset(stream, INTERNAL_ERROR), Kept, 11, "the peer reset the stream";
    h24_redirects_are_never_followed: |stream| head(stream, &[status(307), literal("location", "http://127.0.0.1:1/")].concat(), true), Kept, 11, "status 307";
}

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
    assert_eq!(arena.send(100..110).iter().filter(|code| **code == 0).count() <= 1, true);
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
