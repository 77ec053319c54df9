//! Engines, their I/O as `src/io` does it, a fake clock and a fake network. Everything happens in one thread, in the
//! order of the event queue; the hash of all events is the same whenever a seed is run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringpost::config::model::Destination;
use ringpost::delivery::engine::{BUSY_TICK, Connect, Engine, IDLE_TICK, Input, SharedLimits, Wake};
use ringpost::delivery::handover::Parcel;
use ringpost::delivery::table::Key;
use ringpost::time::{Now, Time};

use super::figures::{pass, stopwatch};
use super::ledger::Ledger;
use super::node::Node;
use super::pipe::{Pipe, Read};
use super::random::Random;
use super::rejected::Lines;
use super::scenario::{MS, SECOND, Scenario};
use super::server::{Act, Endpoint, Server};
use super::settings::PORTS;

const READS_PER_TURN: usize = 4;
const TURN: u64 = 3_000;

#[derive(Debug, Clone)]
pub enum Event {
    Tick(usize),
    Drain(usize),
    /// The engine's side of a link may read or write.
    Near(usize),
    /// The other side of a link may read or write.
    Far(usize),
    /// The linger of a finished source is over.
    LingerEnd(usize),
    Connected(usize, Connect, Option<&'static str>),
    NodeStep(usize),
    Mode(usize),
    Act(usize, Act),
    /// The end of the writing of an engine's oldest line for `rejected-file`.
    LineWritten(usize),
    /// The oldest parcel for this engine arrives.
    Parcel(usize),
}

/// Who is at the other end of a link.
#[derive(Debug, Clone, Copy)]
pub enum Far {
    Node(usize),
    Server(usize),
}

/// A fake TCP connection.
#[derive(Debug)]
pub struct Link {
    pub engine: usize,
    pub key: Key,
    pub far: Far,
    /// From the engine.
    pub out: Pipe,
    /// To the engine.
    pub inward: Pipe,
    /// The engine's side is over.
    pub over: bool,
    /// The engine's side has finished and reads what is left.
    pub lingers: bool,
    /// Gathered output of a connection to an endpoint.
    pub gathered: Vec<u8>,
    pub gathered_written: usize,
    /// When the HTTP/1.1 request that is being written was begun.
    pub request_began: Option<u64>,
    /// When the engine heard that a source sends no more.
    pub gone_at: Option<u64>,
    pub latency: u64,
}

pub struct World {
    pub now: u64,
    pub random: Random,
    pub scenario: Scenario,
    pub ledger: Ledger,
    pub engines: Vec<Option<Engine>>,
    pub drain_began: Vec<Option<u64>>,
    pub links: Vec<Link>,
    tasks: BTreeMap<(usize, bool, u32, u32), usize>,
    events: BTreeMap<(u64, u64), Event>,
    order: u64,
    runnable: VecDeque<usize>,
    pub nodes: Vec<Node>,
    pub endpoints: Vec<Endpoint>,
    pub servers: Vec<Server>,
    pub lines: Vec<Lines>,
    /// Parcels on their way to each engine, and from whom.
    pub mail: Vec<VecDeque<(usize, Parcel)>>,
    /// When the last of them arrives.
    pub mail_at: Vec<u64>,
    /// Engines that drain and have no connection any more.
    rests: Vec<bool>,
    pub hash: u64,
    pub steps: u64,
    trace: bool,
    in_flight_bound: u64,
    /// By engine and endpoint: when it was last asked over HTTP/1.1 to leave it alone, and until when.
    pub waits: BTreeMap<(usize, usize), (u64, u64)>,
    /// Engines, and destinations that they had a connection to.
    pub reached: BTreeSet<(usize, usize)>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let scenario = Scenario::new(&mut random);
        let shared = SharedLimits::new(&scenario.config, scenario.engines).with_stopwatch(stopwatch);
        let engines = (0..scenario.engines)
            .map(|index| Some(Engine::new(&scenario.config, &shared, index).unwrap()))
            .collect::<Vec<_>>();
        let endpoints = Endpoint::all(&scenario.config);
        let nodes = (0..scenario.nodes).map(|_| Node::new(&scenario, &mut random)).collect();
        let read = scenario.scratch as u64 + 64 * 1024;
        // One record beyond the limit: its frame, its chunk (room grows by doubling) and a gathered copy per destination.
        let frame = scenario.large as u64 * (3 + scenario.config.destinations.len() as u64) + 64 * 1024;
        // What is gathered for a socket is charged once it is there.
        let connections = |destination: &Destination| {
            u64::from(destination.max_connections_per_endpoint) * destination.urls.len() as u64
        };
        let gathered: u64 = scenario.config.destinations.iter().map(connections).sum::<u64>()
            * 2
            * scenario.large.min(256 << 10) as u64;
        let limit = scenario.config.executors.in_flight_bytes;
        let bound = limit + scenario.engines as u64 * (frame + gathered) + scenario.nodes as u64 * read;
        let mut world = World {
            now: SECOND,
            random,
            ledger: Ledger::new(&scenario),
            lines: engines.iter().map(|_| Lines::default()).collect(),
            drain_began: vec![None; engines.len()],
            mail: engines.iter().map(|_| VecDeque::new()).collect(),
            mail_at: vec![0; engines.len()],
            rests: vec![false; engines.len()],
            engines,
            links: Vec::new(),
            tasks: BTreeMap::new(),
            events: BTreeMap::new(),
            order: 0,
            runnable: VecDeque::new(),
            nodes,
            endpoints,
            servers: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            trace: std::env::var_os("RINGPOST_TRACE").is_some(),
            in_flight_bound: bound,
            waits: BTreeMap::new(),
            reached: BTreeSet::new(),
            scenario,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        if self.trace {
            println!("{:#?}", self.scenario);
        }
        for engine in 0..self.engines.len() {
            self.at(self.now + 1 + engine as u64, Event::Tick(engine));
        }
        for node in 0..self.nodes.len() {
            self.at(self.now + self.random.clone().below(5 * MS), Event::NodeStep(node));
        }
        for endpoint in 0..self.endpoints.len() {
            self.at(self.now, Event::Mode(endpoint));
        }
        if let Some(at) = self.scenario.drain_all_at {
            (0..self.engines.len()).for_each(|engine| self.at(at, Event::Drain(engine)));
        } else if let Some(at) = self.scenario.drain_one_at {
            self.at(at, Event::Drain(1));
        }
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.events.insert((time.max(self.now), self.order), event);
    }

    pub fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    pub fn is_healed(&self) -> bool {
        self.now >= self.scenario.heal_at
    }

    /// Adds to the event log.
    pub fn log(&mut self, what: &str, values: [u64; 3]) {
        let time = self.now;
        for byte in what.bytes().map(u64::from).chain(values).chain([time]) {
            self.hash = (self.hash ^ byte).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
        }
        if self.trace {
            println!("{:>12.6} {what} {values:?}", time as f64 / 1e9);
        }
    }

    /// Runs events until `until` or until a fault is found.
    pub fn run_until(&mut self, until: u64) {
        while self.ledger.violations.is_empty() {
            let Some((&(time, order), _)) = self.events.first_key_value() else { break };
            if time > until {
                break;
            }
            let Some(event) = self.events.remove(&(time, order)) else { break };
            self.now = pass(time);
            self.steps += 1;
            self.handle(event);
            while let Some(link) = self.runnable.pop_front() {
                self.run_task(link);
            }
            self.check_bounds();
        }
        self.now = pass(self.now.max(until));
    }

    pub fn time(&self) -> Time {
        Time::from_nanos(self.now)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(engine) => self.tick(engine),
            Event::Drain(engine) => self.drain(engine),
            Event::Near(link) => self.runnable.push_back(link),
            Event::Far(link) => match self.links[link].far {
                Far::Node(node) => self.node_wake(node, link),
                Far::Server(server) => self.server_wake(server),
            },
            Event::LingerEnd(link) => self.close_near(link),
            Event::Connected(engine, connect, failure) => self.connected(engine, connect, failure),
            Event::NodeStep(node) => self.node_step(node),
            Event::Mode(endpoint) => self.change_mode(endpoint),
            Event::Act(server, act) => self.server_act(server, act),
            Event::LineWritten(engine) => self.line_written(engine),
            Event::Parcel(engine) => self.take_parcel(engine),
        }
    }

    fn tick(&mut self, index: usize) {
        let now = self.time();
        let Some(engine) = self.engines[index].as_mut() else { return };
        engine.tick(now);
        let busy = engine.is_busy();
        let drained = engine.is_drained();
        let counts = engine.counts();
        if counts.paused > 0 && counts.batches > 0 && counts.flights == 0 {
            self.ledger.violation(format!("sources wait for the room of records that wait in batches: {counts:?}"));
        }
        if self.random.chance(1) {
            self.move_one(index);
        }
        let Some(engine) = self.engines[index].as_mut() else { return };
        let late = engine.drain_until().is_some_and(|until| until.as_nanos() + 2 * SECOND <= now.as_nanos());
        self.take_lines(index);
        self.carry_out(index);
        let sources =
            self.links.iter().any(|link| link.engine == index && !link.over && matches!(link.far, Far::Node(_)));
        self.rests[index] |= drained && !sources;
        let hands_over = self.scenario.keys.is_some();
        let may_end = |other: usize| self.engines[other].is_none() || self.rests[other] || !hands_over;
        if self.rests[index] && (0..self.engines.len()).all(may_end) {
            return self.end_engine(index);
        }
        if late {
            self.ledger.violation(format!("engine {index} has not drained 2 s after its drain deadline"));
            return;
        }
        let pause = if busy { BUSY_TICK } else { IDLE_TICK };
        let late = if self.random.chance(2) { self.random.below(30 * MS) } else { 0 };
        self.after(pause.as_nanos() as u64 + late, Event::Tick(index));
    }

    pub fn drain(&mut self, index: usize) {
        self.log("drain", [index as u64, 0, 0]);
        let now = self.time();
        let Some(engine) = self.engines[index].as_mut() else { return };
        engine.drain(now);
        let left = engine.counts().batches;
        if left > 0 {
            self.ledger.violation(format!("engine {index} drains, and {left} batches are still open"));
        }
        self.drain_began[index].get_or_insert(self.now);
        self.carry_out(index);
    }

    /// Does what the engine asks for after each call.
    pub fn carry_out(&mut self, index: usize) {
        let Some(engine) = self.engines[index].as_mut() else { return };
        let mut connects = Vec::new();
        while let Some(wake) = engine.next_wake() {
            let task = match wake {
                Wake::Source(key) => (index, true, key.slot, key.generation),
                Wake::Connection(key) => (index, false, key.slot, key.generation),
            };
            if let Some(link) = self.tasks.get(&task) {
                self.runnable.push_back(*link);
            }
        }
        while let Some(connect) = engine.next_connect() {
            connects.push(connect);
        }
        self.send_parcels(index);
        for connect in connects {
            self.connect(index, connect);
        }
    }

    /// A node connects to an engine.
    pub fn accept(&mut self, index: usize, node: usize) -> Option<usize> {
        let engine = self.engines[index].as_mut()?;
        let port = PORTS[self.nodes[node].port];
        let key = engine.source_open(([127, 0, 0, 1], 1000 + node as u16).into(), port)?;
        Some(self.add_link(index, key, Far::Node(node)))
    }

    pub fn add_link(&mut self, engine: usize, key: Key, far: Far) -> usize {
        // A network that carries the largest record within a call time-out, if only just.
        let is_large = self.scenario.large > 4_000 || self.scenario.batches;
        let room = if is_large { 64_000 } else { self.random.pick(&[600, 4_000, 64_000]) };
        let latency = self.random.pick(if is_large { &[20_000, 200_000, 2 * MS] } else { &[20_000, 2 * MS, 20 * MS] });
        let link = self.links.len();
        self.links.push(Link {
            engine,
            key,
            far,
            out: Pipe::new(room),
            inward: Pipe::new(room),
            over: false,
            lingers: false,
            gathered: Vec::new(),
            gathered_written: 0,
            request_began: None,
            gone_at: None,
            latency,
        });
        self.tasks.insert((engine, matches!(far, Far::Node(_)), key.slot, key.generation), link);
        self.after(1, Event::Near(link));
        link
    }

    pub fn jitter(&mut self, link: usize) -> u64 {
        let latency = self.links[link].latency;
        latency / 2 + self.random.below(latency)
    }

    fn run_task(&mut self, link: usize) {
        let entry = &self.links[link];
        if entry.over || self.engines[entry.engine].is_none() {
            return;
        }
        match entry.far {
            Far::Node(_) if entry.lingers => self.linger(link),
            Far::Node(_) => self.serve_source(link),
            Far::Server(_) => {
                let waits = self.waits_of(link);
                self.serve_connection(link);
                if self.waits_of(link) > waits {
                    self.told_to_wait(link);
                }
            }
        }
        self.carry_out(self.links[link].engine);
    }

    /// `io::source::serve`.
    fn serve_source(&mut self, link: usize) {
        let now = Now { monotonic: self.time(), unix_ms: 1_700_000_000_000 };
        let arrival = self.now + self.jitter(link);
        let (mut reads, mut written, mut end, mut log) = (0, None, None, Vec::new());
        let entry = &mut self.links[link];
        let Some(engine) = self.engines[entry.engine].as_mut() else { return };
        let key = entry.key;
        while end.is_none() {
            loop {
                let output = engine.source_output(key, now.monotonic);
                if output.is_empty() {
                    break;
                }
                if entry.out.broken {
                    end = Some(Input::Gone);
                    break;
                }
                let (bytes, at) = entry.out.write(output, arrival);
                if bytes == 0 {
                    engine.source_stuck(key, now.monotonic);
                    break;
                }
                engine.source_wrote(key, bytes);
                written = Some(at);
            }
            if end.is_some() {
                break;
            }
            match engine.source_input(key, now.monotonic) {
                Input::Wait => break,
                Input::Again => {}
                input @ (Input::Finish | Input::Gone) => end = Some(input),
                Input::Read | Input::Resume if reads == 1 => {
                    log.push(("turn", 0));
                    break;
                }
                Input::Resume => engine.source_receive(key, &[], now),
                Input::Read => match entry.inward.read(self.now, self.scenario.scratch) {
                    Read::Nothing => break,
                    Read::End => {
                        entry.gone_at.get_or_insert(self.now);
                        engine.source_ended(key);
                    }
                    Read::Bytes(bytes) => {
                        log.push(("source reads", bytes.len() as u64));
                        engine.source_receive(key, &bytes, now);
                    }
                },
            }
            reads += 1;
        }
        if let Some(at) = written {
            self.at(at, Event::Far(link));
        }
        self.unblock_far(link);
        for (what, value) in log {
            if what == "turn" {
                self.after(TURN, Event::Near(link));
            }
            self.log(what, [link as u64, value, 0]);
        }
        end.into_iter().for_each(|end| self.end_source(link, end, arrival));
    }

    fn end_source(&mut self, link: usize, end: Input, arrival: u64) {
        match end {
            Input::Finish => {
                let at = self.links[link].out.close(arrival);
                self.links[link].lingers = true;
                self.at(at, Event::Far(link));
                self.after(SECOND, Event::LingerEnd(link));
                self.after(1, Event::Near(link));
            }
            _ => self.close_near(link),
        }
    }

    fn linger(&mut self, link: usize) {
        loop {
            match self.links[link].inward.read(self.now, 1 << 20) {
                Read::Nothing => break,
                Read::Bytes(_) => {}
                Read::End => return self.close_near(link),
            }
        }
        self.unblock_far(link);
    }

    /// The far side can write again.
    fn unblock_far(&mut self, link: usize) {
        if std::mem::take(&mut self.links[link].inward.writer_waits) {
            let delay = self.jitter(link);
            self.after(delay, Event::Far(link));
        }
    }

    /// The engine's side of a source's link closes.
    fn close_near(&mut self, link: usize) {
        if self.links[link].over {
            return;
        }
        self.log("source closed", [link as u64, 0, 0]);
        let (index, key) = (self.links[link].engine, self.links[link].key);
        self.close_far_of(link);
        let now = self.now;
        self.links[link].gone_at.get_or_insert(now);
        let Some(engine) = self.engines[index].as_mut() else { return };
        engine.source_closed(key);
        self.carry_out(index);
    }

    /// The other side learns that the engine's side is gone.
    pub fn close_far_of(&mut self, link: usize) {
        let delay = self.jitter(link);
        let at = self.now + delay;
        let entry = &mut self.links[link];
        entry.over = true;
        entry.inward.broken = true;
        let at = entry.out.close(at);
        self.at(at, Event::Far(link));
    }

    /// `io::connection::serve`.
    fn serve_connection(&mut self, link: usize) {
        let now = self.time();
        let arrival = self.now + self.jitter(link);
        let pause = self.scenario.hpack_pauses && self.random.chance(10);
        let (mut reads, mut written, mut turn, mut over) = (0, None, false, false);
        let entry = &mut self.links[link];
        let Some(engine) = self.engines[entry.engine].as_mut() else { return };
        let key = entry.key;
        loop {
            loop {
                if entry.gathered_written == entry.gathered.len() {
                    entry.gathered.clear();
                    entry.gathered_written = 0;
                    engine.connection_output(key, &mut entry.gathered);
                    if entry.gathered.starts_with(b"POST ") {
                        entry.request_began = Some(self.now);
                    }
                }
                let rest = &entry.gathered[entry.gathered_written..];
                if rest.is_empty() {
                    break;
                }
                if entry.out.broken {
                    engine.connection_ended(key, now);
                    entry.gathered.clear();
                    entry.gathered_written = 0;
                    break;
                }
                let (bytes, at) = entry.out.write(rest, arrival);
                if bytes == 0 {
                    break;
                }
                entry.gathered_written += bytes;
                written = Some(at);
            }
            if engine.connection_is_over(key) {
                over = true;
                break;
            }
            if reads == READS_PER_TURN || (pause && reads == 1) {
                turn = true;
                break;
            }
            match entry.inward.read(self.now, self.scenario.scratch) {
                Read::Nothing => break,
                Read::Bytes(bytes) => engine.connection_receive(key, &bytes, now),
                Read::End => {
                    engine.connection_ended(key, now);
                    over = true;
                    break;
                }
            }
            reads += 1;
        }
        if over {
            engine.connection_closed(key, now);
        }
        if let Some(at) = written {
            self.at(at, Event::Far(link));
        }
        if turn {
            self.after(TURN, Event::Near(link));
        }
        self.unblock_far(link);
        self.log("connection served", [link as u64, reads as u64, u64::from(over)]);
        if over {
            self.close_far_of(link);
        }
    }

    /// What stands where, for a failure's message.
    pub fn state(&mut self) -> String {
        let mut text = String::new();
        for (index, engine) in self.engines.iter_mut().enumerate() {
            if let Some(engine) = engine {
                text += &format!("  engine {index}: {:?}, {} bytes\n", engine.counts(), engine.in_flight_bytes());
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let link = node.link.map(|link| (link, self.links[link].engine, &self.links[link]));
            let pipes = link.map(|(link, engine, entry)| {
                format!(
                    "link {link} to engine {engine}: unread {} of the engine, {} of the node",
                    entry.inward.total_written - entry.inward.total_read,
                    entry.out.total_written - entry.out.total_read
                )
            });
            text += &format!("  node {index}: {}, {}\n", node.state(), pipes.unwrap_or_default());
        }
        text
    }

    fn check_bounds(&mut self) {
        let mut bytes = 0;
        for engine in self.engines.iter_mut().flatten() {
            bytes += engine.in_flight_bytes();
        }
        if bytes > self.in_flight_bound {
            let bound = self.in_flight_bound;
            self.ledger.violation(format!("{bytes} bytes are in flight, more than {bound}"));
        }
        self.check_places();
    }
}
