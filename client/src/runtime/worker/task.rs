//! From a job that has come to a task that runs: becoming what the job wants, being confined,
//! finding the task.

use super::super::confine::Plan;
use super::super::load::Loaded;
use super::super::setup::{self, Baseline, Passed};
use super::{Closure, Limit, RUNNING, Shared, epoch_ms, finish, start_thread};
use crate::parcel::Parcel;
use crate::registry::Completion;
use crate::sys::attributes;
use crate::sys::board::Entry;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{Job, OnParentDeath};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What there is to be run.
pub(super) struct Work {
    pub(super) closure: Option<Closure>,
    /// What `after_fork` hooks came to.
    pub(super) ready: Result<(), String>,
    pub(super) job: Job,
    pub(super) args: Vec<u8>,
}

/// A job whose worker is to be confined first.
pub(super) struct Detour {
    pub(super) work: Work,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) plan: Plan,
}

/// Confines this process, and starts its task.
pub(super) fn confine(
    shared: &'static Shared,
    loaded: &'static Loaded,
    Detour { mut work, fds, plan }: Detour,
    thread: JoinHandle<()>,
) {
    let _ = thread.join();
    let confined =
        begin(shared, &mut work.job, fds).and_then(|passed| Ok((passed, plan.enforce()?)));
    let started = confined.and_then(|(passed, layers)| {
        crate::sandbox::remember(layers);
        start_thread(move || {
            finish(shared, loaded, run(loaded, work, passed).limited());
        })
        .map_err(|error| JobError::Setup { step: "thread".to_owned(), message: error.to_string() })
    });
    if let Err(error) = started {
        finish(shared, loaded, Completion::rejected(error))
    }
}

/// Makes this process what the job wants it to be.
pub(super) fn begin(shared: &Shared, job: &mut Job, fds: Vec<OwnedFd>) -> Result<Passed, JobError> {
    if let Some(place) = &shared.place {
        let (task, name) = (job.task.as_str(), job.identity.name.as_str());
        place.write(&Entry { task, name, trace: Some(job.trace), began_ms: epoch_ms() });
    }
    let _ = shared.begun.set(Instant::now());
    let kill = job.on_parent_death == OnParentDeath::Kill;
    shared.kill_on_parent_death.store(kill, Ordering::Release);
    shared.state.store(RUNNING, Ordering::Release);
    let baseline = Baseline::get();
    let passed = setup::descriptors(job.slots, fds, baseline, shared.mouth.is_some())?;
    let setup = std::mem::take(&mut job.setup);
    let (deadline_ms, grace) = (setup.deadline_ms, Duration::from_millis(setup.grace_ms));
    setup::attributes(setup, baseline)?;
    if let Some(limit_ms) = deadline_ms {
        let at = Instant::now() + Duration::from_millis(limit_ms);
        let _ = shared.limit.set(Limit { at, limit_ms, grace });
        let _ = shared.wake.write(1);
    }
    Ok(passed)
}

pub(super) fn run(loaded: &'static Loaded, work: Work, passed: Passed) -> Completion {
    let Work { closure, ready, job, args } = work;
    attributes::set_thread_name(&job.identity.name);
    let user = passed.user.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>();
    crate::current::become_worker(
        job.identity,
        job.trace,
        passed.parent,
        passed.user,
        loaded.paths(),
    );
    crate::logging::travel::join(job.log, passed.log);
    if let Err(message) = ready {
        return Completion::rejected(JobError::AfterFork(message));
    }
    if let Some(error) = &loaded.broken {
        return Completion::rejected(JobError::Preload(error.clone()));
    }
    let args = Parcel { bytes: args, fds: passed.handles };
    match (closure, super::super::builtin::find(&job.task)) {
        (Some(closure), _) => closure(),
        (None, Some(builtin)) => builtin(loaded, args),
        (None, None) => match loaded.registry.find(&job.task, job.schema) {
            Ok(task) => task.call(job.codec, args, &user),
            Err(error) => Completion::rejected(error),
        },
    }
}
