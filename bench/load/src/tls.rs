//! TLS for the two ends: certificates made at the start, the sink's server side, and a tunnel that a clear-text source
//! goes through.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
pub use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

/// Anything of this module that went wrong, in words.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// An authority made for one run.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate, and that of its authority.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// From when until when a certificate is valid, in days from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From long ago until long from now.
    Now,
    /// Over.
    Expired,
    /// To come.
    NotYet,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When there is no key to be had.
    pub fn new(name: &str) -> Result<Authority, Fault> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, for either side.
    ///
    /// # Errors
    /// When a name is none.
    pub fn sign(&self, names: &[&str], validity: Validity) -> Result<Pair, Fault> {
        let key = KeyPair::generate()?;
        let certificate = params(names, validity)?.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem() + &self.pem(), key: key.serialize_pem() })
    }
}

/// A certificate that nobody but itself has signed.
///
/// # Errors
/// When a name is none.
pub fn self_signed(names: &[&str]) -> Result<Pair, Fault> {
    let key = KeyPair::generate()?;
    let certificate = params(names, Validity::Now)?.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(names: &[&str], validity: Validity) -> Result<CertificateParams, Fault> {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    match validity {
        Validity::Now => {}
        Validity::Expired => params.not_after = rcgen::date_time_ymd(2020, 1, 1),
        Validity::NotYet => {
            params.not_before = rcgen::date_time_ymd(2200, 1, 1);
            params.not_after = rcgen::date_time_ymd(2300, 1, 1);
        }
    }
    Ok(params)
}

/// How a server of these tests and benchmarks speaks TLS.
#[derive(Debug, Clone)]
pub struct Server {
    /// What it shows.
    pub pair: Pair,
    /// What it agrees on (ALPN); empty: on nothing.
    pub alpn: Vec<&'static str>,
    /// Authorities of clients, in PEM; `None`: clients show nothing.
    pub clients: Option<String>,
    /// TLS 1.2 and nothing newer.
    pub only_tls12: bool,
}

impl Server {
    /// With both HTTP versions, for anybody.
    pub fn new(pair: Pair) -> Server {
        Server { pair, alpn: vec!["h2", "http/1.1"], clients: None, only_tls12: false }
    }

    /// For rustls.
    ///
    /// # Errors
    /// When certificate and key do not go together.
    pub fn config(&self) -> Result<Arc<ServerConfig>, Fault> {
        let builder = ServerConfig::builder_with_protocol_versions(if self.only_tls12 { TLS12 } else { BOTH });
        let builder = match &self.clients {
            Some(pem) => builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots(pem)?.into()).build()?),
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = parse(&self.pair)?;
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];

fn roots(pem: &str) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn parse(pair: &Pair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Fault> {
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?))
}

/// How a client of these tests and benchmarks speaks TLS: it trusts `authority`, and shows `own` if it has it.
///
/// # Errors
/// When a PEM is none.
pub fn client_config(authority: &str, own: Option<&Pair>) -> Result<Arc<ClientConfig>, Fault> {
    let builder = ClientConfig::builder().with_root_certificates(roots(authority)?);
    Ok(Arc::new(match own {
        Some(pair) => {
            let (chain, key) = parse(pair)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    }))
}

/// A server's stream, in clear text or not.
#[derive(Debug)]
pub(crate) enum Stream {
    Clear(TcpStream),
    Secured(Box<server::TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether `h2` was agreed on.
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Stream::Clear(_) => false,
            Stream::Secured(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Accepts TLS if there are settings for it. `None`: the handshake failed.
    pub(crate) async fn accept(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Option<Stream> {
        match tls {
            None => Some(Stream::Clear(stream)),
            Some(config) => {
                let accepted = TlsAcceptor::from(Arc::clone(config)).accept(stream).await.ok()?;
                Some(Stream::Secured(Box::new(accepted)))
            }
        }
    }
}

macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Clear(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Secured(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Clear(stream) => stream.is_write_vectored(),
            Stream::Secured(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

/// Clear text in, TLS out: what a source that speaks none goes through. Ends when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
}

impl Tunnel {
    /// To the TLS port `to`, whose certificate has to be for `name`.
    ///
    /// # Errors
    /// When there is no port or no thread to be had.
    pub fn spawn(to: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Result<Tunnel, Fault> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let name = ServerName::try_from(name.to_owned())?;
        let (ended, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (theirs, failures) = (Arc::clone(&ended), Arc::clone(&failed));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let serve = async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while !theirs.load(Ordering::Acquire) {
                let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
                let Ok(Ok((mut near, _))) = accepted else { continue };
                let (connector, name) = (TlsConnector::from(Arc::clone(&config)), name.clone());
                let failures = Arc::clone(&failures);
                tokio::spawn(async move {
                    let far = async { connector.connect(name, TcpStream::connect(to).await?).await };
                    let ended = match far.await {
                        Ok(mut far) => tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop),
                        Err(error) => Err(error),
                    };
                    failures.fetch_add(u64::from(ended.is_err()), Ordering::Release);
                });
            }
        };
        std::thread::Builder::new().name("tls-tunnel".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Tunnel { address, ended, failed })
    }

    /// Where its clear text end is.
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections that failed or were cut.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Acquire)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}
