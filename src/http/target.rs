//! What is the same in every request to one URL, encoded once.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::config::model::Url;

/// Sent with every request.
const USER_AGENT_VALUE: &str = concat!("ringpost/", env!("CARGO_PKG_VERSION"));

/// Carries the record's digest in standard Base64.
pub(super) const DIGEST_HEADER: HeaderName = HeaderName::from_static("aerospike-digest");

/// Length of a 20-byte digest in standard Base64.
pub(super) const DIGEST_TEXT_BYTES: usize = 28;

/// The static part of the requests from one destination to one of its URLs.
#[derive(Debug)]
pub struct Target {
    /// HTTP/1.1: request line and static headers, without the empty line.
    head: Vec<u8>,
    /// HTTP/2: scheme, authority, path and query.
    uri: Uri,
    /// HTTP/2: every header, the variable ones with an empty value, so that a clone has room for them.
    headers: HeaderMap,
}

/// A URL or content type that cannot be put into a request.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Host and port.
    #[error("{authority:?} is not a host and port for a request: {source}")]
    Authority {
        /// What was given.
        authority: String,
        /// What is wrong with it.
        source: http::uri::InvalidUri,
    },
    /// Path and query.
    #[error("{path:?} is not a path for a request: write it percent-encoded, starting with '/'")]
    Path {
        /// What was given.
        path: String,
    },
    /// Content type.
    #[error("{content_type:?} is not a value for Content-Type")]
    ContentType {
        /// What was given.
        content_type: &'static str,
    },
}

impl Target {
    /// Encodes what is static.
    ///
    /// # Errors
    /// When host, path or content type hold a character that must not stand in a request.
    pub fn new(url: &Url, content_type: &'static str) -> Result<Target, TargetError> {
        let authority = url.authority();
        let path = || TargetError::Path { path: url.path.clone() };
        if !url.path.starts_with('/') || !url.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(path());
        }
        let parsed = http::uri::Authority::try_from(authority.as_str())
            .map_err(|source| TargetError::Authority { authority: authority.clone(), source })?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(parsed);
        parts.path_and_query = Some(PathAndQuery::try_from(url.path.as_str()).map_err(|_| path())?);
        let uri = Uri::from_parts(parts).map_err(|_| path())?;

        let content_value =
            HeaderValue::from_str(content_type).map_err(|_| TargetError::ContentType { content_type })?;
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, content_value);
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static(""));
        headers.insert(DIGEST_HEADER, HeaderValue::from_static(""));

        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT_VALUE}\r\nContent-Type: {content_type}\r\n",
            url.path
        );
        Ok(Target { head: head.into_bytes(), uri, headers })
    }

    /// Appends a whole HTTP/1.1 request head.
    pub(super) fn write_http1_head(&self, digest: &[u8; 20], body_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
        out.extend_from_slice(b"\r\naerospike-digest: ");
        out.extend_from_slice(&digest_text(digest));
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// An HTTP/2 request with these variable headers.
    pub(super) fn http2_request(&self, digest: HeaderValue, content_length: HeaderValue) -> http::Request<()> {
        let mut headers = self.headers.clone();
        if let Some(value) = headers.get_mut(&CONTENT_LENGTH) {
            *value = content_length;
        }
        if let Some(value) = headers.get_mut(&DIGEST_HEADER) {
            *value = digest;
        }
        let mut request = http::Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

/// A digest in standard Base64, padded.
pub(super) fn digest_text(digest: &[u8; 20]) -> [u8; DIGEST_TEXT_BYTES] {
    let mut text = [0; DIGEST_TEXT_BYTES];
    let written = base64_simd::STANDARD.encode(digest, base64_simd::Out::from_slice(&mut text)).len();
    debug_assert_eq!(written, DIGEST_TEXT_BYTES);
    text
}
