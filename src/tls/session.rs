//! One TLS connection as bytes in, bytes out, on either side.
//!
//! Knows no socket. The time that certificates are checked against is the library's. Invariants: plain text is only
//! taken while the session is open, and all of it is encrypted at once; nothing is ever passed on in clear text; what a
//! peer makes us keep is bounded: a record or a handshake message at a time by the library, and [`QUIET_BYTES`].

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection};

use super::fault;

/// Bytes that a peer may send without a byte of plain text among them: a handshake with long chains of certificates is a
/// fifth of it. Without it a peer keeps us busy for nothing, with key updates, session tickets or empty records.
pub const QUIET_BYTES: usize = 256 << 10;

/// Bytes that a session keeps at most of what a peer sent (RFC 8446: 16 KiB of plain text in a record; the library's own
/// bound of a handshake message is 64 KiB). An open one between two records keeps 4 KiB.
pub const HELD_BYTES: usize = 64 << 10;

/// What HTTP is spoken inside, so that it is agreed on in the handshake (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`; a server that agrees on nothing is taken, too, since old ones do not know of it.
    Http1,
    /// `h2`, and nothing else.
    Http2,
}

impl Alpn {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Alpn::Http1 => "http/1.1",
            Alpn::Http2 => "h2",
        }
    }
}

/// Life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing may be written yet.
    Handshaking,
    /// Plain text goes both ways.
    Open,
    /// Over; what is left in [`Session::transmit`] may still be written.
    Closed,
}

/// One TLS connection. After any call the owner takes [`Session::transmit`].
pub struct Session {
    /// `None` if it could not even be made.
    connection: Option<Connection>,
    role: Role,
    phase: Phase,
    /// Bytes since the last plain text.
    quiet: usize,
    /// Any byte came from the peer.
    heard: bool,
    /// The peer said that nothing more comes.
    ended: bool,
    /// The socket is gone.
    cut: bool,
    /// The peer refused the handshake, though it may have looked done from here.
    refused: bool,
    why: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Role {
    /// We connected, to this name.
    Client { name: ServerName<'static>, alpn: Alpn },
    /// We were connected to.
    Server,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("role", &self.role).field("phase", &self.phase).field("why", &self.why).finish()
    }
}

impl Session {
    /// For a connection to the server `name`.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>, alpn: Alpn) -> Session {
        let made = ClientConnection::new_with_alpn(config, name.clone(), vec![alpn.name().as_bytes().to_vec()]);
        Session::new(made.map(Connection::Client), Role::Client { name, alpn })
    }

    /// For a connection that was accepted.
    pub fn server(config: Arc<ServerConfig>) -> Session {
        Session::new(ServerConnection::new(config).map(Connection::Server), Role::Server)
    }

    fn new(made: Result<Connection, Error>, role: Role) -> Session {
        let (connection, why) = match made {
            Ok(mut connection) => {
                // A batch is handed over whole, and its owner bounds it.
                connection.set_buffer_limit(None);
                (Some(connection), None)
            }
            Err(error) => (None, Some(fault::text(&error, &role))),
        };
        let phase = if connection.is_some() { Phase::Handshaking } else { Phase::Closed };
        Session { connection, role, phase, quiet: 0, heard: false, ended: false, cut: false, refused: false, why }
    }

    /// What the socket gave, in any split; `plain` is given what it holds, in order, a record at a time.
    pub fn receive(&mut self, mut cipher: &[u8], mut plain: impl FnMut(&[u8])) {
        if self.phase == Phase::Closed || cipher.is_empty() {
            return;
        }
        if !self.heard {
            self.heard = true;
            if let Some(why) = fault::foreign(cipher, &self.role) {
                return self.fail(why);
            }
        }
        while !cipher.is_empty() && self.phase != Phase::Closed {
            let before = cipher.len();
            let Some(connection) = &mut self.connection else { return };
            let taken = connection.read_tls(&mut cipher);
            let state = connection.process_new_packets();
            self.quiet += before - cipher.len();
            self.open();
            // Before an error is looked at: what came ahead of it counts.
            self.pass_on(&mut plain);
            match (taken, state) {
                (_, Err(error)) => self.fail_by(&error),
                (Err(error), _) => self.fail(format!("the peer broke TLS: {error}")),
                (Ok(0), Ok(state)) if !state.peer_has_closed() => self.fail("the peer broke TLS".to_owned()),
                (Ok(_), Ok(state)) => self.settle(state.peer_has_closed()),
            }
        }
    }

    /// Encrypts plain text. Only while it is open: otherwise nothing is taken.
    pub fn write(&mut self, plain: &[u8]) {
        if self.phase != Phase::Open {
            return;
        }
        if let Some(connection) = &mut self.connection
            && let Err(error) = connection.writer().write_all(plain)
        {
            self.fail(format!("TLS failed here: {error}"));
        }
    }

    /// Appends what to write to the socket: all that there is.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        let Some(connection) = self.connection.as_mut().filter(|_| !self.cut) else { return };
        while connection.wants_write() {
            // A vector takes everything; what fails here is the library's own state.
            match connection.write_tls(out) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Says that nothing more comes from here.
    pub fn close(&mut self) {
        if let Some(connection) = &mut self.connection
            && self.phase == Phase::Open
        {
            connection.send_close_notify();
        }
        self.phase = Phase::Closed;
    }

    /// The socket ended. Unless [`Session::ended`], what came may not be all that was sent.
    pub fn cut(&mut self) {
        self.cut = true;
        if self.phase == Phase::Handshaking && self.why.is_none() {
            self.why = Some(fault::cut(&self.role, self.heard));
        }
        self.phase = Phase::Closed;
    }

    /// Ends it from here, for a reason of the owner's.
    pub fn fail(&mut self, why: String) {
        self.close();
        self.why.get_or_insert(why);
    }

    /// Where it stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether any byte came.
    pub const fn heard(&self) -> bool {
        self.heard
    }

    /// Whether the peer closed as TLS wants it, so that nothing was cut off.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the peer refused the handshake by an alert: also one that came after it looked done from here, as with a
    /// client certificate and TLS 1.3 (RFC 8446 section 4.4.2.4).
    pub const fn was_refused(&self) -> bool {
        self.refused
    }

    /// Why it is closed and what to do, if there is more to say than that it ended.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    fn fail_by(&mut self, error: &Error) {
        self.refused = matches!(error, Error::AlertReceived(alert) if fault::is_refusal(*alert));
        // The library has an alert of its own to send.
        self.phase = Phase::Closed;
        self.why.get_or_insert(fault::text(error, &self.role));
    }

    /// Once the handshake is done: is what was agreed on what is spoken here?
    fn open(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|it| !it.is_handshaking()) else { return };
        if self.phase != Phase::Handshaking {
            return;
        }
        self.phase = Phase::Open;
        if let Role::Client { alpn, .. } = &self.role
            && let Some(why) = fault::other_protocol(*alpn, connection.alpn_protocol())
        {
            self.fail(why);
        }
    }

    fn pass_on(&mut self, plain: &mut impl FnMut(&[u8])) {
        let Some(connection) = self.connection.as_mut().filter(|_| self.phase == Phase::Open) else { return };
        let mut reader = connection.reader();
        while let Ok(part) = reader.fill_buf()
            && !part.is_empty()
        {
            let length = part.len();
            self.quiet = 0;
            plain(part);
            reader.consume(length);
        }
    }

    fn settle(&mut self, peer_has_closed: bool) {
        if peer_has_closed {
            self.ended = true;
            match self.phase {
                Phase::Handshaking => self.fail(fault::cut(&self.role, true)),
                Phase::Open => self.close(),
                Phase::Closed => {}
            }
        } else if self.quiet > QUIET_BYTES {
            self.fail(format!("the peer sends TLS messages without data, more than {QUIET_BYTES} bytes of them"));
        }
    }
}

#[cfg(test)]
mod tests;
