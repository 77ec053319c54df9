//! What an operator has to know before anything else. The rules are those of the status page (`admin/page`).

use super::reading::Status;
use super::text::{count, percent, span};

/// More of a minute's records answered 10 than this is bad.
const PERMANENT_SHARE: f64 = 0.01;

/// An executor that has published nothing for so long stands still.
pub const STILL_MS: u64 = 1_500;

/// More than this of what may be in flight.
const FULL: f64 = 0.8;

/// Days that a certificate has left when it needs a look, and when it is bad.
const DAYS: i64 = 30;
const FEW_DAYS: i64 = 7;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Bad,
    Warn,
    Calm,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub kind: Kind,
    pub title: String,
    /// What to do, or why; empty if the title says all.
    pub text: String,
}

/// What needs a look, the worst first; one that says so if nothing does.
pub fn of(status: &Status) -> Vec<Notice> {
    let mut list = Vec::new();
    let mut add = |kind, title: String, text: String| list.push(Notice { kind, title, text });
    let totals = &status.totals;
    if status.state.0 == "draining" {
        add(Kind::Warn, "It stops.".to_owned(), "No new frames are taken; what is in flight may finish.".to_owned());
    }
    if totals.permanent_share_1m > PERMANENT_SHARE {
        add(
            Kind::Bad,
            format!("{} of the last minute’s records were answered 10.", percent(totals.permanent_share_1m)),
            "The server will not send them again. Look at the last reasons of destinations, at permanent-status-codes and at content-errors.".to_owned(),
        );
    }
    if totals.executors_rejecting > 0 {
        let who = count(totals.executors_rejecting, "executor answers", "executors answer");
        let text = "Destinations take less than comes in, or max-concurrent-records is too small.";
        add(Kind::Bad, format!("{who} 18 for want of room."), text.to_owned());
    }
    destinations(status, &mut add);
    let still = status.executors.iter().filter(|one| one.heartbeat_age_ms > STILL_MS && !one.draining);
    let still: Vec<String> = still.map(|one| one.index.to_string()).collect();
    if !still.is_empty() {
        let who = count(still.len() as u64, "executor has", "executors have");
        let text = "Its core may be taken by another process.";
        add(Kind::Bad, format!("{who} given no sign for a second: {}.", still.join(", ")), text.to_owned());
    }
    room(status, &mut add);
    for one in status.certificates.iter().filter(|one| one.days_left < DAYS) {
        let kind = if one.days_left < FEW_DAYS { Kind::Bad } else { Kind::Warn };
        let when = match u64::try_from(one.days_left) {
            Ok(days) => format!("expires in {}", count(days, "day", "days")),
            Err(_) => "has expired".to_owned(),
        };
        add(kind, format!("The certificate of {} {when}.", one.place.0), String::new());
    }
    let lost = |number: u64, what: &str| format!("{} {what}", count(number, "log line was", "log lines were"));
    if totals.log_lines_dropped > 0 {
        let text = "since they came faster than they can be written.".to_owned();
        add(Kind::Warn, lost(totals.log_lines_dropped, "left out,"), text);
    }
    if totals.log_lines_refused > 0 {
        let title = lost(totals.log_lines_refused, "refused by the log file or console:");
        add(Kind::Warn, title, "a full disk, or nobody reads.".to_owned());
    }
    list.sort_by_key(|notice| notice.kind);
    if list.is_empty() {
        let more = if totals.records > 0 { "Nothing needs a look." } else { "No record has come yet." };
        list.push(Notice { kind: Kind::Calm, title: "All is well.".to_owned(), text: more.to_owned() });
    }
    list
}

fn destinations(status: &Status, add: &mut impl FnMut(Kind, String, String)) {
    for destination in &status.destinations {
        let bad = || destination.urls.iter().filter(|url| !url.is_healthy());
        let (ill, all) = (bad().count(), destination.urls.len());
        if ill == 0 {
            continue;
        }
        let last = bad().filter_map(|url| url.last_error.as_ref()).max_by_key(|failure| failure.at_ms);
        let text = last.map_or(String::new(), |failure| {
            let ago = span(status.now_ms.saturating_sub(failure.at_ms) / 1000);
            format!("Last reason, {ago} ago: {}", failure.text.0)
        });
        let name = &destination.name.0;
        if ill == all {
            add(Kind::Bad, format!("{name}: no URL is healthy."), text);
        } else {
            add(Kind::Warn, format!("{name}: {ill} of {all} URLs are not healthy."), text);
        }
    }
}

fn room(status: &Status, add: &mut impl FnMut(Kind, String, String)) {
    let totals = &status.totals;
    let share = |used: u64, limit: u64| if limit == 0 { 0.0 } else { used as f64 / limit as f64 };
    let records = share(totals.in_flight, totals.in_flight_limit);
    if records > FULL && !status.executors.iter().any(|one| one.draining) {
        add(Kind::Warn, format!("{} of max-concurrent-records are in flight.", percent(records)), String::new());
    }
    let bytes = share(totals.in_flight_bytes, totals.in_flight_bytes_limit);
    if bytes > FULL {
        add(Kind::Warn, format!("{} of in-flight-bytes are in use.", percent(bytes)), String::new());
    }
}
