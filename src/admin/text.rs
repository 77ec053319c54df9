//! The text formats of Prometheus: 0.0.4, and OpenMetrics 1.0 for those who ask for it.

use std::fmt::Write;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Exposition {
    /// What an `Accept` header asks for.
    pub fn of(accept: Option<&str>) -> Exposition {
        let asks = |range: &str| range.trim_start().to_ascii_lowercase().starts_with("application/openmetrics-text");
        if accept.is_some_and(|accept| accept.split(',').any(asks)) {
            Exposition::OpenMetrics
        } else {
            Exposition::Text
        }
    }

    /// The `Content-Type` of a page.
    pub const fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows. Its name ends in `_total`.
    Counter,
    /// It only grows, under a name of the official connector that does not end so: OpenMetrics has no counters like that, and
    /// calls it unknown.
    OldCounter,
    /// It goes up and down.
    Gauge,
    /// Quantiles, sum and count.
    Summary,
    /// Counts below bounds, sum and count.
    Histogram,
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    format: Exposition,
    /// Labels of every sample, written already.
    common: String,
    family: String,
    text: String,
}

impl Page {
    /// `common`: labels that every sample has.
    pub fn new(format: Exposition, common: &[(&str, &str)]) -> Page {
        let mut labels = String::new();
        common.iter().for_each(|label| write_label(&mut labels, *label));
        Page { format, common: labels, family: String::new(), text: String::new() }
    }

    /// Begins a family. `help`: one line, without its end.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (shown, kind) = match (self.format, kind) {
            (Exposition::Text, Kind::Counter | Kind::OldCounter) => (name, "counter"),
            (Exposition::OpenMetrics, Kind::Counter) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Exposition::OpenMetrics, Kind::OldCounter) => (name, "unknown"),
            (_, Kind::Gauge) => (name, "gauge"),
            (_, Kind::Summary) => (name, "summary"),
            (_, Kind::Histogram) => (name, "histogram"),
        };
        let _ = writeln!(self.text, "# HELP {shown} {help}\n# TYPE {shown} {kind}");
        name.clone_into(&mut self.family);
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.suffixed("", labels, value);
    }

    /// A sample whose name is the family's with something behind it: `_sum`, `_count`.
    pub fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let mut all = self.common.clone();
        labels.iter().for_each(|label| write_label(&mut all, *label));
        let braces = if all.is_empty() { String::new() } else { format!("{{{all}}}") };
        let _ = writeln!(self.text, "{}{suffix}{braces} {}", self.family, Number(value));
    }

    /// The page.
    pub fn finish(mut self) -> String {
        if self.format == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// As both formats write numbers.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            value if value.is_infinite() => f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }),
            value => write!(f, "{value}"),
        }
    }
}

fn write_label(labels: &mut String, (name, value): (&str, &str)) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            other => labels.push(other),
        }
    }
    labels.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_common_ones_come_first() {
        let mut page = Page::new(Exposition::Text, &[("cluster_name", "a\"b\\c\nd")]);
        page.family("x_total", Kind::Counter, "What it is.");
        page.sample(&[("code", "11")], 3.0);
        let expected = "# HELP x_total What it is.\n# TYPE x_total counter\nx_total{cluster_name=\"a\\\"b\\\\c\\nd\",code=\"11\"} 3\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn openmetrics_has_names_without_their_ending_and_an_end() {
        let mut page = Page::new(Exposition::OpenMetrics, &[]);
        page.family("x_total", Kind::Counter, "What it is.");
        page.sample(&[], f64::INFINITY);
        page.family("old", Kind::OldCounter, "An official name.");
        page.sample(&[], 0.25);
        let expected = "# HELP x What it is.\n# TYPE x counter\nx_total +Inf\n# HELP old An official name.\n# TYPE old unknown\nold 0.25\n# EOF\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn accept_decides() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(Exposition::of(Some(prometheus)), Exposition::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain"), Some("")] {
            assert_eq!(Exposition::of(other), Exposition::Text, "{other:?}");
        }
    }
}
