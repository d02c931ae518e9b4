//! Everybody against everybody: what two users and root's daemon can do to each other.

use crate::host::{ANNE, BERT, Host, PATIENCE, can_be_others, said};
use crate::multi_user::host;
use mpserverd_tests::{eventually, proc, program};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};

/// A client with a worker that sleeps.
struct Held {
    client: Child,
    input: Option<ChildStdin>,
    lines: Box<dyn Iterator<Item = std::io::Result<String>>>,
    worker: u32,
}

impl Held {
    fn by(host: &Host, uid: u32) -> Self {
        let mut command = host.stranger(uid, uid, &["hold"]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = Box::new(BufReader::new(client.stdout.take().unwrap()).lines());
        let worker = lines.next().unwrap().unwrap().parse().unwrap();
        let input = client.stdin.take();
        Self { client, input, lines, worker }
    }

    /// Ends it, as its client may.
    fn end(mut self) -> String {
        self.input.take().unwrap().write_all(b"\n").unwrap();
        let code = self.lines.next().unwrap().unwrap();
        assert!(self.client.wait().unwrap().success());
        code
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// The user of a process.
fn uid_of(pid: u32) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}")).map_or(0, |folder| folder.uid())
}

#[test]
fn nobody_reaches_another_users_processes() {
    if !can_be_others() {
        return;
    }
    let host = host(&[]);
    let held = [ANNE, BERT, 0].map(|uid| Held::by(&host, uid));
    let mut everybody = Vec::new();
    let others = |everybody: &[u32], uid: u32| -> Vec<u32> {
        everybody.iter().copied().filter(|pid| uid_of(*pid) != uid).collect()
    };
    // Of others: two templates with a worker and a spare each, as soon as the spares are there.
    let complete = eventually(PATIENCE, || {
        everybody = proc::descendants(host.pid());
        [ANNE, BERT].iter().all(|uid| others(&everybody, *uid).len() >= 6)
    });
    assert!(complete, "{everybody:?}");
    for uid in [ANNE, BERT] {
        let others = others(&everybody, uid);
        let mut victims = others.iter().map(ToString::to_string).collect::<Vec<_>>();
        victims.push(host.pid().to_string());
        let arguments = [&["attack".to_owned()], &victims[..]].concat();
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let reached = program::output(&mut host.stranger(uid, uid, &arguments));
        assert_eq!(reached, "worker\n", "uid {uid}");
    }
    let stolen = program::output(&mut host.stranger(BERT, BERT, &["steal"]));
    assert_eq!(stolen, "", "leases of others");
    for held in held {
        assert!(proc::is_running(held.worker));
        assert_eq!(held.end(), "-15");
    }
}

#[test]
fn the_attempts_succeed_against_ones_own() {
    if !can_be_others() {
        return;
    }
    // Or the matrix would prove nothing.
    let host = host(&[]);
    let held = Held::by(&host, ANNE);
    let victim = held.worker.to_string();
    let reached = program::output(&mut host.stranger(ANNE, ANNE, &["attack", &victim]));
    for what in ["memory", "environment", "descriptors", "process_vm_readv", "SIGTERM"] {
        assert!(reached.contains(&format!("{victim}: {what}\n")), "{what}: {reached}");
    }
}

#[test]
fn mpctl_ends_nobody_elses_worker() {
    if !can_be_others() {
        return;
    }
    let host = host(&[]);
    let (annes, berts) = (Held::by(&host, ANNE), Held::by(&host, BERT));
    let pid = annes.worker.to_string();
    let denied = host.mpctl(BERT, BERT, &["kill", &pid]);
    assert_eq!(denied.status.code(), Some(111), "{}", said(&denied));
    assert!(said(&denied).contains("no such worker"), "{}", said(&denied));
    assert!(proc::is_running(annes.worker));
    let allowed = host.mpctl(ANNE, ANNE, &["kill", &pid]);
    assert!(allowed.status.success(), "{}", said(&allowed));
    assert!(eventually(PATIENCE, || !proc::is_running(annes.worker)));
    let allowed = host.mpctl(0, 0, &["kill", &berts.worker.to_string()]);
    assert!(allowed.status.success(), "{}", said(&allowed));
    assert!(eventually(PATIENCE, || !proc::is_running(berts.worker)));
}
