//! Everything that needs `unsafe` on Linux, and the thin wrappers around it.
//!
//! | file | holds |
//! |---|---|
//! | [`fd`] | descriptors: pairs, pipes, memfds, ranges to close |
//! | [`scm`] | `sendmsg`/`recvmsg` with descriptors |
//! | [`packet`] | packets with a header over `SOCK_SEQPACKET`, bodies inline or in a memfd |
//! | `fork` | the one `fork` of the project |
//! | [`wait`] | pidfds, `waitid`, exit records |
//! | [`features`] | whether the kernel lets this process use a feature |
//! | `environ` | replacing the whole environment |
//! | [`attributes`] | what a process is: signals, limits, nice, affinity, names |
//! | [`credentials`] | giving up capabilities, and ways to get some |
//! | [`board`] | what the workers of a template say about themselves |
//! | `parting` | and what their last panics said |
//! | `object` | loading a module and calling through its ABI |
//! | `export` | a module's own side of that ABI |
//! | `early` | code before `main` and at `exit` |
//! | `clock` | the clock that processes share |
//! | [`code`] | a process's own program code in memory |
//! | `cell` | plain data that processes change under each other's eyes |
//! | `lend` | references to such data, for who vouches that nobody writes |
//! | `flock` | who holds a file, as the kernel knows it |
//! | `futex` | sleeping on a word of shared memory |
//! | `halves` | the half of a 64-bit atomic that a futex watches |
//! | `identity` | who a process is, whatever happens to its pid |
//! | `mapping` | sealed shared memory, and views of what lies in it |
//! | [`peer`] | who is at the other end of a socket |
//! | `room` | huge pages for large messages |
//! | `slice` | slices of bytes, seen through a type parameter |
//!
//! What must never be in here: policy. These functions do one thing and report what the kernel
//! said; who calls them when is decided outside.
#![allow(unsafe_code, reason = "the fence: see the contract at the top of each file")]

pub mod attributes;
pub mod board;
pub(crate) mod cell;
pub(crate) mod clock;
pub mod code;
pub mod credentials;
pub(crate) mod early;
pub(crate) mod environ;
pub(crate) mod export;
pub mod fd;
pub mod features;
pub(crate) mod flock;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod halves;
pub(crate) mod identity;
pub(crate) mod lend;
pub(crate) mod mapping;
pub(crate) mod object;
pub mod packet;
mod parting;
pub mod peer;
pub(crate) mod room;
pub mod scm;
pub(crate) mod slice;
pub mod wait;
