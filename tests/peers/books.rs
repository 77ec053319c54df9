//! What a foreign server received, in its own words: counted per record, and compared with the source's books.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringpost_load::record::Identity;
use ringpost_load::source::{AckWatch, ack};

/// Answers of success per record.
#[derive(Debug, Default)]
pub struct Counts {
    by_record: HashMap<Identity, u64>,
    /// Lines that say something else than they should; the first few.
    pub wrong: Vec<String>,
}

impl Counts {
    pub fn of(&self, identity: Identity) -> u64 {
        self.by_record.get(&identity).copied().unwrap_or_default()
    }

    pub fn set(&mut self, identity: Identity, count: u64) {
        self.by_record.insert(identity, count);
    }

    fn add(&mut self, identity: Option<Identity>, line: &str) {
        match identity {
            Some(identity) => *self.by_record.entry(identity).or_default() += 1,
            None if self.wrong.len() < 10 => self.wrong.push(line.to_owned()),
            None => {}
        }
    }

    /// A line of our own servers: digest of the header, digest of the body, sequence number in the body.
    fn own_line(&mut self, line: &str) {
        let mut parts = line.split(' ');
        let (header, body, sequence) = (parts.next(), parts.next(), parts.next());
        let identity = header.filter(|_| header == body).and_then(|digest| Identity::from_header(digest.as_bytes()));
        let sequence = sequence.and_then(|text| text.parse().ok());
        self.add(identity.filter(|identity| sequence == Some(identity.sequence)), line);
    }

    /// nginx's access log: method, status, digest. What is no POST is a probe.
    pub fn read_access_log(path: &Path) -> Counts {
        let mut counts = Counts::default();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["POST", "200", digest] => counts.add(Identity::from_header(digest.as_bytes()), line),
                ["POST", ..] | ["GET", ..] => {}
                _ => counts.add(None, line),
            }
        }
        counts
    }

    /// What `nghttpd --verbose` prints: the digest of each stream, and the streams that it answered with 200.
    pub fn read_nghttpd(output: impl Read) -> Counts {
        let mut counts = Counts::default();
        let mut open = HashMap::new();
        let mut answered = None;
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            let stream = || {
                let connection = line.strip_prefix("[id=")?.split(']').next()?;
                let rest = line.split("stream_id=").nth(1)?;
                Some((connection.to_owned(), rest.split(|letter: char| !letter.is_ascii_digit()).next()?.to_owned()))
            };
            if let Some((_, digest)) = line.split_once(" aerospike-digest: ") {
                open.insert(stream(), digest.to_owned());
            } else if line.contains(" send HEADERS frame ") {
                answered = stream();
            } else if line.trim() == ":status: 200"
                && let Some(digest) = open.remove(&answered)
            {
                counts.add(Identity::from_header(digest.as_bytes()), &digest);
            }
        }
        counts
    }
}

/// The file that one of our own servers appends to before it answers: read on while the acks come in, so that an ack
/// that is earlier than its record's line is seen.
#[derive(Debug)]
pub struct Tail {
    state: Mutex<(File, Vec<u8>, Counts)>,
    early: AtomicU64,
}

impl Tail {
    pub fn new(path: &Path) -> Arc<Tail> {
        let file = File::options().read(true).append(true).create(true).open(path).unwrap();
        Arc::new(Tail { state: Mutex::new((file, Vec::new(), Counts::default())), early: AtomicU64::new(0) })
    }

    /// Acks of 0 that came before their record was written down.
    pub fn early(&self) -> u64 {
        self.early.load(Ordering::Relaxed)
    }

    /// Reads what is new and hands the books to `look`.
    pub fn look<T>(&self, look: impl FnOnce(&mut Counts) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let (file, pending, counts) = &mut *state;
        file.read_to_end(pending).unwrap();
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = pending.drain(..whole).collect();
        String::from_utf8_lossy(&lines).lines().for_each(|line| counts.own_line(line));
        look(counts)
    }
}

impl AckWatch for Tail {
    fn acked(&self, acks: &[(Identity, u8)]) {
        let missing = |counts: &mut Counts| {
            acks.iter().filter(|(identity, code)| *code == ack::OK && counts.of(*identity) == 0).count()
        };
        self.early.fetch_add(self.look(missing) as u64, Ordering::Relaxed);
    }
}
