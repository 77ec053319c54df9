//! `ringpost run` (in work).

use std::process::ExitCode;

use super::RunArgs;

/// Serves until SIGTERM or SIGINT.
pub fn run(args: RunArgs) -> ExitCode {
    match super::load_for_run(&args.file, args.unknown_keys.into()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}
