//! Semaphores: permits that come back when the session that holds them ends.

use super::answer::{Answer, Outcome, Post};
use super::object::{Caller, WAITERS_MAX};
use crate::manager::wire::{Failure, SemaphoreOp, Taken};
use std::collections::{HashMap, VecDeque};

/// Largest value, as `SEM_VALUE_MAX`.
pub(super) const VALUE_MAX: u32 = i32::MAX as u32;
/// So many of the last calls of a session that got a permit can be voided.
const RECENT: usize = 256;

/// The permits of a session.
#[derive(Default)]
struct Held {
    count: u32,
    /// The calls that took the last of them.
    recent: VecDeque<u64>,
}

pub(super) struct Semaphore {
    value: u32,
    /// The value that it may not exceed.
    limit: u32,
    held: HashMap<u64, Held>,
    waiting: VecDeque<Caller>,
}

impl Semaphore {
    pub(super) fn new(value: u32, bounded: bool) -> Self {
        let limit = if bounded { value } else { VALUE_MAX };
        Self { value, limit, held: HashMap::new(), waiting: VecDeque::new() }
    }

    pub(super) fn apply(&mut self, op: SemaphoreOp, caller: &Caller, post: &mut Post) -> Outcome {
        Ok(Some(match op {
            SemaphoreOp::Value => Answer::Count(self.value.into()),
            SemaphoreOp::Acquire { .. } if self.value > 0 => {
                self.value -= 1;
                self.grant(caller);
                Answer::Taken(Taken::Yes)
            }
            SemaphoreOp::Acquire { block: false } => Answer::Taken(Taken::No),
            SemaphoreOp::Acquire { block: true } => {
                if self.waiting.len() >= WAITERS_MAX {
                    return Err(Failure::TooManyWaiters { limit: WAITERS_MAX as u64 });
                }
                self.waiting.push_back(caller.clone());
                return Ok(None);
            }
            SemaphoreOp::Release { count } => {
                // Nobody waits unless the value is 0.
                let value = self.value.checked_add(count).filter(|value| *value <= self.limit);
                if value.is_none() {
                    return Err(Failure::OverRelease { limit: self.limit });
                }
                self.discharge(caller.session.id, count);
                self.give(count, post);
                Answer::Done
            }
        }))
    }

    fn grant(&mut self, caller: &Caller) {
        let held = self.held.entry(caller.session.id).or_default();
        held.count += 1;
        if held.recent.len() == RECENT {
            held.recent.pop_front();
        }
        held.recent.push_back(caller.call);
    }

    /// Permits go off the account of this session, then off those of others: whoever signals with
    /// a semaphore releases what others have acquired.
    fn discharge(&mut self, session: u64, mut count: u32) {
        let mut pay = |held: &mut Held| {
            let paid = held.count.min(count);
            held.count -= paid;
            count -= paid;
        };
        if let Some(held) = self.held.get_mut(&session) {
            pay(held);
        }
        self.held.values_mut().for_each(pay);
        self.held.retain(|_, held| held.count > 0);
    }

    fn give(&mut self, count: u32, post: &mut Post) {
        for _ in 0..count {
            match self.waiting.pop_front() {
                Some(caller) => {
                    self.grant(&caller);
                    post.answer(caller, Answer::Taken(Taken::Yes));
                }
                None => self.value = self.value.saturating_add(1).min(self.limit),
            }
        }
    }

    pub(super) fn cancel(&mut self, session: u64, call: u64, post: &mut Post) {
        let at = self.waiting.iter().position(|caller| caller.is(session, call));
        if let Some(caller) = at.and_then(|at| self.waiting.remove(at)) {
            post.answer(caller, Answer::Taken(Taken::No));
        }
    }

    pub(super) fn void(&mut self, session: u64, call: u64, post: &mut Post) {
        let held = self.held.get(&session);
        if held.is_some_and(|held| held.recent.contains(&call)) {
            self.discharge(session, 1);
            self.give(1, post);
        }
    }

    pub(super) fn gone(&mut self, session: u64, post: &mut Post) {
        self.waiting.retain(|caller| caller.session.id != session);
        if let Some(held) = self.held.remove(&session) {
            self.give(held.count, post);
        }
    }
}
