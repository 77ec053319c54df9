//! Wakers that set a bit, so that only streams with news are polled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// One bit per slot. The atomics are what `Waker` asks for; only one thread touches them, so they never contend.
#[derive(Debug)]
pub(super) struct ReadySet {
    words: Box<[AtomicU64]>,
}

impl ReadySet {
    pub(super) fn new(slots: usize) -> Arc<ReadySet> {
        Arc::new(ReadySet { words: (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() })
    }

    /// Number of words, for [`ReadySet::take`].
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// Marks a slot.
    pub(super) fn insert(&self, slot: u32) {
        if let Some(word) = self.words.get(slot as usize / 64) {
            word.fetch_or(1 << (slot % 64), Ordering::Relaxed);
        }
    }

    /// Takes the marks of 64 slots.
    pub(super) fn take(&self, word: usize) -> u64 {
        match self.words.get(word) {
            Some(word) if word.load(Ordering::Relaxed) != 0 => word.swap(0, Ordering::Relaxed),
            _ => 0,
        }
    }
}

/// Wakes one slot; allocated once per slot and connection.
#[derive(Debug)]
pub(super) struct SlotWaker {
    set: Arc<ReadySet>,
    slot: u32,
}

impl SlotWaker {
    pub(super) fn waker(set: &Arc<ReadySet>, slot: u32) -> Waker {
        Waker::from(Arc::new(SlotWaker { set: set.clone(), slot }))
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // `fetch_or`, not load and store: a waker may in principle be carried to another thread.
        if let Some(word) = self.set.words.get(self.slot as usize / 64) {
            word.fetch_or(1 << (self.slot % 64), Ordering::Relaxed);
        }
    }
}

/// Says that the connection itself wants to be polled.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}
