//! Acks: 30 bytes each, in the order in which the messages of a connection came.
//!
//! An ack is a whole type-3 frame: an 8-byte header that announces 22 bytes, and a message header in which only
//! `header_sz` (22) and `result_code` are set. It carries nothing to match on, so order is everything.

/// Bytes of one ack on the wire.
pub const SIZE: usize = 30;

/// Delivered, or skipped on purpose.
pub const OK: u8 = 0;
/// Not deliverable, ever: the server drops the record and counts it as abandoned.
pub const PERMANENT: u8 = 10;
/// Not delivered now: the server sends the record again.
pub const TEMPORARY: u8 = 11;
/// As [`TEMPORARY`], because a limit on what is in flight was reached.
pub const OVERLOAD: u8 = 18;

/// Where the result code stands in the ack.
const CODE_OFFSET: usize = 13;

const TEMPLATE: [u8; SIZE] =
    [2, 3, 0, 0, 0, 0, 0, 22, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The ack with result code `code`.
pub const fn encode(code: u8) -> [u8; SIZE] {
    let mut ack = TEMPLATE;
    ack[CODE_OFFSET] = code;
    ack
}

/// The result code of an ack.
pub fn code(ack: &[u8]) -> Option<u8> {
    ack.get(CODE_OFFSET).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn acks_are_what_a_server_replies() {
        // The frames of tests/data/frames/acks.md.
        assert_eq!(hex(&encode(OK)), "020300000000001616000000000000000000000000000000000000000000");
        assert_eq!(hex(&encode(PERMANENT)), "020300000000001616000000000a00000000000000000000000000000000");
        assert_eq!(hex(&encode(TEMPORARY)), "020300000000001616000000000b00000000000000000000000000000000");
        assert_eq!(hex(&encode(OVERLOAD)), "020300000000001616000000001200000000000000000000000000000000");
    }
}
