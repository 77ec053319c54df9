//! Which records somebody wants to see.

/// The share of the records that are shown, in 2^-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub(super) u64);

impl Share {
    /// Every record.
    pub const ALL: Share = Share(1 << 32);

    /// `share` of the records; `None` unless it is above 0 and not above 1. The smallest one is 2^-32.
    pub fn of(share: f64) -> Option<Share> {
        (share > 0.0 && share <= 1.0).then(|| Share(((share * (1_u64 << 32) as f64) as u64).max(1)))
    }

    /// Whether the next record is one of the share.
    pub(super) const fn takes(self, random: &mut u64) -> bool {
        next(random) >> 32 < self.0
    }
}

/// Which records somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of this namespace.
    pub namespace: Option<Vec<u8>>,
    /// Of this set; empty: those in no set.
    pub set: Option<Vec<u8>>,
    /// Those that are routed to the destination with this index.
    pub destination: Option<usize>,
    /// Those that are not answered 0, be it that nobody hears the answer.
    pub failed: bool,
    /// So many of those that the above leaves, `failed` aside.
    pub share: Share,
}

/// What a filter is held against.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its namespace, if it is known.
    pub namespace: Option<&'a [u8]>,
    /// Its set.
    pub set: Option<&'a [u8]>,
    /// Indices of the destinations that it is routed to.
    pub destinations: &'a [usize],
}

impl Filter {
    /// Every record.
    pub const ALL: Filter = Filter { namespace: None, set: None, destination: None, failed: false, share: Share::ALL };

    /// Whether it wants this record, the share aside.
    pub(super) fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| candidate.namespace == Some(wanted))
            && self
                .set
                .as_deref()
                .is_none_or(|wanted| candidate.namespace.is_some() && candidate.set.unwrap_or_default() == wanted)
            && self.destination.is_none_or(|wanted| candidate.destinations.contains(&wanted))
    }
}

/// xorshift64*: the upper half of what it gives is as good as random.
const fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}
