//! TLS as the file describes it: which files, which names. What the files hold is [`crate::tls`]'s.

use std::net::IpAddr;
use std::path::PathBuf;

/// `service.tls`: ports on which XDR speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTls {
    /// Addresses to bind; those of `service` unless set.
    pub addresses: Vec<IpAddr>,
    /// TLS ports, each bound on each address; never one of the clear-text ports.
    pub ports: Vec<u16>,
    /// The server's certificate and key.
    pub key: KeyFiles,
    /// Authorities of client certificates; the system's unless set. Read only for mutual TLS.
    pub trust: Option<TrustFile>,
    /// Names of which a client has to show a certificate; empty: clients show none.
    pub allowed_peer_names: Vec<String>,
    /// TLS versions and cipher suites.
    pub offer: Offer,
}

/// `destinations.NAME.tls`, or its defaults for `https` URLs without the section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationTls {
    /// The client's certificate and key, if it has one.
    pub key: Option<KeyFiles>,
    /// Authorities of server certificates; the system's unless set.
    pub trust: Option<TrustFile>,
    /// The name that the server's certificate has to have, and that is sent as server name; the URL's host unless set.
    pub server_name: Option<String>,
    /// TLS versions and cipher suites.
    pub offer: Offer,
}

/// Where a certificate and its private key are. What kind of file each is, its content says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// Certificate and key, or the certificate only.
    pub file: PathBuf,
    /// The private key, when it is in a file of its own.
    pub private_key: Option<PathBuf>,
    /// File with the store's password.
    pub store_password: Option<PathBuf>,
    /// File with the key's password; the store's unless set.
    pub key_password: Option<PathBuf>,
}

/// Where certificates of authorities are. What kind of file it is, its content says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile {
    /// The store.
    pub file: PathBuf,
    /// File with its password.
    pub password: Option<PathBuf>,
}

/// What is offered to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
    /// Cipher suites by their IANA names; empty: all that there are.
    pub ciphers: Vec<String>,
}

impl Default for Offer {
    /// Both versions, every suite.
    fn default() -> Offer {
        Offer { tls12: true, tls13: true, ciphers: Vec::new() }
    }
}
