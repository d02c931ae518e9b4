//! A client of the board that `job_board` serves: takes numbers, gives their prime factors.
//!
//! ```sh
//! export JOB_BOARD_KEY=secret
//! cargo run --release -p mpserverd-client --example job_worker -- 127.0.0.1:5000
//! ```

use mpserverd_client as mp;
use mpserverd_client::ManagerError;
use std::net::SocketAddr;
use std::time::Duration;

/// How often a client without work looks whether there will be any.
const LOOK: Duration = Duration::from_millis(100);

fn factors(mut number: u64) -> Vec<u64> {
    let (mut found, mut factor) = (Vec::new(), 2);
    while factor * factor <= number {
        while number.is_multiple_of(factor) {
            found.push(factor);
            number /= factor;
        }
        factor += 1;
    }
    if number > 1 {
        found.push(number);
    }
    found
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let address = std::env::args().nth(1).ok_or("where is the board? Give its address")?;
    let key = std::env::var("JOB_BOARD_KEY").map_err(|_| "JOB_BOARD_KEY is not set")?;
    let address = address.parse::<SocketAddr>()?;
    let board = mp::Manager::builder().address(address).authkey(key.as_bytes()).connect()?;
    let jobs = board.find::<mp::QueueProxy<u64>>("jobs")?;
    let results = board.find::<mp::DictProxy<u64, Vec<u64>>>("results")?;
    let done = board.find::<mp::EventProxy>("done")?;

    let mut count = 0;
    loop {
        match jobs.get_timeout(LOOK) {
            Ok(number) => {
                results.set(&number, &factors(number))?;
                count += 1;
            }
            Err(ManagerError::Empty { .. }) if !done.is_set()? => {}
            Err(ManagerError::Empty { .. } | ManagerError::Gone { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!("{count} jobs done");
    Ok(())
}
