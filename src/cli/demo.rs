//! `ringpost demo`: the main job with everything embedded. A source and a sink on loopback sockets, and the real
//! connector between them.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ringpost_load::report::Report;
use ringpost_load::sink::{LoggedRequest, Sink, SinkConfig, SinkHandle};
use ringpost_load::source::{Source, SourceConfig, SourceHandle};

use super::{DemoArgs, DemoFormat, DemoProtocol, EXIT_FAILED};
use crate::config::model::{
    Avro, BatchBody, Batching, Config, ContentErrors, Cores, Destination, Executors, Format, Headers, HealthCheck,
    Limits, LogFormat, LogLevel, Logging, Protocol, Routing, Rules, Scheme, Service, StatusSet, TextRules, Url,
};
use crate::format::AvroSchema;
use crate::io::Connector;
use crate::logging;
use crate::metrics::snapshot::Snapshot;
use crate::record::Hex;

/// How long records are sent unless told otherwise; with start and end the demo takes about ten seconds.
const SECONDS: u32 = 9;

/// Requests that are printed as they arrive.
const SHOWN_REQUESTS: usize = 3;

/// Of a body that is text.
const SHOWN_CHARACTERS: usize = 1000;

/// Of any other body.
const SHOWN_BYTES: usize = 200;

/// XDR connections of the source.
const CONNECTIONS: usize = 4;

/// Records in flight on each of them.
const WINDOW: usize = 256;

/// How long a batch waits for records.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// For `--format avro`: the schema of the example.
const SCHEMA: &str = include_str!("../../examples/schemas/row.avsc");

/// Runs the demo.
pub fn demo(args: DemoArgs) -> ExitCode {
    match try_demo(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(lost) => {
            eprintln!("ringpost: {lost} records were acked and not delivered");
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            eprintln!("ringpost: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The three parts, and how many records were lost between them.
fn try_demo(args: &DemoArgs) -> Result<u64, Box<dyn std::error::Error>> {
    let _log = logging::start(&quiet_log())?;
    let sink = Sink::spawn(SinkConfig { log_requests: SHOWN_REQUESTS, ..SinkConfig::default() })?;
    let mut connector = Connector::start(config(args, sink.addr())?)?;
    let Some(address) = connector.addresses().first().copied() else {
        return Err("the connector listens nowhere".into());
    };
    let before = total(&connector);
    let source = Source::spawn(source_config(args, address))?;
    watch(args, &sink, &source, &connector);
    let sent = source.join()?;
    connector.stop();
    let clean = connector.join();
    let after = total(&connector);
    let received = sink.join()?;
    if !clean {
        return Err("an executor ended by itself".into());
    }
    let report = Report::new(&sent, &[&received.ledger]);
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
    let cpu_us_per_record = (report.records_acked > 0).then(|| cpu / report.records_acked as f64);
    print_report(args, &report, cpu_us_per_record)?;
    if report.lost == 0 && report.records_acked < report.records_sent {
        return Err(format!("{} records were sent and never acked", report.records_sent - report.records_acked).into());
    }
    Ok(report.lost)
}

fn print_report(args: &DemoArgs, report: &Report, cpu_us_per_record: Option<f64>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        return writeln!(out, "{}", report.json(cpu_us_per_record));
    }
    writeln!(out)?;
    write!(out, "{report}")?;
    match cpu_us_per_record {
        Some(micros) => writeln!(out, "{:<22}{micros:>14.2}", "CPU us per record"),
        None => writeln!(out, "{:<22}{:>14}", "CPU us per record", "-"),
    }
}

/// Prints the first requests and a line a second until the source has finished.
fn watch(args: &DemoArgs, sink: &SinkHandle, source: &SourceHandle, connector: &Connector) {
    let started = Instant::now();
    let ledger = sink.ledger();
    let mut shown = 0;
    let mut next_line = Duration::from_secs(1);
    let mut before = 0;
    while !source.is_finished() && !connector.has_failed() {
        std::thread::sleep(Duration::from_millis(20));
        if shown < SHOWN_REQUESTS {
            for request in ledger.requests(shown) {
                shown += 1;
                say(args, &show(&request));
            }
        }
        if started.elapsed() >= next_line {
            let stats = source.stats();
            say(
                args,
                &format!(
                    "{:>4} s  sent {:>10}  acked {:>10}  ({:>8} in this second)  in flight {:>6}",
                    next_line.as_secs(),
                    stats.sent,
                    stats.acked,
                    stats.acked - before,
                    stats.in_flight
                ),
            );
            before = stats.acked;
            next_line += Duration::from_secs(1);
        }
    }
}

/// For people: on standard output, or on standard error while that is for the JSON report.
fn say(args: &DemoArgs, text: &str) {
    // Nobody is left to tell if the stream is closed.
    let _ = if args.json { writeln!(std::io::stderr(), "{text}") } else { writeln!(std::io::stdout(), "{text}") };
}

fn show(request: &LoggedRequest) -> String {
    let mut text = format!("{} {} {}\n", request.method, request.path, request.version);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    text.push_str(&show_body(&request.body));
    text.push('\n');
    text
}

/// The first part of a body: text as it is, bytes in hexadecimal.
fn show_body(body: &[u8]) -> String {
    let (mut text, whole) = match std::str::from_utf8(body) {
        Ok(text) => (text.chars().take(SHOWN_CHARACTERS).collect(), text.chars().nth(SHOWN_CHARACTERS).is_none()),
        Err(_) => {
            let part = body.get(..SHOWN_BYTES).unwrap_or(body);
            (Hex(part).to_string(), part.len() == body.len())
        }
    };
    if !whole {
        text.push_str(&format!("... ({} bytes)", body.len()));
    }
    text
}

fn source_config(args: &DemoArgs, address: SocketAddr) -> SourceConfig {
    let seconds = match (args.seconds, args.records) {
        (Some(seconds), _) => Some(seconds),
        (None, Some(_)) => None,
        (None, None) => Some(SECONDS),
    };
    SourceConfig {
        connections: CONNECTIONS,
        window: WINDOW,
        rate: args.rate.map(|rate| rate as f64),
        records: args.records,
        duration: seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
        ..SourceConfig::to(address)
    }
}

/// What a file would say: one destination, everything else as it is by default.
fn config(args: &DemoArgs, sink: SocketAddr) -> Result<Config, String> {
    let protocol = match args.protocol {
        DemoProtocol::Http1 => Protocol::Http1,
        DemoProtocol::Http2 => Protocol::Http2,
    };
    let destination = Destination {
        name: "sink".to_owned(),
        urls: vec![Url {
            scheme: Scheme::Http,
            host: sink.ip().to_string(),
            port: sink.port(),
            path: "/records".to_owned(),
        }],
        protocol,
        call_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_millis(300),
        connection_ttl: None,
        max_connections_per_endpoint: if protocol == Protocol::Http1 { 64 } else { 1 },
        max_request_queued_per_endpoint: 32_768,
        http2_max_concurrent_streams: 256,
        success: StatusSet::successful(),
        permanent: StatusSet::empty(),
        gzip_above: args.gzip.then_some(0),
        headers: Headers::default(),
        health: HealthCheck::default(),
        retry_after_cap: Duration::from_secs(30),
        tls: None,
    };
    Ok(Config {
        service: Service {
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            ports: vec![0],
            tls: None,
            max_concurrent_records: 32_768,
            socket_receive_buffer_bytes: None,
            allowed_networks: Vec::new(),
            manage: None,
            cluster_name: None,
        },
        destinations: vec![destination],
        rules: rules(args)?,
        content_errors: ContentErrors::default(),
        rejected: None,
        logging: quiet_log(),
        executors: Executors {
            cores: Cores::Count(args.executors.unwrap_or(1) as usize),
            pin: true,
            in_flight_bytes: 256 << 20,
            heartbeat_limit: Duration::from_secs(5),
            busy_poll: Duration::ZERO,
        },
        limits: Limits::default(),
    })
}

/// The same route, format and batching for every record.
fn rules(args: &DemoArgs) -> Result<Rules, String> {
    let mut rules = Rules::same_for_all(Routing::Destinations(vec![0]), format(args)?);
    rules.top.batching = args.batch.map(|records| Batching {
        enabled: true,
        max_bytes: u64::MAX,
        max_records: records,
        interval: BATCH_INTERVAL,
        body: BatchBody::Array,
    });
    Ok(rules)
}

fn format(args: &DemoArgs) -> Result<Format, String> {
    let text = TextRules::default();
    Ok(match args.format {
        DemoFormat::Json => Format::Json { stringify_map_keys: true, text },
        DemoFormat::FlatJson => {
            Format::FlatJson { metadata_key: "metadata".to_owned(), stringify_map_keys: true, text }
        }
        DemoFormat::MessagePack => Format::MessagePack { delete_metadata: false, invalid_utf8: text.invalid_utf8 },
        DemoFormat::Avro => Format::Avro(Avro {
            schema: AvroSchema::parse(SCHEMA)?,
            schema_file: None,
            metadata_key: Some("metadata".to_owned()),
            stringify_map_keys: true,
            invalid_utf8: text.invalid_utf8,
        }),
        DemoFormat::Xdr => Format::Xdr,
    })
}

/// Warnings on standard error; the demo's own lines say the rest.
fn quiet_log() -> Logging {
    Logging {
        file: None,
        console: true,
        format: LogFormat::Simple,
        levels: vec![("root".to_owned(), LogLevel::Warn)],
        max_history: 30,
        ticker_interval: Duration::from_secs(10),
    }
}

/// The figures of all executors together.
fn total(connector: &Connector) -> Snapshot {
    connector.snapshots().into_iter().fold(Snapshot::default(), |mut sum, one| {
        sum.cpu += one.cpu;
        sum
    })
}
