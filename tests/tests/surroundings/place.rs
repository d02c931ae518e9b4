//! A folder with the programs under test and a daemon, started in whatever way a test wants.

use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{build, eventually, proc, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A folder that everybody may read, with a `run` in it that everybody may write.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
}

#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    // Nothing of whoever runs the tests is to be seen: no daemon, no supervisor, no home.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("mpserverd-").tempdir().unwrap();
        let place = Self { folder };
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(&place.path(""), 0o755);
        fs::create_dir(place.path("run")).unwrap();
        open(&place.path("run"), 0o1777);
        let built = build::artifacts();
        for program in [&built.mpserverd, &built.mpctl] {
            let copy = place.path("").join(program.file_name().unwrap());
            // A home of root may be closed to others: the programs must lie here.
            if fs::hard_link(program, &copy).is_err() {
                mpserverd_tests::program::copy(program, &copy);
            }
        }
        place
    }

    /// A path below.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the daemon listens unless a test says otherwise.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run").join("socket")
    }

    /// A daemon with these arguments, not started yet.
    pub(crate) fn daemon(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path("mpserverd"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    /// A daemon that is started by a script of the shell, in mounts of its own: `"$@"` is its
    /// command line. `None`, with the reason printed, where that is not allowed.
    pub(crate) fn daemon_in_mounts(&self, script: &str, arguments: &[&str]) -> Option<Command> {
        let allowed = command("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
        if !allowed.is_ok_and(|status| status.success()) {
            skip("mounts of its own need root");
            return None;
        }
        let mut command = command("unshare");
        let script = format!("set -e\n{script}\nexec \"$@\"");
        command.args(["-m", "sh", "-c", &script, "sh"]);
        command.arg(self.path("mpserverd")).arg("--socket").arg(self.socket()).args(arguments);
        command.current_dir(self.path(""));
        Some(command)
    }

    /// Starts what a test has prepared, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(&self, command: Command) -> Running<'_> {
        self.start_at(command, &self.socket())
    }

    /// The same, for a daemon with another socket.
    #[track_caller]
    pub(crate) fn start_at(&self, mut command: Command, socket: &Path) -> Running<'_> {
        let child = command.spawn().unwrap();
        let mut running = Running { place: self, child, socket: socket.to_owned() };
        let up = eventually(PATIENCE, || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            running.mpctl(&["ping"]).status.success()
        });
        assert!(up, "it does not answer");
        running
    }
}

/// A daemon that runs. Dropped, all of it is killed.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    place: &'a Place,
    child: Child,
    socket: PathBuf,
}

impl Running<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `mpctl` with these arguments.
    pub(crate) fn mpctl(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.place.path("mpctl"));
        command.arg("--socket").arg(&self.socket).args(arguments).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).output().unwrap()
    }

    /// Workers can be had.
    #[track_caller]
    pub(crate) fn works(&self) {
        let output = self.mpctl(&["bench", "--starts", "5"]);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Ends it by SIGTERM, and gives its exit code.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM).unwrap();
        let mut status = None;
        let ended = eventually(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "it does not end");
        status.and_then(|status| status.code())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let below = proc::descendants(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in below.into_iter().filter_map(proc::identity) {
            proc::kill_exactly(process);
        }
        for pid in proc::mentioning(&self.place.path("")) {
            proc::identity(pid).into_iter().for_each(proc::kill_exactly);
        }
    }
}

/// What a program said on both its outputs.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
