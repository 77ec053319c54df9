//! `ringpost-bench source`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ringpost_load::record::RecordSpec;
use ringpost_load::report::{Report, check_ack_order, check_fates};
use ringpost_load::source::{Source, SourceConfig, SourceReport};

/// In flight per connection: a closed loop's window, and what an open loop may pile up.
const CLOSED_WINDOW: usize = 256;
const OPEN_WINDOW: usize = 16_384;

/// Options of `ringpost-bench source`.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// The connector.
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// XDR connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Records in flight per connection [default: 256; with --rate 16384].
    #[arg(long)]
    window: Option<usize>,
    /// Open loop: records a second over all connections; latency counts from the time on the schedule.
    #[arg(long)]
    rate: Option<f64>,
    /// Stop after so many records.
    #[arg(long)]
    records: Option<u64>,
    /// Send for so long [default: 10, unless --records is given].
    #[arg(long)]
    seconds: Option<f64>,
    /// Longest wait for acks after the last record, seconds.
    #[arg(long, default_value_t = 10.0)]
    drain: f64,
    /// Approximate size of the flat JSON body, bytes.
    #[arg(long, default_value_t = 250)]
    size: usize,
    /// Integer bins beside the five.
    #[arg(long, default_value_t = 0)]
    extra_bins: usize,
    /// Send these frames instead: each file one frame in hexadecimal; only the digest is replaced.
    #[arg(long)]
    frame: Vec<PathBuf>,
    /// Contents of the records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number in every digest that tells runs apart at a sink.
    #[arg(long, default_value_t = 1)]
    run: u32,
    /// Do not send temporary failures again.
    #[arg(long)]
    no_resend: bool,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Exit code 1 when a record has no fate, or the connector broke the ack protocol.
///
/// # Errors
/// When the options make no sense, or a frame cannot be read.
pub fn run(arguments: &SourceArgs) -> Result<ExitCode, Box<dyn Error>> {
    let seconds = arguments.seconds.or(if arguments.records.is_none() { Some(10.0) } else { None });
    let window = if arguments.rate.is_some() { OPEN_WINDOW } else { CLOSED_WINDOW };
    let config = SourceConfig {
        connections: arguments.connections,
        window: arguments.window.unwrap_or(window),
        rate: arguments.rate,
        records: arguments.records,
        duration: seconds.map(Duration::try_from_secs_f64).transpose()?,
        drain: Duration::try_from_secs_f64(arguments.drain)?,
        resend: !arguments.no_resend,
        records_spec: RecordSpec {
            seed: arguments.seed,
            run: arguments.run,
            body_bytes: arguments.size,
            extra_bins: arguments.extra_bins,
            frames: arguments.frame.iter().map(|path| frame(path)).collect::<Result<_, _>>()?,
            ..RecordSpec::default()
        },
        ..SourceConfig::to(arguments.addr)
    };
    let source = Source::spawn(config)?;
    let mut before = source.stats();
    let mut next = Instant::now() + Duration::from_secs(1);
    while !source.is_finished() {
        thread::sleep(Duration::from_millis(20));
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            let now = source.stats();
            let (acked, refused) = (now.acked - before.acked, now.temporary - before.temporary);
            eprintln!("acked {acked}/s, refused {refused}/s, in flight {}, sent {}", now.in_flight, now.sent);
            before = now;
        }
    }
    let report = source.join()?;
    if arguments.json {
        println!("{}", json(&report))
    } else {
        print_table(&report)
    }
    let broken: Vec<_> = [check_fates(&report), check_ack_order(&report)].into_iter().filter_map(Result::err).collect();
    for rule in &broken {
        eprintln!("{rule}");
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn frame(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let digits: Vec<_> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(format!("{name}: an odd number of hexadecimal digits").into());
    }
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<_>> = pairs.iter().map(byte).collect();
    bytes.ok_or_else(|| format!("{name}: not hexadecimal").into())
}

fn cpu_us(report: &SourceReport) -> f64 {
    report.cpu.as_secs_f64() * 1e6 / report.sent.max(1) as f64
}

fn json(report: &SourceReport) -> serde_json::Value {
    let summary = Report::new(report, &[]);
    let codes = report.acks_by_code.iter().enumerate().filter(|(_, count)| **count > 0);
    let codes: serde_json::Map<_, _> = codes.map(|(code, count)| (code.to_string(), (*count).into())).collect();
    let latency = &summary.latency_us;
    serde_json::json!({
        "records_sent": report.sent,
        "records_acked": report.acked,
        "records_resent": report.resent,
        "records_abandoned": report.abandoned,
        "records_unresolved": report.unresolved,
        "acks_by_code": codes,
        "connections_lost": report.connections_lost,
        "violations": report.violations,
        "records_per_second": summary.records_per_second,
        "source_cpu_us_per_record": cpu_us(report),
        "latency_us": {
            "p50": latency.p50, "p90": latency.p90, "p99": latency.p99, "p999": latency.p999, "max": latency.max,
        },
    })
}

fn print_table(report: &SourceReport) {
    let summary = Report::new(report, &[]);
    println!("sent {}, acked {}, resent {}", report.sent, report.acked, report.resent);
    println!("abandoned {}, without a final ack {}", report.abandoned, report.unresolved);
    for (code, count) in report.acks_by_code.iter().enumerate().filter(|(_, count)| **count > 0) {
        println!("acks with code {code}: {count}");
    }
    println!("connections lost {}, protocol violations {}", report.connections_lost, report.violations);
    println!("{:.0} records/s, {:.3} us of the source's CPU a record", summary.records_per_second, cpu_us(report));
    let latency = &summary.latency_us;
    println!(
        "latency us: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
        latency.p50, latency.p90, latency.p99, latency.p999, latency.max
    );
}
