//! Processes under each start method: what `multiprocessing` promises, sentence by sentence.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod attributes;
mod descriptors;
mod family;
mod lifecycle;
mod results;
mod signals;
mod streams;
