//! Names of endpoints, looked up by threads of their own: a look-up can take half a minute, and neither an executor nor
//! another name may wait for it.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::shell::Clock;
use crate::config::model::{Config, Url};
use crate::time::Time;

/// Threads that look names up. Each name can hold one for as long as the system's resolver takes.
const THREADS: usize = 16;

/// Addresses of one name that are kept.
const MAX_ADDRESSES: usize = 64;

/// Look-ups in a row that an address has to be missing from until it is taken for gone: servers of large names answer
/// with a part of their addresses at a time.
const MISSING: u32 = 2;

/// When names are looked up.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Again after a success.
    pub interval: Duration,
    /// Again after a failure; and at the earliest when a connection to the name failed.
    pub retry: Duration,
    /// The start waits this long for the first look-ups: then the first record has addresses, and a dead resolver does
    /// not hold the start.
    pub start: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { interval: Duration::from_secs(30), retry: Duration::from_secs(2), start: Duration::from_millis(500) }
    }
}

/// The addresses of a host name, with the port.
pub type LookUp = dyn Fn(&str, u16) -> std::io::Result<Vec<SocketAddr>> + Send + Sync;

/// Asks the system.
pub fn system(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAddress {
    /// The first look-up has not ended.
    Pending,
    /// It failed.
    Failed(String),
}

/// What the last look-ups of a name gave.
#[derive(Debug)]
struct Found {
    /// Best first; at least one.
    fresh: Result<Arc<[SocketAddr]>, NoAddress>,
    /// Addresses that it has or had, and in how many look-ups in a row they were missing.
    known: Vec<(SocketAddr, u32)>,
}

#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    found: RwLock<Found>,
}

#[derive(Debug)]
struct Job {
    due: Time,
    /// When the last look-up ended; `None`: there was none.
    ended: Option<Time>,
    running: bool,
}

#[derive(Debug)]
struct Jobs {
    /// One for each name that is no address.
    jobs: Vec<(usize, Job)>,
    stopped: bool,
}

/// The addresses of all endpoints. Read when a connection is opened, not for a record.
#[derive(Debug)]
pub struct Addresses {
    /// Index of the name of each endpoint.
    of_endpoint: Vec<usize>,
    names: Vec<Name>,
    /// Grows when an address is gone from a name.
    version: AtomicU64,
    jobs: Mutex<Jobs>,
    changed: Condvar,
    pace: Pace,
    clock: Clock,
}

impl Addresses {
    fn new(urls: &[&Url], pace: Pace, clock: Clock) -> Addresses {
        let mut names: Vec<Name> = Vec::new();
        let mut of_endpoint = Vec::new();
        for url in urls {
            let known = names.iter().position(|name| name.host == url.host && name.port == url.port);
            of_endpoint.push(known.unwrap_or(names.len()));
            if known.is_none() {
                let literal = url.host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, url.port));
                let fresh = literal.map_or(Err(NoAddress::Pending), |address| Ok(Arc::from([address])));
                let found = Found { fresh, known: literal.iter().map(|address| (*address, 0)).collect() };
                names.push(Name { host: url.host.clone(), port: url.port, found: RwLock::new(found) });
            }
        }
        let is_name = |name: &Name| name.host.parse::<IpAddr>().is_err();
        let job = || Job { due: Time::ZERO, ended: None, running: false };
        let jobs =
            names.iter().enumerate().filter(|(_, name)| is_name(name)).map(|(index, _)| (index, job())).collect();
        let jobs = Mutex::new(Jobs { jobs, stopped: false });
        Addresses { of_endpoint, names, version: AtomicU64::new(0), jobs, changed: Condvar::new(), pace, clock }
    }

    fn name(&self, endpoint: usize) -> Option<&Name> {
        self.of_endpoint.get(endpoint).and_then(|index| self.names.get(*index))
    }

    /// The addresses of the endpoint, or why there are none.
    pub fn get(&self, endpoint: usize) -> Result<Arc<[SocketAddr]>, NoAddress> {
        let missing = || NoAddress::Failed("no such endpoint".to_owned());
        let name = self.name(endpoint).ok_or_else(missing)?;
        name.found.read().unwrap_or_else(PoisonError::into_inner).fresh.clone()
    }

    /// Whether the endpoint's name had this address and has it no longer.
    pub fn is_outdated(&self, endpoint: usize, address: SocketAddr) -> bool {
        self.name(endpoint).is_some_and(|name| {
            let found = name.found.read().unwrap_or_else(PoisonError::into_inner);
            found.fresh.is_ok() && !found.known.iter().any(|(known, _)| *known == address)
        })
    }

    /// Grows when an address becomes outdated.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// No address of the endpoint's name takes a connection: the name is looked up soon.
    pub fn doubt(&self, endpoint: usize) {
        let Some(index) = self.of_endpoint.get(endpoint) else { return };
        let mut jobs = self.lock();
        let Some((_, job)) = jobs.jobs.iter_mut().find(|(name, _)| name == index) else { return };
        if let Some(ended) = job.ended
            && ended + self.pace.retry < job.due
        {
            job.due = ended + self.pace.retry;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks names up until the resolver is dropped.
    fn work(&self, look_up: &LookUp) {
        while let Some(place) = self.next_job() {
            let index = self.lock().jobs.get(place).map(|(index, _)| *index);
            let Some(name) = index.and_then(|index| self.names.get(index)) else { return };
            let found = look_up(&name.host, name.port).map_err(|error| error.to_string());
            let found =
                found.and_then(|all| if all.is_empty() { Err("it has no address".to_owned()) } else { Ok(all) });
            let pause = if found.is_ok() { self.pace.interval } else { self.pace.retry };
            self.take(name, found);
            let now = self.clock.monotonic();
            if let Some((_, job)) = self.lock().jobs.get_mut(place) {
                *job = Job { due: now + pause, ended: Some(now), running: false };
            }
            self.changed.notify_all();
        }
    }

    /// Waits until a name is due; `None` at the end.
    fn next_job(&self) -> Option<usize> {
        let mut jobs = self.lock();
        loop {
            if jobs.stopped {
                return None;
            }
            let waiting = jobs.jobs.iter_mut().enumerate().filter(|(_, (_, job))| !job.running);
            let next = waiting.min_by_key(|(_, (_, job))| job.due);
            let now = self.clock.monotonic();
            let pause = match next {
                Some((place, (_, job))) if job.due <= now => {
                    job.running = true;
                    return Some(place);
                }
                Some((_, (_, job))) => job.due.since(now),
                None => self.pace.interval,
            };
            jobs = self.changed.wait_timeout(jobs, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes in what a look-up gave. A name that could be resolved before keeps its addresses when it cannot be now.
    fn take(&self, name: &Name, found: Result<Vec<SocketAddr>, String>) {
        let mut entry = name.found.write().unwrap_or_else(PoisonError::into_inner);
        let host = &name.host;
        match found {
            Ok(mut all) => {
                all.truncate(MAX_ADDRESSES);
                if entry.fresh.as_deref() != Ok(all.as_slice()) {
                    tracing::debug!(target: "server", "the name {host} is {all:?}");
                }
                entry.known.iter_mut().for_each(|(address, missing)| {
                    *missing = if all.contains(address) { 0 } else { *missing + 1 };
                });
                let before = entry.known.len();
                entry.known.retain(|(_, missing)| *missing < MISSING);
                let is_gone = entry.known.len() < before;
                for address in &all {
                    if !entry.known.iter().any(|(known, _)| known == address) {
                        entry.known.push((*address, 0));
                    }
                }
                entry.fresh = Ok(Arc::from(all));
                drop(entry);
                if is_gone {
                    self.version.fetch_add(1, Ordering::AcqRel);
                }
            }
            Err(why) => {
                let why = NoAddress::Failed(format!("the name {host} cannot be resolved: {why}"));
                if let NoAddress::Failed(text) = &why
                    && entry.fresh.as_ref().err() != Some(&why)
                {
                    tracing::warn!(target: "server", "{text}; it is tried again");
                }
                if entry.fresh.is_err() {
                    entry.fresh = Err(why);
                }
            }
        }
    }
}

/// The threads that look names up.
#[derive(Debug)]
pub struct Resolver {
    addresses: Arc<Addresses>,
}

impl Resolver {
    /// Begins to look up the names of `config`, and waits a little for the first results.
    pub fn start(config: &Config, clock: Clock, pace: Pace, look_up: Arc<LookUp>) -> std::io::Result<Resolver> {
        let urls: Vec<&Url> = config.destinations.iter().flat_map(|destination| &destination.urls).collect();
        Resolver::of(&urls, clock, pace, look_up)
    }

    fn of(urls: &[&Url], clock: Clock, pace: Pace, look_up: Arc<LookUp>) -> std::io::Result<Resolver> {
        let addresses = Arc::new(Addresses::new(urls, pace, clock));
        let resolver = Resolver { addresses: Arc::clone(&addresses) };
        let names = addresses.lock().jobs.len();
        for _ in 0..names.min(THREADS) {
            let (addresses, look_up) = (Arc::clone(&addresses), Arc::clone(&look_up));
            let thread = std::thread::Builder::new().name("ringpost-names".to_owned());
            thread.spawn(move || addresses.work(look_up.as_ref()))?;
        }
        let is_pending = |jobs: &mut Jobs| jobs.jobs.iter().any(|(_, job)| job.ended.is_none());
        let waited = addresses.changed.wait_timeout_while(addresses.lock(), pace.start, is_pending);
        drop(waited);
        Ok(resolver)
    }

    /// The table that executors read.
    pub fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // The threads are not joined: one may be inside a look-up that takes its time, and they hold nothing.
        self.addresses.lock().stopped = true;
        self.addresses.changed.notify_all();
    }
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
mod tests;
