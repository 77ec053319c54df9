use std::io::Write;
use std::rc::Rc;

use bytes::Bytes;
use ringpost_load::tls::{Authority, Server, Validity, client_config};
use rustls::ServerConnection;
use rustls::pki_types::ServerName;

use super::*;
use crate::config::model::{Headers, Protocol, Scheme, Url};
use crate::http::{ExchangeLimits, Target, alpn};

const TICKET: Ticket = Ticket { slot: 0, generation: 1 };

fn pair(protocol: Protocol) -> (Exchange, ServerConnection) {
    let authority = Authority::new("authority").unwrap();
    let config = client_config(&authority.pem(), None).unwrap();
    let session = Session::client(config, ServerName::try_from("sink.example").unwrap(), alpn(protocol));
    let url = Url { scheme: Scheme::Https, host: "sink.example".to_owned(), port: 443, path: "/in".to_owned() };
    let target = Rc::new(Target::new(&url, &Headers::default()).unwrap());
    let exchange = Exchange::secured(protocol, target, ExchangeLimits::default(), Ok(session));
    let pair = authority.sign(&["sink.example"], Validity::Now).unwrap();
    (exchange, ServerConnection::new(Server::new(pair).config().unwrap()).unwrap())
}

/// What passes until both sides are still, in pieces of `size`; what the peer read.
fn settle(exchange: &mut Exchange, peer: &mut ServerConnection, size: usize) -> Vec<u8> {
    let mut seen = Vec::new();
    loop {
        let mut out = Vec::new();
        exchange.transmit(&mut out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            peer.process_new_packets().unwrap();
            while let Ok(part) = std::io::BufRead::fill_buf(&mut peer.reader())
                && !part.is_empty()
            {
                let part = part.to_vec();
                std::io::BufRead::consume(&mut peer.reader(), part.len());
                seen.extend(part);
            }
        }
        let mut answer = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut answer).unwrap();
        }
        if out.is_empty() && answer.is_empty() {
            return seen;
        }
        answer.chunks(size).for_each(|piece| exchange.receive(piece));
    }
}

fn request() -> Request {
    Request::json(Bytes::from_static(b"{}"), [7; 20])
}

#[test]
fn a_request_and_its_answer_pass_whatever_the_pieces() {
    for size in [1, 2, 3, 5, 7, 64, 1 << 20] {
        let (mut exchange, mut peer) = pair(Protocol::Http1);
        assert_eq!((exchange.state(), exchange.capacity()), (State::Opening, 0));
        assert!(exchange.submit(TICKET, request()).is_err(), "nothing is taken before the handshake is done");
        settle(&mut exchange, &mut peer, size);
        assert_eq!((exchange.state(), exchange.capacity()), (State::Open, 1), "{:?}", exchange.why_closed());
        exchange.submit(TICKET, request()).unwrap();
        let seen = settle(&mut exchange, &mut peer, size);
        assert!(seen.starts_with(b"POST /in HTTP/1.1\r\nHost: sink.example\r\n"), "{}", seen.escape_ascii());
        peer.writer().write_all(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
        settle(&mut exchange, &mut peer, size);
        assert_eq!(exchange.next_outcome(), Some((TICKET, Outcome::Response { status: 204 })));
    }
}

#[test]
fn http2_speaks_only_inside_tls() {
    let (mut exchange, mut peer) = pair(Protocol::Http2);
    let mut first = Vec::new();
    exchange.transmit(&mut first);
    assert_eq!(first.first(), Some(&0x16), "a handshake, not the preface of HTTP/2");
    peer.read_tls(&mut &first[..]).unwrap();
    peer.process_new_packets().unwrap();
    let seen = settle(&mut exchange, &mut peer, 1);
    assert!(seen.starts_with(b"PRI * HTTP/2.0"), "{}", seen.escape_ascii());
    assert_eq!(exchange.state(), State::Open);
}

#[test]
fn an_answer_that_ends_with_the_connection_is_whole_only_with_close_notify() {
    for whole in [true, false] {
        let (mut exchange, mut peer) = pair(Protocol::Http1);
        settle(&mut exchange, &mut peer, 1 << 20);
        exchange.submit(TICKET, request()).unwrap();
        settle(&mut exchange, &mut peer, 1 << 20);
        peer.writer().write_all(b"HTTP/1.1 200 x\r\n\r\nsome of the bod").unwrap();
        if whole {
            peer.send_close_notify();
        }
        settle(&mut exchange, &mut peer, 1 << 20);
        exchange.end();
        let expected = match whole {
            true => Outcome::Response { status: 200 },
            false => Outcome::Failed { kind: FailureKind::Closed, processed: Processed::Unknown },
        };
        assert_eq!(exchange.next_outcome(), Some((TICKET, expected)));
        assert_eq!(exchange.state(), State::Closed);
    }
}

#[test]
fn a_refusal_after_the_handshake_is_no_processed_request_and_other_alerts_may_be() {
    // TLS 1.3 alerts of a server that had our request already.
    for (clients, answers, expected) in [
        (true, false, Outcome::Failed { kind: FailureKind::RefusedByTls, processed: Processed::No }),
        (false, false, Outcome::Failed { kind: FailureKind::Closed, processed: Processed::Unknown }),
        (false, true, Outcome::Failed { kind: FailureKind::Closed, processed: Processed::Unknown }),
    ] {
        let authority = Authority::new("authority").unwrap();
        let other = Authority::new("other").unwrap();
        let own = authority.sign(&["client"], Validity::Now).unwrap();
        let config = client_config(&authority.pem(), Some(&own)).unwrap();
        let session = Session::client(config, ServerName::try_from("sink.example").unwrap(), alpn(Protocol::Http1));
        let url = Url { scheme: Scheme::Https, host: "sink.example".to_owned(), port: 443, path: "/in".to_owned() };
        let target = Rc::new(Target::new(&url, &Headers::default()).unwrap());
        let mut exchange = Exchange::secured(Protocol::Http1, target, ExchangeLimits::default(), Ok(session));
        let pair = authority.sign(&["sink.example"], Validity::Now).unwrap();
        let server = Server { clients: clients.then(|| other.pem()), ..Server::new(pair) };
        let mut peer = ServerConnection::new(server.config().unwrap()).unwrap();
        let mut hello = Vec::new();
        exchange.transmit(&mut hello);
        peer.read_tls(&mut &hello[..]).unwrap();
        peer.process_new_packets().unwrap();
        let mut flight = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut flight).unwrap();
        }
        exchange.receive(&flight);
        // Done, from here; the server has not seen the certificate yet.
        assert_eq!(exchange.state(), State::Open, "{:?}", exchange.why_closed());
        exchange.submit(TICKET, request()).unwrap();
        let mut ours = Vec::new();
        exchange.transmit(&mut ours);
        peer.read_tls(&mut &ours[..]).unwrap();
        let refused = peer.process_new_packets().is_err();
        assert_eq!(refused, clients);
        if answers {
            peer.writer().write_all(b"HTTP/1.1 2").unwrap();
        }
        let mut alert = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut alert).unwrap();
        }
        exchange.receive(&alert);
        exchange.end();
        assert_eq!(exchange.next_outcome(), Some((TICKET, expected)));
        assert_eq!(exchange.is_refused_by_tls(), clients);
        assert_eq!(exchange.why_closed().is_some_and(|why| why.contains("alert")), clients);
    }
}

#[test]
fn without_a_session_nothing_is_ever_sent() {
    let url = Url { scheme: Scheme::Https, host: "sink.example".to_owned(), port: 443, path: "/in".to_owned() };
    let target = Rc::new(Target::new(&url, &Headers::default()).unwrap());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let why = Err("there are no TLS settings".to_owned());
        let mut exchange = Exchange::secured(protocol, Rc::clone(&target), ExchangeLimits::default(), why);
        assert!(exchange.submit(TICKET, request()).is_err());
        let mut out = Vec::new();
        exchange.transmit(&mut out);
        assert_eq!((out.len(), exchange.state()), (0, State::Closed));
        assert_eq!(exchange.why_closed(), Some("there are no TLS settings"));
    }
}
