//! Objects of the server, and what happens when the last reference to one is gone.
//!
//! Whoever refers to an object holds an [`Arc`] of it: the session of a process, a lease, a name, a
//! value in another object. Nothing else counts.

use super::answer::Post;
use super::barrier::Barrier;
use super::book::Book;
use super::cell::Cell;
use super::event::Event;
use super::map::Map;
use super::mutex::Mutex as MutexState;
use super::pool::{Pending, Workers};
use super::queue::Queue;
use super::semaphore::Semaphore;
use super::sequence::{Iteration, Sequence};
use super::session::Session;
use super::user::User;
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// So many calls may wait at one object.
pub(super) const WAITERS_MAX: usize = 1 << 16;

/// Who calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) session: Arc<Session>,
    pub(super) call: u64,
}

impl Caller {
    pub(super) fn is(&self, session: u64, call: u64) -> bool {
        self.session.id == session && self.call == call
    }
}

/// What an object is.
pub(super) enum State {
    Sequence(Sequence),
    Map(Map),
    Cell(Cell),
    Queue(Queue),
    Mutex(MutexState),
    Semaphore(Semaphore),
    Event(Event),
    Barrier(Barrier),
    Iteration(Iteration),
    User(Arc<User>),
    Pool(Arc<Workers>),
    Pending(Pending),
    /// Being buried.
    Nothing,
}

/// An object.
pub(super) struct Object {
    /// Random, so that who does not have it cannot guess it.
    pub(super) id: u64,
    /// The type of its proxy.
    pub(super) label: String,
    state: Mutex<State>,
    book: Weak<Book>,
}

impl Object {
    pub(super) fn new(id: u64, label: String, state: State, book: Weak<Book>) -> Self {
        Self { id, label, state: Mutex::new(state), book }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of a call that waits here has passed.
    pub(super) fn cancel(&self, session: u64, call: u64, post: &mut Post) {
        match &mut *self.state() {
            State::Queue(queue) => queue.cancel(session, call, post),
            State::Mutex(mutex) => mutex.cancel(session, call, post),
            State::Semaphore(semaphore) => semaphore.cancel(session, call, post),
            State::Event(event) => event.cancel(session, call, post),
            State::Barrier(barrier) => barrier.cancel(session, call, post),
            State::Pending(pending) => pending.cancel(session, call, post),
            _ => {}
        }
    }

    /// What a call took is given back: its answer did not arrive in time.
    pub(super) fn void(&self, session: u64, call: u64, post: &mut Post) {
        match &mut *self.state() {
            State::Mutex(mutex) => mutex.void(session, call, post),
            State::Semaphore(semaphore) => semaphore.void(session, call, post),
            _ => {}
        }
    }

    /// A process does not refer to it any more, or is dead: what it holds here is given back, and
    /// nothing of it waits here any more.
    pub(super) fn gone(&self, session: &Session, post: &mut Post) {
        let id = session.id;
        match &mut *self.state() {
            State::Queue(queue) => queue.gone(id, post),
            State::Mutex(mutex) => mutex.gone(id, post),
            State::Semaphore(semaphore) => semaphore.gone(id, post),
            State::Event(event) => event.gone(id),
            State::Pending(pending) => pending.gone(id),
            State::Barrier(barrier) => barrier.gone(id, session.pid, post),
            _ => {}
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:x})", self.label, self.id)
    }
}

thread_local! {
    /// Objects that this thread is about to bury, while it buries one.
    static DYING: RefCell<Option<Vec<State>>> = const { RefCell::new(None) };
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(book) = self.book.upgrade() {
            book.forget(self.id);
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        bury(std::mem::replace(state, State::Nothing));
    }
}

/// Drops what an object held. A list in a list in a list, and so on, must not end the stack: what
/// dies meanwhile waits for its turn.
fn bury(state: State) {
    let first = DYING.try_with(|dying| match &mut *dying.borrow_mut() {
        Some(list) => {
            list.push(state);
            None
        }
        none => {
            *none = Some(Vec::new());
            Some(state)
        }
    });
    let Ok(Some(first)) = first else { return };
    drop(first);
    let next = || DYING.with(|dying| dying.borrow_mut().as_mut().and_then(Vec::pop));
    while let Some(state) = next() {
        drop(state);
    }
    DYING.set(None);
}

#[cfg(test)]
mod tests {
    use super::super::answer::Stored;
    use super::*;

    #[test]
    fn a_long_chain_is_buried_without_a_deep_stack() {
        let mut last: Option<Arc<Object>> = None;
        for id in 0..200_000 {
            let refs = last.take().map(|object| Arc::from([object]));
            let cell = Cell::new(Stored { bytes: Arc::from([]), refs });
            let object = Object::new(id, String::new(), State::Cell(cell), Weak::new());
            last = Some(Arc::new(object));
        }
        let weak = Arc::downgrade(last.as_ref().expect("the last"));
        drop(last);
        assert!(weak.upgrade().is_none());
    }
}
