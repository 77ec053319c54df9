//! TLS around a connection that speaks clear text: what a test's source and sink do not speak themselves.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// Which side of a tunnel speaks TLS.
#[derive(Clone)]
pub enum Side {
    /// Whoever connects to the tunnel.
    Accepted(Arc<ServerConfig>),
    /// What the tunnel connects to, under this name.
    Opened(Arc<ClientConfig>, &'static str),
}

/// Listens on a port of its own and carries every connection to `to`, until the test ends.
pub fn tunnel(to: SocketAddr, side: Side) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for accepted in listener.incoming().flatten() {
            let side = side.clone();
            std::thread::spawn(move || {
                let Ok(opened) = TcpStream::connect(to) else { return };
                match side {
                    Side::Accepted(config) => {
                        carry(accepted, opened, ServerConnection::new(config).unwrap().into());
                    }
                    Side::Opened(config, name) => {
                        let tls = ClientConnection::new(config, name.try_into().unwrap()).unwrap();
                        carry(opened, accepted, tls.into());
                    }
                }
            });
        }
    });
    address
}

/// What a socket has now; `None`: it is closed.
fn read(mut socket: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
    match socket.read(buffer) {
        Ok(0) => None,
        Ok(length) => Some(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}

fn carry(secret: TcpStream, clear: TcpStream, mut tls: Connection) {
    secret.set_nonblocking(true).unwrap();
    clear.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Some(from_secret) = read(&secret, &mut buffer) else { return };
        let mut rest = &buffer[..from_secret];
        while !rest.is_empty() {
            if tls.read_tls(&mut rest).is_err() || tls.process_new_packets().is_err() {
                // The alert says why.
                let _ = tls.write_tls(&mut &secret);
                return;
            }
        }
        let mut plain = Vec::new();
        let _ = tls.reader().read_to_end(&mut plain);
        if !write(&clear, &plain) {
            return;
        }
        let from_clear = read(&clear, &mut buffer);
        let _ = tls.writer().write_all(&buffer[..from_clear.unwrap_or(0)]);
        let mut wire = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut wire).unwrap();
        }
        if !write(&secret, &wire) || from_clear.is_none() {
            return;
        }
        if from_secret == 0 && from_clear == Some(0) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// All of `bytes`, waiting where there is no room.
fn write(mut socket: &TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return false,
        }
    }
    true
}
