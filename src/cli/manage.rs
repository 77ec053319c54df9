//! Which manage port a command asks, from its arguments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{self, model};
use crate::io::manage_client::{Client, ClientError};

/// Where a manage port is unless it is said.
const URL: &str = "http://127.0.0.1:8902";

/// Arguments of commands that ask a connector that runs.
#[derive(Debug, Clone, Args)]
pub struct ManageArgs {
    /// The connector's manage port.
    #[arg(long, value_name = "URL", default_value = URL)]
    pub url: String,
    /// Take port, address and token from `service.manage` of this configuration file.
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "url")]
    pub file: Option<PathBuf>,
    /// File whose first line is the token of `service.manage.token-file`; not needed on the connector's own machine.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the authorities that the certificate of an https URL may come from; the system's unless set.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl ManageArgs {
    /// The client that asks it.
    ///
    /// # Errors
    /// What is wrong with an argument or a file, and what to do: exit code 2.
    pub fn client(&self) -> Result<Client, String> {
        let token = self.token_file.as_deref().map(config::token_of_file).transpose();
        let token = token.map_err(|why| format!("--token-file {why}"))?;
        let (url, token) = match &self.file {
            None => (self.url.clone(), token),
            Some(file) => {
                let manage = manage_of(file)?;
                let url = manage
                    .addresses
                    .first()
                    .zip(manage.ports.first())
                    .map(|(address, port)| url(*address, *port, manage.tls.is_some()));
                (url.unwrap_or_else(|| URL.to_owned()), token.or(manage.token))
            }
        };
        Client::new(&url, token.as_ref(), self.ca.as_deref()).map_err(|why| match &self.file {
            Some(file) => format!("{}: {why}", file.display()),
            None => format!("--url {why}"),
        })
    }
}

/// A command that asks, as messages call it.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Its name.
    pub command: &'static str,
    /// What it shows, such as `records`.
    pub shows: &'static str,
    /// What another server has not, such as `no taps`.
    pub missing: &'static str,
}

impl Asking {
    /// What an answer means that is no success, and what to do.
    pub fn refusal(self, url: &str, status: u16) -> String {
        let Asking { command, shows, missing } = self;
        match status {
            401 => format!(
                "{url} wants the token of its service.manage.token-file, or another one than it got (status 401). Give that file with --token-file, or the configuration with -f; without any token it answers on its own machine."
            ),
            403 => format!(
                "{url} shows {shows} on its own machine only (status 403). Run ringpost {command} there with --url http://127.0.0.1:PORT, or set service.manage.token-file and give that file with --token-file."
            ),
            404 => format!(
                "{url} has {missing} (status 404). Is this the service.manage port of a Ringpost, of this version?"
            ),
            _ => format!("{url} answers with status {status}. Is this the service.manage port of a Ringpost?"),
        }
    }
}

/// Why there is no answer, and what to do. Not cleaned.
pub fn unanswered(error: &ClientError) -> String {
    format!(
        "{error}. Is the connector running, with service.manage and this port? Name another one with --url, or its configuration file with -f."
    )
}

/// What a client asks in. To be ended with `shutdown_background`: a look-up of a name may stand still in a thread of its own.
///
/// # Errors
/// In words.
pub fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    built.map_err(|error| format!("cannot ask: {error}"))
}

fn manage_of(file: &Path) -> Result<model::Manage, String> {
    match config::load_manage(file) {
        Ok(Some(manage)) => Ok(manage),
        Ok(None) => Err(format!(
            "{}: there is no `service.manage`; add `manage: {{ port: 8902 }}` under `service` and start the connector anew",
            file.display()
        )),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// A port that listens on all addresses is asked on this machine.
fn url(address: IpAddr, port: u16, is_tls: bool) -> String {
    let address = match address {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_all_addresses_is_asked_here() {
        for (address, expected) in [
            ("0.0.0.0", "http://127.0.0.1:8902"),
            ("::", "http://[::1]:8902"),
            ("10.1.2.3", "http://10.1.2.3:8902"),
            ("fd00::1", "http://[fd00::1]:8902"),
        ] {
            assert_eq!(url(address.parse().unwrap(), 8902, false), expected);
            assert_eq!(url(address.parse().unwrap(), 8902, true), expected.replacen("http", "https", 1));
        }
    }
}
