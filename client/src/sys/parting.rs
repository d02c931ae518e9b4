//! What the last panic of a worker said: the second part of its place on a board.
//!
//! Contract: as [`board`](super::board): every worker of the template can write all of it at any
//! time and be killed in the middle. Who reads checks bounds, tries a bounded number of times, and
//! takes nothing for a text that is none. It is written when something panics, and not looked at
//! unless the slot says that it was, so that it is no memory before.

use super::mapping::shared_struct;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::text::beginning;
use std::mem::size_of;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

const WORDS: usize = 29;
/// Bytes of the text; what is longer is cut.
pub(super) const TEXT_BYTES: usize = WORDS * 8;
/// Times that it is read before it counts as being written by somebody dead or hostile.
const TRIES: u32 = 16;

shared_struct! {
    pub(super) struct Parting {
        /// Odd while it is being written.
        sequence: AtomicU32,
        length: AtomicU32,
        /// Whose it is.
        worker: AtomicU64,
        check: AtomicU64,
        text: [AtomicU64; WORDS],
    }
}

const _: () = assert!(size_of::<Parting>() == 256);

/// FNV-1a over the words.
fn check(worker: WorkerId, length: u32, text: &[u64; WORDS]) -> u64 {
    [worker.0, length.into()].iter().chain(text).fold(0xcbf2_9ce4_8422_2325, |state: u64, word| {
        (state ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    })
}

impl Parting {
    /// Leaves a text; false if another thread of this worker is just about that.
    pub(super) fn put(&self, worker: WorkerId, text: &str) -> bool {
        let text = beginning(text, TEXT_BYTES);
        let mut bytes = [0; TEXT_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let (chunks, _) = bytes.as_chunks::<8>();
        let words = std::array::from_fn(|at| u64::from_ne_bytes(chunks[at]));
        let length = text.len() as u32;
        let before = self.sequence.load(Acquire);
        // An odd number that another worker has left means nothing.
        if before & 1 != 0 && self.worker.load(Relaxed) == worker.0 {
            return false;
        }
        let odd = (before | 1).wrapping_add(2);
        if self.sequence.compare_exchange(before, odd, AcqRel, Relaxed).is_err() {
            return false;
        }
        fence(Release);
        self.worker.store(worker.0, Relaxed);
        self.length.store(length, Relaxed);
        self.check.store(check(worker, length, &words), Relaxed);
        for (at, word) in self.text.iter().zip(words) {
            at.store(word, Relaxed);
        }
        self.sequence.store(odd.wrapping_add(1), Release);
        true
    }

    /// What this worker has left.
    pub(super) fn get(&self, worker: WorkerId) -> Option<String> {
        for _ in 0..TRIES {
            let before = self.sequence.load(Acquire);
            let (whose, length) = (self.worker.load(Relaxed), self.length.load(Relaxed));
            let words: [u64; WORDS] = std::array::from_fn(|at| self.text[at].load(Relaxed));
            let sum = self.check.load(Relaxed);
            fence(Acquire);
            let whole = before & 1 == 0 && self.sequence.load(Relaxed) == before;
            if !whole || whose != worker.0 || sum != check(worker, length, &words) {
                std::hint::spin_loop();
                continue;
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let text = bytes.get(..usize::try_from(length).ok()?)?;
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
        None
    }
}
