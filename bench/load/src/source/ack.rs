//! Acks as an Aerospike server reads them (`xdr-protocol.md` sections 6.3 and 6.4).

/// Bytes of an ack: proto header and message header, no fields, no ops.
pub const ACK_LEN: usize = 30;
/// Delivered, or skipped on purpose.
pub const OK: u8 = 0;
/// Permanent failure: the server gives the record up.
pub const PERMANENT: u8 = 10;
/// Temporary failure.
pub const UNAVAILABLE: u8 = 11;
/// Temporary failure: too much in flight.
pub const OVERLOAD: u8 = 18;

/// What a server does with a result code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Shipped.
    Done,
    /// Sent again on a later lap.
    Retry,
    /// Dropped for good.
    Abandon,
}

/// The published table: 0 and 2 are complete, seven codes are retried, every other one is abandoned.
pub fn verdict(code: u8) -> Verdict {
    match code {
        OK | 2 => Verdict::Done,
        8 | 9 | UNAVAILABLE | 14 | OVERLOAD | 80 => Verdict::Retry,
        _ => Verdict::Abandon,
    }
}

/// Why 30 bytes are no ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AckFault {
    /// Proto header.
    #[error("proto header {0:02x?} instead of 02 03 00 00 00 00 00 16")]
    Proto([u8; 8]),
    /// Neither 22 nor the 0 that servers accept, too.
    #[error("header_sz {0} instead of 22")]
    HeaderSize(u8),
    /// An ack carries no fields and no ops.
    #[error("{fields} fields and {ops} ops in an ack")]
    NotEmpty {
        /// n_fields.
        fields: u16,
        /// n_ops.
        ops: u16,
    },
}

/// The result code of an ack.
///
/// # Errors
/// When version, type, size, header size or counts are not those of an ack.
pub fn parse(ack: &[u8; ACK_LEN]) -> Result<u8, AckFault> {
    let [proto @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *ack;
    let [_, _, _, _, _, _, _, _, header_sz, _, _, _, _, code, .., f1, f0, o1, o0] = *ack;
    if proto != [2, 3, 0, 0, 0, 0, 0, 22] {
        return Err(AckFault::Proto(proto));
    }
    if header_sz != 22 && header_sz != 0 {
        return Err(AckFault::HeaderSize(header_sz));
    }
    let (fields, ops) = (u16::from_be_bytes([f1, f0]), u16::from_be_bytes([o1, o0]));
    if fields != 0 || ops != 0 {
        return Err(AckFault::NotEmpty { fields, ops });
    }
    Ok(code)
}

/// An ack with this code, as a server writes it; for stand-in connectors.
pub fn encode(code: u8) -> [u8; ACK_LEN] {
    let mut ack = [0; ACK_LEN];
    ack[0] = 2;
    ack[1] = 3;
    ack[7] = 22;
    ack[8] = 22;
    ack[13] = code;
    ack
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `frames/acks.md`: 11 as a server replies, and in backup-go's form.
    #[test]
    fn both_known_forms_are_read() {
        let mut ack = [0; ACK_LEN];
        ack[..9].copy_from_slice(&[2, 3, 0, 0, 0, 0, 0, 0x16, 0x16]);
        ack[13] = 0x0b;
        assert_eq!(parse(&ack), Ok(11));
        assert_eq!(encode(11), ack);
        ack[8] = 0;
        assert_eq!(parse(&ack), Ok(11));
    }

    #[test]
    fn anything_else_is_malformed() {
        for (at, value) in [(0, 1), (1, 4), (7, 23), (2, 1), (8, 21), (27, 1), (29, 1)] {
            let mut ack = encode(0);
            ack[at] = value;
            assert!(parse(&ack).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_server_gives_up_on_what_is_not_in_its_retry_list() {
        assert_eq!([0, 2].map(verdict), [Verdict::Done; 2]);
        assert_eq!([8, 9, 11, 14, 18, 80].map(verdict), [Verdict::Retry; 6]);
        assert_eq!([1, 3, 4, 10, 22, 27, 255].map(verdict), [Verdict::Abandon; 7]);
    }
}
