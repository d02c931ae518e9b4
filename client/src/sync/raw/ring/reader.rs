//! The emptying end.

use super::{Damaged, End, Memory, Ordering, Ring, Shape, UNIT, is_behind, look, publish};

/// Empties a ring. Only whoever holds the lock of that end may have one.
#[derive(Debug)]
pub(crate) struct Reader<'a, M> {
    ring: Ring<'a, M>,
    published: End,
    head: End,
    tail: End,
}

/// An item in the ring that has not been taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its bytes.
    pub(crate) length: usize,
    /// What they are.
    pub(crate) kind: u32,
    units: u32,
}

impl<'a, M: Memory> Ring<'a, M> {
    /// For whoever holds the lock of the emptying end.
    #[inline]
    pub(crate) fn reader(self) -> Reader<'a, M> {
        let empty = &self.raw.empty;
        let head = End::from_word(empty.head.load(Ordering::Relaxed));
        let tail = End::from_word(empty.tail_seen.load(Ordering::Relaxed));
        Reader { ring: self, published: head, head, tail }
    }

    /// For who alone empties the ring and keeps the ends by itself: what was taken so far, what
    /// comes next, and how far the ring is known to be filled.
    #[inline]
    pub(crate) fn reader_at(self, published: End, head: End, tail: End) -> Reader<'a, M> {
        Reader { ring: self, published, head, tail }
    }
}

impl<M: Memory> Reader<'_, M> {
    /// The next item, if there is one. It is not taken before [`skip`](Self::skip), and not for
    /// others before [`publish`](Self::publish).
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Damaged> {
        if !is_behind(self.head, self.tail) {
            let now = look(&self.ring.raw.fill.tail);
            self.ring.raw.empty.tail_seen.store(now, Ordering::Relaxed);
            self.tail = End::from_word(now);
            if self.tail.items == self.head.items {
                return Ok(None);
            }
        }
        let available = self.tail.units_since(self.head);
        if available == 0 || available > self.ring.shape.capacity() {
            return Err(Damaged);
        }
        let header = u64::from_le_bytes(self.ring.memory.word(self.ring.unit(self.head, 0)?));
        let length = (header & u64::from(u32::MAX)) as usize;
        match Shape::units_of(length) {
            Some(units) if units <= available => {
                Ok(Some(Item { length, kind: (header >> 32) as u32, units }))
            }
            _ => Err(Damaged),
        }
    }

    /// Eight bytes of the next item, which must have them: from so many times eight on.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> Result<[u8; UNIT], Damaged> {
        Ok(self.ring.memory.word(self.ring.unit(self.head, UNIT * (1 + at))?))
    }

    /// Appends bytes of the next item to a vector, from so many on.
    #[inline]
    pub(crate) fn copy(&self, item: &Item, skip: usize, into: &mut Vec<u8>) -> Result<(), Damaged> {
        let length = item.length.saturating_sub(skip);
        into.reserve(length);
        self.ring.pieces(self.head, UNIT + skip, length, |at, part| {
            self.ring.memory.append(at, part.len(), into);
        })
    }

    /// Goes past the item that [`next`](Self::next) gave.
    #[inline]
    pub(crate) fn skip(&mut self, item: &Item) {
        self.head = self.head.after(item.units);
    }

    /// Where the next item begins, and how far the ring is known to be filled.
    #[inline]
    pub(crate) fn ends(&self) -> (End, End) {
        (self.head, self.tail)
    }

    /// How many items were skipped and not taken yet.
    #[inline]
    pub(crate) fn skipped(&self) -> u32 {
        self.head.items_since(self.published)
    }

    /// Takes what was skipped out of the ring; returns how many items that are.
    #[inline]
    pub(crate) fn publish(&mut self) -> u32 {
        let taken = self.skipped();
        if taken > 0 {
            publish(&self.ring.raw.empty.head, self.head.to_word());
            self.published = self.head;
        }
        taken
    }
}
