//! Workers that are confined: by who starts them, and by the daemon's configuration.
//!
//! | file | holds |
//! |---|---|
//! | `attempts` | what a task tries from inside, and what it is told |
//! | `confined` | each part of a sandbox, under each start method |
//! | `threads` | both threads of a worker are confined; its kin are not |
//! | `nobody` | users without capabilities |
//! | `lacking` | kernels that cannot |
//! | `forced` | what the configuration forces |
//! | `hostile` | descriptions that nobody means |
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod attempts;
mod confined;
mod forced;
mod hostile;
mod lacking;
mod nobody;
mod threads;
