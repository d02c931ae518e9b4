//! What an operator measures of a host: answers with many workers, the daemon's memory, what
//! metrics cost, and how long starts pause over reloads, upgrades and the daemon's death, beside
//! CPython's forkserver when its server dies.
//!
//! `cargo bench -p mpserverd-tests --bench host [-- --quick]`
//!
//! | file | holds |
//! |---|---|
//! | `driver` | a process that is measured: it starts processes when told, and says how it went |
//! | `gaps` | how long no start comes through when the host is replaced |
//! | `measure` | who is measured, and the tables |
//! | `peer.py` | the same driver for CPython's `multiprocessing` |
//!
//! Times and pauses are those of a program that starts one process after the other; nothing here
//! asserts one.

#[cfg(target_os = "linux")]
#[path = "host"]
mod host {
    pub(crate) mod driver;
    mod gaps;
    pub(crate) mod measure;
}

#[cfg(target_os = "linux")]
const USAGE: &str = "\
Usage: cargo bench -p mpserverd-tests --bench host -- [OPTION]...

  --quick   fewer workers and shorter phases, to see that all works";

#[cfg(target_os = "linux")]
enum Command {
    Drive,
    Measure(host::measure::Options),
}

#[cfg(target_os = "linux")]
fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Command>, String> {
    let mut options = host::measure::Options::full();
    for argument in arguments {
        match argument.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--quick" => options = host::measure::Options::quick(),
            "--drive" => return Ok(Some(Command::Drive)),
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(Some(Command::Measure(options)))
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // First: this program is its own template and worker.
    mp::freeze_support();
    let command = parse(std::env::args().skip(1));
    mpserverd_tests::bench::main(command, USAGE, |command| match command {
        Command::Drive => host::driver::run(),
        Command::Measure(options) => host::measure::run(options),
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the daemon needs Linux");
}
