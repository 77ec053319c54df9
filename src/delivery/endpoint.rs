//! A destination, its URLs, and the connections to them, as one executor has them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::breaker::Breaker;
use super::chain::Chain;
use super::lease::Lease;
use super::table::Key;
use crate::config::model::{Protocol, StatusSet};
use crate::http::{Exchange, Target};
use crate::time::Time;

/// One destination.
#[derive(Debug)]
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// Indices of its endpoints.
    pub endpoints: Vec<usize>,
    /// Which endpoint a tie goes to next.
    pub turn: usize,
    /// HTTP version.
    pub protocol: Protocol,
    /// From leaving the queue to the end of the response.
    pub call_timeout: Duration,
    /// For one connection attempt.
    pub connect_timeout: Duration,
    /// Streams per HTTP/2 connection.
    pub streams: usize,
    /// What counts as success.
    pub success: StatusSet,
    /// What says that a record will never be taken.
    pub permanent: StatusSet,
    /// Bodies of more bytes are compressed.
    pub gzip_above: Option<u64>,
    /// Attempts that were sent, by the time at which they are given up.
    pub calls: Chain,
}

/// One URL of a destination.
#[derive(Debug)]
pub struct Endpoint {
    /// Index of its destination.
    pub destination: usize,
    /// What all requests to it have in common.
    pub target: Rc<Target>,
    /// The URL as text, for the log.
    pub url: String,
    /// Attempts that wait for a connection or stream; entries may be dead.
    pub queue: VecDeque<Key>,
    /// Live entries of the queue, as a lease on `max-request-queued-per-endpoint`.
    pub queued: Lease,
    /// Attempts that connections have.
    pub in_flight: usize,
    /// Connections that may take another request.
    pub ready: Vec<Key>,
    /// Connections that are being opened.
    pub connecting: usize,
    /// Connections that are open and take requests.
    pub open: usize,
    /// Connections that take no more and finish what they have.
    pub draining: usize,
    /// This executor's share of `max-connections-per-endpoint`.
    pub share: usize,
    /// Health.
    pub breaker: Breaker,
    /// It is in the engine's list of endpoints to pump.
    pub touched: bool,
}

impl Endpoint {
    /// Requests here that are not answered yet.
    pub fn load(&self) -> u64 {
        self.queued.used() + self.in_flight as u64
    }

    /// Drops dead entries from the front, where expired ones gather.
    pub fn drop_dead(&mut self, is_live: impl Fn(Key) -> bool) {
        while self.queue.front().is_some_and(|key| !is_live(*key)) {
            self.queue.pop_front();
        }
    }

    /// One connection fewer is in this stage.
    pub fn leave(&mut self, stage: ConnectionStage) {
        let count = match stage {
            ConnectionStage::Connecting => &mut self.connecting,
            ConnectionStage::Open => &mut self.open,
            ConnectionStage::Draining => &mut self.draining,
            ConnectionStage::Closed => return,
        };
        *count = count.saturating_sub(1);
    }

    /// How many connections to open now: enough for what is queued, within the share. Each can take `streams`.
    pub fn wanted(&self, streams: usize) -> usize {
        let queued = usize::try_from(self.queued.used()).unwrap_or(usize::MAX);
        let useful = queued.div_ceil(streams.max(1)).saturating_sub(self.connecting);
        // Draining connections do not count against the share, or one dead connection would block the only place;
        // they are bounded by a second share.
        let room = self.share.saturating_sub(self.open + self.connecting + self.draining.saturating_sub(self.share));
        useful.min(room)
    }
}

/// One connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    /// Index of its endpoint.
    pub endpoint: usize,
    /// The protocol's state.
    pub exchange: Exchange,
    /// Where it stands.
    pub stage: ConnectionStage,
    /// It is in its endpoint's ready list.
    pub in_ready: bool,
    /// A wake of its task is due already.
    pub woken: bool,
    /// When the peer was last heard.
    pub heard: Time,
    /// When a request was last over, whatever came of it.
    pub answered: Time,
    /// Bytes charged for its gathered output.
    pub charged: u64,
    /// When opening it began.
    pub began: Time,
    /// When it was open.
    pub opened: Option<Time>,
}

impl Connection {
    /// A connection that I/O is asked to open at `now`.
    pub fn new(endpoint: usize, exchange: Exchange, now: Time) -> Connection {
        Connection {
            endpoint,
            exchange,
            stage: ConnectionStage::Connecting,
            in_ready: false,
            woken: false,
            heard: now,
            answered: now,
            charged: 0,
            began: now,
            opened: None,
        }
    }

    /// When the call of a record began that is given to this connection at `now`: with the connection, if the record
    /// had to wait for it to be opened.
    pub fn call_began(&self, arrived: Time, now: Time) -> Time {
        if self.opened == Some(now) { self.began.max(arrived).min(now) } else { now }
    }
}

/// Life of a connection as the endpoint counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStage {
    /// Being opened.
    Connecting,
    /// Takes requests.
    Open,
    /// Takes no more.
    Draining,
    /// Over: I/O closes the socket.
    Closed,
}
