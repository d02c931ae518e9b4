//! Measures workers on a thread of its own, so that the loop waits for nobody's memory to be
//! counted. The thread is made when something is to be measured for the first time.
//!
//! What must never be in here: a clock that wakes up; the core says when to measure.

use super::poller::{Poller, Source};
use super::tree;
use crate::core::{Measure, Sample};
use mpserverd_proto::ids::WorkerId;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::SigSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// Stack of the thread, bytes: it reads small files.
const STACK_BYTES: usize = 256 << 10;

/// What is to be measured.
#[derive(Debug)]
struct Order {
    worker: WorkerId,
    pid: u32,
    /// Tells whether the pid still means the worker.
    pidfd: OwnedFd,
    what: Measure,
}

/// What came out.
pub(super) type Result = (WorkerId, Option<Sample>);

/// The thread, once there is one.
#[derive(Debug)]
pub(super) struct Sampler {
    orders: Sender<Order>,
    results: Receiver<Result>,
    ready: Arc<EventFd>,
}

impl Sampler {
    /// Makes the thread.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn start(poller: &Poller) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let ready = Arc::new(EventFd::from_flags(flags)?);
        poller.add(ready.as_fd(), Source::Samples, false)?;
        let (orders, to_do) = channel::<Order>();
        let (done, results) = channel();
        let bell = Arc::clone(&ready);
        std::thread::Builder::new().name("sampler".to_owned()).stack_size(STACK_BYTES).spawn(
            move || {
                // They are the loop's, which holds them back when it becomes another program.
                let _ = SigSet::all().thread_block();
                for order in to_do {
                    if done.send((order.worker, measure(&order))).is_err() {
                        return;
                    }
                    // Full only if the loop has not looked for ages: it will.
                    let _ = bell.write(1);
                }
            },
        )?;
        Ok(Self { orders, results, ready })
    }

    /// Has a worker measured; false if the thread is gone.
    pub(super) fn order(&self, worker: WorkerId, pid: u32, pidfd: OwnedFd, what: Measure) -> bool {
        self.orders.send(Order { worker, pid, pidfd, what }).is_ok()
    }

    /// What has come out by now.
    pub(super) fn results(&self) -> Vec<Result> {
        let _ = self.ready.read();
        self.results.try_iter().collect()
    }
}

fn measure(order: &Order) -> Option<Sample> {
    let began = Instant::now();
    let usage = tree::measure(order.pid, order.what.memory_above);
    if !tree::is_alive(order.pidfd.as_fd()) {
        // Whatever was measured, it may have been somebody else with the same pid.
        return None;
    }
    let (cpu, private, tasks) = (usage.cpu, usage.private, usage.tasks);
    Some(Sample { cpu, private, tasks, took: began.elapsed() })
}
