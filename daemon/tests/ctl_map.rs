//! The engine of `mpctl map` with spawned workers: order, failures, retries, limits, and nobody
//! left behind.
#![cfg(target_os = "linux")]

use mpserverd::ctl::map::engine;
use mpserverd::ctl::map::failure::Kind;
use mpserverd::ctl::map::plan::{Done, End, Plan, Progress, Sink, Summary};
use mpserverd::ctl::map::source::{Input, Source};
use mpserverd::ctl::map::stop::{Stop, Trigger};
use nix::poll::PollFlags;
use serde_json::{Value, json};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mp::enable_in_tests!();

#[mp::task]
fn double(x: u64) -> u64 {
    2 * x
}

/// How long anything may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// What takes so long is waited for by nobody, milliseconds.
const LONG: u64 = 600_000;

/// Leaves its mark, a file with its number as its name; the first waits for the file `go`.
#[mp::task]
fn backwards(mark: PathBuf) -> u64 {
    let number = mark.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
    std::fs::write(&mark, "").expect("written");
    if number == 0 {
        wait_for(&mark.with_file_name("go"));
    }
    number
}

fn wait_for(file: &Path) {
    let until = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < until, "there is no {}", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Files in a folder, one for each of so many tasks.
fn marks(folder: &Path, count: u64) -> Source {
    let mark = |number: u64| folder.join(number.to_string()).to_str().expect("text").to_owned();
    Source::given((0..count).map(|number| Input::of_word(mark(number))).collect::<Vec<_>>())
}

#[mp::task]
fn sleep(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Each number fails in its own way.
#[mp::task]
fn fragile(x: u64) -> Result<u64, String> {
    match x % 5 {
        1 => Err("no luck".to_owned()),
        2 => panic!("boom"),
        3 => std::process::exit(8),
        4 => std::process::abort(),
        _ => Ok(x),
    }
}

/// Succeeds at the attempt that the file's name asks for.
#[mp::task]
fn stubborn(file: &Path) -> u64 {
    let attempts = std::fs::read_to_string(file).unwrap_or_default().len() as u64 + 1;
    std::fs::write(file, "x".repeat(attempts as usize)).expect("written");
    assert!(attempts >= 3, "attempt {attempts}");
    attempts
}

/// Does something on its way out that takes longer than the rest.
#[mp::task]
fn tidy(file: PathBuf) -> bool {
    mp::at_exit(move || {
        std::thread::sleep(Duration::from_millis(200));
        std::fs::write(&file, "tidy").expect("written");
    });
    true
}

/// Keeps what comes, pulls a trigger when it has so many or when so many run no more, and makes a
/// file when it has the first.
#[derive(Default)]
struct Keep {
    all: Vec<Done>,
    trigger: Option<(usize, Trigger)>,
    enough: Option<(usize, Trigger)>,
    go: Option<PathBuf>,
    output: Option<OwnedFd>,
    most: usize,
}

impl Sink for Keep {
    fn done(&mut self, done: Done) {
        self.all.push(done);
        if let Some(file) = self.go.take() {
            std::fs::write(file, "").expect("written");
        }
        if let Some((_, trigger)) = self.trigger.take_if(|(when, _)| *when == self.all.len()) {
            trigger.pull(2);
        }
    }

    fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.output.as_ref().map(|fd| (fd.as_fd(), PollFlags::empty()))
    }

    fn show(&mut self, progress: Progress) -> Option<Duration> {
        self.most = self.most.max(progress.running);
        let ended = self.most.saturating_sub(progress.running);
        if let Some((_, trigger)) = self.enough.take_if(|(when, _)| *when == ended) {
            trigger.pull(15);
        }
        None
    }
}

impl Keep {
    fn values(&self) -> Vec<Value> {
        self.all.iter().filter_map(|done| done.result.clone().ok()).collect()
    }
}

fn plan(task: &str) -> Plan {
    Plan {
        sandbox: None,
        context: mp::get_context(mp::StartMethod::Spawn),
        task: task.to_owned(),
        name: None,
        jobs: 4,
        ordered: true,
        timeout: None,
        retries: 0,
        start_timeout: None,
        patience: Duration::from_secs(10),
    }
}

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Source {
    Source::given(numbers.into_iter().map(|number| Input::of_word(number.to_string())))
}

fn run(plan: &Plan, mut source: Source, sink: &mut Keep) -> Summary {
    let (stop, _trigger) = Stop::by_hand().expect("pair");
    engine::run(plan, &mut source, sink, &stop).expect("began")
}

/// Workers of this task that are still there.
fn left(task: &str) -> usize {
    let children = mp::active_children();
    children.iter().filter(|child| child.name().starts_with(task)).count()
}

#[test]
fn results_come_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let mut sink = Keep::default();
    let summary = std::thread::scope(|scope| {
        // The first one ends after others have begun.
        scope.spawn(|| {
            wait_for(&folder.path().join("1"));
            wait_for(&folder.path().join("2"));
            std::fs::write(folder.path().join("go"), "").expect("written");
        });
        run(&plan("backwards"), marks(folder.path(), 12), &mut sink)
    });
    assert_eq!(summary, Summary { end: End::Done, done: 12, failed: 0, killed: 0 });
    assert_eq!(sink.values(), (0..12).map(Value::from).collect::<Vec<_>>());
    assert!(sink.most > 1 && sink.most <= 4, "{}", sink.most);
    assert_eq!(left("backwards"), 0);
}

#[test]
fn or_as_they_come() {
    let folder = tempfile::tempdir().expect("folder");
    let mut sink = Keep { go: Some(folder.path().join("go")), ..Keep::default() };
    run(&Plan { ordered: false, ..plan("backwards") }, marks(folder.path(), 8), &mut sink);
    let mut values: Vec<u64> = sink.values().iter().filter_map(Value::as_u64).collect();
    assert_ne!(values[0], 0, "the first waits for another's result");
    values.sort_unstable();
    assert_eq!(values, (0..8).collect::<Vec<_>>());
}

#[test]
fn each_failure_is_told_and_harms_no_other() {
    let mut sink = Keep::default();
    let summary = run(&plan("fragile"), numbers(0..10), &mut sink);
    assert_eq!((summary.done, summary.failed), (10, 8));
    let found: Vec<_> = sink
        .all
        .iter()
        .map(|done| match &done.result {
            Ok(value) => (value.to_string(), None, 0),
            Err(failure) => (failure.message.clone(), Some(failure.kind), failure.code),
        })
        .collect();
    assert_eq!(found[0], ("0".to_owned(), None, 0));
    assert_eq!((found[1].1, found[1].2), (Some(Kind::Failed), 1));
    assert_eq!(found[1].0, "no luck");
    assert_eq!((found[2].1, found[2].2), (Some(Kind::Panicked), 1));
    assert!(found[2].0.contains("boom"), "{found:?}");
    assert_eq!((found[3].1, found[3].2), (Some(Kind::Died), 8));
    assert_eq!((found[4].1, found[4].2), (Some(Kind::Died), 128 + 6));
    assert_eq!(found[5].0, "5");
}

#[test]
fn bad_arguments_are_no_reason_to_retry() {
    let inputs = ["7", "seven"].map(|word| Input::of_word(word.to_owned()));
    let mut sink = Keep::default();
    let summary = run(&Plan { retries: 5, ..plan("double") }, Source::given(inputs), &mut sink);
    assert_eq!(sink.all[0].result, Ok(json!(14)));
    let failure = sink.all[1].result.clone().expect_err("no number");
    assert_eq!((failure.kind, failure.code, summary.failed), (Kind::Rejected, 100, 1));
    assert_eq!(sink.all[1].item.attempt, 1);
}

#[test]
fn an_unknown_task_ends_it_all() {
    let mut sink = Keep::default();
    let summary = run(&plan("duoble"), numbers(0..1000), &mut sink);
    let End::Broken(error) = summary.end else { panic!("{:?}", summary.end) };
    assert_eq!(error.code, 100);
    assert!(error.to_string().contains("did you mean ctl_map::double"), "{error}");
    assert!(summary.done < 100, "{}", summary.done);
}

#[test]
fn retries_help_where_they_can() {
    let folder = tempfile::tempdir().expect("folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    for (retries, name, expected) in [(2, "enough", Ok(json!(3))), (1, "too-few", Err(()))] {
        let source = Source::given([Input::of_word(file(name))]);
        let mut sink = Keep::default();
        run(&Plan { retries, ..plan("stubborn") }, source, &mut sink);
        assert_eq!(sink.all[0].result.clone().map_err(drop), expected);
        assert_eq!(sink.all[0].item.attempt, retries + 1);
    }
}

#[test]
fn a_task_that_takes_too_long_is_killed() {
    let begun = Instant::now();
    // Others meet the limit, unless the machine is slower than that.
    let met = [300, 1200, 4800].map(Duration::from_millis).into_iter().any(|limit| {
        let mut sink = Keep::default();
        let plan = Plan { timeout: Some(limit), ..plan("sleep") };
        run(&plan, numbers([0, LONG, 1]), &mut sink);
        let failure = sink.all[1].result.clone().expect_err("too long");
        assert_eq!((failure.kind, failure.code), (Kind::Timeout, 124));
        assert_eq!(failure.message, format!("took longer than {limit:?}"));
        sink.values() == [json!(0), json!(1)]
    });
    assert!(met, "nobody meets the limit");
    assert!(begun.elapsed() < Duration::from_millis(LONG), "nobody was killed");
}

#[test]
fn a_stopped_worker_is_killed_from_outside() {
    #[mp::task]
    fn stopped() {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    }
    let mut sink = Keep::default();
    let none = Source::given([Input { text: String::new(), arguments: Ok(Vec::new()) }]);
    let limit = Some(Duration::from_millis(100));
    run(&Plan { timeout: limit, ..plan("stopped") }, none, &mut sink);
    assert_eq!(sink.all[0].result.clone().expect_err("stopped").kind, Kind::Timeout);
    assert_eq!(left("stopped"), 0);
}

#[test]
fn an_interruption_leaves_nobody_behind() {
    let (stop, trigger) = Stop::by_hand().expect("pair");
    let mut sink = Keep { trigger: Some((2, trigger)), ..Keep::default() };
    let plan = Plan { name: Some("interrupted".to_owned()), ..plan("sleep") };
    let mut source = numbers([1, 2, LONG, LONG, LONG, LONG, LONG]);
    let begun = Instant::now();
    let summary = engine::run(&plan, &mut source, &mut sink, &stop).expect("began");
    assert!(begun.elapsed() < Duration::from_millis(LONG), "somebody was waited for");
    assert_eq!((summary.end, summary.done), (End::Stopped(2), 2));
    assert_eq!(sink.values(), [json!(1), json!(2)]);
    assert_eq!(left("interrupted"), 0);
}

#[test]
fn what_was_done_is_told_though_an_earlier_input_was_not() {
    let (stop, trigger) = Stop::by_hand().expect("pair");
    let mut sink = Keep { enough: Some((2, trigger)), ..Keep::default() };
    let mut source = numbers([LONG, 5, LONG, 6]);
    let summary = engine::run(&plan("sleep"), &mut source, &mut sink, &stop).expect("began");
    assert_eq!((summary.end, summary.done, summary.killed), (End::Stopped(15), 2, 2));
    assert_eq!(sink.values(), [json!(5), json!(6)]);
}

#[test]
fn nobody_reads_the_output_any_more() {
    let (reader, writer) = std::io::pipe().expect("pipe");
    let mut sink = Keep { output: Some(writer.into()), ..Keep::default() };
    let plan = Plan { name: Some("unread".to_owned()), ..plan("sleep") };
    let (stop, _trigger) = Stop::by_hand().expect("pair");
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            drop(reader);
        });
        engine::run(&plan, &mut numbers([LONG; 9]), &mut sink, &stop).expect("began")
    });
    assert_eq!((summary.end, summary.done), (End::Unread, 0));
    assert_eq!(left("unread"), 0);
}

#[test]
fn lines_are_used_as_they_come() {
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let mut sink = Keep::default();
    let (stop, _trigger) = Stop::by_hand().expect("pair");
    let summary = std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..5 {
                // Cut where it hurts, and slowly.
                write!(writer, "{number}").expect("written");
                std::thread::sleep(Duration::from_millis(30));
                writeln!(writer).expect("written");
            }
            write!(writer, "\"not a number\"\n5").expect("written");
        });
        engine::run(&plan("double"), &mut Source::lines(reader), &mut sink, &stop).expect("began")
    });
    assert_eq!((summary.end, summary.done, summary.failed), (End::Done, 7, 1));
    assert_eq!(sink.values(), [0, 2, 4, 6, 8, 10].map(Value::from));
}

#[test]
fn workers_may_tidy_up() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    let source = Source::given([Input::of_word(file.to_str().expect("text").to_owned())]);
    let mut sink = Keep::default();
    run(&plan("tidy"), source, &mut sink);
    assert_eq!(std::fs::read_to_string(&file).expect("tidy"), "tidy");
}

#[test]
fn nothing_to_do() {
    let mut sink = Keep::default();
    let summary = run(&plan("double"), numbers([]), &mut sink);
    assert_eq!(summary, Summary { end: End::Done, done: 0, failed: 0, killed: 0 });
}
