//! A program with a pool, to be ended by others.
//!
//! `pool_owner METHOD WORKERS WHAT`: one line of the pids of its workers when all of them work.
//! `work` works for ever. `finish` and `give-up` wait for a `SIGINT`: the first then ends what it
//! has and says how much that was, the other terminates the pool.

mpserverd_tests::main_on_linux!();

#[cfg(target_os = "linux")]
mod linux {
    use mp::pool::WorkerState::{Busy, Idle};
    use nix::sys::signal::{SigSet, Signal};
    use std::time::Duration;

    /// Longer than any test waits.
    const LONG: u64 = 600_000;
    const PATIENCE: Duration = Duration::from_secs(60);

    #[mp::task]
    fn nap(millis: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(millis));
        1
    }

    pub(super) fn main() {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>();
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let [method, workers, what] = arguments[..] else { panic!("{arguments:?}") };
        let workers = workers.parse::<usize>().unwrap();
        let mut interrupt = SigSet::empty();
        if what != "work" {
            interrupt.add(Signal::SIGINT);
            // Before there is any other thread.
            interrupt.thread_block().unwrap();
        }
        let context = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
        let context = context.with_fallback(mp::Fallback::Fail);
        let pool = context.pool().processes(workers).build().unwrap();
        let millis = if what == "finish" { 30 } else { LONG };
        let map = pool.mapping::<nap>().chunk(1).map_async(vec![millis; 40]).unwrap();
        report(&pool, workers);
        match what {
            "finish" => {
                interrupt.wait().unwrap();
                pool.close();
                pool.join_timeout(PATIENCE).unwrap();
                println!("done {}", map.get().unwrap().iter().sum::<u64>());
            }
            "give-up" => {
                interrupt.wait().unwrap();
                pool.terminate_timeout(PATIENCE).unwrap();
                let error = map.get().unwrap_err().error;
                assert!(matches!(error, mp::TaskFailure::Pool(mp::PoolError::Terminated)));
                println!("terminated");
            }
            _ => map.wait(),
        }
    }

    /// Says who the workers are, when all of them are there.
    fn report(pool: &mp::Pool, count: usize) {
        loop {
            let workers = pool.status().workers;
            let there = workers.iter().filter(|worker| matches!(worker.state, Idle | Busy));
            let pids = there.map(|worker| worker.pid.to_string()).collect::<Vec<_>>();
            if pids.len() == count {
                return println!("{}", pids.join(" "));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
