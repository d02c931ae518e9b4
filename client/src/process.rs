//! Processes: how to ask for one, and what to do with it.

use crate::bounds::Limits;
use crate::codec::{Codec, CodecError};
use crate::context::Context;
use crate::error::{ProcessError, StartError};
use crate::job_types::{OnParentDeath, Outcome};
use crate::parcel::Parcel;
use crate::registry::Completion;
use crate::sandbox::Sandbox;
use mpserverd_proto::limits::NAME_BYTES_MAX;
use mpserverd_proto::trace::TraceId;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod attributes;
#[cfg(target_os = "linux")]
mod handle;
#[cfg(not(target_os = "linux"))]
#[path = "process/handle_unsupported.rs"]
mod handle;

pub use attributes::{Resource, Stream};
pub(crate) use handle::start;
#[cfg(target_os = "linux")]
pub use handle::wait_any;
pub use handle::{ActiveChild, Handle, active_children};
#[cfg(target_os = "linux")]
pub(crate) use handle::{end_children, forget_inherited, hold_children, register_exit_handler};

/// Everything about a worker that can be chosen.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) daemon: Option<bool>,
    pub(crate) authkey: Option<Vec<u8>>,
    pub(crate) stdin: Stream,
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) env_clear: bool,
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    pub(crate) affinity: Option<Vec<u64>>,
    pub(crate) rlimits: Vec<(Resource, u64, u64)>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) limits: Limits,
    pub(crate) on_parent_death: Option<OnParentDeath>,
    #[cfg(unix)]
    pub(crate) fds: Vec<std::os::fd::OwnedFd>,
    pub(crate) allow_threads: bool,
    #[cfg(target_os = "linux")]
    pub(crate) cradle: Option<std::sync::Arc<crate::start::cradle::Cradle>>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) trace: Option<TraceId>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            daemon: None,
            authkey: None,
            stdin: Stream::Null,
            stdout: Stream::Inherit,
            stderr: Stream::Inherit,
            current_dir: None,
            env: Vec::new(),
            env_clear: false,
            umask: None,
            nice: None,
            affinity: None,
            rlimits: Vec::new(),
            deadline: None,
            grace: Duration::ZERO,
            limits: Limits::default(),
            on_parent_death: None,
            #[cfg(unix)]
            fds: Vec::new(),
            allow_threads: false,
            #[cfg(target_os = "linux")]
            cradle: None,
            start_timeout: None,
            sandbox: None,
            trace: None,
        }
    }
}

/// What is to be run, and how its result is read.
pub(crate) enum Work {
    /// A task by name.
    Task {
        /// Name, signature, codec and arguments with their handles; `Err` when the arguments
        /// have no encoding.
        name: String,
        schema: u64,
        codec: Codec,
        args: Result<Parcel, CodecError>,
    },
    /// A closure, by fork only, and the codec of what it returns.
    Closure(Codec, Box<dyn FnOnce() -> Completion + Send>),
}

impl Work {
    /// How its result is encoded.
    fn codec(&self) -> Codec {
        match self {
            Self::Task { codec, .. } | Self::Closure(codec, _) => *codec,
        }
    }
}

/// Reads a result: `(its codec, the task returned an error, payload, text of the error)`.
pub(crate) type Decode<R> = fn(Codec, bool, Parcel, &str) -> Result<R, ProcessError>;

/// A process that is about to be started.
#[must_use = "nothing runs before `start`"]
pub struct ProcessBuilder<R> {
    context: Context,
    work: Work,
    decode: Decode<R>,
    options: Options,
}

impl<R> fmt::Debug for ProcessBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), StartError> {
    if name.len() > NAME_BYTES_MAX || name.contains('\0') {
        let what = format!("a name has at most {NAME_BYTES_MAX} bytes and no NUL byte");
        return Err(StartError::Invalid(what));
    }
    Ok(())
}

impl<R> ProcessBuilder<R> {
    pub(crate) fn new(context: Context, work: Work, decode: Decode<R>) -> Self {
        Self { context, work, decode, options: Options::default() }
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(&mut self.options);
        self
    }

    /// Its name; `Process-1:2` by default.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|options| options.name = Some(name.into()))
    }

    /// The daemon flag; inherited by default. A daemonic process is ended when this one ends:
    /// `SIGTERM` at a normal end, killed if this process is.
    pub fn daemon(self, daemon: bool) -> Self {
        self.with(|options| options.daemon = Some(daemon))
    }

    /// Its authentication key; inherited by default.
    pub fn authkey(self, key: impl Into<Vec<u8>>) -> Self {
        self.with(|options| options.authkey = Some(key.into()))
    }

    /// Standard input; `/dev/null` by default.
    pub fn stdin(self, stream: impl Into<Stream>) -> Self {
        self.with(|options| options.stdin = stream.into())
    }

    /// Standard output; the starter's by default.
    pub fn stdout(self, stream: impl Into<Stream>) -> Self {
        self.with(|options| options.stdout = stream.into())
    }

    /// Standard error; the starter's by default.
    pub fn stderr(self, stream: impl Into<Stream>) -> Self {
        self.with(|options| options.stderr = stream.into())
    }

    /// Working directory; the starter's by default.
    pub fn current_dir(self, directory: impl AsRef<Path>) -> Self {
        self.with(|options| options.current_dir = Some(directory.as_ref().to_owned()))
    }

    /// Sets a variable of its environment, which is the starter's otherwise.
    pub fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let entry = (key.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self.with(|options| options.env.push(entry))
    }

    /// Removes a variable from its environment.
    pub fn env_remove(self, key: impl AsRef<OsStr>) -> Self {
        self.with(|options| options.env.push((key.as_ref().to_owned(), None)))
    }

    /// Begins with an empty environment.
    pub fn env_clear(self) -> Self {
        self.with(|options| {
            options.env_clear = true;
            options.env.clear();
        })
    }

    /// File mode creation mask; the starter's by default.
    pub fn umask(self, mask: u32) -> Self {
        self.with(|options| options.umask = Some(mask & 0o777))
    }

    /// Nice value, absolute; the starter's by default.
    pub fn nice(self, nice: i32) -> Self {
        self.with(|options| options.nice = Some(nice))
    }

    /// CPUs it may run on, by number; the starter's by default.
    pub fn affinity(self, cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut mask = Vec::new();
        for cpu in cpus.into_iter().filter(|cpu| *cpu < 64 * 16) {
            mask.resize(mask.len().max(cpu / 64 + 1), 0u64);
            mask[cpu / 64] |= 1 << (cpu % 64);
        }
        self.with(|options| options.affinity = Some(mask))
    }

    /// A resource limit, soft and hard; the starter's by default.
    pub fn rlimit(self, resource: Resource, soft: u64, hard: u64) -> Self {
        self.with(|options| options.rlimits.push((resource, soft, hard)))
    }

    /// How long its task may run, by the clock on the wall. Then its result is
    /// [`ProcessError::DeadlineExceeded`], and it is killed, at once or after its
    /// [`grace`](Self::grace). The process sees to that itself, whether its starter lives or not.
    pub fn deadline(self, limit: Duration) -> Self {
        self.with(|options| options.deadline = Some(limit))
    }

    /// How long it may take to end by itself once its [`deadline`](Self::deadline) has passed. It
    /// is sent `SIGTERM` at the deadline, which ends it unless it handles that, and `SIGKILL` when
    /// this time is over. Without, it is killed at the deadline and never asked.
    ///
    /// Its result is the deadline's error all the same, and is there at the deadline. A task that
    /// returns in time has only its end to gain: exit handlers run, and the exit code is 1.
    ///
    /// ```
    /// # use mpserverd_client as mp;
    /// # use std::time::Duration;
    /// # #[mp::task]
    /// # fn render(page: u32) {}
    /// # let ctx = mp::get_context(mp::StartMethod::Spawn);
    /// let render = ctx
    ///     .process::<render>((1,))
    ///     .deadline(Duration::from_secs(10))
    ///     .grace(Duration::from_secs(2)); // time to remove its temporary files
    /// ```
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|options| options.grace = grace)
    }

    /// Limits that the daemon holds it to, tighter than those that its configuration has.
    ///
    /// ```
    /// # use mpserverd_client as mp;
    /// # use std::time::Duration;
    /// # #[mp::task]
    /// # fn render(page: u32) {}
    /// # let ctx = mp::get_context(mp::StartMethod::ForkServer);
    /// let limits = mp::Limits::new().memory(512 << 20).cpu_time(Duration::from_secs(60));
    /// let render = ctx.process::<render>((1,)).limits(limits);
    /// ```
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|options| options.limits = limits)
    }

    /// What becomes of it when this process dies. By default a daemonic process is killed and any
    /// other finishes its task.
    pub fn on_parent_death(self, policy: OnParentDeath) -> Self {
        self.with(|options| options.on_parent_death = Some(policy))
    }

    /// Passes a descriptor; the worker takes it with [`passed_fds`](crate::passed_fds).
    #[cfg(unix)]
    pub fn pass_fd(self, fd: impl Into<std::os::fd::OwnedFd>) -> Self {
        self.with(|options| options.fds.push(fd.into()))
    }

    /// With `fork`: whether to copy a process that has other threads. Their locks stay locked in
    /// the child, so anything the child does may hang; it is refused by default.
    pub fn allow_threads(self, allow: bool) -> Self {
        self.with(|options| options.allow_threads = allow)
    }

    /// With `fork`: the process that forks in place of this one.
    #[cfg(target_os = "linux")]
    pub(crate) fn cradle(
        self,
        cradle: Option<std::sync::Arc<crate::start::cradle::Cradle>>,
    ) -> Self {
        self.with(|options| options.cradle = cradle)
    }

    /// What it may do; as much as this process, by default, unless the daemon's configuration
    /// confines it.
    pub fn sandbox(self, sandbox: Sandbox) -> Self {
        self.with(|options| options.sandbox = Some(sandbox))
    }

    /// How long [`start`](Self::start) may wait for a worker; 60 seconds by default.
    pub fn start_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.start_timeout = Some(timeout))
    }

    /// The trace that it belongs to. By default the one that its environment names
    /// (`TRACEPARENT`, as the W3C's Trace Context has it), or that of this process, or a new one.
    ///
    /// The worker has it as [`trace`](crate::CurrentProcess::trace) and in its own `TRACEPARENT`
    /// (unless its environment was cleared), the daemon in its log and in the certificate of the
    /// worker's death.
    ///
    /// ```
    /// # use mpserverd_client as mp;
    /// # #[mp::task]
    /// # fn render(page: u32) {}
    /// # let ctx = mp::get_context(mp::StartMethod::Spawn);
    /// let trace: mp::TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse()?;
    /// let render = ctx.process::<render>((1,)).trace(trace);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trace(self, trace: TraceId) -> Self {
        self.with(|options| options.trace = Some(trace))
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`StartError`] says what was wrong: the arguments, this program, the daemon or the system.
    pub fn start(self) -> Result<Process<R>, StartError> {
        if let Some(name) = &self.options.name {
            check_name(name)?;
        }
        let codec = self.work.codec();
        let handle = start(&self.context, self.work, self.options)?;
        Ok(Process { handle, codec, decode: self.decode })
    }
}

/// A process that was started.
///
/// What it runs returns an `R`. Everything that does not depend on `R` is a method of [`Handle`],
/// to which this dereferences.
///
/// Dropping it does nothing to the process: it goes on, is reaped when it ends, and belongs to
/// [`active_children`] meanwhile.
pub struct Process<R> {
    handle: Handle,
    codec: Codec,
    decode: Decode<R>,
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl<R> std::ops::Deref for Process<R> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// A process that could not be closed because it still runs.
#[derive(Debug, thiserror::Error)]
#[error("process {} still runs: join or terminate it first", .0.pid())]
pub struct StillRunning<R>(
    /// The process, unchanged.
    pub Process<R>,
);

impl<R> Process<R> {
    /// Waits for its task and takes what it returned. The process itself may still be tearing
    /// down; see [`Handle::join`].
    ///
    /// # Errors
    /// [`ProcessError`]: how the task or the process failed, or [`ProcessError::Taken`] the second
    /// time.
    pub fn result(&self) -> Result<R, ProcessError> {
        self.result_within(None)
    }

    /// The same, but waits no longer than this.
    ///
    /// # Errors
    /// As [`result`](Self::result); [`ProcessError::Timeout`], after which it can be called again.
    pub fn result_timeout(&self, timeout: Duration) -> Result<R, ProcessError> {
        self.result_within(Some(timeout))
    }

    /// Waits for its task and takes what it returned, without keeping a thread: the awaited
    /// [`result`](Self::result).
    ///
    /// Dropping the future takes nothing: the result is taken when it is given.
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    /// use std::time::Duration;
    ///
    /// #[mp::task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// # async fn example() -> Result<(), mp::ProcessError> {
    /// let process = mp::get_context(None).process::<square>((7,)).start()?;
    /// assert_eq!(mp::timeout(process.result_async(), Duration::from_secs(10)).await??, 49);
    /// assert_eq!(process.join_async().await, 0);
    /// # Ok(())
    /// # }
    /// # fn main() { mp::freeze_support(); }
    /// ```
    ///
    /// # Errors
    /// As [`result`](Self::result).
    #[cfg(target_os = "linux")]
    pub async fn result_async(&self) -> Result<R, ProcessError> {
        self.decode(self.handle.take_outcome_async().await?)
    }

    fn result_within(&self, timeout: Option<Duration>) -> Result<R, ProcessError> {
        self.decode(self.handle.take_outcome(timeout)?)
    }

    fn decode(&self, (outcome, payload): (Outcome, Parcel)) -> Result<R, ProcessError> {
        match outcome {
            Outcome::Returned => (self.decode)(self.codec, false, payload, ""),
            Outcome::Failed { message } => (self.decode)(self.codec, true, payload, &message),
            Outcome::Panicked(panic) => Err(ProcessError::Panicked(panic)),
            Outcome::Rejected(error) => Err(error.into()),
            Outcome::DeadlineExceeded { limit_ms } => {
                Err(ProcessError::DeadlineExceeded(Duration::from_millis(limit_ms)))
            }
        }
    }

    /// The part of it that does not know its result.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Gives its descriptors back.
    ///
    /// # Errors
    /// [`StillRunning`] with the process, if it has not ended.
    pub fn close(self) -> Result<(), StillRunning<R>> {
        if self.handle.is_alive() { Err(StillRunning(self)) } else { Ok(()) }
    }
}
