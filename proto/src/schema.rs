//! The hash that names a task's signature.
//!
//! Client and module are compiled apart. Both hash the tokens of the task's argument and result
//! types; a call whose hash differs is refused before a byte of it is decoded.

/// Hash of "unchecked": a task of a language whose types we cannot see.
pub const UNCHECKED: u64 = 0;

/// FNV-1a, 64 bit, over the text of a signature; never [`UNCHECKED`].
///
/// ```
/// use mpserverd_proto::schema::hash;
/// const SHRINK: u64 = hash("(u32,)->u64");
/// assert_ne!(SHRINK, hash("(u32,)->u32"));
/// ```
#[must_use]
pub const fn hash(signature: &str) -> u64 {
    let bytes = signature.as_bytes();
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        state ^= bytes[at] as u64;
        state = state.wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    if state == UNCHECKED { 1 } else { state }
}

/// Whether a caller compiled against `caller` may call a task compiled as `task`.
#[must_use]
pub const fn compatible(caller: u64, task: u64) -> bool {
    caller == task || caller == UNCHECKED || task == UNCHECKED
}
