//! Putting bytes and descriptors into a queue.

use super::carry::{self, Cargo, TAG_BYTES};
use super::core::{Core, Naps, Wait};
use super::error::PutError;
use super::memory::Blocks;
use super::take::INHERITED;
use crate::handles::SharedFd;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::lock::Taken;
use crate::sync::raw::ring::{Refused, Shape, Writer};
use crate::sys::fd::sealed_memfd;
use mpserverd_proto::limits::JOB_FDS_MAX;
use std::io;
use std::os::fd::AsFd;

/// What keeps an item out.
pub(super) enum Obstacle {
    /// The ring has no room for an item of so many units.
    Ring(u32),
    /// The socket has no room for a packet.
    Socket,
    /// An item that is larger than the ring waits until that is empty.
    Items,
}

/// What goes beside the ring with an item.
pub(super) struct Loaded {
    cargo: Cargo,
    pub(super) end: SharedFd,
    /// The body goes there too.
    beside: bool,
    /// Bytes of the body.
    size: [u8; UNIT],
}

impl Core {
    /// Puts one item.
    #[inline]
    pub(super) fn put(
        &self,
        parts: &[&[u8]],
        fds: Vec<SharedFd>,
        wait: Wait,
    ) -> Result<(), PutError> {
        if self.is_closed() {
            return Err(self.put_closed());
        }
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        match self.units_inside(length) {
            Some(units) if fds.is_empty() => self.put_plain(parts, units, wait),
            _ => self.put_carried(parts, length, fds, wait),
        }
    }

    /// Units of an item with so many bytes; `None` if the ring is too small for it.
    #[inline]
    pub(super) fn units_inside(&self, length: usize) -> Option<u32> {
        Shape::units_of(length).filter(|units| *units <= self.memory.shape.units_max)
    }

    #[inline]
    fn put_plain(&self, parts: &[&[u8]], units: u32, wait: Wait) -> Result<(), PutError> {
        let mut naps = Naps::new();
        loop {
            let refused = self.fill(wait, |writer| writer.push(parts, 0))?;
            match refused {
                Ok(()) => return Ok(()),
                Err(Refused::Damaged) => return Err(PutError::Damaged { queue: self.name }),
                Err(Refused::Full) => self.wait_for(&Obstacle::Ring(units), wait, &mut naps)?,
            }
        }
    }

    /// Puts items that have no descriptors: so many as there are ends of them in `bytes`. Returns
    /// how many were put, all of them if there is no error.
    pub(super) fn put_batch(
        &self,
        bytes: &[u8],
        ends: &[usize],
        wait: Wait,
    ) -> (usize, Result<(), PutError>) {
        if self.is_closed() {
            return (0, Err(self.put_closed()));
        }
        let mut naps = Naps::new();
        let mut done = 0;
        while done < ends.len() {
            let before = done;
            let from = |at: usize| if at == 0 { 0 } else { ends[at - 1] };
            let refused = self.fill(wait, |writer| {
                while done < ends.len() {
                    writer.push(&[&bytes[from(done)..ends[done]]], 0)?;
                    done += 1;
                }
                Ok(())
            });
            let result = match refused {
                Err(error) => return (before, Err(error)),
                Ok(Ok(())) => return (done, Ok(())),
                Ok(Err(Refused::Damaged)) => Err(PutError::Damaged { queue: self.name }),
                Ok(Err(Refused::Full)) => {
                    let length = ends[done] - from(done);
                    let units = Shape::units_of(length).unwrap_or(u32::MAX);
                    self.wait_for(&Obstacle::Ring(units), wait, &mut naps)
                }
            };
            if let Err(error) = result {
                return (done, Err(error));
            }
        }
        (done, Ok(()))
    }

    /// Runs something at the filling end and shows what it pushed, also if it ended early.
    #[inline]
    fn fill<R>(
        &self,
        wait: Wait,
        push: impl FnOnce(&mut Writer<'_, Blocks>) -> R,
    ) -> Result<R, PutError> {
        match self.memory.state.ring.fill.lock.lock(wait.for_lock()) {
            Ok(taken) => Ok(self.fill_entered(taken, push)),
            Err(_) => Err(PutError::Full { queue: self.name }),
        }
    }

    /// The same with the lock of this end, which it gives back.
    #[inline]
    pub(super) fn fill_entered<R>(
        &self,
        taken: Taken,
        push: impl FnOnce(&mut Writer<'_, Blocks>) -> R,
    ) -> R {
        let ring = self.memory.ring();
        let lock = &ring.raw.fill.lock;
        if taken == Taken::OwnerDied {
            // What it had not shown is not there; what it had is whole.
            lock.make_consistent();
        }
        let mut writer = ring.writer();
        let result = push(&mut writer);
        let added = writer.publish();
        let awaited = self.is_watched() && ring.items() <= added;
        let _ = lock.unlock();
        if added > 0 {
            self.memory.state.items.ring(added);
            if awaited {
                self.signal();
            }
        }
        result
    }

    #[cold]
    fn wait_for(&self, obstacle: &Obstacle, wait: Wait, naps: &mut Naps) -> Result<(), PutError> {
        let full = PutError::Full { queue: self.name };
        let is_gone = || self.is_overcome(obstacle);
        let in_memory = !matches!(obstacle, Obstacle::Socket);
        if matches!(wait, Wait::Until(_)) && in_memory && self.look_out(is_gone) {
            return Ok(());
        }
        let Some(nap) = naps.next(wait) else { return Err(full) };
        self.check_takers()?;
        match obstacle {
            Obstacle::Ring(_) | Obstacle::Items => {
                self.sleep(&self.memory.state.space, nap, is_gone);
            }
            Obstacle::Socket => match self.put_end() {
                Some(end) => carry::wait_for_room(end.as_fd(), nap),
                None => return Err(self.put_closed()),
            },
        }
        Ok(())
    }

    /// Whether it keeps nothing out any more; a socket is asked itself.
    pub(super) fn is_overcome(&self, obstacle: &Obstacle) -> bool {
        let ring = self.memory.ring();
        match obstacle {
            Obstacle::Ring(units) => ring.has_room(*units),
            Obstacle::Items => ring.items() == 0,
            Obstacle::Socket => false,
        }
    }

    /// Whether anybody could make room.
    pub(super) fn check_takers(&self) -> Result<(), PutError> {
        if self.is_closed() {
            return Err(self.put_closed());
        }
        if self.consumers_gone() {
            return Err(PutError::ConsumersGone { queue: self.name });
        }
        Ok(())
    }

    /// Puts an item with descriptors, or one whose body goes beside the ring.
    #[cold]
    fn put_carried(
        &self,
        parts: &[&[u8]],
        length: usize,
        fds: Vec<SharedFd>,
        wait: Wait,
    ) -> Result<(), PutError> {
        let parcel = self.load(parts, length, fds)?;
        let mut naps = Naps::new();
        loop {
            match self.fill(wait, |writer| self.push_loaded(writer, parts, &parcel))? {
                Ok(()) => return Ok(()),
                Err(Err(error)) => return Err(error),
                Err(Ok(obstacle)) => self.wait_for(&obstacle, wait, &mut naps)?,
            }
        }
    }

    /// Gets ready what goes beside the ring.
    pub(super) fn load(
        &self,
        parts: &[&[u8]],
        length: usize,
        mut fds: Vec<SharedFd>,
    ) -> Result<Loaded, PutError> {
        let queue = self.name;
        let beside = self.units_inside(TAG_BYTES + length).is_none();
        let system = |call| move |source| PutError::System { queue, call, source };
        if beside {
            let body = sealed_memfd(parts).map_err(system("memfd_create"))?;
            fds.push(body.into());
        }
        if fds.len() > JOB_FDS_MAX {
            return Err(PutError::TooManyFds { queue, count: fds.len(), limit: JOB_FDS_MAX });
        }
        let end = self.put_end().ok_or_else(|| self.put_closed())?;
        let cargo = Cargo::new(fds, beside).map_err(system("sendmsg"))?;
        let size = (length as u64).to_le_bytes();
        Ok(Loaded { cargo, end, beside, size })
    }

    /// Pushes an item that is loaded, whose bytes are these.
    pub(super) fn push_loaded(
        &self,
        writer: &mut Writer<'_, Blocks>,
        parts: &[&[u8]],
        loaded: &Loaded,
    ) -> Result<(), Result<Obstacle, PutError>> {
        let Loaded { cargo, end, beside, size } = loaded;
        if *beside && self.items() > 0 {
            return Err(Ok(Obstacle::Items));
        }
        let mut item = vec![&cargo.tag.0[..]];
        if *beside {
            item.push(size);
        } else {
            item.extend(parts);
        }
        let bytes = item.iter().map(|part| part.len()).sum::<usize>();
        let units = self.units_inside(bytes).unwrap_or(u32::MAX);
        let number = writer.next_item();
        let pushed = writer.push_after(&item, cargo.kind, || cargo.send(end.as_fd(), number));
        pushed.map_err(|refused| match refused {
            Ok(Refused::Full) => Ok(Obstacle::Ring(units)),
            Ok(Refused::Damaged) => Err(PutError::Damaged { queue: self.name }),
            Err(error) => self.not_sent(error),
        })
    }

    fn not_sent(&self, error: io::Error) -> Result<Obstacle, PutError> {
        match error.kind() {
            io::ErrorKind::WouldBlock => Ok(Obstacle::Socket),
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected => Err(PutError::ConsumersGone { queue: self.name }),
            // Also when the system has no room for another descriptor in flight (`ETOOMANYREFS`).
            _ => {
                let inherited = error.raw_os_error() == Some(nix::libc::ENOTSOCK);
                let source = if inherited { io::Error::other(INHERITED) } else { error };
                Err(PutError::System { queue: self.name, call: "sendmsg", source })
            }
        }
    }
}

const _: () = assert!(TAG_BYTES.is_multiple_of(UNIT));
