//! `ringpost demo` (in work).

use std::process::ExitCode;

use super::DemoArgs;

/// Runs the demo.
pub fn demo(_args: DemoArgs) -> ExitCode {
    ExitCode::SUCCESS
}
