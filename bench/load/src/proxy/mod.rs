//! A TCP proxy with faults: latency, bandwidth, slicing, stalls, resets, half-closes, cuts, changed bytes, refused
//! connections, flapping.
//!
//! It knows bytes and no protocol, so it stands between source and connector as well as between connector and sink, and
//! TLS passes through it untouched. Everything is decided by a seed, for each connection and direction of its own, and
//! can be switched while it runs. Each direction holds a bounded number of bytes and reads no faster than it writes, so
//! that back-pressure passes through as well.

mod faults;
mod pump;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use faults::{Accept, Corrupt, Cut, Ending, Faults, Link};

use faults::Random;
use pump::{Direction, pump};

/// Connections at a time; further ones wait in the backlog.
const CONNECTIONS: usize = 20_000;

/// A connect to the target that takes longer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a proxy starts.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Where to listen; port 0: any free one.
    pub address: SocketAddr,
    /// Where connections are passed on to.
    pub target: SocketAddr,
    /// The first faults.
    pub faults: Faults,
    /// Decides everything that is left to chance.
    pub seed: u64,
}

/// A proxy that cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No socket or no thread.
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::Error),
    /// The proxy has ended.
    #[error("the proxy has ended")]
    Ended,
}

/// What a proxy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Connections accepted.
    pub connections: u64,
    /// Of these, ones that were passed on to the target.
    pub forwarded: u64,
    /// Connections that the target did not take.
    pub unreachable: u64,
    /// Open ones.
    pub open: u64,
    /// Bytes passed on to the target.
    pub bytes_up: u64,
    /// Bytes passed on to the connecting sides.
    pub bytes_down: u64,
    /// New connections that were reset, closed or left hanging.
    pub turned_away: u64,
    /// Directions that a [`Cut`] ended.
    pub cuts: u64,
    /// Connections whose [`Faults::life`] was over.
    pub lives: u64,
    /// Times that a direction had to wait for the end of a stall.
    pub stalls: u64,
    /// Changed bytes.
    pub corrupted: u64,
    /// Times that the proxy went down by itself.
    pub flaps: u64,
    /// Connections that were closed by the proxy's owner or by a flap.
    pub killed: u64,
}

impl ProxyStats {
    /// Faults of all kinds that connections met; slowness is not counted.
    pub fn faults(&self) -> u64 {
        self.turned_away + self.cuts + self.lives + self.stalls + self.corrupted + self.killed
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    seed: u64,
    stats: Mutex<ProxyStats>,
    faults: watch::Sender<Arc<Faults>>,
    /// Changes when all connections are to end, and says how.
    kill: watch::Sender<(u64, Ending)>,
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, ProxyStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self, ending: Ending) {
        self.kill.send_modify(|(epoch, how)| (*epoch, *how) = (*epoch + 1, ending));
    }
}

/// A running proxy. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct ProxyHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<std::sync::mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProxyHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// New faults, for open connections, too (but for [`Faults::life`], which is settled at their start). When this
    /// returns, the port listens or does not, as they say.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub fn set(&self, faults: Faults) -> Result<(), ProxyError> {
        self.shared.faults.send_replace(Arc::new(faults));
        let (done, wait) = std::sync::mpsc::channel();
        self.commands.send(done).map_err(|_| ProxyError::Ended)?;
        wait.recv().map_err(|_| ProxyError::Ended)
    }

    /// No faults any more.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub fn heal(&self) -> Result<(), ProxyError> {
        self.set(Faults::default())
    }

    /// Ends all connections now.
    pub fn kill_connections(&self, ending: Ending) {
        self.shared.kill(ending);
    }

    /// What it did up to now.
    pub fn stats(&self) -> ProxyStats {
        *self.shared.stats()
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        // The end of the commands is the end of the proxy.
        self.commands = mpsc::unbounded_channel().0;
        self.shared.kill(Ending::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The proxy.
#[derive(Debug)]
pub struct Proxy;

impl Proxy {
    /// Listens, and starts a thread.
    ///
    /// # Errors
    /// When the address is in use, or there is no thread.
    pub fn spawn(config: ProxyConfig) -> Result<ProxyHandle, ProxyError> {
        let listener =
            listen(config.address).map_err(|error| ProxyError::Io("listen on the proxy's address", error))?;
        let address = listener.local_addr().map_err(|error| ProxyError::Io("read the proxy's address", error))?;
        let shared = Arc::new(Shared {
            target: config.target,
            seed: config.seed,
            stats: Mutex::default(),
            faults: watch::channel(Arc::default()).0,
            kill: watch::channel((0, Ending::Close)).0,
        });
        let (commands, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| ProxyError::Io("start a runtime for the proxy", error))?;
        let theirs = Arc::clone(&shared);
        let body = move || runtime.block_on(serve(listener, address, receiver, theirs));
        let thread = std::thread::Builder::new().name(String::from("fault-proxy")).spawn(body);
        let thread = thread.map_err(|error| ProxyError::Io("start the proxy's thread", error))?;
        let proxy = ProxyHandle { address, shared, commands, thread: Some(thread) };
        // The port is as the first faults say before anybody connects.
        proxy.set(config.faults)?;
        Ok(proxy)
    }
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The listening socket, open or not as the faults of the moment say.
struct Port {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Port {
    fn set(&mut self, open: bool) {
        match (&self.listener, open) {
            (Some(_), false) => self.listener = None,
            // It may be taken for a moment: the next look tries again.
            (None, true) => self.listener = listen(self.address).and_then(TcpListener::from_std).ok(),
            _ => {}
        }
    }

    async fn accept(&self) -> std::io::Result<TcpStream> {
        match &self.listener {
            Some(listener) => listener.accept().await.map(|(stream, _)| stream),
            None => std::future::pending().await,
        }
    }
}

/// Accepts until the owner has gone.
async fn serve(
    listener: std::net::TcpListener,
    address: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<std::sync::mpsc::Sender<()>>,
    shared: Arc<Shared>,
) {
    let mut port = Port { address, listener: TcpListener::from_std(listener).ok() };
    let mut faults = shared.faults.borrow().clone();
    let mut flap = Flap::new(&faults);
    let mut number = 0;
    loop {
        let wants_open = faults.accept != Accept::Refuse && flap.is_up;
        port.set(wants_open);
        let look = if wants_open && port.listener.is_none() { Instant::now() + RETRY } else { flap.next };
        let is_full = shared.stats().open >= CONNECTIONS as u64;
        tokio::select! {
            command = commands.recv() => {
                let Some(done) = command else { return };
                faults = shared.faults.borrow().clone();
                flap = Flap::new(&faults);
                port.set(faults.accept != Accept::Refuse && flap.is_up);
                // Nobody waits any more: fine.
                let _ = done.send(());
            }
            () = sleep_until(look) => flap.turn(&shared),
            accepted = port.accept(), if !is_full => match accepted {
                Ok(stream) => {
                    number += 1;
                    let view = View { shared: Arc::clone(&shared), faults: shared.faults.subscribe(), number, hit: true };
                    start(stream, view);
                }
                // Out of descriptors, most likely: later there may be some.
                Err(_) => tokio::time::sleep(RETRY).await,
            },
        }
    }
}

/// Until the next try of what did not work.
const RETRY: Duration = Duration::from_millis(10);

/// Up and down by turns.
struct Flap {
    times: Option<(Duration, Duration)>,
    is_up: bool,
    next: Instant,
}

impl Flap {
    fn new(faults: &Faults) -> Flap {
        // Without flapping there is a look now and then, which changes nothing.
        let first = faults.flap.map_or(Duration::from_secs(3_600), |(up, _)| up);
        Flap { times: faults.flap, is_up: true, next: Instant::now() + first }
    }

    fn turn(&mut self, shared: &Shared) {
        if Instant::now() < self.next {
            return;
        }
        let Some((up, down)) = self.times else { return };
        self.is_up = !self.is_up;
        self.next = Instant::now() + if self.is_up { up } else { down };
        if !self.is_up {
            shared.stats().flaps += 1;
            shared.kill(Ending::Reset);
        }
    }
}

/// One connection's view of the proxy.
#[derive(Debug, Clone)]
struct View {
    shared: Arc<Shared>,
    faults: watch::Receiver<Arc<Faults>>,
    number: u64,
    /// Whether the faults of the links hit this connection.
    hit: bool,
}

impl View {
    fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// The direction's faults of now.
    fn link(&mut self, direction: Direction) -> Link {
        if !self.hit {
            return Link::default();
        }
        let faults = self.faults.borrow_and_update();
        match direction {
            Direction::Up => faults.up.clone(),
            Direction::Down => faults.down.clone(),
        }
    }

    /// Ends when there are new faults.
    async fn changed(&mut self) {
        if self.faults.changed().await.is_err() {
            std::future::pending().await
        }
    }

    fn count(&self, count: impl FnOnce(&mut ProxyStats)) {
        count(&mut self.shared.stats());
    }
}

/// Passes a connection on in a task of its own, until it ends or all are told to.
fn start(stream: TcpStream, mut view: View) {
    view.count(|stats| (stats.connections, stats.open) = (stats.connections + 1, stats.open + 1));
    let mut kill = view.shared.kill.subscribe();
    tokio::spawn(async move {
        let faults = view.faults.borrow_and_update().clone();
        let mut random = Random::new(view.seed(), view.number, 0);
        view.hit = faults.hits(&mut random);
        let shared = Arc::clone(&view.shared);
        // Without it pieces are late, no more.
        let _ = stream.set_nodelay(true);
        let ending = treat(&stream, view, &faults, random, &mut kill).await;
        if ending == Ending::Reset {
            reset(&stream);
        }
        drop(stream);
        shared.stats().open -= 1;
    });
}

/// The close of this socket is a reset.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Ends when all connections are to end.
async fn killed(kill: &mut watch::Receiver<(u64, Ending)>, shared: &Shared) -> Ending {
    if kill.changed().await.is_ok() {
        shared.stats().killed += 1;
    }
    kill.borrow().1
}

/// What becomes of an accepted connection; how it is ended.
async fn treat(
    stream: &TcpStream,
    view: View,
    faults: &Faults,
    mut random: Random,
    kill: &mut watch::Receiver<(u64, Ending)>,
) -> Ending {
    if faults.accept != Accept::Forward {
        view.count(|stats| stats.turned_away += 1);
    }
    match faults.accept {
        Accept::Reset => return Ending::Reset,
        Accept::Close => return Ending::Close,
        Accept::Hang => return killed(kill, &view.shared).await,
        Accept::Forward | Accept::Refuse => {}
    }
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(view.shared.target)).await;
    let Ok(Ok(target)) = connected else {
        view.count(|stats| stats.unreachable += 1);
        return Ending::Reset;
    };
    let _ = target.set_nodelay(true);
    view.count(|stats| stats.forwarded += 1);
    let life = faults.life.filter(|_| view.hit);
    let over = async {
        match life {
            Some((shortest, longest, ending)) => {
                tokio::time::sleep(random.between(shortest, longest)).await;
                view.count(|stats| stats.lives += 1);
                match ending {
                    Ending::HalfClose | Ending::Silence => quiet(&target, ending).await,
                    Ending::Close | Ending::Reset => ending,
                }
            }
            None => std::future::pending().await,
        }
    };
    let pumps = both(stream, &target, &view);
    let ending = tokio::select! {
        biased;
        ending = killed(kill, &view.shared) => ending,
        ending = over => ending,
        ending = pumps => ending,
    };
    if ending == Ending::Reset {
        reset(&target);
    }
    ending
}

/// The target sees the end of its input, or nothing at all; the pumps do not run any more.
async fn quiet(target: &TcpStream, ending: Ending) -> Ending {
    if ending == Ending::HalfClose {
        let _ = SockRef::from(target).shutdown(std::net::Shutdown::Write);
    }
    std::future::pending().await
}

/// Both directions, until each has ended by itself or one of them ends the connection.
async fn both(client: &TcpStream, target: &TcpStream, view: &View) -> Ending {
    let up = pump(client, target, view.clone(), Direction::Up);
    let down = pump(target, client, view.clone(), Direction::Down);
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut up => match ended {
            Some(ending) => ending,
            None => down.await.unwrap_or(Ending::Close),
        },
        ended = &mut down => match ended {
            Some(ending) => ending,
            None => up.await.unwrap_or(Ending::Close),
        },
    }
}
