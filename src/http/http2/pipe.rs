//! An in-memory stand-in for the socket that the `h2` crate wants to own.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both directions. It wakes nobody: the exchange polls the crate after each change.
#[derive(Debug)]
pub(super) struct Pipe {
    input: Vec<u8>,
    read: usize,
    ended: bool,
    /// What the crate wrote and nobody took.
    pub(super) output: Vec<u8>,
    high_water: usize,
    /// The crate has more to write than fits.
    pub(super) blocked: bool,
    discard: bool,
}

/// The crate's end of the pipe.
#[derive(Debug)]
pub(super) struct PipeEnd(pub(super) Rc<RefCell<Pipe>>);

impl Pipe {
    pub(super) fn new(high_water: usize) -> Pipe {
        Pipe {
            input: Vec::new(),
            read: 0,
            ended: false,
            output: Vec::new(),
            high_water: high_water.max(1),
            blocked: false,
            discard: false,
        }
    }

    /// Adds bytes for the crate to read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.read == self.input.len() {
            self.input.clear();
            self.read = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Bytes that the crate has not read.
    pub(super) fn unread(&self) -> usize {
        self.input.len() - self.read
    }

    /// Whether [`Pipe::end`] was called.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The crate reads the end of the stream after what is left, and what it writes is dropped.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.discard = true;
        self.output = Vec::new();
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.discard {
            return bytes.len();
        }
        let taken = bytes.len().min(self.high_water.saturating_sub(self.output.len()));
        self.output.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        taken
    }

    fn written(&mut self, taken: usize) -> Poll<io::Result<usize>> {
        if taken == 0 {
            self.blocked = true;
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for PipeEnd {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.0.borrow_mut();
        let rest = pipe.input.get(pipe.read..).unwrap_or_default();
        let taken = rest.len().min(buf.remaining());
        if taken == 0 && !pipe.ended {
            return Poll::Pending;
        }
        buf.put_slice(rest.get(..taken).unwrap_or_default());
        pipe.read += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        let taken = pipe.write(buf);
        pipe.written(taken)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        let mut total = 0;
        for slice in slices {
            let taken = pipe.write(slice);
            total += taken;
            if taken < slice.len() {
                break;
            }
        }
        pipe.written(total)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
