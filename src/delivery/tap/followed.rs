//! What is kept of a record that is followed.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::super::flight::Origin;
use super::super::table::Key;
use crate::format::ContentType;
use crate::time::Time;

/// Where a record came from.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Who sent it.
    pub peer: Option<SocketAddr>,
    /// On which port; not known of a record that another executor handed over.
    pub port: Option<u16>,
    /// When its read ended, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// What is kept of a record's message.
#[derive(Debug)]
pub(super) enum Message {
    /// All of it, not compressed.
    Kept(Vec<u8>),
    /// It had so many bytes, which were too many.
    Left(usize),
}

/// What became of a request, or of what would have been one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The destination has taken it.
    Success,
    /// It will never take it (`permanent-status-codes`).
    Refused,
    /// It did not take it.
    Error,
    /// It was dropped before it was sent, since another destination of the record failed.
    NotSent,
}

/// A request as it was given to a connection.
#[derive(Debug)]
pub struct Sent {
    /// `HTTP_1_1` or `HTTP_2`.
    pub protocol: &'static str,
    /// Its method and path, without the query.
    pub start: (&'static str, String),
    /// Its headers, without what may be a secret; none if they are left out.
    pub headers: Vec<(String, String)>,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// Not more than [`super::TEXT_BYTES`] of them.
    pub body: Bytes,
    /// What they are.
    pub content: ContentType,
}

/// A record's way to one destination.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) flight: Key,
    pub(super) destination: usize,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) sent: Option<Sent>,
    /// Place in its batch, and the number of records in that.
    pub(super) batch: Option<(usize, usize)>,
    pub(super) tries: u32,
    pub(super) status: Option<u16>,
    pub(super) word: Option<Word>,
    pub(super) error: Option<String>,
    pub(super) waited: Option<Duration>,
    pub(super) response: Option<Duration>,
}

/// A record that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) wanted: Vec<u64>,
    pub(super) arrival: Arrival,
    pub(super) message: Message,
    /// When it came, when its decoding began, when that was done.
    pub(super) arrived: Time,
    pub(super) began: Time,
    pub(super) decoded: Time,
    /// When its encoding began, and when that was done.
    pub(super) encoded: [Option<Time>; 2],
    pub(super) fault: Option<String>,
    /// Why nothing was sent.
    pub(super) note: Option<String>,
    pub(super) calls: Vec<Call>,
    pub(super) code: Option<(u8, Time)>,
    pub(super) in_flight: bool,
    /// How long its code waited for those before it, and its whole way.
    pub(super) released: Option<(Duration, Duration)>,
    /// Its ack was written, as far as this executor is the one who writes it.
    pub(super) is_told: bool,
    /// Its connection has gone.
    pub(super) is_gone: bool,
    /// Its weight, as far as that is counted.
    pub(super) kept: usize,
}

/// A record's way to one destination.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Whose.
    pub place: (Origin, u64),
    /// In which flight.
    pub flight: Key,
    /// Index of the destination.
    pub destination: usize,
    /// Names of the destination and its URL.
    pub names: (&'a str, &'a str),
}

impl Followed {
    /// Bytes that are kept for it.
    pub(super) fn weight(&self) -> usize {
        let message = match &self.message {
            Message::Kept(bytes) => bytes.len(),
            Message::Left(_) => 0,
        };
        let words = [&self.fault, &self.note].into_iter().flatten().map(String::len);
        message + words.chain(self.calls.iter().map(Call::weight)).sum::<usize>()
    }

    /// Nobody hears its code: its connection was gone before the ack was written.
    pub(super) fn is_unheard(&self) -> bool {
        self.is_gone && !self.is_told
    }
}

impl Sent {
    /// Bytes that are kept for it.
    pub(super) fn weight(&self) -> usize {
        let header = |(name, value): &(String, String)| size_of::<(String, String)>() + name.len() + value.len();
        self.start.1.len() + self.body.len() + self.headers.iter().map(header).sum::<usize>()
    }
}

impl Call {
    fn weight(&self) -> usize {
        let words = self.name.len() + self.url.len() + self.error.as_ref().map_or(0, String::len);
        words + self.sent.as_ref().map_or(0, Sent::weight)
    }

    pub(super) fn new(flight: Key, destination: usize, name: &str) -> Call {
        Call {
            flight,
            destination,
            name: name.to_owned(),
            url: String::new(),
            sent: None,
            batch: None,
            tries: 0,
            status: None,
            word: None,
            error: None,
            waited: None,
            response: None,
        }
    }
}
