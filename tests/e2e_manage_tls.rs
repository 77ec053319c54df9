//! TLS of the manage port: `service.manage.tls`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use ringpost_load::sink::Behaviour;
use ringpost_load::tls::{Authority, Pair, Tunnel, Validity, client_config};
use support::manage::{BASE, ask, with_manage};
use support::tls::{authority, file, pair};
use support::*;

/// Settings with such a port, its address, and the files of its certificate.
fn settings(own: &Pair, more: &str) -> (Settings, SocketAddr, [std::path::PathBuf; 2]) {
    let folder = folder();
    let files = [file(&folder, "manage.pem", &own.certificate), file(&folder, "manage-key.pem", &own.key)];
    let [certificate, key] = files.each_ref().map(|path| path.display());
    let tls = format!(", tls: {{ certificate-file: {certificate}, private-key-file: {key}{more} }}");
    let (settings, manage) = with_manage(Settings::to("HTTP_1_1", &[sink(Behaviour::default()).addr()]), &tls);
    (settings, manage, files)
}

fn tunnel(to: SocketAddr, authority: &Authority, own: Option<&Pair>) -> Tunnel {
    Tunnel::spawn(to, "localhost", client_config(&authority.pem(), own).unwrap()).unwrap()
}

#[test]
fn pages_come_over_tls_and_nothing_in_clear_text() {
    let authority = authority();
    let (settings, manage, _) = settings(&pair(&authority), "");
    let mut connector = settings.start();
    connector.wait_log(&format!("metrics and health are on https://{manage}{BASE}/prometheus"), LONG);
    let tunnel = tunnel(manage, &authority, None);
    for path in ["/health", "/", "/status", "/metrics", "/config"] {
        assert_eq!(ask(tunnel.addr(), path, "").status, 200, "{path}");
    }
    // In clear text: an alert of TLS, or nothing.
    let mut clear = TcpStream::connect(manage).unwrap();
    clear.set_read_timeout(Some(LONG)).unwrap();
    clear.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = clear.read_to_end(&mut answer);
    assert!(!answer.windows(4).any(|four| four == b"HTTP"), "{}", answer.escape_ascii());
    connector.stop();
}

#[test]
fn curl_reads_it_over_tls_1_2_and_1_3_and_refuses_a_stranger() {
    let authority = authority();
    let (settings, manage, _) = settings(&pair(&authority), "");
    let mut connector = settings.start();
    let ca = file(&folder(), "ca.pem", &authority.pem()).display().to_string();
    let stranger = file(&folder(), "ca.pem", &Authority::new("stranger").unwrap().pem()).display().to_string();
    let curl = |ca: &str, version: &str| {
        let url = format!("https://localhost:{}{BASE}/version", manage.port());
        let arguments = ["-sS", "--noproxy", "*", "-4", "--cacert", ca, "--tls-max", version, "--tlsv1.2", &url];
        Command::new("curl").args(arguments).output().expect("curl is installed")
    };
    for version in ["1.2", "1.3"] {
        let answer = curl(&ca, version);
        assert!(String::from_utf8_lossy(&answer.stdout).contains("\"name\":\"ringpost\""), "{version}: {answer:?}");
    }
    assert!(!curl(&stranger, "1.3").status.success());
    connector.stop();
}

#[test]
fn with_allowed_peer_names_only_those_are_answered() {
    let authority = authority();
    let ca = file(&folder(), "ca.pem", &authority.pem());
    let more = format!(", trust-store: {{ ca-file: {} }}, allowed-peer-names: [ operator.example ]", ca.display());
    let (settings, manage, _) = settings(&pair(&authority), &more);
    let mut connector = settings.start();
    let right = authority.sign(&["operator.example"], Validity::Now).unwrap();
    let wrong = authority.sign(&["other.example"], Validity::Now).unwrap();
    assert_eq!(ask(tunnel(manage, &authority, Some(&right)).addr(), "/health", "").status, 200);
    for own in [None, Some(&wrong)] {
        let tunnel = tunnel(manage, &authority, own);
        let mut stream = TcpStream::connect(tunnel.addr()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{}", answer.escape_ascii());
    }
    connector.stop();
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let (old, new) = (authority(), Authority::new("the next authority").unwrap());
    let (settings, manage, [certificate, key]) = settings(&pair(&old), "");
    let mut connector = settings.start();
    assert_eq!(ask(tunnel(manage, &old, None).addr(), "/health", "").status, 200);
    let next = pair(&new);
    std::fs::write(certificate, next.certificate).unwrap();
    std::fs::write(key, next.key).unwrap();
    let shown = || {
        let tunnel = tunnel(manage, &new, None);
        let mut stream = TcpStream::connect(tunnel.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200")
    };
    wait_until("the new certificate is shown", LONG, shown);
    connector.stop();
}

#[test]
fn what_is_wrong_with_it_is_a_fault_with_a_place() {
    let dir = folder();
    let text = "service:\n  manage:\n    port: 8902\n    tls: { certificate-file: none.pem }\ndestinations: { d: { urls: 'http://127.0.0.1:1/' } }\n\
                format: json\nrouting: { mode: static-multi-destination, destinations: [ d ] }\n";
    let path = file(&dir, "c.yml", text);
    let output = Command::new(env!("CARGO_BIN_EXE_ringpost")).arg("check").arg("-f").arg(&path).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("c.yml:4:30: service.manage.tls.certificate-file"), "{errors}");
}
