//! Where the records of a TLS stream end, by their clear-text heads (RFC 8446 section 5.1; the same in TLS 1.2).
//!
//! The library does not say whether it holds a part of a record, and what a peer leaves half sent is memory that somebody
//! has to give a time.

/// Type, version, length.
const HEAD: usize = 5;

/// Follows a stream from its first byte. What it says of a stream that is no TLS means nothing: the library refuses it.
#[derive(Debug, Default)]
pub struct RecordEdge {
    /// The length's two bytes, as far as they came.
    length: u16,
    /// Bytes of the head that came.
    head: usize,
    /// Bytes of the body that have not come.
    left: usize,
}

impl RecordEdge {
    /// The next bytes of the stream, in any split.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { return };
            // The length is the head's last two bytes, and so what stays of all of them.
            self.length = self.length << 8 | u16::from(*byte);
            self.head += 1;
            bytes = rest;
            if self.head == HEAD {
                self.head = 0;
                self.left = usize::from(self.length);
            }
        }
    }

    /// Whether a record has begun and has not come whole.
    pub const fn is_inside(&self) -> bool {
        self.head > 0 || self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two records of 3 and 0 bytes, and one of 700 (2·256 + 188).
    fn stream() -> Vec<u8> {
        let mut stream = vec![23, 3, 3, 0, 3, 9, 9, 9, 21, 3, 3, 0, 0, 23, 3, 3, 2, 188];
        stream.resize(stream.len() + 700, 7);
        stream
    }

    #[test]
    fn a_record_ends_where_its_length_says_in_any_split() {
        let stream = stream();
        let ends = [0, 8, 13, stream.len()];
        for cut in 0..=stream.len() {
            let mut edge = RecordEdge::default();
            edge.pass(&stream[..cut]);
            assert_eq!(edge.is_inside(), !ends.contains(&cut), "after {cut}");
            edge.pass(&stream[cut..]);
            assert!(!edge.is_inside(), "cut at {cut}");
        }
        let mut edge = RecordEdge::default();
        stream.iter().for_each(|byte| edge.pass(&[*byte]));
        assert!(!edge.is_inside());
    }
}
