//! Servers: in this process and others, addresses, keys, initializers, ends.

use mp::{Address, Manager, ManagerError};
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static INITIALIZED: AtomicU32 = AtomicU32::new(0);

#[mp::task]
fn initialize(number: u32) -> Result<(), String> {
    if number == 13 {
        return Err("not thirteen".to_owned());
    }
    assert_ne!(number, 14, "nor fourteen");
    INITIALIZED.store(number, Ordering::SeqCst);
    Ok(())
}

struct Probe;

#[mp::remote]
impl Probe {
    pub fn new() -> Self {
        Self
    }

    pub fn initialized(&self) -> u32 {
        INITIALIZED.load(Ordering::SeqCst)
    }

    pub fn hang(&self) {
        crate::sleep_on();
    }
}

fn initializers(ctx: &mp::Context) {
    let manager = ctx.manager_builder().initializer::<initialize>((5,)).start().unwrap();
    assert_eq!(ProbeProxy::new(&manager).unwrap().initialized().unwrap(), 5);
    for (number, text) in [(13, "not thirteen"), (14, "nor fourteen")] {
        let failed = ctx.manager_builder().initializer::<initialize>((number,)).start();
        let Err(ManagerError::Initializer(message)) = failed else { panic!("{failed:?}") };
        assert!(message.contains(text), "{message}");
    }
}

fn sigint_is_nothing_to_it(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let list = manager.list([1]).unwrap();
    for _ in 0..3 {
        manager.process().interrupt().unwrap();
        list.append(&2).unwrap();
    }
    assert_eq!(list.len().unwrap(), 4);
    assert_eq!(manager.shutdown().unwrap(), 0);
}

#[mp::task]
fn serve(address: Address, key: Vec<u8>, told: mp::Connection) {
    let server = Manager::builder().address(address).authkey(&key).server().unwrap();
    let address = server.address().clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let manager = Manager::builder().address(&address).authkey(&key).connect().unwrap();
            let jobs = manager.queue::<String>(0).unwrap();
            jobs.put(&"first".to_owned()).unwrap();
            assert!(manager.publish("jobs", &jobs).unwrap());
            told.send(&address).unwrap();
        });
        server.serve_forever();
    });
}

#[mp::task]
fn work(jobs: mp::QueueProxy<String>) -> Result<String, mp::TaskError> {
    let job = jobs.get_timeout(PATIENCE)?;
    jobs.put(&format!("{job}, done"))?;
    Ok(job)
}

fn two_programs(ctx: &mp::Context, address: Address) {
    let (ours, theirs) = mp::pipe(false).unwrap();
    let arguments = (address, b"a key of theirs".to_vec(), theirs);
    let server = ctx.process::<serve>(arguments).daemon(true).start().unwrap();
    let address: Address = ours.recv_timeout(PATIENCE).unwrap();
    let connect = |key: &[u8]| Manager::builder().address(&address).authkey(key).connect();
    assert!(matches!(connect(b"another"), Err(ManagerError::Authentication(_))));
    assert!(matches!(connect(b""), Err(ManagerError::Authentication(_))));
    let without = Manager::builder().address(&address).connect();
    assert!(matches!(without, Err(ManagerError::Authentication(_))), "{without:?}");
    let manager = connect(b"a key of theirs").unwrap();
    let jobs: mp::QueueProxy<String> = manager.find("jobs").unwrap();
    // A child of ours gets a proxy, and needs no key.
    assert_eq!(value(ctx.process::<work>((jobs.clone(),))).unwrap(), "first");
    assert_eq!(jobs.get_timeout(PATIENCE).unwrap(), "first, done");
    assert!(matches!(manager.find::<mp::LockProxy>("jobs"), Err(ManagerError::WrongType { .. })));
    assert!(matches!(manager.find::<mp::LockProxy>("none"), Err(ManagerError::NoName)));
    server.kill().unwrap();
    assert_eq!(end(&server), -9);
    assert!(jobs.get().unwrap_err().is_gone());
    let again = connect(b"a key of theirs");
    assert!(matches!(again, Err(ManagerError::Connection(_))), "{again:?}");
}

fn over_tcp(ctx: &mp::Context) {
    two_programs(ctx, ("127.0.0.1", 0).into());
}

fn over_a_path(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    two_programs(ctx, directory.path().join("socket").into());
}

mpserverd_tests::suite![initializers, sigint_is_nothing_to_it, over_tcp, over_a_path];

#[test]
fn again_and_again_at_the_same_address() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // A place of this machine where no connection begins that might get the number meanwhile.
    let tcp = spawn.manager_builder().address(("127.0.77.1", 0)).start().unwrap();
    let port = tcp.address().clone();
    tcp.list([1]).unwrap();
    tcp.shutdown().unwrap();
    let name = Address::Abstract(format!("test-{}", std::process::id()).into_bytes());
    let mut before: Option<mp::ListProxy<i32>> = None;
    for address in [Address::from(&path), port, name] {
        for round in 0..4 {
            let manager = spawn.manager_builder().address(&address).start().unwrap();
            assert_eq!(*manager.address(), address);
            if let Some(list) = before.replace(manager.list([round]).unwrap()) {
                assert!(list.copy().unwrap_err().is_gone(), "that was another server's");
            }
            if round % 2 == 0 {
                assert_eq!(manager.shutdown().unwrap(), 0);
            } else {
                // A killed one leaves its socket behind, which is not in the way.
                crate::kill(manager.pid());
                assert_eq!(manager.join(Some(PATIENCE)), Some(-9));
            }
        }
    }
    assert!(path.exists(), "of the killed one");
}

#[test]
fn an_address_that_is_taken() {
    let manager = mp::get_context(mp::StartMethod::Spawn).manager_builder();
    let first = manager.address(("127.0.0.1", 0)).start().unwrap();
    let second = mp::get_context(mp::StartMethod::Spawn).manager_builder();
    let refused = second.address(first.address()).start();
    assert!(matches!(refused, Err(ManagerError::Protocol(_))), "{refused:?}");
    assert!(matches!(Manager::builder().connect(), Err(ManagerError::Connection(_))));
    first.list([1]).unwrap();
}

#[test]
fn a_default_server_leaves_nothing_behind() {
    let manager = crate::spawned();
    assert!(matches!(manager.address(), Address::Abstract(_)));
    let list = manager.list([1]).unwrap();
    let pid = manager.pid();
    drop(manager);
    assert!(!mpserverd_tests::proc::is_running(pid));
    assert!(list.copy().unwrap_err().is_gone());
}

#[test]
fn shutdown_is_polite_then_firm() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let builder = spawn.manager_builder().shutdown_timeout(Duration::from_millis(100));
    let manager = builder.start().unwrap();
    let probe = ProbeProxy::new(&manager).unwrap();
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| probe.hang());
        std::thread::sleep(crate::SHORT);
        assert_eq!(manager.shutdown().unwrap(), 0, "a method that hangs is not waited for");
        assert!(hanging.join().unwrap().unwrap_err().is_gone());
    });
    let builder = spawn.manager_builder().shutdown_timeout(Duration::from_millis(100));
    let manager = builder.start().unwrap();
    crate::stopped::signal(&manager, libc::SIGSTOP);
    assert_eq!(manager.shutdown().unwrap(), -9, "one that is stopped is killed");
}

#[test]
fn names() {
    let manager = crate::spawned();
    let list = manager.list([1]).unwrap();
    assert!(manager.publish("a", &list).unwrap());
    assert!(!manager.publish("a", &manager.list([2]).unwrap()).unwrap());
    drop(list);
    assert_eq!(manager.find::<mp::ListProxy<i32>>("a").unwrap().copy().unwrap(), [1]);
    let other = manager.find_or("b", |manager| manager.list([5])).unwrap();
    let same = manager.find_or("b", |manager| manager.list([6])).unwrap();
    assert!(mp::Proxy::is_same(&other, &same));
    assert!(manager.unpublish("a").unwrap() && !manager.unpublish("a").unwrap());
    assert!(matches!(manager.find::<mp::ListProxy<i32>>("a"), Err(ManagerError::NoName)));
    assert!(matches!(manager.publish(&"x".repeat(600), &other), Err(ManagerError::Limit { .. })));
}

#[test]
fn a_server_in_this_process() {
    let server = Manager::builder().authkey(b"k").server().unwrap();
    let (address, stopper) = (server.address().clone(), server.stopper());
    std::thread::scope(|scope| {
        let serving = scope.spawn(move || server.serve_forever());
        let manager = Manager::builder().address(&address).authkey(b"k").connect().unwrap();
        let lock = manager.lock().unwrap();
        let held = lock.lock().unwrap();
        let copy = lock.clone();
        let waiter = scope.spawn(move || copy.lock().map(drop));
        std::thread::sleep(crate::SHORT);
        stopper.stop();
        assert!(waiter.join().unwrap().unwrap_err().is_gone());
        serving.join().unwrap();
        drop(held);
    });
}
