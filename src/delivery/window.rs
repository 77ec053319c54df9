//! The acks of one XDR connection: first in, first out, whatever the order in which deliveries end.
//!
//! The server matches an ack to a record by order alone (`xdr-protocol.md` 6.2). A code that is released out of turn
//! acks another record, which is the one fault that loses data without a trace.

use std::collections::VecDeque;
use std::time::Duration;

use super::answer::{Answer, Cause};
use crate::time::Time;

/// No outcome yet.
const PENDING: Answer = Answer::NONE;

/// Times at which codes became known are kept in as many nanoseconds, so that they need half the memory. They begin anew
/// every 275 s, which nothing waits for: a peer that does not take its acks is not kept that long.
const UNIT_NANOS: u64 = 64;

/// Bytes that an empty window keeps.
const KEEP_BYTES: usize = 4 << 10;

/// Codes of one connection's records, released in the order of arrival.
///
/// Memory: a byte for each place, 16 for each read that brought some of them, and 4 for each place up to the last one whose
/// code is known out of turn.
#[derive(Debug, Default)]
pub struct AckWindow {
    /// Number of the record whose code is at the front.
    base: u64,
    codes: VecDeque<Answer>,
    /// Places without a code.
    pending: usize,
    /// How many places each read took that brought any, the oldest first, and when it ended.
    arrivals: VecDeque<(u32, Time)>,
    /// When codes became known; places at the end whose codes are not known are left out.
    known: VecDeque<u32>,
}

/// A code that may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Of the record, as [`AckWindow::open`] gave it.
    pub number: u64,
    /// For the ack, and why.
    pub answer: Answer,
    /// How long it waited for those before it.
    pub waited: Duration,
    /// The record's whole way, from its read.
    pub total: Duration,
}

impl AckWindow {
    /// Takes the next place, for the record that has just arrived, with a read that ended at `arrived`. Its number.
    pub fn open(&mut self, arrived: Time) -> u64 {
        self.codes.push_back(PENDING);
        self.pending += 1;
        match self.arrivals.back_mut() {
            Some((count, time)) if *time == arrived && *count < u32::MAX => *count += 1,
            _ => self.arrivals.push_back((1, arrived)),
        }
        self.base + self.codes.len() as u64 - 1
    }

    /// Sets the answer of record `number`, which is known since `now`. False if it has one already or is gone: the first
    /// outcome stands.
    pub fn complete(&mut self, number: u64, answer: Answer, now: Time) -> bool {
        let place = number.checked_sub(self.base).and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| Some((place, self.codes.get_mut(place)?))) {
            Some((place, open)) if *open == PENDING => {
                *open = answer;
                self.pending -= 1;
                if place >= self.known.len() {
                    self.known.resize(place, 0);
                    self.known.push_back(units(now));
                } else if let Some(known) = self.known.get_mut(place) {
                    *known = units(now);
                }
                true
            }
            _ => false,
        }
    }

    /// The next code that may be written at `now`: that of the oldest record, once it has one.
    pub fn release(&mut self, now: Time) -> Option<Released> {
        let answer = self.codes.front().copied().filter(|answer| *answer != PENDING)?;
        self.codes.pop_front();
        let number = self.base;
        self.base += 1;
        let known = self.known.pop_front().unwrap_or_else(|| units(now));
        let waited = Duration::from_nanos(u64::from(units(now).wrapping_sub(known)) * UNIT_NANOS);
        let mut total = waited;
        if let Some((count, arrived)) = self.arrivals.front_mut() {
            total = now.since(*arrived);
            *count -= 1;
            if *count == 0 {
                self.arrivals.pop_front();
            }
        }
        Some(Released { number, answer, waited, total })
    }

    /// Records that a destination has taken, and whose code was not released.
    pub fn taken(&self) -> u64 {
        self.codes.iter().filter(|answer| answer.cause() == Cause::Taken).count() as u64
    }

    /// Bytes on the heap, as many as there are when each of its places has its code.
    pub fn held_bytes(&self) -> usize {
        let of_times = self.known.capacity().max(self.codes.capacity()) * size_of::<u32>();
        self.codes.capacity() + of_times + self.arrivals.capacity() * size_of::<(u32, Time)>()
    }

    /// Gives memory back that an empty window does not need.
    pub fn trim(&mut self) {
        if self.is_empty() && self.held_bytes() > KEEP_BYTES {
            *self = AckWindow { base: self.base, ..AckWindow::default() };
        }
    }

    /// Whether the oldest record has its code.
    pub fn is_ready(&self) -> bool {
        self.codes.front().is_some_and(|code| *code != PENDING)
    }

    /// Gives `code` to every record that has none.
    pub fn complete_all(&mut self, code: u8, now: Time) {
        let answer = Answer::from(code);
        self.known.resize(self.codes.len(), 0);
        for (open, known) in self.codes.iter_mut().zip(&mut self.known).filter(|(open, _)| **open == PENDING) {
            *open = answer;
            *known = units(now);
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

/// The lower half of a time.
const fn units(time: Time) -> u32 {
    (time.as_nanos() / UNIT_NANOS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn code(released: Option<Released>) -> Option<u8> {
        released.map(|released| released.answer.code())
    }

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
                prop_assert_eq!(window.open(at(0)), first_code.len() as u64);
                first_code.push(None);
                for (index, code) in outcomes.by_ref().take(3) {
                    let number = index.index(first_code.len());
                    prop_assert_eq!(window.complete(number as u64, code.into(), at(1)), first_code[number].is_none());
                    first_code[number].get_or_insert(code);
                }
                while let Some(next) = code(window.release(at(2))) {
                    released.push(next);
                }
                let ready = first_code.iter().take_while(|code| code.is_some()).count();
                let expected: Vec<u8> = first_code[..ready].iter().map(|code| code.unwrap()).collect();
                prop_assert_eq!(&released, &expected);
            }
            window.complete_all(11, at(1));
            while let Some(next) = code(window.release(at(2))) {
                released.push(next);
            }
            let expected: Vec<u8> = first_code.iter().map(|code| code.unwrap_or(11)).collect();
            prop_assert_eq!(released, expected);
            prop_assert!(window.is_empty());
        }
    }

    #[test]
    fn a_number_from_before_the_window_or_beyond_it_changes_nothing() {
        let mut window = AckWindow::default();
        let first = window.open(at(0));
        assert!(window.complete(first, 0.into(), at(0)));
        assert_eq!(code(window.release(at(0))), Some(0));
        let second = window.open(at(0));
        assert!(!window.complete(first, 11.into(), at(0)));
        assert!(!window.complete(second + 1, 11.into(), at(0)));
        assert_eq!(window.release(at(0)), None);
    }

    #[test]
    fn each_code_comes_with_the_times_of_its_own_record() {
        let mut window = AckWindow::default();
        // Two reads; the last code is known first.
        let numbers = [at(100), at(100), at(104)].map(|arrived| window.open(arrived));
        window.complete(numbers[2], Answer::new(0, Cause::Taken), at(106));
        window.complete(numbers[0], 10.into(), at(107));
        let first = window.release(at(107)).unwrap();
        assert_eq!((first.answer.code(), first.waited, first.total), (10, Duration::ZERO, Duration::from_millis(7)));
        assert_eq!(window.release(at(107)), None);
        assert_eq!(window.taken(), 1);
        window.complete_all(11, at(110));
        let times = [(numbers[1], Answer::from(11), 1, 11), (numbers[2], Answer::new(0, Cause::Taken), 5, 7)];
        for (number, answer, waited, total) in times {
            let released = window.release(at(111)).unwrap();
            let (waited, total) = (Duration::from_millis(waited), Duration::from_millis(total));
            let expected = Released { number, answer, waited, total };
            assert_eq!(released, expected);
        }
        assert_eq!((window.taken(), window.is_empty()), (0, true));
    }

    #[test]
    fn times_are_right_where_their_lower_half_begins_anew() {
        let mut window = AckWindow::default();
        let turn = (u64::from(u32::MAX) + 1) * UNIT_NANOS;
        let number = window.open(Time::from_nanos(turn - 6_400));
        window.complete(number, 0.into(), Time::from_nanos(turn - 640));
        let released = window.release(Time::from_nanos(turn + 1_280)).unwrap();
        assert_eq!((released.waited.as_nanos(), released.total.as_nanos()), (1_920, 7_680));
    }

    #[test]
    fn an_empty_window_keeps_little_and_goes_on_counting() {
        let mut window = AckWindow::default();
        for _ in 0..10_000 {
            window.open(at(0));
        }
        window.complete_all(0, at(0));
        while window.release(at(0)).is_some() {}
        window.trim();
        assert_eq!((window.codes.capacity(), window.known.capacity(), window.arrivals.capacity()), (0, 0, 0));
        assert_eq!(window.open(at(0)), 10_000);
    }
}
