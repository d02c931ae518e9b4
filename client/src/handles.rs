//! Handles travel as values: a descriptor inside a value becomes a slot of whatever carries it.
//!
//! While a value is encoded for another process ([`collect`]), every [`SharedFd`] in it adds its
//! descriptor to a list and writes its place there. While one is decoded ([`provide`]), it reads
//! the place and takes the descriptor from the list that came along. Outside such a scope a handle
//! means nothing, and serialising one is the error that `assert_spawning` is in `multiprocessing`
//! (`multiprocessing.context`, `get_spawning_popen`).
//!
//! What must never be in here: how bytes and descriptors get to the other side.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::LocalKey;

/// A descriptor that travels inside values: as an argument or result of a task, an item of a
/// queue, a message on a connection. Clones are one descriptor, also after a journey.
///
/// ```
/// use mpserverd_client as mp;
/// use std::os::fd::AsFd;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Job {
///     name: String,
///     log: mp::SharedFd,
/// }
///
/// let log = mp::SharedFd::from(std::fs::File::open("/dev/null")?);
/// let job = Job { name: "a".into(), log };
/// let (bytes, fds) = mp::handles::collect(|| serde_json::to_vec(&job));
/// let back: Job = mp::handles::provide(fds, || serde_json::from_slice(&bytes?))?;
/// assert_eq!(back.name, "a");
/// let _ = back.log.as_fd();
/// assert!(serde_json::to_vec(&job).is_err()); // not on the way to another process
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedFd(Arc<OwnedFd>);

impl SharedFd {
    /// The descriptor itself, if nothing else refers to it, or a duplicate.
    ///
    /// # Errors
    /// As `fcntl(2)` with `F_DUPFD_CLOEXEC`.
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Into<OwnedFd>> From<T> for SharedFd {
    fn from(fd: T) -> Self {
        Self(Arc::new(fd.into()))
    }
}

impl AsFd for SharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for SharedFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedFd({})", self.0.as_raw_fd())
    }
}

/// The list of a thread that is being filled or read.
struct List {
    /// Looked at first, as it needs no destructor: most values have no handles.
    state: &'static LocalKey<Cell<State>>,
    /// Empty unless the state says otherwise.
    list: &'static LocalKey<Cell<Vec<SharedFd>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No value is on its way.
    Closed,
    /// One is, and the list is empty.
    Empty,
    /// One is, and the list is not empty.
    Filled,
}

macro_rules! list {
    ($name:ident) => {
        static $name: List = {
            thread_local! {
                static STATE: Cell<State> = const { Cell::new(State::Closed) };
                static LIST: Cell<Vec<SharedFd>> = const { Cell::new(Vec::new()) };
            }
            List { state: &STATE, list: &LIST }
        };
    };
}
list!(OUTGOING);
list!(INCOMING);

/// Puts the list of before back in its place, also when the closure in between panics.
struct Scope {
    own: &'static List,
    state: State,
    before: Vec<SharedFd>,
}

impl Scope {
    #[inline]
    fn enter(own: &'static List, list: Vec<SharedFd>) -> Self {
        let now = if list.is_empty() { State::Empty } else { State::Filled };
        let state = own.state.replace(now);
        let unchanged = state != State::Filled && now == State::Empty;
        let before = if unchanged { Vec::new() } else { own.list.replace(list) };
        Self { own, state, before }
    }

    #[inline]
    fn leave(mut self) -> Vec<SharedFd> {
        let list = self.put_back();
        std::mem::forget(self);
        list
    }

    #[inline]
    fn put_back(&mut self) -> Vec<SharedFd> {
        let was = self.own.state.replace(self.state);
        if was == State::Filled || self.state == State::Filled {
            self.own.list.replace(std::mem::take(&mut self.before))
        } else {
            Vec::new()
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        drop(self.put_back());
    }
}

/// The scope of a list that was closed; it is closed and empty again afterwards.
struct Outermost(&'static List);

impl Outermost {
    #[inline]
    fn enter(own: &'static List) -> Self {
        own.state.set(State::Empty);
        Self(own)
    }
}

impl Drop for Outermost {
    #[inline]
    fn drop(&mut self) {
        if self.0.state.replace(State::Closed) == State::Filled {
            drop(self.0.list.take());
        }
    }
}

/// Runs something with the list of the innermost scope, if there is one.
fn with_list<R>(own: &List, run: impl FnOnce(&mut Vec<SharedFd>) -> R) -> Option<R> {
    if own.state.get() == State::Closed {
        return None;
    }
    let mut list = own.list.take();
    let result = run(&mut list);
    if !list.is_empty() {
        own.state.set(State::Filled);
    }
    own.list.set(list);
    Some(result)
}

/// Runs `encode`, in which handles may be serialised, and returns their descriptors in the order
/// of the slots, each once: the counterpart of `set_spawning_popen`.
///
/// The library does this itself for arguments, results, items and messages. Use it to carry
/// handles by a way of your own.
#[inline]
pub fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<SharedFd>) {
    let scope = Scope::enter(&OUTGOING, Vec::new());
    let result = encode();
    (result, scope.leave())
}

/// The same, with the descriptors in place of others: for who has many values to encode. Nothing
/// but one word is touched for those without handles.
#[inline]
pub(crate) fn collect_into<R>(fds: &mut Vec<SharedFd>, encode: impl FnOnce() -> R) -> R {
    if OUTGOING.state.get() != State::Closed {
        let (result, list) = collect(encode);
        *fds = list;
        return result;
    }
    let scope = Outermost::enter(&OUTGOING);
    let result = encode();
    if OUTGOING.state.get() == State::Filled {
        *fds = OUTGOING.list.take();
    } else if !fds.is_empty() {
        fds.clear();
    }
    drop(scope);
    result
}

/// Runs `decode`, in which handles may be deserialised, with the descriptors that came along.
#[inline]
pub fn provide<R>(fds: impl IntoIterator<Item = SharedFd>, decode: impl FnOnce() -> R) -> R {
    let scope = Scope::enter(&INCOMING, fds.into_iter().collect());
    let result = decode();
    scope.leave();
    result
}

/// Whether a value is being encoded for another process by this thread just now: the counterpart
/// of `get_spawning_popen() is not None`.
#[must_use]
pub fn is_spawning() -> bool {
    OUTGOING.state.get() != State::Closed
}

/// What serialising a handle outside a journey gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a `{0}` can only be shared with another process as an argument or result of a task, an item \
     of a queue or a message on a connection"
)]
pub struct NotSpawning(
    /// The type of the object.
    pub &'static str,
);

/// For `Serialize` implementations of types that are handles.
///
/// # Errors
/// [`NotSpawning`] outside [`collect`].
pub fn assert_spawning(object: &'static str) -> Result<(), NotSpawning> {
    if is_spawning() { Ok(()) } else { Err(NotSpawning(object)) }
}

impl Serialize for SharedFd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_spawning("SharedFd").map_err(S::Error::custom)?;
        let slot = with_list(&OUTGOING, |list| {
            list.iter().position(|known| known.is(self)).unwrap_or_else(|| {
                list.push(self.clone());
                list.len() - 1
            })
        });
        match slot.and_then(|slot| u16::try_from(slot).ok()) {
            Some(slot) => serializer.serialize_u16(slot),
            None => Err(S::Error::custom("more than 65536 descriptors in one value")),
        }
    }
}

impl<'de> Deserialize<'de> for SharedFd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let slot = u16::deserialize(deserializer)?;
        with_list(&INCOMING, |list| list.get(usize::from(slot)).cloned())
            .flatten()
            .ok_or_else(|| D::Error::custom(format!("descriptor {slot} did not come along")))
    }
}

/// Descriptors whose last copy tells others that nobody is left, so that forks must not keep any.
static ENDS: Mutex<Vec<Weak<OwnedFd>>> = Mutex::new(Vec::new());

/// Says that those who have the other end of a socket or pipe learn from this one that nobody is
/// left. A process that was forked for a task has what came with its arguments; the copies that
/// it inherited by accident would keep up the end of somebody who is gone.
pub(crate) fn tells_who_is_left(fd: &SharedFd) {
    let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    if ends.len() == ends.capacity() {
        ends.retain(|end| end.strong_count() > 0);
    }
    ends.push(Arc::downgrade(&fd.0));
}

/// In a fork that runs a task: lets go of those. Their numbers stay taken, by `/dev/null`, for the
/// sake of values that the fork inherited and will drop.
#[cfg(target_os = "linux")]
pub(crate) fn let_go_of_ends() {
    // A thread that the fork does not have may have held it.
    let Ok(mut ends) = ENDS.try_lock() else { return };
    let Ok(null) = std::fs::File::open("/dev/null") else { return };
    for end in ends.drain(..).filter_map(|end| end.upgrade()) {
        crate::sys::fd::cover(null.as_fd(), end.as_raw_fd());
    }
}

/// Makes a field that is a descriptor, file or socket travel: `#[serde(with = "mp::handles::fd")]`
/// on any type that lends an `OwnedFd` and is made from one.
///
/// ```
/// use mpserverd_client as mp;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Upload {
///     #[serde(with = "mp::handles::fd")]
///     from: std::net::TcpStream,
///     #[serde(with = "mp::handles::fd")]
///     to: std::fs::File,
/// }
/// ```
pub mod fd {
    use super::SharedFd;
    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::{Error as _, Serialize, Serializer};
    use std::os::fd::{AsFd, OwnedFd};

    /// Serialises a duplicate.
    ///
    /// # Errors
    /// When it cannot be duplicated, and outside a journey.
    pub fn serialize<T: AsFd, S: Serializer>(fd: &T, serializer: S) -> Result<S::Ok, S::Error> {
        super::assert_spawning(std::any::type_name::<T>()).map_err(S::Error::custom)?;
        let own = fd.as_fd().try_clone_to_owned().map_err(S::Error::custom)?;
        SharedFd::from(own).serialize(serializer)
    }

    /// Deserialises it.
    ///
    /// # Errors
    /// When it did not come along.
    pub fn deserialize<'de, T: From<OwnedFd>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let shared = SharedFd::deserialize(deserializer)?;
        shared.into_owned().map(T::from).map_err(D::Error::custom)
    }
}

/// A descriptor, file or socket that travels: a wrapper for where a field attribute does not
/// reach, such as an argument of a task or an element of a list.
///
/// ```
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn count(file: mp::Passed<std::fs::File>) -> u64 {
///     std::io::copy(&mut &*file, &mut std::io::sink()).unwrap_or(0)
/// }
/// ```
#[derive(Debug)]
pub struct Passed<T>(
    /// The thing itself.
    pub T,
);

impl<T> std::ops::Deref for Passed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Passed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: AsFd> Serialize for Passed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fd::serialize(&self.0, serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Passed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fd::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;
    use crate::parcel::Parcel;

    fn null() -> SharedFd {
        SharedFd::from(std::fs::File::open("/dev/null").expect("/dev/null"))
    }

    #[test]
    fn a_descriptor_travels_once_however_often_it_occurs() {
        let one = null();
        let value = (one.clone(), vec![one.clone(), null()], one);
        let parcel = Parcel::pack(Codec::Bincode, &value).expect("encodes");
        assert_eq!(parcel.fds.len(), 2);
        type Triple = (SharedFd, Vec<SharedFd>, SharedFd);
        let back: Triple = parcel.unpack(Codec::Bincode).expect("decodes");
        assert!(back.0.is(&back.2) && back.0.is(&back.1[0]) && !back.0.is(&back.1[1]));
    }

    #[test]
    fn a_slot_without_its_descriptor_is_an_error() {
        let mut parcel = Parcel::pack(Codec::Bincode, &null()).expect("encodes");
        parcel.fds.clear();
        let error = parcel.unpack::<SharedFd>(Codec::Bincode).expect_err("nothing came along");
        assert!(error.to_string().contains("descriptor 0"), "{error}");
    }

    #[test]
    fn scopes_nest_and_end_with_a_panic() {
        let (inner, outer) = collect(|| collect(|| assert_spawning("x")).0);
        assert!(inner.is_ok() && outer.is_empty());
        let caught = std::panic::catch_unwind(|| collect(|| panic!("inside")));
        assert!(caught.is_err() && !is_spawning());
    }
}
