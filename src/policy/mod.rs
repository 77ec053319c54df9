//! What to do with a record: where it goes, or why it goes nowhere.

mod java_regex;
pub mod transforms;

use std::collections::{HashMap, HashSet};

use crate::config::model::Routing;

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

/// The routing of one configuration.
#[derive(Debug)]
pub struct Policy {
    routing: Option<Routing>,
    /// Sets by namespace.
    warned: HashMap<Vec<u8>, HashSet<Vec<u8>>>,
    /// Pairs in it.
    count: usize,
}

impl Policy {
    /// The policy for `routing`.
    pub fn new(routing: Option<Routing>) -> Policy {
        Policy { routing, warned: HashMap::new(), count: 0 }
    }

    /// The route of a record.
    pub fn route(&self) -> Route<'_> {
        match &self.routing {
            Some(Routing::Destinations(list)) => Route::To(list),
            Some(Routing::Skip) => Route::Skip,
            None => Route::None,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_and_set_is_first_once() {
        let mut policy = Policy::new(None);
        assert_eq!(policy.route(), Route::None);
        assert!(policy.is_first_unrouted(b"test", b"a"));
        assert!(!policy.is_first_unrouted(b"test", b"a"));
        assert!(policy.is_first_unrouted(b"test", b"b"));
    }
}
