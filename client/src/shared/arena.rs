//! Arenas: sealed memory with many objects in it, one descriptor for all of them.
//!
//! The first bytes of an arena say what it is; each object has a small header that says what *it*
//! is. A process makes its objects in an arena of its own and reuses a place only if no other
//! process can know it: the object never travelled, and this process has not forked since. All
//! other places return to the system with the whole arena, once no process maps it.
//!
//! A process maps an arena once, however many objects of it arrive: it is known by its inode.

use super::error::ShareError;
use crate::handles::SharedFd;
use crate::sys::identity::{self, Identity};
use crate::sys::mapping::{Mapping, Region, Shared, View, sealed_memory, shared_struct};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// First word of every arena: `"MPARENA1"` in memory order on a little-endian machine.
const MAGIC: u64 = 0x3141_4e45_5241_504d;
/// Bytes of an arena for small objects. Only what is used costs memory.
const ARENA_BYTES: usize = 4 << 20;
/// Objects larger than this get an arena of their own.
const SMALL_BYTES: usize = 64 << 10;
/// Every object begins on a cache line of its own: neighbours do not slow each other down.
pub(super) const ALIGN: usize = 64;
/// Where the first object of an arena lies.
const FIRST: usize = ALIGN;
/// Bytes between an object's header and the object.
pub(super) const HEADER_BYTES: usize = 16;
/// Largest object, in bytes: what fits the address space of every machine we run on.
const OBJECT_BYTES_MAX: usize = 1 << 46;

shared_struct! {
    /// What stands at the beginning of an arena.
    struct ArenaHeader {
        magic: AtomicU64,
        namespace: AtomicU64,
    }
}

shared_struct! {
    /// What stands before an object.
    pub(super) struct ObjectHeader {
        kind: AtomicU32,
        reserved: AtomicU32,
        bytes: AtomicU64,
    }
}

/// An arena that this process maps.
#[derive(Debug)]
pub(crate) struct Arena {
    fd: SharedFd,
    mapping: Arc<Mapping>,
    /// Where new objects go; of the process that made the arena.
    room: Mutex<Room>,
    maker: Identity,
}

#[derive(Debug, Default)]
struct Room {
    next: usize,
    /// Places that nobody else knows, by size.
    free: HashMap<usize, Vec<usize>>,
}

/// Device and inode of an arena.
type Key = (u64, u64);

/// Arenas that this process maps.
static KNOWN: OnceLock<Mutex<HashMap<Key, Weak<Arena>>>> = OnceLock::new();
/// The arena for the next small objects.
static CURRENT: Mutex<Option<Arc<Arena>>> = Mutex::new(None);
/// How often this process has made a copy of itself that shares its arenas.
static FORKS: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known() -> MutexGuard<'static, HashMap<Key, Weak<Arena>>> {
    lock(KNOWN.get_or_init(Mutex::default))
}

/// This process is about to fork: its objects are no longer its own.
pub(crate) fn about_to_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

fn namespace() -> u64 {
    static OWN: OnceLock<u64> = OnceLock::new();
    *OWN.get_or_init(identity::pid_namespace)
}

fn inode(fd: &impl AsFd) -> Option<Key> {
    nix::sys::stat::fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

impl Arena {
    fn create(object: &'static str, bytes: usize) -> Result<Arc<Self>, ShareError> {
        let fd = sealed_memory(bytes).map_err(ShareError::system(object, "memfd_create"))?;
        let key = inode(&fd);
        let mapping = Mapping::of(&fd).map_err(ShareError::system(object, "mmap"))?;
        let mapping = Arc::new(mapping);
        let header = View::<ArenaHeader>::new(&mapping, 0).ok_or(ShareError::Damaged { object })?;
        header.namespace.store(namespace(), Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        let room = Mutex::new(Room { next: FIRST, free: HashMap::new() });
        let maker = Identity::own();
        let arena = Arc::new(Self { fd: SharedFd::from(fd), mapping, room, maker });
        if let Some(key) = key {
            remember(key, &arena);
        }
        Ok(arena)
    }

    /// The arena behind a descriptor that came from another process.
    pub(super) fn attach(object: &'static str, fd: SharedFd) -> Result<Arc<Self>, ShareError> {
        let foreign = |why| ShareError::Foreign { object, why };
        let key = inode(&fd).ok_or(foreign("it cannot be examined"))?;
        if let Some(arena) = known().get(&key).and_then(Weak::upgrade) {
            return Ok(arena);
        }
        let mapping = Mapping::of(&fd).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => foreign("it could shrink"),
            _ => ShareError::System { object, call: "mmap", source: error },
        })?;
        let mapping = Arc::new(mapping);
        let header = View::<ArenaHeader>::new(&mapping, 0).ok_or(foreign("it is too short"))?;
        if header.magic.load(Ordering::Acquire) != MAGIC {
            return Err(foreign("it does not begin like one"));
        }
        if header.namespace.load(Ordering::Relaxed) != namespace() {
            return Err(ShareError::OtherNamespace { object });
        }
        let room = Mutex::new(Room::default());
        // Nobody: this process makes nothing in it.
        let maker = Identity(0);
        let arena = Arc::new(Self { fd, mapping, room, maker });
        Ok(remember(key, &arena))
    }

    /// Finds an object and checks that it is one.
    fn object<T: Shared>(
        &self,
        object: &'static str,
        kind: u32,
        offset: usize,
    ) -> Result<(View<T>, usize), ShareError> {
        let damaged = || ShareError::Damaged { object };
        let header = View::<ObjectHeader>::new(&self.mapping, offset).ok_or_else(damaged)?;
        let bytes = usize::try_from(header.bytes.load(Ordering::Acquire)).map_err(|_| damaged())?;
        if header.kind.load(Ordering::Relaxed) != kind || bytes < size_of::<T>() {
            return Err(damaged());
        }
        let at = offset.checked_add(HEADER_BYTES).ok_or_else(damaged)?;
        Region::new(&self.mapping, at, bytes, 1).ok_or_else(damaged)?;
        Ok((View::new(&self.mapping, at).ok_or_else(damaged)?, bytes))
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        let mut room = lock(&self.room);
        if let Some(offset) = room.free.get_mut(&bytes).and_then(Vec::pop) {
            return Some(offset);
        }
        let offset = room.next;
        let end = offset.checked_add(bytes)?;
        if end > self.mapping.len() {
            return None;
        }
        room.next = end;
        Some(offset)
    }
}

fn remember(key: Key, arena: &Arc<Arena>) -> Arc<Arena> {
    let mut known = known();
    if known.len() >= 64 && known.len() == known.capacity() {
        known.retain(|_, arena| arena.strong_count() > 0);
    }
    if let Some(first) = known.get(&key).and_then(Weak::upgrade) {
        return first;
    }
    known.insert(key, Arc::downgrade(arena));
    arena.clone()
}

/// A place in an arena that one object occupies, in this process.
#[derive(Debug)]
pub(crate) struct Place {
    arena: Arc<Arena>,
    offset: usize,
    /// Bytes that it takes, header included.
    footprint: usize,
    /// What [`FORKS`] was when the object was made; `u64::MAX` once it has travelled.
    private_since: AtomicU64,
}

impl Place {
    /// Room for an object of that many bytes, zeroed, with its header.
    pub(super) fn reserve(
        object: &'static str,
        kind: u32,
        bytes: usize,
    ) -> Result<Self, ShareError> {
        if bytes > OBJECT_BYTES_MAX {
            let what = format!("{bytes} bytes exceed the limit of {OBJECT_BYTES_MAX}");
            return Err(ShareError::Size { object, what });
        }
        let footprint = (HEADER_BYTES + bytes).next_multiple_of(ALIGN);
        let (arena, offset) = if footprint > SMALL_BYTES {
            let arena = Arena::create(object, FIRST + footprint)?;
            (arena, FIRST)
        } else {
            Self::in_current(object, footprint)?
        };
        let header = View::<ObjectHeader>::new(&arena.mapping, offset)
            .ok_or(ShareError::Damaged { object })?;
        header.kind.store(kind, Ordering::Relaxed);
        header.bytes.store(bytes as u64, Ordering::Release);
        let private_since = AtomicU64::new(FORKS.load(Ordering::Relaxed));
        Ok(Self { arena, offset, footprint, private_since })
    }

    fn in_current(
        object: &'static str,
        footprint: usize,
    ) -> Result<(Arc<Arena>, usize), ShareError> {
        let mut current = lock(&CURRENT);
        // In a fork, the arena belongs to the parent, which goes on using it.
        if let Some(arena) = current.as_ref().filter(|arena| arena.maker == Identity::own())
            && let Some(offset) = arena.take(footprint)
        {
            return Ok((arena.clone(), offset));
        }
        let arena = Arena::create(object, ARENA_BYTES)?;
        let offset = arena.take(footprint).ok_or(ShareError::Damaged { object })?;
        *current = Some(arena.clone());
        Ok((arena, offset))
    }

    /// The place that a message names.
    pub(super) fn find(
        object: &'static str,
        fd: SharedFd,
        offset: u64,
    ) -> Result<Self, ShareError> {
        let arena = Arena::attach(object, fd)?;
        let offset = usize::try_from(offset).map_err(|_| ShareError::Damaged { object })?;
        let private_since = AtomicU64::new(u64::MAX);
        Ok(Self { arena, offset, footprint: 0, private_since })
    }

    /// The object at this place, with its size in bytes.
    pub(super) fn object<T: Shared>(
        &self,
        object: &'static str,
        kind: u32,
    ) -> Result<(View<T>, usize), ShareError> {
        self.arena.object(object, kind, self.offset)
    }

    /// What names it in a message. From now on others may know it.
    pub(super) fn travels(&self) -> (SharedFd, u64) {
        self.private_since.store(u64::MAX, Ordering::Relaxed);
        (self.arena.fd.clone(), self.offset as u64)
    }

    /// Whether two places are the same one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.arena, &other.arena) && self.offset == other.offset
    }

    /// Bytes of the object that begin `skip` bytes after its start.
    pub(super) fn bytes(&self, skip: usize, length: usize, align: usize) -> Option<Region> {
        let at = self.offset.checked_add(HEADER_BYTES)?.checked_add(skip)?;
        Region::new(&self.arena.mapping, at, length, align)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let private = *self.private_since.get_mut() == FORKS.load(Ordering::Relaxed)
            && self.arena.maker == Identity::own();
        if private && self.footprint <= SMALL_BYTES {
            if let Some(whole) =
                Region::new(&self.arena.mapping, self.offset, self.footprint, ALIGN)
            {
                whole.clear();
            }
            lock(&self.arena.room).free.entry(self.footprint).or_default().push(self.offset);
        }
    }
}
