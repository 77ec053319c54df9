//! Starting and ending real servers. Each has a folder and a port of its own on loopback, ends when it is dropped, and
//! gets a SIGTERM from the kernel should the test be killed.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringpost_load::report::EarlyAcks;
use ringpost_load::sink::{Behaviour, SinkHandle};
use ringpost_load::source::{AckWatch, SourceLedger};

use crate::books::{Counts, Tail};
use crate::support::{LONG, folder, free_port, sink};

/// How the connector talks to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    pub http2: bool,
    pub tls: bool,
}

/// HTTP/1.1 in clear text.
pub const HTTP1: Wire = Wire { http2: false, tls: false };
/// HTTP/2 in clear text, by prior knowledge.
pub const HTTP2: Wire = Wire { http2: true, tls: false };
/// HTTP/1.1 over TLS.
pub const HTTP1_TLS: Wire = Wire { http2: false, tls: true };
/// HTTP/2 over TLS.
pub const HTTP2_TLS: Wire = Wire { http2: true, tls: true };
impl Wire {
    /// `protocol` of the configuration.
    pub fn protocol(self) -> &'static str {
        if self.http2 { "HTTP_2" } else { "HTTP_1_1" }
    }

    pub fn name(self) -> &'static str {
        match (self.http2, self.tls) {
            (false, false) => "HTTP/1.1",
            (true, false) => "HTTP/2",
            (false, true) => "HTTP/1.1, TLS",
            (true, true) => "HTTP/2, TLS",
        }
    }
}

/// A server, with what is set differently from its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx in front of the sink of `bench/load`.
    Nginx {
        keepalive_requests: u32,
    },
    /// The same with a `keepalive_timeout` of 20 ms.
    NginxIdle,
    /// nginx that answers by itself.
    NginxAlone,
    /// HAProxy in front of the sink of `bench/load`.
    Haproxy,
    Nghttpd,
    Node,
    Go,
    Hypercorn,
}

impl Kind {
    pub fn name(self) -> String {
        match self {
            Kind::Nginx { keepalive_requests } => format!("nginx, keepalive_requests {keepalive_requests}"),
            Kind::NginxIdle => "nginx, keepalive_timeout 20ms".to_owned(),
            Kind::NginxAlone => "nginx, return 200".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

/// Where a server's books are.
enum Truth {
    /// Behind a proxy.
    Sink(SinkHandle, Arc<EarlyAcks>),
    /// Written by our own servers before they answer.
    Lines(Arc<Tail>),
    /// Written by nginx after it has answered.
    AccessLog(PathBuf),
    /// Printed by nghttpd.
    Printed(Option<JoinHandle<Counts>>),
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    command: Command,
    child: Child,
    truth: Truth,
    folder: PathBuf,
    reload: i32,
}

/// What `scripts/test-peers` has made: certificates, the Go program, a virtual environment.
pub fn made() -> PathBuf {
    std::env::var_os("RINGPOST_PEERS").map(PathBuf::from).expect("RINGPOST_PEERS: scripts/test-peers sets it")
}

fn here(file: &str) -> String {
    format!("{}/tests/peers/{file}", env!("CARGO_MANIFEST_DIR"))
}

impl Server {
    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(kind: Kind, wire: Wire) -> Server {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = folder();
        let (mut command, mut truth) = match kind {
            Kind::Nginx { .. } | Kind::NginxIdle | Kind::NginxAlone => nginx(kind, wire, address, &folder),
            Kind::Haproxy => haproxy(wire, address, &folder),
            Kind::Nghttpd => nghttpd(wire, address, &folder),
            Kind::Node | Kind::Go | Kind::Hypercorn => own(kind, wire, address, &folder),
        };
        let errors = std::fs::File::create(folder.join("stderr")).unwrap();
        let output = if matches!(truth, Truth::Printed(_)) { Stdio::piped() } else { Stdio::null() };
        command.current_dir(&folder).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        // SAFETY: prctl is safe to call between fork and exec. Masters end their workers when they are told to.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            })
        };
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if let (Truth::Printed(reader), Some(output)) = (&mut truth, child.stdout.take()) {
            *reader = Some(std::thread::spawn(move || Counts::read_nghttpd(output)));
        }
        let reload = if kind == Kind::Haproxy { libc::SIGUSR2 } else { libc::SIGHUP };
        let mut server = Server { address, command, child, truth, folder, reload };
        server.wait_listening();
        server
    }

    #[track_caller]
    fn wait_listening(&mut self) {
        let started = Instant::now();
        while TcpStream::connect_timeout(&self.address, LONG).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && started.elapsed() < LONG, "no server: {ended:?}\n{}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote to standard error, and nginx's log.
    pub fn errors(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        read("stderr") + &read("error.log")
    }

    /// Compares acks with the books as they come in, where the books are early enough for that.
    pub fn watch(&self) -> Option<Arc<dyn AckWatch>> {
        match &self.truth {
            Truth::Sink(_, early) => Some(Arc::clone(early) as Arc<dyn AckWatch>),
            Truth::Lines(tail) => Some(Arc::clone(tail) as Arc<dyn AckWatch>),
            Truth::AccessLog(_) | Truth::Printed(_) => None,
        }
    }

    /// New configuration, new workers, as an operator does it: nginx -s reload, or SIGUSR2 to HAProxy's master.
    pub fn reload(&self) {
        self.signal(self.reload);
    }

    /// Kills it in the middle of everything, and starts it again.
    #[track_caller]
    pub fn crash(&mut self) {
        self.kill();
        self.child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        self.wait_listening();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: kill takes two numbers; the child is not reaped before it is dropped.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Ends it and gives its books: how often it answered each record of `ledger` with success.
    #[track_caller]
    pub fn finish(mut self, ledger: &SourceLedger) -> Counts {
        self.end();
        match &mut self.truth {
            Truth::Sink(sink, early) => {
                early.check().unwrap_or_else(|broken| panic!("{broken}"));
                let stats = sink.ledger().stats();
                assert_eq!((stats.corrupt, stats.unidentified), (0, 0), "bodies and digests arrive intact");
                let mut counts = Counts::default();
                let books = sink.ledger().snapshot();
                ledger.iter().for_each(|(identity, _)| counts.set(identity, books.entry(identity).succeeded.into()));
                counts
            }
            Truth::Lines(tail) => {
                assert_eq!(tail.early(), 0, "acks of 0 before the server had the record");
                tail.look(std::mem::take)
            }
            Truth::AccessLog(path) => Counts::read_access_log(path),
            Truth::Printed(reader) => reader.take().map(|reader| reader.join().unwrap()).unwrap_or_default(),
        }
    }

    /// SIGTERM, a wait, SIGKILL to all that is left.
    fn end(&mut self) {
        self.signal(libc::SIGTERM);
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    fn kill(&mut self) {
        // SAFETY: kill takes two numbers; the group was made for this child alone.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let errors = self.errors();
            eprintln!("--- server (end):\n{}", &errors[errors.len().saturating_sub(4000)..]);
        }
        self.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The sink behind a proxy.
fn upstream() -> (SocketAddr, Truth) {
    let sink = sink(Behaviour::default());
    let early = EarlyAcks::new(vec![sink.ledger()]);
    (sink.addr(), Truth::Sink(sink, early))
}

fn nginx(kind: Kind, wire: Wire, address: SocketAddr, folder: &Path) -> (Command, Truth) {
    let certificates = made();
    let access_log = folder.join("access.log");
    let (location, more, truth) = if kind == Kind::NginxAlone {
        let format = "log_format books \"$request_method $status $http_aerospike_digest\";".to_owned();
        let location = format!("return 200; access_log {} books;", access_log.display());
        (location, format, Truth::AccessLog(access_log))
    } else {
        let (sink, truth) = upstream();
        let location =
            "proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection \"\"; access_log off;";
        (location.to_owned(), format!("upstream sink {{ server {sink}; keepalive 64; }}"), truth)
    };
    let keep_alive = match kind {
        Kind::Nginx { keepalive_requests } => format!("keepalive_requests {keepalive_requests}"),
        Kind::NginxIdle => "keepalive_timeout 20ms".to_owned(),
        _ => "keepalive_requests 1000".to_owned(),
    };
    let (tls, http2) = (if wire.tls { " ssl" } else { "" }, if wire.http2 { " http2" } else { "" });
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {}/{name};\n", folder.display()))
        .concat();
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log warn;\n{user}\
         events {{ worker_connections 4096; }}\n\
         http {{\n{folders}  {more}\n  {keep_alive};\n  client_max_body_size 8m;\n  server {{\n    listen {address}{tls}{http2};\n\
         {certificate}    location / {{ {location} }}\n  }}\n}}\n",
        folder = folder.display(),
        user = if is_root() { "user root;\n" } else { "" },
        certificate = if wire.tls {
            let made = certificates.display();
            format!("    ssl_certificate {made}/server.pem;\n    ssl_certificate_key {made}/server.key;\n")
        } else {
            String::new()
        },
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(file);
    (command, truth)
}

/// Whether nginx would give up its rights, and with them those on the test's folder.
fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn haproxy(wire: Wire, address: SocketAddr, folder: &Path) -> (Command, Truth) {
    let (sink, truth) = upstream();
    let how = match (wire.http2, wire.tls) {
        (false, false) => String::new(),
        (true, false) => " proto h2".to_owned(),
        (http2, true) => {
            let offer = if http2 { "h2" } else { "http/1.1" };
            format!(" ssl crt {}/server.both alpn {offer}", made().display())
        }
    };
    let text = format!(
        "global\n  maxconn 4096\n  nbthread 1\n  hard-stop-after 5s\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend front\n  bind {address}{how}\n  default_backend back\n\
         backend back\n  server sink {sink}\n"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-W").arg("-q").arg("-f").arg(file);
    (command, truth)
}

fn nghttpd(wire: Wire, address: SocketAddr, folder: &Path) -> (Command, Truth) {
    assert!(wire.http2, "nghttpd speaks HTTP/2 only");
    // It answers a POST with 200 when the path is a file.
    std::fs::create_dir(folder.join("files")).unwrap();
    std::fs::write(folder.join("files/records"), "ok").unwrap();
    let mut command = Command::new("nghttpd");
    command.args(["--verbose", "-a", "127.0.0.1", "-d", "files"]);
    if wire.tls {
        command.arg(address.port().to_string()).arg(made().join("server.key")).arg(made().join("server.pem"));
    } else {
        command.args(["--no-tls", &address.port().to_string()]);
    }
    (command, Truth::Printed(None))
}

/// The servers that are written for these tests on the HTTP libraries of Node, Go and Python.
fn own(kind: Kind, wire: Wire, address: SocketAddr, folder: &Path) -> (Command, Truth) {
    let log = folder.join("books");
    let truth = Truth::Lines(Tail::new(&log));
    let (port, made) = (address.port().to_string(), made());
    let pair = [made.join("server.pem"), made.join("server.key")];
    let mut command = match kind {
        Kind::Node => {
            let protocol = if wire.http2 { "http2" } else { "http1" };
            let mut command = Command::new("node");
            command.args([here("node.js").as_str(), protocol, "127.0.0.1", &port]).arg(log);
            command
        }
        Kind::Go => {
            let mut command = Command::new(made.join("go-server"));
            command.arg(address.to_string()).arg(log);
            command
        }
        _ => {
            let mut command = Command::new(made.join("venv/bin/hypercorn"));
            command.args(["--bind", &address.to_string(), "app:app"]);
            command.env("RINGPOST_PEER_LOG", log).env("PYTHONPATH", here("")).env("PYTHONDONTWRITEBYTECODE", "1");
            if wire.tls {
                command.arg("--certfile").arg(&pair[0]).arg("--keyfile").arg(&pair[1]);
            }
            return (command, truth);
        }
    };
    if wire.tls {
        command.args(pair);
    }
    (command, truth)
}
