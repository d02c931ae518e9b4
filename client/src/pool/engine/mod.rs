//! The engine of a pool: which worker has what, what became of it, and who looks after it.
//!
//! | file | holds |
//! |---|---|
//! | `state` | everything that the one lock guards, and what is done when it is given back |
//! | `call` | a submission, where its outcomes arrive, and who waits for them |
//! | `chunk` | items that travel together |
//! | `worker` | a worker, as the engine knows it |
//! | `dispatch` | which worker gets what, and how it is taken back |
//! | `collect` | answers, and the seat of the thread that collects them |
//! | `starts` | how workers come |
//! | `deaths` | what the end of one costs |
//! | `deadlines` | tasks that run too long |
//! | `recycle` | workers that have served long enough |
//! | `shutdown` | how a pool ends |
//! | `supervise` | the thread that notices all that |
//! | `callbacks` | the thread that runs callbacks |
//! | `stderr` | what workers write to their standard error |
//! | `oom` | whether the kernel kills for want of memory |
//! | `settings` | what a pool was asked to be |
//! | `view` | what it tells about itself |
//!
//! # Invariants
//!
//! Every item that was submitted has exactly one outcome. A frame is in `sent` of one worker or a
//! chunk is in `pending`, never both. Nothing waits under the lock, and no code of a user runs
//! there. Nobody waits for a worker: what it does not do in time is done to it.
//!
//! What must never be in here: the type of a task, its arguments or its result.

mod call;
mod callbacks;
mod chunk;
mod collect;
mod deadlines;
mod deaths;
mod dispatch;
mod oom;
mod recycle;
mod settings;
mod shutdown;
mod starts;
mod state;
mod stderr;
mod supervise;
mod view;
mod worker;

use super::channel::Desk;
use super::error::PoolError;
use crate::codec::Codec;
use crate::context::StartMethod;
use crate::process::Stream;
use crate::start::cradle::Cradle;
use crate::start::quiet::Quiet;
use callbacks::Callbacks;
use collect::Seat;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use state::{Locked, State};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use stderr::{Stderr, Voice};

pub(crate) use call::{Arrived, Call, Fate, Inbox, Kind, Tally, Then};
pub(crate) use chunk::{Chunk, Packer};
pub(crate) use settings::{Settings, WorkerStderr};
pub(crate) use starts::prefix;

/// Most workers that one pool may have.
pub(crate) use super::channel::WORKERS_MAX;

/// A pool, behind all its handles.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    state: Mutex<State>,
    desk: Desk,
    seat: Seat,
    epoll: Epoll,
    wake: EventFd,
    /// How the pool's life goes on.
    changed: Condvar,
    pub(crate) callbacks: Callbacks,
    stderr: Option<Stderr>,
    cradle: Option<Arc<Cradle>>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts a pool: its first worker, and the thread that starts the others.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is left of it then.
    pub(crate) fn start(settings: Settings) -> Result<Arc<Self>, PoolError> {
        let system = |call| move |error: nix::Error| PoolError::system(call)(error.into());
        let slots = (2 * settings.processes + 2).min(WORKERS_MAX);
        // First: this process may have no thread of ours yet.
        let cradle = match settings.context.method() {
            StartMethod::Fork => Some(Arc::new(Cradle::new(settings.allow_threads)?)),
            StartMethod::Spawn | StartMethod::ForkServer => None,
        };
        let stderr = match settings.stderr {
            WorkerStderr::Forward => Some(Stderr::start()?),
            _ => None,
        };
        let wake = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let engine = Arc::new(Self {
            state: Mutex::new(State::new(&settings, slots, seed())),
            settings,
            desk: Desk::new(slots)?,
            seat: Seat::default(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system("epoll_create1"))?,
            wake: EventFd::from_flags(wake).map_err(system("eventfd"))?,
            changed: Condvar::new(),
            callbacks: Callbacks::default(),
            stderr,
            cradle,
            supervisor: Mutex::default(),
        });
        engine.watch_own().map_err(system("epoll_ctl"))?;
        let first = engine.lock().order(&engine.settings.prefix);
        if let Some(order) = first {
            engine.start_worker(order).map_err(|(_, error)| error)?;
        }
        let (supervisor, quiet) = (Arc::clone(&engine), Quiet::begin());
        let thread = std::thread::Builder::new()
            .name("mp-pool".to_owned())
            .spawn(move || supervisor.supervise(&quiet));
        match thread {
            Ok(thread) => *engine.supervisor() = Some(thread),
            Err(error) => {
                engine.kill_all();
                return Err(PoolError::system("thread")(error));
            }
        }
        Ok(engine)
    }

    fn lock(&self) -> Locked<'_> {
        Locked::new(self)
    }

    fn supervisor(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a task in this pool, and how its values travel.
    pub(crate) fn task(&self, name: &'static str, schema: u64) -> Kind {
        (self.lock().task(name, schema), self.codec())
    }

    /// What inputs and outcomes are encoded by.
    pub(crate) fn codec(&self) -> Codec {
        self.settings.codec
    }

    /// Where the standard error of a new worker goes.
    fn stderr_for_worker(&self) -> Result<(Stream, Option<Arc<Voice>>), PoolError> {
        if let Some(stderr) = &self.stderr {
            let (write, voice) = stderr.open().map_err(PoolError::system("pipe"))?;
            return Ok((Stream::Fd(write), Some(voice)));
        }
        let stream = match &self.settings.stderr {
            WorkerStderr::Forward | WorkerStderr::Inherit => Stream::Inherit,
            WorkerStderr::Null => Stream::Null,
            WorkerStderr::Fd(fd) => Stream::Fd(fd.try_clone().map_err(PoolError::system("dup"))?),
        };
        Ok((stream, None))
    }

    /// Ends the workers of a pool that has no supervisor.
    fn kill_all(&self) {
        for (_, worker) in self.lock().workers() {
            worker.kill();
        }
    }

    /// Waits for the threads of a pool that is over.
    fn join_threads(&self) {
        let thread = self.supervisor().take();
        let Some(thread) = thread else { return };
        // Its last words are under way, unless this is what it says.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
        if let Some(stderr) = &self.stderr {
            stderr.finish();
        }
        self.callbacks.finish();
    }
}

/// Something that differs from pool to pool.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers the ends of workers are spread all the same, but alike.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
