//! What goes beside the memory of a queue: the descriptors of an item, and bodies that are larger
//! than the ring.
//!
//! They travel in one packet of a socket whose two ends belong to those who put and those who
//! take. The packet is sent before its item is shown, and names it by a [`Tag`] that no other item
//! has: what a killed sender left behind is recognised and thrown away. Whoever takes an item
//! *looks* at the packet first, which gives it descriptors of its own, then takes the item, then
//! the packet: if it is killed in between, the item is there for the next one with all its
//! descriptors, or gone with them.
//!
//! The ends of the socket also tell who is left: the kernel hangs up one end when nobody has the
//! other any more, on the way or in his hands, however he lost it.

use crate::handles::SharedFd;
use crate::sync::raw::atomics::own_identity;
use crate::sys::{fd, scm};
use mpserverd_proto::limits::{FRAME_FDS_MAX, JOB_FDS_MAX};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Set in the kind of an item that has a packet.
pub(crate) const CARRIED: u32 = 1 << 31;
/// Set as well if the body of the item is the last descriptor of the packet.
pub(crate) const BODY_BESIDE: u32 = 1 << 30;
/// Set as well if the packet holds a socket with packets, for more descriptors than one carries.
const NESTED: u32 = 1 << 29;
/// The bits that say how many descriptors there are.
const COUNT: u32 = 0xffff;

/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;
const PACKET_BYTES: usize = TAG_BYTES + 4;

const _: () = assert!(JOB_FDS_MAX < COUNT as usize);

/// What names the packet of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) [u8; TAG_BYTES]);

impl Tag {
    /// One that no other item has or had.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; TAG_BYTES];
        bytes[..8].copy_from_slice(&own_identity().to_le_bytes());
        bytes[8..].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

/// A packet that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Cargo {
    pub(crate) tag: Tag,
    /// The kind of the item that it belongs to.
    pub(crate) kind: u32,
    fds: Vec<SharedFd>,
}

impl Cargo {
    /// For the descriptors of an item, the last of which is its body if that goes beside it.
    pub(crate) fn new(mut fds: Vec<SharedFd>, body_beside: bool) -> io::Result<Self> {
        let mut kind = CARRIED | fds.len() as u32 | if body_beside { BODY_BESIDE } else { 0 };
        if fds.len() > FRAME_FDS_MAX {
            fds = vec![nest(&fds)?.into()];
            kind |= NESTED;
        }
        Ok(Self { tag: Tag::new(), kind, fds })
    }

    /// Sends it, unless the socket is full: then it is `WouldBlock`. `item` is where its item will
    /// stand in the count of all.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>, item: u32) -> io::Result<()> {
        let fds = self.fds.iter().map(AsFd::as_fd).collect::<Vec<_>>();
        scm::send(socket, &[&self.tag.0, &item.to_le_bytes()], &fds, true).map(drop)
    }
}

/// A socket with packets of these descriptors, whose other end is closed.
fn nest(fds: &[SharedFd]) -> io::Result<OwnedFd> {
    let (near, far) = fd::seqpacket_pair()?;
    for part in fds.chunks(FRAME_FDS_MAX) {
        let part = part.iter().map(AsFd::as_fd).collect::<Vec<_>>();
        scm::send(near.as_fd(), &[&[0]], &part, true)?;
    }
    Ok(far)
}

/// Looks at the packet of an item, and gives the descriptors in it. Packets before it belong to
/// nobody and are thrown away.
pub(crate) fn look(socket: BorrowedFd<'_>, tag: Tag) -> io::Result<Vec<OwnedFd>> {
    let mut was_reset = false;
    loop {
        let mut bytes = [0; PACKET_BYTES];
        let mut fds = Vec::new();
        let length = match scm::peek(socket, &mut bytes, &mut fds) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::NotFound, "they did not come along"));
            }
            // The sender has died and left something unread: that is told once, before what it
            // had sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !was_reset => {
                was_reset = true;
                continue;
            }
            other => other?,
        };
        if length == PACKET_BYTES && bytes[..TAG_BYTES] == tag.0 {
            return Ok(fds);
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        drop(fds);
        discard(socket);
    }
}

/// Throws the next packet away.
pub(crate) fn discard(socket: BorrowedFd<'_>) {
    // With descriptors that this process has no room for it is an error, and they are closed.
    let _ = scm::receive(socket, &mut [0; PACKET_BYTES], &mut Vec::new(), true);
}

/// Throws away the packets of items that were taken by somebody who died then: those before
/// `first`.
pub(crate) fn discard_before(socket: BorrowedFd<'_>, first: u32) {
    let mut bytes = [0; PACKET_BYTES];
    while scm::peek(socket, &mut bytes, &mut Vec::new()).is_ok_and(|got| got == PACKET_BYTES) {
        let mut item = [0; 4];
        item.copy_from_slice(&bytes[TAG_BYTES..]);
        if u32::from_le_bytes(item).wrapping_sub(first) < u32::MAX / 2 {
            return;
        }
        discard(socket);
    }
}

/// The descriptors of an item of that kind, out of those of its packet.
pub(crate) fn unpack(kind: u32, fds: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let expected = (kind & COUNT) as usize;
    let all = if kind & NESTED == 0 { fds } else { unnest(fds)? };
    if all.len() == expected {
        Ok(all)
    } else {
        let what = format!("{} of {expected} came", all.len());
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

fn unnest(fds: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let socket = fds.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
    let mut all = Vec::new();
    while all.len() <= JOB_FDS_MAX {
        match scm::receive(socket.as_fd(), &mut [0], &mut all, true) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Whether nobody has the other end of this socket any more.
pub(crate) fn is_alone(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    ready && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

/// Waits until the socket takes another packet, at most so long.
pub(crate) fn wait_for_room(socket: BorrowedFd<'_>, at_most: Duration) {
    let time = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
    // However it ends, the next attempt to send tells.
    let _ = poll(&mut [PollFd::new(socket, PollFlags::POLLOUT)], time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_sender_had_sent_is_found_whatever_it_had_not_read() {
        let (near, far) = fd::seqpacket_pair().unwrap();
        scm::send(near.as_fd(), &[b"unread"], &[], true).unwrap();
        let cargo = Cargo::new(vec![fd::seqpacket_pair().unwrap().0.into()], false).unwrap();
        cargo.send(far.as_fd(), 1).unwrap();
        drop(far);
        let fds = look(near.as_fd(), cargo.tag).unwrap();
        assert_eq!(fds.len(), 1);
        discard(near.as_fd());
        let end = look(near.as_fd(), cargo.tag).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
