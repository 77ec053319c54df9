//! TLS on both sides of the connector over a network that cuts, stalls, slices and corrupts: what TLS finds damaged costs one
//! connection, and no record is acked that did not arrive whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use ringpost_load::proxy::{Corrupt, Ending, Faults, Link, ProxyHandle};
use ringpost_load::sink::Behaviour;
use ringpost_load::source::SourceConfig;
use ringpost_load::tls::{Server, Tunnel, client_config};
use support::neighbour::Beside;
use support::network::{cut, down, ms, proxy, up};
use support::tls::{authority, pair, settings, tls_sink, with_xdr_tls};
use support::*;

/// Beyond the handshake, so that it is records of an open session that are damaged.
const LATER: std::ops::Range<u64> = 4_000..4_100;

fn faults() -> Vec<(&'static str, Faults)> {
    let corrupt = || Link { corrupt: Some(Corrupt { offsets: LATER, probability: 1.0 }), ..Link::default() };
    let early = Link { corrupt: Some(Corrupt { offsets: 0..200, probability: 0.2 }), ..Link::default() };
    vec![
        ("slices", Faults::both(Link { slice: Some(7), ..Link::default() })),
        ("stall", Faults::both(Link { stall: true, ..Link::default() })),
        ("reset after 6000 bytes up", up(cut(6_000, Ending::Reset))),
        ("half-close after 4000 bytes down", down(cut(4_000, Ending::HalfClose))),
        ("close in the handshake", down(cut(500, Ending::Close))),
        ("silence in the handshake", down(cut(500, Ending::Silence))),
        ("corrupt up", up(corrupt())),
        ("corrupt down", down(corrupt())),
        ("corrupt handshakes", Faults::both(early)),
    ]
}

#[test]
fn nothing_is_lost_or_damaged_when_the_network_breaks_tls_sessions_of_either_side() {
    for protocol in PROTOCOLS {
        let authority = authority();
        let sink = tls_sink(&Server::new(pair(&authority)), Behaviour::default());
        let to_sink = proxy(sink.addr());
        let settings = settings(protocol, to_sink.addr(), &authority).set("call-timeout: 500").executors(1);
        let (settings, port) = with_xdr_tls(settings, &pair(&authority), "");
        let mut beside = Beside::start(settings, protocol);
        let from_source = proxy(port);
        let client = client_config(&authority.pem(), None).unwrap();
        let tunnel = Tunnel::spawn(from_source.addr(), "localhost", client).unwrap();
        let stream = SourceConfig { rate: Some(2_000.0), window: 64, drain: LONG, ..SourceConfig::to(tunnel.addr()) };
        let run = oracle::watched(SourceConfig { connections: 4, ..stream }, &[&sink]);
        wait_until("records flow", LONG, || run.stats().acked > 300);
        let places: [(&str, &ProxyHandle); 2] = [("source", &from_source), ("sink", &to_sink)];
        for (place, proxy) in places {
            for (what, faults) in faults() {
                proxy.set(faults).unwrap();
                proxy.kill_connections(Ending::Reset);
                std::thread::sleep(by_length(ms(500), ms(5_000)));
                proxy.heal().unwrap();
                proxy.kill_connections(Ending::Reset);
                let acked = run.stats().acked;
                wait_until(&format!("records flow after {what} at the {place}"), LONG, || {
                    run.stats().acked > acked + 200
                });
            }
        }
        run.stop();
        let report = run.finish(&[&sink]);
        eprintln!("{protocol}: {:?}, {} duplicates", oracle::codes(&report), sink.ledger().stats().duplicates);
        beside.check(protocol, &[&report], &[&sink]);
        beside.connector.wait_log("TLS", LONG);
    }
}
