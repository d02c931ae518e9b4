//! Shared mappings of sealed memfds, and views of what lies in them.
//!
//! Contract: a mapping is made only of a regular file that is sealed against shrinking, so no
//! access within its length can fault. Every offset is checked against that length before it
//! becomes a pointer. A [`View`] is of a type that is [`Shared`]: atomics only, any bit pattern
//! valid, so whatever another process scribbles there is a strange value and nothing worse. Plain
//! bytes are copied in and out ([`Region`]); references to them are given out by those functions
//! alone whose callers vouch that nobody writes meanwhile.

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::io;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
};

/// Types that may be viewed in memory which other processes change at any time.
///
/// # Safety
/// `repr(C)` or an atomic itself, valid for every bit pattern, made of atomics only, and without
/// a destructor.
pub(crate) unsafe trait Shared: Sync {}

macro_rules! atomics_are_shared {
    ($($atomic:ty),+) => {
        $(
            // SAFETY: an atomic of plain integers.
            unsafe impl Shared for $atomic {}
        )+
    };
}
atomics_are_shared!(AtomicU8, AtomicU16, AtomicU32, AtomicU64);
atomics_are_shared!(AtomicI8, AtomicI16, AtomicI32, AtomicI64);

// SAFETY: an array is what its elements are.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Defines a struct whose fields are all [`Shared`], so that it is too.
macro_rules! shared_struct {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $kind:ty,)+
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug)]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $kind,)+
        }

        const _: () = {
            const fn field<T: $crate::sys::mapping::Shared>() {}
            $(field::<$kind>();)+
            assert!(!std::mem::needs_drop::<$name>());
        };
        #[allow(unsafe_code, reason = "checked field by field above")]
        // SAFETY: repr(C), and the block above has checked every field.
        unsafe impl $crate::sys::mapping::Shared for $name {}
    };
}
pub(crate) use shared_struct;

/// A shared mapping; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the mapping, not to a thread; access goes through atomics or
// through functions whose callers vouch for it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// A nameless file of that many zero bytes, sealed against any change of its length.
pub(crate) fn sealed_memory(length: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = super::fd::above_standard(memfd_create(c"mpserverd", flags)?)?;
    let signed = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    nix::unistd::ftruncate(&fd, signed)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

impl Mapping {
    /// Maps a whole sealed memfd.
    ///
    /// # Errors
    /// As `mmap(2)`; `InvalidData` for a file that is not sealed against shrinking.
    pub(crate) fn of(fd: &impl AsFd) -> io::Result<Self> {
        let foreign = || io::Error::new(io::ErrorKind::InvalidData, "not a sealed memfd");
        let seals = fcntl(fd, FcntlArg::F_GET_SEALS).map_err(|_| foreign())?;
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK) {
            return Err(foreign());
        }
        let stat = nix::sys::stat::fstat(fd)?;
        let length = usize::try_from(stat.st_size).map_err(|_| foreign())?;
        if length == 0 {
            return Err(foreign());
        }
        Self::of_stable(fd, length)
    }

    /// Maps the first `length` bytes of a file that somebody else keeps from shrinking.
    pub(crate) fn of_stable(fd: &impl AsFd, length: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                fd.as_fd().as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Gives the memory of a range back to the system; it reads as zeros afterwards. Page
    /// granular, best effort.
    pub(crate) fn release(&self, range: Range<usize>) {
        const PAGE: usize = 4096;
        let from = range.start.next_multiple_of(PAGE);
        let to = range.end.min(self.length) / PAGE * PAGE;
        if from < to {
            // SAFETY: the range lies inside the mapping; its contents are given up by the caller.
            unsafe {
                let address = self.base.as_ptr().add(from);
                libc::madvise(address.cast(), to - from, libc::MADV_REMOVE);
            }
        }
    }

    fn check(&self, offset: usize, length: usize, align: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(length)?;
        if end > self.length || !offset.is_multiple_of(align) {
            return None;
        }
        // SAFETY: offset is within the mapping.
        Some(unsafe { self.base.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping; views keep it alive by their `Arc`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// A `T` in a mapping, which it keeps alive.
pub(crate) struct View<T: Shared> {
    mapping: Arc<Mapping>,
    at: NonNull<T>,
}

// SAFETY: `T: Shared` is `Sync`, and a view is a shared reference with its owner.
unsafe impl<T: Shared> Send for View<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for View<T> {}

impl<T: Shared> View<T> {
    /// Views the bytes at an offset; `None` outside the mapping or unaligned.
    pub(crate) fn new(mapping: &Arc<Mapping>, offset: usize) -> Option<Self> {
        let at = mapping.check(offset, size_of::<T>(), align_of::<T>())?.cast();
        Some(Self { mapping: mapping.clone(), at })
    }
}

impl<T: Shared> Deref for View<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: checked for bounds and alignment when made; `Shared` types are valid for any
        // bits; the mapping lives as long as the view.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Shared> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { mapping: self.mapping.clone(), at: self.at }
    }
}

impl<T: Shared> std::fmt::Debug for View<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View<{}>", std::any::type_name::<T>())
    }
}

/// Bytes in a mapping, which it keeps alive.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    mapping: Arc<Mapping>,
    base: NonNull<u8>,
    length: usize,
    _bytes: PhantomData<[AtomicU8]>,
}

// SAFETY: as for `Mapping`.
unsafe impl Send for Region {}
// SAFETY: as for `Mapping`.
unsafe impl Sync for Region {}

impl Region {
    /// So many bytes at an offset, aligned to `align`; `None` if they are not all inside.
    pub(crate) fn new(
        mapping: &Arc<Mapping>,
        offset: usize,
        length: usize,
        align: usize,
    ) -> Option<Self> {
        let base = mapping.check(offset, length, align)?;
        Some(Self { mapping: mapping.clone(), base, length, _bytes: PhantomData })
    }

    /// Its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The first so many bytes and the rest; `None` if there are fewer.
    pub(crate) fn split_at(&self, at: usize) -> Option<(Self, Self)> {
        let rest = self.length.checked_sub(at)?;
        // SAFETY: `at` is within the region, or its end.
        let middle = unsafe { self.base.add(at) };
        let part = |base, length| Self {
            mapping: self.mapping.clone(),
            base,
            length,
            _bytes: PhantomData,
        };
        Some((part(self.base, at), part(middle, rest)))
    }

    /// Gives the memory of a range back to the system, as [`Mapping::release`].
    pub(crate) fn release(&self, range: Range<usize>) {
        // SAFETY: both point into the same mapping; the base is not below its beginning.
        let before = unsafe { self.base.offset_from(self.mapping.base) } as usize;
        let end = range.end.min(self.length);
        self.mapping.release(before + range.start.min(end)..before + end);
    }

    /// Copies bytes out. Whoever writes at the same time makes a mixture of old and new.
    ///
    /// # Panics
    /// If the range is not inside.
    #[inline]
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(offset.checked_add(into.len()).is_some_and(|end| end <= self.length));
        // SAFETY: inside the region, as just checked; `into` is memory of this process alone, so
        // the two do not overlap. Bytes have no invalid values.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.base.as_ptr().add(offset),
                into.as_mut_ptr(),
                into.len(),
            );
        }
    }

    /// Appends `length` bytes at `offset` to a vector, without zeroing them first.
    ///
    /// # Panics
    /// If the range is not inside.
    #[inline]
    pub(crate) fn append_to(&self, offset: usize, length: usize, into: &mut Vec<u8>) {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.length));
        into.reserve(length);
        // SAFETY: inside the region, as just checked; the vector has room for `length` more.
        unsafe {
            let end = into.as_mut_ptr().add(into.len());
            std::ptr::copy_nonoverlapping(self.base.as_ptr().add(offset), end, length);
            into.set_len(into.len() + length);
        }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// If the range is not inside.
    #[inline]
    pub(crate) fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset.checked_add(from.len()).is_some_and(|end| end <= self.length));
        // SAFETY: inside the region, as just checked; `from` is memory of this process alone.
        unsafe {
            std::ptr::copy_nonoverlapping(
                from.as_ptr(),
                self.base.as_ptr().add(offset),
                from.len(),
            );
        }
    }

    /// Sets all bytes to zero.
    pub(crate) fn clear(&self) {
        // SAFETY: the whole region.
        unsafe { std::ptr::write_bytes(self.base.as_ptr(), 0, self.length) };
    }

    /// The bytes as a table of entries, as many as fit; none if they are not aligned for them.
    #[inline]
    pub(crate) fn entries<T: Shared>(&self) -> &[T] {
        const { assert!(size_of::<T>() > 0) };
        let at = self.base.cast::<T>();
        let count = if at.is_aligned() { self.length / size_of::<T>() } else { 0 };
        // SAFETY: so many fit into the region and are aligned; `Shared` types are valid for any
        // bits; the region keeps the memory.
        unsafe { std::slice::from_raw_parts(at.as_ptr(), count) }
    }

    /// A `T` that begins at an offset; `None` if it is not all inside, or unaligned.
    #[inline]
    pub(crate) fn at<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.length {
            return None;
        }
        // SAFETY: inside the region, as just checked.
        let at = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: inside and aligned; `Shared` types are valid for any bits; the region keeps the
        // memory for as long as it is borrowed.
        at.addr().is_multiple_of(align_of::<T>()).then(|| unsafe { &*at.cast::<T>() })
    }

    /// Where they lie, for the fences that lend plain references.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn bounds_are_checked() {
        let fd = sealed_memory(4096).expect("memfd");
        let mapping = Arc::new(Mapping::of(&fd).expect("maps"));
        assert!(View::<AtomicU64>::new(&mapping, 4088).is_some());
        for offset in [4089, 4090, 4096, 1, usize::MAX, usize::MAX - 7] {
            assert!(View::<AtomicU64>::new(&mapping, offset).is_none(), "{offset}");
        }
        assert!(Region::new(&mapping, 1, 4095, 1).is_some());
        assert!(Region::new(&mapping, 1, 4096, 1).is_none());
        assert!(Region::new(&mapping, usize::MAX, 2, 1).is_none());
    }

    #[test]
    fn two_mappings_of_one_file_are_one_memory() {
        let fd = sealed_memory(8192).expect("memfd");
        let [one, two] = [0; 2].map(|_| Arc::new(Mapping::of(&fd).expect("maps")));
        let word = View::<AtomicU32>::new(&one, 4096).expect("inside");
        word.store(7, Ordering::Relaxed);
        let again = View::<AtomicU32>::new(&two, 4096).expect("inside");
        assert_eq!(again.load(Ordering::Relaxed), 7);
        one.release(0..8192);
        assert_eq!(again.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_could_shrink_is_refused() {
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        assert!(Mapping::of(&null).is_err());
        let plain = memfd_create(c"plain", MFdFlags::MFD_CLOEXEC).expect("memfd");
        nix::unistd::ftruncate(&plain, 4096).expect("length");
        assert!(Mapping::of(&plain).is_err());
    }
}
