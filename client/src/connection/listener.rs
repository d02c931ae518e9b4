//! `Listener`: who takes calls.

use super::address::{Address, Family};
use super::error::ConnectionError;
use super::frame::Fault;
use super::greeting::{self, Key};
use super::place::{self, Place};
use super::sockets::Acceptor;
use super::stream::{Connection, READABLE, WRITABLE};
use super::wire::Wire;
use crate::deadline::Deadline;
use crate::reducer::Reducer;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(target_os = "linux")]
mod awaited;

const NAME: &str = "Listener";
/// Calls that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// Takes calls of [`Client`](super::Client)s, as `multiprocessing.connection.Listener`; this
/// library's or CPython's.
///
/// It is at a path, an abstract name or a TCP port. With a key, both sides must know it: the
/// handshake is that of CPython (HMAC with a digest that the peer chooses, in constant time). It
/// proves who somebody is and encrypts nothing.
///
/// All methods take `&self`, and several threads may accept at once. As an argument of a task, an
/// item or a message it travels to another process, key included, and both accept then.
///
/// Closing or dropping it removes the file at its path (if it is still the one that it made), in
/// the process that made it.
pub struct Listener {
    acceptor: Acceptor,
    address: Address,
    key: Option<Key>,
    handshake: Option<Duration>,
    closed: AtomicBool,
    last: Mutex<Option<Address>>,
    place: Mutex<Option<Place>>,
    reducer: Reducer,
}

/// How to listen: see [`Listener::builder`].
#[derive(Clone, Debug)]
#[must_use = "nobody listens before `bind`"]
pub struct ListenerBuilder {
    address: Option<Address>,
    family: Family,
    backlog: u32,
    key: Option<Key>,
    handshake: Option<Duration>,
    reducer: Reducer,
}

/// Somebody who has called but not said who they are. Dropping it hangs up.
#[derive(Debug)]
pub struct Incoming {
    connection: Connection,
    peer: Address,
    key: Option<Key>,
    handshake: Option<Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    /// Listens at an address; callers must know the key, if one is given. The empty key is one.
    ///
    /// # Errors
    /// [`ConnectionError::Bind`] when that cannot be, for example because the path exists.
    pub fn bind(
        address: impl Into<Address>,
        authkey: Option<&[u8]>,
    ) -> Result<Self, ConnectionError> {
        let builder = Self::builder().address(address);
        match authkey {
            Some(key) => builder.authkey(key).bind(),
            None => builder.bind(),
        }
    }

    /// The same, step by step. Without an address it gets one of its own: a random name in a new
    /// directory that only this user can enter, or what [`family`](ListenerBuilder::family) says.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let listener = mp::Listener::builder().authkey(b"secret").bind()?;
    /// let mp::Address::Path(path) = listener.address() else { panic!() };
    /// assert!(path.exists());
    /// let path = path.clone();
    /// drop(listener);
    /// assert!(!path.exists());
    /// # Ok::<(), mp::ConnectionError>(())
    /// ```
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder {
            address: None,
            family: Family::default(),
            backlog: BACKLOG,
            key: None,
            handshake: Some(greeting::TIMEOUT),
            reducer: Reducer::default(),
        }
    }

    pub(super) fn with(
        acceptor: Acceptor,
        address: Address,
        key: Option<Key>,
        handshake: Option<Duration>,
        place: Option<Place>,
        reducer: Reducer,
    ) -> Self {
        let place = Mutex::new(place);
        let (closed, last) = (AtomicBool::new(false), Mutex::new(None));
        Self { acceptor, address, key, handshake, closed, last, place, reducer }
    }

    /// What values on its connections are encoded by.
    #[must_use]
    pub fn reducer(&self) -> Reducer {
        self.reducer
    }

    pub(super) fn acceptor(&self) -> Result<&Acceptor, ConnectionError> {
        if self.closed() {
            return Err(ConnectionError::Closed { object: NAME });
        }
        Ok(&self.acceptor)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn listening(&self) -> &Acceptor {
        &self.acceptor
    }

    /// What travels with its descriptor.
    #[cfg(target_os = "linux")]
    pub(super) fn terms(&self) -> (&Address, Option<&Key>, Option<Duration>) {
        (&self.address, self.key.as_ref(), self.handshake)
    }

    /// Takes the next call and, with a key, authenticates both sides.
    ///
    /// One caller is dealt with at a time: others wait in the queue meanwhile, for no longer than
    /// the handshake may take. Where a silent caller must not hold up others, take calls with
    /// [`accept_incoming`](Self::accept_incoming) and authenticate them on other threads, or accept
    /// on several.
    ///
    /// An error that a caller is to blame for leaves the listener as it was: go on with the next.
    ///
    /// # Errors
    /// [`ConnectionError`]: `Authentication` when one side does not know the key, `Handshake` when
    /// the caller is silent, `Eof` or `EofInMessage` when it hangs up; `Closed`; `System` when the
    /// process has no descriptor left (the caller stays in the queue).
    pub fn accept(&self) -> Result<Connection, ConnectionError> {
        self.accept_incoming()?.authenticate()
    }

    /// The same, waiting no longer than this for a caller to come; the handshake has its own time.
    ///
    /// # Errors
    /// As [`accept`](Self::accept), and `TimedOut`.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection, ConnectionError> {
        self.accept_incoming_timeout(timeout)?.authenticate()
    }

    /// Takes the next call, and leaves open who it is. It never waits for a handshake.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let listener = mp::Listener::builder().authkey(b"secret").bind()?;
    /// let address = listener.address();
    /// std::thread::scope(|scope| {
    ///     let _silent = mp::Client::connect(address, None)?;
    ///     scope.spawn(|| mp::Client::connect(address, Some(b"secret"))?.send(&"served"));
    ///     let silent = listener.accept_incoming()?;
    ///     let second = listener.accept_incoming()?;
    ///     assert_eq!(second.authenticate()?.recv::<String>()?, "served");
    ///     drop(silent); // or authenticate it, on another thread
    ///     Ok::<(), mp::ConnectionError>(())
    /// })?;
    /// # Ok::<(), mp::ConnectionError>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`, `System`.
    pub fn accept_incoming(&self) -> Result<Incoming, ConnectionError> {
        self.incoming(&Deadline::NEVER)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// `Closed`, `System`, `TimedOut`.
    pub fn accept_incoming_timeout(&self, timeout: Duration) -> Result<Incoming, ConnectionError> {
        self.incoming(&Deadline::within(timeout))
    }

    fn incoming(&self, deadline: &Deadline) -> Result<Incoming, ConnectionError> {
        match self.acceptor()?.accept(&self.closed, deadline) {
            Ok(accepted) => Ok(self.called(accepted)),
            Err(fault) => {
                self.acceptor()?;
                Err(match fault {
                    Fault::TimedOut => deadline.error().into(),
                    Fault::System(error) => error.into(),
                })
            }
        }
    }

    fn called(&self, (wire, peer): (Wire, Address)) -> Incoming {
        *lock(&self.last) = Some(peer.clone());
        let connection = Connection::over(wire, READABLE | WRITABLE).with_reducer(self.reducer);
        Incoming { connection, peer, key: self.key.clone(), handshake: self.handshake }
    }

    /// Where it is: with the port that the system chose, if it was to choose one.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Who has called last, if anybody has.
    #[must_use]
    pub fn last_accepted(&self) -> Option<Address> {
        lock(&self.last).clone()
    }

    /// Stops listening; again, if you like. Callers in the queue are hung up on, unless another
    /// process has the listener too. Threads that wait for a caller get
    /// [`ConnectionError::Closed`], as does any later use.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.acceptor.close();
            drop(lock(&self.place).take());
        }
    }

    /// Whether it was closed.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME)
            .field("address", &self.address)
            .field("authenticates", &self.key.is_some())
            .field("closed", &self.closed())
            .finish_non_exhaustive()
    }
}

impl ListenerBuilder {
    /// Where to listen. A path must not exist; port 0 is any free one.
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// What kind of address to choose where none is given: by default a Unix socket, on Windows a
    /// named pipe.
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// How many calls may wait to be accepted before further callers wait for a place: 1024, or
    /// what the system allows.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Callers must know this key, and so must they find that we do.
    pub fn authkey(mut self, key: &[u8]) -> Self {
        self.key = Some(Key::of(key));
        self
    }

    /// How long a caller may take for the handshake: ten seconds, unless given here; `None` is for
    /// ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake = timeout.into();
        self
    }

    /// What values on its connections are encoded by: bincode, unless given here.
    pub fn reducer(mut self, reducer: Reducer) -> Self {
        self.reducer = reducer;
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind(self) -> Result<Listener, ConnectionError> {
        let (address, room) = match self.address {
            Some(address) => (address, None),
            None => place::arbitrary(self.family)?,
        };
        let bound = Acceptor::bind(&address, self.backlog);
        let (acceptor, address) =
            bound.map_err(|source| ConnectionError::Bind { address: address.clone(), source })?;
        let place = match &address {
            Address::Path(path) => Some(Place::new(path.clone(), room)),
            _ => None,
        };
        Ok(Listener::with(acceptor, address, self.key, self.handshake, place, self.reducer))
    }
}

impl Incoming {
    /// Where the call comes from.
    #[must_use]
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Authenticates both sides, if the listener has a key, within the time that it allows.
    ///
    /// # Errors
    /// As [`Listener::accept`], in what concerns the caller.
    pub fn authenticate(self) -> Result<Connection, ConnectionError> {
        if let Some(key) = &self.key {
            let keys = std::slice::from_ref(key);
            greeting::as_listener(&self.connection, keys, self.handshake)?;
        }
        Ok(self.connection)
    }

    /// The same with any of these keys, whatever the listener's own is.
    #[cfg(target_os = "linux")]
    pub(crate) fn authenticate_with(self, keys: &[Key]) -> Result<Connection, ConnectionError> {
        greeting::as_listener(&self.connection, keys, self.handshake)?;
        Ok(self.connection)
    }

    /// The connection of whoever it is.
    #[cfg(target_os = "linux")]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same, within this time.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    pub fn authenticate_timeout(
        mut self,
        timeout: Duration,
    ) -> Result<Connection, ConnectionError> {
        self.handshake = Some(timeout);
        self.authenticate()
    }
}
