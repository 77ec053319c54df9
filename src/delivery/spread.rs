//! What spreads things that must not happen at one time: pauses between probes, the ends of connections.

use std::time::Duration;

/// Repeatable randomness (SplitMix64).
#[derive(Debug)]
pub struct Spread(u64);

impl Spread {
    /// The same for the same seed.
    pub const fn new(seed: u64) -> Spread {
        Spread(seed)
    }

    /// Goes on differently from here, by what `seed` is.
    pub fn stir(&mut self, seed: u64) {
        self.0 ^= seed;
    }

    /// Evenly from zero to below `limit`.
    pub fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        limit.mul_f64((mixed >> 11) as f64 / (1u64 << 53) as f64)
    }
}
