//! Messages from other threads to an executor: accepted sockets, then the end of the stream, which tells it to drain.
//!
//! A Unix socket pair and not a queue with a waker: the runtime's wakers must not leave their thread.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

/// Bytes of a message.
pub const MESSAGE_BYTES: usize = 8;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// XDR as it is.
    ClearText,
    /// XDR inside TLS.
    Tls,
}

/// What an executor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Serve this XDR connection: its descriptor, which is the executor's from now on, and what is spoken on its port.
    Serve(i32, Speaks),
}

impl Message {
    fn encode(self) -> [u8; MESSAGE_BYTES] {
        let (kind, fd) = match self {
            Message::Serve(fd, Speaks::ClearText) => (1u32, fd),
            Message::Serve(fd, Speaks::Tls) => (2, fd),
        };
        let mut bytes = [0; MESSAGE_BYTES];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&kind.to_ne_bytes());
        tail.copy_from_slice(&fd.to_ne_bytes());
        bytes
    }

    /// The message, if it is one.
    pub fn decode(bytes: [u8; MESSAGE_BYTES]) -> Option<Message> {
        let [a, b, c, d, e, f, g, h] = bytes;
        match u32::from_ne_bytes([a, b, c, d]) {
            1 => Some(Message::Serve(i32::from_ne_bytes([e, f, g, h]), Speaks::ClearText)),
            2 => Some(Message::Serve(i32::from_ne_bytes([e, f, g, h]), Speaks::Tls)),
            _ => None,
        }
    }
}

/// The sending end. Never waits: an executor that does not take its messages must not stop the others from getting
/// theirs. About 270 messages wait in the socket pair.
#[derive(Debug)]
pub struct Control(UnixStream);

impl Control {
    /// Both ends; the receiving one goes to the executor.
    pub fn pair() -> io::Result<(Control, UnixStream)> {
        let (send, receive) = UnixStream::pair()?;
        send.set_nonblocking(true)?;
        receive.set_nonblocking(true)?;
        Ok((Control(send), receive))
    }

    /// Gives a connection away; it comes back if the executor has no room for messages (`WouldBlock`) or takes no more.
    pub fn serve(&self, stream: TcpStream, speaks: Speaks) -> Result<(), (io::Error, TcpStream)> {
        let fd = stream.into_raw_fd();
        self.send(Message::Serve(fd, speaks)).map_err(|error| (error, super::sys::adopt(fd)))
    }

    /// Tells the executor to drain, after the connections that it was given. No message, since there may be no room for
    /// one, and an executor that never hears of it never ends.
    pub fn drain(&self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Write)
    }

    fn send(&self, message: Message) -> io::Result<()> {
        // Far below the size at which a write to a Unix socket is split.
        (&self.0).write_all(&message.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        for message in [Message::Serve(7, Speaks::ClearText), Message::Serve(i32::MAX, Speaks::Tls)] {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        assert_eq!(Message::decode([0; MESSAGE_BYTES]), None);
    }

    #[test]
    fn an_executor_with_no_room_for_messages_is_told_to_drain() {
        use std::io::Read;
        let (control, mut receive) = Control::pair().unwrap();
        let mut sent = 0;
        while control.send(Message::Serve(-1, Speaks::ClearText)).is_ok() {
            sent += 1;
        }
        control.drain().unwrap();
        receive.set_nonblocking(false).unwrap();
        let mut bytes = Vec::new();
        receive.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), sent * MESSAGE_BYTES);
    }
}
