//! What surroundings a configuration is read in, and where the socket is if nobody says so.

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
pub use mp::transport::{SOCKET_VARIABLE, default_socket};

pub use mp::module_path::VARIABLE as MODULE_PATH_VARIABLE;

/// Names the socket.
#[cfg(not(target_os = "linux"))]
pub const SOCKET_VARIABLE: &str = "MPSERVERD_SOCKET";

/// What the process found when it started. A reload uses the same, so that relative paths keep
/// their meaning after the daemon has left its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The directory that relative paths of the command line start from.
    #[serde(with = "crate::state::path")]
    pub directory: PathBuf,
    /// `MPSERVERD_SOCKET`.
    pub socket: Option<OsString>,
    /// `MPSERVERD_MODULE_PATH`.
    pub module_path: Option<OsString>,
    /// Where the socket is if nobody says so.
    #[serde(with = "crate::state::path")]
    pub default_socket: PathBuf,
    /// The user that the daemon runs as.
    pub uid: u32,
}

impl Environment {
    /// The surroundings of this process.
    pub fn current() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            socket: variable(SOCKET_VARIABLE),
            module_path: variable(MODULE_PATH_VARIABLE),
            default_socket: default_socket(),
            uid: own_uid(),
        }
    }

    /// A path made independent of the current directory.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        let joined = self.directory.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

#[cfg(unix)]
fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Users have no numbers here.
#[cfg(not(unix))]
fn own_uid() -> u32 {
    0
}

/// Where the socket would be. No daemon runs here yet.
#[cfg(not(target_os = "linux"))]
pub fn default_socket() -> PathBuf {
    if cfg!(windows) {
        let user = std::env::var("USERNAME").unwrap_or_else(|_| "default".to_owned());
        PathBuf::from(format!(r"\\.\pipe\mpserverd-{user}"))
    } else {
        std::env::temp_dir().join("mpserverd").join("mpserverd.sock")
    }
}

/// The socket of a daemon that lives only as long as one command.
pub(super) fn private_socket(default: &Path) -> PathBuf {
    default.with_file_name(format!("run-{}.sock", std::process::id()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_private_socket_stands_beside_the_others() {
        let socket = Path::new("/run/user/7/mpserverd/mpserverd.sock");
        let private = private_socket(socket);
        assert_eq!(private.parent(), socket.parent());
        assert_ne!(private, socket);
    }

    #[test]
    fn relative_paths_start_from_the_first_directory() {
        let place = Environment { directory: "/srv".into(), ..Environment::default() };
        assert_eq!(place.absolute(Path::new("./a/b")), Path::new("/srv/a/b"));
        assert_eq!(place.absolute(Path::new("/a")), Path::new("/a"));
    }
}
