//! `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date in one of the three forms of section 5.6.7.

use std::time::Duration;

/// Days from the first of January of year 0 to that of 1970, in the calendar of today.
const DAYS_TO_1970: i64 = 719_528;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How long a peer asks to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// For so long from now.
    For(Duration),
    /// Until so many seconds after the Unix epoch; 0 for a date before it.
    Until(u64),
}

impl RetryAfter {
    /// Reads the header's value; `None` if it is neither seconds nor a date, so that it asks for nothing.
    pub fn parse(value: &[u8]) -> Option<RetryAfter> {
        let text = std::str::from_utf8(value.trim_ascii()).ok()?;
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // More than a number holds is as good as for ever: the cap decides.
            return Some(RetryAfter::For(Duration::from_secs(text.parse().unwrap_or(u64::MAX))));
        }
        date(text).map(RetryAfter::Until)
    }

    /// How long to wait from `unix_ms`, milliseconds after the Unix epoch; zero for a date that has passed.
    pub fn wait(self, unix_ms: u64) -> Duration {
        match self {
            RetryAfter::For(wait) => wait,
            RetryAfter::Until(second) => Duration::from_millis(second.saturating_mul(1000).saturating_sub(unix_ms)),
        }
    }
}

/// Seconds after the Unix epoch of an HTTP date.
fn date(text: &str) -> Option<u64> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    let (day, month, year, time, zone) = match first.strip_suffix(',') {
        None => {
            // asctime: Sun Nov  6 08:49:37 1994
            let (month, day, time, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
            (day, month, full_year(year)?, time, "GMT")
        }
        Some(_) => {
            let second = words.next()?;
            let (day, month, year) = match second.split_once('-') {
                // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
                Some((day, rest)) => {
                    let (month, year) = rest.split_once('-')?;
                    (day, month, short_year(year)?)
                }
                // Sun, 06 Nov 1994 08:49:37 GMT
                None => (second, words.next()?, full_year(words.next()?)?),
            };
            (day, month, year, words.next()?, words.next()?)
        }
    };
    if zone != "GMT" || words.next().is_some() {
        return None;
    }
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let day = number(day, 2).filter(|day| (1..=month_days(year, month)).contains(day))?;
    let seconds = (days(year, month) + day - 1 - DAYS_TO_1970) * 86_400 + of_day(time)?;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Digits only, and at most so many of them.
fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn full_year(text: &str) -> Option<i64> {
    number(text, 4).filter(|_| text.len() == 4)
}

/// Two digits, which mean 1970 to 2069.
fn short_year(text: &str) -> Option<i64> {
    let year = number(text, 2).filter(|_| text.len() == 2)?;
    Some(if year < 70 { 2000 + year } else { 1900 + year })
}

/// Seconds since midnight of `08:49:37`; 60 is a leap second.
fn of_day(text: &str) -> Option<i64> {
    let (hour, rest) = text.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let hour = number(hour, 2).filter(|hour| *hour < 24)?;
    let minute = number(minute, 2).filter(|minute| *minute < 60)?;
    let second = number(second, 2).filter(|second| *second <= 60)?;
    Some(hour * 3600 + minute * 60 + second)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month, counted from 0.
fn month_days(year: i64, month: i64) -> i64 {
    match month {
        1 => 28 + i64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// Days before a month, counted from 0, since the beginning of year 0.
fn days(year: i64, month: i64) -> i64 {
    let leaps = if year == 0 { 0 } else { (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 };
    year * 365 + leaps + (0..month).map(|month| month_days(year, month)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_of_a_date_are_one_moment() {
        // RFC 9110 section 5.6.7.
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(RetryAfter::parse(text.as_bytes()), Some(RetryAfter::Until(784_111_777)), "{text}");
        }
    }

    #[test]
    fn past_and_absurd_values_ask_for_nothing_or_for_ever() {
        let wait = |text: &str| RetryAfter::parse(text.as_bytes()).map(|it| it.wait(1_700_000_000_500));
        assert_eq!(wait("0"), Some(Duration::ZERO));
        assert_eq!(wait(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(wait("99999999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Mon, 01 Jan 0000 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Tue, 14 Nov 2023 22:13:22 GMT"), Some(Duration::from_millis(1_500)));
        assert!(wait("Fri, 31 Dec 9999 23:59:59 GMT").is_some_and(|wait| wait.as_secs() > 1 << 37));
        for text in [
            "",
            "-1",
            "+1",
            "1.5",
            "1 2",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 2024 00:00:00 GMT",
            "Sun, 00 Feb 2024 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sunday, 06-Nov 08:49:37 GMT",
        ] {
            assert_eq!(wait(text), None, "{text}");
        }
        assert_eq!(RetryAfter::parse(b"\xff\xfe"), None);
    }

    proptest! {
        /// Against the reader of the `httpdate` crate, in the form that servers write.
        #[test]
        fn dates_are_read_as_another_reader_does(second in 0_u64..253_402_300_799) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            prop_assert_eq!(RetryAfter::parse(text.as_bytes()), Some(RetryAfter::Until(second)), "{}", text);
        }

        /// No value does any harm.
        #[test]
        fn anything_may_come(value in proptest::collection::vec(any::<u8>(), 0..40), unix_ms in any::<u64>()) {
            if let Some(wait) = RetryAfter::parse(&value) {
                let _ = wait.wait(unix_ms);
            }
        }

        /// Whatever comes is read the same as by the crate, or not at all: only a day of the week is not checked here.
        #[test]
        fn nothing_breaks_it(text in "[A-Za-z]{3,9},? ?[0-9]{1,2}[ -][A-Z][a-z]{2}[ -][0-9]{2,4} [0-9]{1,2}:[0-9]{2}:[0-9]{2} ?(GMT)?") {
            let known = httpdate::parse_http_date(&text).ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok());
            if let Some(known) = known {
                prop_assert_eq!(RetryAfter::parse(text.as_bytes()), Some(RetryAfter::Until(known.as_secs())));
            }
        }
    }
}
