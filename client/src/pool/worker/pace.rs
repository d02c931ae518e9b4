//! How often a worker looks at the clock between items.
//!
//! A look costs as much as a tiny item. So the shorter items are, the more of them go by between
//! two looks; but a far cheaper clock, that of the kernel's last tick, is looked at each time, and
//! whenever that moves, so does this one. So what the pool sees of a worker is right but for the
//! length of a tick, and exact where items are not tiny.

use super::outbox::Outbox;
use crate::pool::channel::ChannelState;
use crate::registry::batch::{Outcomes, Pulse};
use crate::sync::raw::atomics::Ordering;
use crate::sys::clock;

/// Outcomes are shown when so long has passed since others were, in nanoseconds.
const SHOW_EVERY_NS: u64 = 1_000_000;
/// Or when they have so many bytes.
const SHOW_BYTES: usize = 256 << 10;
/// Items between two looks take about so many nanoseconds.
const LOOK_EVERY_NS: u64 = 5_000;
/// Most items between two looks.
const STRIDE_MAX: u32 = 256;

/// Where a worker is in a frame.
pub(super) struct Pace<'a> {
    state: &'a ChannelState,
    outbox: &'a mut Outbox,
    frame: u32,
    /// The first item that was not shown.
    first: u32,
    stride: &'a mut u32,
    /// Items before the next look.
    left: u32,
    tick: u64,
    looked: u64,
    shown: u64,
    pub(super) damaged: bool,
}

impl<'a> Pace<'a> {
    /// At the start of a frame, at that time. `stride` is what the last one of its task left.
    pub(super) fn begin(
        state: &'a ChannelState,
        outbox: &'a mut Outbox,
        frame: u32,
        now: u64,
        stride: &'a mut u32,
    ) -> Self {
        let left = *stride;
        let (tick, looked, shown) = (0, now, now);
        Self { state, outbox, frame, first: 0, stride, left, tick, looked, shown, damaged: false }
    }

    #[cold]
    fn look(&mut self, item: u32, outcomes: &mut Outcomes) {
        let now = clock::monotonic_nanos();
        self.tick = clock::last_tick_nanos();
        let each = now.wrapping_sub(self.looked) / u64::from((*self.stride - self.left).max(1));
        self.looked = now;
        let stride = LOOK_EVERY_NS / each.max(1);
        *self.stride = (stride as u32).clamp(1, (2 * *self.stride).min(STRIDE_MAX));
        self.left = *self.stride;
        self.state.since.store(now, Ordering::Relaxed);
        let due = now.wrapping_sub(self.shown) >= SHOW_EVERY_NS;
        if due || outcomes.all.bytes.len() >= SHOW_BYTES || !outcomes.all.fds.is_empty() {
            self.show(outcomes);
            self.outbox.ring();
            (self.first, self.shown) = (item, now);
        }
    }

    /// Shows what there is.
    pub(super) fn show(&mut self, outcomes: &mut Outcomes) {
        if outcomes.count > 0 {
            let sent = self.outbox.send((self.frame, self.first), outcomes);
            self.damaged |= sent.is_err();
        }
    }
}

impl Pulse for Pace<'_> {
    #[inline]
    fn before(&mut self, item: u32, outcomes: &mut Outcomes) {
        if item > 0 {
            self.left -= 1;
            if self.left == 0
                || outcomes.all.bytes.len() >= SHOW_BYTES
                || !outcomes.all.fds.is_empty()
                || clock::last_tick_nanos() != self.tick
            {
                self.look(item, outcomes);
            }
        }
        self.state.item.store(item, Ordering::Relaxed);
    }
}
