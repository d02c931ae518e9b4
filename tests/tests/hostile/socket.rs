//! The socket: whose it may replace, where it may lie, and who may use it.

use crate::serves;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{build, eventually, proc, program, skip};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

/// Runs a daemon that the system does not let start, and gives what it says.
fn refused(directory: &Path, socket: &Path) -> String {
    refused_with(111, directory, socket)
}

/// Runs a daemon that must end with this code, and gives what it says.
fn refused_with(code: i32, directory: &Path, socket: &Path) -> String {
    let error = directory.join("refusal.log");
    let mut child = program::command(&build::artifacts().mpserverd, directory)
        .arg("--socket")
        .arg(socket)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&error).unwrap())
        .spawn()
        .unwrap();
    let mut ended = None;
    let in_time = eventually(PATIENCE, || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    let _ = child.kill();
    let said = fs::read_to_string(error).unwrap();
    assert!(in_time, "it serves:\n{said}");
    assert_eq!(ended.unwrap().code(), Some(code), "{said}");
    said
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let mut daemon = Daemon::start(&[]);
    daemon.kill();
    assert!(daemon.socket().exists());
    daemon.restart();
    serves(&daemon);
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let _ = daemon.stop();
    assert!(!daemon.socket().exists());
}

#[test]
fn a_live_daemons_socket_is_not() {
    let daemon = Daemon::start(&[]);
    let other = tempfile::tempdir().unwrap();
    let named = format!("another mpserverd (pid {}) serves", daemon.pid());
    let said = refused(other.path(), &daemon.socket());
    assert!(said.contains(&named), "{said}");
    serves(&daemon);
    // Not even one that does not answer.
    daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    let said = refused(other.path(), &daemon.socket());
    assert!(said.contains(&named), "{said}");
    daemon.signal(nix::sys::signal::Signal::SIGCONT);
    serves(&daemon);
}

#[test]
fn what_is_no_daemons_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let said = refused(directory.path(), &file);
    assert!(said.contains("is not a socket"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(refused(directory.path(), &link).contains("is not a socket"));
    assert_eq!(fs::read_link(link).unwrap(), file);

    let foreign = directory.path().join("foreign.sock");
    let _listener = UnixListener::bind(&foreign).unwrap();
    let said = refused(directory.path(), &foreign);
    assert!(said.contains("another program listens"), "{said}");
    std::os::unix::net::UnixStream::connect(foreign).unwrap();
}

#[test]
fn an_unwritable_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused(directory.path(), Path::new("/proc/nowhere/mpserverd.sock"));
    assert!(said.contains("/proc/nowhere/mpserverd.sock"), "{said}");
    if nix::unistd::geteuid().is_root() {
        return skip("root can write everywhere");
    }
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    let said = refused(directory.path(), &closed.join("mpserverd.sock"));
    assert!(said.contains("ermission denied"), "{said}");
}

#[test]
fn long_paths_work_and_long_names_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("d".repeat(200)).join("e".repeat(100));
    let name = long.join("n".repeat(200));
    // That is a matter of what was asked for, not of the system.
    let said = refused_with(100, directory.path(), &name);
    assert!(said.contains("200"), "{said}");
    let socket = long.join("mpserverd.sock");
    let mut child = program::command(&build::artifacts().mpserverd, directory.path())
        .arg("--socket")
        .arg(&socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    let answers = || mp::daemon::Connection::open(&socket, None).is_ok();
    let answered = eventually(PATIENCE, answers);
    let ctx = mp::get_context(mp::StartMethod::ForkServer)
        .with_socket(&socket)
        .with_fallback(mp::Fallback::Fail);
    let result = ctx.process::<crate::square>((4,)).start().map(|process| process.result());
    child.kill().unwrap();
    child.wait().unwrap();
    let left = || proc::mentioning(directory.path());
    let killed = eventually(PATIENCE, || {
        left().into_iter().filter_map(proc::identity).for_each(proc::kill_exactly);
        left().is_empty()
    });
    assert!(answered && killed, "{pid}");
    assert!(matches!(result, Ok(Ok(16))), "{result:?}");
}

#[test]
fn the_directory_is_made_for_this_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("a").join("b");
    let mut child = program::command(&build::artifacts().mpserverd, directory.path())
        .arg("--socket")
        .arg(made.join("mpserverd.sock"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let listens = eventually(PATIENCE, || mp::transport::answers(&made.join("mpserverd.sock")));
    let modes = [made.parent().unwrap(), &made]
        .map(|path| fs::metadata(path).map(|data| data.permissions().mode() & 0o777));
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(listens);
    assert_eq!(modes.map(Result::unwrap), [0o700, 0o700]);
}

#[test]
fn other_users_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can be somebody else");
    }
    let daemon = Daemon::start(&[]);
    let socket = daemon.socket();
    let ask = || {
        let mut command = program::command(SUBJECT, daemon.directory());
        program::output(command.args(["as-uid", "65534"]).arg(&socket))
    };
    let said = ask();
    assert!(said.starts_with("connect: permission denied\n"), "{said}");
    // Even if somebody opened the doors.
    fs::set_permissions(daemon.directory(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let said = ask();
    assert!(said.starts_with("connect: ok\n"), "{said}");
    assert!(said.contains("NotPermitted { uid: 65534"), "{said}");
    serves(&daemon);
}
