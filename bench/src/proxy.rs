//! `ringpost-bench proxy`.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ringpost_load::proxy::{Accept, Corrupt, Cut, Ending, Faults, Link, Proxy, ProxyConfig, ProxyStats};

/// Options of `ringpost-bench proxy`. Faults of the stream hit both directions unless --only says which.
#[derive(Debug, clap::Args)]
pub struct ProxyArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9091")]
    addr: SocketAddr,
    /// Where connections are passed on to.
    #[arg(long, default_value = "127.0.0.1:9090")]
    target: SocketAddr,
    /// Ends by itself after so long, 3600 at most.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults in this direction only.
    #[arg(long)]
    only: Option<DirectionArg>,
    /// Share of connections, 0 to 1, that are hit.
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// Shortest delay, ms.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Longest delay, ms [default: the shortest].
    #[arg(long)]
    latency_max_ms: Option<u64>,
    /// Bytes a second of each connection and direction.
    #[arg(long)]
    bandwidth: Option<u64>,
    /// Pieces of at most so many bytes.
    #[arg(long)]
    slice: Option<usize>,
    /// Passes nothing on, and closes nothing.
    #[arg(long)]
    stall: bool,
    /// Ends a connection (see --ending) after so many bytes of a direction.
    #[arg(long)]
    cut_after: Option<u64>,
    /// Ends connections (see --ending) after so long at most, ms.
    #[arg(long)]
    life_ms: Option<u64>,
    /// How connections are ended.
    #[arg(long, default_value = "reset")]
    ending: EndingArg,
    /// Share of bytes, 0 to 1, that are changed.
    #[arg(long, default_value_t = 0.0)]
    corrupt: f64,
    /// What becomes of new connections.
    #[arg(long, default_value = "forward")]
    accept: AcceptArg,
    /// Up for so long, ms, then down for --down-ms, again and again.
    #[arg(long, requires = "down_ms")]
    up_ms: Option<u64>,
    /// See --up-ms.
    #[arg(long, requires = "up_ms")]
    down_ms: Option<u64>,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DirectionArg {
    /// To the target.
    Up,
    /// From the target.
    Down,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EndingArg {
    Close,
    Reset,
    HalfClose,
    Silence,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum AcceptArg {
    Forward,
    Refuse,
    Reset,
    Close,
    Hang,
}

fn faults(arguments: &ProxyArgs) -> Faults {
    let shortest = Duration::from_millis(arguments.latency_ms);
    let ending = match arguments.ending {
        EndingArg::Close => Ending::Close,
        EndingArg::Reset => Ending::Reset,
        EndingArg::HalfClose => Ending::HalfClose,
        EndingArg::Silence => Ending::Silence,
    };
    let link = Link {
        latency: (shortest, arguments.latency_max_ms.map_or(shortest, Duration::from_millis).max(shortest)),
        bandwidth: arguments.bandwidth,
        slice: arguments.slice,
        stall: arguments.stall,
        cut: arguments.cut_after.map(|after| Cut { after, ending }),
        corrupt: (arguments.corrupt > 0.0).then_some(Corrupt { offsets: 0..u64::MAX, probability: arguments.corrupt }),
    };
    let only = |direction| if arguments.only == Some(direction) { Link::default() } else { link.clone() };
    let life = arguments.life_ms.map(Duration::from_millis);
    Faults {
        accept: match arguments.accept {
            AcceptArg::Forward => Accept::Forward,
            AcceptArg::Refuse => Accept::Refuse,
            AcceptArg::Reset => Accept::Reset,
            AcceptArg::Close => Accept::Close,
            AcceptArg::Hang => Accept::Hang,
        },
        up: only(DirectionArg::Down),
        down: only(DirectionArg::Up),
        share: Some(arguments.share),
        life: life.map(|longest| (Duration::ZERO, longest, ending)),
        flap: arguments
            .up_ms
            .zip(arguments.down_ms)
            .map(|(up, down)| (Duration::from_millis(up), Duration::from_millis(down))),
    }
}

/// # Errors
/// When the address is in use.
pub fn run(arguments: &ProxyArgs) -> Result<ExitCode, Box<dyn Error>> {
    let proxy = Proxy::spawn(ProxyConfig {
        address: arguments.addr,
        target: arguments.target,
        faults: faults(arguments),
        seed: arguments.seed,
    })?;
    eprintln!("listening on {}, passing on to {}, seed {}", proxy.addr(), arguments.target, arguments.seed);
    let end = Instant::now() + Duration::try_from_secs_f64(arguments.seconds.clamp(0.0, 3600.0))?;
    let mut before = proxy.stats();
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now())));
        let now = proxy.stats();
        if now != before {
            let (up, down) = (now.bytes_up - before.bytes_up, now.bytes_down - before.bytes_down);
            eprintln!("open {}, {up} bytes/s up, {down} bytes/s down, faults {}", now.open, now.faults());
        }
        before = now;
    }
    let stats = proxy.stats();
    if arguments.json {
        println!("{}", json(&stats));
    } else {
        println!("connections {}, passed on {}, unreachable {}", stats.connections, stats.forwarded, stats.unreachable);
        println!("bytes up {}, bytes down {}", stats.bytes_up, stats.bytes_down);
        println!("turned away {}, cut {}, lives over {}", stats.turned_away, stats.cuts, stats.lives);
        println!("stalls {}, bytes changed {}, times down {}", stats.stalls, stats.corrupted, stats.flaps);
    }
    Ok(ExitCode::SUCCESS)
}

fn json(stats: &ProxyStats) -> serde_json::Value {
    serde_json::json!({
        "connections": stats.connections,
        "forwarded": stats.forwarded,
        "unreachable": stats.unreachable,
        "bytes_up": stats.bytes_up,
        "bytes_down": stats.bytes_down,
        "turned_away": stats.turned_away,
        "cuts": stats.cuts,
        "lives": stats.lives,
        "stalls": stats.stalls,
        "corrupted": stats.corrupted,
        "flaps": stats.flaps,
        "killed": stats.killed,
    })
}
