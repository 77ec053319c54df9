//! The engine's figures in a simulation: the clock that they are measured with, and what has to add up in the end.

use std::cell::Cell;

use ringpost::metrics::recorder::BLOCK;
use ringpost::metrics::snapshot::Snapshot;
use ringpost::metrics::stages::{Durations, Stage};
use ringpost::time::Time;

use super::world::World;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// It is `now`, for [`stopwatch`], too.
pub fn pass(now: u64) -> u64 {
    NOW.set(now);
    now
}

/// What engines measure with: the simulation's clock.
pub fn stopwatch() -> Time {
    Time::from_nanos(NOW.get())
}

impl World {
    /// What an engine has counted adds up, whatever happened to it.
    pub fn check_figures(&mut self, index: usize) {
        let Some(engine) = self.engines[index].as_mut() else { return };
        let mut snapshot = Snapshot::default();
        engine.publish(&mut snapshot);
        let counters = snapshot.counters;
        let count = |stage| snapshot.stages.of(stage).map_or(0, Durations::count);
        let sum = |stage| snapshot.stages.of(stage).map_or(0, Durations::sum);
        let acked = counters.acked_ok + counters.acked_permanent + counters.acked_temporary;
        let mut faults = Vec::new();
        let mut check = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("engine {index}: {what}: {counters:?}"));
            }
        };
        check(count(Stage::Total) == acked, "`total` has not as many records as were acked");
        check(count(Stage::AckWait) == acked, "`ack-wait` has not as many records as were acked");
        check(sum(Stage::AckWait) <= sum(Stage::Total), "records waited longer for their turn than they were there");
        check(count(Stage::Response) <= count(Stage::QueueWait), "more responses than requests");
        check(
            count(Stage::ReceiveWait) <= counters.records + u64::from(BLOCK),
            "`receive-wait` has more records than came",
        );
        let of_destinations: u64 = snapshot.destinations.iter().map(|it| it.success).sum();
        let of_endpoints: u64 = snapshot.endpoints.iter().map(|it| it.success).sum();
        check(of_destinations == of_endpoints, "destinations and their URLs have not taken the same");
        let most_errors: u64 = snapshot.endpoints.iter().map(|it| it.error).sum();
        let failed = counters.responses_permanent + counters.responses_other + counters.requests_failed;
        check(failed == 0 || most_errors > 0, "requests have failed, and no URL has an error");
        check(counters.responses_success == 0 || of_endpoints >= counters.responses_success, "successes are missing");
        faults.into_iter().for_each(|fault| self.ledger.violation(fault));
    }
}
