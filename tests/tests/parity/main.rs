//! The same scenarios here and under CPython: outcomes are equal, or differ on purpose.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod connection;
mod context;
mod names;
mod process;
mod queues;
mod sync;
mod values;
