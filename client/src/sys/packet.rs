//! Packets over `SOCK_SEQPACKET`: header, body (inline, or in a sealed memfd), descriptors (as
//! many packets as they need).

use super::{fd, scm};
use mpserverd_proto::limits::{FRAME_FDS_MAX, JOB_FDS_MAX, PACKET_INLINE_MAX};
use mpserverd_proto::packet::{HEADER_BYTES, Header, Kind, Place};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A packet as it arrived.
#[derive(Debug)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// Its body.
    pub body: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Sends one packet. Descriptors beyond what one message carries follow in further ones.
///
/// # Errors
/// As `sendmsg(2)`: `BrokenPipe` when the peer is gone, `WouldBlock` if asked not to block (only
/// before the first message went out).
pub fn send(
    socket: BorrowedFd<'_>,
    kind: Kind,
    body: &[&[u8]],
    fds: &[BorrowedFd<'_>],
    nonblocking: bool,
) -> io::Result<()> {
    let length = body.iter().map(|part| part.len()).sum::<usize>();
    if fds.len() > JOB_FDS_MAX {
        return Err(invalid(format!(
            "{} descriptors exceed the limit of {JOB_FDS_MAX}",
            fds.len()
        )));
    }
    let memfd = if length > PACKET_INLINE_MAX { Some(fd::sealed_memfd(body)?) } else { None };
    let room = FRAME_FDS_MAX - usize::from(memfd.is_some());
    let (now, later) = fds.split_at(fds.len().min(room));
    let header = Header {
        kind,
        place: if memfd.is_some() { Place::Memfd } else { Place::Inline },
        fds: now.len() as u16,
        length: length as u64,
    };
    let head = header.encode();
    if let Some(memfd) = &memfd {
        let all = std::iter::once(memfd.as_fd()).chain(now.iter().copied()).collect::<Vec<_>>();
        scm::send(socket, &[&head], &all, nonblocking)?;
    } else {
        match body {
            [] => scm::send(socket, &[&head], now, nonblocking)?,
            [a] => scm::send(socket, &[&head, a], now, nonblocking)?,
            [a, b] => scm::send(socket, &[&head, a, b], now, nonblocking)?,
            [a, b, c] => scm::send(socket, &[&head, a, b, c], now, nonblocking)?,
            more => scm::send(socket, &[&head, &more.concat()], now, nonblocking)?,
        };
    }
    for batch in later.chunks(FRAME_FDS_MAX) {
        let header = Header {
            kind: Kind::MoreFds,
            place: Place::Inline,
            fds: batch.len() as u16,
            length: 0,
        };
        scm::send(socket, &[&header.encode()], batch, false)?;
    }
    Ok(())
}

thread_local! {
    /// One buffer a thread: the kernel wants to know the size of a message before it gives it. It
    /// is not zeroed: a worker receives one small message, and each page it touches is a fault.
    static BUFFER: RefCell<Vec<u8>> =
        RefCell::new(Vec::with_capacity(HEADER_BYTES + PACKET_INLINE_MAX));
}

/// Receives one packet; `None` when the peer is gone.
///
/// # Errors
/// As `recvmsg(2)`; `InvalidData` for anything that is not a packet of ours.
pub fn receive(socket: BorrowedFd<'_>, nonblocking: bool) -> io::Result<Option<Packet>> {
    let mut fds = Vec::new();
    let (header, body) = BUFFER
        .with_borrow_mut(|buffer| {
            let got = scm::receive_into(socket, buffer, &mut fds, nonblocking)?;
            if got == 0 {
                return Ok(None);
            }
            let (header, body) = Header::split(buffer, fds.len()).map_err(invalid)?;
            Ok::<_, io::Error>(Some((header, body.to_vec())))
        })?
        .map_or((None, Vec::new()), |(header, body)| (Some(header), body));
    let Some(header) = header else { return Ok(None) };
    let body = match header.place {
        Place::Inline => body,
        Place::Memfd => fd::read_memfd(&fds.remove(0), header.length)?,
    };
    Ok(Some(Packet { kind: header.kind, body, fds }))
}

/// Receives the descriptors of a packet that had more than fit, until there are `total`.
///
/// # Errors
/// As [`receive`]; `UnexpectedEof` when the peer dies in between.
pub fn receive_more(
    socket: BorrowedFd<'_>,
    fds: &mut Vec<OwnedFd>,
    total: usize,
) -> io::Result<()> {
    if total > JOB_FDS_MAX || fds.len() > total {
        return Err(invalid(format!("{total} descriptors announced, {} came", fds.len())));
    }
    while fds.len() < total {
        let packet = receive(socket, false)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if packet.kind != Kind::MoreFds || packet.fds.is_empty() {
            return Err(invalid("expected further descriptors"));
        }
        fds.extend(packet.fds);
    }
    Ok(())
}
