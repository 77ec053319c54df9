//! An engine from a configuration.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::super::batch::{OpenBatches, Rule, Rules};
use super::super::bodies::Bodies;
use super::super::breaker::Breaker;
use super::super::budget::{Budget, Pool};
use super::super::chain::Chain;
use super::super::encoders::Encoders;
use super::super::endpoint::{Destination, Endpoint, Probing, Tally};
use super::super::handover::Handover;
use super::super::health::{Probes, Verdict};
use super::super::lease::{Lease, Shared};
use super::super::names::Names;
use super::super::places::{Places, SharedPlaces};
use super::super::queue::FairQueue;
use super::super::rejects::Rejects;
use super::super::spread::Spread;
use super::super::table::Table;
use super::ordering::Order;
use super::{Engine, Limited};
use crate::config::model::{BODY_PART, BatchBody, Config, Destination as Settings, Routing, Scheme, Url};
use crate::format::Framing;
use crate::http::{Target, TargetError};
use crate::metrics::Counters;
use crate::metrics::recorder::{Recorder, Stopwatch};
use crate::metrics::stages::Response;
use crate::policy::Policy;
use crate::policy::table::{Profile, ProfileTable};
use crate::time::{Now, Time};
use crate::tls::ClientTls;
use crate::wire::frame::FrameLimits;

/// What the executors of a process share: amounts that they lease, and a table that is only read.
#[derive(Debug, Clone)]
pub struct SharedLimits {
    pool: Pool,
    /// One for each endpoint, in the order of destinations and URLs.
    queues: Vec<Shared>,
    /// What probes say of each endpoint, in the same order.
    verdicts: Vec<Verdict>,
    /// Connections, one for each endpoint as well.
    places: Vec<SharedPlaces>,
    executors: usize,
    /// Executors draw the spread of what must not happen at one time from it.
    seed: u64,
    /// TLS of each destination that has a URL with it.
    tls: Vec<Option<Arc<ClientTls>>>,
    /// The settings of every kind of record.
    table: Arc<ProfileTable>,
    /// What stages are measured with.
    stopwatch: Stopwatch,
}

impl SharedLimits {
    /// The amounts of `config`, for `executors` executors.
    pub fn new(config: &Config, executors: usize) -> SharedLimits {
        let records = u64::from(config.service.max_concurrent_records);
        let queues = config.destinations.iter().flat_map(|destination| {
            let limit = u64::from(destination.max_request_queued_per_endpoint);
            destination.urls.iter().map(move |_| Shared::new(limit, executors, 1))
        });
        let places = config.destinations.iter().flat_map(|destination| {
            let total = u64::from(destination.max_connections_per_endpoint);
            destination.urls.iter().map(move |_| SharedPlaces::new(total))
        });
        SharedLimits {
            pool: Pool::new(config.executors.in_flight_bytes, records, executors),
            queues: queues.collect(),
            verdicts: config.destinations.iter().flat_map(|it| &it.urls).map(|_| Verdict::default()).collect(),
            places: places.collect(),
            executors,
            seed: 0,
            tls: Vec::new(),
            table: Arc::new(ProfileTable::new(&config.rules)),
            stopwatch: || Time::ZERO,
        }
    }

    /// With the TLS settings of the destinations, by their index.
    pub fn with_tls(self, tls: Vec<Option<Arc<ClientTls>>>) -> SharedLimits {
        SharedLimits { tls, ..self }
    }

    /// With a clock to measure the stages of records with, the one that all times are of. Without one, what happens within
    /// one call of the engine takes no time.
    pub fn with_stopwatch(self, stopwatch: Stopwatch) -> SharedLimits {
        SharedLimits { stopwatch, ..self }
    }

    /// With another seed: processes that start at one time must not replace their connections at one time.
    pub fn with_seed(self, seed: u64) -> SharedLimits {
        SharedLimits { seed, ..self }
    }

    /// Whether any records are ordered, so that executors hand records over to each other.
    pub fn is_ordered(&self) -> bool {
        self.table.profiles().iter().any(|profile| profile.ordering.is_some())
    }
}

/// An engine cannot be made from a configuration that was not checked.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A URL or a header.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// There are no settings for TLS, and clear text is never spoken in its place.
    #[error("destination {0}: it has an https URL, and no TLS settings were made for it")]
    NoTls(String),
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
) -> Result<(Vec<Destination>, Vec<Endpoint>), SetupError> {
    let mut destinations = Vec::new();
    let mut endpoints = Vec::new();
    for destination in &config.destinations {
        let first = endpoints.len();
        let tls = shared.tls.get(destinations.len()).cloned().flatten();
        if tls.is_none() && destination.urls.iter().any(|url| url.scheme == Scheme::Https) {
            return Err(SetupError::NoTls(destination.name.clone()));
        }
        for url in &destination.urls {
            let number = endpoints.len();
            let shared_limits = (shared.queues.get(number), shared.places.get(number), shared.verdicts.get(number));
            let (Some(queue), Some(places), Some(verdict)) = shared_limits else { continue };
            // Each URL is probed by one executor for all.
            let is_mine = destination.health.enabled && number % shared.executors.max(1) == index;
            endpoints.push(Endpoint {
                destination: destinations.len(),
                target: Rc::new(Target::new(url, &destination.headers)?),
                url: url.to_string(),
                queue: FairQueue::default(),
                queued: Lease::new(queue.clone()),
                held: 0,
                in_flight: 0,
                ready: Vec::new(),
                connecting: 0,
                open: 0,
                draining: 0,
                taken: [usize::MAX; 2],
                breaker: Breaker::new(destination.health.unhealthy_threshold),
                verdict: verdict.clone(),
                verdict_seen: 0,
                probing: if is_mine { Some(Box::new(probing(destination, url, number)?)) } else { None },
                replacing: 0,
                places: Places::new(places, index, shared.executors),
                touched: false,
                tally: Tally::default(),
            });
        }
        destinations.push(Destination {
            name: destination.name.clone(),
            endpoints: (first..endpoints.len()).collect(),
            turn: 0,
            protocol: destination.protocol,
            tls,
            call_timeout: destination.call_timeout,
            connect_timeout: destination.connect_timeout,
            connection_ttl: destination.connection_ttl,
            streams: destination.http2_max_concurrent_streams as usize,
            success: destination.success,
            permanent: destination.permanent,
            gzip_above: destination.gzip_above,
            calls: Chain::default(),
            apart: is_apart(&shared.table, destinations.len()),
            answered: Time::ZERO,
            health: destination.health.clone(),
            retry_after_cap: destination.retry_after_cap,
            success_records: 0,
            error_records: 0,
            response: Response::default(),
        });
    }
    Ok((destinations, endpoints))
}

/// Whether some records are delivered, and not to the destination `index`.
fn is_apart(table: &ProfileTable, index: usize) -> bool {
    table
        .profiles()
        .iter()
        .any(|profile| matches!(&profile.routing, Some(Routing::Destinations(list)) if !list.contains(&index)))
}

/// The probes of a URL, which is the endpoint `number`.
fn probing(destination: &Settings, url: &Url, number: usize) -> Result<Probing, TargetError> {
    let path = destination.health.path.clone().unwrap_or_else(|| url.path.clone());
    let target = Target::probe(&Url { path, ..url.clone() }, &destination.headers, destination.health.method)?;
    Ok(Probing {
        probes: Probes::new(&destination.health, number as u64),
        target: Rc::new(target),
        connection: None,
        expires: None,
    })
}

/// That of executor `index`.
fn spread(seed: u64, index: usize) -> Spread {
    Spread::new(seed ^ (index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))
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
            securing: VecDeque::new(),
            most_handshakes: super::sources::handshakes_at_once(shared.executors),
            handshakes: Vec::new(),
            deadlines: Chain::default(),
            budget: Budget::new(&shared.pool),
            largest_body: usize::try_from(config.executors.in_flight_bytes / BODY_PART).unwrap_or(usize::MAX),
            bodies: Bodies::default(),
            unsealed: Vec::new(),
            batches: OpenBatches::default(),
            rejects: Rejects::new(config.rejected.is_some()),
            handover: Handover::new(index, if order.is_some() { shared.executors } else { 1 }),
            order,
            link_waiters: Vec::new(),
            sources_gone: 0,
            paused: VecDeque::new(),
            shares: shared.executors > 1,
            grace: None,
            rejecting: false,
            drain_until: None,
            gave_up: false,
            clock: Now { monotonic: Time::ZERO, unix_ms: 0 },
            pools_due: Time::ZERO,
            spread: spread(shared.seed, index),
            touched: Vec::new(),
            spoken: Vec::new(),
            wakes: Vec::new(),
            connects: Vec::new(),
            counters: Counters::default(),
            recorder: Recorder::new(shared.stopwatch, index as u64),
            limited: Limited::default(),
            tap: None,
        })
    }
}
