//! A started process, as its starter sees it, on Linux.

use super::{Options, Work};
use crate::bounds::Limits;
use crate::context::{Context, StartMethod};
use crate::error::{Ending, ProcessError, StartError, TimeoutError};
use crate::job_types::Outcome;
use crate::logging::TARGET;
use crate::parcel::Parcel;
use crate::runtime::worker::Closure;
use crate::start::cause::{Autopsy, Findings};
use crate::start::child::Child;
use crate::start::forkserver::Purpose;
use crate::start::inbox::Received;
use crate::start::request::{Request, Work as Task};
use crate::start::wait_readable;
use crate::{codec, start as methods, sys};
use mpserverd_proto::death::Cause;
use mpserverd_proto::status::ExitRecord;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

mod awaited;

/// So many children that have ended may wait to be reaped.
const REAP_LEAST: usize = 16;
/// A daemonic child that ignores `SIGTERM` is killed so long after it, when this process ends.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// A started process, without the type of its result. Clones mean the same process.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    child: Child,
    name: Mutex<String>,
    daemon: bool,
    authkey: Vec<u8>,
}

/// A process in the list of [`active_children`].
pub type ActiveChild = Handle;

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("exitcode", &self.exitcode())
            .finish_non_exhaustive()
    }
}

/// The children of this process that have not been seen to end.
static CHILDREN: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// Keeps the list of children as it is for as long as the guard lives: a fork amid a change by
/// another thread would have a list that is locked for ever.
pub(crate) fn hold_children() -> impl Sized {
    children()
}

fn children() -> MutexGuard<'static, Vec<Handle>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process: the lease by the context's method, then the job.
pub(crate) fn start(
    context: &Context,
    work: Work,
    mut options: Options,
) -> Result<Handle, StartError> {
    let method = context.method();
    if matches!(work, Work::Closure(..)) && method != StartMethod::Fork {
        return Err(StartError::ClosureNeedsFork { method: method.as_str() });
    }
    let (work, closure) = split(work)?;
    let (allow_threads, cradle) = (options.allow_threads, options.cradle.clone());
    let (timeout, limits) = (options.start_timeout, options.limits);
    let (asked, by_daemon) = (Limits::asked(&options), method == StartMethod::ForkServer);
    if !by_daemon {
        limits.without_daemon()?;
    }
    limits.add_to(&mut options, by_daemon);
    let socket = context.socket();
    let mut request = Request::prepare(work, options, method.as_str(), socket.as_deref())?;
    let task = request.task.clone();
    let purpose = Purpose { task: &task, trace: request.trace, bounds: &asked };
    let lease = match method {
        StartMethod::Fork => match cradle {
            Some(cradle) => cradle.lease()?,
            None => methods::fork::lease(closure, allow_threads, &mut request)?,
        },
        StartMethod::Spawn => context.spawn_lease()?,
        StartMethod::ForkServer => context.forkserver_lease(purpose, timeout, &limits)?,
    };
    if method == StartMethod::ForkServer && matches!(lease.status, methods::Status::Pipe(_)) {
        request.goes_elsewhere();
    }
    register_exit_handler();
    let child = Child::new(lease);
    let sent = request.send(child.job());
    let handle = if by_daemon && sent.as_ref().is_err_and(is_hung_up) {
        // Called off by the daemon before it had the job, which is no end of ours: another one.
        let child = Child::new(context.forkserver_lease(purpose, timeout, &limits)?);
        let sent = request.send(child.job());
        given(child, sent, &request)?
    } else {
        given(child, sent, &request)?
    };
    // The worker has its descriptors now, or never will.
    drop(request);
    // What can wait is done while the worker starts.
    if method == StartMethod::ForkServer {
        methods::forkserver::look_ahead();
    }
    reap_some();
    Ok(handle)
}

fn is_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// The job was sent, or not. A worker that died before it could read it has ended like any other;
/// one that can only get a part of it is of no use.
fn given(child: Child, sent: io::Result<()>, request: &Request) -> Result<Handle, StartError> {
    let (name, daemon) = (Mutex::new(request.name.clone()), request.daemon);
    let authkey = request.authkey.clone();
    let handle = Handle { inner: Arc::new(Inner { child, name, daemon, authkey }) };
    children().push(handle.clone());
    let pid = handle.pid();
    tracing::debug!(target: TARGET, pid, name = request.name, "started a process");
    let Err(error) = sent else { return Ok(handle) };
    if is_hung_up(&error) {
        tracing::debug!(target: TARGET, pid, %error, "a process did not take its job");
        return Ok(handle);
    }
    let _ = handle.kill();
    Err(StartError::system(if sys::scm::crowded(&error) {
        "sending the job's descriptors: raise RLIMIT_NOFILE"
    } else {
        "sending the job"
    })(error))
}

fn split(work: Work) -> Result<(Task, Option<Closure>), StartError> {
    match work {
        Work::Closure(codec, closure) => {
            let task =
                Task { task: "closure".to_owned(), schema: 0, codec, args: Parcel::default() };
            Ok((task, Some(closure)))
        }
        Work::Task { name, schema, codec, args } => {
            let args = args.map_err(|error| match error {
                codec::CodecError::TooLarge { limit } => StartError::TooLarge { limit },
                other => StartError::Unserializable(other.to_string()),
            })?;
            Ok((Task { task: name, schema, codec, args }, None))
        }
    }
}

impl Handle {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Renames it, on this side only.
    ///
    /// # Errors
    /// [`StartError::Invalid`] for a name with a NUL byte or of more than 512 bytes.
    pub fn set_name(&self, name: &str) -> Result<(), StartError> {
        super::check_name(name)?;
        name.clone_into(&mut self.inner.name.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.child.pid()
    }

    /// Its daemon flag.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.inner.daemon
    }

    /// The authentication key that it was given.
    #[must_use]
    pub fn authkey(&self) -> &[u8] {
        &self.inner.authkey
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.inner.child.ending().is_none() && !self.inner.child.has_ended()
    }

    /// Its exit code, or `None` while it runs: what it exited with, or minus the number of the
    /// signal that killed it. 255 if nobody is left who saw how it ended
    /// (see [`ending`](Self::ending)).
    ///
    /// 0: the task returned. 1: it returned an error or panicked. 100: there is no such task, or
    /// the arguments do not fit it. 111: the system refused what was asked for.
    #[must_use]
    pub fn exitcode(&self) -> Option<i32> {
        self.ending().map(|ending| match ending {
            Ending::Known(record) => record.code,
            Ending::Unknown => 255,
        })
    }

    /// How it ended, with what it used; `None` while it runs.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.inner.child.ending()
    }

    /// How it ended, for who will tell why later.
    pub(crate) fn autopsy(&self, ending: Ending) -> Autopsy {
        self.inner.child.autopsy(ending)
    }

    /// Who caused its end, if it has ended and anybody knows: with a daemon as its certificate
    /// says, for which the daemon is asked (for a quarter of a second at most).
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.ending().and_then(|ending| self.autopsy(ending).findings().cause)
    }

    /// The exit record, if it has ended and somebody saw how.
    #[must_use]
    pub fn exit_record(&self) -> Option<ExitRecord> {
        match self.ending() {
            Some(Ending::Known(record)) => Some(record),
            Some(Ending::Unknown) | None => None,
        }
    }

    /// A descriptor that becomes (and stays) readable when the process ends: for `poll`, `epoll`
    /// and `wait`. It is a pidfd.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.inner.child.pidfd()
    }

    /// A descriptor that becomes readable when the result is there, or never will be.
    #[must_use]
    pub fn result_fd(&self) -> BorrowedFd<'_> {
        self.inner.child.job()
    }

    /// Waits for its end and returns the exit code.
    ///
    /// # Panics
    /// Never; a process that never ends is waited for for ever.
    pub fn join(&self) -> i32 {
        let _ = self.inner.child.wait(None);
        self.exitcode().unwrap_or(255)
    }

    /// Waits for its end, but no longer than this; `None` if it still runs.
    #[must_use]
    pub fn join_timeout(&self, timeout: Duration) -> Option<i32> {
        self.inner.child.wait(Some(timeout)).and_then(|_| self.exitcode())
    }

    /// Asks it to end: `SIGTERM`. Nothing happens once it has ended.
    ///
    /// # Errors
    /// As `pidfd_send_signal(2)`.
    pub fn terminate(&self) -> io::Result<()> {
        self.inner.child.signal(libc::SIGTERM)
    }

    /// Ends it: `SIGKILL`. Nothing happens once it has ended.
    ///
    /// # Errors
    /// As `pidfd_send_signal(2)`.
    pub fn kill(&self) -> io::Result<()> {
        self.inner.child.signal(libc::SIGKILL)
    }

    /// Interrupts it: `SIGINT`, which ends it unless it handles that. Nothing happens once it has
    /// ended.
    ///
    /// # Errors
    /// As `pidfd_send_signal(2)`.
    pub fn interrupt(&self) -> io::Result<()> {
        self.inner.child.signal(libc::SIGINT)
    }

    /// Sends any signal. Nothing happens once it has ended.
    ///
    /// # Errors
    /// As `pidfd_send_signal(2)`.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        self.inner.child.signal(number)
    }

    /// Whether [`Process::result`](super::Process::result) would not wait.
    #[must_use]
    pub fn has_result(&self) -> bool {
        self.inner.child.is_settled()
    }

    pub(super) fn take_outcome(
        &self,
        timeout: Option<Duration>,
    ) -> Result<(Outcome, Parcel), ProcessError> {
        let begun = Instant::now();
        let received = self.inner.child.take_outcome(timeout);
        let has_ended = matches!(received, Received::End);
        if let Some(outcome) = outcome(received) {
            return outcome;
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        match has_ended.then(|| self.inner.child.wait(left)).flatten() {
            Some(ending) => {
                let Findings { cause, stderr } =
                    self.inner.child.autopsy(ending).findings().clone();
                Err(ProcessError::Died { pid: self.pid(), ending, cause, stderr })
            }
            None => Err(TimeoutError(begun.elapsed()).into()),
        }
    }
}

/// What has come, or why it is lost; `None` if there is nothing, or nothing but the end.
fn outcome(received: Received) -> Option<Result<(Outcome, Parcel), ProcessError>> {
    match received {
        Received::Outcome(outcome) => Some(Ok(*outcome)),
        Received::Taken => Some(Err(ProcessError::Taken)),
        Received::Lost { limit } => Some(Err(ProcessError::DescriptorsLost { limit })),
        Received::Garbage(what) => Some(Err(ProcessError::Undecodable(what))),
        Received::Nothing | Received::End => None,
    }
}

/// Forgets (and so reaps) children that have ended.
fn reap_finished() {
    // Looked at without the lock: an end is an event, and whoever gets that may ask for the list.
    let all = children().clone();
    let is_over = |child: &&Handle| !child.inner.child.is_own() || child.ending().is_some();
    let over = all.iter().filter(is_over).map(|child| Arc::as_ptr(&child.inner));
    let over = over.collect::<HashSet<_>>();
    if !over.is_empty() {
        children().retain(|child| !over.contains(&Arc::as_ptr(&child.inner)));
    }
}

/// The same, but only once the list has doubled: a start costs the same however many run.
fn reap_some() {
    static NEXT: AtomicUsize = AtomicUsize::new(REAP_LEAST);
    if children().len() >= NEXT.load(Ordering::Relaxed) {
        reap_finished();
        NEXT.store(REAP_LEAST.max(2 * children().len()), Ordering::Relaxed);
    }
}

/// The children of this process that run. Those that have ended are reaped on the way.
#[must_use]
pub fn active_children() -> Vec<ActiveChild> {
    reap_finished();
    children().clone()
}

/// What is to be done when this process ends normally will be.
pub(crate) fn register_exit_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sys::early::register_exit_handler);
}

/// What happens to children at a normal end of this process, as in `multiprocessing`: daemonic
/// ones are asked to end, then all are waited for.
pub(crate) fn end_children() {
    let all = active_children();
    for child in all.iter().filter(|child| child.daemon()) {
        let _ = child.terminate();
    }
    let killed_at = Instant::now() + TERM_GRACE;
    for child in all.iter().filter(|child| child.daemon()) {
        let left = killed_at.saturating_duration_since(Instant::now());
        if child.join_timeout(left).is_none() {
            let _ = child.kill();
        }
    }
    for child in &all {
        child.join();
    }
    children().clear();
    crate::logging::close();
}

/// In a fork: gives up what belongs to the parent, so that the parent's death still shows on its
/// sockets. The numbers stay taken, by `/dev/null`, for the handles that the fork copied.
pub(crate) fn forget_inherited() {
    methods::forkserver::forget_connections();
    let Ok(mut children) = CHILDREN.try_lock() else { return };
    if let Ok(null) = std::fs::File::open("/dev/null") {
        for child in children.iter() {
            let job = child.inner.child.job().as_raw_fd();
            sys::fd::cover(null.as_fd(), job);
        }
    }
    // Never dropped: the memory belongs to handles that the fork copied.
    std::mem::take(&mut *children).into_iter().for_each(std::mem::forget);
}

/// Waits until one of these processes has ended; gives the indices of those that have.
///
/// `None` waits for ever. An empty list or a timeout gives an empty list.
#[must_use]
pub fn wait_any(processes: &[&Handle], timeout: Option<Duration>) -> Vec<usize> {
    if processes.is_empty() {
        return Vec::new();
    }
    let sentinels = processes.iter().map(|process| process.sentinel()).collect::<Vec<_>>();
    wait_readable(&sentinels, timeout);
    (0..processes.len()).filter(|at| !processes[*at].is_alive()).collect()
}
