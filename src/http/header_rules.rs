//! Which headers a configuration may set, and to what.

/// Bytes of a header's name.
pub const MAX_HEADER_NAME: usize = 128;

/// Bytes of a value that is the same in every request; access tokens can be long.
pub const MAX_FIXED_VALUE: usize = 8192;

const CONNECTION: &str = "is about the connection, which Ringpost manages: take it out";
const FRAMING: &str = "says where the body ends, which Ringpost writes itself: take it out";

/// Names that cannot be set, in lower case, and why.
const RESERVED: [(&str, &str); 14] = [
    ("connection", CONNECTION),
    ("keep-alive", CONNECTION),
    ("proxy-connection", CONNECTION),
    ("upgrade", CONNECTION),
    ("http2-settings", "belongs to an upgrade to HTTP/2: write protocol: HTTP_2 at the destination"),
    ("te", "is about the transfer, and Ringpost reads no trailers: take it out"),
    ("trailer", "announces trailers, and Ringpost sends none: take it out"),
    ("transfer-encoding", FRAMING),
    ("content-length", FRAMING),
    ("content-encoding", "must fit the body: write compression: gzip at the destination"),
    ("host", "is taken from the URL: write the host in urls"),
    ("expect", "makes the peer answer twice, and Ringpost sends the body at once: take it out"),
    ("proxy-authenticate", "is a header of responses: for credentials write authorization"),
    ("www-authenticate", "is a header of responses: for credentials write authorization"),
];

/// Whether requests may carry a header with this name.
///
/// # Errors
/// Why not, and what to write instead.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a header needs a name".to_owned());
    }
    if name.starts_with(':') {
        return Err("names that begin with : are the request line of HTTP/2, which is taken from the URL: write urls"
            .to_owned());
    }
    if name.len() > MAX_HEADER_NAME {
        return Err(format!(
            "the name of a header has {MAX_HEADER_NAME} characters at most, this one has {}",
            name.len()
        ));
    }
    if let Some(wrong) = name.chars().find(|letter| !is_token(*letter)) {
        return Err(format!(
            "{wrong:?} cannot stand in the name of a header: write letters, digits and any of !#$%&'*+-.^_`|~"
        ));
    }
    match RESERVED.iter().find(|(reserved, _)| name.eq_ignore_ascii_case(reserved)) {
        Some((reserved, why)) => Err(format!("{reserved} {why}")),
        None => Ok(()),
    }
}

/// RFC 9110 section 5.6.2.
const fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(letter, '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '.' | '^' | '_' | '`' | '|' | '~')
}

/// Whether a header may have this value, which may be a secret: no message repeats any of it.
///
/// # Errors
/// What is wrong with it, and what to do about it.
pub fn check_value(text: &str) -> Result<(), String> {
    if text.len() > MAX_FIXED_VALUE {
        return Err(format!("the value of a header has {MAX_FIXED_VALUE} bytes at most, this one has {}", text.len()));
    }
    for byte in text.bytes() {
        let what = match byte {
            b'\r' => "a carriage return (CR)",
            b'\n' => "a line feed (LF)",
            0 => "a NUL character",
            b'\t' | b' '..=b'~' => continue,
            0x80.. => "a character that is not ASCII, and peers read those differently",
            _ => "a control character",
        };
        return Err(format!(
            "the value holds {what}: write visible ASCII characters, with spaces and tabs inside only"
        ));
    }
    if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) {
        return Err("the value begins or ends with a space or tab, which HTTP cuts off: take it out".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_set() {
        for name in [
            "X-Token",
            "authorization",
            "Content-Type",
            "x_a.b",
            "!#$%&'*+-.^_`|~09azAZ",
            "t",
            "hosts",
            &"a".repeat(128),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
            assert!(http::HeaderName::from_bytes(name.as_bytes()).is_ok());
        }
    }

    #[test]
    fn names_that_cannot_be_set_say_why_and_what_to_write() {
        let long = "a".repeat(129);
        let cases = [
            ("", "needs a name"),
            (":path", "write urls"),
            (long.as_str(), "128 characters at most, this one has 129"),
            ("a b", "' ' cannot stand"),
            ("a:b", "':' cannot stand"),
            ("a\r\nb", "'\\r' cannot stand"),
            ("naïve", "'ï' cannot stand"),
            ("a(b)", "'(' cannot stand"),
            ("Connection", "connection is about the connection"),
            ("KEEP-ALIVE", "take it out"),
            ("proxy-connection", "take it out"),
            ("upgrade", "take it out"),
            ("HTTP2-Settings", "protocol: HTTP_2"),
            ("TE", "take it out"),
            ("Trailer", "take it out"),
            ("Transfer-Encoding", "where the body ends"),
            ("Content-Length", "where the body ends"),
            ("Content-Encoding", "compression: gzip"),
            ("Host", "write the host in urls"),
            ("Expect", "take it out"),
            ("Proxy-Authenticate", "write authorization"),
            ("www-authenticate", "write authorization"),
        ];
        for (name, words) in cases {
            let fault = check_name(name).unwrap_err();
            assert!(fault.contains(words), "{name}: {fault}");
        }
        let tested = |reserved: &str| cases.iter().any(|(name, _)| name.eq_ignore_ascii_case(reserved));
        assert!(RESERVED.iter().all(|(reserved, _)| tested(reserved)));
    }

    #[test]
    fn values_are_visible_ascii_and_no_message_repeats_one() {
        for text in ["", "Bearer s3cr3t==", "a\tb  c", "~!@#$%^&*()"] {
            assert_eq!(check_value(text), Ok(()), "{text:?}");
            assert!(http::HeaderValue::from_str(text).is_ok());
        }
        let long = "s3cr3t".repeat(2000);
        let cases = [
            ("s3cr3t\r", "carriage return (CR)"),
            ("s3cr3t\nx: y", "line feed (LF)"),
            ("s3cr3t\0", "NUL"),
            ("s3cr3t\x1b", "control character"),
            ("s3cr3t\x7f", "control character"),
            ("s3cr3té", "not ASCII"),
            (" s3cr3t", "begins or ends"),
            ("s3cr3t\t", "begins or ends"),
            (&long, "8192 bytes at most"),
        ];
        for (text, words) in cases {
            let fault = check_value(text).unwrap_err();
            assert!(fault.contains(words) && !fault.contains("s3cr3t") && !fault.contains('é'), "{fault}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_is_accepted_by_an_independent_reader(name in "[!-~]{1,3}|[ -~é]{0,4}", value in "[ -~]{0,5}|[\\x00-\\xff]{0,3}") {
            if check_name(&name).is_ok() {
                proptest::prop_assert!(http::HeaderName::from_bytes(name.as_bytes()).is_ok());
            }
            if check_value(&value).is_ok() {
                let header = http::HeaderValue::from_str(&value).unwrap();
                proptest::prop_assert_eq!(header.to_str().unwrap(), value);
            }
        }
    }
}
