//! A manager served over TCP: a board with jobs for clients on any machine. The client is
//! `job_worker`, a program of its own.
//!
//! ```sh
//! export JOB_BOARD_KEY=secret
//! cargo run --release -p mpserverd-client --example job_board -- 127.0.0.1:5000 [JOBS]
//! cargo run --release -p mpserverd-client --example job_worker -- 127.0.0.1:5000   # any number
//! ```
//!
//! A client that vanishes costs nobody anything: jobs that have no result after a while are posted
//! again.

use mpserverd_client as mp;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A job without a result for so long is given to somebody else.
const LOST_AFTER: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into()).parse::<SocketAddr>()?;
    let count = arguments.next().map_or(Ok(100), |text| text.parse::<u64>())?;
    let key = std::env::var("JOB_BOARD_KEY").map_err(|_| "JOB_BOARD_KEY is not set")?;

    let manager = mp::Manager::builder().address(address).authkey(key.as_bytes()).start()?;
    let jobs = manager.queue::<u64>(0)?;
    let results = manager.dict::<u64, Vec<u64>>([])?;
    let done = manager.event()?;
    manager.publish("jobs", &jobs)?;
    manager.publish("results", &results)?;
    manager.publish("done", &done)?;
    println!("jobs at {}", manager.address());

    let wanted = (0..count).map(|n| 1_000_000_007 * (n + 2)).collect::<BTreeSet<_>>();
    wanted.iter().try_for_each(|number| jobs.put(number))?;
    let (mut known, mut since) = (0, Instant::now());
    while known < wanted.len() {
        std::thread::sleep(Duration::from_millis(50));
        let now = results.len()?;
        if now > known {
            (known, since) = (now, Instant::now());
        } else if jobs.empty()? && since.elapsed() > LOST_AFTER {
            let there = results.keys()?.into_iter().collect();
            let missing = wanted.difference(&there).collect::<Vec<_>>();
            println!("{} jobs have no result: posted again", missing.len());
            missing.into_iter().try_for_each(|number| jobs.put(number))?;
            since = Instant::now();
        }
    }
    done.set()?;
    let wrong = |(number, factors): &(u64, Vec<u64>)| factors.iter().product::<u64>() != *number;
    let wrong = results.items()?.iter().filter(|item| wrong(item)).count();
    println!("{known} results, {wrong} of them wrong");
    // Clients that wait for a job look at the event now and then.
    std::thread::sleep(Duration::from_millis(500));
    manager.shutdown()?;
    Ok(())
}
