//! Log lines: callers hand them to a bounded queue and never wait; one background thread writes them.
//!
//! A full queue loses lines rather than time: they are counted, and the writer says how many once it is through.
//! The console is standard error, so that standard output stays free for `check` and `demo --json`.

mod layout;
mod levels;
mod limit;
mod rotate;
mod writer;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, span};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::config::model::{LogFormat, Logging};
pub use layout::{cut, utc};
pub use levels::{LogLevels, MAX_LOGGERS};
pub use limit::{RateLimit, more};
use rotate::Rotating;
use writer::Sink;

/// Names of the loggers, as `logging.levels` takes them: `tracing::info!(target: logging::SERVER, ...)`.
pub const SERVER: &str = "server";
/// Record parsing; at debug the key of each record.
pub const RECORD_PARSER: &str = "record-parser";
/// Ticker lines with counters.
pub const METRICS_TICKER: &str = "metrics-ticker";
/// Everything of ours, whatever the logger.
pub const CONNECT: &str = "com.aerospike.connect";
/// Everything without a level of its own.
pub const ROOT: &str = "root";

/// Lines that wait for the writer; at some 200 bytes a line 1.6 MB.
const QUEUE_LINES: usize = 8_192;

/// Ends logging when dropped: what is queued is written first, within a second.
#[derive(Debug)]
#[must_use = "lines are lost once this is dropped"]
pub struct LogGuard {
    counter: ErrorCounter,
    refused: Arc<AtomicU64>,
    levels: LogLevels,
    _worker: WorkerGuard,
}

/// Lines that were lost since the start, for another thread.
#[derive(Debug, Clone)]
pub struct LostLines(ErrorCounter, Arc<AtomicU64>);

impl LostLines {
    /// Lines that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.0.dropped_lines() as u64
    }

    /// Lines that the file did not take: a full disk, above all.
    pub fn refused(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

impl LogGuard {
    /// Reads and changes levels wherever it goes.
    pub fn levels(&self) -> LogLevels {
        self.levels.clone()
    }

    /// Counts lost lines wherever it goes.
    pub fn lost_lines(&self) -> LostLines {
        LostLines(self.counter.clone(), Arc::clone(&self.refused))
    }

    /// Lines that found the queue full since the start.
    pub fn dropped_lines(&self) -> u64 {
        self.counter.dropped_lines() as u64
    }
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file cannot be opened.
    #[error("logging.file: cannot open {path} for writing: {source}; {hint}")]
    Open {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
        /// What to do.
        hint: String,
    },
    /// Another subscriber is set already.
    #[error("logging was started already in this process; start it once")]
    Started,
}

/// Starts logging for the whole process. The file is opened for appending and created if it is not there.
pub fn start(settings: &Logging) -> Result<LogGuard, LoggingError> {
    let (logger, guard) = build(settings, settings.console.then(io::stderr), QUEUE_LINES)?;
    tracing::subscriber::set_global_default(logger).map_err(|_| LoggingError::Started)?;
    Ok(guard)
}

fn build<W: io::Write + Send + 'static>(
    settings: &Logging,
    console: Option<W>,
    queue_lines: usize,
) -> Result<(Logger, LogGuard), LoggingError> {
    let file = settings.file.as_deref().map(|path| open(path, settings.max_history)).transpose()?;
    let refused = Arc::<AtomicU64>::default();
    let counter = Arc::new(OnceLock::new());
    let sink = Sink::new(file, console, settings.format, Arc::clone(&counter), Arc::clone(&refused));
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(queue_lines);
    let (queue, worker) = builder.thread_name("ringpost-log").finish(sink);
    // The sink is made before the counter that it reports, which is why it waits in a cell.
    let counter = counter.get_or_init(|| queue.error_counter()).clone();
    let levels = LogLevels::new(&settings.levels);
    let logger = Logger { levels: levels.clone(), format: settings.format, queue };
    Ok((logger, LogGuard { counter, refused, levels, _worker: worker }))
}

fn open(path: &Path, max_history: u32) -> Result<Rotating, LoggingError> {
    Rotating::open(path, max_history).map_err(|source| {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let hint = match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                format!("create the directory {}, or write another path", directory.display())
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                format!("give the user that runs ringpost the right to write in {}", directory.display())
            }
            io::ErrorKind::IsADirectory => "this is a directory: write the path of a file".to_owned(),
            _ => "write another path, or take `logging.file` out to log to the console".to_owned(),
        };
        LoggingError::Open { path: path.display().to_string(), source, hint }
    })
}

/// Turns events into lines. Spans are not kept: ours has none, and a dependency's would cost on each record.
#[derive(Debug)]
struct Logger {
    levels: LogLevels,
    format: LogFormat,
    queue: NonBlocking,
}

impl Subscriber for Logger {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.levels.of(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.most())
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let line = layout::line(self.format, since_epoch, event);
        // Never waits: a full queue counts the line and drops it.
        let _ = io::Write::write(&mut self.queue.clone(), line.as_bytes());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests;
