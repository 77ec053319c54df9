//! A record between its arrival and the end of its last request, and its requests.

use bytes::Bytes;

use super::chain::{Linked, Links};
use super::names::NameId;
use super::table::Key;
use crate::time::Time;

/// One record in flight.
#[derive(Debug)]
pub struct Flight {
    /// The connection it came on; the key is dead once that connection is gone.
    pub source: Key,
    /// Its place in that connection's window.
    pub number: u64,
    /// When the read ended that completed its frame.
    pub arrived: Time,
    /// Its namespace and set, for the log.
    pub name: NameId,
    /// Requests that are not over.
    pub pending: usize,
    /// The source has its code already (another destination failed); what is still on its way ends by itself.
    pub answered: bool,
    /// First of its attempts; the others follow by [`Attempt::sibling`].
    pub first: Option<Key>,
    /// Place among the deadlines.
    pub links: Links,
}

impl Linked for Flight {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In its endpoint's queue.
    Queued,
    /// Given to this connection.
    Sent(Key),
    /// Over. It stays in the table until its record is, so that the record's other attempts can be found.
    Done,
}

/// One record on its way to one destination.
#[derive(Debug)]
pub struct Attempt {
    /// The record.
    pub flight: Key,
    /// Index of the destination.
    pub destination: usize,
    /// Index of the endpoint that it is queued or sent at.
    pub endpoint: usize,
    /// Queued or sent.
    pub stage: Stage,
    /// What is sent.
    pub body: Bytes,
    /// The record's digest.
    pub digest: [u8; 20],
    /// It had its one retry.
    pub retried: bool,
    /// It is the one record that tests an unhealthy URL.
    pub test: bool,
    /// When it was last given to a connection.
    pub sent_at: Time,
    /// The record's attempt for the next destination.
    pub sibling: Option<Key>,
    /// Place among the calls of its destination.
    pub links: Links,
}

impl Linked for Attempt {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}
