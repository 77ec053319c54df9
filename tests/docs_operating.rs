//! docs/operating.md, the alert rules and the dashboard: each alert has its section, and every series, line of the log and
//! link that they name exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/operating.md");
const METRICS: &str = include_str!("../docs/metrics.md");
const RULES: &str = include_str!("../examples/monitoring/ringpost-rules.yml");
const DASHBOARD: &str = include_str!("../examples/monitoring/grafana-dashboard.json");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it)).collect::<String>().replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The series that docs/metrics.md has; another test holds it against the real page.
fn documented() -> BTreeSet<&'static str> {
    METRICS.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next()).collect()
}

/// Words that begin as names of series do; those of a histogram without what they end with.
fn series(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
    let is_series =
        |word: &&str| ["ringpost_", "aerospike_esp_", "process_"].iter().any(|start| word.starts_with(start));
    words.filter(is_series).map(|word| word.strip_suffix("_bucket").unwrap_or(word)).collect()
}

#[test]
fn each_alert_has_a_section_and_says_what_to_do() {
    let sections = anchors(PAGE);
    let blocks: Vec<&str> = RULES.split("- alert: ").skip(1).collect();
    assert!(blocks.len() >= 15, "{} alerts: did the layout of the file change?", blocks.len());
    for block in &blocks {
        let name = block.lines().next().unwrap().trim();
        let linked = format!("runbook: docs/operating.md#{}", anchor(name));
        assert!(block.contains(&linked), "{name} has no `{linked}`");
        assert!(sections.contains(&anchor(name)), "docs/operating.md has no section {name}");
        for key in ["summary: ", "description: ", "severity: "] {
            assert!(block.contains(key), "{name} has no {key}");
        }
    }
    let alerts: BTreeSet<String> = blocks.iter().map(|block| anchor(block.lines().next().unwrap())).collect();
    let orphans: Vec<&String> =
        sections.iter().filter(|it| it.starts_with("ringpost") && !alerts.contains(*it)).collect();
    assert!(orphans.is_empty(), "sections of alerts that do not exist: {orphans:?}");
}

#[test]
fn every_series_that_is_named_exists() {
    let known = documented();
    for (file, text) in [("operating.md", PAGE), ("ringpost-rules.yml", RULES), ("grafana-dashboard.json", DASHBOARD)] {
        let named = series(text);
        assert!(named.len() > 15, "{file}: {named:?}");
        let unknown: Vec<&&str> = named.iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file} names series that docs/metrics.md does not have: {unknown:?}");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_log_line_that_is_quoted_is_written() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let code: Vec<String> = files
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            // A string that goes on in the next line.
            text.split("\\\n").map(str::trim_start).collect()
        })
        .collect();
    let (_, after) = PAGE.split_once("## Log lines to know").unwrap();
    let table = after.split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let parts: Vec<&str> = rows.flat_map(|row| row.split('`').step_by(2)).filter(|part| part.len() > 4).collect();
    assert!(parts.len() >= 15, "{parts:?}");
    for part in parts {
        assert!(code.iter().any(|text| text.contains(part)), "no code writes {part:?}");
    }
}

#[test]
fn links_lead_somewhere() {
    for link in PAGE.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, section) = link.split_once('#').unwrap_or((link, ""));
        let text = if file.is_empty() {
            PAGE.to_owned()
        } else {
            std::fs::read_to_string(root().join("docs").join(file)).unwrap_or_else(|error| panic!("{link}: {error}"))
        };
        assert!(section.is_empty() || anchors(&text).contains(section), "{link}: there is no such section");
    }
}
