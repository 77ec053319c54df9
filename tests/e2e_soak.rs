//! Mixed faults of everything at once, chosen by a seed: the network on both sides, two destinations, the sinks.
//!
//! 10 s as a test; `scripts/soak SECONDS SEED` for as long as is wanted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::time::{Duration, Instant};

use ringpost_load::proxy::{Ending, Faults, ProxyHandle};
use ringpost_load::sink::{Behaviour, Fault, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::neighbour::Beside;
use support::network::{all, ms, of_new_connections, proxy, seed};
use support::random::Choices;
use support::*;

/// Does something to one place; gives its name.
fn disturb(random: &mut Choices, proxies: &[(&str, &ProxyHandle)], sinks: &[&SinkHandle]) -> String {
    match random.below(10) {
        0..7 => {
            let (place, proxy) = proxies[random.below(proxies.len())];
            let mut faults = all();
            faults.extend(of_new_connections().into_iter().map(|(what, accept)| (what, Faults::accept(accept))));
            let (what, faults) = faults.swap_remove(random.below(faults.len()));
            proxy.set(faults).unwrap();
            if random.below(2) == 0 {
                proxy.kill_connections(Ending::Reset);
            }
            format!("{what} at the {place}")
        }
        7 => {
            let at = random.below(sinks.len());
            let faults = [Fault::Hang, Fault::CloseBeforeAnswer, Fault::CloseMidBody, Fault::Reset, Fault::Refuse];
            let fault = faults[random.below(faults.len())];
            sinks[at].set_behaviour(Behaviour { fault_probability: 0.1, ..Behaviour::fault(fault) });
            format!("{fault:?} of some requests at sink {at}")
        }
        8 => {
            let at = random.below(sinks.len());
            sinks[at].set_behaviour(Behaviour { error_probability: 0.2, error_status: 503, ..Behaviour::default() });
            format!("503 to some requests at sink {at}")
        }
        _ => {
            proxies.iter().for_each(|(_, proxy)| proxy.heal().unwrap());
            sinks.iter().for_each(|sink| sink.set_behaviour(Behaviour::default()));
            "a calm moment".to_owned()
        }
    }
}

#[test]
fn soak() {
    let seconds = std::env::var("RINGPOST_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(by_length(10, 600)));
    println!("soak of {length:?}, seed {}", seed());
    let mut random = Choices(seed());
    let (one, two) = (sink(Behaviour::default()), sink(Behaviour::default()));
    let (to_one, to_two) = (proxy(one.addr()), proxy(two.addr()));
    let settings = Settings::to("HTTP_1_1", &[to_one.addr()]).set("call-timeout: 500").set("connect-timeout: 300");
    let settings = settings.and("HTTP_2", &[to_two.addr()]).set("call-timeout: 500").set("connect-timeout: 300");
    let mut beside = Beside::start(settings.executors(2), "HTTP_1_1");
    let from = proxy(beside.connector.addr());
    let sinks = [&one, &two];
    let stream =
        SourceConfig { rate: Some(2_000.0), window: 128, records: None, drain: 3 * LONG, ..source(from.addr(), 8, 0) };
    let run = oracle::watched(stream, &sinks);
    let places = [("source", &from), ("first sink", &to_one), ("second sink", &to_two)];
    let started = Instant::now();
    while started.elapsed() < length {
        let what = disturb(&mut random, &places, &sinks);
        println!("{:>7.1} s: {what}; {} acked", started.elapsed().as_secs_f64(), run.stats().acked);
        std::thread::sleep(ms(100 + random.below(700) as u64));
    }
    for (_, proxy) in places {
        proxy.heal().unwrap();
        proxy.kill_connections(Ending::Reset);
    }
    sinks.iter().for_each(|sink| sink.set_behaviour(Behaviour::default()));
    let (healed, acked) = (Instant::now(), run.stats().acked);
    wait_until("records flow again", LONG, || run.stats().acked > acked + 200);
    println!("healed; records flow after {:?}", healed.elapsed());
    run.stop();
    let report = run.finish(&sinks);
    beside.check("the soak", &[&report], &sinks);
    let duplicates: Vec<u64> = sinks.iter().map(|sink| sink.ledger().stats().duplicates).collect();
    println!(
        "{} records, all delivered to both sinks and acked 0; {} frames sent again, duplicates {duplicates:?}, acks {:?}, {} XDR \
        connections lost: G1 to G4, G6, G7 and G9 hold",
        report.sent,
        report.resent,
        oracle::codes(&report),
        report.connections_lost
    );
}
