//! What the background thread writes to: the file, the console, or both.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tracing::Level;
use tracing_appender::non_blocking::ErrorCounter;

use super::layout;
use crate::config::model::LogFormat;

/// How often the console hears that the file cannot be written.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// File and console. Never fails: a line that the file does not take goes to standard error.
pub struct Sink<W: Write> {
    file: Option<BufWriter<File>>,
    console: Option<W>,
    format: LogFormat,
    counter: Arc<OnceLock<ErrorCounter>>,
    reported: usize,
    complained: Option<Instant>,
}

impl<W: Write> Sink<W> {
    /// `counter` counts the lines that found the queue full; it is set right after the sink is made.
    pub fn new(
        file: Option<File>,
        console: Option<W>,
        format: LogFormat,
        counter: Arc<OnceLock<ErrorCounter>>,
    ) -> Sink<W> {
        Sink { file: file.map(BufWriter::new), console, format, counter, reported: 0, complained: None }
    }

    fn put(&mut self, line: &[u8]) {
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(line));
        self.complain(written);
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
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
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
            eprintln!("ringpost: cannot write the log file: {error}; make room, or change logging.file");
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
        let flushed = self.file.as_mut().map_or(Ok(()), Write::flush);
        self.complain(flushed);
        if let Some(console) = &mut self.console {
            let _ = console.flush();
        }
        Ok(())
    }
}
