//! The task of one connection to an endpoint.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;

use super::shell::{Clock, Shell};
use super::sys;
use crate::delivery::engine::{Connect, Wake};
use crate::delivery::table::Key;

/// Reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 4;

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
    let opened = match shell.addresses.get(connect.endpoint) {
        Ok(addresses) => open(&addresses, connect.timeout, shell.clock).await,
        Err(why) => Err(why),
    };
    match opened {
        Ok(mut stream) => {
            with_engine(&shell, |engine, now| engine.connection_opened(key, now));
            let mut output = Output::default();
            poll_fn(|cx| serve(&shell, key, &mut stream, &mut output, cx)).await;
            drop(stream);
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

/// Tries the addresses in turn, all within `timeout`: a name may have one that nothing listens on (`localhost` over
/// IPv6), and one of several hosts may be down.
async fn open(addresses: &[SocketAddr], timeout: Duration, clock: Clock) -> Result<TcpStream, String> {
    let began = clock.monotonic();
    let mut faults = String::new();
    for (position, address) in addresses.iter().enumerate() {
        let left = timeout.saturating_sub(clock.monotonic().since(began));
        let parts = u32::try_from(addresses.len() - position).unwrap_or(1).max(1);
        match open_one(*address, left / parts).await {
            Ok(stream) => return Ok(stream),
            Err(why) if faults.is_empty() => faults = why,
            Err(why) => faults = format!("{faults}; {why}"),
        }
    }
    Err(faults)
}

async fn open_one(address: SocketAddr, timeout: Duration) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(address, timeout)
        .await
        .map_err(|error| format!("{address}: {}", std::io::Error::from(error)))?;
    let fd = stream.as_raw_fd();
    // A request is written whole; waiting to merge it with the next one only costs time.
    if let Err(error) = socket2::SockRef::from(&sys::borrow_fd(&fd)).set_tcp_nodelay(true) {
        return Err(format!("{address}: {error}"));
    }
    Ok(stream)
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
        match Pin::new(&mut *stream).poll_read(cx, &mut scratch) {
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_next_address_of_a_name_is_tried_when_the_first_refuses() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open_address = listener.local_addr().unwrap();
        let executor = glommio::LocalExecutorBuilder::default().io_memory(64 * 1024).make().unwrap();
        executor.run(async {
            let limit = Duration::from_secs(2);
            let stream = open(&[closed, open_address], limit, Clock::start()).await;
            assert_eq!(stream.unwrap().peer_addr().unwrap(), open_address);
            let why = open(&[closed, closed], limit, Clock::start()).await.unwrap_err();
            assert_eq!(why.matches(&closed.to_string()).count(), 2, "{why}");
        });
    }
}
