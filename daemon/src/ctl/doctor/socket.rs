//! The socket's file and its folder: who may connect, and who could put another in its place.

use super::finding::{Finding, Thing};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const FOLDER: Thing = Thing("socket.folder", "folder of the socket");
const FILE: Thing = Thing("socket.file", "socket");

/// What lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    path: PathBuf,
    own: u32,
    folder: Option<Entry>,
    file: Result<Entry, io::ErrorKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    uid: u32,
    gid: u32,
    is_socket: bool,
}

impl Facts {
    /// Looks at it.
    pub(super) fn gather(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("/"));
        Self {
            path: path.to_owned(),
            own: nix::unistd::geteuid().as_raw(),
            folder: folder.metadata().ok().map(|found| Entry::of(&found)),
            file: match path.symlink_metadata() {
                Ok(found) => Ok(Entry::of(&found)),
                Err(error) => Err(error.kind()),
            },
        }
    }

    /// What that means. Whether anybody answers is another question.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let folder = self.folder.map(|folder| self.judge_folder(folder));
        folder.into_iter().chain([self.judge_file()]).collect()
    }

    fn judge_folder(&self, folder: Entry) -> Finding {
        let Entry { mode, uid, .. } = folder;
        let found = format!("mode {:03o}, of uid {uid}", mode & 0o7777);
        let remedy = "a folder of the daemon's user that only he can write: mode 0711 or 0700";
        let sticky = mode & 0o1000 != 0;
        if mode & 0o022 != 0 && !sticky {
            let cost = "others can put a socket of their own in its place, and would get what \
                        clients send";
            return FOLDER.fail(found, cost, remedy);
        }
        if uid != 0 && uid != self.own && self.own != 0 && !sticky {
            let cost = "that user can put another socket in its place; programs of this user \
                        refuse a daemon of his";
            return FOLDER.warn(found, cost, remedy);
        }
        FOLDER.ok(found)
    }

    fn judge_file(&self) -> Finding {
        let path = self.path.display();
        let file = match self.file {
            Ok(file) => file,
            Err(io::ErrorKind::NotFound) => {
                return FILE.fail(
                    format!("{path} is not there"),
                    "no daemon: programs spawn their workers, and mpctl has nobody to talk to",
                    "`mpserverd`, or `systemctl start mpserverd.socket` (with --user for this \
                     user's own); or name another with --socket or MPSERVERD_SOCKET",
                );
            }
            Err(kind) => {
                return FILE.fail(
                    format!("{path}: {kind}"),
                    "this user cannot reach a daemon there",
                    "a folder that may be passed through (mode 0711), or another --socket",
                );
            }
        };
        let Entry { mode, uid, gid, is_socket } = file;
        if !is_socket {
            return FILE.fail(
                format!("{path} is something else"),
                "the daemon refuses to start there",
                "remove it, or choose another --socket",
            );
        }
        let found = format!("{path}, mode {:03o}, uid {uid}, gid {gid}", mode & 0o777);
        if mode & 0o002 != 0 {
            let cost = "every user may connect; the daemon checks each, but anybody can use up \
                        its connections (max_clients)";
            return FILE.note(found, cost, "SocketMode=0660 with SocketGroup= in the socket unit");
        }
        FILE.ok(found)
    }
}

impl Entry {
    fn of(found: &std::fs::Metadata) -> Self {
        let is_socket = found.file_type().is_socket();
        Self { mode: found.mode(), uid: found.uid(), gid: found.gid(), is_socket }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{State, states};
    use super::*;

    fn good() -> Facts {
        Facts {
            path: "/run/mpserverd/mpserverd.sock".into(),
            own: 1000,
            folder: Some(Entry { mode: 0o40711, uid: 0, gid: 0, is_socket: false }),
            file: Ok(Entry { mode: 0o140_660, uid: 0, gid: 7, is_socket: true }),
        }
    }

    fn with_folder(mode: u32, uid: u32) -> Facts {
        Facts { folder: Some(Entry { mode, uid, gid: 0, is_socket: false }), ..good() }
    }

    #[test]
    fn each_trouble_is_told() {
        use State::{Fail, Note, Ok, Warn};
        let wide = Entry { mode: 0o777, uid: 0, gid: 0, is_socket: true };
        for (facts, expected) in [
            (good(), [Ok, Ok]),
            (with_folder(0o777, 0), [Fail, Ok]),
            (with_folder(0o1777, 0), [Ok, Ok]),
            (with_folder(0o700, 1000), [Ok, Ok]),
            (with_folder(0o711, 7), [Warn, Ok]),
            (Facts { file: Result::Ok(wide), ..good() }, [Ok, Note]),
            (Facts { file: Result::Ok(Entry { is_socket: false, ..wide }), ..good() }, [Ok, Fail]),
            (Facts { file: Err(io::ErrorKind::NotFound), ..good() }, [Ok, Fail]),
            (Facts { file: Err(io::ErrorKind::PermissionDenied), ..good() }, [Ok, Fail]),
        ] {
            let found = states(&facts.judge()).into_iter().map(|(_, state)| state);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{facts:?}");
        }
        let bare = Facts { folder: None, file: Err(io::ErrorKind::NotFound), ..good() };
        assert_eq!(states(&bare.judge()), [("socket.file", Fail)]);
    }

    #[test]
    fn what_lies_there_is_seen() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("socket");
        assert_eq!(Facts::gather(&path).file, Err(io::ErrorKind::NotFound));
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("socket");
        assert!(Facts::gather(&path).file.expect("there").is_socket);
    }
}
