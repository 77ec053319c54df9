//! Sends rising versions of the same keys over several connections, and again what is refused.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Event, Log, Version};
use crate::clock::mix;
use crate::record::Identity;
use crate::source::ack::{self, ACK_LEN, Verdict};

/// How long a connection waits for acks before it looks for records that are due again.
const READ_WAIT: Duration = Duration::from_millis(2);

/// Milliseconds from 1970 to the epoch of last-update times on the wire.
const LUT_EPOCH_MS: u64 = 1_262_304_000_000;

/// Last-update time of the first version on the wire.
const FIRST_LUT: u64 = 471_538_166_168;

/// What a source of versions does.
#[derive(Debug, Clone)]
pub struct VersionSourceConfig {
    /// The connector.
    pub address: SocketAddr,
    /// Connections, each on a thread of its own.
    pub connections: usize,
    /// Frames in flight per connection.
    pub window: usize,
    /// Different keys.
    pub keys: u64,
    /// Versions of each.
    pub updates: u64,
    /// One of so many versions is a delete; 0: none.
    pub delete_every: u64,
    /// One of so many versions is an update, which does not have the complete record; 0: none.
    pub update_every: u64,
    /// A refused version is sent again after this.
    pub lap: Duration,
    /// Decides which key is next.
    pub seed: u64,
    /// Gives up after this.
    pub limit: Duration,
}

impl VersionSourceConfig {
    /// Four connections with 256 frames in flight each, a lap of 100 ms as XDR has it.
    pub fn to(address: SocketAddr, keys: u64, updates: u64) -> VersionSourceConfig {
        VersionSourceConfig {
            address,
            connections: 4,
            window: 256,
            keys,
            updates,
            delete_every: 0,
            update_every: 0,
            lap: Duration::from_millis(100),
            seed: 1,
            limit: Duration::from_secs(120),
        }
    }
}

/// Totals of a source that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VersionStats {
    /// Frames sent.
    pub sent: u64,
    /// Versions acked 0.
    pub acked: u64,
}

/// What a source did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionReport {
    /// Frames sent.
    pub sent: u64,
    /// Versions acked 0.
    pub acked: u64,
    /// Acks by code.
    pub by_code: Vec<(u8, u64)>,
    /// Versions without a final ack.
    pub open: u64,
    /// Why connections ended before the end.
    pub faults: Vec<String>,
}

/// A version to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    key: u64,
}

#[derive(Debug)]
struct Plan {
    /// Versions of each key that were sent once.
    issued: Vec<u64>,
    /// Keys with versions left.
    left: Vec<usize>,
    again: BTreeSet<Due>,
    random: u64,
    open: u64,
    by_code: Vec<u64>,
    faults: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    config: VersionSourceConfig,
    log: Arc<Log>,
    plan: Mutex<Plan>,
    stop: AtomicBool,
    sent: AtomicU64,
    acked: AtomicU64,
}

/// A running source of versions.
#[derive(Debug)]
pub struct VersionSource {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl VersionSource {
    /// Starts.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn spawn(config: VersionSourceConfig, log: &Arc<Log>) -> std::io::Result<VersionSource> {
        let keys = usize::try_from(config.keys).unwrap_or(usize::MAX);
        let plan = Plan {
            issued: vec![0; keys],
            left: (0..keys).collect(),
            again: BTreeSet::new(),
            random: mix(config.seed),
            open: config.keys * config.updates,
            by_code: vec![0; 256],
            faults: Vec::new(),
        };
        let shared = Arc::new(Shared {
            plan: Mutex::new(plan),
            log: Arc::clone(log),
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            config,
        });
        let mut threads = Vec::new();
        for _ in 0..shared.config.connections {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::Builder::new().name(String::from("versions")).spawn(move || serve(&shared))?);
        }
        Ok(VersionSource { shared, threads })
    }

    /// Totals up to now.
    pub fn stats(&self) -> VersionStats {
        VersionStats {
            sent: self.shared.sent.load(Ordering::Relaxed),
            acked: self.shared.acked.load(Ordering::Relaxed),
        }
    }

    /// Sends nothing more, and does not wait for what is in flight.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until every version is acked, or until the limit.
    pub fn join(self) -> VersionReport {
        for thread in self.threads {
            // A thread that panicked shows in what is left open.
            let _ = thread.join();
        }
        let plan = lock(&self.shared.plan);
        let codes = plan.by_code.iter().enumerate().filter(|(_, count)| **count > 0);
        VersionReport {
            sent: self.shared.sent.load(Ordering::Relaxed),
            acked: self.shared.acked.load(Ordering::Relaxed),
            by_code: codes.map(|(code, count)| (u8::try_from(code).unwrap_or(u8::MAX), *count)).collect(),
            open: plan.open,
            faults: plan.faults.clone(),
        }
    }
}

fn lock(plan: &Mutex<Plan>) -> std::sync::MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared) {
    let until = Instant::now() + shared.config.limit;
    while !shared.stop.load(Ordering::Relaxed) && lock(&shared.plan).open > 0 && Instant::now() < until {
        let mut in_flight = VecDeque::new();
        if let Err(fault) = connection(shared, &mut in_flight, until) {
            let mut plan = lock(&shared.plan);
            if plan.faults.len() < 20 && !shared.stop.load(Ordering::Relaxed) {
                plan.faults.push(fault);
            }
            // Whatever the connector did with them, they are sent again.
            let at = Instant::now() + shared.config.lap;
            plan.again.extend(in_flight.drain(..).map(|(key, number)| Due { at, number, key }));
            drop(plan);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Serves one connection until all is done; what has no ack is left in `in_flight`.
fn connection(shared: &Shared, in_flight: &mut VecDeque<(u64, u64)>, until: Instant) -> Result<(), String> {
    let why = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(shared.config.address).map_err(why)?;
    stream.set_nodelay(true).map_err(why)?;
    stream.set_read_timeout(Some(READ_WAIT)).map_err(why)?;
    let mut acks = Vec::new();
    let mut scratch = vec![0; 64 << 10];
    loop {
        let mut out = Vec::new();
        shared.next(in_flight, &mut out);
        if !out.is_empty() {
            stream.write_all(&out).map_err(why)?;
        }
        match stream.read(&mut scratch) {
            Ok(0) => return Err(String::from("closed by the connector")),
            Ok(length) => acks.extend_from_slice(scratch.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(why(error)),
        }
        shared.take_acks(&mut acks, in_flight)?;
        let is_done = lock(&shared.plan).open == 0;
        if is_done || shared.stop.load(Ordering::Relaxed) || Instant::now() >= until {
            return Ok(());
        }
    }
}

impl Shared {
    /// Fills the window: what is due again first, then new versions of any key.
    fn next(&self, in_flight: &mut VecDeque<(u64, u64)>, out: &mut Vec<u8>) {
        let mut plan = lock(&self.plan);
        let now = Instant::now();
        while in_flight.len() < self.config.window {
            let due = plan.again.first().copied().filter(|due| due.at <= now);
            let next = match due {
                Some(due) => {
                    plan.again.remove(&due);
                    Some((due.key, due.number))
                }
                None => plan.issue(self.config.updates),
            };
            let Some((key, number)) = next else { break };
            self.write(key, number, out);
            in_flight.push_back((key, number));
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take_acks(&self, acks: &mut Vec<u8>, in_flight: &mut VecDeque<(u64, u64)>) -> Result<(), String> {
        let whole = acks.len() / ACK_LEN * ACK_LEN;
        for bytes in acks.drain(..whole).collect::<Vec<u8>>().as_chunks::<ACK_LEN>().0 {
            let code = ack::parse(bytes).map_err(|fault| format!("malformed ack: {fault}"))?;
            let Some((key, number)) = in_flight.pop_front() else { return Err(format!("ack {code} for nothing")) };
            let version = Version { key, lut: LUT_EPOCH_MS + FIRST_LUT + number };
            self.log.add(Event::Acked { version, code });
            let mut plan = lock(&self.plan);
            if let Some(count) = plan.by_code.get_mut(usize::from(code)) {
                *count += 1;
            }
            if ack::verdict(code) == Verdict::Retry {
                let at = Instant::now() + self.config.lap;
                plan.again.insert(Due { at, number, key });
            } else {
                plan.open = plan.open.saturating_sub(1);
                self.acked.fetch_add(u64::from(code == ack::OK), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// A frame by the public wire format: a replace, or at times a delete or an update.
    fn write(&self, key: u64, number: u64, out: &mut Vec<u8>) {
        let each = |every: u64| every > 0 && mix(key ^ mix(number)).is_multiple_of(every);
        let is_delete = each(self.config.delete_every);
        let is_update = !is_delete && each(self.config.update_every);
        let (info2, info3) = match (is_delete, is_update) {
            (true, _) => (0x03, 0),
            (false, true) => (0x01, 0),
            (false, false) => (0x01, 0x10),
        };
        let mut body = vec![22, 0x10, info2, info3, 0, 0, 0, 0, 0, 1];
        body.extend_from_slice(&u32::MAX.to_be_bytes());
        body.extend_from_slice(&[0, 0, 0, 0, 0, 4, 0, u8::from(!is_delete)]);
        field(&mut body, 0, b"test");
        field(&mut body, 4, &Identity { sequence: key, run: 1 }.digest());
        field(&mut body, 1, b"demo");
        field(&mut body, 14, &(FIRST_LUT + number).to_be_bytes());
        if !is_delete {
            body.extend_from_slice(&[0, 0, 0, 13, 2, 1, 0, 1, b'v']);
            body.extend_from_slice(&number.to_be_bytes());
        }
        let size = (body.len() as u64).to_be_bytes();
        out.extend_from_slice(&[2, 3]);
        out.extend_from_slice(size.get(2..).unwrap_or_default());
        out.extend_from_slice(&body);
    }
}

fn field(body: &mut Vec<u8>, kind: u8, data: &[u8]) {
    let size = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
    body.extend_from_slice(&size.to_be_bytes());
    body.push(kind);
    body.extend_from_slice(data);
}

impl Plan {
    /// The next version of any key that has some left.
    fn issue(&mut self, updates: u64) -> Option<(u64, u64)> {
        if self.left.is_empty() || updates == 0 {
            return None;
        }
        self.random = mix(self.random);
        let place = usize::try_from(self.random % self.left.len() as u64).ok()?;
        let key = *self.left.get(place)?;
        let issued = self.issued.get_mut(key)?;
        let number = *issued;
        *issued += 1;
        if *issued == updates {
            self.left.swap_remove(place);
        }
        Some((key as u64, number))
    }
}
