//! The filling end.

use super::{AtomicU64, BLOCKS_KEPT, Blocks, Damaged, End, Memory, Ordering, ROTATING_UNITS, Ring};
use super::{Shape, UNIT, look, publish};

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room for it now.
    Full,
    /// The ring cannot be.
    Damaged,
}

impl From<Damaged> for Refused {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// Fills a ring. Only whoever holds the lock of that end may have one.
#[derive(Debug)]
pub(crate) struct Writer<'a, M> {
    ring: Ring<'a, M>,
    /// What others know.
    published: End,
    tail: End,
}

#[inline]
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

impl<'a, M: Memory> Ring<'a, M> {
    /// For whoever holds the lock of the filling end.
    #[inline]
    pub(crate) fn writer(self) -> Writer<'a, M> {
        let tail = End::from_word(load(&self.raw.fill.tail));
        let writer = Writer { ring: self, published: tail, tail };
        if self.raw.fill.shrinking.load(Ordering::Relaxed) != 0 {
            // Who did it died before it was done, and nothing was put since.
            writer.shrink();
        }
        writer
    }

    /// For who alone fills the ring and keeps its end by itself: how far others know of it, and
    /// how far it is filled.
    #[inline]
    pub(crate) fn writer_at(self, published: End, tail: End) -> Writer<'a, M> {
        Writer { ring: self, published, tail }
    }
}

impl<M: Memory> Writer<'_, M> {
    /// Adds an item: so many bytes, in parts, and a word that says what they are. Nobody sees it
    /// before [`publish`](Self::publish).
    #[inline]
    pub(crate) fn push(&mut self, parts: &[&[u8]], kind: u32) -> Result<(), Refused> {
        let units = self.place(parts, kind)?;
        self.tail = self.tail.after(units);
        Ok(())
    }

    /// The same, if `before` then succeeds, which does what the item relies on.
    pub(crate) fn push_after<E>(
        &mut self,
        parts: &[&[u8]],
        kind: u32,
        before: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), Result<Refused, E>> {
        let units = self.place(parts, kind).map_err(Ok)?;
        before().map_err(Err)?;
        self.tail = self.tail.after(units);
        Ok(())
    }

    /// Copies an item to where it will be; returns its units.
    #[inline]
    fn place(&self, parts: &[&[u8]], kind: u32) -> Result<u32, Refused> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let units = Shape::units_of(length).ok_or(Refused::Full)?;
        if !self.has_room_for(units) {
            return Err(Refused::Full);
        }
        self.lay(units)?;
        let header = u64::from(kind) << 32 | length as u64;
        self.ring.memory.write(self.ring.unit(self.tail, 0)?, &header.to_le_bytes());
        let mut at = UNIT;
        for part in parts {
            self.write(at, part)?;
            at += part.len();
        }
        Ok(units)
    }

    /// Where the next item will begin.
    #[inline]
    pub(crate) fn end(&self) -> End {
        self.tail
    }

    /// Where the item that is pushed next will stand in the count of all.
    pub(crate) fn next_item(&self) -> u32 {
        self.tail.items
    }

    /// Shows others what was pushed; returns how many items that are.
    #[inline]
    pub(crate) fn publish(self) -> u32 {
        let added = self.tail.items_since(self.published);
        if added > 0 {
            publish(&self.ring.raw.fill.tail, self.tail.to_word());
        }
        added
    }

    #[inline]
    fn has_room_for(&self, units: u32) -> bool {
        let seen = End::from_word(load(&self.ring.raw.fill.head_seen));
        self.ring.fits(self.tail, seen, units)
            || self.ring.fits(self.tail, self.look_at_head(), units)
    }

    #[cold]
    fn look_at_head(&self) -> End {
        let now = look(&self.ring.raw.empty.head);
        self.ring.raw.fill.head_seen.store(now, Ordering::Relaxed);
        End::from_word(now)
    }

    #[inline]
    fn write(&self, skip: usize, bytes: &[u8]) -> Result<(), Damaged> {
        self.ring.pieces(self.tail, skip, bytes.len(), |at, part| {
            self.ring.memory.write(at, &bytes[part]);
        })
    }

    /// Sees to it that every place up to the end of an item has a block.
    #[inline]
    fn lay(&self, units: u32) -> Result<(), Damaged> {
        let shape = &self.ring.shape;
        let blocks = Blocks::from_word(load(&self.ring.raw.fill.blocks));
        let last = shape.place(self.tail.units.wrapping_add(units - 1));
        let missing = shape.places_since(last.wrapping_add(1), blocks.laid);
        // More than half of all numbers away: it is behind, so a block is there already.
        if missing == 0 || missing > shape.place_mask() / 2 {
            return Ok(());
        }
        self.lay_blocks(blocks, missing, units)
    }

    #[cold]
    fn lay_blocks(&self, mut blocks: Blocks, missing: u32, units: u32) -> Result<(), Damaged> {
        // Not one seen earlier: every block that is free by now is better than a new one.
        let head = self.look_at_head();
        let shape = &self.ring.shape;
        let memory = self.ring.memory;
        let word = &self.ring.raw.fill.blocks;
        let in_use = shape.places_since(blocks.laid, blocks.reused);
        if in_use > BLOCKS_KEPT && self.tail == self.published && head == self.tail {
            let kept = self.shrink();
            memory.forget(bytes(shape, kept.max(BLOCKS_KEPT))..bytes(shape, in_use));
            blocks = Blocks::from_word(load(word));
        }
        if missing > shape.blocks {
            return Err(Damaged);
        }
        let last = shape.place_mask() & blocks.laid.wrapping_add(missing);
        // A block that comes round at once is still in the caches of whoever emptied it.
        let rotating = if units < ROTATING_UNITS { 0 } else { BLOCKS_KEPT.min(shape.blocks) };
        while blocks.laid != last {
            let in_use = shape.places_since(blocks.laid, blocks.reused);
            let free = shape.places_since(shape.place(head.units), blocks.reused);
            if free > in_use {
                return Err(Damaged);
            }
            let reuse = free > 0 && in_use >= rotating;
            let block = if reuse { memory.block(shape.entry(blocks.reused)) } else { in_use };
            if block >= shape.blocks {
                return Err(Damaged);
            }
            memory.set_block(shape.entry(blocks.laid), block);
            blocks.laid = shape.place_mask() & (blocks.laid.wrapping_add(1));
            if reuse {
                blocks.reused = shape.place_mask() & (blocks.reused.wrapping_add(1));
            }
            word.store(blocks.to_word(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Starts anew with one block of an empty ring, or none where the next item begins a new one;
    /// returns how many. What the others hold nobody will read.
    #[cold]
    fn shrink(&self) -> u32 {
        let fill = &self.ring.raw.fill;
        let shape = &self.ring.shape;
        fill.shrinking.store(1, Ordering::Relaxed);
        let place = shape.place(self.tail.units);
        let kept = u32::from(!self.tail.units.is_multiple_of(shape.block_units()));
        if kept > 0 {
            self.ring.memory.set_block(shape.entry(place), 0);
        }
        let laid = shape.place_mask() & place.wrapping_add(kept);
        fill.blocks.store(Blocks { laid, reused: place }.to_word(), Ordering::Relaxed);
        fill.shrinking.store(0, Ordering::Relaxed);
        kept
    }
}

fn bytes(shape: &Shape, blocks: u32) -> usize {
    blocks.min(shape.blocks) as usize * shape.block_bytes as usize
}
