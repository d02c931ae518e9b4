//! Names of segments: how they come and go, and who holds what they name.
//!
//! A **tracked** segment is a file with exactly the mode `01600` (the sticky bit means nothing on
//! files, so it serves as the mark). Whoever uses one holds a shared `flock(2)` on it, which the
//! kernel releases when the last descriptor of that opening is closed, by death too; descriptors
//! in flight count. So *a tracked segment that can be locked alone has no user*, and whoever finds
//! one removes its name. There is no helper process and no list that could be wrong.
//!
//! Why no race loses a name that is in use, or removes another's:
//!
//! - A segment gets its size, its mark and its creator's lock while it has no name; the name comes
//!   last, by `linkat(2)`, which never replaces another.
//! - Who attaches opens, locks, and only then looks whether the name still means this file.
//! - A name is removed by somebody who has its segment alone, or who holds it and has also a
//!   record lock that excludes the other holders. So between his last look at the name and its
//!   removal nobody of this library can have removed it, and so nobody can have made it anew.
//!
//! What must never be in here: a wait, or what is in a segment.

use crate::shared::ShareError;
use crate::sys::flock;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, lstat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where `shm_open(3)` has its names.
const DIRECTORY: &str = "/dev/shm";
/// For errors.
pub(crate) const OBJECT: &str = "SharedMemory";
/// Permissions: those that `multiprocessing` gives.
const MODE: u32 = 0o600;
/// Permissions of a tracked segment.
const MODE_TRACKED: u32 = 0o1600;
/// So often somebody else may be faster before it is called an error.
const TRIES: usize = 64;
/// Between two looks at all names by those who only pass by.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

fn path(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

fn system(call: &'static str) -> impl Fn(Errno) -> ShareError {
    move |errno| ShareError::System { object: OBJECT, call, source: errno.into() }
}

/// Whether a segment can have that name.
pub(super) fn check(name: &str) -> Result<(), ShareError> {
    let why = match name {
        "" => "a name must not be empty",
        "." | ".." => "that is a directory",
        _ if name.contains('\0') => "a name must not contain a NUL byte",
        _ if name.contains('/') => "a name must not contain a slash",
        _ if name.len() > 255 => "a name has at most 255 bytes",
        _ => return Ok(()),
    };
    Err(ShareError::Name { object: OBJECT, name: name.to_owned(), why })
}

fn missing(name: &str) -> ShareError {
    ShareError::NotFound { object: OBJECT, name: name.to_owned() }
}

fn is_file(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Whether it is a tracked segment of this user.
fn is_tracked(stat: &FileStat) -> bool {
    is_file(stat) && stat.st_mode & 0o7777 == MODE_TRACKED && stat.st_uid == geteuid().as_raw()
}

/// Whether the name means this very file.
fn means(name: &str, file: &impl AsFd) -> bool {
    let (Ok(there), Ok(here)) = (lstat(&path(name)), fstat(file)) else { return false };
    (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
}

fn unlink(name: &str) -> nix::Result<()> {
    unlinkat(AT_FDCWD, &path(name), UnlinkatFlags::NoRemoveDir)
}

fn open_named(name: &str) -> nix::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let fd = open(&path(name), flags, Mode::empty())?;
    Ok(File::from(crate::sys::fd::above_standard(fd).map_err(|_| Errno::EMFILE)?))
}

/// Another opening of the same file, whose locks are its own.
pub(super) fn reopen(file: &impl AsFd) -> io::Result<File> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    File::options().read(true).write(true).open(link)
}

/// Makes a segment of that many bytes, these first and then zeros, for which there is memory from
/// now on.
pub(super) fn create(
    name: &str,
    size: usize,
    tracked: bool,
    bytes: &[u8],
) -> Result<File, ShareError> {
    let length = i64::try_from(size).ok().filter(|length| *length > 0);
    let length = length.ok_or_else(|| {
        let what = format!("a segment cannot have {size} bytes");
        ShareError::Size { object: OBJECT, what }
    })?;
    let exists = || ShareError::AlreadyExists { object: OBJECT, name: name.to_owned() };
    // Looked at first, so that no memory is reserved in vain.
    if lstat(&path(name)).is_ok() && !remove_unused(name) {
        return Err(exists());
    }
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = open(DIRECTORY, flags, Mode::from_bits_truncate(MODE)).map_err(system("open"))?;
    let fd = crate::sys::fd::above_standard(fd).map_err(ShareError::system(OBJECT, "dup"))?;
    let file = File::from(fd);
    reserve(&file, length)?;
    file.write_all_at(bytes, 0).map_err(ShareError::system(OBJECT, "pwrite"))?;
    if tracked {
        flock::share(&file).map_err(ShareError::system(OBJECT, "flock"))?;
    }
    let mode = if tracked { MODE_TRACKED } else { MODE };
    fchmod(&file, Mode::from_bits_truncate(mode)).map_err(system("fchmod"))?;
    let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    for _ in 0..TRIES {
        match linkat(AT_FDCWD, &link, AT_FDCWD, &path(name), AtFlags::AT_SYMLINK_FOLLOW) {
            Ok(()) => return Ok(file),
            Err(Errno::EEXIST) if remove_unused(name) => {}
            Err(Errno::EEXIST) => break,
            Err(errno) => return Err(system("linkat")(errno)),
        }
    }
    Err(exists())
}

/// Takes the memory now: a write that finds none later would end the process with `SIGBUS`.
fn reserve(file: &File, length: i64) -> Result<(), ShareError> {
    loop {
        match nix::fcntl::posix_fallocate(file, 0, length) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(system("posix_fallocate")(errno)),
        }
    }
}

/// Opens a segment; tells whether it is held now, which it is only if it is tracked and that is
/// wanted.
pub(super) fn attach(name: &str, tracked: bool) -> Result<(File, bool), ShareError> {
    for _ in 0..TRIES {
        let file = match open_named(name) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Err(missing(name)),
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => {
                return Err(foreign("the name is not that of a file"));
            }
            Err(errno) => return Err(system("open")(errno)),
        };
        let stat = fstat(&file).map_err(system("fstat"))?;
        if !is_file(&stat) {
            return Err(foreign("the name is not that of a file"));
        }
        if !is_tracked(&stat) {
            return Ok((file, false));
        }
        if remove_if_alone(name, &file) {
            continue;
        }
        if !tracked {
            return Ok((file, false));
        }
        // Otherwise somebody is just removing it.
        let held = flock::share(&file).map_err(ShareError::system(OBJECT, "flock"))?;
        if held && means(name, &file) {
            return Ok((file, true));
        }
    }
    Err(missing(name))
}

fn foreign(why: &'static str) -> ShareError {
    ShareError::Foreign { object: OBJECT, why }
}

/// Checks that a descriptor from a message is a segment that one may use; gives its size, and
/// whether it is held now.
pub(super) fn adopt(fd: &impl AsFd, tracked: bool) -> Result<bool, ShareError> {
    let stat = fstat(fd).map_err(system("fstat"))?;
    let home = lstat(DIRECTORY).map_err(system("stat"))?;
    if !is_file(&stat) || stat.st_dev != home.st_dev {
        return Err(foreign("it is no segment"));
    }
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).map_err(system("fcntl"))?);
    if flags & OFlag::O_ACCMODE != OFlag::O_RDWR {
        return Err(foreign("it cannot be read and written"));
    }
    // The sender's lock came with the descriptor; this one is for those who send without.
    Ok(tracked && is_tracked(&stat) && flock::share(fd).unwrap_or(false))
}

/// The size of a segment; one without bytes is none (yet).
pub(super) fn size(fd: &impl AsFd) -> Result<usize, ShareError> {
    let length = fstat(fd).map_err(system("fstat"))?.st_size;
    match usize::try_from(length) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(ShareError::Size { object: OBJECT, what: format!("it has {length} bytes") }),
    }
}

/// Removes the name of a segment that this process uses.
pub(super) fn unlink_used(name: &str, used: &impl AsFd) -> Result<(), ShareError> {
    let file = reopen(used).map_err(ShareError::system(OBJECT, "open"))?;
    let stat = fstat(&file).map_err(system("fstat"))?;
    // Whoever has it alone is just removing the name.
    if is_tracked(&stat) && !flock::share(&file).unwrap_or(false) {
        return Err(missing(name));
    }
    let whole = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // Another holder is doing the same.
    if fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).is_err() || !means(name, &file) {
        return Err(missing(name));
    }
    match unlink(name) {
        Ok(()) => Ok(()),
        Err(Errno::ENOENT) => Err(missing(name)),
        Err(errno) => Err(system("unlink")(errno)),
    }
}

/// Removes a name if nobody uses its segment, which this opening of it must not do either. Says
/// whether nobody does.
pub(super) fn remove_if_alone(name: &str, file: &File) -> bool {
    let alone = flock::alone(file).unwrap_or(false);
    if alone && means(name, file) {
        // If the system refuses, the next one tries.
        let _ = unlink(name);
    }
    alone
}

/// Removes a name if it is that of a tracked segment which nobody uses; says whether it was.
fn remove_unused(name: &str) -> bool {
    let Ok(file) = open_named(name) else { return false };
    fstat(&file).is_ok_and(|stat| is_tracked(&stat)) && remove_if_alone(name, &file)
}

/// Removes the names of all tracked segments that nobody uses.
pub(super) fn sweep() {
    for entry in std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        // Names that are no text are none of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if lstat(&path(&name)).is_ok_and(|stat| is_tracked(&stat)) {
            remove_unused(&name);
        }
    }
}

/// The same, unless this process has just done so.
pub(super) fn sweep_in_passing() {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    // Somebody is at it, or was when this process forked.
    let Ok(mut last) = LAST.try_lock() else { return };
    if last.is_none_or(|last| last.elapsed() >= SWEEP_EVERY) {
        *last = Some(Instant::now());
        sweep();
    }
}
