//! From the name of a module to the places where its file may be.
//!
//! What must never be in here: what the file holds.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;

/// Environment variable with the directories that modules are looked for in.
pub const VARIABLE: &str = "MPSERVERD_MODULE_PATH";

/// The places, in order; the first one that is a file counts.
///
/// A name with a `/` is a path and is taken as it is. Any other is looked for in every folder, as
/// `NAME`, `libNAME.so` and `NAME.so`.
///
/// ```
/// use mpserverd_client::module_path::candidates;
///
/// assert_eq!(candidates("./shop.so", ["/lib".into()]), [std::path::Path::new("./shop.so")]);
/// assert_eq!(candidates("shop", ["/one".into(), "/two".into()]).len(), 6);
/// ```
#[must_use]
pub fn candidates(name: &str, folders: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    if name.contains(std::path::is_separator) {
        return vec![PathBuf::from(name)];
    }
    let names =
        [name.to_owned(), format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"), format!("{name}{DLL_SUFFIX}")];
    let within = |folder: PathBuf| names.each_ref().map(|name| folder.join(name));
    folders.into_iter().flat_map(within).collect()
}
