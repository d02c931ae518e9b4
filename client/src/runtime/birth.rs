//! The limits that a worker is born with: set before it hears from anybody, and not loosened by
//! any job, whatever the process is privileged to.
//!
//! What must never be in here: limits that somebody else holds (memory, deadlines).

use crate::process::Resource;
use crate::sys::{attributes, fork};
use mpserverd_proto::bounds::{Birth, Bound};
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{Rlimit, Setup};

/// Exit code of a worker that cannot be limited: it must not run.
const SYSTEM: i32 = 111;

/// The most that a resource may have.
fn most(birth: &Birth, resource: u32) -> Option<(Bound, u64)> {
    let of = |bound, most: Option<u64>| most.map(|most| (bound, most));
    match resource {
        r if r == Resource::OpenFiles as u32 => of(Bound::Fds, birth.fds),
        r if r == Resource::FileSize as u32 => of(Bound::FileSize, birth.file_size),
        r if r == Resource::Cpu as u32 => of(Bound::CpuTime, birth.cpu_seconds),
        _ => None,
    }
}

/// Brings a limit down to what is allowed.
pub(super) fn clamp(birth: &Birth, limit: &mut Rlimit) {
    if let Some((_, most)) = most(birth, limit.resource) {
        limit.hard = limit.hard.min(most);
        limit.soft = limit.soft.min(limit.hard);
    }
}

/// Brings a nice value up to what is allowed.
pub(super) fn nice(birth: &Birth, nice: i32) -> i32 {
    birth.nice.map_or(nice, |least| nice.max(least))
}

/// Refuses what a job asks for in so many words and may not have.
pub(super) fn refuse_looser(birth: &Birth, setup: &Setup) -> Result<(), JobError> {
    let refusal = |bound: Bound, asked: String, allowed: String| JobError::Setup {
        step: format!("limit `{bound}`"),
        message: format!("{asked} is looser than the daemon's {allowed}"),
    };
    for limit in setup.rlimits.iter().filter(|limit| limit.strict) {
        if let Some((bound, most)) = most(birth, limit.resource)
            && limit.hard > most
        {
            return Err(refusal(bound, limit.hard.to_string(), most.to_string()));
        }
    }
    match (setup.nice.filter(|_| setup.nice_strict), birth.nice) {
        (Some(asked), Some(least)) if asked < least => {
            Err(refusal(Bound::Nice, asked.to_string(), least.to_string()))
        }
        _ => Ok(()),
    }
}

/// Limits this process, which was just forked.
pub(super) fn limit(birth: &Birth) {
    if *birth == Birth::default() {
        return;
    }
    for mut limit in attributes::rlimits() {
        let before = limit;
        clamp(birth, &mut limit);
        // Less is always allowed.
        if limit != before
            && attributes::set_rlimit(limit.resource, limit.soft, limit.hard).is_err()
        {
            fork::exit_now(SYSTEM);
        }
    }
    let own = attributes::nice();
    if nice(birth, own) != own && attributes::set_nice(nice(birth, own)).is_err() {
        fork::exit_now(SYSTEM);
    }
    if birth.keeps_orphans {
        // Refused by no kernel that has pidfds.
        let _ = attributes::become_subreaper();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(hard: u64, nice: i32) -> Setup {
        let resource = Resource::OpenFiles as u32;
        let rlimits = vec![Rlimit { resource, soft: 20, hard, strict: true }];
        Setup { rlimits, nice: Some(nice), nice_strict: true, ..Setup::default() }
    }

    #[test]
    fn what_is_looser_is_refused_by_name() {
        let birth = Birth { fds: Some(100), nice: Some(5), ..Birth::default() };
        assert_eq!(refuse_looser(&birth, &setup(100, 5)), Ok(()));
        assert_eq!(refuse_looser(&Birth::default(), &setup(u64::MAX, -20)), Ok(()));
        let text = refuse_looser(&birth, &setup(101, 5)).expect_err("looser").to_string();
        assert!(text.contains("limit `fds`") && text.contains("101 is looser"), "{text}");
        let text = refuse_looser(&birth, &setup(100, 4)).expect_err("looser").to_string();
        assert!(text.contains("limit `nice`"), "{text}");
    }

    #[test]
    fn what_is_inherited_is_brought_down() {
        let birth = Birth { fds: Some(100), nice: Some(5), ..Birth::default() };
        let resource = Resource::OpenFiles as u32;
        let mut limit = Rlimit { resource, soft: 500, hard: u64::MAX, strict: false };
        clamp(&birth, &mut limit);
        assert_eq!((limit.soft, limit.hard), (100, 100));
        assert_eq!((nice(&birth, 0), nice(&birth, 9)), (5, 9));
    }
}
