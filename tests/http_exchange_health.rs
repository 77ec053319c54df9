//! What health needs of the HTTP/2 exchange: `Retry-After`, probes, and who was not looked at when a peer goes away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use std::rc::Rc;
use std::time::Duration;

use ringpost::config::model::{Headers, ProbeMethod, Protocol, Scheme, Url};
use ringpost::http::FailureKind::{Closed, GoneAway};
use ringpost::http::{Exchange, ExchangeLimits, Outcome, Processed, Request, RetryAfter, State, Target, Ticket};

#[allow(dead_code, reason = "shared with the other tests of the exchange")]
#[path = "http_exchange/peer.rs"]
mod peer;
use peer::*;

/// HEADERS with this status and these `Retry-After` (static indices 8 and 53 of HPACK, literals).
fn answer(stream: u32, status: &str, waits: &[&str], end: bool) -> Vec<u8> {
    let mut block = vec![0x08, status.len() as u8];
    block.extend_from_slice(status.as_bytes());
    for wait in waits {
        block.extend_from_slice(&[0x0f, 53 - 15, wait.len() as u8]);
        block.extend_from_slice(wait.as_bytes());
    }
    frame(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, &block)
}

#[test]
fn retry_after_comes_with_429_and_503_alone_with_and_without_a_body() {
    let mut connection = Connection::open();
    let seconds = |seconds| Some(RetryAfter::For(Duration::from_secs(seconds)));
    for (status, waits, expected) in [
        ("503", vec!["7"], seconds(7)),
        ("429", vec!["soon", "0"], seconds(0)),
        ("503", vec!["Sun, 06 Nov 1994 08:49:37 GMT"], Some(RetryAfter::Until(784_111_777))),
        ("503", vec![], None),
        ("503", vec!["-1"], None),
        ("500", vec!["7"], None),
        ("200", vec!["7"], None),
    ] {
        for end in [true, false] {
            let ticket = connection.submit();
            let stream = connection.take()[0].stream;
            connection.receive(&[answer(stream, status, &waits, end)]);
            if !end {
                assert_eq!(connection.outcomes(), [], "not before the body is there");
                connection.receive(&[data(stream, b"later", true)]);
            }
            let status = status.parse().unwrap();
            let outcome = match expected {
                Some(wait) => Outcome::RetryAfter { status, wait },
                None => Outcome::Response { status },
            };
            assert_eq!(connection.outcomes(), [(ticket, outcome)], "{waits:?}");
        }
    }
}

#[test]
fn an_answer_to_head_has_no_body_whatever_its_length_says() {
    let url = Url { scheme: Scheme::Http, host: "sink.example".to_owned(), port: 8080, path: "/up".to_owned() };
    for (protocol, answer) in [
        (Protocol::Http1, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()),
        // `:status` 200, and `content-length` (static index 28) as a literal.
        (
            Protocol::Http2,
            [settings(&[]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88, 0x0f, 28 - 15, 1, b'9'])].concat(),
        ),
    ] {
        for (method, expected) in [(ProbeMethod::Head, true), (ProbeMethod::Get, false)] {
            let target = Target::probe(&url, &Headers::default(), method).unwrap();
            let mut exchange = Exchange::new(protocol, Rc::new(target), ExchangeLimits::default());
            exchange.submit(Ticket { slot: 0, generation: 0 }, Request::empty()).unwrap();
            exchange.transmit(&mut Vec::new());
            exchange.receive(&answer);
            let complete = matches!(exchange.next_outcome(), Some((_, Outcome::Response { status: 200 })));
            assert_eq!(complete, expected, "{protocol:?}, {method:?}");
        }
    }
}

#[test]
fn of_two_go_aways_the_second_says_which_streams_were_not_looked_at() {
    let mut connection = Connection::open();
    let tickets: Vec<Ticket> = (0..4).map(|_| connection.submit()).collect();
    connection.take();
    connection.receive(&[go_away(0x7FFF_FFFF, NO_ERROR)]);
    assert_eq!((connection.outcomes(), connection.exchange.capacity()), (vec![], 0), "nobody is given up yet");
    connection.receive(&[ok(1, true), go_away(3, NO_ERROR)]);
    let no = |ticket| failed(ticket, GoneAway, Processed::No);
    let mut outcomes = connection.outcomes();
    outcomes.sort_by_key(|(ticket, _)| ticket.slot);
    assert_eq!(outcomes, [good(tickets[0]), no(tickets[2]), no(tickets[3])]);
    assert_eq!(connection.exchange.state(), State::Draining, "the one that it took is waited for");
    connection.exchange.end();
    assert_eq!(connection.outcomes(), [failed(tickets[1], Closed, Processed::Unknown)], "each has one end");
}

#[test]
fn a_connection_that_begins_with_few_requests_takes_more_while_they_are_answered() {
    let mut connection = Connection::with(ExchangeLimits { first_requests: 2, ..ExchangeLimits::default() });
    connection.take();
    connection.receive(&[settings(&[])]);
    let tickets: Vec<Ticket> = (0..2).map(|_| connection.submit()).collect();
    assert_eq!(connection.exchange.capacity(), 0);
    connection.take();
    connection.receive(&[ok(1, true)]);
    assert_eq!(connection.exchange.capacity(), 0, "the second one may be the last that the peer takes");
    connection.receive(&[ok(3, true)]);
    assert_eq!(connection.exchange.capacity(), 2);
    // One that is given up is over, too: a peer that does not answer it does not stop the others for good.
    let tickets = [tickets[0], tickets[1], connection.submit(), connection.submit()];
    connection.take();
    connection.exchange.cancel(tickets[3]);
    assert_eq!(connection.exchange.capacity(), 4);
    assert_eq!(connection.outcomes(), [good(tickets[0]), good(tickets[1])]);
    assert_eq!(connection.exchange.taken(), None, "it has not gone away");
    let last = connection.submit();
    connection.take();
    connection.receive(&[go_away(7, NO_ERROR)]);
    assert_eq!(connection.outcomes(), [failed(last, GoneAway, Processed::No)]);
    assert_eq!(connection.exchange.taken(), Some(4));
}
