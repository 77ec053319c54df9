//! Header values of one record. (Stand-in until the real writer is merged.)

use crate::config::model::Header;
use crate::record::{ChangeRecord, DecodeLimits};

/// Values that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// The record has no such value.
    pub absent: u64,
    /// Longer than a header may be.
    pub too_long: u64,
}

impl std::ops::AddAssign for Missing {
    fn add_assign(&mut self, other: Missing) {
        self.absent += other.absent;
        self.too_long += other.too_long;
    }
}

/// Writes header values; keeps its scratch memory.
#[derive(Debug)]
pub struct HeaderWriter;

impl HeaderWriter {
    /// For one executor.
    pub fn new(_limits: DecodeLimits) -> HeaderWriter {
        HeaderWriter
    }

    /// Appends the value of each header.
    pub fn write(&mut self, headers: &[Header], _record: &ChangeRecord<'_>, out: &mut Vec<u8>) -> Missing {
        for _ in headers {
            out.extend_from_slice(&super::ABSENT.to_le_bytes());
        }
        Missing { absent: headers.len() as u64, too_long: 0 }
    }
}
