//! Listening sockets. One for each address, without sharing the port: a port in use is an error, and no second process
//! can take half of the connections unseen. An accepted connection is handed, once and before its first byte is read,
//! to the executor with the fewest.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::control::{Control, Speaks};
use super::shell::Clock;
use crate::logging::{RateLimit, more};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;

/// XDR connections of the process at a time. Each takes some KiB that nothing else bounds; a hundred nodes open some hundred
/// each at most.
pub const MOST_SOURCES: usize = 16_384;

/// Pause after an accept that failed for want of descriptors or memory: trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A burst of connections can be more than the messages that wait for a busy executor: the next try, and how many.
/// Further ones wait in the backlog meanwhile.
const FULL_PAUSE: Duration = Duration::from_millis(1);
const FULL_TRIES: u32 = 100;

/// A listening socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{hint}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
    hint: &'static str,
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> ListenError {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "; another process has that port (`ss -ltnp` names it): stop it, or change service.port"
            }
            io::ErrorKind::AddrNotAvailable => {
                "; no interface of this machine has that address: change service.address"
            }
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or change service.port"
            }
            _ => "",
        };
        ListenError { address, source, hint }
    }
}

/// Binds `address`.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // 0.0.0.0 and :: are two entries of service.address, not one.
            socket.set_only_v6(true)?;
        }
        // Connections of a predecessor in TIME_WAIT do not keep the port; one that listens does.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ListenError::new(address, source))
}

/// An executor as the acceptor sees it.
#[derive(Debug)]
pub struct Place {
    /// Its messages.
    pub control: Control,
    /// Its XDR connections: counted up here, counted down by the executor.
    pub load: Arc<AtomicUsize>,
}

/// Where the next connection goes.
#[derive(Debug)]
pub struct Placement {
    places: Vec<Place>,
    turn: Mutex<usize>,
    keepalive: Duration,
    /// Networks whose connections are taken; empty: all.
    allowed: Vec<IpNet>,
    /// Connections from elsewhere, closed at once.
    not_allowed: AtomicU64,
    /// Connections beyond [`MOST_SOURCES`], closed at once.
    too_many: AtomicU64,
}

impl Placement {
    /// Over these executors.
    pub fn new(places: Vec<Place>, keepalive: Duration, allowed: Vec<IpNet>) -> Placement {
        Placement {
            places,
            turn: Mutex::new(0),
            keepalive,
            allowed,
            not_allowed: AtomicU64::new(0),
            too_many: AtomicU64::new(0),
        }
    }

    /// Connections that were closed at accept, since `service.allowed-networks` does not name their network.
    pub fn not_allowed(&self) -> u64 {
        self.not_allowed.load(Ordering::Relaxed)
    }

    /// Connections that were closed at accept, since there were [`MOST_SOURCES`] already.
    pub fn too_many(&self) -> u64 {
        self.too_many.load(Ordering::Relaxed)
    }

    /// Whether one more connection is taken; counted if not.
    fn has_room(&self) -> bool {
        let open: usize = self.places.iter().map(|place| place.load.load(Ordering::Relaxed)).sum();
        let has_room = open < MOST_SOURCES;
        if !has_room {
            self.too_many.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// Whether connections from `peer` are taken; counted if not.
    fn allows(&self, peer: IpAddr) -> bool {
        let allowed = self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(&peer));
        if !allowed {
            self.not_allowed.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// All executors.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The executor with the fewest connections, ties in turn; its count includes the new one.
    fn choose(&self) -> Option<&Place> {
        let mut turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = self.places.len();
        let order = (0..count).map(|step| (*turn + step) % count.max(1));
        let best = order.min_by_key(|index| self.places.get(*index).map(|place| place.load.load(Ordering::Relaxed)))?;
        *turn = (best + 1) % count.max(1);
        let place = self.places.get(best)?;
        place.load.fetch_add(1, Ordering::Relaxed);
        Some(place)
    }

    fn hand_over(&self, stream: TcpStream, peer: SocketAddr, speaks: Speaks) {
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(self.keepalive).with_interval(self.keepalive / 4);
        let options = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
        if let Err(error) = options {
            tracing::debug!(target: "server", "{peer}: connection dropped before its first byte: {error}");
            return;
        }
        let mut stream = stream;
        let mut tries = FULL_TRIES;
        while let Some(place) = self.choose() {
            let Err((error, back)) = place.control.serve(stream, speaks) else { return };
            place.load.fetch_sub(1, Ordering::Relaxed);
            tries -= 1;
            if error.kind() != io::ErrorKind::WouldBlock || tries == 0 {
                tracing::error!(target: "server", "{peer}: connection closed, its executor takes no more: {error}");
                return;
            }
            stream = back;
            std::thread::sleep(FULL_PAUSE);
        }
    }
}

/// A listening socket and the thread that accepts from it.
#[derive(Debug)]
pub struct Acceptor {
    listener: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Starts to accept.
    pub fn start(listener: TcpListener, speaks: Speaks, placement: Arc<Placement>) -> io::Result<Acceptor> {
        let listener = Arc::new(listener);
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = {
            let (listener, stopping) = (Arc::clone(&listener), Arc::clone(&stopping));
            std::thread::Builder::new()
                .name("ringpost-accept".to_owned())
                .spawn(move || accept(&listener, speaks, &stopping, &placement))?
        };
        Ok(Acceptor { listener, stopping, thread: Some(thread) })
    }

    /// Stops accepting: from now on new connections are refused.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the thread out of accept; on Linux that call then fails at once.
        let _ = SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// For the log.
fn too_many() -> String {
    format!(
        "{MOST_SOURCES} XDR connections are open already; if these peers are not your nodes, see service.allowed-networks"
    )
}

fn accept(listener: &TcpListener, speaks: Speaks, stopping: &AtomicBool, placement: &Placement) {
    let mut failing = false;
    let clock = Clock::start();
    let mut refused = RateLimit::per_second();
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                let is_allowed = placement.allows(peer.ip());
                if is_allowed && placement.has_room() {
                    placement.hand_over(stream, peer, speaks);
                } else if let Some(left_out) = refused.allow(clock.monotonic()) {
                    let why = if is_allowed {
                        too_many()
                    } else {
                        "service.allowed-networks does not name its network".to_owned()
                    };
                    tracing::warn!(target: "server", "{peer}: connection closed: {why}{}", more(left_out));
                }
            }
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionAborted || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if !failing {
                    failing = true;
                    tracing::error!(target: "server",
                        "connections cannot be accepted: {error}; new ones wait, open ones go on (is the limit of open files too low? `ulimit -n`, LimitNOFILE=)");
                }
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::control::{MESSAGE_BYTES, Message};
    use super::super::sys;
    use super::*;

    #[test]
    fn a_burst_of_connections_waits_for_a_busy_executor() {
        const BURST: usize = 300; // A socket pair holds 278 messages.
        let (control, mut receive) = Control::pair().unwrap();
        receive.set_nonblocking(false).unwrap();
        let load = Arc::<AtomicUsize>::default();
        let placement =
            Placement::new(vec![Place { control, load: Arc::clone(&load) }], Duration::from_secs(60), Vec::new());
        let busy = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut taken: Vec<TcpStream> = Vec::new();
            let mut message = [0; MESSAGE_BYTES];
            while taken.len() < BURST && receive.read_exact(&mut message).is_ok() {
                if let Some(Message::Serve(fd, _)) = Message::decode(message) {
                    taken.push(sys::adopt(fd));
                }
            }
            taken.len()
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        for _ in 0..BURST {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (stream, peer) = listener.accept().unwrap();
            placement.hand_over(stream, peer, Speaks::ClearText);
        }
        drop(placement);
        assert_eq!(busy.join().unwrap(), BURST);
        assert_eq!(load.load(Ordering::Relaxed), BURST);
    }

    #[test]
    fn connections_are_bounded_in_number_and_those_beyond_are_counted() {
        let places = [MOST_SOURCES / 2, MOST_SOURCES / 2 - 1]
            .map(|open| Place { control: Control::pair().unwrap().0, load: Arc::new(AtomicUsize::new(open)) });
        let placement = Placement::new(places.into(), Duration::from_secs(60), Vec::new());
        assert!(placement.has_room());
        placement.choose().unwrap();
        assert!(!placement.has_room());
        assert_eq!((placement.too_many(), placement.not_allowed()), (1, 0));
        assert!(too_many().starts_with(&MOST_SOURCES.to_string()));
    }
}
