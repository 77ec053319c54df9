//! Last-update times: 40 bits of milliseconds since 2010-01-01T00:00:00Z.

/// 2010-01-01T00:00:00Z in milliseconds since the Unix epoch.
pub const UNIX_MS: u64 = 1_262_304_000_000;

/// The bits that are time; those above probably carry the source's `src-id` (xdr-protocol.md 3.1).
const TIME_BITS: u64 = 0xFF_FFFF_FFFF;

/// Milliseconds since the Unix epoch of a last-update time as it stands on the wire.
pub const fn lut_to_unix_ms(wire: u64) -> u64 {
    (wire & TIME_BITS) + UNIX_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_update_time_is_read_in_unix_time() {
        // 2024-12-10T14:49:26.168Z, from the frame that a real server sent.
        assert_eq!(lut_to_unix_ms(0x6d_c9dd_6998), 1_733_842_166_168);
    }

    #[test]
    fn bits_above_the_time_do_not_move_it() {
        assert_eq!(lut_to_unix_ms(0x0700_006d_c9dd_6998 | 0x0007_0000_0000_0000), 1_733_842_166_168);
        assert_eq!(lut_to_unix_ms(u64::MAX), UNIX_MS + 0xFF_FFFF_FFFF);
    }
}
