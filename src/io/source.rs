//! The task of one XDR connection.

use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;

use super::secured::Secured;
use super::shell::Shell;
use crate::delivery::engine::{Engine, Input, Wake};
use crate::delivery::table::Key;
use crate::time::Time;

/// Reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 1;

/// How long a finished connection is read, so that bytes which nobody wants do not turn the close into a reset that
/// destroys acks on their way.
const LINGER: Duration = Duration::from_secs(1);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything is answered and written.
    Finished,
    /// The socket is of no use any more.
    Gone,
}

/// Serves a connection until it ends.
pub async fn run(shell: Rc<Shell>, key: Key, mut stream: TcpStream, mut secured: Option<Secured>) {
    let mut turn = None;
    let end = poll_fn(|cx| serve(&shell, key, (&mut stream, &mut secured), &mut turn, cx)).await;
    if end == End::Finished {
        linger(&shell, &mut stream).await;
    }
    drop(stream);
    {
        let mut engine = shell.engine.borrow_mut();
        engine.source_closed(key);
        shell.carry_out(&mut engine);
    }
    shell.load.fetch_sub(1, Ordering::Relaxed);
    shell.source_tasks.set(shell.source_tasks.get().saturating_sub(1));
}

fn serve(
    shell: &Rc<Shell>,
    key: Key,
    (stream, secured): (&mut TcpStream, &mut Option<Secured>),
    turn: &mut Option<u64>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    shell.watch_source(key, cx.waker());
    let mut engine = shell.engine.borrow_mut();
    let mut reads = 0;
    let end = loop {
        let now = shell.clock.now();
        let written = match secured {
            None => write(&mut engine, key, stream, now.monotonic, cx),
            Some(secured) => secured.write(&mut engine, key, stream, now.monotonic, cx),
        };
        if written == Written::Gone {
            break Poll::Ready(End::Gone);
        }
        let next = match secured {
            Some(secured) if secured.is_over() => break Poll::Ready(End::Finished),
            Some(secured) if secured.is_handshaking() => engine.source_handshake(key),
            _ => engine.source_input(key, now.monotonic),
        };
        match next {
            Input::Wait => break Poll::Pending,
            Input::Again => {}
            Input::Finish => {
                // A word of farewell is written first, behind what is left.
                let has_more = secured.as_mut().is_some_and(Secured::finish);
                if !has_more && (written == Written::All || secured.is_none()) {
                    break Poll::Ready(End::Finished);
                }
                if !has_more {
                    break Poll::Pending;
                }
            }
            Input::Gone => break Poll::Ready(End::Gone),
            Input::Read | Input::Resume if reads == READS_PER_TURN || shell.has_had_its_turn(*turn, now.monotonic) => {
                shell.turn.after(cx.waker());
                break Poll::Pending;
            }
            Input::Resume => engine.source_receive(key, &[], now),
            Input::Read => {
                let mut scratch = shell.scratch.borrow_mut();
                match Pin::new(&mut *stream).poll_read(cx, &mut scratch) {
                    Poll::Pending => break Poll::Pending,
                    Poll::Ready(Ok(0)) => match secured {
                        None => engine.source_ended(key),
                        Some(secured) => secured.cut(&mut engine, key, shell.clock.monotonic()),
                    },
                    Poll::Ready(Ok(bytes)) => {
                        let now = shell.clock.now();
                        let bytes = scratch.get(..bytes).unwrap_or_default();
                        match secured {
                            None => engine.source_receive(key, bytes, now),
                            Some(secured) => {
                                secured.receive(&mut engine, key, bytes, &mut shell.plain.borrow_mut(), now);
                            }
                        }
                    }
                    Poll::Ready(Err(_)) => break Poll::Ready(End::Gone),
                }
            }
        }
        reads += 1;
        *turn = Some(shell.turn.number());
    };
    finish(shell, key, &mut engine, end)
}

/// What became of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// There is none left.
    All,
    /// The socket takes no more for now.
    Stuck,
    /// The socket is of no use any more.
    Gone,
}

/// Writes the acks that there are.
fn write(engine: &mut Engine, key: Key, stream: &mut TcpStream, now: Time, cx: &mut Context<'_>) -> Written {
    loop {
        let output = engine.source_output(key, now);
        if output.is_empty() {
            return Written::All;
        }
        match Pin::new(&mut *stream).poll_write(cx, output) {
            Poll::Ready(Ok(bytes)) => engine.source_wrote(key, bytes),
            Poll::Ready(Err(_)) => return Written::Gone,
            Poll::Pending => {
                engine.source_stuck(key, now);
                return Written::Stuck;
            }
        }
    }
}

fn finish(shell: &Rc<Shell>, key: Key, engine: &mut Engine, end: Poll<End>) -> Poll<End> {
    shell.carry_out_for(engine, Some(Wake::Source(key)));
    end
}

/// Tells the peer that nothing more comes, and reads until it says the same or time is up.
async fn linger(shell: &Rc<Shell>, stream: &mut TcpStream) {
    if stream.shutdown(Shutdown::Write).await.is_err() {
        return;
    }
    let mut timer = Timer::new(LINGER);
    poll_fn(|cx| {
        if Pin::new(&mut timer).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = shell.scratch.borrow_mut();
        match Pin::new(&mut *stream).poll_read(cx, &mut scratch) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) if bytes > 0 => {
                shell.turn.after(cx.waker());
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
        }
    })
    .await;
}
