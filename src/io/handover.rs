//! Parcels between executors, with `record-ordering` and more than one of them.
//!
//! A queue behind a lock for each executor, taken once for each parcel (the records of a read, or the codes of one), and
//! a byte over a socket pair when it was empty: the runtime's wakers must not leave their thread.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_lite::AsyncRead;

use super::shell::Shell;
use crate::delivery::handover::Parcel;

/// Wake bytes that are read at a time.
const WAKES: usize = 64;

/// What has been sent to one executor. Bounded by what the engines may have handed over ([`Parcel`]).
#[derive(Debug)]
struct Mailbox {
    parcels: Mutex<VecDeque<(usize, Parcel)>>,
    wake: UnixStream,
}

/// What all executors share.
#[derive(Debug)]
struct Office {
    boxes: Vec<Mailbox>,
    /// Executors that run and have connections, or may get some.
    busy: AtomicUsize,
}

/// One executor's end, on its way to its thread.
#[derive(Debug)]
pub struct Setup {
    index: usize,
    office: Arc<Office>,
    wakes: UnixStream,
}

/// One executor's end.
#[derive(Debug)]
pub struct Post {
    index: usize,
    office: Arc<Office>,
    is_busy: Cell<bool>,
}

/// An end for each of `executors` executors.
pub fn connect(executors: usize) -> io::Result<Vec<Setup>> {
    let mut boxes = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..executors {
        let (wake, wakes) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        wakes.set_nonblocking(true)?;
        boxes.push(Mailbox { parcels: Mutex::default(), wake });
        ends.push(wakes);
    }
    let office = Arc::new(Office { boxes, busy: AtomicUsize::new(0) });
    let setup = |(index, wakes)| Setup { index, office: Arc::clone(&office), wakes };
    Ok(ends.into_iter().enumerate().map(setup).collect())
}

impl Setup {
    /// On the executor's own thread: the end, and what tells it that parcels have come.
    pub fn start(self) -> (Post, UnixStream) {
        self.office.busy.fetch_add(1, Ordering::AcqRel);
        (Post { index: self.index, office: self.office, is_busy: Cell::new(true) }, self.wakes)
    }
}

impl Post {
    /// Sends a parcel to executor `to`. Never waits for it.
    pub fn send(&self, to: usize, parcel: Parcel) {
        let Some(mailbox) = self.office.boxes.get(to) else { return };
        let was_empty = {
            let mut parcels = mailbox.parcels.lock().unwrap_or_else(PoisonError::into_inner);
            parcels.push_back((self.index, parcel));
            parcels.len() == 1
        };
        if was_empty {
            // A full pair holds bytes that nobody has read yet, which do as well; an executor that has ended needs none.
            let _ = (&mailbox.wake).write(&[1]);
        }
    }

    fn take(&self) -> VecDeque<(usize, Parcel)> {
        let Some(mailbox) = self.office.boxes.get(self.index) else { return VecDeque::new() };
        std::mem::take(&mut *mailbox.parcels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This executor drains and has no connection any more. Whether no executor has one: until then this one may be sent
    /// records, and codes that it owes are waited for.
    pub fn may_end(&self) -> bool {
        self.rest();
        self.office.busy.load(Ordering::Acquire) == 0
    }

    fn rest(&self) {
        if self.is_busy.replace(false) {
            self.office.busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// However the executor ends, the others do not wait for it.
impl Drop for Post {
    fn drop(&mut self) {
        self.rest();
    }
}

/// Gives parcels to the engine for as long as the executor runs.
pub async fn receive(shell: Rc<Shell>, wakes: UnixStream) {
    // SAFETY: the descriptor was owned by `wakes` and is owned by the stream from here on.
    let mut stream = unsafe { glommio::net::UnixStream::from_raw_fd(wakes.into_raw_fd()) };
    let mut parcels = VecDeque::new();
    let mut bytes = [0; WAKES];
    loop {
        let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut bytes)).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let Some(post) = &shell.post else { return };
        parcels.extend(post.take());
        let mut waited = true;
        // A parcel is what one read gave: the ring is looked at before the next one.
        while !parcels.is_empty() {
            if !std::mem::replace(&mut waited, false) {
                let mut is_due = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut is_due, true) {
                        return Poll::Ready(());
                    }
                    shell.turn.after(cx.waker());
                    Poll::Pending
                })
                .await;
            }
            let Some((from, parcel)) = parcels.pop_front() else { break };
            let mut engine = shell.engine.borrow_mut();
            engine.take_parcel(from, parcel, shell.clock.monotonic());
            shell.carry_out(&mut engine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parcels_come_in_order_and_one_byte_tells_of_them() {
        use std::io::Read;
        let mut ends = connect(2).unwrap().into_iter().map(Setup::start).collect::<Vec<_>>();
        let (second, mut wakes) = ends.pop().unwrap();
        let (first, _) = ends.pop().unwrap();
        for _ in 0..3 {
            first.send(1, Parcel::default());
        }
        let mut bytes = [0; 8];
        assert_eq!(wakes.read(&mut bytes).unwrap(), 1);
        assert_eq!(second.take().len(), 3);
        first.send(1, Parcel::default());
        assert_eq!(wakes.read(&mut bytes).unwrap(), 1);
        assert_eq!(first.take().len(), 0);
    }

    #[test]
    fn nobody_ends_before_all_have_come_to_rest_and_one_that_is_gone_is_not_waited_for() {
        let mut ends = connect(3).unwrap().into_iter().map(|setup| setup.start().0).collect::<Vec<_>>();
        let (third, second, first) = (ends.pop().unwrap(), ends.pop().unwrap(), ends.pop().unwrap());
        assert!(!first.may_end());
        assert!(!first.may_end(), "to ask twice is to rest once");
        assert!(!second.may_end());
        drop(third);
        assert!(first.may_end() && second.may_end());
    }
}
