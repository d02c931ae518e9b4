//! Objects of synchronisation between processes, under each start method: what they do, what
//! misuse of them gives, and what is left of them when somebody dies.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod rlock;
