//! What a task tries from inside, and what it is told.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What came of each attempt: 0, or the error's number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    pub(crate) read: i32,
    pub(crate) list: i32,
    pub(crate) write: i32,
    pub(crate) truncate: i32,
    pub(crate) remove: i32,
    pub(crate) exec: i32,
    pub(crate) connect: i32,
    pub(crate) unix: i32,
    pub(crate) peek: i32,
    pub(crate) unshare: i32,
}

pub(crate) fn number<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// A place to try things: a folder outside of `/tmp` with the files `secret` and `old`, and
/// somebody who listens.
pub(crate) struct Place {
    folder: TempDir,
    listener: TcpListener,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Some tests replace `/tmp`, and this must stay where it is.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let in_tmp = target.starts_with("/tmp") || target.starts_with("/var/tmp");
        let home = if in_tmp { Path::new("/dev/shm") } else { target };
        let made = tempfile::Builder::new().prefix("sandbox-").tempdir_in(home);
        let place = Self {
            folder: made.expect("a folder"),
            listener: TcpListener::bind("127.0.0.1:0").expect("a port"),
        };
        place.fill();
        place
    }

    /// Puts the files there, again.
    pub(crate) fn fill(&self) {
        std::fs::write(self.path().join("secret"), "secret").expect("a file");
        std::fs::write(self.path().join("old"), "old").expect("a file");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The arguments of [`attempt`].
    pub(crate) fn arguments(&self) -> (PathBuf, u16) {
        let port = self.listener.local_addr().expect("an address").port();
        (self.path().to_owned(), port)
    }
}

/// Tries everything in this folder, and to reach this port.
#[mp::task]
pub(crate) fn attempt(folder: PathBuf, port: u16) -> Attempts {
    all(&folder, port)
}

pub(crate) fn all(folder: &Path, port: u16) -> Attempts {
    let mut byte = [0u8];
    let source = [7u8];
    let remote = RemoteIoVec { base: source.as_ptr() as usize, len: 1 };
    let me = nix::unistd::Pid::this();
    #[allow(clippy::disallowed_methods, reason = "that is what is tested")]
    let exec = std::process::Command::new("/bin/true").status();
    let file = |name: &str| folder.join(name);
    let unix = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let peek = process_vm_readv(me, &mut [IoSliceMut::new(&mut byte)], &[remote]);
    let unshare = nix::sched::unshare(nix::sched::CloneFlags::empty());
    Attempts {
        read: number(std::fs::read(file("secret"))),
        list: number(std::fs::read_dir(folder)),
        write: number(std::fs::write(file("new"), "new")),
        truncate: number(nix::unistd::truncate(&file("old"), 0).map_err(io::Error::from)),
        remove: number(std::fs::remove_file(file("old"))),
        exec: number(exec),
        connect: number(TcpStream::connect(("127.0.0.1", port))),
        unix: number(unix.map_err(io::Error::from)),
        peek: number(peek.map_err(io::Error::from)),
        unshare: number(unshare.map_err(io::Error::from)),
    }
}

/// Whether this system can confine a worker so; if not, says why the test is skipped.
pub(crate) fn can(ctx: &mp::Context, sandbox: mp::Sandbox) -> bool {
    let place = Place::new();
    let process = ctx.process::<attempt>(place.arguments()).sandbox(sandbox).start().unwrap();
    match mpserverd_tests::suite::outcome(&process) {
        Err(mp::ProcessError::Rejected(error @ mp::JobError::SandboxUnsupported { .. })) => {
            mpserverd_tests::skip(&error.to_string());
            false
        }
        _ => true,
    }
}
