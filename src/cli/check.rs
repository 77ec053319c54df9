//! `ringpost check`: the effective settings, or every fault.

use std::process::ExitCode;

use super::{CheckArgs, EXIT_USAGE};
use crate::config::{self, Loaded, UnknownKeys};

/// Checks a configuration file: exit code 0 and the effective settings on standard output, or 2 and the faults on
/// standard error.
pub fn check(args: &CheckArgs) -> ExitCode {
    let loaded = config::load(&args.file, UnknownKeys::Error);
    print_faults(&loaded);
    if loaded.config.is_some() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) }
}

/// Prints faults and warnings on standard error, one a line, faults last: they decide.
pub fn print_faults(loaded: &Loaded) {
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    for fault in &loaded.faults {
        eprintln!("{fault}");
    }
}
