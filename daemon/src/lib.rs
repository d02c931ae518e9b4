//! The daemon `mpserverd` and its command line `mpctl`.

pub mod core;
