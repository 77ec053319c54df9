//! What the configuration says about TLS, made into the settings of rustls.
//!
//! Files, the system's authorities and the time come in through [`Outside`], so that `check`, the start and the watcher of
//! files all do the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::certificate::Certificate;
use super::handles::Expiry;
use super::material::{self, KeyMaterial, MAX_STORE_BYTES, Part, Passwords, Refused};
use super::names;
use super::verify::{Clients, Servers};
use crate::config::model::{DestinationTls, KeyFiles, Offer, Protocol, ServiceTls, TrustFile};

/// Largest file with a password.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;
/// TLS sessions that are remembered per destination, so that the next connection is opened with less work.
const MAX_SESSIONS: usize = 64;

/// Reads a file of at most so many bytes, or says what is wrong with it and what to do.
pub type ReadFile<'a> = &'a dyn Fn(&Path, u64) -> Result<Vec<u8>, String>;

/// What is not in the configuration itself.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// Reads a file.
    pub file: ReadFile<'a>,
    /// How messages name a file.
    pub show: &'a dyn Fn(&Path) -> String,
    /// The system's authorities, or why there are none and what to do.
    pub system: &'a dyn Fn() -> Result<Arc<Authorities>, String>,
}

/// Whose certificates are trusted.
#[derive(Debug)]
pub struct Authorities {
    /// Those that sign certificates.
    pub(super) roots: Arc<RootCertStore>,
    /// Certificates that are taken by themselves, when a peer shows one of them; none of the system's.
    pub(super) pinned: Vec<CertificateDer<'static>>,
    /// The system's: only what browsers take is taken.
    pub(super) are_public: bool,
}

impl Authorities {
    /// Whether a certificate is taken because it stands in the store itself.
    pub(super) fn pins(&self, certificate: &CertificateDer<'_>) -> bool {
        !self.are_public && self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref())
    }

    /// The system's.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn of_the_system(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<Authorities>, String> {
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(
                "there are no certificates of authorities on this system; install its package ca-certificates, \
                        or name a file in trust-store"
                    .to_owned(),
            );
        }
        Ok(Arc::new(Authorities { roots: Arc::new(roots), pinned: Vec::new(), are_public: true }))
    }
}

/// What a fault or a remark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The store, or the file with the certificate.
    Key(Part),
    /// The trust store.
    Trust,
    /// The password of the trust store.
    TrustPassword,
    /// The section as a whole.
    Section,
}

/// What keeps settings from being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is about.
    pub place: Place,
    /// What is wrong, with the file, and what to do.
    pub message: String,
}

/// Settings, and what belongs to them.
#[derive(Debug, Clone)]
pub struct Built<T> {
    /// For connections.
    pub config: Arc<T>,
    /// The own certificate.
    pub own: Option<Certificate>,
    /// What a user should know.
    pub remarks: Vec<Fault>,
}

impl<T> Built<T> {
    /// When the own certificate ends.
    pub fn expiry(&self) -> Option<Expiry> {
        self.own.as_ref().map(Expiry::of)
    }
}

/// The settings towards one destination.
///
/// # Errors
/// All that is wrong, each with its file.
pub fn client(
    tls: &DestinationTls,
    protocol: Protocol,
    outside: Outside<'_>,
) -> Result<Built<ClientConfig>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut remarks = Vec::new();
    let key = tls.key.as_ref().and_then(|files| key(files, outside, &mut faults, &mut remarks));
    let authorities = authorities(tls.trust.as_ref(), outside, &mut faults, &mut remarks);
    let (Some(authorities), true) = (authorities, faults.is_empty()) else { return Err(faults) };
    let provider = provider(&tls.offer);
    let section = |message: String| vec![Fault { place: Place::Section, message }];
    let verifier = Servers::new(authorities, Arc::clone(&provider))
        .ok_or_else(|| section("there is no authority; name a file in trust-store".to_owned()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(&tls.offer))
        .map_err(|error| section(format!("TLS cannot be set up: {error}; correct protocols and ciphers")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let own = key.as_ref().map(|key| key.certificate.clone());
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.certified))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
    config.enable_early_data = false;
    Ok(Built { config: Arc::new(config), own, remarks })
}

/// The settings of the ports on which XDR connects.
///
/// Sessions are not resumed: a node connects seldom and stays, and so each of its connections shows its certificate anew.
///
/// # Errors
/// All that is wrong, each with its file.
pub fn server(tls: &ServiceTls, outside: Outside<'_>) -> Result<Built<ServerConfig>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut remarks = Vec::new();
    let key = key(&tls.key, outside, &mut faults, &mut remarks);
    let mutual = !tls.allowed_peer_names.is_empty();
    let authorities = match mutual {
        true => authorities(tls.trust.as_ref(), outside, &mut faults, &mut remarks),
        false => None,
    };
    let (Some(key), true) = (key, faults.is_empty()) else { return Err(faults) };
    let provider = provider(&tls.offer);
    let section = |message: String| vec![Fault { place: Place::Section, message }];
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(&tls.offer))
        .map_err(|error| section(format!("TLS cannot be set up: {error}; correct protocols and ciphers")))?;
    let builder = if mutual {
        let clients =
            authorities.and_then(|authorities| Clients::new(authorities, tls.allowed_peer_names.clone(), provider));
        let clients = clients.ok_or_else(|| section("there is no authority; name a file in trust-store".to_owned()))?;
        builder.with_client_cert_verifier(Arc::new(clients))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key.certified)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Built { config: Arc::new(config), own: Some(key.certificate), remarks })
}

fn provider(offer: &Offer) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if !offer.ciphers.is_empty() {
        // In the order of the file: that is the preference.
        provider.cipher_suites = offer.ciphers.iter().filter_map(|name| names::suite(name)).collect();
    }
    Arc::new(provider)
}

fn versions(offer: &Offer) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(offer.tls13, &TLS13), (offer.tls12, &TLS12)];
    all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, version)| version).collect()
}

/// The files that settings are made of, each once.
pub fn files_of(key: Option<&KeyFiles>, trust: Option<&TrustFile>) -> Vec<PathBuf> {
    let of_key = key.into_iter().flat_map(|key| {
        [Some(&key.file), key.private_key.as_ref(), key.store_password.as_ref(), key.key_password.as_ref()]
    });
    let of_trust = trust.into_iter().flat_map(|trust| [Some(&trust.file), trust.password.as_ref()]);
    let mut files: Vec<PathBuf> = of_key.chain(of_trust).flatten().cloned().collect();
    files.sort();
    files.dedup();
    files
}

fn key(
    files: &KeyFiles,
    outside: Outside<'_>,
    faults: &mut Vec<Fault>,
    remarks: &mut Vec<Fault>,
) -> Option<KeyMaterial> {
    let before = faults.len();
    let mut read = |path: &Path, part: Part| store(path, Place::Key(part), outside, faults);
    let file = read(&files.file, Part::File);
    let private_key = files.private_key.as_ref().map(|path| read(path, Part::PrivateKey));
    let mut password = |path: &Option<PathBuf>, part: Part| {
        path.as_ref().and_then(|path| password(path, Place::Key(part), outside, faults))
    };
    let store_password = password(&files.store_password, Part::StorePassword);
    let key_password = password(&files.key_password, Part::KeyPassword);
    if faults.len() > before {
        return None;
    }
    let passwords = Passwords { store: store_password.as_deref(), key: key_password.as_deref() };
    match material::key_material(&file?, private_key.flatten().as_deref(), passwords) {
        Ok(key) => {
            let remark = |note: &String| Fault {
                place: Place::Key(Part::File),
                message: format!("the file {} {note}", (outside.show)(&files.file)),
            };
            remarks.extend(key.notes.iter().map(remark));
            Some(key)
        }
        Err(refused) => {
            let named = |path: &Option<PathBuf>| (outside.show)(path.as_ref().unwrap_or(&files.file));
            let file = match refused.part {
                Part::PrivateKey => named(&files.private_key),
                _ => (outside.show)(&files.file),
            };
            let message = match refused.part {
                Part::StorePassword => with_password(&file, &refused, &named(&files.store_password)),
                Part::KeyPassword => with_password(&file, &refused, &named(&files.key_password)),
                Part::File | Part::PrivateKey => format!("the file {file} {}", refused.error),
            };
            faults.push(Fault { place: Place::Key(refused.part), message });
            None
        }
    }
}

fn with_password(file: &str, refused: &Refused, password: &str) -> String {
    format!("the file {file} {}; the password is the first line of {password}, blanks included", refused.error)
}

fn authorities(
    trust: Option<&TrustFile>,
    outside: Outside<'_>,
    faults: &mut Vec<Fault>,
    remarks: &mut Vec<Fault>,
) -> Option<Arc<Authorities>> {
    let Some(trust) = trust else {
        return (outside.system)().map_err(|message| faults.push(Fault { place: Place::Section, message })).ok();
    };
    let before = faults.len();
    let file = store(&trust.file, Place::Trust, outside, faults);
    let password = trust.password.as_ref().and_then(|path| password(path, Place::TrustPassword, outside, faults));
    if faults.len() > before {
        return None;
    }
    let shown = (outside.show)(&trust.file);
    let pinned = match material::trusted(&file?, password.as_deref()) {
        Ok(certificates) => certificates,
        Err(refused) => {
            let (place, message) = match (refused.part, &trust.password) {
                (Part::StorePassword | Part::KeyPassword, Some(password)) => {
                    (Place::TrustPassword, with_password(&shown, &refused, &(outside.show)(password)))
                }
                _ => (Place::Trust, format!("the file {shown} {}", refused.error)),
            };
            faults.push(Fault { place, message });
            return None;
        }
    };
    let mut roots = RootCertStore::empty();
    let (taken, left) = roots.add_parsable_certificates(pinned.iter().cloned());
    if taken == 0 {
        let message = format!("the file {shown} {}", material::MaterialError::NotX509);
        faults.push(Fault { place: Place::Trust, message });
        return None;
    }
    if left > 0 {
        let message = format!(
            "the file {shown} has {left} certificates that cannot be read, and are not trusted; take them out, or write them anew"
        );
        remarks.push(Fault { place: Place::Trust, message });
    }
    Some(Arc::new(Authorities { roots: Arc::new(roots), pinned, are_public: false }))
}

fn store(path: &Path, place: Place, outside: Outside<'_>, faults: &mut Vec<Fault>) -> Option<Vec<u8>> {
    (outside.file)(path, MAX_STORE_BYTES)
        .map_err(|why| {
            faults.push(Fault { place, message: format!("the file {} cannot be read: {why}", (outside.show)(path)) })
        })
        .ok()
}

fn password(path: &Path, place: Place, outside: Outside<'_>, faults: &mut Vec<Fault>) -> Option<String> {
    let bytes = (outside.file)(path, MAX_PASSWORD_BYTES).map_err(|why| format!("cannot be read: {why}"));
    bytes
        .and_then(|bytes| material::password(&bytes))
        .map_err(|why| faults.push(Fault { place, message: format!("the file {} {why}", (outside.show)(path)) }))
        .ok()
}
