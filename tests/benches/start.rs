//! How long a start takes and how many a second there are, beside raw `fork` and CPython.
//!
//! `cargo bench -p mpserverd-tests --bench start [-- --quick | --sizes 10M,1G,4G | --starts N]`
//!
//! | file | holds |
//! |---|---|
//! | `options` | the command line |
//! | `driver` | a process that is measured: it starts processes when told, and says how long |
//! | `raw` | the baseline: `fork` without anything of ours |
//! | `peer.py` | the same driver for CPython's `multiprocessing` |
//! | `remote` | a driver, as the process that tells it what to do sees it |
//! | `measure` | who is measured beside whom, in rounds |
//! | `report` | percentiles, tables, goals |
//!
//! Every measured variant is a process of its own that obeys one line protocol, and variants of a
//! phase take turns in small rounds, so that noise of the machine hits all alike. What holds as
//! much memory as the template is never there twice at a time.

#[cfg(target_os = "linux")]
#[path = "start"]
mod start {
    pub(crate) mod driver;
    pub(crate) mod measure;
    pub(crate) mod options;
    pub(crate) mod raw;
    pub(crate) mod remote;
    pub(crate) mod report;
}

#[cfg(target_os = "linux")]
mp::module! {
    name: "start",
    init: start::driver::allocate_state,
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // First: this program is its own template and worker.
    mp::freeze_support();
    use start::options::{Command, Options, USAGE};
    let command = Options::parse(std::env::args().skip(1));
    mpserverd_tests::bench::main(command, USAGE, |command| match command {
        Command::Drive(role) => start::driver::run(role),
        Command::Measure(options) => start::measure::run(&options),
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the daemon needs Linux");
}
