//! The fault proxy, between plain sockets of the standard library.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringpost_load::proxy::{Accept, Corrupt, Cut, Ending, Faults, Link, Proxy, ProxyConfig, ProxyHandle};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

fn proxy(target: SocketAddr, faults: Faults) -> ProxyHandle {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Proxy::spawn(ProxyConfig { address, target, faults, seed: 7 }).unwrap()
}

/// Both ends of a connection through `proxy`.
fn pair(listener: &TcpListener, proxy: &ProxyHandle) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.addr()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(LONG)).unwrap();
        end.set_write_timeout(Some(LONG)).unwrap();
    }
    (client, server)
}

fn through(faults: Faults) -> (TcpStream, TcpStream, ProxyHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy(listener.local_addr().unwrap(), faults);
    let (client, server) = pair(&listener, &proxy);
    (client, server, proxy)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Everything up to the end; the error that ended it, if it was none.
fn drain(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut all = Vec::new();
    let ended = stream.read_to_end(&mut all);
    (all, ended.err().map(|error| error.kind()))
}

fn cut(after: u64, ending: Ending) -> Link {
    Link { cut: Some(Cut { after, ending }), ..Link::default() }
}

#[test]
fn bytes_and_half_closes_pass_unchanged_in_both_directions() {
    let slow = Link { latency: (Duration::ZERO, Duration::from_millis(3)), slice: Some(100), ..Link::default() };
    for faults in [Faults::default(), Faults::both(slow)] {
        let (mut client, mut server, proxy) = through(faults);
        let (request, answer) = (pattern(100_000), pattern(50_000));
        let writer = std::thread::spawn({
            let (request, mut client) = (request.clone(), client.try_clone().unwrap());
            move || {
                client.write_all(&request).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            }
        });
        assert!(drain(&mut server) == (request, None));
        server.write_all(&answer).unwrap();
        drop(server);
        assert!(drain(&mut client) == (answer, None));
        writer.join().unwrap();
        let stats = proxy.stats();
        assert_eq!((stats.connections, stats.bytes_up, stats.bytes_down), (1, 100_000, 50_000));
        assert_eq!(stats.faults(), 0);
    }
}

#[test]
fn a_cut_lets_exactly_so_many_bytes_through() {
    for after in [0, 1, 999, 20_000] {
        let (mut client, mut server, proxy) = through(Faults { up: cut(after, Ending::Close), ..Faults::default() });
        // Nobody may be there any more for the rest.
        let _ = client.write_all(&pattern(40_000));
        assert_eq!(drain(&mut server).0, pattern(after as usize));
        assert_eq!(proxy.stats().cuts, 1);

        let (mut client, mut server, _proxy) =
            through(Faults { down: cut(after, Ending::HalfClose), ..Faults::default() });
        server.write_all(&pattern(40_000)).unwrap();
        assert_eq!(drain(&mut client), (pattern(after as usize), None));
        // The other direction goes on.
        client.write_all(b"still here").unwrap();
        let mut still = [0; 10];
        server.read_exact(&mut still).unwrap();
        assert_eq!(&still, b"still here");
    }
}

#[test]
fn resets_are_resets_and_silence_is_silence() {
    let (mut client, mut server, _proxy) = through(Faults { up: cut(5, Ending::Reset), ..Faults::default() });
    client.write_all(b"more than five").unwrap();
    for end in [&mut client, &mut server] {
        assert_eq!(drain(end).1, Some(ErrorKind::ConnectionReset));
    }
    let (mut client, mut server, proxy) = through(Faults { up: cut(5, Ending::Silence), ..Faults::default() });
    client.write_all(b"more than five").unwrap();
    let mut five = [0; 5];
    server.read_exact(&mut five).unwrap();
    server.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(server.read(&mut five).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.kill_connections(Ending::Reset);
    server.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(drain(&mut server).1, Some(ErrorKind::ConnectionReset));
    // A reset of one end reaches the other as one.
    let (client, mut server, _proxy) = through(Faults::default());
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(drain(&mut server).1, Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_stall_loses_nothing_and_goes_on() {
    let (mut client, mut server, proxy) = through(Faults::both(Link { stall: true, ..Link::default() }));
    client.write_all(b"hello").unwrap();
    server.set_read_timeout(Some(SHORT)).unwrap();
    let mut hello = [0; 5];
    assert_eq!(server.read(&mut hello).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.heal().unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    server.read_exact(&mut hello).unwrap();
    assert_eq!((&hello, proxy.stats().stalls), (b"hello", 1));
}

#[test]
fn latency_and_bandwidth_take_their_time() {
    let latency = Link { latency: (SHORT, SHORT), ..Link::default() };
    let (mut client, mut server, _proxy) = through(Faults { up: latency, ..Faults::default() });
    let started = Instant::now();
    client.write_all(b"a").unwrap();
    server.read_exact(&mut [0]).unwrap();
    assert!(started.elapsed() >= SHORT);

    let narrow = Link { bandwidth: Some(100_000), ..Link::default() };
    let (mut client, mut server, _proxy) = through(Faults { up: narrow, ..Faults::default() });
    let started = Instant::now();
    client.write_all(&pattern(30_000)).unwrap();
    drop(client);
    assert!(drain(&mut server).0 == pattern(30_000));
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
}

#[test]
fn what_is_not_read_at_the_target_is_soon_not_taken_from_the_sender() {
    const ALL: usize = 64 << 20;
    let (client, mut server, _proxy) = through(Faults::default());
    client.set_write_timeout(Some(SHORT)).unwrap();
    let (all, mut taken) = (pattern(ALL), 0);
    while taken < ALL
        && let Ok(length) = (&client).write(&all[taken..])
    {
        taken += length;
    }
    assert!(taken < ALL, "the proxy took all of it");
    let reader = std::thread::spawn(move || drain(&mut server).0);
    client.set_write_timeout(Some(LONG)).unwrap();
    (&client).write_all(&all[taken..]).unwrap();
    drop(client);
    assert!(reader.join().unwrap() == all, "all arrives, in order");
}

#[test]
fn the_same_seed_changes_the_same_bytes() {
    let corrupt = Corrupt { offsets: 10..60, probability: 0.5 };
    let faults = Faults { up: Link { corrupt: Some(corrupt), ..Link::default() }, ..Faults::default() };
    let run = || {
        let (mut client, mut server, proxy) = through(faults.clone());
        client.write_all(&pattern(100)).unwrap();
        drop(client);
        (drain(&mut server).0, proxy.stats().corrupted)
    };
    let (bytes, changed) = run();
    let differing: Vec<usize> = (0..100).filter(|at| bytes[*at] != pattern(100)[*at]).collect();
    assert_eq!(differing.len() as u64, changed);
    assert!((10..40).contains(&changed) && differing.iter().all(|at| (10..60).contains(at)), "{differing:?}");
    assert_eq!(run(), (bytes, changed));
}

#[test]
fn new_connections_are_refused_reset_closed_or_left_hanging() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy(listener.local_addr().unwrap(), Faults::accept(Accept::Refuse));
    assert_eq!(TcpStream::connect(proxy.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    for (accept, ending) in [
        (Accept::Reset, Err(ErrorKind::ConnectionReset)),
        (Accept::Close, Ok(0)),
        (Accept::Hang, Err(ErrorKind::WouldBlock)),
    ] {
        proxy.set(Faults::accept(accept)).unwrap();
        let mut client = TcpStream::connect(proxy.addr()).unwrap();
        client.set_read_timeout(Some(if accept == Accept::Hang { SHORT } else { LONG })).unwrap();
        assert_eq!(client.read(&mut [0]).map_err(|error| error.kind()), ending, "{accept:?}");
    }
    proxy.heal().unwrap();
    let (mut client, mut server) = pair(&listener, &proxy);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    assert_eq!((proxy.stats().turned_away, proxy.stats().forwarded), (3, 1));
}

#[test]
fn flapping_goes_down_with_all_connections_and_comes_up_on_the_same_port() {
    let (mut client, _server, proxy) = through(Faults::default());
    proxy.set(Faults { flap: Some((SHORT, SHORT)), ..Faults::default() }).unwrap();
    assert_eq!(drain(&mut client).1, Some(ErrorKind::ConnectionReset));
    let started = Instant::now();
    let (mut refused, mut taken) = (0, 0);
    while (refused == 0 || taken == 0) && started.elapsed() < LONG {
        match TcpStream::connect(proxy.addr()) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        refused > 0 && taken > 0 && proxy.stats().flaps > 0,
        "{refused} refused, {taken} taken, {:?}",
        proxy.stats()
    );
}

#[test]
fn lives_end_and_a_share_is_a_share() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let faults = Faults { share: Some(0.5), ..Faults::life(SHORT / 10, SHORT / 2, Ending::Close) };
    let proxy = proxy(listener.local_addr().unwrap(), faults);
    let pairs: Vec<_> = (0..40).map(|_| pair(&listener, &proxy)).collect();
    std::thread::sleep(SHORT * 2);
    let ended = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        (&mut &*client).read(&mut [0]).is_ok()
    };
    let count = pairs.iter().filter(|(client, _)| ended(client)).count();
    assert!((5..=35).contains(&count), "{count} of 40");
    assert_eq!(proxy.stats().lives, count as u64);
}
