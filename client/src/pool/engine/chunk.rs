//! Items that travel together: a chunk on its way to a worker, and what a worker has of it.
//!
//! The bytes of a chunk of one item are its arguments; of several, each has its length before it.

use super::call::Call;
use crate::handles::SharedFd;
use std::sync::Arc;

/// Bytes of the length before an item.
const LENGTH_BYTES: usize = 4;

/// Items that no worker has.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) call: Arc<Call>,
    /// Number of the first within its call.
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// How often its worker was lost.
    pub(crate) attempts: u32,
    pub(crate) body: Vec<u8>,
    /// Handles in it; then it is one item.
    pub(crate) fds: Vec<SharedFd>,
}

impl Chunk {
    /// The first `count` items by themselves, and the rest; `None` for bytes that are no such
    /// chunk, or when there is no rest.
    pub(crate) fn split(mut self, count: u32) -> Result<(Self, Self), Self> {
        let at = match end_of(&self.body, count) {
            Some(at) if count > 0 && count < self.count => at,
            _ => return Err(self),
        };
        let rest = Self {
            call: Arc::clone(&self.call),
            first: self.first + u64::from(count),
            count: self.count - count,
            attempts: self.attempts,
            body: self.body.split_off(at),
            fds: self.fds.clone(),
        };
        self.count = count;
        Ok((self.unwrapped(), rest.unwrapped()))
    }

    /// A single item stands without its length.
    pub(crate) fn unwrapped(mut self) -> Self {
        if self.count == 1 && self.body.len() >= LENGTH_BYTES {
            self.body.drain(..LENGTH_BYTES);
        }
        self
    }
}

/// Where the first `count` items end.
fn end_of(body: &[u8], count: u32) -> Option<usize> {
    let mut at = 0usize;
    for _ in 0..count {
        let length = body.get(at..)?.first_chunk::<LENGTH_BYTES>()?;
        at = at.checked_add(LENGTH_BYTES)?.checked_add(u32::from_le_bytes(*length) as usize)?;
    }
    (at <= body.len()).then_some(at)
}

/// Encoded items that become a chunk.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    body: Vec<u8>,
    /// Where the length of the item stands that is being appended.
    last: Option<usize>,
    count: u32,
}

impl Packer {
    /// Room for the length of the next item; what is appended now is the item.
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        self.last = Some(self.body.len());
        self.body.extend_from_slice(&[0; LENGTH_BYTES]);
        &mut self.body
    }

    /// The item is complete.
    pub(crate) fn keep(&mut self) {
        // The codec refuses what is longer than `PAYLOAD_BYTES_MAX`, which 32 bits can say.
        if let Some(last) = self.last.take() {
            let length = (self.body.len() - last - LENGTH_BYTES) as u32;
            self.body[last..last + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            self.count += 1;
        }
    }

    /// There is no such item, if there was one in the making.
    pub(crate) fn discard(&mut self) {
        if let Some(last) = self.last.take() {
            self.body.truncate(last);
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The items as a chunk of this call; the packer is empty then.
    fn pack(&mut self, call: &Arc<Call>, first: u64) -> Chunk {
        let room = self.body.len() + self.body.len() / 8;
        let body = std::mem::replace(&mut self.body, Vec::with_capacity(room.min(ROOM_MOST)));
        let count = std::mem::take(&mut self.count);
        let call = Arc::clone(call);
        Chunk { call, first, count, attempts: 0, body, fds: Vec::new() }.unwrapped()
    }
}

impl Packer {
    /// The same; the last item has these handles, and travels alone if it has any.
    pub(crate) fn pack_with(
        &mut self,
        call: &Arc<Call>,
        first: u64,
        fds: Vec<SharedFd>,
    ) -> impl Iterator<Item = Chunk> + use<> {
        let chunk = self.pack(call, first);
        let alone = if fds.is_empty() { 0 } else { chunk.count.saturating_sub(1) };
        let (before, mut last) = match chunk.split(alone) {
            Ok((before, last)) => (Some(before), last),
            Err(whole) => (None, whole),
        };
        last.fds = fds;
        before.into_iter().chain([last])
    }
}

/// No more room is taken in advance for the next chunk.
const ROOM_MOST: usize = 1 << 20;

/// What a worker has been given and has not answered.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) frame: u32,
    pub(crate) call: Arc<Call>,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) attempts: u32,
    pub(crate) answered: u32,
    pub(crate) bytes: usize,
    /// How long all of it is expected to run, nanoseconds.
    pub(crate) estimate: u64,
    pub(crate) fds: Vec<SharedFd>,
}

impl Sent {
    /// The chunk that it was, whose bytes came back.
    pub(crate) fn into_chunk(self, body: Vec<u8>) -> Chunk {
        Chunk {
            call: self.call,
            first: self.first,
            count: self.count,
            attempts: self.attempts,
            body,
            fds: self.fds,
        }
    }

    /// Items without an answer.
    pub(crate) fn left(&self) -> u32 {
        self.count - self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    fn chunk(items: &[&[u8]]) -> Chunk {
        let mut packer = Packer::default();
        for item in items {
            packer.open().extend_from_slice(item);
            packer.keep();
        }
        packer.pack(&Call::stream((0, Codec::Bincode), None, 0), 10)
    }

    #[test]
    fn one_item_is_itself() {
        assert_eq!(chunk(&[b"abc"]).body, b"abc");
    }

    #[test]
    fn a_split_keeps_order_and_numbers() {
        let (left, right) = chunk(&[b"a", b"", b"ccc"]).split(2).unwrap();
        assert_eq!((left.first, left.count, right.first, right.count), (10, 2, 12, 1));
        assert_eq!(right.body, b"ccc");
        let (a, b) = left.split(1).unwrap();
        assert_eq!((&a.body[..], &b.body[..], b.first), (&b"a"[..], &b""[..], 11));
    }

    #[test]
    fn nothing_splits_what_is_no_chunk() {
        assert!(chunk(&[b"a", b"b"]).split(2).is_err());
        assert!(chunk(&[b"a", b"b"]).split(0).is_err());
        let mut torn = chunk(&[b"a", b"b"]);
        torn.body.truncate(3);
        assert!(torn.split(1).is_err());
        let mut absurd = chunk(&[b"a", b"b"]);
        absurd.body[..4].copy_from_slice(&[0xff; 4]);
        assert!(absurd.split(1).is_err());
    }

    #[test]
    fn an_item_with_handles_travels_alone() {
        let mut packer = Packer::default();
        for item in 0..3 {
            packer.open().push(item);
            packer.keep();
        }
        let null = SharedFd::from(std::fs::File::open("/dev/null").unwrap());
        let call = Call::stream((0, Codec::Bincode), None, 0);
        let chunks = packer.pack_with(&call, 5, vec![null]).collect::<Vec<_>>();
        let shape = chunks.iter().map(|chunk| (chunk.first, chunk.count, chunk.fds.len()));
        assert_eq!(shape.collect::<Vec<_>>(), [(5, 2, 0), (7, 1, 1)]);
        assert_eq!(chunks[1].body, [2]);
    }

    #[test]
    fn what_is_discarded_is_not_there() {
        let mut packer = Packer::default();
        packer.open().push(1);
        packer.keep();
        packer.open().push(2);
        packer.discard();
        assert_eq!((packer.count(), packer.bytes()), (1, 5));
    }
}
