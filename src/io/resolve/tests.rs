//! Look-ups by a function in place of the system.

use std::collections::HashMap;
use std::sync::mpsc::channel;

use super::*;
use crate::config::model::{Scheme, Url};

const LONG: Duration = Duration::from_secs(20);

fn url(host: &str) -> Url {
    Url { scheme: Scheme::Http, host: host.to_owned(), port: 80, path: "/".to_owned() }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn start(hosts: &[&str], pace: Pace, look_up: Arc<LookUp>) -> (Resolver, Clock) {
    let clock = Clock::start();
    let urls: Vec<Url> = hosts.iter().map(|host| url(host)).collect();
    let urls: Vec<&Url> = urls.iter().collect();
    (Resolver::of(&urls, clock, pace, look_up).unwrap(), clock)
}

#[track_caller]
fn wait_until(what: &str, clock: Clock, condition: impl Fn() -> bool) {
    let began = clock.monotonic();
    while !condition() {
        assert!(clock.monotonic().since(began) < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const QUICK: Pace =
    Pace { interval: Duration::from_millis(20), retry: Duration::from_millis(5), start: Duration::from_millis(500) };

/// Addresses by name.
type Table = Mutex<HashMap<String, Vec<SocketAddr>>>;

/// Answers from a table that the test changes.
fn table() -> (Arc<Table>, Arc<LookUp>) {
    let table = Arc::<Table>::default();
    let read = Arc::clone(&table);
    let look_up = move |host: &str, _: u16| {
        let missing = || std::io::Error::other("no such name");
        read.lock().unwrap().get(host).cloned().ok_or_else(missing)
    };
    (table, Arc::new(look_up))
}

#[test]
fn literals_need_no_look_up_in_either_family() {
    let look_up = |_: &str, _: u16| panic!("a literal is looked up");
    let (resolver, _) = start(&["127.0.0.1", "::1"], QUICK, Arc::new(look_up));
    let addresses = resolver.addresses();
    assert_eq!(addresses.get(0).unwrap().to_vec(), ["127.0.0.1:80".parse().unwrap()]);
    assert_eq!(addresses.get(1).unwrap().to_vec(), ["[::1]:80".parse().unwrap()]);
}

/// A resolver that hangs for one name holds neither the start nor the other names.
#[test]
fn a_name_whose_look_up_hangs_delays_neither_the_start_nor_another_name() {
    let (release, hang) = channel::<()>();
    let hang = Mutex::new(hang);
    let look_up = move |host: &str, _: u16| match host {
        "slow.test" => {
            let _ = hang.lock().unwrap().recv();
            Ok(vec![address(1)])
        }
        _ => Ok(vec![address(2)]),
    };
    let pace = Pace { start: Duration::from_millis(50), ..QUICK };
    let (resolver, clock) = start(&["slow.test", "quick.test"], pace, Arc::new(look_up));
    let addresses = resolver.addresses();
    assert_eq!(addresses.get(0), Err(NoAddress::Pending), "the start did not wait for it");
    wait_until("the other name has its address", clock, || addresses.get(1).is_ok());
    drop(release);
    wait_until("the slow name has it in the end", clock, || addresses.get(0).is_ok());
}

#[test]
fn a_name_that_cannot_be_resolved_is_tried_again_and_keeps_its_addresses_when_that_fails_later() {
    let (table, look_up) = table();
    let (resolver, clock) = start(&["a.test"], QUICK, look_up);
    let addresses = resolver.addresses();
    let Err(NoAddress::Failed(why)) = addresses.get(0) else { panic!("{:?}", addresses.get(0)) };
    assert!(why.contains("a.test") && why.contains("no such name"), "{why}");
    table.lock().unwrap().insert("a.test".to_owned(), vec![address(1)]);
    wait_until("it is found", clock, || addresses.get(0).is_ok());
    table.lock().unwrap().clear();
    std::thread::sleep(QUICK.interval * 3);
    assert_eq!(addresses.get(0).unwrap().to_vec(), [address(1)]);
    assert!(!addresses.is_outdated(0, address(1)));
}

#[test]
fn an_address_that_is_gone_from_a_name_is_outdated_after_two_look_ups_and_not_after_one() {
    let clock = Clock::start();
    let urls = [url("a.test")];
    let addresses = Addresses::new(&urls.iter().collect::<Vec<_>>(), QUICK, clock);
    let name = &addresses.names[0];
    addresses.take(name, Ok(vec![address(1), address(2)]));
    addresses.take(name, Ok(vec![address(2)]));
    assert!(!addresses.is_outdated(0, address(1)), "servers answer with a part of the addresses at a time");
    assert_eq!(addresses.get(0).unwrap().to_vec(), [address(2)], "new connections go where the name is now");
    addresses.take(name, Err("time-out".to_owned()));
    assert_eq!((addresses.version(), addresses.is_outdated(0, address(1))), (0, false));
    addresses.take(name, Ok(vec![address(2), address(3)]));
    assert_eq!((addresses.version(), addresses.is_outdated(0, address(1))), (1, true));
    assert!(!addresses.is_outdated(0, address(2)));
}

#[test]
fn a_failed_connection_brings_the_next_look_up_forward() {
    let (table, look_up) = table();
    table.lock().unwrap().insert("a.test".to_owned(), vec![address(1)]);
    let (resolver, clock) = start(&["a.test"], Pace { interval: LONG * 10, ..QUICK }, look_up);
    let addresses = resolver.addresses();
    assert_eq!(addresses.get(0).unwrap().to_vec(), [address(1)]);
    table.lock().unwrap().insert("a.test".to_owned(), vec![address(2)]);
    addresses.doubt(0);
    wait_until("the new address is found", clock, || *addresses.get(0).unwrap() == [address(2)]);
}
