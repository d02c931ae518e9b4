//! Memory that processes share: where objects lie, how they get there and how they travel.
//!
//! | file | holds |
//! |---|---|
//! | `arena` | sealed memory with many objects in it, and who may reuse a place |
//! | `object` | one object in an arena: a handle that travels as a value |
//! | `error` | what can go wrong with them |
//!
//! Nothing here has a name in any file system: memory lives as long as some process maps it or a
//! message with it is on its way, so a killed process leaves nothing behind.
//!
//! What must never be in here: `unsafe` (see `sys::mapping`), or what an object means.

pub(crate) mod arena;
mod error;
pub(crate) mod object;

pub use error::ShareError;
