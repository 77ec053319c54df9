//! Sees an executor that stands still, from a thread of its own.
//!
//! Each executor counts its ticks. The watchdog counts its own ticks too, and only those that were on time: a process
//! that was stopped, or a machine that gives it no time, is logged and not killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The watchdog's tick.
const TICK: Duration = Duration::from_millis(100);

/// A tick that took longer was late: the process did not run.
const LATE: Duration = Duration::from_millis(200);

/// Exit code of a process with a stalled executor.
pub const STALLED: i32 = 70;

/// Ticks of one executor.
#[derive(Debug, Default)]
pub struct Heartbeat {
    beats: AtomicU64,
    ended: AtomicBool,
}

impl Heartbeat {
    /// The executor is alive.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// The executor has ended: nothing is left to watch.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// What the watchdog makes of one executor: a state machine over ticks.
#[derive(Debug, Default)]
struct Watched {
    beats: u64,
    silent: u32,
}

impl Watched {
    /// One on-time tick of the watchdog; how many there were in a row without a beat.
    fn tick(&mut self, beats: u64) -> u32 {
        if beats == self.beats {
            self.silent += 1;
        } else {
            self.beats = beats;
            self.silent = 0;
        }
        self.silent
    }
}

/// The thread.
#[derive(Debug)]
pub struct Watchdog {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches `heartbeats`; an executor without a beat for `limit` ends the process with [`STALLED`].
    pub fn start(heartbeats: Vec<(String, Arc<Heartbeat>)>, limit: Duration) -> std::io::Result<Watchdog> {
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("ringpost-watch".to_owned())
            .spawn(move || watch(&heartbeats, limit, &flag))?;
        Ok(Watchdog { stopping, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(heartbeats: &[(String, Arc<Heartbeat>)], limit: Duration, stopping: &AtomicBool) {
    let ticks = u32::try_from(limit.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).max(1);
    let mut watched: Vec<Watched> = heartbeats.iter().map(|_| Watched::default()).collect();
    while !stopping.load(Ordering::Acquire) {
        let before = Instant::now();
        std::thread::sleep(TICK);
        let took = before.elapsed();
        if took > LATE {
            tracing::warn!(target: "server", "the process did not run for {} ms (stopped, or starved of CPU)", took.as_millis());
            continue;
        }
        for ((name, heartbeat), state) in heartbeats.iter().zip(&mut watched) {
            let silent = state.tick(heartbeat.beats.load(Ordering::Relaxed));
            if silent >= ticks && !heartbeat.ended.load(Ordering::Acquire) && !stopping.load(Ordering::Acquire) {
                stalled(name, limit);
            }
        }
    }
}

/// Ends the process: the service manager starts it again, and the server sends what was not acked.
fn stalled(name: &str, limit: Duration) -> ! {
    let text = format!(
        "{name} stood still for {} ms (executors.heartbeat-limit): the process ends with exit code {STALLED}; nothing that was not acked is lost",
        limit.as_millis()
    );
    tracing::error!(target: "server", "{text}");
    eprintln!("ringpost: {text}");
    // The log's writer has a moment for the line.
    std::thread::sleep(TICK);
    std::process::exit(STALLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_the_last_beat() {
        let mut watched = Watched::default();
        assert_eq!(watched.tick(0), 1);
        assert_eq!(watched.tick(0), 2);
        assert_eq!(watched.tick(3), 0);
        assert_eq!(watched.tick(3), 1);
        assert_eq!(watched.tick(4), 0);
    }
}
