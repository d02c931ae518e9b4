//! The same scenarios here and under CPython, with the names of the reference's own tests.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod values;
