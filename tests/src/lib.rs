//! What tests, benchmarks and the demo share.
//!
//! | module | holds |
//! |---|---|
//! | [`build`] | the programs and sample modules under test, built on demand |
//! | [`daemon`] | a private daemon that takes everything with it when it goes |
//! | [`proc`] | what `/proc` says about processes |
//! | [`program`] | programs under test, run with no daemon of the user's |
//! | [`suite`](mod@suite) | one test under every start method |
//! | [`mod@bench`] | what the benchmarks share |
//! | [`columns`](mod@columns) | tables of text |
//! | [`seeds`] | rounds of random moments that a seed repeats |
//! | [`words`] | numbers that processes share, without the memory under test |
//! | [`crew`] | processes in loops on an object, of which one after the other is killed |
//! | [`load`] | clients that start workers all the time while something happens to the daemon |
//! | [`parity`] | the same scenario under CPython, as an oracle |
//! | [`demo`] | the parts of the program `demo` |
//!
//! Nothing here uses a daemon of the user's, a fixed path or a port.

#[cfg(target_os = "linux")]
pub mod bench;
pub mod build;
pub mod columns;
#[cfg(target_os = "linux")]
pub mod crew;
#[cfg(target_os = "linux")]
pub mod daemon;
#[cfg(target_os = "linux")]
pub mod demo;
#[cfg(target_os = "linux")]
pub mod load;
#[cfg(target_os = "linux")]
pub mod parity;
#[cfg(target_os = "linux")]
pub mod proc;
#[cfg(target_os = "linux")]
pub mod program;
pub mod seeds;
#[cfg(target_os = "linux")]
pub mod suite;
#[cfg(target_os = "linux")]
pub mod words;

use std::time::{Duration, Instant};

/// Waits for a condition; tells whether it came true within this time.
#[must_use = "whether it came true is the point"]
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        // Asked once more after the time is over: a busy machine may not have let us ask before.
        let late = Instant::now() >= deadline;
        if condition() {
            return true;
        }
        if late {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says that a test cannot run here, and why.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// The `main` of a program that is its own worker, and that does `linux::main()` on Linux and nothing
/// elsewhere.
#[macro_export]
macro_rules! main_on_linux {
    () => {
        #[cfg(not(target_os = "linux"))]
        fn main() {}

        #[cfg(target_os = "linux")]
        fn main() {
            mp::freeze_support();
            linux::main();
        }
    };
}

/// The programs in the README compile.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../../README.md")]
struct Readme;
