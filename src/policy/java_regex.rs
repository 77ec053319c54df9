//! Java's `String.replaceAll`: its patterns, its replacements, its way from match to match.
//!
//! A pattern is rewritten for the crate `fancy-regex` (see [`translate`]); what cannot be rewritten is refused with what
//! to write instead. `tests/data/transforms` holds what Java itself answers.

mod class;
mod property;
mod replacement;
mod translate;

use std::ops::Range;

use replacement::Part;

/// Steps back that one search may take. A pattern whose time explodes ends here: about a millisecond.
const BACKTRACK_LIMIT: usize = 50_000;

/// Bytes of a text while it is rewritten; names have 255 at most before and after.
pub const MAX_TEXT: usize = 16 << 10;

/// Bytes that a compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// Which part of a regex transform is wrong, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegexFault {
    /// The pattern.
    Pattern(String),
    /// The replacement.
    Replacement(String),
}

/// Why a text could not be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFault {
    /// The pattern took more than its share of steps.
    Steps,
    /// The text grew beyond [`MAX_TEXT`].
    Size,
}

/// A pattern and its replacement.
#[derive(Debug)]
pub struct JavaRegex {
    regex: fancy_regex::Regex,
    parts: Vec<Part>,
}

impl JavaRegex {
    /// Takes both in Java's syntax.
    ///
    /// # Errors
    /// Java would refuse it as well, or it cannot be carried out here; the text says what to write.
    pub fn new(pattern: &str, replacement: &str) -> Result<JavaRegex, RegexFault> {
        let translated = translate::translate(pattern).map_err(RegexFault::Pattern)?;
        let regex = fancy_regex::RegexBuilder::new(&translated.pattern)
            .backtrack_limit(BACKTRACK_LIMIT)
            // The crate's optimizer changes what a pattern such as (a+?)* matches (0.20.2; a test holds it).
            .optimize(false)
            .delegate_size_limit(SIZE_LIMIT)
            .delegate_dfa_size_limit(SIZE_LIMIT)
            .build()
            .map_err(|error| RegexFault::Pattern(compile_fault(&error)))?;
        let parts = replacement::parse(replacement, translated.groups, &translated.names)
            .map_err(|fault| RegexFault::Replacement(fault.to_owned()))?;
        Ok(JavaRegex { regex, parts })
    }

    /// Appends `text` with every match replaced to `out`. After an empty match the search goes on one character
    /// further, after another one at its end, as Java's `Matcher` does.
    ///
    /// # Errors
    /// See [`RunFault`]; what stands in `out` then is of no use.
    pub fn replace_all(&self, text: &str, out: &mut String) -> Result<(), RunFault> {
        let (mut from, mut copied) = (0, 0);
        while let Some(found) = self.regex.captures_from_pos(text, from).map_err(|_| RunFault::Steps)? {
            let Some(all) = found.get(0) else { break };
            self.replace(text, copied..all.start(), out, |group| found.get(group).map(|found| found.range()))?;
            copied = all.end();
            from = all.end();
            if all.start() == all.end() {
                match text.get(from..).and_then(|rest| rest.chars().next()) {
                    Some(next) => from += next.len_utf8(),
                    None => break,
                }
            }
        }
        append(out, text.get(copied..).unwrap_or_default())
    }

    /// Appends what stands before a match, and what stands for it.
    fn replace(
        &self,
        text: &str,
        before: Range<usize>,
        out: &mut String,
        group: impl Fn(usize) -> Option<Range<usize>>,
    ) -> Result<(), RunFault> {
        append(out, text.get(before).unwrap_or_default())?;
        for part in &self.parts {
            match part {
                Part::Text(literal) => append(out, literal)?,
                // A group that took no part in the match stands for nothing.
                Part::Group(number) => {
                    append(out, group(*number).and_then(|range| text.get(range)).unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }
}

fn append(out: &mut String, text: &str) -> Result<(), RunFault> {
    if out.len() + text.len() > MAX_TEXT {
        return Err(RunFault::Size);
    }
    out.push_str(text);
    Ok(())
}

/// The translation is ours, so the positions and names in the crate's own messages would say nothing.
fn compile_fault(error: &fancy_regex::Error) -> String {
    use fancy_regex::{CompileError, Error};
    match error {
        Error::CompileError(inner) => match **inner {
            CompileError::LookBehindNotConst
            | CompileError::VariableLookBehindRequiresFeature
            | CompileError::DfaBuildError(..) => {
                "what stands in this look-behind, (?<=...) or (?<!...), is not supported: write one of a fixed length, \
                 without back references"
                    .to_owned()
            }
            CompileError::InnerError(_) => {
                "the pattern is too large when compiled: repeat less, {n,m} above all".to_owned()
            }
            _ => "the pattern is not supported: write it without nested look-arounds and back references".to_owned(),
        },
        _ => "the pattern is not supported: write it without nested look-arounds and back references".to_owned(),
    }
}

#[cfg(test)]
mod tests;
