//! Ports, namespaces and sets with settings of their own: each record arrives where, and in the form that, a model of
//! the documented order of precedence says, whatever else arrives at the same time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringpost_load::record::{Generator, Identity, RecordSpec};
use ringpost_load::sink::{Behaviour, LoggedRequest, SinkConfig, SinkHandle};
use serde_json::Value;
use support::random::Choices;
use support::*;

/// `None`: without a set.
type SetName = Option<&'static str>;

const NAMESPACES: [&str; 4] = ["test", "users", "orders", "x"];
const SETS: [SetName; 4] = [None, Some("demo"), Some("scratch"), Some("y")];
/// Formats that can be told apart by what arrives: typed JSON, flat JSON by its metadata's name, and two binary ones.
const FORMATS: [&str; 6] = ["json", "flat-a", "flat-b", "flat-c", "message-pack", "xdr"];
const DESTINATIONS: usize = 3;

/// Settings of one level; each kind may be absent.
#[derive(Debug, Clone, Default)]
struct Level {
    /// Destinations; none of them: skip.
    routing: Option<Vec<usize>>,
    format: Option<&'static str>,
    batching: Option<bool>,
    /// Whether `seq` is called `SEQ`.
    transforms: Option<bool>,
}

/// The top level or a port, with what is below it.
#[derive(Debug, Clone, Default)]
struct Scope {
    own: Level,
    namespaces: BTreeMap<&'static str, Level>,
    sets: BTreeMap<(&'static str, &'static str), Level>,
}

/// What the file says: the top level, and a section for the second port.
#[derive(Debug, Clone, Default)]
struct Model {
    top: Scope,
    port: Scope,
}

/// Where and how a record arrives at one destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    destination: usize,
    format: String,
    batched: bool,
    renamed: bool,
}

impl Scope {
    /// Its levels for such a record, the narrowest first.
    fn levels(&self, namespace: &'static str, set: SetName) -> impl Iterator<Item = &Level> {
        let narrow = set.and_then(|set| self.sets.get(&(namespace, set)));
        narrow.into_iter().chain(self.namespaces.get(namespace)).chain([&self.own])
    }
}

impl Model {
    /// The first level that has a kind of setting gives it: the port's set, namespace and own, then the global ones.
    fn first<T: Clone>(
        &self,
        second_port: bool,
        namespace: &'static str,
        set: SetName,
        kind: impl Fn(&Level) -> Option<T>,
    ) -> Option<T> {
        let port = if second_port { Some(&self.port) } else { None };
        port.into_iter().chain([&self.top]).flat_map(|scope| scope.levels(namespace, set)).find_map(kind)
    }

    fn arrivals(&self, second_port: bool, namespace: &'static str, set: SetName) -> Vec<Arrival> {
        let routes = self.first(second_port, namespace, set, |level| level.routing.clone()).unwrap_or_default();
        let format = self.first(second_port, namespace, set, |level| level.format).unwrap_or("xdr");
        let batched = self.first(second_port, namespace, set, |level| level.batching).unwrap_or(false);
        let renamed = self.first(second_port, namespace, set, |level| level.transforms).unwrap_or(false);
        let arrival =
            |destination: &usize| Arrival { destination: *destination, format: format.to_owned(), batched, renamed };
        routes.iter().map(arrival).collect()
    }
}

impl Choices {
    fn level(&mut self) -> Level {
        Level {
            routing: self.maybe(|choices| (0..DESTINATIONS).filter(|_| choices.below(3) == 0).collect()),
            format: self.maybe(|choices| FORMATS[choices.below(FORMATS.len())]),
            batching: self.maybe(|choices| choices.below(2) == 0),
            transforms: self.maybe(|choices| choices.below(2) == 0),
        }
    }

    fn scope(&mut self) -> Scope {
        let mut scope = Scope { own: self.level(), ..Scope::default() };
        for namespace in &NAMESPACES[..3] {
            if self.below(4) > 0 {
                scope.namespaces.insert(namespace, self.level());
            }
            for set in SETS[..3].iter().flatten() {
                if self.below(2) == 0 {
                    scope.sets.insert((namespace, set), self.level());
                }
            }
        }
        scope
    }

    fn model(&mut self) -> Model {
        let mut model = Model { top: self.scope(), port: self.scope() };
        // Without it a connector that delivers nothing would do for some models.
        model.top.own.routing = Some(vec![0]);
        model
    }
}

/// The settings of a level as YAML.
fn level_yaml(level: &Level, indent: usize) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{:indent$}{name}: {value}\n", ""));
    if let Some(route) = &level.routing {
        let names: Vec<String> = route.iter().map(|at| format!("d{at}")).collect();
        line(
            "routing",
            match names.as_slice() {
                [] => "{ mode: skip }".to_owned(),
                names => format!("{{ mode: static-multi-destination, destinations: [ {} ] }}", names.join(", ")),
            },
        );
    }
    if let Some(format) = level.format {
        line(
            "format",
            match format.strip_prefix("flat-") {
                Some(letter) => format!("{{ mode: flat-json, metadata-key: meta-{letter} }}"),
                None => format!("{{ mode: {format} }}"),
            },
        );
    }
    match level.batching {
        Some(true) => line("batching", "{ max-records: 7, batch-interval: 30 }".to_owned()),
        Some(false) => line("batching", "{ enabled: false }".to_owned()),
        None => {}
    }
    match level.transforms {
        Some(true) => line("bin-transforms", "{ map: { seq: SEQ } }".to_owned()),
        Some(false) => line("bin-transforms", "{}".to_owned()),
        None => {}
    }
    text
}

/// A scope with its namespaces and sets as YAML.
fn scope_yaml(scope: &Scope, indent: usize) -> String {
    let mut text = level_yaml(&scope.own, indent);
    let sets = |namespace: &str| {
        let of_it = scope.sets.iter().filter(|((name, _), _)| *name == namespace);
        of_it.map(|((_, set), level)| (*set, level)).collect::<Vec<_>>()
    };
    let named: Vec<&str> =
        NAMESPACES.into_iter().filter(|name| scope.namespaces.contains_key(name) || !sets(name).is_empty()).collect();
    let pad = |depth: usize| " ".repeat(indent + depth);
    if !named.is_empty() {
        text.push_str(&format!("{}namespaces:\n", pad(0)));
    }
    for namespace in named {
        text.push_str(&format!("{}{namespace}:\n", pad(2)));
        let own = scope.namespaces.get(namespace).map(|level| level_yaml(level, indent + 4)).unwrap_or_default();
        text.push_str(&own);
        let sets = sets(namespace);
        if !sets.is_empty() {
            text.push_str(&format!("{}sets:\n", pad(4)));
        }
        for (set, level) in sets {
            // A key without a value would be null.
            let body = level_yaml(level, indent + 8);
            let is_empty = body.is_empty();
            text.push_str(&format!("{}{set}:{}\n{body}", pad(6), if is_empty { " {}" } else { "" }));
        }
        if text.ends_with(&format!("{}{namespace}:\n", pad(2))) {
            text.truncate(text.len() - 1);
            text.push_str(" {}\n");
        }
    }
    text
}

/// Everything that one request says of its records: who, in which format, in a batch or not, renamed or not.
fn records(request: &LoggedRequest) -> Vec<(Identity, String, bool, bool)> {
    let body = &request.body;
    match request.header("content-type").unwrap() {
        "application/json" => {
            let value: Value = serde_json::from_slice(body).unwrap();
            match value.as_array() {
                Some(all) => all.iter().map(|record| json_record(record, true)).collect(),
                None => vec![json_record(&value, false)],
            }
        }
        "application/x-msgpack" => {
            let mut rest = &body[..];
            let value = rmpv::decode::read_value(&mut rest).unwrap();
            assert!(rest.is_empty());
            let parts = value.as_array().unwrap();
            match parts[0].is_array() {
                true => parts.iter().map(|record| message_pack_record(record, true)).collect(),
                false => vec![message_pack_record(&value, false)],
            }
        }
        "application/octet-stream" => xdr_records(body),
        other => panic!("{other}"),
    }
}

fn identity(base64: &str) -> Identity {
    Identity::from_header(base64.as_bytes()).expect("the digest of a generator")
}

fn json_record(record: &Value, batched: bool) -> (Identity, String, bool, bool) {
    for letter in ["a", "b", "c"] {
        if let Some(metadata) = record.get(format!("meta-{letter}")) {
            let identity = identity(metadata["digest"].as_str().unwrap());
            let renamed = record.get("SEQ").is_some();
            assert_eq!(record[if renamed { "SEQ" } else { "seq" }], identity.sequence);
            return (identity, format!("flat-{letter}"), batched, renamed);
        }
    }
    let identity = identity(record["key"][2].as_str().unwrap());
    let seq = record["bins"].as_array().unwrap().iter().find(|bin| bin["value"] == identity.sequence).unwrap();
    (identity, "json".to_owned(), batched, seq["name"] == "SEQ")
}

fn message_pack_record(record: &rmpv::Value, batched: bool) -> (Identity, String, bool, bool) {
    let payload = &record[2];
    let digest: [u8; 20] = payload[0][2].as_slice().unwrap().try_into().unwrap();
    let bins = payload[4].as_array().unwrap();
    let renamed = bins.iter().any(|bin| bin[0].as_str() == Some("SEQ"));
    (Identity::from_digest(&digest).unwrap(), "message-pack".to_owned(), batched, renamed)
}

/// Frames one after another. Whether one frame alone is a batch cannot be seen.
fn xdr_records(mut body: &[u8]) -> Vec<(Identity, String, bool, bool)> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let size = u64::from_be_bytes(body[..8].try_into().unwrap()) & 0xFFFF_FFFF_FFFF;
        let frame;
        (frame, body) = body.split_at(8 + size as usize);
        // The generator's order: namespace, digest.
        let at = frame.windows(5).position(|five| five == [0, 0, 0, 21, 4]).unwrap() + 5;
        let identity = Identity::from_digest(frame[at..at + 20].try_into().unwrap()).unwrap();
        let renamed = frame.windows(3).any(|three| three == b"SEQ");
        found.push((identity, "xdr".to_owned(), false, renamed));
    }
    found
}

/// A kind of record: run number, and what it is.
fn kinds() -> Vec<(u32, bool, &'static str, SetName)> {
    let mut kinds = Vec::new();
    for second_port in [false, true] {
        for namespace in NAMESPACES {
            for set in SETS {
                kinds.push((kinds.len() as u32 + 1, second_port, namespace, set));
            }
        }
    }
    kinds
}

/// `per_kind` records of every kind of one port on one connection, mixed; all acks have to be 0.
fn send(to: SocketAddr, second_port: bool, first: u64, per_kind: u64) {
    let generators: Vec<Generator> = kinds()
        .into_iter()
        .filter(|kind| kind.1 == second_port)
        .map(|(run, _, namespace, set)| {
            let set = set.unwrap_or_default().to_owned();
            Generator::new(&RecordSpec { namespace: namespace.to_owned(), set, run, ..RecordSpec::default() }).unwrap()
        })
        .collect();
    let mut choices = Choices(first);
    let mut bytes = Vec::new();
    let mut count = 0;
    for sequence in first..first + per_kind {
        let mut order: Vec<&Generator> = generators.iter().collect();
        while !order.is_empty() {
            bytes.extend_from_slice(&order.swap_remove(choices.below(order.len())).frame(sequence));
            count += 1;
        }
    }
    let mut client = client(to);
    client.send_frame(&bytes).unwrap();
    assert_eq!(acks(&mut client, count), vec![0; count]);
}

/// Starts a connector with this model's file, sends records of all kinds on several connections, and compares.
fn compare(model: &Model, protocol: &str, executors: usize, per_kind: u64) {
    const CONNECTIONS: u64 = 3;
    let sinks: Vec<SinkHandle> = (0..DESTINATIONS)
        .map(|_| {
            let behaviour = Behaviour::latency(std::time::Duration::ZERO, std::time::Duration::from_millis(5));
            sink_with(SinkConfig { behaviour, log_requests: 1_000_000, ..SinkConfig::default() })
        })
        .collect();
    let mut settings = Settings::to(protocol, &[sinks[0].addr()]).executors(executors);
    for sink in &sinks[1..] {
        settings = settings.and(protocol, &[sink.addr()]);
    }
    settings.more_ports.push(free_port());
    settings.own_levels = true;
    settings = settings.top(scope_yaml(&model.top, 0));
    let port = scope_yaml(&model.port, 4);
    if !port.is_empty() {
        let number = settings.more_ports[0];
        settings = settings.top(format!("port-based-config:\n  {number}:\n{port}"));
    }
    let mut connector = settings.start();
    let ports = [connector.addr(), SocketAddr::from(([127, 0, 0, 1], settings.more_ports[0]))];
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            for (second_port, to) in [(false, ports[0]), (true, ports[1])] {
                scope.spawn(move || send(to, second_port, connection * per_kind, per_kind));
            }
        }
    });
    connector.stop();

    let mut seen: BTreeMap<(u32, u64), Vec<Arrival>> = BTreeMap::new();
    for (destination, sink) in sinks.iter().enumerate() {
        for request in sink.ledger().requests(0) {
            let records = records(&request);
            let several = records.len() > 1;
            for (identity, format, batched, renamed) in records {
                let arrival = Arrival { destination, format, batched: batched || several, renamed };
                seen.entry((identity.run, identity.sequence)).or_default().push(arrival);
            }
        }
    }
    check(model, &seen, CONNECTIONS * per_kind);
}

fn check(model: &Model, seen: &BTreeMap<(u32, u64), Vec<Arrival>>, sequences: u64) {
    let mut all = 0;
    for (run, second_port, namespace, set) in kinds() {
        let expected = model.arrivals(second_port, namespace, set);
        for sequence in 0..sequences {
            let mut arrived = seen.get(&(run, sequence)).cloned().unwrap_or_default();
            arrived.sort();
            all += arrived.len();
            let mut expected = expected.clone();
            if expected.first().is_some_and(|arrival| arrival.format == "xdr") {
                expected.iter_mut().zip(&arrived).for_each(|(one, seen)| one.batched &= seen.batched);
            }
            assert_eq!(arrived, expected, "second port {second_port}, {namespace}/{set:?}, {sequence}: {model:#?}");
        }
    }
    let total: usize = seen.values().map(Vec::len).sum();
    assert_eq!(total, all, "nothing else arrived");
}

#[test]
fn the_model_knows_the_documented_order() {
    let routing = |at| Level { routing: Some(vec![at]), ..Level::default() };
    let mut model = Model::default();
    let route = |model: &Model| model.arrivals(true, "test", Some("demo")).first().map(|first| first.destination);
    assert_eq!(route(&model), None);
    model.top.own = routing(6);
    assert_eq!(route(&model), Some(6));
    model.top.namespaces.insert("test", routing(5));
    assert_eq!(route(&model), Some(5));
    model.top.sets.insert(("test", "demo"), routing(4));
    assert_eq!(route(&model), Some(4));
    model.port.own = routing(3);
    assert_eq!(route(&model), Some(3));
    model.port.namespaces.insert("test", routing(2));
    assert_eq!(route(&model), Some(2));
    model.port.sets.insert(("test", "demo"), routing(1));
    assert_eq!(route(&model), Some(1));
    model.port.sets.insert(("test", "demo"), Level { format: Some("json"), ..Level::default() });
    assert_eq!(route(&model), Some(2), "each kind of setting on its own");
}

#[test]
fn the_servers_own_records_of_transactions_are_acked_and_go_nowhere() {
    let sink = sink_with(SinkConfig { log_requests: 10, ..SinkConfig::default() });
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).start();
    let mut client = client(connector.addr());
    for (at, set) in [(0, &b"<ERO~MRT"[..]), (1, b"<ERO~MRT2"), (2, b"demo")] {
        client.send_frame(&wire::Frame::new(at).set(Some(set)).bytes()).unwrap();
        assert_eq!(client.read_ack().unwrap(), 0);
    }
    let seen: Vec<Value> =
        sink.ledger().requests(0).iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let sets: Vec<&Value> = seen.iter().map(|record| &record["metadata"]["set"]).collect();
    assert_eq!(sets, ["<ERO~MRT2", "demo"]);
    connector.stop();
}

#[test]
fn every_record_goes_where_the_model_says_in_its_format() {
    for seed in 0..by_length(24, 100) {
        let model = Choices(seed * 1_000 + 17).model();
        compare(&model, PROTOCOLS[(seed % 2) as usize], 1 + (seed / 2 % 2) as usize, by_length(8, 100));
    }
}
