//! Java key stores (JKS, and the certificates of JCEKS), as `keytool` wrote them up to Java 8.
//!
//! Source: the layout in OpenJDK's `sun.security.provider.JavaKeyStore` and `KeyProtector`. All numbers are big-endian.
//!
//! ```text
//! 0xFEEDFEED  version u32 (1 or 2)  count u32  entry...  SHA-1 over password, "Mighty Aphrodite" and all of the above
//! entry: tag u32  alias (u16 length)  time u64  then
//!   1, key: EncryptedPrivateKeyInfo (u32 length)  count u32  certificate...
//!   2, trusted: certificate
//! certificate: type (u16 length; version 2 only)  DER (u32 length)
//! ```

use sha1::{Digest, Sha1};

use super::der::{self, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use super::material::{MAX_CERTIFICATES, MaterialError};

const JKS: u32 = 0xFEED_FEED;
const JCEKS: u32 = 0xCECE_CECE;
const KEY: u32 = 1;
const TRUSTED: u32 = 2;
const SHA1_BYTES: usize = 20;
/// 1.3.6.1.4.1.42.2.17.1.1, Sun's key protector.
const PROTECTOR: [u8; 10] = [0x2B, 0x06, 0x01, 0x04, 0x01, 0x2A, 0x02, 0x11, 0x01, 0x01];

/// What a store holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    /// Keys with their chains.
    pub keys: Vec<Key>,
    /// Certificates that are trusted, DER.
    pub trusted: Vec<Vec<u8>>,
}

/// One private key, still encrypted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// PKCS#8 EncryptedPrivateKeyInfo.
    pub encrypted: Vec<u8>,
    /// Its certificates, DER, the key's own first.
    pub chain: Vec<Vec<u8>>,
}

/// Whether the file begins as such a store.
pub(super) fn is_jks(bytes: &[u8]) -> bool {
    [JKS, JCEKS].iter().any(|magic| bytes.starts_with(&magic.to_be_bytes()))
}

/// Whether the file begins as a JCEKS store, whose keys are not read.
pub(super) fn is_jceks(bytes: &[u8]) -> bool {
    bytes.starts_with(&JCEKS.to_be_bytes())
}

/// Reads a store. Without a password its check sum is not looked at, as in Java.
pub(super) fn read(bytes: &[u8], password: Option<&str>) -> Result<Store, MaterialError> {
    let cut = || MaterialError::CutOff { kind: "JKS" };
    let (content, sum) =
        bytes.len().checked_sub(SHA1_BYTES).and_then(|at| bytes.split_at_checked(at)).ok_or_else(cut)?;
    let mut reader = Reader { rest: content };
    let store = entries(&mut reader)?;
    if !reader.rest.is_empty() {
        return Err(MaterialError::Damaged { kind: "JKS" });
    }
    if let Some(password) = password {
        let digest = Sha1::new().chain_update(utf16(password)).chain_update(b"Mighty Aphrodite").chain_update(content);
        if digest.finalize().as_slice() != sum {
            return Err(MaterialError::WrongPassword { kind: "JKS" });
        }
    }
    Ok(store)
}

fn entries(reader: &mut Reader<'_>) -> Result<Store, MaterialError> {
    let damaged = || MaterialError::Damaged { kind: "JKS" };
    let _magic = reader.number()?;
    let version = reader.number()?;
    if version != 1 && version != 2 {
        return Err(damaged());
    }
    let mut store = Store::default();
    let mut room = MAX_CERTIFICATES;
    // A hostile count ends with the bytes of the file.
    for _ in 0..reader.number()? {
        let tag = reader.number()?;
        let _alias = reader.short()?;
        let _time = reader.take(8)?;
        match tag {
            KEY => {
                let encrypted = reader.long()?.to_vec();
                let mut chain = Vec::new();
                for _ in 0..reader.number()? {
                    chain.push(certificate(reader, version, &mut room)?);
                }
                store.keys.push(Key { encrypted, chain });
            }
            TRUSTED => store.trusted.push(certificate(reader, version, &mut room)?),
            // Secret keys of JCEKS are serialised Java objects of no stated length.
            _ => return Err(damaged()),
        }
    }
    Ok(store)
}

fn certificate(reader: &mut Reader<'_>, version: u32, room: &mut usize) -> Result<Vec<u8>, MaterialError> {
    *room = room.checked_sub(1).ok_or(MaterialError::TooMany)?;
    if version == 2 {
        reader.short()?;
    }
    reader.long().map(<[u8]>::to_vec)
}

/// The PKCS#8 key in `encrypted`: a stream of SHA-1 blocks over password and block before, and a check sum.
pub(super) fn decrypt(encrypted: &[u8], password: &str) -> Result<Vec<u8>, MaterialError> {
    let damaged = || MaterialError::Damaged { kind: "JKS" };
    let (info, _) = der::expect(encrypted, SEQUENCE).ok_or_else(damaged)?;
    let (algorithm, rest) = der::expect(info, SEQUENCE).ok_or_else(damaged)?;
    let (identifier, _) = der::expect(algorithm, OBJECT_IDENTIFIER).ok_or_else(damaged)?;
    if identifier != PROTECTOR {
        return Err(MaterialError::KeyOfJceks);
    }
    let (sealed, _) = der::expect(rest, OCTET_STRING).ok_or_else(damaged)?;
    let (salt, rest) = sealed.split_at_checked(SHA1_BYTES).ok_or_else(damaged)?;
    let (text, sum) =
        rest.len().checked_sub(SHA1_BYTES).and_then(|at| rest.split_at_checked(at)).ok_or_else(damaged)?;
    let password = utf16(password);
    let mut block = salt.to_vec();
    let mut plain = Vec::with_capacity(text.len());
    for part in text.chunks(SHA1_BYTES) {
        block = Sha1::new().chain_update(&password).chain_update(&block).finalize().to_vec();
        plain.extend(part.iter().zip(&block).map(|(byte, key)| byte ^ key));
    }
    if Sha1::new().chain_update(&password).chain_update(&plain).finalize().as_slice() != sum {
        return Err(MaterialError::WrongKeyPassword);
    }
    Ok(plain)
}

fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], MaterialError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(MaterialError::CutOff { kind: "JKS" })?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, MaterialError> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn short(&mut self) -> Result<&'a [u8], MaterialError> {
        let length = self.take(2)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        self.take(length)
    }

    fn long(&mut self) -> Result<&'a [u8], MaterialError> {
        let length = self.number()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }
}
