//! `wait`: `TestWait` and its relatives.

use super::{LONG, SHORT, pipe};
use mp::{Connection, Waitable};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end};
use std::cell::Cell;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

suite![test_wait, test_wait_integer, test_wait_of_processes];

#[mp::task]
fn count_slowly(connection: Connection, id: u32) {
    for number in 0..10u32 {
        std::thread::sleep(Duration::from_millis(u64::from((id * 7 + number * 3) % 10)));
        connection.send(&(number, id)).unwrap();
    }
}

fn test_wait(ctx: &mp::Context) {
    let (mut readers, children): (Vec<_>, Vec<_>) = (0..4u32)
        .map(|id| {
            let (reader, writer) = mp::pipe(false).unwrap();
            (reader, ctx.process::<count_slowly>((writer, id)).start().unwrap())
        })
        .unzip();
    let mut messages = Vec::new();
    while !readers.is_empty() {
        let objects = readers.iter().map(|reader| reader as &dyn Waitable).collect::<Vec<_>>();
        let ready = mp::wait(&objects, Some(PATIENCE));
        assert!(!ready.is_empty() && ready.is_sorted());
        for at in ready.into_iter().rev() {
            match readers[at].recv::<(u32, u32)>() {
                Ok(message) => messages.push(message),
                Err(mp::ConnectionError::Eof) => drop(readers.remove(at)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    messages.sort_unstable();
    let expected = (0..10).flat_map(|number| (0..4).map(move |id| (number, id)));
    assert_eq!(messages, expected.collect::<Vec<_>>());
    children.iter().for_each(|child| assert_eq!(end(child), 0));
}

#[mp::task]
fn wait_for_start(connection: Connection, pause: Duration) {
    connection.recv::<()>().unwrap();
    std::thread::sleep(pause);
}

/// Connections, sockets, plain descriptors and sentinels together.
fn test_wait_integer(ctx: &mp::Context) {
    let (a, b) = pipe();
    let (go, start) = pipe();
    let child = ctx.process::<wait_for_start>((start, SHORT)).start().unwrap();
    let objects: [&dyn Waitable; 3] = [&a, &child.sentinel(), &b];
    assert!(mp::wait(&objects, Some(SHORT)).is_empty());
    go.send(&()).unwrap();
    assert_eq!(mp::wait(&objects, Some(PATIENCE)), [1]);
    a.send(&1).unwrap();
    assert_eq!(mp::wait(&objects, Some(PATIENCE)), [1, 2]);
    b.send(&1).unwrap();
    assert_eq!(mp::wait(&objects, None), [0, 1, 2]);
    assert_eq!(end(&child), 0);
    assert_eq!(mp::wait(&objects, Some(Duration::ZERO)), [0, 1, 2]);
}

fn test_wait_of_processes(ctx: &mp::Context) {
    let (go, lines): (Vec<_>, Vec<_>) = (0..3).map(|_| pipe()).unzip();
    let start = |line| ctx.process::<wait_for_start>((line, Duration::ZERO)).start().unwrap();
    let children = lines.into_iter().map(start).collect::<Vec<_>>();
    let objects: [&dyn Waitable; 3] = [&children[0], children[1].handle(), &children[2]];
    assert!(mp::wait(&objects, Some(Duration::ZERO)).is_empty());
    for at in [1, 0, 2] {
        let line = &go[at];
        line.send(&()).unwrap();
        assert_eq!(end(&children[at]), 0);
        assert!(mp::wait(&objects, Some(PATIENCE)).contains(&at));
    }
    assert_eq!(mp::wait(&objects, None), [0, 1, 2]);
}

#[test]
fn test_wait_socket() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    assert!(mp::wait(&[&listener], Some(Duration::ZERO)).is_empty());
    let mut near = TcpStream::connect(address).unwrap();
    assert_eq!(mp::wait(&[&listener], Some(LONG)), [0]);
    let far = listener.accept().unwrap().0;
    assert!(mp::wait(&[&near, &far], Some(SHORT)).is_empty());
    near.write_all(b"x").unwrap();
    assert_eq!(mp::wait(&[&near, &far], Some(LONG)), [1]);
    drop(far);
    assert_eq!(mp::wait(&[&near], Some(LONG)), [0], "an end is readable");
}

#[test]
fn test_wait_timeout() {
    let (a, b) = pipe();
    let start = Instant::now();
    assert!(mp::wait(&[&a, &b], Some(5 * SHORT)).is_empty());
    assert!(start.elapsed() >= 5 * SHORT);
    b.send(&()).unwrap();
    assert_eq!(mp::wait(&[&a, &b], Some(LONG)), [0]);
}

#[test]
fn test_neg_timeout() {
    let (a, b) = pipe();
    for _ in 0..3 {
        assert!(mp::wait(&[&a, &b], Some(Duration::ZERO)).is_empty());
    }
    a.send(&()).unwrap();
    assert_eq!(mp::wait(&[&a, &b], Some(Duration::ZERO)), [1]);
}

#[test]
fn nothing_is_waited_for_in_an_empty_list() {
    assert!(mp::wait(&[], None).is_empty());
    assert!(mp::wait(&[], Some(LONG)).is_empty());
}

#[test]
fn one_object_may_be_there_often() {
    let (a, b) = pipe();
    b.send(&1).unwrap();
    assert_eq!(mp::wait(&[&a, &b, &a], None), [0, 2]);
    let (soft, _) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    // More objects than the system watches at once.
    let many = vec![&a as &dyn Waitable; (soft as usize).min(70_000) + 10];
    assert_eq!(mp::wait(&many, None).len(), many.len());
}

#[test]
fn there_may_be_more_descriptors_than_a_set_of_select_holds() {
    if mp::sys::attributes::raise_descriptor_limit().unwrap() < 4000 {
        return mpserverd_tests::skip("2600 descriptors exceed the hard limit");
    }
    let pairs = (0..1300).map(|_| pipe()).collect::<Vec<_>>();
    let objects = pairs.iter().map(|pair| &pair.0 as &dyn Waitable).collect::<Vec<_>>();
    assert!(mp::wait(&objects, Some(Duration::ZERO)).is_empty());
    for at in [0, 700, 1299] {
        pairs[at].1.send(&at).unwrap();
    }
    assert_eq!(mp::wait(&objects, Some(LONG)), [0, 700, 1299]);
}

/// Ready after it was asked so often; its descriptor says it always is.
struct Fussy {
    asked: Cell<u32>,
    after: u32,
    end: Connection,
    hidden: bool,
}

impl Waitable for Fussy {
    fn watch(&self) -> io::Result<BorrowedFd<'_>> {
        if self.hidden { Err(io::ErrorKind::Unsupported.into()) } else { Ok(self.end.as_fd()) }
    }

    fn is_ready(&self, _: bool) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() > self.after
    }
}

#[test]
fn objects_that_know_better_than_their_descriptor_are_believed() {
    let (end, other) = pipe();
    let ready = Fussy { asked: Cell::new(0), after: 0, end, hidden: false };
    let (a, b) = pipe();
    b.send(&1).unwrap();
    assert_eq!(mp::wait(&[&ready, &a], None), [0, 1], "others are looked at too");

    // A descriptor that is for ever ready costs no processor.
    other.send(&1).unwrap();
    let never = Fussy { asked: Cell::new(0), after: u32::MAX, ..ready };
    assert!(mp::wait(&[&never], Some(5 * SHORT)).is_empty());
    assert!(never.asked.get() < 1000, "asked {} times", never.asked.get());
    let late = Fussy { asked: Cell::new(0), after: 5, ..never };
    assert_eq!(mp::wait(&[&late], Some(LONG)), [0]);

    // Nor does one that has none.
    let hidden = Fussy { asked: Cell::new(0), after: u32::MAX, hidden: true, ..late };
    assert!(mp::wait(&[&hidden], Some(5 * SHORT)).is_empty());
    assert!(hidden.asked.get() < 1000, "asked {} times", hidden.asked.get());
    let late = Fussy { asked: Cell::new(0), after: 5, ..hidden };
    assert_eq!(mp::wait(&[&late], Some(LONG)), [0]);
}

#[test]
fn queues_are_waited_for_beside_connections() {
    let (a, b) = pipe();
    let (producer, consumer) = mp::Queue::<u32>::new().unwrap().split();
    let joinable = mp::JoinableQueue::<u32>::new().unwrap();
    let objects: [&dyn Waitable; 3] = [&a, &consumer, &joinable];
    assert!(mp::wait(&objects, Some(5 * SHORT)).is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            producer.put(&1).unwrap();
        });
        assert_eq!(mp::wait(&objects, Some(LONG)), [1]);
    });
    joinable.put(&2).unwrap();
    b.send(&3).unwrap();
    assert_eq!(mp::wait(&objects, Some(LONG)), [0, 1, 2]);
    assert_eq!(consumer.get().unwrap(), 1);
    assert_eq!(mp::wait(&objects, Some(LONG)), [0, 2]);
    assert!(mp::wait(&[&consumer], Some(SHORT)).is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            drop(producer);
        });
        assert_eq!(mp::wait(&[&consumer], Some(LONG)), [0], "no producer is left");
    });
}

#[mp::task]
fn wait_through_signals() {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing; without SA_RESTART it interrupts what it can.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    // SAFETY: it only tells which thread this is.
    let target = unsafe { libc::pthread_self() };
    let (a, b) = pipe();
    let listener = mp::Listener::builder().bind().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let big = vec![3; 8 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                // SAFETY: the thread outlives this one.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let start = Instant::now();
        assert!(mp::wait(&[&a], Some(3 * SHORT)).is_empty());
        assert!(super::is_timeout(&a.recv_timeout::<u8>(3 * SHORT)));
        assert!(!a.poll(Some(3 * SHORT)).unwrap());
        assert!(super::is_timeout(&listener.accept_timeout(3 * SHORT)));
        assert!(start.elapsed() >= 12 * SHORT);
        // A call without a deadline goes on, too, in the middle of a message.
        let peer = scope.spawn(|| {
            std::thread::sleep(SHORT);
            assert!(b.recv_bytes(None).unwrap() == big);
            std::thread::sleep(SHORT);
            b.send_bytes(&big).unwrap();
        });
        a.send_bytes(&big).unwrap();
        assert!(a.recv_bytes(None).unwrap() == big);
        peer.join().unwrap();
        let late = scope.spawn(|| {
            std::thread::sleep(SHORT);
            mp::Client::connect(listener.address(), None).unwrap()
        });
        listener.accept().unwrap();
        late.join().unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// `TestIgnoreEINTR`.
#[test]
fn test_ignore_eintr() {
    suite::passed(mp::get_context(mp::StartMethod::Spawn).process::<wait_through_signals>(()));
}
