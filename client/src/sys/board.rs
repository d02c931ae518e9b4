//! The board of a template: what each of its workers says about itself.
//!
//! Contract: a board is a sealed memfd of slots. Every worker of the template can write all of it
//! at any time and be killed in the middle, so whoever reads checks bounds, tries a bounded number
//! of times, and takes nothing for a text that is none. What is read may be a lie of one worker of
//! the same template about another; it is never half of a truth.
//!
//! A slot is 256 bytes. What is written once, when the job arrives, stands between two readings of
//! the same even sequence number and under a checksum; flags and the peak are words of their own,
//! which change later. Behind all slots stands, for each, what the last panic said
//! (`parting.rs`), which is no memory before there is one.

use super::mapping::{Mapping, View, sealed_memory, shared_struct};
use super::parting::Parting;
use mpserverd_proto::death::{Foreseen, LastWords, TASK_BYTES_MAX, short_task};
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::text::beginning;
use mpserverd_proto::trace::TraceId;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

/// Slots of one board at most: 32 MiB of addresses, of which only what is used becomes memory.
pub const SLOTS_MAX: u32 = 65_536;

/// Times that a slot is read before it counts as being written by somebody dead or hostile.
const TRIES: u32 = 16;

const TEXT_BYTES: usize = 192;
const NAME_BYTES_MAX: usize = TEXT_BYTES - TASK_BYTES_MAX;

/// Bits of a slot's flags; above them stands the number of rounds.
mod flag {
    pub(super) const DEADLINE: u32 = 1;
    pub(super) const CLIENT_GONE: u32 = 2;
    pub(super) const FINISHED: u32 = 4;
    pub(super) const PANICKED: u32 = 8;
    pub(super) const ROUND: u32 = 1 << 8;
}

shared_struct! {
    struct Slot {
        /// Odd while the fields up to the texts are being written; zero: nothing was written.
        sequence: AtomicU32,
        flags: AtomicU32,
        /// Whose slot it is, written by the template.
        worker: AtomicU64,
        began_ms: AtomicU64,
        trace: [AtomicU64; 2],
        /// Length of the task's name, and of the process's in the upper half.
        lengths: AtomicU64,
        check: AtomicU64,
        peak_private_kib: AtomicU64,
        text: [AtomicU64; 24],
    }
}

const _: () = assert!(size_of::<Slot>() == 256 && TEXT_BYTES == 24 * 8);

/// Bytes of a board for each slot.
const PLACE_BYTES: usize = size_of::<Slot>() + size_of::<Parting>();

/// What a worker writes when its job arrives.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Name of the task.
    pub task: &'a str,
    /// Name of the process.
    pub name: &'a str,
    /// The trace that the task belongs to.
    pub trace: Option<TraceId>,
    /// The time, milliseconds since the epoch.
    pub began_ms: u64,
}

/// The words of an entry as they stand in a slot, under one checksum.
struct Words {
    began_ms: u64,
    trace: [u64; 2],
    lengths: u64,
    text: [u64; 24],
}

impl Words {
    /// FNV-1a over the words.
    fn check(&self, worker: u64) -> u64 {
        let head = [worker, self.began_ms, self.trace[0], self.trace[1], self.lengths];
        head.iter().chain(&self.text).fold(0xcbf2_9ce4_8422_2325, |state: u64, word| {
            (state ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
        })
    }

    fn of(entry: &Entry<'_>) -> Self {
        let (task, name) = (short_task(entry.task), beginning(entry.name, NAME_BYTES_MAX));
        let mut bytes = [0; TEXT_BYTES];
        bytes[..task.len()].copy_from_slice(task.as_bytes());
        bytes[task.len()..task.len() + name.len()].copy_from_slice(name.as_bytes());
        let (words, _) = bytes.as_chunks::<8>();
        let trace = entry.trace.map_or(0, |trace| trace.0);
        Self {
            began_ms: entry.began_ms,
            trace: [(trace >> 64) as u64, trace as u64],
            lengths: task.len() as u64 | (name.len() as u64) << 32,
            text: std::array::from_fn(|at| u64::from_ne_bytes(words[at])),
        }
    }

    /// The two texts, if that is what they are.
    fn texts(&self) -> Option<(String, String)> {
        let mut bytes = Vec::with_capacity(TEXT_BYTES);
        bytes.extend(self.text.iter().flat_map(|word| word.to_ne_bytes()));
        let task = usize::try_from(self.lengths & 0xffff_ffff).ok()?;
        let name = usize::try_from(self.lengths >> 32).ok()?;
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some((text(bytes.get(..task)?)?, text(bytes.get(task..task.checked_add(name)?)?)?))
    }
}

/// A board, mapped.
#[derive(Debug)]
pub struct Board {
    fd: OwnedFd,
    mapping: Arc<Mapping>,
}

impl Board {
    /// A new one with so many slots, [`SLOTS_MAX`] at most.
    ///
    /// # Errors
    /// As `memfd_create(2)` and `mmap(2)`.
    pub fn new(slots: u32) -> io::Result<Self> {
        let slots = slots.clamp(1, SLOTS_MAX);
        Self::of(sealed_memory(slots as usize * PLACE_BYTES)?)
    }

    /// One that came as a descriptor.
    ///
    /// # Errors
    /// `InvalidData` if it is not sealed memory of a size that a board has; as `mmap(2)`.
    pub fn of(fd: OwnedFd) -> io::Result<Self> {
        let mapping = Mapping::of(&fd)?;
        if mapping.len() > SLOTS_MAX as usize * PLACE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than any board"));
        }
        Ok(Self { fd, mapping: Arc::new(mapping) })
    }

    /// The memory, to hand on.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How many slots it has.
    #[must_use]
    pub fn slots(&self) -> u32 {
        (self.mapping.len() / PLACE_BYTES) as u32
    }

    fn slot(&self, number: u32) -> Option<View<Slot>> {
        let slot = || View::new(&self.mapping, number as usize * size_of::<Slot>());
        (number < self.slots()).then(slot).flatten()
    }

    fn parting(&self, number: u32) -> Option<View<Parting>> {
        let slots = self.slots() as usize * size_of::<Slot>();
        let parting = || View::new(&self.mapping, slots + number as usize * size_of::<Parting>());
        (number < self.slots()).then(parting).flatten()
    }

    /// Empties a slot for a new worker: only the template does, before it forks. `None` if there is
    /// no such slot.
    pub(crate) fn assign(&self, number: u32, worker: WorkerId) -> Option<Place> {
        let slot = self.slot(number)?;
        slot.sequence.store(0, Relaxed);
        for word in [&slot.check, &slot.began_ms, &slot.peak_private_kib] {
            word.store(0, Relaxed);
        }
        slot.flags.store(0, Relaxed);
        slot.worker.store(worker.0, Release);
        let parting = self.parting(number)?;
        Some(Place { slot, parting, worker })
    }

    /// What a worker said, if that slot is its: at any time, whatever others do to it meanwhile.
    #[must_use]
    pub fn read(&self, number: u32, worker: WorkerId) -> Option<LastWords> {
        read(&*self.slot(number)?, || self.parting(number)?.get(worker), worker)
    }
}

/// A worker's own slot.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    slot: View<Slot>,
    parting: View<Parting>,
    worker: WorkerId,
}

impl Place {
    /// Writes what the worker does now, when its job arrives: whatever another worker has written
    /// here while this one waited is gone.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        self.slot.flags.store(0, Relaxed);
        self.slot.peak_private_kib.store(0, Relaxed);
        self.put(entry);
    }

    fn put(&self, entry: &Entry<'_>) {
        let slot = &*self.slot;
        slot.worker.store(self.worker.0, Relaxed);
        let words = Words::of(entry);
        let even = slot.sequence.load(Relaxed) & !1;
        slot.sequence.store(even | 1, Relaxed);
        fence(Release);
        slot.began_ms.store(words.began_ms, Relaxed);
        slot.lengths.store(words.lengths, Relaxed);
        slot.check.store(words.check(self.worker.0), Relaxed);
        for (at, word) in slot.trace.iter().zip(words.trace) {
            at.store(word, Relaxed);
        }
        for (at, word) in slot.text.iter().zip(words.text) {
            at.store(word, Relaxed);
        }
        slot.sequence.store(even.wrapping_add(2).max(2), Release);
    }

    /// Says why the process is about to end.
    pub(crate) fn foresee(&self, why: Foreseen) {
        let bit = match why {
            Foreseen::Deadline => flag::DEADLINE,
            Foreseen::ClientGone => flag::CLIENT_GONE,
        };
        self.slot.flags.fetch_or(bit, Release);
    }

    /// Says that another task has begun, after the last one was over.
    #[inline]
    pub(crate) fn next_round(&self) {
        // Both at once: nobody else changes these two.
        let last_is_over = self.slot.flags.load(Relaxed) & flag::FINISHED;
        self.slot.flags.fetch_add(flag::ROUND - last_is_over, Release);
    }

    /// Changes the name of the task: the worker runs one after another.
    pub(crate) fn turn_to(&self, task: &str, began_ms: u64) {
        let Some(own) = read_entry(&self.slot, self.worker) else { return };
        self.put(&Entry { task, name: &own.name, trace: own.trace, began_ms });
    }

    /// Leaves word of a panic, which the process may not survive.
    pub(crate) fn note_panic(&self, text: &str) {
        if self.parting.put(self.worker, text) {
            self.slot.flags.fetch_or(flag::PANICKED, Release);
        }
    }

    /// Says how much private memory the process has, KiB.
    pub(crate) fn measured(&self, kib: u64) {
        self.slot.peak_private_kib.fetch_max(kib, Relaxed);
    }

    /// Says that the task is over.
    #[inline]
    pub(crate) fn finish(&self) {
        self.slot.flags.fetch_or(flag::FINISHED, Release);
    }

    /// What it said, if the slot is still its own.
    pub(crate) fn read(&self) -> Option<LastWords> {
        read(&self.slot, || self.parting.get(self.worker), self.worker)
    }
}

fn read(
    slot: &Slot,
    parting: impl FnOnce() -> Option<String>,
    worker: WorkerId,
) -> Option<LastWords> {
    if slot.worker.load(Acquire) != worker.0 {
        return None;
    }
    let mut words = read_entry(slot, worker).unwrap_or_default();
    let flags = slot.flags.load(Acquire);
    words.foreseen = if flags & flag::DEADLINE != 0 {
        Some(Foreseen::Deadline)
    } else {
        (flags & flag::CLIENT_GONE != 0).then_some(Foreseen::ClientGone)
    };
    words.finished = flags & flag::FINISHED != 0;
    words.round = flags / flag::ROUND;
    words.panic = if flags & flag::PANICKED != 0 { parting() } else { None };
    let peak = slot.peak_private_kib.load(Relaxed);
    words.peak_private_kib = (peak != 0).then_some(peak);
    Some(words)
}

/// The part that must not be torn.
fn read_entry(slot: &Slot, worker: WorkerId) -> Option<LastWords> {
    for _ in 0..TRIES {
        let before = slot.sequence.load(Acquire);
        if before == 0 {
            return None;
        }
        let words = Words {
            began_ms: slot.began_ms.load(Relaxed),
            trace: [slot.trace[0].load(Relaxed), slot.trace[1].load(Relaxed)],
            lengths: slot.lengths.load(Relaxed),
            text: std::array::from_fn(|at| slot.text[at].load(Relaxed)),
        };
        let check = slot.check.load(Relaxed);
        fence(Acquire);
        let whole = before & 1 == 0 && slot.sequence.load(Relaxed) == before;
        if !whole || check != words.check(worker.0) {
            std::hint::spin_loop();
            continue;
        }
        let (task, name) = words.texts()?;
        let trace = u128::from(words.trace[0]) << 64 | u128::from(words.trace[1]);
        let trace = (trace != 0).then_some(TraceId(trace));
        return Some(LastWords {
            task: short_task(&task).to_owned(),
            name,
            trace,
            began_ms: words.began_ms,
            ..LastWords::default()
        });
    }
    None
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
