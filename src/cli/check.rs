//! `ringpost check`: the effective settings, or every fault.

use std::io::Write;
use std::process::ExitCode;

use super::{CheckArgs, EXIT_USAGE};
use crate::config::effective::Selection;
use crate::config::model::Config;
use crate::config::{self, Loaded, UnknownKeys, effective};
use crate::io::cores::Usable;

/// Checks a configuration file: exit code 0 and the effective settings on standard output, or 2 and the faults on
/// standard error. Warnings go to standard error in either case.
pub fn check(args: &CheckArgs) -> ExitCode {
    let loaded = config::load(&args.file, UnknownKeys::Error);
    print_faults(&loaded);
    let Some(config) = &loaded.config else {
        return ExitCode::from(EXIT_USAGE);
    };
    if args.port.is_some() || args.namespace.is_some() {
        return selected(args, &loaded, config);
    }
    let usable = Usable::read().map_err(|error| error.to_string());
    let chosen = usable.and_then(|usable| usable.choose(&config.executors.cores).map_err(|error| error.to_string()));
    if let Err(message) = &chosen {
        // The file may be meant for another machine, so this is no fault of the file.
        let line = loaded.lines.iter().find(|(path, _)| path == "executors.cores").map_or(0, |(_, line)| *line);
        eprintln!("warning: {}:{line}: on this machine it would not start: {message}", args.file.display());
    }
    // Nobody is left to tell if standard output is closed.
    let _ = std::io::stdout().write_all(effective::print(&loaded, &chosen).as_bytes());
    ExitCode::SUCCESS
}

/// Prints what holds for some records only.
fn selected(args: &CheckArgs, loaded: &Loaded, config: &Config) -> ExitCode {
    let ports = config.service.all_ports();
    if let Some(port) = args.port.filter(|port| !ports.contains(port)) {
        eprintln!(
            "ringpost: --port {port}: nothing listens there; write one of {}, or add it to `service.port` in {}",
            config::show_ports(&ports),
            args.file.display()
        );
        return ExitCode::from(EXIT_USAGE);
    }
    let selection = Selection { port: args.port, namespace: args.namespace.as_deref(), set: args.set.as_deref() };
    // Nobody is left to tell if standard output is closed.
    let _ = std::io::stdout().write_all(effective::print_selected(loaded, selection).as_bytes());
    ExitCode::SUCCESS
}

/// Prints warnings and faults on standard error, one a line; faults last, since they decide.
pub fn print_faults(loaded: &Loaded) {
    let warnings = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    let text: String = warnings.chain(loaded.faults.iter().map(|fault| format!("{fault}\n"))).collect();
    let _ = std::io::stderr().write_all(text.as_bytes());
}
