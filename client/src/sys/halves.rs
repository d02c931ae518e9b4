//! The half of a 64-bit atomic that a futex can watch.
//!
//! Contract: only the kernel looks at the half by itself, to compare it before a sleep; this
//! process loads and stores the whole word, so atomic accesses of different widths never race.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// The low 32 bits, by significance.
#[inline]
pub(crate) fn low(word: &AtomicU64) -> &AtomicU32 {
    let half = word.as_ptr().cast::<AtomicU32>();
    // SAFETY: both halves lie inside the word and are aligned; the reference lives as long.
    unsafe { &*half.add(usize::from(cfg!(target_endian = "big"))) }
}
