//! Contexts and start methods: where processes come from.
//!
//! | file | holds |
//! |---|---|
//! | this | start methods, the default one, contexts and the processes they make |
//! | `factories` | the shared objects that a context makes |
//! | `names` | what else a context of `multiprocessing` can do |
//! | `lease` | how a context gets a worker |

use crate::codec::{Codec, CodecError};
use crate::error::{ContextError, ProcessError, StartError};
use crate::handles::provide;
use crate::parcel::Parcel;
use crate::process::{Decode, Process, ProcessBuilder, Work};
use crate::reducer::{Reducer, pack_arguments};
use crate::registry::completion;
use crate::task::{Returns, ReturnsValue, Runnable, Task};
use mpserverd_proto::limits::{MODULES_MAX, NAME_BYTES_MAX};
use mpserverd_proto::schema::UNCHECKED;
pub use mpserverd_proto::template::OnPreloadError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

mod factories;
#[cfg(target_os = "linux")]
mod lease;
mod names;

pub use names::allow_connection_pickling;

/// How a process comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartMethod {
    /// A copy of this process.
    Fork,
    /// This program, executed anew.
    Spawn,
    /// A worker that the daemon's template forked; a spawned one where there is no daemon.
    ForkServer,
}

impl StartMethod {
    /// Its name, as `multiprocessing` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Spawn => "spawn",
            Self::ForkServer => "forkserver",
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StartMethod {
    type Err = ContextError;

    fn from_str(name: &str) -> Result<Self, ContextError> {
        let all = get_all_start_methods();
        all.iter().copied().find(|method| method.as_str() == name).ok_or_else(|| {
            let known = all.iter().map(|method| method.as_str()).collect::<Vec<_>>();
            ContextError::UnknownMethod(name.to_owned(), known.join(", "))
        })
    }
}

/// What to do when the start method is `forkserver` and no daemon answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Spawn, and say so once in the log.
    #[default]
    Spawn,
    /// Run `mpserverd` (from the `PATH`) for this user, then use it.
    Autostart,
    /// Fail.
    Fail,
}

/// Bytes of the name or path of a module, as the daemon takes it.
const MODULE_BYTES_MAX: usize = 8 * NAME_BYTES_MAX;

/// What is the same for all contexts of this process.
#[derive(Debug, Default)]
struct Global {
    method: Option<StartMethod>,
    executable: Option<PathBuf>,
    preload: Vec<String>,
    on_error: OnPreloadError,
    reducer: Reducer,
}

static GLOBAL: Mutex<Global> = Mutex::new(Global {
    method: None,
    executable: None,
    preload: Vec::new(),
    on_error: OnPreloadError::Warn,
    reducer: Reducer::bincode(),
});

fn global() -> MutexGuard<'static, Global> {
    GLOBAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The start methods of this platform, the default first.
#[must_use]
pub const fn get_all_start_methods() -> &'static [StartMethod] {
    if cfg!(target_os = "linux") {
        &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork]
    } else if cfg!(unix) {
        &[StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer]
    } else {
        &[StartMethod::Spawn]
    }
}

/// The default start method; this fixes it, if it was not fixed yet.
#[must_use]
pub fn get_start_method() -> StartMethod {
    *global().method.get_or_insert(get_all_start_methods()[0])
}

/// The default start method if it has been fixed (`allow_none=True` in `multiprocessing`).
#[must_use]
pub fn fixed_start_method() -> Option<StartMethod> {
    global().method
}

/// Fixes the default start method.
///
/// # Errors
/// [`ContextError::AlreadySet`] the second time.
pub fn set_start_method(method: StartMethod) -> Result<(), ContextError> {
    let mut global = global();
    if global.method.is_some() {
        return Err(ContextError::AlreadySet);
    }
    global.method = Some(method);
    Ok(())
}

/// Fixes the default start method even if it was fixed; `None` makes it undecided again.
pub fn force_start_method(method: Option<StartMethod>) {
    global().method = method;
}

/// A worker's default method is the one it was started with; its default reducer is nobody's but
/// its own, by `fork` too.
#[cfg(target_os = "linux")]
pub(crate) fn adopt_method(name: &str) {
    let mut global = global();
    global.method = name.parse().ok();
    global.reducer = Reducer::default();
}

/// The reducer of all contexts of this process that were given none: assigning to `reducer` in
/// `multiprocessing`. Workers begin with the default one.
///
/// ```
/// use mpserverd_client as mp;
///
/// let before = mp::get_context(mp::StartMethod::Spawn);
/// mp::set_reducer(mp::Reducer::postcard());
/// assert_eq!(before.reducer(), mp::Reducer::postcard());
/// assert_eq!(before.with_reducer(mp::Reducer::json()).reducer(), mp::Reducer::json());
/// ```
pub fn set_reducer(reducer: Reducer) {
    global().reducer = reducer;
}

/// The program that `spawn` and `forkserver` execute, in place of this one. It must call
/// `freeze_support()` and have the tasks that this one asks for. Whatever is a path will do:
/// `&str`, `OsString`, `PathBuf`, and bytes by way of `OsStr::from_bytes`.
pub fn set_executable(path: impl AsRef<Path>) {
    global().executable = Some(path.as_ref().to_owned());
}

/// Modules that templates of this program load, beside the program itself; and what to do about
/// one that fails. It holds for templates that are not built yet.
///
/// # Errors
/// [`ContextError::Preload`] for a name that is empty, longer than 4096 bytes or has a NUL byte or
/// a line break in it, and for more than 256 names; nothing is changed then. Whether there is such
/// a module shows when a template is built.
pub fn set_forkserver_preload<S: Into<String>>(
    modules: impl IntoIterator<Item = S>,
    on_error: OnPreloadError,
) -> Result<(), ContextError> {
    let modules = modules.into_iter().map(Into::into).collect::<Vec<String>>();
    check_modules(&modules)?;
    let mut global = global();
    global.preload = modules;
    global.on_error = on_error;
    Ok(())
}

/// What the daemon would refuse is refused here already.
fn check_modules(modules: &[String]) -> Result<(), ContextError> {
    if let Some(name) = modules.get(MODULES_MAX) {
        let what = format!("a template loads at most {MODULES_MAX} modules");
        return Err(ContextError::Preload(name.clone(), what));
    }
    for name in modules {
        let what = match name.len() {
            0 => "a module has a name".to_owned(),
            length if length > MODULE_BYTES_MAX => {
                format!("a name has at most {MODULE_BYTES_MAX} bytes, not {length}")
            }
            _ if name.contains(['\0', '\n']) => "a name has no NUL byte and no line break".into(),
            _ => continue,
        };
        let start = name.chars().take(80).collect();
        return Err(ContextError::Preload(start, what));
    }
    Ok(())
}

/// The context of one start method.
///
/// `None` gives that of the default method and fixes it, as in `multiprocessing`. The context keeps
/// its method whatever becomes of the default. One that follows the default, as the functions of
/// the module `multiprocessing` do, is [`Context::default()`].
///
/// ```
/// use mpserverd_client as mp;
///
/// let ctx = mp::get_context(mp::StartMethod::Spawn);
/// assert_eq!(ctx.method(), mp::StartMethod::Spawn);
/// assert_eq!(mp::fixed_start_method(), None); // the default is still open
/// ```
#[must_use]
pub fn get_context(method: impl Into<Option<StartMethod>>) -> Context {
    Context::default().get_context(method)
}

/// Where processes come from: a start method with its options.
///
/// A *concrete* context, as [`get_context`] gives it, has one start method for ever. The *default*
/// one, [`Context::default()`], has the process's default method, which is decided at the latest
/// when a process is started by it.
///
/// Whatever processes share is made here too, as by the contexts of `multiprocessing`:
/// [`lock`](Self::lock), [`queue`](Self::queue), [`value`](Self::value), [`pipe`](Self::pipe) and
/// so on. There such an object belongs to its context, and a queue of a fork context is refused by
/// a spawned process; here it goes to processes of every start method.
#[derive(Clone, Debug, Default)]
pub struct Context {
    method: Option<StartMethod>,
    socket: Option<PathBuf>,
    fallback: Fallback,
    /// Run in a host process that loads these modules, not in this program.
    modules: Option<Vec<String>>,
    reducer: Option<Reducer>,
}

impl Context {
    /// Its start method (`get_start_method()`). The default context's is decided at its first use.
    #[must_use]
    pub fn method(&self) -> StartMethod {
        self.method.unwrap_or_else(get_start_method)
    }

    /// Uses the daemon at this socket. By default it is looked for: `MPSERVERD_SOCKET`, this
    /// user's runtime directory, the system's.
    #[must_use]
    pub fn with_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// What to do when no daemon answers.
    #[must_use]
    pub fn with_fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// Runs tasks in a host process that has loaded these modules, in place of this program: names
    /// on the module path, or paths of shared objects. An empty list means whatever the daemon has
    /// preloaded.
    #[must_use]
    pub fn with_modules<S: Into<String>>(mut self, modules: impl IntoIterator<Item = S>) -> Self {
        self.modules = Some(modules.into_iter().map(Into::into).collect());
        self
    }

    /// Encodes by this reducer what its processes and pools take and return, the items of its
    /// queues, the messages of its pipes. A worker that does not have it says so:
    /// [`JobError::UnknownReducer`](crate::JobError).
    #[must_use]
    pub fn with_reducer(mut self, reducer: Reducer) -> Self {
        self.reducer = Some(reducer);
        self
    }

    /// Its reducer: its own, or that of [`set_reducer`].
    #[must_use]
    pub fn reducer(&self) -> Reducer {
        self.reducer.unwrap_or_else(|| global().reducer)
    }

    /// A process that runs a task.
    ///
    /// Files, sockets and whatever else is a handle travel inside the arguments and the result,
    /// as [`SharedFd`](crate::SharedFd) or [`Passed`](crate::Passed). They are serialised here;
    /// a type of yours that is one says so with [`assert_spawning`](crate::assert_spawning), and
    /// [`is_spawning`](crate::handles::is_spawning) tells whether a value is on its way (in
    /// `multiprocessing`: `get_spawning_popen`).
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    ///
    /// #[mp::task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// fn main() -> Result<(), mp::ProcessError> {
    ///     mp::freeze_support();
    ///     let ctx = mp::get_context(None);
    ///     let process = ctx.process::<square>((7,)).name("squarer").start()?;
    ///     assert_eq!(process.result()?, 49);
    ///     assert_eq!(process.join(), 0);
    ///     Ok(())
    /// }
    /// ```
    pub fn process<T: Task>(&self, args: T::Args) -> ProcessBuilder<T::Output> {
        let codec = self.reducer().codec();
        let work = Work::Task {
            name: T::NAME.to_owned(),
            schema: T::SCHEMA,
            codec,
            args: pack_arguments::<T>(codec, &args),
        };
        ProcessBuilder::new(self.clone(), work, |codec, failed, payload, _| {
            let Parcel { bytes, fds } = payload;
            provide(fds, || T::decode(codec, failed, &bytes)).map_err(undecodable)
        })
    }

    /// A process that runs the state of a [`Runnable`]: what a subclass of `Process` is in Python.
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Crawler {
    ///     start: String,
    ///     depth: u32,
    /// }
    ///
    /// #[mp::task]
    /// impl mp::Runnable for Crawler {
    ///     type Output = u64;
    ///
    ///     fn run(self) -> u64 {
    ///         self.start.len() as u64 * u64::from(self.depth)
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), mp::ProcessError> {
    ///     mp::freeze_support();
    ///     let ctx = mp::get_context(None);
    ///     let crawler = Crawler { start: "example.org".to_owned(), depth: 2 };
    ///     let process = ctx.process_of(crawler).name("crawler").daemon(true).start()?;
    ///     println!("{} pages", process.result()?);
    ///     Ok(())
    /// }
    /// ```
    pub fn process_of<T>(&self, runnable: T) -> ProcessBuilder<<T as Runnable>::Output>
    where
        T: Runnable + Task<Args = (T,), Output = <T as Runnable>::Output>,
    {
        self.process::<T>((runnable,))
    }

    /// The same, started with nothing but defaults: `Crawler(…).start()`.
    ///
    /// # Errors
    /// As [`ProcessBuilder::start`].
    pub fn start<T>(&self, runnable: T) -> Result<Process<<T as Runnable>::Output>, StartError>
    where
        T: Runnable + Task<Args = (T,), Output = <T as Runnable>::Output>,
    {
        self.process_of(runnable).start()
    }

    /// A process that runs a task known by name only, with JSON arguments: what `mpctl` uses.
    ///
    /// The name may be the task's full name, its last part, or `module.task`. Handles do not
    /// travel in JSON: a task that wants or returns one rejects the call.
    pub fn process_named(
        &self,
        task: &str,
        args: &[serde_json::Value],
    ) -> ProcessBuilder<serde_json::Value> {
        let work = Work::Task {
            name: task.to_owned(),
            schema: UNCHECKED,
            codec: Codec::Json,
            args: Parcel::pack(Codec::Json, &args),
        };
        ProcessBuilder::new(self.clone(), work, |codec, failed, payload, message| {
            if failed {
                return Err(ProcessError::Failed { message: message.to_owned() });
            }
            payload.unpack(codec).map_err(undecodable)
        })
    }

    /// A pool of workers.
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    ///
    /// #[mp::task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     mp::freeze_support();
    ///     let pool = mp::get_context(None).pool().processes(4).build()?;
    ///     println!("{:?}", pool.map::<square>(0..10)?);
    ///     Ok(())
    /// }
    /// ```
    #[cfg(target_os = "linux")]
    pub fn pool(&self) -> crate::pool::PoolBuilder {
        crate::pool::PoolBuilder::new(self.clone())
    }

    /// A process that does a job which every worker can do.
    #[cfg(target_os = "linux")]
    pub(crate) fn builtin<R>(&self, name: &'static str, args: &impl Serialize) -> ProcessBuilder<R>
    where
        R: DeserializeOwned,
    {
        let work = Work::Task {
            name: name.to_owned(),
            schema: UNCHECKED,
            codec: Codec::Bincode,
            args: Parcel::pack(Codec::Bincode, args),
        };
        ProcessBuilder::new(self.clone(), work, |codec, _, payload, _| {
            payload.unpack(codec).map_err(undecodable)
        })
    }

    /// A process that runs a closure, in a copy of this process.
    ///
    /// Only `fork` can do that: under any other method [`start`](ProcessBuilder::start) fails with
    /// [`StartError::ClosureNeedsFork`](crate::StartError::ClosureNeedsFork).
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    ///
    /// fn main() -> Result<(), mp::ProcessError> {
    ///     let words = vec!["no", "task", "needed"];
    ///     let ctx = mp::get_context(mp::StartMethod::Fork);
    ///     let process = ctx.process_fn(move || words.len()).start()?;
    ///     assert_eq!(process.result()?, 3);
    ///     Ok(())
    /// }
    /// ```
    pub fn process_fn<R, F>(&self, function: F) -> ProcessBuilder<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let codec = self.reducer().codec();
        let closure = move || {
            let encode = || Returns::<R>::new().encode(codec, function());
            match crate::runtime::panics::catch(encode) {
                Ok(encoded) => completion(encoded),
                Err(panic) => crate::registry::Completion::panicked(panic),
            }
        };
        let decode: Decode<R> = |codec, failed, Parcel { bytes, fds }, _| {
            provide(fds, || Returns::<R>::new().decode(codec, failed, &bytes)).map_err(undecodable)
        };
        ProcessBuilder::new(self.clone(), Work::Closure(codec, Box::new(closure)), decode)
    }
}

fn undecodable(error: CodecError) -> ProcessError {
    ProcessError::Undecodable(error.to_string())
}
