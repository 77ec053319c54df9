//! A record's names as text, for log lines.

use std::fmt::{Display, Formatter, Result};

use super::ChangeRecord;

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
