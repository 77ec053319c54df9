//! Authorities, certificates, and settings with TLS for the tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ringpost_load::sink::{Behaviour, SinkConfig, SinkHandle};
use ringpost_load::tls::{Authority, Pair, Server, Validity};

use super::{Settings, folder, free_port, sink_with};

pub fn authority() -> Authority {
    Authority::new("authority of a test").unwrap()
}

/// For the host of the URLs here.
pub fn pair(authority: &Authority) -> Pair {
    authority.sign(&["localhost", "127.0.0.1"], Validity::Now).unwrap()
}

pub fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub fn tls_sink(server: &Server, behaviour: Behaviour) -> SinkHandle {
    sink_with(SinkConfig { tls: Some(server.config().unwrap()), behaviour, ..SinkConfig::default() })
}

/// Towards `https://localhost` at this address, whose authority is trusted.
pub fn settings(protocol: &str, to: SocketAddr, authority: &Authority) -> Settings {
    let mut settings = Settings::to(protocol, &[to]);
    settings.destinations[0].urls = vec![format!("https://localhost:{}/records", to.port())];
    let ca = file(&folder(), "ca.pem", &authority.pem());
    settings.set(&format!("tls: {{ ca-file: {} }}", ca.display()))
}

/// A TLS port for XDR, beside the clear one; `more`: further settings of `service.tls`.
pub fn with_xdr_tls(mut settings: Settings, pair: &Pair, more: &str) -> (Settings, SocketAddr) {
    let folder = folder();
    let certificate = file(&folder, "server.pem", &pair.certificate);
    let key = file(&folder, "server-key.pem", &pair.key);
    let port = free_port();
    settings.service.push(format!(
        "tls: {{ port: {port}, address: 127.0.0.1, certificate-file: {}, private-key-file: {}{more} }}",
        certificate.display(),
        key.display()
    ));
    (settings, SocketAddr::from(([127, 0, 0, 1], port)))
}
