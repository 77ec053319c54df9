//! HTTP/1.1 by hand, the server's side.

use super::{Wire, record_of};

/// A complete request.
#[derive(Debug, Clone)]
pub struct Request {
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
    pub record: u64,
}

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

impl Wire {
    /// The head of the next request and the length of its body, when the head is there; nothing of it is taken.
    fn head(&mut self) -> Option<(String, usize, usize)> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.unread[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
                return Some((head, end + 4, length));
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// Waits for the head of a request, without its body.
    pub fn begun(&mut self) -> bool {
        self.head().is_some()
    }

    /// The next whole request; `None` when the connection is over.
    pub fn request(&mut self) -> Option<Request> {
        let (head, start, length) = self.head()?;
        while self.unread.len() < start + length {
            if !self.read() {
                return None;
            }
        }
        let mut body: Vec<u8> = self.unread.drain(..start + length).collect();
        body.drain(..start);
        let Some(record) = record_of(&body) else {
            self.fault(format!("a body without a record: {}", String::from_utf8_lossy(&body)));
            return None;
        };
        self.note(record);
        Some(Request { head, body, record })
    }
}

/// Answers everything with success.
pub fn honest(wire: &mut Wire) {
    while let Some(request) = wire.request() {
        wire.good(request.record);
        if !wire.send(OK) {
            return;
        }
    }
}
