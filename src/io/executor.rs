//! One executor: a thread on its core, a ring, an engine, and the tasks around it.

use std::future::poll_fn;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures_lite::AsyncRead;
use glommio::net::{TcpStream, UnixStream};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::control::{MESSAGE_BYTES, Message, Speaks};
use super::dial::Dialer;
use super::figures::{PUBLISH_EVERY, Publisher};
use super::handover::{self, Post};
use super::rejected::Link;
use super::resolve::Addresses;
use super::secured::Secured;
use super::shell::{Clock, Shell};
use super::tap;
use super::watchdog::Heartbeat;
use super::{source, sys};
use crate::config::model::Config;
use crate::delivery::engine::{Engine, SharedLimits};
use crate::metrics::snapshot::Snapshot;
use crate::time::Time;
use crate::tls::ServerTls;
use crate::tls::session::Session;

/// The runtime's preemption timer parks an executor that has runnable tasks (`performance.md`, "glommio 0.9.0"):
/// so it never fires in practice, and loops yield by their own budgets.
const PREEMPTION: Duration = Duration::from_secs(3600);

/// The runtime's pool of buffers for file I/O, which nothing here uses; the default is 10 MiB for each executor.
const IO_MEMORY: usize = 64 * 1024;

/// Entries of a ring. At 128, the default, the runtime interrupts itself after as many completions.
const RING_DEPTH: usize = 1024;

/// Bytes of one read from an XDR connection unless `socket-receive-buffer-bytes` says otherwise.
const READ_BYTES: usize = 256 * 1024;

/// After its drain deadline an executor waits this long for peers to take their last acks.
const AFTER_DRAIN: Duration = Duration::from_secs(2);

/// What an executor is made from.
pub struct Setup {
    /// Its place among the executors.
    pub index: usize,
    /// Its core, if it is pinned.
    pub core: Option<usize>,
    /// The configuration.
    pub config: Arc<Config>,
    /// What executors share.
    pub shared: SharedLimits,
    /// The process's clock.
    pub clock: Clock,
    /// Its messages.
    pub control: std::os::unix::net::UnixStream,
    /// Its XDR connections, as the acceptor counts them.
    pub load: Arc<std::sync::atomic::AtomicUsize>,
    /// Its pulse.
    pub heartbeat: Arc<Heartbeat>,
    /// Where it publishes its figures.
    pub publisher: Publisher,
    /// Addresses of the endpoints.
    pub addresses: Arc<Addresses>,
    /// Where rejected frames go, if they are kept.
    pub rejected: Option<Link>,
    /// TLS of the ports that speak it.
    pub tls: Option<Arc<ServerTls>>,
    /// Its end of the taps.
    pub tap: tap::Link,
    /// Its end of the hand-over between executors, if records are handed over.
    pub handover: Option<handover::Setup>,
}

/// Runs an executor on the calling thread until it has drained. `ready` is told whether it could start.
pub fn run(setup: Setup, ready: SyncSender<Result<(), String>>) {
    let started = start(&setup);
    let (executor, engine) = match started {
        Ok(started) => started,
        Err(why) => {
            let _ = ready.send(Err(why));
            return;
        }
    };
    // An executor that panics ends by itself, and the main thread says so: it is not one that stands still.
    let _end = EndOfPulse(Arc::clone(&setup.heartbeat));
    let _ = ready.send(Ok(()));
    executor.run(serve(setup, engine));
}

/// Tells the watchdog that the executor has ended, in whichever way.
struct EndOfPulse(Arc<Heartbeat>);

impl Drop for EndOfPulse {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn start(setup: &Setup) -> Result<(LocalExecutor, Engine), String> {
    if let Some(core) = setup.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        return Err(format!(
            "executor {} cannot be pinned to core {core}; set executors.pin to false, or leave that core out of executors.cores",
            setup.index
        ));
    }
    let engine = Engine::new(&setup.config, &setup.shared, setup.index).map_err(|error| error.to_string())?;
    // The runtime spins (`busy-poll`) only on a thread that it has bound itself.
    let placement = setup.core.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name("ringpost")
        .preempt_timer(PREEMPTION)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .spin_before_park(setup.config.executors.busy_poll)
        .make()
        .map_err(|error| format!("executor {}: io_uring: {error}", setup.index))?;
    Ok((executor, engine))
}

async fn serve(setup: Setup, engine: Engine) {
    let read_bytes = setup.config.service.socket_receive_buffer_bytes.map_or(READ_BYTES, |bytes| bytes as usize);
    let endpoints = setup.config.destinations.iter().map(|destination| destination.urls.len()).sum();
    let dialer = Dialer::new(setup.addresses, endpoints, setup.index, setup.config.limits.record_deadline);
    let (post, wakes) = setup.handover.map(handover::Setup::start).unzip();
    let shell = Rc::new(Shell::new(engine, setup.clock, read_bytes, dialer, setup.load, post));
    let keeper = {
        let shell = Rc::clone(&shell);
        glommio::spawn_local(async move { shell.turn.keep().await })
    };
    let opener = glommio::spawn_local(Rc::clone(&shell).open_connections());
    let messages = glommio::spawn_local(take_messages(Rc::clone(&shell), setup.control, setup.tls));
    let parcels = wakes.map(|wakes| glommio::spawn_local(handover::receive(Rc::clone(&shell), wakes)));
    beat(&shell, &setup.heartbeat, setup.publisher, setup.rejected, setup.tap).await;
    if let Some(parcels) = parcels {
        parcels.cancel().await;
    }
    messages.cancel().await;
    opener.cancel().await;
    keeper.cancel().await;
}

/// Ticks until the executor has drained.
async fn beat(
    shell: &Rc<Shell>,
    heartbeat: &Heartbeat,
    mut publisher: Publisher,
    mut rejected: Option<Link>,
    mut tap: tap::Link,
) {
    let mut published = shell.clock.monotonic();
    loop {
        let (pause, idle) = {
            let mut engine = shell.engine.borrow_mut();
            let now = shell.clock.monotonic();
            engine.tick(now);
            shell.dialer.tell_outdated(&mut engine, now);
            if let Some(link) = &mut rejected {
                link.exchange(&mut engine);
            }
            tap.exchange(&mut engine);
            shell.carry_out(&mut engine);
            if now.since(published) >= PUBLISH_EVERY
                && publisher.publish(|snapshot| take_snapshot(&mut engine, snapshot, now))
            {
                published = now;
            }
            let late = engine.drain_until().is_some_and(|until| until + AFTER_DRAIN <= now);
            let is_drained = engine.is_drained() && shell.source_tasks.get() == 0;
            if late || is_drained && shell.post.as_ref().is_none_or(Post::may_end) {
                return publisher.publish_last(|snapshot| take_snapshot(&mut engine, snapshot, now));
            }
            (engine.next_tick(now), !engine.has_to_be_in_time())
        };
        heartbeat.beat();
        shell.ticked(shell.clock.monotonic(), pause);
        shell.until_tick(pause, idle).await;
    }
}

fn take_snapshot(engine: &mut Engine, snapshot: &mut Snapshot, now: Time) {
    engine.publish(snapshot);
    snapshot.taken = now;
    snapshot.cpu = sys::thread_cpu_time();
}

/// Takes connections from the acceptors until their end says that the executor is to drain.
async fn take_messages(shell: Rc<Shell>, control: std::os::unix::net::UnixStream, tls: Option<Arc<ServerTls>>) {
    // SAFETY: the descriptor was owned by `control` and is owned by the stream from here on.
    let mut stream = unsafe { UnixStream::from_raw_fd(control.into_raw_fd()) };
    let mut bytes = [0; MESSAGE_BYTES];
    let mut filled = 0;
    loop {
        let read = poll_fn(|cx| {
            let rest = bytes.get_mut(filled..).unwrap_or_default();
            Pin::new(&mut stream).poll_read(cx, rest)
        })
        .await;
        match read {
            Ok(0) | Err(_) => return drain(&shell),
            Ok(count) => filled += count,
        }
        if filled < MESSAGE_BYTES {
            continue;
        }
        filled = 0;
        match Message::decode(bytes) {
            Some(Message::Serve(fd, Speaks::ClearText)) => open_source(&shell, fd, None),
            // A connection takes the settings of now; open ones keep theirs. Without settings nothing listens there.
            Some(Message::Serve(fd, Speaks::Tls)) => match &tls {
                Some(tls) => open_source(&shell, fd, Some(Secured::new(Session::server(tls.config())))),
                None => drop(sys::adopt::<std::net::TcpStream>(fd)),
            },
            None => {}
        }
    }
}

fn drain(shell: &Rc<Shell>) {
    let mut engine = shell.engine.borrow_mut();
    engine.drain(shell.clock.monotonic());
    shell.carry_out(&mut engine);
}

fn open_source(shell: &Rc<Shell>, fd: i32, secured: Option<Secured>) {
    let stream: TcpStream = sys::adopt(fd);
    let fd = stream.as_raw_fd();
    let fd = sys::borrow_fd(&fd);
    let socket = socket2::SockRef::from(&fd);
    let address = |address: std::io::Result<socket2::SockAddr>| address.ok().and_then(|address| address.as_socket());
    // Without an address the peer has gone already.
    let ends = address(socket.peer_addr()).zip(address(socket.local_addr()));
    let key = ends.and_then(|(peer, local)| shell.engine.borrow_mut().source_open(peer, local.port()));
    match key {
        Some(key) => {
            shell.source_tasks.set(shell.source_tasks.get() + 1);
            if secured.is_some() {
                shell.engine.borrow_mut().source_handshake_begins(key, shell.clock.monotonic());
            }
            glommio::spawn_local(source::run(Rc::clone(shell), key, stream, secured)).detach();
        }
        None => {
            shell.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
