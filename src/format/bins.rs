//! A cheap first look at bin names.

use super::members::hash;

/// Tells records whose bin names all differ, which is nearly all of them, from those that need a closer look.
#[derive(Debug, Default)]
pub(super) struct SeenNames {
    bits: [u64; 4],
    may_repeat: bool,
}

impl SeenNames {
    /// Notes a name. Names whose bytes were `replaced` can be equal as text although their bytes differ.
    #[inline]
    pub(super) fn add(&mut self, name: &[u8], replaced: bool) {
        let hash = hash(name);
        let bit = 1u64 << (hash & 63);
        #[allow(clippy::indexing_slicing, reason = "two bits index four words")]
        let word = &mut self.bits[(hash >> 6 & 3) as usize];
        self.may_repeat |= replaced | (*word & bit != 0);
        *word |= bit;
    }

    /// Whether two names may be equal; never no when two are.
    #[inline]
    pub(super) const fn may_repeat(&self) -> bool {
        self.may_repeat
    }
}
