//! What a worker may do, chosen by who starts it.

use crate::error::StartError;
use mpserverd_proto::sandbox::{self as wire, Asked, Deny, Files};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// A confinement of a worker: of [`ProcessBuilder::sandbox`](crate::ProcessBuilder::sandbox) and
/// [`PoolBuilder::sandbox`](crate::pool::PoolBuilder::sandbox).
///
/// It holds for every thread of the worker, and for all that it executes or forks, from before the
/// first instruction of the task to the end; nothing can take it back. It is put in force in this
/// order: namespaces, `no_new_privs`, Landlock, seccomp. What the system cannot do is an error
/// ([`JobError::SandboxUnsupported`](crate::JobError::SandboxUnsupported)), and the task does not
/// run: no worker is confined less than was asked.
///
/// What the worker has been *given* stays usable: its standard streams, descriptors that were
/// passed, handles in its arguments. So does what its template had loaded and opened before, and an
/// `after_fork` hook may run unconfined. Processes that it starts through this library are
/// confined as it is, also those that a daemon forks; code that means ill could ask a daemon by
/// itself, which [`Deny::Sockets`] forbids.
///
/// Where the daemon's configuration (`[sandbox]`) confines a worker, this can only confine it more.
///
/// ```
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn render(path: std::path::PathBuf) -> std::io::Result<usize> {
///     Ok(std::fs::read(path)?.len())
/// }
///
/// # let ctx = mp::get_context(mp::StartMethod::Spawn);
/// let render = ctx.process::<render>(("/srv/photos/1.raw".into(),)).sandbox(
///     mp::Sandbox::new()
///         .read_only("/srv/photos")
///         .read_write("/srv/thumbnails")
///         .deny(mp::Deny::Exec)
///         .deny(mp::Deny::Network)
///         .deny_call("swapon")
///         .private_tmp(),
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it confines nobody by itself"]
pub struct Sandbox {
    wire: wire::Sandbox,
    unconfined: bool,
}

impl Sandbox {
    /// Confines nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not only confines nothing: if the daemon's configuration does, the start is refused with
    /// [`JobError::SandboxForced`](crate::JobError::SandboxForced), which names the key.
    pub fn unconfined() -> Self {
        Self { unconfined: true, ..Self::default() }
    }

    /// Lets it read files and list folders below this path, and with the other paths that are
    /// named here, nothing else: what is below no path is denied (`EACCES`).
    ///
    /// A path that does not exist is an error at the start. A relative one is meant from the
    /// folder of who starts the worker. Landlock does the work; the kernel must be 6.2 or later.
    pub fn read_only(self, path: impl AsRef<Path>) -> Self {
        self.path(path, |files| &mut files.read_only)
    }

    /// Lets it read, write, make, rename and remove below this path; not execute.
    pub fn read_write(self, path: impl AsRef<Path>) -> Self {
        self.path(path, |files| &mut files.read_write)
    }

    /// Lets it read and execute below this path. Programs also read their libraries.
    pub fn execute(self, path: impl AsRef<Path>) -> Self {
        self.path(path, |files| &mut files.execute)
    }

    /// Lets it use no file but those below paths that are named here, even if there is none.
    pub fn no_files(mut self) -> Self {
        self.wire.files.get_or_insert_default();
        self
    }

    /// Denies a group of system calls: they fail with `EPERM`.
    pub fn deny(mut self, group: Deny) -> Self {
        if !self.wire.deny.contains(&group) {
            self.wire.deny.push(group);
        }
        self
    }

    /// Denies a system call, by the name that it has on this architecture. A name that does not
    /// exist, or that no worker can do without, is an error at the start.
    pub fn deny_call(mut self, name: impl Into<String>) -> Self {
        self.wire.calls.push(name.into());
        self
    }

    /// Gives it a network of its own, in which there is nothing, not even loopback; the names of
    /// abstract Unix sockets are its own too. Implies [`Deny::Mount`].
    ///
    /// Needs `CAP_SYS_ADMIN`, or a system where everybody may make user namespaces.
    pub fn private_network(mut self) -> Self {
        self.wire.private_network = true;
        self
    }

    /// Gives it a `/tmp` and a `/var/tmp` of its own, empty and gone with it. If its working folder
    /// is in one of them it is `/tmp` then. Implies [`Deny::Mount`], and needs what
    /// [`private_network`](Self::private_network) needs.
    pub fn private_tmp(mut self) -> Self {
        self.wire.private_tmp = true;
        self
    }

    /// Adds what a word says: `no-exec`, `no-network`, `no-sockets`, `no-ptrace`, `no-mount`,
    /// `no-kernel`, `deny=CALL`, `read-only=PATH`, `read-write=PATH`, `execute=PATH`, `no-files`,
    /// `private-network`, `private-tmp`.
    ///
    /// ```
    /// use mpserverd_client::Sandbox;
    /// let sandbox = Sandbox::new().word("no-exec")?.word("read-only=/usr")?;
    /// assert!(Sandbox::new().word("no-fun").is_err());
    /// # Ok::<(), mpserverd_client::StartError>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError::Invalid`] says which words there are.
    pub fn word(mut self, word: &str) -> Result<Self, StartError> {
        self.wire.add(word).map_err(StartError::Invalid)?;
        Ok(self)
    }

    fn path(
        mut self,
        path: impl AsRef<Path>,
        list: impl FnOnce(&mut Files) -> &mut Vec<Vec<u8>>,
    ) -> Self {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let bytes = absolute.into_os_string().into_encoded_bytes();
        list(self.wire.files.get_or_insert_default()).push(bytes);
        self
    }
}

/// Whether all system calls that a description names exist here.
///
/// # Errors
/// The first that does not.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub fn check_sandbox(sandbox: &wire::Sandbox) -> Result<(), String> {
    sandbox.check()?;
    crate::runtime::confine::calls::check(sandbox)
}

/// What confines this process.
static OWN: RwLock<Vec<wire::Sandbox>> = RwLock::new(Vec::new());

/// This process is confined by these alone so far: it descends from one that has them.
#[cfg(target_os = "linux")]
pub(crate) fn inherit(layers: Vec<wire::Sandbox>) {
    *OWN.write().unwrap_or_else(PoisonError::into_inner) = layers;
}

/// This process is confined by these too from now on, and so is what it starts.
#[cfg(target_os = "linux")]
pub(crate) fn remember(layers: Vec<wire::Sandbox>) {
    OWN.write().unwrap_or_else(PoisonError::into_inner).extend(layers);
}

/// What confines this process.
pub(crate) fn own() -> Vec<wire::Sandbox> {
    OWN.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What a job says: for a worker that descends from this process, and so is confined as it is, or
/// for one that does not.
///
/// # Errors
/// [`StartError::Invalid`] for what cannot be meant.
pub(crate) fn asked(chosen: Option<Sandbox>, descends: bool) -> Result<Asked, StartError> {
    let Sandbox { wire, unconfined } = chosen.unwrap_or_default();
    let own = own();
    let mut asked = Asked { unconfined, inherited: Vec::new(), layers: Vec::new() };
    if unconfined && !own.is_empty() {
        let what = "a process that is confined cannot start one that is not";
        return Err(StartError::Invalid(what.to_owned()));
    }
    if descends {
        asked.inherited = own;
    } else {
        asked.layers = own;
    }
    asked.layers.extend((!wire.is_empty()).then_some(wire));
    asked.check().map_err(|what| StartError::Invalid(format!("sandbox: {what}")))?;
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_made_absolute() {
        let sandbox = Sandbox::new().read_only("photos").read_write("/srv");
        let files = sandbox.wire.files.as_ref().unwrap();
        assert!(files.read_only[0].starts_with(b"/") && files.read_only[0].ends_with(b"/photos"));
        assert_eq!(files.read_write, [b"/srv"]);
        assert_eq!(sandbox.wire.check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_the_start() {
        let asked = |sandbox| asked(Some(sandbox), true);
        assert!(asked(Sandbox::new().deny_call("exit_group")).is_err());
        assert!(asked(Sandbox::new().deny_call("no such call")).is_err());
        assert!(asked(Sandbox::unconfined().deny(Deny::Exec)).is_err());
        assert!(asked(Sandbox::unconfined()).unwrap().unconfined);
        let twice = Sandbox::new().deny(Deny::Exec).deny(Deny::Exec);
        assert_eq!(asked(twice).unwrap().layers[0].deny, [Deny::Exec]);
    }
}
