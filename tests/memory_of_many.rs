//! What one of many takes, counted by the allocator: a record that `record-ordering` remembers, an XDR connection in TLS, idle
//! or with a peer that makes it hold as much as it can. `docs/configuration.md` and `docs/tls.md` have the figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringpost::config::model::{KeyFiles, Offer, ServiceTls};
use ringpost::delivery::ordering::{Judgement, Ordering, Outcome, RecordId, Rule, Version, Waiter};
use ringpost::delivery::source::ACKS_PER_TLS_WRITE;
use ringpost::time::Time;
use ringpost::tls::session::{HELD_BYTES, Phase, QUIET_BYTES, Session};
use ringpost::tls::settings::{self, Outside};
use ringpost_load::tls::{Authority, Validity, client_config};
use rustls::{ClientConfig, ClientConnection, ServerConfig};

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, with the bytes that each thread has taken and not given back.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: i64) {
    // A thread that is ending has no counter any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes that `make` takes and that what it gives still has, and the most that it had meanwhile.
fn taken<T>(make: impl FnOnce() -> T) -> (T, i64, i64) {
    let before = LIVE.get();
    PEAK.set(before);
    let made = make();
    (made, LIVE.get() - before, PEAK.get() - before)
}

/// Nothing waits in these tests.
struct Nobody;

impl Waiter for Nobody {
    fn drop_body(&mut self) {}
}

fn version(record: u64) -> Version {
    // Digests are hashes.
    let mut digest = [0; 20];
    for (place, chunk) in digest.chunks_mut(8).enumerate() {
        let mixed = (record + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17 * place as u32 + 5);
        chunk.copy_from_slice(&mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93).to_le_bytes()[..chunk.len()]);
    }
    let rule = Rule { route: 0, domain: 0, ttl: 0, coalesce: false };
    Version { id: RecordId { namespace: 0, digest }, lut: 1, complete: true, rule }
}

/// Delivers records `from` to `to`, each once.
fn deliver(ordering: &mut Ordering<Nobody>, from: u64, to: u64) {
    for record in from..to {
        let version = version(record);
        assert_eq!(ordering.judge(&version), Judgement::Send);
        let key = ordering.begin(&version).unwrap();
        ordering.settle(key, Outcome::Delivered, Time::from_nanos(record));
    }
}

#[test]
fn a_million_remembered_records_take_what_the_documentation_says() {
    // The default of `max-entries`; two that are just above what a power of two of places in a hash map is for.
    for limit in [1_000_000, 917_505, 1_835_009] {
        let (mut ordering, reserved, _) = taken(|| Ordering::new(limit as usize, &[Duration::from_secs(3600)]));
        let ((), grown, peak) = taken(|| deliver(&mut ordering, 0, limit));
        let all = reserved + grown;
        // Others push the first ones out.
        let ((), more, _) = taken(|| deliver(&mut ordering, limit, limit + 500_000));
        println!(
            "{limit} records: {} bytes each; {more} bytes more after others took the place of half a million",
            all / limit as i64
        );
        assert_eq!(ordering.len(), limit as usize);
        assert!(all + more <= 272 * limit as i64, "{all} and {more} bytes for {limit} records");
        assert!(grown == 0 && peak == 0, "what is reserved is never moved: {grown} bytes, {peak} at the peak");
    }
}

fn server(authority: &Authority) -> Arc<ServerConfig> {
    let pair = authority.sign(&["node.example"], Validity::Now).unwrap();
    let text = pair.certificate + &pair.key;
    let file = |_: &Path, _: u64| Ok(text.clone().into_bytes());
    let system = || Err("there are none".to_owned());
    let outside = Outside { file: &file, show: &|path| path.display().to_string(), system: &system };
    let key = KeyFiles { file: "server.pem".into(), private_key: None, store_password: None, key_password: None };
    let tls = ServiceTls {
        addresses: Vec::new(),
        ports: Vec::new(),
        key,
        trust: None,
        allowed_peer_names: Vec::new(),
        offer: Offer::default(),
    };
    settings::server(&tls, outside).unwrap().config
}

/// What a peer in TLS that is done with its handshake has.
struct Client(ClientConnection);

impl Client {
    /// Does the handshake with `session`.
    fn open(config: &Arc<ClientConfig>, session: &mut Session) -> Client {
        let name = "node.example".try_into().unwrap();
        let mut client = Client(ClientConnection::new(Arc::clone(config), name).unwrap());
        while client.0.is_handshaking() || session.phase() == Phase::Handshaking {
            session.receive(&client.written(), |_| {});
            client.take(session);
        }
        client
    }

    /// Encrypted.
    fn written(&mut self) -> Vec<u8> {
        let mut cipher = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut cipher).unwrap();
        }
        cipher
    }

    fn take(&mut self, session: &mut Session) {
        let mut cipher = Vec::new();
        session.transmit(&mut cipher);
        let mut rest = cipher.as_slice();
        while !rest.is_empty() {
            self.0.read_tls(&mut rest).unwrap();
            self.0.process_new_packets().unwrap();
        }
    }

    fn record(&mut self, plain: &[u8]) -> Vec<u8> {
        std::io::Write::write_all(&mut self.0.writer(), plain).unwrap();
        self.written()
    }
}

/// A handshake record.
fn handshake(payload: &[u8]) -> Vec<u8> {
    [&[0x16, 3, 1], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

/// A ClientHello that says that it is as long as the library takes, cut into records of `piece` bytes and one byte short.
fn endless_hello(piece: usize) -> Vec<u8> {
    let message = [&[1, 0, 0xff, 0xfb], &vec![0; 0xffff - 5][..]].concat();
    message.chunks(piece).flat_map(handshake).collect()
}

/// Bytes of a session that nobody has said anything to.
fn new_bytes(server: &Arc<ServerConfig>) -> i64 {
    taken(|| Session::server(Arc::clone(server))).1
}

#[test]
fn a_tls_session_holds_no_more_than_the_documentation_says_whatever_its_peer_does() {
    let authority = Authority::new("authority").unwrap();
    let (server, client) = (server(&authority), client_config(&authority.pem(), None).unwrap());
    let new = || Session::server(Arc::clone(&server));
    // The first session makes what all share.
    Client::open(&client, &mut new());

    // `socket-receive-buffer-bytes`: what comes at a time, for each kind of peer.
    let hostile = |bytes: &[u8]| {
        taken(|| {
            let mut session = new();
            bytes.chunks(256 << 10).for_each(|read| session.receive(read, |_| {}));
            session
        })
    };
    let (_begun, begun, _) = hostile(&[0x16, 3, 1]);
    let mut held = Vec::new();
    for piece in [1, 100, 16_384] {
        let hello = endless_hello(piece);
        let (session, now, peak) = hostile(&hello);
        println!("a ClientHello of 64 KiB in records of {piece}: {now} bytes, {peak} at the peak, {:?}", session.why());
        assert!(now <= (HELD_BYTES + (8 << 10)) as i64, "{now} bytes");
        held.push(now.max(peak));
    }
    // What the library refuses by itself is not what fills it most.
    let (session, flood, peak) = hostile(&handshake(&[0; 4]).repeat(QUIET_BYTES / 9 + 1));
    println!("HelloRequests without end: {flood} bytes, {peak} at the peak, {:?}", session.why());
    held.push(flood.max(peak));

    // Done with its handshake: idle, in the middle of a record, and after a flood of data.
    let mut session = new();
    let ((), _, opening) = taken(|| drop(Client::open(&client, &mut session)));
    let ((), idle, _) = taken(|| drop(std::mem::replace(&mut session, new())));
    let (idle, fresh) = (new_bytes(&server) - idle, new_bytes(&server));
    println!(
        "handshake begun: {begun} bytes, {opening} at its peak with both ends; idle: {idle} bytes; new: {fresh} bytes"
    );
    let mut session = new();
    let mut peer = Client::open(&client, &mut session);
    let record = peer.record(&vec![7; 16 << 10]);
    let (whole, last) = record.split_at(record.len() - 1);
    let ((), cut, _) = taken(|| session.receive(whole, |_| {}));
    println!("a record but for its last byte: {cut} bytes more");
    // What is encrypted for a peer that does not read it, as `io::secured` has it, beside that record.
    let mut output = Vec::new();
    let ((), unread, at_once) = taken(|| {
        session.write(&vec![0; ACKS_PER_TLS_WRITE * 30]);
        session.transmit(&mut output);
    });
    println!("acks that are not read: {unread} bytes more, {at_once} at the peak");
    assert!(output.len() > ACKS_PER_TLS_WRITE * 30);
    session.receive(last, |_| {});
    let burst: Vec<u8> = (0..256).flat_map(|_| peer.record(&vec![7; 16 << 10])).collect();
    let mut plain = 0;
    let ((), kept, peak) =
        taken(|| burst.chunks(256 << 10).for_each(|read| session.receive(read, |part| plain += part.len())));
    println!("after 4 MiB of data: {kept} bytes more, {peak} at the peak");
    assert_eq!(plain, 4 << 20);

    let most = held.iter().max().unwrap();
    assert!(begun <= 8 << 10, "{begun} bytes");
    // Its buffer doubles: for a moment there are two.
    assert!(*most <= 2 * HELD_BYTES as i64, "{held:?}");
    assert!(idle <= 16 << 10, "{idle} bytes");
    assert!(idle + cut.max(peak) <= HELD_BYTES as i64, "{idle} bytes idle, {cut} and {peak} more");
    // The acks in clear text are there while they are encrypted, and no longer.
    assert!(idle + cut + unread <= HELD_BYTES as i64, "{idle} bytes idle, {cut} and {unread} more");
    assert!(idle + cut + at_once + (ACKS_PER_TLS_WRITE * 30) as i64 <= 2 * HELD_BYTES as i64, "{at_once} bytes");
}
