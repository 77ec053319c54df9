//! One direction of one connection: a reader that fills a bounded queue, a writer that empties it late, slowly, in
//! pieces, changed, or not at all.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::View;
use super::faults::{Ending, Link, Random};

/// Bytes of one read, and reads that wait to be written: together with what the two sockets hold, all that a direction
/// keeps. When it is full nothing is read, so that the sender is slowed as by the receiver itself.
const READ_BYTES: usize = 16 << 10;
const WAITING_READS: usize = 8;

/// Longest sleep for the sake of bandwidth: a faster setting is seen that soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Direction {
    pub(super) fn number(self) -> u64 {
        match self {
            Direction::Up => 1,
            Direction::Down => 2,
        }
    }
}

/// Bytes that were read together.
struct Piece {
    bytes: Vec<u8>,
    due: Instant,
}

/// Passes bytes from `from` to `to` until the end of the stream. `Some`: the whole connection is to be ended so.
pub(super) async fn pump(from: &TcpStream, to: &TcpStream, view: View, direction: Direction) -> Option<Ending> {
    let (sender, receiver) = mpsc::channel(WAITING_READS);
    let random = || Random::new(view.seed(), view.number, direction.number());
    let reading = read(from, sender, view.clone(), direction, random());
    let writing = Writer { to, view: view.clone(), direction, random: random(), passed: 0 };
    let writing = writing.run(receiver);
    tokio::pin!(reading, writing);
    let mut is_read = false;
    loop {
        tokio::select! {
            read = &mut reading, if !is_read => match read {
                Ok(()) => is_read = true,
                // What still waits is lost, as it would be without a proxy.
                Err(_) => return Some(Ending::Reset),
            },
            ending = &mut writing => return ending,
        }
    }
}

/// Fills the queue. An error when the sender reset its connection, which is passed on.
async fn read(
    from: &TcpStream,
    queue: mpsc::Sender<Piece>,
    mut view: View,
    direction: Direction,
    mut random: Random,
) -> io::Result<()> {
    let mut last_due = Instant::now();
    loop {
        // Room first: what is read has to have a place.
        let Ok(place) = queue.reserve().await else { return Ok(()) };
        let mut bytes = vec![0; READ_BYTES];
        let length = loop {
            from.readable().await?;
            match from.try_read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        };
        bytes.truncate(length);
        let (shortest, longest) = view.link(direction).latency;
        last_due = last_due.max(Instant::now() + random.between(shortest, longest));
        place.send(Piece { bytes, due: last_due });
    }
}

struct Writer<'a> {
    to: &'a TcpStream,
    view: View,
    direction: Direction,
    random: Random,
    passed: u64,
}

impl Writer<'_> {
    async fn run(mut self, mut queue: mpsc::Receiver<Piece>) -> Option<Ending> {
        loop {
            // A cut behind what has been passed already is due although nothing more comes.
            let next = tokio::select! {
                biased;
                () = self.cut_is_due() => return self.end().await,
                next = queue.recv() => next,
            };
            let Some(Piece { bytes, due }) = next else {
                // The sender's end is passed on, after what came before it.
                self.wait_while_stalled().await;
                let _ = SockRef::from(self.to).shutdown(std::net::Shutdown::Write);
                return None;
            };
            sleep_until(due).await;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                self.wait_while_stalled().await;
                let link = self.view.link(self.direction);
                let length = piece_length(rest.len(), &link, self.passed, &mut self.random);
                if length == 0 {
                    return self.end().await;
                }
                let (now, later) = rest.split_at(length);
                rest = later;
                if self.write(now, &link).await.is_err() {
                    // The receiver has gone: so has the sender's other end.
                    return Some(Ending::Close);
                }
                pause(length, &link).await;
            }
        }
    }

    async fn write(&mut self, bytes: &[u8], link: &Link) -> io::Result<()> {
        let changed = self.corrupted(bytes, link);
        let mut rest = changed.as_deref().unwrap_or(bytes);
        while !rest.is_empty() {
            self.to.writable().await?;
            match self.to.try_write(rest) {
                Ok(length) => {
                    rest = rest.get(length..).unwrap_or_default();
                    self.passed += length as u64;
                    self.view.count(|stats| match self.direction {
                        Direction::Up => stats.bytes_up += length as u64,
                        Direction::Down => stats.bytes_down += length as u64,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The bytes with those changed that are to be; `None`: none.
    fn corrupted(&mut self, bytes: &[u8], link: &Link) -> Option<Vec<u8>> {
        let corrupt = link.corrupt.as_ref()?;
        let mut changed = None;
        for (at, offset) in (0..bytes.len()).zip(self.passed..) {
            if corrupt.offsets.contains(&offset) && self.random.chance(corrupt.probability) {
                // Never the byte that it was.
                let flip = u8::try_from(self.random.below(255)).unwrap_or(0) + 1;
                let copy = changed.get_or_insert_with(|| bytes.to_vec());
                if let Some(byte) = copy.get_mut(at) {
                    *byte ^= flip;
                }
                self.view.count(|stats| stats.corrupted += 1);
            }
        }
        changed
    }

    /// Ends when the cut of this direction is behind what was passed; waits for new settings otherwise.
    async fn cut_is_due(&mut self) {
        while self.view.link(self.direction).cut.is_none_or(|cut| cut.after > self.passed) {
            self.view.changed().await;
        }
    }

    async fn end(&mut self) -> Option<Ending> {
        let ending = self.view.link(self.direction).cut.map_or(Ending::Close, |cut| cut.ending);
        self.view.count(|stats| stats.cuts += 1);
        match ending {
            Ending::Close | Ending::Reset => Some(ending),
            Ending::HalfClose => {
                let _ = SockRef::from(self.to).shutdown(std::net::Shutdown::Write);
                self.silence().await
            }
            Ending::Silence => self.silence().await,
        }
    }

    /// Nothing more until the connection is ended from elsewhere; healing does not bring it back.
    async fn silence(&self) -> Option<Ending> {
        std::future::pending().await
    }

    async fn wait_while_stalled(&mut self) {
        let mut counted = false;
        while self.view.link(self.direction).stall {
            if !counted {
                counted = true;
                self.view.count(|stats| stats.stalls += 1);
            }
            self.view.changed().await;
        }
    }
}

/// How many bytes are written next; 0: the cut is here.
fn piece_length(all: usize, link: &Link, passed: u64, random: &mut Random) -> usize {
    let mut length = all;
    if let Some(slice) = link.slice.filter(|slice| *slice > 0) {
        length = length.min(1 + usize::try_from(random.below(slice as u64)).unwrap_or(0));
    }
    if let Some(bandwidth) = link.bandwidth {
        // A tenth of a second's worth, so that a slow link drips and does not burst.
        length = length.min(usize::try_from(bandwidth / 10).unwrap_or(usize::MAX).max(1));
    }
    if let Some(cut) = link.cut {
        length = length.min(usize::try_from(cut.after.saturating_sub(passed)).unwrap_or(usize::MAX));
    }
    length
}

/// What the bandwidth makes of `length` bytes; slices get into segments of their own.
async fn pause(length: usize, link: &Link) {
    match link.bandwidth {
        Some(bandwidth) => {
            let nanos = (length as u64).saturating_mul(1_000_000_000).checked_div(bandwidth).unwrap_or(u64::MAX);
            sleep(Duration::from_nanos(nanos).min(LONGEST_PAUSE)).await;
        }
        None if link.slice.is_some() => tokio::task::yield_now().await,
        None => {}
    }
}
