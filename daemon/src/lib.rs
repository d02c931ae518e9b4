//! The daemon `mpserverd` and its command line `mpctl`.

pub mod cli;
pub mod config;
pub mod core;
