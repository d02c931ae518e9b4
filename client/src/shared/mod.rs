//! Memory that processes share: where objects lie, how they get there and how they travel.
//!
//! | file | holds |
//! |---|---|
//! | `arena` | sealed memory with many objects in it, and who may reuse a place |
//! | `object` | one object in an arena: a handle that travels as a value |
//! | `plain` | what may lie in shared memory as a value |
//! | `twin` | two copies of one thing, which no death can tear |
//! | `raw_value`, `raw_array` | [`RawValue`], [`RawArray`]: without a lock |
//! | `any_lock`, `value`, `array`, `array_guard` | [`Value`], [`Array`]: with one |
//! | `accessors` | what arrays with a lock have in common |
//! | `memory` | [`SharedMemory`]: segments with a name |
//! | `list` | [`ShareableList`], in such a segment |
//! | `error` | what can go wrong with them |
//!
//! But for `memory`, nothing here has a name in any file system: memory lives as long as some
//! process maps it or a message with it is on its way, so a killed process leaves nothing behind.
//!
//! What must never be in here: `unsafe` (see `sys::mapping`), or what an object means.

mod accessors;
mod any_lock;
pub(crate) mod arena;
mod array;
mod array_guard;
mod error;
mod list;
pub(crate) mod memory;
pub(crate) mod object;
mod plain;
mod raw_array;
mod raw_value;
mod twin;
mod value;

pub use any_lock::AnyLock;
pub use array::Array;
pub use array_guard::ArrayGuard;
pub use error::ShareError;
pub use list::{ListItem, ShareableList};
pub use memory::{SharedMemory, SharedMemoryOptions};
pub use plain::{Integer, Number, Plain};
pub use raw_array::RawArray;
pub use raw_value::RawValue;
pub use value::{Value, ValueGuard};
