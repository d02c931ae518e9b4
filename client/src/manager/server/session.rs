//! The session of a process: what it refers to, and the way back to it.
//!
//! Answers are written by whoever has them, without waiting. What the socket does not take goes to
//! a line that a thread of its own empties; while that is long, no further request is read.

use super::answer::{Answer, Post, Stored};
use super::object::Object;
use super::resolve::Resolve;
use crate::connection::wire::ready;
use crate::deadline::Deadline;
use crate::manager::link::Reader;
use crate::manager::wire::{self, Body, Failure, Item};
use crate::sys::scm;
use nix::poll::PollFlags;
use nix::sys::socket::{Shutdown, shutdown};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// With so many bytes unsent, no further request of that session is read.
const UNSENT_MAX: usize = 8 << 20;
/// How often the thread that empties the line looks whether the session has ended.
const LOOK: Duration = Duration::from_secs(5);
/// Stack of that thread.
const STACK_BYTES: usize = 128 << 10;

/// An object, and how often the process refers to it.
struct Reference {
    object: Arc<Object>,
    count: u64,
}

#[derive(Default)]
struct Output {
    line: VecDeque<Vec<u8>>,
    /// What is sent of the first.
    sent: usize,
    unsent: usize,
    /// Whether a thread empties the line.
    emptied: bool,
    ended: bool,
}

/// A connected process.
pub(super) struct Session {
    pub(super) id: u64,
    /// Its pid, where that is known.
    pub(super) pid: u32,
    socket: OwnedFd,
    /// `None` once it has ended.
    refs: Mutex<Option<HashMap<u64, Reference>>>,
    output: Mutex<Output>,
    room: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn new(id: u64, pid: u32, socket: OwnedFd) -> Self {
        Self {
            id,
            pid,
            socket,
            refs: Mutex::new(Some(HashMap::new())),
            output: Mutex::default(),
            room: Condvar::new(),
        }
    }

    /// The object, if this session refers to it.
    pub(super) fn object(&self, id: u64) -> Result<Arc<Object>, Failure> {
        let refs = lock(&self.refs);
        let found = refs.as_ref().and_then(|refs| refs.get(&id));
        found.map(|found| found.object.clone()).ok_or(Failure::NoObject)
    }

    /// One reference more, unless the session has ended.
    pub(super) fn refer(&self, object: &Arc<Object>) {
        if let Some(refs) = &mut *lock(&self.refs) {
            let new = || Reference { object: object.clone(), count: 0 };
            refs.entry(object.id).or_insert_with(new).count += 1;
        }
    }

    /// One reference less. With the last one goes what the process holds there.
    pub(super) fn release(&self, id: u64, post: &mut Post) {
        let mut refs = lock(&self.refs);
        let Some(refs_of) = refs.as_mut() else { return };
        let Some(found) = refs_of.get_mut(&id) else { return };
        found.count -= 1;
        if found.count > 0 {
            return;
        }
        let last = refs_of.remove(&id);
        drop(refs);
        if let Some(last) = last {
            last.object.gone(self, post);
        }
    }

    /// Reads requests until the end of the stream, and hands each on.
    pub(super) fn read(&self, mut each: impl FnMut(&[u8]) -> bool) {
        let mut reader = Reader::default();
        loop {
            match reader.frame() {
                Ok(Some(frame)) => {
                    if !each(frame) {
                        return;
                    }
                    self.wait_for_room();
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(pid = self.pid, %error, "a client of the manager is cut off");
                    return;
                }
            }
            use crate::manager::link::More;
            match reader.more(self.socket.as_fd(), &Deadline::NEVER) {
                Ok(More::Came | More::Nothing) => {}
                Ok(More::End) | Err(_) => return,
            }
        }
    }

    /// The process is gone: so is what it held, and all that it referred to.
    pub(super) fn end(&self) {
        self.hang_up();
        let refs = lock(&self.refs).take();
        let mut post = Post::default();
        for reference in refs.iter().flat_map(HashMap::values) {
            reference.object.gone(self, &mut post);
        }
        post.send();
    }

    /// Cuts the connection.
    pub(super) fn hang_up(&self) {
        lock(&self.output).ended = true;
        self.room.notify_all();
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }

    /// Answers a call.
    pub(super) fn answer(self: &Arc<Self>, call: u64, answer: &Answer) {
        if call == wire::ONE_WAY {
            return;
        }
        let mut bytes = Vec::with_capacity(64);
        if let Err(error) = wire::frame(&mut bytes, call, &answer.body(self)) {
            let failed = Body::Failed(Failure::Malformed(error.to_string()));
            // So short a text can be encoded.
            let _ = wire::frame(&mut bytes, call, &failed);
        }
        self.send(bytes);
    }

    fn send(self: &Arc<Self>, bytes: Vec<u8>) {
        let mut output = lock(&self.output);
        if output.ended {
            return;
        }
        output.unsent += bytes.len();
        output.line.push_back(bytes);
        if output.emptied {
            return;
        }
        match self.push(&mut output) {
            Ok(true) => {}
            Ok(false) => {
                output.emptied = true;
                drop(output);
                self.empty_elsewhere();
            }
            Err(_) => output.ended = true,
        }
    }

    /// Sends what the socket takes; whether that was all.
    fn push(&self, output: &mut Output) -> io::Result<bool> {
        while let Some(first) = output.line.front() {
            match scm::send_plain(self.socket.as_fd(), &first[output.sent..], true) {
                Ok(some) => {
                    output.sent += some;
                    output.unsent -= some;
                    if output.sent == first.len() {
                        output.line.pop_front();
                        output.sent = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Has a thread empty the line.
    fn empty_elsewhere(self: &Arc<Self>) {
        let session = self.clone();
        let thread = std::thread::Builder::new().name("answers".to_owned());
        let started = thread.stack_size(STACK_BYTES).spawn(move || session.empty());
        if started.is_err() {
            self.hang_up();
        }
    }

    fn empty(&self) {
        loop {
            let ready = ready(self.socket.as_fd(), PollFlags::POLLOUT, &Deadline::within(LOOK));
            let mut output = lock(&self.output);
            let done = match ready.and_then(|_| self.push(&mut output)) {
                Ok(done) => done || output.ended,
                Err(_) => {
                    output.ended = true;
                    true
                }
            };
            output.emptied = !done;
            if output.unsent < UNSENT_MAX || done {
                self.room.notify_all();
            }
            if done {
                return;
            }
        }
    }

    fn wait_for_room(&self) {
        let mut output = lock(&self.output);
        while output.unsent >= UNSENT_MAX && !output.ended {
            output = self.room.wait(output).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Resolve for Session {
    fn resolve(&self, item: Item<'_>) -> Result<Stored, Failure> {
        let refs = item.refs.into_iter().map(|id| self.object(id));
        let refs = refs.collect::<Result<Vec<_>, _>>()?;
        let refs = (!refs.is_empty()).then(|| Arc::from(refs));
        Ok(Stored { bytes: Arc::from(item.bytes.as_ref()), refs })
    }
}
