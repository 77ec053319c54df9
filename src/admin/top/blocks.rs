//! The lists of the picture: executors, destinations, connections, certificates; each shows as much as it has room for, and
//! counts the rest.

use super::notices::STILL_MS;
use super::reading::{Destination, Executor, Status, Url};
use super::table::{Column, Row, lay_out};
use super::text::{Line, Style, amount, bars, bytes, count, micros, percent, plain, rate, span};

/// From so many executors on their loads stand in one line, too.
const MANY_EXECUTORS: usize = 5;

/// An executor that is busy for more of its time.
const HOT: f64 = 0.85;

/// URLs of one destination that are shown where there is no room for all.
const FEW_URLS: usize = 3;

/// What stays together.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    pub lines: Vec<Line>,
    /// It is shown before others where there is no room for all.
    pub is_bad: bool,
}

/// A list.
#[derive(Debug, Clone)]
pub struct Block {
    pub head: Vec<Line>,
    pub units: Vec<Unit>,
    /// All of it in one line, for which there may be no more room.
    pub brief: Option<Line>,
    /// Beyond the units.
    pub left_out: u64,
    pub nouns: (&'static str, &'static str),
}

impl Block {
    /// Lines that all of it needs.
    pub fn height(&self) -> usize {
        let more = usize::from(self.left_out > 0);
        self.head.len() + self.units.iter().map(|unit| unit.lines.len()).sum::<usize>() + more
    }

    /// Lines with which it shows one unit and that there are more; with fewer it takes one.
    pub fn least(&self) -> usize {
        self.height().min(self.head.len() + 2)
    }

    /// At most so many lines.
    pub fn lines(mut self, height: usize) -> Vec<Line> {
        if height < self.least() {
            let (one, many) = self.nouns;
            let text = format!("{} not shown", count(self.left_out + self.units.len() as u64, one, many));
            let brief = self.brief.unwrap_or_else(|| Line::of(Style::Quiet, text));
            return if height == 0 { Vec::new() } else { vec![brief] };
        }
        let all = self.height() <= height;
        if !all {
            self.units.sort_by_key(|unit| !unit.is_bad);
        }
        let mut lines = self.head;
        let mut left = self.left_out + self.units.len() as u64;
        let end = if all { usize::MAX } else { height.saturating_sub(1) };
        for unit in self.units {
            if lines.len() >= end {
                break;
            }
            let room = end - lines.len();
            lines.extend(unit.lines.into_iter().take(room));
            left -= 1;
        }
        if left > 0 {
            let (one, many) = self.nouns;
            lines.push(Line::of(Style::Quiet, format!("  and {} more", count(left, one, many))));
        }
        lines
    }
}

fn plain_cell(text: impl Into<String>) -> (Style, String) {
    (Style::Plain, text.into())
}

/// Red if it is more than nothing.
fn bad_if(number: u64, text: String) -> (Style, String) {
    (if number > 0 { Style::Bad } else { Style::Plain }, text)
}

/// Of all executors; `columns` wide.
pub fn executors(status: &Status, columns: usize) -> Block {
    let all = &status.executors;
    let titles = [
        Column::text(count(all.len() as u64, "executor", "executors"), 9),
        Column::number("core", 8),
        Column::number("busy", 8),
        Column::text(if all.iter().any(|one| state_of(one).is_some()) { "state" } else { "" }, 8),
        Column::number("records/s", 7),
        Column::number("in flight", 6),
        Column::number("bytes", 3),
        Column::number("XDR conns", 5),
        Column::number("records", 4),
        Column::number("stalls", 2),
    ];
    let row = |one: &Executor| {
        Row::Cells(vec![
            plain_cell(one.index.to_string()),
            plain_cell(one.core.map_or("–".to_owned(), |core| core.to_string())),
            (if one.busy > HOT { Style::Warn } else { Style::Plain }, percent(one.busy)),
            state_of(one).unwrap_or_default(),
            plain_cell(rate(Some(one.records_per_s))),
            plain_cell(amount(one.in_flight)),
            plain_cell(bytes(one.in_flight_bytes)),
            plain_cell(plain(one.sources)),
            plain_cell(amount(one.records)),
            bad_if(one.stalls, plain(one.stalls)),
        ])
    };
    let (title, lines) = lay_out(&titles, all.iter().map(row).collect(), columns);
    let mut head = vec![title];
    let mean = all.iter().map(|one| one.busy).sum::<f64>() / all.len().max(1) as f64;
    let bars = || bars(all.iter().map(|one| Some(one.busy)), 1.0);
    let line = |text: String| Line::of(Style::Plain, text).and(Style::Good, bars()).cut(columns);
    if all.len() >= MANY_EXECUTORS {
        head.push(line(format!("busy {} on average ", percent(mean))));
    }
    let who = count(all.len() as u64, "executor", "executors");
    let brief = Some(line(format!("{who}, busy {} on average ", percent(mean))));
    let is_bad = |one: &Executor| one.stalls > 0 || state_of(one).is_some_and(|(style, _)| style == Style::Bad);
    let unit = |(one, line): (&Executor, Line)| Unit { lines: vec![line], is_bad: is_bad(one) };
    let units = all.iter().zip(lines).map(unit).collect();
    Block { head, units, brief, left_out: 0, nouns: ("executor", "executors") }
}

fn state_of(one: &Executor) -> Option<(Style, String)> {
    if one.heartbeat_age_ms > STILL_MS && !one.draining {
        Some((Style::Bad, format!("✕ still {}", span(one.heartbeat_age_ms / 1000))))
    } else if one.rejecting {
        Some((Style::Bad, "◆ answers 18".to_owned()))
    } else if one.draining {
        Some((Style::Warn, "drains".to_owned()))
    } else {
        None
    }
}

/// Each destination with all of its URLs; `is_short`: only with those that are not healthy.
pub fn destinations(status: &Status, columns: usize, is_short: bool) -> Block {
    let all = &status.destinations;
    let titles = [
        Column::text(count(all.len() as u64, "destination", "destinations"), 9),
        Column::text("state", 9),
        Column::number("conns", 6),
        Column::number("in flight", 5),
        Column::number("queued", 4),
        Column::number("taken", 3),
        Column::number("errors", 8),
        Column::number("p50", 2),
        Column::number("p99", 7),
    ];
    let (mut rows, mut heights) = (Vec::new(), Vec::new());
    for one in all {
        let before = rows.len();
        rows.push(Row::Cells(of_destination(one)));
        let shown = || one.urls.iter().filter(|url| !is_short || !url.is_healthy());
        let most = if is_short { FEW_URLS } else { usize::MAX };
        for url in shown().take(most) {
            rows.push(Row::Cells(of_url(url, status.executors.len())));
            if let Some(failure) = &url.last_error {
                let ago = span(status.now_ms.saturating_sub(failure.at_ms) / 1000);
                let text = format!("    last, {ago} ago: {}", failure.text.0);
                rows.push(Row::Whole(Line::of(Style::Quiet, text)));
            }
        }
        let left = shown().count().saturating_sub(most);
        if left > 0 {
            let text = format!("  and {} more that are not healthy", count(left as u64, "URL", "URLs"));
            rows.push(Row::Whole(Line::of(Style::Quiet, text)));
        }
        heights.push((rows.len() - before, ill(one) > 0));
    }
    let (title, lines) = lay_out(&titles, rows, columns);
    let mut lines = lines.into_iter();
    let unit = |(height, is_bad): (usize, bool)| Unit { lines: lines.by_ref().take(height).collect(), is_bad };
    let units = heights.into_iter().map(unit).collect();
    Block { head: vec![title], units, brief: None, left_out: 0, nouns: ("destination", "destinations") }
}

fn ill(one: &Destination) -> usize {
    one.urls.iter().filter(|url| !url.is_healthy()).count()
}

fn of_destination(one: &Destination) -> Vec<(Style, String)> {
    let (ill, all) = (ill(one), one.urls.len());
    let (style, state) = match ill {
        0 => (Style::Good, format!("● {}", count(all as u64, "URL", "URLs"))),
        _ if ill == all => (Style::Bad, "✕ no URL".to_owned()),
        _ => (Style::Warn, format!("▲ {} of {all}", all - ill)),
    };
    let sum = |of: fn(&Url) -> u64| one.urls.iter().map(of).fold(0, u64::saturating_add);
    let protocol = if one.protocol.0 == "HTTP_2" { "HTTP/2" } else { "HTTP/1.1" };
    let time = |us: f64| plain_cell(if one.count > 0 { micros(us) } else { "–".to_owned() });
    vec![
        (Style::Strong, format!("{}  {protocol}", one.name.0)),
        (style, state),
        plain_cell(format!("{}/{}", sum(|url| url.connections.open), sum(|url| url.connections.limit))),
        plain_cell(amount(sum(|url| url.in_flight))),
        plain_cell(amount(sum(|url| url.queued))),
        plain_cell(amount(one.success)),
        bad_if(one.error, amount(one.error)),
        time(one.p50_us),
        time(one.p99_us),
    ]
}

fn of_url(url: &Url, executors: usize) -> Vec<(Style, String)> {
    let (style, state) = match url.state.0.as_str() {
        "healthy" => (Style::Good, "● healthy"),
        "testing" => (Style::Warn, "◆ testing"),
        "waiting" => (Style::Warn, "▲ asked to wait"),
        "unhealthy" => (Style::Bad, "✕ unhealthy"),
        other => (Style::Warn, other),
    };
    let of = if url.is_healthy() || executors < 2 {
        String::new()
    } else {
        format!(" {}/{executors}", url.unhealthy_executors)
    };
    vec![
        plain_cell(format!("  {}", url.url.0)),
        (style, format!("{state}{of}")),
        plain_cell(format!("{}/{}", url.connections.open, url.connections.limit)),
        plain_cell(amount(url.in_flight)),
        plain_cell(amount(url.queued)),
        plain_cell(amount(url.success)),
        bad_if(url.error, amount(url.error)),
        plain_cell(""),
        plain_cell(""),
    ]
}

/// Connections from Aerospike nodes.
pub fn connections(status: &Status, columns: usize) -> Block {
    let all = status.connections.len() as u64 + status.connections_left_out;
    let titles = [
        Column::text(count(all, "XDR connection", "XDR connections"), 9),
        Column::number("to port", 4),
        Column::text("TLS", 3),
        Column::number("executor", 6),
        Column::number("records", 8),
        Column::number("in flight", 7),
        Column::text("reads", 5),
        Column::number("open for", 2),
    ];
    let row = |one: &super::reading::Connection| {
        Row::Cells(vec![
            plain_cell(one.peer.0.clone()),
            plain_cell(one.port.to_string()),
            plain_cell(if one.tls { "yes" } else { "no" }),
            plain_cell(one.executor.to_string()),
            plain_cell(amount(one.records)),
            plain_cell(amount(one.in_flight)),
            if one.paused { (Style::Warn, "waits for room".to_owned()) } else { plain_cell("yes") },
            plain_cell(span(status.now_ms.saturating_sub(one.opened_ms) / 1000)),
        ])
    };
    let rows = status.connections.iter().map(row).collect();
    Block {
        left_out: status.connections_left_out,
        ..plain_list(&titles, rows, columns, ("XDR connection", "XDR connections"))
    }
}

/// One line for each row, none of which is worse than another.
fn plain_list(titles: &[Column], rows: Vec<Row>, columns: usize, nouns: (&'static str, &'static str)) -> Block {
    let (title, lines) = lay_out(titles, rows, columns);
    let units = lines.into_iter().map(|line| Unit { lines: vec![line], is_bad: false }).collect();
    Block { head: vec![title], units, brief: None, left_out: 0, nouns }
}

/// Certificates of our own, with the days that they have left; none if there is none.
pub fn certificates(status: &Status, columns: usize) -> Option<Block> {
    let titles = [
        Column::text(count(status.certificates.len() as u64, "certificate", "certificates"), 9),
        Column::number("days left", 9),
    ];
    let row = |one: &super::reading::Certificate| {
        let left = if one.days_left < 0 { "expired".to_owned() } else { one.days_left.to_string() };
        Row::Cells(vec![plain_cell(one.place.0.clone()), plain_cell(left)])
    };
    let rows: Vec<Row> = status.certificates.iter().map(row).collect();
    (!rows.is_empty()).then(|| plain_list(&titles, rows, columns, ("certificate", "certificates")))
}
