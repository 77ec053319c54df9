//! The oracle: what was sent, what destinations did with it, which codes came back; and whether that fits together.

use super::frames::Class;

/// What one destination did with one frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery {
    /// Whole requests that arrived.
    pub requests: u32,
    /// Of these, ones that the connector was told, or may conclude, were not acted on.
    pub excused: u32,
    /// Answers of success that were written whole.
    pub successes: u32,
}

/// One sending of one record.
#[derive(Debug)]
pub struct Frame {
    pub record: usize,
    pub class: Class,
    pub code: Option<u8>,
    pub deliveries: Vec<Delivery>,
    /// When its last byte arrived at the connector.
    pub arrived: Option<u64>,
}

/// One record of the source.
#[derive(Debug)]
pub struct Record {
    pub class: Class,
    /// Acked 0 or 10: the node forgets it.
    pub done: bool,
}

/// Counts for the report.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub ok: u64,
    pub permanent: u64,
    pub temporary: u64,
    pub overload: u64,
    pub repeated: u64,
}

#[derive(Debug)]
pub struct Ledger {
    pub destinations: usize,
    pub records: Vec<Record>,
    pub frames: Vec<Frame>,
    pub violations: Vec<String>,
    pub tally: Tally,
}

impl Ledger {
    pub fn new(destinations: usize) -> Ledger {
        Ledger {
            destinations,
            records: Vec::new(),
            frames: Vec::new(),
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub fn new_record(&mut self, class: Class) -> usize {
        self.records.push(Record { class, done: false });
        self.records.len() - 1
    }

    pub fn new_frame(&mut self, record: usize) -> usize {
        let class = self.records[record].class;
        let deliveries = vec![Delivery::default(); self.destinations];
        self.frames.push(Frame { record, class, code: None, deliveries, arrived: None });
        self.frames.len() - 1
    }

    pub fn violation(&mut self, text: String) {
        if self.violations.len() < 10 {
            self.violations.push(text);
        }
    }

    /// A code for `frame`, the oldest one of its connection without one.
    pub fn acked(&mut self, frame: usize, code: u8) {
        let entry = &mut self.frames[frame];
        let before = entry.code.replace(code);
        let (class, record) = (entry.class, entry.record);
        let undelivered = entry.deliveries.iter().position(|delivery| delivery.successes == 0);
        if before.is_some() {
            self.violation(format!("frame {frame} got a second code {code}"));
        }
        if !class.allows(code) {
            self.violation(format!("frame {frame} ({class:?}) got code {code}: codes are out of order, or wrong"));
        }
        if code == 0
            && class.is_delivered()
            && let Some(destination) = undelivered
        {
            self.violation(format!(
                "G1: frame {frame} got code 0, but destination {destination} never answered it with success"
            ));
        }
        match code {
            0 => self.tally.ok += 1,
            10 => self.tally.permanent += 1,
            18 => self.tally.overload += 1,
            _ => self.tally.temporary += 1,
        }
        if matches!(code, 0 | 10) {
            self.records[record].done = true;
        }
    }

    /// A whole request arrived at `destination`. Returns its frame.
    pub fn requested(&mut self, frame: Option<u64>, destination: usize) -> Option<usize> {
        let known = frame.and_then(|frame| usize::try_from(frame).ok()).filter(|frame| *frame < self.frames.len());
        let Some(frame) = known else {
            self.violation(format!("a request at destination {destination} whose body is not that of any frame"));
            return None;
        };
        let entry = &mut self.frames[frame];
        let class = entry.class;
        let delivery = &mut entry.deliveries[destination];
        delivery.requests += 1;
        let (requests, excused) = (delivery.requests, delivery.excused);
        if !class.is_delivered() {
            self.violation(format!("frame {frame} ({class:?}) was sent to destination {destination}"));
        }
        if requests > 1 {
            self.tally.repeated += 1;
        }
        if requests > excused + 1 || requests > 2 {
            self.violation(format!(
                "frame {frame} was sent {requests} times to destination {destination}, of which {excused} are explained"
            ));
        }
        Some(frame)
    }

    /// The request may be repeated: refused, or the connection ended without a byte of an answer.
    pub fn excused(&mut self, frame: usize, destination: usize) {
        self.frames[frame].deliveries[destination].excused += 1;
    }

    pub fn succeeded(&mut self, frame: usize, destination: usize) {
        self.frames[frame].deliveries[destination].successes += 1;
    }
}
