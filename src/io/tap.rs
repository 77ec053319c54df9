//! Taps between the manage port and the executors: nobody waits for anybody.
//!
//! A tap has one inbox for each executor. An executor looks at the number of changes in its tick, and at the taps when that
//! has changed; it puts lines into inboxes under locks that it only tries, and what finds an inbox full is counted. Whoever
//! reads an inbox holds its lock for as long as it takes to move a pointer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::figures::try_lock;
use super::manage::places::Place;
use crate::admin::tap::Asked;
use crate::delivery::engine::Engine;
use crate::delivery::tap::{Event, Filter, MOST_TAPS, QUEUE, QUEUE_BYTES};

/// How often a tap's inboxes are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes that are handed to a connection at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes of lines that wait for one tap in the inboxes of all executors; each may go beyond its part by one line. As many
/// were taken out of them, and wait for the reader.
const TAP_BYTES: usize = 16 << 20;

/// Lines of one executor for one tap.
#[derive(Debug)]
struct Inbox {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes that it may have.
    most: usize,
    missed: u64,
}

impl Inbox {
    /// One of so many.
    fn of(executors: usize) -> Inbox {
        let most = QUEUE_BYTES.min(TAP_BYTES / executors.max(1));
        Inbox { lines: VecDeque::new(), bytes: 0, most, missed: 0 }
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= QUEUE || self.bytes >= self.most
    }

    /// Its lines, and how many more were wanted.
    fn empty(&mut self) -> (VecDeque<Bytes>, u64) {
        self.bytes = 0;
        (std::mem::take(&mut self.lines), std::mem::take(&mut self.missed))
    }

    fn put(&mut self, line: &Bytes) {
        if self.is_full() {
            self.missed += 1;
        } else {
            self.bytes += line.len();
            self.lines.push_back(line.clone());
        }
    }
}

/// One tap.
#[derive(Debug)]
struct Tap {
    id: u64,
    filter: Filter,
    /// By executor.
    inboxes: Vec<Mutex<Inbox>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Grows with each change of the taps.
    changes: AtomicU64,
    taps: Mutex<Vec<Arc<Tap>>>,
    named: AtomicU64,
    executors: usize,
}

/// All taps of a process.
#[derive(Debug, Clone, Default)]
pub struct Hub(Arc<Shared>);

impl Hub {
    /// For so many executors.
    pub fn new(executors: usize) -> Hub {
        Hub(Arc::new(Shared { executors, ..Shared::default() }))
    }

    /// An executor's end.
    pub fn link(&self, executor: usize) -> Link {
        Link { hub: self.clone(), executor, seen: 0, taps: Vec::new() }
    }

    /// Begins a tap; `None` when there are [`MOST_TAPS`]. It ends when what is given is dropped. `listening`: it ends, too,
    /// when this becomes false.
    pub fn begin(&self, asked: &Asked, listening: Arc<AtomicBool>) -> Option<Stream> {
        let mut taps = self.taps();
        if taps.len() >= MOST_TAPS {
            return None;
        }
        let id = self.0.named.fetch_add(1, Ordering::Relaxed);
        let inboxes = (0..self.0.executors).map(|_| Mutex::new(Inbox::of(self.0.executors))).collect();
        let tap = Arc::new(Tap { id, filter: asked.filter.clone(), inboxes });
        taps.push(Arc::clone(&tap));
        self.0.changes.fetch_add(1, Ordering::Release);
        drop(taps);
        Some(Stream {
            hub: self.clone(),
            tap,
            until: Instant::now() + asked.time,
            left: asked.limit,
            listening,
            look: Box::pin(tokio::time::sleep(Duration::ZERO)),
            lines: VecDeque::new(),
            shown: 0,
            missed: 0,
            is_over: false,
            place: None,
        })
    }

    fn taps(&self) -> MutexGuard<'_, Vec<Arc<Tap>>> {
        self.0.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One executor's end.
#[derive(Debug)]
pub struct Link {
    hub: Hub,
    executor: usize,
    /// The number of changes that it knows of.
    seen: u64,
    taps: Vec<Arc<Tap>>,
}

impl Link {
    /// Takes over which taps there are, and hands lines over, without waiting. To be called in each tick.
    pub fn exchange(&mut self, engine: &mut Engine) {
        let changes = self.hub.0.changes.load(Ordering::Acquire);
        if changes != self.seen
            && let Some(taps) = try_lock(&self.hub.0.taps)
        {
            self.seen = changes;
            self.taps.clone_from(&taps);
            drop(taps);
            let filters: Vec<(u64, Filter)> = self.taps.iter().map(|tap| (tap.id, tap.filter.clone())).collect();
            engine.set_taps(self.executor, &filters);
        }
        if self.taps.is_empty() {
            return;
        }
        let inboxes = self.taps.iter().map(|tap| Some((tap.id, try_lock(tap.inboxes.get(self.executor)?)?)));
        // A reader that has one of them just now is done in a moment: then all have their turn in the next tick.
        let Some(mut inboxes) = inboxes.collect::<Option<Vec<_>>>() else { return };
        while let Some(Event { taps, line }) = engine.next_tapped() {
            inboxes.iter_mut().filter(|(id, _)| taps.contains(id)).for_each(|(_, inbox)| inbox.put(&line));
        }
        engine.take_missed(|id, missed| {
            if let Some((_, inbox)) = inboxes.iter_mut().find(|(known, _)| *known == id) {
                inbox.missed += missed;
            }
        });
        for (id, inbox) in &inboxes {
            engine.set_tap_full(*id, inbox.is_full());
        }
    }
}

/// The lines of a tap, as the body of an answer.
#[derive(Debug)]
pub struct Stream {
    hub: Hub,
    tap: Arc<Tap>,
    until: Instant,
    /// Lines that may still be shown.
    left: u64,
    listening: Arc<AtomicBool>,
    look: Pin<Box<Sleep>>,
    /// Taken out of the inboxes, and not handed out.
    lines: VecDeque<Bytes>,
    shown: u64,
    missed: u64,
    is_over: bool,
    /// Of its connection.
    place: Option<Rc<Place>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.tapped();
        }
        self.hub.taps().retain(|tap| tap.id != self.tap.id);
        self.hub.0.changes.fetch_add(1, Ordering::Release);
    }
}

impl Stream {
    /// Its connection is not ended for another one while it lasts.
    pub fn stands_at(&mut self, place: Rc<Place>) {
        place.taps();
        self.place = Some(place);
    }

    fn take_lines(&mut self) {
        for inbox in &self.tap.inboxes {
            let (lines, missed) = inbox.lock().unwrap_or_else(PoisonError::into_inner).empty();
            self.missed += missed;
            self.lines.extend(lines);
        }
    }

    /// Lines for a connection, as many as may be handed out at a time.
    fn piece(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        while self.left > 0
            && piece.len() < PIECE_BYTES
            && let Some(line) = self.lines.pop_front()
        {
            piece.extend_from_slice(&line);
            self.left -= 1;
            self.shown += 1;
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }

    /// Why it is over, if it is.
    fn end(&self) -> Option<&'static str> {
        if self.left == 0 {
            Some("limit")
        } else if !self.listening.load(Ordering::Acquire) {
            Some("stopping")
        } else if self.until <= Instant::now() {
            Some("seconds")
        } else {
            None
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = self.piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let end = self.end();
            self.take_lines();
            if let Some(end) = end {
                self.is_over = true;
                // Those that wait here and are not shown were wanted, too.
                let (shown, missed) = (self.shown, self.missed + self.lines.len() as u64);
                let line = format!("{{\"end\":\"{end}\",\"shown\":{shown},\"missed\":{missed}}}\n");
                return Poll::Ready(Some(Ok(Frame::data(line.into()))));
            }
            if self.lines.is_empty() {
                if self.look.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let next = Instant::now() + LOOK;
                self.look.as_mut().reset(next);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_tap_is_bounded_for_all_executors_together() {
        let line = Bytes::from(vec![b'x'; 100_000]);
        for executors in [1, 4, 64, 1000] {
            let mut waiting = 0;
            for _ in 0..executors {
                let mut inbox = Inbox::of(executors);
                (0..500).for_each(|_| inbox.put(&line));
                waiting += inbox.bytes;
                let (lines, missed) = inbox.empty();
                assert!(!lines.is_empty(), "each has room for a line");
                assert_eq!(lines.len() as u64 + missed, 500);
                assert!(!inbox.is_full());
                assert_eq!(inbox.most, Inbox::of(executors).most, "and has its bound when it was emptied");
            }
            assert!(waiting <= TAP_BYTES + executors * line.len(), "{waiting} for {executors}");
        }
    }
}
