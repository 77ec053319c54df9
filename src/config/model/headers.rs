//! Request headers of a destination, as configured.

/// `destinations.NAME.headers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// Whether requests with one record carry `aerospike-digest`; true unless it is set to null.
    pub digest: bool,
    /// The others, in the order of the file. Names differ, whatever their case.
    pub list: Vec<Header>,
}

impl Default for Headers {
    fn default() -> Headers {
        Headers { digest: true, list: Vec::new() }
    }
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// As in the file: a token (RFC 9110 section 5.6.2) that is no hop-by-hop or framing header.
    pub name: String,
    /// What it says.
    pub value: HeaderValue,
}

/// Where a header's value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// The same in every request.
    Static(Secret),
    /// The same in every request, read once at start from this environment variable.
    Env(String, Secret),
    /// The same in every request, read once at start: the first line of this file.
    File(std::path::PathBuf, Secret),
    /// The digest in standard Base64.
    Digest,
    /// The namespace.
    Namespace,
    /// The set, if there is one.
    Set,
    /// The user key, if it was shipped: text, a number, or bytes in Base64.
    UserKey,
    /// The last-update time in milliseconds since the Unix epoch, if it was shipped.
    LastUpdate,
    /// The generation, if it was shipped.
    Generation,
    /// `write` or `delete`.
    Operation,
    /// The value of the bin with this original name, if there is one.
    Bin(String),
}

impl HeaderValue {
    /// Whether it differs between records that could stand in one batch.
    pub const fn is_of_one_record(&self) -> bool {
        use HeaderValue::{Bin, Digest, Generation, LastUpdate, UserKey};
        matches!(self, Digest | UserKey | LastUpdate | Generation | Bin(_))
    }

    /// The value, if every request has the same.
    pub fn fixed(&self) -> Option<&str> {
        match self {
            HeaderValue::Static(value) | HeaderValue::Env(_, value) | HeaderValue::File(_, value) => Some(&value.0),
            _ => None,
        }
    }
}

/// A text that may be a password or key: its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
