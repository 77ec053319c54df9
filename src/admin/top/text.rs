//! Lines of a terminal: what may stand in them, how wide they are, and numbers with their units as on the status page.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Characters of one text of others.
const MOST_TEXT: usize = 500;

/// For a character that may not be shown.
const INSTEAD: char = '\u{fffd}';

/// `text` without what a terminal would act on, or would draw elsewhere than where it stands: control characters, and those
/// without a width (marks that combine, changes of direction).
pub fn clean(text: &str) -> String {
    let is_shown = |c: char| c.width().is_some_and(|width| width > 0) && !is_private(c);
    let mut shown: String = text.chars().take(MOST_TEXT).map(|c| if is_shown(c) { c } else { INSTEAD }).collect();
    if text.chars().nth(MOST_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

/// Fonts of terminals draw signs of their own there.
const fn is_private(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// How a part of a line is drawn. Nothing is said by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Plain,
    Strong,
    Quiet,
    Good,
    Warn,
    Bad,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Strong => "1",
            Style::Quiet => "2",
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "1;31",
        }
    }
}

/// A line of parts; no part holds a control character.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    /// One part.
    pub fn of(style: Style, text: impl Into<String>) -> Line {
        Line(vec![(style, text.into())])
    }

    /// With one part more.
    #[must_use]
    pub fn and(mut self, style: Style, text: impl Into<String>) -> Line {
        self.0.push((style, text.into()));
        self
    }

    /// Adds a part.
    pub fn push(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    /// Adds the parts of another line.
    pub fn append(&mut self, other: Line) {
        self.0.extend(other.0);
    }

    /// In columns.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// What of it fits in so many columns, with `…` at the end of what does not.
    #[must_use]
    pub fn cut(self, columns: usize) -> Line {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        let mut parts = Vec::new();
        for (style, text) in self.0 {
            let width = text.width();
            if width <= left {
                left -= width;
                parts.push((style, text));
            } else {
                parts.push((style, if columns == 0 { String::new() } else { format!("{}…", start(&text, left)) }));
                break;
            }
        }
        Line(parts)
    }

    /// With escapes for its colours, or without; in ASCII for a terminal that has no more.
    pub fn write(&self, has_colour: bool, is_unicode: bool) -> String {
        let mut out = String::new();
        for (style, text) in &self.0 {
            let is_coloured = has_colour && *style != Style::Plain && !text.is_empty();
            if is_coloured {
                out.extend(["\x1b[", style.code(), "m"]);
            }
            if is_unicode {
                out.push_str(text);
            } else {
                text.chars().for_each(|c| out.push_str(ascii(c)));
            }
            if is_coloured {
                out.push_str("\x1b[0m");
            }
        }
        let end = out.trim_end_matches(' ').len();
        out.truncate(end);
        out
    }
}

/// As wide as the character, at most.
fn ascii(c: char) -> &'static str {
    const ALL: &str =
        " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
    match c {
        ' '..='~' => {
            let at = (u32::from(c) - u32::from(' ')) as usize;
            ALL.get(at..=at).unwrap_or("?")
        }
        'µ' => "u",
        '·' | '–' | '▁' => "-",
        '…' => "~",
        '●' | '▆' | '▇' => "*",
        '▲' => "!",
        '◆' | '█' => "#",
        '✕' => "x",
        '’' => "'",
        '▂' | '▃' => "=",
        '▄' | '▅' => "+",
        _ => "?",
    }
}

/// The beginning of a text in so many columns.
pub fn start(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > columns
    });
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// `text` in lines of so many columns, broken at spaces where there are any; the last of `most` lines is cut.
pub fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && lines.len() < most {
        let fits = start(rest, columns.max(2));
        if fits.len() == rest.len() || lines.len() + 1 == most {
            let whole = fits.len() == rest.len();
            let last = if whole { rest.to_owned() } else { format!("{}…", start(rest, columns.saturating_sub(1))) };
            lines.push(last);
            break;
        }
        let is_between = rest.get(fits.len()..).is_some_and(|after| after.starts_with(' '));
        let end = if is_between { fits.len() } else { fits.rfind(' ').filter(|end| *end > 0).unwrap_or(fits.len()) };
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        lines.push(line.trim_end().to_owned());
        rest = after.trim_start();
    }
    lines
}

/// Parts side by side in their order, in as many lines as they need.
pub fn flow(parts: Vec<Line>, between: &str, columns: usize) -> Vec<Line> {
    place(parts, between, columns, |lines| lines.saturating_sub(1))
}

/// As [`flow`], each in the first line that has room for it.
pub fn fill(parts: Vec<Line>, between: &str, columns: usize) -> Vec<Line> {
    place(parts, between, columns, |_| 0)
}

fn place(parts: Vec<Line>, between: &str, columns: usize, first: fn(usize) -> usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for part in parts {
        let open = first(lines.len());
        let fits = |line: &&mut Line| line.width() + between.width() + part.width() <= columns;
        match lines.iter_mut().skip(open).find(fits) {
            Some(line) => {
                line.push(Style::Quiet, between);
                line.append(part);
            }
            None => lines.push(part),
        }
    }
    lines
}

/// A bar for each value, up to `highest`; a space where there is none.
pub fn bars(values: impl Iterator<Item = Option<f64>>, highest: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |value: Option<f64>| match value {
        Some(value) if highest > 0.0 => {
            let place = (value / highest * 8.0).clamp(0.0, 7.0) as usize;
            BARS.get(place).copied().unwrap_or('█')
        }
        Some(_) => '▁',
        None => ' ',
    };
    values.map(bar).collect()
}

fn digits(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// A whole number, with commas.
pub fn plain(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In three digits with a prefix, from 10,000 on.
pub fn amount(value: u64) -> String {
    if value < 10_000 { plain(value) } else { large(value as f64) }
}

fn large(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(size, _)| value >= size * 0.9995);
    unit.map_or_else(|| digits(value), |(size, unit)| format!("{} {unit}", digits(value / size)))
}

/// So many a second, without the unit.
pub fn rate(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value > 0.0 && value < 9.95 => format!("{value:.1}"),
        Some(value) if value < 9_999.5 => plain(value.max(0.0).round() as u64),
        Some(value) => large(value),
    }
}

/// With its unit.
pub fn bytes(value: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| value >= *size);
    unit.map_or_else(|| format!("{value} B"), |(size, unit)| format!("{} {unit}", digits(value as f64 / size as f64)))
}

/// A time in microseconds, with its unit.
pub fn micros(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ns", value * 1000.0)
    } else if value < 999.5 {
        format!("{} µs", digits(value))
    } else if value < 999_500.0 {
        format!("{} ms", digits(value / 1e3))
    } else {
        format!("{} s", digits(value / 1e6))
    }
}

/// A longer time.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A share of one.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.1 { format!("{:.1} %", share * 100.0) } else { format!("{:.0} %", share * 100.0) }
}

/// A number of things.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", plain(number), if number == 1 { one } else { many })
}
