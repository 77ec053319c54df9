//! The head of a response: status line and the headers that frame the body.

use crate::http::RetryAfter;

/// Headers of one response head; more are malformed.
const MAX_HEADERS: usize = 100;
/// What every response starts with.
pub(super) const START: &[u8] = b"HTTP/1.";
const END: &[u8] = b"\r\n\r\n";

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// 100 to 999.
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// HTTP/1.1 without `Connection: close`.
    pub(super) keep: bool,
    /// The first `Retry-After` that says anything.
    pub(super) retry_after: Option<RetryAfter>,
}

/// Where the body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// How many bytes of `rest` the head takes, when it ends in there; `partial` is what came before.
pub(super) fn find_end(partial: &[u8], rest: &[u8]) -> Option<usize> {
    // The end may begin in the last three bytes of what came before.
    let kept = partial.get(partial.len().saturating_sub(END.len() - 1)..).unwrap_or_default();
    for overlap in (1..=kept.len()).rev() {
        let tail = kept.get(kept.len() - overlap..).unwrap_or_default();
        let (front, back) = END.split_at(overlap);
        if tail == front && rest.starts_with(back) {
            return Some(back.len());
        }
    }
    rest.windows(END.len()).position(|window| window == END).map(|start| start + END.len())
}

/// Whether `bytes` can be the beginning of a response: what cannot is found out before its end is waited for.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), &'static str> {
    let length = bytes.len().min(START.len());
    if bytes.get(..length) == START.get(..length) { Ok(()) } else { Err(other_protocol(bytes)) }
}

/// In words, what a peer speaks that does not answer in HTTP/1.
pub(in crate::http::http1) fn other_protocol(bytes: &[u8]) -> &'static str {
    match bytes {
        // The length of a SETTINGS or GOAWAY frame, which is what an HTTP/2 server says first.
        [0, ..] => "this URL speaks HTTP/2; set protocol: HTTP_2",
        [0x15, ..] => "this URL speaks TLS; clear-text HTTP/1.1 was tried",
        _ => "what came is not HTTP/1",
    }
}

impl Head {
    /// Parses a whole head, its empty line included.
    pub(super) fn parse(bytes: &[u8]) -> Result<Head, &'static str> {
        check_start(bytes)?;
        check_lines(bytes)?;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err("the response head does not end where its empty line is"),
            Err(httparse::Error::TooManyHeaders) => return Err("the response has too many headers"),
            Err(_) => return Err("the response head is malformed"),
        }
        let (Some(version), Some(status)) = (response.version, response.code) else {
            return Err("the response head is malformed");
        };
        if !(100..=999).contains(&status) {
            return Err("the status code is out of range");
        }
        let mut fields = Fields::default();
        for header in response.headers.iter() {
            fields.read(header)?;
        }
        let framing = fields.framing(version, status)?;
        Ok(Head { status, framing, keep: version == 1 && !fields.close, retry_after: fields.retry_after })
    }
}

/// Lines end in CR LF, and neither byte nor NUL stands anywhere else: the parser is more lenient.
fn check_lines(bytes: &[u8]) -> Result<(), &'static str> {
    let mut previous = 0;
    for &byte in bytes {
        if (byte == b'\n') != (previous == b'\r') || byte == 0 {
            return Err("the response head has a bare CR, a bare LF or a NUL");
        }
        previous = byte;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    retry_after: Option<RetryAfter>,
}

impl Fields {
    fn read(&mut self, header: &httparse::Header<'_>) -> Result<(), &'static str> {
        if header.name.eq_ignore_ascii_case("content-length") {
            for item in header.value.split(|byte| *byte == b',') {
                let length = parse_length(item.trim_ascii()).ok_or("Content-Length is not a number")?;
                if self.length.is_some_and(|other| other != length) {
                    return Err("Content-Length is given twice and differs");
                }
                self.length = Some(length);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if self.chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err("the transfer encoding is not \"chunked\"");
            }
            self.chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            let mut tokens = header.value.split(|byte| *byte == b',');
            self.close |= tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            self.retry_after = self.retry_after.or_else(|| RetryAfter::parse(header.value));
        }
        Ok(())
    }

    fn framing(&self, version: u8, status: u16) -> Result<Framing, &'static str> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err("the response has both Content-Length and Transfer-Encoding"),
            (true, None) if version == 0 => Err("an HTTP/1.0 response has a transfer encoding"),
            _ if matches!(status, 100..200 | 204 | 304) => Ok(Framing::None),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }
}

/// Digits only: no sign, no space, no overflow.
fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}
