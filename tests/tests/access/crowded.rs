//! A user's other processes may have so many descriptors in flight that the kernel lets no more
//! through (`ETOOMANYREFS`, `unix(7)`): a daemon of this user waits until they have gone.

use crate::host::{DAEMON, Host, PATIENCE, can_be_others};
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request, Target, TemplateSpec};
use mpserverd_proto::template::OnPreloadError;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What each process of the daemon may have open, and so what its user may have in flight.
const DESCRIPTORS: u64 = 400;

#[test]
fn a_client_gets_its_worker_once_there_is_room() {
    if !can_be_others() {
        return;
    }
    let host = Host::narrow(DAEMON, DESCRIPTORS, &["--allow-user", "root", "--spares", "2..2"]);
    let socket = host.directory().join("mpserverd.sock");
    let deadline = Some(Instant::now() + PATIENCE);
    let mut client = Connection::open(&socket, deadline).unwrap();
    let request = Request::OpenTemplate(TemplateSpec {
        target: Target::Modules,
        modules: Vec::new(),
        on_error: OnPreloadError::Warn,
        environment: Vec::new(),
    });
    let Ok((Reply::Opened(pool), _)) = client.call(&request, &[], deadline) else { panic!() };
    let lease = Request::Lease { pool, wait_ms: 60_000, task: None, trace: None };
    let (reply, fds) = client.call(&lease, &[], deadline).unwrap();
    assert!(matches!(reply, Reply::Lease(_)) && fds.len() == 3, "{reply:?}");

    let count = (2 * DESCRIPTORS).to_string();
    let mut command = host.stranger(DAEMON, DAEMON, &["hoard", &count]);
    let mut hoarder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(hoarder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "hoarded\n");
    let id = client.post(&lease, &[], deadline).unwrap();
    let early = client.wait(id, Some(Instant::now() + Duration::from_millis(300)));
    assert!(matches!(early, Err(mp::DaemonError::Timeout(_))), "{early:?}");
    // What needs no descriptors waits behind what does; others are answered.
    assert!(host.mpctl(DAEMON, DAEMON, &["status"]).status.success());

    drop(hoarder.stdin.take());
    assert!(hoarder.wait().unwrap().success());
    let (reply, fds) = client.wait(id, deadline).unwrap();
    assert!(matches!(reply, Reply::Lease(_)) && fds.len() == 3, "{reply:?}");
}
