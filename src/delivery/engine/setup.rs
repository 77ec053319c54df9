//! An engine from a configuration.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::super::batch::{OpenBatches, Rule, Rules};
use super::super::bodies::Bodies;
use super::super::budget::{Budget, Pool};
use super::super::chain::Chain;
use super::super::encoders::Encoders;
use super::super::endpoint::{Destination, Endpoint};
use super::super::handover::Handover;
use super::super::lease::{Lease, Shared};
use super::super::names::Names;
use super::super::rejects::Rejects;
use super::super::table::Table;
use super::ordering::Order;
use super::{Engine, Limited};
use crate::config::model::{BatchBody, Config, Routing};
use crate::format::Framing;
use crate::http::{Target, TargetError};
use crate::metrics::{Counters, Latency};
use crate::policy::Policy;
use crate::policy::table::{Profile, ProfileTable};
use crate::wire::frame::FrameLimits;

/// What the executors of a process share: amounts that they lease, and a table that is only read.
#[derive(Debug, Clone)]
pub struct SharedLimits {
    pool: Pool,
    /// One for each endpoint, in the order of destinations and URLs.
    queues: Vec<Shared>,
    executors: usize,
    /// The settings of every kind of record.
    table: Arc<ProfileTable>,
}

impl SharedLimits {
    /// The amounts of `config`, for `executors` executors.
    pub fn new(config: &Config, executors: usize) -> SharedLimits {
        let records = u64::from(config.service.max_concurrent_records);
        let queues = config.destinations.iter().flat_map(|destination| {
            let limit = u64::from(destination.max_request_queued_per_endpoint);
            destination.urls.iter().map(move |_| Shared::new(limit, executors, 1))
        });
        SharedLimits {
            pool: Pool::new(config.executors.in_flight_bytes, records, executors),
            queues: queues.collect(),
            executors,
            table: Arc::new(ProfileTable::new(&config.rules)),
        }
    }
}

impl SharedLimits {
    /// Whether any records are ordered, so that executors hand records over to each other.
    pub fn is_ordered(&self) -> bool {
        self.table.profiles().iter().any(|profile| profile.ordering.is_some())
    }
}

/// Connections that executor `index` of `executors` may have of a process-wide `total`: the total divided, the rest
/// to the first ones, at least one each.
pub fn share(total: u32, index: usize, executors: usize) -> usize {
    let (total, executors) = (total as usize, executors.max(1));
    (total / executors + usize::from(index < total % executors)).max(1)
}

/// An engine cannot be made from a configuration that was not checked.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A URL or a header.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A bin transform.
    #[error("bin-transforms: {0}")]
    Transform(String),
}

/// How the records of each profile are batched. Profiles of one format and layout share what is made from them.
fn rules(config: &Config, table: &ProfileTable) -> Rules {
    let mut framings: HashMap<(usize, BatchBody), Rc<Framing>> = HashMap::new();
    let rule = |profile: &Profile| {
        let batching = profile.batching.clone()?;
        let Some(Routing::Destinations(list)) = &profile.routing else { return None };
        let calls = list.iter().filter_map(|index| config.destinations.get(*index)).map(|it| it.call_timeout);
        let format = table.formats.get(profile.format)?;
        let framing = framings
            .entry((profile.format, batching.body))
            .or_insert_with(|| Rc::new(Framing::new(format, batching.body)));
        Some(Rule {
            framing: Rc::clone(framing),
            longest_wait: config.limits.longest_batch_wait(calls.max().unwrap_or_default()),
            batching,
        })
    };
    Rules(table.profiles().iter().map(rule).collect())
}

/// The destinations of an executor, and their URLs.
fn delivery(
    config: &Config,
    shared: &SharedLimits,
    index: usize,
) -> Result<(Vec<Destination>, Vec<Endpoint>), TargetError> {
    let mut destinations = Vec::new();
    let mut endpoints = Vec::new();
    for destination in &config.destinations {
        let first = endpoints.len();
        for url in &destination.urls {
            let Some(queue) = shared.queues.get(endpoints.len()) else { continue };
            endpoints.push(Endpoint {
                destination: destinations.len(),
                target: Rc::new(Target::new(url, &destination.headers)?),
                url: url.to_string(),
                queue: VecDeque::new(),
                queued: Lease::new(queue.clone()),
                in_flight: 0,
                ready: Vec::new(),
                connecting: 0,
                open: 0,
                draining: 0,
                share: share(destination.max_connections_per_endpoint, index, shared.executors),
                breaker: Default::default(),
                touched: false,
            });
        }
        destinations.push(Destination {
            name: destination.name.clone(),
            endpoints: (first..endpoints.len()).collect(),
            turn: 0,
            protocol: destination.protocol,
            call_timeout: destination.call_timeout,
            connect_timeout: destination.connect_timeout,
            streams: destination.http2_max_concurrent_streams as usize,
            success: destination.success,
            permanent: destination.permanent,
            gzip_above: destination.gzip_above,
            calls: Chain::default(),
        });
    }
    Ok((destinations, endpoints))
}

impl Engine {
    /// The engine of executor `index`.
    pub fn new(config: &Config, shared: &SharedLimits, index: usize) -> Result<Engine, SetupError> {
        let policy = Policy::new(Arc::clone(&shared.table));
        let encoders = Encoders::new(config, &policy.table).map_err(SetupError::Transform)?;
        let rules = rules(config, &policy.table);
        let (destinations, endpoints) = delivery(config, shared, index)?;
        let order = Order::new(&policy.table, index, shared.executors);
        Ok(Engine {
            frame_limits: FrameLimits { max_frame_bytes: config.limits.max_frame_bytes },
            limits: config.limits.clone(),
            policy,
            encoders,
            rules,
            content_errors: config.content_errors,
            names: Names::default(),
            inflater: None,
            destinations,
            endpoints,
            sources: Table::default(),
            flights: Table::default(),
            attempts: Table::default(),
            connections: Table::default(),
            deadlines: Chain::default(),
            budget: Budget::new(&shared.pool),
            bodies: Bodies::default(),
            unsealed: Vec::new(),
            batches: OpenBatches::default(),
            rejects: Rejects::new(config.rejected.is_some()),
            handover: Handover::new(index, if order.is_some() { shared.executors } else { 1 }),
            order,
            link_waiters: Vec::new(),
            sources_gone: 0,
            paused: VecDeque::new(),
            grace: None,
            rejecting: false,
            drain_until: None,
            touched: Vec::new(),
            wakes: Vec::new(),
            connects: Vec::new(),
            counters: Counters::default(),
            latency: Latency::default(),
            limited: Limited::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up_to_the_total_and_nobody_has_none() {
        let all: Vec<usize> = (0..4).map(|index| share(10, index, 4)).collect();
        assert_eq!(all, [3, 3, 2, 2]);
        assert_eq!((0..4).map(|index| share(1, index, 4)).sum::<usize>(), 4);
    }
}
