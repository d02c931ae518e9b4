//! Managers: started ones, and those that somebody else has started.

use super::builder::ManagerBuilder;
use super::client::Client;
use super::error::ManagerError;
use super::handle::{Answered, ask};
use super::proxy::Proxy;
use super::wire::{Body, Op};
use crate::connection::Address;
use crate::connection::greeting::Key;
use crate::process::Process;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) const NAME: &str = "Manager";
/// How long a server may take to be reached again.
const REACH: Duration = Duration::from_secs(10);

/// What a server has just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerStats {
    /// Objects, as `_number_of_objects` of the reference.
    pub objects: u64,
    /// Connected processes.
    pub sessions: u64,
    /// Objects that are kept because a proxy of them travels.
    pub leases: u64,
    /// Names that were published.
    pub names: u64,
}

/// A manager that somebody else has started, as `BaseManager.connect()`; also what a [`Manager`] is
/// besides having started it. It makes objects, and finds those that have a name.
///
/// It is made by [`ManagerBuilder::connect`]. Clones are the same; dropping it does nothing to the
/// server.
#[derive(Clone)]
pub struct ConnectedManager {
    server: u128,
    address: Address,
    key: Key,
    client: Arc<Mutex<Arc<Client>>>,
}

impl fmt::Debug for ConnectedManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME).field("address", &self.address).finish_non_exhaustive()
    }
}

impl ConnectedManager {
    pub(super) fn over(client: Arc<Client>, key: Key) -> Self {
        super::client::remember(client.server, &key);
        let (server, address) = (client.server, client.address.clone());
        Self { server, address, key, client: Arc::new(Mutex::new(client)) }
    }

    /// The connection of this process, which a fork makes anew.
    pub(super) fn client(&self) -> Result<Arc<Client>, ManagerError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if !client.is_own() {
            let own = super::client::connect(&self.address, &self.key, REACH)?;
            if own.server != self.server {
                return Err(ManagerError::Replaced { address: self.address.clone() });
            }
            // The other one is that of the process that forked this one.
            std::mem::forget(std::mem::replace(&mut *client, own));
        }
        Ok(client.clone())
    }

    /// Where the server is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn ask(&self, op: Op<'_>) -> Result<Answered, ManagerError> {
        ask(&self.client()?, NAME, 0, op, None)
    }

    /// Gives an object a name, by which others [find](Self::find) it, unless one has that name:
    /// whether it has it now. It lives until the name is [taken away](Self::unpublish).
    ///
    /// # Errors
    /// [`ManagerError`], `Limit` for a name of more than 512 bytes; `NoObject` for an object of
    /// another server.
    pub fn publish<P: Proxy>(&self, name: &str, proxy: &P) -> Result<bool, ManagerError> {
        let handle = proxy.handle();
        let client = handle.client()?;
        if client.server != self.server {
            return Err(ManagerError::NoObject { proxy: P::TYPE });
        }
        handle.ask_by(&client, P::TYPE, Op::Publish { name })?.yes()
    }

    /// The object of a name.
    ///
    /// ```no_run
    /// # use mpserverd_client as mp;
    /// # fn example() -> Result<(), mp::ManagerError> {
    /// let manager = mp::Manager::builder()
    ///     .address(("build-host", 5000))
    ///     .authkey(b"secret")
    ///     .connect()?;
    /// let jobs = manager.find::<mp::QueueProxy<String>>("jobs")?;
    /// jobs.put(&"compile".to_owned())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ManagerError`], `NoName` and `WrongType` among others. What is in it is not checked: a
    /// list of numbers that is found as one of texts gives errors later.
    pub fn find<P: Proxy>(&self, name: &str) -> Result<P, ManagerError> {
        let (handle, label) = self.ask(Op::Find { name })?.object()?;
        if label != P::label() {
            return Err(ManagerError::WrongType { proxy: P::TYPE });
        }
        Ok(P::from_handle(handle))
    }

    /// The object of a name, which is made if there is none; of two who do that at the same time
    /// both get the same.
    ///
    /// # Errors
    /// As [`find`](Self::find), and those of `make`.
    pub fn find_or<P: Proxy>(
        &self,
        name: &str,
        make: impl FnOnce(&Self) -> Result<P, ManagerError>,
    ) -> Result<P, ManagerError> {
        match self.find(name) {
            Err(ManagerError::NoName) => {}
            found => return found,
        }
        let made = make(self)?;
        if self.publish(name, &made)? { Ok(made) } else { self.find(name) }
    }

    /// Takes a name away; whether there was one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn unpublish(&self, name: &str) -> Result<bool, ManagerError> {
        self.ask(Op::Unpublish { name })?.yes()
    }

    /// What the server has just now.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn stats(&self) -> Result<ManagerStats, ManagerError> {
        match self.ask(Op::Stats)?.body()? {
            Body::Stats(stats) => Ok(stats),
            _ => Err(ManagerError::Protocol("counts were asked for".to_owned())),
        }
    }

    /// Asks the server to end. It may hang up in place of an answer.
    fn ask_to_stop(&self, timeout: Duration) {
        if let Ok(client) = self.client() {
            let _ = ask(&client, NAME, 0, Op::Shutdown, Some(timeout));
        }
    }
}

/// A manager that this process has started, as `SyncManager` of `multiprocessing`: a server process
/// that keeps objects, and makes proxies of them.
///
/// See the [module](super) for what that means. It dereferences to a [`ConnectedManager`], which
/// has the methods that make objects.
///
/// Dropping it [shuts it down](Self::shutdown), as does the end of this process, however it ends:
/// all proxies are [`ManagerError::Gone`] then.
pub struct Manager {
    connected: ConnectedManager,
    process: Process<()>,
    timeout: Duration,
    /// The process that started it: a fork of that has no part in its end.
    owner: u32,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME)
            .field("address", self.address())
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Deref for Manager {
    type Target = ConnectedManager;

    fn deref(&self) -> &ConnectedManager {
        &self.connected
    }
}

impl Manager {
    /// How to start or connect to one otherwise than by default.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new(crate::context::get_context(None))
    }

    pub(super) fn started(
        connected: ConnectedManager,
        process: Process<()>,
        timeout: Duration,
    ) -> Self {
        Self { connected, process, timeout, owner: std::process::id() }
    }

    /// The pid of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server as a process: to wait for its end, or to send it signals.
    #[must_use]
    pub fn process(&self) -> &crate::Handle {
        &self.process
    }

    /// Waits for the end of the server, which somebody else may bring about; the exit code, or
    /// `None` if the time passes first.
    #[must_use]
    pub fn join(&self, timeout: Option<Duration>) -> Option<i32> {
        match timeout {
            None => Some(self.process.join()),
            Some(timeout) => self.process.join_timeout(timeout),
        }
    }

    /// Ends the server: asks it to; after the shutdown timeout sends `SIGTERM`; after that time
    /// again kills it. Gives its exit code: 0 if it ended as it was asked to.
    ///
    /// # Errors
    /// [`ManagerError`] when it was gone before.
    pub fn shutdown(self) -> Result<i32, ManagerError> {
        let was_alive = self.process.is_alive();
        let code = self.end();
        let address = self.address().clone();
        if was_alive { Ok(code) } else { Err(ManagerError::Gone { address }) }
    }

    fn end(&self) -> i32 {
        if let Some(code) = self.process.join_timeout(Duration::ZERO) {
            return code;
        }
        // One that is stopped, or gone, is not waited for.
        self.connected.ask_to_stop(self.timeout);
        if let Some(code) = self.process.join_timeout(self.timeout) {
            return code;
        }
        let _ = self.process.terminate();
        if let Some(code) = self.process.join_timeout(self.timeout) {
            return code;
        }
        let _ = self.process.kill();
        self.process.join()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            self.end();
        }
    }
}
