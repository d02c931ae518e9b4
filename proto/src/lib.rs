//! The bytes that mpserverd's processes exchange, and nothing else.
//!
//! | file | holds |
//! |---|---|
//! | [`limits`] | every bound of the protocol, with its reason |
//! | [`bounds`] | limits of workers: which there are, and which of two is tighter |
//! | [`ids`] | newtypes for workers, templates, requests |
//! | [`codec`] | the one place that names bincode |
//! | [`frame`] | length-prefixed frames of the client socket, and their incremental decoder |
//! | [`hello`] | the version handshake, whose layout never changes |
//! | [`packet`] | the header of a message on a template's or worker's own socket |
//! | [`client`] | what a client asks of the daemon, and what it answers |
//! | [`sandbox`] | what a worker may do |
//! | [`template`] | what daemon and template say to each other |
//! | [`job`] | what a client sends to a worker, and what comes back |
//! | [`reducer`] | the names of encodings of values |
//! | [`status`] | how a process ended |
//! | [`death`] | why it ended: causes and certificates |
//! | [`trace`] | the number that follows a start |
//! | [`report`] | the tables behind `status`, `ps` and `modules` |
//! | [`quota`] | who holds limits, and what of those for many workers together is used |
//! | [`upkeep`] | reloads, upgrades, and what is left of earlier generations |
//! | [`explain`] | why somebody waits, what he does |
//! | [`record`] | lines of the daemon's log |
//! | [`error`] | refusals and failures that travel |
//! | `refusal` | the word by which each kind of refusal is counted |
//! | [`text`] | texts of others, cut to a place |
//! | [`schema`] | the hash that names a task's signature |
//! | [`abi`] | the C ABI of a module |
//!
//! # Invariants
//!
//! Nothing here performs I/O, asks for the time or holds a file descriptor: a message knows how
//! *many* descriptors came with it and names them by slot. Whatever the bytes are, decoding ends
//! in a value or an error; it never panics and never allocates more than the bytes justify.
#![forbid(unsafe_code)]

pub mod abi;
pub mod bounds;
pub mod client;
pub mod codec;
pub mod death;
pub mod error;
pub mod explain;
pub mod frame;
pub mod hello;
pub mod ids;
pub mod job;
pub mod limits;
pub mod packet;
pub mod quota;
pub mod record;
pub mod reducer;
mod refusal;
pub mod report;
pub mod sandbox;
pub mod schema;
pub mod status;
pub mod template;
pub mod text;
pub mod trace;
pub mod upkeep;

#[cfg(test)]
mod hostile;
