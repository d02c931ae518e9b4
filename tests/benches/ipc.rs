//! What shared objects, connections and queues cost, beside the raw primitives, CPython's
//! `multiprocessing`, ipc-channel, and what threads of one process reach.
//!
//! `cargo bench -p mpserverd-tests --bench ipc [-- --quick | --full | --only NAME | --list]`
//!
//! | file | holds |
//! |---|---|
//! | `options` | the command line |
//! | `worker` | a process that is measured: it does its part when told, and says how long |
//! | `remote` | such a process, or one of CPython's, as the one that tells it what to do sees it |
//! | `operation` | an operation, and who does it in which way |
//! | `measure` | rounds, in which all variants of an operation take turns |
//! | `locks` | locks, alone and contended |
//! | `signals` | semaphores, events, barriers |
//! | `connections` | round trips and bandwidth of connections |
//! | `queues` | queues of many shapes and sizes of items |
//! | `values` | values, arrays, and what copying memory costs |
//! | `memory` | what objects take of memory and descriptors |
//! | `raw` | the primitives of the system, without anything of ours |
//! | `peer.py` | the same for CPython's `multiprocessing` |
//! | `report` | tables, ratios, goals |
//! | `machine` | what is printed about the machine |
//!
//! Every measured process is a process of its own: it gets the objects as arguments, obeys the
//! same orders whoever it is, and reads the clock itself. Variants of one operation take turns in
//! small rounds, so that noise of the machine hits all alike.

#[cfg(target_os = "linux")]
#[path = "ipc"]
mod ipc {
    pub(crate) mod connections;
    pub(crate) mod locks;
    pub(crate) mod machine;
    pub(crate) mod measure;
    pub(crate) mod memory;
    pub(crate) mod operation;
    pub(crate) mod options;
    pub(crate) mod queues;
    pub(crate) mod raw;
    pub(crate) mod remote;
    pub(crate) mod report;
    pub(crate) mod signals;
    pub(crate) mod values;
    pub(crate) mod worker;
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // First: the processes that are measured are this program again.
    mp::freeze_support();
    use ipc::options::{Command, Options, USAGE};
    let done = match Options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            println!("{USAGE}");
            Ok(())
        }
        Ok(Command::List) => {
            ipc::measure::list();
            Ok(())
        }
        Ok(Command::Measure(options)) => ipc::measure::run(&options),
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            return std::process::ExitCode::from(100);
        }
    };
    done.map_or_else(
        |error| {
            eprintln!("error: {error}");
            std::process::ExitCode::from(111)
        },
        |()| std::process::ExitCode::SUCCESS,
    )
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: what processes share needs Linux");
}
