//! Descriptors: pairs, pipes, memfds, and the ranges that a fork closes.
//!
//! Contract: every function that returns an `OwnedFd` returns one that nobody else owns and that
//! is close-on-exec. None of them has the number of a standard stream, even in a process that has
//! closed those: a worker would take it for one.

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A connected pair of `SOCK_SEQPACKET` sockets: message boundaries, and EOF when a side dies.
///
/// # Errors
/// As `socketpair(2)`.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((above_standard(ours)?, above_standard(theirs)?))
}

/// A pipe: read end, write end.
///
/// # Errors
/// As `pipe2(2)`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok((above_standard(read)?, above_standard(write)?))
}

/// Takes the next caller of a socket that listens.
///
/// # Errors
/// As `accept4(2)`.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let raw = nix::sys::socket::accept4(listener.as_raw_fd(), flags)?;
    // SAFETY: the kernel just made this descriptor for us.
    above_standard(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Duplicates a descriptor to the lowest free number from `least` on.
///
/// # Errors
/// As `fcntl(2)`.
pub fn duplicate_from(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: fcntl just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Moves a descriptor to a number of at least `least`.
///
/// # Errors
/// As `fcntl(2)`; the descriptor is closed then.
pub fn raise(fd: OwnedFd, least: RawFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= least { Ok(fd) } else { duplicate_from(fd.as_fd(), least) }
}

/// Moves a descriptor out of the way of the standard streams.
///
/// # Errors
/// As `fcntl(2)`; the descriptor is closed then.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    raise(fd, 3)
}

/// Makes standard stream `number` refer to what `source` refers to; it survives exec.
///
/// # Errors
/// As `dup2(2)`.
pub fn install_standard(source: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    debug_assert!((0..=2).contains(&number));
    // SAFETY: dup2 has no memory effects; numbers 0..=2 are the standard streams, which no
    // `OwnedFd` of this process owns.
    match unsafe { libc::dup2(source.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Closes all descriptors from `first` to `last`, both included.
///
/// Used by a child right after fork, for the numbers that its parent's runtime uses.
///
/// # Safety
/// No live `OwnedFd` (or other owner) of this process may have a number in the range, unless it
/// is never used or dropped again.
pub(crate) unsafe fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: the caller vouches for the range. A failure (kernel before 5.9) leaves
        // close-on-exec descriptors open, which is all we can do there.
        unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0u32) };
    }
}

/// Closes what exec let through: everything above the standard streams that is not close-on-exec.
///
/// Without `/proc` nothing is closed.
///
/// # Safety
/// Called at the start of a program: no live `OwnedFd` (or other owner) may have such a
/// descriptor.
pub(crate) unsafe fn close_survivors() {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect::<Vec<_>>();
    for number in numbers.into_iter().filter(|number: &RawFd| *number > 2) {
        // SAFETY: F_GETFD only reads the descriptor table.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags != -1 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: the caller vouches that nobody owns it.
            unsafe { close_range(number, number) };
        }
    }
}

/// Lets no descriptor from this number on survive an exec.
///
/// # Errors
/// As `close_range(2)`; a kernel without it (before 5.11) is asked for each descriptor by itself.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed; only flags are set.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 {
        return Ok(());
    }
    let numbers = std::fs::read_dir("/proc/self/fd")?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|number| *number >= first) {
        // SAFETY: F_SETFD closes nothing. A number that was closed meanwhile is an error that
        // changes nothing.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Whether a descriptor of that number is open.
#[must_use]
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD only reads the descriptor table.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Borrows one of the standard streams, if it is open.
#[must_use]
pub fn standard(number: RawFd) -> Option<BorrowedFd<'static>> {
    debug_assert!((0..=2).contains(&number));
    // SAFETY: it is open now; nobody in this process owns (so closes) a standard stream.
    is_open(number).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// A sealed memfd with these bytes, nameless and unchangeable.
///
/// # Errors
/// As `memfd_create(2)` and `write(2)`.
pub fn sealed_memfd(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = std::fs::File::from(memfd_create(c"mpserverd", flags)?);
    for part in parts {
        file.write_all(part)?;
    }
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Reads `length` bytes of a memfd from its start. A peer's memfd that is shorter than it claims,
/// or not a regular file at all, is an error.
///
/// # Errors
/// `InvalidData`, or as `pread(2)`.
pub fn read_memfd(fd: &OwnedFd, length: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(fd.try_clone()?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a memfd of the length given"));
    }
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(length, 0);
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Reads what there is, at most `most` bytes and what `bytes` has room for, and appends it; nothing
/// is zeroed. 0 is the end.
///
/// # Errors
/// As `read(2)`.
pub(crate) fn append(fd: BorrowedFd<'_>, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let before = bytes.len();
    let room = bytes.spare_capacity_mut();
    let most = most.min(room.len());
    loop {
        // SAFETY: the kernel writes at most `most` bytes to the spare room, which has them.
        let got = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), most) };
        if let Ok(got) = usize::try_from(got) {
            // SAFETY: so many bytes from the start of the spare room on are written now.
            unsafe { bytes.set_len(before + got) };
            return Ok(got);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// What a number refers to when what it belonged to is closed before its owner goes: nothing that
/// can be read, written or waited for.
fn nowhere() -> Option<BorrowedFd<'static>> {
    static NOWHERE: std::sync::OnceLock<OwnedFd> = std::sync::OnceLock::new();
    if let Some(known) = NOWHERE.get() {
        return Some(known.as_fd());
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open("/", flags, nix::sys::stat::Mode::empty()).ok();
    match opened.and_then(|fd| above_standard(fd).ok()) {
        Some(fd) => Some(NOWHERE.get_or_init(|| fd).as_fd()),
        // The table is full. Nobody uses the number for anything but to give it back.
        None => (0..=2).find_map(standard),
    }
}

/// Closes what a descriptor refers to while its owner, and whoever borrows it, keeps the number.
/// Calls of other threads that are under way go on with what it referred to.
pub(crate) fn hollow_out(fd: BorrowedFd<'_>) {
    if let Some(nowhere) = nowhere() {
        cover(nowhere, fd.as_raw_fd());
    }
}

/// The current directory, as a descriptor that `fchdir(2)` takes; works for a deleted one too.
///
/// # Errors
/// As `open(2)`.
pub fn current_directory() -> io::Result<OwnedFd> {
    directory(std::path::Path::new("."))
}

/// A directory, as a descriptor that `fchdir(2)` takes.
///
/// # Errors
/// As `open(2)`.
pub fn directory(path: &std::path::Path) -> io::Result<OwnedFd> {
    use nix::sys::stat::Mode;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    above_standard(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Makes a descriptor (non-)blocking.
///
/// # Errors
/// As `fcntl(2)`.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let wanted = if on { flags | OFlag::O_NONBLOCK } else { flags - OFlag::O_NONBLOCK };
    if wanted != flags {
        fcntl(fd, FcntlArg::F_SETFL(wanted))?;
    }
    Ok(())
}

/// Makes a descriptor that others own refer to what `source` refers to, close-on-exec. The number
/// stays valid for its owner.
pub(crate) fn cover(source: BorrowedFd<'_>, number: RawFd) {
    // SAFETY: dup3 has no memory effects; the number is open before and after, so its owner still
    // owns exactly one open descriptor.
    unsafe { libc::dup3(source.as_raw_fd(), number, libc::O_CLOEXEC) };
}
