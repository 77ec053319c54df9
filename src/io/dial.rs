//! Opening a connection to an endpoint: which address, in what order, and how the socket is set up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::net::TcpStream;
use glommio::timer::Timer;

use super::resolve::{Addresses, NoAddress};
use super::shell::Clock;
use super::sys;
use crate::delivery::engine::{Connect, Engine};
use crate::delivery::table::Key;
use crate::time::Time;

/// Addresses that are tried for one connection.
const TRIED: usize = 4;

/// The next address is tried when the one before has not answered within this (RFC 8305 section 5); the one before may
/// still win.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// An address that did not take a connection is tried last for so long.
const FAILED_FOR: Duration = Duration::from_secs(30);

/// How often a name is asked for whose first look-up has not ended.
const PENDING_PAUSE: Duration = Duration::from_millis(10);

/// TCP keep-alive on connections to destinations: the first probe after so long without a byte, and the next ones. An
/// idle connection whose peer has gone without a word is found by nothing else, and would swallow the next record.
const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// What one executor needs to open connections.
#[derive(Debug)]
pub struct Dialer {
    addresses: Arc<Addresses>,
    /// One for each endpoint.
    rotations: RefCell<Vec<Rotation>>,
    /// TCP_USER_TIMEOUT: what the peer's kernel has not confirmed for so long ends the connection.
    unconfirmed: Duration,
    /// Open connections: index of the endpoint, and the address.
    peers: RefCell<HashMap<Key, (usize, SocketAddr)>>,
    /// The version of the addresses that connections were compared with.
    seen: std::cell::Cell<u64>,
}

impl Dialer {
    /// For executor `index`. `record_deadline`: bytes that are older belong to no record that anybody waits for.
    pub fn new(addresses: Arc<Addresses>, endpoints: usize, index: usize, record_deadline: Duration) -> Dialer {
        let rotation = || Rotation { next: index, failed: Vec::new() };
        Dialer {
            addresses,
            rotations: RefCell::new((0..endpoints).map(|_| rotation()).collect()),
            unconfirmed: record_deadline,
            peers: RefCell::default(),
            seen: std::cell::Cell::new(0),
        }
    }

    /// Opens a connection, within its time.
    pub async fn open(&self, connect: Connect, clock: Clock) -> Result<TcpStream, String> {
        let began = clock.monotonic();
        let addresses = self.addresses(connect, clock).await?;
        let order = self.with_rotation(connect.endpoint, |rotation| rotation.order(&addresses, clock.monotonic()));
        let left = connect.timeout.saturating_sub(clock.monotonic().since(began));
        let (won, failed) = race(&order.unwrap_or_default(), left, self.unconfirmed, clock).await;
        let now = clock.monotonic();
        self.with_rotation(connect.endpoint, |rotation| {
            failed.iter().for_each(|(address, _)| rotation.failed(*address, now));
            if let Some((_, address)) = &won {
                rotation.opened(*address);
            }
        });
        match won {
            Some((stream, address)) => {
                self.peers.borrow_mut().insert(connect.connection, (connect.endpoint, address));
                Ok(stream)
            }
            None => {
                self.addresses.doubt(connect.endpoint);
                let faults: Vec<String> =
                    failed.into_iter().map(|(address, why)| format!("{address}: {why}")).collect();
                Err(faults.join("; "))
            }
        }
    }

    /// The addresses, as soon as the first look-up has ended.
    async fn addresses(&self, connect: Connect, clock: Clock) -> Result<Arc<[SocketAddr]>, String> {
        let began = clock.monotonic();
        loop {
            match self.addresses.get(connect.endpoint) {
                Ok(addresses) => return Ok(addresses),
                Err(NoAddress::Failed(why)) => return Err(why),
                Err(NoAddress::Pending) if clock.monotonic().since(began) >= connect.timeout => {
                    return Err("the name is still being looked up; check the resolver (/etc/resolv.conf)".to_owned());
                }
                Err(NoAddress::Pending) => drop(Timer::new(PENDING_PAUSE).await),
            }
        }
    }

    fn with_rotation<T>(&self, endpoint: usize, call: impl FnOnce(&mut Rotation) -> T) -> Option<T> {
        self.rotations.borrow_mut().get_mut(endpoint).map(call)
    }

    /// The connection is closed.
    pub fn closed(&self, key: Key) {
        self.peers.borrow_mut().remove(&key);
    }

    /// Tells the engine which connections are to addresses that their names have no longer.
    pub fn tell_outdated(&self, engine: &mut Engine, now: Time) {
        let version = self.addresses.version();
        if self.seen.replace(version) == version {
            return;
        }
        for (key, (endpoint, address)) in self.peers.borrow().iter() {
            if self.addresses.is_outdated(*endpoint, *address) {
                engine.connection_outdated(*key, now);
            }
        }
    }
}

/// Whose turn it is among the addresses of an endpoint.
#[derive(Debug)]
struct Rotation {
    next: usize,
    /// Addresses that did not take a connection, and when.
    failed: Vec<(SocketAddr, Time)>,
}

impl Rotation {
    /// The addresses to try for the next connection: from the next one on in turn, those that just failed last.
    fn order(&mut self, addresses: &[SocketAddr], now: Time) -> Vec<SocketAddr> {
        self.failed.retain(|(address, since)| addresses.contains(address) && now.since(*since) < FAILED_FOR);
        let has_failed = |address: &SocketAddr| self.failed.iter().any(|(failed, _)| failed == address);
        let start = self.next % addresses.len().max(1);
        self.next = start + 1;
        let (before, after) = addresses.split_at_checked(start).unwrap_or((&[], addresses));
        let turn = || after.iter().chain(before).copied();
        let (good, bad) =
            (turn().filter(|address| !has_failed(address)), self.failed.iter().map(|(address, _)| *address));
        good.chain(bad).take(TRIED).collect()
    }

    fn failed(&mut self, address: SocketAddr, now: Time) {
        self.opened(address);
        self.failed.push((address, now));
    }

    fn opened(&mut self, address: SocketAddr) {
        self.failed.retain(|(failed, _)| *failed != address);
    }
}

/// Attempts to connect, of which the first success counts.
#[derive(Default)]
struct Race {
    won: Option<(TcpStream, SocketAddr)>,
    over: bool,
    running: usize,
    failed: Vec<(SocketAddr, String)>,
    waker: Option<Waker>,
}

/// Who won, and who failed before.
type Outcome = (Option<(TcpStream, SocketAddr)>, Vec<(SocketAddr, String)>);

/// Tries the addresses one after another, all within `timeout`: the next one begins when the one before has failed or
/// takes long. A name may have an address that nothing listens on (`localhost` over IPv6), or that swallows packets.
async fn race(addresses: &[SocketAddr], timeout: Duration, unconfirmed: Duration, clock: Clock) -> Outcome {
    let began = clock.monotonic();
    let parts = u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let next_after = NEXT_AFTER.min(timeout / parts);
    let race = Rc::new(RefCell::new(Race::default()));
    for (position, address) in addresses.iter().enumerate() {
        let left = timeout.saturating_sub(clock.monotonic().since(began));
        let is_last = position + 1 == addresses.len();
        let running = {
            let mut race = race.borrow_mut();
            race.running += 1;
            race.running
        };
        // Not dropped when another one wins: the runtime would not take the socket back from the ring. It ends by itself.
        glommio::spawn_local(attempt(Rc::clone(&race), *address, left, unconfirmed)).detach();
        // The attempts keep to their time themselves.
        let pause = if is_last { left + NEXT_AFTER } else { next_after };
        let goes_on = |race: &Race| !is_last && race.running < running;
        wait(&race, pause, goes_on).await;
        if race.borrow().won.is_some() {
            break;
        }
    }
    let mut race = race.borrow_mut();
    race.over = true;
    let mut failed = std::mem::take(&mut race.failed);
    if race.won.is_none() && failed.is_empty() {
        failed.extend(addresses.iter().map(|address| (*address, "no answer".to_owned())));
    }
    (race.won.take(), failed)
}

/// Waits until the race is won or lost, `goes_on` holds, or `pause` is over.
async fn wait(race: &RefCell<Race>, pause: Duration, goes_on: impl Fn(&Race) -> bool) {
    let mut timer = pin!(Timer::new(pause));
    poll_fn(|cx| {
        let mut race = race.borrow_mut();
        if race.won.is_some() || race.running == 0 || goes_on(&race) {
            return Poll::Ready(());
        }
        race.waker = Some(cx.waker().clone());
        timer.as_mut().poll(cx).map(|_| ())
    })
    .await;
}

async fn attempt(race: Rc<RefCell<Race>>, address: SocketAddr, timeout: Duration, unconfirmed: Duration) {
    let opened = open_one(address, timeout, unconfirmed).await;
    let mut race = race.borrow_mut();
    race.running -= 1;
    match opened {
        Ok(stream) if race.won.is_none() && !race.over => race.won = Some((stream, address)),
        Ok(_) => {}
        Err(why) => race.failed.push((address, why)),
    }
    if let Some(waker) = race.waker.take() {
        waker.wake();
    }
}

async fn open_one(address: SocketAddr, timeout: Duration, unconfirmed: Duration) -> Result<TcpStream, String> {
    if timeout.is_zero() {
        return Err("no time was left".to_owned());
    }
    let stream = TcpStream::connect_timeout(address, timeout).await;
    let stream = stream.map_err(|error| std::io::Error::from(error).to_string())?;
    let fd = stream.as_raw_fd();
    let fd = sys::borrow_fd(&fd);
    set_up(&socket2::SockRef::from(&fd), unconfirmed).map_err(|error| format!("socket options: {error}"))?;
    drop(fd);
    Ok(stream)
}

fn set_up(socket: &socket2::SockRef<'_>, unconfirmed: Duration) -> std::io::Result<()> {
    // A request is written whole; waiting to merge it with the next one only costs time.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(unconfirmed))?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
#[path = "dial/tests.rs"]
mod tests;
