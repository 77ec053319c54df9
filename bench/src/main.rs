//! `ringpost-bench`: load for a connector, an HTTP sink for its requests, a proxy
//! with faults for the way to either, micro benchmarks of its parts.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod micro;
mod proxy;
mod sink;
mod source;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures decoding and encoding, one step at a time.
    Micro(micro::MicroArgs),
    /// Sends change notifications over XDR and reads the acks.
    Source(source::SourceArgs),
    /// Takes HTTP/1.1 and HTTP/2 requests, and misbehaves on demand.
    Sink(sink::SinkArgs),
    /// Stands between two ends, and makes a bad network of the way between them.
    Proxy(proxy::ProxyArgs),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Micro(arguments) => micro::run(&arguments),
        Command::Source(arguments) => source::run(&arguments),
        Command::Sink(arguments) => sink::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringpost-bench: {error}");
            ExitCode::from(2)
        }
    }
}
