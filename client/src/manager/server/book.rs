//! What the server knows: objects by number and by name, sessions, leases, keys.

use super::object::{Object, State};
use super::session::Session;
use crate::connection::greeting::Key;
use crate::manager::manager::ManagerStats;
use crate::manager::wire::Failure;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Objects at once.
const OBJECTS_MAX: usize = 1 << 22;
/// Names at once.
const NAMES_MAX: usize = 1 << 16;
/// Families whose keys are known at once; the oldest is forgotten for a further one.
const TICKETS_MAX: usize = 256;

/// What stands in it.
pub(super) struct Book {
    /// This server, among all that ever were.
    pub(super) server: u128,
    pub(super) lease: Duration,
    own: Weak<Self>,
    objects: Mutex<HashMap<u64, Weak<Object>>>,
    names: Mutex<BTreeMap<String, Arc<Object>>>,
    leases: Mutex<Leases>,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    keys: Mutex<Keys>,
    next: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Leases {
    until: HashMap<u64, (Arc<Object>, Instant)>,
    /// Whether a thread looks after them.
    watched: bool,
}

struct Keys {
    own: Key,
    tickets: Vec<Key>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    pub(super) fn new(server: u128, own: Key, lease: Duration) -> Arc<Self> {
        Arc::new_cyclic(|book| Self {
            server,
            lease,
            own: book.clone(),
            objects: Mutex::default(),
            names: Mutex::default(),
            leases: Mutex::default(),
            sessions: Mutex::default(),
            keys: Mutex::new(Keys { own, tickets: Vec::new() }),
            next: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
        })
    }

    /// A new object.
    ///
    /// # Errors
    /// [`Failure::Limit`].
    pub(super) fn create(&self, label: String, state: State) -> Result<Arc<Object>, Failure> {
        let mut objects = lock(&self.objects);
        if objects.len() >= OBJECTS_MAX {
            let limit = OBJECTS_MAX as u64;
            return Err(Failure::Limit { what: "objects".to_owned(), limit });
        }
        let id = loop {
            let failed = |error: getrandom::Error| Failure::Malformed(error.to_string());
            let id = getrandom::u64().map_err(failed)?;
            if id != 0 && !objects.contains_key(&id) {
                break id;
            }
        };
        let object = Arc::new(Object::new(id, label, state, self.own.clone()));
        objects.insert(id, Arc::downgrade(&object));
        Ok(object)
    }

    /// The object of that number.
    pub(super) fn object(&self, id: u64) -> Result<Arc<Object>, Failure> {
        let found = lock(&self.objects).get(&id).and_then(Weak::upgrade);
        found.ok_or(Failure::NoObject)
    }

    /// An object is gone.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.objects).remove(&id);
    }

    /// Names an object, unless one has the name: whether it has it now.
    ///
    /// # Errors
    /// [`Failure::Limit`].
    pub(super) fn publish(&self, name: &str, object: Arc<Object>) -> Result<bool, Failure> {
        let mut names = lock(&self.names);
        if names.contains_key(name) {
            return Ok(false);
        }
        if names.len() >= NAMES_MAX {
            let limit = NAMES_MAX as u64;
            return Err(Failure::Limit { what: "names".to_owned(), limit });
        }
        names.insert(name.to_owned(), object);
        Ok(true)
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Object>, Failure> {
        lock(&self.names).get(name).cloned().ok_or(Failure::NoName)
    }

    pub(super) fn unpublish(&self, name: &str) -> bool {
        let removed = lock(&self.names).remove(name);
        removed.is_some()
    }

    /// Keeps an object for the time of a lease, at least.
    pub(super) fn lease(&self, object: Arc<Object>) {
        let mut leases = lock(&self.leases);
        leases.until.insert(object.id, (object, Instant::now() + self.lease));
        if leases.watched {
            return;
        }
        let book = self.own.clone();
        let pause = (self.lease / 4).max(Duration::from_millis(10));
        let thread = std::thread::Builder::new().name("leases".to_owned());
        let watch = move || {
            loop {
                std::thread::sleep(pause);
                if book.upgrade().is_none_or(|book| book.expire()) {
                    return;
                }
            }
        };
        leases.watched = thread.spawn(watch).is_ok();
    }

    /// Ends leases; whether there are none any more.
    fn expire(&self) -> bool {
        let now = Instant::now();
        let mut leases = lock(&self.leases);
        let ended = leases.until.extract_if(|_, (_, until)| *until <= now);
        let ended = ended.collect::<Vec<_>>();
        let none = leases.until.is_empty();
        leases.watched = !none;
        // What dies with them is not dropped under the lock.
        drop(leases);
        drop(ended);
        none
    }

    /// A number for a session or thread of the server.
    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A session begins; not if the server is about to end.
    pub(super) fn begin(&self, session: &Arc<Session>) -> bool {
        let mut sessions = lock(&self.sessions);
        let open = !self.stopping.load(Ordering::SeqCst);
        if open {
            sessions.insert(session.id, session.clone());
        }
        open
    }

    /// A session has ended.
    pub(super) fn end(&self, session: u64) {
        let ended = lock(&self.sessions).remove(&session);
        drop(ended);
    }

    /// The server ends: all sessions are cut off.
    pub(super) fn stop(&self) {
        let sessions = {
            let sessions = lock(&self.sessions);
            self.stopping.store(true, Ordering::SeqCst);
            sessions.values().cloned().collect::<Vec<_>>()
        };
        sessions.iter().for_each(|session| session.hang_up());
        // Workers of pools are processes of the server: none shall be started any more.
        let objects = lock(&self.objects).values().filter_map(Weak::upgrade).collect::<Vec<_>>();
        for object in objects {
            if let State::Pool(workers) = &*object.state()
                && let Some(pool) = workers.pool()
            {
                pool.terminate();
            }
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Relatives of a process that was let in are let in too.
    pub(super) fn enrol(&self, ticket: Key) {
        let mut keys = lock(&self.keys);
        if keys.tickets.iter().any(|known| known.is(&ticket)) {
            return;
        }
        if keys.tickets.len() == TICKETS_MAX {
            // The first is that of the server's own family, as a rule.
            keys.tickets.remove(1);
        }
        keys.tickets.push(ticket);
    }

    /// All keys that let in.
    pub(super) fn keys(&self) -> Vec<Key> {
        let keys = lock(&self.keys);
        std::iter::once(&keys.own).chain(&keys.tickets).cloned().collect()
    }

    pub(super) fn stats(&self) -> ManagerStats {
        ManagerStats {
            objects: lock(&self.objects).len() as u64,
            sessions: lock(&self.sessions).len() as u64,
            leases: lock(&self.leases).until.len() as u64,
            names: lock(&self.names).len() as u64,
        }
    }
}
