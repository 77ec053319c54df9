//! `tls` sections: paths of files, never what they hold.

use std::path::Path;

use super::{Page, list, quoted};
use crate::config::context::join;
use crate::config::model::{DestinationTls, KeyFiles, Offer, ServiceTls, TrustFile};

/// `service.manage.tls`: address and port are the manage section's.
pub(super) fn of_manage(page: &mut Page<'_>, tls: &ServiceTls) {
    let section = "service.manage.tls";
    page.section(2, "tls");
    of_server(page, (3, section), tls);
}

/// `service.tls`.
pub(super) fn of_service(page: &mut Page<'_>, tls: &ServiceTls) {
    let section = "service.tls";
    page.section(1, "tls");
    let addresses = tls.addresses.iter().map(|address| format!("\"{address}\""));
    page.one(2, section, "address", &list(addresses));
    let paths = [join(section, "port"), join(section, "ports")];
    page.setting(2, &paths, "port", &list(tls.ports.iter().map(u16::to_string)), "");
    of_server(page, (2, section), tls);
}

fn of_server(page: &mut Page<'_>, (depth, section): (usize, &str), tls: &ServiceTls) {
    key_store(page, (depth, section), &tls.key);
    trust_store(page, (depth, section), tls.trust.as_ref());
    if !tls.allowed_peer_names.is_empty() {
        let names = tls.allowed_peer_names.iter().map(|name| text(name));
        page.one(depth, section, "allowed-peer-names", &list(names));
    }
    offer(page, (depth, section), &tls.offer);
}

/// `destinations.NAME.tls`.
pub(super) fn of_destination(page: &mut Page<'_>, destination: &str, tls: &DestinationTls) {
    let section = join(destination, "tls");
    page.section(2, "tls");
    if let Some(files) = &tls.key {
        key_store(page, (3, &section), files);
    }
    trust_store(page, (3, &section), tls.trust.as_ref());
    if let Some(name) = &tls.server_name {
        page.one(3, &section, "server-name", &text(name));
    }
    offer(page, (3, &section), &tls.offer);
}

fn key_store(page: &mut Page<'_>, (depth, section): (usize, &str), files: &KeyFiles) {
    let store = join(section, "key-store");
    page.section(depth, "key-store");
    let paths = [join(&store, "store-file"), join(&store, "certificate-file"), join(section, "certificate-file")];
    page.setting(depth + 1, &paths, "store-file", &path(&files.file), "");
    for (key, file) in [
        ("private-key-file", &files.private_key),
        ("store-password-file", &files.store_password),
        ("key-password-file", &files.key_password),
    ] {
        if let Some(file) = file {
            page.setting(depth + 1, &[join(&store, key), join(section, key)], key, &path(file), "");
        }
    }
}

fn trust_store(page: &mut Page<'_>, (depth, section): (usize, &str), trust: Option<&TrustFile>) {
    let Some(trust) = trust else { return };
    let store = join(section, "trust-store");
    page.section(depth, "trust-store");
    let paths = [join(&store, "store-file"), join(&store, "ca-file"), join(section, "ca-file")];
    page.setting(depth + 1, &paths, "store-file", &path(&trust.file), "");
    if let Some(file) = &trust.password {
        page.one(depth + 1, &store, "store-password-file", &path(file));
    }
}

fn offer(page: &mut Page<'_>, (depth, section): (usize, &str), offer: &Offer) {
    let versions = [(offer.tls12, "TLSv1.2"), (offer.tls13, "TLSv1.3")];
    let spoken = versions.into_iter().filter(|(spoken, _)| *spoken).map(|(_, name)| name.to_owned());
    page.one(depth, section, "protocols", &list(spoken));
    if !offer.ciphers.is_empty() {
        page.one(depth, section, "ciphers", &list(offer.ciphers.iter().cloned()));
    }
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// In quotes: names in lists may hold anything.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
