//! What the end-to-end tests share: the real binary as a process, configurations, waiting with a deadline, the oracle.
//!
//! Every process gets a folder of its own, a port of its own and a log file; its end is waited for or forced when it
//! is dropped, so that a failed test leaves nothing behind.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

pub mod manage;
pub mod neighbour;
pub mod network;
pub mod oracle;
pub mod random;
pub mod raw;
pub mod tls;
pub mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringpost_load::record::{Generator, RecordSpec};
use ringpost_load::sink::{Behaviour, Sink, SinkConfig, SinkHandle};
use ringpost_load::source::{Client, SourceConfig};

/// What most waits of these tests are bounded by.
pub const LONG: Duration = Duration::from_secs(20);

/// `HTTP_1_1` and `HTTP_2` as the configuration names them.
pub const PROTOCOLS: [&str; 2] = ["HTTP_1_1", "HTTP_2"];

/// Whether the long forms are asked for.
pub fn long() -> bool {
    std::env::var_os("RINGPOST_LONG").is_some_and(|value| value == "1")
}

/// `short`, or `long` with `RINGPOST_LONG=1`.
pub fn by_length<T>(short: T, long_form: T) -> T {
    if long() { long_form } else { short }
}

/// Polls until `condition` holds; fails with `what` after `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// A port that nobody has now, outside of the range that outgoing connections are given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..4000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(61);
        let port = 12_000 + (step % 18_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// A destination of a configuration.
#[derive(Debug, Clone)]
pub struct To {
    pub name: String,
    pub urls: Vec<String>,
    /// Further settings, such as `call-timeout: 500`.
    pub settings: Vec<String>,
}

/// What a test changes of an otherwise ordinary configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    pub port: u16,
    pub executors: usize,
    pub destinations: Vec<To>,
    pub format: String,
    /// Further lines under `service`, `executors` and `limits`.
    pub service: Vec<String>,
    pub executor_settings: Vec<String>,
    pub limits: Vec<String>,
    pub level: &'static str,
    /// Further ports of `service.port`.
    pub more_ports: Vec<u16>,
    /// The value of the top level's `routing`; all destinations if there is none.
    pub routing: Option<String>,
    /// Routing and format of the top level are in `more`, or nowhere.
    pub own_levels: bool,
    /// Further text at the top level of the file, such as `batching: { max-records: 10 }`.
    pub more: Vec<String>,
}

impl Settings {
    /// One executor, flat JSON, one destination with this sink's URL.
    pub fn to(protocol: &str, sinks: &[SocketAddr]) -> Settings {
        let settings = Settings {
            port: free_port(),
            executors: 1,
            destinations: Vec::new(),
            format: "{ mode: flat-json, metadata-key: metadata }".to_owned(),
            service: Vec::new(),
            executor_settings: Vec::new(),
            limits: Vec::new(),
            level: "info",
            more_ports: Vec::new(),
            routing: None,
            own_levels: false,
            more: Vec::new(),
        };
        settings.and(protocol, sinks)
    }

    /// One destination more.
    pub fn and(mut self, protocol: &str, sinks: &[SocketAddr]) -> Settings {
        let connections = if protocol == "HTTP_2" { 2 } else { 32 };
        self.destinations.push(To {
            name: format!("d{}", self.destinations.len()),
            urls: sinks.iter().map(|sink| format!("http://{sink}/records")).collect(),
            settings: vec![
                format!("protocol: {protocol}"),
                format!("max-connections-per-endpoint: {connections}"),
                // A probe would be one more connection and request in every count.
                "health-check: { enabled: false }".to_owned(),
            ],
        });
        self
    }

    /// A setting of the last destination; it replaces one of the same name.
    pub fn set(mut self, line: &str) -> Settings {
        let key = line.split(':').next().unwrap().to_owned() + ":";
        let last = self.destinations.last_mut().unwrap();
        last.settings.retain(|known| !known.starts_with(&key));
        last.settings.push(line.to_owned());
        self
    }

    pub fn limit(mut self, line: &str) -> Settings {
        self.limits.push(line.to_owned());
        self
    }

    pub fn executor(mut self, line: &str) -> Settings {
        self.executor_settings.push(line.to_owned());
        self
    }

    pub fn executors(mut self, count: usize) -> Settings {
        self.executors = count;
        self
    }

    pub fn level(mut self, level: &'static str) -> Settings {
        self.level = level;
        self
    }

    /// Text at the top level.
    pub fn top(mut self, text: impl Into<String>) -> Settings {
        self.more.push(text.into());
        self
    }

    /// `batching` of the top level, such as `max-records: 10, body: ndjson`.
    pub fn batching(self, settings: &str) -> Settings {
        self.top(format!("batching: {{ {settings} }}"))
    }

    /// The file.
    pub fn yaml(&self, log: &std::path::Path) -> String {
        let block = |lines: &[String]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
        let ports: Vec<String> =
            std::iter::once(self.port).chain(self.more_ports.clone()).map(|p| p.to_string()).collect();
        let mut text =
            format!("service:\n  port: [ {} ]\n  address: 127.0.0.1\n{}", ports.join(", "), block(&self.service));
        text.push_str("destinations:\n");
        for to in &self.destinations {
            text.push_str(&format!("  {}:\n    urls: [ {} ]\n", to.name, to.urls.join(", ")));
            to.settings.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        }
        let names: Vec<_> = self.destinations.iter().map(|to| to.name.as_str()).collect();
        let all = format!("{{ mode: static-multi-destination, destinations: [ {} ] }}", names.join(", "));
        if !self.own_levels {
            text.push_str(&format!("routing: {}\nformat: {}\n", self.routing.as_deref().unwrap_or(&all), self.format));
        }
        text.push_str(&format!("logging:\n  file: {}\n  levels: {{ root: {} }}\n", log.display(), self.level));
        text.push_str(&format!(
            "executors:\n  cores: {}\n  pin: false\n{}",
            self.executors,
            block(&self.executor_settings)
        ));
        if !self.limits.is_empty() {
            text.push_str(&format!("limits:\n{}", block(&self.limits)));
        }
        self.more.iter().for_each(|more| text.push_str(&format!("{more}\n")));
        text
    }

    /// Starts the connector and waits until it accepts.
    #[track_caller]
    pub fn start(&self) -> Process {
        let mut process = self.spawn(|_| {});
        process.wait_listening();
        process
    }

    /// Starts the connector, changed by `change`, and does not wait.
    #[track_caller]
    pub fn spawn(&self, change: impl FnOnce(&mut Command)) -> Process {
        let folder = folder();
        std::fs::write(folder.join("ringpost.yml"), self.yaml(&folder.join("ringpost.log"))).unwrap();
        spawn_in(folder, self.port, change)
    }
}

/// Starts the connector with the file `ringpost.yml` of `folder`, and does not wait. Its log has to be `ringpost.log`
/// there.
#[track_caller]
pub fn spawn_in(folder: PathBuf, port: u16, change: impl FnOnce(&mut Command)) -> Process {
    let file = folder.join("ringpost.yml");
    let errors = std::fs::File::create(folder.join("stderr")).unwrap();
    // Another build, such as a release build for runs that are long.
    let program = std::env::var_os("RINGPOST_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_ringpost").into());
    let mut command = Command::new(program);
    command.arg("run").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    // SAFETY: prctl is safe to call between fork and exec. The connector must not outlive a killed test.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        })
    };
    change(&mut command);
    let child = command.spawn().expect("the binary is built by cargo");
    Process { child, port, folder, ended: None }
}

/// A new folder for one test, where `cargo clean` finds it: what a test leaves does not fill the machine's `/tmp`.
pub fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Numbers of processes come again.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A running connector.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub port: u16,
    pub folder: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Where XDR connects.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn wait_listening(&mut self) {
        let started = Instant::now();
        while !self.log().contains("is listening on") {
            if self.has_ended() || started.elapsed() > LONG {
                panic!("the connector does not listen: {:?} {}{}", self.ended, self.log(), self.errors());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All log lines up to now.
    pub fn log(&self) -> String {
        std::fs::read(self.folder.join("ringpost.log"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// Standard error up to now.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    /// Waits for a log line that contains `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str, limit: Duration) -> Duration {
        let started = Instant::now();
        while !self.log().contains(text) {
            assert!(started.elapsed() < limit, "no line with {text:?} within {limit:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        started.elapsed()
    }

    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_some()
    }

    pub fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            // SAFETY: kill takes two numbers; the child has not been reaped, so the number is still its own.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }

    /// Waits for the end; its exit code, and how long it took.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> (Option<i32>, Duration) {
        let started = Instant::now();
        while !self.has_ended() {
            assert!(started.elapsed() < limit, "the connector has not ended within {limit:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        (self.ended.unwrap().code(), started.elapsed())
    }

    /// SIGTERM, and an orderly end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(libc::SIGTERM);
        let (code, _) = self.wait_end(LONG);
        assert_eq!(code, Some(0), "{}{}", self.log(), self.errors());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmHWM`.
    pub fn memory_kib(&self, key: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Bytes of XDR connections that the kernel has and the connector has not read.
    pub fn unread_bytes(&self) -> u64 {
        let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let local = format!(":{:04X}", self.port);
        let of_line = |line: &str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let ours = columns.get(1).is_some_and(|address| address.ends_with(&local)) && columns.get(3) == Some(&"01");
            ours.then(|| u64::from_str_radix(columns[4].split_once(':').unwrap().1, 16).unwrap())
        };
        text.lines().skip(1).filter_map(of_line).sum()
    }

    /// Waits until the connector has read, and had time to take in, what clients have sent.
    #[track_caller]
    pub fn wait_read(&self) {
        let mut quiet = 0;
        wait_until("everything sent is read", LONG, || {
            quiet = if self.unread_bytes() == 0 { quiet + 1 } else { 0 };
            quiet == 4
        });
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map(|entries| entries.count()).unwrap_or(0)
    }

    /// CPU time used since the start.
    pub fn cpu(&self) -> Duration {
        ringpost_load::report::process_cpu(self.child.id()).unwrap_or_default()
    }

    /// Log lines above information.
    pub fn complaints(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4000);
            eprintln!("--- {} (end):\n{}", self.folder.display(), String::from_utf8_lossy(&log.as_bytes()[from..]));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A sink on any free port.
pub fn sink(behaviour: Behaviour) -> SinkHandle {
    sink_with(SinkConfig { behaviour, ..SinkConfig::default() })
}

/// A sink. Its port is outside of the range of outgoing connections: it may go down and has to come up on it again.
pub fn sink_with(config: SinkConfig) -> SinkHandle {
    for _ in 0..20 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        if let Ok(sink) = Sink::spawn(SinkConfig { address, ..config.clone() }) {
            return sink;
        }
    }
    panic!("no sink");
}

/// A source of `records` records over `connections` connections.
pub fn source(to: SocketAddr, connections: usize, records: u64) -> SourceConfig {
    SourceConfig { connections, records: Some(records), drain: LONG, ..SourceConfig::to(to) }
}

/// A connection by hand.
#[track_caller]
pub fn client(to: SocketAddr) -> Client {
    Client::connect(to, LONG).expect("the connector accepts")
}

/// Frames `first` to `first + count` of an ordinary run.
pub fn frames(first: u64, count: u64) -> Vec<u8> {
    let generator = Generator::new(&RecordSpec::default()).unwrap();
    (first..first + count).flat_map(|sequence| generator.frame(sequence)).collect()
}

/// Sends one record and gives its ack.
#[track_caller]
pub fn one_record(to: SocketAddr, sequence: u64) -> u8 {
    let mut client = client(to);
    client.send_frame(&frames(sequence, 1)).unwrap();
    client.read_ack().unwrap()
}

/// Acks until all of `count` are there.
#[track_caller]
pub fn acks(client: &mut Client, count: usize) -> Vec<u8> {
    (0..count).map(|at| client.read_ack().unwrap_or_else(|error| panic!("ack {at} of {count}: {error}"))).collect()
}

/// A TCP port that accepts (by its backlog) and never says a word.
pub fn silent_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection without a byte.
pub fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&to, LONG).expect("the connector accepts")
}
