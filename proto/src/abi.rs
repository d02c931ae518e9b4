//! The C ABI of a module, version 1: the same types as `client/include/mpserverd.h`.
//!
//! Bytes in, bytes out. A module exports one function, [`SYMBOL`], that returns its
//! [`Module`] descriptor. No panic and no exception crosses the boundary, no memory is freed on
//! the other side of it: results are handed to a callback and copied there.
//!
//! Descriptors and names are static: they live as long as the module stays loaded, and a module
//! is never unloaded (`dlclose` of Rust code is unsound; the process is retired instead).

use std::ffi::{c_char, c_int, c_void};

/// The exported symbol.
pub const SYMBOL: &str = "mp_module_v1";
/// First field of a descriptor: `"MPMD"` in memory order on a little-endian machine.
pub const MAGIC: u32 = 0x444d_504d;
/// Version of this ABI.
pub const VERSION: u32 = 1;

/// The task ran; `reply` got its value.
pub const OK: c_int = 0;
/// The task ran and returned an error; `reply` got its value, `message` its text.
pub const FAILED: c_int = 1;
/// The task did not run: wrong arguments; `message` got the reason.
pub const BAD_ARGUMENTS: c_int = 2;
/// The task panicked; `message` got the text, `location` and `backtrace` theirs.
pub const PANICKED: c_int = 3;
/// The task ran but its result cannot be encoded; `message` got the reason.
pub const UNSERIALIZABLE: c_int = 4;
/// The task does not speak the codec; `message` may get the names of those that it does, one a
/// line.
pub const UNSUPPORTED_CODEC: c_int = 5;
/// The task ran but its result exceeds the limit of the protocol.
pub const RESULT_TOO_LARGE: c_int = 6;

/// Which kind of bytes a [`Sink`] gets.
pub mod channel {
    /// The encoded value or error value.
    pub const VALUE: u32 = 0;
    /// Text for people.
    pub const MESSAGE: u32 = 1;
    /// `file:line:column` of a panic.
    pub const LOCATION: u32 = 2;
    /// Backtrace of a panic.
    pub const BACKTRACE: u32 = 3;
    /// Numbers of the descriptors of handles in the value: an array of C ints, in the order of
    /// their slots. The host duplicates them before the sink returns; they stay the module's.
    pub const FDS: u32 = 4;
}

/// Takes bytes from the module: `(context, channel, bytes, length)`; they are copied at once, and
/// a second call on the same channel appends. A host ignores channels that it does not know.
pub type Sink = unsafe extern "C" fn(*mut c_void, u32, *const u8, usize);

/// One call of a task. Later versions only append fields; `size` says how many there are.
#[repr(C)]
#[derive(Debug)]
pub struct Call {
    /// `sizeof` this struct on the host's side.
    pub size: usize,
    /// [Number](crate::reducer::Codec::number) of the codec of arguments and result.
    pub codec: u32,
    /// Zero.
    pub reserved: u32,
    /// The encoded arguments.
    pub args: *const u8,
    /// Their length in bytes.
    pub args_len: usize,
    /// Descriptors that came along: those that were passed by themselves, owned by the host, then
    /// those of [`handles_len`](Self::handles_len).
    pub fds: *const c_int,
    /// How many.
    pub fds_len: usize,
    /// Takes the result.
    pub reply: Sink,
    /// First argument of `reply`.
    pub context: *mut c_void,
    /// An encoded [`Host`](crate::job::Host), for the runtime in a Rust module: it makes the
    /// module part of the host's process. Opaque to others.
    pub host: *const u8,
    /// Its length in bytes.
    pub host_len: usize,
    /// How many of the last `fds` belong to handles in the arguments, in the order of their slots.
    /// They are the module's from now on: it closes them when it is done with them. Look at `size`
    /// first, hosts before this field have none.
    pub handles_len: usize,
    /// Name and version of a custom codec, `name/version`; NUL-terminated. Null for the others.
    pub codec_name: *const c_char,
}

/// A task's entry.
pub type Run = unsafe extern "C" fn(*const Call) -> c_int;

/// One task of a module.
#[repr(C)]
#[derive(Debug)]
pub struct Task {
    /// Name, unique in the module; NUL-terminated UTF-8.
    pub name: *const c_char,
    /// Signature for people; NUL-terminated UTF-8.
    pub signature: *const c_char,
    /// Documentation, may be empty; NUL-terminated UTF-8.
    pub doc: *const c_char,
    /// Hash of the signature, or 0 for "unchecked".
    pub schema: u64,
    /// The entry.
    pub run: Run,
}

/// A hook: returns [`OK`], or [`FAILED`] or [`PANICKED`] with a text on the message channel.
pub type Hook = unsafe extern "C" fn(*mut c_void, Sink) -> c_int;

/// The descriptor of a module.
#[repr(C)]
#[derive(Debug)]
pub struct Module {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub abi: u32,
    /// `sizeof` this struct on the module's side.
    pub size: usize,
    /// Name; NUL-terminated UTF-8.
    pub name: *const c_char,
    /// Version; NUL-terminated UTF-8.
    pub version: *const c_char,
    /// Array of tasks.
    pub tasks: *const Task,
    /// Its length.
    pub tasks_len: usize,
    /// Runs once in the template: open, read, compile. May be null.
    pub init: Option<Hook>,
    /// Runs once after all modules' `init`: touch what tasks will touch. May be null.
    pub warm: Option<Hook>,
    /// Runs in each worker before its first task: threads, connections, seeds. May be null.
    pub after_fork: Option<Hook>,
    /// Runs in each worker after its task's result was sent, before the process ends. May be null.
    pub before_exit: Option<Hook>,
}

/// The function behind [`SYMBOL`].
pub type Entry = unsafe extern "C" fn() -> *const Module;
