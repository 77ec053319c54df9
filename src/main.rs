//! The `ringpost` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringpost::cli::main(std::env::args_os())
}
