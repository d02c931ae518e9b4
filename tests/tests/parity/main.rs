//! The same scenarios here and under CPython, and what is different on purpose.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod connection;
mod queues;
