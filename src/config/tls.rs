//! `service.tls`, `service.manage.tls` and `destinations.NAME.tls`: which files, and whether what they hold can be used.
//!
//! The settings are made here once, so that `check` finds what the start would: each fault stands at the key that names the
//! file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::context::{Context, join};
use super::fault::shown;
use super::model::{DestinationTls, KeyFiles, Offer, Protocol, Scheme, ServiceTls, TrustFile, Url};
use super::view::View;
use super::yaml::Node;
use super::{service, value};
use crate::tls::certificate::Certificate;
use crate::tls::material::Part;
use crate::tls::names::{self, Version};
use crate::tls::server_name;
use crate::tls::settings::{self, Fault, Place};

/// Longest path of a file in a message; of a longer one the end is shown.
const MAX_SHOWN_PATH: usize = 160;

/// Where the settings stand that files come from: a section, and the key in it that names the file.
#[derive(Default)]
struct Places<'a> {
    key: Option<(View<'a>, &'static str)>,
    trust: Option<(View<'a>, &'static str)>,
}

/// Reads `tls` of a destination, and makes its settings once if there is something that needs them.
pub fn destination(
    context: &mut Context<'_>,
    view: &View<'_>,
    protocol: Protocol,
    urls: &[Url],
) -> Option<DestinationTls> {
    let has_https = urls.iter().any(|url| url.scheme == Scheme::Https);
    let Some(entry) = view.find("tls").filter(|entry| !entry.value.is_null()) else {
        if has_https {
            named_urls(context, view, urls);
            if let Err(why) = context.system() {
                context.fault(view.at, &view.path, why);
            }
        }
        return None;
    };
    let section = View::of(context, entry, view.path_of("tls"));
    if !has_https && !urls.is_empty() {
        let message = "has no effect: none of `urls` is https; write https URLs, or take it out".to_owned();
        view.warn(context, "tls", message);
    }
    let mut places = Places::default();
    let key = key_files(context, &section, &mut places);
    let trust = trust_file(context, &section, &mut places);
    let offer = offer(context, &section);
    let server_name = section.read(context, "server-name", None, |node| {
        let text = value::text(node)?;
        server_name(&text).map_err(|why| format!("{} {why}", shown(&text)))?;
        Ok(Some(text))
    });
    if server_name.is_none() {
        named_urls(context, view, urls);
    }
    let tls = DestinationTls { key, trust, server_name, offer };
    made(context, &section, &tls, protocol, &places);
    Some(tls)
}

/// A host without a name that a certificate could have can never be reached.
fn named_urls(context: &mut Context<'_>, view: &View<'_>, urls: &[Url]) {
    let bad = urls.iter().filter(|url| url.scheme == Scheme::Https).find_map(|url| server_name(&url.host).err());
    if let Some(why) = bad {
        view.fault(context, "urls", format!("the host of an https URL {why}"));
    }
}

fn made(context: &mut Context<'_>, section: &View<'_>, tls: &DestinationTls, protocol: Protocol, places: &Places<'_>) {
    let built = with_outside(context, |outside| settings::client(tls, protocol, outside));
    match built {
        Ok(built) => remarks(context, section, places, &built.remarks, built.own.as_ref()),
        Err(faults) => located(context, section, places, faults),
    }
}

/// Reads `tls` of the service; `clear`: addresses and ports without TLS.
pub fn service(context: &mut Context<'_>, view: &View<'_>, clear: (&[IpAddr], &[u16])) -> Option<ServiceTls> {
    let entry = view.find("tls").filter(|entry| !entry.value.is_null())?;
    let section = View::of(context, entry, view.path_of("tls"));
    let at = listening(context, &section, clear);
    server(context, &section, at)
}

/// Reads `tls` of the manage port, which has these addresses and ports: with the section it speaks TLS only.
pub fn manage(
    context: &mut Context<'_>,
    view: &View<'_>,
    (addresses, ports): (&[IpAddr], &[u16]),
) -> Option<ServiceTls> {
    let entry = view.find("tls").filter(|entry| !entry.value.is_null())?;
    let section = View::of(context, entry, view.path_of("tls"));
    server(context, &section, (addresses.to_vec(), ports.to_vec()))
}

/// Of ports that are listened on.
fn server(
    context: &mut Context<'_>,
    section: &View<'_>,
    (addresses, ports): (Vec<IpAddr>, Vec<u16>),
) -> Option<ServiceTls> {
    let mut places = Places::default();
    let before = context.count();
    let key = key_files(context, section, &mut places);
    if key.is_none() && context.count() == before {
        let message = "missing, and clients have to see a certificate; write `key-store: { store-file: ..., store-password-file: ... }`, \
                       or `certificate-file` and `private-key-file`";
        section.fault(context, "key-store", message.to_owned());
    }
    let trust = trust_file(context, section, &mut places);
    let offer = offer(context, section);
    let allowed_peer_names = section.list(context, "allowed-peer-names", value::text).unwrap_or_default();
    if let Some((view, key)) = places.trust.as_ref().filter(|_| section.find("allowed-peer-names").is_none()) {
        let message = "has no effect without `allowed-peer-names`: clients are not asked for a certificate; write the names \
                       of those that may connect, or take it out";
        view.warn(context, key, message.to_owned());
    }
    let tls = ServiceTls { addresses, ports, key: key?, trust, allowed_peer_names, offer };
    match with_outside(context, |outside| settings::server(&tls, outside)) {
        Ok(built) => remarks(context, section, &places, &built.remarks, built.own.as_ref()),
        Err(faults) => located(context, section, &places, faults),
    }
    Some(tls)
}

/// Addresses and ports with TLS.
fn listening(context: &mut Context<'_>, section: &View<'_>, clear: (&[IpAddr], &[u16])) -> (Vec<IpAddr>, Vec<u16>) {
    let ports = service::ports(context, section);
    if ports.is_none() && section.find("port").is_none() && section.find("ports").is_none() {
        section.fault(context, "port", "missing; write `port: 8943`".to_owned());
    }
    let addresses = service::addresses(context, section).unwrap_or_else(|| vec![service::ALL_ADDRESSES]);
    let ports = ports.unwrap_or_default();
    twice(context, section, (&addresses, &ports), clear);
    (addresses, ports)
}

/// A port that is bound with and without TLS.
fn twice(
    context: &mut Context<'_>,
    section: &View<'_>,
    (addresses, ports): (&[IpAddr], &[u16]),
    (clear_addresses, clear_ports): (&[IpAddr], &[u16]),
) {
    let overlap = service::overlap(addresses, clear_addresses);
    if let Some(port) = ports.iter().find(|port| overlap && clear_ports.contains(port)) {
        let key = if section.find("port").is_some() { "port" } else { "ports" };
        let message =
            format!("{port} is in `service.port`, too, and a port either speaks TLS or does not; write another one");
        section.fault(context, key, message);
    }
}

/// Calls `make` with the files, authorities and names of this configuration.
fn with_outside<T>(context: &Context<'_>, make: impl FnOnce(settings::Outside<'_>) -> T) -> T {
    let show = |path: &Path| show_path(path.strip_prefix(&context.directory).unwrap_or(path));
    let system = || context.system();
    make(settings::Outside { file: &context.outside.file, show: &show, system: &system })
}

/// A path for a message.
pub(crate) fn show_path(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains('@') {
        return "(its path is not shown: it may hold a password)".to_owned();
    }
    let letters: Vec<char> = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match letters.len().checked_sub(MAX_SHOWN_PATH).and_then(|start| letters.get(start..)) {
        Some(end) if letters.len() > MAX_SHOWN_PATH => format!("...{}", end.iter().collect::<String>()),
        _ => letters.into_iter().collect(),
    }
}

fn located(context: &mut Context<'_>, section: &View<'_>, places: &Places<'_>, faults: Vec<Fault>) {
    for fault in faults {
        match place(fault.place, places) {
            Some((view, key)) => view.fault(context, key, fault.message),
            None => context.fault(section.at, &section.path, fault.message),
        }
    }
}

fn remarks(
    context: &mut Context<'_>,
    section: &View<'_>,
    places: &Places<'_>,
    remarks: &[Fault],
    own: Option<&Certificate>,
) {
    let dates = own.and_then(|own| own.remark((context.outside.now)()));
    let dates = dates.map(|(_, message)| Fault { place: Place::Key(Part::File), message });
    for remark in remarks.iter().chain(&dates) {
        match place(remark.place, places) {
            Some((view, key)) => view.warn(context, key, remark.message.clone()),
            None => context.warn(section.at, &section.path, remark.message.clone()),
        }
    }
}

/// The section and key that name a file.
fn place<'p, 'a>(place: Place, places: &'p Places<'a>) -> Option<(&'p View<'a>, &'static str)> {
    let key = |name: &'static str| places.key.as_ref().map(|(view, _)| (view, name));
    match place {
        Place::Key(Part::File) => places.key.as_ref().map(|(view, file)| (view, *file)),
        Place::Key(Part::PrivateKey) => key("private-key-file"),
        Place::Key(Part::StorePassword) => key("store-password-file"),
        Place::Key(Part::KeyPassword) => key("key-password-file"),
        Place::Trust => places.trust.as_ref().map(|(view, file)| (view, *file)),
        Place::TrustPassword => places.trust.as_ref().map(|(view, _)| (view, "store-password-file")),
        Place::Section => None,
    }
}

/// Keys of a store that a file of the other kind has.
const OF_KEYS: [&str; 3] = ["certificate-file", "private-key-file", "key-password-file"];

fn key_files<'a>(context: &mut Context<'_>, tls: &View<'a>, places: &mut Places<'a>) -> Option<KeyFiles> {
    let store = store(context, tls, "key-store");
    if let Some(store) = &store {
        no_effect(context, store, &["ca-file"], "a trust store");
    }
    let of_store = store.iter().flat_map(|store| [(store, "store-file"), (store, "certificate-file")]);
    let named = one_of(context, of_store.chain([(tls, "certificate-file")]));
    let Some((view, key)) = named else {
        let beside = store.iter().chain([tls]).find_map(|view| {
            let given = ["private-key-file", "key-password-file", "store-password-file"].into_iter();
            given.filter(|key| view.find(key).is_some()).map(|key| (view.clone(), key)).next()
        });
        if let Some((view, key)) = beside {
            let message = "has no effect without the certificate; write `certificate-file`, too".to_owned();
            view.fault(context, key, message);
        } else if let Some(store) = &store {
            store.fault(context, "store-file", "missing; write the path of the key store".to_owned());
        }
        return None;
    };
    let mut read = |key: &str| path(context, &view, key);
    let files = KeyFiles {
        file: read(key)?,
        private_key: read("private-key-file"),
        store_password: read("store-password-file"),
        key_password: read("key-password-file"),
    };
    if view.path != tls.path {
        no_effect(context, tls, &["private-key-file", "key-password-file"], "`certificate-file` beside it");
    }
    places.key = Some((view, key));
    Some(files)
}

fn trust_file<'a>(context: &mut Context<'_>, tls: &View<'a>, places: &mut Places<'a>) -> Option<TrustFile> {
    let store = store(context, tls, "trust-store");
    if let Some(store) = &store {
        no_effect(context, store, &OF_KEYS, "a key store");
    }
    let of_store = store.iter().flat_map(|store| [(store, "store-file"), (store, "ca-file")]);
    let named = one_of(context, of_store.chain([(tls, "ca-file")]));
    let Some((view, key)) = named else {
        if let Some(store) = &store {
            store.fault(context, "store-file", "missing; write the path of the trust store".to_owned());
        }
        return None;
    };
    let file = path(context, &view, key)?;
    let password = path(context, &view, "store-password-file");
    places.trust = Some((view, key));
    Some(TrustFile { file, password })
}

/// A store's section, if there is one.
fn store<'a>(context: &mut Context<'_>, tls: &View<'a>, key: &str) -> Option<View<'a>> {
    let entry = tls.find(key).filter(|entry| !entry.value.is_null())?;
    let before = context.count();
    let view = View::of(context, entry, join(&tls.path, key));
    if context.count() > before {
        return None;
    }
    // The content of the file decides.
    view.read(context, "store-type", (), |node| value::text(node).map(|_| ()));
    Some(view)
}

/// The one that is given; a second one is a fault.
fn one_of<'v, 'a: 'v>(
    context: &mut Context<'_>,
    candidates: impl Iterator<Item = (&'v View<'a>, &'static str)>,
) -> Option<(View<'a>, &'static str)> {
    let mut given = candidates.filter(|(view, key)| view.find(key).is_some());
    let (view, key) = given.next()?;
    if let Some((other, again)) = given.next() {
        let line = view.find(key).map_or(view.at.line, |entry| entry.key_at.line);
        let message = format!("the same setting as `{key}` on line {line}; keep one of the two");
        other.fault(context, again, message);
    }
    Some((view.clone(), key))
}

/// Warns about keys that belong somewhere else.
fn no_effect(context: &mut Context<'_>, view: &View<'_>, keys: &[&str], of: &str) {
    for key in keys.iter().filter(|key| view.find(key).is_some()) {
        view.read(context, key, (), |node| value::text(node).map(|_| ()));
        view.warn(context, key, format!("has no effect here: it belongs to {of}; take it out"));
    }
}

/// The path of a file that is read.
fn path(context: &mut Context<'_>, view: &View<'_>, key: &str) -> Option<PathBuf> {
    let directory = context.directory.clone();
    view.read(context, key, None, |node| value::text(node).map(|text| Some(directory.join(text))))
}

fn offer(context: &mut Context<'_>, tls: &View<'_>) -> Offer {
    let [tls12, tls13] = versions(context, tls);
    let mut offer = Offer { tls12, tls13, ciphers: Vec::new() };
    // Two spellings of one name are two values here, and one suite below.
    let Some(written) = tls.list(context, "ciphers", value::text) else { return offer };
    let mut unknown = Vec::new();
    for name in &written {
        match names::suite(name).map(|suite| names::suite_name(&suite)) {
            Some(name) if !offer.ciphers.contains(&name) => offer.ciphers.push(name),
            Some(_) => {}
            None => unknown.push(shown(name)),
        }
    }
    if offer.ciphers.is_empty() {
        let message = format!("none of them is supported; write some of {}, or take the key out", all_suites());
        tls.fault(context, "ciphers", message);
        return offer;
    }
    if let Some(first) = unknown.first() {
        let more = if unknown.len() > 1 { format!(" and {} more are", unknown.len() - 1) } else { " is".to_owned() };
        tls.warn(context, "ciphers", format!("{first}{more} not supported, and not offered; take it out"));
    }
    without_suites(context, tls, offer)
}

/// A version for which there is no suite is not spoken.
fn without_suites(context: &mut Context<'_>, tls: &View<'_>, mut offer: Offer) -> Offer {
    let has = |version: &rustls::SupportedProtocolVersion| {
        offer.ciphers.iter().filter_map(|name| names::suite(name)).any(|suite| suite.version() == version)
    };
    let (has12, has13) = (has(&rustls::version::TLS12), has(&rustls::version::TLS13));
    let lost = match (offer.tls12 && !has12, offer.tls13 && !has13) {
        (true, _) => "TLSv1.2",
        (_, true) => "TLSv1.3",
        _ => return offer,
    };
    offer.tls12 &= has12;
    offer.tls13 &= has13;
    if offer.tls12 || offer.tls13 {
        tls.warn(
            context,
            "ciphers",
            format!("has no suite of {lost}, which is not spoken therefore; add one, or write `protocols`"),
        );
    } else {
        let message = format!("has no suite of the versions in `protocols`; write some of {}", all_suites());
        tls.fault(context, "ciphers", message);
        return Offer::default();
    }
    offer
}

fn all_suites() -> String {
    rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter().map(names::suite_name).collect::<Vec<_>>().join(", ")
}

/// Whether TLS 1.2 and 1.3 are spoken.
fn versions(context: &mut Context<'_>, tls: &View<'_>) -> [bool; 2] {
    let read = |node: &Node| {
        let text = value::text(node)?;
        match names::version(&text) {
            Some(version) => Ok((version, text.to_ascii_lowercase())),
            None => Err(format!("{} is no TLS version; write TLSv1.2 or TLSv1.3", shown(&text))),
        }
    };
    let Some(written) = tls.list(context, "protocols", read) else { return [true; 2] };
    let has = |wanted: Version| written.iter().any(|(version, _)| *version == wanted);
    let spoken = [has(Version::Tls12), has(Version::Tls13)];
    if spoken == [false; 2] {
        tls.fault(
            context,
            "protocols",
            "none of these is spoken, since they are broken; write TLSv1.2, TLSv1.3".to_owned(),
        );
        return [true; 2];
    }
    if has(Version::Old) {
        let message = "versions before TLSv1.2 are broken, and never spoken; take them out".to_owned();
        tls.warn(context, "protocols", message);
    }
    spoken
}
