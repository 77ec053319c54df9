//! Whether a peer's certificate is taken: rustls decides about chains; here is what Java takes besides (a certificate
//! that stands in the trust store itself, a common name), and which clients may connect.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::certificate::Certificate;
use super::names::is_for;
use super::settings::Authorities;

/// Servers whose certificates are signed by an authority of the destination.
#[derive(Debug)]
pub(super) struct Servers {
    chains: Arc<WebPkiServerVerifier>,
    authorities: Arc<Authorities>,
}

impl Servers {
    /// `None`: there is no authority.
    pub(super) fn new(authorities: Arc<Authorities>, provider: Arc<CryptoProvider>) -> Option<Servers> {
        let roots = Arc::clone(&authorities.roots);
        let chains = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
        Some(Servers { chains, authorities })
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if self.authorities.are_public {
            return Err(refused);
        }
        let is_named = match &refused {
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => true,
            _ if self.authorities.pins(end_entity) => false,
            _ => return Err(refused),
        };
        let Some(certificate) = Certificate::read(end_entity) else { return Err(refused) };
        if !is_named {
            in_time(&certificate, now)?;
        }
        if is_for(&certificate.names, &server_name.to_str()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(if is_named { refused } else { Error::InvalidCertificate(CertificateError::NotValidForName) })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// A client's certificate is good, and for nobody who may connect.
#[derive(thiserror::Error)]
#[error(
    "the client's certificate ({subject}) is for none of `allowed-peer-names`; add its name there, or give the client another certificate"
)]
struct NotAllowed {
    subject: String,
}

/// rustls shows what it does not know itself in this way.
impl std::fmt::Debug for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Clients whose certificates are signed by an authority of the service, and for one of the allowed names.
#[derive(Debug)]
pub(super) struct Clients {
    chains: Arc<dyn ClientCertVerifier>,
    authorities: Arc<Authorities>,
    allowed: Vec<String>,
}

impl Clients {
    /// `None`: there is no authority.
    pub(super) fn new(
        authorities: Arc<Authorities>,
        allowed: Vec<String>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Clients> {
        let roots = Arc::clone(&authorities.roots);
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider).build().ok()?;
        Some(Clients { chains, authorities, allowed })
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let by_chain = self.chains.verify_client_cert(end_entity, intermediates, now);
        let unreadable = Error::InvalidCertificate(CertificateError::BadEncoding);
        let certificate = match by_chain {
            Ok(_) => Certificate::read(end_entity).ok_or(unreadable)?,
            Err(_) if self.authorities.pins(end_entity) => {
                let certificate = Certificate::read(end_entity).ok_or(unreadable)?;
                in_time(&certificate, now)?;
                certificate
            }
            Err(refused) => return Err(refused),
        };
        if self.allowed.iter().any(|allowed| is_for(&certificate.names, allowed)) {
            return Ok(ClientCertVerified::assertion());
        }
        let why = NotAllowed { subject: certificate.subject };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn in_time(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    if certificate.is_valid_at(now.as_secs()) {
        return Ok(());
    }
    let early = i64::try_from(now.as_secs()).is_ok_and(|now| now < certificate.not_before);
    let error = if early { CertificateError::NotValidYet } else { CertificateError::Expired };
    Err(Error::InvalidCertificate(error))
}
