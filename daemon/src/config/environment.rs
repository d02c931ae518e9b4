//! What surroundings a configuration is read in, and where the socket is if nobody says so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names the socket, for clients and daemon alike.
pub const SOCKET_VARIABLE: &str = "MPSERVERD_SOCKET";

/// Names folders of modules, separated like `PATH`.
pub const MODULE_PATH_VARIABLE: &str = "MPSERVERD_MODULE_PATH";

/// What the process found when it started. A reload uses the same, so that relative paths keep
/// their meaning after the daemon has left its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The directory that relative paths of the command line start from.
    pub directory: PathBuf,
    /// `MPSERVERD_SOCKET`.
    pub socket: Option<OsString>,
    /// `MPSERVERD_MODULE_PATH`.
    pub module_path: Option<OsString>,
    /// Where the socket is if nobody says so.
    pub default_socket: PathBuf,
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
        }
    }

    /// A path made independent of the current directory.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        let joined = self.directory.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

/// Where the socket is if nobody says so.
pub fn default_socket() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    platform_socket(runtime.filter(|dir| dir.is_absolute()))
}

#[cfg(unix)]
fn platform_socket(runtime: Option<PathBuf>) -> PathBuf {
    let uid = nix::unistd::geteuid();
    let dir = if let Some(dir) = runtime {
        dir.join("mpserverd")
    } else if uid.is_root() {
        PathBuf::from("/run/mpserverd")
    } else {
        let dir = PathBuf::from(format!("/run/user/{uid}"));
        if dir.is_dir() {
            dir.join("mpserverd")
        } else {
            PathBuf::from(format!("/tmp/mpserverd-{uid}"))
        }
    };
    dir.join("mpserverd.sock")
}

#[cfg(not(unix))]
fn platform_socket(_runtime: Option<PathBuf>) -> PathBuf {
    let user = std::env::var("USERNAME").unwrap_or_else(|_| "default".to_owned());
    PathBuf::from(format!(r"\\.\pipe\mpserverd-{user}"))
}

/// The socket of a daemon that lives only as long as one command.
pub(super) fn private_socket(default: &Path) -> PathBuf {
    default.with_file_name(format!("run-{}.sock", std::process::id()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_comes_first() {
        let socket = platform_socket(Some("/run/user/7".into()));
        assert_eq!(socket, Path::new("/run/user/7/mpserverd/mpserverd.sock"));
        let socket = platform_socket(None);
        assert!(socket.is_absolute() && socket.ends_with("mpserverd.sock"), "{socket:?}");
        let private = private_socket(&socket);
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
