//! How large a queue may get, and how its items are encoded.

use super::memory::QueueState;
use crate::codec::Codec;
use crate::reducer::Reducer;
use crate::shared::ShareError;
use crate::shared::object::Object;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::ring::Shape;

/// Bytes of a block of a large queue.
const BLOCK_BYTES: u64 = 64 << 10;
/// Smallest block, in bytes: a page.
const BLOCK_BYTES_MIN: u64 = 4 << 10;
/// Into how many blocks a small queue is divided at least.
const BLOCKS_MIN: u64 = 8;
/// Bytes that items may take if nothing else is said.
const MEMORY_BYTES: u64 = 1 << 30;
/// Bytes that items may take at least: one with descriptors takes 32.
const MEMORY_BYTES_MIN: u64 = 64;
/// Bytes that items may take at most: what the counters of a ring can tell apart.
const MEMORY_BYTES_MAX: u64 = 8 << 30;

/// Bounds of a queue, and how its items are encoded.
///
/// ```
/// use mpserverd_client as mp;
///
/// let options = mp::QueueOptions::new().max_items(100).max_bytes(1 << 20);
/// let queue = mp::Queue::<String>::with_options(options)?;
/// queue.put(&"first".to_owned())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "options do nothing until a queue is made with them"]
pub struct QueueOptions {
    items: Option<usize>,
    bytes: Option<u64>,
    reducer: Option<Reducer>,
}

impl QueueOptions {
    /// Any number of items, and 1 GiB of them.
    pub const fn new() -> Self {
        Self { items: None, bytes: None, reducer: None }
    }

    /// At most so many items; 0 is any number, as in the reference.
    pub const fn max_items(mut self, items: usize) -> Self {
        self.items = if items == 0 { None } else { Some(items) };
        self
    }

    /// At most so many bytes of encoded items, 8 of which each item takes for itself. Without
    /// this it is 1 GiB. A single item may be larger: it is put when the queue is empty.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// What items are encoded by: bincode, unless given here. It stands in the memory of the queue,
    /// so it is the same for all who have the queue.
    pub const fn reducer(mut self, reducer: Reducer) -> Self {
        self.reducer = Some(reducer);
        self
    }

    /// The same, unless one was given: that of a context.
    pub(crate) fn or_reducer(mut self, reducer: Reducer) -> Self {
        self.reducer.get_or_insert(reducer);
        self
    }

    pub(super) fn codec(&self) -> Codec {
        self.reducer.unwrap_or_default().codec()
    }

    pub(super) fn shape(&self) -> Result<Shape, ShareError> {
        let size = |what: String| ShareError::Size { object: QueueState::NAME, what };
        let limit = self.bytes.unwrap_or(MEMORY_BYTES);
        if !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&limit) {
            return Err(size(format!(
                "a limit of {limit} bytes; {MEMORY_BYTES_MIN} to {MEMORY_BYTES_MAX} are possible"
            )));
        }
        let block_bytes = (limit / BLOCKS_MIN)
            .checked_next_power_of_two()
            .unwrap_or(BLOCK_BYTES)
            .clamp(BLOCK_BYTES_MIN, BLOCK_BYTES);
        // One more than the items take: the first may begin in the middle of a block.
        let blocks = (limit.div_ceil(block_bytes) + 1).next_power_of_two();
        let items = self.items.unwrap_or(u32::MAX as usize / 2);
        let items_max = u32::try_from(items)
            .ok()
            .filter(|items| *items <= u32::MAX / 2)
            .ok_or_else(|| size(format!("{items} items; {} are possible", u32::MAX / 2)))?;
        Ok(Shape {
            block_bytes: block_bytes as u32,
            blocks: blocks as u32,
            items_max,
            units_max: (limit / UNIT as u64) as u32,
        })
    }
}
