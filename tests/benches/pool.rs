//! What a pool's tasks cost, beside CPython's pools, procspawn's, rayon in one process and a bare
//! futex; and what a manager's calls cost, beside CPython's and a socket pair.
//!
//! `cargo bench -p mpserverd-tests --bench pool [-- --quick | --full | --only NAME | --list]`
//!
//! | file | holds |
//! |---|---|
//! | `case` | what is measured, as a program that is measured is told |
//! | `operations` | which cases there are, and who takes part |
//! | `measure` | tables and goals |
//! | `drive` | a program that is measured: it does its case when told, and says how long |
//! | `crew` | what a pool must be able to do for that |
//! | `turns` | what is done and measured, the same for every crew |
//! | `tasks` | what workers run |
//! | `meeting` | a place where workers arrive, and stay until they are dismissed |
//! | `by_ours`, `by_procspawn`, `by_rayon` | the crews |
//! | `raw` | round trips without a pool or a manager |
//! | `manager` | calls of our manager |
//! | `peer.py` | the same for CPython |
//!
//! Every contestant is a program of its own that has its workers, obeys the same lines whoever it
//! is, and reads the clock itself. All of an operation take turns in small rounds, so that noise of
//! the machine hits all alike. What it shares with other benchmarks is `mpserverd_tests::bench`.

#[cfg(target_os = "linux")]
#[path = "pool"]
mod pool {
    pub(crate) mod by_ours;
    pub(crate) mod by_procspawn;
    pub(crate) mod by_rayon;
    pub(crate) mod case;
    pub(crate) mod crew;
    pub(crate) mod drive;
    pub(crate) mod manager;
    pub(crate) mod measure;
    pub(crate) mod meeting;
    pub(crate) mod operations;
    pub(crate) mod raw;
    pub(crate) mod tasks;
    pub(crate) mod turns;
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // First: this program is the worker of two pools. The peer's workers must not see what is
    // ours, nor ours what is the peer's: each of the two does nothing in the other's.
    procspawn::init();
    mp::freeze_support();
    use mpserverd_tests::bench::{self, options};
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--drive").is_some() {
        let part = arguments.next().ok_or_else(|| "--drive needs a part".to_owned());
        return bench::main(part.map(Some), "", |part| pool::drive::run(&part));
    }
    let command = options::Options::parse(arguments, (7, 40), (21, 150));
    bench::main(command, &options::usage("pool", "apply or map"), |command| match command {
        options::Command::List => {
            pool::measure::list();
            Ok(())
        }
        options::Command::Measure(options) => pool::measure::run(&options),
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: pools need Linux");
}
