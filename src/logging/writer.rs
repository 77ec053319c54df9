//! What the background thread writes to: the file, the console, or both.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_appender::non_blocking::ErrorCounter;

use super::rotate::Rotating;
use super::{layout, rotate};
use crate::config::model::LogFormat;

/// How often the console hears that the file cannot be written.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// File and console. Never fails: a line that the file does not take goes to standard error.
pub struct Sink<W: Write> {
    file: Option<Rotating>,
    /// Lines that the file did not take.
    refused: Arc<AtomicU64>,
    console: Option<W>,
    format: LogFormat,
    counter: Arc<OnceLock<ErrorCounter>>,
    reported: usize,
    complained: Option<Instant>,
}

impl<W: Write> Sink<W> {
    /// `counter` counts the lines that found the queue full; it is set right after the sink is made. `refused` counts those that
    /// the file does not take.
    pub fn new(
        file: Option<Rotating>,
        console: Option<W>,
        format: LogFormat,
        counter: Arc<OnceLock<ErrorCounter>>,
        refused: Arc<AtomicU64>,
    ) -> Sink<W> {
        Sink { file, refused, console, format, counter, reported: 0, complained: None }
    }

    fn put(&mut self, line: &[u8]) {
        if let Some(file) = &mut self.file {
            let prepared = file.prepare(rotate::since_epoch());
            let written = file.write_all(line);
            self.refused.fetch_add(u64::from(written.is_err()), Ordering::Relaxed);
            self.complain(prepared);
            self.complain(written);
        }
        if let Some(console) = &mut self.console {
            // A closed console has no reader to tell.
            let _ = console.write_all(line);
        }
    }

    /// Says how many lines were lost since the last time, as soon as one comes through again.
    fn report_lost(&mut self) {
        let lost = self.counter.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.reported {
            let text = format!(
                "{} log lines were dropped, since they came faster than they can be written",
                lost - self.reported
            );
            self.reported = lost;
            self.put(&self.own_line(&text));
        }
    }

    fn own_line(&self, text: &str) -> Vec<u8> {
        let now = rotate::since_epoch();
        let line = match self.format {
            LogFormat::Simple => layout::simple(now, &Level::WARN, super::SERVER, text),
            LogFormat::Json => layout::json(now, &Level::WARN, super::SERVER, text, &[]),
        };
        line.into_bytes()
    }

    fn complain(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return };
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            eprintln!(
                "ringpost: the log file: {error}; make room, see to the rights of its directory, or change logging.file"
            );
        }
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.report_lost();
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.report_lost();
        let flushed = self.file.as_mut().map_or(Ok(()), Rotating::flush);
        self.complain(flushed);
        if let Some(console) = &mut self.console {
            let _ = console.flush();
        }
        Ok(())
    }
}
