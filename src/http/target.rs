//! What is the same in every request to one URL, encoded once.

use std::cell::OnceCell;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Request;
use super::header_value::spans;
use crate::config::model::{Headers, ProbeMethod, Scheme, Url};
use crate::format::ContentType;

/// Sent with every request, unless the configuration has another value.
const USER_AGENT_VALUE: &str = concat!("ringpost/", env!("CARGO_PKG_VERSION"));

/// Carries the record's digest in standard Base64.
pub(super) const DIGEST_HEADER: HeaderName = HeaderName::from_static("aerospike-digest");

/// Length of a 20-byte digest in standard Base64.
pub(super) const DIGEST_TEXT_BYTES: usize = 28;

/// Kinds of requests to one target: each content type, with and without a digest, compressed or not.
const VARIANTS: usize = ContentType::ALL.len() * 4;

/// The static part of the requests from one destination to one of its URLs.
#[derive(Debug)]
pub struct Target {
    /// HTTP/1.1: request line and `Host`.
    start: String,
    /// HTTP/2: scheme, authority, path and query.
    uri: Uri,
    /// Configured headers with the same value in every request.
    fixed: Vec<Fixed>,
    /// Configured headers whose value comes with the request, in the order of the values.
    variable: Vec<Variable>,
    /// Whether requests with one record carry their digest.
    digest: bool,
    /// Of probes, which have no body; requests with records are POST.
    probe: Option<ProbeMethod>,
    /// The URL's host, if it is spoken to in TLS.
    tls_host: Option<String>,
    /// What is encoded once for each kind of request, when the first one is sent.
    templates: [OnceCell<Template>; VARIANTS],
}

/// A header with the same value in every request.
#[derive(Debug)]
struct Fixed {
    name: HeaderName,
    /// HTTP/1.1: as the configuration spells it.
    written: String,
    value: HeaderValue,
}

/// A header whose value comes with the request.
#[derive(Debug)]
struct Variable {
    name: HeaderName,
    /// HTTP/1.1: name, colon and space.
    line: String,
    /// No value comes twice, so that it is kept out of the HPACK table.
    is_of_one_record: bool,
}

/// What one kind of request has in common.
#[derive(Debug)]
struct Template {
    /// HTTP/1.1: all of the head that does not differ.
    head: Vec<u8>,
    /// HTTP/2: every header, the variable ones with an empty value, so that a clone has room for them.
    headers: HeaderMap,
}

/// A URL or header that cannot be put into a request.
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
    /// A configured header.
    #[error("the header {name:?} has a name or a value that cannot stand in a request")]
    Header {
        /// Its name.
        name: String,
    },
}

impl Target {
    /// Encodes what is static.
    ///
    /// # Errors
    /// When host, path or a header hold a character that must not stand in a request.
    pub fn new(url: &Url, headers: &Headers) -> Result<Target, TargetError> {
        Target::of(url, headers, None)
    }

    /// The target of probes, which have no body and only those headers that are the same in every request.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub fn probe(url: &Url, headers: &Headers, method: ProbeMethod) -> Result<Target, TargetError> {
        let mut target = Target::of(url, headers, Some(method))?;
        target.variable.clear();
        target.digest = false;
        // They say what the body is.
        target.fixed.retain(|header| header.name != CONTENT_TYPE && header.name != CONTENT_ENCODING);
        Ok(target)
    }

    fn of(url: &Url, headers: &Headers, probe: Option<ProbeMethod>) -> Result<Target, TargetError> {
        let authority = url.authority();
        let path = || TargetError::Path { path: url.path.clone() };
        if !url.path.starts_with('/') || !url.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(path());
        }
        let parsed = http::uri::Authority::from_maybe_shared(forever(&authority))
            .map_err(|source| TargetError::Authority { authority: authority.clone(), source })?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match url.scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        });
        parts.authority = Some(parsed);
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(forever(&url.path)).map_err(|_| path())?);
        let uri = Uri::from_parts(parts).map_err(|_| path())?;
        let (mut fixed, mut variable) = (Vec::new(), Vec::new());
        for header in &headers.list {
            let wrong = || TargetError::Header { name: header.name.clone() };
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| wrong())?;
            match header.value.fixed() {
                Some(text) => {
                    let value = HeaderValue::from_maybe_shared(forever(text)).map_err(|_| wrong())?;
                    fixed.push(Fixed { name, written: header.name.clone(), value });
                }
                None => variable.push(Variable {
                    name,
                    line: format!("{}: ", header.name),
                    is_of_one_record: header.value.is_of_one_record(),
                }),
            }
        }
        Ok(Target {
            start: format!("{} {} HTTP/1.1\r\nHost: {authority}\r\n", method(probe), url.path),
            uri,
            fixed,
            variable,
            digest: headers.digest,
            probe,
            tls_host: (url.scheme == Scheme::Https).then(|| url.host.clone()),
            templates: Default::default(),
        })
    }

    /// Whether the configuration gives this header, so that ours is not sent.
    fn has(&self, name: &HeaderName) -> bool {
        self.fixed.iter().any(|known| known.name == *name) || self.variable.iter().any(|known| known.name == *name)
    }

    /// What a header says that the record has no value for; `None`: it is left out.
    fn instead(header: &Variable, content: ContentType) -> Option<&'static str> {
        match header.name {
            CONTENT_TYPE => Some(content.name()),
            USER_AGENT => Some(USER_AGENT_VALUE),
            _ => None,
        }
    }

    fn template(&self, request: &Request) -> Option<&Template> {
        let digest = self.digest && request.digest.is_some();
        let kind = request.content.index() * 4 + usize::from(digest) * 2 + usize::from(request.gzip);
        let cell = self.templates.get(kind)?;
        Some(cell.get_or_init(|| self.encode(request.content, digest, request.gzip)))
    }

    fn encode(&self, content: ContentType, digest: bool, gzip: bool) -> Template {
        let mut headers = HeaderMap::with_capacity(5 + self.fixed.len() + self.variable.len());
        let mut head = self.start.clone().into_bytes();
        let mut put = |name: &HeaderName, written: &str, value: &HeaderValue| {
            for part in [written.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
            headers.insert(name, value.clone());
        };
        if !self.has(&USER_AGENT) {
            put(&USER_AGENT, "User-Agent", &HeaderValue::from_static(USER_AGENT_VALUE));
        }
        if self.probe.is_none() && !self.has(&CONTENT_TYPE) {
            put(&CONTENT_TYPE, "Content-Type", &HeaderValue::from_static(content.name()));
        }
        if gzip {
            put(&CONTENT_ENCODING, "Content-Encoding", &HeaderValue::from_static("gzip"));
        }
        for Fixed { name, written, value } in &self.fixed {
            put(name, written, value);
        }
        if self.probe.is_none() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(""));
        }
        for variable in &self.variable {
            headers.insert(variable.name.clone(), HeaderValue::from_static(""));
        }
        if digest {
            headers.insert(DIGEST_HEADER, HeaderValue::from_static(""));
        }
        Template { head, headers }
    }

    /// Whether requests with one record carry their digest.
    pub(super) const fn sends_digest(&self) -> bool {
        self.digest
    }

    /// Whether requests are HEAD, so that no answer has a body.
    pub(super) const fn is_head(&self) -> bool {
        matches!(self.probe, Some(ProbeMethod::Head))
    }

    /// The URL's host if it is `https`: then nothing is ever sent to it but inside TLS.
    pub fn tls_host(&self) -> Option<&str> {
        self.tls_host.as_deref()
    }

    /// Appends a whole HTTP/1.1 request head.
    pub(super) fn write_http1_head(&self, request: &Request, out: &mut Vec<u8>) {
        if let Some(template) = self.template(request) {
            out.extend_from_slice(&template.head);
        }
        if self.probe.is_some() {
            return out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(request.body.len()).as_bytes());
        if let Some(digest) = request.digest.filter(|_| self.digest) {
            out.extend_from_slice(b"\r\naerospike-digest: ");
            out.extend_from_slice(&digest_text(&digest));
        }
        for (header, range) in self.variable.iter().zip(spans(&request.values)) {
            let value = range.and_then(|range| request.values.get(range));
            if let Some(value) = value.or_else(|| Self::instead(header, request.content).map(str::as_bytes)) {
                for part in [b"\r\n", header.line.as_bytes(), value] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// The method and the path of its requests, without the query, which may hold a key.
    pub fn show_start(&self) -> (&'static str, String) {
        let path = self.uri.path();
        (method(self.probe), if self.uri.query().is_some() { format!("{path}?...") } else { path.to_owned() })
    }

    /// The headers of a request, for somebody who looks at it: texts of the configuration, and of headers that are there for
    /// secrets, are masked. `is_http2`: names in small letters, and no `Host`, as they are sent there.
    pub fn show_headers(&self, request: &Request, is_http2: bool) -> Vec<(String, String)> {
        let mut head = Vec::new();
        self.write_http1_head(request, &mut head);
        let head = String::from_utf8_lossy(&head);
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        let shown = fields.filter(|(name, _)| !is_http2 || !name.eq_ignore_ascii_case("host")).map(|(name, value)| {
            let is_fixed = self.fixed.iter().any(|fixed| fixed.written.eq_ignore_ascii_case(name));
            let value = if is_fixed || is_secret(name) { MASKED } else { value };
            (if is_http2 { name.to_ascii_lowercase() } else { name.to_owned() }, value.to_owned())
        });
        shown.collect()
    }

    /// An HTTP/2 request with these variable headers.
    pub(super) fn http2_request(
        &self,
        request: &Request,
        digest: Option<HeaderValue>,
        content_length: HeaderValue,
    ) -> http::Request<()> {
        let mut headers = self.template(request).map(|template| template.headers.clone()).unwrap_or_default();
        if let Some(value) = headers.get_mut(&CONTENT_LENGTH) {
            *value = content_length;
        }
        if let Some(digest) = digest
            && let Some(value) = headers.get_mut(&DIGEST_HEADER)
        {
            *value = digest;
        }
        for (header, range) in self.variable.iter().zip(spans(&request.values)) {
            // Values are percent-encoded where they are made, so that this never fails.
            let value = range.and_then(|range| HeaderValue::from_maybe_shared(request.values.slice(range)).ok());
            match (value, headers.get_mut(&header.name)) {
                (Some(mut value), Some(place)) => {
                    value.set_sensitive(header.is_of_one_record);
                    *place = value;
                }
                (_, Some(place)) => match Self::instead(header, request.content) {
                    Some(text) => *place = HeaderValue::from_static(text),
                    None => _ = headers.remove(&header.name),
                },
                (_, None) => {}
            }
        }
        let mut head = http::Request::new(());
        *head.method_mut() = match self.probe {
            None => http::Method::POST,
            Some(ProbeMethod::Get) => http::Method::GET,
            Some(ProbeMethod::Head) => http::Method::HEAD,
            Some(ProbeMethod::Options) => http::Method::OPTIONS,
        };
        *head.version_mut() = http::Version::HTTP_2;
        *head.uri_mut() = self.uri.clone();
        *head.headers_mut() = headers;
        head
    }
}

/// Stands for a text that is not shown.
const MASKED: &str = "***";

/// Whether a header with this name is there for a secret, wherever its value is from.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "token", "secret", "password", "api-key", "apikey"].iter().any(|word| name.contains(word))
}

/// The method of a request line.
const fn method(probe: Option<ProbeMethod>) -> &'static str {
    match probe {
        None => "POST",
        Some(method) => method.name(),
    }
}

/// A copy that is never freed: clones of it, several per request, then count no references. There is one of each URL and
/// fixed header per executor, made once.
fn forever(text: &str) -> Bytes {
    Bytes::from_static(Box::leak(text.to_owned().into_boxed_str()).as_bytes())
}

/// A digest in standard Base64, padded.
pub(super) fn digest_text(digest: &[u8; 20]) -> [u8; DIGEST_TEXT_BYTES] {
    let mut text = [0; DIGEST_TEXT_BYTES];
    let written = base64_simd::STANDARD.encode(digest, base64_simd::Out::from_slice(&mut text)).len();
    debug_assert_eq!(written, DIGEST_TEXT_BYTES);
    text
}
