//! Names of cipher suites and TLS versions in the configuration, and the names that a certificate is for.

use std::net::IpAddr;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

use super::certificate::Names;

/// A TLS version as the configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
    /// One that is known and never spoken, since it is broken.
    Old,
}

/// Java's names of versions, in small or capital letters.
pub fn version(name: &str) -> Option<Version> {
    match name.to_ascii_lowercase().as_str() {
        "tlsv1.2" => Some(Version::Tls12),
        "tlsv1.3" => Some(Version::Tls13),
        "tlsv1" | "tlsv1.0" | "tlsv1.1" | "sslv3" | "sslv2hello" => Some(Version::Old),
        _ => None,
    }
}

/// The IANA name of a suite of ours: Java has the same, rustls has others for TLS 1.3.
pub fn suite_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}

/// The suite that the configuration means; `None`: there is none.
pub fn suite(name: &str) -> Option<SupportedCipherSuite> {
    ALL_CIPHER_SUITES.iter().find(|suite| suite_name(suite).eq_ignore_ascii_case(name)).copied()
}

/// Whether a certificate for `names` is one for `wanted`, a host name, an address, or (by its common name) any text.
///
/// The subject's alternative names count; its common name only where there are none of hosts and addresses, as in Java.
/// `*` stands for one label at the front, in the certificate or in `wanted`.
pub fn is_for(names: &Names, wanted: &str) -> bool {
    let only_common = names.dns.is_empty() && names.addresses.is_empty();
    if only_common && names.common.iter().any(|name| matches(name, wanted)) {
        return true;
    }
    match wanted.parse::<IpAddr>() {
        Ok(address) => names.addresses.contains(&address),
        Err(_) => names.dns.iter().any(|name| matches(name, wanted)),
    }
}

fn matches(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.strip_suffix('.').unwrap_or(name));
    !one.is_empty() && (one.eq_ignore_ascii_case(other) || covers(one, other) || covers(other, one))
}

/// Whether `pattern` is `*.` and what stands behind the first label of `name`.
fn covers(pattern: &str, name: &str) -> bool {
    let Some((parent, (label, rest))) = pattern.strip_prefix("*.").zip(name.split_once('.')) else { return false };
    !label.is_empty() && label != "*" && parent.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], addresses: &[&str], common: &[&str]) -> Names {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Names { dns: texts(dns), addresses, common: texts(common) }
    }

    #[test]
    fn every_suite_has_its_name_and_java_spellings_are_found() {
        for name in [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "tls_ecdhe_rsa_with_aes_256_gcm_sha384",
        ] {
            assert!(suite(name).is_some_and(|suite| suite_name(&suite).eq_ignore_ascii_case(name)), "{name}");
        }
        for name in ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS13_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", ""] {
            assert!(suite(name).is_none(), "{name}");
        }
        for suite in ALL_CIPHER_SUITES {
            assert!(self::suite(&suite_name(suite)) == Some(*suite), "{suite:?}");
        }
    }

    #[test]
    fn versions_are_known_in_javas_spellings() {
        assert_eq!([version("TLSv1.2"), version("tlsv1.3")], [Some(Version::Tls12), Some(Version::Tls13)]);
        assert_eq!([version("TLSv1"), version("SSLv3")], [Some(Version::Old); 2]);
        assert_eq!([version("TLSv1.4"), version("TLS"), version("1.2")], [None; 3]);
    }

    #[test]
    fn alternative_names_come_before_the_common_name() {
        let both = names(&["a.example"], &[], &["b.example"]);
        assert!(is_for(&both, "a.example") && is_for(&both, "A.Example.") && !is_for(&both, "b.example"));
        let common = names(&[], &[], &["cluster one"]);
        assert!(is_for(&common, "cluster one") && !is_for(&common, "cluster"));
        let address = names(&[], &["10.0.0.1", "::1"], &["10.0.0.2"]);
        assert!(is_for(&address, "10.0.0.1") && is_for(&address, "0:0:0:0:0:0:0:1") && !is_for(&address, "10.0.0.2"));
        assert!(is_for(&names(&[], &[], &["10.0.0.2"]), "10.0.0.2"));
        assert!(!is_for(&names(&["10.0.0.1"], &[], &[]), "10.0.0.1"), "an address as a host name");
    }

    #[test]
    fn an_asterisk_stands_for_one_label() {
        let wild = names(&["*.a.example"], &[], &[]);
        for (wanted, is) in [
            ("n.a.example", true),
            ("a.example", false),
            ("m.n.a.example", false),
            (".a.example", false),
            ("*.a.example", true),
        ] {
            assert_eq!(is_for(&wild, wanted), is, "{wanted}");
        }
        let plain = names(&["n.a.example"], &[], &[]);
        assert!(is_for(&plain, "*.a.example") && !is_for(&plain, "*.example") && !is_for(&plain, "*"));
        assert!(!is_for(&names(&[], &[], &[]), "") && !is_for(&names(&[""], &[], &[""]), ""));
    }
}
