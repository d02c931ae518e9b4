//! Who a process is, in a way that survives the reuse of its pid.
//!
//! Contract: the identity of this process lies in a page that the kernel wipes in every child of a
//! fork (`MADV_WIPEONFORK`, `madvise(2)`), however that fork was made; so reading it needs no
//! system call and never gives the parent's. Deaths are read from pidfds alone: a stopped process
//! is alive, a zombie is dead, and a process whose other threads go on after its first has ended
//! is alive.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `PID_FS_MAGIC`: inodes of pidfds are unique for as long as the machine runs (Linux 6.9).
const PIDFS: libc::c_long = 0x5049_4446;
/// Pids have at most 22 bits (`PID_MAX_LIMIT`, `proc_sys_kernel(5)`).
pub(crate) const PID_BITS: u32 = 22;
/// Width of what tells two processes of the same pid apart.
const UNIQUE_BITS: u32 = 30;

/// Bits that an [`Identity`] uses: the pid from bit 0 on, what makes it unique from bit 32 on.
pub(crate) const IDENTITY_MASK: u64 = ((1 << PID_BITS) - 1) | (((1u64 << UNIQUE_BITS) - 1) << 32);

/// A process, alive or dead, among all that ever ran since the machine started. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

impl Identity {
    /// This process.
    #[inline]
    pub(crate) fn own() -> Self {
        match own_word().load(Ordering::Relaxed) {
            0 => Self::find(),
            known => Self(known),
        }
    }

    /// From bits of shared memory; `None` for bits that mean nobody.
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let bits = bits & IDENTITY_MASK;
        (bits & ((1 << PID_BITS) - 1) != 0).then_some(Self(bits))
    }

    /// Its pid.
    pub(crate) fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    #[cold]
    fn find() -> Self {
        let pid = std::process::id();
        let unique = super::wait::pidfd_open(pid).ok().and_then(|pidfd| unique(&pidfd, pid));
        let own = Self::of(pid, unique);
        own_word().store(own.0, Ordering::Relaxed);
        own
    }

    /// Of what the kernel tells; `None` if it does not: then the pid alone must do.
    fn of(pid: u32, unique: Option<u64>) -> Self {
        let unique = unique.map_or(0, |unique| (unique & ((1 << UNIQUE_BITS) - 1)).max(1));
        Self(u64::from(pid) & ((1 << PID_BITS) - 1) | unique << 32)
    }

    /// Whether it has ended. Says no whenever that cannot be known: a false death would break
    /// what it protects, a late one only waits longer.
    #[cold]
    pub(crate) fn is_dead(self) -> bool {
        if self == Self::own() {
            return false;
        }
        let pidfd = match super::wait::pidfd_open(self.pid()) {
            Ok(pidfd) => pidfd,
            // ESRCH: no such process. EINVAL: the number is a thread of another one now.
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ESRCH | libc::EINVAL) => true,
                    // No descriptor free to look with.
                    _ => self.is_gone(),
                };
            }
        };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) > 0 {
            return true;
        }
        let known = self.0 >> 32 != 0;
        known
            && unique(&pidfd, self.pid())
                .is_some_and(|unique| Self::of(self.pid(), Some(unique)) != self)
    }

    fn is_gone(self) -> bool {
        let pid = nix::unistd::Pid::from_raw(self.pid() as i32);
        nix::sys::signal::kill(pid, None) == Err(nix::errno::Errno::ESRCH)
    }
}

/// What tells a process from all others that have or had its pid.
fn unique(pidfd: &OwnedFd, pid: u32) -> Option<u64> {
    static BY_INODE: OnceLock<bool> = OnceLock::new();
    let by_inode = *BY_INODE.get_or_init(|| {
        nix::sys::statfs::fstatfs(pidfd).is_ok_and(|fs| fs.filesystem_type().0 == PIDFS)
    });
    if by_inode {
        return Some(nix::sys::stat::fstat(pidfd).ok()?.st_ino);
    }
    // Field 22 of /proc/PID/stat: when it started. The name, in parentheses, may hold anything.
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[after_name + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The word that a fork wipes.
#[inline]
fn own_word() -> &'static AtomicU64 {
    static WORD: OnceLock<&'static AtomicU64> = OnceLock::new();
    WORD.get_or_init(wiped_on_fork)
}

#[cold]
fn wiped_on_fork() -> &'static AtomicU64 {
    // SAFETY: a fresh anonymous mapping of one page, never unmapped: aligned, zeroed and ours. If
    // the kernel cannot wipe it (before 4.14), a page that every process of the tree would share
    // is never used: see the fallback.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            size_of::<AtomicU64>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(page != libc::MAP_FAILED, "no memory for one page");
        if libc::madvise(page, size_of::<AtomicU64>(), libc::MADV_WIPEONFORK) != 0 {
            libc::pthread_atfork(None, None, Some(forget));
        }
        &*page.cast::<AtomicU64>()
    }
}

/// In a forked child, where the kernel does not do it.
extern "C" fn forget() {
    own_word().store(0, Ordering::Relaxed);
}

/// The pid namespace of this process, by inode; 0 where `/proc` does not tell. Pids mean nothing
/// outside of it.
pub(crate) fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |found| found.ino())
}

/// A number of this thread, unique in its process and never zero.
#[inline]
pub(crate) fn thread_number() -> u32 {
    use std::sync::atomic::AtomicU32;
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed).max(1));
    NUMBER.with(|number| *number)
}

/// A word that stands for this thread among all threads of all processes, past ones included.
/// Never zero.
///
/// 64 random bits of the thread, and the identity of its process: a forked child's only thread has
/// the same random bits as the one that forked it, and another identity.
#[inline]
pub(crate) fn thread_tag() -> u64 {
    thread_local!(static RANDOM: u64 = random());
    let tag = RANDOM.with(|random| *random) ^ Identity::own().0;
    if tag == 0 { 1 } else { tag }
}

/// A word of the same kind that stands for something else of this process than a thread, each time
/// for something new. Never zero.
pub(crate) fn fresh_tag() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The constant of Fibonacci hashing: numbers are spread over the word.
    let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let tag = BASE.get_or_init(random).wrapping_add(number) ^ Identity::own().0;
    if tag == 0 { 1 } else { tag }
}

#[cold]
fn random() -> u64 {
    // Without a source of randomness: the number of the thread, spread over the word (the constant
    // of Fibonacci hashing), which the identity of the process makes its own.
    getrandom::u64()
        .unwrap_or_else(|_| u64::from(thread_number()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_stranger_with_its_pid_is_dead() {
        let own = Identity::own();
        assert_eq!(own.pid(), std::process::id());
        assert!(!own.is_dead());
        assert!(Identity(own.0 ^ (1 << 33)).is_dead());
        assert_eq!(Identity::from_bits(0), None);
        assert_eq!(Identity::from_bits(own.0 | 1 << 31), Some(own));
    }

    #[test]
    fn init_is_alive_if_its_identity_is_known() {
        let pidfd = super::super::wait::pidfd_open(1).expect("pid 1 exists");
        let Some(unique) = unique(&pidfd, 1) else { return };
        assert!(!Identity::of(1, Some(unique)).is_dead());
        assert!(!Identity::of(1, None).is_dead());
        assert!(Identity::of(1, Some(unique + 1)).is_dead());
    }
}
