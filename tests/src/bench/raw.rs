//! The primitives of the system, shared between processes, without anything of ours.
//!
//! Contract: this is the only file of the benchmarks with `unsafe`. An object lies at the beginning
//! of a memfd that nobody shrinks. It is made by `new`, before anybody else has the descriptor,
//! and `of` gets a descriptor only from the `new` of the same type (whoever sends one says which
//! it is, in the same enum). Nothing destroys an object: its memory goes with the last process
//! that maps it. A mutex is released in the function that took it, by the same thread.

use serde::{Deserialize, Serialize};
use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A `T` in memory that processes share; unmapped when dropped.
#[derive(Debug)]
struct Mapped<T> {
    fd: mp::SharedFd,
    at: NonNull<T>,
}

impl<T> Mapped<T> {
    /// All zeros.
    fn zeroed() -> io::Result<Self> {
        // SAFETY: the name is a string that outlives the call.
        let fd = unsafe { libc::memfd_create(c"raw".as_ptr(), libc::MFD_CLOEXEC) };
        check(fd)?;
        // SAFETY: a new descriptor that nobody else knows.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: no memory is involved.
        check(unsafe { libc::ftruncate(fd.as_raw_fd(), size_of::<T>() as libc::off_t) })?;
        Self::of(fd.into())
    }

    fn of(fd: mp::SharedFd) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let raw = fd.as_fd().as_raw_fd();
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), size_of::<T>(), protection, libc::MAP_SHARED, raw, 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { fd, at })
    }
}

impl<T> Deref for Mapped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: page-aligned and large enough; the types below are valid when all zeros, and
        // made of atomics or of cells whose contents the system's own functions change.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing refers to any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<T>()) };
    }
}

fn check(code: i32) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the functions of pthreads return.
fn check_code(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// An object as it travels to another process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ticket(mp::SharedFd);

macro_rules! object {
    ($(#[$meta:meta])* $name:ident($kind:ty)) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name(Mapped<$kind>);

        impl $name {
            /// The one that came from another process.
            ///
            /// # Errors
            /// It cannot be mapped.
            pub fn of(ticket: Ticket) -> io::Result<Self> {
                Mapped::of(ticket.0).map(Self)
            }

            /// Itself, for another process.
            #[must_use]
            pub fn ticket(&self) -> Ticket {
                Ticket(self.0.fd.clone())
            }
        }
    };
}

object! {
    /// `pthread_mutex_t`, process-shared.
    Mutex(UnsafeCell<libc::pthread_mutex_t>)
}

impl Mutex {
    /// A new one, in its first state.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(robust: bool) -> io::Result<Self> {
        let mutex = Self(Mapped::zeroed()?);
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are initialised first; nobody else knows the mutex yet.
        unsafe {
            check_code(libc::pthread_mutexattr_init(attributes))?;
            let shared = libc::PTHREAD_PROCESS_SHARED;
            check_code(libc::pthread_mutexattr_setpshared(attributes, shared))?;
            if robust {
                let robust = libc::PTHREAD_MUTEX_ROBUST;
                check_code(libc::pthread_mutexattr_setrobust(attributes, robust))?;
            }
            check_code(libc::pthread_mutex_init(mutex.0.get(), attributes))?;
            check_code(libc::pthread_mutexattr_destroy(attributes))?;
        }
        Ok(mutex)
    }

    /// Takes it, does something, releases it.
    ///
    /// # Errors
    /// What the system said.
    #[inline]
    pub fn with<R>(&self, run: impl FnOnce() -> R) -> io::Result<R> {
        // SAFETY: `new` has initialised it.
        check_code(unsafe { libc::pthread_mutex_lock(self.0.get()) })?;
        let result = run();
        // SAFETY: as above; this thread holds it.
        check_code(unsafe { libc::pthread_mutex_unlock(self.0.get()) })?;
        Ok(result)
    }
}

object! {
    /// `sem_t`, process-shared.
    Semaphore(UnsafeCell<libc::sem_t>)
}

impl Semaphore {
    /// A new one, in its first state.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(value: u32) -> io::Result<Self> {
        let semaphore = Self(Mapped::zeroed()?);
        // SAFETY: nobody else knows the semaphore yet.
        check(unsafe { libc::sem_init(semaphore.0.get(), 1, value) })?;
        Ok(semaphore)
    }

    /// Takes a permit and gives it back.
    ///
    /// # Errors
    /// What the system said.
    #[inline]
    pub fn acquire_and_release(&self) -> io::Result<()> {
        // SAFETY: `new` has initialised it.
        check(unsafe { libc::sem_wait(self.0.get()) })?;
        // SAFETY: as above.
        check(unsafe { libc::sem_post(self.0.get()) })
    }
}

object! {
    /// `pthread_barrier_t`, process-shared.
    Barrier(UnsafeCell<libc::pthread_barrier_t>)
}

impl Barrier {
    /// A new one, in its first state.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(parties: u32) -> io::Result<Self> {
        let barrier = Self(Mapped::zeroed()?);
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are initialised first; nobody else knows the barrier yet.
        unsafe {
            check_code(libc::pthread_barrierattr_init(attributes))?;
            let shared = libc::PTHREAD_PROCESS_SHARED;
            check_code(libc::pthread_barrierattr_setpshared(attributes, shared))?;
            check_code(libc::pthread_barrier_init(barrier.0.get(), attributes, parties))?;
            check_code(libc::pthread_barrierattr_destroy(attributes))?;
        }
        Ok(barrier)
    }

    /// Waits for the others.
    ///
    /// # Errors
    /// What the system said.
    #[inline]
    pub fn wait(&self) -> io::Result<()> {
        // SAFETY: `new` has initialised it.
        match unsafe { libc::pthread_barrier_wait(self.0.get()) } {
            libc::PTHREAD_BARRIER_SERIAL_THREAD => Ok(()),
            code => check_code(code),
        }
    }
}

/// A word with a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Line<T>(T);

object! {
    /// Two words to sleep on, `futex(2)`: one for each direction.
    Words([Line<AtomicU32>; 2])
}

impl Words {
    /// A new one, in its first state.
    ///
    /// # Errors
    /// What the system said.
    pub fn new() -> io::Result<Self> {
        Mapped::zeroed().map(Self)
    }

    /// Sets a word that was not set, and wakes who sleeps on it.
    ///
    /// # Errors
    /// What the system said.
    #[inline]
    pub fn set(&self, at: usize) -> io::Result<()> {
        let word = &self.0[at].0;
        word.store(1, Ordering::Release);
        // SAFETY: the kernel uses the word as an address only.
        check(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) } as i32)
    }

    /// Sleeps until a word is set, and clears it.
    #[inline]
    pub fn await_and_clear(&self, at: usize) {
        let word = &self.0[at].0;
        while word.swap(0, Ordering::Acquire) == 0 {
            let no_time = std::ptr::null::<libc::timespec>();
            // SAFETY: the word outlives the call. However it ends, the next look tells.
            unsafe {
                libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, no_time);
            }
        }
    }
}

object! {
    /// An atomic number.
    Counter(AtomicU64)
}

impl Counter {
    /// A new one, in its first state.
    ///
    /// # Errors
    /// What the system said.
    pub fn new() -> io::Result<Self> {
        Mapped::zeroed().map(Self)
    }

    /// Adds to it; gives what it was.
    #[inline]
    pub fn add(&self, value: u64) -> u64 {
        self.0.fetch_add(value, Ordering::AcqRel)
    }
}

// SAFETY: the objects are made for threads and processes that use them at once.
unsafe impl<T> Send for Mapped<T> {}
