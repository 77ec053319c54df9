//! Text that is not UTF-8, which Aerospike stores like any other: what every format makes of it by `invalid-utf8`.

use super::Notes;
use crate::config::model::InvalidUtf8;
use crate::record::Fault;

/// Scratch above this many bytes is given back at once.
const KEEP_BYTES: usize = 64 << 10;

/// The rule, and the memory in which texts are changed.
#[derive(Debug)]
pub(super) struct Texts {
    rule: InvalidUtf8,
    scratch: String,
    /// Bytes that may be put in the place of a text.
    most: usize,
}

impl Texts {
    pub(super) const fn new(rule: InvalidUtf8) -> Texts {
        Texts { rule, scratch: String::new(), most: usize::MAX }
    }

    pub(super) const fn rule(&self) -> InvalidUtf8 {
        self.rule
    }

    /// Bounds what is put in the place of a text.
    pub(super) const fn limit_to(&mut self, bytes: usize) {
        self.most = bytes;
    }

    /// Calls `write` once with `text` as it is to be written: as it is when it is UTF-8, which takes no copy; else with
    /// what the rule puts in its place, and counts that. Returns whether it was changed: texts that differ as bytes may
    /// be equal then.
    ///
    /// # Errors
    /// The rule is to reject, or it is too large; `write` was not called.
    #[inline]
    pub(super) fn write(&mut self, text: &[u8], notes: &mut Notes, write: impl FnOnce(&str)) -> Result<bool, Fault> {
        match std::str::from_utf8(text) {
            Ok(text) => {
                write(text);
                Ok(false)
            }
            Err(_) => {
                write(self.instead(text)?);
                notes.replaced_text += 1;
                if self.scratch.capacity() > KEEP_BYTES {
                    self.scratch = String::new();
                }
                Ok(true)
            }
        }
    }

    #[cold]
    fn instead(&mut self, text: &[u8]) -> Result<&str, Fault> {
        self.scratch.clear();
        match self.rule {
            InvalidUtf8::Replace => {
                for chunk in text.utf8_chunks() {
                    self.scratch.push_str(chunk.valid());
                    if self.scratch.len() > self.most {
                        return Err(Fault::TooLarge(self.most));
                    }
                    if !chunk.invalid().is_empty() {
                        self.scratch.push(char::REPLACEMENT_CHARACTER);
                    }
                }
            }
            InvalidUtf8::Base64 => base64_simd::STANDARD.encode_append(text, &mut self.scratch),
            InvalidUtf8::Reject => return Err(Fault::InvalidText),
        }
        Ok(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written, what is returned, and how many were counted.
    fn written(rule: InvalidUtf8, text: &[u8]) -> (Option<String>, Result<bool, Fault>, u64) {
        let (mut notes, mut seen) = (Notes::default(), None);
        let result = Texts::new(rule).write(text, &mut notes, |text| seen = Some(text.to_owned()));
        (seen, result, notes.replaced_text)
    }

    #[test]
    fn utf8_stays_whatever_the_rule() {
        for rule in [InvalidUtf8::Replace, InvalidUtf8::Base64, InvalidUtf8::Reject] {
            for text in ["", "plain", "żółć 🚀\0"] {
                assert_eq!(written(rule, text.as_bytes()), (Some(text.to_owned()), Ok(false), 0));
            }
        }
    }

    #[test]
    fn other_bytes_follow_the_rule() {
        let text = b"ab\xff\xe2\x82 c\xf0";
        let replaced = String::from_utf8_lossy(text).into_owned();
        assert_eq!(written(InvalidUtf8::Replace, text), (Some(replaced), Ok(true), 1));
        assert_eq!(written(InvalidUtf8::Base64, text), (Some("YWL/4oIgY/A=".to_owned()), Ok(true), 1));
        assert_eq!(written(InvalidUtf8::Reject, text), (None, Err(Fault::InvalidText), 0));
    }

    #[test]
    fn memory_of_a_large_text_is_given_back_and_texts_do_not_mix() {
        let mut texts = Texts::new(InvalidUtf8::Base64);
        let mut notes = Notes::default();
        assert_eq!(texts.write(&[0xff; 200_000], &mut notes, |text| assert_eq!(text.len(), 266_668)), Ok(true));
        assert_eq!(texts.scratch.capacity(), 0);
        for _ in 0..2 {
            assert_eq!(texts.write(b"\xff", &mut notes, |text| assert_eq!(text, "/w==")), Ok(true));
        }
        assert_eq!(notes.replaced_text, 3);
    }
}
