//! Two copies of one thing, of which one is valid: writes that a death cannot tear.
//!
//! A writer fills the copy that is not valid and then says so with one store. A reader copies the
//! valid one and looks whether a writer has begun on that copy meanwhile: then it tries again.
//! Writers exclude each other by a lock that notices the death of its owner, so there may be any
//! number of them. A reader takes that lock too, but only if writers are so fast that it has
//! failed often: what a *stopped* writer leaves is valid, so nobody waits for it to read.
//!
//! | `turn` | valid copy | and |
//! |---|---|---|
//! | 2n | n mod 2 | nobody writes |
//! | 2n + 1 | n mod 2 | the other one is being written, or its writer is dead |

use crate::sync::raw::atomics::{AtomicU64, Deadline, Ordering, shared_struct};
use crate::sync::raw::lock::{RawLock, Taken};
use std::sync::atomic::fence;
use std::time::Duration;

/// So often a reader tries before it keeps writers away.
const TRIES: u32 = 64;
/// So long a reader then waits for the lock, before it tries anew.
const WAIT: Duration = Duration::from_millis(10);
/// So often a reader goes through all that. Only a process that writes nonsense into the words
/// makes it fail so often; what is read then is nonsense too, but the reader goes on.
const ROUNDS: u32 = 32;

shared_struct! {
    /// What stands beside the two copies. All zeros: the first one is valid.
    pub(super) struct Twin {
        turn: AtomicU64,
        writers: RawLock,
    }
}

impl Twin {
    /// Reads. `copy` copies number 0 or 1 to a place of its own; it is called until what it got
    /// is whole.
    pub(super) fn read(&self, mut copy: impl FnMut(usize)) {
        for _ in 0..ROUNDS {
            for _ in 0..TRIES {
                if self.try_read(&mut copy) {
                    return;
                }
                std::hint::spin_loop();
            }
            if self.lock(Deadline::within(WAIT)) {
                copy(valid(self.turn.load(Ordering::Acquire)));
                self.unlock();
                return;
            }
        }
        copy(valid(self.turn.load(Ordering::Acquire)));
    }

    #[inline]
    fn try_read(&self, copy: &mut impl FnMut(usize)) -> bool {
        let turn = self.turn.load(Ordering::Acquire);
        copy(valid(turn));
        // What was copied was read before the turn is read again.
        fence(Ordering::Acquire);
        // The next turn but one is the first on this copy; with it, three have begun.
        self.turn.load(Ordering::Relaxed).wrapping_sub(turn & !1) <= 2
    }

    /// Writes. `copy` fills number 0 or 1, and that one is valid once it returns.
    pub(super) fn write(&self, copy: impl FnOnce(usize)) {
        while !self.lock(Deadline::NEVER) {}
        let turn = self.turn.load(Ordering::Relaxed) & !1;
        self.turn.store(turn | 1, Ordering::Relaxed);
        // Whoever reads any of what follows reads that turn too.
        fence(Ordering::Release);
        let next = turn.wrapping_add(2);
        copy(valid(next));
        self.turn.store(next, Ordering::Release);
        self.unlock();
    }

    fn lock(&self, deadline: Deadline) -> bool {
        let taken = self.writers.lock(deadline);
        if taken == Ok(Taken::OwnerDied) {
            // Whatever it did, one of the copies is whole.
            self.writers.make_consistent();
        }
        taken.is_ok()
    }

    fn unlock(&self) {
        // Only somebody who writes nonsense into the word makes this fail.
        let _ = self.writers.unlock();
    }
}

fn valid(turn: u64) -> usize {
    (turn >> 1 & 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mapping::{Mapping, Region, sealed_memory};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    const BYTES: usize = 1024;

    fn region() -> Region {
        let fd = sealed_memory(4096).expect("memfd");
        let mapping = Arc::new(Mapping::of(&fd).expect("maps"));
        Region::new(&mapping, 0, 4096, 64).expect("inside")
    }

    fn twin(region: &Region) -> &Twin {
        region.at(0).expect("inside")
    }

    fn read(region: &Region) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        twin(region).read(|copy| region.read(64 + copy * BYTES, &mut bytes));
        bytes
    }

    fn write(region: &Region, byte: u8) {
        twin(region).write(|copy| region.write(64 + copy * BYTES, &[byte; BYTES]));
    }

    /// A writer that dies when it has written half.
    fn die_while_writing(region: &Region, byte: u8) {
        let twin = twin(region);
        let turn = twin.turn.load(Ordering::Relaxed) & !1;
        twin.turn.store(turn | 1, Ordering::Relaxed);
        let copy = valid(turn.wrapping_add(2));
        region.write(64 + copy * BYTES, &[byte; BYTES / 2]);
    }

    #[test]
    fn half_a_write_is_no_write() {
        let region = region();
        write(&region, 1);
        for byte in 2..10 {
            die_while_writing(&region, byte);
            assert_eq!(read(&region), [byte - 1; BYTES]);
            write(&region, byte);
            assert_eq!(read(&region), [byte; BYTES]);
        }
    }

    /// What a writer does, one step at a time; `step` counts on from write to write.
    fn one_step(region: &Region, step: usize) {
        let twin = twin(region);
        let (number, turn) = ((step / 4) as u8 + 1, twin.turn.load(Ordering::Relaxed));
        let half = |half: usize| {
            let copy = valid((turn & !1).wrapping_add(2));
            region.write(64 + copy * BYTES + half * BYTES / 2, &[number; BYTES / 2]);
        };
        match step % 4 {
            0 => twin.turn.store(turn | 1, Ordering::Relaxed),
            3 => twin.turn.store((turn & !1).wrapping_add(2), Ordering::Relaxed),
            at => half(at - 1),
        }
    }

    #[test]
    fn a_reader_takes_nothing_half_whatever_a_writer_does_meanwhile() {
        let mut taken = [0; 2];
        for (before, between, after) in (0..9 * 9 * 9).map(|n| (n % 9, n / 9 % 9, n / 81)) {
            let region = region();
            let mut next = 0;
            let mut steps = |count: usize| {
                (0..count).for_each(|_| {
                    one_step(&region, next);
                    next += 1;
                });
            };
            steps(before);
            let mut bytes = [0; BYTES];
            let whole = twin(&region).try_read(&mut |copy| {
                let at = 64 + copy * BYTES;
                region.read(at, &mut bytes[..BYTES / 2]);
                steps(between);
                region.read(at + BYTES / 2, &mut bytes[BYTES / 2..]);
                steps(after);
            });
            taken[usize::from(whole)] += 1;
            if whole {
                let known = (before / 4) as u8;
                assert_eq!(bytes, [known; BYTES], "{before} {between} {after}");
            }
            // Up to the end of the write that goes on, or the next, nobody is on its copy.
            assert!(whole || before % 4 + between + after > 4, "{before} {between} {after}");
        }
        assert!(taken[0] > 0 && taken[1] > 0, "{taken:?}");
    }

    #[test]
    fn the_turn_may_wrap_around() {
        let region = region();
        twin(&region).turn.store(u64::MAX - 1, Ordering::Relaxed);
        for byte in 1..4 {
            write(&region, byte);
            assert_eq!(read(&region), [byte; BYTES]);
        }
    }

    #[test]
    fn readers_see_whole_writes_of_many_writers() {
        let region = region();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (region, stop) = (&region, &stop);
                scope.spawn(move || {
                    let mut byte = writer;
                    while !stop.load(Ordering::Relaxed) {
                        write(region, byte);
                        byte = byte.wrapping_add(2);
                    }
                });
            }
            for _ in 0..20_000 {
                let bytes = read(&region);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn nonsense_in_the_words_keeps_nobody_for_ever() {
        let region = region();
        let twin = twin(&region);
        // Locked by a process that lives, and the turn runs away.
        let _ = twin.writers.try_lock();
        let mut copies = 0;
        twin.read(|_| {
            copies += 1;
            twin.turn.fetch_add(7, Ordering::Relaxed);
        });
        assert_eq!(copies, ROUNDS * TRIES + 1);
    }
}
