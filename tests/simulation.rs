//! The connector's whole logic in a simulation: fake clock, fake network, faults, everything decided by a seed.
//!
//! ```text
//! RINGPOST_SEED=17 RINGPOST_SEEDS=1 RINGPOST_TRACE=1 cargo test --test simulation -- --nocapture
//! ```
//! `RINGPOST_SEED` is the first seed (0), `RINGPOST_SEEDS` how many are run.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "simulation/bodies.rs"]
mod bodies;
#[path = "simulation/figures.rs"]
mod figures;
#[path = "simulation/frames.rs"]
mod frames;
#[path = "simulation/http2.rs"]
mod http2;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/mail.rs"]
mod mail;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/pipe.rs"]
mod pipe;
#[path = "simulation/pools.rs"]
mod pools;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/rejected.rs"]
mod rejected;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/server.rs"]
mod server;
#[path = "simulation/settings.rs"]
mod settings;
#[path = "simulation/world.rs"]
mod world;

use scenario::{MS, SECOND};
use world::World;

/// Seeds of an ordinary test run; each is run twice.
const SEEDS: u64 = 150;

/// After the last fault everything must be acked within this: a breaker's longest pause, a node's back-off, deadlines.
const HEAL: u64 = 40 * SECOND;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs one seed to its end.
fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    match world.scenario.drain_all_at {
        Some(at) => finish_drain(&mut world, at),
        None => heal_and_finish(&mut world),
    }
    world
}

/// Faults, healing, everything acked, nothing left, then an orderly end.
fn heal_and_finish(world: &mut World) {
    let heal_at = world.scenario.heal_at;
    world.run_until(heal_at);
    let limit = heal_at + HEAL;
    while world.ledger.violations.is_empty() && !world.is_all_acked() && world.now < limit {
        world.run_until(world.now + 100 * MS);
    }
    if world.ledger.violations.is_empty() && !world.is_all_acked() {
        let open: Vec<usize> =
            (0..world.ledger.records.len()).filter(|index| !world.ledger.records[*index].done).collect();
        let text = format!(
            "{} records are not acked {} s after healing: {:?}",
            open.len(),
            HEAL / SECOND,
            &open[..open.len().min(8)]
        );
        let text = format!("{text}\n{}", world.state());
        return world.ledger.violation(text);
    }
    // Calls whose record was answered long ago may still be under way.
    world.run_until(world.now + 5 * SECOND);
    for node in &mut world.nodes {
        node.leaving = true;
    }
    world.run_until(world.now + 2 * SECOND);
    check_empty(world, false);
    // What an idle connection still holds (a body that its peer gave no room for) goes with it.
    for server in 0..world.servers.len() {
        world.server_close(server, false);
    }
    world.run_until(world.now + 2 * SECOND);
    check_empty(world, true);
    for engine in 0..world.engines.len() {
        world.drain(engine);
    }
    let now = world.now;
    finish_drain(world, now);
}

/// Nothing is in flight: every count is back at zero.
fn check_empty(world: &mut World, bytes_too: bool) {
    for index in 0..world.engines.len() {
        if !world.ledger.violations.is_empty() {
            return;
        }
        let Some(engine) = world.engines[index].as_mut() else { continue };
        let (records, bytes, counts) = (engine.in_flight(), engine.in_flight_bytes(), engine.counts());
        if records != 0 || bytes_too && bytes != 0 {
            world.ledger.violation(format!(
                "engine {index} has {records} records and {bytes} bytes in flight at the end, {counts:?}"
            ));
        }
        if counts.ordered + counts.handed != 0 {
            world.ledger.violation(format!("engine {index} keeps slots or frames of others at the end: {counts:?}"));
        }
        let in_flight = counts.flights + counts.attempts + counts.batches + counts.queued + counts.loads;
        if counts.sources + counts.paused + in_flight != 0 {
            world.ledger.violation(format!("engine {index} has entries at the end: {counts:?}"));
        }
        if counts.closing != 0 {
            world
                .ledger
                .violation(format!("engine {index} keeps connections that take nothing and have nothing: {counts:?}"));
        }
    }
}

fn finish_drain(world: &mut World, at: u64) {
    let drain = world.scenario.config.limits.drain.as_nanos() as u64;
    world.run_until(at.max(world.now) + drain + 4 * SECOND);
    if world.ledger.violations.is_empty() && world.engines.iter().any(Option::is_some) {
        world.ledger.violation("an engine did not end after its drain".to_owned());
    }
}

#[test]
fn nothing_is_lost_reordered_or_stuck_whatever_the_network_does() {
    let (first, count) = (setting("RINGPOST_SEED", 0), setting("RINGPOST_SEEDS", SEEDS));
    let mut all = 0;
    let mut failed = Vec::new();
    let (mut tally, mut frames, mut steps) = (ledger::Tally::default(), 0, 0);
    for seed in first..first.saturating_add(count) {
        let world = run(seed);
        let again = run(seed);
        if count <= 20 {
            println!("seed {seed}: hash {:016x}, {} steps, {:?}", world.hash, world.steps, world.ledger.tally);
        }
        all = (all ^ world.hash).rotate_left(7);
        frames += world.ledger.frames.len();
        steps += world.steps;
        tally.add(world.ledger.tally);
        if world.hash != again.hash {
            failed.push(format!("seed {seed}: two runs differ ({:016x}, {:016x})", world.hash, again.hash));
        }
        for fault in &world.ledger.violations {
            failed.push(format!("seed {seed} at {:.3} s: {fault}", world.now as f64 / SECOND as f64));
        }
        if failed.len() >= 20 {
            break;
        }
    }
    println!("{count} seeds, hash {all:016x}, {steps} steps, {frames} frames, {tally:?}");
    let replay =
        "replay: RINGPOST_SEED=<seed> RINGPOST_SEEDS=1 RINGPOST_TRACE=1 cargo test --test simulation -- --nocapture";
    let pools = [tally.replaced, tally.given_up];
    assert!(count < SEEDS || pools.iter().all(|count| *count > 0), "these never happened: {tally:?}");
    assert!(count < 3 * SEEDS || tally.silent > 0, "no connection was lost for want of an answer: {tally:?}");
    assert!(failed.is_empty(), "{}\n{replay}", failed.join("\n"));
}
