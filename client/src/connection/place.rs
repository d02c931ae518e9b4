//! What a listener at a path leaves in the file system, and that it is gone when the listener is.

use super::address::Address;
use super::address::Family;
use std::io;
use std::path::PathBuf;

/// A directory with a random name that only this user can enter; removed when dropped, unless it
/// is not empty.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    maker: u32,
}

impl Drop for Room {
    fn drop(&mut self) {
        // A fork's copy of this is not its owner.
        if self.maker == std::process::id() {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Sixteen random bytes as text.
fn random() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An address for who has given none, and the directory made for it.
pub(super) fn arbitrary(family: Family) -> io::Result<(Address, Option<Room>)> {
    match family {
        Family::Inet => Ok((Address::Tcp("localhost".into(), 0), None)),
        Family::Pipe => Ok((Address::Pipe(format!(r"\\.\pipe\mps-{}", random()?)), None)),
        Family::Unix => {
            let path = std::env::temp_dir().join(format!("mps-{}", random()?));
            create_private(&path)?;
            let address = Address::Path(path.join("listener"));
            Ok((address, Some(Room { path, maker: std::process::id() })))
        }
    }
}

#[cfg(unix)]
fn create_private(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private(path: &std::path::Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// The file of a bound socket; removed when dropped, if it is still that file.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    file: Option<(u64, u64)>,
    maker: u32,
    _room: Option<Room>,
}

impl Place {
    pub(super) fn new(path: PathBuf, room: Option<Room>) -> Self {
        // The working directory may be another one later.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { file: file(&path), path, maker: std::process::id(), _room: room }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let own = self.maker == std::process::id();
        if own && self.file.is_some() && file(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file is there.
#[cfg(unix)]
fn file(path: &std::path::Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn file(_: &std::path::Path) -> Option<(u64, u64)> {
    None
}
