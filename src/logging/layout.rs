//! One event as one line.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::config::model::LogFormat;

/// Longest text of a line; values can come from records, and a line must not take megabytes.
const MAX_TEXT: usize = 8 * 1024;

/// `event` as a line with its line feed. `since_epoch`: wall clock, Unix.
pub fn line(format: LogFormat, since_epoch: Duration, event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut text = Text::default();
    event.record(&mut text);
    match format {
        LogFormat::Simple => {
            let fields: String = text.fields.iter().map(|(name, value)| format!(" {name}={}", plain(value))).collect();
            simple(since_epoch, metadata.level(), metadata.target(), &format!("{}{fields}", text.message))
        }
        LogFormat::Json => json(since_epoch, metadata.level(), metadata.target(), &text.message, &text.fields),
    }
}

/// `2022-12-08 14:53:50.607 GMT DEBUG record-parser - text`: the official connector's layout.
pub fn simple(since_epoch: Duration, level: &Level, logger: &str, text: &str) -> String {
    let (date, time) = civil(since_epoch);
    let mut line = format!("{date} {time} GMT {:<5} {logger} - ", level.as_str());
    // A line feed in a value would start a line that nobody logged.
    for c in cut(text, MAX_TEXT).chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.push('\n');
    line
}

/// One object a line: `time` (RFC 3339), `level`, `logger`, `message`, and the event's own fields in `fields`.
pub fn json(
    since_epoch: Duration,
    level: &Level,
    logger: &str,
    message: &str,
    fields: &[(&'static str, Value)],
) -> String {
    let (date, time) = civil(since_epoch);
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, value: String| object.insert(name.to_owned(), Value::String(value));
    put("time", format!("{date}T{time}Z"));
    put("level", level.as_str().to_owned());
    put("logger", logger.to_owned());
    put("message", cut(message, MAX_TEXT).to_owned());
    if !fields.is_empty() {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        object.insert("fields".to_owned(), Value::Object(fields.collect()));
    }
    let mut line = Value::Object(object).to_string();
    line.push('\n');
    line
}

/// Text without quotes, anything else as in JSON.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// The first bytes of `text`, `most` at most, in whole characters.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// RFC 3339, with milliseconds.
pub fn utc(unix_ms: u64) -> String {
    let (date, time) = civil(Duration::from_millis(unix_ms));
    format!("{date}T{time}Z")
}

/// Date and time of day in GMT, with milliseconds.
fn civil(since_epoch: Duration) -> (String, String) {
    let seconds = since_epoch.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let time = format!("{hour:02}:{minute:02}:{second:02}.{:03}", since_epoch.subsec_millis());
    (date(days), time)
}

/// `2026-11-24`, of so many days since 1970.
pub fn date(days: u64) -> String {
    // Counted from 1 March of the year 0, so that a leap day is the last day of its year; 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Message and fields of an event.
#[derive(Default)]
struct Text {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Visit for Text {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), cut(&format!("{value:?}"), MAX_TEXT).into()));
        }
    }
}
