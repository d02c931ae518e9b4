//! The folder of the socket: is it there, can it be written, is there room.

use super::finding::{Finding, Thing};
use crate::ctl::units;
use nix::sys::statvfs::{FsFlags, statvfs};
use std::path::{Path, PathBuf};

const FOLDER: Thing = Thing("storage.folder", "runtime folder");
const SPACE: Thing = Thing("storage.space", "room in it");

/// A lock file, a socket and a pid file need less.
const LITTLE_KIB: u64 = 64;

/// The file system that the runtime folder is in, or would be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    folder: PathBuf,
    /// The nearest folder that exists.
    nearest: PathBuf,
    seen: Result<Seen, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    read_only: bool,
    /// Whether this user may write there.
    writable: bool,
    free_kib: u64,
    /// `None` where nobody counts them.
    free_files: Option<u64>,
}

impl Facts {
    /// Looks at the folder of this socket.
    pub(super) fn gather(socket: &Path) -> Self {
        let folder = socket.parent().unwrap_or(Path::new("/")).to_owned();
        let nearest = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let nearest = nearest.to_owned();
        let seen = look(&nearest).map_err(|errno| errno.to_string());
        Self { folder, nearest, seen }
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let Self { folder, nearest, seen } = self;
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                let found = format!("{}: {error}", nearest.display());
                let cost = "nobody can say whether the daemon can listen there";
                return vec![FOLDER.warn(found, cost, "mpctl doctor as the daemon's user")];
            }
        };
        vec![judge_folder(folder, nearest, *seen), judge_space(folder, *seen)]
    }
}

fn look(folder: &Path) -> nix::Result<Seen> {
    use nix::unistd::{AccessFlags, access};
    let found = statvfs(folder)?;
    let kib = found.blocks_available() as u128 * found.fragment_size() as u128 / 1024;
    Ok(Seen {
        read_only: found.flags().contains(FsFlags::ST_RDONLY),
        writable: access(folder, AccessFlags::W_OK).is_ok(),
        free_kib: u64::try_from(kib).unwrap_or(u64::MAX),
        #[allow(clippy::useless_conversion, reason = "the type differs between machines")]
        free_files: (found.files() > 0).then(|| u64::from(found.files_available())),
    })
}

fn judge_folder(folder: &Path, nearest: &Path, seen: Seen) -> Finding {
    let name = folder.display();
    let elsewhere = "another --socket (or MPSERVERD_SOCKET) in a folder that can be written";
    if seen.read_only {
        let cost = "the daemon cannot make its socket there, unless systemd passes it in";
        return FOLDER.warn(format!("{name} is on a read-only file system"), cost, elsewhere);
    }
    if folder != nearest && !seen.writable {
        let found = format!("{name} is not there, and {} is not ours", nearest.display());
        let cost = "this user cannot start a daemon there";
        return FOLDER.note(found, cost, "start the daemon's unit, or choose another --socket");
    }
    if folder != nearest {
        return FOLDER.ok(format!("{name} will be made"));
    }
    FOLDER.ok(name.to_string())
}

fn judge_space(folder: &Path, seen: Seen) -> Finding {
    let free = units::memory(seen.free_kib);
    let remedy = "free some, or choose another --socket";
    match seen.free_files {
        Some(0) => SPACE.warn(
            format!("no more files fit into {}", folder.display()),
            "a daemon cannot make its socket there when it starts; one that runs goes on",
            remedy,
        ),
        _ if seen.free_kib < LITTLE_KIB => SPACE.warn(
            format!("{free} left in {}", folder.display()),
            "a daemon goes without pid file and log file there",
            remedy,
        ),
        _ => SPACE.ok(format!("{free} left")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{State, states};
    use super::*;

    fn facts(there: bool, seen: Seen) -> Facts {
        let nearest = if there { "/run/mpserverd" } else { "/run" };
        Facts { folder: "/run/mpserverd".into(), nearest: nearest.into(), seen: Ok(seen) }
    }

    const GOOD: Seen =
        Seen { read_only: false, writable: true, free_kib: 1 << 20, free_files: Some(9) };

    #[test]
    fn each_trouble_is_told() {
        use State::{Note, Ok, Warn};
        for (facts, expected) in [
            (facts(true, GOOD), [Ok, Ok]),
            (facts(false, GOOD), [Ok, Ok]),
            // The daemon's folder need not be ours.
            (facts(true, Seen { writable: false, ..GOOD }), [Ok, Ok]),
            (facts(false, Seen { writable: false, ..GOOD }), [Note, Ok]),
            (facts(true, Seen { read_only: true, ..GOOD }), [Warn, Ok]),
            (facts(true, Seen { free_kib: 8, ..GOOD }), [Ok, Warn]),
            (facts(true, Seen { free_files: Some(0), ..GOOD }), [Ok, Warn]),
            (facts(true, Seen { free_files: None, ..GOOD }), [Ok, Ok]),
        ] {
            let found = states(&facts.judge()).into_iter().map(|(_, state)| state);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{facts:?}");
        }
        let unseen = Facts { seen: Err("EACCES".into()), ..facts(true, GOOD) };
        assert_eq!(states(&unseen.judge()), [("storage.folder", Warn)]);
    }

    #[test]
    fn a_folder_to_be_made_is_looked_at_from_above() {
        let folder = tempfile::tempdir().expect("folder");
        let facts = Facts::gather(&folder.path().join("a/b/socket"));
        assert_eq!(facts.nearest, folder.path());
        assert!(facts.seen.expect("seen").writable);
    }
}
