//! The acks of one XDR connection: first in, first out, whatever the order in which deliveries end.
//!
//! The server matches an ack to a record by order alone (`xdr-protocol.md` 6.2). A code that is released out of turn
//! acks another record, which is the one fault that loses data without a trace.

use std::collections::VecDeque;

/// No outcome yet. Not an ack code that this program sends.
const PENDING: u8 = 0xff;

/// Codes of one connection's records, released in the order of arrival.
#[derive(Debug, Default)]
pub struct AckWindow {
    /// Number of the record whose code is at the front.
    base: u64,
    codes: VecDeque<u8>,
    /// Places without a code.
    pending: usize,
}

impl AckWindow {
    /// Takes the next place, for the record that has just arrived, and says its number.
    pub fn open(&mut self) -> u64 {
        self.codes.push_back(PENDING);
        self.pending += 1;
        self.base + self.codes.len() as u64 - 1
    }

    /// Sets the code of record `number`. False if it has one already or is gone: the first outcome stands.
    pub fn complete(&mut self, number: u64, code: u8) -> bool {
        assert!(code != PENDING, "the code of an open place is no ack code");
        let place = number.checked_sub(self.base).and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| self.codes.get_mut(place)) {
            Some(open) if *open == PENDING => {
                *open = code;
                self.pending -= 1;
                true
            }
            _ => false,
        }
    }

    /// The next code that may be written: that of the oldest record, once it has one.
    pub fn release(&mut self) -> Option<u8> {
        match self.codes.front() {
            Some(&code) if code != PENDING => {
                self.codes.pop_front();
                self.base += 1;
                Some(code)
            }
            _ => None,
        }
    }

    /// Whether the oldest record has its code.
    pub fn is_ready(&self) -> bool {
        self.codes.front().is_some_and(|code| *code != PENDING)
    }

    /// Gives `code` to every record that has none.
    pub fn complete_all(&mut self, code: u8) {
        for open in self.codes.iter_mut().filter(|open| **open == PENDING) {
            *open = code;
        }
        self.pending = 0;
    }

    /// Records that have no code yet.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Records whose code is not released yet.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether every record's code is released.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Outcomes in any order, with repeats and interleaved arrivals: the codes come out in the order of arrival,
        /// each record's first code, none early.
        #[test]
        fn codes_leave_in_the_order_of_arrival(
            arrivals in 1usize..60,
            outcomes in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..20), 0..200),
        ) {
            let mut window = AckWindow::default();
            let mut first_code: Vec<Option<u8>> = Vec::new();
            let mut released = Vec::new();
            let mut outcomes = outcomes.into_iter();
            for _ in 0..arrivals {
                prop_assert_eq!(window.open(), first_code.len() as u64);
                first_code.push(None);
                for (index, code) in outcomes.by_ref().take(3) {
                    let number = index.index(first_code.len());
                    prop_assert_eq!(window.complete(number as u64, code), first_code[number].is_none());
                    first_code[number].get_or_insert(code);
                }
                while let Some(code) = window.release() {
                    released.push(code);
                }
                let ready = first_code.iter().take_while(|code| code.is_some()).count();
                let expected: Vec<u8> = first_code[..ready].iter().map(|code| code.unwrap()).collect();
                prop_assert_eq!(&released, &expected);
            }
            window.complete_all(11);
            while let Some(code) = window.release() {
                released.push(code);
            }
            let expected: Vec<u8> = first_code.iter().map(|code| code.unwrap_or(11)).collect();
            prop_assert_eq!(released, expected);
            prop_assert!(window.is_empty());
        }
    }

    #[test]
    fn a_number_from_before_the_window_or_beyond_it_changes_nothing() {
        let mut window = AckWindow::default();
        let first = window.open();
        assert!(window.complete(first, 0));
        assert_eq!(window.release(), Some(0));
        let second = window.open();
        assert!(!window.complete(first, 11));
        assert!(!window.complete(second + 1, 11));
        assert_eq!(window.release(), None);
    }
}
