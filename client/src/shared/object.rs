//! One object in an arena: a handle that several threads may hold and that travels as a value.

use super::arena::{ALIGN, HEADER_BYTES, Place};
use super::error::ShareError;
use crate::handles::{SharedFd, assert_spawning};
use crate::sys::mapping::{Region, Shared, View};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What lies at the start of an object, by which it is recognised.
pub(crate) trait Object: Shared {
    /// A number of its own.
    const KIND: u32;
    /// Its name for people.
    const NAME: &'static str;
}

/// A handle to a shared object. Clones are the same object.
pub(crate) struct Shareable<T: Object> {
    view: View<T>,
    bytes: usize,
    place: Arc<Place>,
}

impl<T: Object> Shareable<T> {
    /// A new object, all zeros, for `init` to fill before anybody else knows it.
    pub(crate) fn new(init: impl FnOnce(&T)) -> Result<Self, ShareError> {
        Self::with_tail(0, 1, init)
    }

    /// The same, with so many further bytes behind it: see [`tail`](Self::tail).
    pub(crate) fn with_tail(
        tail: usize,
        align: usize,
        init: impl FnOnce(&T),
    ) -> Result<Self, ShareError> {
        let bytes = Self::skip(align).checked_add(tail).ok_or_else(|| ShareError::Size {
            object: T::NAME,
            what: format!("{tail} bytes exceed the address space"),
        })?;
        let place = Place::reserve(T::NAME, T::KIND, bytes)?;
        let (view, bytes) = place.object::<T>(T::NAME, T::KIND)?;
        init(&view);
        Ok(Self { view, bytes, place: Arc::new(place) })
    }

    /// Bytes from the start of the object to a tail of that alignment (a power of two).
    const fn skip(align: usize) -> usize {
        (HEADER_BYTES + size_of::<T>()).next_multiple_of(align) - HEADER_BYTES
    }

    /// How many bytes of a tail with that alignment there are.
    pub(crate) fn tail_bytes(&self, align: usize) -> usize {
        self.bytes.saturating_sub(Self::skip(align))
    }

    /// The bytes behind the object itself, aligned (in the arena; to a page at most); `None` if
    /// there are fewer than `length`.
    pub(crate) fn tail(&self, length: usize, align: usize) -> Option<Region> {
        let skip = Self::skip(align);
        if skip.checked_add(length)? > self.bytes {
            return None;
        }
        self.place.bytes(skip, length, align.min(ALIGN))
    }

    /// The whole tail with that alignment; `None` if it cannot be had.
    pub(crate) fn whole_tail(&self, align: usize) -> Option<Region> {
        self.tail(self.tail_bytes(align), align)
    }

    /// Whether both are the same object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.place.is(&other.place)
    }
}

impl<T: Object> Deref for Shareable<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.view
    }
}

impl<T: Object> Clone for Shareable<T> {
    fn clone(&self) -> Self {
        Self { view: self.view.clone(), bytes: self.bytes, place: self.place.clone() }
    }
}

impl<T: Object> fmt::Debug for Shareable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::NAME)
    }
}

impl<T: Object> Serialize for Shareable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_spawning(T::NAME).map_err(S::Error::custom)?;
        self.place.travels().serialize(serializer)
    }
}

impl<'de, T: Object> Deserialize<'de> for Shareable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fd, offset) = <(SharedFd, u64)>::deserialize(deserializer)?;
        let place = Place::find(T::NAME, fd, offset).map_err(D::Error::custom)?;
        let (view, bytes) = place.object::<T>(T::NAME, T::KIND).map_err(D::Error::custom)?;
        Ok(Self { view, bytes, place: Arc::new(place) })
    }
}
