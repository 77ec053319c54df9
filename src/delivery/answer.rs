//! A record's code, and what it comes of: both count, and both go back to the executor that acks.

/// Bits of the code.
const CODE: u8 = 0x3f;

/// What a code comes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Rules, want of room, or a destination that has not taken the record.
    Other,
    /// A destination has taken the record, and the code ends it.
    Taken,
    /// The record's content cannot be read or written.
    Content,
    /// The record's deadline has passed.
    Late,
}

/// The code of a record's ack and its cause, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer(u8);

impl Answer {
    /// A place in a window that has no answer. No ack code that this program sends.
    pub(super) const NONE: Answer = Answer(0xff);

    /// `code` for this cause. What is no ack code is cut off.
    pub const fn new(code: u8, cause: Cause) -> Answer {
        Answer(code & CODE | (cause as u8) << 6)
    }

    /// For the ack.
    pub const fn code(self) -> u8 {
        self.0 & CODE
    }

    /// What it comes of.
    pub const fn cause(self) -> Cause {
        match self.0 >> 6 {
            0 => Cause::Other,
            1 => Cause::Taken,
            2 => Cause::Content,
            _ => Cause::Late,
        }
    }
}

impl From<u8> for Answer {
    /// A code that says all.
    fn from(code: u8) -> Answer {
        Answer::new(code, Cause::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ack;

    #[test]
    fn code_and_cause_come_back_as_they_went_in_and_none_is_no_answer() {
        for code in [ack::OK, ack::PERMANENT, ack::TEMPORARY, ack::OVERLOAD] {
            for cause in [Cause::Other, Cause::Taken, Cause::Content, Cause::Late] {
                let answer = Answer::new(code, cause);
                assert_eq!((answer.code(), answer.cause()), (code, cause));
                assert_ne!(answer, Answer::NONE);
            }
        }
    }
}
