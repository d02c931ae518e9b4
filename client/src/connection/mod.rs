//! Messages between processes: `Pipe`, `Connection`, `Listener`, `Client` and `wait` of
//! `multiprocessing.connection`, byte for byte, so that CPython can be the peer.
//!
//! | file | holds |
//! |---|---|
//! | `stream` | [`Connection`]: messages of bytes, deadlines, direction, closing |
//! | `values` | messages that are values, with the handles in them |
//! | `convert` | what connections are made of and turn into, and how they travel themselves |
//! | `frame` | the length before each message, and what has come of one so far |
//! | `turn` | one thread at a time, with a deadline |
//! | `wire` | the stream of bytes below: on Linux any descriptor, elsewhere what std offers |
//! | `address` | where a listener is |
//! | `listener` | [`Listener`], and clients that have come but not said who they are |
//! | `place` | the file and directory that a listener makes, and removes |
//! | `client` | [`Client`] |
//! | `sockets` | binding, accepting and connecting |
//! | `tcp` | connecting over the network |
//! | `handshake` | digests, challenges and answers, as bytes |
//! | `greeting` | the same as a conversation |
//! | `wait` | [`wait`] and what can be waited for |
//! | `error` | what can go wrong |
//!
//! What waits has an `awaited` beside it: the same without keeping a thread.
//!
//! Frames and handshakes know a stream of bytes only; what differs between platforms is in `wire`,
//! `sockets` and `wait`.
//!
//! What must never be in here: `unsafe`, or memory for a length that a peer only claims.

mod address;
mod client;
#[cfg(target_os = "linux")]
mod convert;
#[cfg(not(target_os = "linux"))]
#[path = "convert_portable.rs"]
mod convert;
mod error;
mod frame;
mod greeting;
mod handshake;
mod listener;
mod place;
#[cfg(target_os = "linux")]
mod sockets;
#[cfg(not(target_os = "linux"))]
#[path = "sockets_portable.rs"]
mod sockets;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod turn;
mod values;
#[cfg(target_os = "linux")]
mod wait;
#[cfg(target_os = "linux")]
mod wire;
#[cfg(not(target_os = "linux"))]
#[path = "wire_portable.rs"]
mod wire;

pub use address::{Address, Family};
pub use client::{Client, ClientBuilder};
pub use error::ConnectionError;
pub use listener::{Incoming, Listener, ListenerBuilder};
pub use stream::{Connection, pipe};
#[cfg(target_os = "linux")]
pub use wait::{Waitable, wait, wait_async};
