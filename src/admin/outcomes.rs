//! The official connector's outcomes of a record, out of our counts.

use crate::metrics::Counters;

/// Records that were answered, each in one of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Every destination has taken them.
    pub success: u64,
    /// Acked 0 and sent to nobody, on purpose: no route, `skip`, stale and merged versions.
    pub skipped: u64,
    /// Content that cannot be read or written.
    pub parse_error: u64,
    /// All others: answered 10, 11 or 18.
    pub error: u64,
}

impl Outcomes {
    /// Those of one executor.
    pub fn of(counters: &Counters) -> Outcomes {
        let failed = counters.acked_permanent + counters.acked_temporary + counters.acked_overload;
        Outcomes {
            success: counters.acked_delivered,
            skipped: counters.acked_ok.saturating_sub(counters.acked_delivered),
            parse_error: counters.acked_bad_content,
            error: failed.saturating_sub(counters.acked_bad_content),
        }
    }

    /// Both together.
    pub fn plus(self, other: Outcomes) -> Outcomes {
        Outcomes {
            success: self.success + other.success,
            skipped: self.skipped + other.skipped,
            parse_error: self.parse_error + other.parse_error,
            error: self.error + other.error,
        }
    }
}
