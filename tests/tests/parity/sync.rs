//! Objects of synchronisation beside CPython's: the same things are tried as in `sync.py`.

use mp::{Acquired, BrokenBarrier, SyncError};
use mpserverd_tests::eventually;
use mpserverd_tests::parity::{Difference, alone, compare};
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use nix::sys::signal::{Signal, raise};
use std::path::Path;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(1000);

/// What is better here than there.
const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "barrier.new none",
        theirs: "True",
        ours: "ValueError",
        why: "a barrier that nobody can pass is refused when it is made",
    },
    Difference {
        name: "death.lock",
        theirs: "False",
        ours: "True",
        why: "a lock of a dead owner is locked for ever there: CPython #88304",
    },
    Difference {
        name: "death.semaphore",
        theirs: "False",
        ours: "True",
        why: "permits of a dead holder are lost there: CPython #88304",
    },
    Difference {
        name: "death.barrier",
        theirs: "1 False",
        ours: "0 True",
        why: "a dead waiter is waited for there: CPython #123899",
    },
    Difference {
        name: "death.condition",
        theirs: "hangs",
        ours: "goes on",
        why: "a dead waiter blocks the notifier there: CPython #75158",
    },
];

/// The outcomes so far.
#[derive(Default)]
struct Said(Vec<(&'static str, String)>);

impl Said {
    fn say(&mut self, name: &'static str, outcome: impl Outcome) {
        self.0.push((name, outcome.text()));
    }
}

/// What something came to, as Python writes it.
trait Outcome {
    fn text(self) -> String;
}

impl Outcome for bool {
    fn text(self) -> String {
        (if self { "True" } else { "False" }).into()
    }
}

impl Outcome for () {
    fn text(self) -> String {
        "None".into()
    }
}

impl Outcome for String {
    fn text(self) -> String {
        self
    }
}

impl Outcome for &str {
    fn text(self) -> String {
        self.into()
    }
}

impl Outcome for usize {
    fn text(self) -> String {
        self.to_string()
    }
}

impl Outcome for u32 {
    fn text(self) -> String {
        self.to_string()
    }
}

impl Outcome for Acquired {
    fn text(self) -> String {
        self.is_held().text()
    }
}

impl<T: Outcome, E: Raised> Outcome for Result<T, E> {
    fn text(self) -> String {
        match self {
            Ok(value) => value.text(),
            Err(error) => error.name().into(),
        }
    }
}

/// The exception that an error is there.
trait Raised {
    fn name(&self) -> &'static str;
}

impl Raised for SyncError {
    fn name(&self) -> &'static str {
        match self {
            Self::NotHeld { .. } | Self::OverRelease { .. } => "ValueError",
            Self::NotOwner { .. } => "AssertionError",
            _ => "RuntimeError",
        }
    }
}

impl Raised for BrokenBarrier {
    fn name(&self) -> &'static str {
        "BrokenBarrierError"
    }
}

fn timed<T: Outcome>(least: Duration, action: impl FnOnce() -> T) -> String {
    let begun = Instant::now();
    let text = action().text();
    format!("{text} {}", (begun.elapsed() >= least).text())
}

fn in_thread<T: Outcome>(action: impl FnOnce() -> T + Send) -> String {
    std::thread::scope(|scope| scope.spawn(|| action().text()).join().unwrap())
}

/// What a process does with what it is given.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
enum Deed {
    Acquire(mp::Lock),
    Release(mp::Lock),
    AcquireAgain(mp::RLock),
    Signal(mp::Semaphore),
    ReleaseBounded(mp::BoundedSemaphore),
    Set(mp::Event),
    Meet(mp::Barrier),
    DieWithLock(mp::Lock),
    DieWithPermit(mp::Semaphore),
    Wait(mp::Condition),
    Count(mp::Condition, mp::Semaphore, mp::Semaphore),
}

#[mp::task]
fn elsewhere(deed: Deed) -> String {
    match deed {
        Deed::Acquire(lock) => lock.acquire(false, None).text(),
        Deed::Release(lock) => lock.release().text(),
        Deed::AcquireAgain(lock) => lock.acquire(false, None).text(),
        Deed::Signal(semaphore) => semaphore.release().text(),
        Deed::ReleaseBounded(semaphore) => semaphore.release().text(),
        Deed::Set(event) => {
            event.set();
            ().text()
        }
        Deed::Meet(barrier) => barrier.wait(None).text(),
        Deed::DieWithLock(lock) => {
            let _ = lock.acquire(true, None);
            raise(Signal::SIGKILL).text()
        }
        Deed::DieWithPermit(semaphore) => {
            std::mem::forget(semaphore.permit());
            raise(Signal::SIGKILL).text()
        }
        Deed::Wait(condition) => {
            let _guard = condition.lock().unwrap();
            condition.wait(None).text()
        }
        Deed::Count(condition, ready, through) => {
            let _guard = condition.lock().unwrap();
            ready.release().unwrap();
            if condition.wait(Some(PATIENCE)).unwrap() {
                through.release().unwrap();
            }
            String::new()
        }
    }
}

impl Raised for nix::Error {
    fn name(&self) -> &'static str {
        self.desc()
    }
}

fn start(deed: Deed) -> mp::Process<String> {
    mp::get_context(mp::StartMethod::Spawn).process::<elsewhere>((deed,)).start().unwrap()
}

fn done(deed: Deed) -> String {
    outcome(&start(deed)).unwrap()
}

fn test_lock(said: &mut Said) {
    let lock = mp::Lock::new().unwrap();
    said.say("lock.acquire", lock.acquire(true, None));
    said.say("lock.acquire held", lock.acquire(false, None));
    said.say("lock.acquire held, no block, timeout", lock.acquire(false, Some(LONG)));
    said.say("lock.acquire held, zero", lock.acquire(true, Some(Duration::ZERO)));
    let timed = timed(SHORT, || lock.acquire(true, Some(SHORT)));
    said.say("lock.acquire held, time", timed);
    said.say("lock.acquire held elsewhere", done(Deed::Acquire(lock.clone())));
    said.say("lock.release elsewhere", done(Deed::Release(lock.clone())));
    said.say("lock.acquire after that", lock.acquire(false, None));
    said.say("lock.release in a thread", in_thread(|| lock.release()));
    said.say("lock.release free", lock.release());
    said.say("lock.release free elsewhere", done(Deed::Release(lock)));
}

fn test_rlock(said: &mut Said) {
    let lock = mp::RLock::new().unwrap();
    said.say("rlock.release free", lock.release());
    for name in ["rlock.acquire 1", "rlock.acquire 2", "rlock.acquire 3"] {
        said.say(name, lock.acquire(true, None));
    }
    said.say("rlock.acquire elsewhere", done(Deed::AcquireAgain(lock.clone())));
    said.say("rlock.acquire in a thread", in_thread(|| lock.acquire(false, None)));
    said.say("rlock.release in a thread", in_thread(|| lock.release()));
    for name in ["rlock.release 3", "rlock.release 2", "rlock.release 1"] {
        said.say(name, lock.release());
    }
    said.say("rlock.release once more", lock.release());
    said.say("rlock.acquire in a thread then", in_thread(|| lock.acquire(false, None)));
}

fn test_semaphore(said: &mut Said) {
    let semaphore = mp::Semaphore::new(2).unwrap();
    said.say("semaphore.value", semaphore.get_value());
    said.say("semaphore.acquire", semaphore.acquire(true, None));
    said.say("semaphore.acquire again", semaphore.acquire(true, None));
    said.say("semaphore.value taken", semaphore.get_value());
    said.say("semaphore.acquire none", semaphore.acquire(false, None));
    said.say("semaphore.acquire zero", semaphore.acquire(true, Some(Duration::ZERO)));
    let names = [
        "semaphore.release 1",
        "semaphore.release 2",
        "semaphore.release 3",
        "semaphore.release 4",
    ];
    for name in names {
        said.say(name, semaphore.release());
    }
    said.say("semaphore.value over", semaphore.get_value());
    said.say("semaphore.release elsewhere", done(Deed::Signal(semaphore.clone())));
    said.say("semaphore.value then", semaphore.get_value());
    let refused = mp::Semaphore::new(1 << 31).is_err();
    said.say("semaphore.new too large", if refused { "OverflowError" } else { "True" });
}

fn test_bounded_semaphore(said: &mut Said) {
    let semaphore = mp::BoundedSemaphore::new(2).unwrap();
    said.say("bounded.release over", semaphore.release());
    said.say("bounded.acquire", semaphore.acquire(true, None));
    said.say("bounded.release elsewhere", done(Deed::ReleaseBounded(semaphore.clone())));
    said.say("bounded.release over elsewhere", done(Deed::ReleaseBounded(semaphore.clone())));
    said.say("bounded.value", semaphore.get_value());
}

fn test_timeout(said: &mut Said) {
    let semaphore = mp::Semaphore::new(0).unwrap();
    let zero = Duration::ZERO;
    for (name, block, timeout, least) in [
        ("timeout.no block", false, None, zero),
        ("timeout.no block, timeout", false, Some(LONG), zero),
        // There are no negative durations here: the nearest is none at all.
        ("timeout.negative", true, Some(zero), zero),
        ("timeout.zero", true, Some(zero), zero),
        ("timeout.time", true, Some(SHORT), SHORT),
    ] {
        said.say(name, timed(least, || semaphore.acquire(block, timeout)));
    }
}

fn test_condition(said: &mut Said) {
    let condition = mp::Condition::new().unwrap();
    let zero = Some(Duration::ZERO);
    said.say("condition.wait unheld", condition.wait(zero));
    said.say("condition.notify unheld", condition.notify(1).map(drop));
    said.say("condition.notify_all unheld", condition.notify_all().map(drop));
    said.say("condition.release unheld", condition.release());
    let guard = condition.lock().unwrap();
    said.say("condition.notify nobody", condition.notify(3).map(drop));
    said.say("condition.wait zero", condition.wait(zero));
    said.say("condition.wait time", timed(SHORT, || condition.wait(Some(SHORT))));
    said.say("condition.wait_for true", condition.wait_for(|| true, zero));
    said.say("condition.wait_for false", condition.wait_for(|| false, Some(SHORT)));
    let deeper = condition.lock().unwrap();
    said.say("condition.wait deep", condition.wait(Some(SHORT)));
    drop(deeper);
    said.say("condition.notify in a thread", in_thread(|| condition.notify(1).map(drop)));
    drop(guard);
    let condition = mp::Condition::with_lock(mp::Lock::new().unwrap()).unwrap();
    said.say("condition.lock wait unheld", condition.wait(zero));
    let _guard = condition.lock().unwrap();
    said.say("condition.lock wait", condition.wait(Some(SHORT)));
}

/// How many of so many waiters a notification wakes, and how many were there. It waits for those
/// that are expected, and then for more.
fn woken(
    count: u32,
    expected: u32,
    notify: impl FnOnce(&mp::Condition) -> Result<usize, SyncError>,
) -> String {
    let condition = mp::Condition::new().unwrap();
    let [ready, through] = [(); 2].map(|()| mp::Semaphore::new(0).unwrap());
    let deed = Deed::Count(condition.clone(), ready.clone(), through.clone());
    let processes = (0..count).map(|_| start(deed.clone())).collect::<Vec<_>>();
    assert!((0..count).all(|_| ready.acquire(true, Some(PATIENCE)).unwrap()));
    let guard = condition.lock().unwrap();
    notify(&condition).unwrap();
    drop(guard);
    let _ = eventually(PATIENCE, || through.get_value() >= expected);
    std::thread::sleep(4 * SHORT);
    let result = through.get_value();
    let guard = condition.lock().unwrap();
    condition.notify_all().unwrap();
    drop(guard);
    assert!(processes.iter().all(|process| end(process) == 0));
    format!("{result} of {}", through.get_value())
}

fn test_notify(said: &mut Said) {
    said.say("notify.one", woken(3, 1, |condition| condition.notify(1)));
    said.say("notify.two", woken(3, 2, |condition| condition.notify(2)));
    said.say("notify.all", woken(3, 3, |condition| condition.notify_all()));
    let many = woken(2, 2, |condition| condition.notify(9));
    said.say("notify.more than there are", many);
}

fn test_event(said: &mut Said) {
    let event = mp::Event::new().unwrap();
    said.say("event.is_set", event.is_set());
    said.say("event.wait zero", event.wait(Some(Duration::ZERO)));
    said.say("event.wait time", timed(SHORT, || event.wait(Some(SHORT))));
    said.say("event.set elsewhere", done(Deed::Set(event.clone())));
    said.say("event.wait set", event.wait(None));
    said.say("event.is_set then", event.is_set());
    event.set();
    said.say("event.set twice", ());
    event.clear();
    said.say("event.clear", ());
    said.say("event.wait cleared", event.wait(Some(Duration::ZERO)));
}

fn test_barrier(said: &mut Said) {
    let refused = matches!(mp::Barrier::new(0, None), Err(mp::ShareError::Size { .. }));
    said.say("barrier.new none", if refused { "ValueError" } else { "True" });
    let barrier = mp::Barrier::new(1, None).unwrap();
    said.say("barrier.wait alone", barrier.wait(None));
    said.say("barrier.wait alone again", barrier.wait(None));
    let barrier = mp::Barrier::new(2, None).unwrap();
    said.say("barrier.parties", barrier.parties());
    said.say("barrier.n_waiting", barrier.n_waiting());
    said.say("barrier.broken", barrier.broken());
    said.say("barrier.wait time", barrier.wait(Some(SHORT)));
    said.say("barrier.broken then", barrier.broken());
    said.say("barrier.wait broken", barrier.wait(None));
    said.say("barrier.wait broken elsewhere", done(Deed::Meet(barrier.clone())));
    barrier.reset();
    said.say("barrier.broken reset", barrier.broken());
    barrier.abort();
    said.say("barrier.wait aborted", barrier.wait(None));

    let barrier = mp::Barrier::new(2, None).unwrap();
    let process = start(Deed::Meet(barrier.clone()));
    let index = barrier.wait(None).unwrap();
    said.say("barrier.wait two", format!("{} {}", (index < 2).text(), end(&process)));

    let barrier = mp::Barrier::new(1, None).unwrap();
    let failed = std::panic::catch_unwind(|| barrier.wait_with(None, || panic!("KeyError")));
    let panic = failed.unwrap_err();
    said.say("barrier.action fails", *panic.downcast_ref::<&str>().unwrap());
    said.say("barrier.broken by action", barrier.broken());
    let brief = mp::Barrier::new(2, Some(SHORT)).unwrap();
    said.say("barrier.default timeout", brief.wait(None));
}

fn test_deaths(said: &mut Said) {
    let lock = mp::Lock::new().unwrap();
    assert_eq!(end(&start(Deed::DieWithLock(lock.clone()))), -9);
    said.say("death.lock", lock.acquire(true, Some(PATIENCE)));
    let semaphore = mp::Semaphore::new(1).unwrap();
    assert_eq!(end(&start(Deed::DieWithPermit(semaphore.clone()))), -9);
    said.say("death.semaphore", semaphore.acquire(true, Some(PATIENCE)));

    let barrier = mp::Barrier::new(3, None).unwrap();
    let [dies, lives] = [(); 2].map(|()| start(Deed::Meet(barrier.clone())));
    assert!(eventually(PATIENCE, || barrier.n_waiting() == 2));
    dies.kill().unwrap();
    assert_eq!(outcome(&lives).unwrap(), "BrokenBarrierError");
    said.say("death.barrier", format!("{} {}", barrier.n_waiting(), barrier.broken().text()));

    let condition = mp::Condition::new().unwrap();
    let dies = start(Deed::Wait(condition.clone()));
    assert!(eventually(PATIENCE, || condition.waiters() == 1 && !condition.locked()));
    dies.kill().unwrap();
    let _ = end(&dies);
    let guard = condition.lock().unwrap();
    let woken = condition.notify_all().unwrap();
    drop(guard);
    said.say("death.condition", if woken == 0 { "goes on" } else { "wakes the dead" });
}

#[test]
fn synchronisation_is_that_of_cpython() {
    let _turn = alone();
    let mut said = Said::default();
    test_lock(&mut said);
    test_rlock(&mut said);
    test_semaphore(&mut said);
    test_bounded_semaphore(&mut said);
    test_timeout(&mut said);
    test_condition(&mut said);
    test_notify(&mut said);
    test_event(&mut said);
    test_barrier(&mut said);
    test_deaths(&mut said);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/sync.py");
    compare(&script, &said.0, DIFFERENCES);
}
