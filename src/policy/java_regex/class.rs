//! Classes of characters, written out for the crate `regex`.

use super::property;
use super::translate::{Escape, Flags, Translator};

/// Classes within classes.
const MAX_NESTING: usize = 100;

/// What stands between the brackets of a class: never empty, without `&&` of its own.
#[derive(Debug, Clone)]
pub(super) struct Set(String);

impl Set {
    pub(super) fn new(items: &str) -> Set {
        Set(items.to_owned())
    }

    pub(super) fn bracketed(&self) -> String {
        format!("[{}]", self.0)
    }

    pub(super) fn negated(&self) -> Set {
        Set(format!("[^{}]", self.0))
    }

    fn and(&self, other: &Set) -> Set {
        Set(format!("[[{}]&&[{}]]", self.0, other.0))
    }

    /// No character at all.
    pub(super) fn nothing() -> Set {
        Set::new("a").and(&Set::new("b"))
    }

    /// The characters from `first` to `last`; with the other case of ASCII letters if `flags` say so.
    fn range(first: char, last: char, flags: Flags) -> Set {
        let mut items = String::new();
        let mut add = |first: u32, last: u32| {
            if first <= last {
                items.push_str(&format!("\\x{{{first:X}}}-\\x{{{last:X}}}"));
            }
        };
        let (first, last) = (first as u32, last as u32);
        add(first, last);
        if flags.ignores_case {
            const UPPER_TO_LOWER: u32 = 32;
            let (lower_first, lower_last) = (first.max('a' as u32), last.min('z' as u32));
            add(lower_first - UPPER_TO_LOWER, lower_last.saturating_sub(UPPER_TO_LOWER));
            add(first.max('A' as u32) + UPPER_TO_LOWER, last.min('Z' as u32) + UPPER_TO_LOWER);
        }
        Set(items)
    }
}

/// One character as it is written in a pattern or a class.
pub(super) fn letter(letter: char) -> String {
    if letter.is_ascii_alphanumeric() { letter.to_string() } else { format!("\\x{{{:X}}}", letter as u32) }
}

/// The classes that are a letter behind a backslash.
fn predefined(letter: char) -> Option<Set> {
    let set = Set::new(match letter.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "a-zA-Z0-9_",
        's' => r"\x{9}-\x{D}\x{20}",
        'h' => r"\x{9}\x{20}\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}",
        'v' => r"\x{A}-\x{D}\x{85}\x{2028}\x{2029}",
        _ => return None,
    });
    Some(if letter.is_ascii_uppercase() { set.negated() } else { set })
}

impl Translator<'_> {
    /// `[...]`, whose bracket is next.
    pub(super) fn class(&mut self) -> Result<Set, String> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.fault("classes are nested too deeply"));
        }
        self.take();
        let is_negated = self.raw() == Some('^');
        if is_negated {
            self.take_raw();
        }
        let mut whole: Option<Set> = None;
        loop {
            let operand = self.operand(whole.is_some())?;
            whole = Some(match whole {
                Some(before) => before.and(&operand),
                None => operand,
            });
            if self.take_if(']') {
                break;
            }
            // Both were seen.
            self.take();
            self.take();
        }
        self.nesting -= 1;
        let set = whole.unwrap_or_else(Set::nothing);
        Ok(if is_negated { set.negated() } else { set })
    }

    /// What stands between two `&&`, or a `&&` and a bracket.
    fn operand(&mut self, is_behind_and: bool) -> Result<Set, String> {
        let mut items = String::new();
        let mut begins_with_class = false;
        loop {
            match self.peek() {
                None => return Err(self.fault("a class is not closed by ]: a bracket itself is \\[")),
                Some(']') if !items.is_empty() => return Ok(Set(items)),
                Some(']') if is_behind_and => return Err(self.fault(AND_FAULT)),
                Some('&') if self.second() == Some('&') => {
                    if items.is_empty() || self.third() == Some('&') {
                        return Err(self.fault(AND_FAULT));
                    }
                    return Ok(Set(items));
                }
                // Java 17 forgets a class in brackets behind && if more follows it.
                Some(next) if is_behind_and && begins_with_class && next != '[' => return Err(self.fault(AND_FAULT)),
                Some('[') => {
                    begins_with_class |= items.is_empty();
                    items.push_str(&self.class()?.bracketed());
                }
                Some(_) => items.push_str(&self.item()?.0),
            }
        }
    }

    /// One character, a range or a class that is an escape.
    fn item(&mut self) -> Result<Set, String> {
        let first = match self.range_end(false)? {
            Escape::Char(letter) => letter,
            Escape::Set(set) => return Ok(set),
            Escape::Written(_) => return Err(self.fault("this escape cannot stand in a class")),
        };
        if self.peek() != Some('-') || matches!(self.second(), Some('[' | ']') | None) {
            return Ok(Set::range(first, first, self.flags));
        }
        self.take();
        match self.range_end(true)? {
            Escape::Char(last) if first <= last => Ok(Set::range(first, last, self.flags)),
            _ => Err(self.fault("this range does not ascend: a hyphen itself is \\-")),
        }
    }

    fn range_end(&mut self, is_last: bool) -> Result<Escape, String> {
        match self.peek() {
            // As an end of a range \v is one character.
            Some('\\') if self.second() == Some('v') && (is_last || self.third() == Some('-')) => {
                self.take();
                self.take_raw();
                Ok(Escape::Char('\u{B}'))
            }
            Some('\\') => self.escape(true),
            Some(letter) => {
                self.take();
                Ok(Escape::Char(letter))
            }
            None => Err(self.fault("a class is not closed by ]: a bracket itself is \\[")),
        }
    }

    /// A backslash, which is next, and what belongs to it.
    pub(super) fn escape(&mut self, in_class: bool) -> Result<Escape, String> {
        self.take();
        let Some(letter) = self.take_raw() else {
            return Err(self.fault("a backslash stands at the end: a backslash itself is \\\\"));
        };
        if let Some(set) = predefined(letter) {
            return Ok(Escape::Set(set));
        }
        Ok(Escape::Char(match letter {
            'p' | 'P' => {
                let set = self.property()?;
                return Ok(Escape::Set(if letter == 'P' { set.negated() } else { set }));
            }
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{C}',
            'a' => '\u{7}',
            'e' => '\u{1B}',
            '0' => self.octal()?,
            'x' => self.hexadecimal()?,
            'u' => self.utf16()?,
            'c' => {
                let next = self.take().and_then(|next| char::from_u32(next as u32 ^ 64));
                next.ok_or_else(|| self.fault("behind \\c there is no control character, as in \\cA"))?
            }
            'N' => {
                return Err(self.fault("\\N{...} is not supported: write the character, or \\x{...} with its number"));
            }
            _ if !letter.is_ascii_alphanumeric() => letter,
            _ if in_class => {
                return Err(self.fault(&format!("\\{letter} is no escape in a class: the letter itself is {letter}")));
            }
            _ => return self.escape_outside(letter),
        }))
    }

    /// `\p`, which was taken: one letter, or a name in braces.
    fn property(&mut self) -> Result<Set, String> {
        let mut name = String::new();
        match self.take() {
            Some('{') => loop {
                match self.take() {
                    Some('}') => break,
                    Some(letter) => name.push(letter),
                    None => return Err(self.fault("the name behind \\p{ is not closed by }")),
                }
            },
            Some(letter) => name.push(letter),
            None => {}
        }
        property::find(&name, self.flags.ignores_case).map_err(|what| self.fault(&what))
    }

    fn digit(&mut self, radix: u32) -> Option<u32> {
        let digit = self.peek()?.to_digit(radix)?;
        self.take();
        Some(digit)
    }

    /// One to three octal digits, 0377 at most.
    fn octal(&mut self) -> Result<char, String> {
        let mut number = self.digit(8).ok_or_else(|| self.fault("behind \\0 there is no octal number, as in \\011"))?;
        for limit in [u32::MAX, 0o37] {
            if number > limit {
                break;
            }
            match self.digit(8) {
                Some(digit) => number = number * 8 + digit,
                None => break,
            }
        }
        self.character(number)
    }

    /// `41` or `{1F600}`.
    fn hexadecimal(&mut self) -> Result<char, String> {
        const WHAT: &str = "behind \\x there is no hexadecimal number, as in \\x41 or \\x{1F600}";
        if !self.take_if('{') {
            return match (self.digit(16), self.digit(16)) {
                (Some(high), Some(low)) => self.character(high * 16 + low),
                _ => Err(self.fault(WHAT)),
            };
        }
        let mut number = self.digit(16).ok_or_else(|| self.fault(WHAT))?;
        while let Some(digit) = self.digit(16) {
            number = number.saturating_mul(16).saturating_add(digit);
        }
        if self.take_if('}') { self.character(number) } else { Err(self.fault(WHAT)) }
    }

    /// Four hexadecimal digits; of a surrogate the other half, too.
    fn utf16(&mut self) -> Result<char, String> {
        let mut units = [self.utf16_unit()?, 0];
        let mut count = 1;
        if (0xD800..0xDC00).contains(&units[0]) && self.raw() == Some('\\') && self.second() == Some('u') {
            self.take_raw();
            self.take_raw();
            units[1] = self.utf16_unit()?;
            count = 2;
        }
        let mut characters = char::decode_utf16(units.into_iter().take(count));
        match (characters.next(), characters.next()) {
            (Some(Ok(letter)), None) => Ok(letter),
            _ => Err(self.fault("half of a surrogate pair is no character: write \\x{...} with its number")),
        }
    }

    fn utf16_unit(&mut self) -> Result<u16, String> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.digit(16).and_then(|digit| u16::try_from(digit).ok());
            unit = unit << 4 | digit.ok_or_else(|| self.fault("behind \\u there are no four hexadecimal digits"))?;
        }
        Ok(unit)
    }

    fn character(&self, number: u32) -> Result<char, String> {
        char::from_u32(number).ok_or_else(|| self.fault("there is no character with this number"))
    }
}

const AND_FAULT: &str =
    "write one class in brackets on each side of &&, as in [a-z&&[^aeiou]]; the character itself is \\&";
