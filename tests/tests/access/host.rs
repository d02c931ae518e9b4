//! A daemon that runs as a chosen user, and clients that are others.

pub(crate) use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{build, eventually, proc, program, skip};
use std::fs::{File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Users and a group that have no entry anywhere.
pub(crate) const ANNE: u32 = 60_001;
pub(crate) const BERT: u32 = 60_002;
/// The user that a throw-away daemon runs as.
pub(crate) const DAEMON: u32 = 60_000;
/// The group of those who may.
pub(crate) const MEMBERS: u32 = 60_100;

pub(crate) const STRANGER: &str = env!("CARGO_BIN_EXE_stranger");

/// Whether a test can run here; says why not.
pub(crate) fn can_be_others() -> bool {
    if !nix::unistd::geteuid().is_root() {
        skip("only root can be somebody else");
        return false;
    }
    let open =
        |path: &Path| path.metadata().is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    if let Some(closed) = Path::new(STRANGER).ancestors().find(|path| !open(path)) {
        skip(&format!("other users cannot go through {}", closed.display()));
        return false;
    }
    true
}

/// A daemon and its folder, which others may enter.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    directory: TempDir,
}

impl Host {
    /// A daemon of this user on a socket that root made and passes on, as systemd does.
    pub(crate) fn activated(uid: u32, arguments: &[&str]) -> Self {
        Self::activated_in("", uid, arguments)
    }

    /// The same, of which each process may have no more than so many descriptors.
    pub(crate) fn narrow(uid: u32, descriptors: u64, arguments: &[&str]) -> Self {
        Self::activated_in(&format!("ulimit -n {descriptors} && "), uid, arguments)
    }

    fn activated_in(before: &str, uid: u32, arguments: &[&str]) -> Self {
        let directory = folder();
        let listener = UnixListener::bind(directory.path().join("mpserverd.sock")).unwrap();
        open_doors(&directory);
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=mpserverd \
                      exec \"$0\" \"$@\"";
        let script = format!("{before}{script}");
        let mut command = program::command("sh", directory.path());
        command.args(["-c", &script]).arg(&build::artifacts().mpserverd).args(arguments);
        command.stdin(Stdio::from(OwnedFd::from(listener)));
        Self::launch(command.uid(uid).gid(uid), directory)
    }

    /// A daemon of this user that makes its socket itself.
    pub(crate) fn own(uid: u32, arguments: &[&str]) -> Self {
        let directory = folder();
        std::os::unix::fs::chown(directory.path(), Some(uid), Some(uid)).unwrap();
        let mut command = program::command(&build::artifacts().mpserverd, directory.path());
        command.args(arguments);
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        Self::launch(&mut command, directory)
    }

    fn launch(command: &mut Command, directory: TempDir) -> Self {
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command.current_dir("/").stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let host = Self { child: child.unwrap(), directory };
        let listens = eventually(PATIENCE, || host.log().contains(" ready"));
        assert!(listens, "{}", host.log());
        host
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory().join("log")).unwrap_or_default()
    }

    /// The client, as this user with this group.
    pub(crate) fn stranger(&self, uid: u32, gid: u32, arguments: &[&str]) -> Command {
        let mut command = program::command(STRANGER, self.directory());
        command.args(arguments).current_dir("/").uid(uid).gid(gid);
        command
    }

    /// `mpctl` as this user with this group.
    pub(crate) fn mpctl(&self, uid: u32, gid: u32, arguments: &[&str]) -> Output {
        let mut command = program::command(&build::artifacts().mpctl, self.directory());
        command.args(arguments).current_dir("/").uid(uid).gid(gid);
        command.output().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log\n{}---", self.log());
        }
        let everybody = proc::descendants(self.pid());
        let left = everybody.into_iter().filter_map(proc::identity).collect::<Vec<_>>();
        let _ = self.child.kill();
        let _ = self.child.wait();
        left.into_iter().for_each(proc::kill_exactly);
    }
}

fn folder() -> TempDir {
    let directory = tempfile::Builder::new().prefix("mpserverd-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Lets everybody connect, as a member of the socket's group could.
fn open_doors(directory: &TempDir) {
    let socket = directory.path().join("mpserverd.sock");
    std::fs::set_permissions(socket, Permissions::from_mode(0o666)).unwrap();
}

/// What a line of `/proc/PID/status` says.
pub(crate) fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {name} in {status}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}
