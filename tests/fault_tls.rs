//! TLS peers that are hostile, broken or set up wrongly (reliability.md, "HTTP peers", 25 to 28), on both sides: nothing is
//! ever sent in clear text, no record is acked that was not taken, and the log says what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpost_load::sink::Behaviour;
use ringpost_load::source::SourceConfig;
use ringpost_load::tls::{Authority, Pair, Server, Tunnel, Validity, client_config, self_signed};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use support::neighbour::Beside;
use support::tls::{authority, file, pair, settings, tls_sink, with_xdr_tls};
use support::*;

/// What a record that was not taken is answered.
const TEMPORARY: u8 = 11;

/// As [`settings`], with a client certificate.
fn with_client(settings: Settings, authority: &Authority, own: &Pair) -> Settings {
    let folder = folder();
    let ca = file(&folder, "ca.pem", &authority.pem());
    let certificate = file(&folder, "client.pem", &own.certificate);
    let key = file(&folder, "client-key.pem", &own.key);
    settings.set(&format!(
        "tls: {{ ca-file: {}, certificate-file: {}, private-key-file: {} }}",
        ca.display(),
        certificate.display(),
        key.display()
    ))
}

/// A child that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn a_certificate_that_is_not_good_is_named_and_gets_no_record() {
    let (good, other) = (authority(), Authority::new("another authority").unwrap());
    let of = |validity| good.sign(&["localhost"], validity).unwrap();
    let cases = [
        (of(Validity::Expired), "the server's certificate expired"),
        (of(Validity::NotYet), "is not valid for another"),
        (good.sign(&["else.example"], Validity::Now).unwrap(), "is for else.example, not for localhost"),
        (other.sign(&["localhost"], Validity::Now).unwrap(), "is signed by nobody in the trust-store"),
        (self_signed(&["localhost"]).unwrap(), "is signed by nobody in the trust-store"),
    ];
    for protocol in PROTOCOLS {
        for (pair, words) in &cases {
            let sink = tls_sink(&Server::new(pair.clone()), Behaviour::default());
            let mut beside = Beside::start(settings(protocol, sink.addr(), &good), protocol);
            assert_eq!(one_record(beside.connector.addr(), 1), TEMPORARY, "{words}");
            beside.connector.wait_log(words, LONG);
            assert_eq!(sink.ledger().stats().requests, 0, "{words}");
            beside.check_others(words);
        }
    }
}

/// Listens, writes down what comes first on each connection, and answers in clear-text HTTP.
fn clear_text_server() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).unwrap_or(0);
            theirs.lock().unwrap().push(bytes[..length].to_vec());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.read(&mut bytes);
        }
    });
    (address, seen)
}

#[test]
fn a_peer_without_tls_gets_nothing_but_handshakes() {
    for protocol in PROTOCOLS {
        let (address, seen) = clear_text_server();
        let mut beside = Beside::start(settings(protocol, address, &authority()), protocol);
        for sequence in 0..10 {
            assert_eq!(one_record(beside.connector.addr(), sequence), TEMPORARY);
        }
        beside.connector.wait_log("answers in clear-text HTTP", LONG);
        beside.check_others("a peer without TLS");
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        for first in seen.iter() {
            assert!(first.starts_with(&[0x16, 3]), "{}", first.escape_ascii());
            assert!(!first.windows(4).any(|four| four == b"POST" || four == b"PRI "), "{}", first.escape_ascii());
        }
    }
}

#[test]
fn a_peer_that_does_not_agree_on_http2_is_named_and_never_spoken_to_in_another_protocol() {
    for (alpn, words) in [
        (vec![], "agreed on no application protocol (ALPN) in place of h2"),
        (vec!["http/1.1"], "NoApplicationProtocol: it does not speak h2"),
    ] {
        let authority = authority();
        let server = Server { alpn: alpn.clone(), ..Server::new(pair(&authority)) };
        let sink = tls_sink(&server, Behaviour::default());
        let mut beside = Beside::start(settings("HTTP_2", sink.addr(), &authority), "HTTP_2");
        assert_eq!(one_record(beside.connector.addr(), 1), TEMPORARY);
        beside.connector.wait_log(words, LONG);
        beside.connector.wait_log("set protocol: HTTP_1_1", LONG);
        assert_eq!(sink.ledger().stats().requests, 0, "{alpn:?}");
        beside.check_others(words);
        let mut connector = settings("HTTP_1_1", sink.addr(), &authority).start();
        assert_eq!(one_record(connector.addr(), 1), 0, "{alpn:?} is enough for HTTP/1.1");
        connector.stop();
    }
}

#[test]
fn a_peer_with_tls_1_2_only_is_spoken_to() {
    for protocol in PROTOCOLS {
        let authority = authority();
        let sink = tls_sink(&Server { only_tls12: true, ..Server::new(pair(&authority)) }, Behaviour::default());
        let mut connector = settings(protocol, sink.addr(), &authority).start();
        let run = oracle::watched(source(connector.addr(), 2, 500), &[&sink]);
        let report = run.finish(&[&sink]);
        assert_eq!(sink.ledger().stats().duplicates, 0, "{:?}", oracle::codes(&report));
        connector.stop();
    }
}

#[test]
fn a_client_certificate_that_is_refused_after_the_handshake_is_a_failure_to_connect() {
    // TLS 1.3: the client is done before the server has looked at its certificate.
    let (theirs, ours) = (authority(), Authority::new("nobody's authority").unwrap());
    let own = ours.sign(&["connector"], Validity::Now).unwrap();
    for protocol in PROTOCOLS {
        let server = Server { clients: Some(theirs.pem()), ..Server::new(pair(&theirs)) };
        let sink = tls_sink(&server, Behaviour::default());
        let plain = settings(protocol, sink.addr(), &theirs);
        let mut beside = Beside::start(with_client(plain, &theirs, &own), protocol);
        for sequence in 0..20 {
            assert_eq!(one_record(beside.connector.addr(), sequence), TEMPORARY);
        }
        beside.connector.wait_log("cannot connect: TLS: the server sent the TLS alert", LONG);
        beside.connector.wait_log("unhealthy", LONG);
        let stats = sink.ledger().stats();
        assert_eq!(stats.requests, 0);
        // Three to find out, then one a second and probes: no storm.
        assert!(stats.connections < 20, "{} connections", stats.connections);
        beside.check_others("a client certificate that is refused");
    }
}

#[test]
fn openssl_refuses_our_client_certificate_after_the_handshake() {
    let (theirs, ours) = (authority(), Authority::new("nobody's authority").unwrap());
    let own = ours.sign(&["connector"], Validity::Now).unwrap();
    let folder = folder();
    let server = pair(&theirs);
    let certificate = file(&folder, "server.pem", &server.certificate);
    let key = file(&folder, "server-key.pem", &server.key);
    let ca = file(&folder, "ca.pem", &theirs.pem());
    let port = free_port();
    let text = |path: &PathBuf| path.display().to_string();
    let (port_text, certificate, key, ca) = (port.to_string(), text(&certificate), text(&key), text(&ca));
    let arguments = [
        "s_server",
        "-accept",
        &port_text,
        "-cert",
        &certificate,
        "-key",
        &key,
        "-CAfile",
        &ca,
        "-Verify",
        "1",
        "-verify_return_error",
        "-tls1_3",
        "-quiet",
    ];
    let _server = Ends(openssl(&arguments).spawn().expect("openssl is installed"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("openssl listens", LONG, || TcpStream::connect(address).is_ok());
    let mut connector = with_client(settings("HTTP_1_1", address, &theirs), &theirs, &own).start();
    for sequence in 0..5 {
        assert_eq!(one_record(connector.addr(), sequence), TEMPORARY);
    }
    connector.wait_log("cannot connect: TLS: the server sent the TLS alert", LONG);
    connector.wait_log("unhealthy", LONG);
    connector.stop();
}

#[test]
fn a_handshake_that_stands_still_ends_with_call_timeout() {
    let (_listener, address) = silent_listener();
    let settings = settings("HTTP_2", address, &authority()).set("call-timeout: 400");
    let mut beside = Beside::start(settings, "HTTP_2");
    assert_eq!(one_record(beside.connector.addr(), 1), TEMPORARY);
    beside.connector.wait_log("the handshake was not done within call-timeout", LONG);
    beside.check_others("a handshake that stands still");
}

/// One TLS connection after another, each served by `serve`.
fn scripted(server: &Server, serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = server.config().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(connection, stream));
        }
    });
    address
}

#[test]
fn an_answer_that_the_end_of_the_connection_completes_counts_only_with_close_notify() {
    for (whole, code) in [(true, 0), (false, TEMPORARY)] {
        let authority = authority();
        let address = scripted(&Server::new(pair(&authority)), move |mut stream| {
            let mut bytes = [0; 4096];
            let mut seen = Vec::new();
            // Head and body come in one write.
            while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut bytes) {
                    Ok(length @ 1..) => seen.extend_from_slice(&bytes[..length]),
                    _ => return,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nmore of this may be to com");
            if whole {
                stream.conn.send_close_notify();
            }
            let _ = stream.flush();
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        });
        let mut beside = Beside::start(settings("HTTP_1_1", address, &authority), "HTTP_1_1");
        assert_eq!(one_record(beside.connector.addr(), 1), code, "whole: {whole}");
        beside.check_others("an answer that the end completes");
    }
}

#[test]
fn a_peer_that_asks_for_new_keys_for_ever_is_left() {
    let authority = authority();
    let address = scripted(&Server::new(pair(&authority)), |mut stream| {
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        for _ in 0..10_000 {
            if stream.conn.refresh_traffic_keys().is_err() || stream.flush().is_err() {
                return;
            }
        }
    });
    let mut beside = Beside::start(settings("HTTP_2", address, &authority), "HTTP_2");
    assert_eq!(one_record(beside.connector.addr(), 1), TEMPORARY);
    beside.connector.wait_log("asks for new keys again and again", LONG);
    beside.check_others("a peer that asks for new keys for ever");
}

#[test]
fn records_pass_in_tls_on_both_sides_and_none_is_lost() {
    for protocol in PROTOCOLS {
        let authority = authority();
        let behaviour = Behaviour {
            error_probability: 0.05,
            requests_per_connection: Some(200),
            ..Behaviour::latency(Duration::ZERO, Duration::from_millis(5))
        };
        let sink = tls_sink(&Server::new(pair(&authority)), behaviour);
        let settings = settings(protocol, sink.addr(), &authority).executors(2);
        let (settings, port) = with_xdr_tls(settings, &pair(&authority), "");
        let mut beside = Beside::start(settings, protocol);
        let tunnel = Tunnel::spawn(port, "localhost", client_config(&authority.pem(), None).unwrap()).unwrap();
        let config =
            SourceConfig { lap: Duration::from_millis(20), ..source(tunnel.addr(), 4, by_length(5_000, 500_000)) };
        let report = oracle::watched(config, &[&sink]).finish(&[&sink]);
        eprintln!("{protocol}: {:?}, {} duplicates", oracle::codes(&report), sink.ledger().stats().duplicates);
        assert_eq!(tunnel.failed(), 0, "no connection was cut");
        beside.check(protocol, &[&report], &[&sink]);
    }
}

#[test]
fn only_clients_with_an_allowed_name_send_records() {
    let authority = authority();
    let sink = sink(Behaviour::default());
    let ca = file(&folder(), "ca.pem", &authority.pem());
    let more = format!(", ca-file: {}, allowed-peer-names: [ node.example ]", ca.display());
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]);
    let (settings, port) = with_xdr_tls(settings, &pair(&authority), &more);
    let mut connector = settings.start();
    let tunnel =
        |own: Option<&Pair>| Tunnel::spawn(port, "localhost", client_config(&authority.pem(), own).unwrap()).unwrap();
    let refused = |tunnel: &Tunnel| {
        let mut client = client(tunnel.addr());
        client.send_frame(&frames(7, 1)).and_then(|()| client.read_ack().map(drop)).is_err()
    };
    let right = authority.sign(&["node.example"], Validity::Now).unwrap();
    let wrong = authority.sign(&["other.example"], Validity::Now).unwrap();
    let stranger = Authority::new("stranger").unwrap().sign(&["node.example"], Validity::Now).unwrap();
    assert_eq!(one_record(tunnel(Some(&right)).addr(), 1), 0);
    for (own, words) in [
        (None, "the client shows no certificate"),
        (Some(&wrong), "is for none of `allowed-peer-names`"),
        (Some(&stranger), "the client's certificate is signed by nobody in"),
    ] {
        assert!(refused(&tunnel(own)), "{words}");
        connector.wait_log(words, LONG);
        // One line a second for such a cause.
        std::thread::sleep(Duration::from_millis(1_050));
    }
    assert_eq!(sink.ledger().stats().delivered, 1, "only the first one's");
    connector.stop();
}

#[test]
fn clear_text_on_a_tls_port_and_tls_on_a_clear_port_are_named() {
    let authority = authority();
    let sink = sink(Behaviour::default());
    let (settings, port) = with_xdr_tls(Settings::to("HTTP_1_1", &[sink.addr()]), &pair(&authority), "");
    let mut connector = settings.start();
    let mut clear = client(port);
    clear.send_frame(&frames(1, 1)).unwrap();
    assert!(clear.read_ack().is_err());
    connector.wait_log("clear-text Aerospike XDR on a TLS port", LONG);
    std::thread::sleep(Duration::from_millis(1_050));
    let tunnel = Tunnel::spawn(connector.addr(), "localhost", client_config(&authority.pem(), None).unwrap()).unwrap();
    let mut client = client(tunnel.addr());
    let _ = client.send_frame(&frames(2, 1));
    assert!(client.read_ack().is_err());
    connector.wait_log("looks like TLS (a ClientHello) on a clear-text XDR port", LONG);
    assert_eq!(sink.ledger().stats().requests, 0);
    connector.stop();
}

#[test]
fn an_xdr_handshake_that_stands_still_is_ended() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]).limit("partial-frame-timeout: 1s");
    let (settings, port) = with_xdr_tls(settings, &pair(&authority()), "");
    let mut beside = Beside::start(settings, "HTTP_1_1");
    let mut half = connect(port);
    half.write_all(&[0x16, 3, 1]).unwrap();
    beside.connector.wait_log("its TLS handshake was not done within limits.partial-frame-timeout", LONG);
    half.set_read_timeout(Some(LONG)).unwrap();
    assert!(matches!(half.read(&mut [0; 64]), Ok(0) | Err(_)), "closed");
    beside.check_others("an XDR handshake that stands still");
}

#[test]
fn a_tls_record_that_stays_partial_is_ended_and_an_idle_session_is_not() {
    let (authority, sink) = (authority(), sink(Behaviour::default()));
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]).limit("partial-frame-timeout: 1s");
    let (settings, port) = with_xdr_tls(settings, &pair(&authority), "");
    let mut beside = Beside::start(settings, "HTTP_1_1");
    let open = || {
        let config = client_config(&authority.pem(), None).unwrap();
        let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, connect(port));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.sock.set_read_timeout(Some(LONG)).unwrap();
        stream
    };
    let mut idle = open();
    // A whole frame, and all of a record but its last byte: by frames alone nothing is missing.
    let mut half = open();
    half.write_all(&frames(0, 1)).unwrap();
    let mut ack = [0; 30];
    half.read_exact(&mut ack).unwrap();
    half.conn.writer().write_all(&frames(1, 1)).unwrap();
    let mut cipher = Vec::new();
    half.conn.write_tls(&mut cipher).unwrap();
    half.sock.write_all(&cipher[..cipher.len() - 1]).unwrap();
    beside.connector.wait_log("a TLS record was not completed within limits.partial-frame-timeout", LONG);
    assert!(matches!(half.sock.read(&mut [0; 64]), Ok(0) | Err(_)), "closed");
    std::thread::sleep(Duration::from_millis(1_500));
    idle.write_all(&frames(2, 1)).unwrap();
    idle.read_exact(&mut ack).unwrap();
    assert_eq!(
        ringpost_load::source::ack::parse(&ack),
        Ok(0),
        "it was idle between two records for as long as it liked"
    );
    beside.check_others("a TLS record that stays partial");
}

/// All of a ClientHello but its end, as long as the library takes it, in as few records as it fits into.
fn endless_hello() -> Vec<u8> {
    let mut hello = vec![1, 0, 0xff, 0xff, 3, 3];
    hello.resize(64_000, 0);
    let record = |part: &[u8]| [&[0x16, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
    hello.chunks(1 << 14).flat_map(record).collect()
}

#[test]
fn handshakes_that_stand_still_crowd_each_other_out_and_nobody_else() {
    let (authority, sink) = (authority(), sink(Behaviour::default()));
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]).executors(1);
    let (settings, port) = with_xdr_tls(settings, &pair(&authority), "");
    let mut beside = Beside::start(settings, "HTTP_1_1");
    let calm = beside.connector.memory_kib("VmHWM");
    let hello = endless_hello();
    let halves: Vec<TcpStream> = (0..600)
        .map(|_| {
            let mut half = connect(port);
            // Its turn to be crowded out may come before it is done.
            let _ = half.write_all(&hello);
            half
        })
        .collect();
    beside.connector.wait_log("its TLS handshake was the oldest of more than 256 on one executor", LONG);
    let tunnel = Tunnel::spawn(port, "localhost", client_config(&authority.pem(), None).unwrap()).unwrap();
    assert_eq!(one_record(tunnel.addr(), 0), 0, "an honest peer is served");
    assert_eq!(one_record(beside.connector.addr(), 1), 0, "and on the clear port, too");
    let is_open = |half: &TcpStream| {
        half.set_nonblocking(true).unwrap();
        matches!((&*half).read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let open = halves.iter().filter(|half| is_open(half)).count();
    assert!((250..=256).contains(&open), "{open} of 600 are left");
    let taken = beside.connector.memory_kib("VmHWM") - calm;
    eprintln!("{open} handshakes that stand still hold {taken} KiB");
    assert!(taken <= 256 * 128, "{taken} KiB for 256 handshakes of at most 128 KiB");
    drop(halves);
    beside.check_others("handshakes that stand still");
    assert_eq!(oracle::totals(&beside.connector)["handshakes_crowded_out"], 600 + 1 - 256);
}

#[test]
fn openssl_sends_records_to_a_tls_port() {
    let authority = authority();
    let sink = sink(Behaviour::default());
    let (settings, port) = with_xdr_tls(Settings::to("HTTP_2", &[sink.addr()]), &pair(&authority), "");
    let mut connector = settings.start();
    let ca = file(&folder(), "ca.pem", &authority.pem()).display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let to = port.to_string();
        let arguments = ["s_client", "-connect", &to, "-CAfile", &ca, "-verify_return_error", "-quiet", version];
        let mut client = Ends(openssl(&arguments).spawn().expect("openssl is installed"));
        client.0.stdin.as_mut().unwrap().write_all(&frames(0, 3)).unwrap();
        let mut acks = [0; 3 * 30];
        client.0.stdout.as_mut().unwrap().read_exact(&mut acks).unwrap();
        for ack in acks.chunks(30) {
            assert_eq!(ringpost_load::source::ack::parse(ack.try_into().unwrap()), Ok(0), "{version}");
        }
    }
    connector.stop();
}
