//! `SharedMemory`: segments that processes find by name.
//!
//! | file | holds |
//! |---|---|
//! | `names` | how names come and go, and who holds what they name |
//! | `held` | the segments that this process holds, for when it ends |
//!
//! What must never be in here: a helper process, or the removal of a name that somebody uses.

mod held;
pub(super) mod names;

pub(crate) use held::{let_go, somebody_died};

use super::error::ShareError;
use super::plain::Plain;
use crate::handles::{SharedFd, assert_spawning};
use crate::sys::cell::{SharedCell, cells};
use crate::sys::mapping::{Mapping, Region};
use names::OBJECT;
use nix::errno::Errno;
use nix::sys::uio::{pread, pwrite};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::sync::{Arc, OnceLock};

/// A segment of memory with a name, as `multiprocessing.shared_memory.SharedMemory`; the names are
/// those of `shm_open(3)`, so Python programs find ours and we find theirs. Clones are the same
/// segment. It is closed when the last handle of this process is dropped.
///
/// **How long a name lives.** A segment is *tracked* unless it was created
/// [untracked](SharedMemoryOptions::tracked): its name is removed when its last tracked handle in
/// any process is gone, however that ends, and never before (but by [`unlink`](Self::unlink)).
/// Nobody needs to clean up, and nobody takes away what others use. If the last one is killed, the
/// name is removed by whichever process of this user next creates or attaches a segment through
/// this library, or sees a process that it started die; until then it can already neither be
/// attached by us nor is it in the way of a new segment. What Python programs create, and what was
/// created untracked, lives until somebody unlinks it. Python programs do not count as holders of
/// ours.
///
/// **How it is reached.** [`read`](Self::read) and [`write`](Self::write) copy, and ask the system
/// to do it: whatever others do to the segment, they give bytes or an error. [`cells`](Self::cells)
/// gives the memory itself. Any process of this user can make a segment shorter, and touching
/// memory that is gone ends a process with `SIGBUS`: so each call checks that nobody has done that
/// so far ([`ShareError::Truncated`]), and while cells are borrowed, the holders of a segment rely
/// on each other.
///
/// **How it travels.** In arguments, results, items and messages it travels as a descriptor, so it
/// arrives also when its name is gone meanwhile.
///
/// ```
/// use mpserverd_client as mp;
///
/// let segment = mp::SharedMemory::create(None, 4096)?;
/// segment.write(16, b"hello")?;
///
/// let same = mp::SharedMemory::attach(segment.name())?;
/// let mut bytes = [0; 5];
/// same.read(16, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
///
/// let numbers = same.cells::<u64>(1024, 8)?;
/// numbers[7].fetch_add(1);
/// # Ok::<(), mp::ShareError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedMemory {
    segment: Arc<Segment>,
}

/// How a [`SharedMemory`] is created or attached.
#[derive(Clone, Copy, Debug)]
pub struct SharedMemoryOptions {
    tracked: bool,
}

/// A segment that this process has open.
#[derive(Debug)]
struct Segment {
    name: String,
    size: usize,
    fd: SharedFd,
    /// Whether it is held: `fd` has a shared lock.
    tracked: bool,
    region: OnceLock<Region>,
}

impl SharedMemoryOptions {
    /// Whether the handle keeps the name alive and, if it is the last one that does, removes it:
    /// `track` in `multiprocessing`. At creation: whether the segment is one of those whose names
    /// are removed at all. The default is yes.
    #[must_use]
    pub fn tracked(mut self, tracked: bool) -> Self {
        self.tracked = tracked;
        self
    }

    /// See [`SharedMemory::create`].
    ///
    /// # Errors
    /// See there.
    pub fn create(self, name: Option<&str>, size: usize) -> Result<SharedMemory, ShareError> {
        self.create_with(name, size, &[])
    }

    /// The same; who finds the name finds these bytes at the beginning.
    pub(super) fn create_with(
        self,
        name: Option<&str>,
        size: usize,
        bytes: &[u8],
    ) -> Result<SharedMemory, ShareError> {
        names::sweep_in_passing();
        let create = |name: &str| -> Result<SharedMemory, ShareError> {
            let file = names::create(name, size, self.tracked, bytes)?;
            let mut segment = Segment::new(name.to_owned(), file.into(), self.tracked);
            segment.size = size;
            Ok(SharedMemory::hold(segment))
        };
        if let Some(name) = name {
            names::check(name)?;
            return create(name);
        }
        loop {
            let mut random = [0; 8];
            let refused = |error: getrandom::Error| ShareError::System {
                object: OBJECT,
                call: "getrandom",
                source: std::io::Error::other(error),
            };
            getrandom::fill(&mut random).map_err(refused)?;
            let name = format!("mps_{:016x}", u64::from_ne_bytes(random));
            match create(&name) {
                Err(ShareError::AlreadyExists { .. }) => {}
                created => return created,
            }
        }
    }

    /// See [`SharedMemory::attach`].
    ///
    /// # Errors
    /// See there.
    pub fn attach(self, name: &str) -> Result<SharedMemory, ShareError> {
        names::check(name)?;
        names::sweep_in_passing();
        let (file, tracked) = names::attach(name, self.tracked)?;
        // From here on, dropping it removes what nobody else holds.
        let mut segment = Segment::new(name.to_owned(), file.into(), tracked);
        segment.size = names::size(&segment.fd)?;
        Ok(SharedMemory::hold(segment))
    }
}

impl SharedMemory {
    /// How to create or attach otherwise than by default.
    #[must_use]
    pub fn options() -> SharedMemoryOptions {
        SharedMemoryOptions { tracked: true }
    }

    /// Creates a segment of that many bytes, all zeros, readable and writable by this user. Without
    /// a name it gets one that nobody has.
    ///
    /// Its memory is reserved at once: no later write can find that there is none.
    ///
    /// # Errors
    /// [`ShareError::AlreadyExists`]; [`ShareError::Size`] for 0 bytes or more than a file can
    /// have; [`ShareError::Name`] for an empty name, one with a slash or a NUL byte, or one that is
    /// too long; [`ShareError::System`], for want of memory among others.
    pub fn create(name: Option<&str>, size: usize) -> Result<Self, ShareError> {
        Self::options().create(name, size)
    }

    /// Attaches the segment that has this name.
    ///
    /// # Errors
    /// [`ShareError::NotFound`]; [`ShareError::Name`] as for [`create`](Self::create);
    /// [`ShareError::Foreign`] for what is no file, [`ShareError::Size`] for one without bytes;
    /// [`ShareError::System`], for want of permission among others.
    pub fn attach(name: &str) -> Result<Self, ShareError> {
        Self::options().attach(name)
    }

    fn hold(segment: Segment) -> Self {
        let segment = Arc::new(segment);
        if segment.tracked {
            held::remember(&segment);
        }
        Self { segment }
    }

    /// Its name, without a slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.segment.name
    }

    /// Its size in bytes, when it was created or attached.
    #[must_use]
    pub fn size(&self) -> usize {
        self.segment.size
    }

    /// Whether this handle keeps the name alive.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.segment.tracked
    }

    /// Whether both are the same segment.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let inode = |of: &Self| {
            nix::sys::stat::fstat(&of.segment.fd).map(|stat| (stat.st_dev, stat.st_ino)).ok()
        };
        Arc::ptr_eq(&self.segment, &other.segment)
            || inode(self).is_some_and(|own| Some(own) == inode(other))
    }

    /// Where elements that begin at an offset end, in bytes.
    fn span<T: Plain>(&self, offset: usize, length: usize) -> Result<usize, ShareError> {
        let to = length.saturating_mul(size_of::<T>()).saturating_add(offset);
        if to <= self.size() {
            return Ok(to);
        }
        Err(ShareError::OutOfRange { object: OBJECT, from: offset, to, length: self.size() })
    }

    /// Checks that nobody has made it shorter.
    pub(super) fn check(&self) -> Result<(), ShareError> {
        let now = nix::sys::stat::fstat(&self.segment.fd).map_or(0, |stat| stat.st_size);
        let now = u64::try_from(now).unwrap_or(0);
        if now >= self.size() as u64 { Ok(()) } else { Err(self.truncated(now)) }
    }

    fn truncated(&self, now: u64) -> ShareError {
        ShareError::Truncated { object: OBJECT, size: self.size(), now }
    }

    /// Copies bytes or other elements that begin at an offset, in bytes. Whoever writes them at the
    /// same time makes a mixture of old and new.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`] if they are not all inside, [`ShareError::Truncated`] if somebody
    /// has made the segment shorter, [`ShareError::System`].
    pub fn read<T: Plain>(&self, offset: usize, into: &mut [T]) -> Result<(), ShareError> {
        self.span::<T>(offset, into.len())?;
        let (mut at, mut rest) = (offset, bytemuck::cast_slice_mut::<T, u8>(into));
        while !rest.is_empty() {
            match pread(&self.segment.fd, rest, at as i64) {
                Ok(0) => return Err(self.truncated(at as u64)),
                Ok(got) => {
                    at += got;
                    rest = &mut rest[got..];
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(ShareError::system(OBJECT, "pread")(error.into())),
            }
        }
        Ok(())
    }

    /// Replaces bytes or other elements that begin at an offset, in bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write<T: Plain>(&self, offset: usize, from: &[T]) -> Result<(), ShareError> {
        self.span::<T>(offset, from.len())?;
        // A write would make it longer again.
        self.check()?;
        let (mut at, mut rest) = (offset, bytemuck::cast_slice::<T, u8>(from));
        while !rest.is_empty() {
            match pwrite(&self.segment.fd, rest, at as i64) {
                Ok(done) => {
                    at += done;
                    rest = &rest[done..];
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(ShareError::system(OBJECT, "pwrite")(error.into())),
            }
        }
        Ok(())
    }

    /// The memory itself, as so many elements that begin at an offset, in bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`ShareError::Size`] for an offset that does not fit the alignment
    /// of the elements.
    pub fn cells<T: Plain>(
        &self,
        offset: usize,
        length: usize,
    ) -> Result<&[SharedCell<T>], ShareError> {
        const { super::plain::check::<T>() };
        self.span::<T>(offset, length)?;
        cells(self.region()?, offset, length).ok_or_else(|| {
            let name = std::any::type_name::<T>();
            let what = format!("no `{name}` can begin at byte {offset}: it would not be aligned");
            ShareError::Size { object: OBJECT, what }
        })
    }

    /// The memory itself, once it is known to be all there.
    pub(super) fn region(&self) -> Result<&Region, ShareError> {
        self.check()?;
        if let Some(region) = self.segment.region.get() {
            return Ok(region);
        }
        // A mapping keeps the opening that it was made from, and so its lock: it gets one without.
        let file = names::reopen(&self.segment.fd).map_err(ShareError::system(OBJECT, "open"))?;
        let mapping =
            Mapping::of_stable(&file, self.size()).map_err(ShareError::system(OBJECT, "mmap"))?;
        let region = Region::new(&Arc::new(mapping), 0, self.size(), 1)
            .ok_or(ShareError::Damaged { object: OBJECT })?;
        Ok(self.segment.region.get_or_init(|| region))
    }

    /// Gives up this handle. The same as dropping it.
    pub fn close(self) {}

    /// Removes the name. Whoever has the segment keeps it; nobody finds it any more.
    ///
    /// # Errors
    /// [`ShareError::NotFound`] if the name is gone already, or that of another segment by now;
    /// [`ShareError::System`].
    pub fn unlink(&self) -> Result<(), ShareError> {
        names::unlink_used(&self.segment.name, &self.segment.fd)
    }
}

impl Segment {
    fn new(name: String, fd: SharedFd, tracked: bool) -> Self {
        Self { name, size: 0, fd, tracked, region: OnceLock::new() }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if !self.tracked {
            return;
        }
        // Another opening, whose lock is its own; then this one lets go.
        let Ok(again) = names::reopen(&self.fd) else { return };
        let Ok(placeholder) = again.try_clone() else { return };
        self.fd = SharedFd::from(placeholder);
        names::remove_if_alone(&self.name, &again);
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_spawning(OBJECT).map_err(S::Error::custom)?;
        let segment = &*self.segment;
        (&segment.fd, &segment.name, segment.tracked).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fd, name, tracked) = <(SharedFd, String, bool)>::deserialize(deserializer)?;
        names::check(&name).map_err(D::Error::custom)?;
        let tracked = names::adopt(&fd, tracked).map_err(D::Error::custom)?;
        let mut segment = Segment::new(name, fd, tracked);
        segment.size = names::size(&segment.fd).map_err(D::Error::custom)?;
        Ok(Self::hold(segment))
    }
}

#[cfg(test)]
mod tests;
