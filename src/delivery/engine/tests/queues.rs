//! What waits for an endpoint, and what only looks as if it did.

use super::*;

/// Two destinations with one connection each, and queues of these numbers of records.
fn queues(limits: [u32; 2]) -> Config {
    let mut config = config(2);
    for (destination, limit) in config.destinations.iter_mut().zip(limits) {
        destination.max_connections_per_endpoint = 1;
        destination.max_request_queued_per_endpoint = limit;
    }
    config
}

#[test]
fn records_that_are_over_take_no_room_in_the_queue_of_a_destination_that_is_slow() {
    let mut rig = Rig::new(&queues([10, 10]));
    rig.another_source();
    rig.send(1);
    let connections = rig.connect();
    // The second destination has one record, and answers nothing; the first one refuses each.
    for number in 0..20_000u64 {
        rig.answer(connections[0].connection, BUSY);
        assert_eq!(rig.codes(), [11]);
        assert_eq!(rig.engine.counters().requests, number + 2, "each is sent to the first one");
        rig.send(1);
        rig.write(connections[0].connection);
    }
    assert_eq!((rig.engine.counts().queued, rig.engine.counters().refused), (1, 0));
    let kept = rig.engine.endpoints[1].queue.len();
    assert!(kept < 5_000, "{kept} entries for one record");
    rig.answer(connections[0].connection, OK);
    rig.answer(connections[1].connection, OK);
    rig.answer(connections[1].connection, OK);
    assert_eq!(rig.codes(), [0], "the one that was not over is sent all the same");
    rig.assert_empty();
}

#[test]
fn records_that_wait_for_another_destination_have_their_place_in_the_queue_already() {
    let mut rig = Rig::new(&queues([10, 100]));
    rig.send(1);
    let mut connects: Vec<Connect> = std::iter::from_fn(|| rig.engine.next_connect()).collect();
    connects.sort_by_key(|connect| connect.endpoint);
    let [first, second] = [connects[0].connection, connects[1].connection];
    let now = rig.now;
    rig.engine.connection_opened(first, now);
    rig.send(50);
    assert_eq!(rig.engine.counters().requests, 0, "nothing is sent before both are there");
    let taken = |rig: &Rig| rig.engine.endpoints.iter().map(|endpoint| endpoint.queued.used()).collect::<Vec<_>>();
    assert_eq!(taken(&rig), [10, 10]);
    assert_eq!(rig.engine.counters().refused, 41);
    rig.engine.connection_opened(second, now);
    assert_eq!((rig.engine.counters().requests, taken(&rig)), (2, vec![9, 9]));
    for _ in 0..10 {
        for connection in [first, second] {
            rig.write(connection);
            rig.answer(connection, OK);
        }
    }
    let codes = rig.codes();
    assert_eq!((&codes[..10], &codes[10..]), (&[0; 10][..], &[11; 41][..]));
    rig.assert_empty();
}

#[test]
fn a_record_that_is_over_while_it_waits_for_another_destination_gives_its_place_back() {
    let mut rig = Rig::new(&queues([10, 100]));
    rig.send(1);
    let mut connects: Vec<Connect> = std::iter::from_fn(|| rig.engine.next_connect()).collect();
    connects.sort_by_key(|connect| connect.endpoint);
    let now = rig.now;
    rig.engine.connection_opened(connects[0].connection, now);
    rig.send(9);
    rig.after(7_000);
    rig.tick();
    assert_eq!(rig.codes(), [11; 10]);
    rig.assert_empty();
    assert!(rig.engine.endpoints.iter().all(|endpoint| endpoint.queued.used() == 0));
}
