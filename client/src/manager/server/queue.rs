//! Queues, joinable or not.
//!
//! An item is *unfinished* from its put on until `task_done`; one that was taken stands on the
//! account of the session that took it. If that ends, what it had taken is lost, which whoever
//! joins is told.

use super::answer::{Answer, Outcome, Post, Stored};
use super::object::{Caller, WAITERS_MAX};
use crate::manager::wire::Failure;
use std::collections::{HashMap, VecDeque};

pub(super) struct Queue {
    items: VecDeque<Stored>,
    /// 0: no bound.
    maxsize: u64,
    getters: VecDeque<Caller>,
    putters: VecDeque<(Caller, Stored)>,
    joinable: bool,
    unfinished: u64,
    /// What sessions have taken and not finished.
    taken: HashMap<u64, u64>,
    lost: u64,
    joiners: Vec<Caller>,
}

impl Queue {
    pub(super) fn new(maxsize: u64, joinable: bool) -> Self {
        Self {
            items: VecDeque::new(),
            maxsize,
            getters: VecDeque::new(),
            putters: VecDeque::new(),
            joinable,
            unfinished: 0,
            taken: HashMap::new(),
            lost: 0,
            joiners: Vec::new(),
        }
    }

    fn has_room(&self) -> bool {
        self.maxsize == 0 || (self.items.len() as u64) < self.maxsize
    }

    fn check_waiters(waiting: usize) -> Result<(), Failure> {
        if waiting < WAITERS_MAX {
            return Ok(());
        }
        Err(Failure::TooManyWaiters { limit: WAITERS_MAX as u64 })
    }

    fn charge(&mut self, session: u64) {
        if self.joinable {
            *self.taken.entry(session).or_default() += 1;
        }
    }

    /// An item is in: it goes to whoever waits, or into the line.
    fn enter(&mut self, item: Stored, first: bool, post: &mut Post) {
        match self.getters.pop_front() {
            Some(getter) => {
                self.charge(getter.session.id);
                post.answer(getter, Answer::One(item));
            }
            None if first => self.items.push_front(item),
            None => self.items.push_back(item),
        }
    }

    fn admit(&mut self, post: &mut Post) {
        while self.has_room()
            && let Some((putter, item)) = self.putters.pop_front()
        {
            self.unfinished += u64::from(self.joinable);
            self.enter(item, false, post);
            post.answer(putter, Answer::Done);
        }
    }

    pub(super) fn put(
        &mut self,
        item: Stored,
        block: bool,
        caller: &Caller,
        post: &mut Post,
    ) -> Outcome {
        if !self.has_room() || !self.putters.is_empty() {
            if !block {
                return Err(Failure::Full);
            }
            Self::check_waiters(self.putters.len())?;
            self.putters.push_back((caller.clone(), item));
            return Ok(None);
        }
        self.unfinished += u64::from(self.joinable);
        self.enter(item, false, post);
        Ok(Some(Answer::Done))
    }

    pub(super) fn get(&mut self, block: bool, caller: &Caller, post: &mut Post) -> Outcome {
        if let Some(item) = self.items.pop_front() {
            self.charge(caller.session.id);
            self.admit(post);
            return Ok(Some(Answer::One(item)));
        }
        if !block {
            return Err(Failure::Empty);
        }
        Self::check_waiters(self.getters.len())?;
        self.getters.push_back(caller.clone());
        Ok(None)
    }

    /// An item that was taken comes back.
    pub(super) fn put_back(&mut self, item: Stored, session: u64, post: &mut Post) -> Answer {
        if let Some(count) = self.taken.get_mut(&session) {
            *count = count.saturating_sub(1);
        }
        self.enter(item, true, post);
        Answer::Done
    }

    pub(super) fn sizes(&self) -> Answer {
        Answer::Sizes {
            items: self.items.len() as u64,
            maxsize: self.maxsize,
            unfinished: self.unfinished,
        }
    }

    pub(super) fn task_done(&mut self, items: u64, session: u64, post: &mut Post) -> Outcome {
        if items > self.unfinished {
            return Err(Failure::TooManyTasksDone);
        }
        if let Some(count) = self.taken.get_mut(&session) {
            *count = count.saturating_sub(items);
        }
        self.finish(items, post);
        Ok(Some(Answer::Done))
    }

    fn finish(&mut self, items: u64, post: &mut Post) {
        self.unfinished -= items;
        if self.unfinished == 0 && !self.joiners.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            for joiner in std::mem::take(&mut self.joiners) {
                post.answer(joiner, joined(lost));
            }
        }
    }

    pub(super) fn join(&mut self, caller: &Caller) -> Outcome {
        if self.unfinished == 0 {
            return Ok(Some(joined(std::mem::take(&mut self.lost))));
        }
        Self::check_waiters(self.joiners.len())?;
        self.joiners.push(caller.clone());
        Ok(None)
    }

    pub(super) fn cancel(&mut self, session: u64, call: u64, post: &mut Post) {
        if let Some(at) = self.getters.iter().position(|getter| getter.is(session, call)) {
            let getter = self.getters.remove(at);
            getter.into_iter().for_each(|getter| post.answer(getter, failed(Failure::Empty)));
        }
        if let Some(at) = self.putters.iter().position(|(putter, _)| putter.is(session, call)) {
            let putter = self.putters.remove(at);
            putter.into_iter().for_each(|(putter, _)| post.answer(putter, failed(Failure::Full)));
        }
        if let Some(at) = self.joiners.iter().position(|joiner| joiner.is(session, call)) {
            let items = self.unfinished;
            post.answer(self.joiners.remove(at), failed(Failure::Unfinished { items }));
        }
    }

    pub(super) fn gone(&mut self, session: u64, post: &mut Post) {
        self.getters.retain(|getter| getter.session.id != session);
        self.putters.retain(|(putter, _)| putter.session.id != session);
        self.joiners.retain(|joiner| joiner.session.id != session);
        if let Some(taken) = self.taken.remove(&session) {
            let lost = taken.min(self.unfinished);
            self.lost += lost;
            self.finish(lost, post);
        }
        self.admit(post);
    }
}

fn failed(failure: Failure) -> Answer {
    Answer::Failed(failure)
}

fn joined(lost: u64) -> Answer {
    if lost == 0 { Answer::Done } else { failed(Failure::ItemsLost { items: lost }) }
}
