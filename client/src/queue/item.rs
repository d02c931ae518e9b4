//! Items as bytes, and the buffers for them.
//!
//! Where the reducer is bincode, a `Vec<u8>` is copied straight into the ring and out of it; its
//! bytes there are those that it would have as any other value: a length of eight bytes before its
//! own. So does a number, whose bytes are those that the codec would write. Everything else is
//! encoded first, in a buffer that a thread keeps.

use super::core::{Core, Wait};
use super::error::{GetError, GetManyError, PutError, PutManyError};
use super::take::Haul;
use crate::codec::{self, Codec, CodecError};
use crate::handles::{SharedFd, provide};
use crate::parcel::Parcel;
use crate::reducer;
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

macro_rules! numbers {
    ($($number:ty),+) => {
        /// The bytes of a number, and how many of the eight they are. The compiler knows which
        /// type it is, so nothing is left of this for all others.
        #[inline]
        fn bytes_of_number<T: 'static>(item: &T) -> Option<([u8; 8], usize)> {
            let item = item as &dyn Any;
            let mut bytes = [0; 8];
            $(if let Some(number) = item.downcast_ref::<$number>() {
                let (own, _) = bytes.split_at_mut(size_of::<$number>());
                own.copy_from_slice(&number.to_le_bytes());
                return Some((bytes, size_of::<$number>()));
            })+
            None
        }

        /// The number that has these bytes.
        #[inline]
        fn number_of_bytes<T: 'static>(bytes: &[u8]) -> Option<T> {
            let mut item = None::<T>;
            $(if let Some(item) = (&mut item as &mut dyn Any).downcast_mut::<Option<$number>>() {
                *item = Some(<$number>::from_le_bytes(bytes.try_into().ok()?));
            })+
            item
        }
    };
}
numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

/// The `Vec<u8>` that has these bytes.
fn byte_string_of_bytes<T: 'static>(bytes: &[u8]) -> Option<T> {
    let mut item = None::<T>;
    if let Some(item) = (&mut item as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
        let (length, own) = bytes.split_first_chunk()?;
        *item = (u64::from_le_bytes(*length) == own.len() as u64).then(|| own.to_vec());
    }
    item
}

#[inline]
fn encode<T: QueueItem>(
    codec: Codec,
    item: &T,
    bytes: &mut Vec<u8>,
) -> Result<Vec<SharedFd>, CodecError> {
    if codec != Codec::Bincode {
        return Parcel::append(codec, item, bytes);
    }
    if let Some((number, length)) = bytes_of_number(item) {
        bytes.extend_from_slice(&number[..length]);
        return Ok(Vec::new());
    }
    if let Some(own) = (item as &dyn Any).downcast_ref::<Vec<u8>>() {
        bytes.extend_from_slice(&(own.len() as u64).to_le_bytes());
        bytes.extend_from_slice(own);
        return Ok(Vec::new());
    }
    Parcel::append(codec, item, bytes)
}

/// Encodes an item into a buffer of this thread, which [`keep_buffer`] takes back.
pub(super) fn encode_alone<T: QueueItem>(
    codec: Codec,
    item: &T,
) -> Result<(Vec<u8>, Vec<SharedFd>), CodecError> {
    let mut bytes = ENCODED.take();
    bytes.clear();
    encode(codec, item, &mut bytes).map(|fds| (bytes, fds))
}

/// Keeps a buffer for the next item.
pub(super) fn keep_buffer(bytes: Vec<u8>) {
    if bytes.capacity() <= KEPT_BYTES_MAX {
        ENCODED.set(bytes);
    }
}

/// Runs something with this thread's buffer, which is empty, or another one if it is in use.
fn with_buffer<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut bytes = ENCODED.take();
    bytes.clear();
    let result = run(&mut bytes);
    keep_buffer(bytes);
    result
}

impl Core {
    #[inline]
    fn is_bincode(&self) -> bool {
        self.memory.codec == Codec::Bincode
    }

    pub(super) fn put_item<T: QueueItem>(&self, item: &T, wait: Wait) -> Result<(), PutError> {
        if self.is_bincode() {
            if let Some(bytes) = (item as &dyn Any).downcast_ref::<Vec<u8>>() {
                let length = (bytes.len() as u64).to_le_bytes();
                return self.put(&[&length, bytes], Vec::new(), wait);
            }
            if let Some((bytes, length)) = bytes_of_number(item) {
                return self.put(&[&bytes[..length]], Vec::new(), wait);
            }
        }
        with_buffer(|bytes| {
            let queue = self.name;
            let encoded = encode(self.memory.codec, item, bytes);
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
    ) -> (Next, Option<Special>) {
        bytes.clear();
        ends.clear();
        while bytes.len() < BATCH_BYTES {
            let Some(item) = items.next() else { return (Next::End, None) };
            let before = bytes.len();
            let fds = match encode(self.memory.codec, item, bytes) {
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

    /// Before anything is taken: whether it could be read at all.
    #[inline]
    pub(super) fn check_reducer(&self) -> Result<(), GetError> {
        let queue = self.name;
        reducer::check(self.memory.codec).map_err(|source| GetError::Reducer { queue, source })
    }

    pub(super) fn get_item<T: QueueItem>(&self, wait: Wait) -> Result<T, GetError> {
        let mut own: Option<T> = None;
        if self.is_bincode()
            && let Some(place) = (&mut own as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>()
        {
            let mut haul = Haul::new();
            self.take(&mut haul, 1, true, wait)?;
            *place = Some(haul.bytes);
        }
        if let Some(item) = own {
            return Ok(item);
        }
        self.check_reducer()?;
        let mut haul = TAKEN.take();
        let result = self.take(&mut haul, 1, false, wait);
        let result = result.and_then(|()| {
            let fds = std::mem::take(&mut haul.fds);
            self.decode(&haul.bytes, fds)
        });
        keep(haul);
        result
    }

    /// Takes the first item with the lock of the taking end, which it gives back; `None` if there
    /// is none after all.
    pub(super) fn get_item_entered<T: QueueItem>(
        &self,
        slept: bool,
    ) -> Result<Option<T>, GetError> {
        let mut own: Option<T> = None;
        if self.is_bincode()
            && let Some(place) = (&mut own as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>()
        {
            let mut haul = Haul::new();
            self.empty_entered(&mut haul, 1, true, slept)?;
            *place = (!haul.ends.is_empty()).then_some(haul.bytes);
            return Ok(own);
        }
        let mut haul = TAKEN.take();
        haul.clear();
        let result = self.empty_entered(&mut haul, 1, false, slept);
        let result = result.and_then(|()| {
            let fds = std::mem::take(&mut haul.fds);
            (!haul.ends.is_empty()).then(|| self.decode(&haul.bytes, fds)).transpose()
        });
        keep(haul);
        result
    }

    /// The same for so many items; none if there are none.
    pub(super) fn get_items_entered<T: QueueItem>(
        &self,
        at_most: usize,
        slept: bool,
    ) -> Result<Vec<T>, GetManyError<T>> {
        let mut haul = TAKEN.take();
        haul.clear();
        let result = self.empty_entered(&mut haul, at_most.min(BATCH_ITEMS), false, slept);
        let result = match result {
            Ok(()) => self.decode_all(&mut haul),
            Err(source) => Err(GetManyError { items: Vec::new(), source }),
        };
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
        if let Err(source) = self.check_reducer() {
            return Err(GetManyError { items: Vec::new(), source });
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
        // An item with descriptors comes alone, so they are those of every item here.
        provide(std::mem::take(&mut haul.fds), || {
            let mut from = 0;
            for &end in &haul.ends {
                match self.decode_provided(&haul.bytes[from..end]) {
                    Ok(item) => items.push(item),
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
                from = end;
            }
        });
        match first_error {
            None => Ok(items),
            Some(source) => Err(GetManyError { items, source }),
        }
    }

    #[inline]
    fn decode<T: QueueItem>(&self, bytes: &[u8], fds: Vec<SharedFd>) -> Result<T, GetError> {
        match number_of_bytes(bytes) {
            Some(number) if self.is_bincode() => Ok(number),
            _ => provide(fds, || self.decode_provided(bytes)),
        }
    }

    /// Decodes an item whose descriptors are provided.
    #[inline]
    fn decode_provided<T: QueueItem>(&self, bytes: &[u8]) -> Result<T, GetError> {
        if self.is_bincode()
            && let Some(item) = number_of_bytes(bytes).or_else(|| byte_string_of_bytes(bytes))
        {
            return Ok(item);
        }
        let queue = self.name;
        codec::decode(self.memory.codec, bytes).map_err(|source| GetError::Decode {
            queue,
            source,
            bytes: bytes.to_vec(),
        })
    }
}

/// An item that does not simply go into the ring: its bytes, and its descriptors.
type Special = (Vec<u8>, Vec<SharedFd>);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: QueueItem + PartialEq + std::fmt::Debug>(number: T) {
        let (bytes, length) = bytes_of_number(&number).expect("a number");
        assert_eq!(bytes[..length], codec::encode(Codec::Bincode, &number).expect("encodes"));
        assert_eq!(number_of_bytes(&bytes[..length]), Some(number));
        assert_eq!(number_of_bytes::<T>(&bytes[..length - 1]), None);
        assert_eq!(number_of_bytes::<T>(&[0; 9]), None);
    }

    #[test]
    fn bytes_of_numbers_are_those_of_the_codec() {
        check(200u8);
        check(60_000u16);
        check(u32::MAX - 1);
        check(u64::MAX - 2);
        check(-3i8);
        check(-300i16);
        check(i32::MIN);
        check(i64::MIN + 1);
        check(-1.5f32);
        check(f64::MAX);
    }

    #[test]
    fn other_types_are_no_numbers() {
        assert!(bytes_of_number(&(7u64,)).is_none() && bytes_of_number(&'a').is_none());
        assert_eq!(number_of_bytes::<(u64,)>(&[0; 8]), None);
    }
}
