//! Items as bytes, and the buffers for them.
//!
//! A `Vec<u8>` is copied straight into the ring and out of it; its bytes there are those that it
//! would have as any other value: a length of eight bytes before its own. Everything else is
//! encoded first, in a buffer that a thread keeps.

use super::core::{Core, Wait};
use super::error::{GetError, GetManyError, PutError, PutManyError};
use super::take::Haul;
use crate::codec::CodecError;
use crate::handles::{SharedFd, collect, provide};
use mpserverd_proto::codec as wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::cell::Cell;

/// Buffers larger than this are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// So many bytes of encoded items are put at a time.
const BATCH_BYTES: usize = 256 << 10;
/// So many items are taken at a time, at most.
const BATCH_ITEMS: usize = 64 << 10;

/// What can be an item of a queue.
pub trait QueueItem: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> QueueItem for T {}

thread_local! {
    static ENCODED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static TAKEN: Cell<Haul> = const { Cell::new(Haul::new()) };
}

fn encode<T: Serialize>(item: &T, bytes: &mut Vec<u8>) -> Result<Vec<SharedFd>, CodecError> {
    let (done, fds) = collect(|| wire::encode_payload_into(item, bytes));
    done.map(|()| fds)
}

/// Runs something with this thread's buffer, which is empty, or another one if it is in use.
fn with_buffer<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut bytes = ENCODED.take();
    bytes.clear();
    let result = run(&mut bytes);
    if bytes.capacity() <= KEPT_BYTES_MAX {
        ENCODED.set(bytes);
    }
    result
}

impl Core {
    pub(super) fn put_item<T: QueueItem>(&self, item: &T, wait: Wait) -> Result<(), PutError> {
        if let Some(bytes) = (item as &dyn Any).downcast_ref::<Vec<u8>>() {
            let length = (bytes.len() as u64).to_le_bytes();
            return self.put(&[&length, bytes], Vec::new(), wait);
        }
        with_buffer(|bytes| {
            let queue = self.name;
            let encoded = encode(item, bytes);
            let fds = encoded.map_err(|source| PutError::Encode { queue, source })?;
            self.put(&[bytes], fds, wait)
        })
    }

    pub(super) fn put_items<'a, T: QueueItem>(
        &self,
        items: impl IntoIterator<Item = &'a T>,
        wait: Wait,
    ) -> Result<usize, PutManyError> {
        let mut items = items.into_iter();
        let mut done = 0;
        with_buffer(|bytes| {
            let mut ends = Vec::new();
            loop {
                let (next, special) = self.encode_batch(&mut items, bytes, &mut ends);
                let (put, result) = self.put_batch(bytes, &ends, wait);
                done += put;
                result.map_err(|source| PutManyError { done, source })?;
                if let Some((item, fds)) = special {
                    self.put(&[&item], fds, wait)
                        .map_err(|source| PutManyError { done, source })?;
                    done += 1;
                }
                match next {
                    Next::More => {}
                    Next::End => return Ok(done),
                    Next::Failed(source) => return Err(PutManyError { done, source }),
                }
            }
        })
    }

    /// Encodes the next items into an empty buffer. One that does not simply go into the ring
    /// ends the batch, and is given by itself.
    fn encode_batch<'a, T: QueueItem>(
        &self,
        items: &mut impl Iterator<Item = &'a T>,
        bytes: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> (Next, Option<(Vec<u8>, Vec<SharedFd>)>) {
        bytes.clear();
        ends.clear();
        while bytes.len() < BATCH_BYTES {
            let Some(item) = items.next() else { return (Next::End, None) };
            let before = bytes.len();
            let fds = match encode(item, bytes) {
                Ok(fds) => fds,
                Err(source) => {
                    return (Next::Failed(PutError::Encode { queue: self.name, source }), None);
                }
            };
            if !fds.is_empty() || self.units_inside(bytes.len() - before).is_none() {
                return (Next::More, Some((bytes.split_off(before), fds)));
            }
            ends.push(bytes.len());
        }
        (Next::More, None)
    }

    pub(super) fn get_item<T: QueueItem>(&self, wait: Wait) -> Result<T, GetError> {
        let mut own: Option<T> = None;
        if let Some(place) = (&mut own as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
            let mut haul = Haul::new();
            self.take(&mut haul, 1, true, wait)?;
            *place = Some(haul.bytes);
        }
        if let Some(item) = own {
            return Ok(item);
        }
        let mut haul = TAKEN.take();
        let result = self.take(&mut haul, 1, false, wait);
        let result = result.and_then(|()| {
            let fds = std::mem::take(&mut haul.fds);
            self.decode(&haul.bytes, fds)
        });
        keep(haul);
        result
    }

    pub(super) fn get_items<T: QueueItem>(
        &self,
        at_most: usize,
        wait: Wait,
    ) -> Result<Vec<T>, GetManyError<T>> {
        if at_most == 0 {
            return Ok(Vec::new());
        }
        let mut haul = TAKEN.take();
        let result = self.take(&mut haul, at_most.min(BATCH_ITEMS), false, wait);
        let result = match result {
            Ok(()) => self.decode_all(&mut haul),
            Err(source) => Err(GetManyError { items: Vec::new(), source }),
        };
        keep(haul);
        result
    }

    fn decode_all<T: QueueItem>(&self, haul: &mut Haul) -> Result<Vec<T>, GetManyError<T>> {
        let mut items = Vec::with_capacity(haul.ends.len());
        let mut first_error = None;
        let mut from = 0;
        for &end in &haul.ends {
            let fds = std::mem::take(&mut haul.fds);
            match self.decode(&haul.bytes[from..end], fds) {
                Ok(item) => items.push(item),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
            from = end;
        }
        match first_error {
            None => Ok(items),
            Some(source) => Err(GetManyError { items, source }),
        }
    }

    fn decode<T: QueueItem>(&self, bytes: &[u8], fds: Vec<SharedFd>) -> Result<T, GetError> {
        let decoded = provide(fds, || wire::decode_payload(bytes));
        let queue = self.name;
        decoded.map_err(|source| GetError::Decode { queue, source, bytes: bytes.to_vec() })
    }
}

/// How a batch ended.
enum Next {
    More,
    End,
    Failed(PutError),
}

fn keep(haul: Haul) {
    if haul.bytes.capacity() <= KEPT_BYTES_MAX {
        TAKEN.set(haul);
    }
}
