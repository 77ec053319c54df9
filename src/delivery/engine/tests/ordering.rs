//! One version of a record in flight: with batches, several destinations, refusals, deadlines, sources that leave.

use super::*;
use crate::config::model::RecordOrdering;

fn ordered(destinations: usize) -> Config {
    let mut config = config(destinations);
    config.rules.top.ordering =
        Some(RecordOrdering { enable: true, ttl: Duration::from_secs(30), coalesce_waiting: false, max_entries: 1000 });
    config.destinations.iter_mut().for_each(|destination| {
        destination.max_connections_per_endpoint = 8;
        destination.permanent.insert(422);
    });
    config
}

fn batched(mut config: Config, records: u32) -> Config {
    config.rules.top.batching = Some(Batching {
        enabled: true,
        max_bytes: 1 << 20,
        max_records: records,
        interval: Duration::from_secs(2),
        body: BatchBody::Array,
    });
    config
}

/// A version of a key: replace, update (`b'u'`) or delete (`b'd'`).
fn frame(key: u8, lut: u64, kind: u8) -> Vec<u8> {
    let (info2, info3) = match kind {
        b'd' => (0x03, 0),
        b'u' => (0x01, 0),
        _ => (0x01, 0x10),
    };
    let mut body = vec![22, 0x10, info2, info3, 0, 0, 0, 0, 0, 1];
    body.extend_from_slice(&u32::MAX.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 0, 0, 3, 0, u8::from(kind != b'd')]);
    for (field, data) in [(0u8, b"test".to_vec()), (4, vec![key; 20]), (14, lut.to_be_bytes().to_vec())] {
        body.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
        body.push(field);
        body.extend_from_slice(&data);
    }
    if kind != b'd' {
        body.extend_from_slice(&[0, 0, 0, 13, 2, 1, 0, 1, b'v']);
        body.extend_from_slice(&lut.to_be_bytes());
    }
    let mut frame = (body.len() as u64).to_be_bytes().to_vec();
    frame[..2].copy_from_slice(&[2, 3]);
    frame.extend_from_slice(&body);
    frame
}

impl Rig {
    fn versions(&mut self, source: Key, versions: &[(u8, u64, u8)]) {
        let bytes: Vec<u8> = versions.iter().flat_map(|(key, lut, kind)| frame(*key, *lut, *kind)).collect();
        self.engine.source_receive(source, &bytes, Now { monotonic: self.now, unix_ms: 0 });
    }

    /// Sends versions on the first source.
    fn version(&mut self, key: u8, lut: u64) {
        self.versions(self.source, &[(key, lut, b'r')]);
    }

    /// What is written on every connection, new ones included: connection, and the `lut`s of the body.
    fn requests(&mut self, known: &mut Vec<Key>) -> Vec<(Key, Vec<u64>)> {
        while let Some(connect) = self.engine.next_connect() {
            self.engine.connection_opened(connect.connection, self.now);
            known.push(connect.connection);
        }
        let mut all = Vec::new();
        for key in known.clone() {
            let bytes = self.write(key);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let luts: Vec<u64> = text
                .split("\"lut\":")
                .skip(1)
                .map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap())
                .map(|lut| lut - 1_262_304_000_000)
                .collect();
            if !luts.is_empty() {
                all.push((key, luts));
            }
        }
        all.sort_by_key(|(key, _)| self.engine.connections.get(*key).map(|connection| connection.endpoint));
        all
    }

    /// An answer; what is written next stays to be read by [`Rig::requests`].
    fn reply(&mut self, connection: Key, response: &[u8]) {
        self.engine.connection_receive(connection, response, self.now);
    }

    #[track_caller]
    fn assert_ordered(&mut self, remembered: usize) {
        let counts = self.engine.counts();
        assert_eq!((counts.ordered, counts.handed), (0, 0), "{counts:?}");
        assert_eq!(self.engine.remembered(), remembered);
        self.assert_empty();
    }
}

/// Versions in requests.
fn luts(requests: &[(Key, Vec<u64>)]) -> Vec<Vec<u64>> {
    requests.iter().map(|(_, luts)| luts.clone()).collect()
}

#[test]
fn a_newer_version_waits_and_an_older_one_shares_the_outcome() {
    let mut rig = Rig::new(&ordered(1));
    let mut known = Vec::new();
    rig.versions(rig.source, &[(1, 10, b'r'), (1, 12, b'r'), (1, 9, b'r'), (1, 11, b'd'), (2, 5, b'r')]);
    let first = rig.requests(&mut known);
    assert_eq!(luts(&first), [vec![10], vec![5]], "one version of each record");
    assert_eq!(rig.engine.counts().ordered, 2 + 3);
    rig.reply(first[0].0, OK);
    let second = rig.requests(&mut known);
    assert_eq!(luts(&second), [[11]]);
    rig.reply(second[0].0, BUSY);
    let third = rig.requests(&mut known);
    assert_eq!(luts(&third), [[12]], "the failure of one does not hold the next");
    rig.reply(third[0].0, OK);
    rig.reply(first[1].0, OK);
    assert_eq!(rig.codes(), [0, 0, 0, 11, 0]);
    rig.versions(rig.source, &[(1, 11, b'd'), (1, 11, b'u')]);
    assert_eq!(rig.codes(), [0, 0], "what was refused comes again, and is stale by now");
    let counters = rig.engine.counters();
    assert_eq!((counters.stale, counters.stale_updates, counters.requests), (3, 1, 4));
    rig.assert_ordered(2);
}

#[test]
fn the_slot_is_taken_until_the_last_request_is_over_although_the_source_has_its_code() {
    let mut rig = Rig::new(&ordered(2));
    let mut known = Vec::new();
    rig.version(1, 10);
    let first = rig.requests(&mut known);
    rig.reply(first[0].0, BUSY);
    assert_eq!(rig.codes(), [11]);
    rig.versions(rig.source, &[(1, 10, b'r'), (1, 11, b'r')]);
    assert_eq!(rig.requests(&mut known), [], "the second destination still has 10");
    rig.reply(first[1].0, OK);
    let second = rig.requests(&mut known);
    assert_eq!(luts(&second), [[10], [10]]);
    rig.reply(second[0].0, OK);
    assert_eq!(rig.requests(&mut known), []);
    rig.reply(second[1].0, OK);
    let third = rig.requests(&mut known);
    assert_eq!(luts(&third), [[11], [11]]);
    third.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    assert_eq!(rig.codes(), [0, 0]);
    rig.assert_ordered(1);
}

#[test]
fn a_half_delivered_version_makes_no_older_one_stale() {
    let mut rig = Rig::new(&ordered(2));
    let mut known = Vec::new();
    rig.version(1, 10);
    let first = rig.requests(&mut known);
    rig.version(1, 9);
    rig.reply(first[0].0, BUSY);
    rig.reply(first[1].0, OK);
    assert_eq!(rig.codes(), [11, 11], "10 was not delivered, so 9 is not stale");
    rig.version(1, 9);
    assert_eq!(rig.codes(), [11], "the second destination has 10, and must not see 9 after it");
    rig.version(1, 10);
    let second = rig.requests(&mut known);
    assert_eq!(luts(&second), [[10], [10]]);
    second.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    rig.version(1, 9);
    assert_eq!(rig.codes(), [0, 0]);
    rig.assert_ordered(1);
}

#[test]
fn a_version_that_waits_for_one_in_an_open_batch_has_it_sent_and_never_stands_beside_it() {
    let mut rig = Rig::new(&batched(ordered(1), 100));
    let mut known = Vec::new();
    rig.versions(rig.source, &[(1, 10, b'r'), (2, 20, b'r'), (1, 11, b'r'), (3, 30, b'r'), (1, 12, b'r')]);
    let first = rig.requests(&mut known);
    assert!(luts(&first).iter().flatten().all(|lut| ![11, 12].contains(lut)), "{first:?}");
    assert_eq!(first[0].1[0], 10);
    first.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    rig.tick();
    let second = rig.requests(&mut known);
    assert_eq!(second.iter().flat_map(|(_, luts)| luts).filter(|lut| [11, 12].contains(*lut)).count(), 1);
    second.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    rig.after(2_000);
    rig.tick();
    let third = rig.requests(&mut known);
    assert_eq!(luts(&third), [[12]]);
    third.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    assert_eq!(rig.codes(), [0; 5]);
    rig.assert_ordered(3);
}

#[test]
fn a_batch_that_is_taken_apart_keeps_the_slots_of_its_records() {
    let mut rig = Rig::new(&batched(ordered(1), 2));
    let mut known = Vec::new();
    rig.versions(rig.source, &[(1, 10, b'r'), (2, 20, b'r')]);
    let first = rig.requests(&mut known);
    assert_eq!(luts(&first), [[10, 20]]);
    rig.version(1, 11);
    rig.reply(first[0].0, REFUSED);
    let apart = rig.requests(&mut known);
    let mut seen: Vec<u64> = apart.iter().flat_map(|(_, luts)| luts.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [10, 20], "11 waits for 10, which is tried on its own");
    for (connection, luts) in &apart {
        rig.reply(*connection, if luts == &[10] { REFUSED } else { OK });
    }
    rig.after(2_000);
    rig.tick();
    let last = rig.requests(&mut known);
    assert_eq!(luts(&last), [[11]]);
    rig.reply(last[0].0, OK);
    assert_eq!(rig.codes(), [10, 0, 0]);
    rig.assert_ordered(2);
}

#[test]
fn a_version_whose_source_has_gone_is_in_flight_while_a_destination_has_its_batch() {
    let mut config = batched(ordered(2), 2);
    config.destinations[1].max_connections_per_endpoint = 1;
    let mut rig = Rig::new(&config);
    let (mut known, other) = (Vec::new(), rig.another_source());
    rig.versions(rig.source, &[(8, 1, b'r'), (9, 1, b'r')]);
    let busy = rig.requests(&mut known);
    rig.reply(busy[0].0, OK);
    // The first destination gets this batch, the only connection to the second one is busy.
    rig.versions(other, &[(1, 10, b'r')]);
    rig.version(2, 20);
    let first = rig.requests(&mut known);
    assert_eq!(luts(&first), [[10, 20]]);
    rig.engine.source_closed(other);
    rig.reply(busy[1].0, OK);
    let second = rig.requests(&mut known);
    rig.versions(rig.source, &[(1, 11, b'r'), (3, 30, b'r')]);
    rig.after(2_000);
    rig.tick();
    let meanwhile = rig.requests(&mut known);
    assert!(luts(&meanwhile).concat().iter().all(|lut| *lut != 11), "10 may still be on its way: {meanwhile:?}");
    for (connection, _) in first.iter().chain(&second).chain(&meanwhile) {
        rig.reply(*connection, OK);
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        rig.after(2_000);
        rig.tick();
        let next = rig.requests(&mut known);
        seen.extend(luts(&next).concat());
        next.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    }
    assert_eq!(seen.iter().filter(|lut| **lut == 11).count(), 2, "then 11 goes to both: {seen:?}");
    assert_eq!(rig.codes(), [0; 5]);
    rig.assert_ordered(5);
}

#[test]
fn a_version_that_is_dropped_from_a_batch_which_a_destination_took_holds_older_ones_back() {
    let mut rig = Rig::new(&batched(ordered(2), 2));
    let (mut known, other) = (Vec::new(), rig.another_source());
    rig.versions(other, &[(1, 10, b'r')]);
    rig.version(2, 20);
    let first = rig.requests(&mut known);
    assert_eq!(luts(&first), [[10, 20], [10, 20]]);
    rig.reply(first[0].0, OK);
    rig.engine.source_closed(other);
    rig.reply(first[1].0, REFUSED);
    let apart = rig.requests(&mut known);
    assert_eq!(luts(&apart), [[20]], "nobody waits for 10");
    rig.reply(apart[0].0, OK);
    assert_eq!(rig.codes(), [0]);
    rig.version(1, 9);
    assert_eq!(rig.codes(), [11], "the first destination has 10, and must not see 9 after it");
    rig.assert_ordered(2);
}

#[test]
fn waiting_versions_obey_their_deadline_and_one_in_flight_is_over_at_its_own() {
    let mut config = ordered(1);
    config.destinations[0].call_timeout = Duration::from_secs(20);
    let mut rig = Rig::new(&config);
    let mut known = Vec::new();
    rig.version(1, 10);
    rig.requests(&mut known);
    rig.after(1_000);
    rig.version(1, 11);
    rig.after(1_000);
    rig.version(1, 12);
    rig.after(5_000);
    rig.tick();
    assert_eq!(rig.codes(), [11], "10 is over");
    let second = rig.requests(&mut known);
    assert_eq!(luts(&second), [[11]]);
    rig.after(1_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    let third = rig.requests(&mut known);
    assert_eq!(luts(&third), [[12]]);
    rig.version(1, 13);
    rig.after(1_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    rig.requests(&mut known);
    rig.after(6_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    rig.assert_ordered(0);
}

#[test]
fn what_a_source_left_waiting_is_not_sent() {
    let mut rig = Rig::new(&ordered(1));
    let mut known = Vec::new();
    let other = rig.another_source();
    rig.version(1, 10);
    rig.versions(other, &[(1, 11, b'r')]);
    rig.version(1, 12);
    let first = rig.requests(&mut known);
    rig.engine.source_closed(other);
    rig.reply(first[0].0, OK);
    let second = rig.requests(&mut known);
    assert_eq!(luts(&second), [[12]]);
    rig.reply(second[0].0, OK);
    assert_eq!(rig.codes(), [0, 0]);
    rig.assert_ordered(1);
}

#[test]
fn a_record_that_found_no_way_frees_its_slot() {
    let mut config = ordered(1);
    config.destinations[0].max_request_queued_per_endpoint = 1;
    config.destinations[0].max_connections_per_endpoint = 1;
    let mut rig = Rig::new(&config);
    let mut known = Vec::new();
    rig.version(1, 10);
    let first = rig.requests(&mut known);
    rig.version(1, 11);
    // The only place in the queue.
    rig.version(2, 20);
    rig.reply(first[0].0, BUSY);
    let second = rig.requests(&mut known);
    assert_eq!(second.len(), 1);
    rig.reply(second[0].0, OK);
    let third = rig.requests(&mut known);
    third.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    let codes = rig.codes();
    assert_eq!((codes.len(), codes[0]), (3, 11));
    rig.assert_ordered(third.len() + 1);
}

#[test]
fn beyond_64_waiting_versions_a_record_is_refused_and_a_hot_one_holds_no_other_up() {
    let mut rig = Rig::new(&ordered(1));
    let mut known = Vec::new();
    let all: Vec<(u8, u64, u8)> = (0..70).map(|number| (1, 10 + number, b'r')).chain([(2, 5, b'r')]).collect();
    rig.versions(rig.source, &all);
    let first = rig.requests(&mut known);
    assert_eq!(luts(&first), [[10], [5]]);
    assert_eq!(rig.engine.counters().ordered_refused, 5);
    let mut next = first;
    for lut in 10..75 {
        let (connection, sent) = next.iter().find(|(_, luts)| luts[0] >= 10).unwrap().clone();
        assert_eq!(sent, [lut]);
        rig.reply(connection, OK);
        next = rig.requests(&mut known);
    }
    let codes = rig.codes();
    assert_eq!(codes, [[0u8; 65].as_slice(), &[11; 5]].concat(), "the other record's code comes in its turn");
    rig.reply(known[1], OK);
    rig.reply(known[0], OK);
    assert_eq!(rig.codes(), [0]);
    rig.assert_ordered(2);
}

#[test]
fn with_coalesce_waiting_only_the_newest_complete_version_is_sent() {
    let mut config = ordered(1);
    config.rules.top.ordering.as_mut().unwrap().coalesce_waiting = true;
    let mut rig = Rig::new(&config);
    let mut known = Vec::new();
    rig.versions(rig.source, &[(1, 10, b'r'), (1, 11, b'u'), (1, 12, b'r'), (1, 13, b'd'), (1, 14, b'u')]);
    let first = rig.requests(&mut known);
    rig.reply(first[0].0, OK);
    let second = rig.requests(&mut known);
    assert_eq!(luts(&second), [[13]]);
    assert_eq!(rig.codes(), [0]);
    rig.reply(second[0].0, OK);
    let third = rig.requests(&mut known);
    assert_eq!(luts(&third), [[14]]);
    rig.reply(third[0].0, BUSY);
    assert_eq!(rig.codes(), [0, 0, 0, 11]);
    assert_eq!((rig.engine.counters().coalesced, rig.engine.counters().stale), (2, 0));
    rig.assert_ordered(1);
}

#[test]
fn a_merged_version_is_answered_11_when_the_one_that_stands_for_it_fails_or_is_refused_for_good() {
    for (answer, code) in [(BUSY, 11), (REFUSED, 10)] {
        let mut config = ordered(1);
        config.rules.top.ordering.as_mut().unwrap().coalesce_waiting = true;
        let mut rig = Rig::new(&config);
        let mut known = Vec::new();
        rig.versions(rig.source, &[(1, 10, b'r'), (1, 11, b'r'), (1, 12, b'r')]);
        let first = rig.requests(&mut known);
        rig.reply(first[0].0, OK);
        let second = rig.requests(&mut known);
        assert_eq!(luts(&second), [[12]]);
        rig.reply(second[0].0, answer);
        assert_eq!(rig.codes(), [0, 11, code], "11 was never refused itself");
        rig.assert_ordered(1);
    }
}

#[test]
fn a_drain_sends_what_waits_and_leaves_nothing() {
    let mut rig = Rig::new(&batched(ordered(1), 100));
    let mut known = Vec::new();
    rig.versions(rig.source, &[(1, 10, b'r'), (1, 11, b'r'), (2, 20, b'r')]);
    rig.engine.drain(rig.now);
    let first = rig.requests(&mut known);
    first.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    let second = rig.requests(&mut known);
    assert!(luts(&second).concat().contains(&11), "{second:?}");
    assert_eq!(rig.engine.counts().batches, 0);
    second.iter().for_each(|(connection, _)| rig.reply(*connection, OK));
    assert_eq!(rig.codes(), [0, 0, 0]);
    rig.assert_ordered(2);
}

#[test]
fn a_record_without_a_last_update_time_goes_as_it_is() {
    let mut rig = Rig::new(&ordered(1));
    let mut known = Vec::new();
    let mut bytes = frame(1, 10, b'd');
    // The last of three fields, and its 13 bytes.
    bytes.truncate(bytes.len() - 13);
    bytes[27] = 2;
    let size = (bytes.len() as u64 - 8).to_be_bytes();
    bytes[2..8].copy_from_slice(&size[2..]);
    let twice = [bytes.clone(), bytes].concat();
    rig.engine.source_receive(rig.source, &twice, Now { monotonic: rig.now, unix_ms: 0 });
    while let Some(connect) = rig.engine.next_connect() {
        rig.engine.connection_opened(connect.connection, rig.now);
        known.push(connect.connection);
    }
    known.iter().for_each(|connection| _ = rig.write(*connection));
    known.iter().for_each(|connection| rig.reply(*connection, OK));
    assert_eq!(rig.codes(), [0, 0]);
    assert_eq!((rig.engine.counters().unordered, rig.engine.counters().requests), (2, 2));
    rig.assert_ordered(0);
}

#[test]
fn at_the_limit_of_a_drain_the_next_version_of_another_executors_record_is_not_sent() {
    let (mut one, mut two) = super::handover::pair(100);
    let mut key = 0;
    while one.engine.counters().handed_over == 0 {
        key += 1;
        one.version(key, 5);
    }
    one.version(key, 6);
    super::handover::exchange(&mut one, &mut two);
    let mut known = Vec::new();
    let sent = two.requests(&mut known);
    assert_eq!(luts(&sent), [[5]]);
    two.engine.limits.drain = Duration::from_secs(1);
    let now = two.now;
    two.engine.drain(now);
    two.now = two.engine.drain_until().unwrap();
    one.now = two.now;
    two.tick();
    let more = two.requests(&mut known);
    assert_eq!(luts(&more), Vec::<Vec<u64>>::new());
}
