//! Connections to destinations with the real binary: old ones are replaced, places move between executors, silent peers
//! are found, every address of a name is used, and IPv6.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpost::config::{self, UnknownKeys};
use ringpost::io::Connector;
use ringpost::io::resolve::{LookUp, Pace};
use ringpost_load::sink::{Behaviour, Sink, SinkConfig, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::*;

/// A sink on an address of choice.
fn sink_at(address: IpAddr, port: u16) -> SinkHandle {
    Sink::spawn(SinkConfig { address: SocketAddr::new(address, port), ..SinkConfig::default() }).unwrap()
}

/// Descriptors of established connections to `port` that the process has.
fn connections(process: &Process, port: u16) -> usize {
    let mine: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(2).is_some_and(|address| address.ends_with(&remote))
            && columns.get(3) == Some(&"01")
            && mine.contains(&format!("socket:[{}]", columns[9]))
    };
    text.lines().skip(1).filter(is_ours).count()
}

/// Each connection lives 300 ms at most; nothing is lost, sent twice or answered 11 because of it.
#[test]
fn connections_are_replaced_under_load_without_a_lost_or_repeated_record() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(8)));
        let settings = Settings::to(protocol, &[sink.addr()]).executors(2).set("connection-ttl: 300");
        let mut connector = settings.set("max-connections-per-endpoint: 8").start();
        let load = SourceConfig { rate: Some(2_000.0), window: 64, ..source(connector.addr(), 4, 6_000) };
        let run = oracle::watched(load, &[&sink]);
        let mut most = 0;
        wait_until("all records are sent", LONG, || {
            most = most.max(connections(&connector, sink.addr().port()));
            run.is_finished()
        });
        let report = run.finish(&[&sink]);
        let stats = sink.ledger().stats();
        eprintln!("{protocol}: {} connections, at most {most} at a time", stats.connections);
        assert_eq!((oracle::codes(&report), stats.duplicates), (vec![(0, 6_000)], 0), "{protocol}");
        // 3 s of load are ten lives of each connection.
        assert!(stats.connections >= 8, "{protocol}: {}", stats.connections);
        // Those with a place (8, and one for the other executor), being opened (4 each), finishing (4 each).
        assert!(most <= 9 + 8 + 8, "{protocol}: {most}");
        connector.stop();
    }
}

#[test]
fn places_move_to_the_executor_that_has_records_and_stay_within_the_number() {
    let slow = Behaviour::latency(Duration::from_millis(20), Duration::from_millis(20));
    let sink = sink(slow);
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]).executors(2).set("max-connections-per-endpoint: 8");
    let mut connector = settings.start();
    let port = sink.addr().port();
    // One XDR connection: one executor has it.
    let first = SourceConfig { window: 64, ..source(connector.addr(), 1, 400) };
    let run = oracle::watched(first, &[&sink]);
    wait_until("one executor has all places", LONG, || connections(&connector, port) == 8);
    run.finish(&[&sink]);
    // Two: both want all of them.
    let both = SourceConfig { window: 64, first_sequence: 400, ..source(connector.addr(), 2, 1_200) };
    let run = oracle::watched(both, &[]);
    let mut most = 0;
    wait_until("all records are sent", LONG, || {
        most = most.max(connections(&connector, port));
        run.is_finished()
    });
    let report = run.finish(&[]);
    assert_eq!(oracle::codes(&report), [(0, 1_200)]);
    assert_eq!(sink.ledger().stats().duplicates, 0);
    assert!((8..=8 + 1 + 8).contains(&most), "{most}");
    connector.stop();
}

/// A destination that vanishes without a word: its socket stays, nothing is read or written any more.
#[test]
fn a_peer_that_falls_silent_is_found_by_ping_and_its_requests_end_together() {
    let sink = sink(Behaviour::default());
    let swallow = Swallow::start(sink.addr());
    let mut connector = Settings::to("HTTP_2", &[swallow.address])
        .set("max-connections-per-endpoint: 1")
        .set("call-timeout: 60000")
        .limit("record-deadline: 9s")
        .start();
    let mut client = client(connector.addr());
    client.send_frame(&frames(0, 1)).unwrap();
    assert_eq!(acks(&mut client, 1), [0]);
    swallow.swallow();
    client.send_frame(&frames(1, 20)).unwrap();
    // Far before the deadline of 9 s.
    let began = std::time::Instant::now();
    assert_eq!(acks(&mut client, 20), [11; 20]);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(4) && waited < Duration::from_secs(8), "{waited:?}");
    connector.wait_log("answered neither a PING nor anything else", LONG);
    swallow.pass();
    client.send_frame(&frames(21, 20)).unwrap();
    assert_eq!(acks(&mut client, 20), [0; 20]);
    connector.stop();
}

/// Passes bytes on, until it is told to swallow them.
struct Swallow {
    address: SocketAddr,
    swallows: Arc<std::sync::atomic::AtomicBool>,
}

impl Swallow {
    fn start(to: SocketAddr) -> Swallow {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let swallows = Arc::<std::sync::atomic::AtomicBool>::default();
        let shared = Arc::clone(&swallows);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(near), Ok(far)) = (stream, std::net::TcpStream::connect(to)) else { return };
                for (from, to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))] {
                    let (mut from, mut to, shared) = (from.unwrap(), to.unwrap(), Arc::clone(&shared));
                    std::thread::spawn(move || {
                        let mut bytes = [0; 16 * 1024];
                        while let Ok(count @ 1..) = std::io::Read::read(&mut from, &mut bytes) {
                            if !shared.load(std::sync::atomic::Ordering::Acquire)
                                && std::io::Write::write_all(&mut to, &bytes[..count]).is_err()
                            {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Swallow { address, swallows }
    }

    fn swallow(&self) {
        self.swallows.store(true, std::sync::atomic::Ordering::Release);
    }

    fn pass(&self) {
        self.swallows.store(false, std::sync::atomic::Ordering::Release);
    }
}

#[test]
fn a_url_with_an_ipv6_address_is_delivered_to() {
    for protocol in PROTOCOLS {
        let sink = sink_at(Ipv6Addr::LOCALHOST.into(), 0);
        let mut settings = Settings::to(protocol, &[]);
        settings.destinations[0].urls = vec![format!("\"http://{}/records\"", sink.addr())];
        let mut connector = settings.start();
        let run = oracle::watched(source(connector.addr(), 2, 500), &[&sink]);
        assert_eq!(oracle::codes(&run.finish(&[&sink])), [(0, 500)], "{protocol}");
        connector.stop();
    }
}

/// The connector inside this process, with names that the test makes up.
struct Inside {
    connector: Connector,
    names: Arc<Mutex<Vec<IpAddr>>>,
}

const PACE: Pace =
    Pace { interval: Duration::from_millis(100), retry: Duration::from_millis(20), start: Duration::from_millis(500) };

fn inside(settings: &Settings, pace: Pace, addresses: &[IpAddr]) -> Inside {
    let names = Arc::new(Mutex::new(addresses.to_vec()));
    let table = Arc::clone(&names);
    let look_up = move |_: &str, port: u16| -> std::io::Result<Vec<SocketAddr>> {
        Ok(table.lock().unwrap().iter().map(|address| SocketAddr::new(*address, port)).collect())
    };
    Inside { connector: connector(settings, pace, Arc::new(look_up)), names }
}

fn connector(settings: &Settings, pace: Pace, look_up: Arc<LookUp>) -> Connector {
    let folder = folder();
    let file = folder.join("ringpost.yml");
    std::fs::write(&file, settings.yaml(&folder.join("ringpost.log"))).unwrap();
    let loaded = config::load(&file, UnknownKeys::Error);
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.faults));
    let _ = std::fs::remove_dir_all(&folder);
    Connector::start_with(config, pace, look_up).unwrap()
}

/// A destination by name, whose sinks listen at several addresses and one port.
fn by_name(protocol: &str, port: u16) -> Settings {
    let mut settings = Settings::to(protocol, &[]).set("connect-timeout: 2000");
    settings.destinations[0].urls = vec![format!("http://sinks.test:{port}/records")];
    settings
}

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn address(settings: &Settings) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], settings.port))
}

#[test]
fn all_addresses_of_a_name_are_used_in_both_families() {
    let port = free_port();
    let sinks = [ONE, TWO, SIX].map(|address| sink_at(address, port));
    let settings = by_name("HTTP_1_1", port).set("max-connections-per-endpoint: 12");
    let mut inside = inside(&settings, PACE, &[ONE, TWO, SIX]);
    let load = SourceConfig { window: 64, ..source(address(&settings), 4, 3_000) };
    let report = oracle::watched(load, &[]).finish(&[]);
    assert_eq!(oracle::codes(&report), [(0, 3_000)]);
    let stats = sinks.each_ref().map(|sink| sink.ledger().stats());
    assert!(stats.iter().all(|stats| stats.connections >= 2), "{stats:?}");
    assert_eq!(stats.iter().map(|stats| stats.delivered).sum::<u64>(), 3_000);
    inside.connector.stop();
    assert!(inside.connector.join());
}

#[test]
fn a_dead_address_of_a_name_takes_no_record_from_the_others() {
    let port = free_port();
    let sink = sink_at(TWO, port);
    let settings = by_name("HTTP_2", port);
    let mut inside = inside(&settings, PACE, &[SIX, ONE, TWO]);
    let report = oracle::watched(source(address(&settings), 2, 500), &[&sink]).finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, 500)]);
    inside.connector.stop();
    assert!(inside.connector.join());
}

/// The name moves under load: records move with it, and none is lost, repeated or answered 11.
#[test]
fn traffic_moves_when_a_name_gets_other_addresses() {
    let port = free_port();
    let (old, new) = (sink_at(ONE, port), sink_at(TWO, port));
    let settings = by_name("HTTP_2", port).set("max-connections-per-endpoint: 1");
    let mut inside = inside(&settings, PACE, &[ONE]);
    let load = SourceConfig { rate: Some(1_000.0), window: 64, ..source(address(&settings), 4, 12_000) };
    let run = oracle::watched(load, &[]);
    wait_until("records flow", LONG, || old.ledger().stats().delivered > 500);
    *inside.names.lock().unwrap() = vec![TWO];
    wait_until("records go to the new address", LONG, || new.ledger().stats().delivered > 500);
    let moved = old.ledger().stats().delivered;
    wait_until("more records go there", LONG, || new.ledger().stats().delivered > 2_000);
    eprintln!("{moved} to the old address until 500 went to the new one");
    let stays = old.ledger().stats().delivered;
    wait_until("more records go there", LONG, || new.ledger().stats().delivered > 4_000);
    assert_eq!(old.ledger().stats().delivered, stays, "within five seconds all have moved");
    let report = run.finish(&[]);
    assert_eq!(oracle::codes(&report), [(0, 12_000)]);
    assert_eq!(old.ledger().stats().duplicates + new.ledger().stats().duplicates, 0);
    inside.connector.stop();
    assert!(inside.connector.join());
}

/// A resolver that never answers holds neither the start nor the records of other destinations.
#[test]
fn a_dead_resolver_holds_neither_the_start_nor_another_destination() {
    let sink = sink(Behaviour::default());
    let mut settings = by_name("HTTP_1_1", 9).and("HTTP_2", &[sink.addr()]);
    settings.routing = Some("{ mode: static-multi-destination, destinations: [ d1 ] }".to_owned());
    settings.destinations[1].urls = vec![format!("http://good.test:{}/records", sink.addr().port())];
    let (release, hang) = std::sync::mpsc::channel::<()>();
    let hang = Mutex::new(hang);
    let look_up = move |host: &str, port: u16| {
        if host == "sinks.test" {
            let _ = hang.lock().unwrap().recv();
        }
        Ok(vec![SocketAddr::new(ONE, port)])
    };
    let began = std::time::Instant::now();
    let mut connector = connector(&settings, Pace::default(), Arc::new(look_up));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let report = oracle::watched(source(address(&settings), 1, 200), &[&sink]).finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, 200)]);
    drop(release);
    connector.stop();
    assert!(connector.join());
}
