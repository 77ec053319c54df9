//! Log lines that could repeat per record: one a second for each cause, and the number of those left out.

use std::time::Duration;

use crate::time::Time;

/// The least time between two lines of one cause.
const PAUSE: Duration = Duration::from_secs(1);

/// The limit of one cause.
#[derive(Debug, Default)]
pub struct RateLimit {
    next: Option<Time>,
    left_out: u64,
}

impl RateLimit {
    /// Whether a line may be written now; if so, how many were left out since the last one.
    pub fn admit(&mut self, now: Time) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.left_out += 1;
            return None;
        }
        self.next = Some(now + PAUSE);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_number_left_out() {
        let mut limit = RateLimit::default();
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        assert_eq!(limit.admit(at(0)), Some(0));
        assert_eq!(limit.admit(at(1)), None);
        assert_eq!(limit.admit(at(999)), None);
        assert_eq!(limit.admit(at(1000)), Some(2));
        assert_eq!(limit.admit(at(5000)), Some(0));
    }
}
