//! What stays the same through an upgrade: ids, counters, waiting requests, frames of which one half
//! was read, the pid file, the supervisor, the directory.

use super::{copy, double, hold, processes, status, upgraded};
use mpserverd_proto::client::{Call, Reply, Request};
use mpserverd_proto::hello::{HELLO_BYTES, Hello};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::{codec, frame};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, value};
use mpserverd_tests::{eventually, proc};
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

#[test]
fn ids_counters_leases_and_the_generation_stay() {
    let daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    assert_eq!(value(context.process::<double>((4,))), 8);
    assert!(daemon.mpctl(&["reload"]).status.success());
    let wake = context.event().unwrap();
    let start = |code: i32| context.process::<hold>((wake.clone(), code)).start().unwrap();
    let workers = (0..5).map(start).collect::<Vec<_>>();
    let full = || status(&daemon).templates.iter().all(|row| row.spares == row.spares_wanted);
    assert!(eventually(PATIENCE, full));
    let (before, rows) = (status(&daemon), processes(&daemon));
    upgraded(&daemon, Some(&copy(&daemon, "new")));
    let (after, same) = (status(&daemon), processes(&daemon));
    assert_eq!((after.pid, after.generation), (before.pid, before.generation));
    assert_eq!((after.workers, after.starts), (before.workers, before.starts));
    assert!(after.uptime_ms >= before.uptime_ms);
    let table = |report: &mpserverd_proto::report::ProcessesReport| {
        let rows = report.rows.iter().filter(|row| !row.spare);
        rows.map(|row| (row.worker, row.pid, row.template, row.client_pid)).collect::<Vec<_>>()
    };
    assert_eq!(table(&same), table(&rows));
    assert!(table(&same).iter().all(|row| row.3 == Some(std::process::id())));
    let templates = |report: &mpserverd_proto::report::StatusReport| {
        let rows = report.templates.iter();
        rows.map(|row| (row.template, row.pid, row.generation)).collect::<Vec<_>>()
    };
    assert_eq!(templates(&after), templates(&before));
    wake.set();
    for (code, worker) in workers.iter().enumerate() {
        assert_eq!(worker.join_timeout(PATIENCE), Some(code as i32));
    }
    let held = workers.iter().map(|worker| worker.pid()).collect::<Vec<_>>();
    let gone = || processes(&daemon).rows.iter().all(|row| !held.contains(&row.pid));
    assert!(eventually(PATIENCE, gone));
}

/// Bytes of a client that says them itself.
struct Raw(UnixStream);

impl Raw {
    fn connect(daemon: &Daemon) -> Self {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&Hello::ours().encode()).unwrap();
        stream.read_exact(&mut [0; HELLO_BYTES]).unwrap();
        Self(stream)
    }

    fn bytes(id: u64, request: Request) -> Vec<u8> {
        let call = Call { id: RequestId(id), request };
        frame::encode(&codec::encode(&call).unwrap(), 0).unwrap()
    }

    fn hear(&mut self) -> mpserverd_proto::client::Answer {
        let mut decoder = frame::Decoder::new();
        loop {
            if let Some(frame) = decoder.next_frame().unwrap() {
                return codec::decode(&frame.payload).unwrap();
            }
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            decoder.feed(&byte);
        }
    }
}

#[test]
fn half_a_hello_and_half_a_request_are_completed_after_it() {
    let daemon = Daemon::start(&[]);
    let mut young = UnixStream::connect(daemon.socket()).unwrap();
    young.set_read_timeout(Some(PATIENCE)).unwrap();
    let hello = Hello::ours().encode();
    let (first, second) = hello.split_at(HELLO_BYTES / 2);
    young.write_all(first).unwrap();
    let mut raw = Raw::connect(&daemon);
    let request = Raw::bytes(77, Request::Ping);
    let (now, later) = request.split_at(request.len() - 1);
    raw.0.write_all(now).unwrap();
    // Read by the daemon, so that it is not the kernel that keeps it.
    std::thread::sleep(Duration::from_millis(50));
    upgraded(&daemon, None);
    raw.0.write_all(later).unwrap();
    let answer = raw.hear();
    assert!(matches!(answer.reply, Reply::Pong(_)) && answer.id == RequestId(77), "{answer:?}");
    young.write_all(second).unwrap();
    young.read_exact(&mut [0; HELLO_BYTES]).unwrap();
}

#[test]
fn a_client_that_does_not_read_gets_every_answer_after_it() {
    let daemon = Daemon::start(&[]);
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
    let mut raw = Raw::connect(&daemon);
    // More answers than the socket takes, so the daemon keeps some of them.
    let count = 2000;
    for id in 0..count {
        raw.0.write_all(&Raw::bytes(id, Request::Status)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    upgraded(&daemon, None);
    for id in 0..count {
        let answer = raw.hear();
        assert!(matches!(answer.reply, Reply::Status(_)) && answer.id == RequestId(id));
    }
}

#[test]
fn a_request_that_waits_is_answered_by_the_next_image() {
    let daemon = Daemon::start(&["--max-workers", "1"]);
    let context = daemon.context();
    let wake = context.event().unwrap();
    let first = context.process::<hold>((wake.clone(), 1)).start().unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| value(context.process::<double>((21,))));
        assert!(eventually(PATIENCE, || status(&daemon).queued > 0));
        upgraded(&daemon, None);
        assert!(!second.is_finished());
        assert_eq!(status(&daemon).queued, 1);
        wake.set();
        assert_eq!(second.join().unwrap(), 42);
    });
    assert_eq!(first.join_timeout(PATIENCE), Some(1));
}

#[test]
fn orphans_of_a_dead_template_end_with_their_codes() {
    let daemon = Daemon::start(&["--backoff-min", "10ms"]);
    let context = daemon.context();
    let wake = context.event().unwrap();
    let worker = context.process::<hold>((wake.clone(), 9)).start().unwrap();
    let rows = processes(&daemon).rows;
    let of = rows.iter().find(|row| row.pid == worker.pid()).unwrap().template;
    let templates = status(&daemon).templates;
    let template = templates.iter().find(|row| row.template == of).and_then(|row| row.pid);
    mpserverd_tests::proc::kill_exactly(proc::identity(template.unwrap()).unwrap());
    let gone = || status(&daemon).templates.iter().all(|row| row.pid != template);
    assert!(eventually(PATIENCE, gone));
    upgraded(&daemon, None);
    wake.set();
    assert_eq!(worker.join_timeout(PATIENCE), Some(9), "{:?}", worker.ending());
    assert!(eventually(PATIENCE, || status(&daemon).workers == 0));
}

#[test]
fn the_pid_file_the_supervisor_and_relative_paths_stay() {
    let directory = tempfile::tempdir().unwrap();
    let notify = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&notify).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |line: &str| {
        let mut bytes = [0; 4096];
        loop {
            let length = supervisor.recv(&mut bytes).expect(line);
            let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if said.lines().any(|told| told.starts_with(line)) {
                return said;
            }
        }
    };
    let pid_file = directory.path().join("pid");
    let arguments = ["--pid-file", pid_file.to_str().unwrap()];
    let environment = [("NOTIFY_SOCKET", notify.to_str().unwrap())];
    let mut daemon = Daemon::start_with(&arguments, &environment);
    hear("READY=1");
    upgraded(&daemon, None);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    assert_eq!(text.trim(), daemon.pid().to_string());
    // It is still locked, and it still goes with the daemon.
    let second = Daemon::try_start(&arguments, &[]).unwrap_err();
    assert!(second.contains("another daemon holds this pid file"), "{second}");
    assert!(daemon.stop().success());
    assert!(!pid_file.exists() && !daemon.socket().exists());
}

#[test]
fn nothing_is_left_open_by_many_upgrades() {
    let daemon = Daemon::start(&["--spares", "2..2"]);
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
    let full = || status(&daemon).templates.iter().all(|row| row.spares == 2);
    assert!(eventually(PATIENCE, full));
    upgraded(&daemon, None);
    let before = proc::fd_count(daemon.pid());
    for _ in 0..10 {
        upgraded(&daemon, None);
    }
    assert!(eventually(PATIENCE, || proc::fd_count(daemon.pid()) <= before + 1));
    assert!(eventually(PATIENCE, || proc::no_zombies_below(daemon.pid())));
    // What a template or worker gets is not what the daemon carries.
    let template = status(&daemon).templates[0].pid.unwrap();
    let worker = value(daemon.context().process::<open_descriptors>(()));
    assert!(worker < 16, "{worker} descriptors in a worker");
    assert!(proc::fd_count(template) < 64);
    assert!(daemon.mpctl(&["reload"]).status.success());
    let worker = value(daemon.context().process::<open_descriptors>(()));
    assert!(worker < 16, "{worker} descriptors in a worker of a new template");
}

#[test]
fn a_program_that_was_replaced_is_held_by_nobody() {
    let daemon = Daemon::start(&[]);
    let held = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().flatten();
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("mpserverd-new")).count()
    };
    for _ in 0..3 {
        // From the second on, the daemon runs what was just removed.
        upgraded(&daemon, Some(&copy(&daemon, "mpserverd-new")));
        assert!(eventually(PATIENCE, || held() == 0), "{} files are held", held());
    }
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
}

#[mp::task]
fn open_descriptors() -> usize {
    proc::fd_count(std::process::id())
}
