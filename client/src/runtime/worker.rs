//! A worker: its first thread is the controller, a second one runs the task.
//!
//! How a job becomes a running task stands in `worker/task.rs`.
//!
//! The task thread is made after the fork, so hash keys and random state are fresh; it receives
//! the job itself, so that a start costs one wake-up. The controller sleeps until the client is
//! gone, or a deadline passes.
//!
//! A job whose worker is to be confined takes a detour: its thread hands it to the controller and
//! ends, the controller confines itself while it is the only thread, and starts another one.

mod task;

use super::catch::Mouth;
use super::confine::Plan;
use super::load::Loaded;
use super::setup::Baseline;
use crate::parcel::Parcel;
use crate::registry::Completion;
use crate::sys::board::Place;
use crate::sys::scm::DescriptorsLost;
use crate::sys::{attributes, fd, fork, packet};
use mpserverd_proto::death::Foreseen;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{self, Ended, Job, Outcome, Panic, WorkerBoot};
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::OnPreloadError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use task::{Detour, Work, begin, confine, run};

/// Stack of the task thread: what the first thread of a process has by default.
const STACK_BYTES: usize = 8 << 20;
/// How long a task that is done just before its deadline may take for what comes after it.
const TEARDOWN: Duration = Duration::from_secs(1);

/// Exit codes of workers whose task did not simply return.
mod code {
    /// The task returned an error or panicked (as an exception does in `multiprocessing`).
    pub(super) const FAILED: i32 = 1;
    /// The job was refused: no such task, bad arguments.
    pub(super) const REFUSED: i32 = 100;
    /// The system refused what the job asked for.
    pub(super) const SYSTEM: i32 = 111;
}

/// A closure that a forked worker runs in place of a task.
pub(crate) type Closure = Box<dyn FnOnce() -> Completion + Send>;

/// Where the job stands.
const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const OVER: u8 = 2;

/// What controller and task thread share.
struct Shared {
    /// The process they belong to: a fork of a worker has the memory but not the threads.
    pid: u32,
    job: OwnedFd,
    wake: EventFd,
    state: AtomicU8,
    kill_on_parent_death: AtomicBool,
    limit: OnceLock<Limit>,
    /// When its task began.
    begun: OnceLock<Instant>,
    /// Its place on its template's board.
    place: Option<Place>,
    /// Its standard error, as long as that is caught.
    mouth: Option<Mouth>,
    /// What the task thread leaves to the controller.
    detour: Mutex<Option<Detour>>,
}

impl Shared {
    /// Leaves word of why the process ends, for whoever writes its certificate.
    fn foresee(&self, why: Foreseen) {
        if let Some(place) = &self.place {
            place.foresee(why);
        }
    }
}

/// When the task must be done.
struct Limit {
    at: Instant,
    limit_ms: u64,
    /// How long it may take to end by itself then.
    grace: Duration,
}

static SHARED: RwLock<Option<&'static Shared>> = RwLock::new(None);

fn shared() -> Option<&'static Shared> {
    let shared = SHARED.read().ok().and_then(|shared| *shared);
    shared.filter(|shared| shared.pid == std::process::id())
}

/// This worker's place on the board, if it has one.
pub(crate) fn place() -> Option<Place> {
    shared().and_then(|shared| shared.place.clone())
}

/// The time of day, as a board has it.
pub(crate) fn epoch_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Threads of the runtime in this process, which do not make a fork unsafe.
pub(crate) fn runtime_threads() -> usize {
    // The controller sleeps in poll and holds no lock; the one of the log is hushed before a fork.
    usize::from(shared().is_some()) + crate::logging::threads()
}

/// A worker that was spawned: loads what its template would have, then serves one job.
pub(crate) fn main_spawned(socket: OwnedFd) -> ! {
    super::panics::remember();
    // What the client ignores survives exec; a template's workers do not have it either.
    attributes::reset_signals(&attributes::changed_signals());
    let boot = match packet::receive(socket.as_fd(), false) {
        Ok(Some(packet)) if packet.kind == Kind::Boot => {
            mpserverd_proto::codec::decode::<WorkerBoot>(&packet.body).ok()
        }
        _ => None,
    };
    // The client died, or is not one of ours: there is nobody to tell.
    let Some(boot) = boot else { fork::exit_now(code::REFUSED) };
    let loaded = Box::leak(Box::new(load(boot)));
    serve(socket, loaded, None, None, None)
}

fn load(boot: WorkerBoot) -> Loaded {
    use mpserverd_proto::template::ModulePath;
    let mut modules = boot
        .modules
        .into_iter()
        .map(|path| ModulePath { name: path.clone(), path: path.into_bytes() })
        .collect::<Vec<_>>();
    loop {
        let error = match Loaded::load(&modules, &mut |_, _| {}) {
            Ok(loaded) => return loaded,
            Err(error) => error,
        };
        let blamed = modules.iter().position(|module| module.name == error.module);
        match (boot.on_error, blamed) {
            (OnPreloadError::Ignore, Some(at)) => {
                modules.remove(at);
            }
            (OnPreloadError::Warn, Some(at)) => {
                eprintln!("mpserverd: warning: preload: {error}");
                modules.remove(at);
            }
            (OnPreloadError::Fail, _) | (_, None) => {
                return Loaded::broken(error);
            }
        }
    }
}

/// Serves one job on this socket and ends the process with it.
pub(crate) fn serve(
    socket: OwnedFd,
    loaded: &'static Loaded,
    closure: Option<Closure>,
    place: Option<Place>,
    mouth: Option<Mouth>,
) -> ! {
    crate::exit::begin();
    let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
    let Ok(wake) = wake else { fork::exit_now(code::SYSTEM) };
    let shared: &'static Shared = Box::leak(Box::new(Shared {
        pid: std::process::id(),
        job: socket,
        wake,
        state: AtomicU8::new(IDLE),
        kill_on_parent_death: AtomicBool::new(false),
        limit: OnceLock::new(),
        begun: OnceLock::new(),
        detour: Mutex::new(None),
        place,
        mouth,
    }));
    if let Ok(mut place) = SHARED.write() {
        *place = Some(shared);
    }
    match start_thread(move || task_thread(shared, loaded, closure)) {
        Ok(thread) => control(shared, loaded, thread),
        Err(_) => fork::exit_now(code::SYSTEM),
    }
}

fn start_thread(task: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("main".to_owned()).stack_size(STACK_BYTES).spawn(task)
}

/// The controller: ends the process when its client dies or its deadline passes.
fn control(shared: &'static Shared, loaded: &'static Loaded, thread: JoinHandle<()>) -> ! {
    let mut thread = Some(thread);
    let mut watch_client = true;
    let mut mouth = shared.mouth;
    let mut killed_at = None;
    loop {
        let limit = shared.limit.get();
        let at = killed_at.or(limit.map(|limit| limit.at));
        let left = at.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            match limit {
                Some(limit) if killed_at.is_none() => {
                    killed_at = Some(expire(shared, limit));
                    continue;
                }
                _ => {
                    shared.foresee(Foreseen::Deadline);
                    kill_self()
                }
            }
        }
        // Rounded up: poll counts in milliseconds and must not wake before the deadline.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut sources = vec![PollFd::new(shared.wake.as_fd(), PollFlags::POLLIN)];
        if watch_client {
            // No events asked for: only the hang-up is reported.
            sources.push(PollFd::new(shared.job.as_fd(), PollFlags::empty()));
        }
        let stderr = mouth.and_then(|mouth| Some((mouth, fd::standard(2)?)));
        // Nor here: only that nobody listens any more.
        sources.extend(stderr.map(|(_, stderr)| PollFd::new(stderr, PollFlags::empty())));
        if poll(&mut sources, timeout).is_err() {
            continue;
        }
        let said = |at: usize| sources.get(at).and_then(PollFd::any).unwrap_or(false);
        let client_gone = watch_client && said(1);
        if let Some((gone, _)) = stderr.filter(|_| said(1 + usize::from(watch_client))) {
            gone.shut(Baseline::get().null.as_ref().map(AsFd::as_fd));
            mouth = None;
        }
        let _ = shared.wake.read();
        if let Some(detour) = shared.detour.lock().unwrap_or_else(PoisonError::into_inner).take()
            && let Some(thread) = thread.take()
        {
            confine(shared, loaded, detour, thread);
        }
        if client_gone {
            match shared.state.load(Ordering::Acquire) {
                // The task thread sees the end of the socket too, after what was sent before it.
                IDLE => std::thread::sleep(Duration::from_millis(1)),
                _ if shared.kill_on_parent_death.load(Ordering::Acquire) => {
                    shared.foresee(Foreseen::ClientGone);
                    kill_self()
                }
                _ => watch_client = false,
            }
        }
    }
}

/// The deadline passed: says so, unless the task just finished, and asks this process to end if it
/// has time for that. Gives the moment to kill it.
fn expire(shared: &Shared, limit: &Limit) -> Instant {
    let Limit { limit_ms, grace, .. } = *limit;
    if shared.state.swap(OVER, Ordering::AcqRel) == OVER {
        // The task thread is on its way out; should it hang there, the deadline still holds.
        return Instant::now() + grace.max(TEARDOWN);
    }
    shared.foresee(Foreseen::Deadline);
    send(shared, Outcome::DeadlineExceeded { limit_ms }, &Parcel::default());
    if !grace.is_zero() {
        // To the process, not to this thread: whichever thread waits for it may get it.
        let _ = kill(Pid::this(), Signal::SIGTERM);
    }
    Instant::now() + grace
}

fn kill_self() -> ! {
    let _ = raise(Signal::SIGKILL);
    fork::exit_now(code::SYSTEM)
}

/// Sends the outcome. A client that is gone does not need it.
fn send(shared: &Shared, outcome: Outcome, payload: &Parcel) {
    let Err(error) = try_send(shared, outcome, payload) else { return };
    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
        return;
    }
    // `ETOOMANYREFS`: the descriptors in flight of one user are limited too.
    let rejected = if payload.fds.is_empty() {
        JobError::Unserializable(error.to_string())
    } else {
        let limit = attributes::descriptor_limit();
        JobError::Descriptors(format!(
            "the worker cannot send those of its result: {error}; RLIMIT_NOFILE (`ulimit -n`) is \
             {limit}"
        ))
    };
    let _ = try_send(shared, Outcome::Rejected(rejected), &Parcel::default());
}

fn try_send(shared: &Shared, outcome: Outcome, payload: &Parcel) -> io::Result<()> {
    let ended = Ended { outcome, handles: payload.fds.len() as u16 };
    let head = job::head(&ended).map_err(io::Error::other)?;
    let fds = payload.fds.iter().map(AsFd::as_fd).collect::<Vec<_>>();
    packet::send(shared.job.as_fd(), Kind::Outcome, &[&head, &payload.bytes], &fds, false)
}

/// Leaves word of a panic, for the certificate of a worker that does not survive it.
pub(crate) fn note_panic(panic: &Panic) {
    let Some(place) = shared().and_then(|shared| shared.place.as_ref()) else { return };
    let at = panic.location.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    place.note_panic(&format!("panicked: {}{at}", panic.message));
}

/// Sends a panic that is about to abort the process (`panic = "abort"`).
pub(crate) fn report_panic(panic: &Panic) {
    if let Some(shared) = shared()
        && shared.state.compare_exchange(RUNNING, OVER, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    {
        send(shared, Outcome::Panicked(panic.clone()), &Parcel::default());
    }
}

/// The task thread: gets ready, waits for the job, runs it, ends the process. If the worker must be
/// confined first it leaves that, and the rest, to the controller.
fn task_thread(shared: &'static Shared, loaded: &'static Loaded, closure: Option<Closure>) {
    let ready = match super::panics::catch(|| loaded.after_fork()) {
        Ok(ready) => ready,
        Err(panic) => Err(panic.message),
    };
    let (mut job, args, fds) = match receive(shared) {
        Ok(received) => received,
        Err(error) => finish(shared, loaded, Completion::rejected(unreceived(&error))),
    };
    let asked = std::mem::take(&mut job.sandbox);
    let mut work = Work { closure, ready, job, args };
    let completion = match Plan::make(asked, &loaded.sandbox) {
        Ok(plan) if plan.is_empty() => begin(shared, &mut work.job, fds)
            .map(|passed| run(loaded, work, passed))
            .unwrap_or_else(Completion::rejected),
        Ok(plan) => {
            let detour = Detour { work, fds, plan };
            *shared.detour.lock().unwrap_or_else(PoisonError::into_inner) = Some(detour);
            let _ = shared.wake.write(1);
            return;
        }
        Err(error) => Completion::rejected(error),
    };
    finish(shared, loaded, completion.limited())
}

/// The job did not arrive whole.
fn unreceived(error: &io::Error) -> JobError {
    if DescriptorsLost::is(error) {
        let limit = attributes::descriptor_limit();
        return JobError::Descriptors(format!(
            "the worker has no room for those of its job: raise RLIMIT_NOFILE (`ulimit -n`), \
             which is {limit} where it starts"
        ));
    }
    JobError::Protocol(error.to_string())
}

fn receive(shared: &Shared) -> io::Result<(Job, Vec<u8>, Vec<OwnedFd>)> {
    let Some(packet) = packet::receive(shared.job.as_fd(), false)? else {
        // Nobody wants this worker any more, or it was called off.
        shared.foresee(Foreseen::ClientGone);
        fork::exit_now(0)
    };
    attributes::ignore_end_if_idle();
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    if packet.kind != Kind::Job {
        return Err(invalid(format!("expected a job, got {:?}", packet.kind)));
    }
    let (job, args) = job::split::<Job>(&packet.body).map_err(|e| invalid(e.to_string()))?;
    let at = packet.body.len() - args.len();
    let mut fds = packet.fds;
    packet::receive_more(shared.job.as_fd(), &mut fds, job.slots.total.into())?;
    let mut args = packet.body;
    args.drain(..at);
    Ok((job, args, fds))
}

/// Sends what came out, then tears down: exit handlers, own children, output buffers.
fn finish(shared: &Shared, loaded: &Loaded, completion: Completion) -> ! {
    let Completion { outcome, payload } = completion;
    let code = match &outcome {
        Outcome::Returned => 0,
        Outcome::Failed { .. } | Outcome::Panicked(_) | Outcome::DeadlineExceeded { .. } => {
            code::FAILED
        }
        Outcome::Rejected(
            JobError::Setup { .. }
            | JobError::Descriptors(_)
            | JobError::Sandbox { .. }
            | JobError::SandboxUnsupported { .. },
        ) => code::SYSTEM,
        Outcome::Rejected(_) => code::REFUSED,
    };
    // Output first: whoever gets the result may look at what was printed.
    flush();
    let mut code = code;
    if shared.state.swap(OVER, Ordering::AcqRel) == OVER {
        // The deadline won. Without a grace the controller is about to kill this process.
        while shared.limit.get().is_none_or(|limit| limit.grace.is_zero()) {
            std::thread::park();
        }
        code = code::FAILED;
    } else {
        if let Some(place) = &shared.place {
            place.finish();
        }
        send(shared, outcome, &payload);
    }
    // The client has them now: the end of a pipe must not stay open here.
    drop(payload);
    if let (Some(place), Some(begun)) = (&shared.place, shared.begun.get())
        && let Some(kib) = super::peak::private_kib(begun.elapsed())
    {
        place.measured(kib);
    }
    loaded.before_exit();
    crate::exit::run();
    crate::process::end_children();
    crate::shared::memory::let_go();
    flush();
    fork::exit_now(code)
}

fn flush() {
    let _ = std::io::stdout().flush();
    fork::flush_stdio();
}

/// Closes what the fork copied and a worker must not have: all but the standard streams, the
/// program's own files (below `base`) and its job socket.
///
/// # Safety
/// As [`fd::close_range`], for all numbers from `base` on but that of `keep`.
pub(crate) unsafe fn close_inherited(base: i32, keep: BorrowedFd<'_>) {
    let keep = keep.as_raw_fd();
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        fd::close_range(base, keep - 1);
        fd::close_range(keep.max(base - 1) + 1, i32::MAX);
    }
}
