use super::*;
use crate::format::ContentType;

const ALL: Filter = Filter::ALL;

fn taps(filters: &[Filter]) -> Taps {
    let mut taps = Taps::new(0, DecodeLimits { max_depth: 8 });
    let named: Vec<(u64, Filter)> = filters.iter().cloned().enumerate().map(|(id, it)| (id as u64, it)).collect();
    taps.set(&named);
    taps
}

fn arrival() -> Arrival {
    Arrival { peer: None, port: Some(3000), unix_ms: 0 }
}

/// Whether a record of these is followed.
fn is_wanted(filter: &Filter, namespace: &[u8], set: Option<&[u8]>, destinations: &[usize]) -> bool {
    let candidate = Candidate { namespace: Some(namespace), set, destinations };
    taps(std::slice::from_ref(filter)).consider(&candidate, arrival(), b"", Time::ZERO)
}

const ANY: Candidate<'_> = Candidate { namespace: Some(b"n"), set: None, destinations: &[] };

/// Puts record `number` through, answered with `code`.
fn go_through(taps: &mut Taps, number: u64, code: u8) {
    let place = (Origin::Ghost(Key { slot: 0, generation: 0 }), number);
    taps.begins(Time::ZERO, Time::ZERO);
    taps.consider(&ANY, arrival(), b"not a message", Time::ZERO);
    taps.enter(place, true);
    taps.answered(place, code, Time::ZERO);
}

#[test]
fn a_filter_wants_what_it_names_and_nothing_else() {
    let namespace = Filter { namespace: Some(b"a".to_vec()), ..ALL };
    assert!(is_wanted(&namespace, b"a", None, &[]) && is_wanted(&namespace, b"a", Some(b"s"), &[1]));
    assert!(!is_wanted(&namespace, b"b", None, &[]) && !is_wanted(&namespace, b"aa", None, &[]));
    let set = Filter { set: Some(b"s".to_vec()), ..ALL };
    assert!(is_wanted(&set, b"b", Some(b"s"), &[]));
    assert!(!is_wanted(&set, b"s", None, &[]) && !is_wanted(&set, b"b", Some(b"t"), &[]));
    let no_set = Filter { set: Some(Vec::new()), ..ALL };
    assert!(is_wanted(&no_set, b"b", None, &[]) && !is_wanted(&no_set, b"b", Some(b"s"), &[]));
    let destination = Filter { destination: Some(1), ..ALL };
    assert!(is_wanted(&destination, b"b", None, &[0, 1]));
    assert!(!is_wanted(&destination, b"b", None, &[0]) && !is_wanted(&destination, b"b", None, &[]));
    let unknown = Candidate { namespace: None, set: None, destinations: &[] };
    for (filter, expected) in [(ALL, true), (namespace, false), (no_set, false), (destination, false)] {
        assert_eq!(taps(&[filter]).consider(&unknown, arrival(), b"", Time::ZERO), expected);
    }
}

#[test]
fn a_share_is_that_share_and_one_is_every_record() {
    for share in [0.5, 0.01] {
        let mut taps = taps(&[Filter { share: Share::of(share).unwrap(), ..ALL }]);
        let mut taken = 0;
        for _ in 0..100_000 {
            taps.tick(Time::ZERO);
            taken += u32::from(taps.consider(&ANY, arrival(), b"", Time::ZERO));
            taps.enter((Origin::Ghost(Key { slot: 0, generation: 0 }), 0), false);
        }
        let expected = share * 100_000.0;
        assert!((f64::from(taken) - expected).abs() < 5.0 * expected.sqrt(), "{taken} of {expected}");
    }
    assert_eq!(Share::of(1.0), Some(Share::ALL));
    for wrong in [0.0, -1.0, 1.01, f64::NAN, f64::INFINITY] {
        assert_eq!(Share::of(wrong), None, "{wrong}");
    }
    assert!(Share::of(1e-30).is_some_and(|share| share.0 == 1), "never none at all");
}

#[test]
fn each_bound_holds_and_what_is_beyond_is_counted() {
    let mut taps = taps(&[ALL]);
    let missed = |taps: &mut Taps| taps.take_missed().next().unwrap();
    for number in 0..FOLLOWED_PER_TICK as u64 + 10 {
        go_through(&mut taps, number, 0);
    }
    assert_eq!((taps.events.len(), missed(&mut taps)), (QUEUE, (0, 10)));
    taps.tick(Time::ZERO);
    go_through(&mut taps, 0, 0);
    assert_eq!((taps.events.len(), missed(&mut taps)), (QUEUE, (0, 1)), "nobody takes the lines");
    while taps.next_event().is_some() {}
    assert_eq!((taps.event_bytes, taps.followed(), taps.kept_bytes()), (0, 0, 0));
    // Records that never end.
    for number in 0..FOLLOWED as u64 + 5 {
        taps.tick(Time::ZERO);
        taps.consider(&ANY, arrival(), &[0; 100], Time::ZERO);
        taps.enter((Origin::Ghost(Key { slot: 0, generation: 0 }), number), true);
    }
    assert_eq!((taps.followed(), taps.kept_bytes(), missed(&mut taps)), (FOLLOWED, FOLLOWED * 100, (0, 5)));
    taps.tick(Time::ZERO + LONGEST);
    assert_eq!((taps.followed(), taps.kept_bytes(), taps.events.len()), (0, 0, QUEUE));
}

#[test]
fn large_messages_are_not_kept_and_the_record_is_shown_all_the_same() {
    let mut taps = taps(&[ALL]);
    let place = (Origin::Ghost(Key { slot: 0, generation: 0 }), 0);
    taps.consider(&ANY, arrival(), &vec![0; MESSAGE_BYTES + 1], Time::ZERO);
    taps.enter(place, true);
    assert_eq!(taps.kept_bytes(), 0);
    taps.answered(place, 0, Time::ZERO);
    let line: serde_json::Value = serde_json::from_slice(&taps.next_event().unwrap().line).unwrap();
    assert_eq!(line["message_bytes"], MESSAGE_BYTES + 1);
    assert!(line["record_left_out"].is_string());
    let mut all = 0;
    for number in 0..64 {
        all += usize::from(taps.consider(&ANY, arrival(), &vec![0; MESSAGE_BYTES], Time::ZERO));
        taps.enter((place.0, number), true);
    }
    assert_eq!((all, taps.kept_bytes()), (64, KEPT_BYTES));
}

/// A request of one header and one body, on its way to one destination.
fn request(value: &str, body: &[u8]) -> Sent {
    Sent {
        protocol: "HTTP_2",
        start: ("POST", "/in".to_owned()),
        headers: vec![("x".to_owned(), value.to_owned())],
        body_bytes: body.len(),
        body: Bytes::copy_from_slice(body),
        content: ContentType::Json,
    }
}

#[test]
fn all_that_is_kept_is_counted_and_bounded_and_what_is_left_out_says_so() {
    let mut taps = taps(&[ALL]);
    let key = Key { slot: 0, generation: 0 };
    let headers = size_of::<(String, String)>() + 1;
    let mut way = Way { place: (Origin::Ghost(key), 0), flight: key, destination: 0, names: ("d0", "http://d0/in") };
    taps.begins(Time::ZERO, Time::ZERO);
    taps.consider(&ANY, arrival(), b"message", Time::ZERO);
    taps.note(&"why");
    taps.enter(way.place, true);
    assert_eq!(taps.kept_bytes(), 7 + 3);
    taps.sent(&way, None, request(&"v".repeat(5000), b"{}"));
    let all = 7 + 3 + "d0http://d0/in/in".len() + headers + 1024 + 2;
    assert_eq!(taps.kept_bytes(), all);
    taps.sent(&way, None, request("v", b"{}"));
    assert_eq!(taps.kept_bytes(), all - 1023, "the second try is in the place of the first one");
    taps.error(&way, &"refused");
    assert_eq!(taps.kept_bytes(), all - 1023 + 7);
    for number in 1..FOLLOWED as u64 {
        taps.tick(Time::ZERO);
        way.place.1 = number;
        taps.consider(&ANY, arrival(), &[0; 30_000], Time::ZERO);
        taps.enter(way.place, true);
        for destination in 0..4 {
            taps.sent(&Way { destination, ..way }, None, request(&"v".repeat(1000), &[b'1'; 1000]));
        }
    }
    let words = FOLLOWED * 4 * "d0http://d0/in/in".len();
    assert!((KEPT_BYTES - 30_000..KEPT_BYTES + words).contains(&taps.kept_bytes()), "{}", taps.kept_bytes());
    for number in [1, FOLLOWED as u64 - 1] {
        taps.answered((way.place.0, number), 0, Time::ZERO);
        let line: serde_json::Value = serde_json::from_slice(&taps.next_event().unwrap().line).unwrap();
        let call = &line["destinations"][3];
        let is_left_out = number > 1;
        assert_eq!((call["request_headers"].is_null(), call["body_cut"] == true), (is_left_out, is_left_out), "{call}");
        assert_eq!((&call["method"], &call["body_bytes"]), (&"POST".into(), &1000.into()));
    }
}

#[test]
fn what_only_an_ended_tap_wanted_is_dropped_at_once() {
    let other = Filter { namespace: Some(b"other".to_vec()), ..ALL };
    let mut taps = taps(&[ALL, other]);
    let follow = |taps: &mut Taps, number: u64, namespace: &[u8]| {
        let place = (Origin::Source(Key { slot: 0, generation: 0 }), number);
        taps.consider(&Candidate { namespace: Some(namespace), ..ANY }, arrival(), &[0; 100], Time::ZERO);
        taps.enter(place, true);
        place
    };
    let released = |number: u64| Released { number, answer: 0.into(), waited: Duration::ZERO, total: Duration::ZERO };
    for number in 0..10 {
        let place = follow(&mut taps, number, b"n");
        taps.released(place, &released(number), 0);
    }
    let place = follow(&mut taps, 10, b"other");
    go_through(&mut taps, 11, 0);
    assert_eq!((taps.followed(), taps.kept_bytes(), taps.unwritten.len(), taps.events.len()), (11, 1100, 10, 1));
    taps.set(&[(1, Filter { namespace: Some(b"other".to_vec()), ..ALL })]);
    assert_eq!((taps.followed(), taps.kept_bytes()), (1, 100));
    assert_eq!((taps.unwritten.len(), taps.events.len(), taps.event_bytes), (0, 0, 0));
    taps.released(place, &released(10), 0);
    taps.wrote(Key { slot: 0, generation: 0 }, 1);
    assert_eq!(taps.next_event().unwrap().taps, [1]);
    assert_eq!((taps.followed(), taps.kept_bytes()), (0, 0));
}

#[test]
fn taps_do_not_see_each_others_records_and_one_that_does_not_read_costs_the_others_nothing() {
    let failed = Filter { failed: true, ..ALL };
    let mut taps = taps(&[ALL, failed]);
    go_through(&mut taps, 0, 0);
    go_through(&mut taps, 1, 11);
    let both: Vec<Vec<u64>> = std::iter::from_fn(|| taps.next_event()).map(|event| event.taps).collect();
    assert_eq!(both, [vec![0], vec![0, 1]]);
    taps.set_full(0, true);
    go_through(&mut taps, 2, 11);
    assert_eq!(taps.next_event().unwrap().taps, [1]);
    assert_eq!(taps.take_missed().collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    // Its place is another one's by now.
    taps.set(&[(7, ALL)]);
    go_through(&mut taps, 3, 0);
    assert_eq!(taps.next_event().unwrap().taps, [7]);
}

#[test]
fn text_is_cut_between_letters() {
    assert_eq!(event::cut(&"ä".repeat(600)).len(), 1024);
    assert_eq!(event::cut(&format!("a{}", "ä".repeat(600))).len(), 1023);
}
