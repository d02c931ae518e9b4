//! Requests that wait: many of them, fairly, not for ever, and not once they are taken back.

use crate::peer::Peer;
use crate::{serves, square};
use mpserverd_proto::client::{Reply, Request, Target, TemplateSpec};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, RequestId};
use mpserverd_proto::report::StatusReport;
use mpserverd_proto::template::OnPreloadError;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::fs::File;
use std::os::fd::AsFd;

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// The pool of this very program.
fn pool(peer: &mut Peer) -> PoolId {
    let program = File::open("/proc/self/exe").unwrap();
    let request = Request::OpenTemplate(TemplateSpec {
        target: Target::Executable { path: b"hostile".to_vec() },
        modules: Vec::new(),
        on_error: OnPreloadError::Warn,
        environment: Vec::new(),
    });
    assert!(peer.send_with(&Peer::request(1 << 40, request, 1), &[program.as_fd()]));
    match peer.reply(1 << 40) {
        Reply::Opened(pool) => pool,
        other => panic!("{other:?}"),
    }
}

fn lease(pool: PoolId, wait_ms: u32) -> Request {
    Request::Lease { pool, wait_ms, task: None, trace: None }
}

fn status(daemon: &Daemon) -> StatusReport {
    match daemon.connect().call(&Request::Status, &[], None).unwrap() {
        (Reply::Status(report), _) => *report,
        other => panic!("{other:?}"),
    }
}

/// A daemon with one worker, and that worker taken.
fn busy() -> (Daemon, mp::Process<()>) {
    let daemon = Daemon::start(&["--max-workers", "1"]);
    let taken = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    (daemon, taken)
}

#[test]
fn ten_thousand_requests_wait_and_are_counted() {
    let (daemon, taken) = busy();
    let mut peer = Peer::open(&daemon);
    let pool = pool(&mut peer);
    for id in 1..=10_000 {
        peer.ask(id, lease(pool, u32::MAX));
    }
    // Within the deadline of a connection, or this panics.
    assert!(eventually(PATIENCE, || status(&daemon).queued == 10_000), "{:?}", status(&daemon));
    let report = status(&daemon);
    assert_eq!((report.workers, report.workers_max), (1, 1));
    assert_eq!(report.templates.iter().map(|row| row.queued).sum::<u64>(), 10_000);
    for id in 1..=5_000 {
        peer.ask(20_000 + id, Request::Cancel(RequestId(id)));
    }
    assert!(eventually(PATIENCE, || status(&daemon).queued == 5_000), "{:?}", status(&daemon));
    drop(peer);
    assert!(eventually(PATIENCE, || status(&daemon).queued == 0), "{:?}", status(&daemon));
    taken.kill().unwrap();
    assert_eq!(end(&taken), -9);
    serves(&daemon);
}

#[test]
fn more_than_a_client_may_ask_is_refused() {
    use mpserverd_proto::limits::QUEUE_PER_SESSION_MAX;
    let (daemon, _taken) = busy();
    let mut peer = Peer::open(&daemon);
    let pool = pool(&mut peer);
    let limit = QUEUE_PER_SESSION_MAX as u64;
    for id in 1..=limit + 1 {
        peer.ask(id, lease(pool, u32::MAX));
    }
    match peer.reply(limit + 1) {
        Reply::Refused(Refusal::QueueFull { waiting, limit: told }) => {
            assert_eq!((waiting, told), (limit, limit));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(status(&daemon).queued, limit);
}

#[test]
fn a_greedy_client_does_not_starve_another() {
    let (daemon, taken) = busy();
    let (mut greedy, mut modest) = (Peer::open(&daemon), Peer::open(&daemon));
    let (all, one) = (pool(&mut greedy), pool(&mut modest));
    for id in 1..=500 {
        greedy.ask(id, lease(all, u32::MAX));
    }
    assert!(eventually(PATIENCE, || status(&daemon).queued == 500));
    modest.ask(1, lease(one, u32::MAX));
    assert!(eventually(PATIENCE, || status(&daemon).queued == 501));
    taken.kill().unwrap();
    // Each of them drops what it gets, and so makes room for the next.
    let mut served = 0;
    std::thread::scope(|scope| {
        let modest = scope.spawn(|| modest.reply(1));
        while !modest.is_finished() {
            assert!(matches!(greedy.reply(served + 1), Reply::Lease(_)));
            served += 1;
            if served == 499 {
                break;
            }
        }
        assert!(matches!(modest.join().unwrap(), Reply::Lease(_)));
    });
    // Its turn is the second; what passed meanwhile is a matter of when its thread ran.
    assert!(served < 499, "{served} were served first");
}

#[test]
fn a_request_waits_no_longer_than_it_said() {
    let (daemon, taken) = busy();
    let mut peer = Peer::open(&daemon);
    let pool = pool(&mut peer);
    for (id, wait) in [(1, 0), (2, 50)] {
        peer.ask(id, lease(pool, wait));
        match peer.reply(id) {
            Reply::Refused(Refusal::Deadline { waited_ms }) => assert!(waited_ms >= wait.into()),
            other => panic!("{other:?}"),
        }
    }
    let timeout = std::time::Duration::from_millis(200);
    let late = daemon.context().process::<square>((1,)).start_timeout(timeout).start();
    match late {
        Err(mp::StartError::Timeout(told)) => assert_eq!(told, timeout),
        other => panic!("{other:?}"),
    }
    taken.kill().unwrap();
    serves(&daemon);
}

#[test]
fn a_request_can_be_taken_back() {
    let (daemon, taken) = busy();
    let mut peer = Peer::open(&daemon);
    let pool = pool(&mut peer);
    peer.ask(1, lease(pool, u32::MAX));
    peer.ask(2, Request::Cancel(RequestId(1)));
    let mut replies = [peer.answer().unwrap(), peer.answer().unwrap()];
    replies.sort_by_key(|answer| answer.id);
    assert_eq!(replies[0].reply, Reply::Refused(Refusal::Cancelled));
    assert_eq!(replies[1].reply, Reply::Done);
    // One that does not wait (any more) is answered as well.
    peer.ask(3, Request::Cancel(RequestId(1)));
    let _ = peer.reply(3);
    assert_eq!(status(&daemon).queued, 0);
    taken.kill().unwrap();
    assert_eq!(value(daemon.context().process::<square>((3,))), 9);
}

#[test]
fn unknown_pools_and_workers_are_refused() {
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::open(&daemon);
    peer.ask(1, lease(PoolId(999_999), 1000));
    assert_eq!(peer.reply(1), Reply::Refused(Refusal::UnknownPool));
    let worker = mpserverd_proto::client::WorkerRef::Pid(std::process::id());
    peer.ask(2, Request::Kill { worker, signal: 9 });
    assert!(matches!(peer.reply(2), Reply::Refused(Refusal::NoSuchWorker(_))));
    serves(&daemon);
}
