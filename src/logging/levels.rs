//! Which lines are written. Levels change while the process runs: each place that logs asks once, and again after a change.

use std::sync::{Arc, PoisonError, RwLock};

use tracing::level_filters::LevelFilter;

use super::{CONNECT, METRICS_TICKER, RECORD_PARSER, ROOT, SERVER};
use crate::config::model::LogLevel;

/// Modules of the HTTP/2 library. It warns of each odd frame, so that a peer could write as many lines as it likes; what
/// becomes of the connection is said in lines of our own. To be had by its name.
const H2: &str = "h2::";

/// Loggers that may have a level of their own at a time.
pub const MAX_LOGGERS: usize = 64;

/// Bytes of a logger's name.
const MAX_NAME: usize = 200;

/// The levels, to read and to change, from any thread.
#[derive(Debug, Clone)]
pub struct LogLevels(Arc<RwLock<Levels>>);

#[derive(Debug)]
struct Levels {
    now: Vec<(String, LogLevel)>,
    configured: Vec<(String, LogLevel)>,
}

impl LogLevels {
    /// Those of the configuration.
    pub fn new(levels: &[(String, LogLevel)]) -> LogLevels {
        LogLevels(Arc::new(RwLock::new(Levels { now: levels.to_vec(), configured: levels.to_vec() })))
    }

    /// Loggers with a level of their own; always with `root`.
    pub fn all(&self) -> Vec<(String, LogLevel)> {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = levels.now.clone();
        if !all.iter().any(|(name, _)| name == ROOT) {
            all.insert(0, (ROOT.to_owned(), LogLevel::Info));
        }
        all
    }

    /// Changes levels, all or none; `None`: back to what the configuration says.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn change(&self, changes: &[(String, Option<LogLevel>)]) -> Result<(), String> {
        let mut levels = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = levels.now.clone();
        for (name, level) in changes {
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(format!("a logger's name has 1 to {MAX_NAME} bytes"));
            }
            let configured = levels.configured.iter().find(|(known, _)| known == name).map(|(_, level)| *level);
            next.retain(|(known, _)| known != name);
            next.extend((*level).or(configured).map(|level| (name.clone(), level)));
        }
        if next.len() > MAX_LOGGERS {
            return Err(format!("at most {MAX_LOGGERS} loggers have a level of their own; set some to null first"));
        }
        levels.now = next;
        drop(levels);
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// What is written of a target's lines.
    pub(super) fn of(&self, target: &str) -> LevelFilter {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = |name: &str| levels.now.iter().find(|(known, _)| known == name).map(|(_, level)| filter(*level));
        if let Some(level) = named(target) {
            return level;
        }
        let root = named(ROOT).unwrap_or(LevelFilter::INFO);
        let ours = [SERVER, RECORD_PARSER, METRICS_TICKER].contains(&target)
            || target == "ringpost"
            || target.starts_with("ringpost::")
            || target.starts_with(CONNECT);
        // Dependencies write a line per HTTP/2 frame below this.
        if ours {
            named(CONNECT).unwrap_or(root)
        } else if target.starts_with(H2) {
            root.min(LevelFilter::ERROR)
        } else {
            root.min(LevelFilter::INFO)
        }
    }

    /// The most that any logger writes.
    pub(super) fn most(&self) -> LevelFilter {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let root = if levels.now.iter().any(|(name, _)| name == ROOT) { LevelFilter::OFF } else { LevelFilter::INFO };
        levels.now.iter().map(|(_, level)| filter(*level)).fold(root, LevelFilter::max)
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
