//! Certificates and keys on disk: read at start, and watched, so that new ones are taken without a restart.
//!
//! One thread looks at the files every few seconds. Settings are made of one reading of all of their files, and only once
//! these have been left alone for a turn: a half-written pair keeps the one before, and the log says so once. Open
//! connections are not touched. The dates of own certificates are logged at start, and then once a day.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::config::model::{Config, DestinationTls, Protocol, Scheme, ServiceTls};
use crate::config::{self, named_file};
use crate::tls::certificate::{Certificate, Urgency, show_time};
use crate::tls::settings::{self, Authorities, Built, Outside};
use crate::tls::{ClientTls, Expiry, Materials, ServerTls};

/// How often the thread does what.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Dates and sizes of files are looked at.
    poll: Duration,
    /// Files are read although they look the same: some tools keep dates and sizes.
    read: Duration,
    /// Dates of certificates are logged.
    report: Duration,
}

const PACE: Pace =
    Pace { poll: Duration::from_secs(3), read: Duration::from_secs(60), report: Duration::from_secs(86_400) };

/// How long the end of the process waits for the thread: a file on a server that went away can hold it for good.
const END_WAIT: Duration = Duration::from_secs(1);

/// The handles of all TLS settings, and the thread that replaces what they hold.
#[derive(Debug)]
pub struct Certificates {
    materials: Materials,
    watched: Vec<Watched>,
    system: System,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    stop: Option<Sender<()>>,
    /// Its other end is dropped when the thread ends.
    running: Receiver<()>,
}

impl Certificates {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// What is wrong with which file, and what to do. `check` finds the same, with the line of the configuration.
    pub fn load(config: &Config) -> Result<Certificates, String> {
        let mut certificates = Certificates {
            materials: Materials::default(),
            watched: Vec::new(),
            system: System::default(),
            thread: None,
        };
        certificates.materials.service = certificates.server("service.tls", config.service.tls.as_ref())?;
        let manage = config.service.manage.as_ref().and_then(|manage| manage.tls.as_ref());
        certificates.materials.manage = certificates.server("service.manage.tls", manage)?;
        for destination in &config.destinations {
            let has_https = destination.urls.iter().any(|url| url.scheme == Scheme::Https);
            let tls = destination.tls.clone().unwrap_or_default();
            let name = tls.server_name.as_deref().map(crate::tls::server_name).transpose();
            let of = Of::Destination(destination.name.clone(), tls, destination.protocol);
            let name = name.map_err(|why| format!("{of}: server-name {why}"))?;
            let handle = match has_https.then(|| first(&of, &certificates.system)).transpose()? {
                Some((files, Made::Client(built))) => {
                    let (expiry, own) = (built.expiry(), built.own.clone());
                    let handle = Arc::new(ClientTls::new(destination.name.clone(), name, built.config, expiry));
                    certificates.watched.push(Watched::new(of, Handle::Client(Arc::clone(&handle)), files, own));
                    Some(handle)
                }
                _ => None,
            };
            certificates.materials.destinations.push(handle);
        }
        Ok(certificates)
    }

    /// Of ports that are listened on, which log lines call `section`.
    fn server(&mut self, section: &'static str, tls: Option<&ServiceTls>) -> Result<Option<Arc<ServerTls>>, String> {
        let Some(tls) = tls else { return Ok(None) };
        let of = Of::Server(section, tls.clone());
        let (files, Made::Server(built)) = first(&of, &self.system)? else { return Ok(None) };
        let (expiry, own) = (built.expiry(), built.own.clone());
        let handle = Arc::new(ServerTls::new(section.to_owned(), built.config, expiry));
        self.watched.push(Watched::new(of, Handle::Server(Arc::clone(&handle)), files, own));
        Ok(Some(handle))
    }

    /// The handles, for the executors and the manage port.
    pub fn materials(&self) -> &Materials {
        &self.materials
    }

    /// Logs the dates of certificates, and starts the thread if there is a file to watch.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn watch(self) -> io::Result<Certificates> {
        self.watch_at(PACE)
    }

    fn watch_at(mut self, pace: Pace) -> io::Result<Certificates> {
        let mut watched = std::mem::take(&mut self.watched);
        watched.retain(|watched| !watched.files.is_empty());
        if watched.is_empty() {
            return Ok(self);
        }
        watched.iter().for_each(Watched::report);
        let (stop, stopped) = channel();
        let (end, running) = channel();
        let system = std::mem::take(&mut self.system);
        std::thread::Builder::new().name("ringpost-certs".to_owned()).spawn(move || {
            let _end = end;
            serve(&mut watched, &system, pace, &stopped);
        })?;
        self.thread = Some(Thread { stop: Some(stop), running });
        Ok(self)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let Some(thread) = &mut self.thread else { return };
        drop(thread.stop.take());
        if thread.running.recv_timeout(END_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(target: "server", "a certificate's file stands still while it is read, and is left as it is");
        }
    }
}

fn serve(watched: &mut [Watched], system: &System, pace: Pace, stopped: &Receiver<()>) {
    let mut read = Instant::now();
    let mut reported = Instant::now();
    while stopped.recv_timeout(pace.poll) == Err(RecvTimeoutError::Timeout) {
        let reads = read.elapsed() >= pace.read;
        if reads {
            read = Instant::now();
        }
        for watched in watched.iter_mut() {
            watched.look(system, reads);
        }
        if reported.elapsed() >= pace.report {
            reported = Instant::now();
            watched.iter().for_each(Watched::report);
        }
    }
}

/// The system's authorities, read at most once.
#[derive(Debug, Default)]
struct System(OnceCell<Result<Arc<Authorities>, String>>);

impl System {
    fn get(&self) -> Result<Arc<Authorities>, String> {
        self.0.get_or_init(config::system_authorities).clone()
    }
}

/// What settings are made of.
#[derive(Debug)]
enum Of {
    Server(&'static str, ServiceTls),
    Destination(String, DestinationTls, Protocol),
}

/// As log lines call it.
impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Of::Server(section, _) => f.write_str(section),
            Of::Destination(name, ..) => write!(f, "destination {name}"),
        }
    }
}

enum Made {
    Server(Built<rustls::ServerConfig>),
    Client(Built<rustls::ClientConfig>),
}

impl Made {
    fn own(&self) -> Option<&Certificate> {
        match self {
            Made::Server(built) => built.own.as_ref(),
            Made::Client(built) => built.own.as_ref(),
        }
    }

    fn remarks(&self) -> &[settings::Fault] {
        match self {
            Made::Server(built) => &built.remarks,
            Made::Client(built) => &built.remarks,
        }
    }
}

impl Of {
    fn files(&self) -> Vec<PathBuf> {
        match self {
            // Without mutual TLS the trust store is not read.
            Of::Server(_, tls) => {
                let trust = tls.trust.as_ref().filter(|_| !tls.allowed_peer_names.is_empty());
                settings::files_of(Some(&tls.key), trust)
            }
            Of::Destination(_, tls, _) => settings::files_of(tls.key.as_ref(), tls.trust.as_ref()),
        }
    }

    /// Settings of what `read` holds; the faults in one line if that cannot be used.
    fn make(&self, read: &Reading, system: &System) -> Result<Made, String> {
        let file = |path: &Path, most: u64| match read.files.get(path) {
            Some(Ok(bytes)) if bytes.len() as u64 <= most => Ok(bytes.clone()),
            Some(Err(why)) => Err(why.clone()),
            _ => Err("it is too large; write a smaller one".to_owned()),
        };
        let show = |path: &Path| config::show_path(path);
        let system = || system.get();
        let outside = Outside { file: &file, show: &show, system: &system };
        let made = match self {
            Of::Server(_, tls) => settings::server(tls, outside).map(Made::Server),
            Of::Destination(_, tls, protocol) => settings::client(tls, *protocol, outside).map(Made::Client),
        };
        made.map_err(|faults| faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; also, "))
    }
}

/// All files of one `tls` section, read one after another.
struct Reading {
    files: HashMap<PathBuf, Result<Vec<u8>, String>>,
    /// Of all that is in them.
    fingerprint: u64,
}

impl Reading {
    fn of(files: &[PathBuf]) -> Reading {
        let mut fingerprint = DefaultHasher::new();
        let mut read = HashMap::new();
        for path in files {
            let bytes = named_file(path, crate::tls::material::MAX_STORE_BYTES);
            bytes.hash(&mut fingerprint);
            read.insert(path.clone(), bytes);
        }
        Reading { files: read, fingerprint: fingerprint.finish() }
    }
}

/// What a file looks like from outside: device, inode, size, time of its last change.
type Look = Option<(u64, u64, u64, i64, i64)>;

fn looks(files: &[PathBuf]) -> Vec<Look> {
    let look = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
    };
    files.iter().map(look).collect()
}

/// Looks and fingerprint, from before and of the first reading.
struct First {
    files: Vec<PathBuf>,
    looks: Vec<Look>,
    fingerprint: u64,
}

fn first(of: &Of, system: &System) -> Result<(First, Made), String> {
    let files = of.files();
    let looks = looks(&files);
    let reading = Reading::of(&files);
    let made = of.make(&reading, system).map_err(|why| format!("{of}: {why}"))?;
    Ok((First { files, looks, fingerprint: reading.fingerprint }, made))
}

#[derive(Debug)]
enum Handle {
    Server(Arc<ServerTls>),
    Client(Arc<ClientTls>),
}

impl Handle {
    fn replace(&self, made: Made) {
        match (self, made) {
            (Handle::Server(handle), Made::Server(built)) => {
                let expiry = built.expiry();
                handle.replace(built.config, expiry);
            }
            (Handle::Client(handle), Made::Client(built)) => {
                let expiry = built.expiry();
                handle.replace(built.config, expiry);
            }
            // One is made of the other's section.
            (Handle::Server(_), Made::Client(_)) | (Handle::Client(_), Made::Server(_)) => {}
        }
    }
}

/// One `tls` section with its files.
#[derive(Debug)]
struct Watched {
    of: Of,
    handle: Handle,
    files: Vec<PathBuf>,
    looks: Vec<Look>,
    /// The files have changed, and were not read since.
    unread: bool,
    /// Of the reading that is in use.
    used: u64,
    /// Of the reading that was refused last.
    refused: Option<u64>,
    /// The own certificate that is in use.
    own: Option<Certificate>,
}

impl Watched {
    fn new(of: Of, handle: Handle, first: First, own: Option<Certificate>) -> Watched {
        let First { files, looks, fingerprint } = first;
        Watched { of, handle, files, looks, unread: false, used: fingerprint, refused: None, own }
    }

    /// Looks at the files; reads them when they were changed before the last look and not since, or when `reads`.
    fn look(&mut self, system: &System, reads: bool) {
        let looks = looks(&self.files);
        if looks != self.looks {
            // Whoever writes may not have finished.
            self.looks = looks;
            self.unread = true;
            return;
        }
        if !self.unread && !reads {
            return;
        }
        let reading = Reading::of(&self.files);
        if self::looks(&self.files) != self.looks {
            return;
        }
        self.unread = false;
        self.take(&reading, system, config::unix_time());
    }

    fn take(&mut self, reading: &Reading, system: &System, now: u64) {
        if reading.fingerprint == self.used {
            if self.refused.take().is_some() {
                tracing::info!(target: "server", "{}: the files of its TLS are again those that are in use", self.of);
            }
            return;
        }
        let is_known = self.refused == Some(reading.fingerprint);
        let made = match self.of.make(reading, system) {
            Ok(made) => made,
            Err(_) if is_known => return,
            Err(why) => return self.refuse(reading, &why),
        };
        let valid = |own: Option<&Certificate>| own.is_none_or(|own| own.is_valid_at(now));
        if !valid(made.own()) && valid(self.own.as_ref()) {
            if !is_known {
                let why = made.own().and_then(|own| own.remark(now)).map(|(_, why)| why).unwrap_or_default();
                self.refuse(reading, &why);
            }
            return;
        }
        self.refused = None;
        self.used = reading.fingerprint;
        self.own = made.own().cloned();
        for remark in made.remarks() {
            tracing::warn!(target: "server", "{}: {}", self.of, remark.message);
        }
        self.handle.replace(made);
        tracing::info!(target: "server", "{}: the files of its TLS have changed; new connections use them", self.of);
        self.report();
    }

    fn refuse(&mut self, reading: &Reading, why: &str) {
        self.refused = Some(reading.fingerprint);
        tracing::error!(target: "server",
            "{}: the files of its TLS have changed and are not used: {why}; what was there before stays in use, and they are read again when they change", self.of);
    }

    /// Logs until when the own certificate holds.
    fn report(&self) {
        let Some(own) = &self.own else { return };
        let now = config::unix_time();
        match own.remark(now) {
            None => {
                let days = Expiry::of(own).days_left(now);
                tracing::info!(target: "server",
                    "{}: the certificate ({}) expires in {days} days, at {}", self.of, own.subject, show_time(own.not_after));
            }
            Some((Urgency::Warning, text)) => tracing::warn!(target: "server", "{}: {text}", self.of),
            Some((Urgency::Error, text)) => tracing::error!(target: "server", "{}: {text}", self.of),
        }
    }
}

#[cfg(test)]
mod tests;
