//! One executor's connector as a state machine.
//!
//! I/O tells it what happened (`source_*`, `connection_*`, `tick`, `drain`) and asks what to write, whether to read and
//! when to come back. Nothing here waits: what has to go on later is in a table with a deadline. After each call I/O
//! takes [`Engine::next_wake`] and [`Engine::next_connect`] until they are empty.
//!
//! - `room`: whether there is room for what is large
//! - `intake`: bytes of a source become records in flight
//! - `dispatch`: from an endpoint's queue to a connection
//! - `held`: attempts that have to wait for another destination of their record
//! - `probes`: requests without a record that ask whether a URL is there, and their verdict
//! - `outcome`: what a request's end means for its record, and the code for the source
//! - `sources`, `connections`: opening, closing, what to write
//! - `pools`: once a beat, who has how many connections, which are too old, which are dead
//! - `handshakes`: connections between TCP and the end of their TLS handshake
//! - `batching`: filling and closing batches, taking them apart
//! - `ordering`: one version of a record in flight; `handover`: records of other executors
//! - `rejects`: records whose frame is kept in a file
//! - `timers`: deadlines, drain
//! - `tap`: what is told of records that somebody looks at
//! - `figures`: what is counted, and published

mod batching;
mod connections;
mod dispatch;
mod figures;
mod handover;
mod handshakes;
mod held;
mod intake;
mod ordering;
mod outcome;
mod pools;
mod probes;
mod rejects;
mod room;
mod setup;
mod sources;
mod tap;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::VecDeque;
use std::time::Duration;

use super::batch::{OpenBatches, Rules};
use super::bodies::Bodies;
use super::budget::Budget;
use super::chain::Chain;
use super::encoders::Encoders;
use super::endpoint::{Connection, Destination, Endpoint};
use super::flight::{Attempt, Flight};
use super::handover::Handover;
use super::names::Names;
use super::rejects::Rejects;
use super::source::Source;
use super::spread::Spread;
use super::table::{Key, Table};
use super::tap::Taps;
use crate::config::model::{ContentErrors, Limits};
use crate::logging::RateLimit;
use crate::metrics::Counters;
use crate::metrics::recorder::Recorder;
use crate::policy::Policy;
use crate::time::{Now, Time};
use crate::wire::compressed::Inflater;
use crate::wire::frame::FrameLimits;

pub use setup::SharedLimits;
pub use sources::Input;
pub use timers::{BUSY_TICK, IDLE_TICK};

/// A record without room waits this long unread; then frames are answered 18 without being dispatched, since unread
/// frames would age until the server resets their connection.
const PAUSE_LIMIT: Duration = Duration::from_secs(2);

/// Rejecting ends when use is below this share of the budget, in percent.
const REJECT_UNTIL_PERCENT: u64 = 80;

/// A frame above this reserves its size in the budget before its body is read.
const RESERVE_ABOVE: usize = 64 * 1024;

/// Records that are given up (answered 10) are named in the log, each of them up to so many a second: nobody else will ever
/// tell which they were. Further ones are counted.
const NAMED_PER_SECOND: u32 = 100;

/// Paused sources that are woken at a time; each one that finds room wakes the next.
const RESUME_AT_ONCE: usize = 16;

/// A task of I/O that has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// This source has output, or may be read, or is to be closed.
    Source(Key),
    /// This connection has output or is to be closed.
    Connection(Key),
}

/// A connection that I/O is asked to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// Its name from now on.
    pub connection: Key,
    /// Index of the endpoint, in the order of destinations and URLs of the configuration.
    pub endpoint: usize,
    /// Give up after this long.
    pub timeout: Duration,
}

/// Entries in an engine's tables; all zero, connections aside, when nothing is in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// XDR connections.
    pub sources: usize,
    /// XDR connections that wait for room.
    pub paused: usize,
    /// Records in flight.
    pub flights: usize,
    /// Requests of theirs.
    pub attempts: usize,
    /// Batches that are still being filled.
    pub batches: usize,
    /// Entries of endpoints' queues that are not over.
    pub queued: usize,
    /// Requests that endpoints count as unanswered.
    pub loads: usize,
    /// Connections to endpoints.
    pub connections: usize,
    /// Of these, ones that take nothing more and have nothing in flight: their sockets are to be closed.
    pub closing: usize,
    /// Records with a version in flight whose versions are ordered, and versions that wait.
    pub ordered: usize,
    /// Records that other executors have, and records of theirs.
    pub handed: usize,
}

/// Lines that could repeat per record, each with its own limit.
#[derive(Debug)]
struct Limited {
    content: RateLimit,
    /// Bad content that says not even whose it is: there is no name to lose.
    unnamed: RateLimit,
    unkept: RateLimit,
    framing: RateLimit,
    refused: RateLimit,
    failed: RateLimit,
    permanent: RateLimit,
    taken_apart: RateLimit,
    deadline: RateLimit,
    panic: RateLimit,
    unordered: RateLimit,
    stale: RateLimit,
    connect: RateLimit,
    wait: RateLimit,
    silent: RateLimit,
}

impl Default for Limited {
    fn default() -> Limited {
        let limit = RateLimit::per_second;
        Limited {
            content: RateLimit::new(NAMED_PER_SECOND, Duration::from_secs(1)),
            unnamed: limit(),
            unkept: limit(),
            framing: limit(),
            refused: limit(),
            failed: limit(),
            permanent: RateLimit::new(NAMED_PER_SECOND, Duration::from_secs(1)),
            taken_apart: limit(),
            deadline: limit(),
            panic: limit(),
            unordered: limit(),
            stale: limit(),
            connect: limit(),
            wait: limit(),
            silent: limit(),
        }
    }
}

/// One executor's connector. See the module.
pub struct Engine {
    limits: Limits,
    frame_limits: FrameLimits,
    policy: Policy,
    encoders: Encoders,
    /// How the records of each profile are batched.
    rules: Rules,
    content_errors: ContentErrors,
    names: Names,
    /// Made for the first compressed frame.
    inflater: Option<Inflater>,
    destinations: Vec<Destination>,
    endpoints: Vec<Endpoint>,

    sources: Table<Source>,
    flights: Table<Flight>,
    attempts: Table<Attempt>,
    connections: Table<Connection>,
    /// XDR connections whose TLS handshake may not be done, the oldest first; ones that are done or gone leave when the list
    /// is full.
    securing: VecDeque<Key>,
    /// Handshakes of them at a time.
    most_handshakes: usize,
    /// Connections whose TLS handshake may not be done; ones that are done or over leave at the next tick.
    handshakes: Vec<Key>,
    /// Records in flight by deadline.
    deadlines: Chain,

    budget: Budget,
    /// Bytes that one body may have at most, if they are more than is usual for its message.
    largest_body: usize,
    bodies: Bodies,
    /// First attempts of the records whose bodies are in the open chunk, and where.
    unsealed: Vec<intake::Encoded>,
    /// Batches that are still being filled.
    batches: OpenBatches,
    /// Records whose frame is on its way to a file.
    rejects: Rejects,
    /// Versions of records, if any records are ordered.
    order: Option<ordering::Order>,
    /// Records whose owner is another executor.
    handover: Handover,
    /// Sources that wait for room at another executor.
    link_waiters: Vec<Key>,
    /// Connections that have gone or take no more answers, so far: batches look for their records when it changes.
    sources_gone: u64,
    /// Sources that wait for room, longest first.
    paused: VecDeque<Key>,
    /// Other executors have sources of their own.
    shares: bool,
    /// The one source that may go on without room while no record is in flight.
    grace: Option<Key>,
    rejecting: bool,
    /// When what is in flight is given up; set by [`Engine::drain`].
    drain_until: Option<Time>,
    /// The drain is over: nothing more is sent, for whomever.
    gave_up: bool,

    /// Both clocks at the last read from a source.
    clock: Now,
    /// When the pools of connections are looked at next.
    pools_due: Time,
    /// Spreads what must not happen at one time.
    spread: Spread,

    touched: Vec<usize>,
    /// Connections with an outcome that came up while their output was taken.
    spoken: Vec<Key>,
    wakes: Vec<Wake>,
    connects: Vec<Connect>,
    counters: Counters,
    recorder: Recorder,
    limited: Limited,
    /// There while somebody looks at records as they go through.
    tap: Option<Box<Taps>>,
}

impl Engine {
    /// The next task that has something to do.
    pub fn next_wake(&mut self) -> Option<Wake> {
        let wake = self.wakes.pop()?;
        match wake {
            Wake::Source(key) => {
                if let Some(source) = self.sources.get_mut(key) {
                    source.woken = false;
                }
            }
            Wake::Connection(key) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.woken = false;
                }
            }
        }
        Some(wake)
    }

    /// The next connection to open.
    pub fn next_connect(&mut self) -> Option<Connect> {
        self.connects.pop()
    }

    /// Counts since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Open XDR connections.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// Records in flight.
    pub fn in_flight(&self) -> u64 {
        self.budget.used_records()
    }

    /// Bytes in flight, as charged.
    pub fn in_flight_bytes(&mut self) -> u64 {
        self.budget.used_bytes()
    }

    /// Entries in the tables, counted one by one: for tests and for a look from outside, not for records.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            sources: self.sources.len(),
            paused: self.paused.iter().filter(|key| self.sources.get(**key).is_some()).count(),
            flights: self.flights.len(),
            batches: self.batches.len(),
            attempts: self.attempts.len(),
            connections: self.connections.len(),
            ordered: self.ordered(),
            handed: self.handover.away() + self.handover.guests().0,
            ..Counts::default()
        };
        for endpoint in &self.endpoints {
            counts.queued += usize::try_from(endpoint.waiting()).unwrap_or(usize::MAX);
            counts.loads += endpoint.in_flight;
        }
        self.connections.for_each(|key, _| counts.closing += usize::from(self.connection_is_over(key)));
        counts
    }

    /// Whether anything is in flight, paused or being opened, so that time-outs have to be exact.
    pub fn is_busy(&self) -> bool {
        !self.flights.is_empty()
            || !self.batches.is_empty()
            || self.rejects.is_waiting()
            || self.is_ordering()
            || !self.paused.is_empty()
            || self.endpoints.iter().any(|it| it.connecting + it.replacing > 0 || it.is_probed())
            || !self.handshakes.is_empty()
    }

    /// The destination that an endpoint belongs to.
    fn destination_of(&self, endpoint: usize) -> Option<&Destination> {
        self.endpoints.get(endpoint).and_then(|entry| self.destinations.get(entry.destination))
    }

    /// The attempts of a flight, in the order of its route.
    fn attempts_of(&self, flight: Key) -> impl Iterator<Item = (Key, &Attempt)> {
        let entry = |key: Option<Key>| key.and_then(|key| Some((key, self.attempts.get(key)?)));
        let first = self.flights.get(flight).and_then(|flight| flight.first);
        std::iter::successors(entry(first), move |(_, attempt)| entry(attempt.sibling))
    }

    fn wake_source(&mut self, key: Key) {
        if let Some(source) = self.sources.get_mut(key)
            && !source.woken
        {
            source.woken = true;
            self.wakes.push(Wake::Source(key));
        }
    }

    fn wake_connection(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.woken
        {
            connection.woken = true;
            self.wakes.push(Wake::Connection(key));
        }
    }

    fn touch(&mut self, endpoint: usize) {
        if let Some(entry) = self.endpoints.get_mut(endpoint)
            && !entry.touched
        {
            entry.touched = true;
            self.touched.push(endpoint);
        }
    }
}
