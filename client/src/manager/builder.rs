//! How a manager comes into being.

use super::client;
use super::error::ManagerError;
use super::manager::{ConnectedManager, Manager};
use super::server::{Initializer, Job, Ready, SERVER, Server, Terms};
use super::shared_memory::SharedMemoryManager;
use crate::codec::Codec;
use crate::connection::greeting::Key;
use crate::connection::{Address, ConnectionError, pipe};
use crate::context::Context;
use crate::error::{ProcessError, StartError};
use crate::parcel::Parcel;
use crate::process::Process;
use crate::task::Task;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a server may take to come up, and to be reached.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// `shutdown_timeout` of the reference.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an object is kept while a proxy of it travels.
const LEASE: Duration = Duration::from_secs(60);

/// How to start, or connect to, a manager: `BaseManager(...)` of `multiprocessing`, in the state in
/// which nothing is started. See [`Manager::builder`] and [`Context::manager_builder`].
#[derive(Debug)]
#[must_use = "nothing is started before `start`, `connect` or `server`"]
pub struct ManagerBuilder {
    context: Context,
    address: Option<Address>,
    key: Option<Key>,
    initializer: Option<Init>,
    shutdown_timeout: Duration,
    timeout: Duration,
    lease: Duration,
}

/// A task that the server runs first.
#[derive(Debug)]
struct Init {
    task: &'static str,
    schema: u64,
    args: Result<Parcel, crate::CodecError>,
}

impl ManagerBuilder {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            address: None,
            key: None,
            initializer: None,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            timeout: START_TIMEOUT,
            lease: LEASE,
        }
    }

    /// Where the server listens, or is: a path, an abstract name, or a host and a port (0 for any
    /// that is free). Without one a server has a name that only this user can call, and that leaves
    /// nothing behind. A socket that a killed server has left at a path is replaced.
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// What both sides must know; that of this process by default. Proxies do not contain it: the
    /// relatives of whoever has connected with it are let in too.
    pub fn authkey(mut self, key: &[u8]) -> Self {
        self.key = Some(Key::of(key));
        self
    }

    /// A task that the server runs before it serves. If it fails, there is no server.
    pub fn initializer<T: Task>(mut self, args: T::Args) -> Self {
        let args = Parcel::pack(Codec::Bincode, &args);
        self.initializer = Some(Init { task: T::NAME, schema: T::SCHEMA, args });
        self
    }

    /// How long [`shutdown`](Manager::shutdown) waits after it has asked, and again after
    /// `SIGTERM`: a second by default.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How long a server may take to come up, or to be reached: a minute by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long an object is kept while a proxy of it travels, whoever has died meanwhile: a minute
    /// by default.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    fn key(&self) -> Key {
        let own = || Key::of(&crate::current::me().identity.authkey);
        self.key.clone().unwrap_or_else(own)
    }

    fn terms(&self) -> Terms {
        let key = self.key().bytes().to_vec();
        Terms { address: self.address.clone(), key, lease: self.lease }
    }

    /// Starts a server process.
    ///
    /// # Errors
    /// [`ManagerError`]: `Start`; `Initializer`; `Server` when the process ends before it serves;
    /// `Protocol` with what it says when it cannot listen there; `Timeout`.
    pub fn start(self) -> Result<Manager, ManagerError> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let (key, terms, timeout) = (self.key(), self.terms(), self.timeout);
        let initializer = self.initializer.map(|Init { task, schema, args }| {
            let unserializable =
                |error: crate::CodecError| StartError::Unserializable(error.to_string());
            let Parcel { bytes: args, fds } = args.map_err(unserializable)?;
            Ok::<_, StartError>(Initializer { task: task.to_owned(), schema, args, fds })
        });
        let initializer = initializer.transpose()?;
        let (ours, ready) = pipe(true).map_err(ManagerError::Connection)?;
        let job = Job { terms, initializer, ready };
        let name = format!("SyncManager-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let builder = self.context.builtin::<()>(SERVER, &job);
        // Its only purpose is this process.
        let process = builder.name(name).daemon(true).start_timeout(timeout).start()?;
        drop(job);
        let address = match wait_for(&process, &ours, timeout) {
            Ok(address) => address,
            Err(error) => {
                let _ = process.kill();
                return Err(error);
            }
        };
        match client::connect(&address, &key, timeout) {
            Ok(client) => {
                let connected = ConnectedManager::over(client, key);
                Ok(Manager::started(connected, process, self.shutdown_timeout))
            }
            Err(error) => {
                let _ = process.kill();
                Err(error)
            }
        }
    }

    /// Connects to a server that runs.
    ///
    /// # Errors
    /// [`ManagerError`]: `Connection` when nobody is there, or when no address was given;
    /// `Authentication`; `Timeout`; `Version`.
    pub fn connect(self) -> Result<ConnectedManager, ManagerError> {
        let key = self.key();
        let address = self.address.ok_or_else(|| {
            let what = "a manager that runs has an address: give it";
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
            ManagerError::Connection(ConnectionError::System(error))
        })?;
        Ok(ConnectedManager::over(client::connect(&address, &key, self.timeout)?, key))
    }

    /// A server in this process, which listens already and serves once it is told to: `get_server`.
    /// The initializer is not run.
    ///
    /// # Errors
    /// [`ManagerError::Connection`] when it cannot listen there.
    pub fn server(self) -> Result<Server, ManagerError> {
        Server::bind(self.terms())
    }
}

/// Waits until the server says where it is.
fn wait_for(
    process: &Process<()>,
    ready: &crate::Connection,
    timeout: Duration,
) -> Result<Address, ManagerError> {
    match ready.recv_timeout::<Ready>(timeout) {
        Ok(Ready::Serving(address)) => Ok(address),
        Ok(Ready::InitializerFailed(message)) => Err(ManagerError::Initializer(message)),
        Ok(Ready::Refused(message)) => Err(ManagerError::Protocol(message)),
        Err(ConnectionError::Eof | ConnectionError::EofInMessage) => {
            Err(match process.result_timeout(timeout) {
                Err(ProcessError::Timeout(error)) => ManagerError::Timeout(error),
                Err(error) => ManagerError::Server(error),
                Ok(()) => ManagerError::Protocol("the server ended without a word".to_owned()),
            })
        }
        Err(error) => Err(error.into()),
    }
}

impl Context {
    /// Starts a manager, with the defaults of [`ManagerBuilder`]: `Manager()` of
    /// `multiprocessing`.
    ///
    /// # Errors
    /// As [`ManagerBuilder::start`].
    pub fn manager(&self) -> Result<Manager, ManagerError> {
        self.manager_builder().start()
    }

    /// How to start a manager of this context otherwise than by default.
    pub fn manager_builder(&self) -> ManagerBuilder {
        ManagerBuilder::new(self.clone())
    }

    /// A manager of shared memory: `SharedMemoryManager()` of `multiprocessing`.
    #[must_use]
    pub fn shared_memory_manager(&self) -> SharedMemoryManager {
        SharedMemoryManager::new()
    }
}
