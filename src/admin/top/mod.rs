//! The status page as text for a terminal: from the answer of `/status` and the size of the terminal to lines.
//!
//! Knows no terminal and no clock. What does not fit is counted, never left out without a word; no line is wider than the
//! terminal; nothing that came from the network reaches it but through [`text::clean`].

mod blocks;
pub mod notices;
pub mod reading;
mod table;
pub mod text;

use std::time::Duration;

use blocks::Block;
use notices::{Kind, Notice};
pub use reading::Status;
use table::{Column, Row, lay_out};
use text::{Line, Style, amount, bars, bytes, count, fill, flow, micros, percent, plain, rate, span, wrap};
use unicode_width::UnicodeWidthStr;

/// Seconds of the past that are drawn, and are to be asked for.
pub const HISTORY: usize = 60;

/// Notices that are shown where there is room.
const MOST_NOTICES: usize = 8;

/// Stages that are shown where there is no room for all.
const FEW_STAGES: usize = 2;

/// A terminal with fewer rows gets less of everything: a line for each notice, no longest latencies.
const HIGH: usize = 40;

/// A narrow one needs two lines for a notice.
const NARROW: usize = 60;

/// Columns of a time with its unit.
const TIME: usize = 7;

/// What lists get of the room, beside each other: executors, destinations, connections, certificates.
const WEIGHTS: [usize; 4] = [1, 2, 1, 1];

/// Which of them does without first.
const LEAST_FIRST: [usize; 4] = [3, 2, 0, 1];

/// What is drawn on.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub columns: usize,
    /// `None`: as many as there are lines.
    pub rows: Option<usize>,
    pub has_colour: bool,
    /// Whether it can show more than ASCII.
    pub is_unicode: bool,
}

impl Screen {
    fn is_low(self) -> bool {
        self.rows.is_some_and(|rows| rows < HIGH)
    }
}

/// Why there is nothing newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// What happened and what to do.
    pub why: String,
    /// Since the last answer, if there was one.
    pub age: Option<Duration>,
}

/// The picture: what is known, what is not, and a last line for who looks at it.
pub fn draw(status: Option<&Status>, silence: Option<&Silence>, foot: Option<&str>, screen: Screen) -> Vec<String> {
    let columns = screen.columns;
    let mut lines = Vec::new();
    if let Some(status) = status {
        lines.extend(header(status, columns));
    }
    let mut notices: Vec<Notice> = silence.map(of_silence).into_iter().collect();
    notices.extend(status.map(notices::of).unwrap_or_default());
    if silence.is_some() {
        notices.retain(|notice| notice.kind != Kind::Calm);
    }
    lines.extend(notice_lines(&notices, silence.is_some(), screen));
    let foot_rows = usize::from(foot.is_some());
    if let Some(status) = status {
        lines.extend(totals(status, screen));
        lines.extend(answers(status, screen));
        lines.extend(stages(status, screen));
        let room = screen.rows.map(|rows| rows.saturating_sub(lines.len() + foot_rows));
        lines.extend(lists(status, columns, room));
    }
    if let Some(rows) = screen.rows {
        let rows = rows.saturating_sub(foot_rows);
        if lines.len() > rows {
            let left = lines.len() + 1 - rows.min(lines.len());
            lines.truncate(rows.saturating_sub(1));
            lines.push(Line::of(Style::Quiet, format!("and {} more", count(left as u64, "line", "lines"))));
            lines.truncate(rows);
        }
        if let Some(foot) = foot {
            lines.resize(rows, Line::default());
            lines.push(Line::of(Style::Quiet, text::clean(foot)));
        }
    }
    let write = |line: Line| line.cut(columns).write(screen.has_colour, screen.is_unicode);
    lines.into_iter().map(write).collect()
}

fn of_silence(silence: &Silence) -> Notice {
    let age = silence.age.map_or(String::new(), |age| format!(" All below is as it was {} ago.", span(age.as_secs())));
    Notice {
        kind: Kind::Bad,
        title: "No figures.".to_owned(),
        text: format!("{}{age} It is asked again and again.", text::clean(&silence.why)),
    }
}

fn header(status: &Status, columns: usize) -> Vec<Line> {
    let mut parts = vec![Line::of(Style::Strong, format!("Ringpost {}", status.version.0))];
    if let Some(name) = &status.cluster_name {
        parts.push(Line::of(Style::Strong, name.0.clone()));
    }
    let style = if status.state.0 == "running" { Style::Good } else { Style::Warn };
    parts.push(Line::of(style, status.state.0.clone()));
    parts.push(Line::of(Style::Plain, format!("up {}", span(status.uptime_s))));
    flow(parts, " · ", columns)
}

/// Signs, titles and texts; the first one has all the room if it says why nothing else is there.
fn notice_lines(notices: &[Notice], is_silent: bool, screen: Screen) -> Vec<Line> {
    let height = 2 - usize::from(screen.is_low() && screen.columns >= NARROW);
    let part = if screen.is_low() && height > 1 { 8 } else { 6 };
    let most = screen.rows.map_or(usize::MAX, |rows| (rows / part).clamp(1, MOST_NOTICES));
    let shown = if notices.len() > most { most.saturating_sub(1).max(1) } else { notices.len() };
    let mut lines = Vec::new();
    for (place, notice) in notices.iter().take(shown).enumerate() {
        let (sign, style) = match notice.kind {
            Kind::Bad => ("✕ ", Style::Bad),
            Kind::Warn => ("▲ ", Style::Warn),
            Kind::Calm => ("● ", Style::Good),
        };
        let has_room = screen.rows.is_none() || (is_silent && place == 0);
        let height = if has_room { usize::MAX } else { height };
        let whole = format!("{} {}", notice.title, notice.text);
        let mut left = notice.title.as_str();
        for (number, text) in wrap(&whole, screen.columns.saturating_sub(2), height).into_iter().enumerate() {
            let mut line = Line::of(style, if number == 0 { sign } else { "  " });
            // The title may go over the end of a line, too.
            match left.strip_prefix(text.as_str()) {
                Some(rest) => {
                    left = rest.trim_start();
                    line.push(style, text);
                }
                None => {
                    let (title, rest) = text.split_at_checked(left.len()).unwrap_or((&text, ""));
                    line.push(style, title);
                    line.push(Style::Plain, rest);
                    left = "";
                }
            }
            lines.push(line);
        }
    }
    if shown < notices.len() {
        let text = format!("  and {} more of the same kinds", notices.len() - shown);
        lines.push(Line::of(Style::Quiet, text));
    }
    lines
}

fn pair(name: &str, value: impl Into<String>) -> Line {
    Line::of(Style::Quiet, format!("{name} ")).and(Style::Plain, value)
}

fn totals(status: &Status, screen: Screen) -> Vec<Line> {
    let columns = screen.columns;
    let totals = &status.totals;
    let past = &status.history.records_per_s;
    let seconds = if screen.is_low() { columns / 5 } else { HISTORY };
    let past = past.get(past.len().saturating_sub(seconds)..).unwrap_or_default();
    let highest = past.iter().flatten().copied().fold(1.0, f64::max);
    let now = rate(past.last().copied().flatten());
    let mut first = Line::of(Style::Strong, format!("{now} records/s"));
    let bars = bars(past.iter().copied(), highest);
    if past.len() > 1 && first.width() + past.len() < columns {
        first = first.and(Style::Plain, " ").and(Style::Good, bars);
    }
    let of = |used: u64, limit: u64, show: fn(u64) -> String| {
        let share = if limit == 0 { 0.0 } else { used as f64 / limit as f64 };
        format!("{} of {} ({})", show(used), show(limit), percent(share))
    };
    let lag = status.lag_ms.map_or("–".to_owned(), |lag| micros(lag * 1000.0));
    let mut parts = vec![
        first,
        pair("in all", amount(totals.records)),
        pair("lag p99", lag),
        pair("in flight", of(totals.in_flight, totals.in_flight_limit, plain)),
        pair("bytes", of(totals.in_flight_bytes, totals.in_flight_bytes_limit, bytes)),
    ];
    let asides = [
        ("skipped", totals.skipped),
        ("older versions", totals.stale),
        ("bad content", totals.parse_errors),
        ("retries", totals.retries),
        ("sent twice", totals.duplicates),
        ("batches", totals.batches),
        ("not allowed", totals.not_allowed),
    ];
    parts.extend(asides.iter().filter(|(_, value)| *value > 0).map(|(name, value)| pair(name, amount(*value))));
    fill(parts, "   ", columns)
}

/// Acks by code: their number a second, and in all.
fn answers(status: &Status, screen: Screen) -> Vec<Line> {
    let columns = screen.columns;
    let (all, past) = (&status.totals.acked, &status.history.acked);
    let rows = [
        ("● 0 delivered", Style::Good, all.done, &past.done),
        ("▲ 11 later", Style::Warn, all.later, &past.later),
        ("◆ 18 overloaded", Style::Warn, all.overload, &past.overload),
        ("✕ 10 never", Style::Bad, all.never, &past.never),
    ];
    let now = |past: &[Option<f64>]| rate(past.last().copied().flatten());
    let across: Vec<Line> = rows
        .iter()
        .map(|(name, style, total, past)| {
            let style = if *total > 0 { *style } else { Style::Plain };
            Line::of(style, *name)
                .and(Style::Plain, format!(" {}", amount(*total)))
                .and(Style::Quiet, format!(" ({}/s)", now(past)))
        })
        .collect();
    let lines = flow(across, "   ", columns);
    if lines.len() <= 2 || screen.is_low() {
        return lines;
    }
    let titles = [Column::text("acks", 9), Column::number("in all", 9), Column::number("a second", 8)];
    let row = |(name, style, total, past): (&str, Style, u64, &Vec<Option<f64>>)| {
        let style = if total > 0 { style } else { Style::Plain };
        Row::Cells(vec![(style, name.to_owned()), (Style::Plain, amount(total)), (Style::Plain, now(past))])
    };
    let (head, lines) = lay_out(&titles, rows.into_iter().map(row).collect(), columns);
    std::iter::once(head).chain(lines).collect()
}

/// Latencies: stages side by side where they fit, one under the other where not.
fn stages(status: &Status, screen: Screen) -> Vec<Line> {
    type Quantile = (&'static str, fn(&reading::Stage) -> f64, u8);
    const QUANTILES: [Quantile; 4] = [
        ("p50", |stage| stage.p50_us, 7),
        ("p99", |stage| stage.p99_us, 9),
        ("p99.9", |stage| stage.p999_us, 8),
        ("longest", |stage| stage.max_us, 6),
    ];
    let cell = |stage: &reading::Stage, of: fn(&reading::Stage) -> f64| {
        (Style::Plain, if stage.count > 0 { micros(of(stage)) } else { "–".to_owned() })
    };
    let all = &status.stages;
    let quantiles = QUANTILES.get(..QUANTILES.len() - usize::from(screen.is_low())).unwrap_or(&QUANTILES);
    let mut titles = vec![Column::text("latency", 9)];
    titles.extend(all.iter().map(|stage| Column::number(stage.name.0.clone(), 9)));
    let across = quantiles.iter().map(|(name, of, _)| {
        let first = (Style::Quiet, (*name).to_owned());
        Row::Cells(std::iter::once(first).chain(all.iter().map(|stage| cell(stage, *of))).collect())
    });
    let least: usize = 7 + all.iter().map(|stage| stage.name.0.width().max(TIME) + 2).sum::<usize>();
    if least <= screen.columns {
        let (head, lines) = lay_out(&titles, across.collect(), screen.columns);
        return std::iter::once(head).chain(lines).collect();
    }
    let is_low = screen.is_low() && all.len() > FEW_STAGES;
    let mut places: Vec<usize> = (0..all.len()).collect();
    if is_low {
        let time =
            |place: &usize| all.get(*place).map_or(0.0, |stage| if stage.count > 0 { stage.p99_us } else { 0.0 });
        places.sort_by(|a, b| time(b).total_cmp(&time(a)).then(b.cmp(a)));
        places.truncate(FEW_STAGES);
        places.sort_unstable();
    }
    let name = if is_low { format!("latency ({FEW_STAGES} of {})", all.len()) } else { "latency".to_owned() };
    let mut titles = vec![Column::text(name, 9)];
    titles.extend(quantiles.iter().map(|(name, _, interest)| Column::number(*name, *interest)));
    let row = |stage: &reading::Stage| {
        let first = (Style::Plain, stage.name.0.clone());
        Row::Cells(std::iter::once(first).chain(quantiles.iter().map(|(_, of, _)| cell(stage, *of))).collect())
    };
    let rows = places.iter().filter_map(|place| all.get(*place)).map(row).collect();
    let (head, lines) = lay_out(&titles, rows, screen.columns);
    std::iter::once(head).chain(lines).collect()
}

/// Executors, destinations, connections and certificates in the room that is left.
fn lists(status: &Status, columns: usize, room: Option<usize>) -> Vec<Line> {
    let blocks = |is_short: bool| {
        let mut all = vec![
            blocks::executors(status, columns),
            blocks::destinations(status, columns, is_short),
            blocks::connections(status, columns),
        ];
        all.extend(blocks::certificates(status, columns));
        all
    };
    let full = blocks(false);
    let height: usize = full.iter().map(Block::height).sum();
    let spaces = full.len();
    let Some(room) = room.filter(|room| height > *room) else {
        let has_spaces = room.is_none_or(|room| height + spaces <= room);
        let space = || has_spaces.then(Line::default);
        return full.into_iter().flat_map(|block| space().into_iter().chain(block.lines(usize::MAX))).collect();
    };
    let short = blocks(true);
    let shares = share(&short, room);
    let mut lines = Vec::new();
    for (block, rows) in short.into_iter().zip(shares) {
        lines.extend(block.lines(rows));
    }
    lines
}

/// What each gets of `room` rows: those that want little have it all, the others by their weights; one that would get
/// too few to show anything has one, and the rest goes to who can use it.
fn share(blocks: &[Block], room: usize) -> Vec<usize> {
    let mut most: Vec<usize> = blocks.iter().map(Block::height).collect();
    loop {
        let mut shares = vec![0; most.len()];
        let mut left = room;
        while left > 0 && shares.iter().zip(&most).any(|(share, most)| share < most) {
            for ((share, most), weight) in shares.iter_mut().zip(&most).zip(WEIGHTS) {
                let more = weight.min(left).min(*most - *share);
                *share += more;
                left -= more;
            }
        }
        let short = LEAST_FIRST.into_iter().find(|place| {
            let (share, least) = (shares.get(*place), blocks.get(*place).map(Block::least));
            share.copied() > Some(1) && share.copied() < least
        });
        match short.and_then(|place| most.get_mut(place)) {
            Some(most) => *most = 1,
            None => return shares,
        }
    }
}

#[cfg(test)]
mod tests;
