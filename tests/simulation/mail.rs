//! Parcels between engines, as `src/io` carries them.

use ringpost::delivery::engine::Engine;

use super::scenario::{MS, SECOND};
use super::world::{Event, World};

/// A parcel from one engine to another takes so long at the most.
pub const LONGEST_MAIL: u64 = 20 * MS;

impl World {
    /// What an engine has for others.
    pub fn send_parcels(&mut self, index: usize) {
        let mut parcels = Vec::new();
        while let Some((to, parcel)) = self.engines[index].as_mut().and_then(Engine::next_parcel) {
            parcels.push((to, parcel));
        }
        for (to, parcel) in parcels {
            let late = if self.random.chance(3) { self.random.below(LONGEST_MAIL) } else { self.random.below(200_000) };
            let at = self.mail_at[to].max(self.now + late);
            self.mail_at[to] = at;
            self.mail[to].push_back((index, parcel));
            self.at(at, Event::Parcel(to));
        }
    }

    /// `io::handover::receive`.
    pub fn take_parcel(&mut self, index: usize) {
        let now = self.time();
        let Some((from, parcel)) = self.mail[index].pop_front() else { return };
        self.log("parcel", [index as u64, from as u64, 0]);
        let Some(engine) = self.engines[index].as_mut() else { return };
        engine.take_parcel(from, parcel, now);
        self.carry_out(index);
    }

    /// Adds what an engine counted.
    pub fn count_engine(&mut self, index: usize) {
        let Some(engine) = &self.engines[index] else { return };
        let (counters, tally) = (engine.counters(), &mut self.ledger.tally);
        tally.stale += counters.stale;
        tally.coalesced += counters.coalesced;
        tally.waited += counters.ordered_waits;
        tally.handed += counters.handed_over;
        tally.count_connections(counters);
    }

    /// The process's executor ends: what it still has is dropped with it.
    pub fn end_engine(&mut self, index: usize) {
        self.log("drained", [index as u64, 0, 0]);
        self.check_figures(index);
        let allowed = self.scenario.config.limits.drain.as_nanos() as u64 + 2 * SECOND + 200 * MS;
        if self.drain_began[index].is_none_or(|began| began + allowed < self.now) {
            self.ledger.violation(format!("engine {index} drained too late"));
        }
        self.count_engine(index);
        self.engines[index] = None;
        for link in 0..self.links.len() {
            if self.links[link].engine == index && !self.links[link].over {
                self.close_far_of(link);
            }
        }
    }
}
