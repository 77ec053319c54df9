//! Places of the manage port: a new connection always gets one, and whoever has been idle longest loses his.
//!
//! To make new ones wait would let a few silent sockets shut out probes, and so have a healthy process killed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use tokio::sync::Notify;

/// Connections at a time.
pub const MOST_CONNECTIONS: usize = 64;

/// Of them, connections from one IPv4 address or one IPv6 network of 64 bits.
pub const MOST_OF_ONE_PEER: usize = 16;

#[derive(Debug)]
struct Held {
    id: u64,
    peer: IpAddr,
    /// Grows with each place that is taken and each request: the smallest has been idle longest.
    used: u64,
    /// Its answer lasts on purpose.
    is_tap: bool,
    end: Rc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    held: Vec<Held>,
    /// Ids and uses so far.
    count: u64,
}

impl Inner {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn of(&self, peer: IpAddr) -> usize {
        self.held.iter().filter(|held| held.peer == peer).count()
    }

    /// Whose place a new connection of `peer` gets, when there is none for it.
    fn loser(&self, peer: IpAddr) -> Option<usize> {
        let is_full_of_it = self.of(peer) >= MOST_OF_ONE_PEER;
        let all = self.held.iter().enumerate().filter(|(_, held)| !held.is_tap);
        if is_full_of_it {
            all.filter(|(_, held)| held.peer == peer).min_by_key(|(_, held)| held.used).map(|(place, _)| place)
        } else {
            all.min_by_key(|(_, held)| (Reverse(self.of(held.peer)), held.used)).map(|(place, _)| place)
        }
    }
}

/// All places, for the one thread that gives them away.
#[derive(Debug, Clone, Default)]
pub struct Places(Rc<RefCell<Inner>>);

/// What came with a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    /// There was a place.
    Free,
    /// Another connection is ended for it.
    Taken,
}

impl Places {
    /// A place for a connection of `peer`; `None` while taps have them all. Its holder ends when [`Place::lost`] does.
    pub fn take(&self, peer: IpAddr) -> Option<(Place, Room)> {
        let peer = network(peer);
        let mut inner = self.0.borrow_mut();
        let is_full = inner.held.len() >= MOST_CONNECTIONS || inner.of(peer) >= MOST_OF_ONE_PEER;
        if is_full {
            let loser = inner.loser(peer)?;
            inner.held.swap_remove(loser).end.notify_one();
        }
        let id = inner.next();
        let end = Rc::new(Notify::new());
        inner.held.push(Held { id, peer, used: id, is_tap: false, end: Rc::clone(&end) });
        drop(inner);
        Some((Place { places: self.clone(), id, end }, if is_full { Room::Taken } else { Room::Free }))
    }

    fn with(&self, id: u64, change: impl FnOnce(&mut Held, u64)) {
        let mut inner = self.0.borrow_mut();
        let used = inner.next();
        if let Some(held) = inner.held.iter_mut().find(|held| held.id == id) {
            change(held, used);
        }
    }
}

/// The place of a connection; dropped, it is free.
#[derive(Debug)]
pub struct Place {
    places: Places,
    id: u64,
    end: Rc<Notify>,
}

impl Place {
    /// A whole head has come.
    pub fn asked(&self) {
        self.places.with(self.id, |held, used| held.used = used);
    }

    /// Its answer is a tap, which is not ended for others: there are few, for few.
    pub fn taps(&self) {
        self.places.with(self.id, |held, _| held.is_tap = true);
    }

    /// The tap is over.
    pub fn tapped(&self) {
        self.places.with(self.id, |held, used| (held.used, held.is_tap) = (used, false));
    }

    /// Ends when another connection got the place.
    pub async fn lost(&self) {
        self.end.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.borrow_mut().held.retain(|held| held.id != self.id);
    }
}

/// Whoever has one IPv6 address has its network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    fn is_lost(place: &Place) -> bool {
        !place.places.0.borrow().held.iter().any(|held| held.id == place.id)
    }

    #[test]
    fn one_peer_ends_its_own_and_nobody_elses() {
        let places = Places::default();
        let (other, _) = places.take(address(0)).unwrap();
        let mut own: Vec<(Place, Room)> = (0..MOST_OF_ONE_PEER).map(|_| places.take(address(1)).unwrap()).collect();
        assert!(own.iter().all(|(place, room)| *room == Room::Free && !is_lost(place)));
        // It was used last, and the one after it has been idle longest.
        own[0].0.asked();
        for more in 1..MOST_OF_ONE_PEER {
            own.push(places.take(address(1)).unwrap());
            assert_eq!(own.last().unwrap().1, Room::Taken);
            assert!(is_lost(&own[more].0) && !is_lost(&own[0].0) && !is_lost(&other));
        }
        own.clear();
        assert_eq!(places.0.borrow().held.len(), 1);
    }

    #[test]
    fn when_all_places_are_taken_those_with_most_lose_theirs_first() {
        let places = Places::default();
        let (single, _) = places.take(address(0)).unwrap();
        let mut all: Vec<Place> =
            (1..MOST_CONNECTIONS).map(|number| places.take(address(1 + number / 10)).unwrap().0).collect();
        let (new, room) = places.take(address(999)).unwrap();
        assert_eq!(room, Room::Taken);
        assert!(!is_lost(&single) && !is_lost(&new));
        assert_eq!(all.iter().filter(|place| is_lost(place)).count(), 1);
        assert!(is_lost(&all[9]), "the oldest of the first that has ten");
        all.clear();
        // As many peers as there are places: the oldest goes, and a tap never does.
        single.taps();
        let all: Vec<Place> = (2..MOST_CONNECTIONS).map(|number| places.take(address(number)).unwrap().0).collect();
        for (number, oldest) in std::iter::once(&new).chain(&all).take(10).enumerate() {
            let (newest, _) = places.take(address(500 + number)).unwrap();
            assert!(is_lost(oldest) && !is_lost(&single) && !is_lost(&newest));
            std::mem::forget(newest);
        }
        single.tapped();
        assert!(!single.places.0.borrow().held.iter().any(|held| held.is_tap), "it is over");
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), network("10.0.0.1".parse().unwrap()));
        assert_eq!(network("fd00::1:2:3:4:5".parse().unwrap()), network("fd00::1:9:9:9:9".parse().unwrap()));
        assert_ne!(network("fd00::1".parse().unwrap()), network("fd00:0:0:1::1".parse().unwrap()));
        assert_ne!(network("10.0.0.1".parse().unwrap()), network("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn when_taps_have_all_places_of_a_peer_there_is_none_for_it() {
        let places = Places::default();
        let taps: Vec<(Place, Room)> = (0..MOST_OF_ONE_PEER).map(|_| places.take(address(1)).unwrap()).collect();
        taps.iter().for_each(|(place, _)| place.taps());
        assert!(places.take(address(1)).is_none());
        assert!(places.take(address(2)).is_some());
    }
}
