//! A node of the cluster: one XDR connection at a time, acks taken in order, everything resent that was not acked.

use std::collections::VecDeque;

use super::frames::{self, Class};
use super::pipe::Read;
use super::random::Random;
use super::scenario::{MS, SECOND, Scenario};
use super::settings::NAMES;
use super::world::{Event, Far, World};

/// An ack's bytes, but for its code.
const ACK: [u8; 30] = [2, 3, 0, 0, 0, 0, 0, 22, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a node has done to its connection that explains its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Usual,
    /// Half closed, or broke framing: everything whole before it must be answered.
    Finished,
    /// Half a frame and then nothing: closed by the connector, records unanswered.
    Silent,
}

#[derive(Debug)]
pub struct Node {
    pub link: Option<usize>,
    /// Place in [`super::settings::PORTS`] of the port that it connects to.
    pub port: usize,
    /// Frames without a code, in the order of sending.
    outstanding: VecDeque<usize>,
    /// Records to send again.
    backlog: VecDeque<usize>,
    out: Vec<u8>,
    /// Where in the connection's bytes each frame ends.
    ends: VecDeque<(u64, usize)>,
    produced: u64,
    written: u64,
    acks: Vec<u8>,
    deaf_until: u64,
    /// When the last code came.
    last_ack: u64,
    /// It waits before it sends again.
    rests_until: u64,
    manner: Manner,
    /// Records that it still makes.
    left: usize,
    limit: usize,
    pub leaving: bool,
}

impl Node {
    pub fn new(scenario: &Scenario, random: &mut Random) -> Node {
        Node {
            link: None,
            port: random.size(0, 1),
            outstanding: VecDeque::new(),
            backlog: VecDeque::new(),
            out: Vec::new(),
            ends: VecDeque::new(),
            produced: 0,
            written: 0,
            acks: Vec::new(),
            deaf_until: 0,
            last_ack: 0,
            rests_until: 0,
            manner: Manner::Usual,
            left: random.size(1, scenario.records),
            limit: scenario.outstanding,
            leaving: false,
        }
    }
}

impl Node {
    /// For a failure's message.
    pub fn state(&self) -> String {
        let (outstanding, backlog, out, manner) =
            (self.outstanding.len(), self.backlog.len(), self.out.len(), self.manner);
        format!("{outstanding} without a code, {backlog} to send again, {out} bytes to write, {manner:?}")
    }
}

impl World {
    pub fn node_step(&mut self, node: usize) {
        let pause = self.random.pick(&[MS / 5, 2 * MS, 20 * MS]);
        self.after(pause + self.random.clone().below(pause), Event::NodeStep(node));
        match self.nodes[node].link {
            None if !self.nodes[node].leaving => self.node_connect(node),
            None => {}
            Some(link) => {
                if self.nodes[node].leaving {
                    return self.node_leave(node);
                }
                if !self.is_healed()
                    && self.nodes[node].manner == Manner::Usual
                    && self.random.chance(self.scenario.unkind)
                {
                    self.node_misbehave(node);
                }
                if self.nodes[node].link.is_some() {
                    self.node_send(node);
                    self.node_check_age(node, link);
                }
            }
        }
    }

    fn node_connect(&mut self, node: usize) {
        let candidates: Vec<usize> = (0..self.engines.len())
            .filter(|index| self.engines[*index].is_some() && self.drain_began[*index].is_none())
            .collect();
        if candidates.is_empty() {
            return;
        }
        let engine = self.random.pick(&candidates);
        let Some(link) = self.accept(engine, node) else { return };
        self.log("node connects", [node as u64, engine as u64, link as u64]);
        let entry = &mut self.nodes[node];
        entry.link = Some(link);
        entry.manner = Manner::Usual;
        entry.produced = 0;
        entry.written = 0;
    }

    fn node_misbehave(&mut self, node: usize) {
        let choice = self.random.below(10);
        self.log("node misbehaves", [node as u64, choice, 0]);
        let Some(link) = self.nodes[node].link else { return };
        match choice {
            0 | 1 => {
                // Reset: whatever is on its way is lost.
                self.node_end(node, false);
            }
            2 | 3 => {
                let whole = self.random.chance(50);
                if whole {
                    self.nodes[node].manner = Manner::Finished;
                    self.node_close_write(link);
                } else {
                    self.nodes[node].manner = Manner::Finished;
                    let at = self.now + self.jitter(link);
                    let garbage = b"GET / HTTP/1.1\r\n\r\n";
                    self.nodes[node].out.extend_from_slice(garbage);
                    let _ = at;
                    self.node_write(node);
                }
            }
            4 => {
                // The start of a frame, and then nothing.
                let mut half = Vec::new();
                frames::encode(u64::MAX, Class::Write, NAMES[0], None, &mut half);
                let cut = self.random.size(1, half.len() - 1);
                self.nodes[node].out.extend_from_slice(&half[..cut]);
                self.nodes[node].manner = Manner::Silent;
                self.node_write(node);
            }
            _ => self.nodes[node].deaf_until = self.now + self.random.between(10, 1_500) * MS,
        }
        let deaf = self.nodes[node].deaf_until;
        self.at(deaf, Event::Far(link));
    }

    fn node_close_write(&mut self, link: usize) {
        let at = self.now + self.jitter(link);
        let at = self.links[link].inward.close(at);
        self.at(at, Event::Near(link));
    }

    /// The node is done: closes in order.
    fn node_leave(&mut self, node: usize) {
        self.node_end(node, true);
    }

    fn node_send(&mut self, node: usize) {
        if self.nodes[node].rests_until > self.now {
            return self.node_write(node);
        }
        let burst = self.random.pick(&[1, 1, 4, 50]);
        for _ in 0..burst {
            let entry = &self.nodes[node];
            if entry.manner != Manner::Usual || entry.outstanding.len() >= entry.limit || entry.out.len() > 300_000 {
                break;
            }
            let Some(record) = self.node_next_record(node) else { break };
            let Some(link) = self.nodes[node].link else { break };
            let frame = self.ledger.new_frame(record, link);
            let kind = self.ledger.kind(frame);
            let entry = &mut self.nodes[node];
            let before = entry.out.len();
            let names = (kind.namespace, kind.set);
            let (class, version) = (self.ledger.records[record].class, self.ledger.frames[frame].version);
            frames::encode(frame as u64, class, names, version, &mut entry.out);
            entry.produced += (entry.out.len() - before) as u64;
            entry.ends.push_back((entry.produced, frame));
            entry.outstanding.push_back(frame);
        }
        self.node_write(node);
    }

    fn node_next_record(&mut self, node: usize) -> Option<usize> {
        if let Some(record) = self.nodes[node].backlog.pop_front() {
            return Some(record);
        }
        if self.nodes[node].left == 0 || self.is_healed() {
            return None;
        }
        self.nodes[node].left -= 1;
        let large = self.scenario.large;
        let class = match self.random.below(20) {
            0 => Class::Skip,
            1 => self.random.pick(&[Class::Bad, Class::BadBin]),
            2 => self.random.pick(&[Class::BadCompressed, Class::BadBin]),
            3 | 4 => Class::Delete,
            5 | 6 => Class::Compressed,
            7 => Class::Large(self.random.size(100, large)),
            _ => Class::Write,
        };
        // Most are of one kind, or no batch would ever be full.
        let name = if self.random.chance(60) { node % NAMES.len() } else { self.random.size(0, NAMES.len() - 1) };
        let kind = self.nodes[node].port * NAMES.len() + name;
        let poison = self.random.chance(self.scenario.poison);
        let key = self.scenario.keys.map(|keys| name as u64 * 1_000 + self.random.below(keys));
        // Most come in the order of their updates.
        let late = if self.random.chance(20) { self.random.below(3) } else { 0 };
        Some(self.ledger.new_record(class, kind, poison, key.filter(|_| class.is_delivered()), late))
    }

    /// Writes in pieces that nobody can foresee.
    fn node_write(&mut self, node: usize) {
        let Some(link) = self.nodes[node].link else { return };
        while !self.nodes[node].out.is_empty()
            && !self.links[link].inward.broken
            && !self.links[link].inward.is_closed()
        {
            let arrival = self.now + self.jitter(link);
            let length = self.nodes[node].out.len();
            let piece = if self.random.chance(30) { self.random.size(1, length.min(200)) } else { length };
            let (bytes, at) = self.links[link].inward.write(&self.nodes[node].out[..piece], arrival);
            self.nodes[node].out.drain(..bytes);
            let entry = &mut self.nodes[node];
            entry.written += bytes as u64;
            while let Some(&(end, frame)) = entry.ends.front()
                && end <= entry.written
            {
                entry.ends.pop_front();
                self.ledger.frames[frame].arrived = Some(at);
            }
            if bytes > 0 {
                self.at(at, Event::Near(link));
            }
            if bytes < piece || self.random.chance(20) {
                break;
            }
        }
    }

    /// Acks have arrived, or there is room to write.
    pub fn node_wake(&mut self, node: usize, link: usize) {
        if self.nodes[node].link != Some(link) {
            return;
        }
        self.node_write(node);
        if self.nodes[node].deaf_until > self.now {
            return;
        }
        loop {
            let max = self.random.pick(&[7, 100, 100_000]);
            match self.links[link].out.read(self.now, max) {
                Read::Nothing => break,
                Read::Bytes(bytes) => {
                    self.nodes[node].acks.extend_from_slice(&bytes);
                    self.node_acks(node);
                }
                Read::End => {
                    self.node_sees_end(node);
                    return self.node_end(node, true);
                }
            }
        }
        if std::mem::take(&mut self.links[link].out.writer_waits) {
            let delay = self.jitter(link);
            self.after(delay, Event::Near(link));
        }
    }

    fn node_acks(&mut self, node: usize) {
        while self.nodes[node].acks.len() >= 30 {
            let ack: Vec<u8> = self.nodes[node].acks.drain(..30).collect();
            let code = ack[13];
            let mut expected = ACK;
            expected[13] = code;
            if ack != expected {
                return self.ledger.violation(format!("node {node} got an ack that is none: {ack:02x?}"));
            }
            let Some(frame) = self.nodes[node].outstanding.pop_front() else {
                return self.ledger.violation(format!("node {node} got code {code} for no frame"));
            };
            self.log("ack", [node as u64, frame as u64, u64::from(code)]);
            self.ledger.acked(frame, code, self.now);
            self.nodes[node].last_ack = self.now;
            let record = self.ledger.frames[frame].record;
            if !self.ledger.records[record].done {
                self.nodes[node].backlog.push_back(record);
                self.nodes[node].rests_until = self.now + self.random.pick(&[0, 5, 50]) * MS;
            }
        }
    }

    /// The connector closed its side: is that right?
    fn node_sees_end(&mut self, node: usize) {
        let entry = &self.nodes[node];
        let Some(link) = entry.link else { return };
        let drains = self.drain_began[self.links[link].engine].is_some();
        let arrived = |frame: &&usize| self.ledger.frames[**frame].arrived.is_some();
        let unanswered = entry.outstanding.iter().filter(arrived).count();
        let requested =
            |frame: &&usize| self.ledger.frames[**frame].deliveries.iter().any(|delivery| delivery.requests > 0);
        let sent = entry.outstanding.iter().filter(requested).count();
        let fault = match entry.manner {
            Manner::Silent => None,
            _ if drains => (sent > 0).then(|| format!("{sent} frames were sent on and have no code after the drain")),
            Manner::Finished => {
                (unanswered > 0).then(|| format!("{unanswered} frames of a finished connection have no code"))
            }
            Manner::Usual => Some("the connector closed a connection without a reason".to_owned()),
        };
        if let Some(fault) = fault {
            self.ledger.violation(format!("node {node}: {fault}"));
        }
    }

    /// The connection is over for this node; what has no code is sent again on the next one.
    fn node_end(&mut self, node: usize, orderly: bool) {
        let Some(link) = self.nodes[node].link.take() else { return };
        self.log("node ends", [node as u64, link as u64, u64::from(orderly)]);
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
        let node = &mut self.nodes[node];
        node.out.clear();
        node.ends.clear();
        node.acks.clear();
        node.deaf_until = 0;
        let frames = std::mem::take(&mut node.outstanding);
        node.backlog.extend(frames.iter().map(|frame| self.ledger.frames[*frame].record));
    }

    /// No connection waits for a code longer than a deadline and a pause allow. A frame may: its deadline begins when
    /// it is read, and under pressure that moves it is read late.
    fn node_check_age(&mut self, node: usize, link: usize) {
        if self.nodes[node].manner != Manner::Usual || self.nodes[node].deaf_until > 0 {
            // A node that was deaf has itself to thank; the clock starts anew with its next connection.
            if self.nodes[node].deaf_until + 5 * SECOND < self.now {
                self.nodes[node].deaf_until = 0;
            }
            return;
        }
        let deadline = self.scenario.config.limits.record_deadline.as_nanos() as u64;
        let allowed = deadline + 3 * SECOND;
        let Some(&frame) = self.nodes[node].outstanding.front() else { return };
        let late = self.ledger.frames[frame]
            .arrived
            .filter(|arrived| (*arrived).max(self.nodes[node].last_ack) + allowed < self.now);
        if late.is_some() && matches!(self.links[link].far, Far::Node(_)) {
            self.ledger.violation(format!("frame {frame} of node {node} has no code long after its deadline"));
        }
    }

    pub fn is_all_acked(&self) -> bool {
        self.ledger.records.iter().all(|record| record.done)
    }
}
