//! Pools of connections: places that move between executors, connections that grow old, peers that fall silent.

use super::*;

/// Frame types of HTTP/2.
const PING: u8 = 6;
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PONG: &[u8] = &[0, 0, 8, 6, 1, 0, 0, 0, 0, 0x3b, 0x7c, 0xdb, 0x7a, 0x0b, 0x87, 0x16, 0xb4];

/// Status 200 on an HTTP/2 stream.
fn ok(stream: u8) -> Vec<u8> {
    vec![0, 0, 1, 1, 5, 0, 0, 0, stream, 0x88]
}

fn http2() -> Config {
    let mut config = config(1);
    config.destinations[0].protocol = Protocol::Http2;
    config.destinations[0].max_connections_per_endpoint = 1;
    config.destinations[0].call_timeout = Duration::from_secs(4);
    config
}

/// Whether the connection writes a frame of this type now.
fn writes(rig: &mut Rig, connection: Key, kind: u8) -> bool {
    let bytes = rig.write(connection);
    let mut rest = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or(&bytes);
    while let Some((head, tail)) = rest.split_first_chunk::<9>() {
        if head[3] == kind {
            return true;
        }
        rest = &tail[u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize..];
    }
    false
}

/// Time passes in ticks.
fn pass(rig: &mut Rig, millis: u64) {
    for _ in 0..millis / 100 {
        rig.after(100);
        rig.tick();
    }
}

fn pool(rig: &Rig) -> (usize, usize, usize) {
    let pool = rig.engine.pools().next().unwrap();
    (pool.connecting, pool.open, pool.draining)
}

#[test]
fn an_old_connection_serves_until_another_is_open_in_its_place_and_finishes_what_it_has() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 1;
    config.destinations[0].connection_ttl = Some(Duration::from_secs(3));
    let mut rig = Rig::new(&config);
    rig.send(1);
    let old = rig.connect()[0].connection;
    for _ in 0..30 {
        // Under constant load: it is never idle.
        rig.answer(old, OK);
        assert_eq!(rig.codes(), [0]);
        rig.send(1);
        rig.write(old);
        pass(&mut rig, 100);
    }
    assert_eq!(pool(&rig), (1, 1, 0), "the old one serves");
    let new = rig.connect();
    assert_eq!((new.len(), pool(&rig)), (1, (0, 1, 1)));
    rig.send(1);
    rig.write(new[0].connection);
    rig.answer(new[0].connection, OK);
    assert_eq!(rig.codes(), [0u8; 0], "acks keep their order");
    assert!(!rig.engine.connection_is_over(old));
    rig.answer(old, OK);
    assert_eq!(rig.codes(), [0, 0]);
    assert!(rig.engine.connection_is_over(old));
    assert_eq!(rig.engine.counters().connections_replaced, 1);
    let now = rig.now;
    rig.engine.connection_closed(old, now);
    assert_eq!(rig.engine.pools().next().unwrap().taken, 1);
    rig.assert_empty();
}

#[test]
fn an_old_connection_is_kept_while_no_other_can_be_had() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 1;
    config.destinations[0].connection_ttl = Some(Duration::from_secs(1));
    let mut rig = Rig::new(&config);
    rig.send(1);
    let old = rig.connect()[0].connection;
    let mut failed = 0;
    for _ in 0..200 {
        rig.answer(old, OK);
        rig.send(1);
        rig.write(old);
        pass(&mut rig, 100);
        while let Some(connect) = rig.engine.next_connect() {
            failed += 1;
            let now = rig.now;
            rig.engine.connection_failed(connect.connection, &"refused", now);
        }
    }
    assert_eq!(rig.codes(), [0; 200], "no record suffers");
    assert_eq!(failed, 4, "once every five seconds");
}

#[test]
fn an_idle_old_connection_is_closed_and_not_replaced() {
    let mut config = config(1);
    config.destinations[0].connection_ttl = Some(Duration::from_secs(3));
    let mut rig = Rig::new(&config);
    rig.send(1);
    let old = rig.connect()[0].connection;
    rig.answer(old, OK);
    pass(&mut rig, 2_600);
    assert!(!rig.engine.connection_is_over(old), "at most a tenth early");
    pass(&mut rig, 400);
    assert!(rig.engine.connection_is_over(old));
    assert!(rig.engine.next_connect().is_none());
}

#[test]
fn connections_of_one_age_are_not_replaced_at_one_time() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 16;
    config.destinations[0].connection_ttl = Some(Duration::from_secs(100));
    let mut rig = Rig::new(&config);
    rig.send(16);
    let mut busy: Vec<Key> = rig.connect().iter().map(|connect| connect.connection).collect();
    let mut open = busy.clone();
    let mut times = Vec::new();
    for second in 0..101 {
        for connection in busy.clone() {
            rig.answer(connection, OK);
            if rig.engine.connection_is_over(connection) {
                let now = rig.now;
                rig.engine.connection_closed(connection, now);
                open.retain(|key| *key != connection);
            }
        }
        rig.send(16);
        busy.clone_from(&open);
        busy.retain(|connection| !rig.write(*connection).is_empty());
        rig.after(1_000);
        rig.tick();
        let replaced = rig.connect();
        times.extend(replaced.iter().map(|_| second));
        open.extend(replaced.iter().map(|connect| connect.connection));
        assert!(rig.engine.pools().next().unwrap().open >= 16, "never fewer than before");
    }
    assert_eq!(times.len(), 16, "{times:?}");
    assert!(times.iter().all(|second| (89..=101).contains(second)), "{times:?}");
    times.dedup();
    assert!(times.len() >= 6, "{times:?}");
}

#[test]
fn connections_to_an_address_that_is_gone_move_within_five_seconds() {
    let mut config = config(1);
    config.limits.record_deadline = Duration::from_secs(60);
    config.destinations[0].call_timeout = Duration::from_secs(60);
    let mut rig = Rig::new(&config);
    rig.send(2);
    let old = rig.connect();
    let now = rig.now;
    old.iter().for_each(|connect| rig.engine.connection_outdated(connect.connection, now));
    pass(&mut rig, 5_000);
    let now = rig.now;
    assert_eq!(rig.connect().len(), 2);
    old.iter().for_each(|connect| rig.answer(connect.connection, OK));
    assert!(old.iter().all(|connect| rig.engine.connection_is_over(connect.connection)));
    old.iter().for_each(|connect| rig.engine.connection_closed(connect.connection, now));
    assert_eq!(pool(&rig), (0, 2, 0));
}

/// Two executors of one process.
fn two(config: &Config) -> [Rig; 2] {
    let shared = SharedLimits::new(config, 2);
    [0, 1].map(|index| Rig::of(config, &shared, index))
}

fn taken(rigs: &[Rig; 2]) -> u64 {
    rigs[0].engine.pools().next().unwrap().taken
}

#[test]
fn a_busy_executor_uses_the_connections_that_another_leaves_and_gives_them_back() {
    let mut config = config(1);
    config.destinations[0].max_connections_per_endpoint = 4;
    config.destinations[0].call_timeout = Duration::from_secs(60);
    config.limits.record_deadline = Duration::from_secs(60);
    let mut rigs = two(&config);
    rigs[0].send(10);
    let first = rigs[0].connect();
    assert_eq!((first.len(), taken(&rigs)), (4, 4), "all of them, not its half");
    rigs[1].send(10);
    let second = rigs[1].connect();
    assert_eq!((second.len(), taken(&rigs)), (1, 5), "one each, whatever the others have");
    for _ in 0..30 {
        rigs.iter_mut().for_each(|rig| pass(rig, 100));
        // Those that were given up are busy: they finish first.
        assert!(taken(&rigs) <= 5);
        for rig in &mut rigs {
            rig.connect();
        }
    }
    assert_eq!((pool(&rigs[0]), pool(&rigs[1]), taken(&rigs)), ((0, 2, 2), (0, 2, 0), 4));
    let before = rigs[0].engine.counters().connections_given_up;
    rigs.iter_mut().for_each(|rig| pass(rig, 5_000));
    assert_eq!(rigs[0].engine.counters().connections_given_up, before, "nothing flaps");
    // The first one has nothing more to do: the second one gets its connections.
    for connect in &first {
        let rig = &mut rigs[0];
        rig.answer(connect.connection, OK);
    }
    while rigs[0].engine.counts().flights > 0 {
        for connect in &first {
            rigs[0].answer(connect.connection, OK);
        }
    }
    for _ in 0..10 {
        rigs.iter_mut().for_each(|rig| pass(rig, 100));
        rigs[1].connect();
    }
    assert_eq!((pool(&rigs[1]).1, taken(&rigs)), (4, 4));
    assert_eq!(rigs[0].codes(), [0; 10]);
}

#[test]
fn the_queue_of_an_endpoint_has_one_limit_for_all_executors() {
    let mut config = config(1);
    config.destinations[0].max_request_queued_per_endpoint = 10;
    let mut rigs = two(&config);
    rigs[0].send(12);
    rigs[1].send(12);
    let queued: u64 = rigs.iter().map(|rig| rig.engine.pools().next().unwrap().queued).sum();
    assert_eq!(queued, 10, "none is connected yet");
    let refused: usize = rigs.iter_mut().map(|rig| rig.codes().iter().filter(|code| **code == 11).count()).sum();
    let counted: u64 = rigs.iter().map(|rig| rig.engine.counters().refused).sum();
    assert_eq!((refused <= 14, counted), (true, 14), "what has no place behind the first codes waits for them");
}

#[test]
fn a_peer_that_answers_no_ping_loses_its_connection_and_all_its_requests_at_once() {
    let mut rig = Rig::new(&http2());
    rig.send(1);
    let silent = rig.connect()[0].connection;
    rig.answer(silent, SETTINGS);
    pass(&mut rig, 800);
    assert!(!writes(&mut rig, silent, PING), "a second without a byte is not over");
    pass(&mut rig, 300);
    assert!(writes(&mut rig, silent, PING));
    rig.send(5);
    rig.write(silent);
    assert!(rig.engine.next_connect().is_none());
    pass(&mut rig, 2_000);
    assert_eq!(pool(&rig), (0, 0, 1), "it gets no more requests");
    rig.send(1);
    let other = rig.connect()[0].connection;
    pass(&mut rig, 1_000);
    assert_eq!(rig.codes(), [11; 6], "those of the last seconds with the first one");
    let counters = rig.engine.counters();
    // The first one had its whole time; the others did not wait for theirs. The second PING is for the other connection.
    assert_eq!((counters.connections_silent, counters.call_timeouts, counters.pings), (1, 1, 2));
    assert!(rig.engine.connection_is_over(silent));
    rig.answer(other, SETTINGS);
    rig.answer(other, &ok(1));
    assert_eq!(rig.codes(), [0]);
    rig.assert_empty();
}

#[test]
fn a_peer_that_answers_pings_may_take_its_time() {
    let mut rig = Rig::new(&http2());
    rig.send(1);
    let slow = rig.connect()[0].connection;
    rig.answer(slow, SETTINGS);
    pass(&mut rig, 1_200);
    assert!(writes(&mut rig, slow, PING));
    rig.answer(slow, PONG);
    pass(&mut rig, 2_700);
    assert!(!writes(&mut rig, slow, PING), "it is not asked again and again");
    rig.answer(slow, &ok(1));
    assert_eq!((rig.codes(), pool(&rig)), (vec![0], (0, 1, 0)));
    assert_eq!(rig.engine.counters().connections_silent, 0);
}

#[test]
fn an_idle_connection_is_not_asked_and_the_first_request_after_a_long_pause_asks() {
    let mut rig = Rig::new(&http2());
    rig.send(1);
    let idle = rig.connect()[0].connection;
    rig.answer(idle, SETTINGS);
    rig.answer(idle, &ok(1));
    pass(&mut rig, 60_000);
    assert!(!writes(&mut rig, idle, PING));
    rig.send(1);
    assert!(writes(&mut rig, idle, PING), "with the request");
    // The peer has gone without a word: that record pays, the ones after it do not.
    pass(&mut rig, 2_000);
    rig.send(1);
    let other = rig.connect()[0].connection;
    rig.answer(other, SETTINGS);
    rig.answer(other, &ok(1));
    pass(&mut rig, 1_000);
    assert_eq!(rig.codes(), [0, 11, 0]);
}

/// As after SIGSTOP and SIGCONT: the answers lie in the socket, and the clock comes first.
#[test]
fn no_peer_is_taken_for_dead_because_this_process_stood_still() {
    let mut rig = Rig::new(&http2());
    rig.send(1);
    let connection = rig.connect()[0].connection;
    rig.answer(connection, SETTINGS);
    pass(&mut rig, 1_200);
    assert!(writes(&mut rig, connection, PING));
    rig.after(2_700);
    rig.tick();
    assert_eq!((rig.engine.counters().connections_silent, pool(&rig)), (0, (0, 1, 0)));
    rig.answer(connection, PONG);
    rig.answer(connection, &ok(1));
    assert_eq!(rig.codes(), [0]);
}

#[test]
fn peers_that_answer_no_ping_make_their_url_unhealthy_as_time_outs_do() {
    let mut rig = Rig::new(&http2());
    for _ in 0..3 {
        rig.send(1);
        rig.connect();
        pass(&mut rig, 4_000);
    }
    assert_eq!(rig.engine.counters().connections_silent, 3);
    rig.send(1);
    assert_eq!((rig.codes(), rig.engine.counters().refused), (vec![11; 4], 1));
}
