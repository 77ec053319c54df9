use super::*;
use crate::config::model::{Headers, Scheme, StatusSet, Url};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn exchange() -> Http1 {
    exchange_with(ExchangeLimits::default())
}

fn exchange_with(limits: ExchangeLimits) -> Http1 {
    let url = Url { scheme: Scheme::Http, host: "sink.example".to_owned(), port: 8080, path: "/in?a=b".to_owned() };
    Http1::new(Rc::new(Target::new(&url, &Headers::default()).unwrap()), limits)
}

fn ticket(slot: u32) -> Ticket {
    Ticket { slot, generation: 7 }
}

fn request() -> Request {
    Request::json(Bytes::from_static(b"{\"a\":1}"), [0xAB; 20])
}

fn transmit(exchange: &mut Http1) -> Vec<u8> {
    let mut out = Vec::new();
    exchange.transmit(&mut out);
    out
}

fn send(exchange: &mut Http1, slot: u32) {
    exchange.submit(ticket(slot), request()).unwrap();
    assert!(!transmit(exchange).is_empty());
    assert!(transmit(exchange).is_empty());
}

fn failed(kind: FailureKind, processed: Processed) -> Outcome {
    Outcome::Failed { kind, processed }
}

#[test]
fn a_request_has_the_promised_head_and_body() {
    let mut exchange = exchange();
    exchange.submit(ticket(1), request()).unwrap();
    let text = String::from_utf8(transmit(&mut exchange)).unwrap();
    let expected = format!(
        "POST /in?a=b HTTP/1.1\r\nHost: sink.example:8080\r\nUser-Agent: ringpost/{}\r\nContent-Type: application/json\r\n\
         Content-Length: 7\r\naerospike-digest: q6urq6urq6urq6urq6urq6urq6s=\r\n\r\n{{\"a\":1}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text, expected);
    assert!(transmit(&mut exchange).is_empty(), "nothing is sent twice");
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let mut exchange = exchange();
    for slot in 0..100 {
        assert_eq!(exchange.capacity(), 1);
        send(&mut exchange, slot);
        assert_eq!((exchange.capacity(), exchange.in_flight()), (0, 1));
        assert!(exchange.submit(ticket(999), request()).is_err(), "one at a time");
        exchange.receive(OK);
        assert_eq!(exchange.next_outcome(), Some((ticket(slot), Outcome::Response { status: 200 })));
        assert_eq!(exchange.next_outcome(), None);
    }
    assert_eq!(exchange.state(), State::Open);
}

#[test]
fn a_large_body_comes_out_in_parts_below_the_high_water_mark() {
    let mut exchange = exchange();
    let body: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
    exchange.submit(ticket(1), Request::json(body.clone().into(), [0; 20])).unwrap();
    let mut sent = Vec::new();
    loop {
        let part = transmit(&mut exchange);
        if part.is_empty() {
            break;
        }
        assert!(part.len() <= ExchangeLimits::TRANSMIT_HIGH_WATER);
        sent.extend(part);
    }
    assert!(sent.ends_with(&body));
    exchange.receive(OK);
    assert_eq!(exchange.next_outcome(), Some((ticket(1), Outcome::Response { status: 200 })));
    assert_eq!(exchange.state(), State::Open);
}

#[test]
fn only_a_reused_connection_that_closed_without_a_byte_may_be_retried() {
    let mut fresh = exchange();
    send(&mut fresh, 1);
    fresh.end();
    assert_eq!(fresh.next_outcome(), Some((ticket(1), failed(FailureKind::Closed, Processed::Unknown))));
    assert_eq!((fresh.state(), fresh.capacity()), (State::Closed, 0));

    let mut reused = exchange();
    send(&mut reused, 1);
    reused.receive(OK);
    reused.next_outcome();
    send(&mut reused, 2);
    reused.end();
    assert_eq!(reused.next_outcome(), Some((ticket(2), failed(FailureKind::Closed, Processed::No))));

    let mut answered = exchange();
    send(&mut answered, 1);
    answered.receive(OK);
    answered.next_outcome();
    send(&mut answered, 2);
    answered.receive(b"H");
    answered.end();
    assert_eq!(answered.next_outcome(), Some((ticket(2), failed(FailureKind::Closed, Processed::Unknown))));

    let mut unsent = exchange();
    unsent.submit(ticket(1), request()).unwrap();
    unsent.end();
    assert_eq!(unsent.next_outcome(), Some((ticket(1), failed(FailureKind::Closed, Processed::No))));
    assert!(transmit(&mut unsent).is_empty(), "a request that may be retried elsewhere is never sent here");
}

#[test]
fn a_response_cut_at_any_byte_is_no_success() {
    for at in 1..OK.len() {
        let mut exchange = exchange();
        send(&mut exchange, 1);
        exchange.receive(&OK[..at]);
        assert_eq!(exchange.next_outcome(), None, "{at}");
        exchange.end();
        assert_eq!(exchange.next_outcome(), Some((ticket(1), failed(FailureKind::Closed, Processed::Unknown))), "{at}");
    }
}

#[test]
fn the_end_of_the_connection_completes_a_response_without_length() {
    let mut exchange = exchange();
    send(&mut exchange, 1);
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\nbody");
    assert_eq!(exchange.next_outcome(), None);
    exchange.end();
    assert_eq!(exchange.next_outcome(), Some((ticket(1), Outcome::Response { status: 200 })));
}

#[test]
fn an_early_response_counts_and_closes() {
    let mut exchange = exchange();
    exchange.submit(ticket(1), Request::json(vec![b'x'; 1 << 20].into(), [0; 20])).unwrap();
    transmit(&mut exchange);
    exchange.receive(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(exchange.next_outcome(), Some((ticket(1), Outcome::Response { status: 413 })));
    assert_eq!(exchange.state(), State::Closed);
    assert!(transmit(&mut exchange).is_empty(), "the rest of the body is not sent after its outcome");
}

#[test]
fn an_early_success_counts_when_the_rest_of_the_request_is_written() {
    for (at, answer) in [(0, OK), (1, OK), (4, b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n")] {
        let mut exchange = exchange();
        let body = vec![b'x'; 1 << 20];
        exchange.submit(ticket(1), Request::json(body.clone().into(), [0; 20])).unwrap();
        let mut sent = transmit(&mut exchange);
        (0..at).for_each(|_| sent.extend(transmit(&mut exchange)));
        exchange.receive(answer);
        assert_eq!((exchange.next_outcome(), exchange.capacity()), (None, 0));
        let mut unwritten = transmit(&mut exchange);
        while !unwritten.is_empty() {
            assert_eq!((exchange.next_outcome(), exchange.state()), (None, State::Open));
            sent.extend(std::mem::take(&mut unwritten));
            unwritten = transmit(&mut exchange);
        }
        assert!(sent.ends_with(&body));
        let status = if answer == OK { 200 } else { 204 };
        assert_eq!(exchange.next_outcome(), Some((ticket(1), Outcome::Response { status })), "{at}");
        assert_eq!(exchange.state(), State::Closed);
    }

    let mut cut = exchange();
    cut.submit(ticket(1), Request::json(vec![b'x'; 1 << 20].into(), [0; 20])).unwrap();
    transmit(&mut cut);
    cut.receive(OK);
    cut.end();
    assert_eq!(cut.next_outcome(), Some((ticket(1), failed(FailureKind::Closed, Processed::Unknown))));
}

#[test]
fn an_early_answer_that_the_configuration_calls_success_waits_for_its_request_like_any() {
    let mut success = StatusSet::successful();
    [409, 503].into_iter().for_each(|status| success.insert(status));
    let limits = || ExchangeLimits { success, ..ExchangeLimits::default() };
    let answers: [(&[u8], u16); 2] = [
        (b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", 409),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", 503),
    ];
    for (answer, status) in answers {
        let begin = || {
            let mut exchange = exchange_with(limits());
            exchange.submit(ticket(1), Request::json(vec![b'x'; 1 << 20].into(), [0; 20])).unwrap();
            transmit(&mut exchange);
            exchange.receive(answer);
            assert_eq!(exchange.next_outcome(), None, "{status}: the peer has a quarter of the request");
            exchange
        };
        let mut whole = begin();
        while !transmit(&mut whole).is_empty() {}
        let outcome = whole.next_outcome().unwrap().1;
        assert!(outcome.is_one_of(&success) && !outcome.is_one_of(&StatusSet::successful()), "{status}: {outcome:?}");
        let mut cut = begin();
        cut.end();
        assert_eq!(cut.next_outcome(), Some((ticket(1), failed(FailureKind::Closed, Processed::Unknown))), "{status}");
    }
}

#[test]
fn a_reset_completes_no_response() {
    let mut exchange = exchange();
    send(&mut exchange, 1);
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\nbody");
    exchange.cut();
    assert_eq!(exchange.next_outcome(), Some((ticket(1), failed(FailureKind::Closed, Processed::Unknown))));
}

#[test]
fn bytes_that_nothing_asked_for_close_the_connection() {
    let mut idle = exchange();
    idle.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    assert_eq!((idle.state(), idle.next_outcome()), (State::Closed, None));

    let mut unsent = exchange();
    unsent.submit(ticket(1), request()).unwrap();
    unsent.receive(OK);
    assert_eq!(unsent.next_outcome(), Some((ticket(1), failed(FailureKind::Malformed, Processed::No))));
    assert_eq!(unsent.state(), State::Closed);

    let mut after = exchange();
    send(&mut after, 1);
    after.receive(&[OK, OK].concat());
    assert_eq!(after.next_outcome(), Some((ticket(1), Outcome::Response { status: 200 })));
    assert_eq!((after.state(), after.next_outcome()), (State::Closed, None));
}

#[test]
fn a_peer_of_another_protocol_is_named() {
    for (bytes, text) in [(b"\0\0\x12\x04\0".as_slice(), "set protocol: HTTP_2"), (b"\x15\x03\x01\0\x02", "TLS")] {
        let mut exchange = exchange();
        send(&mut exchange, 1);
        exchange.receive(bytes);
        assert_eq!(exchange.next_outcome(), Some((ticket(1), failed(FailureKind::Malformed, Processed::Unknown))));
        assert!(exchange.why_closed().unwrap().contains(text), "{:?}", exchange.why_closed());
    }
}

#[test]
fn a_cancelled_ticket_never_surfaces() {
    let mut sent = exchange();
    send(&mut sent, 1);
    sent.cancel(ticket(1));
    assert_eq!((sent.state(), sent.in_flight()), (State::Closed, 0));
    sent.receive(OK);
    sent.end();
    assert_eq!(sent.next_outcome(), None);

    let mut unsent = exchange();
    unsent.submit(ticket(1), request()).unwrap();
    unsent.cancel(ticket(1));
    assert_eq!((unsent.state(), unsent.capacity()), (State::Open, 1));
    assert!(transmit(&mut unsent).is_empty());

    let mut answered = exchange();
    send(&mut answered, 1);
    answered.receive(OK);
    answered.cancel(ticket(1));
    assert_eq!((answered.next_outcome(), answered.capacity()), (None, 1));

    let mut other = exchange();
    send(&mut other, 1);
    other.cancel(Ticket { slot: 1, generation: 6 });
    other.receive(OK);
    assert_eq!(other.next_outcome(), Some((ticket(1), Outcome::Response { status: 200 })), "an old generation");
}

#[test]
fn connection_close_takes_no_further_request() {
    let mut exchange = exchange();
    send(&mut exchange, 1);
    exchange.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(exchange.next_outcome(), Some((ticket(1), Outcome::Response { status: 200 })));
    assert_eq!((exchange.state(), exchange.capacity()), (State::Closed, 0));
    assert!(exchange.submit(ticket(2), request()).is_err());
}

#[test]
fn an_ordinary_end_has_no_reason_that_would_be_logged() {
    let mut idle = exchange();
    send(&mut idle, 1);
    idle.receive(OK);
    assert!(idle.next_outcome().is_some());
    idle.end();
    assert_eq!((idle.state(), idle.why_closed()), (State::Closed, None));

    let mut asked = exchange();
    send(&mut asked, 1);
    asked.receive(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert_eq!((asked.state(), asked.why_closed()), (State::Closed, None));

    let mut cut = exchange();
    send(&mut cut, 1);
    cut.end();
    assert!(cut.why_closed().is_some());
}
