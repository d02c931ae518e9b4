//! Who waits for which descriptor or time, and the thread that watches them.
//!
//! Whoever waits puts the descriptor into the epoll instance itself and tells the thread nothing:
//! the kernel does. Only a time earlier than all others wakes the thread. A wait ends once; what
//! nobody waits for any more is taken out of the instance before its descriptor can be closed,
//! since the wait keeps it open.

use super::entry::{Entry, call};
use super::ready::{Interest, Source};
use super::words::NoThread;
use super::{IDLE, Reactor, lock, thread};
use crate::sys::futex::Woken;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Events that are taken from the kernel at a time.
const EVENTS: usize = 64;
/// What the eventfd of the instance is called there; descriptors are called by their numbers.
const NEWS: u64 = u64::MAX;

/// One descriptor, and who waits for it.
struct Watched {
    source: Source,
    waits: Vec<(u64, Interest, Arc<Entry>)>,
}

/// The kernel's side.
struct Instance {
    epoll: Epoll,
    /// Wakes the thread.
    news: EventFd,
}

#[derive(Default)]
struct Table {
    instance: Option<Arc<Instance>>,
    watched: HashMap<RawFd, Watched>,
    alarms: BTreeMap<(Instant, u64), Arc<Entry>>,
    numbers: u64,
    has_thread: bool,
}

/// Who waits for which descriptor or time.
#[derive(Default)]
pub(super) struct Descriptors {
    table: Mutex<Table>,
    /// Held by the thread whenever it does not sleep.
    pub(super) gate: Mutex<()>,
}

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = lock(&self.table);
        write!(f, "Descriptors({} and {} times)", table.watched.len(), table.alarms.len())
    }
}

impl Instance {
    fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let news = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&news, EpollEvent::new(EpollFlags::EPOLLIN, NEWS))?;
        Ok(Self { epoll, news })
    }
}

impl Watched {
    fn events(&self) -> EpollFlags {
        let events = self.waits.iter().map(|(_, interest, _)| match interest {
            Interest::Read => EpollFlags::EPOLLIN,
            Interest::Write => EpollFlags::EPOLLOUT,
        });
        events.fold(EpollFlags::empty(), |all, some| all | some)
    }

    fn event(&self, fd: RawFd) -> EpollEvent {
        EpollEvent::new(self.events(), u64::from(fd.cast_unsigned()))
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The thread and what it works with.
    fn prepare(&mut self, reactor: &'static Reactor) -> Result<Arc<Instance>, NoThread> {
        let instance = match &self.instance {
            Some(instance) => instance.clone(),
            None => Arc::new(Instance::new().map_err(|_| NoThread)?),
        };
        self.instance = Some(instance.clone());
        self.has_thread = self.has_thread || thread::start(reactor, "mp-descriptors", run);
        if self.has_thread { Ok(instance) } else { Err(NoThread) }
    }

    /// Says to the kernel what is waited for at a descriptor now, or that nothing is.
    fn update(&mut self, fd: RawFd) -> Result<(), Errno> {
        let Some(instance) = self.instance.clone() else { return Ok(()) };
        let Some(watched) = self.watched.get(&fd) else { return Ok(()) };
        if watched.waits.is_empty() {
            let gone = instance.epoll.delete(watched.source.as_fd());
            self.watched.remove(&fd);
            return gone;
        }
        let mut event = watched.event(fd);
        match instance.epoll.modify(watched.source.as_fd(), &mut event) {
            Err(Errno::ENOENT) => instance.epoll.add(watched.source.as_fd(), event),
            done => done,
        }
    }

    /// Ends the waits at a descriptor that are over.
    fn fire(&mut self, fd: RawFd, events: EpollFlags, wakers: &mut Vec<Waker>) {
        let ends = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let Some(watched) = self.watched.get_mut(&fd) else {
            // Somebody closed it without telling, and a copy of it is left somewhere.
            self.rebuild();
            return;
        };
        let over = |interest| match interest {
            Interest::Read => events.intersects(ends | EpollFlags::EPOLLIN),
            Interest::Write => events.intersects(ends | EpollFlags::EPOLLOUT),
        };
        let all = std::mem::take(&mut watched.waits);
        let (ended, left) = all.into_iter().partition(|(_, interest, _)| over(*interest));
        watched.waits = left;
        let ended: Vec<(u64, Interest, Arc<Entry>)> = ended;
        wakers.extend(ended.into_iter().filter_map(|(_, _, entry)| entry.end(Woken::Perhaps)));
        if self.update(fd).is_err() {
            self.rebuild();
        }
    }

    /// Begins with a new instance, to which nobody else's mistakes stick.
    #[cold]
    fn rebuild(&mut self) {
        let Ok(instance) = Instance::new() else { return };
        for (fd, watched) in &self.watched {
            let _ = instance.epoll.add(watched.source.as_fd(), watched.event(*fd));
        }
        if let Some(old) = self.instance.replace(Arc::new(instance)) {
            // The thread may sleep there.
            let _ = old.news.write(1);
        }
    }

    fn ring(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while let Some(alarm) = self.alarms.first_entry().filter(|alarm| alarm.key().0 <= now) {
            wakers.extend(alarm.remove().end(Woken::TimedOut));
        }
    }
}

/// A registered wait: its number, and where what comes of it will stand.
type Registered = (u64, Arc<Entry>);

impl Reactor {
    /// Registers a wait for a descriptor; `None` if the system cannot watch it, as it cannot a
    /// regular file, which is always ready, or one that was closed.
    pub(super) fn watch(
        &'static self,
        source: &Source,
        interest: Interest,
        cx: &Context<'_>,
    ) -> Result<Option<Registered>, NoThread> {
        let mut table = lock(&self.descriptors.table);
        table.prepare(self)?;
        let (number, entry) = (table.number(), Arc::new(Entry::new(cx)));
        let fd = source.as_fd().as_raw_fd();
        let new = || Watched { source: source.clone(), waits: Vec::new() };
        let watched = table.watched.entry(fd).or_insert_with(new);
        watched.waits.push((number, interest, entry.clone()));
        match table.update(fd) {
            Ok(()) => Ok(Some((number, entry))),
            Err(error) => {
                if let Some(watched) = table.watched.get_mut(&fd) {
                    watched.waits.retain(|(known, _, _)| *known != number);
                    if watched.waits.is_empty() {
                        table.watched.remove(&fd);
                    }
                }
                match error {
                    // No room in the kernel.
                    Errno::ENOMEM | Errno::ENOSPC => Err(NoThread),
                    _ => Ok(None),
                }
            }
        }
    }

    /// Registers a wait for a moment.
    pub(super) fn alarm(
        &'static self,
        at: Instant,
        cx: &Context<'_>,
    ) -> Result<Registered, NoThread> {
        let mut table = lock(&self.descriptors.table);
        let instance = table.prepare(self)?;
        let (number, entry) = (table.number(), Arc::new(Entry::new(cx)));
        table.alarms.insert((at, number), entry.clone());
        if table.alarms.first_key_value().is_some_and(|(first, _)| *first == (at, number)) {
            let _ = instance.news.write(1);
        }
        Ok((number, entry))
    }
}

impl Table {
    fn leave(&mut self, fd: RawFd, number: u64) {
        let Some(watched) = self.watched.get_mut(&fd) else { return };
        let before = watched.waits.len();
        watched.waits.retain(|(known, _, _)| *known != number);
        if watched.waits.len() != before && self.update(fd).is_err() {
            self.rebuild();
        }
    }
}

impl Descriptors {
    /// Ends a wait whose future is dropped.
    pub(super) fn leave(&self, fd: BorrowedFd<'_>, number: u64) {
        lock(&self.table).leave(fd.as_raw_fd(), number);
    }

    /// Ends a wait for a time whose future is dropped.
    pub(super) fn forget(&self, at: Instant, number: u64) {
        lock(&self.table).alarms.remove(&(at, number));
    }

    /// Ends all waits at a descriptor and closes what it refers to.
    pub(super) fn let_go(&self, fd: RawFd, close: impl FnOnce()) {
        let mut table = lock(&self.table);
        let mut waits = Vec::new();
        if let Some(watched) = table.watched.get_mut(&fd) {
            waits = std::mem::take(&mut watched.waits);
            if table.update(fd).is_err() {
                table.rebuild();
            }
        }
        close();
        drop(table);
        call(waits.into_iter().filter_map(|(_, _, entry)| entry.end(Woken::Perhaps)).collect());
    }
}

/// The thread.
fn run(reactor: &'static Reactor) {
    let descriptors = &reactor.descriptors;
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut count = 0;
    let mut idle_since = Instant::now();
    loop {
        let gate = lock(&descriptors.gate);
        let mut wakers = Vec::new();
        let mut table = lock(&descriptors.table);
        for event in &events[..count] {
            match RawFd::try_from(event.data()) {
                Ok(fd) => table.fire(fd, event.events(), &mut wakers),
                Err(_) => drop(table.instance.as_ref().map(|instance| instance.news.read())),
            }
        }
        let now = Instant::now();
        table.ring(now, &mut wakers);
        if !table.watched.is_empty() || !table.alarms.is_empty() || !wakers.is_empty() {
            idle_since = now;
        }
        let idle = now.duration_since(idle_since);
        let instance = table.instance.clone();
        let Some(instance) = instance.filter(|_| idle < IDLE) else {
            table.has_thread = false;
            return;
        };
        let next = table.alarms.first_key_value().map(|((at, _), _)| *at);
        drop(table);
        call(wakers);
        drop(gate);
        let left = next.map_or(IDLE, |next| next.saturating_duration_since(Instant::now()));
        count = instance.epoll.wait(&mut events, rounded_up(left.min(IDLE))).unwrap_or(0);
    }
}

/// The kernel counts in milliseconds here, and must not wake before the time.
fn rounded_up(time: Duration) -> EpollTimeout {
    EpollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
}
