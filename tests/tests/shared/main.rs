//! Memory that processes share as values: what one writes the others read, whoever dies.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod arrays;
mod hostile;
mod killers;
mod lists;
mod memory;
mod python;
mod soak;
mod values;

use mp::bytemuck::{Pod, Zeroable};
use std::path::PathBuf;

/// A struct of more than a word, whose fields belong together.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
#[repr(C)]
struct Wide {
    first: u64,
    middle: [u32; 30],
    last: f64,
}

impl Wide {
    fn of(number: u32) -> Self {
        Self { first: number.into(), middle: [number; 30], last: number.into() }
    }

    /// The number that it is of.
    fn number(&self) -> u32 {
        let number = self.middle[0];
        assert_eq!(*self, Self::of(number), "torn");
        number
    }
}

/// Where the name of a segment is.
fn path(name: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(name)
}

/// A name that no other test uses.
fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("mps-test-{what}-{}-{number}", std::process::id())
}

/// Ends this process as a crash would.
fn die() -> ! {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    unreachable!("killed")
}

/// Whether nobody finds a segment any more, and its name is gone. Asked again: a process that is
/// just being started has a copy of everything for an instant, and another may be just removing it.
fn is_gone(name: &str) -> bool {
    mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || {
        let found = mp::SharedMemory::attach(name);
        matches!(found, Err(mp::ShareError::NotFound { .. })) && !path(name).exists()
    })
}
