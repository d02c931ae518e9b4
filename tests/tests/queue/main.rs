//! Queues: what the reference promises, what goes through them, who is killed at them.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod basics;
mod cargo;
mod ends;
mod hostile;
mod joining;
mod rounds;
mod watching;
