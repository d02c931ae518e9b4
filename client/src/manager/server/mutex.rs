//! Locks, recursive locks and conditions: an owner that may die, and two lines of waiters.
//!
//! A lock belongs to a process, the others to a thread of one. What becomes free goes straight to
//! whoever waits longest.

use super::answer::{Answer, Outcome, Post};
use super::object::{Caller, WAITERS_MAX};
use crate::manager::wire::{Failure, MutexOp, Taken};
use std::collections::VecDeque;

/// Which of the three it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lock,
    RLock,
    Condition,
}

struct Owner {
    session: u64,
    thread: u64,
    /// The call that it was taken by.
    call: u64,
}

/// Waits for the lock.
struct Waiting {
    caller: Caller,
    thread: u64,
    /// How often it will be held.
    depth: u32,
    /// Whether it was notified, if it waited at the condition before.
    woken: Option<bool>,
}

pub(super) struct Mutex {
    kind: Kind,
    owner: Option<Owner>,
    depth: u32,
    /// An owner died, and nobody has made it good.
    died: bool,
    waiting: VecDeque<Waiting>,
    /// Wait for a notification.
    sleeping: VecDeque<Waiting>,
}

impl Mutex {
    pub(super) fn new(kind: Kind) -> Self {
        let (waiting, sleeping) = Default::default();
        Self { kind, owner: None, depth: 0, died: false, waiting, sleeping }
    }

    fn taken(&self) -> Taken {
        if self.died { Taken::OwnerDied } else { Taken::Yes }
    }

    /// Whether it is held by this thread; by this process, if it is a plain lock.
    fn is_own(&self, session: u64, thread: u64) -> bool {
        let own = |owner: &Owner| {
            owner.session == session && (self.kind == Kind::Lock || owner.thread == thread)
        };
        self.owner.as_ref().is_some_and(own)
    }

    fn check_own(&self, session: u64, thread: u64) -> Result<(), Failure> {
        match &self.owner {
            None => Err(Failure::NotHeld),
            Some(_) if self.is_own(session, thread) => Ok(()),
            Some(_) => Err(Failure::NotOwner),
        }
    }

    pub(super) fn apply(
        &mut self,
        op: MutexOp,
        thread: u64,
        caller: &Caller,
        post: &mut Post,
    ) -> Outcome {
        let session = caller.session.id;
        Ok(Some(match op {
            MutexOp::Acquire { block } => return self.acquire(block, thread, caller),
            MutexOp::Release => {
                self.release(session, thread, post)?;
                Answer::Done
            }
            MutexOp::Locked => Answer::Yes(self.owner.is_some()),
            MutexOp::MakeConsistent => {
                self.check_own(session, thread).map_err(|_| Failure::NotOwner)?;
                self.died = false;
                Answer::Done
            }
            _ if self.kind != Kind::Condition => return Err(Failure::WrongType),
            MutexOp::Wait => {
                self.check_own(session, thread)?;
                self.check_room(self.sleeping.len())?;
                let depth = self.depth;
                let caller = caller.clone();
                self.sleeping.push_back(Waiting { caller, thread, depth, woken: Some(true) });
                self.pass_on(post);
                return Ok(None);
            }
            MutexOp::Notify { count } => {
                self.check_own(session, thread)?;
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.sleeping.len());
                self.waiting.extend(self.sleeping.drain(..count));
                Answer::Count(count as u64)
            }
            MutexOp::Waiters => Answer::Count(self.sleeping.len() as u64),
        }))
    }

    fn check_room(&self, waiting: usize) -> Result<(), Failure> {
        if waiting < WAITERS_MAX {
            return Ok(());
        }
        Err(Failure::TooManyWaiters { limit: WAITERS_MAX as u64 })
    }

    fn acquire(&mut self, block: bool, thread: u64, caller: &Caller) -> Outcome {
        let session = caller.session.id;
        if self.owner.is_none() {
            self.owner = Some(Owner { session, thread, call: caller.call });
            self.depth = 1;
            return Ok(Some(Answer::Taken(self.taken())));
        }
        if self.kind != Kind::Lock && self.is_own(session, thread) {
            let deeper = self.depth.checked_add(1);
            self.depth = deeper.ok_or(Failure::OverRelease { limit: u32::MAX })?;
            return Ok(Some(Answer::Taken(self.taken())));
        }
        if !block {
            return Ok(Some(Answer::Taken(Taken::No)));
        }
        self.check_room(self.waiting.len())?;
        self.waiting.push_back(Waiting { caller: caller.clone(), thread, depth: 1, woken: None });
        Ok(None)
    }

    fn release(&mut self, session: u64, thread: u64, post: &mut Post) -> Result<(), Failure> {
        // A plain lock is released by anybody.
        if self.kind != Kind::Lock || self.owner.is_none() {
            self.check_own(session, thread)?;
        }
        self.depth -= 1;
        if self.depth == 0 {
            self.pass_on(post);
        }
        Ok(())
    }

    /// It is free: the next one gets it.
    fn pass_on(&mut self, post: &mut Post) {
        self.owner = None;
        self.depth = 0;
        let Some(next) = self.waiting.pop_front() else { return };
        let Waiting { caller, thread, depth, woken } = next;
        self.owner = Some(Owner { session: caller.session.id, thread, call: caller.call });
        self.depth = depth;
        let taken = self.taken();
        post.answer(
            caller,
            match woken {
                None => Answer::Taken(taken),
                Some(notified) => Answer::Woken { notified, taken },
            },
        );
    }

    pub(super) fn cancel(&mut self, session: u64, call: u64, post: &mut Post) {
        let line = |waiting: &VecDeque<Waiting>| {
            waiting.iter().position(|waiting| waiting.caller.is(session, call))
        };
        if let Some(at) = line(&self.waiting)
            && self.waiting[at].woken.is_none()
            && let Some(waiting) = self.waiting.remove(at)
        {
            post.answer(waiting.caller, Answer::Taken(Taken::No));
        }
        if let Some(at) = line(&self.sleeping)
            && let Some(sleeper) = self.sleeping.remove(at)
        {
            self.waiting.push_back(Waiting { woken: Some(false), ..sleeper });
            if self.owner.is_none() {
                self.pass_on(post);
            }
        }
    }

    pub(super) fn void(&mut self, session: u64, call: u64, post: &mut Post) {
        let by = |owner: &Owner| owner.session == session && owner.call == call;
        if self.owner.as_ref().is_some_and(by) {
            self.pass_on(post);
        }
    }

    pub(super) fn gone(&mut self, session: u64, post: &mut Post) {
        self.waiting.retain(|waiting| waiting.caller.session.id != session);
        self.sleeping.retain(|sleeper| sleeper.caller.session.id != session);
        if self.owner.as_ref().is_some_and(|owner| owner.session == session) {
            self.died = true;
            self.pass_on(post);
        }
    }
}
