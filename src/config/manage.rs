//! `service.manage` and `service.cluster-name`: the port for metrics and health.

use std::net::IpAddr;

use super::context::Context;
use super::model::{Manage, Secret};
use super::view::View;
use super::{service, value};

/// Bytes of a token's file, and of a token.
pub const MAX_TOKEN_FILE: u64 = 4096;
const LEAST_TOKEN: usize = 16;

/// A cluster's name stands in every series.
const MAX_CLUSTER_NAME: usize = 256;

/// Reads `manage` of the service; `taken`: addresses and ports of XDR.
pub fn read(context: &mut Context<'_>, view: &View<'_>, taken: &[(&[IpAddr], &[u16])]) -> Option<Manage> {
    let entry = view.find("manage").filter(|entry| !entry.value.is_null())?;
    let section = View::of(context, entry, view.path_of("manage"));
    let ports = service::ports(context, &section);
    if ports.is_none() && section.find("port").is_none() && section.find("ports").is_none() {
        section.fault(context, "port", "missing; write `port: 8902`".to_owned());
    }
    let (ports, addresses) = (
        ports.unwrap_or_default(),
        service::addresses(context, &section).unwrap_or_else(|| vec![service::ALL_ADDRESSES]),
    );
    for (other_addresses, other_ports) in taken {
        let twice = ports.iter().find(|port| other_ports.contains(port));
        if let Some(port) = twice.filter(|_| service::overlap(&addresses, other_addresses)) {
            let key = if section.find("port").is_some() { "port" } else { "ports" };
            section.fault(context, key, format!("{port} is a port for XDR, too; write another one"));
        }
    }
    Some(Manage { addresses, ports, token: token(context, &section) })
}

/// The first line of `token-file`.
fn token(context: &mut Context<'_>, section: &View<'_>) -> Option<Secret> {
    let (directory, outside) = (context.directory.clone(), context.outside);
    section.read(context, "token-file", None, |node| {
        let path = directory.join(value::text(node)?);
        let bytes = (outside.file)(&path, MAX_TOKEN_FILE)
            .map_err(|why| format!("the file {}: {why}", path.strip_prefix(&directory).unwrap_or(&path).display()))?;
        token_of(bytes).map(Some)
    })
}

/// The first line of a file.
pub fn token_of(bytes: Vec<u8>) -> Result<Secret, String> {
    let text =
        String::from_utf8(bytes).map_err(|_| "the file is not text; write the token as its first line".to_owned())?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < LEAST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the first line of the file is no token: it needs at least {LEAST_TOKEN} characters of ASCII without blanks, as `openssl rand -hex 32` writes them"
        ));
    }
    Ok(Secret(token.to_owned()))
}

/// `service.cluster-name`.
pub fn cluster_name(context: &mut Context<'_>, view: &View<'_>) -> Option<String> {
    view.read(context, "cluster-name", None, |node| {
        if node.is_null() {
            return Ok(None);
        }
        let name = value::text(node)?;
        if name.len() > MAX_CLUSTER_NAME {
            return Err(format!("longer than {MAX_CLUSTER_NAME} bytes; it stands in every series of metrics"));
        }
        Ok(Some(name).filter(|name| !name.is_empty()))
    })
}
