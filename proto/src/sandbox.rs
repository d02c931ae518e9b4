//! What a worker may do: the description of a confinement, as jobs and templates carry it.
//!
//! How each part is enforced only the worker knows. Here it is data that came from somebody, so
//! [`Sandbox::check`] stands before every use.

use crate::limits::{
    SANDBOX_CALL_BYTES_MAX, SANDBOX_CALLS_MAX, SANDBOX_LAYERS_MAX, SANDBOX_PATH_BYTES_MAX,
    SANDBOX_PATHS_MAX,
};
use serde::{Deserialize, Serialize};

/// Calls without which a worker can neither run its task nor say how it ended.
const ESSENTIAL: [&str; 25] = [
    "brk",
    "clone",
    "clone3",
    "close",
    "exit",
    "exit_group",
    "futex",
    "getrandom",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "poll",
    "ppoll",
    "read",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sendmsg",
    "set_robust_list",
    "sigaltstack",
    "write",
];

/// A group of system calls that a worker may be denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Deny {
    /// Executing another program.
    Exec,
    /// Sockets of every kind but Unix ones, and `io_uring`, which could make them unseen.
    Network,
    /// All new sockets, Unix ones too: a task cannot reach a daemon either.
    Sockets,
    /// Looking into other processes: `ptrace`, their memory, their descriptors.
    Ptrace,
    /// Mounting, and other namespaces.
    Mount,
    /// Parts of the kernel that few programs need and many attacks use: BPF, perf, user faults,
    /// keyrings, `io_uring`, modules, swap, clocks.
    Kernel,
}

impl Deny {
    /// All groups with their names in configurations and on command lines.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Exec, "no-exec"),
        (Self::Network, "no-network"),
        (Self::Sockets, "no-sockets"),
        (Self::Ptrace, "no-ptrace"),
        (Self::Mount, "no-mount"),
        (Self::Kernel, "no-kernel"),
    ];

    /// Its name: `no-exec`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(group, _)| *group == self).map_or("?", |(_, name)| name)
    }

    /// The group of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(group, _)| *group)
    }
}

/// What a worker may do with files: everything below these paths, and nothing elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Files {
    /// Read files and list directories below these.
    pub read_only: Vec<Vec<u8>>,
    /// Read, write, make, rename and remove below these.
    pub read_write: Vec<Vec<u8>>,
    /// Read and execute below these.
    pub execute: Vec<Vec<u8>>,
}

impl Files {
    /// Each list with its name.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[Vec<u8>]); 3] {
        [
            ("read_only", &self.read_only),
            ("read_write", &self.read_write),
            ("execute", &self.execute),
        ]
    }
}

/// One confinement. An empty one confines nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Sandbox {
    /// The only files that it may use; `None` leaves all.
    pub files: Option<Files>,
    /// Groups of system calls that fail with `EPERM`.
    pub deny: Vec<Deny>,
    /// Single system calls that do, by name.
    pub calls: Vec<String>,
    /// Whether it has a network of its own, in which there is nothing.
    pub private_network: bool,
    /// Whether it has a `/tmp` and a `/var/tmp` of its own, empty and gone with it.
    pub private_tmp: bool,
}

impl Sandbox {
    /// Whether it confines nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be meant: bounds, paths, names.
    ///
    /// # Errors
    /// What is wrong with it, naming the part.
    pub fn check(&self) -> Result<(), String> {
        for (name, paths) in self.files.iter().flat_map(Files::lists) {
            if paths.len() > SANDBOX_PATHS_MAX {
                let count = paths.len();
                return Err(format!("{name}: {count} paths, the limit is {SANDBOX_PATHS_MAX}"));
            }
            paths.iter().try_for_each(|path| check_path(name, path))?;
        }
        if self.deny.len() > Deny::ALL.len() {
            return Err("deny: a group is named twice".to_owned());
        }
        if self.calls.len() > SANDBOX_CALLS_MAX {
            let count = self.calls.len();
            return Err(format!("deny: {count} system calls, the limit is {SANDBOX_CALLS_MAX}"));
        }
        self.calls.iter().try_for_each(|call| check_call(call))
    }

    /// Adds what a word of a command line says: `no-exec`, `deny=swapon`, `read-only=/usr`,
    /// `read-write=/srv`, `execute=/usr/bin`, `no-files`, `private-network`, `private-tmp`.
    ///
    /// # Errors
    /// Says which words there are.
    pub fn add(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            None => match (Deny::of_name(word), word) {
                (Some(group), _) => {
                    self.deny.extend((!self.deny.contains(&group)).then_some(group))
                }
                (None, "no-files") => drop(self.files.get_or_insert_default()),
                (None, "private-network") => self.private_network = true,
                (None, "private-tmp") => self.private_tmp = true,
                (None, _) => return Err(unknown(word)),
            },
            Some(("deny", call)) => {
                check_call(call)?;
                self.calls.push(call.to_owned());
            }
            Some((key, path)) => {
                let files = self.files.clone().unwrap_or_default();
                self.files = Some(added(files, key, path).ok_or_else(|| unknown(word))?);
            }
        }
        Ok(())
    }
}

fn added(mut files: Files, key: &str, path: &str) -> Option<Files> {
    let list = match key {
        "read-only" => &mut files.read_only,
        "read-write" => &mut files.read_write,
        "execute" => &mut files.execute,
        _ => return None,
    };
    list.push(path.as_bytes().to_vec());
    Some(files)
}

fn unknown(word: &str) -> String {
    let groups = Deny::ALL.map(|(_, name)| name).join(", ");
    format!(
        "`{word}` is none of {groups}, deny=CALL, read-only=PATH, read-write=PATH, execute=PATH, \
         no-files, private-network, private-tmp"
    )
}

fn check_path(list: &str, path: &[u8]) -> Result<(), String> {
    let shown = String::from_utf8_lossy(&path[..path.len().min(SANDBOX_PATH_BYTES_MAX)]);
    if path.len() > SANDBOX_PATH_BYTES_MAX {
        return Err(format!("{list}: a path has more than {SANDBOX_PATH_BYTES_MAX} bytes"));
    }
    if !path.starts_with(b"/") || path.contains(&0) {
        return Err(format!("{list}: `{shown}` is not an absolute path"));
    }
    Ok(())
}

fn check_call(call: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if call.is_empty() || call.len() > SANDBOX_CALL_BYTES_MAX || !call.bytes().all(good) {
        let end = call.char_indices().nth(SANDBOX_CALL_BYTES_MAX).map_or(call.len(), |(at, _)| at);
        return Err(format!("deny: `{}` is not the name of a system call", &call[..end]));
    }
    if ESSENTIAL.contains(&call) {
        return Err(format!("deny: no worker can do without `{call}`"));
    }
    Ok(())
}

/// What a job says about its worker's confinement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Asked {
    /// It is not to be confined at all: refused where the configuration confines it.
    pub unconfined: bool,
    /// Confinements that hold already, because the worker descends from a process that has them.
    pub inherited: Vec<Sandbox>,
    /// Confinements, each of which holds.
    pub layers: Vec<Sandbox>,
}

impl Asked {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let count = self.layers.len().max(self.inherited.len());
        if count > SANDBOX_LAYERS_MAX {
            return Err(format!("{count} layers, the limit is {SANDBOX_LAYERS_MAX}"));
        }
        if self.unconfined && !self.layers.is_empty() {
            return Err("unconfined, and yet confined".to_owned());
        }
        self.layers.iter().chain(&self.inherited).try_for_each(Sandbox::check)
    }
}

/// A confinement of the daemon's configuration: it holds whatever a job says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Forced {
    /// The table of the configuration that says so: `sandbox.module.thumbs`.
    pub key: String,
    /// What it says.
    pub sandbox: Sandbox,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Sandbox, String> {
        let mut sandbox = Sandbox::default();
        words.iter().try_for_each(|word| sandbox.add(word))?;
        sandbox.check().map(|()| sandbox)
    }

    #[test]
    fn words_add_up() {
        let sandbox = of(&["no-exec", "no-exec", "deny=swapon", "read-only=/usr", "private-tmp"]);
        let sandbox = sandbox.unwrap();
        assert_eq!(sandbox.deny, [Deny::Exec]);
        assert_eq!(sandbox.calls, ["swapon"]);
        assert_eq!(sandbox.files.unwrap().read_only, [b"/usr"]);
        assert!(sandbox.private_tmp && !sandbox.private_network);
        assert_eq!(of(&["no-files"]).unwrap().files, Some(Files::default()));
        assert!(of(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let long = format!("deny={}", "x".repeat(65));
        for (word, part) in [
            ("no-everything", "no-exec, no-network"),
            ("read_only=/usr", "read-only=PATH"),
            ("read-only=usr", "absolute path"),
            ("read-only=", "absolute path"),
            ("execute=/a\0b", "absolute path"),
            ("deny=write", "can do without `write`"),
            ("deny=", "not the name"),
            ("deny=Swapon", "not the name"),
            (&long, "not the name"),
        ] {
            let error = of(&[word]).unwrap_err();
            assert!(error.contains(part), "{word}: {error}");
        }
    }

    #[test]
    fn bounds_hold() {
        let path = vec![b"/x".to_vec(); SANDBOX_PATHS_MAX + 1];
        let files = Some(Files { execute: path, ..Files::default() });
        let many = Sandbox { files, ..Sandbox::default() };
        assert!(many.check().unwrap_err().starts_with("execute: 257 paths"));
        let calls = vec!["swapon".to_owned(); SANDBOX_CALLS_MAX + 1];
        assert!(Sandbox { calls, ..Sandbox::default() }.check().is_err());
        let deny = vec![Deny::Exec; 7];
        assert!(Sandbox { deny, ..Sandbox::default() }.check().is_err());
        let layers = vec![Sandbox::default(); SANDBOX_LAYERS_MAX + 1];
        assert!(Asked { layers, ..Asked::default() }.check().is_err());
        let layers = vec![Sandbox::default()];
        let both = Asked { unconfined: true, layers, ..Asked::default() };
        assert!(both.check().is_err());
    }
}
