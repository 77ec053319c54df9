//! Names of endpoints, looked up by a thread of their own: a look-up can take seconds, and an executor must not wait.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::model::{Config, Url};

/// Names are looked up again this often.
const INTERVAL: Duration = Duration::from_secs(30);

/// And this often while one cannot be resolved.
const RETRY: Duration = Duration::from_secs(2);

/// Addresses of one name that are tried.
const TRIED: usize = 4;

/// What the last look-up of each endpoint gave, best first. Read when a connection is opened, not for a record.
#[derive(Debug)]
pub struct Addresses(Vec<RwLock<Found>>);

/// Addresses of a name, at least one, or why there are none.
type Found = Result<Arc<[SocketAddr]>, String>;

impl Addresses {
    /// The addresses of the endpoint, or why there are none.
    pub fn get(&self, endpoint: usize) -> Found {
        let entry = self.0.get(endpoint).ok_or_else(|| "no such endpoint".to_owned())?;
        entry.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set(&self, endpoint: usize, found: Found) {
        if let Some(entry) = self.0.get(endpoint) {
            *entry.write().unwrap_or_else(std::sync::PoisonError::into_inner) = found;
        }
    }
}

/// The thread that looks names up.
#[derive(Debug)]
pub struct Resolver {
    addresses: Arc<Addresses>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Looks every name up once, then goes on in the background.
    pub fn start(config: &Config) -> std::io::Result<Resolver> {
        let urls: Vec<Url> = config.destinations.iter().flat_map(|destination| destination.urls.clone()).collect();
        let addresses =
            Arc::new(Addresses(urls.iter().map(|_| RwLock::new(Err("not looked up yet".to_owned()))).collect()));
        let mut failed = look_up(&urls, &addresses);
        let (stop, stopped) = channel();
        let table = Arc::clone(&addresses);
        let names = urls.iter().any(|url| url.host.parse::<std::net::IpAddr>().is_err());
        let thread = if names {
            let thread = std::thread::Builder::new().name("ringpost-names".to_owned()).spawn(move || {
                loop {
                    let pause = if failed { RETRY } else { INTERVAL };
                    match stopped.recv_timeout(pause) {
                        Err(RecvTimeoutError::Timeout) => failed = look_up(&urls, &table),
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            })?;
            Some(thread)
        } else {
            None
        };
        Ok(Resolver { addresses, stop: Some(stop), thread })
    }

    /// The table that executors read.
    pub fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread is not joined: it may be inside a look-up that takes its time, and it holds nothing.
        drop(self.thread.take());
    }
}

/// Whether a name could not be resolved. A name that could be before keeps its address.
fn look_up(urls: &[Url], addresses: &Addresses) -> bool {
    let mut failed = false;
    for (endpoint, url) in urls.iter().enumerate() {
        let before = addresses.get(endpoint);
        let found = (url.host.as_str(), url.port).to_socket_addrs().map_err(|error| error.to_string());
        let found = found.map(|all| all.take(TRIED).collect::<Arc<[SocketAddr]>>());
        match found.and_then(|all| if all.is_empty() { Err("it has no address".to_owned()) } else { Ok(all) }) {
            Ok(all) => {
                if before.as_ref() != Ok(&all) {
                    tracing::debug!(target: "server", "{url}: {} is {all:?}", url.host);
                }
                addresses.set(endpoint, Ok(all));
            }
            Err(why) => {
                failed = true;
                let why = format!("the name {} cannot be resolved: {why}", url.host);
                if before.as_ref().err() != Some(&why) {
                    tracing::warn!(target: "server", "{url}: {why}; it is tried again");
                }
                if before.is_err() {
                    addresses.set(endpoint, Err(why));
                }
            }
        }
    }
    failed
}
