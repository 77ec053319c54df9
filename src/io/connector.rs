//! The connector as a whole: checks, listening sockets, executors, and the threads around them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use super::certificates::Certificates;
use super::control::{Control, Speaks};
use super::cores::{CoresError, Usable};
use super::executor::{self, Setup};
use super::figures::{Figures, Publisher};
use super::handover;
use super::listen::{self, Acceptor, ListenError, Place, Placement};
use super::manage::Sight;
use super::rejected::{Link, RejectedFile};
use super::resolve::{self, LookUp, Pace, Resolver};
use super::shell::{self, Clock};
use super::start::{self, MachineError};
use super::tap::Hub;
use super::watchdog::{Heartbeat, Watchdog};
use crate::config::model::{Config, Cores};
use crate::config::show_cores;
use crate::delivery::engine::SharedLimits;
use crate::metrics::snapshot::Snapshot;
use crate::tls::Materials;

/// A connector could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Cores.
    #[error(transparent)]
    Cores(#[from] CoresError),
    /// Locked memory or io_uring.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A thread or a pipe.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// `rejected-file`.
    #[error("rejected-file {}: {source}; check the path, and the right of the user to write there", file.display())]
    Rejected {
        /// Its path.
        file: std::path::PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// An executor.
    #[error("{0}")]
    Executor(String),
    /// TLS.
    #[error("{0}")]
    Tls(String),
}

/// A running connector. Dropping it stops it as [`Connector::stop`] and [`Connector::join`] do.
#[derive(Debug)]
pub struct Connector {
    addresses: Vec<SocketAddr>,
    acceptors: Vec<Acceptor>,
    placement: Arc<Placement>,
    figures: Figures,
    cores: Vec<usize>,
    clock: Clock,
    listening: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    watchdog: Option<Watchdog>,
    resolver: Option<Resolver>,
    rejected: Option<RejectedFile>,
    certificates: Option<Certificates>,
    materials: Materials,
    taps: Hub,
}

impl Connector {
    /// Starts what `config` describes. When this returns, connections are accepted.
    pub fn start(config: Config) -> Result<Connector, StartError> {
        Connector::start_with(config, Pace::default(), Arc::new(resolve::system))
    }

    /// As [`Connector::start`], with another way to look names up, and another pace: for tests.
    pub fn start_with(config: Config, pace: Pace, look_up: Arc<LookUp>) -> Result<Connector, StartError> {
        let cores = choose_cores(&config)?;
        start::check(cores.len())?;
        let certificates = Certificates::load(&config).map_err(StartError::Tls)?;
        let materials = certificates.materials().clone();
        let config = Arc::new(config);
        let listeners = bind_all(&config)?;
        let addresses = listeners.iter().map(|(listener, _)| listener.local_addr()).collect::<Result<_, _>>()?;
        let clock = Clock::start();
        let resolver = Resolver::start(&config, clock, pace, look_up)?;
        let shared = SharedLimits::new(&config, cores.len())
            .with_seed(seed())
            .with_tls(materials.destinations.clone())
            .with_stopwatch(shell::stopwatch);
        // On an error below, `places` goes before `connector`: executors that run already see the end of their messages,
        // and the connector's own drop finds them draining.
        let mut connector = Connector::not_started(addresses, cores.clone(), clock, &config, materials.clone());
        let mut links = connector.keep_rejected(&config, cores.len())?;
        let hands_over = shared.is_ordered() && cores.len() > 1;
        let mut handovers = if hands_over { handover::connect(cores.len())? } else { Vec::new() }.into_iter();
        let publishers: Vec<Publisher> = cores.iter().map(|_| Publisher::default()).collect();
        connector.figures = Figures::of(&publishers);
        let mut places = Vec::new();
        let mut heartbeats = Vec::new();
        for ((index, core), publisher) in cores.iter().enumerate().zip(publishers) {
            let (control, receive) = Control::pair()?;
            let place = Place { control, load: Arc::default() };
            let heartbeat = Arc::<Heartbeat>::default();
            let setup = Setup {
                index,
                core: config.executors.pin.then_some(*core),
                config: Arc::clone(&config),
                shared: shared.clone(),
                clock,
                control: receive,
                load: Arc::clone(&place.load),
                heartbeat: Arc::clone(&heartbeat),
                publisher,
                addresses: resolver.addresses(),
                rejected: links.next(),
                tls: materials.service.clone(),
                tap: connector.taps.link(index),
                handover: handovers.next(),
            };
            places.push(place);
            heartbeats.push((format!("executor {index} (core {core})"), heartbeat));
            connector.threads.push(spawn(setup)?);
        }
        let allowed = config.service.allowed_networks.clone();
        connector.placement = Arc::new(Placement::new(places, config.limits.xdr_keepalive, allowed));
        connector.watchdog = Some(Watchdog::start(heartbeats, config.executors.heartbeat_limit)?);
        connector.resolver = Some(resolver);
        connector.certificates = Some(certificates.watch()?);
        connector.listen(listeners)?;
        connector.announce(&config, &cores);
        Ok(connector)
    }

    /// Nothing of it runs yet.
    fn not_started(
        addresses: Vec<SocketAddr>,
        cores: Vec<usize>,
        clock: Clock,
        config: &Config,
        materials: Materials,
    ) -> Connector {
        let taps = Hub::new(cores.len());
        Connector {
            addresses,
            acceptors: Vec::new(),
            placement: Arc::new(Placement::new(Vec::new(), config.limits.xdr_keepalive, Vec::new())),
            figures: Figures::default(),
            cores,
            clock,
            listening: Arc::default(),
            threads: Vec::new(),
            watchdog: None,
            resolver: None,
            rejected: None,
            certificates: None,
            materials,
            taps,
        }
    }

    fn listen(&mut self, listeners: Vec<(std::net::TcpListener, Speaks)>) -> Result<(), StartError> {
        for (listener, speaks) in listeners {
            self.acceptors.push(Acceptor::start(listener, speaks, Arc::clone(&self.placement))?);
        }
        self.listening.store(true, Ordering::Release);
        Ok(())
    }

    fn announce(&self, config: &Config, cores: &[usize]) {
        tracing::info!(target: "server", "ringpost {} is listening on {}; executors on cores {}{}",
            env!("CARGO_PKG_VERSION"),
            self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", "),
            show_cores(cores),
            if config.executors.pin { "" } else { " (not pinned)" });
    }

    /// Opens `rejected-file`, and gives one end of it for each executor, if there is one.
    fn keep_rejected(
        &mut self,
        config: &Config,
        executors: usize,
    ) -> Result<impl Iterator<Item = Link> + use<>, StartError> {
        let Some(rejected) = &config.rejected else { return Ok(Vec::new().into_iter()) };
        let started = RejectedFile::start(rejected, executors);
        let (file, links) = started.map_err(|source| StartError::Rejected { file: rejected.file.clone(), source })?;
        self.rejected = Some(file);
        Ok(links.into_iter())
    }

    /// Where connections are accepted, with the real port where the configuration says 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What each executor published last.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.figures.read()
    }

    /// Reads the same from another thread.
    pub fn figures(&self) -> Figures {
        self.figures.clone()
    }

    /// What the manage port reads of this connector.
    pub fn sight(&self) -> Sight {
        Sight {
            figures: self.figures.clone(),
            placement: Arc::clone(&self.placement),
            listening: Arc::clone(&self.listening),
            clock: self.clock,
            materials: self.materials.clone(),
            taps: self.taps.clone(),
        }
    }

    /// The core of each executor.
    pub fn cores(&self) -> &[usize] {
        &self.cores
    }

    /// Connections that were closed at accept (`service.allowed-networks`).
    pub fn connections_not_allowed(&self) -> u64 {
        self.placement.not_allowed()
    }

    /// Stops accepting and reading, and lets what is in flight finish. Returns at once.
    pub fn stop(&mut self) {
        self.listening.store(false, Ordering::Release);
        self.acceptors.clear();
        for place in self.placement.places() {
            if let Err(error) = place.control.drain() {
                tracing::error!(target: "server", "an executor cannot be told to stop: {error}");
            }
        }
    }

    /// Waits until all executors have ended after [`Connector::stop`]. Whether all of them ended as they should.
    pub fn join(&mut self) -> bool {
        let mut clean = true;
        for thread in self.threads.drain(..) {
            clean &= thread.join().is_ok();
        }
        self.watchdog = None;
        self.resolver = None;
        self.certificates = None;
        // The executors have ended, so that nothing more comes.
        self.rejected = None;
        clean
    }

    /// Whether an executor has ended although nobody stopped it.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
            self.join();
        }
    }
}

/// Differs from process to process.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The cores of the executors.
fn choose_cores(config: &Config) -> Result<Vec<usize>, CoresError> {
    let cores = Usable::read()?.choose(&config.executors.cores)?;
    if let Cores::AtMost(wanted) = config.executors.cores
        && wanted > cores.len()
    {
        tracing::info!(target: "server", "service.io-threads is {wanted}, and {} cores can be used: that many executors", cores.len());
    }
    Ok(cores)
}

/// Binds all ports; which of them speak TLS stands beside each.
fn bind_all(config: &Config) -> Result<Vec<(std::net::TcpListener, Speaks)>, ListenError> {
    let service = &config.service;
    let of_tls = service.tls.iter().map(|tls| (&tls.addresses, &tls.ports, Speaks::Tls));
    let all = std::iter::once((&service.addresses, &service.ports, Speaks::ClearText)).chain(of_tls);
    let mut bound = Vec::new();
    for (addresses, ports, speaks) in all {
        for address in addresses {
            for port in ports {
                bound.push((listen::bind(SocketAddr::new(*address, *port))?, speaks));
            }
        }
    }
    Ok(bound)
}

fn spawn(setup: Setup) -> Result<JoinHandle<()>, StartError> {
    let (ready, started) = sync_channel(1);
    let name = format!("ringpost-{}", setup.index);
    let thread = std::thread::Builder::new().name(name).spawn(move || executor::run(setup, ready))?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(why)) => Err(StartError::Executor(why)),
        Err(_) => Err(StartError::Executor("an executor ended before it had started".to_owned())),
    }
}
