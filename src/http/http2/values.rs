//! Header values that differ from request to request, cut from shared blocks: no allocation per record.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::http::target::digest_text;

/// Bytes of one block: about 50 requests' values.
const BLOCK_BYTES: usize = 2048;
/// Longest value: a digest's text, longer than any length's digits.
const MAX_VALUE_BYTES: usize = 32;

/// Cuts values from blocks; a block is freed or used again when its last value is gone.
#[derive(Debug, Default)]
pub(super) struct HeaderValues {
    block: BytesMut,
    name_indexed: bool,
}

impl HeaderValues {
    /// `aerospike-digest`. The first one of a connection enters the HPACK table, for its name; the others are marked
    /// as never indexed, since no value comes twice and each entry would push out one that does.
    pub(super) fn digest(&mut self, digest: &[u8; 20]) -> HeaderValue {
        let mut value = self.value(&digest_text(digest));
        value.set_sensitive(self.name_indexed);
        self.name_indexed = true;
        value
    }

    /// `content-length`, which HPACK encoders never index.
    pub(super) fn length(&mut self, bytes: usize) -> HeaderValue {
        self.value(itoa::Buffer::new().format(bytes).as_bytes())
    }

    fn value(&mut self, text: &[u8]) -> HeaderValue {
        if self.block.capacity() < MAX_VALUE_BYTES {
            self.block.reserve(BLOCK_BYTES);
        }
        self.block.extend_from_slice(text);
        let bytes: Bytes = self.block.split().freeze();
        // Base64 and digits are always valid.
        HeaderValue::from_maybe_shared(bytes).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}
