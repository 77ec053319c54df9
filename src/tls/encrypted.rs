//! Private keys in PKCS#8 that are encrypted (PBES2), as `openssl pkcs8 -topk8` writes them.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;

use super::material::MaterialError;

/// Most rounds of PBKDF2; OpenSSL writes 2,048. More would hold up the start for seconds.
const MAX_ROUNDS: u32 = 1_000_000;
/// Most memory of scrypt, in bytes; OpenSSL asks for 16 MiB.
const MAX_SCRYPT_BYTES: u64 = 256 << 20;
/// Most scrypt passes over that memory.
const MAX_SCRYPT_PASSES: u16 = 16;

/// The key in `der`, PKCS#8.
pub(super) fn decrypt(der: &[u8], password: &str) -> Result<Vec<u8>, MaterialError> {
    let damaged = || MaterialError::Damaged { kind: "PKCS#8" };
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| {
        // The old ciphers of PKCS#12 in a key of its own are not known to the library.
        if super::der::expect(der, super::der::SEQUENCE).is_some() { MaterialError::OldEncryption } else { damaged() }
    })?;
    match &info.encryption_algorithm {
        EncryptionScheme::Pbes2(parameters) if is_bounded(&parameters.kdf) => {}
        _ => return Err(MaterialError::OldEncryption),
    }
    let key = info.decrypt(password).map_err(|_| MaterialError::WrongKeyPassword)?;
    Ok(key.as_bytes().to_vec())
}

fn is_bounded(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MAX_ROUNDS,
        Kdf::Scrypt(parameters) => {
            let bytes = parameters.cost_parameter.saturating_mul(128).saturating_mul(parameters.block_size.into());
            bytes <= MAX_SCRYPT_BYTES && parameters.parallelization <= MAX_SCRYPT_PASSES
        }
        _ => false,
    }
}
