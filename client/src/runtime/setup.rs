//! Becoming what the requester asked for: the fixed order is descriptors, directory, mask,
//! limits, priority, names, environment.

use super::birth;
use crate::handles::SharedFd;
use crate::sys::{attributes, environ, fd};
use mpserverd_proto::bounds::Birth;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{Rlimit, Setup, Slots};
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

/// What a parked worker already knows about itself, so that a job changes only what differs.
#[derive(Debug)]
pub(crate) struct Baseline {
    rlimits: Vec<Rlimit>,
    nice: i32,
    affinity: Option<Vec<u64>>,
    pub(super) null: Option<OwnedFd>,
    /// What no job may loosen, whatever this process is privileged to.
    birth: Birth,
}

impl Baseline {
    /// What this process was when it first looked. A template looks before it forks, so that its
    /// workers need not.
    pub(crate) fn get() -> &'static Self {
        BASELINE.get_or_init(|| Self::take(&Birth::default()))
    }

    /// The same in a template, for workers that are born with these limits.
    pub(crate) fn of_template(birth: &Birth) -> &'static Self {
        BASELINE.get_or_init(|| Self::take(birth))
    }

    fn take(birth: &Birth) -> Self {
        let mut rlimits = attributes::rlimits();
        rlimits.iter_mut().for_each(|limit| birth::clamp(birth, limit));
        Self {
            rlimits,
            nice: birth::nice(birth, attributes::nice()),
            birth: *birth,
            affinity: attributes::affinity(),
            null: std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .ok()
                .map(Into::into),
        }
    }
}

static BASELINE: OnceLock<Baseline> = OnceLock::new();

/// The descriptors of a job, after the standard ones have been installed.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The requester.
    pub(crate) parent: Option<OwnedFd>,
    /// Memory for log records.
    pub(crate) log: Option<OwnedFd>,
    /// Those that were passed by themselves.
    pub(crate) user: Vec<OwnedFd>,
    /// Those of handles in the arguments.
    pub(crate) handles: Vec<SharedFd>,
}

fn failed(step: &str) -> impl Fn(io::Error) -> JobError {
    move |error| JobError::Setup { step: step.to_owned(), message: error.to_string() }
}

/// Installs standard streams and working directory; gives back what else came. A worker whose
/// standard error is caught keeps it, unless the requester asked for another.
pub(crate) fn descriptors(
    slots: Slots,
    fds: Vec<OwnedFd>,
    baseline: &Baseline,
    is_caught: bool,
) -> Result<Passed, JobError> {
    let mut fds = fds.into_iter().map(Some).collect::<Vec<_>>();
    let mut take = |slot: Option<u16>| slot.and_then(|at| fds.get_mut(usize::from(at))?.take());
    for (number, slot, step) in
        [(0, slots.stdin, "stdin"), (1, slots.stdout, "stdout"), (2, slots.stderr, "stderr")]
    {
        let passed = take(slot);
        if number == 2 && is_caught && slots.inherits_stderr {
            continue;
        }
        // A stream that the requester has closed is /dev/null here.
        if let Some(source) = passed.as_ref().or(baseline.null.as_ref()) {
            fd::install_standard(source.as_fd(), number).map_err(failed(step))?;
        }
    }
    if let Some(directory) = take(slots.cwd) {
        match nix::unistd::fchdir(&directory) {
            // A worker of another user than the requester's, who shuts others out of it: what the
            // job needs from there comes as descriptors. It stays where its template is.
            Ok(()) | Err(Errno::EACCES) => {}
            Err(errno) => return Err(failed("working directory")(errno.into())),
        }
    }
    let (parent, log) = (take(slots.parent), take(slots.log));
    let mut user = fds.into_iter().skip(slots.first_user.into()).flatten().collect::<Vec<_>>();
    let Some(first) = user.len().checked_sub(slots.handles.into()) else {
        return Err(JobError::Protocol("more handles than descriptors".to_owned()));
    };
    let handles = user.split_off(first).into_iter().map(SharedFd::from).collect();
    Ok(Passed { parent, log, user, handles })
}

/// Sets mask, limits, priority and environment.
pub(crate) fn attributes(setup: Setup, baseline: &Baseline) -> Result<(), JobError> {
    if let Some(mask) = setup.umask {
        attributes::set_umask(mask);
    }
    birth::refuse_looser(&baseline.birth, &setup)?;
    for limit in &setup.rlimits {
        let mut limit = *limit;
        birth::clamp(&baseline.birth, &mut limit);
        let limit = &limit;
        set_limit(limit, baseline)
            .map_err(failed(&format!("limit of resource {}", limit.resource)))?;
    }
    let nice = setup.nice.map(|nice| birth::nice(&baseline.birth, nice));
    if let Some(nice) = nice.filter(|nice| *nice != baseline.nice) {
        let done = attributes::set_nice(nice);
        if setup.nice_strict {
            done.map_err(failed("nice value"))?;
        }
    }
    if let Some(mask) = setup.affinity.filter(|mask| baseline.affinity.as_ref() != Some(mask)) {
        let done = attributes::set_affinity(&mask);
        if setup.affinity_strict {
            done.map_err(failed("CPU affinity"))?;
        }
    }
    if let Some(environment) = setup.environment {
        // SAFETY: the only other thread, if there is one, is the controller, which sleeps in poll;
        // no code of the user runs yet.
        unsafe { environ::replace(environment) };
    }
    Ok(())
}

/// Sets a limit that was asked for, or an inherited one as far as the system allows.
fn set_limit(limit: &Rlimit, baseline: &Baseline) -> io::Result<()> {
    let own = baseline.rlimits.iter().find(|own| own.resource == limit.resource);
    if own.is_some_and(|own| (own.soft, own.hard) == (limit.soft, limit.hard)) {
        return Ok(());
    }
    let done = attributes::set_rlimit(limit.resource, limit.soft, limit.hard);
    match (done, own) {
        (Err(_), Some(own)) if !limit.strict => {
            let hard = limit.hard.min(own.hard);
            let _ = attributes::set_rlimit(limit.resource, limit.soft.min(hard), hard);
            Ok(())
        }
        (done, _) => done,
    }
}
