use super::super::view::example::at;
use super::*;

/// One executor that is published now and then.
#[derive(Default)]
struct Executor(Snapshot);

impl Executor {
    /// Acks by code, and a latency for each in `total`.
    fn works(&mut self, acked: [u64; 4], micros: u64) -> &mut Executor {
        let counters = &mut self.0.counters;
        let [ok, permanent, temporary, overload] = acked;
        counters.acked_ok += ok;
        counters.acked_permanent += permanent;
        counters.acked_temporary += temporary;
        counters.acked_overload += overload;
        let all = acked.iter().sum();
        counters.records += all;
        if all > 0 {
            self.0.stages.record(Stage::Total, micros * 1_000, all);
        }
        self
    }

    fn publishes(&mut self, at_ms: u64) -> Arc<Snapshot> {
        self.0.taken = at(at_ms);
        Arc::new(self.0.clone())
    }
}

fn now(ms: u64) -> Now {
    Now { monotonic: at(ms), unix_ms: 1_000_000 + ms }
}

fn rates(history: &History) -> Vec<Option<f64>> {
    history.points(POINTS).map(|point| point.records.map(f64::round)).collect()
}

#[test]
fn a_rate_is_that_between_two_publications_whenever_they_are() {
    let mut executor = Executor::default();
    let mut history = History::default();
    history.look(now(1_000), &[executor.publishes(1_000)]);
    // 1,000 records a second; publications are 750, 1,250 and 1,000 ms apart.
    for (look, taken, records) in [(2_000, 1_750, 750), (3_000, 3_000, 1_250), (4_000, 4_000, 1_000)] {
        history.look(now(look), &[executor.works([records, 0, 0, 0], 10).publishes(taken)]);
    }
    assert_eq!(rates(&history), [Some(0.0), Some(1_000.0), Some(1_000.0), Some(1_000.0)]);
    assert_eq!((history.end(), history.end_ms()), (3, 1_004_000));
    // An executor that publishes nothing more has no rate, beside one that does.
    let (mut other, still) = (Executor::default(), executor.publishes(4_000));
    history.look(now(5_000), &[Arc::clone(&still), other.publishes(5_000)]);
    history.look(now(6_000), &[still, other.works([40, 0, 2, 0], 1).publishes(6_000)]);
    assert_eq!(rates(&history).last(), Some(&Some(42.0)));
    assert_eq!(history.points(1).next().and_then(|point| point.acked), Some([40.0, 0.0, 2.0, 0.0]));
}

#[test]
fn each_point_has_the_latencies_of_its_own_second() {
    let mut executor = Executor::default();
    let mut history = History::default();
    for (second, micros) in [(1, 100), (2, 9_000), (3, 50)] {
        let published = executor.works([100, 0, 0, 0], micros).publishes(second * 1_000);
        history.look(now(second * 1_000), &[published]);
    }
    history.look(now(4_000), &[executor.publishes(4_000)]);
    let totals: Vec<Summary> = history.points(3).map(|point| point.stages[Stage::Total as usize]).collect();
    for (found, micros) in totals.iter().zip([9_000, 50]) {
        let nanos = micros * 1_000..=micros * 1_010;
        assert!(found.count == 100 && nanos.contains(&found.p50) && nanos.contains(&found.max), "{micros}: {found:?}");
    }
    assert_eq!(totals[2], Summary::default());
    assert_eq!(history.points(1).next().unwrap().stages[Stage::Decode as usize], Summary::default());
}

#[test]
fn latencies_of_the_last_seconds_forget_what_is_older_than_ten() {
    let mut executor = Executor::default();
    executor.0.destinations.resize_with(2, Default::default);
    let mut history = History::default();
    for second in 0..40 {
        let micros = if second == 12 { 70_000 } else { 100 };
        executor.works([1, 0, 0, 0], micros);
        executor.0.stages.lag.record(micros * 1_000, 1);
        executor.0.destinations[1].response.record(micros * 1_000, 1);
        history.look(now(second * 1_000), &[executor.publishes(second * 1_000)]);
        let is_shown = (12..=20).contains(&second);
        let is_forgotten = !(12..=22).contains(&second);
        for summary in [history.stages()[Stage::Total as usize], history.lag(), history.response(1)] {
            assert!(summary.max > 60_000_000 || !is_shown && (is_forgotten || summary.max < 2_000_000), "{second}");
            assert!(!is_forgotten || summary.max < 2_000_000, "{second}: {summary:?}");
            assert!(summary.count >= second.min(5) && summary.count <= 10, "{second}: {summary:?}");
        }
        assert_eq!(history.response(0), Summary::default());
    }
}

#[test]
fn seconds_without_a_look_are_gaps_and_memory_is_bounded() {
    let mut executor = Executor::default();
    let mut history = History::default();
    history.look(now(0), &[executor.publishes(0)]);
    history.look(now(400), &[executor.works([5, 0, 0, 0], 1).publishes(400)]);
    assert_eq!(rates(&history), [Some(0.0)], "a second look at a point");
    history.look(now(4_100), &[executor.publishes(4_000)]);
    assert_eq!(rates(&history), [Some(0.0), None, None, None, Some(1.0)]);
    for second in [10, 11, 5_000, 5_001, 5_001_000_000] {
        history.look(now(second * 1_000), &[executor.publishes(second * 1_000)]);
        assert_eq!(history.end(), second);
        assert!(history.points.len() <= POINTS && history.marks.len() <= MARKS);
    }
    assert_eq!(history.points(POINTS).filter(|point| point.records.is_some()).count(), 1);
    assert_eq!((history.points(3).count(), history.points(0).count()), (3, 0));
}

#[test]
fn the_share_of_records_that_were_given_up_is_that_of_a_minute() {
    let mut executor = Executor::default();
    let mut history = History::default();
    assert!(history.permanent_share().abs() < f64::EPSILON, "without records there is none");
    let mut shares = Vec::new();
    for second in 0..200 {
        let acked = if (100..110).contains(&second) { [50, 20, 20, 10] } else { [100, 0, 0, 0] };
        history.look(now(second * 1_000), &[executor.works(acked, 1).publishes(second * 1_000)]);
        shares.push(history.permanent_share());
    }
    let share = |second: usize| (shares[second] * 6_000.0).round();
    assert_eq!([share(99), share(100), share(109), share(159)], [0.0, 20.0, 200.0, 200.0]);
    assert_eq!([share(160), share(168), share(169)], [180.0, 20.0, 0.0]);
}

#[test]
fn an_executor_that_publishes_nothing_stands_still_unless_nobody_looked() {
    let mut executor = Executor::default();
    let mut history = History::default();
    let mut look = |second: u64, taken| {
        history.look(now(second * 1_000), &[executor.publishes(taken)]);
        history.pace(0).stalls
    };
    let stalls: Vec<u64> = [(0, 0), (1, 900), (2, 900), (3, 900), (4, 3_900), (5, 3_900), (6, 5_900), (60, 5_900)]
        .into_iter()
        .map(|(second, taken)| look(second, taken))
        .collect();
    assert_eq!(stalls, [0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(history.pace(7), Pace::default());
}

#[test]
fn busy_is_the_share_of_a_core() {
    let mut executor = Executor::default();
    let mut history = History::default();
    history.look(now(0), &[executor.publishes(0)]);
    for (second, cpu_ms, busy) in [(1, 250, 25.0), (2, 1_250, 100.0), (3, 3_000, 100.0), (4, 3_000, 0.0)] {
        executor.0.cpu = Duration::from_millis(cpu_ms);
        history.look(now(second * 1_000), &[executor.publishes(second * 1_000)]);
        assert_eq!((history.pace(0).busy * 100.0).round(), busy, "{second}");
    }
}
