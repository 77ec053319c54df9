//! Time and CPU time of the ends. They are measuring tools, so they own a clock; the connector's pure parts do not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds from 1970 to the epoch of last-update times, 2010-01-01T00:00:00Z.
const LUT_EPOCH_UNIX_MS: u64 = 1_262_304_000_000;

/// Now as a last-update time: milliseconds since 2010-01-01, 40 bits.
pub(crate) fn lut_now() -> u64 {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(unix_ms).unwrap_or(0).saturating_sub(LUT_EPOCH_UNIX_MS) & 0xFF_FFFF_FFFF
}

/// CPU time (user and system) that the calling thread has used; zero where the kernel does not say.
pub(crate) fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0))
}

/// One step of splitmix64: a cheap, well-mixed function of its argument, the same on every machine.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
