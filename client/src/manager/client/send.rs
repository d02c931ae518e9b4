//! Requests, and what is sent in passing.
//!
//! Nobody waits for the server while it waits for us: a thread that cannot write reads, if nobody
//! does. What a drop has to say is sent if it can be at once, else before the next request.

use super::{Client, Passing};
use crate::connection::turn::Mine;
use crate::connection::wire::ready_any;
use crate::deadline::Deadline;
use crate::manager::error::ManagerError;
use crate::manager::wire::{self, Op, Request};
use crate::sys::scm;
use nix::poll::{PollFd, PollFlags};
use std::io;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// How often a thread that cannot write looks whether somebody reads.
const LOOK: Duration = Duration::from_millis(10);
/// So much may be unsent of what is sent in passing, before the server counts as gone.
const UNSENT_MAX: usize = 64 << 20;

/// Why a request was not sent.
pub(super) enum Unsent {
    /// It never will be.
    Never(ManagerError),
    /// The time has passed, and it will be sent before whatever comes next.
    Later(ManagerError),
}

impl Client {
    /// Sends a request, waiting until the deadline for the server to take it.
    pub(super) fn request(
        &self,
        call: u64,
        request: &Request<'_>,
        deadline: &Deadline,
    ) -> Result<(), Unsent> {
        let mut bytes = Vec::with_capacity(128);
        let encoded = wire::frame(&mut bytes, call, request);
        let codec = |source| ManagerError::Codec { proxy: "Manager", source };
        encoded.map_err(codec).map_err(Unsent::Never)?;
        let timeout = || Unsent::Never(deadline.error().into());
        let mut before = self.writing.take(deadline).ok_or_else(timeout)?;
        self.add_passing(&mut before);
        if !before.is_empty() {
            // What was to be sent in passing comes first.
            before.append(&mut bytes);
            std::mem::swap(&mut *before, &mut bytes);
        }
        let sent = self.send_all(&mut before, &bytes, deadline);
        drop(before);
        // What came meanwhile from others, who did not wait for their turn.
        self.send_passing();
        sent
    }

    /// Sends all of it. What is over when the time passes in the middle of a frame is kept: it is
    /// sent before anything else.
    fn send_all(
        &self,
        rest: &mut Mine<'_, Vec<u8>>,
        bytes: &[u8],
        deadline: &Deadline,
    ) -> Result<(), Unsent> {
        let mut sent = 0;
        while sent < bytes.len() {
            match scm::send_plain(self.fd(), &bytes[sent..], true) {
                Ok(some) => sent += some,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if deadline.left().is_some_and(|left| left.is_zero()) {
                        rest.extend_from_slice(&bytes[sent..]);
                        return Err(Unsent::Later(deadline.error().into()));
                    }
                    self.wait_for_room(deadline).map_err(Unsent::Never)?;
                }
                Err(_) => {
                    self.lose();
                    return Err(Unsent::Never(self.gone()));
                }
            }
        }
        Ok(())
    }

    /// Waits until the server takes more; reads what it says meanwhile, unless somebody does.
    fn wait_for_room(&self, deadline: &Deadline) -> Result<(), ManagerError> {
        let mut state = self.state();
        if state.gone {
            return Err(self.gone());
        }
        let reader = state.reader.take();
        drop(state);
        let events = match reader {
            Some(_) => PollFlags::POLLOUT | PollFlags::POLLIN,
            None => PollFlags::POLLOUT,
        };
        let look = deadline.left().map_or(LOOK, |left| left.min(LOOK));
        let mut fds = [PollFd::new(self.fd(), events)];
        let ready = ready_any(&mut fds, &Deadline::within(look));
        if let Some(reader) = reader {
            // Also when nothing is there: it is put back.
            self.read(reader, &Deadline::within(Duration::ZERO));
            // This thread may not be one that waits for an answer and reads on.
            self.hand_over(self.state());
        }
        ready.map(drop).map_err(|_| self.gone())
    }

    /// Sends what has no answer.
    pub(in crate::manager) fn one_way(
        &self,
        request: &Request<'_>,
        deadline: &Deadline,
    ) -> Result<(), ManagerError> {
        self.request(wire::ONE_WAY, request, deadline).map_err(|unsent| match unsent {
            Unsent::Never(error) | Unsent::Later(error) => error,
        })
    }

    /// The same, without waiting: if the server does not take it now, it is sent later.
    pub(in crate::manager) fn one_way_later(&self, request: &Request<'_>) {
        let mut bytes = Vec::with_capacity(64);
        if wire::frame(&mut bytes, wire::ONE_WAY, request).is_err() {
            return;
        }
        self.passing().frames.append(&mut bytes);
        self.send_passing();
    }

    /// Gives references back.
    pub(in crate::manager) fn release(&self, objects: Vec<u64>) {
        if objects.is_empty() {
            return;
        }
        self.passing().dropped.extend(objects);
        self.send_passing();
    }

    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the socket takes, unless a thread writes: that one does it when it is done.
    fn send_passing(&self) {
        while !self.passing().is_empty() {
            let mine = self.writing.take(&Deadline::within(Duration::ZERO));
            let Some(mut before) = mine else { return };
            self.add_passing(&mut before);
            self.flush(&mut before);
        }
    }

    fn add_passing(&self, before: &mut Vec<u8>) {
        let mut passing = self.passing();
        before.append(&mut passing.frames);
        if passing.dropped.is_empty() {
            return;
        }
        let objects = std::mem::take(&mut passing.dropped);
        drop(passing);
        let request = Request { object: 0, op: Op::Release { objects } };
        // Numbers have an encoding.
        let _ = wire::frame(before, wire::ONE_WAY, &request);
    }

    /// Sends what the socket takes.
    fn flush(&self, before: &mut Vec<u8>) {
        while !before.is_empty() {
            match scm::send_plain(self.fd(), before, true) {
                Ok(some) => drop(before.drain(..some)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    before.clear();
                    break;
                }
            }
        }
        if before.len() > UNSENT_MAX {
            before.clear();
            self.lose();
        }
    }
}
