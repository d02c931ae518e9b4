//! Who has an item of a log: the one end begins items in order, the other may take back those that
//! have not begun, without a lock and without waiting for anybody.
//!
//! | word | bits | meaning |
//! |---|---|---|
//! | `begun` | 0–31 | how many items of the log have begun; wraps around |
//! | | 32–63 | the last recall that the reader knew of when it said so |
//! | `recalls` | 0 | a recall is under way |
//! | | 1–32 | which one, counted; wraps around |
//!
//! The reader says that it begins an item, then looks whether there was a recall since it looked
//! at the end of the log. The writer says that it recalls, then looks what has begun, then makes
//! the log shorter. So of two who do both at once, one at least sees the other: the writer leaves
//! to the reader whatever it sees begun, and a reader that sees a recall takes its word back and
//! looks at the end of the log again. An item may be left by both then, for the reader to begin
//! once more; it is never taken by both.
//!
//! A reader that dies, or stops, between its two steps has said of an item that it begins, and the
//! writer may have taken it before. So the writer remembers what it saw: a word from before the
//! last recall that says more than it said then is void.

use super::atomics::{AtomicU64, look, publish};

/// The two words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The reader's.
    pub(crate) begun: &'a AtomicU64,
    /// The writer's.
    pub(crate) recalls: &'a AtomicU64,
}

#[inline]
fn word(recall: u32, items: u32) -> u64 {
    u64::from(recall) << 32 | u64::from(items)
}

impl Claim<'_> {
    /// Begins item `item` of the log, for a reader that knows of so many recalls and has looked at
    /// the end of the log since the last of them. It has the item if this is true; if not, it must
    /// [`settle`](Self::settle) and look at the end of the log again.
    #[inline]
    pub(crate) fn begin(&self, known: u32, item: u32) -> bool {
        publish(self.begun, word(known, item.wrapping_add(1)));
        if look(self.recalls) == u64::from(known) << 1 {
            return true;
        }
        publish(self.begun, word(known, item));
        false
    }

    /// How many recalls there were; `None` while one is under way.
    pub(crate) fn settle(&self) -> Option<u32> {
        let recalls = look(self.recalls);
        (recalls & 1 == 0).then_some((recalls >> 1) as u32)
    }
}

/// What the writer knows of its recalls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recaller {
    recalls: u32,
    /// What had begun at the last one.
    begun: u32,
}

impl Recaller {
    /// How many items have begun. Whatever the reader wrote, it is what it can mean.
    #[inline]
    pub(crate) fn begun(&self, claim: Claim<'_>) -> u32 {
        let begun = look(claim.begun);
        let items = begun as u32;
        let is_old = (begun >> 32) as u32 != self.recalls;
        // Later than it was, by less than half of all numbers.
        let is_more = self.begun.wrapping_sub(items) > u32::MAX / 2;
        if is_old && is_more { self.begun } else { items }
    }

    /// Takes items back: `cut` is told how many have begun, and makes the log end behind them, or
    /// later. Until it is over, the reader begins nothing.
    pub(crate) fn recall<R>(&mut self, claim: Claim<'_>, cut: impl FnOnce(u32) -> R) -> R {
        let next = self.recalls.wrapping_add(1);
        publish(claim.recalls, u64::from(next) << 1 | 1);
        self.begun = self.begun(claim);
        self.recalls = next;
        let result = cut(self.begun);
        publish(claim.recalls, u64::from(next) << 1);
        result
    }
}
