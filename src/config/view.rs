//! One section of the file while its settings are read: each reader takes the value, or reports the fault and gives
//! the default, so that one wrong value does not hide the next.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::context::{Context, join};
use super::fault::shown;
use super::keys::nearest;
use super::value;
use super::yaml::{Entry, Kind, Node, Pos};

/// A section, or the lack of one.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// Its path; empty at the top.
    pub path: String,
    /// Where its key stands; faults about something missing are reported here.
    pub at: Pos,
    entries: &'a [Entry],
}

impl<'a> View<'a> {
    /// The top level.
    pub fn root(node: &'a Node) -> View<'a> {
        View { path: String::new(), at: Pos::START, entries: entries(node) }
    }

    /// The section under `key`; without entries if it is absent, empty or no section, which is reported.
    pub fn section(&self, context: &mut Context<'_>, key: &str) -> View<'a> {
        match self.find(key) {
            Some(entry) => View::of(context, entry, join(&self.path, key)),
            None => View { path: join(&self.path, key), at: self.at, entries: &[] },
        }
    }

    /// The section that `entry` holds.
    pub fn of(context: &mut Context<'_>, entry: &'a Entry, path: String) -> View<'a> {
        if !matches!(entry.value.kind, Kind::Map(_)) && !entry.value.is_null() {
            let message =
                format!("{} where a section is needed; {}", value::describe(&entry.value), section_hint(&entry.value));
            context.fault(entry.value.at, &path, message);
        }
        View { path, at: entry.key_at, entries: entries(&entry.value) }
    }

    /// The section that `entry` holds, which was looked at before: nothing is reported.
    pub fn again(entry: &'a Entry, path: String) -> View<'a> {
        View { path, at: entry.key_at, entries: entries(&entry.value) }
    }

    /// Whether the file gives anything here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Everything in this section.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// The entry of `key`.
    pub fn find(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The path of `key` in this section.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Reports a fault about the value of `key`, or about the section if the key is missing.
    pub fn fault(&self, context: &mut Context<'_>, key: &str, message: String) {
        let at = self.find(key).map_or(self.at, |entry| entry.value.at);
        context.fault(at, &self.path_of(key), message);
    }

    /// Warns about the key `key`.
    pub fn warn(&self, context: &mut Context<'_>, key: &str, message: String) {
        let at = self.find(key).map_or(self.at, |entry| entry.key_at);
        context.warn(at, &self.path_of(key), message);
    }

    /// Reads `key` with `read`; the default if it is absent or wrong.
    pub fn read<T>(
        &self,
        context: &mut Context<'_>,
        key: &str,
        default: T,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> T {
        let Some(entry) = self.find(key) else { return default };
        let path = self.path_of(key);
        context.lines.push((path.clone(), entry.key_at.line));
        match read(&entry.value) {
            Ok(value) => value,
            Err(_) if entry.value.is_null() => {
                context.fault(entry.value.at, &path, "has no value; write one, or take the key out".to_owned());
                default
            }
            Err(message) => {
                context.fault(entry.value.at, &path, message);
                default
            }
        }
    }

    /// A whole number in `range`; `unit` follows the range in messages, such as ` milliseconds`.
    pub fn whole<T>(&self, context: &mut Context<'_>, key: &str, range: RangeInclusive<T>, unit: &str, default: T) -> T
    where
        T: TryFrom<i128> + Into<i128> + Copy + std::fmt::Display,
    {
        self.read(context, key, default, |node| in_range(value::whole(node)?, &range, unit))
    }

    /// `true` or `false`.
    pub fn boolean(&self, context: &mut Context<'_>, key: &str, default: bool) -> bool {
        self.read(context, key, default, value::boolean)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, context: &mut Context<'_>, key: &str, words: &[(&str, T)], default: T) -> T {
        self.read(context, key, default, |node| word(node, words))
    }

    /// A duration with its unit, in `range`.
    pub fn duration(
        &self,
        context: &mut Context<'_>,
        key: &str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        self.read(context, key, default, |node| {
            let duration = value::duration(node)?;
            if range.contains(&duration) {
                return Ok(duration);
            }
            let (low, high) = (value::show_duration(*range.start()), value::show_duration(*range.end()));
            Err(format!("{} is out of range; write {low} to {high}", value::describe(node)))
        })
    }

    /// A size in `range`, in bytes.
    pub fn size(&self, context: &mut Context<'_>, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.read(context, key, default, |node| {
            let size = value::size(node)?;
            if range.contains(&size) {
                return Ok(size);
            }
            let (low, high) = (value::show_size(*range.start()), value::show_size(*range.end()));
            Err(format!("{} is out of range; write {low} to {high}", value::describe(node)))
        })
    }

    /// Whether `key` is there as an empty list, which [`View::list`] takes for a fault.
    pub fn is_empty_list(&self, context: &mut Context<'_>, key: &str) -> bool {
        let Some(entry) = self.find(key) else { return false };
        let is_empty = matches!(&entry.value.kind, Kind::List(items) if items.is_empty());
        if is_empty {
            context.lines.push((self.path_of(key), entry.key_at.line));
        }
        is_empty
    }

    /// A list of different values; a single value is a list of one. `None`: absent, or wrong, which is reported.
    pub fn list<T: PartialEq>(
        &self,
        context: &mut Context<'_>,
        key: &str,
        mut read: impl FnMut(&Node) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let entry = self.find(key)?;
        let path = self.path_of(key);
        context.lines.push((path.clone(), entry.key_at.line));
        let items = match &entry.value.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        if items.is_empty() || entry.value.is_null() {
            let what = if items.is_empty() { "an empty list" } else { "has no value" };
            context.fault(entry.value.at, &path, format!("{what}; write at least one, or take the key out"));
            return None;
        }
        if items.len() > MAX_ITEMS {
            context.fault(entry.value.at, &path, format!("more than {MAX_ITEMS} values; write fewer"));
            return None;
        }
        let mut values: Vec<(T, Pos)> = Vec::new();
        let mut good = true;
        for item in items {
            let value = match read(item) {
                Ok(value) => value,
                Err(message) => {
                    context.fault(item.at, &path, message);
                    good = false;
                    continue;
                }
            };
            if let Some((_, first)) = values.iter().find(|(known, _)| *known == value) {
                let message =
                    format!("the same value as on line {}, column {}; list it once", first.line, first.column);
                context.fault(item.at, &path, message);
                good = false;
            } else {
                values.push((value, item.at));
            }
        }
        good.then(|| values.into_iter().map(|(value, _)| value).collect())
    }
}

fn section_hint(node: &Node) -> &'static str {
    match node.plain() {
        Some(text) if text.contains(':') => "write `key: value`, with a space after the colon",
        _ => "write its keys below, indented",
    }
}

/// Longest list of values; none of ours is useful beyond some hundred.
pub const MAX_ITEMS: usize = 1_000;

fn entries(node: &Node) -> &[Entry] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    }
}

/// `number`, if it is in `range`.
pub fn in_range<T>(number: i128, range: &RangeInclusive<T>, unit: &str) -> Result<T, String>
where
    T: TryFrom<i128> + Into<i128> + Copy + std::fmt::Display,
{
    let (low, high): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
    let fits = (low..=high).contains(&number).then(|| T::try_from(number).ok()).flatten();
    fits.ok_or_else(|| {
        let shown = if number.unsigned_abs() > 1 << 100 { "this number".to_owned() } else { number.to_string() };
        format!("{shown} is out of range; write {low} to {high}{unit}")
    })
}

/// One of `words`, or the nearest of them in the message.
pub fn word<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, String> {
    let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ").to_owned();
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(format!("{} where a word is needed; write one of {}", value::describe(node), all()));
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '.', '/'], "_");
    let same = words.iter().map(|(word, _)| *word).find(|word| plain(word) == plain(text));
    match same.or_else(|| nearest(text, words.iter().map(|(word, _)| *word))) {
        Some(near) => Err(format!("{} is not known; write {near}", shown(text))),
        None => Err(format!("{} is not known; write one of {}", shown(text), all())),
    }
}
