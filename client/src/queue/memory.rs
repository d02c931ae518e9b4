//! The memory of a queue: its state, the list of its blocks, and the blocks.

use super::options::QueueOptions;
use crate::codec::Codec;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sync::raw::atomics::{AtomicU32, Ordering, shared_struct};
use crate::sync::raw::bell::Bell;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::ring::{Memory, RawRing, Ring, Shape};
use crate::sys::mapping::Region;
use std::ops::Range;

shared_struct! {
    /// A queue as it lies in memory. An object begins 16 bytes into a cache line; so the ends of
    /// the ring have one each.
    pub(crate) struct QueueState {
        /// Rings when items were put.
        pub(super) items: Bell,
        /// Rings when items were taken.
        pub(super) space: Bell,
        /// Whether somebody watches the queue by its descriptor.
        pub(super) watched: AtomicU32,
        block_bytes: AtomicU32,
        blocks: AtomicU32,
        items_max: AtomicU32,
        units_max: AtomicU32,
        /// What items are encoded by, in its fixed form; it never changes.
        codec: [AtomicU32; Codec::BYTES / 4],
        pub(super) ring: RawRing,
    }
}

impl Object for QueueState {
    const KIND: u32 = 32;
    const NAME: &'static str = "Queue";
}

const _: () = assert!(std::mem::offset_of!(QueueState, ring) == 48);

/// Alignment of the list and of the blocks.
pub(crate) const ALIGN: usize = 64;

/// What lies under the ring.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    list: Region,
    data: Region,
}

impl Blocks {
    /// Bytes of the list and the blocks of a ring, aligned to [`ALIGN`].
    pub(crate) fn bytes(shape: &Shape) -> usize {
        list_bytes(shape) + shape.blocks as usize * shape.block_bytes as usize
    }

    /// In so many bytes; `None` if there are fewer.
    pub(crate) fn of(all: &Region, shape: &Shape) -> Option<Self> {
        let (list, data) = all.split_at(list_bytes(shape))?;
        (data.len() >= shape.blocks as usize * shape.block_bytes as usize)
            .then_some(Self { list, data })
    }
}

impl Memory for Blocks {
    #[inline]
    fn write(&self, at: usize, bytes: &[u8]) {
        self.data.write(at, bytes);
    }

    #[inline]
    fn append(&self, at: usize, length: usize, into: &mut Vec<u8>) {
        self.data.append_to(at, length, into);
    }

    #[inline]
    fn word(&self, at: usize) -> [u8; UNIT] {
        let mut word = [0; UNIT];
        self.data.read(at, &mut word);
        word
    }

    #[inline]
    fn block(&self, entry: u32) -> u32 {
        let mut bytes = [0; 4];
        self.list.read(entry as usize * 4, &mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn set_block(&self, entry: u32, block: u32) {
        self.list.write(entry as usize * 4, &block.to_ne_bytes());
    }

    fn forget(&self, range: Range<usize>) {
        self.data.release(range);
    }
}

/// A queue in memory, as this process sees it.
#[derive(Clone, Debug)]
pub(super) struct QueueMemory {
    pub(super) state: Shareable<QueueState>,
    pub(super) shape: Shape,
    /// What items are encoded by.
    pub(super) codec: Codec,
    blocks: Blocks,
}

fn list_bytes(shape: &Shape) -> usize {
    (shape.blocks as usize * 4).next_multiple_of(ALIGN)
}

impl QueueMemory {
    pub(super) fn new(options: &QueueOptions) -> Result<Self, ShareError> {
        let shape = options.shape()?;
        let state = Shareable::<QueueState>::with_tail(Blocks::bytes(&shape), ALIGN, |state| {
            state.block_bytes.store(shape.block_bytes, Ordering::Relaxed);
            state.blocks.store(shape.blocks, Ordering::Relaxed);
            state.items_max.store(shape.items_max, Ordering::Relaxed);
            state.units_max.store(shape.units_max, Ordering::Relaxed);
            let codec = options.codec().to_bytes();
            for (word, bytes) in state.codec.iter().zip(codec.as_chunks().0) {
                word.store(u32::from_ne_bytes(*bytes), Ordering::Relaxed);
            }
        })?;
        Self::of(state)
    }

    /// Checks what came from another process.
    pub(super) fn of(state: Shareable<QueueState>) -> Result<Self, ShareError> {
        let damaged = || ShareError::Damaged { object: QueueState::NAME };
        let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
        let shape = Shape {
            block_bytes: load(&state.block_bytes),
            blocks: load(&state.blocks),
            items_max: load(&state.items_max),
            units_max: load(&state.units_max),
        };
        if !shape.is_valid() {
            return Err(damaged());
        }
        let mut codec = [0; Codec::BYTES];
        for (bytes, word) in codec.as_chunks_mut().0.iter_mut().zip(&state.codec) {
            *bytes = load(word).to_ne_bytes();
        }
        let codec = Codec::from_bytes(codec).ok_or_else(damaged)?;
        let all = state.tail(Blocks::bytes(&shape), ALIGN).ok_or_else(damaged)?;
        let blocks = Blocks::of(&all, &shape).ok_or_else(damaged)?;
        Ok(Self { state, shape, codec, blocks })
    }

    #[inline]
    pub(super) fn ring(&self) -> Ring<'_, Blocks> {
        Ring { raw: &self.state.ring, shape: self.shape, memory: &self.blocks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reducer::Reducer;

    #[test]
    fn a_reducer_that_cannot_be_is_damage() {
        let options = QueueOptions::new().reducer(Reducer::postcard());
        let memory = QueueMemory::new(&options).expect("memory");
        let again = QueueMemory::of(memory.state.clone()).expect("the same memory");
        assert_eq!(again.codec, Codec::Postcard);
        for (word, value) in [(0, 0), (0, 5), (0, u32::MAX), (4, 1)] {
            let own = memory.state.codec[word].load(Ordering::Relaxed);
            memory.state.codec[word].store(value, Ordering::Relaxed);
            let error = QueueMemory::of(memory.state.clone());
            assert!(matches!(error, Err(ShareError::Damaged { .. })), "{word}: {value}");
            memory.state.codec[word].store(own, Ordering::Relaxed);
        }
    }
}
