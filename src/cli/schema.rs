//! `ringpost schema`: a JSON Schema of the configuration file, for editors.

use std::io::Write;
use std::process::ExitCode;

use crate::config;

/// Prints the schema.
pub fn schema() -> ExitCode {
    // Nobody is left to tell if standard output is closed.
    let _ = std::io::stdout().write_all(config::json_schema().as_bytes());
    ExitCode::SUCCESS
}
