//! A bell: how one sleeps until others have changed something, without losing the change.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 `SLEEPERS` | somebody sleeps, or is about to: whoever changes something rings |
//! | 1–31 | counts the rings, so that a ring between a look and a sleep shows |
//!
//! Whoever waits calls [`listen`](Bell::listen), looks once more, and then
//! [sleeps](Bell::sleep). Whoever changes something [publishes](super::atomics::publish) it and
//! then [rings](Bell::ring), which is one load while nobody sleeps. A ring wakes as many as there
//! is something for; a sleeper that found something [passes on](Bell::pass_on) that others may
//! sleep. A sleeper that dies with the wake-up costs the others one nap at most.

use super::atomics::shared_struct;
use super::atomics::{AtomicU32, Ordering, Woken, look_at_half, publish_bits, wait, wake};
use std::time::Duration;

const SLEEPERS: u32 = 1;
const ONE_RING: u32 = 2;

shared_struct! {
    /// A bell in shared memory. All zeros is a silent one.
    pub(crate) struct Bell {
        word: AtomicU32,
    }
}

/// What the bell was when somebody began to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard(pub(crate) u32);

impl Bell {
    /// Announces a sleeper. What it waits for must be looked at once more between this and
    /// [`sleep`](Self::sleep).
    pub(crate) fn listen(&self) -> Heard {
        Heard(publish_bits(&self.word, SLEEPERS))
    }

    /// The word on which those sleep who listen.
    pub(crate) fn sleepers(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps until a ring since [`listen`](Self::listen), at most so long.
    pub(crate) fn sleep(&self, heard: Heard, at_most: Duration) -> Woken {
        wait(&self.word, heard.0, at_most)
    }

    /// After something was published: wakes so many sleepers, if there are any.
    #[inline]
    pub(crate) fn ring(&self, at_most: u32) {
        if look_at_half(&self.word) & SLEEPERS != 0 {
            self.ring_slow(at_most);
        }
    }

    #[cold]
    fn ring_slow(&self, at_most: u32) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & SLEEPERS != 0 {
            let to = (word & !SLEEPERS).wrapping_add(ONE_RING);
            match self.word.compare_exchange(word, to, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    wake(&self.word, at_most);
                    return;
                }
                // Somebody else rang, or began to listen, which changes nothing.
                Err(now) => word = now,
            }
        }
    }

    /// Said by a sleeper that has found what it waited for: others may sleep still.
    pub(crate) fn pass_on(&self) {
        publish_bits(&self.word, SLEEPERS);
    }
}
