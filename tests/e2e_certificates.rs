//! Certificates that change on disk under a running connector: taken without a restart, no connection is cut, half of a
//! pair changes nothing, and the log says each once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ringpost_load::sink::Behaviour;
use ringpost_load::tls::Tunnel;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use support::*;

const PASSWORD: &str = "hunter2-of-the-store";

/// An authority with its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// Certificate and key for `connector.example`.
    fn pair(&self, until: (i32, u8, u8)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["connector.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Where a source connects that trusts only this authority.
    fn source(&self, port: u16) -> Tunnel {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Tunnel::spawn(SocketAddr::from(([127, 0, 0, 1], port)), "connector.example", Arc::new(config)).unwrap()
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// A connector, and its manage port.
fn start(folder: std::path::PathBuf, sink: SocketAddr) -> (Process, SocketAddr) {
    let (port, manage) = (free_port(), free_port());
    let text = format!(
        "service: {{ address: 127.0.0.1, manage: {{ port: {manage}, address: 127.0.0.1 }}, tls: {{ port: {port}, address: 127.0.0.1, \
         key-store: {{ store-file: own.pem, private-key-file: own.key, store-password-file: pass }} }} }}\n\
         destinations: {{ a: {{ urls: \"http://{sink}/\", protocol: HTTP_1_1 }} }}\n\
         routing: {{ mode: static-multi-destination, destinations: a }}\nformat: json\n\
         executors: {{ cores: 1, pin: false }}\nlogging: {{ file: {} }}\n",
        folder.join("ringpost.log").display()
    );
    write(&folder, "ringpost.yml", &text);
    let mut process = spawn_in(folder, port, |_| {});
    process.wait_listening();
    (process, SocketAddr::from(([127, 0, 0, 1], manage)))
}

/// When the certificate that is in use expires, as the metrics say: seconds since 1970, and days.
fn expiry(manage: SocketAddr) -> [f64; 2] {
    let all = manage::series(manage);
    ["timestamp_seconds", "days"]
        .map(|unit| all[&format!("ringpost_certificate_expiry_{unit}{{place=\"service.tls\"}}")])
}

fn days_until(seconds: f64) -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    ((seconds - now.as_secs_f64()) / 86_400.0).floor()
}

fn lines(process: &Process, part: &str) -> usize {
    process.log().lines().filter(|line| line.contains(part)).count()
}

#[test]
fn a_new_certificate_is_taken_while_connections_stay_open() {
    let sink = sink(Behaviour::default());
    let (before, after) = (Authority::new(), Authority::new());
    let folder = folder();
    let (own, key) = before.pair((2090, 1, 1));
    write(&folder, "own.pem", &own);
    write(&folder, "own.key", &key);
    write(&folder, "pass", PASSWORD);
    let (mut process, manage) = start(folder.clone(), sink.addr());
    let tunnels = [&before, &after].map(|authority| authority.source(process.port));
    let [old, new] = [tunnels[0].addr(), tunnels[1].addr()];
    let mut open = client(old);
    open.send_frame(&frames(0, 2)).unwrap();
    assert_eq!(acks(&mut open, 2), [0, 0]);
    process.wait_log("expires in", LONG);
    process.wait_log("2090-01-01 00:00:00 UTC", LONG);

    let [seconds, days] = expiry(manage);
    assert_eq!((seconds, days), (3_786_912_000.0, days_until(seconds)), "2090-01-01");

    // The certificate alone: one line, and everything as it was.
    let (own, key) = after.pair((2095, 1, 1));
    write(&folder, "own.pem", &own);
    process.wait_log("are not used", LONG);
    process.wait_log("own.key has a private key that does not belong to the certificate", LONG);
    let mut second = client(old);
    second.send_frame(&frames(2, 1)).unwrap();
    assert_eq!(acks(&mut second, 1), [0]);

    // The pair is whole: new connections see it, and the open ones are still there.
    write(&folder, "own.key", &key);
    process.wait_log("new connections use them", LONG);
    process.wait_log("2095-01-01 00:00:00 UTC", LONG);
    let [seconds, days] = expiry(manage);
    assert_eq!((seconds, days), (3_944_678_400.0, days_until(seconds)), "2095-01-01");
    let mut third = client(new);
    third.send_frame(&frames(3, 1)).unwrap();
    assert_eq!(acks(&mut third, 1), [0]);
    for (sequence, open) in [(4, &mut open), (5, &mut second)] {
        open.send_frame(&frames(sequence, 1)).unwrap();
        assert_eq!(acks(open, 1), [0]);
    }
    let mut stale = client(old);
    let _ = stale.send_frame(&frames(9, 1));
    assert!(stale.read_ack().is_err(), "a source that trusts the authority before only");
    assert_eq!(
        (lines(&process, "are not used"), lines(&process, "new connections use them")),
        (1, 1),
        "{}",
        process.log()
    );
    let log = process.log();
    assert!(!log.contains(PASSWORD) && !log.contains("PRIVATE KEY") && !log.contains(key.lines().nth(1).unwrap()));
    process.stop();
}

#[test]
fn a_certificate_that_has_expired_is_an_error_line_and_no_refused_start() {
    let sink = sink(Behaviour::default());
    let folder = folder();
    let (own, key) = Authority::new().pair((2021, 1, 1));
    write(&folder, "own.pem", &own);
    write(&folder, "own.key", &key);
    write(&folder, "pass", PASSWORD);
    let (mut process, manage) = start(folder, sink.addr());
    let [seconds, days] = expiry(manage);
    assert_eq!((seconds, days), (1_609_459_200.0, days_until(seconds)), "2021-01-01");
    assert!(days < 0.0, "{days}");
    wait_until("both lines are there", LONG, || lines(&process, "expired at 2021-01-01 00:00:00 UTC") >= 2);
    let log = process.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("expired at 2021-01-01 00:00:00 UTC")).collect();
    let [located, error] = said.as_slice() else { panic!("{log}") };
    assert!(
        located.contains("WARN") && located.contains("ringpost.yml:1:") && located.contains("key-store.store-file"),
        "{log}"
    );
    assert!(error.contains("ERROR") && error.contains("service.tls"), "{log}");
    process.stop();
}
