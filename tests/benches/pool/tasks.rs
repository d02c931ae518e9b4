//! What workers run.

use super::case::LARGE;
use mpserverd_tests::bench::worked;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Works for so many nanoseconds, and gives back how many. What counts is the time that it has the
/// processor: so two that share one take twice as long.
#[mp::task]
pub(crate) fn work(nanos: u64) -> u64 {
    if nanos > 0 {
        let end = worked() + nanos;
        while worked() < end {
            std::hint::spin_loop();
        }
    }
    nanos
}

/// The same, one after the other: a chunk, where a pool knows of none.
pub(crate) fn work_all(all: Vec<u64>) -> Vec<u64> {
    all.into_iter().map(work).collect()
}

/// Takes a large input.
#[mp::task]
pub(crate) fn take(input: Vec<u8>) -> u64 {
    input.len() as u64
}

/// Gives a large output.
#[mp::task]
pub(crate) fn give(fill: u8) -> Vec<u8> {
    vec![fill; LARGE]
}

/// Arrives at a meeting, and stays until it is dismissed.
#[mp::task]
pub(crate) fn attend(arrivals: PathBuf, dismissals: PathBuf) -> io::Result<()> {
    let mut dismissals = File::open(dismissals)?;
    File::options().write(true).open(arrivals)?.write_all(&std::process::id().to_le_bytes())?;
    dismissals.read_exact(&mut [0])
}
