//! Faults of TLS in words: what happened, and what an operator can do about it.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::session::{Alpn, Role};

/// Names of a certificate that a message lists.
const NAMES: usize = 8;

/// An error of the library.
pub(super) fn text(error: &Error, role: &Role) -> String {
    match error {
        Error::InvalidCertificate(fault) => certificate(fault, role),
        Error::NoCertificatesPresented => match role {
            Role::Server => {
                "the client shows no certificate, and allowed-peer-names asks for one; give the client a certificate \
                 that an authority of trust-store has signed"
                    .to_owned()
            }
            Role::Client { .. } => "the server shows no certificate".to_owned(),
        },
        Error::AlertReceived(alert) => received(*alert, role),
        Error::PeerIncompatible(fault) => incompatible(fault),
        Error::NoApplicationProtocol => "client and server have no application protocol (ALPN) in common".to_owned(),
        Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests) => {
            "the peer asks for new keys again and again without sending data".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the peer does not speak TLS, or the connection was tampered with".to_owned()
        }
        Error::DecryptError => "a record cannot be decrypted: the connection was damaged or tampered with".to_owned(),
        other => format!("the peer broke TLS: {other}"),
    }
}

fn certificate(fault: &CertificateError, role: &Role) -> String {
    let (whose, trust) = match role {
        Role::Client { .. } => ("the server's certificate", "the trust-store of the destination's tls"),
        Role::Server => ("the client's certificate", "the trust-store of service.tls"),
    };
    match fault {
        CertificateError::Expired => {
            format!("{whose} has expired; it has to be renewed there, or the clock here is wrong")
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "{whose} expired {} ago; it has to be renewed there, or the clock here is wrong",
            distance(*not_after, *time)
        ),
        CertificateError::NotValidYet => {
            format!("{whose} is not valid yet; it has to be replaced there, or the clock here is wrong")
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "{whose} is not valid for another {}; it has to be replaced there, or the clock here is wrong",
            distance(*time, *not_before)
        ),
        CertificateError::NotValidForName => format!(
            "{whose} is not for {}; correct the URL's host, or set server-name in the destination's tls to a name of the certificate",
            expected(role)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "{whose} is for {}, not for {}; correct the URL's host, or set server-name in the destination's tls to a name of the certificate",
            names(presented),
            expected(role)
        ),
        CertificateError::UnknownIssuer => format!(
            "{whose} is signed by nobody in {trust} (an authority that is missing there, or a certificate that signed itself); \
             add that authority's certificate if you trust it"
        ),
        CertificateError::BadSignature => format!("{whose} has a signature that is not its issuer's"),
        CertificateError::Revoked => format!("{whose} was revoked by its authority"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{whose} was made for another purpose (its extended key usage); it has to be replaced there")
        }
        CertificateError::Other(other) => {
            let text = other.0.to_string();
            if text.contains("CaUsedAsEndEntity") {
                return format!(
                    "{whose} is one of an authority (`CA:TRUE`, as `openssl req -x509` makes them by itself); if you trust it, \
                     add this very certificate to {trust}; else it has to be replaced there"
                );
            }
            text
        }
        other => format!("{whose} is not taken: {other}"),
    }
}

fn expected(role: &Role) -> String {
    match role {
        Role::Client { name, .. } => show(name),
        Role::Server => "this peer".to_owned(),
    }
}

fn show(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// The library gives `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let mut all: Vec<String> = presented.iter().take(NAMES).map(plain).collect();
    if presented.len() > NAMES {
        all.push(format!("{} more", presented.len() - NAMES));
    }
    if all.is_empty() { "no name at all".to_owned() } else { all.join(", ") }
}

/// From one moment to a later one, in the largest unit that says something.
fn distance(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Alerts that say that the handshake was refused, whenever they come: before anything that was sent was looked at.
pub(super) const fn is_refusal(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::HandshakeFailure
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::DecryptError
            | A::CertificateRequired
    )
}

/// An alert of the peer.
fn received(alert: AlertDescription, role: &Role) -> String {
    use AlertDescription as A;
    let (peer, own) = match role {
        Role::Client { .. } => {
            ("server", "our client certificate (private-key and certificate of the destination's tls)")
        }
        Role::Server => ("client", "our certificate (that of service.tls)"),
    };
    let meaning = match alert {
        A::CertificateRequired => {
            "it wants a client certificate; give the destination's tls a certificate and its key".to_owned()
        }
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => format!("it does not take {own}"),
        A::CertificateExpired => format!("{own} has expired, or its clock is wrong; renew the certificate"),
        A::CertificateRevoked => format!("{own} was revoked; replace it"),
        A::UnknownCA => format!(
            "it does not know the authority that signed {own}; add that authority there, or use another certificate"
        ),
        A::AccessDenied => format!("it took {own} and does not let it in"),
        A::DecryptError => {
            format!("it could not verify the signature made with {own}; does the key belong to the certificate?")
        }
        A::HandshakeFailure => {
            "it found no cipher suite, or no certificate, that it takes; compare protocols and ciphers of both sides, \
                                and whether it wants a client certificate"
                .to_owned()
        }
        A::ProtocolVersion => "it speaks none of our TLS versions; look at protocols of both sides".to_owned(),
        A::InsufficientSecurity => "it wants stronger cipher suites; look at ciphers".to_owned(),
        A::UnrecognisedName => {
            format!("it does not know the server name {}; correct the URL's host, or set server-name", expected(role))
        }
        A::NoApplicationProtocol => match role {
            Role::Client { alpn, .. } => format!("it does not speak {} ({})", alpn.name(), advice(*alpn)),
            Role::Server => "it speaks none of our application protocols (ALPN)".to_owned(),
        },
        A::UserCanceled => "it gave up".to_owned(),
        A::InternalError => "something failed there; look at its log".to_owned(),
        _ => "look at its log".to_owned(),
    };
    format!("the {peer} sent the TLS alert {alert:?}: {meaning}")
}

fn incompatible(fault: &PeerIncompatible) -> String {
    use PeerIncompatible as P;
    match fault {
        P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoSignatureSchemesInCommon => format!(
            "client and server have no cipher suite, key exchange or signature in common ({fault:?}); look at ciphers of both sides"
        ),
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::SupportedVersionsExtensionRequired => {
            format!("client and server have no TLS version in common ({fault:?}); look at protocols of both sides")
        }
        other => format!("the peer's TLS does not fit ours: {other:?}"),
    }
}

/// What is wrong with what was agreed on, if anything is.
pub(super) fn other_protocol(wanted: Alpn, agreed: Option<&[u8]>) -> Option<String> {
    match (wanted, agreed) {
        (Alpn::Http1, None) => None,
        (wanted, Some(agreed)) if agreed == wanted.name().as_bytes() => None,
        (wanted, agreed) => Some(format!(
            "the server agreed on {} in place of {} ({})",
            agreed.map_or("no application protocol (ALPN)".into(), String::from_utf8_lossy),
            wanted.name(),
            advice(wanted)
        )),
    }
}

const fn advice(wanted: Alpn) -> &'static str {
    match wanted {
        Alpn::Http1 => "if it speaks HTTP/2 only, set protocol: HTTP_2",
        Alpn::Http2 => "it does not speak HTTP/2 over TLS: set protocol: HTTP_1_1, or switch HTTP/2 on there",
    }
}

/// The peer went away inside the handshake.
pub(super) fn cut(role: &Role, heard: bool) -> String {
    match (role, heard) {
        (Role::Client { .. }, false) => {
            "the server closed the connection without a word of TLS; does this URL speak TLS at all?".to_owned()
        }
        (Role::Client { .. }, true) => "the server closed the connection inside the TLS handshake".to_owned(),
        (Role::Server, _) => "the client closed the connection inside the TLS handshake".to_owned(),
    }
}

/// Judges the first bytes of a peer: what it speaks if not TLS.
pub(super) fn foreign(first: &[u8], role: &Role) -> Option<String> {
    // A handshake, an alert.
    let &byte = first.first()?;
    if matches!(byte, 0x15 | 0x16) {
        return None;
    }
    let shown: String = first.iter().take(8).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    Some(match role {
        Role::Client { .. } if byte == b'H' => {
            format!("this URL answers in clear-text HTTP (\"{shown}\"), not in TLS; write http:// if that is meant")
        }
        Role::Client { .. } => format!("this URL does not speak TLS; it begins with \"{shown}\""),
        // Version 2 of the protocol.
        Role::Server if byte == 2 => {
            "this looks like clear-text Aerospike XDR on a TLS port; give the source's datacenter a `tls-name`, \
                                      or point it at a clear-text port"
                .to_owned()
        }
        Role::Server if byte.is_ascii_uppercase() => {
            format!("this looks like clear text (\"{shown}\") on a TLS port of XDR; check what connects to this port")
        }
        Role::Server => format!("this is not TLS (it begins with \"{shown}\"); check what connects to this port"),
    })
}
