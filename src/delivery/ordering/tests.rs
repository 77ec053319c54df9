//! Rules one by one, and any sequence of events against the rules as sentences.

use proptest::prelude::*;

use super::*;

/// A waiter by number, and whether its body is gone.
#[derive(Debug, PartialEq, Eq)]
struct Number(usize, bool);

impl Waiter for Number {
    fn drop_body(&mut self) {
        self.1 = true;
    }
}

const TTL: Duration = Duration::from_secs(30);

fn id(record: u8) -> RecordId {
    RecordId { namespace: 0, digest: [record; 20] }
}

fn version(record: u8, lut: u64) -> Version {
    Version { id: id(record), lut, complete: true, rule: Rule { route: 0, domain: 0, ttl: 0, coalesce: false } }
}

fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

fn ordering() -> Ordering<Number> {
    Ordering::new(100, &[TTL])
}

/// Numbers and endings of what has ended.
fn ended(all: &mut Ordering<Number>) -> Vec<(usize, Ending)> {
    std::iter::from_fn(|| all.next_ended()).map(|ended| (ended.waiter.0, ended.ending)).collect()
}

fn released(all: &mut Ordering<Number>, now: Time) -> Option<(Key, usize)> {
    all.next_released(now).map(|(key, waiter)| {
        assert!(!waiter.1, "what is sent has its body");
        (key, waiter.0)
    })
}

#[test]
fn newer_versions_wait_in_the_order_of_their_updates_and_older_ones_for_the_outcome() {
    let mut all = ordering();
    let slot = all.begin(&version(1, 10)).unwrap();
    for (number, lut, judged) in [(0, 12, Judgement::Wait), (1, 11, Judgement::Wait), (2, 9, Judgement::Follow)] {
        assert_eq!(all.judge(&version(1, lut)), judged);
        all.wait(version(1, lut), Number(number, false), at(7)).unwrap();
    }
    assert_eq!(all.judge(&version(2, 1)), Judgement::Send, "another record has nothing to do with it");
    assert_eq!(all.judge(&version(1, 10)), Judgement::Wait, "the same update again goes, one at a time");
    assert_eq!(released(&mut all, at(1)), None);
    all.settle(slot, Outcome::Delivered, at(1));
    assert_eq!(ended(&mut all), [(2, Ending::Stale)]);
    assert_eq!(released(&mut all, at(1)), Some((slot, 1)));
    assert_eq!(all.judge(&version(1, 9)), Judgement::Stale);
    all.settle(slot, Outcome::Failed, at(1));
    assert_eq!(released(&mut all, at(1)), Some((slot, 0)), "whatever became of the one before");
    all.settle(slot, Outcome::Delivered, at(1));
    assert_eq!(all.judge(&version(1, 11)), Judgement::Stale);
    assert_eq!(all.judge(&version(1, 12)), Judgement::Send);
    assert_eq!(all.busy(), 0);
}

#[test]
fn an_older_version_of_a_failed_one_is_sent_again_by_the_server_and_goes() {
    let mut all = ordering();
    let slot = all.begin(&version(1, 10)).unwrap();
    all.wait(version(1, 9), Number(0, false), at(7)).unwrap();
    all.settle(slot, Outcome::Failed, at(1));
    assert_eq!(ended(&mut all), [(0, Ending::Undone)]);
    assert_eq!(all.judge(&version(1, 9)), Judgement::Send);
    assert!(all.is_empty(), "a record of which nothing was delivered is not remembered");
}

#[test]
fn a_complete_newer_version_stands_for_those_that_wait_if_that_is_wanted() {
    let coalesce = |lut, complete| {
        let rule = Rule { route: 0, domain: 0, ttl: 0, coalesce: true };
        Version { complete, rule, ..version(1, lut) }
    };
    let mut all = ordering();
    let slot = all.begin(&coalesce(1, true)).unwrap();
    // 2 and 4 are complete, 3 and 5 are not: 2 is sent for itself, since 3 does not stand for it, 4 stands for both.
    for (number, lut, complete) in [(2, 2, true), (3, 3, false), (4, 4, true), (5, 5, false)] {
        assert_eq!(all.judge(&coalesce(lut, complete)), Judgement::Wait);
        all.wait(coalesce(lut, complete), Number(number, false), at(7)).unwrap();
    }
    assert_eq!(all.judge(&coalesce(3, true)), Judgement::Follow);
    all.wait(coalesce(3, true), Number(6, false), at(7)).unwrap();
    all.settle(slot, Outcome::Delivered, at(1));
    assert_eq!(released(&mut all, at(1)), Some((slot, 4)));
    assert_eq!(ended(&mut all), []);
    all.settle(slot, Outcome::Delivered, at(1));
    let mut merged = ended(&mut all);
    merged.sort_by_key(|(number, _)| *number);
    assert_eq!(merged, [(2, Ending::Merged), (3, Ending::Merged), (6, Ending::Merged)]);
    assert_eq!(released(&mut all, at(1)), Some((slot, 5)));
    all.settle(slot, Outcome::Failed, at(1));
    assert_eq!(all.busy(), 0);
}

#[test]
fn a_version_that_goes_elsewhere_makes_none_stale() {
    let elsewhere = |lut| Version { rule: Rule { route: 1, domain: 0, ttl: 0, coalesce: true }, ..version(1, lut) };
    let mut all = ordering();
    let slot = all.begin(&version(1, 10)).unwrap();
    assert_eq!(all.judge(&elsewhere(5)), Judgement::Wait, "one in flight all the same");
    all.settle(slot, Outcome::Delivered, at(1));
    assert_eq!(all.judge(&elsewhere(5)), Judgement::Send);
    let slot = all.begin(&elsewhere(5)).unwrap();
    all.settle(slot, Outcome::Delivered, at(1));
    assert_eq!(all.judge(&version(1, 9)), Judgement::Stale, "what is known stays known");
}

#[test]
fn a_record_is_forgotten_when_its_time_is_over_and_never_while_it_is_in_flight() {
    let mut all = ordering();
    let slot = all.begin(&version(1, 10)).unwrap();
    all.expire(at(100));
    assert_eq!(all.len(), 1);
    all.settle(slot, Outcome::Delivered, at(100));
    all.expire(at(129));
    assert_eq!(all.judge(&version(1, 9)), Judgement::Stale);
    all.expire(at(130));
    assert!(all.is_empty());
    assert_eq!(all.judge(&version(1, 9)), Judgement::Send);
}

#[test]
fn a_full_cache_forgets_the_oldest_idle_record_and_refuses_only_when_all_are_in_flight() {
    let mut all = Ordering::<Number>::new(2, &[TTL]);
    let first = all.begin(&version(1, 10)).unwrap();
    let second = all.begin(&version(2, 10)).unwrap();
    assert_eq!(all.judge(&version(3, 10)), Judgement::NoPlace);
    assert_eq!(all.begin(&version(3, 10)), None);
    all.settle(second, Outcome::Delivered, at(1));
    all.settle(first, Outcome::Delivered, at(2));
    assert_eq!(all.judge(&version(3, 10)), Judgement::Send);
    let third = all.begin(&version(3, 10)).unwrap();
    assert_eq!((all.len(), all.evicted()), (2, 1));
    assert_eq!(all.judge(&version(1, 9)), Judgement::Stale);
    assert_eq!(all.judge(&version(2, 9)), Judgement::Send, "the one that had rested longest is forgotten");
    all.settle(third, Outcome::Delivered, at(3));
}

#[test]
fn so_many_versions_wait_and_no_more() {
    let mut all = ordering();
    all.begin(&version(1, 1)).unwrap();
    for number in 0..WAITING_LIMIT {
        let version = version(1, 2 + u64::from(number));
        assert_eq!(all.judge(&version), Judgement::Wait);
        all.wait(version, Number(number.into(), false), at(7)).unwrap();
    }
    assert_eq!(all.judge(&version(1, 500)), Judgement::TooManyWait);
    all.expire(at(7));
    assert_eq!(ended(&mut all).len(), usize::from(WAITING_LIMIT));
    assert_eq!(all.judge(&version(1, 500)), Judgement::Wait);
}

#[test]
fn a_place_is_not_given_back_twice() {
    let mut all = ordering();
    let slot = all.begin(&version(1, 1)).unwrap();
    all.wait(version(1, 2), Number(0, false), at(2)).unwrap();
    all.settle(slot, Outcome::Delivered, at(1));
    // It is released, and late before anybody took it.
    all.expire(at(2));
    assert_eq!(ended(&mut all), [(0, Ending::Late)]);
    assert_eq!(all.judge(&version(1, 3)), Judgement::Send);
    let slot = all.begin(&version(1, 3)).unwrap();
    all.settle(slot, Outcome::Delivered, at(3));
    assert_eq!(released(&mut all, at(3)), None);
    assert_eq!((all.busy(), all.len()), (0, 1));
}

/// `docs/configuration.md` says so.
#[test]
fn a_remembered_record_takes_at_most_272_bytes() {
    // Seven entries of a hash map have eight places or more, each with a byte of its own; a number just above what so many
    // places are for has twice as many. A place that is free again is remembered, in a vector that doubles.
    let place = size_of::<(RecordId, Key)>() + 1;
    let entry = size_of::<Entry>() + 8 + 2 * size_of::<u32>();
    let worst = (1 << 20) / 8 * 7 + 1;
    let places = HashMap::<RecordId, Key>::with_capacity(worst).capacity() / 7 * 8;
    let bytes = entry + (place * places).div_ceil(worst);
    assert!(bytes <= 272, "{bytes}: an entry has {entry}, a place {place}");
}

/// What happens in a run of the property below.
#[derive(Debug, Clone)]
enum Step {
    Arrive { record: u8, lut: u64, complete: bool, route: u16 },
    Settle { which: prop::sample::Index, delivered: bool },
    Pass(u64),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..3, 0u64..12, any::<bool>(), prop_oneof![9 => Just(0u16), 1 => Just(1u16)])
            .prop_map(|(record, lut, complete, route)| Step::Arrive { record, lut, complete, route }),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.7))
            .prop_map(|(which, delivered)| Step::Settle { which, delivered }),
        1 => (0u64..3).prop_map(Step::Pass),
        2 => Just(Step::Release),
    ]
}

/// A version by the books of the test.
#[derive(Debug, Clone)]
struct Sent {
    version: Version,
    deadline: u64,
    delivered: Option<bool>,
}

#[derive(Default)]
struct Model {
    all: Vec<Sent>,
    /// By slot.
    in_flight: Vec<(Key, usize)>,
    waiting: Vec<usize>,
    /// In the order of ends.
    delivered: Vec<usize>,
    /// Versions that some destination took.
    taken: Vec<Version>,
    /// Nothing that was delivered is forgotten.
    remembers: bool,
}

impl Model {
    fn newest(&self, record: RecordId, route: u16) -> Option<u64> {
        let of = |number: &&usize| {
            let version = &self.all[**number].version;
            version.id == record && version.rule.route == route
        };
        self.delivered.iter().filter(of).map(|number| self.all[*number].version.lut).max()
    }

    fn arrives(&mut self, all: &mut Ordering<Number>, version: Version, now: u64) {
        let number = self.all.len();
        self.all.push(Sent { version, deadline: now + 7, delivered: None });
        let same = |other: &usize| self.all[*other].version.id == version.id;
        let is_alone = !self.in_flight.iter().any(|(_, other)| same(other)) && !self.waiting.iter().any(same);
        match all.judge(&version) {
            Judgement::Send => {
                assert!(is_alone);
                let key = all.begin(&version).expect("it was judged so");
                self.goes(key, number);
            }
            Judgement::Stale => {
                assert!(self.newest(version.id, version.rule.route).is_some_and(|newest| newest > version.lut));
            }
            judged @ (Judgement::Wait | Judgement::Follow) => {
                assert!(!is_alone);
                assert!(all.wait(version, Number(number, false), at(now + 7)).is_ok());
                let newer = |other: &Sent| other.version.id == version.id && other.version.lut > version.lut;
                let follows = self.in_flight.iter().any(|(_, other)| newer(&self.all[*other]));
                assert!(judged == Judgement::Wait || version.rule.coalesce || follows);
                self.waiting.push(number);
            }
            Judgement::Behind => assert!(self.taken.iter().any(|taken| taken.lut > version.lut)),
            Judgement::TooManyWait => assert!(self.waiting.len() >= usize::from(WAITING_LIMIT)),
            Judgement::NoPlace => assert!(is_alone && !self.remembers),
        }
    }

    fn goes(&mut self, key: Key, number: usize) {
        let version = self.all[number].version;
        let same = |other: usize| self.all[other].version.id == version.id;
        assert!(!self.in_flight.iter().any(|(_, other)| same(*other)), "one version of a record is in flight");
        assert!(
            !self.remembers || self.newest(version.id, version.rule.route).is_none_or(|newest| newest <= version.lut),
            "nothing older than what was delivered goes"
        );
        let newer = |taken: &Version| {
            taken.id == version.id && taken.rule.route == version.rule.route && taken.lut > version.lut
        };
        // The newest partly delivered one of one route is known.
        let one_route = !self.taken.iter().any(|taken| taken.rule.route != version.rule.route);
        assert!(!self.remembers || !one_route || !self.taken.iter().any(newer), "no destination sees it go back");
        self.in_flight.push((key, number));
    }

    fn ends(&mut self, number: usize, ending: Ending, now: u64) {
        let place = self.waiting.iter().position(|waiting| *waiting == number).expect("it waits, and ends once");
        self.waiting.remove(place);
        let Sent { version, deadline, .. } = self.all[number].clone();
        let newer = |strictly: bool| {
            self.newest(version.id, version.rule.route)
                .is_some_and(|newest| if strictly { newest > version.lut } else { newest >= version.lut })
        };
        match ending {
            Ending::Stale => assert!(newer(true), "a newer one was delivered"),
            Ending::Merged => assert!(newer(false) && version.rule.coalesce),
            Ending::Late => assert!(deadline <= now),
            Ending::Undone => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_one_version_is_in_flight_none_overtakes_and_each_ends_once(
        coalesce in any::<bool>(),
        limit in prop_oneof![Just(2usize), Just(100)],
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut all = Ordering::<Number>::new(limit, &[TTL * 1000]);
        let mut model = Model { remembers: limit > 3, ..Model::default() };
        let mut now = 1u64;
        let drain = Step::Pass(8);
        for step in steps.iter().chain(std::iter::once(&drain)) {
            match step {
                Step::Arrive { record, lut, complete, route } => {
                    let rule = Rule { route: *route, domain: 0, ttl: 0, coalesce };
                    model.arrives(&mut all, Version { id: id(*record), lut: *lut, complete: *complete, rule }, now);
                }
                Step::Settle { which, delivered } if !model.in_flight.is_empty() => {
                    let (key, number) = model.in_flight.remove(which.index(model.in_flight.len()));
                    model.all[number].delivered = Some(*delivered);
                    if *delivered {
                        model.delivered.push(number);
                    }
                    // A quarter of the failures has reached some destination.
                    let partly = !*delivered && number % 4 == 0;
                    let version = model.all[number].version;
                    let outcome = match (*delivered, partly) {
                        (true, _) => Outcome::Delivered,
                        (false, true) => Outcome::Partly,
                        (false, false) => Outcome::Failed,
                    };
                    if *delivered || partly {
                        model.taken.push(version);
                    }
                    all.settle(key, outcome, at(now));
                }
                Step::Settle { .. } => {}
                Step::Pass(seconds) => {
                    now += seconds;
                    all.expire(at(now));
                }
                Step::Release => {
                    while let Some((key, waiter)) = all.next_released(at(now)) {
                        prop_assert!(!waiter.1);
                        let place = model.waiting.iter().position(|waiting| *waiting == waiter.0);
                        model.waiting.remove(place.expect("it waits"));
                        model.goes(key, waiter.0);
                    }
                }
            }
            while let Some(ended) = all.next_ended() {
                model.ends(ended.waiter.0, ended.ending, now);
            }
            prop_assert_eq!(all.busy(), model.in_flight.len() + model.waiting.len());
            prop_assert!(all.len() <= limit);
        }
        prop_assert!(model.waiting.is_empty(), "all deadlines have passed");
    }
}
