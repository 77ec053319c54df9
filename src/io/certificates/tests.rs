//! The thread with real files: what is taken, what is kept, and when.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::config::model::KeyFiles;
use crate::config::{UnknownKeys, parse};

const FAST: Pace =
    Pace { poll: Duration::from_millis(10), read: Duration::from_millis(50), report: Duration::from_secs(3600) };
/// The files are not read unless they look changed.
const LAZY: Pace = Pace { read: Duration::from_secs(3600), ..FAST };
const LONG: Duration = Duration::from_secs(20);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ringpost-certificates-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn config(&self) -> Config {
        let text = "service: { tls: { port: 8943, certificate-file: own.pem, private-key-file: own.key } }\n\
                    destinations:\n  a: { urls: \"https://h/\", tls: { ca-file: ca.pem, key-store: { store-file: client.pem } } }\n  \
                    b: { urls: \"http://h/\" }\n\
                    routing: { mode: static-multi-destination, destinations: [ a, b ] }\nformat: json\n";
        let loaded = parse(self.path("a.yml").to_str().unwrap(), text, UnknownKeys::Error);
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.faults))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Certificate and key, valid until the beginning of a year.
fn pair(until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn folder_with(until: i32) -> Folder {
    let folder = Folder::new();
    let (own, key) = pair(until);
    folder.write("own.pem", &own);
    folder.write("own.key", &key);
    folder.write("ca.pem", &own);
    let (client, key) = pair(2091);
    folder.write("client.pem", &(client + &key));
    folder
}

fn year(handle: &ServerTls) -> i64 {
    handle.expiry().unwrap().days_left(0) / 365 + 1970
}

#[track_caller]
fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// So long that the thread has looked several times.
fn some_turns() {
    std::thread::sleep(FAST.read * 6);
}

#[test]
fn each_https_destination_and_the_service_have_a_handle() {
    let folder = folder_with(2090);
    let certificates = Certificates::load(&folder.config()).unwrap();
    let materials = certificates.materials().clone();
    assert_eq!(year(&materials.service.unwrap()), 2090);
    assert!(materials.destinations[0].as_ref().is_some_and(|handle| handle.name() == "a" && handle.expiry().is_some()));
    assert!(materials.destinations[1].is_none() && materials.destinations.len() == 2);
}

#[test]
fn a_new_pair_is_taken_and_half_of_one_is_not() {
    let folder = folder_with(2090);
    let certificates = Certificates::load(&folder.config()).unwrap().watch_at(FAST).unwrap();
    let handle = certificates.materials().service.clone().unwrap();
    let before = handle.config();
    let (own, key) = pair(2095);
    folder.write("own.pem", &own);
    some_turns();
    assert_eq!(year(&handle), 2090, "a certificate without its key");
    folder.write("own.key", &key[..key.len() / 2]);
    some_turns();
    assert_eq!(year(&handle), 2090, "half a key");
    std::fs::remove_file(folder.path("own.key")).unwrap();
    some_turns();
    assert_eq!(year(&handle), 2090, "no key");
    folder.write("own.key", &key);
    wait("the whole pair is taken", || year(&handle) == 2095);
    assert!(!Arc::ptr_eq(&before, &handle.config()), "new connections have other settings");
    // The one destination whose files are the same keeps what it has.
    drop(certificates);
}

#[test]
fn only_the_handle_whose_files_changed_is_touched() {
    let folder = folder_with(2090);
    let certificates = Certificates::load(&folder.config()).unwrap().watch_at(FAST).unwrap();
    let client = certificates.materials().destinations[0].clone().unwrap();
    let server = certificates.materials().service.clone().unwrap();
    let (client_before, server_before) = (client.config(), server.config());
    let (ca, _) = pair(2090);
    folder.write("ca.pem", &ca);
    wait("a new trust store is taken", || !Arc::ptr_eq(&client_before, &client.config()));
    assert!(Arc::ptr_eq(&server_before, &server.config()));
    // The same content again, with another date, is nothing new.
    let before = client.config();
    folder.write("ca.pem", &ca);
    some_turns();
    assert!(Arc::ptr_eq(&before, &client.config()));
}

#[test]
fn a_pair_is_found_that_keeps_dates_and_sizes() {
    let folder = folder_with(2090);
    let (first, key) = pair(2090);
    let joined = |text: &str| format!("{first}{key}{text}\n");
    folder.write("client.pem", &joined("one"));
    let certificates = Certificates::load(&folder.config()).unwrap().watch_at(FAST).unwrap();
    let client = certificates.materials().destinations[0].clone().unwrap();
    let before = client.config();
    let file = std::fs::File::options().write(true).open(folder.path("client.pem")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    use std::os::unix::fs::FileExt;
    file.write_all_at(joined("two").as_bytes(), 0).unwrap();
    file.set_modified(modified).unwrap();
    wait("it is read all the same", || !Arc::ptr_eq(&before, &client.config()));
}

#[test]
fn a_symbolic_link_that_is_turned_over_is_a_change() {
    let folder = folder_with(2090);
    // As Kubernetes writes secrets: one link to the folder of all of them.
    for (name, until) in [("v1", 2090), ("v2", 2095)] {
        std::fs::create_dir(folder.path(name)).unwrap();
        let (own, key) = pair(until);
        folder.write(&format!("{name}/own.pem"), &own);
        folder.write(&format!("{name}/own.key"), &key);
    }
    std::os::unix::fs::symlink("v1", folder.path("data")).unwrap();
    let mut config = folder.config();
    if let Some(tls) = &mut config.service.tls {
        let data = folder.path("data");
        tls.key = KeyFiles { file: data.join("own.pem"), private_key: Some(data.join("own.key")), ..tls.key.clone() };
    }
    let certificates = Certificates::load(&config).unwrap().watch_at(LAZY).unwrap();
    let handle = certificates.materials().service.clone().unwrap();
    std::os::unix::fs::symlink("v2", folder.path("next")).unwrap();
    std::fs::rename(folder.path("next"), folder.path("data")).unwrap();
    wait("the new folder is read", || year(&handle) == 2095);
}

#[test]
fn an_expired_pair_never_replaces_one_that_holds() {
    let folder = folder_with(2090);
    let certificates = Certificates::load(&folder.config()).unwrap().watch_at(FAST).unwrap();
    let handle = certificates.materials().service.clone().unwrap();
    let (own, key) = pair(2021);
    folder.write("own.pem", &own);
    folder.write("own.key", &key);
    some_turns();
    assert_eq!(year(&handle), 2090);
    drop(certificates);
    // At start there is nothing better, and the peer decides.
    let certificates = Certificates::load(&folder.config()).unwrap().watch_at(FAST).unwrap();
    let handle = certificates.materials().service.clone().unwrap();
    assert_eq!(year(&handle), 2021);
    let (own, key) = pair(2095);
    folder.write("own.pem", &own);
    folder.write("own.key", &key);
    wait("what holds is taken", || year(&handle) == 2095);
}

#[test]
fn the_thread_ends_with_its_owner_and_there_is_none_without_files() {
    let folder = folder_with(2090);
    let mut certificates = Certificates::load(&folder.config()).unwrap().watch_at(FAST).unwrap();
    let thread = certificates.thread.as_mut().unwrap();
    drop(thread.stop.take());
    assert_eq!(thread.running.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    let mut config = folder.config();
    config.service.tls = None;
    config.destinations.remove(0);
    assert!(Certificates::load(&config).unwrap().watch().unwrap().thread.is_none());
}

#[test]
fn what_cannot_be_read_at_start_is_named() {
    let folder = folder_with(2090);
    let config = folder.config();
    folder.write("own.key", &pair(2090).1);
    let why = Certificates::load(&config).unwrap_err();
    assert!(
        why.starts_with("service.tls: the file ") && why.contains("own.key has a private key that does not belong"),
        "{why}"
    );
    std::fs::remove_file(folder.path("own.key")).unwrap();
    let why = Certificates::load(&config).unwrap_err();
    assert!(why.contains("own.key cannot be read: there is no such file"), "{why}");
}
