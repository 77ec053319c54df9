//! A peer that writes HTTP/2 frames by hand, for the tests of the exchange.

use std::rc::Rc;

use bytes::Bytes;
use ringpost::config::model::{Headers, Protocol, Scheme, Url};
use ringpost::http::{Exchange, ExchangeLimits, FailureKind, Outcome, Processed, Request, Target, Ticket};

#[path = "frames.rs"]
mod frames;
pub use frames::*;

/// An exchange and what it sent.
pub struct Connection {
    pub exchange: Exchange,
    pub pending: Vec<u8>,
    pub greeted: bool,
    pub next: u32,
}

impl Connection {
    pub fn with(limits: ExchangeLimits) -> Connection {
        let url = Url { scheme: Scheme::Http, host: "sink.example".to_owned(), port: 8080, path: "/in?a=b".to_owned() };
        let target = Rc::new(Target::new(&url, &Headers::default()).unwrap());
        let exchange = Exchange::new(Protocol::Http2, target, limits);
        Connection { exchange, pending: Vec::new(), greeted: false, next: 0 }
    }

    /// After the peer's empty SETTINGS.
    pub fn open() -> Connection {
        let mut connection = Connection::with(ExchangeLimits::default());
        connection.take();
        connection.exchange.receive(&settings(&[]));
        connection.take();
        connection
    }

    pub fn submit_body(&mut self, body: Bytes) -> Ticket {
        let ticket = Ticket { slot: self.next, generation: 1 };
        self.next += 1;
        self.exchange.submit(ticket, Request::json(body, [0xAB; 20])).unwrap();
        ticket
    }

    pub fn submit(&mut self) -> Ticket {
        self.submit_body(Bytes::from_static(b"{}"))
    }

    /// Everything that the exchange wants written, as frames.
    pub fn take(&mut self) -> Vec<Frame> {
        loop {
            let before = self.pending.len();
            self.exchange.transmit(&mut self.pending);
            if self.pending.len() == before {
                break;
            }
        }
        let mut rest = self.pending.as_slice();
        if !self.greeted && !rest.is_empty() {
            rest = rest.strip_prefix(PREFACE).expect("the preface comes first");
            self.greeted = true;
        }
        let mut frames = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            frames.push(Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload: tail[..length].to_vec(),
            });
            rest = &tail[length..];
        }
        assert!(rest.is_empty(), "what is handed out ends with a frame");
        self.pending.clear();
        frames
    }

    pub fn receive(&mut self, parts: &[Vec<u8>]) {
        self.exchange.receive(&parts.concat());
    }

    pub fn outcomes(&mut self) -> Vec<(Ticket, Outcome)> {
        std::iter::from_fn(|| self.exchange.next_outcome()).collect()
    }
}

pub fn good(ticket: Ticket) -> (Ticket, Outcome) {
    (ticket, Outcome::Response { status: 200 })
}

pub fn failed(ticket: Ticket, kind: FailureKind, processed: Processed) -> (Ticket, Outcome) {
    (ticket, Outcome::Failed { kind, processed })
}

pub fn small_window_exchange() -> Connection {
    let mut connection = Connection::with(ExchangeLimits::default());
    connection.take();
    connection.receive(&[settings(&[(INITIAL_WINDOW_SIZE, 10)])]);
    connection.take();
    connection
}
