//! The command line: which command, with which arguments. Each command has a file of its own; this one knows clap.

pub mod check;
pub mod demo;
pub mod manage;
pub mod run;
pub mod schema;
pub mod tap;
pub mod top;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, Loaded, UnknownKeys};

/// Exit code: a failure at run time, or the end by a second signal.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the configuration or the command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: an executor stood still longer than `executors.heartbeat-limit`.
pub const EXIT_STALLED: u8 = 70;

/// Delivers Aerospike change notifications (XDR) over HTTP, at least once, from pinned io_uring executors.
#[derive(Debug, Parser)]
#[command(name = "ringpost", version, arg_required_else_help = true, subcommand_required = true)]
#[command(override_usage = "ringpost run -f FILE\n       ringpost -f FILE              the same\n       \
                            ringpost check -f FILE\n       ringpost schema\n       ringpost demo\n       \
                            ringpost top\n       ringpost tap")]
#[command(after_help = "Exit codes: 0 clean; 1 failed at run time, or ended by a second signal; \
                        2 configuration or usage; 70 a stalled executor.")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve with the settings of FILE until SIGTERM or SIGINT.
    Run(RunArgs),
    /// Check FILE: print the effective settings, or every fault with line and column.
    Check(CheckArgs),
    /// Print a JSON Schema of the configuration file, for editors.
    Schema,
    /// Show the whole connector at work between an embedded source and an embedded sink.
    Demo(DemoArgs),
    /// Show a connector that runs: rates, latencies, destinations, and what needs a look.
    #[command(after_help = TOP_HELP)]
    Top(TopArgs),
    /// Show records of a connector that runs as they go through: what came, what was sent, what was answered, and when.
    #[command(after_help = TAP_HELP)]
    Tap(TapArgs),
}

const TOP_HELP: &str = "The figures come from the connector's manage port (service.manage). `q` or Ctrl-C leaves. Without a \
                        terminal, as in `ringpost top | less`, one picture is printed with all that there is. Set NO_COLOR for \
                        no colours.\n\nExit codes: 0 clean; 1 no figures for the one picture, or a terminal that cannot be used; 2 usage.";

const TAP_HELP: &str = "Records come from the connector's manage port (service.manage), at the end of each. Configured texts of \
                        headers, queries of URLs and headers that are there for secrets are not shown. Records wait for nobody: what a tap \
                        does not take in time is counted as missed.\n\nExit codes: 0 at the end, or by Ctrl-C; 1 no connector, or \
                        it refused; 2 usage.";

/// Arguments of `ringpost run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Configuration file in the format of aerospike-esp-outbound (YAML).
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// What to do about a key that is not known: refuse to start, or log it and start all the same.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = UnknownKeysArg::Error)]
    pub unknown_keys: UnknownKeysArg,
}

/// Arguments of `ringpost check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Configuration file; `-` reads standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Print only what holds for records that arrive on this port.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Print only what holds for records of this namespace.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Print only what holds for records of this set of the namespace.
    #[arg(long, value_name = "NAME", requires = "namespace")]
    pub set: Option<String>,
}

/// Arguments of `ringpost demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How long records are sent; about ten seconds unless set, or until --records are sent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: Option<u32>,
    /// How many records are sent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub records: Option<u64>,
    /// Records a second; as fast as acks allow unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: Option<u64>,
    /// Format of the request bodies.
    #[arg(long, value_enum, default_value_t = DemoFormat::FlatJson)]
    pub format: DemoFormat,
    /// Put up to so many records in one request; one each unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: Option<u32>,
    /// Compress the request bodies.
    #[arg(long)]
    pub gzip: bool,
    /// HTTP version between connector and sink.
    #[arg(long, value_enum, default_value_t = DemoProtocol::Http2)]
    pub protocol: DemoProtocol,
    /// How many executors the connector runs; one unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub executors: Option<u32>,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ringpost top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Which connector.
    #[command(flatten)]
    pub manage: manage::ManageArgs,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval: u32,
    /// Print one picture and end.
    #[arg(long)]
    pub once: bool,
}

/// Arguments of `ringpost tap`.
#[derive(Debug, Clone, Args)]
pub struct TapArgs {
    /// Which connector.
    #[command(flatten)]
    pub manage: manage::ManageArgs,
    /// Only records of this namespace.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Only records of this set; empty: those in no set.
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
    /// Only records that are routed to this destination.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Only records that were not answered 0.
    #[arg(long)]
    pub failed: bool,
    /// Only this share of the records that the options above leave, --failed aside, such as 0.01.
    #[arg(long, value_name = "SHARE")]
    pub sample: Option<f64>,
    /// End after so many records.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// End after so many seconds.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Print each record as one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `--unknown-keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnknownKeysArg {
    /// Log each and start.
    Warn,
    /// Refuse to start.
    Error,
}

impl From<UnknownKeysArg> for UnknownKeys {
    fn from(arg: UnknownKeysArg) -> UnknownKeys {
        match arg {
            UnknownKeysArg::Warn => UnknownKeys::Warn,
            UnknownKeysArg::Error => UnknownKeys::Error,
        }
    }
}

/// `demo --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoFormat {
    /// Typed JSON.
    Json,
    /// Flat JSON.
    FlatJson,
    /// MessagePack arrays.
    MessagePack,
    /// Avro datums.
    Avro,
    /// Frames as they came in.
    Xdr,
}

/// `demo --protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

/// Runs the command that `arguments` (program name first) ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match CommandLine::try_parse_from(with_default_command(arguments.into_iter().collect())) {
        Ok(CommandLine { command: Command::Run(args) }) => run::run(args),
        Ok(CommandLine { command: Command::Check(args) }) => check::check(&args),
        Ok(CommandLine { command: Command::Schema }) => schema::schema(),
        Ok(CommandLine { command: Command::Demo(args) }) => demo::demo(args),
        Ok(CommandLine { command: Command::Top(args) }) => top::top(&args),
        Ok(CommandLine { command: Command::Tap(args) }) => tap::tap(&args),
        Err(error) => {
            // Standard output or error may be closed already; there is nobody left to tell.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

/// `ringpost -f FILE`, the official call, means `ringpost run -f FILE`: options before any command belong to `run`.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).and_then(|first| first.to_str()).unwrap_or_default();
    let own = ["-h", "--help", "-V", "--version"].contains(&first);
    if first.starts_with('-') && !own {
        arguments.insert(1, OsString::from("run"));
    }
    arguments
}

/// Reads and checks a configuration for `run`. Its warnings are for the log. Faults go to standard error, with the
/// warnings, and then there is no configuration but the exit code to end with.
pub fn load_for_run(file: &Path, unknown: UnknownKeys) -> Result<(config::model::Config, Loaded), ExitCode> {
    let loaded = config::load(file, unknown);
    match &loaded.config {
        Some(config) => Ok((config.clone(), loaded)),
        None => {
            check::print_faults(&loaded);
            if loaded.faults.iter().any(|fault| fault.unknown_key) {
                eprintln!(
                    "ringpost: to start in spite of unknown keys: ringpost run --unknown-keys=warn -f {}",
                    file.display()
                );
            }
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}
