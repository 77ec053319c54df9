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

use super::shell::Shell;
use crate::delivery::engine::{Input, Wake};
use crate::delivery::table::Key;

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
pub async fn run(shell: Rc<Shell>, key: Key, mut stream: TcpStream) {
    let mut turn = None;
    let end = poll_fn(|cx| serve(&shell, key, &mut stream, &mut turn, cx)).await;
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
    stream: &mut TcpStream,
    turn: &mut Option<u64>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    shell.watch_source(key, cx.waker());
    let mut engine = shell.engine.borrow_mut();
    let mut reads = 0;
    let end = loop {
        let now = shell.clock.now();
        loop {
            let output = engine.source_output(key);
            if output.is_empty() {
                break;
            }
            match Pin::new(&mut *stream).poll_write(cx, output) {
                Poll::Ready(Ok(bytes)) => engine.source_wrote(key, bytes),
                Poll::Ready(Err(_)) => return finish(shell, key, &mut engine, Poll::Ready(End::Gone)),
                Poll::Pending => {
                    engine.source_stuck(key, now.monotonic);
                    break;
                }
            }
        }
        match engine.source_input(key, now.monotonic) {
            Input::Wait => break Poll::Pending,
            Input::Finish => break Poll::Ready(End::Finished),
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
                    Poll::Ready(Ok(0)) => engine.source_ended(key),
                    Poll::Ready(Ok(bytes)) => {
                        let now = shell.clock.now();
                        engine.source_receive(key, scratch.get(..bytes).unwrap_or_default(), now);
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

fn finish(shell: &Rc<Shell>, key: Key, engine: &mut crate::delivery::engine::Engine, end: Poll<End>) -> Poll<End> {
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
