//! `ringpost run`: serves until it is told to stop.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{EXIT_FAILED, EXIT_USAGE, RunArgs};
use crate::admin::ticker;
use crate::admin::view::Facts;
use crate::config::effective;
use crate::io::{self, Bound, Connector, StartError};
use crate::logging;

/// How often the main thread looks whether an executor has died.
const LOOK: Duration = Duration::from_millis(200);

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub fn run(args: RunArgs) -> ExitCode {
    let (config, loaded) = match super::load_for_run(&args.file, args.unknown_keys.into()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let log = match logging::start(&config.logging) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("ringpost: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    log_panics();
    for warning in &loaded.warnings {
        tracing::warn!(target: "server", "{warning}");
    }
    let signals = match watch_signals() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("signals cannot be watched: {error}")),
    };
    let bound = match config.service.manage.as_ref().map(Bound::new).transpose() {
        Ok(bound) => bound,
        Err(error) => return failed(&error.to_string()),
    };
    let connector = match Connector::start(config.clone()) {
        Ok(connector) => connector,
        Err(error @ StartError::Cores(_)) => {
            tracing::error!(target: "server", "{}: {error}", args.file.display());
            eprintln!("ringpost: {}: {error}", args.file.display());
            return ExitCode::from(EXIT_USAGE);
        }
        Err(error) => return failed(&error.to_string()),
    };
    // It answers until the end, so that a drain can be watched.
    let manage = bound.map(|bound| {
        let text = effective::print(&loaded, &Ok(connector.cores().to_vec()));
        let facts = Facts::new(&config, connector.cores().to_vec(), text, io::started());
        bound.serve(connector.sight(), facts, &log)
    });
    match manage.transpose() {
        Ok(_manage) => serve(connector, &signals, config.logging.ticker_interval),
        Err(error) => failed(&error.to_string()),
    }
}

fn serve(mut connector: Connector, signals: &Receiver<()>, ticker: Duration) -> ExitCode {
    let mut ticked = Instant::now();
    loop {
        if ticked.elapsed() >= ticker {
            ticked = Instant::now();
            tick(&connector);
        }
        match signals.recv_timeout(LOOK) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if connector.has_failed() => {
                // Dropping it would wait for the other executors to drain, with a part of the records' owners dead.
                std::mem::forget(connector);
                return failed(
                    "an executor has ended by itself, which is a defect of this program; the process ends, and the server sends what was not acked",
                );
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    tracing::info!(target: "server", "stopping: no new frames; what is in flight may finish");
    connector.stop();
    let is_clean = connector.join();
    tick(&connector);
    for (index, snapshot) in connector.snapshots().iter().enumerate() {
        // All that is counted, whatever that is: names come from the fields.
        tracing::info!(target: "server", "executor {index} in total: {:?}, in flight: {}, in_flight_bytes: {}",
            snapshot.counters, snapshot.in_flight, snapshot.in_flight_bytes);
    }
    if is_clean {
        tracing::info!(target: "server", "stopped");
        ExitCode::SUCCESS
    } else {
        failed("an executor ended by itself while stopping, which is a defect of this program")
    }
}

/// Lines of figures.
fn tick(connector: &Connector) {
    if tracing::event_enabled!(target: "metrics-ticker", tracing::Level::INFO) {
        for line in ticker::lines(&connector.snapshots()) {
            tracing::info!(target: "metrics-ticker", "{line}");
        }
    }
}

fn failed(why: &str) -> ExitCode {
    tracing::error!(target: "server", "{why}");
    eprintln!("ringpost: {why}");
    ExitCode::from(EXIT_FAILED)
}

/// Sends a message for the first SIGTERM or SIGINT; the second ends the process.
fn watch_signals() -> std::io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (send, receive) = channel();
    std::thread::Builder::new().name("ringpost-signal".to_owned()).spawn(move || {
        let mut stopping = false;
        for _ in signals.forever() {
            if stopping {
                eprintln!("ringpost: second signal: ended at once; what was not acked is sent again by the server");
                std::process::exit(i32::from(EXIT_FAILED));
            }
            stopping = true;
            // The receiver is gone when the process is about to end anyway.
            let _ = send.send(());
        }
    })?;
    Ok(receive)
}

/// A panic is a defect; its place belongs in the log, wherever standard error goes.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(target: "server", "panic: {panic}");
        eprintln!("ringpost: panic: {panic}");
    }));
}
