//! From the name of a module to its file.

use mp::module_path::candidates;
use mpserverd_proto::error::Fault;
use std::path::{Path, PathBuf};

/// Finds the file of a module.
///
/// The first file of the [`candidates`] wins. What it holds is not looked at: see
/// [`kind`](super::elf::kind).
///
/// # Errors
///
/// [`Fault::NotFound`] with every path that was tried.
pub fn resolve(name: &str, module_path: &[PathBuf]) -> Result<PathBuf, Fault> {
    let tried = candidates(name, module_path.iter().cloned());
    match tried.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Fault::NotFound { searched: searched(&tried) }),
    }
}

fn searched(tried: &[PathBuf]) -> Vec<String> {
    if tried.is_empty() {
        return vec![
            "no folder: set MPSERVERD_MODULE_PATH or `module_path`, or name a path".to_owned(),
        ];
    }
    let show = |path: &PathBuf| match what(path) {
        Some(what) => format!("{} ({what})", path.display()),
        None => path.display().to_string(),
    };
    tried.iter().map(show).collect()
}

/// Why a path is not a file, where that is not the obvious reason.
fn what(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some("a directory".to_owned()),
        Ok(_) => Some("not a regular file".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    use std::fs::{create_dir, write};

    #[test]
    fn the_first_file_wins() {
        let root = tempfile::tempdir().expect("folder");
        let (one, two) = (root.path().join("1"), root.path().join("2"));
        create_dir(&one).expect("folder");
        create_dir(&two).expect("folder");
        let path = [one.clone(), two.clone()];
        write(two.join("shop"), "").expect("file");
        assert_eq!(resolve("shop", &path), Ok(two.join("shop")));
        write(one.join(format!("shop{DLL_SUFFIX}")), "").expect("file");
        assert_eq!(resolve("shop", &path), Ok(one.join(format!("shop{DLL_SUFFIX}"))));
        let library = one.join(format!("{DLL_PREFIX}shop{DLL_SUFFIX}"));
        write(&library, "").expect("file");
        assert_eq!(resolve("shop", &path), Ok(library.clone()));
        assert_eq!(resolve(library.to_str().expect("text"), &[]), Ok(library));
    }

    #[test]
    fn every_place_that_was_searched_is_told() {
        let root = tempfile::tempdir().expect("folder");
        create_dir(root.path().join("shop")).expect("folder");
        let Err(Fault::NotFound { searched }) = resolve("shop", &[root.path().to_owned()]) else {
            panic!("found")
        };
        assert_eq!(searched.len(), 3, "{searched:?}");
        assert!(searched[0].ends_with("/shop (a directory)"), "{searched:?}");
        let Err(Fault::NotFound { searched }) = resolve("./no/such.so", &[]) else {
            panic!("found")
        };
        assert_eq!(searched, ["./no/such.so"]);
        let error = resolve("shop", &[]).expect_err("no folders").to_string();
        assert!(error.contains("MPSERVERD_MODULE_PATH"), "{error}");
    }
}
