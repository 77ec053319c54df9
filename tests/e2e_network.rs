//! The network between the connector and its two ends fails in every way that it can: nothing is acked that did not
//! arrive, and all is delivered once the network is well again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::SocketAddr;
use std::time::Instant;

use ringpost_load::proxy::{Accept, Ending, Faults, ProxyHandle};
use ringpost_load::sink::{Behaviour, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::neighbour::Beside;
use support::network::{all, ms, of_new_connections, proxy, seed};
use support::*;

/// Connections of the source.
const XDR: usize = 4;

/// Where the proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Sink,
}

/// A sink, a connector, and a proxy before one of them.
struct Rig {
    sink: SinkHandle,
    proxy: ProxyHandle,
    beside: Beside,
    side: Side,
}

impl Rig {
    fn new(side: Side, protocol: &str, behaviour: Behaviour) -> Rig {
        let sink = sink(behaviour);
        let settings = |to| {
            let settings = Settings::to(protocol, &[to]).set("call-timeout: 500").set("connect-timeout: 300");
            Beside::start(settings, protocol)
        };
        let (beside, proxy) = match side {
            Side::Sink => {
                let proxy = proxy(sink.addr());
                (settings(proxy.addr()), proxy)
            }
            Side::Source => {
                let beside = settings(sink.addr());
                let proxy = proxy(beside.connector.addr());
                (beside, proxy)
            }
        };
        Rig { sink, proxy, beside, side }
    }

    /// Where the source connects.
    fn addr(&self) -> SocketAddr {
        if self.side == Side::Source { self.proxy.addr() } else { self.beside.connector.addr() }
    }
}

/// A steady stream, endless: the test stops it.
fn stream(to: SocketAddr) -> SourceConfig {
    SourceConfig { rate: Some(3_000.0), window: 64, records: None, drain: LONG, ..source(to, XDR, 0) }
}

/// Acks of 0 a second over a while.
fn throughput(run: &oracle::Watched) -> f64 {
    let (before, started) = (run.stats().acked, Instant::now());
    std::thread::sleep(ms(300));
    (run.stats().acked - before) as f64 / started.elapsed().as_secs_f64()
}

/// Runs a stream through `faults` for a while, heals, and asks the oracle.
fn through(side: Side, protocol: &str, what: &str, faults: Faults) {
    let mut rig = Rig::new(side, protocol, Behaviour { body_bytes: 100, ..Behaviour::default() });
    let run = oracle::watched(stream(rig.addr()), &[&rig.sink]);
    wait_until("records flow", LONG, || run.stats().acked > 300);
    let before = throughput(&run);
    // These are faults of new connections.
    let ends_open_ones = faults.accept != Accept::Forward || faults.life.is_some();
    rig.proxy.set(faults.clone()).unwrap();
    if ends_open_ones {
        rig.proxy.kill_connections(Ending::Reset);
    }
    std::thread::sleep(by_length(ms(1_200), ms(20_000)));
    let during = rig.proxy.stats();
    rig.proxy.heal().unwrap();
    // What was cut off in silence is not healed by itself.
    rig.proxy.kill_connections(Ending::Reset);
    let healed = Instant::now();
    let acked = run.stats().acked;
    wait_until("a fresh record passes", LONG, || run.stats().acked > acked + 200);
    let again = healed.elapsed();
    // The breaker's probes are up to 5 s apart; what piled up is sent again meanwhile.
    let mut after = throughput(&run);
    while after < before * 0.95 && healed.elapsed() < 2 * ms(5_000) {
        after = throughput(&run);
    }
    let back = healed.elapsed();
    run.stop();
    let report = run.finish(&[&rig.sink]);
    eprintln!(
        "{side:?}, {protocol}, {what}, seed {}: {before:.0} records/s before, {after:.0} after {back:?}, first after {again:?}; \
        {} duplicates, acks {:?}, {} XDR connections lost; {during:?}",
        seed(),
        rig.sink.ledger().stats().duplicates,
        oracle::codes(&report),
        report.connections_lost,
    );
    if ends_open_ones && side == Side::Sink {
        // Those that there were, at most as many that are opened at the same time, and a test a second.
        assert!(during.turned_away <= 60 || faults.life.is_some(), "{what}: no storm of connections: {during:?}");
    }
    assert!(after > before / 5.0, "{what}: {before:.0} records/s before the fault, {after:.0} after it");
    if side == Side::Sink {
        assert_eq!(report.connections_lost, 0, "XDR connections outlive the destination's faults");
    }
    rig.beside.check(&format!("{side:?}, {protocol}, {what}"), &[&report], &[&rig.sink]);
}

/// As many runs at a time as there are tests: each of these goes through a part of the list.
fn part(side: Side, protocol: &str, of: fn(&str) -> bool) {
    for (what, faults) in all().into_iter().filter(|(what, _)| of(what)) {
        through(side, protocol, what, faults);
    }
}

fn is_slow(what: &str) -> bool {
    ["latency", "little", "slices"].iter().any(|word| what.starts_with(word))
}

fn is_stall(what: &str) -> bool {
    ["stall", "silence", "flapping", "short"].iter().any(|word| what.starts_with(word))
}

fn is_end(what: &str) -> bool {
    !is_slow(what) && !is_stall(what)
}

#[test]
fn new_connections_that_are_refused_reset_closed_or_left_hanging() {
    for (what, accept) in of_new_connections() {
        for protocol in PROTOCOLS {
            through_new(Side::Sink, protocol, what, accept);
        }
        through_new(Side::Source, "HTTP_2", what, accept);
    }
}

/// Resets what is open, and does `accept` to what comes then.
fn through_new(side: Side, protocol: &str, what: &str, accept: Accept) {
    through(side, protocol, what, Faults::accept(accept));
}

#[test]
fn a_slow_way_to_the_sink() {
    PROTOCOLS.iter().for_each(|protocol| part(Side::Sink, protocol, is_slow));
}

#[test]
fn a_way_to_the_sink_that_falls_silent_or_flaps() {
    PROTOCOLS.iter().for_each(|protocol| part(Side::Sink, protocol, is_stall));
}

#[test]
fn connections_to_the_sink_that_end_anywhere() {
    PROTOCOLS.iter().for_each(|protocol| part(Side::Sink, protocol, is_end));
}

#[test]
fn a_slow_way_from_the_source() {
    part(Side::Source, "HTTP_2", is_slow);
}

#[test]
fn a_way_from_the_source_that_falls_silent_or_flaps() {
    part(Side::Source, "HTTP_2", is_stall);
}

#[test]
fn connections_of_the_source_that_end_anywhere() {
    part(Side::Source, "HTTP_2", is_end);
}
