//! Whole records through the engine, from their frames to their acks, with everything but I/O: connections are opened and
//! answered at once by the step itself.
//!
//! With taps: of those that a tap wants, an executor follows `delivery::tap::FOLLOWED_PER_TICK` in a tick.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use ringpost::config::{self, UnknownKeys};
use ringpost::delivery::engine::{Engine, SharedLimits};
use ringpost::delivery::table::Key;
use ringpost::delivery::tap::Filter;
use ringpost::time::{Now, Time};
use ringpost::wire::ack;
use ringpost::wire::frame::{self, FrameKind};

use super::{ARRIVAL_MS, Step, stopwatch};

/// Records of one read, and connections to the destination: all of them are on their way together.
const TOGETHER: usize = 16;

/// Time between two reads.
const PAUSE: Duration = Duration::from_micros(100);

/// Timers are looked at once in so many reads: every 10 ms.
const READS_PER_TICK: u32 = 100;

const CONFIG: &str = "service: { port: 8901, manage: { port: 8902 } }\n\
    destinations: { d: { urls: 'http://d.test/', protocol: HTTP_1_1, max-connections-per-endpoint: 16, health-check: { enabled: false } } }\n\
    format: { mode: flat-json, metadata-key: metadata }\n\
    routing: { mode: static-multi-destination, destinations: [ d ] }\n";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// An executor with one source and one HTTP/1.1 destination.
struct Rig {
    engine: Engine,
    source: Key,
    connections: Vec<Key>,
    now: Time,
    reads: u32,
    frames: Vec<u8>,
    waiting: usize,
    requests: Vec<u8>,
}

/// A record through the engine; `filter`: with somebody who taps.
///
/// # Errors
/// The engine does not deliver what it should, which is a fault of this program.
pub fn whole<'a>(message: &[u8], filter: Option<Filter>) -> Result<Step<'a>, Box<dyn Error>> {
    let mut rig = Rig::new()?;
    if let Some(filter) = filter {
        rig.engine.set_taps(0, &[(1, filter)]);
    }
    for _ in 0..TOGETHER {
        rig.add(message);
    }
    let delivered = rig.deliver();
    if delivered != TOGETHER {
        return Err(format!("{delivered} of {TOGETHER} records were acked 0").into());
    }
    Ok(Box::new(move |body, _| {
        rig.add(body);
        if rig.waiting == TOGETHER {
            rig.deliver();
        }
        Ok(())
    }))
}

impl Rig {
    fn new() -> Result<Rig, Box<dyn Error>> {
        let config = config::parse_bytes("micro", CONFIG.as_bytes(), UnknownKeys::Error).config;
        let config = config.ok_or("the configuration of the engine is not taken")?;
        let shared = SharedLimits::new(&config, 1).with_stopwatch(stopwatch);
        let mut engine = Engine::new(&config, &shared, 0)?;
        let source = engine.source_open(SocketAddr::from(([127, 0, 0, 1], 3000)), 8901).ok_or("no place")?;
        Ok(Rig {
            engine,
            source,
            connections: Vec::with_capacity(TOGETHER),
            now: Time::ZERO + PAUSE,
            reads: 0,
            frames: Vec::new(),
            waiting: 0,
            requests: Vec::new(),
        })
    }

    /// One more record of the next read.
    fn add(&mut self, message: &[u8]) {
        self.frames.extend_from_slice(&frame::header(FrameKind::Message, message.len()));
        self.frames.extend_from_slice(message);
        self.waiting += 1;
    }

    /// Reads them, sends them, answers them; how many were acked 0.
    fn deliver(&mut self) -> usize {
        self.now = self.now + PAUSE;
        self.engine.source_receive(self.source, &self.frames, Now { monotonic: self.now, unix_ms: ARRIVAL_MS });
        self.frames.clear();
        self.waiting = 0;
        while let Some(connect) = self.engine.next_connect() {
            self.engine.connection_opened(connect.connection, self.now);
            self.connections.push(connect.connection);
        }
        for connection in &self.connections {
            self.requests.clear();
            self.engine.connection_output(*connection, &mut self.requests);
        }
        for connection in &self.connections {
            self.engine.connection_receive(*connection, OK, self.now);
        }
        let acks = self.engine.source_output(self.source, self.now);
        let (bytes, codes) = (acks.len(), acks.chunks(ack::SIZE).map(ack::code));
        let delivered = codes.filter(|code| *code == Some(ack::OK)).count();
        self.engine.source_wrote(self.source, bytes);
        while self.engine.next_wake().is_some() {}
        while self.engine.next_tapped().is_some() {}
        self.reads += 1;
        if self.reads.is_multiple_of(READS_PER_TICK) {
            self.engine.tick(self.now);
        }
        delivered
    }
}
