//! Barriers.
//!
//! The last to come releases all, or runs an action first; whoever comes meanwhile belongs to the
//! next round.

use super::answer::{Answer, Outcome, Post};
use super::object::{Caller, WAITERS_MAX};
use crate::manager::wire::{BarrierOp, Cause, Failure};
use std::collections::VecDeque;

pub(super) const PARTIES_MAX: u32 = 1 << 16;

pub(super) struct Barrier {
    parties: u32,
    broken: Option<Cause>,
    /// Those who wait, in the order in which they came.
    waiting: Vec<Caller>,
    /// Who runs the action; all others of the round wait.
    acting: Option<Caller>,
    /// Those who came while the action runs.
    next: VecDeque<(Caller, bool)>,
}

impl Barrier {
    pub(super) fn new(parties: u32) -> Self {
        let next = VecDeque::new();
        Self { parties, broken: None, waiting: Vec::new(), acting: None, next }
    }

    pub(super) fn apply(&mut self, op: BarrierOp, caller: &Caller, post: &mut Post) -> Outcome {
        match op {
            BarrierOp::Wait { action } => return self.wait(action, caller, post),
            BarrierOp::Acted { well } => {
                let actor = self.acting.take_if(|actor| actor.session.id == caller.session.id);
                // Broken meanwhile.
                if actor.is_none() {
                    return Err(Failure::Barrier(self.broken.unwrap_or(Cause::Reset)));
                }
                if !well {
                    self.shatter(Cause::ActionFailed, post);
                    return Ok(Some(Answer::Done));
                }
                self.release(post);
                self.go_on(post);
                return Ok(Some(Answer::Count(u64::from(self.parties) - 1)));
            }
            BarrierOp::Abort => self.shatter(Cause::Aborted, post),
            BarrierOp::Reset => {
                self.shatter(Cause::Reset, post);
                self.broken = None;
            }
            BarrierOp::Status => {
                return Ok(Some(Answer::Barrier {
                    parties: self.parties,
                    waiting: (self.waiting.len() + self.next.len()) as u32,
                    broken: self.broken.is_some(),
                }));
            }
        }
        Ok(Some(Answer::Done))
    }

    fn wait(&mut self, action: bool, caller: &Caller, post: &mut Post) -> Outcome {
        if let Some(cause) = self.broken {
            return Err(Failure::Barrier(cause));
        }
        if self.acting.is_some() {
            if self.next.len() >= WAITERS_MAX {
                return Err(Failure::TooManyWaiters { limit: WAITERS_MAX as u64 });
            }
            self.next.push_back((caller.clone(), action));
            return Ok(None);
        }
        if self.waiting.len() as u32 + 1 < self.parties {
            self.waiting.push(caller.clone());
            return Ok(None);
        }
        if action {
            self.acting = Some(caller.clone());
            return Ok(Some(Answer::Act));
        }
        self.release(post);
        Ok(Some(Answer::Count(u64::from(self.parties) - 1)))
    }

    fn release(&mut self, post: &mut Post) {
        for (number, caller) in self.waiting.drain(..).enumerate() {
            post.answer(caller, Answer::Count(number as u64));
        }
    }

    /// The action is over: those who came meanwhile come now.
    fn go_on(&mut self, post: &mut Post) {
        while self.acting.is_none()
            && let Some((caller, action)) = self.next.pop_front()
        {
            if let Some(answer) = self.wait(action, &caller, post).transpose() {
                post.answer(caller, answer.into());
            }
        }
    }

    fn shatter(&mut self, cause: Cause, post: &mut Post) {
        self.broken.get_or_insert(cause);
        self.acting = None;
        let next = self.next.drain(..).map(|(caller, _)| caller);
        for caller in self.waiting.drain(..).chain(next) {
            post.answer(caller, Answer::Failed(Failure::Barrier(cause)));
        }
    }

    pub(super) fn cancel(&mut self, session: u64, call: u64, post: &mut Post) {
        let mut all = self.waiting.iter().chain(self.next.iter().map(|(caller, _)| caller));
        if all.any(|caller| caller.is(session, call)) {
            self.shatter(Cause::TimedOut, post);
        }
    }

    pub(super) fn gone(&mut self, session: u64, pid: u32, post: &mut Post) {
        let mut all = (self.waiting.iter())
            .chain(self.next.iter().map(|(caller, _)| caller))
            .chain(&self.acting);
        if all.any(|caller| caller.session.id == session) {
            self.shatter(Cause::Died { pid }, post);
        }
    }
}
