//! The two threads: there are none before something is waited for, they end when nothing is, and a
//! system without `futex_waitv` has naps.

use crate::{SHORT, block_on, in_vain, poll_once, soon};
use mp::{Condition, Event, Lock, Queue, Semaphore};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, passed};
use std::time::{Duration, Instant};

/// Names of the threads of this process that are the reactor's.
fn reactor_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let ours = |name: &String| name.starts_with("mp-");
    names.map(|name| name.trim_end().to_owned()).filter(ours).collect()
}

#[mp::task]
fn whatever_need_not_wait_needs_no_thread() {
    let (ours, theirs) = mp::pipe(true).unwrap();
    let (lock, recursive) = (Lock::new().unwrap(), mp::RLock::new().unwrap());
    let (semaphore, event) = (Semaphore::new(1).unwrap(), Event::new().unwrap());
    let (condition, queue) = (Condition::new().unwrap(), Queue::<u32>::new().unwrap());
    let barrier = mp::Barrier::new(1, None).unwrap();
    event.set();
    block_on(async {
        for _ in 0..100 {
            drop((lock.lock_async().await.unwrap(), recursive.lock_async().await.unwrap()));
            drop(semaphore.permit_async().await.unwrap());
            event.wait_async().await;
            drop(condition.lock_async().await.unwrap());
            barrier.wait_async().await.unwrap();
            queue.put_async(&1).await.unwrap();
            assert_eq!(queue.get_async().await.unwrap(), 1);
            ours.send_async(&1).await.unwrap();
            assert_eq!(theirs.recv_async::<i32>().await.unwrap(), 1);
            drop(mp::timeout(lock.lock_async(), PATIENCE).await.unwrap().unwrap());
        }
    });
    assert_eq!(reactor_threads(), Vec::<String>::new());
    block_on(in_vain("it must wait", queue.get_async()));
    assert_eq!(reactor_threads().len(), 2);
}

#[test]
fn whatever_need_not_wait_needs_no_thread_here() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    passed(ctx.process::<whatever_need_not_wait_needs_no_thread>(()));
}

#[mp::task]
fn idle_threads_end() {
    let event = Event::new().unwrap();
    for _ in 0..2 {
        block_on(in_vain("nobody sets it", event.wait_async()));
        assert_eq!(reactor_threads().len(), 2);
        assert!(eventually(PATIENCE, || reactor_threads().is_empty()), "{:?}", reactor_threads());
    }
}

#[test]
fn idle_threads_end_and_begin_again() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    passed(ctx.process::<idle_threads_end>(()));
}

/// An executor that sleeps by `park` may be woken while it polls, and must see that afterwards.
#[mp::task]
fn polls_do_not_use_up_a_wake_up() {
    let event = Event::new().unwrap();
    let timer = mp::timeout(std::future::pending::<()>(), PATIENCE);
    let (mut waits, mut timer) = (Box::pin(event.wait_async()), Box::pin(timer));
    std::thread::current().unpark();
    // Both threads start now.
    assert!(poll_once(waits.as_mut()).is_pending() && poll_once(timer.as_mut()).is_pending());
    assert_eq!(reactor_threads().len(), 2);
    let begun = Instant::now();
    std::thread::park_timeout(PATIENCE);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn an_executor_that_parks_misses_nothing() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    passed(ctx.process::<polls_do_not_use_up_a_wake_up>(()));
}

/// From now on `futex_waitv` does not exist for this thread and those that it starts.
fn forget_futex_waitv() {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 1 - jt, k };
    let mut program = [
        libc::sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        step(JUMP_IF_EQUAL, 0, libc::SYS_futex_waitv as u32),
        libc::sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program and its description outlive the calls, which copy them.
    let done = unsafe {
        (
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter),
        )
    };
    assert_eq!(done, (0, 0), "{}", std::io::Error::last_os_error());
}

#[mp::task]
fn naps() {
    forget_futex_waitv();
    let (lock, queue) = (Lock::new().unwrap(), Queue::<u32>::new().unwrap());
    let event = Event::new().unwrap();
    let guard = block_on(lock.lock_async()).unwrap();
    block_on(in_vain("it is held", lock.lock_async()));
    let waits = async {
        assert_eq!(queue.get_async().await.unwrap(), 7);
        event.wait_async().await;
        drop(lock.lock_async().await.unwrap());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            queue.put(&7).unwrap();
            std::thread::sleep(SHORT);
            event.set();
        });
        let releases = async {
            event.wait_async().await;
            assert!(
                mp::timeout(std::future::pending::<()>(), Duration::from_millis(5)).await.is_err()
            );
            drop(guard);
        };
        block_on(soon("all of it", async { tokio::join!(waits, releases) }));
    });
}

#[test]
fn a_system_without_the_call_has_naps() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    passed(ctx.process::<naps>(()));
}
