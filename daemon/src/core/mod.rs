//! The daemon's book: which pools, templates, spares, leases and requests there are.
//!
//! Sans-IO: [`Core::handle`] takes an event and the time and appends actions. Nothing here has a
//! descriptor, a clock or a syscall, so the whole book-keeping runs in a simulator.

pub mod settings;
