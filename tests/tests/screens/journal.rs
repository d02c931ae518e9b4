//! The daemon under a journal that the test plays, in a mount namespace where that is at the
//! journal's place.

use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{build, skip};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Ends the daemon with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that finds this folder at `/run/systemd/journal`, and its standard error, a socket, to
/// be the journal's.
#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
fn daemon(folder: &Path, stderr: std::os::fd::OwnedFd) -> std::io::Result<Child> {
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$1\" /run/systemd/journal && \
                  JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$2\" --socket \"$1/s\"";
    Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder)
        .arg(&build::artifacts().mpserverd)
        .env_remove("MPSERVERD_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(stderr))
        .spawn()
}

#[test]
fn entries_come_with_their_fields() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can put a socket at the journal's place");
    }
    let folder = tempfile::tempdir().expect("folder");
    let journal = UnixDatagram::bind(folder.path().join("socket")).expect("socket");
    journal.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let (stderr, theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
    let mut child = Running(daemon(folder.path(), theirs.into()).expect("unshare runs"));
    let (until, mut heard) = (Instant::now() + PATIENCE, Vec::new());
    while Instant::now() < until
        && !heard.iter().any(|said: &String| said.contains("MESSAGE=ready"))
    {
        journal.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("timeout");
        let mut bytes = [0; 8192];
        if let Ok(got) = journal.recv(&mut bytes) {
            heard.push(String::from_utf8_lossy(&bytes[..got]).into_owned());
        } else if child.0.try_wait().expect("a child").is_some() {
            let mut said = String::new();
            stderr.set_nonblocking(true).expect("nonblocking");
            let _ = std::io::Read::read_to_string(&mut &stderr, &mut said);
            return skip(&format!("no mount namespace here: {said}"));
        }
    }
    let entry = |message: &str| {
        let found = heard.iter().find(|entry| entry.contains(&format!("MESSAGE={message}\n")));
        found.unwrap_or_else(|| panic!("`{message}` is not among {heard:?}"))
    };
    let listening = entry("listening");
    for field in ["PRIORITY=6\n", "SYSLOG_IDENTIFIER=mpserverd\n", "CODE_FILE=", "SOCKET="] {
        assert!(listening.contains(field), "{field}: {listening}");
    }
    let started = entry("template started");
    for field in ["TEMPLATE=t", "TEMPLATE_PID=", "GENERATION=1\n", "NAME=default\n"] {
        assert!(started.contains(field), "{field}: {started}");
    }
}
