//! One XDR connection by hand, blocking: for tests that send particular bytes and wait for particular acks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::ack::{self, ACK_LEN, AckFault};

/// Why a step of a [`Client`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing came, or could be written, in time.
    #[error("nothing within the time limit")]
    TimedOut,
    /// The peer closed the connection between two acks.
    #[error("connection closed by the connector")]
    Closed,
    /// The peer closed the connection inside an ack.
    #[error("connection closed after {0} of 30 bytes of an ack")]
    CutAck(usize),
    /// What came is no ack.
    #[error(transparent)]
    Ack(#[from] AckFault),
    /// The socket failed.
    #[error(transparent)]
    Io(std::io::Error),
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> ClientError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::TimedOut,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => ClientError::Closed,
            _ => ClientError::Io(error),
        }
    }
}

/// A blocking XDR connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects; `timeout` then bounds every read and write.
    ///
    /// # Errors
    /// When the connection is refused or takes longer.
    pub fn connect(address: SocketAddr, timeout: Duration) -> Result<Client, ClientError> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream })
    }

    /// Bounds every later read.
    ///
    /// # Errors
    /// When the socket refuses (a zero duration).
    pub fn set_read_timeout(&self, timeout: Duration) -> Result<(), ClientError> {
        Ok(self.stream.set_read_timeout(Some(timeout))?)
    }

    /// Writes bytes as they are: a frame, several, or a part of one.
    ///
    /// # Errors
    /// When they cannot be written in time.
    pub fn send_frame(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The result code of the next ack.
    ///
    /// # Errors
    /// When none comes in time, the connection closes, or the bytes are no ack.
    pub fn read_ack(&mut self) -> Result<u8, ClientError> {
        let mut ack = [0; ACK_LEN];
        let mut filled = 0;
        while let Some(rest) = ack.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.stream.read(rest) {
                Ok(0) if filled == 0 => return Err(ClientError::Closed),
                Ok(0) => return Err(ClientError::CutAck(filled)),
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ack::parse(&ack)?)
    }

    /// Waits until the connector closes the connection.
    ///
    /// # Errors
    /// `Io` when bytes came instead, `TimedOut` when it stays open.
    pub fn wait_closed(&mut self) -> Result<(), ClientError> {
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(ClientError::Io(std::io::Error::other("bytes instead of the end of the connection"))),
            Err(error) => match error.into() {
                ClientError::Closed => Ok(()),
                other => Err(other),
            },
        }
    }

    /// Closes the sending half: the connector reads the end, acks may still come.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn close_sending(&self) -> Result<(), ClientError> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// The socket, for what the methods above do not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
