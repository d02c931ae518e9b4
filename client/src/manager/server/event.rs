//! Events.

use super::answer::{Answer, Outcome, Post};
use super::object::{Caller, WAITERS_MAX};
use crate::manager::wire::{EventOp, Failure};

#[derive(Default)]
pub(super) struct Event {
    set: bool,
    waiting: Vec<Caller>,
}

impl Event {
    pub(super) fn apply(&mut self, op: EventOp, caller: &Caller, post: &mut Post) -> Outcome {
        match op {
            EventOp::Set => {
                self.set = true;
                let waiting = self.waiting.drain(..);
                waiting.for_each(|caller| post.answer(caller, Answer::Yes(true)));
            }
            EventOp::Clear => self.set = false,
            EventOp::IsSet => return Ok(Some(Answer::Yes(self.set))),
            EventOp::Wait if self.set => return Ok(Some(Answer::Yes(true))),
            EventOp::Wait if self.waiting.len() < WAITERS_MAX => {
                self.waiting.push(caller.clone());
                return Ok(None);
            }
            EventOp::Wait => {
                return Err(Failure::TooManyWaiters { limit: WAITERS_MAX as u64 });
            }
        }
        Ok(Some(Answer::Done))
    }

    pub(super) fn cancel(&mut self, session: u64, call: u64, post: &mut Post) {
        if let Some(at) = self.waiting.iter().position(|caller| caller.is(session, call)) {
            post.answer(self.waiting.remove(at), Answer::Yes(false));
        }
    }

    pub(super) fn gone(&mut self, session: u64) {
        self.waiting.retain(|caller| caller.session.id != session);
    }
}
