//! Names that move, and how many connections there may be.

use ringpost::delivery::table::Key;

use super::world::{Far, Link, World};

impl World {
    /// The address of one connection is gone from its name.
    pub fn move_one(&mut self, index: usize) {
        let is_open = |link: &Link| link.engine == index && !link.over && matches!(link.far, Far::Server(_));
        let keys: Vec<Key> = self.links.iter().filter(|link| is_open(link)).map(|link| link.key).collect();
        if keys.is_empty() {
            return;
        }
        let (key, now) = (self.random.pick(&keys), self.time());
        if let Some(engine) = self.engines[index].as_mut() {
            engine.connection_outdated(key, now);
        }
    }

    /// The number of connections is one for all engines; each may have one that is not within it.
    pub fn check_places(&mut self) {
        let Some(engine) = self.engines.iter().flatten().next() else { return };
        let others = self.engines.len() as u64 - 1;
        for (pool, endpoint) in engine.pools().zip(&self.endpoints) {
            let most = u64::from(self.scenario.config.destinations[endpoint.destination].max_connections_per_endpoint);
            if pool.taken > most + others {
                return self.ledger.violation(format!("{} places are taken of {most}", pool.taken));
            }
        }
    }
}
