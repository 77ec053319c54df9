//! Certificates and keys out of the bytes of files: PEM, PKCS#12, JKS, and single certificates or keys in DER. The
//! content decides which it is, never a name.
//!
//! Invariants: any bytes give a result or an error, in bounded time and memory; no error repeats a password or a key.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::certificate::Certificate;
use super::der::{self, INTEGER, SEQUENCE};
use super::{encrypted, jks, pem, pkcs12};

/// Largest certificate, key or store; the system's bundle has a quarter of a megabyte.
pub const MAX_STORE_BYTES: u64 = 4 << 20;
/// Most certificates in one file.
pub const MAX_CERTIFICATES: usize = 10_000;
/// Most certificates that are sent to a peer; real chains have two to four.
pub const MAX_CHAIN: usize = 16;

/// Why a file gives no certificate or key. Each continues a sentence that begins with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// Nothing in it.
    #[error("is empty; put the certificates there")]
    Empty,
    /// None of the kinds that are read.
    #[error(
        "is neither PEM nor PKCS#12 nor JKS; convert it: keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12"
    )]
    Unknown,
    /// The end of a PEM section is missing.
    #[error("is cut off: the PEM section that begins on its line {line} has no end; write the file anew")]
    NoEnd {
        /// Line of BEGIN.
        line: usize,
    },
    /// Between the lines of a PEM section.
    #[error("has a {label} on its line {line} that is no Base64; write the file anew")]
    NotBase64 {
        /// What stands behind BEGIN.
        label: String,
        /// Line of BEGIN.
        line: usize,
    },
    /// A length points behind the end.
    #[error("is cut off ({kind}); write the file anew")]
    CutOff {
        /// Kind of file.
        kind: &'static str,
    },
    /// Against the rules of its kind.
    #[error("is damaged ({kind}); write the file anew")]
    Damaged {
        /// Kind of file.
        kind: &'static str,
    },
    /// Something in a PKCS#12 store that is not read.
    #[error(
        "is PKCS#12 with a cipher or check sum that is not read; write it anew: openssl pkcs12 -in OLD.p12 -out ALL.pem, then openssl pkcs12 -export -in ALL.pem -out NEW.p12"
    )]
    UnknownCipher,
    /// The check sum of the store is another one.
    #[error("does not open with this password ({kind}): the password is wrong, or the file is damaged")]
    WrongPassword {
        /// Kind of file.
        kind: &'static str,
    },
    /// The store opens, the key in it does not.
    #[error(
        "has a private key that does not open with this password; name the file that holds the key's own in key-password-file"
    )]
    WrongKeyPassword,
    /// No password is given.
    #[error("is encrypted; name the file that holds its password in {key}")]
    NoPassword {
        /// Which key of the configuration.
        key: &'static str,
    },
    /// A PEM key encrypted in a way that is not read.
    #[error(
        "has a private key that is encrypted in an old way; convert it: openssl pkcs8 -topk8 -v2 aes256 -in OLD.pem -out NEW.pem"
    )]
    OldEncryption,
    /// A JCEKS key.
    #[error(
        "is a JCEKS store, whose private keys are not read; convert it: keytool -importkeystore -srckeystore OLD.jceks -srcstoretype JCEKS -destkeystore NEW.p12 -deststoretype PKCS12"
    )]
    KeyOfJceks,
    /// No private key.
    #[error("has no private key; {advice}")]
    NoKey {
        /// What to do.
        advice: &'static str,
    },
    /// No certificate.
    #[error("has no certificate; put it there, with those of the authorities between it and the root")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("has a certificate that is no X.509 certificate; write the file anew")]
    NotX509,
    /// More than [`MAX_CERTIFICATES`].
    #[error("has more than {MAX_CERTIFICATES} certificates; write a smaller one")]
    TooMany,
    /// A key that TLS here cannot use.
    #[error(
        "has a private key of a kind that is not supported; use RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519"
    )]
    UnknownKey,
    /// Key and certificate are not of one pair.
    #[error(
        "has a private key that does not belong to the certificate ({subject}); write both anew, from the same request"
    )]
    OtherKey {
        /// Subject of the certificate.
        subject: String,
    },
}

/// Which of the given files an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The store, or the file with the certificate.
    File,
    /// The file of the private key alone.
    PrivateKey,
    /// The file of the store's password.
    StorePassword,
    /// The file of the key's password.
    KeyPassword,
}

/// What is wrong, and with which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub part: Part,
    /// What is wrong with it.
    pub error: MaterialError,
}

/// Passwords, as far as there are any.
#[derive(Clone, Copy, Default)]
pub struct Passwords<'a> {
    /// Of the store.
    pub store: Option<&'a str>,
    /// Of the private key; that of the store unless set.
    pub key: Option<&'a str>,
}

impl Passwords<'_> {
    fn of_the_key(&self) -> Option<&str> {
        self.key.or(self.store)
    }
}

/// A certificate with its private key and the chain above it.
#[derive(Debug, Clone)]
pub struct KeyMaterial {
    /// What is shown to a peer, and proven.
    pub certified: Arc<CertifiedKey>,
    /// The certificate itself, taken apart.
    pub certificate: Certificate,
    /// What a user should know: certificates or keys that are left out.
    pub notes: Vec<String>,
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Content {
    /// Certificates, DER, in their order.
    pub certificates: Vec<Vec<u8>>,
    /// Private keys, in their order.
    pub keys: Vec<PrivateKeyDer<'static>>,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pem,
    Pkcs12,
    Jks,
    /// One certificate.
    Certificate,
    /// One private key, PKCS#8.
    Key,
}

fn kind(bytes: &[u8]) -> Result<Kind, MaterialError> {
    if bytes.trim_ascii().is_empty() {
        return Err(MaterialError::Empty);
    }
    if jks::is_jks(bytes) {
        return Ok(Kind::Jks);
    }
    if pem::is_pem(bytes) {
        return Ok(Kind::Pem);
    }
    // A certificate begins with a sequence, a store with its version 3, a key with version 0 or 1.
    if bytes.first() == Some(&SEQUENCE) {
        let whole = der::element(bytes).ok_or(MaterialError::CutOff { kind: "DER" })?;
        return match der::element(whole.content) {
            Some(first) if first.tag == SEQUENCE => Ok(Kind::Certificate),
            Some(first) if first.tag == INTEGER && first.content == [3] => Ok(Kind::Pkcs12),
            Some(first) if first.tag == INTEGER => Ok(Kind::Key),
            _ => Err(MaterialError::Unknown),
        };
    }
    Err(MaterialError::Unknown)
}

/// The certificate and key in `file`; the key in `private_key` if there is such a file.
///
/// # Errors
/// With the file that is at fault: whatever keeps the pair from being used, its dates aside.
pub fn key_material(file: &[u8], private_key: Option<&[u8]>, passwords: Passwords<'_>) -> Result<KeyMaterial, Refused> {
    let at = |part: Part| move |error: MaterialError| Refused { part: part_of(part, &error, passwords), error };
    // Of a file beside a key file only certificates are wanted: its own keys, if any, are not opened.
    let mut content = content(file, passwords, private_key.is_none()).map_err(at(Part::File))?;
    let part = if private_key.is_some() { Part::PrivateKey } else { Part::File };
    if let Some(bytes) = private_key {
        content.keys = self::content(bytes, passwords, true).map_err(at(Part::PrivateKey))?.keys;
    }
    if content.keys.is_empty() {
        let advice = match (private_key, kind(file)) {
            (None, Ok(Kind::Pem | Kind::Certificate)) => "name the file that holds it in private-key-file",
            _ => "put it there",
        };
        return Err(Refused { part, error: MaterialError::NoKey { advice } });
    }
    if content.certificates.is_empty() {
        return Err(Refused { part: Part::File, error: MaterialError::NoCertificate });
    }
    pair(content).map_err(|error| {
        let part = if error == MaterialError::NotX509 { Part::File } else { part };
        Refused { part, error }
    })
}

/// A wrong password is a matter of the password's file, if there is one.
fn part_of(part: Part, error: &MaterialError, passwords: Passwords<'_>) -> Part {
    match error {
        MaterialError::WrongPassword { .. } if passwords.store.is_some() => Part::StorePassword,
        MaterialError::WrongKeyPassword if passwords.key.is_some() => Part::KeyPassword,
        MaterialError::WrongKeyPassword if passwords.store.is_some() => Part::StorePassword,
        _ => part,
    }
}

/// The first key that a certificate belongs to, with its chain.
fn pair(content: Content) -> Result<KeyMaterial, MaterialError> {
    let certificates: Vec<(CertificateDer<'static>, Certificate)> = content
        .certificates
        .into_iter()
        .map(|der| {
            let read = Certificate::read(&der).ok_or(MaterialError::NotX509)?;
            Ok((CertificateDer::from(der), read))
        })
        .collect::<Result<_, _>>()?;
    let mut notes = Vec::new();
    if content.keys.len() > 1 {
        notes.push(format!("has {} private keys; the first that has a certificate is used", content.keys.len()));
    }
    let mut usable = content.keys.iter().filter_map(|key| any_supported_type(key).ok()).peekable();
    if usable.peek().is_none() {
        return Err(MaterialError::UnknownKey);
    }
    let found = usable.find_map(|key| own_certificate(&certificates, key.as_ref()).map(|own| (key, own)));
    let Some((key, own)) = found else {
        let subject = certificates.first().map(|(_, first)| first.subject.clone()).unwrap_or_default();
        return Err(MaterialError::OtherKey { subject });
    };
    let certificate = own.1.clone();
    let chain = chain(own, &certificates);
    let mut left_out: Vec<&str> = certificates
        .iter()
        .filter(|(der, _)| !chain.contains(der))
        .map(|(_, certificate)| certificate.subject.as_str())
        .collect();
    left_out.dedup();
    // A store may well hold others; beside a certificate that lacks its authority they are probably meant to be that.
    if let (Some(first), 1, false) = (left_out.first(), chain.len(), certificate.is_self_issued()) {
        notes.push(format!(
            "has no certificate of the authority that signed its own ({}), so that none is sent; the first of the others is {first}",
            certificate.subject
        ));
    }
    Ok(KeyMaterial { certified: Arc::new(CertifiedKey::new(chain, key)), certificate, notes })
}

/// The certificate of `key`; of several the one that holds longest.
fn own_certificate<'c>(
    certificates: &'c [(CertificateDer<'static>, Certificate)],
    key: &dyn SigningKey,
) -> Option<&'c (CertificateDer<'static>, Certificate)> {
    let Some(public_key) = key.public_key() else { return certificates.first() };
    certificates
        .iter()
        .filter(|(_, certificate)| certificate.public_key == *public_key)
        .max_by_key(|(_, certificate)| certificate.not_after)
}

/// `own` and what is above it, whatever the order in the file.
fn chain(
    own: &(CertificateDer<'static>, Certificate),
    certificates: &[(CertificateDer<'static>, Certificate)],
) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![own.0.clone()];
    let mut last = &own.1;
    while chain.len() < MAX_CHAIN && !last.is_self_issued() {
        let above = |(der, above): &&(CertificateDer<'static>, Certificate)| {
            above.subject_der == last.issuer_der && !chain.contains(der)
        };
        let Some((der, above)) = certificates.iter().find(above) else { break };
        chain.push(der.clone());
        last = above;
    }
    chain
}

/// The certificates in a trust store. Those of private keys are included, their chains are not: as in Java.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn trusted(bytes: &[u8], password: Option<&str>) -> Result<Vec<CertificateDer<'static>>, Refused> {
    let passwords = Passwords { store: password, key: None };
    let at = |error: MaterialError| Refused { part: part_of(Part::File, &error, passwords), error };
    let all = match kind(bytes).map_err(at)? {
        Kind::Pkcs12 => pkcs12::trusted(bytes, password).map_err(at)?,
        Kind::Jks => {
            let store = jks::read(bytes, password).map_err(at)?;
            let own = store.keys.into_iter().filter_map(|key| key.chain.into_iter().next());
            store.trusted.into_iter().chain(own).collect()
        }
        Kind::Pem | Kind::Certificate => content(bytes, passwords, false).map_err(at)?.certificates,
        Kind::Key => Vec::new(),
    };
    if all.is_empty() {
        return Err(at(MaterialError::NoCertificate));
    }
    Ok(all.into_iter().map(CertificateDer::from).collect())
}

fn content(bytes: &[u8], passwords: Passwords<'_>, wants_keys: bool) -> Result<Content, MaterialError> {
    match kind(bytes)? {
        Kind::Pem => of_pem(bytes, passwords, wants_keys),
        Kind::Pkcs12 => pkcs12::content(bytes, passwords.store),
        Kind::Jks => of_jks(bytes, passwords, wants_keys),
        Kind::Certificate => Ok(Content { certificates: vec![certificate(bytes.to_vec())?], keys: Vec::new() }),
        Kind::Key => {
            let key = PrivateKeyDer::try_from(bytes.to_vec()).map_err(|_| MaterialError::UnknownKey)?;
            Ok(Content { certificates: Vec::new(), keys: vec![key] })
        }
    }
}

fn of_pem(bytes: &[u8], passwords: Passwords<'_>, wants_keys: bool) -> Result<Content, MaterialError> {
    let mut content = Content::default();
    for section in pem::sections(bytes)? {
        let key: PrivateKeyDer<'static> = match section.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                if content.certificates.len() >= MAX_CERTIFICATES {
                    return Err(MaterialError::TooMany);
                }
                content.certificates.push(certificate(section.der)?);
                continue;
            }
            label if !wants_keys || !label.ends_with("PRIVATE KEY") => continue,
            _ if section.is_old_encryption => return Err(MaterialError::OldEncryption),
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(section.der).into(),
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(section.der).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(section.der).into(),
            "ENCRYPTED PRIVATE KEY" => {
                let password = passwords.of_the_key();
                let password = password.ok_or(MaterialError::NoPassword { key: "key-password-file" })?;
                PrivatePkcs8KeyDer::from(encrypted::decrypt(&section.der, password)?).into()
            }
            _ => return Err(MaterialError::UnknownKey),
        };
        content.keys.push(key);
    }
    Ok(content)
}

fn of_jks(bytes: &[u8], passwords: Passwords<'_>, wants_keys: bool) -> Result<Content, MaterialError> {
    let store = jks::read(bytes, passwords.store)?;
    // What is trusted is not shown to peers.
    let mut content = Content { certificates: Vec::new(), keys: Vec::new() };
    if store.keys.is_empty() {
        content.certificates = store.trusted;
    }
    for key in store.keys {
        content.certificates.extend(key.chain);
        if wants_keys {
            if jks::is_jceks(bytes) {
                return Err(MaterialError::KeyOfJceks);
            }
            let password = passwords.of_the_key();
            let password = password.ok_or(MaterialError::NoPassword { key: "store-password-file" })?;
            content.keys.push(PrivatePkcs8KeyDer::from(jks::decrypt(&key.encrypted, password)?).into());
        }
    }
    Ok(content)
}

/// The certificate at the beginning of `der`; OpenSSL's "trusted" ones have more behind it.
fn certificate(mut der: Vec<u8>) -> Result<Vec<u8>, MaterialError> {
    let read = Certificate::read(&der).ok_or(MaterialError::NotX509)?;
    der.truncate(read.length);
    Ok(der)
}

/// The password in a file: its first line, with blanks at its end; what is below is ignored, as in the official connector.
///
/// # Errors
/// When the line is not UTF-8, or empty, as the end of a sentence that begins with the file.
pub fn password(bytes: &[u8]) -> Result<String, String> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err("has an empty first line; write the password there".to_owned()),
        Ok(password) => Ok(password.to_owned()),
        Err(_) => Err("has a first line that is not UTF-8; write the password in UTF-8".to_owned()),
    }
}
