//! Calls that wait for their answers, and who reads.
//!
//! One thread reads at a time: the first one that has to wait. It goes on until its own answer is
//! there, and then wakes another one that waits, to read in its place.

use super::send::Unsent;
use super::{Client, Reply, Slot, State, put_back};
use crate::deadline::Deadline;
use crate::error::TimeoutError;
use crate::manager::error::ManagerError;
use crate::manager::link::{More, Reader};
use crate::manager::wire::{self, Body, Op, Request};
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::MutexGuard;
use std::time::Duration;

/// How long the answer to a call is waited for once its time has passed: the server answers such a
/// call at once, if it is not stopped.
const SLACK: Duration = Duration::from_secs(1);

/// What becomes of an answer that comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Late {
    /// It means nothing.
    Nothing,
    /// What was taken is given back, by the server.
    GiveBack,
    /// The item goes back to the queue.
    PutBack,
    /// It is waited for, however late.
    Awaited,
}

impl Client {
    /// Calls, and waits for the answer until the deadline.
    ///
    /// # Errors
    /// [`ManagerError`]: `Gone`, `Timeout`, `Codec`.
    pub(in crate::manager) fn call(
        &self,
        object: u64,
        op: Op<'_>,
        deadline: &Deadline,
    ) -> Result<Reply, ManagerError> {
        let call = self.begin()?;
        if let Err(unsent) = self.request(call, &Request { object, op }, deadline) {
            return Err(self.unsent(call, unsent, None));
        }
        match self.wait(call, deadline)? {
            Some(reply) => Ok(reply),
            None => {
                self.abandon(call, None);
                Err(deadline.error().into())
            }
        }
    }

    /// Calls for something that the server may make wait. When the time has passed it is told so,
    /// and says what has become of the call.
    ///
    /// # Errors
    /// As [`call`](Self::call); `Timeout` only if the server does not answer.
    pub(in crate::manager) fn call_waiting(
        &self,
        object: u64,
        op: Op<'_>,
        timeout: Option<Duration>,
        late: Late,
    ) -> Result<Reply, ManagerError> {
        let deadline = Deadline::of(timeout);
        let call = self.begin()?;
        let back = (late == Late::PutBack).then_some(object);
        if let Err(unsent) = self.request(call, &Request { object, op }, &deadline) {
            let error = self.unsent(call, unsent, back);
            self.give_back(object, call, late);
            return Err(error);
        }
        if let Some(reply) = self.wait(call, &deadline)? {
            return Ok(reply);
        }
        if late == Late::Awaited {
            self.one_way(&Request { object, op: Op::Cancel { call } }, &Deadline::NEVER)?;
            return self.wait(call, &Deadline::NEVER)?.ok_or_else(|| deadline.error().into());
        }
        let slack = Deadline::within(SLACK);
        let cancelled = self.one_way(&Request { object, op: Op::Cancel { call } }, &slack);
        if cancelled.is_ok()
            && let Some(reply) = self.wait(call, &slack)?
        {
            return Ok(reply);
        }
        self.abandon(call, back);
        self.give_back(object, call, late);
        Err(TimeoutError(deadline.given()).into())
    }

    /// In order behind the call itself, so that it cannot be overtaken by it.
    fn give_back(&self, object: u64, call: u64, late: Late) {
        if late == Late::GiveBack {
            self.one_way_later(&Request { object, op: Op::Void { call } });
        }
    }

    /// A request was not sent, or not yet.
    fn unsent(&self, call: u64, unsent: Unsent, back: Option<u64>) -> ManagerError {
        match unsent {
            Unsent::Never(error) => {
                let mut state = self.state();
                state.slots.remove(&call);
                self.hand_over(state);
                error
            }
            Unsent::Later(error) => {
                self.abandon(call, back);
                error
            }
        }
    }

    fn begin(&self) -> Result<u64, ManagerError> {
        let mut state = self.state();
        if state.gone {
            return Err(self.gone());
        }
        let call = state.next;
        state.next += 1;
        state.slots.insert(call, Slot::Waiting(std::thread::current()));
        Ok(call)
    }

    fn abandon(&self, call: u64, back: Option<u64>) {
        let mut state = self.state();
        match state.slots.insert(call, Slot::Abandoned { back }) {
            // It came at the last moment.
            Some(Slot::Answered(frame)) => {
                state.slots.remove(&call);
                drop(state);
                self.dispose(&frame, back);
            }
            _ => self.hand_over(state),
        }
    }

    /// Waits for an answer; `None` when the time passes first.
    fn wait(&self, call: u64, deadline: &Deadline) -> Result<Option<Reply>, ManagerError> {
        loop {
            let mut state = self.state();
            if let Some(Slot::Answered(_)) = state.slots.get(&call)
                && let Some(Slot::Answered(frame)) = state.slots.remove(&call)
            {
                self.hand_over(state);
                return Ok(Some(Reply { frame }));
            }
            if state.gone {
                state.slots.remove(&call);
                return Err(self.gone());
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                self.hand_over(state);
                return Ok(None);
            }
            let Some(reader) = state.reader.take() else {
                drop(state);
                left.map_or_else(std::thread::park, std::thread::park_timeout);
                continue;
            };
            drop(state);
            self.read(reader, deadline);
        }
    }

    /// Receives something and hands out what is there.
    pub(super) fn read(&self, mut reader: Reader, deadline: &Deadline) {
        let more = reader.more(self.fd(), deadline);
        let mut gone = !matches!(more, Ok(More::Came | More::Nothing));
        let mut late = Vec::new();
        let mut state = self.state();
        loop {
            match reader.frame() {
                Ok(Some(frame)) => late.extend(hand_out(&mut state, frame)),
                Ok(None) => break,
                Err(_) => {
                    gone = true;
                    break;
                }
            }
        }
        state.reader = Some(reader);
        drop(state);
        if gone {
            self.lose();
        }
        late.iter().for_each(|(frame, back)| self.dispose(frame, *back));
    }

    /// If nobody reads any more, one of those who wait shall.
    pub(super) fn hand_over(&self, state: MutexGuard<'_, State>) {
        if state.reader.is_none() {
            return;
        }
        let own = std::thread::current().id();
        let next = state.slots.values().find_map(|slot| match slot {
            Slot::Waiting(thread) if thread.id() != own => Some(thread.clone()),
            _ => None,
        });
        drop(state);
        if let Some(thread) = next {
            thread.unpark();
        }
    }

    /// The server is gone: all who wait learn it.
    pub(super) fn lose(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.gone, true) {
            // Wakes whoever reads; nothing can be done about an error.
            let _ = shutdown(self.socket.as_fd().as_raw_fd(), Shutdown::Both);
            crate::sys::fd::hollow_out(self.fd());
        }
        for slot in state.slots.values() {
            if let Slot::Waiting(thread) = slot {
                thread.unpark();
            }
        }
    }

    /// An answer that nobody waits for: the references in it are given back, and an item that it
    /// brings to the queue that it came from.
    fn dispose(&self, frame: &[u8], back: Option<u64>) {
        let rest = wire::split(frame).map_or(&[][..], |(_, rest)| rest);
        let Ok(body) = wire::parse::<Body<'_>>(rest) else { return };
        let refs = body.refs();
        if let (Some(object), Body::Item(item)) = (back, body) {
            self.one_way_later(&put_back(object, item));
        }
        self.release(refs);
    }
}

/// Gives an answer to who waits for it; or back, if nobody does.
fn hand_out(state: &mut State, frame: &[u8]) -> Option<(Vec<u8>, Option<u64>)> {
    let (call, _) = wire::split(frame)?;
    let Some(slot) = state.slots.get_mut(&call) else { return Some((frame.to_vec(), None)) };
    match slot {
        Slot::Waiting(thread) => {
            let thread = thread.clone();
            *slot = Slot::Answered(frame.to_vec());
            if thread.id() != std::thread::current().id() {
                thread.unpark();
            }
            None
        }
        Slot::Abandoned { back } => {
            let back = *back;
            state.slots.remove(&call);
            Some((frame.to_vec(), back))
        }
        // An answer too many.
        Slot::Answered(_) => None,
    }
}
