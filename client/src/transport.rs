//! The local socket: where it is, and how to bind and connect to it whatever its path's length.

use interprocess::ConnectWaitMode;
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, Listener, ListenerOptions, Stream,
};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use nix::sys::socket::{getsockopt, sockopt};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest path that `sockaddr_un` holds with its NUL (`unix(7)`).
const SUN_PATH_MAX: usize = 107;
/// Longest file name that still fits behind `/proc/self/fd/NUMBER/`.
const NAME_MAX: usize = SUN_PATH_MAX - "/proc/self/fd/2147483647/".len();

/// A path that the kernel takes, and the directory that must stay open meanwhile.
pub(crate) struct Short {
    pub(crate) path: PathBuf,
    _directory: Option<OwnedFd>,
}

/// Makes a path short enough for a socket address, by way of its directory's descriptor.
pub(crate) fn shorten(path: &Path) -> io::Result<Short> {
    if path.as_os_str().len() <= SUN_PATH_MAX {
        return Ok(Short { path: path.to_owned(), _directory: None });
    }
    let name = path.file_name().unwrap_or(OsStr::new(""));
    if name.len() > NAME_MAX {
        let what =
            format!("socket name of {} bytes is too long, the limit is {NAME_MAX}", name.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    let directory = crate::sys::fd::directory(parent)?;
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok(Short { path, _directory: Some(directory) })
}

/// Connects, with a deadline for a daemon whose backlog is full.
pub(crate) fn connect(path: &Path, deadline: Instant) -> io::Result<OwnedFd> {
    let short = shorten(path)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let name = short.path.as_os_str().to_fs_name::<GenericFilePath>()?;
        let options = ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Timeout(left));
        match options.connect_sync() {
            // The copy has a number above those of the standard streams.
            Ok(Stream::UdSocket(stream)) => return stream.as_fd().try_clone_to_owned(),
            // A full backlog: the daemon is busy, not gone.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && left > Duration::from_millis(1) =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Binds and listens, with these permissions.
///
/// The path must not exist. The file is not removed when the listener is dropped: whoever bound it
/// decides when it is stale.
///
/// # Errors
/// As `bind(2)`; `InvalidInput` for a file name that no socket address holds.
pub fn listen(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let short = shorten(path)?;
    let name = short.path.as_os_str().to_fs_name::<GenericFilePath>()?;
    let options = ListenerOptions::new().name(name).reclaim_name(false).mode(mode);
    let Listener::UdSocket(listener) = options.create_sync()?;
    listener.as_fd().try_clone_to_owned()
}

/// The uid of whoever is on the other end of a connected socket.
///
/// # Errors
/// As `getsockopt(2)`.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?.uid())
}

/// Environment variable that names a uid of which a daemon is trusted, beside this user's and
/// root's.
pub const TRUST_VARIABLE: &str = "MPSERVERD_TRUST_UID";

/// Whether a daemon that listens as this user may have this program's work.
///
/// A socket that the system's manager has made shows root, whoever serves it.
pub(crate) fn trusts(uid: u32) -> bool {
    let named = || std::env::var(TRUST_VARIABLE).is_ok_and(|text| text.parse() == Ok(uid));
    uid == 0 || uid == nix::unistd::geteuid().as_raw() || named()
}

/// Environment variable that names the daemon's socket.
pub const SOCKET_VARIABLE: &str = "MPSERVERD_SOCKET";

/// Where the daemon of this user listens, unless told otherwise.
///
/// `$XDG_RUNTIME_DIR/mpserverd/mpserverd.sock`; without that variable `/run/user/UID`, if it
/// exists, or a directory of this user in `/tmp`. For root: below `/run`.
#[must_use]
pub fn default_socket() -> PathBuf {
    socket_below(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn socket_below(runtime: Option<PathBuf>) -> PathBuf {
    let uid = nix::unistd::geteuid();
    // A relative one is to be ignored, says the XDG base directory specification; the daemon does.
    let directory = match runtime.filter(|directory| directory.is_absolute()) {
        Some(directory) => directory.join("mpserverd"),
        None if uid.is_root() => PathBuf::from("/run/mpserverd"),
        None => {
            let run = PathBuf::from(format!("/run/user/{uid}"));
            if run.is_dir() {
                run.join("mpserverd")
            } else {
                PathBuf::from(format!("/tmp/mpserverd-{uid}"))
            }
        }
    };
    directory.join("mpserverd.sock")
}

/// The system's own daemon.
pub const SYSTEM_SOCKET: &str = "/run/mpserverd/mpserverd.sock";

/// Where to look for a daemon, in order: the path given, or the environment's; otherwise this
/// user's and the system's.
#[must_use]
pub fn candidates(explicit: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    if let Some(path) = std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let mut paths = vec![default_socket(), PathBuf::from(SYSTEM_SOCKET)];
    paths.dedup();
    paths
}

/// A path out of the bytes that a message carries.
pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Whether anybody listens there.
#[must_use]
pub fn answers(path: &Path) -> bool {
    match connect(path, Instant::now() + Duration::from_millis(100)) {
        Ok(_) => true,
        // A listener whose backlog is full listens all the same.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_comes_first() {
        let below = |runtime: &str| socket_below(Some(runtime.into()));
        assert_eq!(below("/run/user/7"), Path::new("/run/user/7/mpserverd/mpserverd.sock"));
        let without = socket_below(None);
        assert!(without.is_absolute() && without.ends_with("mpserverd.sock"), "{without:?}");
        assert_eq!(below("a/relative/one"), without);
    }
}
