//! Taking bytes and descriptors out of a queue.

use super::carry::{self, BODY_BESIDE, CARRIED, TAG_BYTES, Tag};
use super::core::{Core, Naps, Wait};
use super::error::GetError;
use super::join::ACCOUNTS;
use super::memory::Blocks;
use crate::handles::SharedFd;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::lock::{Taken, TimedOut};
use crate::sync::raw::ring::{Damaged, Item, Reader};
use crate::sys::fd::read_memfd;
use crate::sys::scm::DescriptorsLost;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Items that were taken.
#[derive(Debug, Default)]
pub(super) struct Haul {
    /// Their bytes, one after the other.
    pub(super) bytes: Vec<u8>,
    /// Where each ends.
    pub(super) ends: Vec<usize>,
    /// Descriptors of the last one.
    pub(super) fds: Vec<SharedFd>,
    /// Whether its packet was looked at.
    has_packet: bool,
}

/// Why a queue that came by a fork cannot carry descriptors.
pub(super) const INHERITED: &str =
    "this process inherited the queue by a fork: pass it as an argument";

/// Why the first item could not be taken as it should.
enum Lost {
    Damaged,
    Fds(io::Error),
}

impl From<Damaged> for Lost {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl Haul {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), fds: Vec::new(), has_packet: false }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.fds.clear();
        self.has_packet = false;
    }
}

impl Core {
    /// Takes items, at least one and at most so many, into an empty haul. With `prefixed`, the
    /// bytes of an item begin after a length of eight bytes, which must be right.
    #[inline]
    pub(super) fn take(
        &self,
        haul: &mut Haul,
        at_most: usize,
        prefixed: bool,
        wait: Wait,
    ) -> Result<(), GetError> {
        haul.clear();
        let mut naps = None;
        loop {
            if self.is_closed() {
                return Err(self.get_closed());
            }
            if self.has_items() {
                self.empty(haul, at_most, prefixed, wait, naps.is_some())?;
                if !haul.ends.is_empty() {
                    return Ok(());
                }
            }
            self.wait_for_items(wait, naps.get_or_insert_with(Naps::new))?;
        }
    }

    #[cold]
    fn wait_for_items(&self, wait: Wait, naps: &mut Naps) -> Result<(), GetError> {
        let queue = self.name;
        if matches!(wait, Wait::Until(_)) && self.look_out(|| self.has_items()) {
            return Ok(());
        }
        if self.is_watched() {
            self.settle();
        }
        let nap = naps.next(wait);
        let gone = self.producers_gone();
        if self.has_items() {
            return Ok(());
        }
        if gone {
            return Err(GetError::ProducersGone { queue });
        }
        let nap = nap.ok_or(GetError::Empty { queue })?;
        self.sleep(&self.memory.state.items, nap, || self.has_items());
        Ok(())
    }

    /// Takes the lock of this end, and puts in order what a dead owner left.
    #[inline]
    pub(super) fn lock_taking_end(&self, wait: Wait) -> Result<(), TimedOut> {
        let taken = self.memory.state.ring.empty.lock.lock(wait.for_lock())?;
        self.entered_taking_end(taken);
        Ok(())
    }

    /// Said by who has taken the lock of this end.
    #[inline]
    pub(super) fn entered_taking_end(&self, taken: Taken) {
        if taken == Taken::OwnerDied {
            let ring = self.memory.ring();
            if let Some(end) = self.take_end() {
                carry::discard_before(end.as_fd(), ring.items_taken());
            }
            ring.raw.empty.lock.make_consistent();
        }
    }

    #[inline]
    pub(super) fn unlock_taking_end(&self) {
        // It is held by this process, until now.
        let _ = self.memory.ring().raw.empty.lock.unlock();
    }

    /// Takes what is there, which may be nothing after all.
    #[inline]
    fn empty(
        &self,
        haul: &mut Haul,
        at_most: usize,
        prefixed: bool,
        wait: Wait,
        slept: bool,
    ) -> Result<(), GetError> {
        let queue = self.name;
        self.lock_taking_end(wait).map_err(|_| GetError::Empty { queue })?;
        self.empty_entered(haul, at_most, prefixed, slept)
    }

    /// The same with the lock of this end, which it gives back.
    #[inline]
    pub(super) fn empty_entered(
        &self,
        haul: &mut Haul,
        at_most: usize,
        prefixed: bool,
        slept: bool,
    ) -> Result<(), GetError> {
        let queue = self.name;
        let ring = self.memory.ring();
        let mut reader = ring.reader();
        let lost = self.haul(&mut reader, haul, at_most, prefixed);
        if let Some(join) = &self.join
            && !join.deposit(reader.skipped())
        {
            self.unlock_taking_end();
            haul.clear();
            return Err(GetError::TooManyConsumers { queue, limit: ACCOUNTS });
        }
        let taken = reader.publish();
        if taken > 0 && haul.has_packet {
            // It was looked at; now that the item is taken, it is of no use to anybody.
            if let Some(end) = self.take_end() {
                carry::discard(end.as_fd());
            }
        }
        self.unlock_taking_end();
        if taken > 0 {
            let state = &self.memory.state;
            state.space.ring(u32::MAX);
            if slept {
                state.items.pass_on();
                if self.has_items() {
                    state.items.ring(1);
                }
            }
            if self.is_watched() && !self.has_items() {
                self.settle();
            }
        }
        match lost {
            Ok(()) => Ok(()),
            Err(Lost::Damaged) => Err(GetError::Damaged { queue }),
            Err(Lost::Fds(source)) => Err(GetError::DescriptorsLost { queue, source }),
        }
    }

    #[inline]
    fn haul(
        &self,
        reader: &mut Reader<'_, Blocks>,
        haul: &mut Haul,
        at_most: usize,
        prefixed: bool,
    ) -> Result<(), Lost> {
        while haul.ends.len() < at_most {
            let Some(item) = reader.next()? else { break };
            if item.kind != 0 {
                // It ends a haul, so that it is clear whose descriptors these are.
                if haul.ends.is_empty() {
                    self.haul_carried(reader, &item, haul, prefixed)?;
                }
                break;
            }
            let skip = if prefixed { prefix(reader, item.length, 0)? } else { 0 };
            reader.copy(&item, skip, &mut haul.bytes)?;
            haul.ends.push(haul.bytes.len());
            reader.skip(&item);
        }
        Ok(())
    }

    #[cold]
    fn haul_carried(
        &self,
        reader: &mut Reader<'_, Blocks>,
        item: &Item,
        haul: &mut Haul,
        prefixed: bool,
    ) -> Result<(), Lost> {
        if item.kind & CARRIED == 0 || item.length < TAG_BYTES {
            return Err(Lost::Damaged);
        }
        let mut tag = [0; TAG_BYTES];
        tag[..UNIT].copy_from_slice(&reader.word(0)?);
        tag[UNIT..].copy_from_slice(&reader.word(1)?);
        let end = self.take_end().ok_or(Lost::Damaged)?;
        let mut fds = match carry::look(end.as_fd(), Tag(tag)) {
            Ok(fds) => {
                haul.has_packet = true;
                carry::unpack(item.kind, fds)
            }
            // It stays for somebody with more room.
            Err(error) if DescriptorsLost::is(&error) => return Err(Lost::Fds(error)),
            // It stays for somebody who was given the queue.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOTSOCK) => {
                return Err(Lost::Fds(io::Error::other(INHERITED)));
            }
            Err(error) => Err(error),
        }
        .map_err(|error| {
            reader.skip(item);
            Lost::Fds(error)
        })?;
        if item.kind & BODY_BESIDE == 0 {
            let skip = if prefixed { prefix(reader, item.length - TAG_BYTES, 2)? } else { 0 };
            reader.copy(item, TAG_BYTES + skip, &mut haul.bytes)?;
        } else if item.length < TAG_BYTES + UNIT {
            return Err(Lost::Damaged);
        } else {
            let length = u64::from_le_bytes(reader.word(2)?);
            let body = fds.pop().ok_or(Lost::Damaged)?;
            haul.bytes = body_beside(&body, length, prefixed).map_err(|error| {
                reader.skip(item);
                Lost::Fds(error)
            })?;
        }
        haul.ends.push(haul.bytes.len());
        haul.fds.extend(fds.into_iter().map(SharedFd::from));
        reader.skip(item);
        Ok(())
    }
}

fn body_beside(body: &OwnedFd, length: u64, prefixed: bool) -> io::Result<Vec<u8>> {
    let mut bytes = read_memfd(body, length)?;
    if prefixed {
        if bytes.len() < UNIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.drain(..UNIT);
    }
    Ok(bytes)
}

/// Checks the length that stands before the bytes of an item; returns how many bytes it takes.
#[inline]
fn prefix(reader: &Reader<'_, Blocks>, length: usize, at: usize) -> Result<usize, Damaged> {
    if length < UNIT {
        return Err(Damaged);
    }
    let said = u64::from_le_bytes(reader.word(at)?);
    if said == (length - UNIT) as u64 { Ok(UNIT) } else { Err(Damaged) }
}
