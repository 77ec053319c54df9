//! `tls` sections: where each fault stands, what is spoken, which ports are bound.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::tls::settings::Authorities;
use model::{Scheme, ServiceTls};

/// 2026-06-01.
pub const NOW: u64 = 1_780_272_000;

/// Made once: PEM of a certificate of 2026 with its key, another key, one of 2025, one of 2027, and their authority.
fn made() -> &'static [(&'static str, Vec<u8>)] {
    static MADE: OnceLock<Vec<(&'static str, Vec<u8>)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::from_params(&params, &key);
        let own = KeyPair::generate().unwrap();
        let leaf = |first: (i32, u8, u8), last: (i32, u8, u8)| {
            let mut params = CertificateParams::new(["connector.example".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
            params.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
            params.signed_by(&own, &issuer).unwrap().pem()
        };
        let pem = leaf((2026, 1, 1), (2027, 1, 1));
        let all = |text: String| text.into_bytes();
        vec![
            ("ca.pem", all(ca)),
            ("own.pem", all(pem.clone())),
            ("own-key.pem", all(own.serialize_pem())),
            ("own-all.pem", all(pem + &own.serialize_pem())),
            ("other-key.pem", all(KeyPair::generate().unwrap().serialize_pem())),
            ("old.pem", all(leaf((2025, 1, 1), (2026, 1, 1)))),
            ("soon.pem", all(leaf((2026, 1, 1), (2026, 6, 15)))),
            ("early.pem", all(leaf((2027, 1, 1), (2028, 1, 1)))),
            ("pass", b"changeit\nsecond line".to_vec()),
            ("text", b"hello".to_vec()),
        ]
    })
}

/// A file of [`made`] by its name.
pub fn file(name: &str) -> Option<Vec<u8>> {
    made().iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.clone())
}

/// The system's authorities.
pub fn authorities() -> Result<Arc<Authorities>, String> {
    let bytes = file("ca.pem").unwrap();
    Authorities::of_the_system(
        crate::tls::material::trusted(&bytes, None).map_err(|refused| refused.error.to_string())?,
    )
}

/// A file with this `service` section and this destination.
fn text(service: &str, destination: &str) -> String {
    format!(
        "service: {service}\ndestinations:\n  a: {destination}\nrouting: {{ mode: static-multi-destination, destinations: a }}\nformat: json\n"
    )
}

const HTTP: &str = "{ urls: \"http://h/\" }";
const PAIR: &str = "certificate-file: own.pem, private-key-file: own-key.pem";

fn with_service(tls: &str) -> Loaded {
    load_text(&text(&format!("{{ port: 8901, tls: {tls} }}"), HTTP))
}

fn with_destination(tls: &str) -> Loaded {
    load_text(&text("{ port: 8901 }", &format!("{{ urls: \"https://h/\", tls: {tls} }}")))
}

#[track_caller]
fn service(tls: &str) -> ServiceTls {
    let loaded = with_service(tls);
    assert_eq!((lines(&loaded.faults), lines(&loaded.warnings)), (vec![], vec![]), "{tls}");
    loaded.config.unwrap().service.tls.unwrap()
}

#[track_caller]
fn one_fault(loaded: &Loaded, path: &str, part: &str) {
    let [fault] = loaded.faults.as_slice() else { panic!("{path}: {:?}", lines(&loaded.faults)) };
    assert!(fault.path == path && fault.message.contains(part) && fault.message.contains("; "), "{path}: {fault}");
    assert!(!fault.message.contains("/etc/ringpost"), "paths are shown as they are written: {fault}");
}

#[track_caller]
fn one_warning(loaded: &Loaded, path: &str, part: &str) {
    assert_eq!(lines(&loaded.faults), [""; 0]);
    let [warning] = loaded.warnings.as_slice() else { panic!("{path}: {:?}", lines(&loaded.warnings)) };
    assert!(warning.path == path && warning.message.contains(part) && warning.message.contains("; "), "{warning}");
}

#[test]
fn a_file_with_tls_only_has_no_clear_text_port() {
    let only = load_text(&text(&format!("{{ tls: {{ port: 8943, {PAIR} }} }}"), HTTP));
    let config = only.config.unwrap_or_else(|| panic!("{:?}", only.faults));
    assert_eq!((config.service.ports.as_slice(), config.service.all_ports()), ([].as_slice(), vec![8943]));
    assert_eq!(config.service.tls.unwrap().addresses, ["0.0.0.0".parse::<std::net::IpAddr>().unwrap()]);
    let none = load_text(&text("{ tls: null }", "{ urls: \"http://h/\", tls: null }")).config.unwrap();
    assert_eq!((none.service.ports, none.service.tls, none.destinations[0].tls.clone()), (vec![8080], None, None));
}

#[test]
fn a_port_with_and_without_tls_is_a_fault_unless_the_addresses_differ() {
    one_fault(
        &with_service(&format!("{{ port: [ 8943, 8901 ], {PAIR} }}")),
        "service.tls.port",
        "8901 is in `service.port`",
    );
    one_fault(&with_service(&format!("{{ ports: 8901, {PAIR} }}")), "service.tls.ports", "write another one");
    let apart = format!("{{ port: 8901, address: 127.0.0.1, tls: {{ port: 8901, address: 127.0.0.2, {PAIR} }} }}");
    assert!(load_text(&text(&apart, HTTP)).config.is_some());
}

#[test]
fn a_port_block_may_be_of_a_tls_port() {
    let block = "port-based-config: { 8943: { format: json } }\n";
    let loaded = load_text(&(text(&format!("{{ tls: {{ port: 8943, {PAIR} }} }}"), HTTP) + block));
    assert_eq!((lines(&loaded.faults), lines(&loaded.warnings)), (vec![], vec![]));
}

#[test]
fn keys_are_found_in_each_spelling() {
    for tls in [
        PAIR,
        "certificate-file: own-all.pem",
        "key-store: { store-file: own-all.pem }",
        "key-store: { store-file: own-all.pem, store-type: JKS, store-password-file: pass }",
        "key-store: { certificate-file: own.pem, private-key-file: own-key.pem }",
        "key-store: { store-file: own.pem, private-key-file: own-key.pem }",
    ] {
        service(&format!("{{ port: 8943, {tls} }}"));
        assert!(with_destination(&format!("{{ {tls} }}")).config.is_some(), "{tls}");
    }
    let tls = service(&format!(
        "{{ port: 8943, {PAIR}, ca-file: ca.pem, allowed-peer-names: [ n.example, \"*.c.example\" ], protocols: tlsv1.3 }}"
    ));
    assert_eq!(tls.trust.unwrap().file, Path::new("/etc/ringpost/ca.pem"));
    assert_eq!((tls.offer.tls12, tls.offer.tls13, tls.allowed_peer_names.len()), (false, true, 2));
}

#[test]
fn each_fault_stands_at_the_key_that_names_the_file() {
    let (s, d) = ("service.tls", "destinations.a.tls");
    for (tls, key, part) in [
        (
            "key-store: { store-file: nowhere.jks, store-password-file: pass }",
            "key-store.store-file",
            "the file nowhere.jks cannot be read: there is no such file",
        ),
        (
            "key-store: { store-file: own-all.pem, store-password-file: nowhere }",
            "key-store.store-password-file",
            "the file nowhere cannot be read",
        ),
        (
            "key-store: { store-file: own-all.pem, store-password-file: empty }",
            "key-store.store-password-file",
            "empty first line",
        ),
        ("key-store: { store-file: text }", "key-store.store-file", "the file text is neither PEM nor PKCS#12 nor JKS"),
        ("key-store: {}", "key-store.store-file", "missing"),
        (
            "certificate-file: own.pem",
            "certificate-file",
            "no private key; name the file that holds it in private-key-file",
        ),
        (
            "certificate-file: own.pem, private-key-file: other-key.pem",
            "private-key-file",
            "does not belong to the certificate",
        ),
        ("certificate-file: own-key.pem, private-key-file: own-key.pem", "certificate-file", "has no certificate"),
        ("private-key-file: own-key.pem", "private-key-file", "write `certificate-file`"),
        (
            "certificate-file: own-all.pem, key-store: { store-file: own-all.pem }",
            "certificate-file",
            "the same setting as `store-file` on line",
        ),
    ] {
        one_fault(&with_service(&format!("{{ port: 8943, {tls} }}")), &format!("{s}.{key}"), part);
        one_fault(&with_destination(&format!("{{ {tls} }}")), &format!("{d}.{key}"), part);
    }
    one_fault(&with_destination("{ ca-file: nowhere }"), "destinations.a.tls.ca-file", "cannot be read");
    one_fault(
        &with_destination("{ trust-store: { store-file: own-key.pem } }"),
        "destinations.a.tls.trust-store.store-file",
        "has no certificate",
    );
    one_fault(&with_destination("{ trust-store: {} }"), "destinations.a.tls.trust-store.store-file", "missing");
    one_fault(
        &with_destination("{ server-name: \"a b\" }"),
        "destinations.a.tls.server-name",
        "no name that a certificate can have",
    );
    one_fault(&with_service("{ port: 8943 }"), "service.tls.key-store", "missing");
    one_fault(&with_service(&format!("{{ {PAIR} }}")), "service.tls.port", "missing");
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let d = "destinations.a.tls";
    one_warning(&load_text(&text("{ port: 1 }", "{ urls: \"http://h/\", tls: {} }")), d, "none of `urls` is https");
    one_warning(
        &with_destination("{ trust-store: { ca-file: ca.pem, key-password-file: pass } }"),
        &format!("{d}.trust-store.key-password-file"),
        "no effect here",
    );
    one_warning(
        &with_destination("{ key-store: { store-file: own-all.pem, ca-file: ca.pem } }"),
        &format!("{d}.key-store.ca-file"),
        "no effect here",
    );
    one_warning(
        &with_service(&format!("{{ port: 8943, {PAIR}, ca-file: ca.pem }}")),
        "service.tls.ca-file",
        "without `allowed-peer-names`",
    );
}

#[test]
fn dates_are_warnings_since_only_the_peer_decides() {
    for (file, part) in [
        ("old.pem", "expired at 2026-01-01 00:00:00 UTC"),
        ("early.pem", "not valid before 2027-01-01 00:00:00 UTC"),
        ("soon.pem", "expires in 14 days, at 2026-06-15 00:00:00 UTC"),
    ] {
        let loaded =
            with_service(&format!("{{ port: 8943, certificate-file: {file}, private-key-file: own-key.pem }}"));
        one_warning(&loaded, "service.tls.certificate-file", part);
    }
}

#[test]
fn versions_and_ciphers_are_those_that_are_left() {
    let offer = |more: &str| service(&format!("{{ port: 8943, {PAIR}, {more} }}")).offer;
    let warned = |more: &str, key: &str, part: &str| {
        one_warning(&with_service(&format!("{{ port: 8943, {PAIR}, {more} }}")), &format!("service.tls.{key}"), part);
    };
    let refused = |more: &str, key: &str, part: &str| {
        one_fault(&with_service(&format!("{{ port: 8943, {PAIR}, {more} }}")), &format!("service.tls.{key}"), part);
    };
    let both = offer("ciphers: [ TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls_aes_128_gcm_sha256 ]");
    assert_eq!(both.ciphers, ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]);
    warned("protocols: [ TLSv1.1, TLSv1.2 ]", "protocols", "before TLSv1.2 are broken");
    warned(
        "ciphers: [ TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA ]",
        "ciphers",
        "`TLS_RSA_WITH_AES_128_CBC_SHA` is not supported",
    );
    warned("ciphers: TLS_AES_128_GCM_SHA256", "ciphers", "no suite of TLSv1.2");
    refused("protocols: TLSv1", "protocols", "none of these is spoken");
    refused("protocols: 1.3", "protocols", "write \"1.3\"");
    refused("protocols: \"1.3\"", "protocols", "no TLS version; write TLSv1.2 or TLSv1.3");
    refused("ciphers: SSL_RSA_WITH_RC4_128_MD5", "ciphers", "none of them is supported; write some of TLS_AES");
    refused("protocols: TLSv1.2, ciphers: TLS_AES_128_GCM_SHA256", "ciphers", "no suite of the versions");
}

#[test]
fn https_urls_have_their_own_port_and_may_stand_beside_http() {
    let loaded = load_text(&text(
        "{ port: 1 }",
        "{ urls: [ \"https://H/a\", \"http://h:443\", \"https://h:80\", \"HTTPS://[::1]/\" ] }",
    ));
    let urls = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.faults)).destinations.remove(0).urls;
    let seen: Vec<_> = urls.iter().map(|url| (url.scheme, url.port, url.authority())).collect();
    assert_eq!(
        seen,
        [
            (Scheme::Https, 443, "h".to_owned()),
            (Scheme::Http, 443, "h:443".to_owned()),
            (Scheme::Https, 80, "h:80".to_owned()),
            (Scheme::Https, 443, "[::1]".to_owned())
        ]
    );
    assert_eq!(urls[0].to_string(), "https://h/a");
}

#[test]
fn https_without_authorities_of_the_system_is_a_fault_at_the_destination() {
    let without = Outside { system: || Err("there are none; install ca-certificates".to_owned()), ..OUTSIDE };
    let loaded = parse_with("a.yml", &text("{ port: 1 }", "{ urls: \"https://h/\" }"), UnknownKeys::Error, without);
    one_fault(&loaded, "destinations.a", "install ca-certificates");
    let own = parse_with(
        "/etc/ringpost/a.yml",
        &text("{ port: 1 }", "{ urls: \"https://h/\", tls: { ca-file: ca.pem } }"),
        UnknownKeys::Error,
        without,
    );
    assert!(own.config.is_some());
}

#[test]
fn what_check_prints_loads_again_as_the_same_and_holds_no_secret() {
    let tls = format!(
        "{{ port: 8943, address: [ 127.0.0.1 ], {PAIR}, key-password-file: pass, ca-file: ca.pem, allowed-peer-names: [ \"*.a\", \"b c\" ], \
         protocols: [ TLSv1.3, TLSv1.2 ], ciphers: [ TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ] }}"
    );
    let destination = "{ urls: \"https://h/\", tls: { key-store: { store-file: own-all.pem, store-password-file: pass }, \
                       trust-store: { store-file: ca.pem, store-password-file: pass }, server-name: 127.0.0.1 } }";
    for service in [format!("{{ port: 8901, tls: {tls} }}"), format!("{{ tls: {tls} }}")] {
        let loaded = load_text(&text(&service, destination));
        let page = effective::print(&loaded, &Ok(vec![0]));
        assert!(!page.contains("changeit"), "{page}");
        let again = load_text(&page);
        assert_eq!(lines(&again.faults), [""; 0], "{page}");
        assert_eq!(again.config, loaded.config.map(super::printed), "{page}");
    }
}
