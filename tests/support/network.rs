//! Fault proxies for the tests, and the faults that they go through.

use std::net::SocketAddr;
use std::time::Duration;

use ringpost_load::proxy::{Accept, Cut, Ending, Faults, Link, Proxy, ProxyConfig, ProxyHandle};

use super::free_port;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `RINGPOST_SEED`, or 1.
pub fn seed() -> u64 {
    std::env::var("RINGPOST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A proxy to `target`, without faults. Its port is outside of the range of outgoing connections, as a sink's.
pub fn proxy(target: SocketAddr) -> ProxyHandle {
    for _ in 0..20 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        if let Ok(proxy) = Proxy::spawn(ProxyConfig { address, target, faults: Faults::default(), seed: seed() }) {
            return proxy;
        }
    }
    panic!("no proxy");
}

/// A direction that ends after so many bytes.
pub fn cut(after: u64, ending: Ending) -> Link {
    Link { cut: Some(Cut { after, ending }), ..Link::default() }
}

/// To the target only.
pub fn up(link: Link) -> Faults {
    Faults { up: link, ..Faults::default() }
}

/// From the target only.
pub fn down(link: Link) -> Faults {
    Faults { down: link, ..Faults::default() }
}

/// Each fault with its name, for records or requests (`up`) and acks or answers (`down`).
pub fn all() -> Vec<(&'static str, Faults)> {
    let slow = Link { latency: (ms(5), ms(60)), ..Link::default() };
    let narrow = Link { bandwidth: Some(100_000), ..Link::default() };
    let sliced = Link { slice: Some(7), ..Link::default() };
    let stall = Link { stall: true, ..Link::default() };
    vec![
        ("latency with jitter", Faults::both(slow)),
        ("little bandwidth up", up(narrow.clone())),
        ("little bandwidth down", down(narrow)),
        ("slices", Faults::both(sliced)),
        ("stall of both directions", Faults::both(stall.clone())),
        ("stall up", up(stall.clone())),
        ("stall down", down(stall)),
        ("close after 3000 bytes up", up(cut(3_000, Ending::Close))),
        ("reset after 3000 bytes up", up(cut(3_000, Ending::Reset))),
        ("half-close after 3000 bytes up", up(cut(3_000, Ending::HalfClose))),
        ("silence after 3000 bytes up", up(cut(3_000, Ending::Silence))),
        ("close after 1000 bytes down", down(cut(1_000, Ending::Close))),
        ("reset after 1000 bytes down", down(cut(1_000, Ending::Reset))),
        ("half-close after 1000 bytes down", down(cut(1_000, Ending::HalfClose))),
        ("silence after 1000 bytes down", down(cut(1_000, Ending::Silence))),
        ("short lives", Faults::life(ms(1), ms(100), Ending::Reset)),
        ("flapping", Faults { flap: Some((ms(200), ms(200))), ..Faults::default() }),
    ]
}

/// Faults that new connections meet; what is open is reset first.
pub fn of_new_connections() -> Vec<(&'static str, Accept)> {
    vec![("refused", Accept::Refuse), ("reset", Accept::Reset), ("closed", Accept::Close), ("hanging", Accept::Hang)]
}
