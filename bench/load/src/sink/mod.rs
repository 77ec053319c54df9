//! The HTTP side: a destination that can be told to misbehave, and keeps books.
//!
//! HTTP/1.1 and HTTP/2 by prior knowledge on one port. The HTTP/1.1 server is written by hand, so that an answer can
//! be cut at a place of choice; HTTP/2 is the `h2` crate, driven without a task per stream. An answer of success is
//! entered before it is written (so that an ack can never overtake its entry) and taken back if it was not written.
//! A request is known by its `aerospike-digest`, else by the records in its body: an answer is that of each of them.

mod behaviour;
mod binary;
mod http1;
mod http2;
mod ledger;
mod records;

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::rustls::ServerConfig;

pub use behaviour::{Behaviour, Fault, Goodbye, Poison, Poisoned};
pub use ledger::{Ledger, LoggedRequest, SinkEntry, SinkLedger, SinkStats};

use crate::clock::thread_cpu;
use crate::record::Identity;
use crate::tls::Stream;
use behaviour::Plan;
use ledger::Answer;
use records::{Content, Records};

/// Probes that are kept.
const LOGGED_PROBES: usize = 16;

/// Connections that may wait to be accepted. With the 128 of the standard library a burst of a proxy overflows it, and a
/// connection that is dropped there comes again a second later, about when a call times out.
const BACKLOG: libc::c_int = 4_096;

/// How a sink starts.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// Where to listen; port 0: any free one.
    pub address: SocketAddr,
    /// Threads; connections are dealt out in turn.
    pub threads: usize,
    /// The first behaviour.
    pub behaviour: Behaviour,
    /// Seed of latencies and errors.
    pub seed: u64,
    /// The first so many requests are kept whole.
    pub log_requests: usize,
    /// Every so many requests one JSON body is parsed and compared with its digest; 0: none.
    pub verify_every: u64,
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub max_concurrent_streams: u32,
    /// With TLS: then what was agreed on (ALPN) says which HTTP is spoken.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for SinkConfig {
    fn default() -> SinkConfig {
        SinkConfig {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 1,
            behaviour: Behaviour::default(),
            seed: 1,
            log_requests: 0,
            verify_every: 64,
            max_concurrent_streams: 1_024,
            tls: None,
        }
    }
}

/// A sink that cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// No socket or no thread.
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::Error),
    /// The sink has ended.
    #[error("the sink has ended")]
    Ended,
}

/// What a sink saw.
#[derive(Debug, Clone, Default)]
pub struct SinkReport {
    /// Totals.
    pub stats: SinkStats,
    /// Every record's fate.
    pub ledger: SinkLedger,
    /// The first requests.
    pub requests: Vec<LoggedRequest>,
    /// CPU time of the sink's threads.
    pub cpu: Duration,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: SinkConfig,
    ledger: Arc<Ledger>,
    behaviour: Mutex<Arc<Behaviour>>,
    /// Counts changes of `behaviour`, so that a connection looks behind the lock only then.
    behaviour_version: AtomicU64,
    logging: AtomicBool,
    /// Changes when all connections are to close.
    kill: watch::Sender<u64>,
}

enum Command {
    Refuse(std::sync::mpsc::Sender<()>),
    Listen(std::net::TcpListener),
    Stop,
}

/// A running sink. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct SinkHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    threads: Vec<JoinHandle<Duration>>,
}

impl SinkHandle {
    /// Where it listens, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The books, live.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared.ledger)
    }

    /// From the next request on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(behaviour);
        self.shared.behaviour_version.fetch_add(1, Ordering::Release);
    }

    /// Closes all connections at once, whatever they are in.
    pub fn close_connections(&self) {
        self.shared.kill.send_modify(|epoch| *epoch += 1);
    }

    /// Goes down: the port refuses connections when this returns, and all connections close.
    ///
    /// # Errors
    /// When the sink has ended.
    pub fn down(&self) -> Result<(), SinkError> {
        let (done, wait) = std::sync::mpsc::channel();
        self.commands.send(Command::Refuse(done)).map_err(|_| SinkError::Ended)?;
        wait.recv().map_err(|_| SinkError::Ended)?;
        self.close_connections();
        Ok(())
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When the port is taken, or the sink has ended.
    pub fn up(&self) -> Result<(), SinkError> {
        let listener = listen(self.address)?;
        self.commands.send(Command::Listen(listener)).map_err(|_| SinkError::Ended)
    }

    /// Ends the sink; open requests are dropped.
    pub fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.commands.send(Command::Stop);
    }

    /// Stops it and waits for the end.
    ///
    /// # Errors
    /// When a thread of the sink panicked.
    pub fn join(mut self) -> Result<SinkReport, SinkError> {
        self.stop();
        let mut cpu = Duration::ZERO;
        for thread in self.threads.drain(..) {
            cpu += thread.join().map_err(|_| SinkError::Ended)?;
        }
        let ledger = &self.shared.ledger;
        Ok(SinkReport { stats: ledger.stats(), ledger: ledger.snapshot(), requests: ledger.requests(0), cpu })
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The HTTP sink.
#[derive(Debug)]
pub struct Sink;

impl Sink {
    /// Listens, and starts the threads.
    ///
    /// # Errors
    /// When the address is in use, or threads cannot be had.
    pub fn spawn(config: SinkConfig) -> Result<SinkHandle, SinkError> {
        let listener = listen(config.address)?;
        let address = listener.local_addr().map_err(|error| SinkError::Io("read the sink's address", error))?;
        let count = config.threads.max(1);
        let shared = Arc::new(Shared {
            ledger: Arc::default(),
            behaviour: Mutex::new(Arc::new(config.behaviour.clone())),
            behaviour_version: AtomicU64::new(0),
            logging: AtomicBool::new(config.log_requests > 0),
            kill: watch::channel(0).0,
            config,
        });
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let mut threads = Vec::new();
        let mut others = Vec::new();
        for _ in 1..count {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            others.push(sender);
            let shared = Arc::clone(&shared);
            threads.push(thread(async move {
                while let Some((stream, number)) = receiver.recv().await {
                    start(stream, number, &shared);
                }
            })?);
        }
        let theirs = Arc::clone(&shared);
        threads.push(thread(accept(listener, command_receiver, others, theirs))?);
        Ok(SinkHandle { address, shared, commands, threads })
    }
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, SinkError> {
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        // SAFETY: listen takes two numbers; the descriptor is open, and one that listens gets the new length.
        let longer = unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) };
        if longer == 0 { Ok(listener) } else { Err(std::io::Error::last_os_error()) }
    });
    listener.map_err(|error| SinkError::Io("listen on the sink's address", error))
}

/// Runs `main` and the tasks that it spawns on one thread; gives its CPU time.
fn thread(main: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<Duration>, SinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().event_interval(31).build();
    let runtime = runtime.map_err(|error| SinkError::Io("start a runtime for the sink", error))?;
    let body = move || {
        runtime.block_on(main);
        drop(runtime);
        thread_cpu()
    };
    let builder = std::thread::Builder::new().name(String::from("http-sink"));
    builder.spawn(body).map_err(|error| SinkError::Io("start the sink's thread", error))
}

type Connected = (std::net::TcpStream, u64);

/// Accepts and deals out, until told to stop.
async fn accept(
    listener: std::net::TcpListener,
    mut commands: mpsc::UnboundedReceiver<Command>,
    others: Vec<mpsc::UnboundedSender<Connected>>,
    shared: Arc<Shared>,
) {
    let mut listener = TcpListener::from_std(listener).ok();
    let mut number = 0;
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Refuse(done)) => {
                    listener = None;
                    // Nobody waits any more: fine.
                    let _ = done.send(());
                }
                Some(Command::Listen(socket)) => listener = TcpListener::from_std(socket).ok(),
                Some(Command::Stop) | None => return,
            },
            accepted = accepted => match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    let turn = usize::try_from(number).unwrap_or(0) % (others.len() + 1);
                    match turn.checked_sub(1).and_then(|turn| others.get(turn)) {
                        // A send fails only when that thread is gone, with the sink.
                        Some(other) => drop(other.send((stream, number))),
                        None => start(stream, number, &shared),
                    }
                    number += 1;
                    shared.ledger.lock().stats.connections += 1;
                }
                // Out of descriptors, most likely: later there may be some.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// Serves a connection in a task of its own, until it ends or all are told to close.
fn start(stream: std::net::TcpStream, number: u64, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let mut kill = shared.kill.subscribe();
    tokio::spawn(async move {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Without it answers are late, no more.
        let _ = stream.set_nodelay(true);
        let peer = Peer::new(shared, number);
        tokio::select! {
            biased;
            _ = kill.changed() => {}
            () = serve(stream, peer) => {}
        }
    });
}

async fn serve(stream: TcpStream, peer: Peer) {
    let tls = peer.shared.config.tls.clone();
    if tls.is_some() {
        return match Stream::accept(stream, tls.as_ref()).await {
            Some(stream) if stream.is_http2() => http2::serve(stream, peer).await,
            Some(stream) => http1::serve(stream, peer).await,
            None => {}
        };
    }
    const PREFACE: &[u8] = b"PRI";
    let mut start = [0; 3];
    loop {
        match stream.peek(&mut start).await {
            Ok(0) | Err(_) => return,
            Ok(length) if length < PREFACE.len() && start.starts_with(b"P") => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(_) => break,
        }
    }
    let stream = Stream::Clear(stream);
    if start == PREFACE { http2::serve(stream, peer).await } else { http1::serve(stream, peer).await }
}

/// One connection's view of the sink.
#[derive(Debug)]
pub(crate) struct Peer {
    shared: Arc<Shared>,
    behaviour: Arc<Behaviour>,
    version: u64,
    random: behaviour::Random,
    requests: u64,
}

impl Peer {
    fn new(shared: Arc<Shared>, number: u64) -> Peer {
        let behaviour = Arc::clone(&shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
        let random = behaviour::Random::new(shared.config.seed, number);
        Peer { shared, behaviour, version: 0, random, requests: 0 }
    }

    /// The behaviour of now.
    fn behaviour(&mut self) -> &Behaviour {
        let version = self.shared.behaviour_version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.behaviour = Arc::clone(&self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
        }
        &self.behaviour
    }

    /// The next request's fate, and whether it is the last one of its connection.
    fn plan(&mut self) -> (Plan, bool) {
        self.behaviour();
        self.requests += 1;
        let last = self.behaviour.requests_per_connection.is_some_and(|limit| self.requests >= limit);
        (self.behaviour.plan(&mut self.random), last)
    }

    /// A probe came: its fate.
    fn probe(&mut self, head: LoggedRequest) -> Plan {
        let mut books = self.shared.ledger.lock();
        if books.probes.len() < LOGGED_PROBES {
            let number = books.stats.probes;
            books.probes.push(LoggedRequest { number, ..head });
        }
        books.stats.probes += 1;
        drop(books);
        self.behaviour().plan_probe()
    }

    /// Whether a body is kept: for the log, for a sample, or because nothing else says which records it holds.
    fn keeps_body(&self, identity: Option<Identity>) -> bool {
        identity.is_none() || self.logs() || self.is_sampled()
    }

    fn is_sampled(&self) -> bool {
        let every = self.shared.config.verify_every;
        every > 0 && self.requests.is_multiple_of(every)
    }

    fn logs(&self) -> bool {
        self.shared.logging.load(Ordering::Relaxed)
    }

    /// Enters a complete request, and says how it is answered.
    fn received(&mut self, request: Received, plan: Plan) -> Answer {
        let (records, corrupt) = request.examine();
        let poison = self.behaviour().poison.as_ref().filter(|_| plan.fault.is_none() && success(plan.status));
        let poison = poison.filter(|poison| records.as_slice().iter().any(|record| poison.hits(*record)));
        let (status, refused) = (poison.map_or(plan.status, |poison| poison.status), poison.is_some());
        let mut books = self.shared.ledger.lock();
        let number = books.received(&records, request.length);
        books.stats.corrupt += u64::from(corrupt);
        if let Some(head) = request.head
            && books.log.len() < self.shared.config.log_requests
        {
            books.log.push(LoggedRequest { number, body: request.body, ..head });
            if books.log.len() == self.shared.config.log_requests {
                self.shared.logging.store(false, Ordering::Relaxed);
            }
        }
        Answer { records, status, refused }
    }
}

/// A complete request.
#[derive(Debug, Default)]
struct Received {
    /// Of its digest header.
    identity: Option<Identity>,
    /// All of it, or nothing when nobody wants it.
    body: Vec<u8>,
    length: usize,
    content: Content,
    gzip: bool,
    /// The body is whole, and to be checked although there is a digest.
    verify: bool,
    /// Kept for the log.
    head: Option<LoggedRequest>,
}

impl Received {
    /// Its records, and whether something is wrong with its body.
    fn examine(&self) -> (Records, bool) {
        let verify = self.verify && matches!(self.content, Content::Json | Content::JsonLines);
        if self.identity.is_some() && !verify {
            return (self.identity.into(), false);
        }
        let plain = if self.gzip { records::gunzip(&self.body) } else { None };
        let body = match &plain {
            Some(plain) => plain,
            None if self.gzip => return (self.identity.into(), true),
            None => &self.body,
        };
        if self.identity.is_some() {
            return (self.identity.into(), !records::intact(self.identity, body));
        }
        let found = records::find(self.content, body);
        let corrupt = found.corrupt;
        (found.records(), corrupt)
    }
}

fn success(status: u16) -> bool {
    (200..300).contains(&status)
}
