//! The daemon `mpserverd` and its command line `mpctl`.

pub mod cli;
pub mod config;
pub mod core;
#[cfg(unix)]
pub mod daemonize;
pub mod launch;
pub mod logging;
pub mod pid_file;
