//! A worker's end of the memory.

use super::level;
use super::memory::{Hub, LANES, Lane};
use super::spans::soon;
use crate::parcel::Parcel;
use crate::sync::raw::atomics::{Deadline, Ordering};
use crate::sync::raw::lock::Taken;
use crate::sys::identity::Identity;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// How long a lane is waited for. Threads of this process have it for a copy; only one that is
/// shared with another process, which may be stopped, can take longer.
const PATIENCE: Duration = Duration::from_millis(10);

/// How this process sends records.
#[derive(Debug)]
pub(super) struct Sender {
    hub: Hub,
    /// What names the memory for processes that this one starts.
    pub(super) parcel: Parcel,
    lane: AtomicUsize,
    /// The process that `lane` is for: a fork has this value too, and needs its own.
    claimed_by: AtomicU64,
    claiming: Mutex<()>,
}

impl Sender {
    pub(super) fn new(hub: Hub, parcel: Parcel) -> Self {
        let (lane, claimed_by) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { hub, parcel, lane, claimed_by, claiming: Mutex::new(()) }
    }

    /// Whether it sends there.
    pub(super) fn is_to(&self, hub: &Hub) -> bool {
        self.hub.is(hub)
    }

    /// Up to which level the collector wants events now.
    #[inline]
    pub(super) fn wanted(&self) -> LevelFilter {
        level::filter(self.hub.state.level.load(Ordering::Relaxed).min(5) as u8)
    }

    #[inline]
    pub(super) fn wants_spans(&self) -> bool {
        self.hub.state.spans.load(Ordering::Relaxed) != 0
    }

    /// The lane of this process.
    #[inline]
    fn lane(&self) -> Option<Lane<'_>> {
        let own = Identity::own().0;
        let at = if self.claimed_by.load(Ordering::Acquire) == own {
            self.lane.load(Ordering::Relaxed)
        } else {
            self.claim(own)
        };
        self.hub.lane(at)
    }

    /// Takes a lane that is nobody's, or shares one.
    #[cold]
    fn claim(&self, own: u64) -> usize {
        // Whoever else claims one for this process just now does it first.
        let _one = soon(&self.claiming);
        if self.claimed_by.load(Ordering::Acquire) == own {
            return self.lane.load(Ordering::Relaxed);
        }
        let owners = &self.hub.state.owners;
        let first = own as usize % LANES;
        let free = (0..LANES).map(|step| (first + step) % LANES).find(|at| {
            owners[*at].compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        let at = free.unwrap_or(first);
        self.lane.store(at, Ordering::Relaxed);
        self.claimed_by.store(own, Ordering::Release);
        at
    }

    /// Puts a record; false if there is no room for it. Errors have some to themselves.
    pub(super) fn send(&self, record: &[u8], is_error: bool) -> bool {
        let sent = self.lane().and_then(|lane| {
            let ring = if is_error { lane.ring() } else { lane.ring_for_all() };
            let lock = &ring.raw.fill.lock;
            let taken = lock.try_lock();
            match taken.or_else(|| lock.lock(Deadline::within(PATIENCE)).ok())? {
                Taken::Clean => {}
                // What it had not shown is not there; what it had is whole.
                Taken::OwnerDied => lock.make_consistent(),
            }
            let mut writer = ring.writer();
            let pushed = writer.push(&[record], 0);
            writer.publish();
            let _ = lock.unlock();
            pushed.ok()
        });
        self.return_to_shared();
        if sent.is_some() {
            self.hub.state.bell.ring(1);
        }
        sent.is_some()
    }

    /// Counts an event that was not sent. Safe in a signal handler once a record was sent.
    pub(super) fn lost(&self) {
        if let Some(lane) = self.lane() {
            lane.state.lost.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A lane that is shared may have become free in the meantime, and the collector looks at no
    /// free one.
    #[inline]
    fn return_to_shared(&self) {
        let owner = &self.hub.state.owners[self.lane.load(Ordering::Relaxed) % LANES];
        if owner.load(Ordering::Relaxed) == 0 {
            let own = Identity::own().0;
            let _ = owner.compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}
