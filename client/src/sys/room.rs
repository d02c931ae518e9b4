//! Room for messages that are large: in huge pages, where the system has them.
//!
//! Contract: advice only. The memory is the vector's own, and nothing in it changes.

/// From so much on it pays, and the heap is not fragmented by it.
const LEAST: usize = 4 << 20;
/// Huge pages begin at multiples of this on every machine that has any.
const ALIGN: usize = 2 << 20;

/// Asks for huge pages in the room that a vector has left: a fault for two megabytes costs little
/// more than one for four kilobytes.
pub(crate) fn prefer_huge(bytes: &mut Vec<u8>) {
    let room = bytes.spare_capacity_mut();
    let start = room.as_mut_ptr();
    let skip = start.addr().next_multiple_of(ALIGN) - start.addr();
    let length = room.len().saturating_sub(skip) & !(ALIGN - 1);
    if length >= LEAST {
        // SAFETY: the range lies within the vector's room, and the advice changes no byte of it.
        unsafe { libc::madvise(start.add(skip).cast(), length, libc::MADV_HUGEPAGE) };
    }
}
