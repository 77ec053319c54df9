//! Asks a manage port: one GET on a connection of its own, whose body comes whole ([`Answer::whole`]) or piece by piece for
//! as long as the other side sends ([`Answer::piece`]).
//!
//! Whatever answers may be anything: head and body are bounded, and what comes is bytes of others, to be cleaned before
//! it is shown. No message holds the token. A client needs a tokio runtime with I/O and time; it shares no
//! thread with executors.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::admin::router::OFFICIAL;
use crate::config::model::{DestinationTls, Protocol, Scheme, Secret, TrustFile, Url};
use crate::config::{self, named_file};
use crate::tls::settings::{self, Outside};
use crate::tls::{ClientTls, server_name};

/// From the look-up of the name to the end of the answer's head; and again to the end of a body that is read whole.
pub const TIME_OUT: Duration = Duration::from_secs(5);

/// Bytes of an answer's head, and of what is read ahead of its body.
const HEAD_BYTES: usize = 32 * 1024;

/// Why there is no answer. Texts may hold what the other side sent: clean them before they go to a terminal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nothing is there, or nothing that speaks as it should.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The manage port.
        url: String,
        /// What happened.
        why: String,
    },
    /// An answer that breaks off, or is no HTTP.
    #[error("{url} gave no complete answer: {why}")]
    Broken {
        /// The manage port.
        url: String,
        /// What happened.
        why: String,
    },
    /// Nothing came for [`TIME_OUT`].
    #[error("{url} gave no answer within {} seconds", TIME_OUT.as_secs())]
    TimedOut {
        /// The manage port.
        url: String,
    },
    /// More than was asked for.
    #[error("{url} sent more than {most} bytes")]
    TooLarge {
        /// The manage port.
        url: String,
        /// What would have been read.
        most: usize,
    },
}

/// Where to ask, and as whom.
#[derive(Debug)]
pub struct Client {
    url: Url,
    shown: String,
    authorization: Option<HeaderValue>,
    tls: Option<ClientTls>,
}

impl Client {
    /// For the manage port at `url`, such as `http://127.0.0.1:8902`, behind a proxy with a path. `authorities`: a file
    /// with those that an `https` certificate may come from; the system's unless given.
    ///
    /// # Errors
    /// What is wrong with which of them, and what to write.
    pub fn new(url: &str, token: Option<&Secret>, authorities: Option<&Path>) -> Result<Client, String> {
        let mut url = config::parse_url(url)?;
        if url.path.contains('?') {
            return Err(
                "the URL has a query (`?...`); write http://HOST:PORT, and what stands before /manage".to_owned()
            );
        }
        let path = url.path.trim_end_matches('/');
        let path = path.strip_suffix("/status").unwrap_or(path);
        url.path = path.strip_suffix(OFFICIAL).unwrap_or(path).trim_end_matches('/').to_owned();
        let is_https = url.scheme == Scheme::Https;
        let shown = format!("{}://{}{}", url.scheme.name(), url.authority(), url.path);
        let authorization = token.map(|token| {
            let value = HeaderValue::try_from(format!("Bearer {}", token.0));
            value.map_err(|_| "the token has characters that cannot be sent; write it in visible ASCII".to_owned())
        });
        let tls = if is_https { Some(tls_towards(&url.host, authorities)?) } else { None };
        let mut authorization = authorization.transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Client { url, shown, authorization, tls })
    }

    /// The manage port, as messages name it.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// Asks for a path below [`OFFICIAL`], with its query, such as `/status?history=0`, and waits for the head of the answer.
    ///
    /// # Errors
    /// No answer; every status is one.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        match timeout(TIME_OUT, self.answer(path)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut { url: self.shown.clone() }),
        }
    }

    async fn answer(&self, path: &str) -> Result<Answer, ClientError> {
        let broken = |why: String| ClientError::Broken { url: self.shown.clone(), why };
        let stream = self.connect().await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES).max_header_size(HEAD_BYTES);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.to_string()))?;
        // What goes wrong with it is said by the answer or its body.
        let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
        let target = format!("{}{OFFICIAL}{path}", self.url.path);
        let mut request = hyper::Request::get(target)
            .header(HOST, self.url.authority())
            .header(USER_AGENT, concat!("ringpost/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| broken(error.to_string()))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = sender.send_request(request).await.map_err(|error| broken(with_causes(&error)))?;
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status.as_u16(), body, url: self.shown.clone(), _sender: sender, _driver: driver })
    }

    async fn connect(&self) -> Result<Pin<Box<dyn Stream>>, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { url: self.shown.clone(), why };
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let Some(tls) = &self.tls else { return Ok(Box::pin(stream)) };
        let name = tls.server_name(&self.url.host).map_err(unreachable)?;
        let session = TlsConnector::from(tls.config()).connect(name, stream).await;
        Ok(Box::pin(session.map_err(|error| unreachable(format!("TLS: {error}")))?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// The task of a connection, which ends with its answer.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose head has come.
#[derive(Debug)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    body: Incoming,
    url: String,
    _sender: SendRequest<Empty<Bytes>>,
    _driver: Driver,
}

impl Answer {
    /// The next piece of the body, whenever it comes; `None` at its end. A piece has at most some ten KiB. It may be given
    /// up and asked for again: nothing is lost.
    ///
    /// # Errors
    /// A body that breaks off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                // Trailers are nobody's business.
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                Some(Err(error)) => {
                    return Err(ClientError::Broken { url: self.url.clone(), why: with_causes(&error) });
                }
            }
        }
    }

    /// The whole body of at most so many bytes, within [`TIME_OUT`].
    ///
    /// # Errors
    /// A body that breaks off, is larger or slower.
    pub async fn whole(mut self, most: usize) -> Result<Vec<u8>, ClientError> {
        let (end, mut all) = (Instant::now() + TIME_OUT, Vec::new());
        loop {
            let piece = timeout_at(end, self.piece()).await;
            match piece.map_err(|_| ClientError::TimedOut { url: self.url.clone() })?? {
                None => return Ok(all),
                Some(piece) if all.len() + piece.len() > most => {
                    return Err(ClientError::TooLarge { url: self.url, most });
                }
                Some(piece) => all.extend_from_slice(&piece),
            }
        }
    }
}

/// hyper says what failed, its sources say why.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn tls_towards(host: &str, authorities: Option<&Path>) -> Result<ClientTls, String> {
    let name = server_name(host).map_err(|why| format!("the URL's host {host} {why}"))?;
    let trust = authorities.map(|file| TrustFile { file: file.to_owned(), password: None });
    let settings = DestinationTls { trust, ..DestinationTls::default() };
    let (file, show) = (named_file, |path: &Path| path.display().to_string());
    let outside = Outside { file: &file, show: &show, system: &config::system_authorities };
    let built = settings::client(&settings, Protocol::Http1, outside)
        .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; also, "))?;
    Ok(ClientTls::new("the manage port".to_owned(), Some(name), Arc::clone(&built.config), None))
}

#[cfg(test)]
mod tests;
