//! HTTP/2 abuses that need exact windows or very many repetitions, on the exchange alone (`reliability.md`, HTTP peers, 8,
//! 15 and 17, and the bounds behind 1, 5, 6 and 14). The peer keeps its own account of every window.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use bytes::Bytes;
use ringpost::config::model::StatusSet;
use ringpost::http::{ExchangeLimits, Outcome, State, Ticket};

#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "http_exchange/peer.rs"]
mod peer;
use peer::*;

/// What the connector opens a connection's window to.
const CONNECTION_WINDOW: i64 = 16 << 20;
/// What RFC 9113 opens the peer's with.
const FIRST_WINDOW: i64 = 65_535;
const PADDED: u8 = 8;

/// A linear congruence: the same choices in every run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The peer's account of one connection.
struct Account {
    connection: Connection,
    /// What the peer may still send, on the connection.
    receive: i64,
    /// What the exchange may still send, on the connection, by what the peer granted.
    send: i64,
    next: u32,
}

impl Account {
    fn open() -> Account {
        Account::with(ExchangeLimits::default())
    }

    fn with(limits: ExchangeLimits) -> Account {
        let mut account =
            Account { connection: Connection::with(limits), receive: FIRST_WINDOW, send: FIRST_WINDOW, next: 0 };
        account.take();
        account.connection.receive(&[settings(&[])]);
        account.take();
        account
    }

    /// What the exchange sends, entered in the account: the streams that it opened.
    fn take(&mut self) -> Vec<u32> {
        let mut opened = Vec::new();
        for frame in self.connection.take() {
            match frame.kind {
                WINDOW_UPDATE if frame.stream == 0 => {
                    self.receive += i64::from(u32::from_be_bytes(frame.payload.try_into().unwrap()));
                    assert!(self.receive <= CONNECTION_WINDOW, "more is granted than there was: {}", self.receive);
                }
                DATA => {
                    self.send -= frame.payload.len() as i64;
                    assert!(self.send >= 0, "more is sent than was granted");
                }
                HEADERS => opened.push(frame.stream),
                _ => {}
            }
        }
        opened
    }

    fn submit(&mut self, bytes: usize) -> Ticket {
        let ticket = Ticket { slot: self.next, generation: 1 };
        self.next = self.next.wrapping_add(1);
        let request = ringpost::http::Request::json(Bytes::from(vec![b'x'; bytes]), [0xAB; 20]);
        self.connection.exchange.submit(ticket, request).unwrap();
        ticket
    }

    fn grant(&mut self, bytes: i64) {
        if bytes > 0 {
            self.connection.receive(&[window(0, u32::try_from(bytes).unwrap())]);
            self.send += bytes;
        }
    }

    fn receive(&mut self, parts: &[Vec<u8>]) {
        for part in parts {
            if part[3] == DATA {
                self.receive -= part.len() as i64 - 9;
            }
        }
        assert!(self.receive >= 0, "the peer itself must not break its window");
        self.connection.receive(parts);
    }

    /// Uses up what is left until the exchange opens the window again: nothing may be missing then.
    fn check(&mut self) {
        loop {
            let before = self.receive;
            let ticket = self.submit(1);
            let stream = self.take()[0];
            self.receive(&[ok(stream, false), data(stream, &[0; 16_000], false), data(stream, &[0; 16_000], true)]);
            self.take();
            assert_eq!(self.connection.outcomes(), [good(ticket)]);
            if self.receive > before {
                break;
            }
        }
        // The window may have been opened before the last answer's own bytes were dropped; they come with the next update.
        let missing = CONNECTION_WINDOW - self.receive;
        assert!([0, 16_000, 32_000].contains(&missing), "what the peer may send: {missing} bytes are missing");
        self.grant(FIRST_WINDOW - self.send);
        assert_eq!(self.send, FIRST_WINDOW);
        // Exactly what was granted can be sent, to the last byte; nothing beyond it.
        let ticket = self.submit(FIRST_WINDOW as usize);
        let stream = self.take()[0];
        assert_eq!(self.send, 0, "what the exchange may send");
        self.receive(&[ok(stream, true)]);
        assert_eq!(self.connection.outcomes(), [good(ticket)]);
        self.grant(FIRST_WINDOW);
        assert_eq!(self.connection.exchange.in_flight(), 0);
    }
}

fn padded(stream: u32, bytes: usize, padding: u8, end: bool) -> Vec<u8> {
    let payload = [&[padding][..], &vec![b'd'; bytes], &vec![0; usize::from(padding)]].concat();
    frame(DATA, PADDED | u8::from(end), stream, &payload)
}

/// One request that ends in one of the ways in which window could be lost.
fn end_somehow(account: &mut Account, choice: u64, ticket: Ticket, stream: u32) {
    match choice {
        0 => account.receive(&[ok(stream, false), padded(stream, 50, 255, true)]),
        // The peer resets after half an answer that nobody has read.
        1 => account.receive(&[ok(stream, false), padded(stream, 2_000, 200, false), reset(stream, 2)]),
        // DATA that was on its way when the peer reset is not sent: that is for cancelled ones.
        2 => {
            account.connection.exchange.cancel(ticket);
            account.receive(&[ok(stream, false), padded(stream, 3_000, 255, false)]);
            account.take();
            account.receive(&[data(stream, &[0; 1_000], false), padded(stream, 10, 100, true)]);
        }
        // Half an answer, then it is given up, then the other half.
        3 => {
            account.receive(&[ok(stream, false), data(stream, &[0; 4_000], false)]);
            account.connection.exchange.cancel(ticket);
            account.take();
            account.receive(&[padded(stream, 4_000, 33, true)]);
        }
        4 => account.receive(&[reset(stream, 7)]),
        // A length that does not hold: the library resets.
        5 => {
            let head = frame(HEADERS, END_HEADERS, stream, b"\x88\x0f\x0d\x015");
            account.receive(&[head, padded(stream, 1_000, 7, false), data(stream, &[0; 500], true)]);
        }
        _ => account.receive(&[ok(stream, false), data(stream, &[0; 700], false), data(stream, b"", true)]),
    }
}

#[test]
fn h08_no_window_is_lost_over_very_many_requests_with_random_ends() {
    let rounds = if std::env::var_os("RINGPOST_LONG").is_some() { 1_000_000 } else { 60_000 };
    let mut choices = Choices(5);
    let mut account = Account::open();
    let mut answered = 0u64;
    for round in 0..rounds {
        if account.connection.exchange.capacity() == 0 {
            // Too many resets of its own, or of the library: the connection is replaced, its account closed.
            account = Account::open();
        }
        let bytes = choices.below(3) as usize * 1_000 + 1;
        let ticket = account.submit(bytes);
        let Some(stream) = account.take().first().copied() else { panic!("round {round}: nothing was sent") };
        let owed = bytes as i64;
        // Ends without an answer are a third: else the connection would be replaced all the time.
        let choice = choices.below(18);
        end_somehow(&mut account, choice, ticket, stream);
        account.take();
        answered += account.connection.outcomes().len() as u64;
        account.grant(owed);
        if round % 5_000 == 4_999 && account.connection.exchange.state() == State::Open {
            account.check();
        }
    }
    assert!(answered > rounds / 2);
    if account.connection.exchange.state() == State::Open {
        account.check();
    }
}

#[test]
fn h08_a_request_that_is_cancelled_while_it_holds_the_window_gives_it_back() {
    let mut account = Account::open();
    for _ in 0..700 {
        let ticket = account.submit(200_000);
        account.take();
        assert_eq!(account.send, 0);
        account.connection.exchange.cancel(ticket);
        account.take();
        account.grant(FIRST_WINDOW);
        // An answer in between, or the connection is replaced for its resets.
        let ticket = account.submit(1);
        let stream = account.take()[0];
        account.receive(&[ok(stream, true)]);
        assert_eq!(account.connection.outcomes(), [good(ticket)]);
        account.grant(1);
    }
    account.check();
}

#[test]
fn h08_data_after_go_away_counts_and_comes_back() {
    let mut account = Account::open();
    let tickets: Vec<Ticket> = (0..40).map(|_| account.submit(10)).collect();
    let streams = account.take();
    account.connection.receive(&[go_away(*streams.last().unwrap(), NO_ERROR)]);
    // 40 times 600 KB are more than the window: it has to be opened on the way.
    let mut done = Vec::new();
    for stream in streams {
        account.receive(&[ok(stream, false)]);
        for _ in 0..40 {
            account.receive(&[data(stream, &[0; 15_000], false)]);
            account.take();
        }
        done.extend(account.connection.outcomes());
    }
    assert_eq!(done, tickets.into_iter().map(good).collect::<Vec<_>>());
    assert_eq!(account.connection.exchange.state(), State::Closed);
}

#[test]
fn h15_the_last_stream_of_a_connection_leads_to_a_new_one() {
    let mut connection = Connection::with(ExchangeLimits { max_requests: 3, ..ExchangeLimits::default() });
    connection.take();
    connection.receive(&[settings(&[])]);
    let tickets: Vec<Ticket> = (0..3).map(|_| connection.submit()).collect();
    assert_eq!((connection.exchange.capacity(), connection.exchange.state()), (0, State::Draining));
    connection.take();
    connection.receive(&[ok(1, true), ok(3, true), ok(5, true)]);
    assert_eq!(connection.outcomes(), tickets.into_iter().map(good).collect::<Vec<_>>());
    assert_eq!(connection.exchange.state(), State::Closed);
    // Identifiers of streams are odd and below 2^31.
    assert!(2 * ExchangeLimits::REQUESTS as u64 - 1 < 1 << 31);
}

#[test]
fn h17_a_connection_is_replaced_before_its_resets_look_like_an_attack() {
    let mut connection = Connection::open();
    let mut resets = 0;
    while connection.exchange.capacity() > 0 {
        let ticket = connection.submit();
        connection.take();
        connection.exchange.cancel(ticket);
        resets += connection.take().iter().filter(|frame| frame.kind == RST_STREAM).count();
        assert!(resets <= 1_000);
    }
    assert!(connection.exchange.why_closed().unwrap().contains("too many of its requests"));

    // Answers in between make up for them.
    let mut fair = Connection::open();
    for round in 0..5_000 {
        let ticket = fair.submit();
        let stream = fair.take().iter().find(|frame| frame.kind == HEADERS).unwrap().stream;
        if round % 2 == 0 {
            fair.exchange.cancel(ticket);
        } else {
            fair.receive(&[ok(stream, true)]);
        }
        fair.take();
        fair.outcomes();
    }
    assert_eq!(fair.exchange.state(), State::Open);
}

#[test]
fn h06_what_a_peer_may_send_without_an_answer_is_bounded_and_an_answer_starts_anew() {
    let bound = {
        let limits = ExchangeLimits::default();
        limits.max_streams * (limits.max_response_head_bytes + limits.max_response_body_bytes)
            + CONNECTION_WINDOW as usize
    };
    let junk = frame(0x42, 0, 0, &[0; 16_000]).repeat(10);
    let mut connection = Connection::open();
    let mut sent = 0;
    for _ in 0..3 {
        let ticket = connection.submit();
        let stream = connection.take().iter().find(|frame| frame.kind == HEADERS).unwrap().stream;
        sent = 0;
        while sent + 2 * junk.len() < bound {
            connection.exchange.receive(&junk);
            sent += junk.len();
        }
        assert_eq!(connection.exchange.state(), State::Open);
        connection.receive(&[ok(stream, true)]);
        assert_eq!(connection.outcomes(), [good(ticket)]);
    }
    let ticket = connection.submit();
    connection.take();
    while connection.exchange.state() == State::Open {
        connection.exchange.receive(&junk);
        sent += junk.len();
        assert!(sent < 3 * bound);
    }
    assert!(matches!(connection.outcomes().as_slice(), [(failed, Outcome::Failed { .. })] if *failed == ticket));
    assert!(connection.exchange.why_closed().unwrap().contains("without answering"));
}

#[test]
fn h14_an_early_answer_that_the_configuration_calls_success_waits_like_any() {
    let mut success = StatusSet::successful();
    success.insert(409);
    let mut account = Account::with(ExchangeLimits { success, ..ExchangeLimits::default() });
    let ticket = account.submit(100_000);
    let stream = account.take()[0];
    account.receive(&[frame(HEADERS, END_HEADERS | 1, stream, &status(409))]);
    assert_eq!(account.connection.outcomes(), [], "the peer does not have the whole request");
    account.connection.exchange.end();
    let outcomes = account.connection.outcomes();
    assert!(matches!(outcomes.as_slice(), [(failed, Outcome::Failed { .. })] if *failed == ticket), "{outcomes:?}");
}

#[test]
fn h14_an_early_success_waits_for_the_rest_of_its_request() {
    let mut account = Account::open();
    let ticket = account.submit(100_000);
    let stream = account.take()[0];
    account.receive(&[ok(stream, true)]);
    assert_eq!(account.connection.outcomes(), []);
    account.connection.receive(&[window(0, 100_000), window(stream, 100_000)]);
    account.send += 100_000;
    account.take();
    assert_eq!(account.connection.outcomes(), [good(ticket)]);

    // The connection ends before: nobody has the rest.
    let mut cut = Account::open();
    let ticket = cut.submit(100_000);
    let stream = cut.take()[0];
    cut.receive(&[ok(stream, true)]);
    cut.connection.exchange.end();
    assert!(matches!(cut.connection.outcomes().as_slice(), [(failed, Outcome::Failed { .. })] if *failed == ticket));
}
