//! Tables that fit: columns of less interest are left out where there is no room, and one column is cut.

use unicode_width::UnicodeWidthStr;

use super::text::{Line, Style};

/// Between columns.
const GAP: usize = 2;

/// The part of the width that the column that is cut has at least, if it has as much to say.
const LEAST: (usize, usize) = (2, 5);

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    title: String,
    is_number: bool,
    /// Those with a low one are left out first.
    interest: u8,
}

impl Column {
    /// Of words.
    pub fn text(title: impl Into<String>, interest: u8) -> Column {
        Column { title: title.into(), is_number: false, interest }
    }

    /// Of numbers.
    pub fn number(title: impl Into<String>, interest: u8) -> Column {
        Column { is_number: true, ..Column::text(title, interest) }
    }
}

/// A row: a cell for each column, or a line of its own.
#[derive(Debug, Clone)]
pub enum Row {
    Cells(Vec<(Style, String)>),
    Whole(Line),
}

/// The row of titles, and a line for each row. The first column is the one that is cut, and stays.
pub fn lay_out(columns: &[Column], rows: Vec<Row>, width: usize) -> (Line, Vec<Line>) {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.title.width()).collect();
    for row in &rows {
        let Row::Cells(cells) = row else { continue };
        for (width, (_, text)) in widths.iter_mut().zip(cells) {
            *width = text.width().max(*width);
        }
    }
    // A column without a word is none.
    let mut shown: Vec<bool> = widths.iter().map(|width| *width > 0).collect();
    if let Some(first) = shown.first_mut() {
        *first = true;
    }
    loop {
        let others: usize =
            widths.iter().zip(&shown).skip(1).filter(|(_, shown)| **shown).map(|(width, _)| width + GAP).sum();
        let least = widths.first().copied().unwrap_or_default().min(width * LEAST.0 / LEAST.1);
        let last = (1..columns.len())
            .filter(|place| shown.get(*place) == Some(&true))
            .min_by_key(|place| (columns.get(*place).map(|column| column.interest), std::cmp::Reverse(*place)));
        match last {
            Some(place) if least + others > width => {
                if let Some(shown) = shown.get_mut(place) {
                    *shown = false;
                }
            }
            _ => {
                if let Some(first) = widths.first_mut() {
                    *first = (*first).min(width.saturating_sub(others));
                }
                break;
            }
        }
    }
    let line = |cells: Vec<(Style, String)>| {
        let mut line = Line::default();
        for (place, (style, text)) in cells.into_iter().enumerate() {
            let (Some(column), Some(width), Some(true)) = (columns.get(place), widths.get(place), shown.get(place))
            else {
                continue;
            };
            if place > 0 {
                line.push(Style::Plain, " ".repeat(GAP));
            }
            let cell = Line::of(style, text).cut(*width);
            let space = " ".repeat(width.saturating_sub(cell.width()));
            if column.is_number {
                line.push(Style::Plain, space);
                line.append(cell);
            } else {
                line.append(cell);
                line.push(Style::Plain, space);
            }
        }
        line.cut(width)
    };
    let head = line(columns.iter().map(|column| (Style::Quiet, column.title.clone())).collect());
    let of = |row| match row {
        Row::Cells(cells) => line(cells),
        Row::Whole(whole) => whole.cut(width),
    };
    (head, rows.into_iter().map(of).collect())
}
