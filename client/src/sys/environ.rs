//! Replacing the whole environment of a worker at once.
//!
//! Contract: called once a process, by a worker whose other threads sleep in the kernel (the
//! controller in `poll`), before any of the user's code runs. `environ(7)` is then pointed to an
//! array that lives for ever, as `putenv` would have it; later `setenv` calls copy it first.

use std::ffi::c_char;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Makes these `KEY=VALUE` entries, each ended by a NUL byte, the environment.
///
/// The bytes are leaked: the environment refers to them as long as the process lives.
///
/// # Safety
/// No other thread may read or change the environment meanwhile.
pub(crate) unsafe fn replace(entries: Vec<u8>) {
    let entries = entries.leak();
    let mut pointers = Vec::with_capacity(64);
    for entry in entries.split_inclusive_mut(|byte| *byte == 0) {
        if entry.ends_with(&[0]) && entry.contains(&b'=') {
            pointers.push(entry.as_mut_ptr().cast::<c_char>());
        }
    }
    pointers.push(std::ptr::null_mut());
    // SAFETY: the caller vouches that nobody uses the environment now; array and strings are
    // leaked, NUL-terminated and end with a null pointer, as environ(7) wants.
    unsafe { environ = pointers.leak().as_mut_ptr() };
}

/// The environment of this process in that form.
pub(crate) fn snapshot() -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut bytes = Vec::with_capacity(4096);
    for (key, value) in std::env::vars_os() {
        append(&mut bytes, key.as_bytes(), value.as_bytes());
    }
    bytes
}

/// Appends one entry.
pub(crate) fn append(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    bytes.extend_from_slice(key);
    bytes.push(b'=');
    bytes.extend_from_slice(value);
    bytes.push(0);
}

/// Removes one variable.
///
/// # Safety
/// As [`replace`].
pub(crate) unsafe fn remove(key: &str) {
    // SAFETY: the caller vouches for the other threads.
    unsafe { std::env::remove_var(key) };
}
