//! Scripted peers: HTTP servers that break every rule, each with an honest one beside it on the same executor.
//!
//! A script is a function that is run once per connection on a thread of its own and writes bytes by hand; nothing here
//! shares code with the connector. What a script claims to have answered is kept, so that an ack of 0 can be held
//! against it. [`Arena`] holds what is true of every abuse: the record's ack, the neighbour, memory, the log, the way back.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod http1;
pub mod http2;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::neighbour::Neighbour;
use crate::support::*;

/// What a connection of the abuses may add to the connector's memory; the honest neighbour's needs are part of it.
const MEMORY_KIB: u64 = 64 * 1024;
/// Reads and writes of a script end at the latest after this.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the connections of a peer tell the test.
#[derive(Debug, Default)]
pub struct Book {
    healed: AtomicBool,
    opened: AtomicUsize,
    ended: AtomicUsize,
    /// Complete requests, by record, in the order of arrival.
    seen: Mutex<Vec<u64>>,
    /// Records that were answered with a complete success.
    good: Mutex<Vec<u64>>,
    /// What a script found wrong.
    faults: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
}

/// One connection as its script has it.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    /// Counts from 0.
    pub number: usize,
    pub unread: Vec<u8>,
    book: Arc<Book>,
}

impl Wire {
    /// Whether the bytes were taken.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// One byte at a time, until the connection is gone.
    pub fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes.chunks(1) {
            if !self.send(byte) {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// The same bytes until they are no longer taken, or `limit` of them were; how many were.
    pub fn flood(&mut self, bytes: &[u8], limit: u64) -> u64 {
        let mut sent = 0;
        while sent < limit {
            match self.stream.write(bytes) {
                Ok(count @ 1..) => sent += count as u64,
                _ => break,
            }
        }
        sent
    }

    /// Reads more; `false` at the end.
    pub fn read(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(count @ 1..) => {
                self.unread.extend_from_slice(&chunk[..count]);
                true
            }
            _ => false,
        }
    }

    /// A record's request is here.
    pub fn note(&self, record: u64) {
        self.book.seen.lock().unwrap().push(record);
    }

    /// To be said before a complete success for this record is sent.
    pub fn good(&self, record: u64) {
        self.book.good.lock().unwrap().push(record);
    }

    pub fn fault(&self, what: impl Into<String>) {
        self.book.faults.lock().unwrap().push(what.into());
    }

    /// The connector has to close this connection by itself.
    pub fn expect_closed(&mut self, limit: Duration) {
        let since = Instant::now();
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(1..) if since.elapsed() < limit => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return self.fault_unless_healed(limit);
                }
                Ok(1..) => return self.fault_unless_healed(limit),
                _ => return,
            }
        }
    }

    fn fault_unless_healed(&self, limit: Duration) {
        self.fault(format!("connection {} was still open after {limit:?}", self.number));
    }

    /// Holds the connection open without reading until the test heals the peer.
    pub fn hang(&self) {
        while !self.book.healed.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next close is a reset.
    pub fn reset(&self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A scripted server.
#[derive(Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub book: Arc<Book>,
}

/// Told what protocol honest connections speak after [`Peer::heal`].
pub type Script = Arc<dyn Fn(&mut Wire) + Send + Sync>;

impl Peer {
    /// `script` has every connection until the peer is healed, `honest` has them from then on.
    pub fn start(script: impl Fn(&mut Wire) + Send + Sync + 'static, honest: fn(&mut Wire)) -> Peer {
        let listener = (0..20).find_map(|_| TcpListener::bind(("127.0.0.1", free_port())).ok()).expect("a port");
        let address = listener.local_addr().unwrap();
        let book = Arc::new(Book::default());
        let (theirs, script): (_, Script) = (Arc::clone(&book), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let _ = stream.set_nodelay(true);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                let (book, script) = (Arc::clone(&theirs), Arc::clone(&script));
                let number = book.opened.fetch_add(1, Ordering::AcqRel);
                book.open.lock().unwrap().push(stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let is_honest = book.healed.load(Ordering::Acquire);
                    let mut wire = Wire { stream, number, unread: Vec::new(), book: Arc::clone(&book) };
                    if is_honest {
                        honest(&mut wire)
                    } else {
                        script(&mut wire)
                    }
                    // The copy that `heal` would close goes first, or the socket would outlive its script.
                    let ours = wire.stream.peer_addr().ok();
                    book.open.lock().unwrap().retain(|open| open.peer_addr().ok() != ours);
                    drop(wire);
                    book.ended.fetch_add(1, Ordering::AcqRel);
                });
            }
        });
        Peer { address, book }
    }

    /// Ends the hostile connections; new ones are honest.
    pub fn heal(&self) {
        self.book.healed.store(true, Ordering::Release);
        for stream in self.book.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn opened(&self) -> usize {
        self.book.opened.load(Ordering::Acquire)
    }

    /// Connections whose script is over.
    pub fn ended(&self) -> usize {
        self.book.ended.load(Ordering::Acquire)
    }

    /// How often each record's request came in whole.
    pub fn seen(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        self.book.seen.lock().unwrap().iter().for_each(|record| *counts.entry(*record).or_default() += 1);
        counts
    }
}

/// A connector with two destinations on one executor: one that is hostile, and an honest one with a source and a port of
/// its own.
pub struct Arena {
    pub peer: Peer,
    pub connector: Process,
    neighbour: Neighbour,
    memory_kib: u64,
    acked: Vec<(u64, u8)>,
    records: Vec<u64>,
    blob: usize,
    /// Records may have been delivered elsewhere.
    is_shared: bool,
}

/// Records of a request's body.
pub fn record_of(body: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(body);
    let rest = text.split_once("\"seq\":")?.1;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

impl Arena {
    /// One hostile URL.
    #[track_caller]
    pub fn start(protocol: &str, script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Arena {
        Arena::with(protocol, script, |settings, _| settings)
    }

    /// The hostile destination's settings may be changed; its address is given for a further URL beside it.
    #[track_caller]
    pub fn with(
        protocol: &str,
        script: impl Fn(&mut Wire) + Send + Sync + 'static,
        change: impl FnOnce(Settings, SocketAddr) -> Settings,
    ) -> Arena {
        let honest_script = if protocol == "HTTP_2" { http2::honest } else { http1::honest };
        let peer = Peer::start(script, honest_script);
        let settings = Settings::to(protocol, &[peer.address]).set("call-timeout: 1500");
        let (settings, mut neighbour) = Neighbour::beside(change(settings, peer.address), protocol);
        let connector = settings.start();
        neighbour.start();
        let memory_kib = connector.memory_kib("VmRSS");
        Arena {
            peer,
            connector,
            neighbour,
            memory_kib,
            acked: Vec::new(),
            records: Vec::new(),
            blob: 0,
            is_shared: false,
        }
    }

    /// Records carry so many bytes more from now on.
    pub fn blob(&mut self, bytes: usize) {
        self.blob = bytes;
    }

    fn frame(&self, record: u64) -> Vec<u8> {
        let frame = wire::Frame::new(record);
        if self.blob == 0 { frame.bytes() } else { frame.bin("b", wire::particle::BLOB, &vec![7; self.blob]).bytes() }
    }

    /// Sends records at once on a connection of their own, and gives their acks in order.
    #[track_caller]
    pub fn send(&mut self, records: std::ops::Range<u64>) -> Vec<u8> {
        let mut client = client(self.connector.addr());
        let bytes: Vec<u8> = records.clone().flat_map(|record| self.frame(record)).collect();
        client.send_frame(&bytes).unwrap();
        let codes = acks(&mut client, records.clone().count());
        self.acked.extend(records.clone().zip(codes.iter().copied()));
        self.records.extend(records);
        codes
    }

    /// Sends records that may end at an honest URL beside the hostile one: what they are acked says nothing of the peer.
    #[track_caller]
    pub fn neutral(&mut self, records: std::ops::Range<u64>) -> Vec<u8> {
        let (acked, records_before) = (self.acked.len(), self.records.len());
        let codes = self.send(records);
        self.is_shared = true;
        self.acked.truncate(acked);
        self.records.truncate(records_before);
        codes
    }

    /// One record, and its ack.
    #[track_caller]
    pub fn one(&mut self, record: u64) -> u8 {
        self.send(record..record + 1)[0]
    }

    /// Waits for the hostile connections to be closed by the connector; those opened up to now.
    #[track_caller]
    pub fn wait_closed(&self) {
        let opened = self.peer.opened();
        wait_until("the connector closes hostile connections", LONG, || self.peer.ended() >= opened);
    }

    /// An operator finds the cause.
    #[track_caller]
    pub fn says(&self, text: &str) {
        self.connector.wait_log(text, Duration::from_secs(5));
    }

    /// Ends the abuse: every record is delivered, the neighbour noticed nothing, memory stayed bounded, and whatever was
    /// acked 0 was answered with success.
    #[track_caller]
    pub fn finish(mut self) {
        let peak = self.connector.memory_kib("VmHWM");
        assert!(!self.connector.has_ended(), "{}", self.connector.errors());
        let faults = self.peer.book.faults.lock().unwrap().clone();
        assert!(faults.is_empty(), "{faults:?}");
        self.peer.heal();
        let mut records = std::mem::take(&mut self.records);
        records.sort_unstable();
        records.dedup();
        self.blob = 0;
        let mut left: Vec<u64> = records.into_iter().filter(|record| !self.acked.contains(&(*record, 0))).collect();
        left.push(1_000_000);
        let since = Instant::now();
        while !left.is_empty() {
            assert!(since.elapsed() < LONG, "not delivered after the abuse ended: {left:?}\n{}", self.connector.log());
            left.retain(|record| self.one(*record) != 0);
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let good = self.peer.book.good.lock().unwrap().clone();
        for (record, code) in &self.acked {
            assert!([0, 11].contains(code), "record {record}: {code}");
            assert!(
                *code != 0 || self.is_shared || good.contains(record),
                "record {record} was acked 0 and never taken"
            );
        }
        self.neighbour.check("an abuse");
        assert!(
            peak < self.memory_kib + MEMORY_KIB,
            "{peak} KiB at the peak, {} KiB before: {}",
            self.memory_kib,
            self.connector.log()
        );
        self.connector.stop();
    }
}
