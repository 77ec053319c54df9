//! What to do with a record: which settings hold for it, and where it goes, or why it goes nowhere.

mod java_regex;
pub mod table;
pub mod transforms;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::model::Routing;
use table::{ProfileId, ProfileTable};

/// Pairs of namespace and set that are warned about; further ones are skipped without a warning.
const WARNED_LIMIT: usize = 1024;

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// To each of these destinations.
    To(&'a [usize]),
    /// Nowhere, on purpose.
    Skip,
    /// Nowhere, since no route is configured: perhaps a typing error.
    None,
}

/// The policy of one configuration.
#[derive(Debug)]
pub struct Policy {
    /// Settings by port, namespace and set.
    pub table: Arc<ProfileTable>,
    /// Sets by namespace.
    warned: HashMap<Vec<u8>, HashSet<Vec<u8>>>,
    /// Pairs in it.
    count: usize,
}

impl Policy {
    /// The policy by this table.
    pub fn new(table: Arc<ProfileTable>) -> Policy {
        Policy { table, warned: HashMap::new(), count: 0 }
    }

    /// The route of records with this profile.
    pub fn route(&self, profile: ProfileId) -> Route<'_> {
        match self.table.profile(profile).and_then(|profile| profile.routing.as_ref()) {
            Some(Routing::Destinations(list)) => Route::To(list),
            Some(Routing::Skip) => Route::Skip,
            None => Route::None,
        }
    }

    /// The destinations of records with this profile; none when they are skipped.
    pub fn destinations(&self, profile: ProfileId) -> &[usize] {
        match self.route(profile) {
            Route::To(list) => list,
            Route::Skip | Route::None => &[],
        }
    }

    /// Whether a record without a route is the first of its namespace and set. Allocates for the first one only.
    pub fn is_first_unrouted(&mut self, namespace: &[u8], set: &[u8]) -> bool {
        let is_known = self.warned.get(namespace).is_some_and(|sets| sets.contains(set));
        if is_known || self.count == WARNED_LIMIT {
            return false;
        }
        self.count += 1;
        self.warned.entry(namespace.to_vec()).or_default().insert(set.to_vec())
    }

    /// Whether further pairs without a route are not said to be the first of theirs.
    pub fn has_warned_enough(&self) -> bool {
        self.count == WARNED_LIMIT
    }
}

#[cfg(test)]
mod tests;
