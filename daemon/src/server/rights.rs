//! What a client may read and execute, where its templates run as the daemon's user and the kernel
//! would not ask on its behalf. Owner, group and mode decide; access lists are not looked at.

use crate::access::Client;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const READ: u32 = 4;
const EXECUTE: u32 = 1;

/// Whether the mode of a file gives a client these rights.
fn gives(file: &Metadata, client: &Client, rights: u32) -> bool {
    let class = if client.uid == file.uid() {
        6
    } else if client.gid == file.gid() || client.groups.contains(&file.gid()) {
        3
    } else {
        0
    };
    client.uid == 0 || (file.mode() >> class) & rights == rights
}

/// Whether a client may execute a program.
pub(super) fn may_execute(program: &Metadata, client: &Client) -> bool {
    gives(program, client, EXECUTE)
}

/// Whether a client may read what a path leads to. One that leads nowhere is refused later, by name.
pub(super) fn may_read(path: &Path, client: &Client) -> bool {
    let Ok(path) = path.canonicalize() else { return true };
    let right = |path: &Path, rights| path.metadata().is_ok_and(|f| gives(&f, client, rights));
    right(&path, READ) && path.ancestors().skip(1).all(|folder| right(folder, EXECUTE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_class_of_the_client_decides_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let inner = folder.path().join("inner");
        create_dir(&inner).expect("folder");
        let file = inner.join("x.so");
        write(&file, "x").expect("file");
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode));
        let owner = file.metadata().expect("file");
        let of = |uid, gid, groups: &[u32]| Client { uid, gid, groups: groups.to_vec() };
        let stranger = of(owner.uid() + 77, owner.gid() + 77, &[]);
        let member = of(owner.uid() + 77, owner.gid() + 77, &[owner.gid()]);
        mode(folder.path(), 0o755).expect("mode");
        mode(&inner, 0o755).expect("mode");
        for (bits, strangers, members) in [(0o604, true, false), (0o640, false, true)] {
            mode(&file, bits).expect("mode");
            assert_eq!(may_read(&file, &stranger), strangers, "{bits:o}");
            assert_eq!(may_read(&file, &member), members, "{bits:o}");
        }
        mode(&file, 0o644).expect("mode");
        mode(&inner, 0o700).expect("mode");
        assert!(!may_read(&file, &stranger), "the folder is closed");
        let file = file.metadata().expect("file");
        assert!(!may_execute(&file, &stranger) && may_execute(&file, &of(0, 0, &[])));
    }
}
