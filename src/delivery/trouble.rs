//! What a URL last did wrong: noted for each record that fails, put in words only for those who look.

use std::fmt::{Display, Write};

use crate::http::FailureKind;
use crate::logging;
use crate::time::Time;

/// Longer words are cut.
pub const TEXT_BYTES: usize = 200;

/// What it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It answered with this status, which is no success.
    Status(u16),
    /// It did not answer completely.
    Failed(FailureKind),
    /// Words that always are the same.
    Words(&'static str),
    /// Words that were written down: something that did not happen to a record.
    Text,
}

/// The last trouble with a URL.
#[derive(Debug, Default)]
pub struct Trouble {
    last: Option<(Time, Cause)>,
    text: String,
}

impl Trouble {
    /// A record met this.
    pub fn note(&mut self, cause: Cause, now: Time) {
        self.last = Some((now, cause));
    }

    /// Something else did.
    pub fn note_text(&mut self, why: &dyn Display, now: Time) {
        self.last = Some((now, Cause::Text));
        self.text.clear();
        write_cut(&mut self.text, why);
    }

    /// Puts it in words, over what `shown` has.
    pub fn show(&self, shown: &mut Option<(Time, String)>) {
        let Some((at, cause)) = self.last else {
            *shown = None;
            return;
        };
        let (time, text) = shown.get_or_insert_default();
        *time = at;
        text.clear();
        match cause {
            Cause::Status(status) => write_cut(text, &format_args!("status {status}")),
            Cause::Failed(kind) => write_cut(text, &kind),
            Cause::Words(words) => write_cut(text, &words),
            Cause::Text => text.push_str(&self.text),
        }
    }
}

/// Appends to `text` until it has [`TEXT_BYTES`].
fn write_cut(text: &mut String, what: &dyn Display) {
    struct Cut<'a>(&'a mut String);
    impl Write for Cut<'_> {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            let room = TEXT_BYTES.saturating_sub(self.0.len());
            self.0.push_str(logging::cut(part, room));
            if part.len() > room { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    // It ends early when there is no more room.
    let _ = write!(Cut(text), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_shown_in_words_that_are_not_too_many() {
        let mut trouble = Trouble::default();
        let mut shown = None;
        trouble.show(&mut shown);
        assert_eq!(shown, None);
        trouble.note_text(&"é".repeat(300), Time::from_nanos(1));
        trouble.show(&mut shown);
        assert_eq!(shown, Some((Time::from_nanos(1), "é".repeat(TEXT_BYTES / 2))));
        trouble.note(Cause::Status(503), Time::from_nanos(2));
        trouble.show(&mut shown);
        assert_eq!(shown, Some((Time::from_nanos(2), "status 503".to_owned())));
        trouble.note(Cause::Failed(FailureKind::Reset), Time::from_nanos(3));
        trouble.show(&mut shown);
        assert_eq!(shown, Some((Time::from_nanos(3), "the peer reset the stream".to_owned())));
    }
}
