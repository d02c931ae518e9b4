//! Sockets that a supervisor passes in: the right one is served, a wrong one is refused by number.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "this test starts programs")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two times that the supervisor is given what it is to keep.
const PAUSE: Duration = Duration::from_secs(5);

/// A daemon that is passed these sockets as descriptors 3 and 4, the way that systemd does it.
fn daemon(sockets: Vec<OwnedFd>, count: &str, names: &str) -> Command {
    let script = "exec 3<&0 4<&1 </dev/null >&2; \
                  LISTEN_PID=$$ LISTEN_FDS=$1 LISTEN_FDNAMES=$2 exec \"$3\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", count, names, env!("CARGO_BIN_EXE_mpserverd")]);
    command.stderr(Stdio::piped());
    let mut sockets = sockets.into_iter().map(Stdio::from);
    command.stdin(sockets.next().unwrap_or_else(Stdio::null));
    command.stdout(sockets.next().unwrap_or_else(Stdio::null));
    command
}

fn run(sockets: Vec<OwnedFd>, count: &str, names: &str) -> (Option<i32>, String) {
    let output: Output = daemon(sockets, count, names).output().expect("sh runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_wrong_socket_is_refused_by_number() {
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("socket"));
    let datagram = || OwnedFd::from(UnixDatagram::unbound().expect("socket"));
    let connected = || OwnedFd::from(UnixStream::pair().expect("pair").0);
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").expect("/dev/null"));
    for (sockets, count, names, words) in [
        (vec![tcp()], "1", "", "descriptor 3 (`unknown`) is a socket of the family Inet"),
        (vec![datagram()], "1", "a", "descriptor 3 (`a`) is a Unix socket of the type Datagram"),
        (vec![connected()], "1", "a", "that does not listen"),
        (vec![file()], "1", "a", "is no socket"),
        (vec![tcp(), datagram()], "2", "a:b", "passed 2 sockets (a, b)"),
        (vec![tcp(), datagram()], "2", "a:mpserverd", "descriptor 4 (`mpserverd`)"),
        (vec![], "12", "a:a:a:a:a:a:a:a:a:a:a:mpserverd", "descriptor 14, but it is not open"),
        (vec![], "two", "", "LISTEN_FDS is `two`"),
        (vec![], "-2", "", "LISTEN_FDS is `-2`"),
    ] {
        let (code, said) = run(sockets, count, names);
        assert_eq!(code, Some(111), "{count} {names}: {said}");
        assert!(said.contains(words), "{count} {names}: {said}");
    }
}

/// Ends a daemon with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mpctl(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpctl"));
    command.arg("--socket").arg(socket).args(arguments).output().expect("mpctl runs")
}

#[test]
fn the_socket_says_where_clients_come_also_after_a_reload() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("one-of-several.sock");
    let listener = UnixListener::bind(&path).expect("socket");
    let decoy = UnixListener::bind(folder.path().join("decoy")).expect("socket");
    let child = daemon(vec![decoy.into(), listener.into()], "2", "other:mpserverd")
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    let mut running = Running(child);
    // Nobody can come too early: the socket is there before the daemon.
    for arguments in [&["reload"][..], &["--json", "status"]] {
        let output = mpctl(&path, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(arguments.len() == 1 || said.contains("one-of-several.sock"), "{said}");
    }
    assert!(mpctl(&path, &["stop"]).status.success());
    let until = Instant::now() + PATIENCE;
    while running.0.try_wait().expect("a child").is_none() {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(path.exists(), "the socket is the supervisor's");
}

#[test]
fn metrics_are_read_where_a_supervisor_wants_it() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().expect("folder");
    let clients = folder.path().join("clients");
    let listener = UnixListener::bind(&clients).expect("socket");
    let readers = TcpListener::bind("127.0.0.1:0").expect("socket");
    let address = readers.local_addr().expect("bound");
    let child = daemon(vec![readers.into(), listener.into()], "2", "metrics:clients")
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    let _running = Running(child);
    // The socket is there before the daemon: nobody comes too early, and a reload leaves it alone.
    for _ in 0..2 {
        let mut stream = std::net::TcpStream::connect(address).expect("a listener");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("a page");
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.ends_with("# EOF\n"), "{page}");
        assert!(mpctl(&clients, &["reload"]).status.success());
    }
}

#[test]
fn a_socket_for_metrics_that_others_reach_is_refused() {
    let open = || OwnedFd::from(TcpListener::bind("0.0.0.0:0").expect("socket"));
    let datagram = || OwnedFd::from(UnixDatagram::unbound().expect("socket"));
    let local = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("socket"));
    let folder = tempfile::tempdir().expect("folder");
    for (sockets, names, words) in [
        (vec![open()], "metrics", "bound to 0.0.0.0, where others than this machine may read"),
        (vec![datagram()], "metrics", "is no listening stream socket"),
        (vec![local(), local()], "metrics:metrics", "passed 2 sockets with the name `metrics`"),
    ] {
        let count = sockets.len().to_string();
        let mut command = daemon(sockets, &count, names);
        let output = command.env("MPSERVERD_SOCKET", folder.path().join("s")).output();
        let output = output.expect("sh runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(111), "{names}: {said}");
        assert!(said.contains(words), "{names}: {said}");
    }
}

/// What a supervisor gets: the text, and the descriptor that came along; `None` if there is nothing
/// in time.
fn hear(supervisor: &UnixDatagram) -> Option<(String, Option<OwnedFd>)> {
    use std::os::fd::AsFd;
    let (mut bytes, mut fds) = ([0; 4096], Vec::new());
    let got = mp::sys::scm::receive(supervisor.as_fd(), &mut bytes, &mut fds, false).ok()?;
    Some((String::from_utf8_lossy(&bytes[..got]).into_owned(), fds.pop()))
}

/// Waits for what the supervisor is to keep, after the daemon has counted something; `None` if that
/// does not come in time.
fn kept_within(supervisor: &UnixDatagram, patience: Duration) -> Option<OwnedFd> {
    supervisor.set_read_timeout(Some(patience)).expect("a time limit");
    loop {
        let (said, fd) = hear(supervisor)?;
        if said.contains("FDSTORE=1") && said.contains("FDNAME=mpserverd-state-") {
            return Some(fd.expect("a descriptor to keep"));
        }
    }
}

fn kept(supervisor: &UnixDatagram) -> OwnedFd {
    kept_within(supervisor, PATIENCE).expect("it is kept")
}

#[test]
fn what_the_supervisor_kept_comes_back_after_a_crash() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, notify) = (folder.path().join("sock"), folder.path().join("notify"));
    let supervisor = UnixDatagram::bind(&notify).expect("socket");
    let listener = UnixListener::bind(&path).expect("socket");
    let again = listener.try_clone().expect("a copy");
    let start = |fds: Vec<OwnedFd>, count: &str, names: &str| {
        let mut command = daemon(fds, count, names);
        Running(command.env("NOTIFY_SOCKET", &notify).stderr(Stdio::null()).spawn().expect("sh"))
    };
    let generation = || {
        let output = mpctl(&path, &["--json", "status"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
        status["generation"].as_u64().expect("a number")
    };
    let begun = Instant::now();
    let mut first = start(vec![listener.into()], "1", "mpserverd");
    drop(kept(&supervisor));
    assert!(mpctl(&path, &["reload"]).status.success());
    assert!(mpctl(&path, &["reload"]).status.success());
    let before = generation();
    // Where all this took longer than the pause, not everything is told at once.
    let in_parts = begun.elapsed() >= PAUSE;
    // Told when the pause is over, although nothing else happens.
    let mut last = kept(&supervisor);
    while in_parts && let Some(newer) = kept_within(&supervisor, 2 * PAUSE) {
        last = newer;
    }
    first.0.kill().expect("it runs");
    first.0.wait().expect("a child");
    let _second = start(vec![last, again.into()], "2", "mpserverd-state-b:mpserverd");
    assert_eq!(generation(), before + 1, "the configuration is read anew");
    assert!(mpctl(&path, &["stop"]).status.success());
    let until = Instant::now() + PATIENCE;
    supervisor.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    loop {
        let (said, _) = hear(&supervisor).expect("it is kept for nobody");
        if said.contains("FDSTOREREMOVE=1\nFDNAME=mpserverd-state-b") {
            break;
        }
        assert!(Instant::now() < until, "it is kept for nobody");
    }
}
