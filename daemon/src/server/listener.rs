//! The socket file, its lock, and accepting.
//!
//! Beside the socket lies a lock file that a living daemon holds: only who has the lock may
//! replace a socket file, so a stale one is replaced and a live daemon's never is.

pub(super) mod carry;

use super::activation::ActivationError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{SockFlag, accept4};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long no connection is accepted after descriptors ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another daemon is alive.
    #[error(
        "another mpserverd{} serves {} already; stop it, or choose another --socket",
        named(.pid.as_deref()),
        .path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
        /// Its pid, as it wrote it beside the socket.
        pid: Option<String>,
    },
    /// The path is something else.
    #[error("{} exists and is not a socket; remove it, or choose another --socket", .0.display())]
    NotASocket(PathBuf),
    /// Somebody who is not an mpserverd listens there.
    #[error("another program listens on {}; stop it, or choose another --socket", .0.display())]
    Foreign(PathBuf),
    /// The directory is not safe.
    #[error("{} belongs to uid {owner}, not to this user: choose another --socket", .directory.display())]
    ForeignDirectory {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The supervisor passed something else than a socket for clients.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The system refused.
    #[error("cannot listen on {}: {what}: {source}{}", .path.display(), remedy(source))]
    System {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn named(pid: Option<&str>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// The listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    lock: Option<(Flock<File>, PathBuf)>,
    retry_at: Option<Instant>,
}

impl Listener {
    /// Makes the directory if need be, takes the lock, replaces a stale socket, listens. A shared
    /// one is for everybody to connect to: who is served the daemon decides by credentials. A socket
    /// that a supervisor passed in is taken as it is.
    pub(super) fn open(
        path: &Path,
        shared: bool,
        passed: Option<(OwnedFd, Option<PathBuf>)>,
    ) -> Result<Self, ListenError> {
        if let Some((socket, bound)) = passed {
            let path = bound.unwrap_or_else(|| path.to_owned());
            // It listens already. To listen again would make clients believe that the socket is the
            // daemon's user's, whom they have no reason to trust, and not the supervisor's.
            let prepared = mp::sys::fd::set_nonblocking(socket.as_fd(), true);
            prepared.map_err(failed(&path, "use the socket that was passed in"))?;
            return Ok(Self { socket, path, lock: None, retry_at: None });
        }
        make_directory(path, if shared { 0o711 } else { 0o700 })?;
        let lock = take_lock(path)?;
        remove_stale(path)?;
        let socket = mp::transport::listen(path, 0o600).map_err(failed(path, "bind"))?;
        if shared {
            let everybody = fs::set_permissions(path, Permissions::from_mode(0o666));
            everybody.map_err(failed(path, "open the socket to others"))?;
        }
        prepare(&socket).map_err(failed(path, "listen"))?;
        Ok(Self { socket, path: path.to_owned(), lock: Some(lock), retry_at: None })
    }

    /// Where clients find it: as configured, or as a supervisor has bound it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// When to watch it again, after a pause.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Pauses: the table of descriptors is full.
    pub(super) fn pause(&mut self) {
        self.retry_at = Some(Instant::now() + PAUSE);
    }

    /// True once a pause is over; it is over then.
    pub(super) fn resume(&mut self) -> bool {
        let over = self.retry_at.is_some_and(|at| at <= Instant::now());
        if over {
            self.retry_at = None;
        }
        over
    }

    /// The next connection that waits.
    pub(super) fn accept(&self) -> Result<OwnedFd, Errno> {
        let raw =
            accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
        Ok(own(raw))
    }
}

/// Takes ownership of what `accept4` returned.
#[allow(unsafe_code, reason = "nix still returns a bare number here")]
fn own(raw: i32) -> OwnedFd {
    // SAFETY: accept4 just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A socket that a supervisor passed in is the supervisor's.
        if let Some((_lock, lock_path)) = self.lock.take() {
            let _ = fs::remove_file(&self.path);
            let _ = fs::remove_file(lock_path);
        }
    }
}

/// What to do where the folder is the trouble.
fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem | StorageFull | QuotaExceeded => {
            "; choose another --socket (or MPSERVERD_SOCKET), in a folder that can be written"
        }
        _ => "",
    }
}

fn failed(path: &Path, what: &'static str) -> impl Fn(io::Error) -> ListenError {
    let path = path.to_owned();
    move |source| ListenError::System { path: path.clone(), what, source }
}

fn prepare(socket: &OwnedFd) -> io::Result<()> {
    use nix::sys::socket::{Backlog, listen};
    listen(socket, Backlog::new(BACKLOG)?)?;
    mp::sys::fd::set_nonblocking(socket.as_fd(), true)
}

/// Makes the socket's directory, which only this user changes; refuses one of another user.
fn make_directory(path: &Path, mode: u32) -> Result<(), ListenError> {
    let Some(directory) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) else {
        return Ok(());
    };
    if !directory.exists() {
        let made = DirBuilder::new().recursive(true).mode(mode).create(directory);
        made.map_err(failed(path, "make the directory"))?;
    }
    let metadata = fs::metadata(directory).map_err(failed(path, "look at the directory"))?;
    let (owner, own) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    // Whoever owns the directory can replace the socket. A sticky one (like /tmp) is safe.
    if owner != own && owner != 0 && own != 0 && metadata.mode() & 0o1000 == 0 {
        return Err(ListenError::ForeignDirectory { directory: directory.to_owned(), owner });
    }
    Ok(())
}

/// Takes the lock beside the socket, or says who has it.
fn take_lock(path: &Path) -> Result<(Flock<File>, PathBuf), ListenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    loop {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(path, "open the lock file"))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((file, Errno::EWOULDBLOCK)) => {
                return Err(ListenError::Taken { path: path.to_owned(), pid: holder(&file) });
            }
            Err((_, errno)) => return Err(failed(path, "lock")(errno.into())),
        };
        // A daemon that just stopped may have removed the file that we locked.
        let ours = lock.metadata().map(|m| (m.dev(), m.ino())).ok();
        let there = fs::metadata(&lock_path).map(|m| (m.dev(), m.ino())).ok();
        if ours.is_some() && ours == there {
            sign(&lock).map_err(failed(path, "write the lock file"))?;
            return Ok((lock, lock_path));
        }
    }
}

/// Writes who holds the lock into its file, padded to what any pid takes, so that nobody reads a part
/// of two pids.
fn sign(mut file: &File) -> io::Result<()> {
    use std::io::{Seek, Write};
    file.rewind()?;
    file.write_all(format!("{:<10}\n", std::process::id()).as_bytes())
}

/// Who holds the lock, if he has written it.
fn holder(mut file: &File) -> Option<String> {
    use std::io::Read;
    let mut text = [0; 10];
    file.read_exact(&mut text).ok()?;
    let pid = std::str::from_utf8(&text).ok()?.trim();
    pid.parse::<u32>().ok().map(|pid| pid.to_string())
}

/// Removes the socket file of a daemon that died. Called with the lock held.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, "look at the path")(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    // A daemon has the lock; a program that is no mpserverd may listen all the same.
    if mp::transport::answers(path) {
        return Err(ListenError::Foreign(path.to_owned()));
    }
    fs::remove_file(path).map_err(failed(path, "remove the stale socket"))
}
