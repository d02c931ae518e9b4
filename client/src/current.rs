//! Who this process is: `current_process`, `parent_process`.

use mpserverd_proto::job::Identity;
use mpserverd_proto::trace::TraceId;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
#[cfg(target_os = "linux")]
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

/// What this process knows about itself.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) identity: Identity,
    #[cfg(target_os = "linux")]
    pub(crate) parent: Option<Arc<OwnedFd>>,
    /// The trace that its job belongs to.
    pub(crate) trace: Option<TraceId>,
    is_worker: bool,
    /// Modules that the process has loaded, by path.
    #[cfg(target_os = "linux")]
    modules: Vec<String>,
    /// Whether this is a module's copy of the crate: the program is only its host.
    #[cfg(target_os = "linux")]
    in_module: bool,
}

static ME: RwLock<Option<Me>> = RwLock::new(None);
static CHILDREN: AtomicU32 = AtomicU32::new(0);
#[cfg(target_os = "linux")]
static PASSED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

fn main_process() -> Me {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let authkey = KEY.get_or_init(|| {
        let mut key = vec![0; 32];
        // Without the kernel's random numbers there is no key, and nothing authenticates.
        if getrandom::fill(&mut key).is_err() {
            key.clear();
        }
        key
    });
    Me {
        identity: Identity {
            name: "MainProcess".to_owned(),
            numbers: Vec::new(),
            daemon: false,
            authkey: authkey.clone(),
            parent_name: String::new(),
            parent_pid: 0,
            start_method: String::new(),
            argv: argv(),
            socket: None,
        },
        #[cfg(target_os = "linux")]
        parent: None,
        trace: None,
        is_worker: false,
        #[cfg(target_os = "linux")]
        modules: Vec::new(),
        #[cfg(target_os = "linux")]
        in_module: false,
    }
}

fn argv() -> Vec<u8> {
    let mut bytes = Vec::new();
    for argument in std::env::args_os() {
        bytes.extend_from_slice(argument.as_encoded_bytes());
        bytes.push(0);
    }
    bytes
}

pub(crate) fn me() -> Me {
    let me = ME.read().unwrap_or_else(PoisonError::into_inner);
    match &*me {
        Some(me) => me.clone(),
        None => {
            drop(me);
            let mut me = ME.write().unwrap_or_else(PoisonError::into_inner);
            me.get_or_insert_with(main_process).clone()
        }
    }
}

/// Whether this process is a worker, without waiting for anybody.
#[cfg(target_os = "linux")]
pub(crate) fn is_worker() -> bool {
    ME.try_read().is_ok_and(|me| me.as_ref().is_some_and(|me| me.is_worker))
}

/// Whether this process is a copy of the one that started it.
#[cfg(target_os = "linux")]
pub(crate) fn is_fork() -> bool {
    ME.try_read().is_ok_and(|me| me.as_ref().is_some_and(|me| me.identity.start_method == "fork"))
}

/// The worker learns who it is.
#[cfg(target_os = "linux")]
pub(crate) fn become_worker(
    identity: Identity,
    trace: TraceId,
    parent: Option<OwnedFd>,
    passed: Vec<OwnedFd>,
    modules: Vec<String>,
) {
    let (parent, trace) = (parent.map(Arc::new), Some(trace));
    set_worker(Me { identity, parent, trace, is_worker: true, modules, in_module: false }, passed);
}

#[cfg(target_os = "linux")]
fn set_worker(worker: Me, passed: Vec<OwnedFd>) {
    CHILDREN.store(0, Ordering::Relaxed);
    *PASSED.lock().unwrap_or_else(PoisonError::into_inner) = passed;
    crate::context::adopt_method(&worker.identity.start_method);
    crate::logging::set_name(&worker.identity.name);
    let mut me = ME.write().unwrap_or_else(PoisonError::into_inner);
    *me = Some(worker);
}

/// What a module's copy of this crate must know of this process, encoded.
#[cfg(target_os = "linux")]
pub(crate) fn host() -> Vec<u8> {
    use std::os::fd::{AsFd, AsRawFd};
    let me = me();
    let parent_fd = me.parent.as_ref().map(|parent| parent.as_raw_fd());
    let (log, log_fd) = crate::logging::travel::within();
    let host = mpserverd_proto::job::Host {
        identity: me.identity,
        parent_fd,
        trace: me.trace,
        modules: me.modules,
        log_fd: log_fd.as_ref().map(|fd| fd.as_fd().as_raw_fd()),
        log,
    };
    mpserverd_proto::codec::encode(&host).unwrap_or_default()
}

/// The copy of this crate in a module learns whose process it runs in.
#[cfg(target_os = "linux")]
pub(crate) fn become_part_of(
    host: mpserverd_proto::job::Host,
    parent: Option<OwnedFd>,
    passed: Vec<OwnedFd>,
) {
    crate::set_frozen();
    let parent = parent.map(Arc::new);
    let (identity, trace, modules) = (host.identity, host.trace, host.modules);
    set_worker(Me { identity, parent, trace, is_worker: true, modules, in_module: true }, passed);
}

/// Modules that this process's own processes load, if it is a module's: the program is only a host
/// then and has no tasks.
#[cfg(target_os = "linux")]
pub(crate) fn inherited_modules() -> Option<Vec<String>> {
    let me = me();
    me.in_module.then_some(me.modules)
}

/// The numbers of the next child of this process.
pub(crate) fn next_numbers(me: &Me) -> Vec<u32> {
    let mut numbers = me.identity.numbers.clone();
    numbers.push(CHILDREN.fetch_add(1, Ordering::Relaxed) + 1);
    numbers
}

/// This process.
///
/// ```
/// let me = mpserverd_client::current_process();
/// assert_eq!(me.name(), "MainProcess");
/// assert_eq!(me.pid(), std::process::id());
/// assert!(!me.daemon() && me.authkey().len() == 32);
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    CurrentProcess { me: me() }
}

/// What [`current_process`] returns.
#[derive(Clone, Debug)]
pub struct CurrentProcess {
    me: Me,
}

impl CurrentProcess {
    /// Its name: `MainProcess`, or what the starter gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.me.identity.name
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The counter of each ancestor and its own: `[1, 2]` is the second child of the first child
    /// of the main process, which has none.
    #[must_use]
    pub fn identity(&self) -> &[u32] {
        &self.me.identity.numbers
    }

    /// Its daemon flag.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.me.identity.daemon
    }

    /// Its authentication key: 32 random bytes in the main process, inherited by descendants.
    #[must_use]
    pub fn authkey(&self) -> &[u8] {
        &self.me.identity.authkey
    }

    /// Whether it is a worker that this library started.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.me.is_worker
    }

    /// The trace that it belongs to: in a worker the one that its start was given, elsewhere the one
    /// that `TRACEPARENT` names.
    ///
    /// ```
    /// // Whatever traces this program, its workers belong to the same.
    /// let trace = mpserverd_client::current_process().trace();
    /// println!("trace {}", trace.map_or("none".into(), |trace| trace.to_string()));
    /// ```
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        self.me.trace.or_else(crate::trace::of_environment)
    }

    /// Arguments of the command line: in a worker, those of the process that asked for it.
    #[must_use]
    pub fn argv(&self) -> Vec<std::ffi::OsString> {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;
            let entries = self.me.identity.argv.split_inclusive(|byte| *byte == 0);
            entries
                .map(|entry| entry[..entry.len() - 1].to_vec())
                .map(std::ffi::OsString::from_vec)
                .collect()
        }
        #[cfg(not(unix))]
        std::env::args_os().collect()
    }
}

/// Renames this process.
///
/// # Errors
/// [`StartError::Invalid`](crate::StartError::Invalid) for a name with a NUL byte or of more than
/// 512 bytes.
pub fn set_current_name(name: &str) -> Result<(), crate::StartError> {
    crate::process::check_name(name)?;
    let mut me = me();
    name.clone_into(&mut me.identity.name);
    #[cfg(target_os = "linux")]
    crate::logging::set_name(name);
    *ME.write().unwrap_or_else(PoisonError::into_inner) = Some(me);
    Ok(())
}

/// Replaces the authentication key of this process; processes it starts from now on inherit it.
pub fn set_authkey(key: &[u8]) {
    let mut me = me();
    me.identity.authkey = key.to_vec();
    *ME.write().unwrap_or_else(PoisonError::into_inner) = Some(me);
}

/// The socket that this process was told to use, if it is a worker.
#[cfg(target_os = "linux")]
pub(crate) fn inherited_socket() -> Option<std::path::PathBuf> {
    me().identity.socket.as_deref().map(crate::transport::path_of)
}

/// Descriptors that the starter passed with
/// [`pass_fd`](crate::ProcessBuilder::pass_fd), in order. The first call takes them.
#[cfg(target_os = "linux")]
#[must_use]
pub fn passed_fds() -> Vec<OwnedFd> {
    std::mem::take(&mut *PASSED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The process that started this one, or `None` in the main process.
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    let me = me();
    me.is_worker.then_some(ParentProcess { me })
}

/// What [`parent_process`] returns: the process that *asked* for this one, not the template that
/// forked it.
#[derive(Clone, Debug)]
pub struct ParentProcess {
    me: Me,
}

impl ParentProcess {
    /// Its pid, as it sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.me.identity.parent_pid
    }

    /// Its name when it asked.
    #[must_use]
    #[allow(clippy::misnamed_getters, reason = "the parent's name is what this type is about")]
    pub fn name(&self) -> &str {
        &self.me.identity.parent_name
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.join(Some(std::time::Duration::ZERO))
    }

    /// Waits for its end; true once it has ended.
    #[must_use]
    pub fn join(&self, timeout: Option<std::time::Duration>) -> bool {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsFd;
            let Some(pidfd) = &self.me.parent else { return true };
            crate::start::wait_readable(&[pidfd.as_fd()], timeout)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = timeout;
            false
        }
    }
}
