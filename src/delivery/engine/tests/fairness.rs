//! Room and turns are shared by connections: one that sends a hundred times what the others do has the larger part, and
//! the others have theirs.

use std::collections::HashSet;

use super::*;
use crate::delivery::engine::sources::Input;

/// A rig whose first source floods: every time that it may be read there is more.
struct Crowd {
    rig: Rig,
    light: Vec<Key>,
    connections: Vec<Key>,
    /// Sources that were told to wait.
    waiting: HashSet<Key>,
    /// Records that a light source has sent and that it was not read for.
    unread: Vec<Key>,
}

/// Records of one read of the source that floods.
const READ: u64 = 50;

impl Crowd {
    fn new(config: &Config, light: usize) -> Crowd {
        let mut rig = Rig::new(config);
        let light = (0..light).map(|_| rig.another_source()).collect();
        rig.send(READ);
        let connections = rig.connect().iter().map(|connect| connect.connection).collect();
        Crowd { rig, light, connections, waiting: HashSet::new(), unread: Vec::new() }
    }

    /// What the tasks of the sources do when they run: read if they may, the one that floods always has more.
    fn read(&mut self) {
        while let Some(wake) = self.rig.engine.next_wake() {
            if let Wake::Source(key) = wake {
                self.waiting.remove(&key);
            }
        }
        for _ in 0..4 {
            let sources = std::iter::once(self.rig.source).chain(self.light.clone());
            let able: Vec<Key> = sources.filter(|key| !self.waiting.contains(key)).collect();
            for key in able {
                match self.rig.engine.source_input(key, self.rig.now) {
                    Input::Read if key == self.rig.source => self.rig.send(READ),
                    Input::Read => {
                        if let Some(at) = self.unread.iter().position(|unread| *unread == key) {
                            self.unread.remove(at);
                            self.rig.send_on(key);
                        }
                    }
                    Input::Resume => {
                        let now = Now { monotonic: self.rig.now, unix_ms: 0 };
                        self.rig.engine.source_receive(key, &[], now);
                    }
                    _ => _ = self.waiting.insert(key),
                }
            }
            while let Some(wake) = self.rig.engine.next_wake() {
                if let Wake::Source(key) = wake {
                    self.waiting.remove(&key);
                }
            }
        }
    }

    /// A light source has a record.
    fn want(&mut self, light: usize) {
        self.unread.push(self.light[light]);
    }

    /// The destination answers once on each connection, and a while passes.
    fn answer(&mut self) {
        for connection in self.connections.clone() {
            self.rig.answer(connection, OK);
        }
        self.rig.after(10);
        self.rig.tick();
    }

    /// Answers until the light source has its ack: how many records of the one that floods were done meanwhile, and the
    /// code.
    fn until_acked(&mut self, light: usize) -> (usize, u8) {
        let mut heavy = 0;
        for _ in 0..200 {
            self.read();
            self.answer();
            heavy += self.rig.codes().iter().filter(|code| **code == 0).count();
            if let Some(code) = self.rig.codes_of(self.light[light]).first() {
                return (heavy, *code);
            }
        }
        panic!("no ack within 200 rounds; {:?}", self.rig.engine.counts());
    }
}

/// Time enough for everything that these tests do.
fn patient(records: u32, queued: u32) -> Config {
    let mut config = config(1);
    config.service.max_concurrent_records = records;
    config.destinations[0].max_request_queued_per_endpoint = queued;
    config.destinations[0].call_timeout = Duration::from_secs(20);
    config.limits.record_deadline = Duration::from_secs(60);
    config
}

#[test]
fn a_record_does_not_wait_behind_all_that_another_connection_has_queued() {
    let mut crowd = Crowd::new(&patient(1_000, 1_000), 1);
    for _ in 0..4 {
        crowd.rig.send(READ);
    }
    crowd.want(0);
    let (heavy, code) = crowd.until_acked(0);
    assert_eq!(code, 0);
    assert!(heavy <= 10, "{heavy} records of the other connection came first");
}

#[test]
fn a_connection_that_floods_leaves_places_for_the_others() {
    let mut crowd = Crowd::new(&patient(100, 1_000), 4);
    let mut all = Vec::new();
    for round in 0..20 {
        crowd.want(round % 4);
        let (heavy, code) = crowd.until_acked(round % 4);
        assert_eq!(code, 0, "round {round}");
        all.push(heavy);
    }
    assert!(all.iter().all(|heavy| *heavy <= 20), "records of the other connection that came first: {all:?}");
    assert!(crowd.rig.engine.in_flight() > 80, "it has the larger part all the same");
}

#[test]
fn a_full_queue_refuses_the_one_that_filled_it() {
    let mut crowd = Crowd::new(&patient(10_000, 64), 2);
    for round in 0..20 {
        crowd.want(round % 2);
        let (heavy, code) = crowd.until_acked(round % 2);
        assert_eq!(code, 0, "round {round}: refused while the other one has the queue");
        assert!(heavy <= 20, "round {round}: {heavy} records of the other connection came first");
    }
    assert!(crowd.rig.engine.counters().refused > 0, "the other one is refused");
}

#[test]
fn while_frames_are_answered_18_the_others_are_served() {
    let mut crowd = Crowd::new(&patient(100, 1_000), 1);
    crowd.read();
    crowd.rig.after(2_100);
    crowd.rig.tick();
    assert!(crowd.rig.engine.rejecting, "the destination has answered nothing for 2 s");
    crowd.want(0);
    let (_, code) = crowd.until_acked(0);
    assert_eq!(code, 0);
    let mut codes = Vec::new();
    for _ in 0..60 {
        crowd.read();
        crowd.answer();
        codes.extend(crowd.rig.codes());
    }
    assert!(codes.contains(&18), "the one that floods is answered 18");
}

#[test]
fn alone_a_connection_has_all_the_room() {
    let mut crowd = Crowd::new(&patient(100, 1_000), 0);
    crowd.read();
    assert_eq!(crowd.rig.engine.in_flight(), 100);
}
