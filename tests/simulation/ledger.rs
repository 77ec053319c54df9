//! The oracle: what was sent, what destinations did with it, which codes came back; and whether that fits together.

use std::collections::BTreeMap;

use ringpost::config::model::Header;

use super::bodies::{self, Body};
use super::frames::{Class, Version};
use super::scenario::Scenario;
use super::settings::{Kind, Layout};

/// What one destination did with one frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery {
    /// Whole requests with it that arrived.
    pub requests: u32,
    /// Of these, ones that the connector was told, or may conclude, were not acted on.
    pub excused: u32,
    /// Answers of success that were written whole.
    pub successes: u32,
    /// Permanent answers to a request with this frame alone.
    pub refused: u32,
    /// Permanent answers to a batch of several with it.
    pub refused_in_batch: u32,
}

/// One sending of one record.
#[derive(Debug)]
pub struct Frame {
    pub record: usize,
    pub class: Class,
    /// The connection that it was sent on.
    pub link: usize,
    pub code: Option<u8>,
    pub deliveries: Vec<Delivery>,
    /// When its last byte arrived at the connector.
    pub arrived: Option<u64>,
    /// Its line was handed out, and is in `rejected-file`.
    pub line: Option<bool>,
    /// Where records are ordered.
    pub version: Option<Version>,
}

/// One record of the source.
#[derive(Debug)]
pub struct Record {
    pub class: Class,
    /// Index of its kind.
    pub kind: usize,
    /// Destinations with permanent codes do not like it.
    pub poison: bool,
    /// The node forgets it.
    pub done: bool,
    pub version: Option<Version>,
}

/// A version that is acked.
#[derive(Debug, Clone, Copy)]
struct Acked {
    lut: u64,
    /// When.
    at: u64,
    frame: usize,
}

/// A whole request that arrived.
#[derive(Debug)]
pub struct Request {
    pub frames: Vec<usize>,
    pub destination: usize,
}

/// Counts for the report.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub ok: u64,
    pub permanent: u64,
    pub temporary: u64,
    pub overload: u64,
    pub repeated: u64,
    /// Requests with several records, and the records in them.
    pub batches: u64,
    pub batched: u64,
    /// Batches that were refused for good, and records that were for themselves.
    pub batches_refused: u64,
    pub refused: u64,
    /// Lines in `rejected-file`.
    pub lines: u64,
    pub zipped: u64,
    /// Probes that arrived.
    pub probes: u64,
    /// Times that an engine took notice of a Retry-After.
    pub waits: u64,
    /// Connections that were replaced, given to another engine, or lost for want of an answer.
    pub replaced: u64,
    pub given_up: u64,
    pub silent: u64,
    /// By the engines' own counts: versions that were not sent, that stood for others, that waited; frames that were handed
    /// over.
    pub stale: u64,
    pub coalesced: u64,
    pub waited: u64,
    pub handed: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.ok += other.ok;
        self.permanent += other.permanent;
        self.temporary += other.temporary;
        self.overload += other.overload;
        self.repeated += other.repeated;
        self.batches += other.batches;
        self.batched += other.batched;
        self.batches_refused += other.batches_refused;
        self.refused += other.refused;
        self.lines += other.lines;
        self.zipped += other.zipped;
        self.probes += other.probes;
        self.waits += other.waits;
        self.replaced += other.replaced;
        self.given_up += other.given_up;
        self.silent += other.silent;
        self.stale += other.stale;
        self.coalesced += other.coalesced;
        self.waited += other.waited;
        self.handed += other.handed;
    }

    pub fn count_connections(&mut self, counters: &ringpost::metrics::Counters) {
        self.replaced += counters.connections_replaced;
        self.given_up += counters.connections_given_up;
        self.silent += counters.connections_silent;
    }
}

/// What the oracle knows of a destination.
#[derive(Debug)]
struct Destination {
    permanent: bool,
    gzip_above: Option<u64>,
    headers: Vec<Header>,
}

#[derive(Debug)]
pub struct Ledger {
    pub kinds: Vec<Kind>,
    destinations: Vec<Destination>,
    /// Content faults are answered 10, and their frames kept in a file.
    content_permanent: bool,
    kept: bool,
    pub records: Vec<Record>,
    pub frames: Vec<Frame>,
    pub requests: Vec<Request>,
    pub violations: Vec<String>,
    pub tally: Tally,
    /// Last-update times that were given out, by key.
    luts: BTreeMap<u64, u64>,
    /// Acked versions by key.
    acked: BTreeMap<u64, Vec<Acked>>,
}

impl Ledger {
    pub fn new(scenario: &Scenario) -> Ledger {
        let destination = |entry: &ringpost::config::model::Destination| Destination {
            permanent: entry.permanent.contains(422),
            gzip_above: entry.gzip_above,
            headers: entry.headers.list.clone(),
        };
        Ledger {
            kinds: scenario.kinds.clone(),
            destinations: scenario.config.destinations.iter().map(destination).collect(),
            content_permanent: scenario.config.content_errors == Default::default(),
            kept: scenario.config.rejected.is_some(),
            records: Vec::new(),
            frames: Vec::new(),
            requests: Vec::new(),
            violations: Vec::new(),
            tally: Tally::default(),
            luts: BTreeMap::new(),
            acked: BTreeMap::new(),
        }
    }

    /// `late`: so many updates of its key were seen before it that came after it.
    pub fn new_record(&mut self, class: Class, kind: usize, poison: bool, key: Option<u64>, late: u64) -> usize {
        let version = key.map(|key| {
            let last = self.luts.entry(key).or_insert(1_000);
            *last += 1;
            Version { key, lut: *last - late }
        });
        self.records.push(Record { class, kind, poison, done: false, version });
        self.records.len() - 1
    }

    pub fn new_frame(&mut self, record: usize, link: usize) -> usize {
        let Record { class, version, .. } = self.records[record];
        let deliveries = vec![Delivery::default(); self.destinations.len()];
        self.frames.push(Frame { record, class, link, code: None, deliveries, arrived: None, line: None, version });
        self.frames.len() - 1
    }

    /// Whether versions of both frames are compared with each other: they go to the same destinations.
    fn are_compared(&self, frame: usize, other: usize) -> bool {
        let (one, two) = (self.kind(frame), self.kind(other));
        let same = one.settings.destinations == two.settings.destinations;
        one.settings.ordered && two.settings.ordered && same
    }

    /// A newer version of its record was delivered everywhere.
    fn is_stale(&self, frame: usize) -> bool {
        let Some(version) = self.frames[frame].version else { return false };
        let destinations = &self.kind(frame).settings.destinations;
        let stands_for_it = |(number, other): (usize, &Frame)| {
            other.version.is_some_and(|other| other.key == version.key && other.lut >= version.lut)
                && number != frame
                && self.kind(number).settings.destinations == *destinations
                && destinations.iter().all(|index| other.deliveries[*index].successes > 0)
        };
        self.kind(frame).settings.ordered && self.frames.iter().enumerate().any(stands_for_it)
    }

    /// A version that arrived after a newer one was acked is not sent.
    fn order_fault(&self, frame: usize) -> Option<String> {
        let (version, arrived) = self.frames[frame].version.zip(self.frames[frame].arrived)?;
        let overtakes =
            |acked: &&Acked| acked.lut > version.lut && acked.at < arrived && self.are_compared(frame, acked.frame);
        let newer = self.acked.get(&version.key)?.iter().find(overtakes)?;
        Some(format!("{version:?} arrived at {arrived}, and {newer:?} before it"))
    }

    pub fn kind(&self, frame: usize) -> &Kind {
        &self.kinds[self.records[self.frames[frame].record].kind]
    }

    pub fn violation(&mut self, text: String) {
        if self.violations.len() < 10 {
            self.violations.push(text);
        }
    }

    /// A code for `frame`, the oldest one of its connection without one.
    pub fn acked(&mut self, frame: usize, code: u8, now: u64) {
        let before = self.frames[frame].code.replace(code);
        let class = self.frames[frame].class;
        if before.is_some() {
            self.violation(format!("frame {frame} got a second code {code}"));
        }
        if let Some(fault) = self.code_fault(frame, code) {
            self.violation(format!("frame {frame} ({class:?}) got code {code}: {fault}"));
        }
        match code {
            0 => self.tally.ok += 1,
            10 => self.tally.permanent += 1,
            18 => self.tally.overload += 1,
            _ => self.tally.temporary += 1,
        }
        // A real server would send what cannot be read for ever; this one has seen enough.
        let given_up = code == 11 && class.is_bad() && !self.content_permanent;
        if matches!(code, 0 | 10) || given_up {
            let record = self.frames[frame].record;
            self.records[record].done = true;
        }
        if let (0, Some(Version { key, lut })) = (code, self.frames[frame].version) {
            self.acked.entry(key).or_default().push(Acked { lut, at: now, frame });
        }
    }

    /// Why a frame may not have this code, as far as everybody knows up to now.
    fn code_fault(&self, frame: usize, code: u8) -> Option<String> {
        let entry = &self.frames[frame];
        let settings = &self.kind(frame).settings;
        let deliveries = || settings.destinations.iter().map(|index| (*index, entry.deliveries[*index]));
        let unreadable = matches!(entry.class, Class::Bad | Class::BadCompressed);
        let is_skipped = entry.class == Class::Skip || settings.destinations.is_empty() && !unreadable;
        match code {
            18 => None,
            11 if is_skipped => Some("it is skipped".to_owned()),
            11 if unreadable && self.content_permanent && !self.kept => Some("it cannot be read".to_owned()),
            11 => None,
            0 if is_skipped => None,
            0 if entry.class.is_bad() => Some("it cannot be delivered".to_owned()),
            0 if self.is_stale(frame) => None,
            0 => deliveries()
                .find(|(_, delivery)| delivery.successes == 0)
                .map(|(index, _)| format!("G1: destination {index} never answered it with success")),
            10 if is_skipped => Some("it is skipped".to_owned()),
            10 if entry.class.is_bad() => match (self.content_permanent, self.kept, entry.line) {
                (true, false, _) | (true, true, Some(true)) => None,
                (false, ..) => Some("content-errors is temporary".to_owned()),
                (true, true, line) => Some(format!("its line is not in the file: {line:?}")),
            },
            10 => {
                let decided = |delivery: Delivery| delivery.refused > 0 || delivery.successes > 0;
                if !deliveries().any(|(_, delivery)| delivery.refused > 0) {
                    return Some(format!("no destination refused it alone: {:?}", entry.deliveries));
                }
                deliveries().find(|(_, delivery)| !decided(*delivery)).map(|(index, _)| {
                    format!("destination {index} has neither taken it nor refused it alone: {:?}", entry.deliveries)
                })
            }
            _ => Some("there is no such code".to_owned()),
        }
    }

    /// A whole request arrived at `destination`. Returns its number.
    pub fn requested(&mut self, body: Option<Body>, head: Option<&str>, destination: usize) -> Option<usize> {
        let Some(body) = body else {
            self.violation(format!("a request at destination {destination} whose body is not that of any frame"));
            return None;
        };
        let headers = &self.destinations[destination].headers;
        if let Some(fault) = head.and_then(|head| bodies::check_head(head, &body, headers)) {
            self.violation(format!("a request at destination {destination}: {fault}"));
        }
        let numbers = body.items.iter().map(|item| usize::try_from(item.frame).ok());
        let frames: Option<Vec<usize>> =
            numbers.map(|frame| frame.filter(|frame| *frame < self.frames.len())).collect();
        let Some(frames) = frames else {
            self.violation(format!("a request at destination {destination} with a frame that was never sent"));
            return None;
        };
        if let Some(fault) = self.body_fault(&body, &frames, destination) {
            self.violation(format!("a request at destination {destination} with frames {frames:?}: {fault}"));
        }
        if frames.len() > 1 {
            self.tally.batches += 1;
            self.tally.batched += frames.len() as u64;
        }
        self.tally.zipped += u64::from(body.gzip);
        frames.iter().for_each(|frame| self.count_request(*frame, destination));
        self.requests.push(Request { frames, destination });
        Some(self.requests.len() - 1)
    }

    /// What is wrong with a body, whose frames were found.
    fn body_fault(&self, body: &Body, frames: &[usize], destination: usize) -> Option<String> {
        let first = &self.kind(*frames.first()?).settings;
        if body.layout != first.layout {
            return Some(format!("its layout is {:?}, not {:?}", body.layout, first.layout));
        }
        if frames.len() > first.max_records || body.layout == Layout::One && frames.len() > 1 {
            return Some(format!("it has {} records, more than {}", frames.len(), first.max_records));
        }
        let compressed = self.destinations[destination].gzip_above.is_some_and(|above| body.plain as u64 > above);
        if body.gzip != (compressed && body.shrinks) {
            return Some(format!("of its {} bytes, gzip is {}", body.plain, body.gzip));
        }
        for (at, (frame, item)) in frames.iter().zip(&body.items).enumerate() {
            let kind = self.kind(*frame);
            if frames[..at].contains(frame) {
                return Some(format!("frame {frame} is there twice"));
            }
            if kind.settings != *first {
                return Some(format!("frame {frame} has other settings: {:?}, {first:?}", kind.settings));
            }
            if !kind.settings.destinations.contains(&destination) {
                return Some(format!("frame {frame} is not routed to it"));
            }
            if let Some(fault) = self.order_fault(*frame) {
                return Some(format!("frame {frame} comes too late: {fault}"));
            }
            let key = |frame: &usize| self.frames[*frame].version.map(|version| version.key);
            if kind.settings.ordered
                && frames[..at].iter().any(|other| key(other).is_some() && key(other) == key(frame))
            {
                return Some(format!("frame {frame} is of a record that is there already"));
            }
            let class = self.frames[*frame].class;
            let is_delete = class == Class::Delete;
            if item.shape != kind.settings.shape
                || (item.namespace.as_str(), item.set.as_str()) != (kind.namespace, kind.set)
                || item.is_write == is_delete
            {
                return Some(format!("frame {frame} is written as {item:?}, but is of {kind:?}"));
            }
            if !class.is_delivered() {
                return Some(format!("frame {frame} ({class:?}) is not to be delivered"));
            }
        }
        None
    }

    fn count_request(&mut self, frame: usize, destination: usize) {
        let delivery = &mut self.frames[frame].deliveries[destination];
        delivery.requests += 1;
        let Delivery { requests, excused, refused_in_batch, .. } = *delivery;
        if requests > 1 {
            self.tally.repeated += 1;
        }
        // Once more with an excuse; and after its batch was refused, once more alone, with one excuse again.
        let apart = u32::from(refused_in_batch > 0);
        if requests > excused + 1 + apart || requests > 2 + 2 * apart {
            self.violation(format!(
                "frame {frame} was sent {requests} times to destination {destination}, of which {excused} are explained, and its batch was refused {refused_in_batch} times"
            ));
        }
    }

    /// The request may be repeated: refused, or the connection ended without a byte of an answer.
    pub fn excused(&mut self, request: usize) {
        self.each(request, |delivery, _| delivery.excused += 1);
    }

    /// An answer was written whole.
    pub fn answered(&mut self, request: usize, status: u16) {
        let Request { destination, ref frames } = self.requests[request];
        let several = frames.len() > 1;
        if (200..300).contains(&status) {
            self.each(request, |delivery, _| delivery.successes += 1);
        } else if status == 422 && self.destinations[destination].permanent {
            self.tally.batches_refused += u64::from(several);
            self.tally.refused += u64::from(!several);
            self.each(request, |delivery, several| match several {
                true => delivery.refused_in_batch += 1,
                false => delivery.refused += 1,
            });
        }
    }

    fn each(&mut self, request: usize, change: impl Fn(&mut Delivery, bool)) {
        let Request { destination, ref frames } = self.requests[request];
        for frame in frames {
            change(&mut self.frames[*frame].deliveries[destination], frames.len() > 1);
        }
    }

    /// Whether a record of the request is one that its destination refuses.
    pub fn is_poisoned(&self, request: usize) -> bool {
        let Request { destination, ref frames } = self.requests[request];
        self.destinations[destination].permanent
            && frames.iter().any(|frame| self.records[self.frames[*frame].record].poison)
    }

    /// What became of the line of a frame.
    pub fn line(&mut self, frame: usize, written: bool) {
        let class = self.frames[frame].class;
        let before = self.frames[frame].line.replace(written);
        if before.is_some() || !class.is_bad() || !self.kept || !self.content_permanent {
            self.violation(format!("frame {frame} ({class:?}) has a line in rejected-file; before it {before:?}"));
        }
        self.tally.lines += u64::from(written);
    }
}
