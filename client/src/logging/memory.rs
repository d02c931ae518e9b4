//! Where records lie on their way: a lane for each process, in one piece of shared memory.
//!
//! A process claims a lane with one compare-and-swap and is the only one that fills it; nobody
//! else can hold it up then, not even stopped. The collector alone empties lanes, and frees the
//! lane of a process that has ended. A lane is a byte ring as that of a queue, so whoever is killed
//! leaves all records that it has put, and nothing else.

use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sync::raw::atomics::{AtomicU32, AtomicU64, Ordering, shared_struct};
use crate::sync::raw::bell::Bell;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::ring::{Memory, RawRing, Ring, Shape};
use crate::sys::mapping::Region;
use std::ops::Range;

/// How many processes have a lane of their own.
pub(super) const LANES: usize = 128;

/// Bytes of a block of a lane.
const BLOCK_BYTES: usize = 4 << 10;
/// Blocks of a lane: a power of two.
const BLOCKS: usize = 256;
/// Where the list of its blocks lies in a lane.
const LIST: usize = size_of::<LaneState>();
/// Where its blocks lie.
const DATA: usize = 4 << 10;
/// Bytes of a lane. Only what is used costs memory.
const LANE_BYTES: usize = DATA + BLOCKS * BLOCK_BYTES;
/// Bytes of records that a lane takes: a block less than there are, as the first may begin in the
/// middle of one.
pub(super) const ROOM: usize = (BLOCKS - 1) * BLOCK_BYTES;
/// Bytes of them that only errors may use.
const RESERVED: usize = super::record::RECORD_BYTES_MAX + UNIT;
const ALIGN: usize = 64;

shared_struct! {
    /// What all processes share.
    pub(super) struct HubState {
        /// Rings when a record was put.
        pub(super) bell: Bell,
        /// Up to which level the collector wants events.
        pub(super) level: AtomicU32,
        /// Whether it wants spans themselves.
        pub(super) spans: AtomicU32,
        padding: AtomicU32,
        /// Who has which lane; 0 for nobody.
        pub(super) owners: [AtomicU64; LANES],
    }
}

impl Object for HubState {
    const KIND: u32 = 56;
    const NAME: &'static str = "the log";
}

shared_struct! {
    /// A lane.
    pub(super) struct LaneState {
        /// Events that found no room, ever.
        pub(super) lost: AtomicU64,
        padding: [AtomicU64; 7],
        ring: RawRing,
    }
}

const _: () = assert!(LIST + 4 * BLOCKS <= DATA && LANE_BYTES.is_multiple_of(ALIGN));
const _: () = assert!(ROOM >= 2 * RESERVED);

/// The memory, in this process.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    pub(super) state: Shareable<HubState>,
    lanes: Region,
}

impl Hub {
    pub(super) fn new() -> Result<Self, ShareError> {
        Self::of(Shareable::with_tail(LANES * LANE_BYTES, ALIGN, |_| {})?)
    }

    /// Checks what came from another process.
    pub(super) fn of(state: Shareable<HubState>) -> Result<Self, ShareError> {
        let lanes = state.tail(LANES * LANE_BYTES, ALIGN);
        let lanes = lanes.ok_or(ShareError::Damaged { object: HubState::NAME })?;
        Ok(Self { state, lanes })
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.state.is(&other.state)
    }

    /// A lane; there are [`LANES`].
    #[inline]
    pub(super) fn lane(&self, at: usize) -> Option<Lane<'_>> {
        let base = at.checked_mul(LANE_BYTES)?;
        Some(Lane {
            state: self.lanes.at::<LaneState>(base)?,
            memory: LaneMemory { lanes: &self.lanes, base },
        })
    }

    /// Writes over whatever is there, as a process that runs wild does.
    #[cfg(test)]
    pub(super) fn scribble(&self, lane: usize, at: usize, bytes: &[u8]) {
        self.lanes.write(lane * LANE_BYTES + at % (LANE_BYTES - bytes.len()), bytes);
    }

    /// Lanes that somebody has, with whom.
    pub(super) fn owned(&self) -> impl Iterator<Item = (usize, u64)> {
        let owners = self.state.owners.iter().enumerate();
        owners.map(|(at, owner)| (at, owner.load(Ordering::Acquire))).filter(|(_, who)| *who != 0)
    }
}

/// A lane, in this process.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pub(super) state: &'a LaneState,
    memory: LaneMemory<'a>,
}

impl Lane<'_> {
    /// Its ring, for who empties it or has an error to tell.
    #[inline]
    pub(super) fn ring(&self) -> Ring<'_, LaneMemory<'_>> {
        self.ring_of(ROOM)
    }

    /// Its ring, for who has anything else to tell.
    #[inline]
    pub(super) fn ring_for_all(&self) -> Ring<'_, LaneMemory<'_>> {
        self.ring_of(ROOM - RESERVED)
    }

    #[inline]
    fn ring_of(&self, room: usize) -> Ring<'_, LaneMemory<'_>> {
        let shape = Shape {
            block_bytes: BLOCK_BYTES as u32,
            blocks: BLOCKS as u32,
            items_max: u32::MAX / 2,
            units_max: (room / UNIT) as u32,
        };
        Ring { raw: &self.state.ring, shape, memory: &self.memory }
    }
}

/// What lies under the ring of a lane.
#[derive(Debug)]
pub(super) struct LaneMemory<'a> {
    lanes: &'a Region,
    base: usize,
}

impl Memory for LaneMemory<'_> {
    #[inline]
    fn write(&self, at: usize, bytes: &[u8]) {
        self.lanes.write(self.base + DATA + at, bytes);
    }

    #[inline]
    fn append(&self, at: usize, length: usize, into: &mut Vec<u8>) {
        self.lanes.append_to(self.base + DATA + at, length, into);
    }

    #[inline]
    fn word(&self, at: usize) -> [u8; UNIT] {
        let mut word = [0; UNIT];
        self.lanes.read(self.base + DATA + at, &mut word);
        word
    }

    #[inline]
    fn block(&self, entry: u32) -> u32 {
        let mut bytes = [0; 4];
        self.lanes.read(self.base + LIST + entry as usize * 4, &mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn set_block(&self, entry: u32, block: u32) {
        self.lanes.write(self.base + LIST + entry as usize * 4, &block.to_ne_bytes());
    }

    fn forget(&self, range: Range<usize>) {
        let begin = self.base + DATA;
        self.lanes.release(begin + range.start..begin + range.end);
    }
}
