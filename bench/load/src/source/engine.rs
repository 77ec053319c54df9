//! The loop of the source: issue, write, wait, read, until everything has a fate.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::ack::{self, Verdict};
use super::connection::{Connection, Fault, InFlight};
use super::{Shared, SourceConfig, SourceEntry, SourceLedger, SourceReport};
use crate::clock::{lut_now, thread_cpu};
use crate::record::{Generator, Identity};

/// Longest wait: how late a stop may be noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// After the last ack: how long a surplus one is waited for, which would show that they are off by one.
const LINGER: Duration = Duration::from_millis(50);
/// Bytes of one read of acks.
const SCRATCH_BYTES: usize = 64 << 10;
/// Violations that are kept in words.
const VIOLATION_TEXTS: usize = 20;

/// A record to send now.
struct Due {
    sequence: u64,
    /// When latency starts.
    since_ns: u64,
}

pub(super) struct Engine {
    config: SourceConfig,
    generator: Generator,
    shared: Arc<Shared>,
    connections: Vec<Connection>,
    books: Books,
    /// Lost with their connection: sent again as soon as a connection has room.
    lost: VecDeque<u64>,
    /// Refused: sent again when due. One lap for all, so the order is that of time.
    later: VecDeque<(u64, u64)>,
    start: Instant,
    issued: u64,
    /// Where the next record of an open loop goes.
    cursor: usize,
    first_sent_ns: Option<u64>,
    lingering: bool,
    scratch: Vec<u8>,
    polls: Vec<libc::pollfd>,
}

/// What is counted; apart from the connections, so that both can be borrowed at once.
struct Books {
    run: u32,
    resend: bool,
    first_sequence: u64,
    entries: Vec<SourceEntry>,
    acks_by_code: Vec<u64>,
    latency_ns: Histogram<u64>,
    refused: Vec<u64>,
    batch: Vec<(Identity, u8)>,
    watched: bool,
    resent: u64,
    acked: u64,
    temporary: u64,
    abandoned: u64,
    outstanding: u64,
    connections_lost: u64,
    lost_with_connection: u64,
    violations: u64,
    violation_texts: Vec<String>,
    last_ack_ns: u64,
}

impl Engine {
    pub(super) fn new(config: SourceConfig, generator: Generator, shared: Arc<Shared>) -> Engine {
        let capacity = config.records.unwrap_or(1 << 20).min(1 << 24) as usize;
        let books = Books {
            run: config.records_spec.run,
            resend: config.resend,
            first_sequence: config.first_sequence,
            entries: Vec::with_capacity(capacity),
            acks_by_code: vec![0; 256],
            latency_ns: histogram(),
            refused: Vec::new(),
            batch: Vec::new(),
            watched: config.watch.is_some(),
            resent: 0,
            acked: 0,
            temporary: 0,
            abandoned: 0,
            outstanding: 0,
            connections_lost: 0,
            lost_with_connection: 0,
            violations: 0,
            violation_texts: Vec::new(),
            last_ack_ns: 0,
        };
        Engine {
            connections: (0..config.connections).map(|_| Connection::new(config.address)).collect(),
            config,
            generator,
            shared,
            books,
            lost: VecDeque::new(),
            later: VecDeque::new(),
            start: Instant::now(),
            issued: 0,
            cursor: 0,
            first_sent_ns: None,
            lingering: false,
            scratch: vec![0; SCRATCH_BYTES],
            polls: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> SourceReport {
        let cpu_before = thread_cpu();
        self.connect_all(0);
        // The schedule starts when the connections stand.
        self.start = Instant::now();
        let mut drain_until_ns = None;
        loop {
            let now_ns = self.now_ns();
            self.connect_all(now_ns);
            let issuing = self.issuing(now_ns);
            self.issue(now_ns, issuing);
            self.flush(now_ns);
            self.publish();
            if !issuing {
                let until = *drain_until_ns.get_or_insert(now_ns.saturating_add(nanoseconds(self.config.drain)));
                if self.books.outstanding == 0 || now_ns >= until {
                    break;
                }
            }
            self.wait(now_ns, issuing);
            self.receive();
        }
        self.linger();
        self.report(thread_cpu().saturating_sub(cpu_before))
    }

    /// Reads on for a moment: an ack too many anywhere shows at the end at the latest.
    fn linger(&mut self) {
        self.lingering = true;
        let until_ns = self.now_ns() + nanoseconds(LINGER);
        while self.books.outstanding == 0 && self.now_ns() < until_ns {
            self.wait(self.now_ns(), false);
            self.receive();
        }
        self.publish();
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn issuing(&self, now_ns: u64) -> bool {
        !self.shared.stop.load(Ordering::Relaxed)
            && self.config.records.is_none_or(|records| self.issued < records)
            && self.config.duration.is_none_or(|duration| now_ns < nanoseconds(duration))
    }

    fn connect_all(&mut self, now_ns: u64) {
        for connection in &mut self.connections {
            if connection.retry_at_ns().is_some_and(|at| at <= now_ns) {
                connection.connect(now_ns);
            }
        }
    }

    /// Gives records to connections with room: lost ones first, then refused ones that are due, then new ones.
    fn issue(&mut self, now_ns: u64, issuing: bool) {
        let lut = lut_now();
        let count = self.connections.len();
        let mut full = 0;
        while full < count {
            let at = self.cursor % count;
            self.cursor = self.cursor.wrapping_add(1);
            let room = self.connections.get(at).map_or(0, |connection| connection.room(self.config.window));
            // An open loop deals records out one by one; a closed loop fills one window after another.
            let share = if self.config.rate.is_some() { room.min(1) } else { room };
            if share == 0 {
                full += 1;
                continue;
            }
            full = 0;
            for _ in 0..share {
                let Some(due) = self.next_due(now_ns, issuing) else { return };
                self.first_sent_ns.get_or_insert(now_ns);
                let generator = &self.generator;
                if let Some(connection) = self.connections.get_mut(at) {
                    connection.append(due.sequence, due.since_ns, |out| generator.write(due.sequence, lut, out));
                }
            }
        }
    }

    fn next_due(&mut self, now_ns: u64, issuing: bool) -> Option<Due> {
        let again = match self.later.front() {
            _ if !self.lost.is_empty() => self.lost.pop_front(),
            Some((at, _)) if *at <= now_ns => self.later.pop_front().map(|(_, sequence)| sequence),
            _ => None,
        };
        if let Some(sequence) = again {
            self.books.sent_again(sequence);
            return Some(Due { sequence, since_ns: now_ns });
        }
        if !issuing || self.config.records.is_some_and(|records| self.issued >= records) {
            return None;
        }
        let since_ns = self.intended_ns(self.issued).unwrap_or(now_ns);
        if since_ns > now_ns {
            return None;
        }
        let sequence = self.config.first_sequence + self.issued;
        self.issued += 1;
        self.books.sent_first();
        Some(Due { sequence, since_ns })
    }

    /// When record `index` of an open loop is to be sent.
    fn intended_ns(&self, index: u64) -> Option<u64> {
        self.config.rate.map(|rate| (index as f64 * 1e9 / rate) as u64)
    }

    fn flush(&mut self, now_ns: u64) {
        for at in 0..self.connections.len() {
            let Some(connection) = self.connections.get_mut(at) else { continue };
            if connection.wants_write()
                && let Err(fault) = connection.flush()
            {
                self.ended(at, now_ns, fault);
            }
        }
    }

    /// Sleeps until a socket is ready or the next thing is due.
    fn wait(&mut self, now_ns: u64, issuing: bool) {
        let mut until_ns = now_ns + nanoseconds(LONGEST_WAIT);
        if let Some((at, _)) = self.later.front() {
            until_ns = until_ns.min(*at);
        }
        if issuing && let Some(at) = self.intended_ns(self.issued) {
            let blocked = self.connections.iter().all(|connection| connection.room(self.config.window) == 0);
            until_ns = if blocked { until_ns } else { until_ns.min(at) };
        }
        if issuing && let Some(duration) = self.config.duration {
            until_ns = until_ns.min(nanoseconds(duration));
        }
        self.polls.clear();
        for connection in &self.connections {
            until_ns = until_ns.min(connection.retry_at_ns().unwrap_or(u64::MAX));
            // A negative descriptor keeps the place and is not polled.
            let fd = connection.stream().map_or(-1, AsRawFd::as_raw_fd);
            let events = if connection.wants_write() { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
            self.polls.push(libc::pollfd { fd, events, revents: 0 });
        }
        let timeout = Duration::from_nanos(until_ns.saturating_sub(self.now_ns()));
        poll(&mut self.polls, timeout);
    }

    fn receive(&mut self) {
        let now_ns = self.now_ns();
        for at in 0..self.connections.len() {
            let ready = self.polls.get(at).is_some_and(|poll| poll.revents & !libc::POLLOUT != 0);
            let (true, Some(connection)) = (ready, self.connections.get_mut(at)) else { continue };
            let books = &mut self.books;
            let received = connection.receive(&mut self.scratch, |frame, code| books.ack(frame, code, now_ns));
            let due = now_ns + nanoseconds(self.config.lap);
            self.later.extend(self.books.refused.drain(..).map(|sequence| (due, sequence)));
            if let Some(watch) = &self.config.watch
                && !self.books.batch.is_empty()
            {
                watch.acked(&self.books.batch);
                self.books.batch.clear();
            }
            if let Err(fault) = received {
                self.ended(at, now_ns, fault);
            }
        }
    }

    /// Takes back what was in flight on a connection that ended.
    fn ended(&mut self, at: usize, now_ns: u64, fault: Fault) {
        if let Fault::Violation(text) = fault {
            self.books.violations += 1;
            if self.books.violation_texts.len() < VIOLATION_TEXTS {
                self.books.violation_texts.push(format!("connection {at}: {text}"));
            }
        }
        // A connector may close when all is done.
        self.books.connections_lost += u64::from(!self.lingering);
        if let Some(connection) = self.connections.get_mut(at) {
            let in_flight = connection.reset(now_ns);
            self.books.lost_with_connection += in_flight.len() as u64;
            self.lost.extend(in_flight.iter().map(|frame| frame.sequence));
        }
    }

    fn in_flight(&self) -> u64 {
        self.connections.iter().map(|connection| connection.in_flight() as u64).sum()
    }

    fn publish(&self) {
        let (shared, books) = (&self.shared, &self.books);
        shared.sent.store(self.issued, Ordering::Relaxed);
        shared.resent.store(books.resent, Ordering::Relaxed);
        shared.acked.store(books.acked, Ordering::Relaxed);
        shared.temporary.store(books.temporary, Ordering::Relaxed);
        shared.abandoned.store(books.abandoned, Ordering::Relaxed);
        shared.in_flight.store(self.in_flight(), Ordering::Relaxed);
        shared.connections_lost.store(books.connections_lost, Ordering::Relaxed);
        shared.violations.store(books.violations, Ordering::Relaxed);
    }

    fn report(self, cpu: Duration) -> SourceReport {
        let in_flight = self.in_flight();
        let books = self.books;
        let first_ns = self.first_sent_ns.unwrap_or(books.last_ack_ns);
        SourceReport {
            sent: self.issued,
            resent: books.resent,
            acked: books.acked,
            abandoned: books.abandoned,
            unresolved: books.outstanding,
            acks_by_code: books.acks_by_code,
            lost_with_connection: books.lost_with_connection,
            in_flight,
            connections_lost: books.connections_lost,
            violations: books.violations,
            violation_texts: books.violation_texts,
            latency_ns: books.latency_ns,
            elapsed: Duration::from_nanos(books.last_ack_ns.saturating_sub(first_ns)),
            cpu,
            ledger: SourceLedger { run: books.run, first_sequence: books.first_sequence, entries: books.entries },
        }
    }
}

impl Books {
    fn sent_first(&mut self) {
        self.entries.push(SourceEntry { sent: 1, code: None });
        self.outstanding += 1;
    }

    fn entry(&mut self, sequence: u64) -> Option<&mut SourceEntry> {
        let index = usize::try_from(sequence.checked_sub(self.first_sequence)?).ok()?;
        self.entries.get_mut(index)
    }

    fn sent_again(&mut self, sequence: u64) {
        self.resent += 1;
        if let Some(entry) = self.entry(sequence) {
            entry.sent = entry.sent.saturating_add(1);
        }
    }

    fn ack(&mut self, frame: InFlight, code: u8, now_ns: u64) {
        self.last_ack_ns = now_ns;
        self.latency_ns.saturating_record(now_ns.saturating_sub(frame.since_ns));
        if let Some(count) = self.acks_by_code.get_mut(usize::from(code)) {
            *count += 1;
        }
        if let Some(entry) = self.entry(frame.sequence) {
            entry.code = Some(code);
        }
        if self.watched {
            self.batch.push((Identity { sequence: frame.sequence, run: self.run }, code));
        }
        match ack::verdict(code) {
            Verdict::Done => {
                self.acked += u64::from(code == ack::OK);
                self.outstanding -= 1;
            }
            Verdict::Retry if self.resend => {
                self.temporary += 1;
                self.refused.push(frame.sequence);
            }
            Verdict::Retry => {
                self.temporary += 1;
                self.outstanding -= 1;
            }
            Verdict::Abandon => {
                self.abandoned += 1;
                self.outstanding -= 1;
            }
        }
    }
}

/// Nanoseconds from 1 to 10 minutes, three digits.
fn histogram() -> Histogram<u64> {
    let bounded = Histogram::new_with_bounds(1, 600_000_000_000, 3);
    #[allow(clippy::expect_used, reason = "constant bounds that the crate documents as valid; every run passes here")]
    bounded.expect("constant bounds")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until a socket is ready, or `timeout` passes; a signal ends it early, which is harmless.
fn poll(polls: &mut [libc::pollfd], timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(1),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: pointer and length are those of one live, exclusively borrowed slice of pollfd; the time is a local that
    // outlives the call; no signal mask is given.
    unsafe {
        libc::ppoll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, &timeout, std::ptr::null());
    }
}
