//! A request's body that says what became of it: without it nobody could tell whether a peer that answered early has been
//! sent the rest.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Buf, Bytes};

/// What became of the last bodies of a slot; allocated once per slot and connection.
#[derive(Debug, Default)]
pub(super) struct Sent(Rc<Ends>);

#[derive(Debug, Default)]
struct Ends {
    written: Cell<usize>,
    dropped: Cell<usize>,
}

impl Sent {
    /// Whether that of request `number` was written to its end.
    pub(super) fn is_written(&self, number: usize) -> bool {
        self.0.written.get() == number
    }

    /// Whether that of request `number` was given up before its end.
    pub(super) fn is_dropped(&self, number: usize) -> bool {
        self.0.dropped.get() == number
    }
}

/// The body of one request.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Bytes,
    number: usize,
    ends: Rc<Ends>,
}

impl Body {
    /// Of request `number` in the slot that `sent` belongs to.
    pub(super) fn new(bytes: Bytes, number: usize, sent: &Sent) -> Body {
        Body { bytes, number, ends: Rc::clone(&sent.0) }
    }
}

impl Buf for Body {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.bytes.is_empty() {
            self.ends.written.set(self.number);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.ends.dropped.set(self.number);
        }
    }
}
