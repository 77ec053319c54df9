//! A checked cursor over bytes.

/// Reads from the front of a slice; nothing it does can reach past the end. `None` always means: not enough bytes.
///
/// A [`Reader::sub`] reader covers a length-prefixed part, so that what is inside cannot read what is behind.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Offset of the end of `rest`, counted from where the outermost reader began.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Over all of `bytes`, offsets counted from its start.
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, end: bytes.len() }
    }

    /// Over all of `bytes`, which starts at `offset` of something larger.
    pub const fn at(bytes: &'a [u8], offset: usize) -> Reader<'a> {
        Reader { rest: bytes, end: offset.saturating_add(bytes.len()) }
    }

    /// Offset of the next byte.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// What is left.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, which stays.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// A reader over the next `count` bytes.
    #[inline]
    pub fn sub(&mut self, count: usize) -> Option<Reader<'a>> {
        let rest = self.take(count)?;
        Some(Reader { rest, end: self.offset() })
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Two bytes, big-endian.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Four bytes, big-endian.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Eight bytes, big-endian.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_big_endian_and_offsets_count_from_the_outermost_start() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 9, 8, 7]);
        assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Some(1), Some(2), Some(3)));
        let mut part = reader.sub(2).unwrap();
        assert_eq!((part.offset(), part.u8(), part.offset()), (7, Some(9), 8));
        assert_eq!((reader.offset(), reader.rest()), (9, &[7][..]));
    }

    #[test]
    fn a_part_cannot_read_what_is_behind_it() {
        let mut reader = Reader::new(&[1, 2, 3, 4]);
        let mut part = reader.sub(2).unwrap();
        assert_eq!(part.u32(), None);
        assert_eq!(part.take(3), None);
        assert_eq!(part.take(2), Some(&[1, 2][..]));
        assert!(part.is_empty());
        assert!(reader.sub(3).is_none());
        assert_eq!(reader.take(usize::MAX), None);
        assert_eq!(reader.u16(), Some(0x0304));
    }
}
