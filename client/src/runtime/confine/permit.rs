//! Whether a job asks for more than the configuration leaves it. What it gets is safe without:
//! every description holds. But a job that names a path which it will not be able to use shall
//! hear so, and by which key, before it fails in the middle.

use mpserverd_proto::error::JobError;
use mpserverd_proto::sandbox::{Asked, Files, Forced};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Checks a job against a configuration.
pub(super) fn check(asked: &Asked, forced: &[Forced]) -> Result<(), JobError> {
    for Forced { key, sandbox } in forced.iter().filter(|forced| !forced.sandbox.is_empty()) {
        if asked.unconfined {
            let message = "it asks not to be confined".to_owned();
            return Err(JobError::SandboxForced { key: key.clone(), message });
        }
        let Some(limits) = &sandbox.files else { continue };
        for files in asked.layers.iter().filter_map(|layer| layer.files.as_ref()) {
            within(files, limits, key)?;
        }
    }
    Ok(())
}

/// Which lists of a configuration allow what a list of a job asks for.
fn givers<'f>(list: &str, limits: &'f Files) -> Vec<&'f [Vec<u8>]> {
    match list {
        "read_only" => vec![&limits.read_only, &limits.read_write, &limits.execute],
        "read_write" => vec![&limits.read_write],
        _ => vec![&limits.execute],
    }
}

fn within(files: &Files, limits: &Files, key: &str) -> Result<(), JobError> {
    for (list, paths) in files.lists() {
        let allowed = givers(list, limits).concat();
        let allowed = allowed.iter().map(|path| real(path)).collect::<Vec<_>>();
        for path in paths {
            let real = real(path);
            if allowed.iter().all(|folder| !real.starts_with(folder)) {
                let shown = String::from_utf8_lossy(path);
                let message = format!("`{list}` of {shown} is more than it allows");
                return Err(JobError::SandboxForced { key: format!("{key}.{list}"), message });
            }
        }
    }
    Ok(())
}

/// Where a path leads; as it is, if nowhere: whoever opens it will say so.
fn real(path: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::of_words as of;
    use super::*;

    fn verdict(asked: Asked, forced: &[&str]) -> Option<String> {
        let forced = [Forced { key: "sandbox".to_owned(), sandbox: of(forced) }];
        match check(&asked, &forced) {
            Ok(()) => None,
            Err(JobError::SandboxForced { key, .. }) => Some(key),
            Err(other) => panic!("{other}"),
        }
    }

    fn layer(words: &[&str]) -> Asked {
        Asked { layers: vec![of(words)], ..Asked::default() }
    }

    #[test]
    fn tighter_is_permitted_and_looser_names_the_key() {
        let forced = ["read-only=/usr", "read-write=/dev", "execute=/usr/bin", "no-exec"];
        for good in [
            &["read-only=/usr/share", "read-only=/dev"][..],
            &["execute=/usr/bin", "read-only=/usr/bin"],
            &["no-files"],
            &["no-network"],
            &[],
        ] {
            assert_eq!(verdict(layer(good), &forced), None, "{good:?}");
        }
        for (bad, key) in [
            ("read-only=/etc", "sandbox.read_only"),
            ("read-only=/usr/../etc", "sandbox.read_only"),
            ("read-only=/usrx", "sandbox.read_only"),
            ("read-only=/", "sandbox.read_only"),
            ("read-write=/usr", "sandbox.read_write"),
            ("execute=/usr/lib", "sandbox.execute"),
        ] {
            assert_eq!(verdict(layer(&[bad]), &forced).as_deref(), Some(key), "{bad}");
        }
    }

    #[test]
    fn no_confinement_is_refused_where_one_is_forced() {
        let asked = || Asked { unconfined: true, ..Asked::default() };
        assert_eq!(verdict(asked(), &["no-exec"]).as_deref(), Some("sandbox"));
        assert_eq!(verdict(asked(), &[]), None);
        assert_eq!(verdict(layer(&["read-only=/etc"]), &["no-exec"]), None);
    }
}
