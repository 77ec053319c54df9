//! How values are written: whole numbers, booleans, words, durations, sizes, lists. Pure: a value or what is wrong.

use std::time::Duration;

use super::fault::shown;
use super::yaml::{Kind, Node};

/// What the value is, in words, for a message about a wrong type.
pub fn describe(node: &Node) -> String {
    match &node.kind {
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a section".to_owned(),
        Kind::Scalar { .. } if node.is_null() => "no value".to_owned(),
        Kind::Scalar { text, .. } if text.contains('\n') => "a block of text".to_owned(),
        Kind::Scalar { text, plain: false } => format!("text in quotes, {}", shown(text)),
        Kind::Scalar { text, plain: true } => shown(text),
    }
}

/// A whole number as YAML 1.2 and 1.1 both read it.
pub fn whole(node: &Node) -> Result<i128, String> {
    let needed = "where a whole number is needed";
    let Some(text) = node.plain().filter(|_| !node.is_null()) else {
        return Err(match node.text().filter(|text| is_digits(text)) {
            Some(text) => format!("{} {needed}; write {} without quotes", describe(node), text),
            None => format!("{} {needed}; write a number such as 100", describe(node)),
        });
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if is_digits(digits) {
        if digits.len() > 1 && digits.starts_with('0') {
            let decimal = digits.trim_start_matches('0');
            let decimal = if decimal.is_empty() { "0" } else { decimal };
            return Err(format!("{} begins with 0, which some readers take as octal; write {decimal}", shown(text)));
        }
        // 38 digits fit; more is out of any range, which is all that the caller asks.
        return Ok(text.parse::<i128>().unwrap_or(if text.starts_with('-') { i128::MIN } else { i128::MAX }));
    }
    if let Some(number) = other_base(digits) {
        return Err(format!("{} is not decimal; write {number}", shown(text)));
    }
    let joined = digits.replace('_', "");
    if digits.starts_with(|c: char| c.is_ascii_digit()) && is_digits(&joined) {
        return Err(format!("{} has underscores; write {joined}", shown(text)));
    }
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite() && number.abs() < 1e15) {
        return Err(format!("{} is no whole number; write {}", shown(text), number.round()));
    }
    Err(format!("{} {needed}; write a number such as 100", shown(text)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn other_base(text: &str) -> Option<u64> {
    let (base, digits) = match text.get(..2)? {
        "0x" | "0X" => (16, text.get(2..)?),
        "0o" | "0O" => (8, text.get(2..)?),
        "0b" | "0B" => (2, text.get(2..)?),
        _ => return None,
    };
    u64::from_str_radix(digits, base).ok()
}

/// `true` or `false`.
pub fn boolean(node: &Node) -> Result<bool, String> {
    let text = node.text().unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    // YAML knows three spellings of each, and `tRUE` is none of them.
    let spelled = node.plain().is_some() && [lower.as_str(), &lower.to_uppercase(), &capital(&lower)].contains(&text);
    match (spelled, lower.as_str()) {
        (true, "true") => Ok(true),
        (true, "false") => Ok(false),
        (_, "true" | "yes" | "on" | "y") => {
            Err(format!("{} where true or false is needed; write true", describe(node)))
        }
        (_, "false" | "no" | "off" | "n") => {
            Err(format!("{} where true or false is needed; write false", describe(node)))
        }
        _ => Err(format!("{} where true or false is needed; write one of them", describe(node))),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// Text: in quotes, or without them when it cannot be taken for something else.
pub fn text(node: &Node) -> Result<String, String> {
    let text = any_text(node)?;
    if text.trim().is_empty() { Err("an empty text; write a text".to_owned()) } else { Ok(text) }
}

/// As [`text`], and in quotes it may be empty.
pub fn any_text(node: &Node) -> Result<String, String> {
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(format!("{} where text is needed; write a text", describe(node)));
    };
    if is_ambiguous(node) {
        return Err(format!("{} is a number or a boolean in YAML where text is needed; write \"{text}\"", shown(text)));
    }
    Ok(text.to_owned())
}

/// Whether YAML reads a number or a boolean here.
pub fn is_ambiguous(node: &Node) -> bool {
    node.plain().is_some_and(|text| {
        let lower = text.to_ascii_lowercase();
        text.parse::<f64>().is_ok() || ["true", "false", "yes", "no", "on", "off"].contains(&lower.as_str())
    })
}

/// A duration of our own keys: `10s`, `250ms`, `0us`.
pub fn duration(node: &Node) -> Result<Duration, String> {
    let example = "write a whole number with us, ms or s, such as 250ms or 7s";
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(format!("{} where a duration is needed; {example}", describe(node)));
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let wrong = || format!("{} is no duration; {example}", shown(text));
    if unit.is_empty() && !digits.is_empty() {
        return Err(format!("{} has no unit; write {digits}s or {digits}ms", shown(text)));
    }
    let number: u64 = match digits.parse() {
        Ok(number) => number,
        Err(_) if digits.is_empty() => return Err(wrong()),
        Err(_) => u64::MAX,
    };
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" | "min" if number < 10_000 => {
            Err(format!("{} has a unit that is not known; write {}s", shown(text), number * 60))
        }
        "h" if number < 10_000 => {
            Err(format!("{} has a unit that is not known; write {}s", shown(text), number * 3600))
        }
        "S" | "MS" | "Ms" | "US" | "sec" | "msec" | "usec" => {
            let unit = unit.to_ascii_lowercase().replace("sec", "s").replace("ss", "s");
            Err(format!("{} has a unit that is not known; write {digits}{unit}", shown(text)))
        }
        _ => Err(wrong()),
    }
}

/// `1s`, `250ms` or `10us`: the shortest exact spelling.
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0us".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

/// A size: a number of bytes, or with `KiB`, `MiB`, `GiB`.
pub fn size(node: &Node) -> Result<u64, String> {
    let example = "write a whole number of bytes, or with KiB, MiB or GiB, such as 16MiB";
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(format!("{} where a size is needed; {example}", describe(node)));
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    if digits.is_empty() {
        return Err(format!("{} is no size; {example}", shown(text)));
    }
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => {
            let meant = match unit.trim().to_ascii_lowercase().as_str() {
                "k" | "kb" | "kib" => "KiB",
                "m" | "mb" | "mib" => "MiB",
                "g" | "gb" | "gib" => "GiB",
                "b" | "bytes" => "",
                _ => return Err(format!("{} is no size; {example}", shown(text))),
            };
            return Err(format!("{} has a unit that is not known; write {digits}{meant}", shown(text)));
        }
    };
    Ok(number.saturating_mul(1 << shift))
}

/// `16MiB`, `4KiB` or `1000`: the shortest exact spelling.
pub fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Cores as text: `2-5,8`. Ascending or not, as given; none twice.
pub fn core_list(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (core(first), core(last)) else {
            return Err(format!(
                "{} is no list of cores; write all, a number of cores, or a list such as \"2-5,8\"",
                shown(text)
            ));
        };
        if first > last {
            return Err(format!("the range {first}-{last} runs backwards; write \"{last}-{first}\""));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(format!("core {core} is listed twice; list it once"));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

/// The largest core number that Linux can be built for.
const MAX_CORE: usize = 8191;

fn core(text: &str) -> Option<usize> {
    let text = text.trim();
    if !is_digits(text) {
        return None;
    }
    text.parse().ok().filter(|core| *core <= MAX_CORE)
}

/// `2-5,8`: ranges where cores follow each other.
pub fn show_cores(cores: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => ranges.push((*core, *core)),
        }
    }
    let show = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}
