//! Where a listener is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a [`Listener`](super::Listener) is, or who has called it.
///
/// What `multiprocessing` tells by the type of an address, this does too: a pair of host and port
/// is TCP, a text a path; one that begins with a NUL is an abstract name (Linux), one that begins
/// with two backslashes a named pipe (Windows).
///
/// ```
/// use mpserverd_client::Address;
///
/// assert_eq!(Address::from(("localhost", 80)), Address::Tcp("localhost".into(), 80));
/// assert_eq!(Address::from("/run/x"), Address::Path("/run/x".into()));
/// assert_eq!(Address::from("\0x"), Address::Abstract(b"x".to_vec()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Address {
    /// A Unix socket, of whatever length its path is.
    Path(PathBuf),
    /// A Unix socket with a name that is in no file system; it is given without the NUL.
    Abstract(Vec<u8>),
    /// A host, by name or number, and a port.
    Tcp(String, u16),
    /// A named pipe of Windows.
    Pipe(String),
    /// A caller that has no address: most clients of Unix sockets.
    Unnamed,
}

/// Which kind of address a listener shall have that is given none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A Unix socket in a new directory that only this user can enter.
    Unix,
    /// A free port of the loopback interface.
    Inet,
    /// A named pipe.
    Pipe,
}

impl Default for Family {
    fn default() -> Self {
        if cfg!(windows) { Self::Pipe } else { Self::Unix }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        match text.strip_prefix('\0') {
            Some(name) => Self::Abstract(name.as_bytes().to_vec()),
            None if text.starts_with(r"\\") => Self::Pipe(text.to_owned()),
            None => Self::Path(text.into()),
        }
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&PathBuf> for Address {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

impl<T: Into<String>> From<(T, u16)> for Address {
    fn from((host, port): (T, u16)) -> Self {
        Self::Tcp(host.into(), port)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Pipe(name) => f.write_str(name),
            Self::Unnamed => f.write_str("an unnamed socket"),
        }
    }
}
