//! Log lines as a user finds them in the file.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tracing::Level;

use super::*;
use crate::config::model::LogLevel;
use crate::time::Time;

fn settings(file: Option<std::path::PathBuf>, format: LogFormat, levels: &[(&str, LogLevel)]) -> Logging {
    let levels = levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
    Logging { file, console: false, format, levels, max_history: 30, ticker_interval: Duration::from_secs(10) }
}

/// What the lines of `log` look like in a file.
fn logged(format: LogFormat, levels: &[(&str, LogLevel)], log: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let (logger, guard) = build(&settings(None, format, levels), Some(buffer.clone()), 100).unwrap();
    tracing::subscriber::with_default(logger, log);
    drop(guard);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn simple_lines_have_the_official_layout() {
    // The observed line of XDR Proxy 2.1; its time in milliseconds by `date -u -d '2022-12-08 14:53:50.607' +%s%3N`.
    let time = Duration::from_millis(1_670_511_230_607);
    let line = layout::simple(time, &Level::DEBUG, "record-parser", "text");
    assert_eq!(line, "2022-12-08 14:53:50.607 GMT DEBUG record-parser - text\n");
    // A leap day, and the day after one that is none: `date -u -d @951782400`, `date -u -d @4107542400`.
    assert!(
        layout::simple(Duration::from_secs(951_782_400), &Level::INFO, "server", "x")
            .starts_with("2000-02-29 00:00:00.000 GMT INFO  server - x")
    );
    assert!(layout::simple(Duration::from_secs(4_107_542_400), &Level::INFO, "server", "x").starts_with("2100-03-01 "));
}

#[test]
fn a_value_cannot_start_a_line_of_its_own() {
    let text = logged(LogFormat::Simple, &[], || {
        tracing::warn!(target: SERVER, set = "a\nb\r\u{1b}[31m", "bad record");
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.ends_with("GMT WARN  server - bad record set=a\\nb\\r\\u{1b}[31m\n"), "{text}");
}

#[test]
fn json_lines_are_objects_for_an_independent_reader() {
    let text = logged(LogFormat::Json, &[], || {
        tracing::error!(target: SERVER, peer = "127.0.0.1:1", count = 3, "closed \"x\"\n");
        tracing::info!(target: SERVER, "second");
    });
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "closed \"x\"\n");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["logger"], "server");
    assert_eq!(lines[0]["fields"]["peer"], "127.0.0.1:1");
    assert_eq!(lines[0]["fields"]["count"], 3);
    assert_eq!(lines[0]["time"].as_str().unwrap().len(), "2022-12-08T14:53:50.607Z".len());
}

#[test]
fn levels_go_by_logger_then_by_everything_of_ours_then_by_root() {
    let log = || {
        tracing::debug!(target: RECORD_PARSER, "parser");
        tracing::debug!(target: SERVER, "server");
        tracing::info!(target: "glommio::net", "dependency");
        tracing::warn!(target: "h2::proto", "a line for each frame of a peer");
        tracing::warn!(target: "glommio::net", "dependency warns");
    };
    let of = |levels: &[(&str, LogLevel)]| {
        let text = logged(LogFormat::Simple, levels, log);
        text.lines().map(|line| line.split(" - ").nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&[]), ["dependency", "dependency warns"]);
    assert_eq!(of(&[("record-parser", LogLevel::Debug)]), ["parser", "dependency", "dependency warns"]);
    let all = [("root", LogLevel::Warn), (CONNECT, LogLevel::Debug)];
    assert_eq!(of(&all), ["parser", "server", "dependency warns"]);
    let all = [("root", LogLevel::Warn), (CONNECT, LogLevel::Debug), ("server", LogLevel::Error)];
    assert_eq!(of(&all), ["parser", "dependency warns"]);
}

#[test]
fn a_stuck_writer_costs_lines_and_no_time_and_says_how_many() {
    struct Stuck(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);
    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (release, stuck) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let console = Stuck(stuck, Arc::clone(&written));
    let (logger, guard) = build(&settings(None, LogFormat::Simple, &[]), Some(console), 10).unwrap();
    let began = std::time::Instant::now();
    tracing::subscriber::with_default(logger, || {
        for number in 0..1_000 {
            tracing::info!(target: SERVER, "line {number}");
        }
    });
    // 10 wait in the queue, and the writer holds at most one.
    assert!((989..=990).contains(&guard.dropped_lines()), "{}", guard.dropped_lines());
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(release);
    let dropped = guard.dropped_lines();
    drop(guard);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    // The writer may get to say so in several lines; together they name every one.
    let said: Vec<u64> = text
        .lines()
        .filter(|line| line.contains("log lines were dropped"))
        .map(|line| line.split("server - ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!said.is_empty() && said.iter().sum::<u64>() == dropped, "{dropped}: {text}");
}

#[test]
fn the_file_is_appended_to() {
    let directory = std::env::temp_dir().join(format!("ringpost-log-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("a.log");
    std::fs::write(&file, "before\n").unwrap();
    let settings = settings(Some(file.clone()), LogFormat::Simple, &[]);
    let (logger, guard) = build(&settings, None::<io::Sink>, 10).unwrap();
    tracing::subscriber::with_default(logger, || tracing::info!(target: SERVER, "after"));
    drop(guard);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(text.starts_with("before\n") && text.ends_with("INFO  server - after\n"), "{text}");
}

#[test]
fn a_file_that_cannot_be_opened_says_what_to_do() {
    let missing = settings(Some("/nonexistent-directory/a.log".into()), LogFormat::Simple, &[]);
    let error = start(&missing).unwrap_err().to_string();
    assert!(
        error.starts_with("logging.file: cannot open /nonexistent-directory/a.log for writing: No such file"),
        "{error}"
    );
    assert!(error.ends_with("create the directory /nonexistent-directory, or write another path"), "{error}");
    let directory = settings(Some("/".into()), LogFormat::Simple, &[]);
    assert!(start(&directory).unwrap_err().to_string().ends_with("write the path of a file"));
}

#[test]
fn a_rate_limit_counts_what_it_leaves_out() {
    let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
    let mut limit = RateLimit::per_second();
    let written: Vec<_> = (0..2_500).filter_map(|ms| limit.allow(at(ms)).map(|left_out| (ms, left_out))).collect();
    assert_eq!(written, [(0, 0), (1_000, 999), (2_000, 999)]);
    assert_eq!(limit.overdue(at(2_999)), None);
    assert_eq!(limit.overdue(at(3_000)), Some(499), "2,500 lines less 3 written and 1,998 told of");
    assert_eq!(limit.overdue(at(9_000)), None);
    let mut several = RateLimit::new(3, std::time::Duration::from_secs(1));
    let written: Vec<_> = (0..1_005).filter_map(|ms| several.allow(at(ms)).map(|left_out| (ms, left_out))).collect();
    assert_eq!(written, [(0, 0), (1, 0), (2, 0), (1_000, 997), (1_001, 0), (1_002, 0)]);
}
