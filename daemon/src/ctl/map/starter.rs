//! The thread that starts workers, so that a start that must wait for one keeps nothing else up.
//!
//! One thread for all starts: they are short unless all workers are taken, and then they would
//! wait anyway.

use super::plan::{Item, Plan};
use mp::{OnParentDeath, Process, StartError};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde_json::Value;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// A start that was tried.
pub(super) type Started = (Arc<Item>, Result<Process<Value>, StartError>);

/// The thread, as the engine sees it.
#[derive(Debug)]
pub(super) struct Starter {
    orders: Sender<Arc<Item>>,
    started: Receiver<Started>,
    wake: Arc<EventFd>,
    halted: Arc<AtomicBool>,
}

impl Starter {
    /// Starts the thread. It ends with this value.
    pub(super) fn begin(plan: &Plan) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags)?);
        let halted = Arc::new(AtomicBool::new(false));
        let (orders, to_start) = mpsc::channel::<Arc<Item>>();
        let (results, started) = mpsc::channel();
        let (plan, bell, stop) = (plan.clone(), Arc::clone(&wake), Arc::clone(&halted));
        std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
            for item in to_start {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let result = launch(&plan, &item);
                if let Err(mpsc::SendError((_, Ok(process)))) = results.send((item, result)) {
                    // Nobody waits for it any more. Should it be too late, its end is ours.
                    let _ = process.kill();
                }
                let _ = bell.write(1);
            }
        })?;
        Ok(Self { orders, started, wake, halted })
    }

    /// Asks for a worker.
    pub(super) fn order(&self, item: Arc<Item>) {
        // The thread ends only when it is halted.
        let _ = self.orders.send(item);
    }

    /// What to poll for reading.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What has been started since.
    pub(super) fn started(&self) -> Vec<Started> {
        let _ = self.wake.read();
        self.started.try_iter().collect()
    }

    /// Starts nothing any more. What is being started now is given back, if that takes no longer
    /// than this; what comes later is killed by the thread, or ends with this process.
    pub(super) fn halt(self, patience: Duration) -> Vec<Process<Value>> {
        self.halted.store(true, Ordering::Release);
        drop(self.orders);
        let deadline = Instant::now() + patience;
        let mut late = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.started.recv_timeout(left) {
                Ok((_, started)) => late.extend(started.ok()),
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => return late,
            }
        }
    }
}

fn launch(plan: &Plan, item: &Item) -> Result<Process<Value>, StartError> {
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.map_err(|source| StartError::System { call: "dup", source })?;
    let name = plan.name.clone().unwrap_or_else(|| {
        let task = mp::registry::names::short(&plan.task);
        format!("{task}-{}", item.index)
    });
    let mut builder = plan
        .context
        .process_named(&plan.task, &item.arguments)
        .name(name)
        .daemon(true)
        .on_parent_death(OnParentDeath::Kill)
        // Standard output is for results alone.
        .stdout(stderr);
    if let Some(limit) = plan.timeout {
        builder = builder.deadline(limit);
    }
    if let Some(sandbox) = &plan.sandbox {
        builder = builder.sandbox(sandbox.clone());
    }
    if let Some(limit) = plan.start_timeout {
        builder = builder.start_timeout(limit);
    }
    builder.start()
}
