//! Strange surroundings: full and read-only disks, a jumping date, no name, no streams, forbidden
//! system calls, no control groups, a supervisor that is not there, others on the same socket.
//!
//! | file | holds |
//! |---|---|
//! | `place` | a daemon started in whatever way |
//! | `disks` | folders that cannot be written |
//! | `nobody` | what the process lacks |
//! | `calls` | what the kernel lacks, or a filter forbids |
//! | `clock` | a date that jumps |
#![cfg(target_os = "linux")]

mod calls;
mod clock;
mod disks;
mod nobody;
mod place;
