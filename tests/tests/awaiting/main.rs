//! Everything that waits, awaited: what it gives, what dropping a future does, what happens when
//! others die, and that no runtime is assumed.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod cancel;
mod connections;
mod crowd;
mod deaths;
mod executors;
mod forks;
mod pair;
mod processes;
mod queues;
mod sync;
mod threads;

use mpserverd_tests::suite::PATIENCE;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A wait that is expected to be in vain.
const SHORT: Duration = Duration::from_millis(50);

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor there is: this thread, which sleeps until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// What a runtime of tokio gives that has one thread.
fn in_tokio<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What is expected to come.
async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match mp::timeout(future, PATIENCE).await {
        Ok(output) => output,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// What is not expected to come, and is not waited for less than it should.
async fn in_vain<F: Future>(what: &str, future: F) {
    let begun = Instant::now();
    assert!(mp::timeout(future, SHORT).await.is_err(), "{what}");
    assert!(begun.elapsed() >= SHORT, "{what}: after {:?}", begun.elapsed());
}

/// Polls once; what is expected to wait.
fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
