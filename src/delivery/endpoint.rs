//! A destination, its URLs, and the connections to them, as one executor has them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::Breaker;
use super::budget::SHARE;
use super::chain::Chain;
use super::flight::Origin;
use super::health::{Probes, Verdict};
use super::lease::Lease;
use super::places::Places;
use super::queue::FairQueue;
use super::table::Key;
use super::trouble::Trouble;
use crate::config::model::{HealthCheck, Protocol, StatusSet};
use crate::http::{Exchange, Target};
use crate::metrics::stages::Response;
use crate::time::Time;
use crate::tls::ClientTls;

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
    /// TLS of its `https` URLs; there if it has one.
    pub tls: Option<Arc<ClientTls>>,
    /// From leaving the queue to the end of the response.
    pub call_timeout: Duration,
    /// For one connection attempt.
    pub connect_timeout: Duration,
    /// A connection is replaced when it is older than this.
    pub connection_ttl: Option<Duration>,
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
    /// Some records go to other destinations only, and must not have to wait for this one.
    pub apart: bool,
    /// When a request was last answered, or failed.
    pub answered: Time,
    /// Which probes pass.
    pub health: HealthCheck,
    /// Longest pause that `Retry-After` can ask for; zero: it is not looked at.
    pub retry_after_cap: Duration,
    /// Records that it took.
    pub success_records: u64,
    /// Records that it did not take.
    pub error_records: u64,
    /// How long its first byte takes.
    pub response: Response,
}

/// What is counted of an endpoint.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records that it took.
    pub success: u64,
    /// Tries of records that it did not take.
    pub error: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// What it last did wrong.
    pub trouble: Trouble,
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
    pub queue: FairQueue,
    /// Live entries of the queue, and attempts that are held back from it, as a lease on `max-request-queued-per-endpoint`.
    pub queued: Lease,
    /// Those that are held back.
    pub held: u64,
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
    /// How many requests the peer took on the last two connections that it left with others untouched.
    pub taken: [usize; 2],
    /// Connections that are being opened in place of ones that are too old.
    pub replacing: usize,
    /// Places of `max-connections-per-endpoint` that connections have, those that drain aside.
    pub places: Places,
    /// Health.
    pub breaker: Breaker,
    /// What probes, or records on other executors, found out.
    pub verdict: Verdict,
    /// Its word that the breaker knows of.
    pub verdict_seen: u64,
    /// The probes, on the one executor that sends them.
    pub probing: Option<Box<Probing>>,
    /// It is in the engine's list of endpoints to pump.
    pub touched: bool,
    /// What is counted of it.
    pub tally: Tally,
}

/// The probes of an endpoint, and the one that is under way.
#[derive(Debug)]
pub struct Probing {
    /// When they are sent, and what they say.
    pub probes: Probes,
    /// What they ask for.
    pub target: Rc<Target>,
    /// The connection of the one that is under way, until that is closed.
    pub connection: Option<Key>,
    /// When that one has failed; `None` once it is over.
    pub expires: Option<Time>,
}

impl Endpoint {
    /// Requests here that are not answered yet.
    pub fn load(&self) -> u64 {
        self.waiting() + self.in_flight as u64
    }

    /// Live entries of the queue.
    pub fn waiting(&self) -> u64 {
        self.queued.used().saturating_sub(self.held)
    }

    /// Takes a place in the queue for an attempt that is held back from it. False if there is none.
    pub fn hold_place(&mut self) -> bool {
        let has_room = self.queued.has_room(1);
        if has_room {
            self.queued.charge(1);
            self.held += 1;
        }
        has_room
    }

    /// An attempt that was held back is no longer.
    pub fn give_held_place(&mut self) {
        self.queued.release(1);
        self.held = self.held.saturating_sub(1);
    }

    /// Whether the queue has a place for a record of this source: one source leaves some to the others.
    pub fn has_room_for(&mut self, source: Option<Origin>) -> bool {
        let entries = source.map_or(0, |source| self.queue.len_of(source) as u64);
        // Entries may be dead.
        let waiting = entries.min(self.waiting());
        // First the share: to ask for room takes what another executor may need.
        self.queued.has_share(waiting, SHARE) && self.queued.has_room(1)
    }

    /// Requests to begin a connection with. A peer that takes few per connection takes few on each of them; one that was
    /// stopped when a connection was new is not slowed down for that.
    pub fn first_requests(&self) -> usize {
        let [before, last] = self.taken;
        before.max(last)
    }

    /// Whether a probe is under way.
    pub fn is_probed(&self) -> bool {
        self.probing.as_ref().is_some_and(|probing| probing.connection.is_some())
    }

    /// Drops dead entries from the front, where expired ones gather.
    pub fn drop_dead(&mut self, is_live: impl Fn(Key) -> bool) {
        self.queue.drop_dead(is_live);
    }

    /// Drops all dead entries, if there are more of them than `spare`: it takes as long as the queue is.
    pub fn drop_all_dead(&mut self, spare: usize, is_live: impl Fn(Key) -> bool) {
        let live = usize::try_from(self.waiting()).unwrap_or(usize::MAX);
        if self.queue.len() > live.saturating_add(spare) {
            self.queue.drop_all_dead(is_live);
        }
    }

    /// The connection leaves its stage, and has its place no longer.
    pub fn leave(&mut self, connection: &mut Connection) {
        let count = match connection.stage {
            ConnectionStage::Connecting if connection.replaces.is_some() => &mut self.replacing,
            ConnectionStage::Connecting => &mut self.connecting,
            ConnectionStage::Open => &mut self.open,
            ConnectionStage::Draining => &mut self.draining,
            ConnectionStage::Closed => return,
        };
        *count = count.saturating_sub(1);
        if std::mem::take(&mut connection.has_place) {
            self.places.give();
        }
    }

    /// How many more connections what is queued could use, if each can take `streams`.
    pub fn useful(&self, streams: usize) -> usize {
        let queued = usize::try_from(self.waiting()).unwrap_or(usize::MAX);
        queued.div_ceil(streams.max(1)).saturating_sub(self.connecting)
    }

    /// Takes a place for one more connection, if there is one.
    pub fn take_place(&mut self) -> bool {
        // Draining connections have no place, or one dead connection would block the only one; as many may drain as
        // this executor's share is, and what is beyond that counts.
        let share = self.drain_limit();
        let excess = self.draining.saturating_sub(share);
        if excess > 0 && self.open + self.connecting + excess >= share {
            return false;
        }
        self.places.take()
    }

    /// Connections that may drain besides those that have a place.
    pub fn drain_limit(&self) -> usize {
        usize::try_from(self.places.share()).unwrap_or(usize::MAX)
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
    /// A call on it has timed out after the peer had gone away.
    pub left_calls: bool,
    /// A wake of its task is due already.
    pub woken: bool,
    /// It has a place among those of `max-connections-per-endpoint`.
    pub has_place: bool,
    /// The connection that this one is opened in place of.
    pub replaces: Option<Key>,
    /// Another one is being opened in its place.
    pub is_replaced: bool,
    /// When it is to be replaced.
    pub expires: Option<Time>,
    /// The peer has sent anything at all.
    pub spoke: bool,
    /// When the peer was last heard.
    pub heard: Time,
    /// When it was last given a request while it had none.
    pub busy_since: Time,
    /// When a PING went out, if nothing was heard since then.
    pub pinged: Option<Time>,
    /// No PING before this.
    pub next_ping: Time,
    /// When a request was last over, whatever came of it.
    pub answered: Time,
    /// Bytes charged for its gathered output.
    pub charged: u64,
    /// When opening it began.
    pub began: Time,
    /// When it was open.
    pub opened: Option<Time>,
    /// It is there for one probe, and counts among none of the endpoint's connections.
    pub probe: bool,
}

impl Connection {
    /// Whether it is open and takes records; one for a probe never does, and counts among none of its endpoint's.
    pub fn is_pooled(&self) -> bool {
        self.stage == ConnectionStage::Open && !self.probe
    }

    /// Whether it has requests and its peer has never said a word.
    pub fn is_mute(&self) -> bool {
        !self.spoke && self.is_pooled() && self.exchange.in_flight() > 0
    }

    /// A connection that I/O is asked to open at `now`.
    pub fn new(endpoint: usize, exchange: Exchange, now: Time) -> Connection {
        Connection {
            endpoint,
            exchange,
            stage: ConnectionStage::Connecting,
            in_ready: false,
            left_calls: false,
            woken: false,
            has_place: false,
            replaces: None,
            is_replaced: false,
            expires: None,
            spoke: false,
            heard: now,
            busy_since: now,
            pinged: None,
            next_ping: Time::ZERO,
            answered: now,
            charged: 0,
            began: now,
            opened: None,
            probe: false,
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
