//! How a `ShareableList` lies in its segment. Numbers are those of the machine.
//!
//! ```text
//! offset   0  magic, "MPSLIST1"
//!          8  pid namespace of the processes that may use it: their deaths must be visible
//!         16  how many items
//!         24  reserved, 0
//!         32  a table, for each item: u64 offset of its record, u64 capacity in bytes
//!  (16 × n)   the records, each aligned to 16 bytes:
//!               u64 turn, u64 lock of the writers (see `twin`), then two copies of
//!                 u32 kind, u32 reserved, u64 length, and as many bytes as the capacity is
//! ```
//!
//! Lengths are explicit, so bytes may end with zeros and text may have any characters. The table
//! never changes; what a hostile process writes there is checked at each access, and so are kinds
//! and lengths.

use super::item::ListItem;
use crate::shared::ShareError;

/// Bytes of a number.
pub(super) const WORD: usize = 8;
/// `"MPSLIST1"` in memory order on a little-endian machine.
pub(super) const MAGIC: u64 = 0x3154_5349_4c53_504d;
/// Bytes before the table.
pub(super) const HEADER: usize = 32;
/// Bytes of the table for each item.
pub(super) const ENTRY: usize = 16;
/// Alignment of records and copies.
const ALIGN: usize = 16;
/// Bytes before the copies of a record.
pub(super) const RECORD: usize = 16;
/// Bytes before the bytes of a copy.
pub(super) const COPY: usize = 16;
/// Most items of a list: a hostile number must not make anybody count for ever.
pub(super) const ITEMS_MAX: usize = 1 << 24;

/// What kind of item it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Tag {
    None = 0,
    Bool = 1,
    Int = 2,
    Float = 3,
    Str = 4,
    Bytes = 5,
}

impl Tag {
    pub(super) fn of(bits: u32) -> Option<Self> {
        let all = [Self::None, Self::Bool, Self::Int, Self::Float, Self::Str, Self::Bytes];
        all.into_iter().find(|tag| *tag as u32 == bits)
    }
}

/// Room that an item gets for itself and all that will ever take its place: for text and bytes up
/// to the next multiple of eight, as in `multiprocessing`.
pub(super) fn capacity(item: &ListItem) -> usize {
    match item {
        ListItem::Str(text) => (text.len() / WORD + 1) * WORD,
        ListItem::Bytes(bytes) => (bytes.len() / WORD + 1) * WORD,
        ListItem::None | ListItem::Bool(_) | ListItem::Int(_) | ListItem::Float(_) => WORD,
    }
}

/// Bytes from one copy to the next; `None` for more than there can be.
pub(super) fn stride(capacity: usize) -> Option<usize> {
    capacity.checked_add(COPY)?.checked_next_multiple_of(ALIGN)
}

/// Bytes of a record; `None` for more than there can be.
pub(super) fn record(capacity: usize) -> Option<usize> {
    stride(capacity)?.checked_mul(2)?.checked_add(RECORD)
}

/// A copy of an item, without the room behind it.
pub(super) fn copy(item: &ListItem) -> Vec<u8> {
    let (tag, bytes) = item.encode();
    let mut copy = Vec::with_capacity(COPY + bytes.len());
    copy.extend((tag as u32).to_ne_bytes());
    copy.extend(0u32.to_ne_bytes());
    copy.extend((bytes.len() as u64).to_ne_bytes());
    copy.extend(bytes);
    copy
}

/// A whole list.
pub(super) fn image(items: &[ListItem], namespace: u64) -> Result<Vec<u8>, ShareError> {
    let size = |what: &str| ShareError::Size { object: super::OBJECT, what: what.to_owned() };
    if items.len() > ITEMS_MAX {
        return Err(size("a list has at most 16777216 items"));
    }
    let mut table = Vec::with_capacity(items.len());
    let mut end = HEADER + items.len() * ENTRY;
    for item in items {
        let capacity = capacity(item);
        table.push((end, capacity));
        let next = record(capacity).and_then(|record| end.checked_add(record));
        end = next.ok_or_else(|| size("the items exceed memory"))?;
    }
    let mut image = Vec::new();
    image.try_reserve_exact(end).map_err(|_| size("the items exceed memory"))?;
    for word in [MAGIC, namespace, items.len() as u64, 0] {
        image.extend(word.to_ne_bytes());
    }
    for (offset, capacity) in &table {
        image.extend((*offset as u64).to_ne_bytes());
        image.extend((*capacity as u64).to_ne_bytes());
    }
    for ((offset, _), item) in table.into_iter().zip(items) {
        image.resize(offset + RECORD, 0);
        image.extend(copy(item));
    }
    image.resize(end, 0);
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_those_of_the_reference() {
        for (item, room) in [
            (ListItem::None, 8),
            (ListItem::from(""), 8),
            (ListItem::from("1234567"), 8),
            (ListItem::from("12345678"), 16),
            (ListItem::from("ü"), 8),
            (ListItem::from([0; 16]), 24),
        ] {
            assert_eq!(capacity(&item), room, "{item:?}");
        }
    }

    #[test]
    fn records_are_aligned_and_inside() {
        let items = [ListItem::from("x"), ListItem::from(vec![7; 100]), ListItem::None];
        let image = image(&items, 5).expect("fits");
        let word = |at: usize| u64::from_ne_bytes(image[at..at + 8].try_into().unwrap());
        assert_eq!((word(0), word(8), word(16)), (MAGIC, 5, 3));
        let mut end = HEADER + 3 * ENTRY;
        for at in 0..3 {
            let (offset, capacity) = (word(HEADER + at * ENTRY), word(HEADER + at * ENTRY + 8));
            assert_eq!(offset as usize, end);
            assert!(offset.is_multiple_of(16));
            end += record(capacity as usize).unwrap();
        }
        assert_eq!(end, image.len());
        assert_eq!(stride(usize::MAX), None);
        assert_eq!(record(usize::MAX / 2), None);
    }
}
