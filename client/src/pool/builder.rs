//! What a pool is to be.

use super::engine::{Engine, Settings, WorkerStderr, prefix};
use super::error::PoolError;
use super::handle::Pool;
use super::limits;
use super::worker::Initializer;
use crate::codec::Codec;
use crate::context::Context;
use crate::count::available_cpus;
use crate::parcel::Parcel;
use crate::process::{Stream, check_name};
use crate::reducer::pack_arguments;
use crate::sandbox::Sandbox;
use crate::task::Task;
use std::fmt;
use std::time::Duration;

/// A task that runs is killed so long after it was asked to stop.
const GRACE: Duration = Duration::from_millis(100);
/// So often in a row workers may fail to come up.
const INIT_ATTEMPTS: u32 = 3;

/// A pool that is about to be made: of [`Context::pool`](crate::Context::pool).
///
/// ```no_run
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// #[mp::task]
/// fn load_model(path: &std::path::Path) -> std::io::Result<()> {
///     std::fs::read(path).map(drop)
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     mp::freeze_support();
///     let pool = mp::get_context(None)
///         .pool()
///         .processes(8)
///         .initializer::<load_model>(("model.bin".into(),))
///         .max_tasks_per_child(1000)
///         .max_tasks_jitter(100) // not all at the same time
///         .max_private_memory(2 << 30)
///         .task_deadline(Duration::from_secs(30))
///         .retries(1)
///         .build()?;
///     println!("{:?}", pool.status());
///     Ok(())
/// }
/// ```
#[must_use = "there is no pool before `build`"]
pub struct PoolBuilder {
    settings: Settings,
    name: Option<String>,
    initializer: Option<Result<Initializer, PoolError>>,
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl PoolBuilder {
    pub(crate) fn new(context: Context) -> Self {
        let settings = Settings {
            codec: context.reducer().codec(),
            context,
            processes: available_cpus(),
            prefix: String::new(),
            initializer: None,
            init_attempts: INIT_ATTEMPTS,
            max_tasks: None,
            max_tasks_jitter: 0,
            max_private_memory: None,
            max_age: None,
            task_deadline: None,
            retries: 0,
            grace: GRACE,
            stderr: WorkerStderr::Forward,
            allow_threads: false,
            sandbox: None,
        };
        Self { settings, name: None, initializer: None }
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// How many workers work at the same time; [`available_cpus`] by default.
    pub fn processes(self, processes: usize) -> Self {
        self.with(|settings| settings.processes = processes)
    }

    /// A task that each worker runs before all others.
    ///
    /// If it returns an error or panics, or its worker dies, another worker is tried after a
    /// pause; see [`init_attempts`](Self::init_attempts).
    pub fn initializer<T: Task>(self, args: T::Args) -> Self {
        let codec = self.settings.codec;
        let packed = pack_arguments::<T>(codec, &args).map_err(PoolError::from);
        self.initializer_raw((T::NAME, T::SCHEMA, codec), packed)
    }

    /// The same, by name.
    pub(crate) fn initializer_raw(
        mut self,
        (name, schema, codec): (&str, u64, Codec),
        packed: Result<Parcel, PoolError>,
    ) -> Self {
        self.initializer = Some(packed.map(|Parcel { bytes, fds }| Initializer {
            name: name.to_owned(),
            schema,
            codec,
            args: bytes,
            fds,
        }));
        self
    }

    /// After so many times in a row that workers did not come up, the pool is
    /// [broken](PoolError::Broken), and everything it has fails with the reason; 3 by default.
    /// Workers that were started side by side and fail count once.
    pub fn init_attempts(self, attempts: u32) -> Self {
        self.with(|settings| settings.init_attempts = attempts)
    }

    /// Replaces a worker when it has run so many tasks. Each input of a map is one, whatever the
    /// size of chunks. The next worker is started before.
    pub fn max_tasks_per_child(self, tasks: u64) -> Self {
        self.with(|settings| settings.max_tasks = Some(tasks))
    }

    /// Adds a random number, up to this, to the tasks of each worker, so that not all are replaced
    /// at the same time.
    pub fn max_tasks_jitter(self, tasks: u64) -> Self {
        self.with(|settings| settings.max_tasks_jitter = tasks)
    }

    /// Replaces a worker when it has more memory for itself than this, in bytes: what it shares
    /// with a template does not count. It is looked at every tenth of a second, and a task that
    /// runs is not disturbed.
    pub fn max_private_memory(self, bytes: u64) -> Self {
        self.with(|settings| settings.max_private_memory = Some(bytes))
    }

    /// Replaces a worker when it is so old. A task that runs is not disturbed.
    pub fn max_age(self, age: Duration) -> Self {
        self.with(|settings| settings.max_age = Some(age))
    }

    /// How long each task may run, unless it is submitted with a
    /// [deadline](super::Submission::deadline) of its own. It is enforced within some ten
    /// milliseconds, never early.
    pub fn task_deadline(self, limit: Duration) -> Self {
        self.with(|settings| settings.task_deadline = Some(limit))
    }

    /// How often a task is tried again after its worker was lost, unless it is submitted with
    /// [retries](super::Submission::retries) of its own; 0 by default.
    pub fn retries(self, retries: u32) -> Self {
        self.with(|settings| settings.retries = retries)
    }

    /// How long a task that was asked to stop may take before its worker is killed; 100
    /// milliseconds by default.
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|settings| settings.grace = grace)
    }

    /// What stands before `PoolWorker-N` in the names of workers; the start method by default:
    /// `ForkServerPoolWorker-1`.
    pub fn name(mut self, prefix: impl Into<String>) -> Self {
        self.name = Some(prefix.into());
        self
    }

    /// Where workers write their standard error. By default to this process's own, by way of a
    /// thread of this process, which remembers the last lines for
    /// [`TaskFailure::WorkerLost`](super::TaskFailure::WorkerLost); with a stream of yours nobody
    /// remembers them.
    pub fn stderr(self, stream: impl Into<Stream>) -> Self {
        let stream = match stream.into() {
            Stream::Inherit => WorkerStderr::Inherit,
            Stream::Null => WorkerStderr::Null,
            Stream::Fd(fd) => WorkerStderr::Fd(fd),
        };
        self.with(|settings| settings.stderr = stream)
    }

    /// With `fork`: whether to copy a process that has other threads than those of this library;
    /// see [`ProcessBuilder::allow_threads`](crate::ProcessBuilder::allow_threads). It is copied
    /// once, when the pool is made: workers are copies of that copy.
    pub fn allow_threads(self, allow: bool) -> Self {
        self.with(|settings| settings.allow_threads = allow)
    }

    /// What its workers may do; see [`ProcessBuilder::sandbox`](crate::ProcessBuilder::sandbox).
    pub fn sandbox(self, sandbox: Sandbox) -> Self {
        self.with(|settings| settings.sandbox = Some(sandbox))
    }

    /// Makes the pool.
    ///
    /// It waits until the first worker was started, not until it is ready; the others are started
    /// meanwhile, and tasks run as soon as there is one that is ready.
    ///
    /// # Errors
    /// [`PoolError`]: what was asked for cannot be, or the first worker could not be started.
    pub fn build(self) -> Result<Pool, PoolError> {
        let Self { mut settings, name, initializer } = self;
        limits::check(settings.processes)?;
        let zero = |what: &str| PoolError::Invalid(format!("{what} must be at least 1"));
        if settings.max_tasks == Some(0) {
            return Err(zero("max_tasks_per_child"));
        }
        if settings.init_attempts == 0 {
            return Err(zero("init_attempts"));
        }
        settings.initializer = initializer.transpose()?;
        settings.prefix = name.unwrap_or_else(|| prefix(settings.context.method()).to_owned());
        check_name(&format!("{}PoolWorker-{}", settings.prefix, u64::MAX))?;
        Ok(Pool::new(Engine::start(settings)?))
    }
}
