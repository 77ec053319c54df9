//! Rewrites a pattern in Java's syntax for the crate `fancy-regex`.
//!
//! Nothing is left to the defaults of the crate: flags are carried out here (letters become classes of both cases, `.`,
//! `^` and `$` what they stand for), classes are written out (`\w` is `[a-zA-Z0-9_]`), names of groups become numbers.
//! So what is written has one meaning, and what this does not know is refused.

use super::class::{self, Set};

/// Characters of a pattern.
const MAX_PATTERN: usize = 4096;
/// Groups within groups.
const MAX_NESTING: usize = 100;

/// Line terminators but for the line feed and the carriage return.
const LATE_ENDS: &str = r"\x{85}\x{2028}\x{2029}";

/// A pattern for `fancy-regex`.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) pattern: String,
    /// Capturing groups.
    pub(super) groups: usize,
    /// Those with a name, and their numbers.
    pub(super) names: Vec<(String, usize)>,
}

/// Rewrites `pattern`.
///
/// # Errors
/// What Java would not accept, or what cannot be carried out here, and what to write instead.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let chars = unquote(pattern);
    if chars.len() > MAX_PATTERN {
        return Err(format!("the pattern is longer than {MAX_PATTERN} characters"));
    }
    // A reference may name a group behind it, and is no reference if there is none: so groups are counted first.
    let groups = Translator::new(&chars, usize::MAX).run()?.groups;
    Translator::new(&chars, groups).run()
}

/// Takes `\Q...\E` out: what stands in it, with backslashes where they are needed.
fn unquote(pattern: &str) -> Vec<char> {
    let mut chars = Vec::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    let mut is_quoted = false;
    while let Some(next) = rest.next() {
        match (is_quoted, next, rest.peek()) {
            (true, '\\', Some('E')) => {
                is_quoted = false;
                rest.next();
            }
            (false, '\\', Some('Q')) => {
                is_quoted = true;
                rest.next();
                // As a number it could lengthen an escape before the quotation.
                if let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    chars.extend(['\\', 'x', '3', digit]);
                }
            }
            (true, ..) => {
                if next.is_ascii() && !next.is_ascii_alphanumeric() {
                    chars.push('\\');
                }
                chars.push(next);
            }
            (false, '\\', Some(_)) => {
                chars.push(next);
                chars.extend(rest.next());
            }
            (false, ..) => chars.push(next),
        }
    }
    chars
}

/// Flags in force.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// `i`.
    pub(super) ignores_case: bool,
    /// `u`.
    pub(super) unicode_case: bool,
    multi_line: bool,
    dot_all: bool,
    comments: bool,
    unix_lines: bool,
}

/// What was just written, to know how it can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atom {
    /// Takes up characters.
    Text,
    /// Takes up characters or none.
    Optional,
    /// Takes up what a group took up.
    Reference,
    /// Takes up none: the crate does not repeat it.
    Assertion,
    /// Flags: there is nothing to repeat.
    Flags,
}

impl Atom {
    /// One behind the other.
    const fn then(self, next: Atom) -> Atom {
        match (self, next) {
            (Atom::Text, _) | (_, Atom::Text) => Atom::Text,
            (Atom::Assertion, Atom::Assertion | Atom::Flags) => Atom::Assertion,
            _ => Atom::Optional,
        }
    }

    /// One or the other.
    const fn or(self, other: Atom) -> Atom {
        match (self, other) {
            (Atom::Text, Atom::Text) => Atom::Text,
            (Atom::Assertion, Atom::Assertion) => Atom::Assertion,
            _ => Atom::Optional,
        }
    }
}

/// What an escape stands for.
pub(super) enum Escape {
    /// One character.
    Char(char),
    /// A class.
    Set(Set),
    /// Something that stands outside of classes only, and is written.
    Written(Written),
}

/// See [`Escape::Written`].
pub(super) struct Written {
    text: String,
    atom: Atom,
}

/// The way through one pattern.
pub(super) struct Translator<'p> {
    chars: &'p [char],
    at: usize,
    pub(super) flags: Flags,
    out: String,
    groups: usize,
    /// Groups in all of the pattern.
    all_groups: usize,
    names: Vec<(String, usize)>,
    pub(super) nesting: usize,
}

impl<'p> Translator<'p> {
    fn new(chars: &'p [char], all_groups: usize) -> Translator<'p> {
        let (flags, out, names) = (Flags::default(), String::new(), Vec::new());
        Translator { chars, at: 0, flags, out, groups: 0, all_groups, names, nesting: 0 }
    }

    fn run(mut self) -> Result<Translated, String> {
        self.alternatives()?;
        match self.peek() {
            None => Ok(Translated { pattern: self.out, groups: self.groups, names: self.names }),
            Some(_) => Err(self.fault("this ) has no (: a parenthesis itself is \\)")),
        }
    }

    /// `what`, with the place.
    pub(super) fn fault(&self, what: &str) -> String {
        format!("at character {}: {what}", self.at.min(self.chars.len()) + 1)
    }

    /// The next character as it stands.
    pub(super) fn raw(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// The character behind the next one.
    pub(super) fn second(&self) -> Option<char> {
        self.chars.get(self.at + 1).copied()
    }

    /// The one behind that.
    pub(super) fn third(&self) -> Option<char> {
        self.chars.get(self.at + 2).copied()
    }

    pub(super) fn take_raw(&mut self) -> Option<char> {
        let next = self.raw();
        self.at += usize::from(next.is_some());
        next
    }

    /// The next character that counts: under `(?x)` blanks and comments do not.
    pub(super) fn peek(&mut self) -> Option<char> {
        if self.flags.comments {
            loop {
                match self.raw() {
                    Some('\t'..='\r' | ' ') => self.at += 1,
                    Some('#') => {
                        while self
                            .raw()
                            .is_some_and(|next| !matches!(next, '\n' | '\r' | '\u{85}' | '\u{2028}'..='\u{2029}'))
                        {
                            self.at += 1;
                        }
                    }
                    _ => break,
                }
            }
        }
        self.raw()
    }

    pub(super) fn take(&mut self) -> Option<char> {
        self.peek();
        self.take_raw()
    }

    pub(super) fn take_if(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn alternatives(&mut self) -> Result<Atom, String> {
        let mut all = self.sequence()?;
        while self.take_if('|') {
            self.out.push('|');
            all = all.or(self.sequence()?);
        }
        Ok(all)
    }

    fn sequence(&mut self) -> Result<Atom, String> {
        let mut all = Atom::Assertion;
        while let Some(next) = self.peek() {
            if matches!(next, '|' | ')') {
                break;
            }
            let start = self.out.len();
            all = all.then(match self.atom(next)? {
                Atom::Flags => Atom::Flags,
                atom => self.quantifier(start, atom)?,
            });
        }
        Ok(all)
    }

    fn atom(&mut self, next: char) -> Result<Atom, String> {
        match next {
            '(' => return self.group(),
            '[' => {
                let set = self.class()?;
                self.write_set(&set);
            }
            '\\' => return self.escaped(),
            '*' | '+' | '?' => {
                return Err(self.fault("there is nothing to repeat here: the character itself is \\* or \\+ or \\?"));
            }
            // A repetition without anything before it repeats the empty text, as in Java.
            '{' => {
                self.out.push_str("(?:)");
                return Ok(Atom::Assertion);
            }
            '^' | '$' | '.' => {
                self.take();
                return Ok(self.meta(next));
            }
            _ => {
                self.take();
                self.literal(next);
            }
        }
        Ok(Atom::Text)
    }

    /// `^`, `$` or `.`, by the flags.
    fn meta(&mut self, meta: char) -> Atom {
        let Flags { multi_line, dot_all, unix_lines, .. } = self.flags;
        let text = match (meta, multi_line, unix_lines) {
            ('^', false, _) => r"\A".to_owned(),
            // Not at the end of the text, even behind a line terminator; not inside of \r\n.
            ('^', true, true) => r"(?:(?!\z)(?:\A|(?<=\n)))".to_owned(),
            ('^', true, false) => format!(r"(?:(?!\z)(?:\A|(?<=[\n{LATE_ENDS}])|(?<=\r)(?!\n)))"),
            ('$', false, _) => self.end_of_text(),
            ('$', true, true) => r"(?=\n|\z)".to_owned(),
            ('$', true, false) => format!(r"(?:\z|(?=[\r{LATE_ENDS}])|(?<!\r)(?=\n))"),
            _ if dot_all => r"[\x{0}-\x{10FFFF}]".to_owned(),
            (_, _, true) => r"[^\n]".to_owned(),
            _ => format!(r"[^\n\r{LATE_ENDS}]"),
        };
        self.out.push_str(&text);
        if meta == '.' { Atom::Text } else { Atom::Assertion }
    }

    /// At the end, or before the line terminator that ends the text.
    fn end_of_text(&self) -> String {
        if self.flags.unix_lines {
            return r"(?=\n?\z)".to_owned();
        }
        format!(r"(?:(?=(?:\r\n|[\r{LATE_ENDS}])?\z)|(?<!\r)(?=\n\z))")
    }

    fn write_set(&mut self, set: &Set) {
        // The rest of what `i` does was done when the class was written.
        let folds = self.flags.ignores_case && self.flags.unicode_case;
        self.out.push_str(&if folds { format!("(?i:{})", set.bracketed()) } else { set.bracketed() });
    }

    fn literal(&mut self, letter: char) {
        let Flags { ignores_case, unicode_case, .. } = self.flags;
        if ignores_case && letter.is_ascii_alphabetic() && !unicode_case {
            let both = [letter.to_ascii_lowercase(), letter.to_ascii_uppercase()];
            self.out.extend(['['].into_iter().chain(both).chain([']']));
        } else if ignores_case && unicode_case {
            self.out.push_str(&format!("(?i:{})", class::letter(letter)));
        } else {
            self.out.push_str(&class::letter(letter));
        }
    }

    /// What follows the atom that was written from `start` on, if it repeats it. What both are together.
    fn quantifier(&mut self, start: usize, atom: Atom) -> Result<Atom, String> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => self.counts()?,
            _ => return Ok(atom),
        };
        if atom == Atom::Optional && max != Some(1) {
            // Java has ways of its own with turns that take up nothing.
            let what =
                "what is repeated here can be empty: write it so that each turn takes up a character, as in (a+|b)*";
            return Err(self.fault(what));
        }
        self.take();
        let is_possessive = self.take_if('+');
        let is_lazy = !is_possessive && self.take_if('?');
        if atom == Atom::Assertion {
            // Once is as good as many times.
            let (before, after) = match (min, is_lazy) {
                (0, false) => ("(?:", "|)"),
                (0, true) => ("(?:|", ")"),
                _ => ("(?:", ")"),
            };
            self.out.insert_str(start, before);
            self.out.push_str(after);
        } else {
            match max {
                Some(max) => self.out.push_str(&format!("{{{min},{max}}}")),
                None => self.out.push_str(&format!("{{{min},}}")),
            }
            if is_lazy {
                self.out.push('?');
            }
        }
        if is_possessive {
            self.out.insert_str(start, "(?>");
            self.out.push(')');
        }
        Ok(if min == 0 && atom != Atom::Assertion { Atom::Optional } else { atom })
    }

    /// `{2}`, `{2,}` or `{2,3}`, up to the brace that closes it.
    fn counts(&mut self) -> Result<(u32, Option<u32>), String> {
        self.take();
        let min = self
            .count()?
            .ok_or_else(|| self.fault("a { that is no repetition such as {2} or {2,3}: the character itself is \\{"))?;
        let max = if self.take_if(',') { self.count()? } else { Some(min) };
        if self.peek() != Some('}') {
            return Err(self.fault("this repetition is not closed by }"));
        }
        if max.is_some_and(|max| max < min) {
            return Err(self.fault("the first number of this repetition is above the second"));
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<Option<u32>, String> {
        let mut number: Option<u32> = None;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
            self.take();
            let longer = number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit));
            number = Some(longer.ok_or_else(|| self.fault("this repetition is too large"))?);
        }
        Ok(number)
    }

    fn group(&mut self) -> Result<Atom, String> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.fault("parentheses are nested too deeply"));
        }
        self.take();
        let flags = self.flags;
        let mut atom = Atom::Text;
        if self.take_if('?') {
            atom = self.group_kind()?;
        } else {
            self.groups += 1;
            self.out.push('(');
        }
        if atom != Atom::Flags {
            let inside = self.alternatives()?;
            if atom == Atom::Text {
                atom = inside;
            }
            if !self.take_if(')') {
                return Err(self.fault("a group is not closed: a parenthesis itself is \\("));
            }
            self.out.push(')');
            self.flags = flags;
        }
        self.nesting -= 1;
        Ok(atom)
    }

    /// What stands behind `(?`.
    fn group_kind(&mut self) -> Result<Atom, String> {
        let (text, atom) = match self.raw() {
            Some(':') => ("(?:", Atom::Text),
            Some('>') => ("(?>", Atom::Text),
            Some('=') => ("(?=", Atom::Assertion),
            Some('!') => ("(?!", Atom::Assertion),
            Some('<') => match self.second() {
                Some(kind @ ('=' | '!')) => {
                    self.at += 1;
                    (if kind == '=' { "(?<=" } else { "(?<!" }, Atom::Assertion)
                }
                _ => return self.named_group(),
            },
            _ => return self.inline_flags(),
        };
        self.at += 1;
        self.out.push_str(text);
        Ok(atom)
    }

    fn named_group(&mut self) -> Result<Atom, String> {
        self.at += 1;
        let name = self.name()?;
        if self.names.iter().any(|(known, _)| *known == name) {
            return Err(self.fault(&format!("a group with the name {name} is there already")));
        }
        self.groups += 1;
        self.names.push((name, self.groups));
        self.out.push('(');
        Ok(Atom::Text)
    }

    /// A group's name and the `>` behind it.
    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        loop {
            match self.take_raw() {
                Some('>') if !name.is_empty() => return Ok(name),
                Some(letter) if letter.is_ascii_alphabetic() || letter.is_ascii_digit() && !name.is_empty() => {
                    name.push(letter);
                }
                _ => {
                    let what = "a group's name is a letter, then letters and digits, then >, as in (?<name>...)";
                    return Err(self.fault(what));
                }
            }
        }
    }

    /// `(?i)`, which counts up to the end of the group around it, or `(?i:`.
    fn inline_flags(&mut self) -> Result<Atom, String> {
        let mut is_on = true;
        loop {
            let flag = match self.take_raw() {
                Some(')') => return Ok(Atom::Flags),
                Some(':') => {
                    self.out.push_str("(?:");
                    return Ok(Atom::Text);
                }
                Some('-') => {
                    is_on = false;
                    continue;
                }
                Some('i') => &mut self.flags.ignores_case,
                Some('u') => &mut self.flags.unicode_case,
                Some('m') => &mut self.flags.multi_line,
                Some('s') => &mut self.flags.dot_all,
                Some('x') => &mut self.flags.comments,
                Some('d') => &mut self.flags.unix_lines,
                Some('U') => {
                    let what =
                        "the flag U is not supported: write classes such as \\p{IsAlphabetic}, \\p{L} or \\p{Nd}";
                    return Err(self.fault(what));
                }
                Some('c') => {
                    return Err(self.fault("the flag c (canonical equivalence) is not supported: leave it out"));
                }
                _ => return Err(self.fault("what follows (? is neither a kind of group nor flags (i, u, m, s, x, d)")),
            };
            *flag = is_on;
        }
    }

    /// A backslash and what belongs to it, outside of classes.
    fn escaped(&mut self) -> Result<Atom, String> {
        match self.escape(false)? {
            Escape::Char(letter) => self.literal(letter),
            Escape::Set(set) => self.write_set(&set),
            Escape::Written(Written { text, atom }) => {
                self.out.push_str(&text);
                return Ok(atom);
            }
        }
        Ok(Atom::Text)
    }

    /// Escapes that stand outside of classes only; the letter behind the backslash was taken.
    pub(super) fn escape_outside(&mut self, letter: char) -> Result<Escape, String> {
        // What a boundary of words is: letters and digits of any script, as up to Java 18; marks count with them.
        const WORD: &str = r"[\p{L}\p{Nd}\p{Mn}_]";
        let assertion = |text: String| Ok(Escape::Written(Written { text, atom: Atom::Assertion }));
        let text = |text: String, atom: Atom| Ok(Escape::Written(Written { text, atom }));
        match letter {
            'A' => assertion(r"\A".to_owned()),
            'z' => assertion(r"\z".to_owned()),
            'Z' => assertion(self.end_of_text()),
            'b' if self.raw() == Some('{') && self.second() == Some('g') => {
                Err(self.fault("\\b{g} is not supported: write \\b for the boundary of a word"))
            }
            'b' => assertion(format!("(?:(?<={WORD})(?!{WORD})|(?<!{WORD})(?={WORD}))")),
            'B' => assertion(format!("(?:(?<={WORD})(?={WORD})|(?<!{WORD})(?!{WORD}))")),
            'R' => text(format!(r"(?:\r\n|[\n-\r{LATE_ENDS}])"), Atom::Text),
            'G' => Err(self.fault("\\G is not supported: write ^ for the beginning of the name")),
            'X' => Err(self.fault("\\X is not supported: write . for one character, or \\P{M}\\p{M}* with its marks")),
            'k' => {
                let at = self.raw();
                self.at += 1;
                if at != Some('<') {
                    return Err(self.fault("behind \\k there is no name in <>, as in \\k<name>"));
                }
                let name = self.name()?;
                let number = self.names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
                let number = number.ok_or_else(|| self.fault(&format!("there is no group {name} before this")))?;
                text(self.reference(number), Atom::Reference)
            }
            '1'..='9' => {
                let mut number = letter.to_digit(10).unwrap_or(0) as usize;
                // Further digits count as long as there is such a group before this.
                while let Some(digit) = self.peek().and_then(|next| next.to_digit(10))
                    && number * 10 + digit as usize <= self.groups
                {
                    number = number * 10 + digit as usize;
                    self.take();
                }
                text(self.reference(number), Atom::Reference)
            }
            _ => Err(self.fault(&format!("\\{letter} is no escape: the letter itself is {letter}"))),
        }
    }

    fn reference(&self, number: usize) -> String {
        match () {
            // What does not exist never matches.
            () if number > self.all_groups => Set::nothing().bracketed(),
            () if self.flags.ignores_case => format!("(?i:\\{number})"),
            () => format!("(?:\\{number})"),
        }
    }
}
