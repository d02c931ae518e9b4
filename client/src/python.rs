#![doc = include_str!("python.md")]

// The links above are written as a program writes the names.
#[allow(unused_imports, reason = "for the documentation")]
use crate as mp;
