//! `release-group`: what systemd runs after the daemon has ended, before it starts the next one.
//!
//! Workers that outlive a daemon may lie in control groups of their own, to which the service's
//! group hands on its controllers. The kernel takes no process into a group that does so, thus not
//! the next daemon either: systemd would fail with 219/CGROUP. So the group stops handing them on.
//! The next daemon begins with it again; in the milliseconds between, those workers have no limits.
//!
//! What must never be in here: a step outside the service's own group.

use super::error::CtlError;
use super::screen::Screen;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// Where systemd puts such a helper, below the service's group.
const HELPERS: &str = "/.control";

/// `mpctl release-group`.
pub(super) fn main(screen: &Screen) -> Result<u8, CtlError> {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path);
        text.map_err(|error| CtlError::system(format!("{path}: {error}")))
    };
    let folder = service(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
    // Version 1, or no delegation: nothing is in the way.
    let Some(folder) = folder else { return screen.show(&json!({ "released": [] }), String::new) };
    let released = release(&folder);
    let released =
        released.map_err(|error| CtlError::system(format!("{}: {error}", folder.display())))?;
    screen.show(&json!({ "released": released }), String::new)
}

/// The service's own group, if this process is a helper of a service in version 2.
fn service(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let group = group.strip_suffix(HELPERS)?;
    Some(Path::new(super::doctor::mounted(mounts, "cgroup2")?).join(group.trim_start_matches('/')))
}

/// Hands on no controller any more; gives those that were.
fn release(folder: &Path) -> io::Result<Vec<String>> {
    let file = folder.join("cgroup.subtree_control");
    let handed_on = std::fs::read_to_string(&file)?;
    let handed_on = handed_on.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if !handed_on.is_empty() {
        let words = handed_on.iter().map(|name| format!("-{name}")).collect::<Vec<_>>();
        std::fs::write(&file, words.join(" "))?;
    }
    Ok(handed_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_helper_has_a_service() {
        let mounts = "30 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let of = |groups: &str| service(mounts, groups);
        let expected = Path::new("/sys/fs/cgroup/system.slice/a.service");
        assert_eq!(of("1:x:/\n0::/system.slice/a.service/.control").as_deref(), Some(expected));
        assert_eq!(of("0::/user.slice/session-1.scope"), None);
        assert_eq!(of("3:memory:/a/.control"), None);
        assert_eq!(service("", "0::/a/.control"), None);
    }

    #[test]
    fn what_is_handed_on_is_released() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("cgroup.subtree_control");
        assert!(release(folder.path()).is_err());
        std::fs::write(&file, "").expect("file");
        assert!(release(folder.path()).expect("nothing").is_empty());
        std::fs::write(&file, "memory pids\n").expect("file");
        assert_eq!(release(folder.path()).expect("two"), ["memory", "pids"]);
        assert_eq!(std::fs::read_to_string(&file).expect("file"), "-memory -pids");
    }
}
