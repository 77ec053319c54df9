//! What a proxy does to the connections that go through it, and how a seed decides it.

use std::ops::Range;
use std::time::Duration;

use crate::clock::mix;

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accept {
    /// They are passed on.
    #[default]
    Forward,
    /// The port does not listen: the kernel answers with a reset.
    Refuse,
    /// Accepted and reset at once.
    Reset,
    /// Accepted and closed at once.
    Close,
    /// Accepted, never read, never closed by the proxy.
    Hang,
}

/// How a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides see an ordinary end.
    Close,
    /// Both sides see a reset; bytes that were not read yet are lost.
    Reset,
    /// The receiver of this direction sees the end of its input; the other direction goes on.
    HalfClose,
    /// This direction passes nothing more, and nobody is told.
    Silence,
}

/// The end of a connection after so many bytes of one direction, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes that are still passed on; 0: none.
    pub after: u64,
    /// What happens then.
    pub ending: Ending,
}

/// Bytes that are changed on their way.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrupt {
    /// Offsets in the stream of one direction.
    pub offsets: Range<u64>,
    /// Share of these bytes, 0 to 1.
    pub probability: f64,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Link {
    /// Shortest and longest delay of a read's bytes; their order is kept. Timers count milliseconds.
    pub latency: (Duration, Duration),
    /// Bytes a second of each connection.
    pub bandwidth: Option<u64>,
    /// Pieces of 1 to so many bytes, each in a write (and a segment) of its own.
    pub slice: Option<usize>,
    /// Nothing is passed on while this is set; then the stream goes on where it was.
    pub stall: bool,
    /// The connection ends inside this direction.
    pub cut: Option<Cut>,
    /// Changed bytes.
    pub corrupt: Option<Corrupt>,
}

/// Faults of a proxy, switchable while it runs. The default passes everything on as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faults {
    /// New connections.
    pub accept: Accept,
    /// From the connecting side to the target.
    pub up: Link,
    /// From the target to the connecting side.
    pub down: Link,
    /// Share of connections, 0 to 1, that `up`, `down` and `life` hit; `None`: all.
    pub share: Option<f64>,
    /// Connections end after a time between these two, counted from their start.
    pub life: Option<(Duration, Duration, Ending)>,
    /// Up for the first time, down for the second, again and again. Going down ends all connections.
    pub flap: Option<(Duration, Duration)>,
}

impl Faults {
    /// New connections are treated so; open ones are not touched.
    pub fn accept(accept: Accept) -> Faults {
        Faults { accept, ..Faults::default() }
    }

    /// The same for both directions.
    pub fn both(link: Link) -> Faults {
        Faults { up: link.clone(), down: link, ..Faults::default() }
    }

    /// Connections end so, between these two times after their start.
    pub fn life(shortest: Duration, longest: Duration, ending: Ending) -> Faults {
        Faults { life: Some((shortest, longest, ending)), ..Faults::default() }
    }

    /// Whether a connection is among those that are hit.
    pub(super) fn hits(&self, random: &mut Random) -> bool {
        self.share.is_none_or(|share| random.chance(share))
    }
}

/// Random numbers of one connection and direction: the same for the same seed, whatever the others do.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, connection: u64, stream: u64) -> Random {
        Random(mix(mix(seed) ^ mix(connection).rotate_left(17) ^ stream))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// 0 to `bound` - 1; 0 for 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// Between the two, to the microsecond.
    pub(super) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let spread = u64::try_from(longest.saturating_sub(shortest).as_micros()).unwrap_or(u64::MAX);
        shortest + Duration::from_micros(self.below(spread.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_its_own_numbers_and_the_same_ones_for_the_same_seed() {
        let take = |seed, connection, stream| {
            let mut random = Random::new(seed, connection, stream);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(take(1, 2, 3), take(1, 2, 3));
        assert_ne!(take(1, 2, 3), take(2, 2, 3));
        assert_ne!(take(1, 2, 3), take(1, 3, 3));
        assert_ne!(take(1, 2, 3), take(1, 2, 4));
    }

    #[test]
    fn a_share_of_none_hits_none_and_one_of_all_hits_all() {
        let mut random = Random::new(1, 1, 1);
        let mut hits = |share| (0..1_000).filter(|_| Faults { share, ..Faults::default() }.hits(&mut random)).count();
        assert_eq!((hits(Some(0.0)), hits(Some(1.0)), hits(None)), (0, 1_000, 1_000));
        assert!((100..300).contains(&hits(Some(0.2))));
    }
}
