//! `rejected-file` as `src/io` has it: lines are taken in order, and answered in order, some time later, never, or with
//! no.

use std::collections::VecDeque;

use ringpost::delivery::rejects::RejectedLine;

use super::frames;
use super::scenario::{MS, SECOND};
use super::world::{Event, World};

/// How the file behaves for the whole run, or until faults end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    Good,
    /// Up to 3 s for a line.
    Slow,
    /// Some lines find no room.
    Full,
    /// Nothing is written until faults end.
    Hangs,
}

pub const DISKS: [Disk; 5] = [Disk::Good, Disk::Good, Disk::Slow, Disk::Full, Disk::Hangs];

/// Lines on their way to the thread of one engine.
#[derive(Debug, Default)]
pub struct Lines {
    taken: VecDeque<RejectedLine>,
    /// An end of the oldest line's writing is due.
    is_writing: bool,
}

impl World {
    /// What an executor does with its tick: hands lines over.
    pub fn take_lines(&mut self, index: usize) {
        let Some(engine) = self.engines[index].as_mut() else { return };
        // A queue that is full now and then.
        let most = self.random.pick(&[1, 5, 256]);
        let lines = &mut self.lines[index];
        while lines.taken.len() < most
            && let Some(line) = engine.next_rejected()
        {
            lines.taken.push_back(line);
        }
        self.write_line(index);
    }

    fn write_line(&mut self, index: usize) {
        if self.lines[index].is_writing || self.lines[index].taken.is_empty() {
            return;
        }
        self.lines[index].is_writing = true;
        let at = match self.scenario.disk {
            _ if self.is_healed() => self.now + MS,
            Disk::Good | Disk::Full => self.now + self.random.between(10_000, 5 * MS),
            Disk::Slow => self.now + self.random.below(3 * SECOND),
            Disk::Hangs => self.scenario.heal_at,
        };
        self.at(at, Event::LineWritten(index));
    }

    /// The oldest line is in the file, or is not.
    pub fn line_written(&mut self, index: usize) {
        self.lines[index].is_writing = false;
        let written = self.is_healed() || self.scenario.disk != Disk::Full || self.random.chance(50);
        let Some(line) = self.lines[index].taken.pop_front() else { return };
        self.log("line", [index as u64, line.bytes.len() as u64, u64::from(written)]);
        let frame = frame_of_line(&line.bytes).and_then(|bytes| self.frame_of_raw(&bytes));
        match frame {
            Some(frame) => self.ledger.line(frame, written),
            None => {
                let text = String::from_utf8_lossy(&line.bytes).into_owned();
                self.ledger.violation(format!("a line for rejected-file that is no frame's: {text}"));
            }
        }
        drop(line);
        let Some(engine) = self.engines[index].as_mut() else { return };
        engine.rejected_written(written);
        self.carry_out(index);
        self.write_line(index);
    }

    /// The frame with exactly these bytes.
    fn frame_of_raw(&self, bytes: &[u8]) -> Option<usize> {
        let frame = usize::try_from(frames::frame_in(bytes)?).ok()?;
        let entry = self.ledger.frames.get(frame)?;
        let record = &self.ledger.records[entry.record];
        let mut expected = Vec::new();
        let kind = &self.ledger.kinds[record.kind];
        frames::encode(frame as u64, entry.class, (kind.namespace, kind.set), entry.version, &mut expected);
        (expected == bytes).then_some(frame)
    }
}

fn frame_of_line(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\n")?;
    let json: serde_json::Value = serde_json::from_slice(line).ok()?;
    json.get("reason")?.as_str()?;
    base64_simd::STANDARD.decode_to_vec(json.get("frame")?.as_str()?).ok()
}
