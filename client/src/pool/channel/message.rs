//! What both rings carry: a head of 16 bytes, then a body.
//!
//! A message with descriptors has the tag of their packet between the two; one with a large body
//! has that among its descriptors, and its length in its place. See `queue::carry`: the packet is
//! sent before the message is shown.

use super::memory::INLINE_BYTES_MAX;
use crate::codec::Codec;
use crate::handles::SharedFd;
use crate::queue::carry::{self, BODY_BESIDE, CARRIED, Cargo, TAG_BYTES, Tag};
use crate::queue::memory::Blocks;
use crate::sync::raw::counters::UNIT;
use crate::sync::raw::ring::{Damaged, Item, Reader, Refused, Writer};
use crate::sys::fd::{read_memfd, sealed_memfd};
use mpserverd_proto::limits::PAYLOAD_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of a body beside a ring at most: one payload, and outcomes that were not shown before it.
const BESIDE_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX + (1 << 20);

/// The bits of a kind that say what a message of the inbox is; 0 is a frame.
pub(crate) const WHAT: u32 = 0xff << 16;
/// A definition of a task.
pub(crate) const WHAT_DEFINITION: u32 = 1 << 16;

/// Bytes of a head.
const HEAD_BYTES: usize = 16;
/// Units of a head.
const HEAD_UNITS: usize = HEAD_BYTES / UNIT;

/// The head of a message, as four words.
type Words = [u32; 4];

fn to_bytes(words: Words) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Before the items of a frame, or a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) frame: u32,
    pub(crate) task: u32,
    pub(crate) count: u32,
}

impl FrameHead {
    pub(super) fn words(self) -> Words {
        [self.frame, self.task, self.count, 0]
    }
}

impl From<Words> for FrameHead {
    fn from([frame, task, count, _]: Words) -> Self {
        Self { frame, task, count }
    }
}

/// Before the outcomes of some items of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    pub(crate) frame: u32,
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl AnswerHead {
    pub(crate) fn words(self) -> Words {
        [self.frame, self.first, self.count, 0]
    }
}

impl From<Words> for AnswerHead {
    fn from([frame, first, count, _]: Words) -> Self {
        Self { frame, first, count }
    }
}

/// What a worker must know of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) schema: u64,
    pub(crate) codec: Codec,
}

/// Why a message was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The ring has no room for it now.
    Full,
    /// The socket has no room for its packet now.
    SocketFull,
    /// What is in the ring cannot be.
    Damaged,
    /// The system refused.
    System(io::Error),
}

impl From<Refused> for Unsent {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Damaged => Self::Damaged,
        }
    }
}

/// Puts a message into a ring, where nobody sees it before the writer publishes; its descriptors
/// go first. `number` tells packets that nobody wants from others. Returns the body if that went
/// beside the ring.
#[inline]
pub(crate) fn send(
    writer: &mut Writer<'_, Blocks>,
    socket: &SharedFd,
    (what, head): (u32, Words),
    body: &[u8],
    fds: &[SharedFd],
    number: u32,
) -> Result<Option<SharedFd>, Unsent> {
    let head = to_bytes(head);
    if fds.is_empty() && body.len() <= INLINE_BYTES_MAX {
        writer.push(&[&head, body], what)?;
        return Ok(None);
    }
    send_carried(writer, socket, (what, &head), body, fds, number)
}

#[cold]
fn send_carried(
    writer: &mut Writer<'_, Blocks>,
    socket: &SharedFd,
    (what, head): (u32, &[u8]),
    body: &[u8],
    fds: &[SharedFd],
    number: u32,
) -> Result<Option<SharedFd>, Unsent> {
    let mut fds = fds.to_vec();
    let beside = if body.len() > INLINE_BYTES_MAX {
        let beside = SharedFd::from(sealed_memfd(&[body]).map_err(Unsent::System)?);
        fds.push(beside.clone());
        Some(beside)
    } else {
        None
    };
    let cargo = Cargo::new(fds, beside.is_some()).map_err(Unsent::System)?;
    let length = (body.len() as u64).to_le_bytes();
    let parts = [head, &cargo.tag.0, if beside.is_some() { &length } else { body }];
    writer.push_after(&parts, what | cargo.kind, || cargo.send(socket.as_fd(), number)).map_err(
        |refused| match refused {
            Ok(refused) => refused.into(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unsent::SocketFull,
            Err(error) => Unsent::System(error),
        },
    )?;
    Ok(beside)
}

/// Why a message could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Damaged,
    /// Descriptors, or a body that was one, did not come.
    Lost(io::Error),
}

impl From<Damaged> for Unreadable {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// The head of the next message of a ring.
#[inline]
pub(crate) fn head<T: From<Words>>(reader: &Reader<'_, Blocks>, item: &Item) -> Result<T, Damaged> {
    if item.length < HEAD_BYTES {
        return Err(Damaged);
    }
    let (low, high) = (reader.word(0)?, reader.word(1)?);
    let word = |bytes: [u8; UNIT], at: usize| (u64::from_le_bytes(bytes) >> (32 * at)) as u32;
    Ok([word(low, 0), word(low, 1), word(high, 0), word(high, 1)].into())
}

/// Reads the next message: its head, and its body into an empty vector. Its descriptors are taken
/// from the socket; an error in their place means that they, or the body, did not come.
#[inline]
pub(crate) fn read<T: From<Words>>(
    reader: &Reader<'_, Blocks>,
    item: &Item,
    socket: &SharedFd,
    body: &mut Vec<u8>,
) -> Result<(T, Result<Vec<SharedFd>, io::Error>), Damaged> {
    let head = head(reader, item)?;
    if item.kind & CARRIED == 0 {
        reader.copy(item, HEAD_BYTES, body)?;
        return Ok((head, Ok(Vec::new())));
    }
    match read_carried(reader, item, socket, body) {
        Ok(fds) => Ok((head, Ok(fds))),
        Err(Unreadable::Lost(error)) => Ok((head, Err(error))),
        Err(Unreadable::Damaged) => Err(Damaged),
    }
}

#[cold]
fn read_carried(
    reader: &Reader<'_, Blocks>,
    item: &Item,
    socket: &SharedFd,
    body: &mut Vec<u8>,
) -> Result<Vec<SharedFd>, Unreadable> {
    let tag = tag(reader, item)?;
    let packet = carry::look(socket.as_fd(), tag);
    // Of no use any more; what could not be received must not be in the way of what follows.
    carry::discard(socket.as_fd());
    let fds = packet.and_then(|fds| carry::unpack(item.kind, fds)).map_err(Unreadable::Lost)?;
    let mut fds = fds.into_iter().map(SharedFd::from).collect::<Vec<_>>();
    if item.kind & BODY_BESIDE == 0 {
        reader.copy(item, HEAD_BYTES + TAG_BYTES, body)?;
    } else {
        let beside = fds.pop().ok_or(Damaged)?;
        *body = read_beside(reader, item, &beside)?;
    }
    Ok(fds)
}

fn tag(reader: &Reader<'_, Blocks>, item: &Item) -> Result<Tag, Damaged> {
    if item.length < HEAD_BYTES + TAG_BYTES {
        return Err(Damaged);
    }
    let mut tag = [0; TAG_BYTES];
    for (at, word) in tag.chunks_exact_mut(UNIT).enumerate() {
        word.copy_from_slice(&reader.word(HEAD_UNITS + at)?);
    }
    Ok(Tag(tag))
}

fn read_beside(
    reader: &Reader<'_, Blocks>,
    item: &Item,
    beside: &SharedFd,
) -> Result<Vec<u8>, Unreadable> {
    if item.length != HEAD_BYTES + TAG_BYTES + UNIT {
        return Err(Unreadable::Damaged);
    }
    let length = u64::from_le_bytes(reader.word(HEAD_UNITS + TAG_BYTES / UNIT)?);
    if length > BESIDE_BYTES_MAX {
        return Err(Unreadable::Damaged);
    }
    let own: OwnedFd = beside.as_fd().try_clone_to_owned().map_err(Unreadable::Lost)?;
    read_memfd(&own, length).map_err(Unreadable::Lost)
}

/// Reads a message of this process that nobody has taken: its head and its body, which is `beside`
/// if it went there.
pub(super) fn read_own<T: From<Words>>(
    reader: &Reader<'_, Blocks>,
    item: &Item,
    beside: Option<&SharedFd>,
) -> Result<(T, Vec<u8>), Unreadable> {
    let head = head(reader, item)?;
    let mut body = Vec::new();
    match (beside, item.kind & BODY_BESIDE != 0) {
        (Some(beside), true) => body = read_beside(reader, item, beside)?,
        (None, false) => {
            let skip = if item.kind & CARRIED == 0 { 0 } else { TAG_BYTES };
            reader.copy(item, HEAD_BYTES + skip, &mut body)?;
        }
        _ => return Err(Unreadable::Damaged),
    }
    Ok((head, body))
}

const _: () = assert!(HEAD_BYTES.is_multiple_of(UNIT) && TAG_BYTES.is_multiple_of(UNIT));
