//! What a pool keeps, and workers that have too much.

use crate::work::{plain, result_of};
use crate::{alone, get, ready};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, seeds, skip};
use std::fs;
use std::path::PathBuf;

/// How much memory this process has for itself, in bytes.
fn own_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(kib).sum::<u64>() << 10
}

/// Tasks leave nothing, however many there were.
fn tasks_leave_nothing(ctx: &mp::Context, tasks: u64) {
    let pool = ctx.pool().processes(2).build().unwrap();
    let run = |tasks: u64| {
        let mut sum = 0;
        for outcome in pool.imap::<plain>(0..tasks / 2).unwrap() {
            sum += outcome.unwrap();
        }
        for outcome in pool.mapping::<plain>().chunk(1).imap_unordered(0..tasks / 2).unwrap() {
            sum += outcome.unwrap();
        }
        assert_eq!(sum, 2 * (0..tasks / 2).map(result_of).sum::<u64>());
        (0..100).for_each(|n| assert_eq!(pool.apply::<plain>((n,)).unwrap(), result_of(n)));
        alone::beat();
    };
    run(tasks / 2);
    let before = own_bytes();
    run(tasks);
    let after = own_bytes();
    println!("{} KiB before {tasks} tasks, {} KiB after", before >> 10, after >> 10);
    // A byte for each would be more than this, of a million.
    assert!(after < before + (1 << 20).max(tasks), "{before} bytes before, {after} after");
}

fn many_tasks_leave_nothing(ctx: &mp::Context) {
    tasks_leave_nothing(ctx, 60_000);
}

fn a_million_tasks_leave_nothing(ctx: &mp::Context) {
    tasks_leave_nothing(ctx, 1_000_000);
}

#[mp::task]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Inputs of a map that was done, cancelled, or died with its pool.
fn inputs_are_released(ctx: &mp::Context) {
    const EACH: usize = 64 << 10;
    const INPUTS: usize = 200;
    let input = vec![1u8; EACH];
    let mut most = None;
    for round in 0..seeds::count(9) {
        let pool = ctx.pool().processes(2).build().unwrap();
        ready(&pool, 2);
        let inputs = std::iter::repeat_n(&input[..], INPUTS);
        let map = pool.mapping::<length>().chunk(1).map_async(inputs).unwrap();
        match round % 3 {
            0 => assert_eq!(get(&pool, &map).unwrap(), vec![EACH; INPUTS]),
            1 => drop(map.cancel()),
            _ => pool.terminate(),
        }
        if round % 3 == 1 {
            let idle = eventually(PATIENCE, || pool.status().pending == 0);
            assert!(idle, "{:?}", pool.status());
        }
        drop((map, pool));
        let now = own_bytes();
        let most = *most.get_or_insert(now);
        let kept = now.saturating_sub(most);
        println!("{} KiB after round {round}", now >> 10);
        // The allocator may keep what a round or two took; a leak is as large as all of them.
        let bound = 3 * (EACH * INPUTS) as u64;
        assert!(kept < bound, "{kept} bytes more after {round} rounds");
        alone::beat();
    }
}

/// A control group whose processes have so much memory. The first version of control groups is
/// what is left to tests on most machines.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> std::io::Result<Self> {
        let name = format!("mpserverd-test-{}", std::process::id());
        let group = Self(PathBuf::from("/sys/fs/cgroup/memory").join(name));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string())?;
        // Not everywhere: what would be swapped out is not wanted either.
        let _ = fs::write(group.0.join("memory.swappiness"), "0");
        let _ = fs::write(group.0.join("memory.memsw.limit_in_bytes"), bytes.to_string());
        Ok(group)
    }

    fn add(&self, pid: u32) -> std::io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let gone = eventually(PATIENCE, || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
        if !gone {
            eprintln!("{} is left", self.0.display());
        }
    }
}

#[mp::task]
fn eat(bytes: usize) -> usize {
    std::hint::black_box(vec![1u8; bytes]).len()
}

fn one_that_eats_too_much_is_told_apart(ctx: &mp::Context) {
    let group = match Group::new(96 << 20) {
        Ok(group) => group,
        Err(error) => return skip(&format!("no control group for memory: {error}")),
    };
    let pool = ctx.pool().processes(1).build().unwrap();
    let pid = ready(&pool, 1)[0];
    if let Err(error) = group.add(pid) {
        return skip(&format!("a worker cannot be moved to a control group: {error}"));
    }
    assert_eq!(pool.apply::<eat>((1 << 20,)).unwrap(), 1 << 20);
    let error = pool.apply::<eat>((512 << 20,)).unwrap_err();
    let mp::TaskFailure::WorkerLost { pid: lost, oom, ending, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(lost, pid);
    assert!(oom, "it was not for want of memory, but {ending}");
    // The next one is not in the group.
    assert_eq!(pool.apply::<eat>((200 << 20,)).unwrap(), 200 << 20);
    let error = pool.apply::<kill_own>(()).unwrap_err();
    assert!(matches!(error, mp::TaskFailure::WorkerLost { oom: false, .. }), "{error}");
    drop(pool);
}

#[mp::task]
fn kill_own() {
    nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL).unwrap();
}

alone![
    many_tasks_leave_nothing,
    inputs_are_released,
    one_that_eats_too_much_is_told_apart;
    long: a_million_tasks_leave_nothing,
];
