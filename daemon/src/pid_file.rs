//! The pid file: complete or absent, and locked for as long as its daemon lives.
//!
//! The pid is written to a file beside it that is locked first and then takes the name, so nobody
//! ever reads half a pid or finds the file of a living daemon unlocked. A file that nobody holds
//! is a leftover and is replaced, whatever process has its number today.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another daemon holds it.
    #[error("{}: another daemon holds this pid file (pid {pid})", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What it says.
        pid: String,
    },
    /// The system refused.
    #[error("{}: {error}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl PidFileError {
    /// Whether only the disk is full.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::System { error, .. } if matches!(error.kind(), StorageFull | QuotaExceeded))
    }
}

/// A pid file that this process holds. Dropped, it is removed.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    #[cfg_attr(not(unix), allow(dead_code, reason = "held until it is dropped"))]
    held: lock::Held,
}

impl PidFile {
    /// Writes the pid of this process, which must be the one that stays.
    ///
    /// # Errors
    ///
    /// If another daemon holds the file, or the system refuses to write it.
    pub fn create(path: &Path) -> Result<Self, PidFileError> {
        let system = |error| PidFileError::System { path: path.to_owned(), error };
        let pid = std::process::id();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fresh = path.with_file_name(format!(".{name}.{pid}"));
        // Left by an earlier process with our number, if it is there at all.
        let _ = std::fs::remove_file(&fresh);
        let mut file = File::options().write(true).create_new(true).open(&fresh).map_err(system)?;
        let taken = writeln!(file, "{pid}").map_err(system).and_then(|()| {
            let held = lock::hold(file).map_err(system)?;
            lock::take_name(&fresh, path)?;
            Ok(held)
        });
        if taken.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        Ok(Self { path: path.to_owned(), held: taken? })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that is locked, for the next image of this process.
    #[cfg(unix)]
    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&*self.held)
    }

    /// Holds on to the file that the image before has locked, with this pid in it.
    #[cfg(unix)]
    pub(crate) fn go_on(path: &Path, file: File) -> Result<Self, PidFileError> {
        let system = |error| PidFileError::System { path: path.to_owned(), error };
        Ok(Self { path: path.to_owned(), held: lock::hold(file).map_err(system)? })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The file may have been replaced by somebody who did not ask for the lock.
        let ours = std::fs::read_to_string(&self.path);
        if ours.is_ok_and(|text| text.trim() == std::process::id().to_string()) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
mod lock {
    use super::{File, Path, PidFileError, io};
    use nix::fcntl::{Flock, FlockArg};
    use std::os::unix::fs::MetadataExt;

    /// Attempts to take the name; each failure means that somebody else just did.
    const ATTEMPTS: usize = 16;

    pub(super) type Held = Flock<File>;

    pub(super) fn hold(file: File) -> io::Result<Held> {
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
    }

    /// Gives the file at `fresh` the name `path`, unless a file of that name is held.
    pub(super) fn take_name(fresh: &Path, path: &Path) -> Result<(), PidFileError> {
        let system = |error| PidFileError::System { path: path.to_owned(), error };
        for _ in 0..ATTEMPTS {
            match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Unlike a rename, a link never replaces what came in between.
                    match std::fs::hard_link(fresh, path) {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                        done => done.map_err(system)?,
                    }
                    return std::fs::remove_file(fresh).map_err(system);
                }
                Err(error) => return Err(system(error)),
                Ok(old) => {
                    let Ok(old) = hold(old) else { break };
                    // Held from here on: nobody else can replace it meanwhile.
                    let here = std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
                    let same = old.metadata().map(|found| (found.dev(), found.ino()));
                    if here.ok() == same.ok() {
                        return std::fs::rename(fresh, path).map_err(system);
                    }
                }
            }
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let pid = text.trim().chars().take(20).collect();
        Err(PidFileError::Held { path: path.to_owned(), pid })
    }
}

#[cfg(not(unix))]
mod lock {
    use super::{File, Path, PidFileError, io};

    pub(super) type Held = File;

    pub(super) fn hold(file: File) -> io::Result<Held> {
        Ok(file)
    }

    pub(super) fn take_name(fresh: &Path, path: &Path) -> Result<(), PidFileError> {
        let system = |error| PidFileError::System { path: path.to_owned(), error };
        std::fs::rename(fresh, path).map_err(system)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn it_is_complete_held_and_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pid");
        let held = PidFile::create(&path).expect("first");
        let text = std::fs::read_to_string(&path).expect("pid");
        assert_eq!(text, format!("{}\n", std::process::id()));
        let error = PidFile::create(&path).expect_err("held").to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1, "no leftovers");
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_leftover_is_replaced() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pid");
        std::fs::write(&path, "1\n").expect("leftover");
        let _held = PidFile::create(&path).expect("replaced");
        let text = std::fs::read_to_string(&path).expect("pid");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn what_the_system_refuses_is_told() {
        let error = PidFile::create(Path::new("/no/such/folder/pid")).expect_err("no folder");
        assert!(error.to_string().starts_with("/no/such/folder/pid: "), "{error}");
        assert!(!error.is_for_want_of_room());
        let error = io::Error::from_raw_os_error(libc::ENOSPC);
        assert!(PidFileError::System { path: "/x".into(), error }.is_for_want_of_room());
    }

    #[test]
    fn one_of_many_gets_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pid");
        std::fs::write(&path, "leftover").expect("leftover");
        let fresh = |n: usize| {
            let fresh = folder.path().join(format!("fresh{n}"));
            let file = File::create(&fresh).expect("file");
            (lock::hold(file).expect("lock"), fresh)
        };
        let won = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|n| {
                    let (held, fresh) = fresh(n);
                    let path = &path;
                    scope.spawn(move || lock::take_name(&fresh, path).map(|()| held))
                })
                .collect();
            let results = tries.into_iter().map(|one| one.join().expect("no panic"));
            // Winners keep the lock until all have tried.
            results.filter_map(Result::ok).collect::<Vec<_>>().len()
        });
        assert_eq!(won, 1);
    }
}
