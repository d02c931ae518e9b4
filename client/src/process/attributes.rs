//! What a worker may be given: its standard streams, and limits by the kernel's numbers.

/// One of a worker's standard streams.
#[derive(Debug, Default)]
pub enum Stream {
    /// The starter's own. For standard input this must be asked for: workers get `/dev/null`.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This descriptor.
    #[cfg(unix)]
    Fd(std::os::fd::OwnedFd),
}

#[cfg(unix)]
impl<T: Into<std::os::fd::OwnedFd>> From<T> for Stream {
    fn from(fd: T) -> Self {
        Self::Fd(fd.into())
    }
}

/// A resource of `setrlimit(2)`, by the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Resource {
    /// CPU time, seconds.
    Cpu = 0,
    /// Size of a file it writes, bytes.
    FileSize = 1,
    /// Data segment, bytes.
    Data = 2,
    /// Stack, bytes.
    Stack = 3,
    /// Core dump, bytes.
    Core = 4,
    /// Processes of the user.
    Processes = 6,
    /// Open descriptors.
    OpenFiles = 7,
    /// Locked memory, bytes.
    LockedMemory = 8,
    /// Address space, bytes.
    AddressSpace = 9,
}
