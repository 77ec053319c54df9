//! Request bodies of one batch, written one after another into a chunk, without an allocation per record.

use bytes::Bytes;

use super::budget::{Budget, Charge};

/// A chunk is sealed once it holds this much: large enough that its allocation is spread over many records, small
/// enough that one slow record does not keep much else in memory.
const CHUNK_BYTES: usize = 16 * 1024;

/// A body up to this keeps its spare room: to copy it would cost more.
const SMALL: usize = 4 * 1024;

/// Bodies share a chunk; the chunk's bytes are charged until the last of them is dropped.
struct Owner {
    data: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// The chunk that is being written.
#[derive(Debug, Default)]
pub struct Bodies {
    chunk: Vec<u8>,
}

impl Bodies {
    /// Where the next body is appended. Whoever writes only half a body truncates it again.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.chunk.capacity() == 0 {
            self.chunk.reserve(CHUNK_BYTES + CHUNK_BYTES / 4);
        }
        &mut self.chunk
    }

    /// Takes the body off the end of the chunk that begins at `start`, for whoever keeps it elsewhere.
    pub fn take_last<T>(&mut self, start: usize, keep: impl FnOnce(&[u8]) -> T) -> T {
        let kept = keep(self.chunk.get(start..).unwrap_or_default());
        self.chunk.truncate(start);
        if start == 0 {
            // Where every body goes elsewhere the chunk is never sealed: what one large record took is given back here.
            self.chunk.shrink_to(CHUNK_BYTES + CHUNK_BYTES / 4);
        }
        kept
    }

    /// Takes off the end of the chunk, from `start` on, what is not to be sent.
    pub fn cut(&mut self, start: usize) {
        self.take_last(start, |_| ());
        self.chunk.shrink_to(CHUNK_BYTES + CHUNK_BYTES / 4);
    }

    /// Whether the chunk holds enough to be sealed.
    pub fn is_full(&self) -> bool {
        self.chunk.len() >= CHUNK_BYTES
    }

    /// Ends the chunk and charges it. A small one is copied to its exact size and its space used again, so that a
    /// trickle of records does not hold a whole chunk each.
    pub fn seal(&mut self, budget: &mut Budget) -> Bytes {
        let small = self.chunk.len() < self.chunk.capacity() / 2;
        let data = if small {
            let copy = self.chunk.as_slice().to_vec();
            self.chunk.clear();
            self.chunk.shrink_to(CHUNK_BYTES + CHUNK_BYTES / 4);
            copy
        } else {
            std::mem::take(&mut self.chunk)
        };
        charged(data, budget)
    }
}

/// `data` as a body that is charged to `budget` until its last part is dropped.
pub fn charged(mut data: Vec<u8>, budget: &mut Budget) -> Bytes {
    if data.is_empty() {
        return Bytes::new();
    }
    if data.len() < data.capacity() / 4 * 3 && data.len() > SMALL {
        data.shrink_to_fit();
    }
    let charge = budget.charge_until_dropped(data.capacity() as u64);
    Bytes::from_owner(Owner { data, _charge: charge })
}

#[cfg(test)]
mod tests {
    use super::super::budget::Pool;
    use super::*;

    #[test]
    fn a_chunk_is_charged_until_its_last_body_is_gone() {
        let mut budget = Budget::new(&Pool::new(1 << 20, 10, 1));
        let mut bodies = Bodies::default();
        bodies.buffer().extend_from_slice(b"first");
        bodies.buffer().extend_from_slice(b"second");
        let chunk = bodies.seal(&mut budget);
        let second = chunk.slice(5..);
        drop(chunk);
        assert_eq!(&second[..], b"second");
        assert_eq!(budget.used_bytes(), 11);
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_full_chunk_is_charged_with_all_that_it_holds_and_not_copied() {
        let mut budget = Budget::new(&Pool::new(1 << 20, 10, 1));
        let mut bodies = Bodies::default();
        bodies.buffer().resize(CHUNK_BYTES, b'x');
        let before = bodies.buffer().as_ptr();
        assert!(bodies.is_full());
        let chunk = bodies.seal(&mut budget);
        assert_eq!(chunk.as_ptr(), before);
        assert!(budget.used_bytes() >= CHUNK_BYTES as u64);
        assert!(bodies.buffer().is_empty());
    }
}
