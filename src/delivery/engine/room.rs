//! Room for a body that is much larger than its message.
//!
//! A frame is taken in while there is any room, and what it becomes is charged when it is written: by one record an executor
//! can go beyond the budget. That record's body may have what is usual for its message, or what there is room for.

use super::intake::{Verdict, more};
use super::{Engine, RESERVE_ABOVE};
use crate::format;
use crate::record::{ChangeRecord, Fault, RecordError};
use crate::time::Now;
use crate::wire::ack;

/// A body has so many times the bytes of its message as a rule, or less.
const USUAL_GROWTH: usize = 2;

/// A body may have so many bytes more than that, room or not.
const BODY_SLACK: usize = 2 << 20;

/// Bytes that a body may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    pub(super) bytes: usize,
    /// There is no room for more now; later there may be.
    is_of_now: bool,
}

impl Engine {
    /// Bytes that the body of a record may have now.
    pub(super) fn body_limit(&mut self, message: usize) -> BodyLimit {
        let most = format::most_bytes(message);
        if message <= RESERVE_ABOVE {
            return BodyLimit { bytes: most, is_of_now: false };
        }
        let usual = message.saturating_mul(USUAL_GROWTH).saturating_add(BODY_SLACK);
        let most = most.min(self.largest_body.max(usual));
        let room = usize::try_from(self.budget.room()).unwrap_or(usize::MAX).max(usual);
        BodyLimit { bytes: most.min(room), is_of_now: room < most }
    }

    /// What comes of a record that was not written, if it is for want of room: it is answered 18, so that the server sends it
    /// again.
    pub(super) fn has_no_room(
        &mut self,
        record: &ChangeRecord<'_>,
        fault: &RecordError,
        limit: BodyLimit,
        now: Now,
    ) -> Option<Verdict> {
        if !limit.is_of_now || !matches!(fault.fault, Fault::TooLarge(_)) {
            return None;
        }
        self.tap_note(&"there is no room for its body (executors.in-flight-bytes)");
        if let Some(left_out) = self.limited.refused.allow(now.monotonic) {
            tracing::warn!(target: "server",
                "{}: answered 18, nothing was sent: its message of {} bytes takes more than the {} bytes that there is room for now (executors.in-flight-bytes){}",
                record.identity(), record.body.len(), limit.bytes, more(left_out));
        }
        Some(Verdict::Answer(ack::OVERLOAD.into()))
    }
}
