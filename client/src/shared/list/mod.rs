//! `ShareableList`: a list of simple items in a segment.
//!
//! | file | holds |
//! |---|---|
//! | `item` | what a list may hold |
//! | `format` | how it lies in memory |
//!
//! What must never be in here: an access that trusts what stands in the memory.

mod format;
mod item;

pub use item::ListItem;

use super::error::ShareError;
use super::memory::SharedMemory;
use super::twin::Twin;
use crate::sync::raw::atomics::{AtomicU64, Ordering};
use crate::sys::identity;
use crate::sys::mapping::Region;
use format::{COPY, ENTRY, HEADER, ITEMS_MAX, MAGIC, RECORD, Tag};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// For errors.
const OBJECT: &str = "ShareableList";

/// A list of simple items in a [`SharedMemory`], as
/// `multiprocessing.shared_memory.ShareableList`. Its length is fixed, and so is the room for each
/// item: eight bytes, or what the first text or bytes there needed, rounded up to the next multiple
/// of eight. The type of an item may change. Clones are the same list.
///
/// Items come back as they were stored: zeros at the end of bytes and characters of any length
/// included. (The memory is not that of the reference; a Python program cannot read it.)
///
/// Nobody ever reads half of an item, and who is killed while storing one leaves the old one. There
/// is no lock over several accesses.
///
/// ```
/// use mpserverd_client as mp;
/// use mp::ListItem;
///
/// let list = mp::ShareableList::new(["a".into(), 1.into(), 2.5.into(), ListItem::None])?;
/// list.set(0, "grün\0")?;
/// list.set(3, true)?;
///
/// let same = mp::ShareableList::attach(list.name())?;
/// assert_eq!(same.get(0)?, ListItem::from("grün\0"));
/// assert_eq!(same.index(&ListItem::Bool(true))?, Some(3));
/// assert!(list.set(1, "nine chars").is_err());
/// # Ok::<(), mp::ShareError>(())
/// ```
#[derive(Clone)]
pub struct ShareableList {
    shm: SharedMemory,
    /// This process's own knowledge: nobody else can change it.
    length: usize,
}

/// Where an item lies.
struct Place<'a> {
    region: &'a Region,
    twin: &'a Twin,
    first: usize,
    stride: usize,
    capacity: usize,
}

impl ShareableList {
    /// A list of these items, in a segment whose name nobody has yet.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn new(items: impl IntoIterator<Item = ListItem>) -> Result<Self, ShareError> {
        Self::create(None, items)
    }

    /// A list of these items, in a segment of that name.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn create(
        name: Option<&str>,
        items: impl IntoIterator<Item = ListItem>,
    ) -> Result<Self, ShareError> {
        let items = items.into_iter().collect::<Vec<_>>();
        let image = format::image(&items, identity::pid_namespace())?;
        let shm = SharedMemory::options().create_with(name, image.len(), &image)?;
        Ok(Self { shm, length: items.len() })
    }

    /// The list in the segment of that name.
    ///
    /// # Errors
    /// As [`SharedMemory::attach`] and [`from_shm`](Self::from_shm).
    pub fn attach(name: &str) -> Result<Self, ShareError> {
        Self::from_shm(SharedMemory::attach(name)?)
    }

    /// The list in a segment.
    ///
    /// # Errors
    /// [`ShareError::Foreign`] if there is none, [`ShareError::OtherNamespace`] if it is one of
    /// processes that cannot be seen here.
    pub fn from_shm(shm: SharedMemory) -> Result<Self, ShareError> {
        let foreign = |why| ShareError::Foreign { object: OBJECT, why };
        let region = shm.region()?;
        let word = |at| region.at::<AtomicU64>(at).map(|word| word.load(Ordering::Acquire));
        let header = [0, 1, 2].map(|at| word(at * format::WORD));
        let [Some(magic), Some(namespace), Some(length)] = header else {
            return Err(foreign("it is too short"));
        };
        if magic != MAGIC {
            return Err(foreign("it does not begin like one"));
        }
        if namespace != identity::pid_namespace() {
            return Err(ShareError::OtherNamespace { object: OBJECT });
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > ITEMS_MAX || HEADER + length * ENTRY > region.len() {
            return Err(foreign("it is too short for so many items"));
        }
        Ok(Self { shm, length })
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The segment that it lies in.
    #[must_use]
    pub fn shm(&self) -> &SharedMemory {
        &self.shm
    }

    /// The name of that segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shm.name()
    }

    /// Whether both are the same list.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.shm.is_same(&other.shm)
    }

    fn place(&self, index: usize) -> Result<Place<'_>, ShareError> {
        if index >= self.length {
            let to = index.saturating_add(1);
            let length = self.length;
            return Err(ShareError::OutOfRange { object: OBJECT, from: index, to, length });
        }
        // Says so if somebody has made the segment shorter.
        let region = self.shm.region()?;
        let find = || {
            let word = |at| {
                let bits = region.at::<AtomicU64>(at)?.load(Ordering::Relaxed);
                usize::try_from(bits).ok()
            };
            let entry = HEADER + index * ENTRY;
            let (offset, capacity) = (word(entry)?, word(entry + format::WORD)?);
            let end = offset.checked_add(format::record(capacity)?)?;
            if end > region.len() {
                return None;
            }
            let (twin, stride) = (region.at::<Twin>(offset)?, format::stride(capacity)?);
            Some(Place { region, twin, first: offset + RECORD, stride, capacity })
        };
        find().ok_or(ShareError::Damaged { object: OBJECT })
    }

    /// An item.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`]; [`ShareError::Truncated`], [`ShareError::NotText`] and
    /// [`ShareError::Damaged`] if others have spoilt the memory.
    pub fn get(&self, index: usize) -> Result<ListItem, ShareError> {
        let place = self.place(index)?;
        let damaged = || ShareError::Damaged { object: OBJECT };
        let (mut header, mut bytes) = ([0; COPY], Vec::new());
        place.twin.read(|copy| {
            let at = place.first + copy * place.stride;
            place.region.read(at, &mut header);
            bytes.clear();
            let length = length_of(&header).min(place.capacity);
            // Without room for it, it is shorter than it says, which is an error below.
            if bytes.try_reserve(length).is_ok() {
                place.region.append_to(at + COPY, length, &mut bytes);
            }
        });
        if bytes.len() != length_of(&header) {
            return Err(damaged());
        }
        let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let tag = Tag::of(kind).ok_or_else(damaged)?;
        ListItem::decode(tag, bytes).ok_or_else(|| match tag {
            Tag::Str => ShareError::NotText { object: OBJECT, index },
            _ => damaged(),
        })
    }

    /// Replaces an item, by one of any type.
    ///
    /// # Errors
    /// [`ShareError::TooLong`] if there is no room for it; as [`get`](Self::get).
    pub fn set(&self, index: usize, item: impl Into<ListItem>) -> Result<(), ShareError> {
        let place = self.place(index)?;
        let bytes = format::copy(&item.into());
        let (length, room) = (bytes.len() - COPY, place.capacity);
        if length > room {
            return Err(ShareError::TooLong { object: OBJECT, bytes: length, room });
        }
        place.twin.write(|copy| place.region.write(place.first + copy * place.stride, &bytes));
        Ok(())
    }

    /// The items, each as it is when its turn comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<ListItem, ShareError>> + '_ {
        (0..self.length).map(|index| self.get(index))
    }

    /// All items.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<ListItem>, ShareError> {
        self.iter().collect()
    }

    /// How many items are equal to this one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count(&self, item: &ListItem) -> Result<usize, ShareError> {
        let mut count = 0;
        for known in self.iter() {
            count += usize::from(known? == *item);
        }
        Ok(count)
    }

    /// The first place where there is such an item.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn index(&self, item: &ListItem) -> Result<Option<usize>, ShareError> {
        for (index, known) in self.iter().enumerate() {
            if known? == *item {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The items as the module `struct` of Python writes their types down: `?` for yes or no, `q`
    /// for a whole number, `d` for a float, `24s` for text or bytes with room for 24 bytes,
    /// `xxxxxx?x` for nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn format(&self) -> Result<String, ShareError> {
        let mut format = String::new();
        for index in 0..self.length {
            match self.get(index)? {
                ListItem::None => format.push_str("xxxxxx?x"),
                ListItem::Bool(_) => format.push_str("xxxxxxx?"),
                ListItem::Int(_) => format.push('q'),
                ListItem::Float(_) => format.push('d'),
                ListItem::Str(_) | ListItem::Bytes(_) => {
                    format.push_str(&format!("{}s", self.place(index)?.capacity));
                }
            }
        }
        Ok(format)
    }
}

/// How many bytes a copy says that it has.
fn length_of(header: &[u8; COPY]) -> usize {
    let mut word = [0; format::WORD];
    word.copy_from_slice(&header[format::WORD..]);
    usize::try_from(u64::from_ne_bytes(word)).unwrap_or(usize::MAX)
}

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for item in self.iter() {
            match item {
                Ok(item) => list.entry(&item),
                Err(error) => list.entry(&error),
            };
        }
        list.finish()
    }
}

impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shm.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shm = SharedMemory::deserialize(deserializer)?;
        Self::from_shm(shm).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
