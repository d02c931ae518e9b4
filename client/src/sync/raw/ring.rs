//! A byte ring that one end fills and the other empties, each under a lock of its own.
//!
//! The ring is long and made of *places*; a place gets a block of memory when the filling end
//! reaches it, at best one that the emptying end is done with. So memory follows what is in the
//! ring, not how long it could be, but for a few blocks that are kept.
//!
//! **Deaths.** Items count from the one store that moves `tail` past them, and are gone with the
//! one store that moves `head`. Whoever dies before it, in the middle of a copy, has changed
//! nothing that another looks at. Blocks are laid by the same rule: the list of places first, then
//! the one word that says how far it is valid. So the next one that gets the lock of an end, from
//! whomever, just goes on.
//!
//! **Trust.** Everything read from the ring may have been scribbled over. Numbers are checked
//! before they lead to memory; what cannot be is [`Damaged`].

use super::atomics::{AtomicU32, AtomicU64, Ordering, look, publish, shared_struct};
use super::counters::{Blocks, End, UNIT};
use super::lock::RawLock;
use std::ops::Range;

#[path = "ring/reader.rs"]
mod reader;
#[path = "ring/writer.rs"]
mod writer;

pub(crate) use reader::{Item, Reader};
pub(crate) use writer::{Refused, Writer};

/// Blocks that an empty ring keeps; the memory of others goes back to the system. Together they are
/// larger than the second-level cache of a processor.
pub(super) const BLOCKS_KEPT: u32 = 64;
/// Items of so many units go through all blocks that are kept before one is used again. Memory that
/// is written while another processor still has it in its caches is several times as slow. Small
/// items gain nothing by it, and take fewer blocks.
const ROTATING_UNITS: u32 = 32;

/// What is in the ring cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

shared_struct! {
    /// The end that is filled; one cache line.
    pub(crate) struct FillEnd {
        /// Held by whoever uses a [`Writer`].
        pub(crate) lock: RawLock,
        pub(super) tail: AtomicU64,
        pub(super) blocks: AtomicU64,
        /// A `head` of some time ago: only what does not fit needs the other end's line.
        pub(super) head_seen: AtomicU64,
        /// Whether the blocks of the empty ring are being thrown away just now.
        pub(super) shrinking: AtomicU32,
        pub(super) padding: AtomicU32,
        pub(super) more: [AtomicU64; 3],
    }
}

shared_struct! {
    /// The end that is emptied; one cache line.
    pub(crate) struct EmptyEnd {
        /// Held by whoever uses a [`Reader`].
        pub(crate) lock: RawLock,
        pub(super) head: AtomicU64,
        /// A `tail` of some time ago.
        pub(super) tail_seen: AtomicU64,
        pub(super) padding: [AtomicU64; 5],
    }
}

shared_struct! {
    /// Both ends. All zeros is an empty ring.
    pub(crate) struct RawRing {
        pub(crate) fill: FillEnd,
        pub(crate) empty: EmptyEnd,
    }
}

/// The memory under a ring: blocks, and the list that says which place has which.
pub(crate) trait Memory {
    /// Copies bytes in.
    fn write(&self, at: usize, bytes: &[u8]);
    /// Copies bytes out.
    fn append(&self, at: usize, length: usize, into: &mut Vec<u8>);
    /// Copies eight bytes out.
    fn word(&self, at: usize) -> [u8; UNIT];
    /// The block that an entry of the list names.
    fn block(&self, entry: u32) -> u32;
    /// Puts a block into the list.
    fn set_block(&self, entry: u32, block: u32);
    /// Gives memory back to the system; what was there is lost.
    fn forget(&self, range: Range<usize>);
}

/// How large a ring is. A process's own copy: what others do to the ring does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of a block; a power of two.
    pub(crate) block_bytes: u32,
    /// How many blocks there may be; a power of two.
    pub(crate) blocks: u32,
    /// How many items may be in the ring at a time.
    pub(crate) items_max: u32,
    /// How many units may be in the ring at a time.
    pub(crate) units_max: u32,
}

impl Shape {
    /// Whether a ring of this shape can be.
    pub(crate) fn is_valid(&self) -> bool {
        let units = u64::from(self.block_bytes) / UNIT as u64 * u64::from(self.blocks);
        self.block_bytes.is_power_of_two()
            && self.blocks.is_power_of_two()
            && self.block_bytes as usize >= UNIT
            && units <= 1 << 31
            && self.items_max > 0
            && self.units_max > 1
    }

    /// Bytes of a block, as a power of two: every item needs several divisions by it.
    #[inline]
    fn block_shift(&self) -> u32 {
        self.block_bytes.trailing_zeros()
    }

    /// Units of a block, as a power of two.
    #[inline]
    fn unit_shift(&self) -> u32 {
        self.block_shift() - UNIT.trailing_zeros()
    }

    fn block_units(&self) -> u32 {
        1 << self.unit_shift()
    }

    /// Places are counted up to this number, then from 0 on.
    #[inline]
    fn place_mask(&self) -> u32 {
        u32::MAX >> self.unit_shift()
    }

    #[inline]
    pub(super) fn place(&self, units: u32) -> u32 {
        units >> self.unit_shift()
    }

    #[inline]
    fn places_since(&self, place: u32, behind: u32) -> u32 {
        place.wrapping_sub(behind) & self.place_mask()
    }

    #[inline]
    fn entry(&self, place: u32) -> u32 {
        place & (self.blocks - 1)
    }

    /// Units that all blocks hold together.
    #[inline]
    fn capacity(&self) -> u32 {
        self.block_units() * self.blocks
    }

    /// Units of an item with so many bytes; `None` if they cannot be counted.
    #[inline]
    pub(crate) fn units_of(bytes: usize) -> Option<u32> {
        u32::try_from(bytes.div_ceil(UNIT)).ok()?.checked_add(1)
    }
}

/// Whether an end lies before another one, which may be an old one of the same side.
#[inline]
fn is_behind(end: End, other: End) -> bool {
    other.items_since(end).wrapping_sub(1) < u32::MAX / 2
}

/// A ring with its memory.
#[derive(Debug)]
pub(crate) struct Ring<'a, M> {
    pub(crate) raw: &'a RawRing,
    pub(crate) shape: Shape,
    pub(crate) memory: &'a M,
}

impl<M> Clone for Ring<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Ring<'_, M> {}

impl<M: Memory> Ring<'_, M> {
    /// How many items are in it, exactly, at some moment during the call.
    #[inline]
    pub(crate) fn items(&self) -> u32 {
        loop {
            let head = look(&self.raw.empty.head);
            let tail = End::from_word(look(&self.raw.fill.tail));
            if head == look(&self.raw.empty.head) {
                return tail.items_since(End::from_word(head));
            }
        }
    }

    /// Whether something is in it. Looks at the other end only if what was seen of it last does
    /// not tell.
    #[inline]
    pub(crate) fn has_items(&self) -> bool {
        let empty = &self.raw.empty;
        let head = End::from_word(look(&empty.head));
        let seen = End::from_word(empty.tail_seen.load(Ordering::Relaxed));
        is_behind(head, seen) || End::from_word(look(&self.raw.fill.tail)).items != head.items
    }

    /// How far it is filled.
    #[inline]
    pub(crate) fn filled(&self) -> End {
        End::from_word(look(&self.raw.fill.tail))
    }

    /// How far it is emptied.
    #[inline]
    pub(crate) fn emptied(&self) -> End {
        End::from_word(look(&self.raw.empty.head))
    }

    /// Makes it end earlier, for who alone fills it and has agreed on that with who empties it.
    pub(crate) fn cut(&self, tail: End) {
        publish(&self.raw.fill.tail, tail.to_word());
    }

    /// Items that were ever put into it; wraps around.
    pub(crate) fn items_ever(&self) -> u32 {
        End::from_word(look(&self.raw.fill.tail)).items
    }

    /// Items that were ever taken out of it; wraps around.
    pub(crate) fn items_taken(&self) -> u32 {
        End::from_word(look(&self.raw.empty.head)).items
    }

    /// Whether there is room for an item of so many units, at some moment during the call.
    pub(crate) fn has_room(&self, units: u32) -> bool {
        let head = End::from_word(look(&self.raw.empty.head));
        self.fits(End::from_word(look(&self.raw.fill.tail)), head, units)
    }

    #[inline]
    fn fits(&self, tail: End, head: End, units: u32) -> bool {
        let shape = &self.shape;
        let Some(used) = tail.units_since(head).checked_add(units) else { return false };
        let last = shape.place(tail.units.wrapping_add(units - 1));
        used <= shape.units_max
            && tail.items_since(head) < shape.items_max
            && shape.places_since(last, shape.place(head.units)) < shape.blocks
    }

    /// Where in memory the ring is so many bytes from its beginning, and how many bytes of that
    /// block there are from there on.
    #[inline]
    fn locate(&self, at: usize) -> Result<(usize, usize), Damaged> {
        let shift = self.shape.block_shift();
        let place = (at >> shift) as u32 & self.shape.place_mask();
        let within = at & (self.shape.block_bytes as usize - 1);
        let block = self.memory.block(self.shape.entry(place));
        if block >= self.shape.blocks {
            return Err(Damaged);
        }
        Ok(((block as usize) << shift | within, self.shape.block_bytes as usize - within))
    }

    /// Where a unit of the ring lies, so many bytes from an end: one never lies in two blocks.
    #[inline]
    fn unit(&self, from: End, skip: usize) -> Result<usize, Damaged> {
        self.locate(from.units as usize * UNIT + skip).map(|(at, _)| at)
    }

    /// Calls `each` with the pieces of memory that a range of the ring lies in: where, and which
    /// part of the range.
    #[inline]
    fn pieces(
        &self,
        from: End,
        skip: usize,
        length: usize,
        mut each: impl FnMut(usize, Range<usize>),
    ) -> Result<(), Damaged> {
        let begin = from.units as usize * UNIT + skip;
        let mut done = 0;
        while done < length {
            let (at, room) = self.locate(begin + done)?;
            let piece = room.min(length - done);
            each(at, done..done + piece);
            done += piece;
        }
        Ok(())
    }
}
