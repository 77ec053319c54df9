//! What the tasks of one executor share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::Timer;

use crate::delivery::engine::{Connect, Engine, Wake};
use crate::delivery::table::Key;
use crate::time::{Now, Time};

use super::dial::Dialer;
use super::handover::Post;
use super::turn::Turn;

/// The process's clocks. All executors count from the same origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Counts from the first start in this process.
    pub fn start() -> Clock {
        Clock { origin: *ORIGIN.get_or_init(Instant::now) }
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

/// Where all clocks of the process begin.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// What a [`Clock`] says.
pub fn stopwatch() -> Time {
    Clock::start().monotonic()
}

/// Wakers of tasks by the place of their entry in the engine, with that entry's generation: the task of an entry that
/// is gone may run once more after its place was given away, and must not take the place's new waker with it.
#[derive(Debug, Default)]
struct Wakers(Vec<Option<(u32, Waker)>>);

impl Wakers {
    fn set(&mut self, key: Key, waker: &Waker) {
        let place = key.slot as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, None);
        }
        let Some(entry) = self.0.get_mut(place) else { return };
        let is_known = entry.as_ref().is_some_and(|(generation, known)| {
            // Generations wrap: the newer of two is less than half of all ahead.
            let is_older = key.generation.wrapping_sub(*generation) > u32::MAX / 2;
            is_older || *generation == key.generation && known.will_wake(waker)
        });
        if !is_known {
            *entry = Some((key.generation, waker.clone()));
        }
    }

    fn wake(&self, key: Key) {
        if let Some(Some((generation, waker))) = self.0.get(key.slot as usize)
            && *generation == key.generation
        {
            waker.wake_by_ref();
        }
    }
}

/// How late the tick may be before reading is rationed.
const TICK_SLACK: Duration = Duration::from_millis(5);

/// One executor's engine and what its tasks need besides.
pub struct Shell {
    /// The logic.
    pub engine: RefCell<Engine>,
    /// Time.
    pub clock: Clock,
    /// What reads go into; frames borrow from it, connections keep only what is left of them.
    pub scratch: RefCell<Vec<u8>>,
    /// What a read from a TLS connection holds; it keeps the size of a read.
    pub plain: RefCell<Vec<u8>>,
    /// For tasks that have more to do.
    pub turn: Turn,
    /// Opens connections.
    pub dialer: Dialer,
    /// XDR connections of this executor, as the acceptor counts them.
    pub load: Arc<std::sync::atomic::AtomicUsize>,
    /// Tasks of XDR connections that have not ended.
    pub source_tasks: Cell<usize>,
    /// When the executor's regular tick has to come; later than that, the runtime does not get to its timers.
    pub tick_due: Cell<Time>,
    /// The tick sleeps long, since nothing has to be done in time.
    idle: Cell<bool>,
    /// To the other executors, if records are handed over.
    pub post: Option<Post>,
    beat: RefCell<Option<Waker>>,
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
        dialer: Dialer,
        load: Arc<std::sync::atomic::AtomicUsize>,
        post: Option<Post>,
    ) -> Shell {
        Shell {
            engine: RefCell::new(engine),
            clock,
            scratch: RefCell::new(vec![0; read_bytes]),
            plain: RefCell::default(),
            turn: Turn::default(),
            dialer,
            load,
            post,
            source_tasks: Cell::new(0),
            tick_due: Cell::new(clock.monotonic() + TICK_SLACK),
            idle: Cell::new(false),
            beat: RefCell::default(),
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

    /// Whether a task that has read in turn `last` has to wait for the next one. Tasks that wake each other can keep the
    /// runtime from its timers without any of them doing much at a time: while the tick is overdue each reads once,
    /// then the ring is looked at.
    pub fn has_had_its_turn(&self, last: Option<u64>, now: Time) -> bool {
        self.tick_due.get() < now && last == Some(self.turn.number())
    }

    /// The tick is here; the next one comes `after` this.
    pub fn ticked(&self, now: Time, after: Duration) {
        self.tick_due.set(now + after + TICK_SLACK);
    }

    /// Sleeps until the next tick: for `pause`, or until something has to be done in time if nothing has now.
    pub async fn until_tick(&self, pause: Duration, idle: bool) {
        self.idle.set(idle);
        let mut timer = Timer::new(pause);
        poll_fn(|cx| {
            if idle && !self.idle.get() {
                return Poll::Ready(());
            }
            *self.beat.borrow_mut() = Some(cx.waker().clone());
            Pin::new(&mut timer).poll(cx).map(|_| ())
        })
        .await;
    }

    /// Carries out what the engine asks for: wakes tasks, sends parcels, opens connections.
    pub fn carry_out(&self, engine: &mut Engine) {
        self.carry_out_for(engine, None);
    }

    /// As [`Shell::carry_out`], for a task that has just looked at everything that its own wake would tell it. Were it
    /// woken, it would be runnable at once, and the ring would not be looked at for as long as there is more to read.
    pub fn carry_out_for(&self, engine: &mut Engine, own: Option<Wake>) {
        while let Some(wake) = engine.next_wake() {
            if own == Some(wake) {
                continue;
            }
            match wake {
                Wake::Source(key) => self.sources.borrow().wake(key),
                Wake::Connection(key) => self.connections.borrow().wake(key),
            }
        }
        if let Some(post) = &self.post {
            while let Some((to, parcel)) = engine.next_parcel() {
                post.send(to, parcel);
            }
        }
        let mut connects = self.connects.borrow_mut();
        while let Some(connect) = engine.next_connect() {
            connects.push(connect);
        }
        if self.idle.get() && engine.has_to_be_in_time() {
            self.idle.set(false);
            if let Some(beat) = self.beat.borrow_mut().take() {
                beat.wake();
            }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_look_of_an_ended_task_does_not_take_the_wakes_of_the_next_user_of_its_place() {
        let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
        let (old_key, new_key) = (Key { slot: 3, generation: 7 }, Key { slot: 3, generation: 8 });
        let mut wakers = Wakers::default();
        wakers.set(old_key, &Waker::from(Arc::clone(&old)));
        wakers.wake(old_key);
        wakers.set(new_key, &Waker::from(Arc::clone(&new)));
        wakers.set(old_key, &Waker::from(Arc::clone(&old)));
        wakers.wake(new_key);
        wakers.wake(old_key);
        assert_eq!((old.0.load(Ordering::Relaxed), new.0.load(Ordering::Relaxed)), (1, 1));
    }
}
