//! What a process is: signals, limits, nice value, affinity, names.
//!
//! Contract: every setter changes this process (or thread) only, and reports what the kernel said.

use mpserverd_proto::job::{END_IF_IDLE, Rlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

fn check(done: libc::c_int) -> io::Result<()> {
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many resources `setrlimit(2)` knows.
const RESOURCES: u32 = 16;

/// All resource limits of this process, as inherited ones.
pub(crate) fn rlimits() -> Vec<Rlimit> {
    (0..RESOURCES)
        .filter_map(|resource| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the kernel writes one rlimit.
            let done = unsafe { libc::getrlimit(resource as _, &raw mut limit) };
            (done == 0).then_some(Rlimit {
                resource,
                soft: limit.rlim_cur,
                hard: limit.rlim_max,
                strict: false,
            })
        })
        .collect()
}

/// Gives up every capability of this thread, for good: none is left that could be raised again.
pub(crate) fn forget_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`, and this thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted and inheritable, in two halves.
    let none = [0u32; 6];
    // SAFETY: the kernel reads a header of two words and sets of six, which is what version 3 has.
    let done = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), none.as_ptr()) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many descriptors this process may have open (`RLIMIT_NOFILE`, soft).
pub(crate) fn descriptor_limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// Sets one resource limit.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) })
}

/// Nice value of the calling thread.
pub(crate) fn nice() -> i32 {
    // SAFETY: no memory arguments. (-1 is a legal value; the call cannot fail for ourselves.)
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the nice value of the calling thread and of the process's first thread.
pub(crate) fn set_nice(value: i32) -> io::Result<()> {
    for thread in [0, std::process::id()] {
        // SAFETY: no memory arguments.
        check(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, value) })?;
    }
    Ok(())
}

const AFFINITY_WORDS: usize = 16;

/// CPU affinity mask of the calling thread.
pub(crate) fn affinity() -> Option<Vec<u64>> {
    let mut words = [0u64; AFFINITY_WORDS];
    // SAFETY: the kernel writes at most the size given; the raw syscall returns how many bytes.
    let got = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&words), words.as_mut_ptr())
    };
    let bytes = usize::try_from(got).ok()?;
    Some(words[..bytes.div_ceil(8).min(AFFINITY_WORDS)].to_vec())
}

/// Sets the affinity of the calling thread and of the process's first thread.
pub(crate) fn set_affinity(mask: &[u64]) -> io::Result<()> {
    for thread in [0, std::process::id()] {
        // SAFETY: the kernel reads the size given.
        let done = unsafe {
            libc::syscall(libc::SYS_sched_setaffinity, thread, size_of_val(mask), mask.as_ptr())
        };
        check(done as libc::c_int)?;
    }
    Ok(())
}

/// The file mode creation mask, without the race of setting it.
///
/// There is no call that only reads it. Nobody can see it changed for a moment in a process of one
/// thread whose signals are blocked; in any other it is read from `/proc/self/status`, which the
/// kernel takes some 20 µs to write.
pub(crate) fn umask() -> Option<u32> {
    use std::sync::Mutex;
    static PROC: Mutex<Option<(u32, OwnProc)>> = Mutex::new(None);
    let mut own = PROC.lock().ok()?;
    let pid = std::process::id();
    if own.as_ref().is_none_or(|(of, _)| *of != pid) {
        *own = Some((pid, OwnProc::open().ok()?));
    }
    let (_, own) = own.as_ref()?;
    if own.has_one_thread() { umask_by_setting() } else { own.umask() }
}

/// Sets the mask and sets it back, with all signals blocked. For processes of one thread.
fn umask_by_setting() -> Option<u32> {
    use nix::sys::stat::{Mode, umask};
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before)).ok()?;
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).ok()?;
    Some(mask.bits())
}

/// Files about this process, kept open.
struct OwnProc {
    status: std::fs::File,
    tasks: std::fs::File,
}

impl OwnProc {
    fn open() -> io::Result<Self> {
        // A closed standard stream's number must stay free.
        let open = |path| super::fd::above_standard(std::fs::File::open(path)?.into());
        Ok(Self {
            status: open("/proc/self/status")?.into(),
            tasks: open("/proc/self/task")?.into(),
        })
    }

    /// The folder of threads has two links and one for each thread.
    fn has_one_thread(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.tasks.metadata().is_ok_and(|folder| folder.nlink() == 3)
    }

    fn umask(&self) -> Option<u32> {
        use std::os::unix::fs::FileExt;
        let mut text = [0u8; 128];
        let read = self.status.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..read]).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(value.trim(), 8).ok()
    }
}

/// Sets the file mode creation mask.
pub(crate) fn set_umask(mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

/// Name of the calling thread as `ps` shows it; cut to 15 bytes.
pub(crate) fn set_thread_name(name: &str) {
    let short = name.bytes().filter(|byte| *byte != 0).take(15).collect::<Vec<_>>();
    let name = CString::new(short).unwrap_or_default();
    // SAFETY: the kernel reads up to 16 bytes of a NUL-terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Makes this process inherit the orphans among its descendants (`PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// As `prctl(2)`.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: no memory arguments.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
}

/// Blocks `SIGCHLD` and gives a descriptor that becomes readable with it.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&set, flags)?;
    let fd = std::os::fd::AsFd::as_fd(&signals).try_clone_to_owned()?;
    Ok(fd)
}

/// Signals of a terminal or a supervisor that a template leaves to the daemon.
const LEFT_TO_THE_DAEMON: [Signal; 3] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];

/// The job socket of a worker that waits, for a signal's handler.
static WAITS_ON: AtomicI32 = AtomicI32::new(-1);

/// What [`END_IF_IDLE`] does to a worker that waits: no job comes to it any more. One that has come
/// and was not read yet still is; whoever sends one later is told that nobody hears.
extern "C" fn hear_no_more(_: libc::c_int) {
    let errno = nix::errno::Errno::last();
    // SAFETY: async-signal-safe; on a number that is no socket any more it does nothing.
    unsafe { libc::shutdown(WAITS_ON.load(Relaxed), libc::SHUT_RD) };
    errno.set();
}

/// Has this process end by itself on [`END_IF_IDLE`], at the end of its socket, as long as no job has
/// come there. Where it waits for one already it is woken.
pub(crate) fn hear_no_more_if_idle(job: BorrowedFd<'_>) {
    WAITS_ON.store(job.as_raw_fd(), Relaxed);
    let handler: extern "C" fn(libc::c_int) = hear_no_more;
    // SAFETY: the handler makes one system call and leaves `errno` as it was.
    unsafe { libc::signal(END_IF_IDLE, handler as libc::sighandler_t) };
}

/// Holds [`END_IF_IDLE`] back in this thread, and in its forks until they reset their signals: it
/// must not meet one that has not said yet what it does to it.
pub(crate) fn hold_end_if_idle() {
    // SAFETY: the set is filled in before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, END_IF_IDLE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// From here on this worker has a job, and is not ended for want of one.
pub(crate) fn ignore_end_if_idle() {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(END_IF_IDLE, libc::SIG_IGN) };
}

/// Ignores what is meant for the daemon.
pub(crate) fn ignore_terminal() {
    for signal in LEFT_TO_THE_DAEMON {
        // SAFETY: SIG_IGN runs no code.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
    }
}

/// Ignores the interrupt of a terminal, which is for whoever started this worker.
pub(crate) fn ignore_interrupt() {
    // SAFETY: SIG_IGN runs no code.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGINT, SigHandler::SigIgn) };
}

/// Ignores `SIGPIPE`, as every Rust program does: std sees to it before `main`, but a test binary
/// becomes a worker earlier.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN runs no code.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// What std has set for every Rust program: broken pipes are errors, and a stack overflow is told
/// before the process aborts.
const LEFT_TO_STD: [Signal; 3] = [Signal::SIGPIPE, Signal::SIGSEGV, Signal::SIGBUS];

/// Signals whose action is not the default, those of std excepted.
pub(crate) fn changed_signals() -> Vec<Signal> {
    let changed = |signal: &Signal| {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: with a null new action the kernel only writes the present one.
        let asked = unsafe {
            libc::sigaction(*signal as libc::c_int, std::ptr::null(), action.as_mut_ptr())
        };
        // SAFETY: zeroed is valid for this plain struct, whether the kernel wrote it or not.
        asked == 0 && unsafe { action.assume_init() }.sa_sigaction != libc::SIG_DFL
    };
    Signal::iterator().filter(|signal| !LEFT_TO_STD.contains(signal)).filter(changed).collect()
}

/// Gives a worker the default action for these signals and an empty mask.
pub(crate) fn reset_signals(changed: &[Signal]) {
    for signal in changed {
        // SAFETY: SIG_DFL runs no code of ours.
        let _ = unsafe { nix::sys::signal::signal(*signal, SigHandler::SigDfl) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Detaches from the terminal and the process group of whoever started us.
pub(crate) fn new_session() {
    let _ = nix::unistd::setsid();
}

/// Raises the soft limit of open descriptors to the hard one; gives the limit that holds then.
///
/// # Errors
/// As `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_umask_is_read_without_being_set() {
        let before = umask().unwrap();
        assert_eq!(umask().unwrap(), before);
        assert!(before <= 0o777);
        let own = OwnProc::open().unwrap();
        assert_eq!(own.umask().unwrap(), before);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| own.has_one_thread());
            assert!(!other.join().unwrap(), "there are two at least");
        });
    }

    #[test]
    fn limits_cover_every_resource() {
        assert_eq!(rlimits().len(), RESOURCES as usize);
    }
}
