//! Certificates and keys out of the files that `openssl` and `keytool` write, and out of anything else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "tls_material/files.rs"]
mod files;

use files::{Files, PASSWORD, files};
use proptest::prelude::*;
use ringpost::tls::material::{
    KeyMaterial, MAX_CERTIFICATES, MaterialError, Part, Passwords, Refused, key_material, password, trusted,
};

const STORE: Passwords<'static> = Passwords { store: Some(PASSWORD), key: None };
const KEY: Passwords<'static> = Passwords { store: None, key: Some(PASSWORD) };
const NONE: Passwords<'static> = Passwords { store: None, key: None };

/// The certificates that would be sent.
fn sent(material: &KeyMaterial) -> Vec<Vec<u8>> {
    material.certified.cert.iter().map(|certificate| certificate.to_vec()).collect()
}

#[track_caller]
fn refused(file: &[u8], private_key: Option<&[u8]>, passwords: Passwords<'_>) -> (Part, MaterialError) {
    let Err(Refused { part, error }) = key_material(file, private_key, passwords) else { panic!("it is taken") };
    (part, error)
}

fn key_stores(files: &Files) -> Vec<&'static str> {
    let mut names = vec!["modern.p12", "legacy.p12", "clear.p12", "nomac.p12"];
    if files.has_keytool {
        names.extend(["key.jks", "keytool.p12", "keytool-old.p12", "both.p12"]);
    }
    names
}

fn trust_stores(files: &Files) -> Vec<&'static str> {
    let mut names = vec!["certificates.p12", "chain-with-root.pem"];
    if files.has_keytool {
        names.extend(["trust.JKS", "trust.JCEKS", "trust.PKCS12"]);
    }
    names
}

#[test]
fn every_kind_of_store_gives_the_same_key_and_chain() {
    let files = files();
    let expected = [files.der("leaf.pem"), files.der("between.pem")];
    for name in key_stores(files) {
        let material = key_material(&files.read(name), None, STORE).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(sent(&material), expected, "{name}");
        assert!(material.certified.keys_match().is_ok(), "{name}: by the judgement of rustls");
        assert_eq!(material.notes, [""; 0], "{name}");
        assert_eq!(
            (material.certificate.names.dns.as_slice(), material.certificate.subject.as_str()),
            (["a.example".to_owned()].as_slice(), "CN=leaf")
        );
    }
}

#[test]
fn every_spelling_of_a_pem_key_gives_the_same_chain() {
    let files = files();
    let expected = [files.der("leaf.pem"), files.der("between.pem")];
    let chain = files.read("chain.pem");
    for (key, passwords) in [
        ("leaf.key", NONE),
        ("sec1.key", NONE),
        ("leaf-key.der", NONE),
        ("encrypted.key", KEY),
        ("scrypt.key", KEY),
        ("des3.key", KEY),
        ("encrypted.key", STORE),
    ] {
        let material = key_material(&chain, Some(&files.read(key)), passwords);
        let material = material.unwrap_or_else(|why| panic!("{key}: {why:?}"));
        assert_eq!(sent(&material), expected, "{key}");
    }
    for name in ["rsa", "p384", "ed25519"] {
        let material =
            key_material(&files.read(&format!("{name}.pem")), Some(&files.read(&format!("{name}.key"))), NONE);
        assert!(material.unwrap_or_else(|why| panic!("{name}: {why:?}")).certified.keys_match().is_ok(), "{name}");
    }
    let rsa = key_material(&files.read("rsa.pem"), Some(&files.read("pkcs1.key")), NONE).unwrap();
    assert!(rsa.certified.keys_match().is_ok());
    assert_eq!(sent(&key_material(&files.read("all.pem"), None, NONE).unwrap()), expected);
}

#[test]
fn a_chain_is_sent_in_its_order_whatever_that_of_the_file() {
    let files = files();
    let key = files.read("leaf.key");
    let expected = [files.der("leaf.pem"), files.der("between.pem"), files.der("root.pem")];
    for name in ["chain-with-root.pem", "chain-backwards.pem"] {
        let material = key_material(&files.read(name), Some(&key), NONE).unwrap();
        assert_eq!((sent(&material).as_slice(), material.notes.len()), (expected.as_slice(), 0), "{name}");
    }
    let gap = key_material(&files.read("without-between.pem"), Some(&key), NONE).unwrap();
    assert_eq!(sent(&gap), expected[..1]);
    assert!(
        gap.notes[0].contains("no certificate of the authority") && gap.notes[0].contains("CN=root"),
        "{:?}",
        gap.notes
    );
}

#[test]
fn every_kind_of_trust_store_gives_its_certificates() {
    let files = files();
    for name in trust_stores(files) {
        let found = trusted(&files.read(name), Some(PASSWORD)).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        for wanted in ["root.pem", "between.pem"] {
            assert!(found.iter().any(|it| it.as_ref() == files.der(wanted)), "{name}: {wanted}");
        }
    }
    assert_eq!(
        trusted(&files.read("trusted.pem"), None).unwrap()[0].as_ref(),
        files.der("leaf.pem"),
        "OpenSSL's own kind"
    );
    files.openssl("x509 -in root.pem -outform DER -out root.der");
    assert_eq!(trusted(&files.read("root.der"), None).unwrap()[0].as_ref(), files.der("root.pem"));
    if files.has_keytool {
        let without = trusted(&files.read("trust.JKS"), None).unwrap();
        assert_eq!(without.len(), 2, "a JKS trust store opens without a password, as in Java");
        // The chain of a key is shown to others, and trusts nobody.
        let both = trusted(&files.read("both.p12"), Some(PASSWORD)).unwrap();
        let both: Vec<&[u8]> = both.iter().map(AsRef::as_ref).collect();
        assert!(
            both.contains(&files.der("root.pem").as_slice()) && !both.contains(&files.der("between.pem").as_slice())
        );
    }
}

#[test]
fn a_wrong_or_missing_password_is_named_with_its_file() {
    let files = files();
    let wrong = Passwords { store: Some("wrong"), key: None };
    for name in key_stores(files) {
        let bytes = files.read(name);
        let (part, error) = refused(&bytes, None, wrong);
        assert_eq!(part, Part::StorePassword, "{name}: {error}");
        assert!(error.to_string().contains("does not open with this password"), "{name}: {error}");
        let (part, error) = refused(&bytes, None, NONE);
        assert_eq!((part, &error), (Part::File, &MaterialError::NoPassword { key: "store-password-file" }), "{name}");
    }
    for name in trust_stores(files).into_iter().filter(|name| !name.ends_with(".pem")) {
        let refused = trusted(&files.read(name), Some("wrong")).unwrap_err();
        assert_eq!(refused.part, Part::StorePassword, "{name}");
        assert!(matches!(refused.error, MaterialError::WrongPassword { .. }), "{name}: {}", refused.error);
    }
    let chain = files.read("chain.pem");
    for name in ["encrypted.key", "scrypt.key", "des3.key"] {
        let key = files.read(name);
        let wrong = Passwords { store: None, key: Some("wrong") };
        assert_eq!(refused(&chain, Some(&key), wrong), (Part::KeyPassword, MaterialError::WrongKeyPassword), "{name}");
        let none = MaterialError::NoPassword { key: "key-password-file" };
        assert_eq!(refused(&chain, Some(&key), NONE), (Part::PrivateKey, none), "{name}");
    }
    if files.has_keytool {
        let other = files.read("other-password.jks");
        assert_eq!(refused(&other, None, STORE), (Part::StorePassword, MaterialError::WrongKeyPassword));
        let both = Passwords { store: Some(PASSWORD), key: Some("secret1") };
        assert!(key_material(&other, None, both).is_ok());
    }
}

#[test]
fn a_key_that_does_not_belong_is_never_taken() {
    let files = files();
    let other = MaterialError::OtherKey { subject: "CN=leaf".to_owned() };
    for key in ["p384.key", "rsa.key", "ed25519.key"] {
        assert_eq!(
            refused(&files.read("leaf.pem"), Some(&files.read(key)), NONE),
            (Part::PrivateKey, other.clone()),
            "{key}"
        );
    }
    let mut both = files.read("leaf.pem");
    both.extend(files.read("p384.key"));
    assert_eq!(refused(&both, None, NONE), (Part::File, other));
}

#[test]
fn what_is_missing_or_not_read_says_what_to_do() {
    let files = files();
    let chain = files.read("chain.pem");
    let with_key = |name: &str| refused(&chain, Some(&files.read(name)), KEY);
    for name in ["old.key", "pbes1.key", "slow.key"] {
        let (part, error) = with_key(name);
        assert_eq!((part, &error), (Part::PrivateKey, &MaterialError::OldEncryption), "{name}");
        assert!(error.to_string().contains("openssl pkcs8 -topk8"));
    }
    assert_eq!(refused(&files.read("slow.p12"), None, STORE), (Part::File, MaterialError::UnknownCipher));
    assert_eq!(refused(&files.read("weak.pem"), Some(&files.read("weak.key")), NONE).1, MaterialError::UnknownKey);
    assert!(matches!(refused(&chain, None, NONE), (Part::File, MaterialError::NoKey { .. })));
    assert!(matches!(refused(&files.read("certificates.p12"), None, STORE), (Part::File, MaterialError::NoKey { .. })));
    assert_eq!(refused(&files.read("leaf.key"), None, NONE), (Part::File, MaterialError::NoCertificate));
    assert_eq!(refused(b" \n", None, NONE), (Part::File, MaterialError::Empty));
    assert_eq!(refused(b"hello", None, NONE), (Part::File, MaterialError::Unknown));
    assert_eq!(trusted(&files.read("leaf.key"), None).unwrap_err().error, MaterialError::NoCertificate);
    if files.has_keytool {
        let (_, error) = refused(&files.read("key.jceks"), None, STORE);
        assert!(error.to_string().contains("keytool -importkeystore"), "{error}");
    }
}

#[test]
fn more_certificates_than_anybody_needs_are_refused() {
    let one = files().read("root.pem");
    let many = one.repeat(MAX_CERTIFICATES + 1);
    assert_eq!(trusted(&many, None).unwrap_err().error, MaterialError::TooMany);
    assert_eq!(trusted(&one.repeat(100), None).unwrap().len(), 100);
}

#[test]
fn a_password_is_the_first_line_with_its_blanks() {
    assert_eq!(password(b"a b \nsecond").as_deref(), Ok("a b "));
    assert_eq!(password("\u{fc}\r\n".as_bytes()).as_deref(), Ok("\u{fc}"));
    assert!(password(b"").is_err() && password(b"\nx").is_err() && password(b"\xFF").is_err());
}

/// A store that was not written to its end gives no key, whatever the length.
#[test]
fn a_store_that_is_cut_off_anywhere_is_refused() {
    let files = files();
    let mut names = key_stores(files);
    names.push("all.pem");
    for name in names {
        let bytes = files.read(name);
        // The last line end of a PEM file is no part of it, and the chain may be cut between two certificates.
        let is_pem = name.ends_with(".pem");
        for length in 0..bytes.len() {
            match key_material(&bytes[..length], None, STORE) {
                Ok(material) => assert!(is_pem && material.certified.keys_match().is_ok(), "{name} cut to {length}"),
                Err(refused) => assert!(refused.error.to_string().len() < 400),
            }
        }
    }
    for name in trust_stores(files) {
        let bytes = files.read(name);
        for length in 0..bytes.len() {
            let found = trusted(&bytes[..length], Some(PASSWORD));
            assert!(found.is_err() || name.ends_with(".pem"), "{name} cut to {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(start in 0_usize..6, mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let starts: [&[u8]; 6] = [&[], &[0xFE, 0xED, 0xFE, 0xED], &[0xCE, 0xCE, 0xCE, 0xCE, 0, 0, 0, 2], &[0x30, 0x82, 1, 0, 2, 1, 3], b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"];
        bytes.splice(0..0, starts[start].iter().copied());
        let _ = key_material(&bytes, None, STORE);
        let _ = key_material(&bytes, Some(&bytes), KEY);
        let _ = trusted(&bytes, Some(PASSWORD));
    }

    #[test]
    fn a_file_with_some_bytes_changed_never_gives_another_key(store in 0_usize..8, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let files = files();
        let names = key_stores(files);
        let mut bytes = files.read(names[store % names.len()]);
        for (place, byte) in &changes {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        // Its certificate may be one that no peer takes.
        let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
        if let Ok(material) = key_material(&bytes, None, STORE) {
            prop_assert!(material.certified.keys_match() != Err(mismatch));
        }
        let _ = trusted(&bytes, Some(PASSWORD));
    }
}
