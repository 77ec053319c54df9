//! Fake destinations: endpoints whose manners change with time, and their connections.

use std::collections::VecDeque;

use ringpost::config::model::{Config, Protocol};
use ringpost::delivery::engine::Connect;
use ringpost::time::Time;

use super::bodies;
use super::http2::Http2;
use super::ledger::Request;
use super::mail::LONGEST_MAIL;
use super::pipe::Read;
use super::scenario::{MS, SECOND};
use super::world::{Event, Far, World};

/// How an endpoint behaves for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Good,
    /// Answers after up to twice the call time-out.
    Slow,
    /// Answers, never with success.
    Errors,
    /// Accepts, reads, says nothing.
    Silent,
    /// Connections get stuck for good, without an end.
    Freezing,
    /// Connections are refused.
    Refusing,
    /// Connections are not answered.
    Hanging,
    /// Everything at once.
    Flaky,
    /// Answers, and gets rid of connections all the time.
    Leaving,
}

const MODES: [Mode; 16] = [
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Slow,
    Mode::Errors,
    Mode::Silent,
    Mode::Freezing,
    Mode::Refusing,
    Mode::Hanging,
    Mode::Flaky,
    Mode::Flaky,
    Mode::Leaving,
];

/// What a connection does about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    Status(u16),
    /// Answers, then the connection ends.
    Last(u16),
    /// A part of an answer, then the end.
    Cut,
    /// The end, without a byte.
    End,
    /// HTTP/2: the stream is refused, unseen. HTTP/1.1: as `End`.
    Refuse,
    /// HTTP/2: the stream is reset, perhaps acted on. HTTP/1.1: garbage.
    Reset,
    /// HTTP/2: this stream and later ones are not taken, earlier ones are finished. HTTP/1.1: as `End`.
    GoAway,
    Never,
}

impl Reaction {
    /// For the log.
    pub fn number(self) -> u64 {
        match self {
            Reaction::Status(status) => u64::from(status),
            Reaction::Last(status) => 1_000 + u64::from(status),
            Reaction::Cut => 1,
            Reaction::End => 2,
            Reaction::Refuse => 3,
            Reaction::Reset => 4,
            Reaction::GoAway => 5,
            Reaction::Never => 6,
        }
    }
}

/// Something that a connection does later.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    React { stream: u32, request: Option<usize>, reaction: Reaction },
    Window { stream: u32, bytes: u32 },
    Settings,
    Close,
}

#[derive(Debug)]
pub struct Endpoint {
    pub destination: usize,
    pub protocol: Protocol,
    pub mode: Mode,
    call_timeout: u64,
}

impl Endpoint {
    pub fn all(config: &Config) -> Vec<Endpoint> {
        let mut all = Vec::new();
        for (index, destination) in config.destinations.iter().enumerate() {
            for _ in &destination.urls {
                let call_timeout = destination.call_timeout.as_nanos() as u64;
                all.push(Endpoint {
                    destination: index,
                    protocol: destination.protocol,
                    mode: Mode::Good,
                    call_timeout,
                });
            }
        }
        all
    }
}

/// One connection, as the destination sees it.
#[derive(Debug)]
pub struct Server {
    pub link: usize,
    pub endpoint: usize,
    pub input: Vec<u8>,
    out: Vec<u8>,
    produced: u64,
    written: u64,
    /// Where an answer ends in the output, whose it is, and its status.
    answers: VecDeque<(u64, usize, u16)>,
    frozen: bool,
    pub closed: bool,
    close_when_written: bool,
    /// HTTP/1.1: the probe that is being looked at is HEAD.
    is_head: bool,
    /// HTTP/1.1: seconds that the last answer asked to wait.
    pub told: Option<u64>,
    /// HTTP/1.1: an answer was given on this connection before.
    answered: bool,
    /// HTTP/1.1: the request that is being looked at.
    current: Option<Option<usize>>,
    pub http2: Option<Http2>,
}

impl Server {
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.produced += bytes.len() as u64;
    }

    pub fn send_answer(&mut self, bytes: &[u8], request: Option<usize>, status: u16) {
        self.send(bytes);
        if let Some(request) = request {
            self.answers.push_back((self.produced, request, status));
        }
    }

    pub fn finish(&mut self) {
        self.close_when_written = true;
    }
}

impl World {
    pub fn change_mode(&mut self, endpoint: usize) {
        let healed = self.is_healed();
        let mode = if healed { Mode::Good } else { self.random.pick(&MODES) };
        self.endpoints[endpoint].mode = mode;
        self.log("mode", [endpoint as u64, mode as u64, 0]);
        if !healed {
            let next = self.now + self.random.between(100, 2_000) * MS;
            self.at(next.min(self.scenario.heal_at), Event::Mode(endpoint));
        }
    }

    /// The engine asks for a connection.
    pub fn connect(&mut self, engine: usize, connect: Connect) {
        let timeout = connect.timeout.as_nanos() as u64;
        let (delay, failure) = match self.endpoints[connect.endpoint].mode {
            Mode::Refusing => (self.random.between(1, 300) * 10_000, Some("refused")),
            Mode::Hanging => (timeout, Some("timed out")),
            Mode::Flaky if self.random.chance(20) => (MS, Some("refused")),
            _ => (self.random.between(1, 500) * 10_000, None),
        };
        self.after(delay, Event::Connected(engine, connect, failure));
    }

    pub fn connected(&mut self, index: usize, connect: Connect, failure: Option<&'static str>) {
        self.log("connected", [index as u64, connect.endpoint as u64, u64::from(failure.is_some())]);
        let now = Time::from_nanos(self.now);
        let Some(engine) = self.engines[index].as_mut() else { return };
        if let Some(why) = failure {
            engine.connection_failed(connect.connection, &why, now);
            return self.carry_out(index);
        }
        engine.connection_opened(connect.connection, now);
        self.reached.insert((index, self.endpoints[connect.endpoint].destination));
        let server = self.servers.len();
        let link = self.add_link(index, connect.connection, Far::Server(server));
        let frozen = self.endpoints[connect.endpoint].mode == Mode::Freezing && self.random.chance(70);
        let http2 = (self.endpoints[connect.endpoint].protocol == Protocol::Http2).then(Http2::default);
        self.servers.push(Server {
            link,
            endpoint: connect.endpoint,
            input: Vec::new(),
            out: Vec::new(),
            produced: 0,
            written: 0,
            answers: VecDeque::new(),
            frozen,
            closed: false,
            close_when_written: false,
            is_head: false,
            told: None,
            answered: false,
            current: None,
            http2,
        });
        if self.servers[server].http2.is_some() {
            self.http2_greet(server);
            self.at(self.scenario.heal_at, Event::Act(server, Act::Settings));
        }
        self.carry_out(index);
        self.server_flush(server);
    }

    /// Bytes arrived, or there is room to write.
    pub fn server_wake(&mut self, server: usize) {
        let link = self.servers[server].link;
        let mode = self.endpoints[self.servers[server].endpoint].mode;
        if !self.servers[server].frozen && mode == Mode::Freezing && self.random.chance(20) {
            self.servers[server].frozen = true;
            self.log("frozen", [server as u64, 0, 0]);
        }
        if self.servers[server].frozen {
            return;
        }
        self.server_flush(server);
        while !self.servers[server].closed {
            let max = self.random.pick(&[50, 1_000, 100_000]);
            match self.links[link].out.read(self.now, max) {
                Read::Nothing => break,
                Read::End => {
                    self.server_close(server, true);
                }
                Read::Bytes(bytes) => {
                    self.servers[server].input.extend_from_slice(&bytes);
                    if self.servers[server].http2.is_some() {
                        self.http2_input(server);
                    } else {
                        self.http1_input(server);
                    }
                }
            }
        }
        if std::mem::take(&mut self.links[link].out.writer_waits) {
            let delay = self.jitter(link);
            self.after(delay, Event::Near(link));
        }
        self.server_flush(server);
    }

    pub fn server_act(&mut self, server: usize, act: Act) {
        if self.servers[server].closed || self.servers[server].frozen {
            return;
        }
        match act {
            Act::Close => self.server_close(server, true),
            Act::React { stream: 0, request, reaction } => self.http1_react(server, request, reaction),
            Act::React { stream, request, reaction } => self.http2_react(server, stream, request, reaction),
            Act::Window { stream, bytes } => self.http2_window(server, stream, bytes),
            Act::Settings => self.http2_settings(server),
        }
        self.server_flush(server);
    }

    fn server_flush(&mut self, server: usize) {
        let link = self.servers[server].link;
        if self.servers[server].closed || self.servers[server].frozen {
            return;
        }
        let arrival = self.now + self.jitter(link);
        let entry = &mut self.servers[server];
        if !entry.out.is_empty() && !self.links[link].inward.broken {
            let piece =
                if self.random.chance(20) { self.random.size(1, entry.out.len().min(30)) } else { entry.out.len() };
            let (bytes, at) = self.links[link].inward.write(&entry.out[..piece], arrival);
            if bytes > 0 {
                entry.out.drain(..bytes);
                entry.written += bytes as u64;
                self.order_near(at, link);
                self.count_answers(server);
            }
        }
        self.server_flush_rest(server);
    }

    /// Answers count from when they are written whole.
    fn count_answers(&mut self, server: usize) {
        let entry = &mut self.servers[server];
        while let Some(&(end, request, status)) = entry.answers.front()
            && end <= entry.written
        {
            entry.answers.pop_front();
            self.ledger.answered(request, status);
        }
    }

    /// What a piecewise write left comes a little later.
    fn server_flush_rest(&mut self, server: usize) {
        let entry = &self.servers[server];
        let link = entry.link;
        if entry.out.is_empty() {
            if entry.close_when_written {
                self.server_close(server, true);
            }
        } else if !self.links[link].inward.writer_waits && !self.links[link].inward.broken {
            let delay = self.random.between(1, 200) * 1_000;
            self.after(delay, Event::Far(link));
        }
    }

    fn order_near(&mut self, at: u64, link: usize) {
        self.at(at, Event::Near(link));
    }

    pub fn server_close(&mut self, server: usize, orderly: bool) {
        let entry = &mut self.servers[server];
        if entry.closed {
            return;
        }
        entry.closed = true;
        let link = entry.link;
        // A connection that answered before, and ends without a byte about this request.
        let excused =
            entry.current.take().flatten().filter(|_| entry.answered && entry.out.is_empty() && entry.http2.is_none());
        if let Some(request) = excused {
            self.ledger.excused(request);
        }
        self.log("server closes", [server as u64, link as u64, u64::from(orderly)]);
        let delay = self.jitter(link);
        let entry = &mut self.links[link];
        entry.out.broken = true;
        let at = if orderly {
            entry.inward.close(self.now + delay)
        } else {
            entry.inward.reset(self.now);
            self.now
        };
        self.at(at, Event::Near(link));
    }

    /// What to do about a request, and when.
    pub fn choose_reaction(&mut self, endpoint: usize) -> (Reaction, u64) {
        let entry = &self.endpoints[endpoint];
        let (mode, call_timeout) = (entry.mode, entry.call_timeout);
        let quick = self.random.between(0, 3_000) * 10_000;
        let success = self.random.pick(&[200, 201, 204]);
        let error = self.random.pick(&[500, 503, 404, 301, 429, 429, 422]);
        match mode {
            Mode::Good | Mode::Refusing | Mode::Hanging => (Reaction::Status(success), quick),
            Mode::Slow => (Reaction::Status(success), self.random.below(2 * call_timeout)),
            Mode::Errors => (Reaction::Status(error), quick),
            Mode::Silent | Mode::Freezing => (Reaction::Never, 0),
            Mode::Leaving => (self.random.pick(&[Reaction::Last(success), Reaction::GoAway, Reaction::Refuse]), quick),
            Mode::Flaky => {
                let reaction = self.random.pick(&[
                    Reaction::Status(success),
                    Reaction::Status(success),
                    Reaction::Status(error),
                    Reaction::Last(success),
                    Reaction::Last(error),
                    Reaction::Cut,
                    Reaction::End,
                    Reaction::Refuse,
                    Reaction::Reset,
                    Reaction::GoAway,
                    Reaction::Never,
                ]);
                let late = self.random.chance(10);
                (reaction, if late { self.random.below(2 * call_timeout) } else { quick })
            }
        }
    }

    /// A whole request arrived; its reaction is due later.
    pub fn server_requested(&mut self, server: usize, stream: u32, head: Option<&str>, body: &[u8]) -> Option<usize> {
        let endpoint = self.servers[server].endpoint;
        let destination = self.endpoints[endpoint].destination;
        let request = self.ledger.requested(bodies::read(body), head, destination);
        self.check_reached(server, request);
        let (mut reaction, delay) = self.choose_reaction(endpoint);
        // Now and then a destination is in a better mood.
        if let Some(request) = request
            && self.ledger.is_poisoned(request)
            && self.random.chance(85)
        {
            reaction = match reaction {
                Reaction::Status(200..300) => Reaction::Status(422),
                Reaction::Last(200..300) => Reaction::Last(422),
                other => other,
            };
        }
        let frames = request.map_or(&[][..], |request| &self.ledger.requests[request].frames);
        let (count, first) = (frames.len() as u64, frames.first().map_or(u64::MAX, |frame| *frame as u64));
        self.log("request", [(server as u64) << 32 | u64::from(stream), first, count]);
        self.after(delay, Event::Act(server, Act::React { stream, request, reaction }));
        request
    }

    fn http1_input(&mut self, server: usize) {
        loop {
            let input = &self.servers[server].input;
            let Some(head) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            let text = String::from_utf8_lossy(&input[..head]).into_owned();
            if !text.starts_with("POST ") {
                self.http1_probed(server, &text);
                continue;
            }
            let length = text
                .to_ascii_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|text| text.trim().parse::<usize>().ok());
            let Some(length) = length else {
                return self.ledger.violation(format!("a request without a length: {text}"));
            };
            if input.len() < head + 4 + length {
                return;
            }
            let body: Vec<u8> = self.servers[server].input.drain(..head + 4 + length).skip(head + 4).collect();
            if self.servers[server].current.is_some() {
                return self.ledger.violation("a second request on a busy HTTP/1.1 connection".to_owned());
            }
            let request = self.server_requested(server, 0, Some(&text), &body);
            self.check_dead(server, request);
            self.check_wait(server);
            self.servers[server].current = Some(request);
        }
    }

    /// A probe, which has no body, and nothing of a record.
    fn http1_probed(&mut self, server: usize, head: &str) {
        let entry = &mut self.servers[server];
        entry.input.drain(..head.len() + 4);
        entry.is_head = head.starts_with("HEAD ");
        let lower = head.to_ascii_lowercase();
        if entry.current.is_some() || ["content-", "aerospike-", "x-ns", "x-op"].iter().any(|it| lower.contains(it)) {
            return self.ledger.violation(format!("a probe on a busy connection, or with too much in it: {head}"));
        }
        entry.current = Some(None);
        self.probed(server, 0);
    }

    /// A probe came; its reaction is due later.
    pub fn probed(&mut self, server: usize, stream: u32) {
        let endpoint = self.servers[server].endpoint;
        self.ledger.tally.probes += 1;
        let (reaction, delay) = self.choose_reaction(endpoint);
        self.log("probe", [server as u64, u64::from(stream), delay]);
        self.after(delay, Event::Act(server, Act::React { stream, request: None, reaction }));
    }

    /// A record whose connection had gone when its request was begun was not to be sent any more.
    fn check_dead(&mut self, server: usize, request: Option<usize>) {
        let began = self.links[self.servers[server].link].request_began;
        let (Some(request), Some(began)) = (request, began) else { return };
        let Request { destination, ref frames } = self.ledger.requests[request];
        // The executor that has the record is told by a parcel.
        let told = if self.scenario.keys.is_some() && self.engines.len() > 1 { LONGEST_MAIL } else { 0 };
        let is_dead = |frame: &&usize| {
            let frame = &self.ledger.frames[**frame];
            // A request that is repeated may say what it said before.
            let is_first = frame.deliveries[destination].requests == 1;
            is_first && self.links[frame.link].gone_at.is_some_and(|gone| gone + told < began)
        };
        let dead: Vec<usize> = frames.iter().filter(is_dead).copied().collect();
        if !dead.is_empty() {
            let text = format!("frames {dead:?} were sent although their connections had gone, with {frames:?}");
            self.ledger.violation(text);
        }
    }

    /// What `Retry-After` says in an answer; empty: it is not there.
    pub fn choose_wait(&mut self, status: u16) -> &'static str {
        if matches!(status, 429 | 503) { self.random.pick(&["", "0", "1", "1", "2", "2", "soon"]) } else { "" }
    }

    /// The engine takes notice of what a server's last answer asked for.
    pub fn told_to_wait(&mut self, link: usize) {
        let entry = &self.links[link];
        let Far::Server(server) = entry.far else { return };
        self.ledger.tally.waits += 1;
        let (engine, server) = (entry.engine, &self.servers[server]);
        let destination = &self.scenario.config.destinations[self.endpoints[server.endpoint].destination];
        let cap = destination.retry_after_cap.as_nanos() as u64;
        let Some(wait) = server.told.map(|seconds| (seconds * SECOND).min(cap)) else { return };
        self.waits.insert((engine, server.endpoint), (self.now, self.now + wait));
    }

    /// How often the engine of a link took notice of such an answer.
    pub fn waits_of(&self, link: usize) -> u64 {
        self.engines[self.links[link].engine].as_ref().map_or(0, |engine| engine.counters().waits)
    }

    /// A record is sent nowhere before each of its destinations has a connection.
    fn check_reached(&mut self, server: usize, request: Option<usize>) {
        let engine = self.links[self.servers[server].link].engine;
        let Some(request) = request.map(|request| &self.ledger.requests[request]) else { return };
        let all = request.frames.iter().flat_map(|frame| &self.ledger.kind(*frame).settings.destinations);
        if let Some(missing) = all.copied().find(|destination| !self.reached.contains(&(engine, *destination))) {
            let text = format!("frames {:?} were sent before destination {missing} was reached", request.frames);
            self.ledger.violation(text);
        }
    }

    /// An engine that was asked to leave an endpoint alone begins no request there until it may.
    fn check_wait(&mut self, server: usize) {
        let Some(began) = self.links[self.servers[server].link].request_began else { return };
        let key = (self.links[self.servers[server].link].engine, self.servers[server].endpoint);
        if let Some((told, until)) = self.waits.get(&key).copied()
            && told + MS < began
            && began < until
        {
            let text = format!("{key:?} was told at {told} to wait until {until}, and began a request at {began}");
            self.ledger.violation(text);
        }
    }

    fn http1_react(&mut self, server: usize, request: Option<usize>, reaction: Reaction) {
        let variant = self.random.below(5);
        self.log("reacts", [server as u64, 0, reaction.number()]);
        let entry = &mut self.servers[server];
        let (status, last) = match reaction {
            Reaction::Status(status) => (status, false),
            Reaction::Last(status) => (status, true),
            Reaction::Cut => {
                entry.current = None;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc";
                let cut = self.random.size(1, answer.len());
                let entry = &mut self.servers[server];
                entry.send(&answer[..cut]);
                return entry.finish();
            }
            Reaction::End | Reaction::Refuse | Reaction::GoAway => return self.server_close(server, variant > 0),
            Reaction::Reset => {
                entry.current = None;
                entry.send(b"\x16\x03\x01 not HTTP at all\r\n\r\n");
                return entry.finish();
            }
            Reaction::Never => return,
        };
        entry.current = None;
        entry.answered = true;
        let close = if last { "connection: close\r\n" } else { "" };
        let wait = self.choose_wait(status);
        let entry = &mut self.servers[server];
        let connection = if wait.is_empty() { close.to_owned() } else { format!("Retry-After: {wait}\r\n{close}") };
        entry.told = wait.parse().ok();
        let variant = if entry.is_head { 4 } else { variant };
        let answer = match variant {
            0 if status != 204 => {
                format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n{connection}\r\n3\r\nabc\r\n0\r\n\r\n")
            }
            1 => format!(
                "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 {status} X\r\ncontent-length: 0\r\n{connection}\r\n"
            ),
            2 if status != 204 => {
                format!("HTTP/1.1 {status} \r\ncontent-length: 300\r\n{connection}\r\n{}", "b".repeat(300))
            }
            _ => format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n{connection}\r\n"),
        };
        entry.send_answer(answer.as_bytes(), request, status);
        if last {
            entry.finish();
        }
    }
}
