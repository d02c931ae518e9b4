//! Exit handlers: whose they are, and which ends run them.
//!
//! | file | holds |
//! |---|---|
//! | [`workers`] | those of workers, under each start method |
//! | [`programs`] | those of a program, however it ends |
//! | [`modules`] | those of a module, which has a table of its own |
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod modules;
mod programs;
mod workers;

/// Environment variable with the file that handlers write to.
const MARKS: &str = "EXIT_MARKS";

mp::module! {
    name: "exit",
    init: || mp::at_exit(|| mark("init")),
    after_fork: || mp::at_exit(|| mark("after_fork")),
}

/// Adds a line to the file that the environment of this process names, if it does.
fn mark(text: &str) {
    use std::io::Write;
    let Some(path) = std::env::var_os(MARKS) else { return };
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    writeln!(file, "{text}").unwrap();
}
