//! Taking calls, and letting in who knows a key.

use super::book::Book;
use super::handle::Handler;
use super::session::Session;
use super::threads::Threads;
use crate::connection::greeting::Key;
use crate::connection::{Address, Connection, ConnectionError, Incoming, Listener};
use crate::manager::client::ticket;
use crate::manager::error::ManagerError;
use nix::sys::socket::{getsockopt, sockopt};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Sessions at once, those included that have not said who they are.
const SESSIONS_MAX: usize = 8192;
/// How long to wait where the system has no descriptor, thread or memory just now.
const PAUSE: Duration = Duration::from_millis(10);
/// Stack of the thread of a session: it runs no user's code.
const STACK_BYTES: usize = 256 << 10;

/// What a server is told.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(in crate::manager) struct Terms {
    pub(in crate::manager) address: Option<Address>,
    #[serde(with = "serde_bytes")]
    pub(in crate::manager) key: Vec<u8>,
    pub(in crate::manager) lease: Duration,
}

/// A manager's server in this process, as `BaseManager.get_server()`: see
/// [`ManagerBuilder::server`](crate::manager::ManagerBuilder::server).
///
/// ```
/// use mpserverd_client as mp;
///
/// let server = mp::Manager::builder().authkey(b"secret").server()?;
/// let (address, stopper) = (server.address().clone(), server.stopper());
/// std::thread::scope(|scope| {
///     scope.spawn(|| server.serve_forever());
///     let manager = mp::Manager::builder().address(address).authkey(b"secret").connect()?;
///     let list = manager.list([1, 2])?;
///     list.append(&3)?;
///     assert_eq!(list.copy()?, [1, 2, 3]);
///     stopper.stop();
///     Ok::<(), mp::ManagerError>(())
/// })?;
/// # Ok::<(), mp::ManagerError>(())
/// ```
pub struct Server {
    inner: Arc<Inner>,
}

/// Ends a [`Server`] that serves on another thread.
#[derive(Clone)]
pub struct ServerStopper(Arc<Inner>);

struct Inner {
    listener: Listener,
    /// Only processes of this user may call.
    private: bool,
    book: Arc<Book>,
    threads: Arc<Threads>,
    sessions: AtomicUsize,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", self.address()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerStopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerStopper").field(self.0.listener.address()).finish()
    }
}

impl Server {
    /// Listens.
    pub(in crate::manager) fn bind(terms: Terms) -> Result<Self, ManagerError> {
        let mut random = [0; 16];
        let refused = |error: getrandom::Error| std::io::Error::other(error);
        getrandom::fill(&mut random).map_err(|error| ConnectionError::from(refused(error)))?;
        let server = u128::from_ne_bytes(random);
        let private = terms.address.is_none();
        let listener = bind(terms.address, server)?;
        let book = Book::new(server, Key::of(&terms.key), terms.lease);
        ticket(server).into_iter().for_each(|ticket| book.enrol(ticket));
        // A thousand processes are a thousand descriptors.
        let _ = crate::sys::attributes::raise_descriptor_limit();
        let (threads, sessions) = Default::default();
        Ok(Self { inner: Arc::new(Inner { listener, private, book, threads, sessions }) })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.inner.listener.address()
    }

    /// What ends [`serve_forever`](Self::serve_forever) from another thread.
    #[must_use]
    pub fn stopper(&self) -> ServerStopper {
        ServerStopper(self.inner.clone())
    }

    /// Serves until it is stopped. All connections are cut then, and all objects are gone.
    pub fn serve_forever(self) {
        while let Some(incoming) = self.inner.next() {
            self.inner.admit(incoming);
        }
        self.inner.stop();
    }
}

impl ServerStopper {
    /// Ends it.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// A name of its own in no file system, unless there is an address: nothing is left of a server
/// that is killed.
fn bind(address: Option<Address>, server: u128) -> Result<Listener, ConnectionError> {
    let address = address.unwrap_or_else(|| {
        Address::Abstract(format!("mpserverd-manager-{server:032x}").into_bytes())
    });
    let listen = || Listener::builder().address(&address).bind();
    match listen() {
        Err(error) if is_left_over(&address, &error) => listen(),
        done => done,
    }
}

/// Whether the file at that path is that of a server that was killed: it is removed then.
fn is_left_over(address: &Address, error: &ConnectionError) -> bool {
    let (Address::Path(path), ConnectionError::Bind { source, .. }) = (address, error) else {
        return false;
    };
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    source.kind() == std::io::ErrorKind::AddrInUse
        && matches!(
            crate::Client::builder(address).timeout(PAUSE).connect(),
            Err(ConnectionError::Connect { source, .. }) if refused(&source)
        )
        && std::fs::remove_file(path).is_ok()
}

impl Inner {
    fn stop(&self) {
        self.book.stop();
        self.listener.close();
    }

    /// The next caller; `None` once the server is stopped.
    fn next(&self) -> Option<Incoming> {
        loop {
            if self.sessions.load(Ordering::Acquire) >= SESSIONS_MAX && !self.book.is_stopping() {
                // The others wait in the queue of the system.
                std::thread::sleep(PAUSE);
                continue;
            }
            match self.listener.accept_incoming() {
                Ok(incoming) => return Some(incoming),
                Err(_) if self.listener.closed() => return None,
                Err(error) => {
                    tracing::warn!(%error, "the manager cannot take calls just now");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Serves a caller on a thread of its own.
    fn admit(self: &Arc<Self>, incoming: Incoming) {
        let mut incoming = Some(incoming);
        self.sessions.fetch_add(1, Ordering::AcqRel);
        while let Some(caller) = incoming.take() {
            // Given back if there is no thread for it.
            let hand = Arc::new(std::sync::Mutex::new(Some(caller)));
            let (own, taken) = (self.clone(), hand.clone());
            let serve = move || {
                let caller = taken.lock().map(|mut caller| caller.take());
                if let Ok(Some(caller)) = caller {
                    own.serve(caller);
                }
                own.sessions.fetch_sub(1, Ordering::AcqRel);
            };
            let thread = std::thread::Builder::new().name("session".to_owned());
            if thread.stack_size(STACK_BYTES).spawn(serve).is_err() {
                std::thread::sleep(PAUSE);
                incoming = hand.lock().map(|mut caller| caller.take()).ok().flatten();
            }
        }
    }

    fn serve(self: &Arc<Self>, incoming: Incoming) {
        let peer = getsockopt(incoming.connection(), sockopt::PeerCredentials).ok();
        let is_stranger = |uid| uid != 0 && uid != nix::unistd::geteuid().as_raw();
        if self.private && peer.is_some_and(|peer| is_stranger(peer.uid())) {
            return;
        }
        let pid = peer.and_then(|peer| u32::try_from(peer.pid()).ok()).unwrap_or(0);
        let greeted = incoming.authenticate_with(&self.book.keys());
        let socket = greeted.and_then(Connection::into_fd);
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                tracing::info!(pid, %error, "a caller of the manager was not let in");
                return;
            }
        };
        self.attend(socket, pid);
    }

    fn attend(self: &Arc<Self>, socket: OwnedFd, pid: u32) {
        let session = Arc::new(Session::new(self.book.next(), pid, socket));
        if !self.book.begin(&session) {
            return;
        }
        let own = self.clone();
        let mut handler = Handler {
            book: self.book.clone(),
            threads: self.threads.clone(),
            session: session.clone(),
            greeted: false,
            stop: Box::new(move || own.stop()),
        };
        session.read(|frame| handler.handle(frame));
        session.end();
        self.book.end(session.id);
    }
}
