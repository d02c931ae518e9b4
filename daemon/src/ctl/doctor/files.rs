//! Files of the kernel, and whose process they describe.

use std::path::{Path, PathBuf};

/// The file system, or a folder that stands in for it.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    /// As this process sees it.
    pub(super) fn of_this_machine() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// A folder with a `proc` and a `sys` of its own.
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The place of an absolute path.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text without the white space around it, if it is there and may be read.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file with one number in it; `max` is a large one.
    pub(super) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        let text = self.read(path)?;
        if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
    }
}

/// The process whose limits count: the daemon, or, without one, this process in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// Its pid.
    pub(super) pid: u32,
    /// Its user.
    pub(super) uid: u32,
    /// Whether it is the daemon.
    pub(super) is_daemon: bool,
}

impl Subject {
    /// This process, which could start a daemon with what it has.
    pub(super) fn own() -> Self {
        let uid = nix::unistd::geteuid().as_raw();
        Self { pid: std::process::id(), uid, is_daemon: false }
    }

    /// How it is called in a sentence.
    pub(super) fn name(self) -> String {
        let Self { pid, is_daemon, .. } = self;
        if is_daemon { format!("the daemon (pid {pid})") } else { "this shell".to_owned() }
    }
}

/// A folder with these files, for tests.
#[cfg(test)]
pub(super) fn faked(files: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().expect("folder");
    let fake = Files::below(folder.path());
    for (path, text) in files {
        let path = fake.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    (folder, fake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_their_absence() {
        let (_folder, files) = faked(&[("/a", "7\n"), ("/b", "max\n"), ("/c/d", "x")]);
        assert_eq!((files.number("/a"), files.number("/b")), (Some(7), Some(u64::MAX)));
        assert_eq!((files.number("/c/d"), files.number("/e")), (None, None));
        assert_eq!(files.read("/c/d").as_deref(), Some("x"));
    }
}
