//! PKCS#12 stores, as `openssl pkcs12` and `keytool` write them, the old ciphers included. The library bounds the work
//! that a file can ask for (a million rounds of key derivation, 1 GiB for scrypt).

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::material::{Content, MAX_CERTIFICATES, MaterialError};

const KIND: &str = "PKCS#12";

/// Keys and certificates.
pub(super) fn content(bytes: &[u8], password: Option<&str>) -> Result<Content, MaterialError> {
    let archive = read(bytes, password)?;
    // What is trusted is not shown to peers.
    let own = archive.certs.iter().filter(|bag| !bag.trusted || archive.keys.is_empty());
    Ok(Content {
        certificates: own.map(|bag| bag.cert.as_der().to_vec()).collect(),
        keys: archive.keys.iter().map(|bag| PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into()).collect(),
    })
}

/// Certificates that are trusted: those that Java marks so, and those of keys; where there is neither, all of them.
pub(super) fn trusted(bytes: &[u8], password: Option<&str>) -> Result<Vec<Vec<u8>>, MaterialError> {
    let archive = read(bytes, password)?;
    let has_marks = archive.certs.iter().any(|bag| bag.trusted || bag.local_key_id.is_some());
    let wanted = archive.certs.iter().filter(|bag| !has_marks || bag.trusted || bag.local_key_id.is_some());
    Ok(wanted.map(|bag| bag.cert.as_der().to_vec()).collect())
}

fn read(bytes: &[u8], password: Option<&str>) -> Result<Pkcs12Archive, MaterialError> {
    let archive = Pkcs12Archive::from_pkcs12(bytes, password.unwrap_or_default()).map_err(|error| {
        let no_password = MaterialError::NoPassword { key: "store-password-file" };
        match error {
            Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError if password.is_none() => no_password,
            Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => {
                MaterialError::WrongPassword { kind: KIND }
            }
            Error::UnsupportedEncryptionScheme
            | Error::UnsupportedMacAlgorithm
            | Error::UnsupportedContentType
            | Error::InvalidParameters => MaterialError::UnknownCipher,
            _ => MaterialError::Damaged { kind: KIND },
        }
    })?;
    if archive.certs.len() > MAX_CERTIFICATES {
        return Err(MaterialError::TooMany);
    }
    Ok(archive)
}
