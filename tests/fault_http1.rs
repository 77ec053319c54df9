//! HTTP/1.1 servers that break every rule (`reliability.md`, HTTP peers, 13, 14, 16 and 18 to 24), against the real
//! binary, each with an honest neighbour on the same executor. See `hostile::Arena` for what holds in all of them.

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

use hostile::http1::{OK, honest};
use hostile::{Arena, Wire};
use support::LONG;

const HTTP_1: &str = "HTTP_1_1";
/// Within this the connector has to close a connection that it cannot use.
const SOON: Duration = Duration::from_secs(8);

/// How a scripted connection goes on after its answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// The peer closes.
    Close,
    /// The peer resets.
    Reset,
    /// The connector has to close.
    Closed,
    /// The connection is used on.
    Kept,
}

/// Every request is answered with `answer`; each record is acked `code`, and `says` stands in the log.
#[track_caller]
fn answers(answer: impl AsRef<[u8]>, then: Then, code: u8, says: &str) {
    let answer = answer.as_ref().to_vec();
    let mut arena = Arena::start(HTTP_1, move |wire| {
        while let Some(request) = wire.request() {
            if code == 0 {
                wire.good(request.record);
            }
            wire.send(&answer);
            match then {
                Then::Close => return,
                Then::Reset => return wire.reset(),
                Then::Closed => return wire.expect_closed(SOON),
                Then::Kept => {}
            }
        }
    });
    for record in 0..3 {
        assert_eq!(arena.one(record), code);
    }
    if !says.is_empty() {
        arena.says(says);
    }
    if then == Then::Kept {
        assert_eq!(arena.peer.opened(), 1);
    } else {
        arena.wait_closed();
        assert_eq!(arena.peer.opened(), 3, "no connection is used again");
    }
    assert_eq!(arena.peer.seen().values().max(), Some(&1), "nothing is sent twice by the connector itself");
    arena.finish();
}

/// One test per answer: name, answer, what becomes of the connection, ack, words of the log.
macro_rules! answers {
    ($($name:ident: $answer:expr, $then:ident, $code:expr, $says:expr;)*) => {
        $(#[test] fn $name() { answers($answer, Then::$then, $code, $says); })*
    };
}

fn with(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok")
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

// 19: closing inside an answer.
answers! {
    h19_closing_inside_the_status_line: "HTTP/1.1 20", Close, 11, "closed the connection before it had answered";
    h19_closing_inside_the_headers: "HTTP/1.1 200 OK\r\nContent-Le", Close, 11, "closed the connection before it had answered";
    h19_closing_after_the_headers: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Close, 11, "closed the connection before it had answered";
    h19_closing_inside_the_body: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", Close, 11, "closed the connection before it had answered";
    h19_closing_inside_a_chunk_size: chunked("1"), Close, 11, "closed the connection before it had answered";
    h19_closing_inside_a_chunk: chunked("5\r\nhal"), Close, 11, "closed the connection before it had answered";
    h19_closing_before_the_last_chunk: chunked("2\r\nok\r\n"), Close, 11, "closed the connection before it had answered";
    h19_closing_inside_the_trailers: chunked("2\r\nok\r\n0\r\nA: b"), Close, 11, "closed the connection before it had answered";
    h19_a_reset_inside_the_body: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", Reset, 11, "closed the connection before it had answered";
    h19_an_orderly_end_completes_a_body_without_length: "HTTP/1.1 200 OK\r\n\r\nsome", Close, 0, "";
    h19_a_reset_completes_no_body_without_length: "HTTP/1.1 200 OK\r\n\r\nsome", Reset, 11, "closed the connection before it had answered";
}

// 20: answers whose end two readers would see in two places, and other lies.
answers! {
    h20_content_length_and_transfer_encoding: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Closed, 11, "both Content-Length and Transfer-Encoding";
    h20_transfer_encoding_and_content_length: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", Closed, 11, "both Content-Length and Transfer-Encoding";
    h20_a_folded_header: with("Content-Length: 2\r\nA: b\r\n c"), Closed, 11, "the response head is malformed";
    h20_a_bare_cr: with("Content-Length: 2\r\nA: b\rc"), Closed, 11, "a bare CR, a bare LF or a NUL";
    h20_a_bare_lf: with("Content-Length: 2\nA: b"), Closed, 11, "a bare CR, a bare LF or a NUL";
    h20_a_nul: with("Content-Length: 2\r\nA: \0"), Closed, 11, "a bare CR, a bare LF or a NUL";
    h20_two_lengths_that_differ: with("Content-Length: 2\r\nContent-Length: 3"), Closed, 11, "Content-Length is given twice and differs";
    h20_two_lengths_in_one_line_that_differ: with("Content-Length: 2, 3"), Closed, 11, "Content-Length is given twice and differs";
    h20_the_same_length_twice: with("Content-Length: 2\r\nContent-Length: 2"), Kept, 0, "";
    h20_a_negative_length: with("Content-Length: -2"), Closed, 11, "Content-Length is not a number";
    h20_a_length_above_64_bits: with("Content-Length: 18446744073709551616"), Closed, 11, "Content-Length is not a number";
    h20_a_huge_length_and_no_body: with("Content-Length: 18446744073709551615"), Closed, 11, "no answer within call-timeout";
    h20_an_unknown_transfer_encoding: with("Transfer-Encoding: gzip"), Closed, 11, "the transfer encoding is not";
    h20_chunked_twice: with("Transfer-Encoding: chunked, chunked"), Closed, 11, "the transfer encoding is not";
    h20_a_chunk_size_that_overflows: chunked("ffffffffffffffff1\r\n"), Closed, 11, "a chunk size is too long";
    h20_a_negative_chunk_size: chunked("-1\r\n"), Closed, 11, "a chunk size is malformed";
    h20_a_chunk_longer_than_it_says: chunked("1\r\nok\r\n0\r\n\r\n"), Closed, 11, "the chunked coding is malformed";
    h20_chunk_extensions_without_end: chunked(&format!("2;{}", "x".repeat(64 << 10))), Closed, 11, "chunk extensions or trailers are over the limit";
    h20_trailers_without_end: chunked(&format!("0\r\n{}", "A: b\r\n".repeat(10 << 10))), Closed, 11, "chunk extensions or trailers are over the limit";
    h20_switching_protocols: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", Closed, 11, "switched protocols without being asked";
    h20_no_content_with_a_body: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", Closed, 0, "bytes that nothing asked for";
    h20_not_modified_with_a_body: "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", Closed, 11, "status 304";
    h20_http_1_0: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Closed, 0, "";
    h20_http_1_0_with_chunks: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Closed, 11, "an HTTP/1.0 response has a transfer encoding";
    h20_connection_close: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", Closed, 0, "";
    h20_an_answer_that_nobody_asked_for_behind_the_first: [OK, OK].concat(), Closed, 0, "bytes that nothing asked for";
    h20_a_status_below_100: "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", Closed, 11, "the status code is out of range";
    h20_a_status_of_four_digits: "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Closed, 11, "the response head is malformed";
    h20_no_http_at_all: "SSH-2.0-OpenSSH_9.6\r\n", Closed, 11, "what came is not HTTP/1";
    h16_an_http2_server_at_an_http1_url: b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", Closed, 11, "this URL speaks HTTP/2; set protocol: HTTP_2";
    h16_a_tls_server_at_a_clear_url: b"\x15\x03\x01\0\x02\x02\x46", Closed, 11, "this URL speaks TLS";
}

// 14 as far as it concerns HTTP/1.1; 21; 24.
answers! {
    h14_an_interim_answer: format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", with("Content-Length: 2")), Kept, 0, "";
    h14_a_flood_of_interim_answers: "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100_000), Closed, 11, "too many interim responses";
    h14_trailers: chunked("2\r\nok\r\n0\r\nA: b\r\n\r\n"), Kept, 0, "";
    h14_a_refusal_that_closes: "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Closed, 11, "status 413";
    h21_too_many_headers: with(&format!("Content-Length: 2{}", "\r\nA: b".repeat(101))), Closed, 11, "too many headers";
    h21_headers_without_end: format!("HTTP/1.1 200 OK\r\n{}", "A: bcdefghijkl\r\n".repeat(1 << 16)), Closed, 11, "the response head is over the limit";
    h21_one_header_without_end: format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1 << 20)), Closed, 11, "the response head is over the limit";
}

#[test]
fn h20_no_request_waits_for_100_continue() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        while let Some(request) = wire.request() {
            if request.head.contains("expect") {
                wire.fault(request.head.clone());
            }
            wire.good(request.record);
            wire.send(OK);
        }
    });
    assert_eq!(arena.send(0..20), [0; 20]);
    arena.finish();
}

#[test]
fn h20_an_answer_that_nobody_asked_for_acks_no_later_record() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        let Some(request) = wire.request() else { return };
        if wire.number > 0 {
            wire.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
            return wire.hang();
        }
        wire.good(request.record);
        wire.send(OK);
        std::thread::sleep(Duration::from_millis(200));
        wire.send(OK);
        wire.expect_closed(SOON);
    });
    assert_eq!(arena.one(0), 0);
    arena.wait_closed();
    assert_eq!(arena.one(1), 11, "the forged answer is not taken for its own");
    arena.says("bytes that nothing asked for");
    arena.finish();
}

/// Answers one request per connection, then does `then` with the next.
fn after_one(wire: &mut Wire, then: impl Fn(&mut Wire)) {
    let Some(request) = wire.request() else { return };
    wire.good(request.record);
    wire.send(OK);
    if wire.request().is_some() {
        then(wire);
    }
}

#[test]
fn h18_the_keep_alive_race_is_retried_once_and_costs_no_ack() {
    let mut arena = Arena::start(HTTP_1, |wire| if wire.number == 0 { after_one(wire, |_| {}) } else { honest(wire) });
    assert_eq!((arena.one(0), arena.one(1)), (0, 0));
    let seen = arena.peer.seen();
    assert_eq!((seen[&0], seen[&1], arena.peer.opened()), (1, 2, 2), "once on the old connection, once on a new one");
    arena.finish();
}

#[test]
fn h18_the_keep_alive_race_by_reset_is_retried_too() {
    let mut arena =
        Arena::start(HTTP_1, |wire| if wire.number == 0 { after_one(wire, |wire| wire.reset()) } else { honest(wire) });
    assert_eq!((arena.one(0), arena.one(1)), (0, 0));
    assert_eq!(arena.peer.seen()[&1], 2);
    arena.finish();
}

#[test]
fn h18_a_retry_that_meets_a_fresh_connection_that_closes_is_the_last() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        if wire.number == 0 {
            after_one(wire, |_| {});
        } else {
            wire.request();
        }
    });
    assert_eq!((arena.one(0), arena.one(1)), (0, 11));
    assert_eq!(arena.peer.seen()[&1], 2);
    arena.finish();
}

#[test]
fn h18_one_byte_of_an_answer_forbids_the_retry() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        after_one(wire, |wire| {
            wire.send("H");
        });
    });
    assert_eq!((arena.one(0), arena.one(1)), (0, 11));
    assert_eq!(arena.peer.seen()[&1], 1);
    arena.finish();
}

#[test]
fn h18_a_fresh_connection_that_closes_forbids_the_retry() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        wire.request();
    });
    assert_eq!(arena.one(0), 11);
    assert_eq!(arena.peer.seen()[&0], 1);
    arena.finish();
}

#[test]
fn h18_an_idle_connection_that_closes_costs_nothing() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        if let Some(request) = wire.request() {
            wire.good(request.record);
            wire.send(OK);
        }
    });
    for record in 0..10 {
        assert_eq!(arena.one(record), 0, "{record}");
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(arena.peer.seen().values().max(), Some(&1));
    arena.finish();
}

#[test]
fn h13_a_peer_that_never_answers_fails_calls_in_time_and_is_left() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        wire.request();
        wire.expect_closed(SOON);
    });
    let since = Instant::now();
    assert_eq!(arena.send(0..8), [11; 8]);
    assert!(since.elapsed() < Duration::from_millis(5 * 1_500), "{:?}", since.elapsed());
    arena.says("no answer within call-timeout");
    arena.says("unhealthy");
    arena.wait_closed();
    let since = Instant::now();
    assert_eq!(arena.send(8..12).iter().filter(|code| **code == 11).count(), 4);
    assert!(since.elapsed() < Duration::from_millis(5 * 1_500), "fails fast, all but the one that tests");
    arena.finish();
}

#[test]
fn h14_an_early_refusal_is_taken_while_the_request_is_still_being_written() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        if wire.begun() {
            wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
            // Unread, the rest of the request cannot be written.
            std::thread::sleep(Duration::from_millis(500));
            wire.expect_closed(SOON);
        }
    });
    arena.blob(10 << 20);
    assert_eq!(arena.one(0), 11);
    arena.says("status 413");
    arena.wait_closed();
    arena.finish();
}

#[test]
fn h14_an_early_success_counts_when_the_whole_request_was_written() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        if wire.begun() {
            wire.send(OK);
            std::thread::sleep(Duration::from_millis(100));
            match wire.request() {
                Some(request) if request.body.len() > 10 << 20 => wire.good(request.record),
                other => wire.fault(format!("{:?}", other.map(|request| request.body.len()))),
            }
        }
    });
    arena.blob(10 << 20);
    assert_eq!(arena.one(0), 0);
    arena.wait_closed();
    arena.finish();
}

#[test]
fn h14_an_early_success_by_a_peer_that_never_takes_the_request_is_none() {
    let mut arena = Arena::start(HTTP_1, |wire| {
        if wire.begun() {
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    arena.blob(10 << 20);
    assert_eq!(arena.one(0), 11);
    arena.finish();
}

/// As above, where the configuration says that a conflict means success.
#[test]
fn h14_an_early_conflict_that_counts_as_success_by_a_peer_that_never_takes_the_request_is_none() {
    let mut arena = Arena::with(
        HTTP_1,
        |wire| {
            if wire.begun() {
                wire.send("HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                std::thread::sleep(Duration::from_millis(100));
            }
        },
        |settings, _| settings.set("http-success-status-codes: [ 200, 409 ]"),
    );
    arena.blob(10 << 20);
    assert_eq!(arena.one(0), 11);
    arena.finish();
}

#[test]
fn h22_a_head_that_drips_ends_at_the_call_timeout() {
    drips("HTTP/1.1 200 OK\r\nA-Header-That-Goes-On-And-On-And-On: 0123456789012345678901234567890123456789");
}

#[test]
fn h22_a_body_that_drips_ends_at_the_call_timeout() {
    drips("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789012345678901234567890123456789012345678901234567");
}

#[test]
fn h22_chunks_that_drip_end_at_the_call_timeout() {
    drips(&chunked(
        "1\r\na\r\n1\r\nb\r\n1\r\na\r\n1\r\nb\r\n1\r\na\r\n1\r\nb\r\n1\r\na\r\n1\r\nb\r\n1\r\na\r\n1\r\nb\r\n",
    ));
}

#[test]
fn h22_interim_answers_that_drip_end_at_the_call_timeout() {
    drips(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10));
}

/// The call's whole time counts, not the time since the last byte.
#[track_caller]
fn drips(answer: &str) {
    let answer = answer.to_owned();
    let mut arena = Arena::start(HTTP_1, move |wire| {
        if wire.request().is_some() {
            let (start, rest) = answer.as_bytes().split_at(answer.len() / 2);
            wire.send(start);
            wire.drip(&rest[..rest.len().min(30)], Duration::from_millis(100));
            wire.expect_closed(Duration::from_millis(1));
        }
    });
    let since = Instant::now();
    assert_eq!(arena.one(0), 11);
    assert!(since.elapsed() < Duration::from_millis(2 * 1_500), "{:?}", since.elapsed());
    arena.says("no answer within call-timeout");
    arena.wait_closed();
    arena.finish();
}

/// 10 GiB of body are announced or just sent; the status counts, and little of it is read.
#[track_caller]
fn ten_gigabytes(head: &str, piece: Vec<u8>, code: u8) {
    const MOST: u64 = 32 << 20;
    let taken = Arc::new(AtomicU64::new(0));
    let (head, theirs) = (head.to_owned(), Arc::clone(&taken));
    let mut arena = Arena::start(HTTP_1, move |wire| {
        let Some(request) = wire.request() else { return };
        if code == 0 {
            wire.good(request.record);
        }
        wire.send(&head);
        theirs.fetch_max(wire.flood(&piece, 10 << 30), Ordering::Relaxed);
    });
    let since = Instant::now();
    for record in 0..3 {
        assert_eq!(arena.one(record), code);
    }
    arena.wait_closed();
    assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
    // The kernel's buffers hold most of it.
    assert!(taken.load(Ordering::Relaxed) < MOST, "{taken:?} bytes were taken");
    arena.finish();
}

#[test]
fn h23_ten_gigabytes_of_announced_body() {
    ten_gigabytes("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", vec![b'x'; 64 << 10], 0);
}

#[test]
fn h23_ten_gigabytes_of_chunks() {
    let piece = [b"10000\r\n".as_slice(), &[b'x'; 64 << 10], b"\r\n"].concat();
    ten_gigabytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", piece, 0);
}

#[test]
fn h23_ten_gigabytes_until_the_end_of_the_connection() {
    ten_gigabytes("HTTP/1.1 500 No\r\n\r\n", vec![b'x'; 64 << 10], 11);
}

#[test]
fn h24_redirects_are_never_followed() {
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let place = target.local_addr().unwrap();
    let statuses = [301, 302, 303, 307, 308];
    let mut arena = Arena::start(HTTP_1, move |wire| {
        while let Some(request) = wire.request() {
            let status = statuses[request.record as usize % statuses.len()];
            wire.send(format!("HTTP/1.1 {status} Moved\r\nLocation: http://{place}/\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    for record in 0..5 {
        assert_eq!(arena.one(record), 11);
    }
    assert_eq!(arena.peer.seen().values().max(), Some(&1));
    assert!(target.accept().is_err(), "nobody connected to the place that the redirects named");
    arena.says("status 30");
    arena.finish();
}
