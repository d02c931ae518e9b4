//! Handles inside values, where no descriptor exists: a type without values, and scopes without
//! effect.

/// A descriptor that travels inside values. There are none on this platform.
#[derive(Clone, Debug)]
pub(crate) enum SharedFd {}

/// Runs `encode`; there is nothing to collect.
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<SharedFd>) {
    (encode(), Vec::new())
}

/// The same; there is nothing to put into the place of others.
pub(crate) fn collect_into<R>(_: &mut Vec<SharedFd>, encode: impl FnOnce() -> R) -> R {
    encode()
}

/// Runs `decode`; there is nothing to provide.
pub(crate) fn provide<R>(fds: impl IntoIterator<Item = SharedFd>, decode: impl FnOnce() -> R) -> R {
    drop(fds);
    decode()
}
