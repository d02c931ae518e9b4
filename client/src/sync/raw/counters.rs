//! The packed words by which a ring says where its ends are and which blocks it has.
//!
//! Each word changes by one store, so whoever dies leaves the state before or the state after.
//! All numbers wrap around; only differences mean something.

/// Where an end of the ring is: how many items have passed it, and its place in units.
///
/// | bits | meaning |
/// |---|---|
/// | 0–31 | units (of [`UNIT`] bytes) since the ring was made |
/// | 32–63 | items since the ring was made |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) items: u32,
    pub(crate) units: u32,
}

/// Bytes of a unit: every item begins at a multiple of it.
pub(crate) const UNIT: usize = 8;

impl End {
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self { items: (word >> 32) as u32, units: word as u32 }
    }

    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.items) << 32 | u64::from(self.units)
    }

    /// One item of so many units further.
    #[inline]
    #[must_use]
    pub(crate) fn after(self, units: u32) -> Self {
        Self { items: self.items.wrapping_add(1), units: self.units.wrapping_add(units) }
    }

    /// Items between an end behind this one and this one.
    #[inline]
    pub(crate) fn items_since(self, behind: Self) -> u32 {
        self.items.wrapping_sub(behind.items)
    }

    /// Units between an end behind this one and this one.
    #[inline]
    pub(crate) fn units_since(self, behind: Self) -> u32 {
        self.units.wrapping_sub(behind.units)
    }
}

/// How many blocks have been laid under the ring, and how many of those were used before.
///
/// | bits | meaning |
/// |---|---|
/// | 0–31 | places of the ring that gave their block to a later one |
/// | 32–63 | places of the ring that have got a block |
///
/// The difference is how many blocks of memory are in use: each place got a new block or one that
/// an earlier place gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) laid: u32,
    pub(crate) reused: u32,
}

impl Blocks {
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self { laid: (word >> 32) as u32, reused: word as u32 }
    }

    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.laid) << 32 | u64::from(self.reused)
    }
}
