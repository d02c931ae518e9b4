//! Who ends workers from outside, at random.

use mp::pool::{WorkerState, WorkerStatus};
use mpserverd_tests::seeds::Moments;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest time for which a worker is stopped.
const STOPPED_MOST: Duration = Duration::from_millis(30);

/// Sends a signal to a worker of a pool, unless it has ended.
pub(crate) fn signal(pid: u32, what: Signal) -> bool {
    let is_ours = mp::active_children().iter().any(|child| child.pid() == pid);
    is_ours && kill(Pid::from_raw(pid as i32), what).is_ok()
}

/// One of the workers that are so.
pub(crate) fn victim(
    pool: &mp::Pool,
    moments: &mut Moments,
    is_so: impl Fn(&WorkerStatus) -> bool,
) -> Option<u32> {
    let workers = pool.status().workers;
    let alive = |worker: &&WorkerStatus| worker.state != WorkerState::Ended && is_so(worker);
    let pids = workers.iter().filter(alive).map(|worker| worker.pid).collect::<Vec<_>>();
    if pids.is_empty() {
        return None;
    }
    Some(pids[moments.below(pids.len() as u64) as usize])
}

/// Ends a worker in one of the ways there are, or stops it for a while; tells whether it may end of
/// that.
pub(crate) fn strike(pid: u32, moments: &mut Moments) -> bool {
    match moments.below(10) {
        0 => signal(pid, Signal::SIGABRT),
        1 => signal(pid, Signal::SIGTERM),
        2 | 3 => {
            if !signal(pid, Signal::SIGSTOP) {
                return false;
            }
            crate::pause(moments, STOPPED_MOST);
            // A worker that is stopped does not end by itself, but the pool may have killed it.
            let end = moments.below(2) == 0;
            signal(pid, if end { Signal::SIGKILL } else { Signal::SIGCONT });
            end
        }
        _ => signal(pid, Signal::SIGKILL),
    }
}

/// Strikes so often at most: where workers are ended faster than they come up, nothing ever ends.
const STRIKES_MOST: usize = 30;

/// Strikes workers now and then until it is told to stop, or has had enough; gives whom.
pub(crate) fn rage(
    pool: &mp::Pool,
    mut moments: Moments,
    within: Duration,
    stop: &AtomicBool,
) -> Vec<u32> {
    let mut struck = Vec::new();
    while !stop.load(Ordering::Relaxed) && struck.len() < STRIKES_MOST {
        crate::pause(&mut moments, within);
        let Some(pid) = victim(pool, &mut moments, |_| true) else { continue };
        if strike(pid, &mut moments) {
            struck.push(pid);
        }
    }
    struck
}
