//! A client to be killed: starts sleepers, says their pids, and waits.
//!
//! `victim COUNT daemonic|plain MILLISECONDS`: each worker sleeps so long. One line of pids on
//! standard output when all have started.

use std::io::Write;
use std::time::Duration;

#[mp::task]
fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn main() {
    mp::freeze_support();
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [count, kind, ms] = &arguments[..] else {
        eprintln!("usage: victim COUNT daemonic|plain MILLISECONDS");
        std::process::exit(100);
    };
    let (count, ms) = (count.parse::<usize>().unwrap_or(1), ms.parse::<u64>().unwrap_or(1000));
    let context = mp::get_context(mp::StartMethod::ForkServer).with_fallback(mp::Fallback::Fail);
    let mut started = Vec::new();
    for _ in 0..count {
        let process = context.process::<sleep_ms>((ms,)).daemon(kind == "daemonic");
        started.push(process.start().expect("a worker"));
    }
    let pids = started.iter().map(|process| process.pid().to_string()).collect::<Vec<_>>();
    println!("{}", pids.join(" "));
    std::io::stdout().flush().expect("standard output");
    std::thread::sleep(Duration::from_secs(600));
}
