//! `catch_stderr`: what workers write to standard error goes through the daemon, whatever happens to
//! that meanwhile.

use super::*;
use mpserverd_proto::record::{LogLevel, LogRecord};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes lines, and one without an end; then does as it is told.
#[mp::task]
fn says(lines: Vec<String>, unended: String, then: String) {
    for line in lines {
        eprintln!("{line}");
    }
    eprint!("{unended}");
    match then.as_str() {
        "abort" => std::process::abort(),
        "wait" => std::thread::sleep(PATIENCE),
        _ => {}
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

fn start<R>(builder: mp::ProcessBuilder<R>) -> mp::Process<R> {
    builder.rlimit(mp::Resource::Core, 0, 0).start().unwrap()
}

fn records(daemon: &Daemon) -> Vec<LogRecord> {
    let request = Request::Logs { after: None, limit: 1024, level: LogLevel::Info, wait_ms: 0 };
    let reply = daemon.connect().call(&request, &[], Some(Instant::now() + PATIENCE));
    let Ok((Reply::Logs(report), _)) = reply else { panic!("{reply:?}") };
    report.records.into_iter().filter(|record| record.target.ends_with("::stderr")).collect()
}

fn field<'r>(record: &'r LogRecord, name: &str) -> &'r str {
    let found = record.fields.iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name}: {record:?}"))
}

#[test]
fn lines_are_records_and_the_last_ones_come_with_the_death() {
    let daemon = Daemon::start(&["--catch-stderr"]);
    let (lines, unended) = (numbered(30), "\x1b[1mno end".to_owned());
    let trace = mp::TraceId(0x00ab_cdef);
    let builder = daemon.context().process::<says>((lines, unended, "abort".into()));
    let process = start(builder.trace(trace));
    let error = process.result_timeout(PATIENCE).unwrap_err();
    assert!(error.to_string().ends_with("line 28 | line 29 | ?[1mno end"), "{error}");
    let found = certificate(&daemon, process.pid());
    let expected: Vec<_> = numbered(30).into_iter().chain(["?[1mno end".to_owned()]).collect();
    assert_eq!(found.stderr, expected[11..], "the last twenty");
    assert_eq!(found.record.code, -6);
    let told = records(&daemon);
    let texts: Vec<_> = told.iter().map(|record| record.message.clone()).collect();
    assert_eq!(texts, expected);
    let uid = nix::unistd::geteuid().as_raw().to_string();
    for record in &told {
        assert_eq!(field(record, "worker"), found.worker.to_string());
        assert_eq!(field(record, "pid"), process.pid().to_string());
        assert_eq!(field(record, "uid"), uid);
        assert_eq!(field(record, "module"), found.template_name);
        assert!(field(record, "task").ends_with("says"));
        assert_eq!(field(record, "trace"), trace.to_string());
    }
    let details = daemon.mpctl(&["deaths", "--worker", &process.pid().to_string()]);
    let details = String::from_utf8_lossy(&details.stdout).into_owned();
    assert!(details.contains("line 29"), "{details}");
}

#[test]
fn who_asked_for_another_stream_has_it() {
    let daemon = Daemon::start(&["--catch-stderr"]);
    let path = daemon.directory().join("own");
    let job = || daemon.context().process::<says>((numbered(2), "x".into(), "abort".into()));
    let process = start(job().stderr(File::create(&path).unwrap()));
    process.join();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 0\nline 1\nx");
    assert!(certificate(&daemon, process.pid()).stderr.is_empty());
    let silent = start(job().stderr(mp::Stream::Null));
    silent.join();
    assert!(certificate(&daemon, silent.pid()).stderr.is_empty());
    assert!(records(&daemon).is_empty());
}

#[test]
fn only_modules_that_are_meant_are_caught() {
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    for (list, is_caught) in [("other,thing".to_owned(), false), (format!("other,{name}"), true)] {
        let daemon = Daemon::start(&[&format!("--catch-stderr={list}")]);
        let builder =
            daemon.context().process::<says>((numbered(1), String::new(), "abort".into()));
        let process = start(builder.stdout(mp::Stream::Null));
        process.join();
        assert_eq!(!certificate(&daemon, process.pid()).stderr.is_empty(), is_caught, "{list}");
    }
}

/// Panics on a thread of its own, and aborts for another reason.
#[mp::task]
fn panics_and_aborts() {
    std::thread::scope(|scope| {
        let _ = scope.spawn(|| panic!("the last straw\nand more")).join();
    });
    std::process::abort();
}

#[test]
fn what_a_panic_said_is_known_without_catching() {
    let daemon = Daemon::start(&[]);
    let builder = daemon.context().process::<panics_and_aborts>(());
    let process = start(builder.stderr(mp::Stream::Null));
    let error = process.result_timeout(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("last it said: panicked: the last straw | and more ("), "{error}");
    let found = certificate(&daemon, process.pid());
    assert_eq!((found.record.code, found.stderr.len()), (-6, 2), "{found:?}");
    // The panic that its client is told of anyway.
    let process = start(daemon.context().process::<panics>(()).stderr(mp::Stream::Null));
    process.join();
    let found = certificate(&daemon, process.pid());
    assert!(found.stderr[0].starts_with("panicked: on purpose ("), "{found:?}");
    // And nothing of it is left for the next one.
    for code in 0..40 {
        let process = daemon.context().process::<exits>((code,)).start().unwrap();
        process.join();
        assert!(certificate(&daemon, process.pid()).stderr.is_empty());
    }
}

/// Writes as fast as it can.
#[mp::task]
fn floods(count: u32) {
    let mut stderr = std::io::stderr().lock();
    for number in 0..count {
        let line = format!("{number:0100}\n");
        stderr.write_all(line.as_bytes()).unwrap();
    }
    std::process::exit(3);
}

#[test]
fn a_flood_loses_lines_and_hurts_nobody() {
    let daemon = Daemon::start(&["--catch-stderr"]);
    let began = Instant::now();
    let floods = start(daemon.context().process::<floods>((60_000,)));
    // Others are served meanwhile.
    for _ in 0..5 {
        let process = daemon.context().process::<fine>(()).start().unwrap();
        assert_eq!(process.result_timeout(PATIENCE).unwrap(), 17);
    }
    assert_eq!(floods.join_timeout(PATIENCE), Some(3));
    let seconds = began.elapsed().as_secs() + 2;
    let found = certificate(&daemon, floods.pid());
    let expected: Vec<_> = (59_980..60_000).map(|number| format!("{number:0100}")).collect();
    assert_eq!(found.stderr, expected, "the very last lines");
    // The ring of records does not hold them all.
    let log = daemon.log();
    let told = log.lines().filter(|line| line.contains("mpserverd::server::stderr: "));
    let (mut lost, mut written) = (0, 0);
    for line in told {
        let (_, text) = line.split_once("stderr: ").unwrap();
        match text.split_once(" lines dropped ") {
            Some((count, _)) => lost += count.parse::<u64>().unwrap(),
            None => written += 1,
        }
    }
    assert!(written <= 100 * seconds, "{written} lines in {seconds} s");
    assert_eq!(written + lost, 60_000, "each is there or counted");
}

/// Leaves a child that says something later, and ends.
#[mp::task]
#[allow(clippy::disallowed_methods, reason = "a descendant that is no worker")]
fn leaves_somebody() {
    let lines = "sleep 0.5; echo late >&2; printf later >&2";
    drop(std::process::Command::new("sh").args(["-c", lines]).spawn().unwrap());
    std::process::exit(4);
}

#[test]
fn descendants_are_heard_after_their_worker() {
    let daemon = Daemon::start(&["--catch-stderr"]);
    let process = start(daemon.context().process::<leaves_somebody>(()));
    assert_eq!(process.join_timeout(PATIENCE), Some(4));
    let found = certificate(&daemon, process.pid());
    let heard = || records(&daemon).iter().any(|record| record.message == "later");
    assert!(eventually(PATIENCE, heard), "{}", daemon.log());
    let told = records(&daemon);
    assert_eq!(told.len(), 2, "{told:?}");
    for record in &told {
        assert_eq!(field(record, "worker"), found.worker.to_string());
        assert!(field(record, "task").ends_with("leaves_somebody"));
    }
}

/// Writes lines without an end until a file is there, and one more after that; says in another how
/// many there were.
#[mp::task]
fn chatters(begun: mp::Event, folder: PathBuf) {
    let (mut count, mut enough) = (0u64, false);
    while !enough {
        enough = folder.join("enough").exists();
        let line = format!("{count:01000}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        count += 1;
        if count == 20 {
            begun.set();
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    std::fs::write(folder.join("count"), count.to_string()).unwrap();
    std::thread::sleep(PATIENCE);
}

fn chattering(daemon: &Daemon) -> mp::Process<()> {
    let begun = mp::Event::new().unwrap();
    let folder = daemon.directory().to_owned();
    let process = start(daemon.context().process::<chatters>((begun.clone(), folder)));
    assert!(begun.wait(Some(PATIENCE)), "it does not begin");
    process
}

/// Has it stop writing, and waits until it has: it must not hang. Gives its last line.
fn enough(folder: &Path) -> String {
    std::fs::write(folder.join("enough"), "").unwrap();
    let mut count = 0u64;
    let stopped = eventually(PATIENCE, || {
        let text = std::fs::read_to_string(folder.join("count")).unwrap_or_default();
        count = text.parse().unwrap_or(0);
        count > 0
    });
    assert!(stopped, "it hangs in a write");
    let mut last = format!("{:01000}", count - 1);
    last.truncate(256);
    last
}

#[test]
fn nobody_waits_for_a_daemon_that_is_gone() {
    let mut daemon = Daemon::start(&["--catch-stderr"]);
    let process = chattering(&daemon);
    daemon.kill();
    // Much more than a pipe holds.
    std::thread::sleep(Duration::from_millis(500));
    daemon.restart();
    let before = || {
        let reply = daemon.connect().call(&all_processes(), &[], Some(Instant::now() + PATIENCE));
        let Ok((Reply::Processes(report), _)) = reply else { panic!("{reply:?}") };
        report.rows.iter().any(|row| row.pid == process.pid())
    };
    assert!(eventually(PATIENCE, before), "its template did not attach itself");
    let last = enough(daemon.directory());
    process.kill().unwrap();
    process.join();
    let found = certificate(&daemon, process.pid());
    assert_eq!(found.stderr.last(), Some(&last), "{found:?}");
}

#[test]
fn what_was_written_without_a_daemon_comes_with_the_death() {
    let mut daemon = Daemon::start(&["--catch-stderr"]);
    let lasting = chattering(&daemon);
    daemon.kill();
    let last = enough(daemon.directory());
    kill(lasting.pid(), Signal::SIGKILL);
    lasting.join();
    daemon.restart();
    let found = certificate(&daemon, lasting.pid());
    assert_eq!(found.cause, Cause::Unknown);
    assert_eq!(found.stderr.last(), Some(&last), "{found:?}");
}

#[test]
fn a_worker_without_daemon_and_template_lives_on() {
    let mut daemon = Daemon::start(&["--catch-stderr"]);
    let process = chattering(&daemon);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let parent = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap();
    let template: u32 = parent.parse().unwrap();
    daemon.kill();
    kill(template, Signal::SIGKILL);
    std::thread::sleep(Duration::from_millis(300));
    enough(daemon.directory());
    assert!(process.is_alive());
    process.kill().unwrap();
    process.join();
}

#[test]
fn an_upgrade_goes_on_with_every_line() {
    let daemon = Daemon::start(&["--catch-stderr"]);
    let process = chattering(&daemon);
    for _ in 0..3 {
        let upgraded = daemon.mpctl(&["upgrade"]);
        assert!(upgraded.status.success(), "{upgraded:?}\n{}", daemon.log());
    }
    let last = enough(daemon.directory());
    process.kill().unwrap();
    process.join();
    let found = certificate(&daemon, process.pid());
    assert_eq!((found.stderr.len(), found.stderr.last()), (20, Some(&last)));
}
