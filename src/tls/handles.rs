//! What connections share: the current TLS settings of the service and of each destination, replaced when files change.

use std::sync::Arc;

use super::certificate::Certificate;
use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

/// When the own certificate ends, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(pub u64);

impl Expiry {
    /// Of a certificate.
    pub fn of(certificate: &Certificate) -> Expiry {
        Expiry(u64::try_from(certificate.not_after).unwrap_or(0))
    }

    /// Whole days from `now` (seconds since 1970); negative when it is over.
    pub fn days_left(self, now: u64) -> i64 {
        let seconds = i128::from(self.0) - i128::from(now);
        i64::try_from(seconds.div_euclid(86_400)).unwrap_or(i64::MAX)
    }
}

#[derive(Debug)]
struct Current<T> {
    config: Arc<T>,
    expiry: Option<Expiry>,
}

/// TLS towards one destination. Connections that are open keep the settings that they were opened with.
#[derive(Debug)]
pub struct ClientTls {
    name: String,
    server_name: Option<ServerName<'static>>,
    current: ArcSwap<Current<ClientConfig>>,
}

impl ClientTls {
    /// For the destination `name`. `server_name`: what the certificate has to be for, in place of the URL's host;
    /// `expiry`: of the client's own certificate, if there is one.
    pub fn new(
        name: String,
        server_name: Option<ServerName<'static>>,
        config: Arc<ClientConfig>,
        expiry: Option<Expiry>,
    ) -> ClientTls {
        ClientTls { name, server_name, current: ArcSwap::from_pointee(Current { config, expiry }) }
    }

    /// The destination's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The current settings; asked for once per connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The name that the server's certificate has to have, for a URL with this host.
    ///
    /// # Errors
    /// When the host cannot stand in a certificate; the configuration refuses such URLs.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => server_name(host),
        }
    }

    /// When the client's own certificate ends.
    pub fn expiry(&self) -> Option<Expiry> {
        self.current.load().expiry
    }

    /// Settings for connections that are opened from now on.
    pub fn replace(&self, config: Arc<ClientConfig>, expiry: Option<Expiry>) {
        self.current.store(Arc::new(Current { config, expiry }));
    }
}

/// A host as a certificate names it: in small letters, without the dot that may stand at its end.
///
/// # Errors
/// When no certificate can have it, as the end of a sentence that begins with the host.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_ascii_lowercase())
        .map_err(|_| "is no name that a certificate can have; write a host name or an IP address".to_owned())
}

/// TLS of ports that are listened on. Connections that are open keep the settings that they were opened with.
#[derive(Debug)]
pub struct ServerTls {
    name: String,
    current: ArcSwap<Current<ServerConfig>>,
}

impl ServerTls {
    /// `name`: what log lines call it, such as `service.tls`; `expiry`: of the server's certificate.
    pub fn new(name: String, config: Arc<ServerConfig>, expiry: Option<Expiry>) -> ServerTls {
        ServerTls { name, current: ArcSwap::from_pointee(Current { config, expiry }) }
    }

    /// What log lines call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The current settings; asked for once per connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// When the server's certificate ends.
    pub fn expiry(&self) -> Option<Expiry> {
        self.current.load().expiry
    }

    /// Settings for connections that are accepted from now on.
    pub fn replace(&self, config: Arc<ServerConfig>, expiry: Option<Expiry>) {
        self.current.store(Arc::new(Current { config, expiry }));
    }
}

/// All handles of one process.
#[derive(Debug, Clone, Default)]
pub struct Materials {
    /// Of `service.tls`, if there is one.
    pub service: Option<Arc<ServerTls>>,
    /// Of `service.manage.tls`, if there is one.
    pub manage: Option<Arc<ServerTls>>,
    /// By index of the destination; there for each that has an `https` URL.
    pub destinations: Vec<Option<Arc<ClientTls>>>,
}
