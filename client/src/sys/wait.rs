//! pidfds, `waitid` and exit records.
//!
//! Contract: signals go by pidfd, never by number, except to children that this process has not
//! reaped yet (their pids cannot be reused).

use mpserverd_proto::status::{ExitRecord, Reporter, Usage};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A pidfd of a process, close-on-exec.
///
/// # Errors
/// As `pidfd_open(2)`.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a syscall without memory arguments.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0u32) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    super::fd::above_standard(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Sends a signal to the process behind a pidfd. A process that has ended is not an error.
///
/// # Errors
/// As `pidfd_send_signal(2)`, `ESRCH` excepted.
pub fn signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed and means "as by kill(2)".
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

/// Whom to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// Any child.
    Any,
    /// The child with this pid.
    Pid(u32),
    /// The child behind this pidfd.
    Pidfd(BorrowedFd<'a>),
}

/// Looks for a child that has ended, without blocking. It stays a zombie unless `reap` is set, so
/// that its status can be delivered first.
///
/// # Errors
/// As `waitid(2)`; `ECHILD` when there is no such child.
pub fn ended(whom: Whom<'_>, reap: bool, by: Reporter) -> io::Result<Option<(u32, ExitRecord)>> {
    // A zombie tells more than its status.
    let Some((pid, mut record)) = look(whom, libc::WNOWAIT, by)? else { return Ok(None) };
    record.out_of_cpu = record.code == -libc::SIGKILL && is_out_of_cpu(pid);
    if reap {
        // Unless another thread was quicker.
        let _ = look(Whom::Pid(pid), 0, by);
    }
    Ok(Some((pid, record)))
}

/// Whether a zombie has used up what its hard limit of time on the CPU gives.
fn is_out_of_cpu(pid: u32) -> bool {
    // SAFETY: plain data, valid when zero.
    let mut limit: libc::rlimit = unsafe { zeroed() };
    // SAFETY: the kernel writes one rlimit; the new one is null, so nothing is changed. The pid is
    // that of a zombie, which nobody else can have.
    let asked = unsafe {
        libc::prlimit(pid as libc::pid_t, libc::RLIMIT_CPU, std::ptr::null(), &raw mut limit)
    };
    if asked != 0 || limit.rlim_max == libc::RLIM_INFINITY {
        return false;
    }
    limited_cpu_seconds(pid).is_some_and(|used| used >= limit.rlim_max)
}

/// Time on the CPU of a process as its limit counts it, whole seconds: in ticks, which on a busy
/// machine are a good deal more than the times that `getrusage(2)` tells.
fn limited_cpu_seconds(pid: u32) -> Option<u64> {
    /// The clock of a process that counts ticks (`CPUCLOCK_PROF` of `linux/posix-timers.h`).
    const PROF: libc::clockid_t = 0;
    let clock = (!(pid as libc::clockid_t) << 3) | PROF;
    // SAFETY: plain data, valid when zero.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: the kernel writes one timespec.
    let asked = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (asked == 0).then_some(time.tv_sec as u64)
}

/// The same, keeping or reaping it as the flag says.
fn look(whom: Whom<'_>, keep: libc::c_int, by: Reporter) -> io::Result<Option<(u32, ExitRecord)>> {
    let (kind, id) = match whom {
        Whom::Any => (libc::P_ALL, 0),
        Whom::Pid(pid) => (libc::P_PID, pid),
        Whom::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd() as u32),
    };
    // SAFETY: both structs are plain data, valid when zero.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { (zeroed(), zeroed()) };
    // SAFETY: the kernel writes one siginfo_t and one rusage; the raw syscall is used because
    // glibc's waitid has no rusage argument.
    let done = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            kind,
            id,
            &raw mut info,
            libc::WEXITED | libc::WNOHANG | keep,
            &raw mut usage,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid filled the SIGCHLD members (or left them zero when nobody has ended).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let code = if info.si_code == libc::CLD_EXITED { status } else { -status };
    let core = info.si_code == libc::CLD_DUMPED;
    let usage = convert(&usage);
    Ok(Some((pid as u32, ExitRecord { code, core, usage, reporter: by, out_of_cpu: false })))
}

fn convert(usage: &libc::rusage) -> Usage {
    let micros = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    Usage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        peak_rss_kib: usage.ru_maxrss as u64,
        minor_faults: usage.ru_minflt as u64,
    }
}

/// The kernel's record of an ended process that somebody else reaped (Linux 6.15 and later).
///
/// `None` where the kernel has no such record (yet).
#[must_use]
pub fn exit_behind_pidfd(pidfd: BorrowedFd<'_>) -> Option<ExitRecord> {
    /// `struct pidfd_info` of `linux/pidfd.h`, its first version: the exit code took the place of
    /// what was spare there.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const { assert!(size_of::<PidfdInfo>() == 64) };
    const INFO_EXIT: u64 = 1 << 3;
    /// `_IOWR(0xFF, 11, struct pidfd_info)`, with the size of the struct above.
    const GET_INFO: libc::Ioctl =
        ((3u64 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | (0xff << 8) | 11) as libc::Ioctl;
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's size is that of the struct, which outlives the call; kernels that do
    // not know the request or the size answer with an error.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    if done != 0 || info.mask & INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code;
    let code =
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) };
    let core = libc::WIFSIGNALED(status) && libc::WCOREDUMP(status);
    let (usage, reporter) = (Usage::default(), Reporter::Pidfd);
    Some(ExitRecord { code, core, usage, reporter, out_of_cpu: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn who_was_reaped_by_others_has_ended_as_it_did() {
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)] {
            #[allow(clippy::disallowed_methods, reason = "a process that ends")]
            let mut command = std::process::Command::new("/bin/sh");
            let mut child = command.args(["-c", script]).spawn().unwrap();
            let pidfd = pidfd_open(child.id()).unwrap();
            child.wait().unwrap();
            match exit_behind_pidfd(pidfd.as_fd()) {
                Some(record) => assert_eq!((record.code, record.core), (code, false), "{script}"),
                None => println!("skipped: this kernel keeps no record of the ended"),
            }
        }
    }
}
