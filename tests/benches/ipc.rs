//! What shared objects, connections and queues cost, beside the raw primitives, CPython's
//! `multiprocessing`, ipc-channel, and what threads of one process reach.
//!
//! `cargo bench -p mpserverd-tests --bench ipc [-- --quick | --full | --only NAME | --list]`
//!
//! | file | holds |
//! |---|---|
//! | `worker` | a process that is measured: it does its part when told, and says how long |
//! | `remote` | such a process, or one of CPython's, as the one that tells it what to do sees it |
//! | `operation` | an operation, and who does it in which way |
//! | `measure` | who is measured, table by table |
//! | `locks` | locks, alone and contended |
//! | `signals` | semaphores, events, barriers |
//! | `connections` | round trips and bandwidth of connections |
//! | `queues` | queues of many shapes and sizes of items |
//! | `values` | values, arrays, and what copying memory costs |
//! | `memory` | what objects take of memory and descriptors |
//! | `peer.py` | the same for CPython's `multiprocessing` |
//!
//! What it shares with other benchmarks is `mpserverd_tests::bench`: the command line, rounds, tables,
//! the primitives of the system.
//!
//! Every measured process is a process of its own: it gets the objects as arguments, obeys the
//! same orders whoever it is, and reads the clock itself. Variants of one operation take turns in
//! small rounds, so that noise of the machine hits all alike.

#[cfg(target_os = "linux")]
#[path = "ipc"]
mod ipc {
    pub(crate) mod connections;
    pub(crate) mod locks;
    pub(crate) mod measure;
    pub(crate) mod memory;
    pub(crate) mod operation;
    pub(crate) mod queues;
    pub(crate) mod remote;
    pub(crate) mod signals;
    pub(crate) mod values;
    pub(crate) mod worker;
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // First: the processes that are measured are this program again.
    mp::freeze_support();
    use mpserverd_tests::bench::{self, options};
    let command = options::Options::parse(std::env::args().skip(1), (9, 15), (31, 100));
    bench::main(command, &options::usage("ipc", "queue or lock"), |command| match command {
        options::Command::List => {
            ipc::measure::list();
            Ok(())
        }
        options::Command::Measure(options) => ipc::measure::run(&options),
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: what processes share needs Linux");
}
