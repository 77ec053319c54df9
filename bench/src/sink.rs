//! `ringpost-bench sink`.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ringpost_load::sink::{Behaviour, Fault, Goodbye, LoggedRequest, Sink, SinkConfig, SinkReport};
use ringpost_load::tls::{Authority, Server, Validity};

/// Options of `ringpost-bench sink`.
#[derive(Debug, clap::Args)]
pub struct SinkArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9090")]
    addr: SocketAddr,
    /// Threads; connections are dealt out in turn.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Ends by itself after so long, 3600 at most.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Status of an ordinary answer.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// Bytes of the answer's body.
    #[arg(long, default_value_t = 0)]
    body: usize,
    /// Share of requests, 0 to 1, answered with --error-status.
    #[arg(long, default_value_t = 0.0)]
    error_probability: f64,
    /// See --error-probability.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(200..600))]
    error_status: u16,
    /// Shortest pause before an answer, ms.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Longest pause, ms [default: the shortest].
    #[arg(long)]
    latency_max_ms: Option<u64>,
    /// What happens instead of an answer.
    #[arg(long)]
    fault: Option<FaultArg>,
    /// Share of requests, 0 to 1, that --fault hits.
    #[arg(long, default_value_t = 1.0)]
    fault_probability: f64,
    /// Ends a connection after so many requests.
    #[arg(long)]
    requests_per_connection: Option<u64>,
    /// Ends it without a word (HTTP/1.1), or with one GOAWAY and at once (HTTP/2).
    #[arg(long)]
    abrupt: bool,
    /// Pause before each part of a body is read, ms.
    #[arg(long, default_value_t = 0)]
    slow_read_ms: u64,
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    #[arg(long, default_value_t = 1_024)]
    max_concurrent_streams: u32,
    /// Speaks TLS, with a certificate for localhost and 127.0.0.1 whose authority it writes to this file.
    #[arg(long)]
    tls: Option<std::path::PathBuf>,
    /// Seed of latencies and errors.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints the first so many requests.
    #[arg(long, default_value_t = 0)]
    show: usize,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FaultArg {
    Hang,
    CloseBeforeAnswer,
    CloseAfterHead,
    CloseMidBody,
    Reset,
    Refuse,
}

impl From<FaultArg> for Fault {
    fn from(fault: FaultArg) -> Fault {
        match fault {
            FaultArg::Hang => Fault::Hang,
            FaultArg::CloseBeforeAnswer => Fault::CloseBeforeAnswer,
            FaultArg::CloseAfterHead => Fault::CloseAfterHead,
            FaultArg::CloseMidBody => Fault::CloseMidBody,
            FaultArg::Reset => Fault::Reset,
            FaultArg::Refuse => Fault::Refuse,
        }
    }
}

fn behaviour(arguments: &SinkArgs) -> Behaviour {
    let shortest = Duration::from_millis(arguments.latency_ms);
    let longest = arguments.latency_max_ms.map_or(shortest, Duration::from_millis).max(shortest);
    Behaviour {
        status: arguments.status,
        body_bytes: arguments.body,
        error_probability: arguments.error_probability,
        error_status: arguments.error_status,
        poison: None,
        latency: (shortest, longest),
        fault: arguments.fault.map(Fault::from),
        fault_probability: arguments.fault_probability,
        requests_per_connection: arguments.requests_per_connection,
        goodbye: if arguments.abrupt { Goodbye::Abrupt } else { Goodbye::Announced },
        slow_read: Duration::from_millis(arguments.slow_read_ms),
        ..Behaviour::default()
    }
}

/// A new authority, in this file, and what it has signed.
fn tls(file: &std::path::Path) -> Result<std::sync::Arc<ringpost_load::tls::ServerConfig>, Box<dyn Error>> {
    let fault = |error: ringpost_load::tls::Fault| error.to_string();
    let authority = Authority::new("ringpost-bench").map_err(fault)?;
    std::fs::write(file, authority.pem())?;
    let pair = authority.sign(&["localhost", "127.0.0.1"], Validity::Now).map_err(fault)?;
    Ok(Server::new(pair).config().map_err(fault)?)
}

/// # Errors
/// When the address is in use.
pub fn run(arguments: &SinkArgs) -> Result<ExitCode, Box<dyn Error>> {
    let config = SinkConfig {
        address: arguments.addr,
        threads: arguments.threads,
        behaviour: behaviour(arguments),
        seed: arguments.seed,
        log_requests: arguments.show,
        max_concurrent_streams: arguments.max_concurrent_streams,
        tls: arguments.tls.as_deref().map(tls).transpose()?,
        ..SinkConfig::default()
    };
    let sink = Sink::spawn(config)?;
    eprintln!("listening on {}", sink.addr());
    let ledger = sink.ledger();
    let end = Instant::now() + Duration::try_from_secs_f64(arguments.seconds.clamp(0.0, 3600.0))?;
    let (mut before, mut shown) = (ledger.stats(), 0);
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now())));
        for request in ledger.requests(shown) {
            shown += 1;
            eprintln!("{}", text(&request));
        }
        let now = ledger.stats();
        if now.requests != before.requests {
            let requests = now.requests - before.requests;
            eprintln!("requests {requests}/s, delivered {}, duplicates {}", now.delivered, now.duplicates);
        }
        before = now;
    }
    let report = sink.join()?;
    if arguments.json {
        println!("{}", json(&report))
    } else {
        print_table(&report)
    }
    Ok(ExitCode::SUCCESS)
}

fn text(request: &LoggedRequest) -> String {
    let mut text = format!("{} {} {}\n", request.method, request.path, request.version);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text + "\n" + &String::from_utf8_lossy(&request.body) + "\n"
}

fn cpu_us(report: &SinkReport) -> f64 {
    report.cpu.as_secs_f64() * 1e6 / report.stats.requests.max(1) as f64
}

fn json(report: &SinkReport) -> serde_json::Value {
    let stats = &report.stats;
    let statuses: serde_json::Map<_, _> =
        stats.by_status.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
    serde_json::json!({
        "requests": stats.requests,
        "records": stats.records,
        "batches": stats.batches,
        "body_bytes": stats.body_bytes,
        "succeeded": stats.succeeded,
        "records_delivered": stats.delivered,
        "duplicates": stats.duplicates,
        "unidentified": stats.unidentified,
        "corrupt": stats.corrupt,
        "connections": stats.connections,
        "by_status": statuses,
        "sink_cpu_us_per_request": cpu_us(report),
    })
}

fn print_table(report: &SinkReport) {
    let stats = &report.stats;
    println!(
        "requests {}, answered with success {}, connections {}",
        stats.requests, stats.succeeded, stats.connections
    );
    println!("records received {}, requests with several {}", stats.records, stats.batches);
    println!("records delivered {}, duplicates {}", stats.delivered, stats.duplicates);
    println!("unidentified {}, corrupt {}", stats.unidentified, stats.corrupt);
    for (status, count) in &stats.by_status {
        match status {
            0 => println!("hung, cut or reset: {count}"),
            status => println!("answered {status}: {count}"),
        }
    }
    println!("{:.3} us of the sink's CPU a request", cpu_us(report));
}
