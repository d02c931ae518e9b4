//! A machine that runs a real systemd: namespaces around a root that is made of the host's /usr.
//!
//! What it needs is root, cgroup v2 and an installed systemd. However a test ends, the machine goes
//! with it: its first process dies with whoever booted it, and all others with that.

use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{build, eventually, proc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Where the programs under test lie inside.
pub(crate) const PROGRAMS: &str = "/opt/mpserverd";
/// Searched inside.
const PATH: &str = "PATH=/opt/mpserverd:/usr/sbin:/usr/bin:/sbin:/bin";

/// A booted machine.
#[derive(Debug)]
pub(crate) struct Machine {
    first: u32,
    unshare: Child,
    cgroup: PathBuf,
    console: PathBuf,
    _root: TempDir,
    _programs: TempDir,
}

/// What a command inside said, and whether it succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Its exit code; -1 for a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Said {
    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.trim()
    }
}

#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

impl Machine {
    /// Boots one.
    ///
    /// # Errors
    /// Why there can be none here.
    ///
    /// # Panics
    /// With its console when systemd was started and does not come up.
    pub(crate) fn boot() -> Result<Self, String> {
        let systemd = find_systemd()?;
        let text = |error: std::io::Error| error.to_string();
        let programs = programs()?;
        let root = tempfile::tempdir().map_err(text)?;
        let console = programs.path().join("console");
        let log = fs::File::create(&console).map_err(text)?;
        let cgroup = own_cgroup()?;
        let script = build::workspace().join("tests/tests/systemd_boot/boot.sh");
        // Into the group first: the new namespace of groups begins there.
        let line = "echo $$ >\"$0/cgroup.procs\" && exec setpriv --pdeathsig KILL unshare \
                    --mount --pid --uts --ipc --net --cgroup --fork --kill-child sh \"$@\"";
        let unshare = command("sh")
            .args(["-c", line])
            .arg(&cgroup)
            .arg(script)
            .args([root.path(), programs.path(), &systemd])
            .stdout(log.try_clone().map_err(text)?)
            .stderr(log)
            .spawn()
            .map_err(text)?;
        let mut machine =
            Self { first: 0, unshare, cgroup, console, _root: root, _programs: programs };
        machine.wait_for_systemd()?;
        Ok(machine)
    }

    fn wait_for_systemd(&mut self) -> Result<(), String> {
        let began = eventually(PATIENCE, || {
            let log = self.console();
            log.contains("booting\n") || !matches!(self.unshare.try_wait(), Ok(None))
        });
        if !began || !self.console().contains("booting\n") {
            return Err(format!("no namespaces or mounts: {}", self.console().trim()));
        }
        let unshare = self.unshare.id();
        let up = eventually(PATIENCE, || {
            self.first = proc::descendants(unshare).first().copied().unwrap_or(0);
            let state = self.run(&["systemctl", "is-system-running"]).out;
            self.first != 0 && ["running", "degraded"].contains(&state.trim())
        });
        assert!(up, "systemd does not come up:\n{}", self.console());
        let failed = self.run(&["systemctl", "--failed", "--plain", "--no-legend"]).out;
        println!("systemd runs as pid {}; failed units: {:?}", self.first, failed.trim());
        Ok(())
    }

    /// What its first process has printed.
    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Prepares a command that runs inside, as a user of it.
    pub(crate) fn prepare(&self, user: &str, words: &[&str]) -> Command {
        let mut command = command("nsenter");
        let first = self.first.to_string();
        command.args(["-t", &first, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]);
        let home =
            if user == "root" { "HOME=/root".to_owned() } else { format!("HOME=/home/{user}") };
        command.args(["setpriv", "--reuid", user, "--regid", user, "--init-groups"]);
        command.args(["env", "-i", PATH, &home, "TERM=dumb", "LC_ALL=C.UTF-8"]);
        if user != "root" {
            let uid = if user == "alice" { 1001 } else { 1002 };
            command.arg(format!("XDG_RUNTIME_DIR=/run/user/{uid}"));
        }
        command.args(words);
        command
    }

    /// Runs a command inside, as a user.
    ///
    /// # Panics
    /// When it cannot be run.
    pub(crate) fn run_as(&self, user: &str, words: &[&str]) -> Said {
        let output = self.prepare(user, words).output().expect("nsenter runs");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command inside, as root.
    pub(crate) fn run(&self, words: &[&str]) -> Said {
        self.run_as("root", words)
    }

    /// Writes a file inside.
    ///
    /// # Panics
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
        let mut file = fs::File::create(path).expect("file");
        file.write_all(text.as_bytes()).expect("written");
    }

    /// Where a file of the inside is, seen from here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        let said = self.run(&["systemctl", "show", "--value", "-p", name, unit]);
        said.ok().to_owned()
    }

    /// Pids, as seen inside, of the processes in a unit's control group and below.
    pub(crate) fn pids(&self, unit: &str) -> Vec<u32> {
        let group = self.property(unit, "ControlGroup");
        if group.is_empty() {
            return Vec::new();
        }
        let find = format!("cat $(find /sys/fs/cgroup{group} -name cgroup.procs) </dev/null");
        let said = self.run(&["sh", "-c", &find]);
        said.out.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Sends a signal to a process of the inside.
    pub(crate) fn kill(&self, pid: u32, signal: &str) {
        self.run(&["kill", "-s", signal, &pid.to_string()]).ok();
    }

    /// What the journal has of a unit.
    pub(crate) fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--no-pager", "-o", "cat", "-u", unit]).out
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // All processes of its pid namespace die with the first.
        if self.first != 0 {
            let _ = kill(Pid::from_raw(self.first as i32), Signal::SIGKILL);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        let gone = eventually(PATIENCE, || {
            remove_groups(&self.cgroup);
            !self.cgroup.exists()
        });
        if !gone {
            eprintln!("{} is left", self.cgroup.display());
        }
    }
}

/// Groups are removed from below.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn find_systemd() -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("a systemd needs root".to_owned());
    }
    for tool in ["unshare", "nsenter", "setpriv", "systemctl", "journalctl"] {
        if command(tool).arg("--version").stdout(Stdio::null()).status().is_err() {
            return Err(format!("{tool} is not installed"));
        }
    }
    // One root for /usr and what stands beside it, as every distribution has it by now.
    if !Path::new("/bin").is_symlink() {
        return Err("/bin is no link to /usr/bin".to_owned());
    }
    let places = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| "systemd is not installed".to_owned())
}

/// A new group of version 2 at the top, with what controllers there are.
fn own_cgroup() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let mount = mount.and_then(|line| line.split(' ').nth(4));
    let mount = mount.ok_or_else(|| "cgroup v2 is not mounted".to_owned())?;
    let group = Path::new(mount).join(format!("mpserverd-test-{}", std::process::id()));
    fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
    Ok(group)
}

/// A folder with the programs under test, which any user may read.
fn programs() -> Result<TempDir, String> {
    let built = build::artifacts();
    let text = |error: std::io::Error| error.to_string();
    let folder = tempfile::tempdir_in(build::scratch()).map_err(text)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(text)?;
    for program in [&built.mpserverd, &built.mpctl, &built.misbehave] {
        let copy = folder.path().join(program.file_name().unwrap_or_default());
        if fs::hard_link(program, &copy).is_err() {
            fs::copy(program, &copy).map_err(text)?;
        }
    }
    Ok(folder)
}
