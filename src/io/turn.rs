//! Lets the ring be looked at.
//!
//! The runtime looks at its ring, and at its timers, when no task is runnable. A task that has more to do and wakes
//! itself is always runnable: then no completion, no timer and no heartbeat is seen until it stops. Such a task waits
//! for the next turn instead: all other tasks run, the ring is looked at once, then it goes on.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

/// Long enough that the timer is registered before it has passed, short enough to be nothing.
const SHORTLY: Duration = Duration::from_micros(2);

/// Tasks that wait for the ring to be looked at.
#[derive(Debug, Default)]
pub struct Turn {
    waiting: RefCell<Vec<Waker>>,
    number: Cell<u64>,
    keeper: RefCell<Option<Waker>>,
}

impl Turn {
    /// Wakes `waker` when the ring has been looked at.
    pub fn after(&self, waker: &Waker) {
        self.waiting.borrow_mut().push(waker.clone());
        if let Some(keeper) = self.keeper.borrow_mut().take() {
            keeper.wake();
        }
    }

    /// Counts the times that the ring was looked at for those who wait.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// The task that ends turns. Runs for as long as the executor does.
    pub async fn keep(&self) {
        loop {
            poll_fn(|cx| {
                if self.waiting.borrow().is_empty() {
                    *self.keeper.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            look_at_ring().await;
            self.number.set(self.number.get().wrapping_add(1));
            for waker in self.waiting.borrow_mut().drain(..) {
                waker.wake();
            }
        }
    }
}

/// Ends when the runtime has looked at its ring and timers at least once.
async fn look_at_ring() {
    let mut timer = Timer::new(SHORTLY);
    let mut registered = false;
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut timer).poll(cx) {
                Poll::Pending => {
                    registered = true;
                    return Poll::Pending;
                }
                Poll::Ready(_) if registered => return Poll::Ready(()),
                // It had passed before it was registered: the ring was not looked at for it.
                Poll::Ready(_) => timer = Timer::new(SHORTLY * 10),
            }
        }
    })
    .await;
}
