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

use std::time::Duration;

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

#[path = "fault_http2/answers.rs"]
mod answers;
#[path = "fault_http2/ends.rs"]
mod ends;
#[path = "fault_http2/floods.rs"]
mod floods;
#[path = "fault_http2/streams.rs"]
mod streams;
#[path = "fault_http2/windows.rs"]
mod windows;
