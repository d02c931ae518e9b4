//! Where a channel lies: its words, its two rings, and the blocks under them.

use crate::queue::memory::{ALIGN, Blocks};
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sync::raw::atomics::{AtomicU32, AtomicU64, shared_struct};
use crate::sync::raw::bell::Bell;
use crate::sync::raw::claim::Claim;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::ring::{RawRing, Ring, Shape};

/// Bytes of a block: few enough for small caches, as small frames use one or two over and over.
const BLOCK_BYTES: u32 = 32 << 10;
/// Blocks of a ring. Only what is used costs memory.
const BLOCKS: u32 = 2048;

/// Both rings: one block less than there are, as the first item may begin in the middle of one.
const SHAPE: Shape = Shape {
    block_bytes: BLOCK_BYTES,
    blocks: BLOCKS,
    items_max: u32::MAX / 2,
    units_max: (BLOCKS - 1) * (BLOCK_BYTES / UNIT as u32),
};

/// Larger bodies go beside the ring: several that do not must fit into it.
pub(super) const INLINE_BYTES_MAX: usize = 8 << 20;

const _: () = assert!(4 * INLINE_BYTES_MAX < SHAPE.units_max as usize * UNIT);

/// Set in `stop`, above the number of the frame.
pub(crate) const STOP_ASKED: u64 = 1 << 32;

shared_struct! {
    /// A channel as it lies in memory. An object begins 16 bytes into a cache line; so what the two
    /// sides write all the time have lines of their own.
    pub(crate) struct ChannelState {
        /// See [`Claim`].
        pub(super) recalls: AtomicU64,
        /// The frame that was asked to stop, with [`STOP_ASKED`].
        pub(crate) stop: AtomicU64,
        /// Not 0: the worker ends when the inbox is empty.
        pub(crate) retire: AtomicU32,
        /// Descriptors of frames before this one belong to nobody, unless the frame is in the
        /// inbox still.
        pub(crate) stale: AtomicU32,
        padding: [AtomicU32; 6],
        pub(crate) inbox: RawRing,
        pub(crate) outbox: RawRing,
        /// See [`Claim`].
        pub(super) begun: AtomicU64,
        /// When the item began that runs, in nanoseconds of the monotonic clock.
        pub(crate) since: AtomicU64,
        /// Which item of its frame that is.
        pub(crate) item: AtomicU32,
        worker_padding: [AtomicU32; 11],
        /// Rings when frames were sent, or anything else that a worker waits for.
        pub(crate) work: Bell,
        work_padding: [AtomicU32; 15],
        /// Rings when answers were taken.
        pub(crate) space: Bell,
        space_padding: [AtomicU32; 15],
    }
}

impl Object for ChannelState {
    const KIND: u32 = 48;
    const NAME: &'static str = "channel of a pool's worker";
}

const _: () = assert!(std::mem::offset_of!(ChannelState, inbox) == 48);
const _: () = assert!(std::mem::offset_of!(ChannelState, begun) % 64 == 48);
const _: () = assert!(std::mem::offset_of!(ChannelState, work) % 64 == 48);
const _: () = assert!(std::mem::offset_of!(ChannelState, space) % 64 == 48);

/// A channel in memory, as one process sees it.
#[derive(Clone, Debug)]
pub(crate) struct ChannelMemory {
    pub(crate) state: Shareable<ChannelState>,
    inbox: Blocks,
    outbox: Blocks,
}

impl ChannelMemory {
    pub(super) fn new() -> Result<Self, ShareError> {
        let bytes = 2 * Blocks::bytes(&SHAPE);
        Self::of(Shareable::with_tail(bytes, ALIGN, |_| {})?)
    }

    /// Checks what came from another process.
    pub(super) fn of(state: Shareable<ChannelState>) -> Result<Self, ShareError> {
        let bytes = Blocks::bytes(&SHAPE);
        let halves = state.tail(2 * bytes, ALIGN).and_then(|all| all.split_at(bytes));
        let blocks = halves.and_then(|(inbox, outbox)| {
            Some((Blocks::of(&inbox, &SHAPE)?, Blocks::of(&outbox, &SHAPE)?))
        });
        let (inbox, outbox) = blocks.ok_or(ShareError::Damaged { object: ChannelState::NAME })?;
        Ok(Self { state, inbox, outbox })
    }

    #[inline]
    pub(crate) fn inbox(&self) -> Ring<'_, Blocks> {
        Ring { raw: &self.state.inbox, shape: SHAPE, memory: &self.inbox }
    }

    #[inline]
    pub(crate) fn outbox(&self) -> Ring<'_, Blocks> {
        Ring { raw: &self.state.outbox, shape: SHAPE, memory: &self.outbox }
    }

    #[inline]
    pub(crate) fn claim(&self) -> Claim<'_> {
        Claim { begun: &self.state.begun, recalls: &self.state.recalls }
    }
}
