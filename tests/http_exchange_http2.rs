//! The HTTP/2 exchange against a peer that writes frames by hand, and against the `h2` crate's server for the headers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::prelude::*;

use ringpost::http::FailureKind::{Closed, GoneAway, Malformed, Refused, Reset, Silent};
use ringpost::http::{ExchangeLimits, Outcome, Processed, Request, State, Ticket};

#[path = "http_exchange/peer.rs"]
mod peer;
#[path = "http_exchange/wire.rs"]
mod wire;
use peer::*;
use wire::Wire;

#[test]
fn many_requests_share_one_connection_and_leave_nothing_behind() {
    let mut connection = Connection::open();
    let mut stream = 1;
    for _ in 0..10_000 {
        let ticket = connection.submit();
        let frames = connection.take();
        assert_eq!(frames.iter().map(|f| (f.kind, f.stream)).collect::<Vec<_>>(), [(HEADERS, stream), (DATA, stream)]);
        assert_eq!((frames[1].payload.as_slice(), frames[1].flags), (b"{}".as_slice(), END_STREAM));
        connection.receive(&[ok(stream, false), data(stream, b"ok", true)]);
        assert_eq!(connection.outcomes(), [good(ticket)]);
        stream += 2;
    }
    assert_eq!((connection.exchange.in_flight(), connection.exchange.capacity()), (0, ExchangeLimits::STREAMS));
    assert_eq!(connection.exchange.state(), State::Open);
}

#[test]
fn outcomes_come_in_the_order_of_the_peer_and_from_any_split() {
    let mut connection = Connection::open();
    let tickets: Vec<Ticket> = (0..50).map(|_| connection.submit()).collect();
    connection.take();
    let bytes: Vec<u8> =
        (0..50).rev().flat_map(|n| [ok(2 * n + 1, false), data(2 * n + 1, b"x", true)].concat()).collect();
    for byte in bytes.chunks(1) {
        connection.exchange.receive(byte);
    }
    assert_eq!(connection.outcomes(), tickets.iter().rev().map(|ticket| good(*ticket)).collect::<Vec<_>>());
}

#[test]
fn interim_responses_and_trailers_are_skipped() {
    let mut connection = Connection::open();
    let ticket = connection.submit();
    connection.take();
    // :status 103 as a literal with the indexed name 8.
    connection.receive(&[frame(HEADERS, END_HEADERS, 1, b"\x08\x03103")]);
    assert_eq!(connection.outcomes(), []);
    connection.receive(&[ok(1, false), data(1, b"body", false)]);
    assert_eq!(connection.outcomes(), [], "a response counts when it is complete");
    connection.receive(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b")]);
    assert_eq!(connection.outcomes(), [good(ticket)]);
}

#[test]
fn the_peers_stream_limit_holds() {
    let mut fresh = Connection::with(ExchangeLimits { max_streams: 256, ..ExchangeLimits::default() });
    assert_eq!(fresh.exchange.capacity(), 100, "until the peer has said more");
    fresh.take();
    fresh.receive(&[settings(&[])]);
    assert_eq!(fresh.exchange.capacity(), 256);
    fresh.receive(&[settings(&[(MAX_CONCURRENT_STREAMS, 1)])]);
    assert_eq!(fresh.exchange.capacity(), 1);
    let ticket = fresh.submit();
    assert_eq!(fresh.exchange.capacity(), 0);
    let back = fresh.exchange.submit(ticket, Request::json(Bytes::from_static(b"x"), [0; 20]));
    assert!(back.is_err_and(|request| request.body == "x"), "the request comes back");
    fresh.take();
    fresh.receive(&[ok(1, true), settings(&[(MAX_CONCURRENT_STREAMS, 0)])]);
    assert_eq!(fresh.outcomes(), [good(ticket)]);
    assert_eq!((fresh.exchange.capacity(), fresh.exchange.state()), (0, State::Open));
    fresh.receive(&[settings(&[(MAX_CONCURRENT_STREAMS, 5)])]);
    assert_eq!(fresh.exchange.capacity(), 5);
}

#[test]
fn a_limit_below_what_is_open_stops_new_streams_until_enough_have_ended() {
    let mut connection = Connection::open();
    let tickets: Vec<Ticket> = (0..5).map(|_| connection.submit()).collect();
    connection.take();
    connection.receive(&[settings(&[(MAX_CONCURRENT_STREAMS, 3)])]);
    assert_eq!((connection.exchange.capacity(), connection.exchange.in_flight()), (0, 5));
    connection.receive(&[ok(1, true), ok(3, true)]);
    assert_eq!(connection.exchange.capacity(), 0);
    connection.receive(&[ok(5, true)]);
    assert_eq!((connection.outcomes().len(), connection.exchange.capacity()), (3, 1));
    connection.receive(&[settings(&[(MAX_CONCURRENT_STREAMS, u32::MAX)])]);
    assert_eq!(connection.exchange.capacity(), ExchangeLimits::STREAMS - 2, "never more than is configured");
    connection.receive(&[ok(7, true), ok(9, true)]);
    assert_eq!(connection.outcomes(), [good(tickets[3]), good(tickets[4])]);
}

#[test]
fn pings_go_out_one_at_a_time_and_their_answers_are_no_outcomes() {
    let mut connection = Connection::open();
    let pings = |connection: &mut Connection| -> Vec<Frame> {
        connection.take().into_iter().filter(|frame| frame.kind == PING).collect()
    };
    assert!(connection.exchange.ping());
    let sent = pings(&mut connection);
    assert_eq!((sent.len(), sent[0].flags), (1, 0));
    assert!(connection.exchange.ping());
    assert_eq!(pings(&mut connection).len(), 0, "one answer is owed already");
    connection.receive(&[frame(PING, 1, 0, &sent[0].payload)]);
    assert_eq!((connection.outcomes(), connection.exchange.state()), (vec![], State::Open));
    assert!(connection.exchange.ping());
    assert_eq!(pings(&mut connection).len(), 1);
}

#[test]
fn a_lost_connection_fails_what_went_out_as_unknown_and_the_rest_as_untouched() {
    let mut connection = Connection::open();
    let sent = connection.submit();
    connection.take();
    let unsent = connection.submit();
    connection.exchange.lose();
    assert_eq!(
        connection.outcomes(),
        [failed(sent, Silent, Processed::Unknown), failed(unsent, Silent, Processed::No)]
    );
    assert_eq!((connection.exchange.state(), connection.take().len()), (State::Closed, 0));
    assert!(!connection.exchange.ping());
}

#[test]
fn only_a_refused_stream_may_be_sent_again() {
    let mut connection = Connection::open();
    let tickets: Vec<Ticket> = (0..4).map(|_| connection.submit()).collect();
    connection.take();
    connection.receive(&[reset(1, REFUSED_STREAM), reset(3, CANCEL), ok(5, false), data(5, b"x", false)]);
    connection.receive(&[reset(5, REFUSED_STREAM), ok(7, true)]);
    let mut outcomes = connection.outcomes();
    outcomes.sort_by_key(|(ticket, _)| ticket.slot);
    assert_eq!(
        outcomes,
        [
            failed(tickets[0], Refused, Processed::No),
            failed(tickets[1], Reset, Processed::Unknown),
            failed(tickets[2], Refused, Processed::Unknown),
            good(tickets[3]),
        ]
    );
    assert_eq!(connection.exchange.state(), State::Open);
}

#[test]
fn go_away_spares_the_streams_it_took() {
    let mut connection = Connection::open();
    let tickets: Vec<Ticket> = (0..3).map(|_| connection.submit()).collect();
    connection.take();
    connection.receive(&[go_away(1, NO_ERROR)]);
    let no = |ticket| failed(ticket, GoneAway, Processed::No);
    assert_eq!(connection.outcomes(), [no(tickets[1]), no(tickets[2])]);
    assert_eq!((connection.exchange.state(), connection.exchange.capacity()), (State::Draining, 0));
    connection.receive(&[ok(1, true)]);
    assert_eq!(connection.outcomes(), [good(tickets[0])]);
    assert_eq!(connection.exchange.state(), State::Closed);
    assert!(connection.exchange.why_closed().unwrap().contains("going away"));
}

#[test]
fn a_graceful_go_away_takes_nothing_more_and_ends_when_the_rest_is_done() {
    let mut connection = Connection::open();
    let (first, second) = (connection.submit(), connection.submit());
    connection.take();
    connection.receive(&[go_away(0x7FFF_FFFF, NO_ERROR)]);
    assert_eq!((connection.outcomes(), connection.exchange.state()), (vec![], State::Draining));
    connection.receive(&[ok(1, true), go_away(3, NO_ERROR)]);
    assert_eq!(connection.outcomes(), [good(first)]);
    connection.exchange.end();
    assert_eq!(connection.outcomes(), [failed(second, Closed, Processed::Unknown)]);

    let mut given_up = Connection::open();
    let ticket = given_up.submit();
    given_up.take();
    given_up.receive(&[go_away(1, NO_ERROR)]);
    assert_eq!(given_up.exchange.state(), State::Draining);
    given_up.exchange.cancel(ticket);
    assert_eq!((given_up.exchange.state(), given_up.outcomes()), (State::Closed, vec![]));

    let mut idle = Connection::open();
    idle.receive(&[go_away(0, NO_ERROR)]);
    assert_eq!((idle.exchange.state(), idle.exchange.capacity()), (State::Closed, 0));
}

#[test]
fn the_end_of_the_connection_answers_everything_once() {
    let mut connection = Connection::open();
    let (cut, done, sent) = (connection.submit(), connection.submit(), connection.submit());
    connection.take();
    let unsent = connection.submit();
    connection.receive(&[ok(1, false), data(1, b"half", false), ok(3, true)]);
    connection.exchange.end();
    let mut outcomes = connection.outcomes();
    outcomes.sort_by_key(|(ticket, _)| ticket.slot);
    assert_eq!(
        outcomes,
        [
            failed(cut, Closed, Processed::Unknown),
            good(done),
            failed(sent, Closed, Processed::Unknown),
            failed(unsent, Closed, Processed::No),
        ]
    );
    assert_eq!((connection.exchange.state(), connection.exchange.in_flight()), (State::Closed, 0));
    assert_eq!(connection.take(), [], "what may be sent elsewhere is not sent here");
}

#[test]
fn a_complete_response_stands_although_the_rest_of_the_request_is_refused() {
    let mut connection = small_window_exchange();
    let ticket = connection.submit_body(vec![b'x'; 100].into());
    connection.take();
    connection.receive(&[ok(1, false), data(1, b"ok", true), reset(1, 0)]);
    assert_eq!(connection.outcomes(), [good(ticket)]);
    assert_eq!(connection.exchange.state(), State::Open);

    // The same reset after half a response is a failure.
    let mut cut = small_window_exchange();
    let ticket = cut.submit_body(vec![b'x'; 100].into());
    cut.take();
    cut.receive(&[ok(1, false), data(1, b"o", false), reset(1, 0)]);
    assert_eq!(cut.outcomes(), [failed(ticket, Reset, Processed::Unknown)]);
}

#[test]
fn a_peer_that_speaks_http1_is_named_however_its_answer_is_cut() {
    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for at in 1..answer.len() {
        let mut connection = Connection::with(ExchangeLimits::default());
        let ticket = connection.submit();
        connection.take();
        connection.exchange.receive(&answer[..at]);
        connection.exchange.receive(&answer[at..]);
        assert_eq!(connection.outcomes(), [failed(ticket, Malformed, Processed::Unknown)]);
        assert_eq!(connection.exchange.state(), State::Closed);
        let why = connection.exchange.why_closed().unwrap();
        assert_eq!(why, "this URL speaks HTTP/1.1; set protocol: HTTP_1_1", "cut at {at}");
    }
}

#[test]
fn a_body_above_the_window_goes_out_as_the_window_opens() {
    let limits = ExchangeLimits { transmit_high_water: 64 << 10, ..ExchangeLimits::default() };
    let mut connection = Connection::with(limits);
    connection.take();
    connection.receive(&[settings(&[])]);
    let body: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let ticket = connection.submit_body(body.clone().into());
    let mut sent = Vec::new();
    while sent.len() < body.len() {
        let mut part = Vec::new();
        connection.exchange.transmit(&mut part);
        assert!(part.len() <= 64 << 10, "{}", part.len());
        connection.pending.extend(part);
        let frames = connection.take();
        let data: Vec<u8> = frames.iter().filter(|f| f.kind == DATA).flat_map(|f| f.payload.clone()).collect();
        assert!(!data.is_empty(), "stuck after {}", sent.len());
        let opened = u32::try_from(data.len()).unwrap();
        sent.extend(data);
        connection.receive(&[window(0, opened), window(1, opened)]);
    }
    assert_eq!(sent, body);
    connection.receive(&[ok(1, true)]);
    assert_eq!(connection.outcomes(), [good(ticket)]);
}

#[test]
fn a_stuck_request_that_is_cancelled_gives_its_window_back() {
    let mut connection = Connection::open();
    let stuck = connection.submit_body(vec![b'x'; 200_000].into());
    let sent: usize = connection.take().iter().filter(|f| f.kind == DATA).map(|f| f.payload.len()).sum();
    assert_eq!(sent, 65_535);
    connection.exchange.cancel(stuck);
    let frames = connection.take();
    assert_eq!(frames.iter().map(|f| (f.kind, f.stream)).collect::<Vec<_>>(), [(RST_STREAM, 1)]);
    assert_eq!(frames[0].payload, CANCEL.to_be_bytes());
    let next = connection.submit();
    connection.receive(&[window(0, 100)]);
    let frames = connection.take();
    assert!(frames.iter().any(|f| f.kind == DATA && f.stream == 3 && f.flags == END_STREAM), "{frames:?}");
    connection.receive(&[ok(3, true)]);
    assert_eq!(connection.outcomes(), [good(next)]);
}

/// A body that says when it is no longer held.
struct Watched(Vec<u8>, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_cancelled_body_is_not_held_however_little_room_the_peer_gives() {
    for (window, body) in [(0, 100), (10, 100), (10, 200_000), (65_535, 200_000)] {
        let gone = std::sync::Arc::default();
        let mut connection = Connection::with(ExchangeLimits::default());
        connection.take();
        connection.receive(&[settings(&[(INITIAL_WINDOW_SIZE, window)])]);
        connection.take();
        let tickets: Vec<_> = (0..3)
            .map(|_| connection.submit_body(Bytes::from_owner(Watched(vec![b'x'; body], std::sync::Arc::clone(&gone)))))
            .collect();
        connection.take();
        for ticket in tickets {
            connection.exchange.cancel(ticket);
        }
        connection.take();
        connection.take();
        assert_eq!(gone.load(std::sync::atomic::Ordering::Relaxed), 3, "window {window}, body {body}");
    }
}

#[test]
fn a_late_answer_after_a_cancel_never_surfaces() {
    let mut connection = Connection::open();
    for _ in 0..700 {
        let ticket = connection.submit();
        let stream = connection.take().iter().find(|f| f.kind == HEADERS).unwrap().stream;
        connection.exchange.cancel(ticket);
        connection.take();
        connection.receive(&[ok(stream, false), data(stream, b"late", true)]);
        assert_eq!(connection.outcomes(), []);
    }
    assert_eq!((connection.exchange.state(), connection.exchange.in_flight()), (State::Open, 0));
    let ticket = connection.submit();
    let stream = connection.take().iter().find(|f| f.kind == HEADERS).unwrap().stream;
    connection.receive(&[ok(stream, true)]);
    assert_eq!(connection.outcomes(), [good(ticket)]);

    let answered = connection.submit();
    connection.take();
    connection.receive(&[ok(stream + 2, true)]);
    connection.exchange.cancel(answered);
    assert_eq!(connection.outcomes(), [], "not even one that waited to be taken");
}

#[test]
fn a_cancel_before_anything_was_sent_costs_nothing() {
    let mut connection = Connection::open();
    let (first, second) = (connection.submit(), connection.submit());
    connection.exchange.cancel(first);
    let streams: Vec<u32> = connection.take().iter().filter(|f| f.kind == DATA).map(|f| f.stream).collect();
    assert_eq!(streams, [3]);
    connection.receive(&[ok(3, true)]);
    assert_eq!(connection.outcomes(), [good(second)]);
    assert_eq!(connection.exchange.state(), State::Open);
}

#[test]
fn a_body_over_the_limit_ends_with_its_status_and_a_reset() {
    let mut connection = Connection::open();
    let chunk = vec![b'x'; 16 << 10];
    let mut credited = 0;
    for n in 0..300 {
        let ticket = connection.submit();
        connection.take();
        let stream = 2 * n + 1;
        connection.receive(&[ok(stream, false)]);
        for _ in 0..5 {
            connection.receive(&[data(stream, &chunk, false)]);
        }
        assert_eq!(connection.outcomes(), [good(ticket)]);
        for frame in connection.take() {
            match (frame.kind, frame.stream) {
                (RST_STREAM, reset) => assert_eq!((reset, frame.payload), (stream, CANCEL.to_be_bytes().to_vec())),
                (WINDOW_UPDATE, 0) => credited += u32::from_be_bytes(frame.payload.try_into().unwrap()),
                _ => {}
            }
        }
    }
    assert!(credited > 8 << 20, "24 MB were read and dropped, the connection's window must open again: {credited}");
    assert_eq!(connection.exchange.state(), State::Open);
}

#[test]
fn a_flood_of_resets_answers_every_ticket() {
    let mut connection = Connection::open();
    for round in 0..500 {
        let tickets: Vec<Ticket> = (0..100).map(|_| connection.submit()).collect();
        let streams: Vec<u32> = connection.take().iter().filter(|f| f.kind == HEADERS).map(|f| f.stream).collect();
        let resets: Vec<Vec<u8>> = streams.iter().map(|stream| reset(*stream, 2)).collect();
        connection.receive(&resets);
        let mut outcomes = connection.outcomes();
        outcomes.sort_by_key(|(ticket, _)| ticket.slot);
        assert_eq!(
            outcomes,
            tickets.iter().map(|t| failed(*t, Reset, Processed::Unknown)).collect::<Vec<_>>(),
            "{round}"
        );
    }
    assert_eq!(connection.exchange.capacity(), ExchangeLimits::STREAMS);
}

#[test]
fn a_peer_that_floods_without_reading_is_cut_off() {
    let mut connection = Connection::open();
    let ticket = connection.submit();
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(10_000);
    for _ in 0..100 {
        connection.exchange.receive(&pings);
    }
    assert_eq!(connection.exchange.state(), State::Closed);
    // Its bytes may be among those that can still be written.
    assert_eq!(connection.outcomes(), [failed(ticket, Malformed, Processed::Unknown)]);
    let mut out = Vec::new();
    connection.exchange.transmit(&mut out);
    assert!(out.len() <= ExchangeLimits::TRANSMIT_HIGH_WATER);
}

#[test]
fn answers_that_waited_for_room_are_read_after_it() {
    let mut connection = Connection::open();
    let ticket = connection.submit();
    connection.take();
    // More answers to PING than fit below the high-water mark, then the response.
    connection.exchange.receive(&frame(PING, 0, 0, &[7; 8]).repeat(20_000));
    connection.receive(&[ok(1, true)]);
    let pongs = connection.take().iter().filter(|f| f.kind == PING).count();
    assert_eq!((pongs, connection.outcomes()), (20_000, vec![good(ticket)]));
}

#[test]
fn a_broken_frame_closes_and_answers_everything() {
    let mut connection = Connection::open();
    let (done, other) = (connection.submit(), connection.submit());
    connection.take();
    // DATA on stream 0 is a connection error (RFC 9113 section 6.1).
    connection.receive(&[ok(1, true), data(0, b"x", false)]);
    assert_eq!(connection.outcomes(), [good(done), failed(other, Malformed, Processed::Unknown)]);
    assert_eq!(connection.exchange.state(), State::Closed);
    assert!(
        connection.exchange.why_closed().unwrap().contains("broke HTTP/2"),
        "{:?}",
        connection.exchange.why_closed()
    );
    assert!(connection.take().iter().any(|f| f.kind == GOAWAY), "the peer is told");
}

#[test]
fn each_request_has_the_promised_headers() {
    let (input, output) = (Rc::new(RefCell::new(VecDeque::new())), Rc::new(RefCell::new(Vec::new())));
    let mut context = Context::from_waker(Waker::noop());
    let mut handshake = pin!(h2::server::handshake(Wire { input: input.clone(), output: output.clone() }));
    let mut server = None;
    let mut connection = Connection::with(ExchangeLimits::default());
    // The first request enters the HPACK table, the others refer to it; lengths differ.
    for body in ["{}", "{\"a\":1}", "{\"a\":1}", "0123456789"] {
        let ticket = connection.submit_body(Bytes::from(body));
        let mut sent = Vec::new();
        connection.exchange.transmit(&mut sent);
        input.borrow_mut().extend(sent);
        if server.is_none()
            && let Poll::Ready(ready) = handshake.as_mut().poll(&mut context)
        {
            server = Some(ready.unwrap());
        }
        let server = server.as_mut().unwrap();
        let Poll::Ready(Some(Ok((request, mut respond)))) = server.poll_accept(&mut context) else {
            panic!("no request arrived");
        };
        let (head, _body) = request.into_parts();
        assert_eq!((head.method.as_str(), head.uri.to_string()), ("POST", "http://sink.example:8080/in?a=b".into()));
        let mut headers: Vec<(&str, &str)> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.sort_unstable();
        let length = body.len().to_string();
        assert_eq!(
            headers,
            [
                ("aerospike-digest", "q6urq6urq6urq6urq6urq6urq6s="),
                ("content-length", length.as_str()),
                ("content-type", "application/json"),
                ("user-agent", concat!("ringpost/", env!("CARGO_PKG_VERSION"))),
            ]
        );
        let response = http::Response::builder().status(202).body(()).unwrap();
        respond.send_response(response, true).unwrap();
        assert!(server.poll_closed(&mut context).is_pending());
        connection.exchange.receive(&std::mem::take(&mut *output.borrow_mut()));
        assert_eq!(connection.outcomes(), [(ticket, Outcome::Response { status: 202 })]);
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0u32), 1u32..16];
    prop_oneof![
        8 => (0u8..11, any::<u8>(), stream, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
        8 => (0u32..8, any::<bool>()).prop_map(|(n, end)| ok(2 * n + 1, end)),
        4 => (0u32..8, any::<bool>()).prop_map(|(n, end)| data(2 * n + 1, b"abc", end)),
        2 => (0u32..8, 0u32..14).prop_map(|(n, code)| reset(2 * n + 1, code)),
        1 => (0u32..20).prop_map(|last| go_away(last, NO_ERROR)),
        1 => (0u16..8, any::<u32>()).prop_map(|(id, value)| settings(&[(id, value)])),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn whatever_the_peer_sends_each_ticket_gets_one_outcome(
        frames in prop::collection::vec(any_frame(), 0..40),
        cut in 1usize..50,
        cancel in 0u32..8,
    ) {
        let mut connection = Connection::open();
        for _ in 0..8 {
            connection.submit();
        }
        connection.take();
        let mut outcomes = Vec::new();
        for (n, piece) in frames.concat().chunks(cut).enumerate() {
            connection.exchange.receive(piece);
            outcomes.extend(connection.outcomes());
            if n == 2 {
                connection.exchange.cancel(Ticket { slot: cancel, generation: 1 });
            }
            let mut out = Vec::new();
            connection.exchange.transmit(&mut out);
        }
        connection.exchange.end();
        outcomes.extend(connection.outcomes());
        let mut slots: Vec<u32> = outcomes.iter().map(|(ticket, _)| ticket.slot).collect();
        slots.sort_unstable();
        let mut unique = slots.clone();
        unique.dedup();
        prop_assert_eq!(&slots, &unique, "one outcome each");
        prop_assert!((0..8).filter(|slot| !slots.contains(slot)).all(|slot| slot == cancel), "none is lost: {:?}", slots);
        prop_assert_eq!(connection.exchange.in_flight(), 0);
    }
}
