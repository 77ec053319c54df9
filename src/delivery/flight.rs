//! A record, or the records of one batch, between arrival and the end of the last request; and the requests.

use bytes::Bytes;

use super::chain::{Linked, Links};
use super::names::NameId;
use super::ordering::Outcome;
use super::table::Key;
use crate::format::{ContentType, Framing};
use crate::http::Request;
use crate::policy::table::ProfileId;
use crate::time::Time;

/// The connection that a record came on; the key is dead once that connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Of this executor.
    Source(Key),
    /// Of another executor, which handed the record over ([`super::handover`]).
    Ghost(Key),
}

/// One record in flight, as its source knows it.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// The connection it came on.
    pub source: Origin,
    /// Its place in that connection's window; of a record that was handed over, what names it there.
    pub number: u64,
    /// When the read ended that completed its frame.
    pub arrived: Time,
    /// When it was written in its format, to a few records.
    pub encoded: Time,
    /// Its namespace and set, for the log.
    pub name: NameId,
    /// Its digest.
    pub digest: [u8; 20],
    /// It is the version in flight of this record, if its records are ordered ([`super::ordering`]).
    pub slot: Option<Key>,
}

/// What is sent together: one record, or the records of a closed batch.
#[derive(Debug)]
pub struct Flight {
    /// The record; of a batch, the first one.
    pub member: Member,
    /// What a batch has besides.
    pub batch: Option<Box<Batch>>,
    /// The settings of its records.
    pub profile: ProfileId,
    /// Since when it could be sent: a record since it came, a batch since it was closed.
    pub since: Time,
    /// Requests that are not over.
    pub pending: usize,
    /// The sources have their codes already (another destination failed); what is still on its way ends by itself.
    pub answered: bool,
    /// Every destination has taken it, and its sources were told so.
    pub delivered: bool,
    /// A destination has taken it.
    pub taken: bool,
    /// A destination may have taken it: nobody knows what became of a request.
    pub unknown: bool,
    /// It is answered 10: it does not come again.
    pub given_up: bool,
    /// A destination said that it will never take this.
    pub refused_for_good: bool,
    /// One said so of a batch. What is left of that may be one record, of which nothing was said.
    pub refused_as_batch: bool,
    /// Some of its attempts wait for others.
    pub held: bool,
    /// They wait until each endpoint has an open connection.
    pub cold: bool,
    /// First of its attempts; the others follow by [`Attempt::sibling`].
    pub first: Option<Key>,
    /// Place among the deadlines.
    pub links: Links,
}

/// The other records of a batch, and where each stands in its body.
#[derive(Debug)]
pub struct Batch {
    /// Records after the first one, in the order of the body.
    pub more: Vec<Member>,
    /// What the records were written to, not compressed, with the room before the first one.
    pub data: Bytes,
    /// Where each record ends in it, its separator not included.
    pub ends: Vec<usize>,
    /// How many sources had gone when it was last looked at whose records are in it.
    pub sources_gone: u64,
}

impl Batch {
    /// The record at `place` as it was written, without separators.
    pub fn record(&self, place: usize, framing: &Framing) -> &[u8] {
        let start = match place.checked_sub(1) {
            None => framing.room(),
            Some(before) => self.ends.get(before).map_or(0, |end| end + framing.separator_bytes()),
        };
        let end = self.ends.get(place).copied().unwrap_or(start);
        self.data.get(start..end).unwrap_or_default()
    }
}

impl Flight {
    /// One record, not queued anywhere yet.
    pub fn of_one(member: Member, profile: ProfileId) -> Flight {
        Flight {
            member,
            batch: None,
            profile,
            since: member.arrived,
            pending: 0,
            answered: false,
            delivered: false,
            taken: false,
            unknown: false,
            given_up: false,
            refused_for_good: false,
            refused_as_batch: false,
            held: false,
            cold: false,
            first: None,
            links: Links::default(),
        }
    }

    /// What it says about the versions of its records, when it is over. One that a destination will never take is not
    /// waited for.
    pub fn outcome(&self) -> Outcome {
        match (self.delivered, self.given_up, self.taken) {
            (true, ..) => Outcome::Delivered,
            (_, true, _) => Outcome::GivenUp,
            (_, _, true) => Outcome::Partly,
            (_, _, false) => Outcome::Failed,
        }
    }

    /// Records in it.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        1 + self.others().len()
    }

    /// The digest that its requests carry: that of its only record.
    pub fn only_digest(&self) -> Option<[u8; 20]> {
        (self.len() == 1).then_some(self.member.digest)
    }

    /// Records after the first one.
    pub fn others(&self) -> &[Member] {
        self.batch.as_ref().map_or(&[], |batch| &batch.more)
    }

    /// Its records.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.member).chain(self.others())
    }
}

impl Linked for Flight {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In no queue: it waits for another destination of the flight.
    Held,
    /// In its endpoint's queue.
    Queued,
    /// Given to this connection.
    Sent(Key),
    /// Over. It stays in the table until its record is, so that the record's other attempts can be found.
    Done,
}

/// A flight on its way to one destination.
#[derive(Debug)]
pub struct Attempt {
    /// Whose it is.
    pub flight: Key,
    /// Index of the destination.
    pub destination: usize,
    /// Index of the endpoint that it is queued or sent at.
    pub endpoint: usize,
    /// Held, queued or sent.
    pub stage: Stage,
    /// What is sent.
    pub body: Bytes,
    /// Values of the destination's variable headers.
    pub values: Bytes,
    /// What the body is.
    pub content: ContentType,
    /// The body is compressed.
    pub gzip: bool,
    /// The digest of the record, if it is one.
    pub digest: Option<[u8; 20]>,
    /// The destination said that it will never take it.
    pub refused_for_good: bool,
    /// It had its one retry: another request, or another queue.
    pub retried: bool,
    /// A connection had it.
    pub was_sent: bool,
    /// It is the one record that tests an unhealthy URL.
    pub test: bool,
    /// When it was last given to a connection.
    pub sent_at: Time,
    /// When the first byte of its response came (HTTP/2: the end of its head).
    pub begun: Option<Time>,
    /// The flight's attempt for the next destination.
    pub sibling: Option<Key>,
    /// Place among the calls of its destination.
    pub links: Links,
}

impl Attempt {
    /// The request that it is.
    pub fn request(&self) -> Request {
        Request {
            body: self.body.clone(),
            digest: self.digest,
            values: self.values.clone(),
            content: self.content,
            gzip: self.gzip,
        }
    }

    /// Whether it is an entry of this endpoint's queue that is not dead.
    pub fn is_queued_at(&self, endpoint: usize) -> bool {
        self.stage == Stage::Queued && self.endpoint == endpoint
    }

    /// Whether its destination will never take what was sent, and that was more than one record.
    pub fn refuses_batch(&self) -> bool {
        self.refused_for_good && self.digest.is_none()
    }
}

impl Linked for Attempt {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}
