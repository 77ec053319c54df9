//! G9: a source, a port and a destination of their own beside those that a test disturbs, on the same executor.

use std::net::SocketAddr;

use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, SinkHandle};
use ringpost_load::source::{SourceConfig, SourceReport};

use super::network::ms;
use super::oracle::{self, Allowance, Bounds, Noise, Watched};
use super::{LONG, Process, Settings, free_port, sink, wait_until};

/// Records before the disturbance, which say how long a record takes.
const CALM: u64 = 60;

/// Whom nothing may happen to.
pub struct Neighbour {
    sink: SinkHandle,
    to: SocketAddr,
    calm: Option<SourceReport>,
    run: Option<Watched>,
    noise: Option<Noise>,
}

impl Neighbour {
    /// Adds its port and destination to settings with one destination, which gets the records of all other ports.
    pub fn beside(settings: Settings, protocol: &str) -> (Settings, Neighbour) {
        let (sink, port) = (sink(Behaviour::default()), free_port());
        let mut settings = settings.and(protocol, &[sink.addr()]);
        let last = settings.destinations.len() - 1;
        let route =
            |names: &[String]| format!("{{ mode: static-multi-destination, destinations: [ {} ] }}", names.join(", "));
        let others: Vec<String> = (0..last).map(|place| format!("d{place}")).collect();
        settings.more_ports.push(port);
        settings.routing = Some(route(&others));
        let settings =
            settings.top(format!("port-based-config:\n  {port}:\n    routing: {}", route(&[format!("d{last}")])));
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        (settings, Neighbour { sink, to, calm: None, run: None, noise: None })
    }

    /// Sends some records while all is calm, then steadily until [`Neighbour::check`].
    #[track_caller]
    pub fn start(&mut self) {
        let stream = |run| SourceConfig {
            rate: Some(300.0),
            window: 64,
            drain: LONG,
            records_spec: RecordSpec { run, ..RecordSpec::default() },
            ..SourceConfig::to(self.to)
        };
        let calm = SourceConfig { records: Some(CALM), ..stream(8) };
        self.calm = Some(oracle::watched(calm, &[&self.sink]).finish(&[&self.sink]));
        self.noise = Some(Noise::start());
        let run = oracle::watched(stream(9), &[&self.sink]);
        wait_until("the neighbour's records flow", LONG, || run.stats().acked > 20);
        self.run = Some(run);
    }

    /// Each of its records was delivered once and acked 0, about as soon as without the disturbance. Gives the
    /// reports of its sources, for [`oracle::reconcile`].
    #[track_caller]
    pub fn check(&mut self, what: &str) -> [SourceReport; 2] {
        let run = self.run.take().expect("it was started");
        run.stop();
        let report = run.finish(&[&self.sink]);
        assert!(report.sent > 20);
        assert_eq!(oracle::codes(&report), [(0, report.sent)], "G9: {what}: the neighbour was disturbed");
        assert_eq!(report.connections_lost, 0, "G9: {what}: the neighbour's connections were disturbed");
        assert_eq!(self.sink.ledger().stats().duplicates, 0, "G9: {what}");
        let calm = self.calm.take().expect("it was started");
        let (before, with) = (oracle::latency(&calm, 0.9), oracle::latency(&report, 0.9));
        let noise = self.noise.take().expect("it was started").finish(ms(60));
        oracle::compare_latency(&format!("{what}: the neighbour's p90"), before, with, noise);
        [calm, report]
    }

    /// The destination, for [`oracle::reconcile_sinks`].
    pub fn sink(&self) -> &SinkHandle {
        &self.sink
    }
}

/// `in-flight-bytes` of a connector beside which a neighbour is.
const IN_FLIGHT: u64 = 32 << 20;

/// Descriptors that connections to destinations may still have at the end: 2 or 32 connections to a sink, and those that drain.
const KEPT: usize = 64;

/// A connector with a neighbour beside what a test disturbs, and the oracle at the end.
pub struct Beside {
    pub connector: Process,
    neighbour: Neighbour,
    bounds: Bounds,
}

impl Beside {
    #[track_caller]
    pub fn start(settings: Settings, protocol: &str) -> Beside {
        let settings = settings.executor(&format!("in-flight-bytes: {IN_FLIGHT}"));
        let (settings, mut neighbour) = Neighbour::beside(settings, protocol);
        let connector = settings.start();
        let bounds = Bounds::before(&connector, IN_FLIGHT);
        neighbour.start();
        Beside { connector, neighbour, bounds }
    }

    /// G6 and G9, for records that no [`oracle::Watched`] sent; ends the connector.
    #[track_caller]
    pub fn check_others(&mut self, what: &str) -> [SourceReport; 2] {
        let others = self.neighbour.check(what);
        self.bounds.check(&self.connector, KEPT);
        self.connector.stop();
        assert_eq!(oracle::totals(&self.connector)["panics"], 0, "{what}");
        others
    }

    /// All of the oracle, for all records that came, every one of them to all of `sinks`; ends the connector.
    #[track_caller]
    pub fn check(&mut self, what: &str, reports: &[&SourceReport], sinks: &[&SinkHandle]) {
        let [calm, run] = self.check_others(what);
        let reports: Vec<&SourceReport> = reports.iter().copied().chain([&calm, &run]).collect();
        let xdr_faults = reports.iter().any(|report| report.connections_lost > 0);
        oracle::reconcile(&self.connector, &reports, xdr_faults);
        let all: Vec<&SinkHandle> = sinks.iter().copied().chain([self.neighbour.sink()]).collect();
        oracle::reconcile_sinks(&self.connector, &all);
        let mut allowance = Allowance::default();
        allowance.explained(&self.connector, &reports);
        allowance.check(sinks, oracle::totals(&self.connector)["retries"]);
    }
}
