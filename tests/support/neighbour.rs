//! G9: a source, a port and a destination of their own beside those that a test disturbs, on the same executor.

use std::net::SocketAddr;

use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, SinkHandle};
use ringpost_load::source::{SourceConfig, SourceReport};

use super::network::ms;
use super::oracle::{self, Noise, Watched};
use super::{LONG, Settings, free_port, sink, wait_until};

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
