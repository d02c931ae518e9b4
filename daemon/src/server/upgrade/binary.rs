//! The file of the new program, and whether it is still the same when it is to take over.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells a file from one that was put in its place or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> std::io::Result<(Self, std::fs::Metadata)> {
        let metadata = std::fs::metadata(path)?;
        let identity = Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        Ok((identity, metadata))
    }
}

/// A program that is to take over.
#[derive(Debug)]
pub(in crate::server) struct Binary {
    path: PathBuf,
    identity: Identity,
}

impl Binary {
    /// Looks at the file that has this path now.
    pub(super) fn find(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        if !path.is_absolute() {
            return Err(format!("{shown} is no absolute path"));
        }
        let (identity, metadata) =
            Identity::of(path).map_err(|error| format!("{shown}: {error}"))?;
        if !metadata.is_file() {
            return Err(format!("{shown} is not a regular file"));
        }
        if metadata.mode() & 0o111 == 0 {
            return Err(format!("{shown} is not executable"));
        }
        Ok(Self { path: path.to_owned(), identity })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn c_path(&self) -> Result<CString, String> {
        CString::new(self.path.as_os_str().as_bytes()).map_err(|error| error.to_string())
    }

    /// The program that was tried is the one that takes over.
    pub(super) fn is_unchanged(&self) -> Result<(), String> {
        let shown = self.path.display();
        match Identity::of(&self.path) {
            Ok((now, _)) if now == self.identity => Ok(()),
            Ok(_) => Err(format!("{shown} was changed while it was tried: ask again")),
            Err(error) => Err(format!("{shown}: {error}")),
        }
    }
}

/// The path that this program was started from: as it was named, if that leads to this program, so
/// that a link that is turned to another version is followed; else where the kernel found it.
pub(in crate::server) fn own_path(directory: &Path) -> PathBuf {
    let kernel = std::env::current_exe().unwrap_or_default();
    let own = Identity::of(Path::new("/proc/self/exe")).ok().map(|(identity, _)| identity);
    let word = std::env::args_os().next().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut named = names(&word, &path, directory).into_iter();
    let same = |path: &PathBuf| own.is_some() && Identity::of(path).ok().map(|(i, _)| i) == own;
    named.find(same).unwrap_or(kernel)
}

/// What the first word of a command line may mean.
fn names(word: &OsStr, path: &OsStr, directory: &Path) -> Vec<PathBuf> {
    if word.as_bytes().contains(&b'/') {
        return vec![directory.join(word)];
    }
    std::env::split_paths(path).map(|folder| directory.join(folder).join(word)).collect()
}

/// The words for the next program: with its path in front if it was named.
pub(super) fn words(binary: &Binary, named: bool, mut own: Vec<OsString>) -> Vec<OsString> {
    let path = binary.path().as_os_str().to_owned();
    match own.first_mut() {
        None => own.push(path),
        Some(first) if named => *first = path,
        Some(_) => {}
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_an_executable_file_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let refused = |path: &Path| Binary::find(path).unwrap_err();
        assert!(refused(&file).contains("No such file"), "{}", refused(&file));
        assert!(refused(Path::new("mpserverd")).contains("no absolute path"));
        assert!(refused(folder.path()).contains("not a regular file"));
        std::fs::write(&file, "text").unwrap();
        assert!(refused(&file).contains("not executable"));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let binary = Binary::find(&file).unwrap();
        assert_eq!(binary.is_unchanged(), Ok(()));
        std::fs::write(&file, "longer text").unwrap();
        assert!(binary.is_unchanged().unwrap_err().contains("was changed"));
        std::fs::remove_file(&file).unwrap();
        assert!(binary.is_unchanged().unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_word_is_a_path_or_is_looked_for() {
        let all = |word: &str| names(OsStr::new(word), OsStr::new("/a:b"), Path::new("/d"));
        assert_eq!(all("./x"), [PathBuf::from("/d/./x")]);
        assert_eq!(all("/x"), [PathBuf::from("/x")]);
        assert_eq!(all("x"), [PathBuf::from("/a/x"), PathBuf::from("/d/b/x")]);
    }

    #[test]
    fn this_program_finds_itself() {
        let own = own_path(&std::env::current_dir().unwrap());
        assert_eq!(own.canonicalize().unwrap(), std::env::current_exe().unwrap());
    }
}
