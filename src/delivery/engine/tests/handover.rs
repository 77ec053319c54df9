//! What one executor may have handed to another one, in records and in bytes.

use super::super::sources::Input;
use super::*;
use crate::config::model::RecordOrdering;
use crate::delivery::handover::{LINK_BYTES, LINK_RECORDS};

/// Two executors that share everything, the first with a source of bodies of so many bytes.
pub(super) fn pair(body_bytes: usize) -> (Rig, Rig) {
    let mut config = config(1);
    config.rules.top.ordering = Some(RecordOrdering {
        enable: true,
        ttl: Duration::from_secs(30),
        coalesce_waiting: false,
        max_entries: 20_000,
    });
    config.service.max_concurrent_records = 100_000;
    config.destinations[0].max_request_queued_per_endpoint = 100_000;
    config.destinations[0].call_timeout = Duration::from_secs(20);
    let shared = SharedLimits::new(&config, 2);
    let mut one = Rig::of(&config, &shared, 0);
    one.frames = Generator::new(&RecordSpec { body_bytes, ..RecordSpec::default() }).unwrap();
    (one, Rig::of(&config, &shared, 1))
}

/// Sends for as long as the source is read; how many were handed over.
fn fill(one: &mut Rig) -> u64 {
    while one.engine.source_input(one.source, one.now) == Input::Read {
        one.send(1);
        assert!(one.sent < 20_000, "nothing ends it");
    }
    one.engine.counters().handed_over
}

#[test]
fn records_without_a_code_are_bounded_and_after_2_s_only_the_owners_own_are_taken() {
    let (mut one, mut two) = pair(100);
    assert_eq!(fill(&mut one), LINK_RECORDS as u64);
    while let Some((to, parcel)) = one.engine.next_parcel() {
        assert_eq!(to, 1);
        two.engine.take_parcel(0, parcel, two.now);
    }
    while let Some((_, parcel)) = two.engine.next_parcel() {
        one.engine.take_parcel(1, parcel, one.now);
    }
    assert_eq!(one.engine.source_input(one.source, one.now), Input::Wait, "they are looked at and have no code");
    one.after(1_999);
    assert_eq!(one.engine.source_input(one.source, one.now), Input::Wait);
    one.after(1);
    let before = one.engine.in_flight();
    assert_ne!(one.engine.source_input(one.source, one.now), Input::Wait);
    one.send(100);
    let own = one.engine.in_flight() - before;
    assert!((20..80).contains(&own), "{own} of 100 are its own");
    assert_eq!(one.engine.counters().handed_over, LINK_RECORDS as u64);
}

#[test]
fn bytes_that_the_owner_has_not_looked_at_are_bounded() {
    const BODY: u64 = 50 << 10;
    let (mut one, mut two) = pair(BODY as usize);
    let bytes = fill(&mut one) * BODY;
    assert!((LINK_BYTES - BODY..LINK_BYTES + 2 * BODY).contains(&bytes), "{bytes}");
    let parcels: Vec<_> = std::iter::from_fn(|| one.engine.next_parcel()).collect();
    assert_eq!(one.engine.source_input(one.source, one.now), Input::Wait, "they are on their way");
    for (_, parcel) in parcels {
        two.engine.take_parcel(0, parcel, two.now);
    }
    while let Some((_, parcel)) = two.engine.next_parcel() {
        one.engine.take_parcel(1, parcel, one.now);
    }
    assert_ne!(one.engine.source_input(one.source, one.now), Input::Wait, "there is room again");
}

/// Carries parcels until there are none.
pub(super) fn exchange(one: &mut Rig, two: &mut Rig) {
    loop {
        let there: Vec<_> = std::iter::from_fn(|| one.engine.next_parcel()).collect();
        let back: Vec<_> = std::iter::from_fn(|| two.engine.next_parcel()).collect();
        if there.is_empty() && back.is_empty() {
            return;
        }
        there.into_iter().for_each(|(_, parcel)| two.engine.take_parcel(0, parcel, two.now));
        back.into_iter().for_each(|(_, parcel)| one.engine.take_parcel(1, parcel, one.now));
    }
}

/// Sends records until one is the other executor's and has a connection there that it was written to.
fn hand_over_one(one: &mut Rig, two: &mut Rig) -> Key {
    while one.engine.counters().handed_over == 0 {
        one.send(1);
    }
    exchange(one, two);
    two.connect()[0].connection
}

fn both(one: &Rig, two: &Rig, of: fn(&Counters) -> u64) -> u64 {
    of(one.engine.counters()) + of(two.engine.counters())
}

#[test]
fn a_record_that_is_handed_over_misses_its_deadline_once_whoever_sees_it_first() {
    for owner_first in [false, true] {
        let (mut one, mut two) = pair(100);
        hand_over_one(&mut one, &mut two);
        let sent = one.sent;
        one.after(7_000);
        two.after(7_000);
        if owner_first {
            two.tick();
            exchange(&mut one, &mut two);
        }
        one.tick();
        two.tick();
        exchange(&mut one, &mut two);
        assert_eq!(one.codes(), vec![11; sent as usize]);
        assert_eq!(both(&one, &two, |it| it.deadlines), sent);
    }
}

#[test]
fn a_record_that_was_taken_and_whose_connection_has_gone_is_a_duplicate_once() {
    for is_known in [false, true] {
        let (mut one, mut two) = pair(100);
        let connection = hand_over_one(&mut one, &mut two);
        one.engine.source_closed(one.source);
        if is_known {
            exchange(&mut one, &mut two);
        }
        two.answer(connection, OK);
        exchange(&mut one, &mut two);
        assert_eq!(both(&one, &two, |it| it.duplicates), 1, "known there: {is_known}");
    }
}

#[test]
fn a_code_that_comes_back_after_the_deadline_tells_of_a_duplicate() {
    let (mut one, mut two) = pair(100);
    let connection = hand_over_one(&mut one, &mut two);
    one.after(7_000);
    one.tick();
    two.answer(connection, OK);
    exchange(&mut one, &mut two);
    assert_eq!(one.codes().last(), Some(&11));
    assert_eq!(both(&one, &two, |it| it.duplicates), 1);
}

/// The owner's drain is over, and that of the executor whose records it has a few milliseconds later.
#[test]
fn after_the_limit_of_a_drain_no_record_of_another_executor_is_sent() {
    let (mut one, mut two) = pair(100);
    hand_over_one(&mut one, &mut two);
    let before = two.engine.counters().requests;
    // More of the same kind wait in the owner's queue of parcels.
    let handed = one.engine.counters().handed_over;
    while one.engine.counters().handed_over < handed + 3 {
        one.send(1);
    }
    let now = two.now;
    two.engine.limits.drain = Duration::from_secs(1);
    two.engine.drain(now);
    two.now = two.engine.drain_until().unwrap();
    one.now = two.now;
    two.tick();
    exchange(&mut one, &mut two);
    two.connect();
    assert_eq!(two.engine.counters().requests, before, "what was not sent never is");
}

#[test]
fn a_late_record_that_its_owner_never_looked_at_counts_as_expired_once() {
    let (mut one, mut two) = pair(100);
    while one.engine.counters().handed_over == 0 {
        one.send(1);
    }
    one.after(7_000);
    two.after(7_000);
    exchange(&mut one, &mut two);
    one.tick();
    two.tick();
    exchange(&mut one, &mut two);
    let sent = one.sent;
    assert_eq!(one.codes(), vec![11; sent as usize]);
    assert_eq!(both(&one, &two, |it| it.deadlines), sent);
}
