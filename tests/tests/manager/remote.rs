//! Objects of users' types.

use crate::until;
use mp::{ManagerError, Proxy, RemoteObject};
use mpserverd_tests::suite::{PATIENCE, value};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Counts.
struct Counter {
    count: i64,
    running: AtomicU32,
}

#[mp::remote]
impl Counter {
    /// One that has counted so far.
    pub fn new(start: i64) -> Self {
        Self { count: start, running: AtomicU32::new(0) }
    }

    /// One that reads how far it has counted.
    pub fn parse(text: &str) -> Result<Self, std::num::ParseIntError> {
        Ok(Self::new(text.parse()?))
    }

    /// Adds to it.
    pub fn add(&mut self, n: i64) -> i64 {
        self.count += n;
        self.count
    }

    pub fn get(&self) -> i64 {
        self.secret()
    }

    /// Waits until so many run it at the same time.
    pub fn meet(&self, others: u32) -> bool {
        self.running.fetch_add(1, Ordering::SeqCst);
        mpserverd_tests::eventually(PATIENCE, || self.running.load(Ordering::SeqCst) >= others)
    }

    /// Not atomic by itself: only as a method that runs alone.
    pub fn add_slowly(&mut self, n: i64) {
        let before = self.count;
        std::thread::sleep(Duration::from_micros(200));
        self.count = before + n;
    }

    pub fn fail(&self, text: &str) -> Result<i64, String> {
        Err(text.to_owned())
    }

    pub fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    pub fn sum(&self, numbers: &[i64]) -> i64 {
        self.count + numbers.iter().sum::<i64>()
    }

    pub fn panic(&self) {
        panic!("no luck");
    }

    pub fn panic_half_way(&mut self) {
        self.count = -1;
        panic!("half-way");
    }

    /// Adds to a list of the same manager, and gives it back.
    pub fn report(&self, to: mp::ListProxy<i64>) -> Result<mp::ListProxy<i64>, mp::TaskError> {
        to.append(&self.count)?;
        Ok(to)
    }

    fn secret(&self) -> i64 {
        self.count
    }
}

#[mp::task]
fn count_up(counter: CounterProxy, times: u32) -> Result<(), mp::TaskError> {
    (0..times).try_for_each(|_| counter.add_slowly(1))?;
    Ok(())
}

fn methods(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let counter = CounterProxy::new(&manager, 5).unwrap();
    assert_eq!((counter.add(2).unwrap(), counter.get().unwrap()), (7, 7));
    assert_eq!(counter.sum(&[1, 2]).unwrap(), 10);
    assert_eq!(counter.fail("so").unwrap(), Err("so".to_owned()));
    let missing = counter.read("/no/such/file".as_ref()).unwrap().unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    assert!(CounterProxy::parse(&manager, "12").unwrap().get().unwrap() == 12);
    let Err(ManagerError::Remote(error)) = CounterProxy::parse(&manager, "x") else { panic!() };
    assert!(error.kind.contains("ParseIntError") && error.message.contains("invalid digit"));
    let list = manager.list([]).unwrap();
    let back = counter.report(list.clone()).unwrap().unwrap();
    assert!(back.is_same(&list) && back.copy().unwrap() == [7]);
    let start = || ctx.process::<count_up>((counter.clone(), 20)).start().unwrap();
    let processes = [start(), start(), start()];
    for process in &processes {
        process.result().unwrap().unwrap();
    }
    assert_eq!(counter.get().unwrap(), 67, "methods that change it run alone");
    manager.publish("counter", &counter).unwrap();
    assert!(manager.find::<CounterProxy>("counter").unwrap().is_same(&counter));
    let other = manager.find::<mp::ListProxy<i64>>("counter");
    assert!(matches!(other, Err(ManagerError::WrongType { .. })));
}

mpserverd_tests::suite![methods];

#[test]
fn panics_are_told_and_poison_what_could_change() {
    let manager = crate::spawned();
    let counter = CounterProxy::new(&manager, 5).unwrap();
    let Err(ManagerError::Remote(error)) = counter.panic() else { panic!() };
    assert_eq!((&*error.kind, &*error.message), ("panic", "no luck"));
    assert!(error.location.unwrap().contains("remote.rs"));
    assert_eq!(counter.get().unwrap(), 5);
    assert!(matches!(counter.panic_half_way(), Err(ManagerError::Remote(_))));
    assert!(matches!(counter.get(), Err(ManagerError::Poisoned { proxy: "CounterProxy" })));
    assert!(matches!(counter.add(1), Err(ManagerError::Poisoned { .. })));
    counter.make_consistent().unwrap();
    assert_eq!(counter.get().unwrap(), -1);
}

#[test]
fn a_backtrace_comes_along() {
    let context = mp::get_context(mp::StartMethod::Spawn);
    let outcome = value(context.process::<panic_with_backtrace>(()).env("RUST_BACKTRACE", "1"));
    assert!(outcome, "there is a backtrace");
}

#[mp::task]
fn panic_with_backtrace() -> bool {
    let manager = crate::spawned();
    let counter = CounterProxy::new(&manager, 5).unwrap();
    let Err(ManagerError::Remote(error)) = counter.panic() else { panic!() };
    error.backtrace.is_some_and(|backtrace| backtrace.contains("Counter"))
}

#[test]
fn calls_run_beside_each_other_and_have_a_time() {
    let manager = crate::spawned();
    let counter = CounterProxy::new(&manager, 0).unwrap();
    std::thread::scope(|scope| {
        let meets = [0; 5].map(|_| scope.spawn(|| counter.meet(5).unwrap()));
        assert!(meets.into_iter().all(|meet| meet.join().unwrap()));
    });
    let counter = CounterProxy::new(&manager, 0).unwrap();
    let hasty = counter.with_timeout(crate::SHORT);
    assert!(hasty.meet(2).unwrap_err().is_timeout());
    assert!(counter.meet(2).unwrap(), "that call still runs");
}

#[test]
fn a_killed_server_ends_calls_of_methods() {
    let manager = crate::spawned();
    let counter = CounterProxy::new(&manager, 0).unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| counter.meet(9));
        std::thread::sleep(crate::SHORT);
        crate::kill(manager.pid());
        assert!(call.join().unwrap().unwrap_err().is_gone());
    });
    until("nothing is left", || !manager.process().is_alive());
}

#[test]
fn a_host_of_modules_does_not_know_the_types_of_a_program() {
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    let context = daemon.context().with_modules(Vec::<String>::new());
    let manager = context.manager().unwrap();
    let list = manager.list([1]).unwrap();
    assert_eq!(list.copy().unwrap(), [1]);
    let unknown = CounterProxy::new(&manager, 1);
    let Err(ManagerError::Unknown { name, .. }) = unknown else { panic!("{unknown:?}") };
    assert!(name.contains("Counter"), "{name}");
}
