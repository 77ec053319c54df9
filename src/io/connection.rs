//! The task of one connection to an endpoint.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;

use super::shell::Shell;
use crate::delivery::engine::{Connect, Wake};
use crate::delivery::table::Key;

/// Reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 4;

/// Bytes of one read. Answers are short; a peer that floods with the smallest frames takes the executor for as long as all of
/// its turn needs, and nobody else is served meanwhile.
const READ_BYTES: usize = 32 * 1024;

/// Output buffers that grew beyond this are given back once they are written.
const KEEP_OUTPUT: usize = 64 * 1024;

/// Bytes on their way to the socket, and when it was read.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// The socket takes nothing more. What the peer said before it closed is still read: it may be the answer, or the
    /// GOAWAY that says which requests it never looked at.
    broken: bool,
    /// The turn in which the connection was last read.
    turn: Option<u64>,
}

/// Opens the connection that the engine asked for, and serves it until it ends.
pub async fn run(shell: Rc<Shell>, connect: Connect) {
    let key = connect.connection;
    let opened = shell.dialer.open(connect, shell.clock).await;
    match opened {
        Ok(mut stream) => {
            with_engine(&shell, |engine, now| engine.connection_opened(key, now));
            let mut output = Output::default();
            poll_fn(|cx| serve(&shell, key, &mut stream, &mut output, cx)).await;
            drop(stream);
            shell.dialer.closed(key);
            with_engine(&shell, |engine, now| engine.connection_closed(key, now));
        }
        Err(why) => with_engine(&shell, |engine, now| engine.connection_failed(key, &why, now)),
    }
}

fn with_engine(shell: &Rc<Shell>, call: impl FnOnce(&mut crate::delivery::engine::Engine, crate::time::Time)) {
    let mut engine = shell.engine.borrow_mut();
    call(&mut engine, shell.clock.monotonic());
    shell.carry_out(&mut engine);
}

fn serve(shell: &Rc<Shell>, key: Key, stream: &mut TcpStream, output: &mut Output, cx: &mut Context<'_>) -> Poll<()> {
    shell.watch_connection(key, cx.waker());
    let mut engine = shell.engine.borrow_mut();
    let mut reads = 0;
    let end = loop {
        // What is not handed out to a broken socket was certainly not processed.
        while !output.broken {
            if output.written == output.bytes.len() {
                output.bytes.clear();
                output.written = 0;
                if output.bytes.capacity() > KEEP_OUTPUT {
                    output.bytes = Vec::new();
                }
                engine.connection_output(key, &mut output.bytes);
            }
            let rest = output.bytes.get(output.written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(bytes)) => output.written += bytes,
                Poll::Ready(Err(_)) => output.broken = true,
                Poll::Pending => break,
            }
        }
        // What could not be written by now is a farewell that the peer does not wait for.
        if engine.connection_is_over(key) {
            break Poll::Ready(());
        }
        if reads == READS_PER_TURN || reads == 0 && shell.has_had_its_turn(output.turn, shell.clock.monotonic()) {
            shell.turn.after(cx.waker());
            break Poll::Pending;
        }
        let mut scratch = shell.scratch.borrow_mut();
        let room = scratch.len().min(READ_BYTES);
        match Pin::new(&mut *stream).poll_read(cx, scratch.get_mut(..room).unwrap_or_default()) {
            Poll::Pending => break Poll::Pending,
            Poll::Ready(Ok(bytes)) if bytes > 0 => {
                engine.connection_receive(key, scratch.get(..bytes).unwrap_or_default(), shell.clock.monotonic());
            }
            // After a failed write the end may be that of a reset, too: the write took the error.
            Poll::Ready(Ok(_)) if !output.broken => {
                engine.connection_ended(key, shell.clock.monotonic());
                break Poll::Ready(());
            }
            Poll::Ready(_) => {
                engine.connection_broken(key, shell.clock.monotonic());
                break Poll::Ready(());
            }
        }
        reads += 1;
        output.turn = Some(shell.turn.number());
    };
    shell.carry_out_for(&mut engine, Some(Wake::Connection(key)));
    end
}
