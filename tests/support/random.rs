//! Choices that repeat with their seed.

/// Repeatable choices (splitmix64).
pub struct Choices(pub u64);

impl Choices {
    pub fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    /// Half of the time.
    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Choices) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }
}
