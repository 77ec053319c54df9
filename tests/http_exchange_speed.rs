//! CPU time of an exchange per request against a sink that listens already, for comparison with h2load or wrk in the
//! same minute. Nothing is measured unless it is asked for:
//!
//! ```text
//! nghttpd --no-tls -d DIR 18080 &
//! SINK_PORT=18080 SINK_PATH=/ok REQUESTS=1000000 STREAMS=100 \
//!     cargo test --release --test http_exchange_speed -- --ignored --nocapture
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use ringpost::config::model::{Headers, Protocol, Scheme, Url};
use ringpost::http::{Exchange, ExchangeLimits, Outcome, Request, Target, Ticket};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// User and system microseconds of this thread.
fn cpu_us() -> (f64, f64) {
    // SAFETY: a zeroed rusage is a valid value, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage
    };
    let us = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    (us(usage.ru_utime), us(usage.ru_stime))
}

#[test]
#[ignore = "needs a sink; see above"]
fn cpu_per_request() {
    let port = u16::try_from(setting("SINK_PORT", 18080)).unwrap();
    let path = std::env::var("SINK_PATH").unwrap_or_else(|_| "/".to_owned());
    let (requests, streams) = (setting("REQUESTS", 200_000), setting("STREAMS", 100));
    let protocol = if setting("HTTP", 2) == 1 { Protocol::Http1 } else { Protocol::Http2 };

    let url = Url { scheme: Scheme::Http, host: "127.0.0.1".to_owned(), port, path };
    let target = Rc::new(Target::new(&url, &Headers::default()).unwrap());
    let limits = ExchangeLimits { max_streams: streams, ..ExchangeLimits::default() };
    let mut exchange = Exchange::new(protocol, target, limits);
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_nodelay(true).unwrap();
    let body = Bytes::from(vec![b'x'; setting("BODY", 250)]);
    let mut scratch = vec![0; 256 << 10];
    let mut out = Vec::new();

    let (mut submitted, mut done, mut good, mut reads) = (0, 0, 0, 0_usize);
    let (started, (user, system)) = (Instant::now(), cpu_us());
    while done < requests {
        while submitted < requests && exchange.capacity() > 0 {
            let mut digest = [0; 20];
            digest[..8].copy_from_slice(&(submitted as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            let ticket = Ticket { slot: submitted as u32, generation: 0 };
            exchange.submit(ticket, Request::json(body.clone(), digest)).unwrap();
            submitted += 1;
        }
        loop {
            out.clear();
            exchange.transmit(&mut out);
            if out.is_empty() {
                break;
            }
            socket.write_all(&out).unwrap();
        }
        let length = socket.read(&mut scratch).unwrap();
        assert!(length > 0, "the sink closed: {:?}", exchange.why_closed());
        reads += 1;
        exchange.receive(&scratch[..length]);
        while let Some((_, outcome)) = exchange.next_outcome() {
            done += 1;
            good += usize::from(matches!(outcome, Outcome::Response { status: 200..=299 }));
        }
    }
    let (user, system) = (cpu_us().0 - user, cpu_us().1 - system);
    let wall = started.elapsed().as_secs_f64();
    println!(
        "{requests} requests, {good} good, {streams} streams: {:.3} us CPU each (user {:.3}, system {:.3}), {:.0}/s, \
         {:.1} outcomes a read",
        (user + system) / requests as f64,
        user / requests as f64,
        system / requests as f64,
        requests as f64 / wall,
        requests as f64 / reads as f64
    );
}
