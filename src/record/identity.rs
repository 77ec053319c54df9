//! A record's names as text, for log lines.

use std::fmt::{Display, Formatter, Result};

use super::{ChangeRecord, UserKey};

/// Namespace, set and digest of a record.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    namespace: &'a [u8],
    set: Option<&'a [u8]>,
    digest: &'a [u8],
}

impl<'a> Identity<'a> {
    pub(super) const fn new(namespace: &'a [u8], set: Option<&'a [u8]>, digest: &'a [u8]) -> Identity<'a> {
        Identity { namespace, set, digest }
    }

    /// The namespace.
    pub const fn namespace(&self) -> &'a [u8] {
        self.namespace
    }

    /// The set, if there is one.
    pub const fn set(&self) -> Option<&'a [u8]> {
        self.set
    }
}

impl<'a> ChangeRecord<'a> {
    /// Names the record in a log line: `namespace/set/digest`, the digest in hexadecimal as the server's tools show it.
    pub const fn identity(&self) -> Identity<'a> {
        Identity { namespace: self.namespace, set: self.set, digest: self.digest }
    }
}

impl Display for Identity<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let set = self.set.unwrap_or(b"(no set)");
        write!(f, "{}/{}/{}", self.namespace.escape_ascii(), set.escape_ascii(), Hex(self.digest))
    }
}

/// All that names a record and its version: what `record-parser` writes at debug, as far as the official connector does.
#[derive(Debug, Clone, Copy)]
pub struct Parsed<'a>(pub &'a ChangeRecord<'a>);

impl Display for Parsed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let record = self.0;
        write!(f, "{:?} of {}, userKey=", record.operation, record.identity())?;
        match record.user_key {
            None => f.write_str("null")?,
            Some(UserKey::Int(key)) => write!(f, "{key}")?,
            Some(UserKey::Float(key)) => write!(f, "{key:?}")?,
            Some(UserKey::Str(key)) => write!(f, "\"{}\"", key.escape_ascii())?,
            Some(UserKey::Bytes(key)) => write!(f, "{}", Hex(key))?,
        }
        let digest = base64_simd::STANDARD.encode_to_string(record.digest);
        write!(f, ", digest={digest}, generation={}", Or(record.generation))?;
        write!(f, ", lastUpdateTimeMs={}", Or(record.lut_ms))
    }
}

/// A number, or `null`.
struct Or<T>(Option<T>);

impl<T: Display> Display for Or<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// Bytes in hexadecimal.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_set_name_does_not_break_the_log_line() {
        let identity = Identity { namespace: b"test", set: Some(b"a\nb"), digest: &[0xff, 0x01] };
        assert_eq!(identity.to_string(), "test/a\\nb/ff01");
    }
}
