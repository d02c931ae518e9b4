//! No daemon, an older one, somebody else's: every command says what is the matter.

use mpserverd_proto::client::{Answer, Call, Pong, Reply, Request};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::hello::{HELLO_BYTES, Hello};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::{codec, frame};
use mpserverd_tests::build;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

const COMMANDS: [&[&str]; 5] =
    [&["top", "--once"], &["explain", "w1"], &["logs"], &["logs", "-f"], &["ps"]];

#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
fn mpctl(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(&build::artifacts().mpctl);
    command.arg("--socket").arg(socket).args(arguments).output().expect("mpctl runs")
}

fn says(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(111), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn no_daemon() {
    let folder = tempfile::tempdir().expect("folder");
    let socket = folder.path().join("socket");
    for arguments in COMMANDS {
        let output = mpctl(&socket, arguments);
        says(&output, &["no mpserverd answers at", "start one with `mpserverd`"]);
    }
}

/// A daemon of a time before these commands: it cannot read them, says so and hangs up.
fn old_daemon(mut client: UnixStream) -> Option<()> {
    let mut hello = [0; HELLO_BYTES];
    client.read_exact(&mut hello).ok()?;
    client.write_all(&Hello::decode(hello).ok()?.answer().encode()).ok()?;
    let (mut decoder, mut bytes) = (frame::Decoder::new(), [0; 4096]);
    loop {
        while let Some(frame) = decoder.next_frame().ok()? {
            let call = codec::decode::<Call>(&frame.payload).ok()?;
            let known = matches!(call.request, Request::Ping);
            let answer = if known {
                let pong = Pong { version: "0.0.9".into(), pid: 4711, uptime_ms: 5 };
                Answer { id: call.id, reply: Reply::Pong(pong) }
            } else {
                let why = Refusal::BadRequest("malformed request: no such variant".into());
                Answer { id: RequestId(0), reply: Reply::Refused(why) }
            };
            let answer = codec::encode(&answer).ok()?;
            client.write_all(&frame::encode(&answer, 0).ok()?).ok()?;
            if !known {
                return None;
            }
        }
        let got = client.read(&mut bytes).ok().filter(|got| *got > 0)?;
        decoder.feed(&bytes[..got]);
    }
}

#[test]
fn an_older_daemon() {
    let folder = tempfile::tempdir().expect("folder");
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("socket");
    let serve = move || {
        for client in listener.incoming().flatten() {
            old_daemon(client);
        }
    };
    std::thread::Builder::new().name("old".into()).spawn(serve).expect("thread");
    for arguments in [&["explain", "w1"][..], &["logs"], &["logs", "-f"]] {
        let output = mpctl(&socket, arguments);
        says(&output, &["(mpserverd 0.0.9, pid 4711)", "it is older; restart it"]);
    }
}

#[test]
fn somebody_elses_daemon() {
    if !nix::unistd::geteuid().is_root() {
        return mpserverd_tests::skip("only root can be two users");
    }
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    // The programs lie where another user may not look: a copy does not.
    let folder = tempfile::tempdir().expect("folder");
    let copy = folder.path().join("mpctl");
    mpserverd_tests::program::copy(&build::artifacts().mpctl, &copy);
    for path in [folder.path(), daemon.directory()] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, open).expect("mode");
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(daemon.socket(), open).expect("mode");
    for arguments in COMMANDS {
        let output = as_nobody(&copy, &daemon.socket(), arguments);
        let Some(output) = output else {
            return mpserverd_tests::skip("setpriv is not installed");
        };
        says(&output, &["not permitted for uid 65534"]);
    }
}

#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
fn as_nobody(mpctl: &Path, socket: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(mpctl);
    command.arg("--socket").arg(socket).args(arguments).current_dir("/").output().ok()
}
