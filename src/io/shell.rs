//! What the tasks of one executor share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::delivery::engine::{Connect, Engine, Wake};
use crate::delivery::table::Key;
use crate::time::{Now, Time};

use super::resolve::Addresses;
use super::turn::Turn;

/// The process's clocks. All executors count from the same origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Counts from now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: self.monotonic(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Time {
        Time::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Wakers of tasks by the place of their entry in the engine.
#[derive(Debug, Default)]
struct Wakers(Vec<Option<Waker>>);

impl Wakers {
    fn set(&mut self, key: Key, waker: &Waker) {
        let place = key.slot as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, None);
        }
        if let Some(entry) = self.0.get_mut(place)
            && !entry.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            *entry = Some(waker.clone());
        }
    }

    fn wake(&self, key: Key) {
        if let Some(Some(waker)) = self.0.get(key.slot as usize) {
            waker.wake_by_ref();
        }
    }
}

/// One executor's engine and what its tasks need besides.
pub struct Shell {
    /// The logic.
    pub engine: RefCell<Engine>,
    /// Time.
    pub clock: Clock,
    /// What reads go into; frames borrow from it, connections keep only what is left of them.
    pub scratch: RefCell<Vec<u8>>,
    /// For tasks that have more to do.
    pub turn: Turn,
    /// Addresses of the endpoints.
    pub addresses: Arc<Addresses>,
    /// XDR connections of this executor, as the acceptor counts them.
    pub load: Arc<std::sync::atomic::AtomicUsize>,
    /// Tasks of XDR connections that have not ended.
    pub source_tasks: Cell<usize>,
    sources: RefCell<Wakers>,
    connections: RefCell<Wakers>,
    connects: RefCell<Vec<Connect>>,
    opener: RefCell<Option<Waker>>,
}

impl Shell {
    /// The shell around `engine`.
    pub fn new(
        engine: Engine,
        clock: Clock,
        read_bytes: usize,
        addresses: Arc<Addresses>,
        load: Arc<std::sync::atomic::AtomicUsize>,
    ) -> Shell {
        Shell {
            engine: RefCell::new(engine),
            clock,
            scratch: RefCell::new(vec![0; read_bytes]),
            turn: Turn::default(),
            addresses,
            load,
            source_tasks: Cell::new(0),
            sources: RefCell::default(),
            connections: RefCell::default(),
            connects: RefCell::default(),
            opener: RefCell::default(),
        }
    }

    /// Remembers whom to wake for a source.
    pub fn watch_source(&self, key: Key, waker: &Waker) {
        self.sources.borrow_mut().set(key, waker);
    }

    /// Remembers whom to wake for a connection.
    pub fn watch_connection(&self, key: Key, waker: &Waker) {
        self.connections.borrow_mut().set(key, waker);
    }

    /// Carries out what the engine asks for: wakes tasks, opens connections.
    pub fn carry_out(&self, engine: &mut Engine) {
        while let Some(wake) = engine.next_wake() {
            match wake {
                Wake::Source(key) => self.sources.borrow().wake(key),
                Wake::Connection(key) => self.connections.borrow().wake(key),
            }
        }
        let mut connects = self.connects.borrow_mut();
        while let Some(connect) = engine.next_connect() {
            connects.push(connect);
        }
        if !connects.is_empty()
            && let Some(opener) = self.opener.borrow_mut().take()
        {
            opener.wake();
        }
    }

    /// The task that opens connections. A task of its own, since the runtime runs a new task at once, inside the call
    /// that makes it, and that task needs the engine.
    pub async fn open_connections(self: Rc<Self>) {
        loop {
            let connect = poll_fn(|cx| match self.connects.borrow_mut().pop() {
                Some(connect) => Poll::Ready(connect),
                None => {
                    *self.opener.borrow_mut() = Some(cx.waker().clone());
                    Poll::Pending
                }
            })
            .await;
            glommio::spawn_local(super::connection::run(Rc::clone(&self), connect)).detach();
        }
    }
}
