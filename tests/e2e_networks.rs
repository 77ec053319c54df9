//! `service.allowed-networks`: a connection from elsewhere is closed before a byte is read, and named in the log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use ringpost_load::sink::Behaviour;
use support::{LONG, Settings, frames, one_record, sink};

/// A connection to `to` that comes from `from`, with one record sent on it.
fn send_from(from: Ipv4Addr, to: SocketAddr, sequence: u64) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG)).unwrap();
    // The connector may have closed it by now.
    let _ = stream.write_all(&frames(sequence, 1));
    stream
}

#[test]
fn connections_from_other_networks_are_closed_and_the_others_go_on() {
    let sink = sink(Behaviour::default());
    let mut settings = Settings::to("HTTP_2", &[sink.addr()]);
    settings.service.push("allowed-networks: [ 127.0.0.0/31, 10.0.0.0/8, \"::1\" ]".to_owned());
    let mut connector = settings.start();

    let mut answer = [0; 64];
    for (number, foreign) in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 1, 0, 1)].into_iter().enumerate() {
        let mut stream = send_from(foreign, connector.addr(), 100 + number as u64);
        let read = stream.read(&mut answer);
        assert!(matches!(read, Ok(0) | Err(_)), "no ack for {foreign}: {read:?}");
        if let Err(error) = read {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "closed, not left hanging");
        }
    }
    connector.wait_log("127.0.0.2:", LONG);
    connector.wait_log("service.allowed-networks does not name its network", LONG);

    assert_eq!(one_record(connector.addr(), 1), 0, "127.0.0.1 is inside 127.0.0.0/31");
    assert_eq!(sink.ledger().stats().delivered, 1, "nothing of the others was delivered");
    connector.stop();
}
