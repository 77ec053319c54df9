//! TLS between the socket of an XDR connection and the engine.
//!
//! While the engine does not want to read, nothing is read and so nothing decrypted: what waits here is one record that has
//! not come whole, and acks that are encrypted and not written, no more than one gathering of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::AsyncWrite;
use glommio::net::TcpStream;

use super::source::Written;
use crate::delivery::engine::Engine;
use crate::delivery::table::Key;
use crate::time::{Now, Time};
use crate::tls::edge::RecordEdge;
use crate::tls::session::{Phase, Session};

/// An output buffer above this is given back once it is written: an idle connection keeps next to nothing.
const KEEP_OUTPUT: usize = 4 << 10;

/// One XDR connection's TLS.
#[derive(Debug)]
pub struct Secured {
    session: Session,
    edge: RecordEdge,
    output: Vec<u8>,
    written: usize,
    /// The peer closed, or TLS failed: nothing can be answered any more, and the server sends it again.
    is_over: bool,
}

impl Secured {
    /// A connection that has just been accepted.
    pub fn new(session: Session) -> Secured {
        Secured { session, edge: RecordEdge::default(), output: Vec::new(), written: 0, is_over: false }
    }

    /// Whether nothing of a frame can have come yet.
    pub fn is_handshaking(&self) -> bool {
        self.session.phase() == Phase::Handshaking
    }

    /// Whether the connection is of no use any more.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Says that nothing more comes from here. Whether that is new, so that there is something to write.
    pub fn finish(&mut self) -> bool {
        let is_new = self.session.phase() != Phase::Closed;
        self.session.close();
        is_new
    }

    /// Takes what the socket gave; `plain` is a buffer for what it holds.
    pub fn receive(&mut self, engine: &mut Engine, key: Key, bytes: &[u8], plain: &mut Vec<u8>, now: Now) {
        let was_handshaking = self.is_handshaking();
        plain.clear();
        self.session.receive(bytes, |part| plain.extend_from_slice(part));
        self.edge.pass(bytes);
        if was_handshaking && self.session.phase() == Phase::Open {
            engine.source_secured(key);
        }
        if self.session.phase() == Phase::Open {
            engine.source_record_edge(key, self.edge.is_inside(), now.monotonic);
        }
        if !plain.is_empty() {
            engine.source_receive(key, plain, now);
        }
        if self.session.phase() == Phase::Closed {
            self.ended(engine, key, now.monotonic);
        }
    }

    /// The socket ended.
    pub fn cut(&mut self, engine: &mut Engine, key: Key, now: Time) {
        if !self.session.heard() {
            // A probe.
            return engine.source_ended(key);
        }
        self.session.cut();
        self.ended(engine, key, now);
    }

    fn ended(&mut self, engine: &mut Engine, key: Key, now: Time) {
        match self.session.why() {
            Some(why) => engine.source_insecure(key, why, now),
            None => engine.source_ended(key),
        }
        self.is_over = true;
    }

    /// Encrypts the acks that there are, and writes what there is.
    pub fn write(
        &mut self,
        engine: &mut Engine,
        key: Key,
        stream: &mut TcpStream,
        now: Time,
        cx: &mut Context<'_>,
    ) -> Written {
        loop {
            if self.written == self.output.len() {
                self.gather(engine, key, now);
                if self.output.is_empty() {
                    return Written::All;
                }
            }
            let rest = self.output.get(self.written..).unwrap_or_default();
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    // The peer reads.
                    engine.source_wrote(key, 0);
                }
                Poll::Ready(Err(_)) => return Written::Gone,
                Poll::Pending => {
                    engine.source_stuck(key, now);
                    return Written::Stuck;
                }
            }
        }
    }

    fn gather(&mut self, engine: &mut Engine, key: Key, now: Time) {
        self.output.clear();
        self.written = 0;
        if self.output.capacity() > KEEP_OUTPUT {
            self.output = Vec::new();
        }
        if self.session.phase() == Phase::Open {
            let acks = engine.source_output(key, now);
            let bytes = acks.len();
            if bytes > 0 {
                self.session.write(acks);
                engine.source_wrote(key, bytes);
            }
        }
        self.session.transmit(&mut self.output);
    }
}
