//! A module that does what a module must not do, one thing at a time.
//!
//! The environment variable `MISBEHAVE` chooses what its hooks do, as the table in [`Fault`] says;
//! without it the module is well behaved. Its tasks misbehave by their arguments.
//!
//! | file | holds |
//! |---|---|
//! | this | the hooks |
//! | `tasks` | tasks that crash, hang, leak and print |
//! | `reducers` | codecs of values, one of them of another version than the callers' |
//! | `raw` | what needs `unsafe` |

#[cfg(target_os = "linux")]
mod raw;
mod reducers;
mod tasks;

pub use tasks::*;

use std::thread;
use std::time::Duration;

mp::module! {
    name: "misbehave",
    init: init,
    after_fork: after_fork,
}

mp::reducer! {
    /// Test programs have the second version.
    DRAFT: reducers::Draft<1> = reducers::Draft;
}

/// Environment variable that chooses the misbehaviour.
pub const VARIABLE: &str = "MISBEHAVE";

/// What the hooks do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `thread`: `init` starts a thread that sleeps for ever.
    Thread,
    /// `socket`: `init` keeps a pair of connected sockets.
    Socket,
    /// `epoll`: `init` keeps an event queue.
    Epoll,
    /// `panic`: `init` panics.
    Panic,
    /// `error`: `init` returns an error.
    Error,
    /// `hang`: `init` never returns.
    Hang,
    /// `abort`: `init` aborts.
    Abort,
    /// `exit`: `init` exits with code 7.
    Exit,
    /// `fork-hang`: every fork hangs before it returns in the child.
    ForkHang,
    /// `after-fork-panic`: `after_fork` panics.
    AfterForkPanic,
    /// `after-fork-error`: `after_fork` returns an error.
    AfterForkError,
    /// `after-fork-thread`: `after_fork` starts a thread that sleeps for ever, which it may.
    AfterForkThread,
}

impl Fault {
    /// What the environment asks for.
    ///
    /// # Errors
    /// The value, if it means nothing: a test that misspells it must not pass.
    pub fn from_environment() -> Result<Option<Self>, String> {
        Ok(Some(match std::env::var(VARIABLE).unwrap_or_default().as_str() {
            "" => return Ok(None),
            "thread" => Self::Thread,
            "socket" => Self::Socket,
            "epoll" => Self::Epoll,
            "panic" => Self::Panic,
            "error" => Self::Error,
            "hang" => Self::Hang,
            "abort" => Self::Abort,
            "exit" => Self::Exit,
            "fork-hang" => Self::ForkHang,
            "after-fork-panic" => Self::AfterForkPanic,
            "after-fork-error" => Self::AfterForkError,
            "after-fork-thread" => Self::AfterForkThread,
            other => return Err(format!("unknown {VARIABLE}={other}")),
        }))
    }
}

fn init() -> Result<(), String> {
    let Some(fault) = Fault::from_environment()? else { return Ok(()) };
    match fault {
        Fault::Thread => start_sleeper(),
        Fault::Socket => keep_socket(),
        Fault::Epoll => keep_epoll(),
        Fault::Panic => panic!("init panics as asked"),
        Fault::Error => Err("init fails as asked".to_owned()),
        Fault::Hang => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Fault::Abort => std::process::abort(),
        Fault::Exit => std::process::exit(7),
        Fault::ForkHang => hang_forks(),
        Fault::AfterForkPanic | Fault::AfterForkError | Fault::AfterForkThread => Ok(()),
    }
}

fn after_fork() -> Result<(), String> {
    match Fault::from_environment()? {
        Some(Fault::AfterForkPanic) => panic!("after_fork panics as asked"),
        Some(Fault::AfterForkError) => Err("after_fork fails as asked".to_owned()),
        Some(Fault::AfterForkThread) => start_sleeper(),
        _ => Ok(()),
    }
}

fn start_sleeper() -> Result<(), String> {
    let sleeper = thread::Builder::new().name("sleeper".to_owned());
    let started = sleeper.spawn(|| {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    });
    started.map(drop).map_err(|error| error.to_string())
}

#[cfg(unix)]
fn keep_socket() -> Result<(), String> {
    std::os::unix::net::UnixStream::pair().map(std::mem::forget).map_err(|error| error.to_string())
}

#[cfg(target_os = "linux")]
fn keep_epoll() -> Result<(), String> {
    use nix::sys::epoll::{Epoll, EpollCreateFlags};
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
        .map(std::mem::forget)
        .map_err(|error| error.to_string())
}

#[cfg(target_os = "linux")]
fn hang_forks() -> Result<(), String> {
    raw::hang_forks().map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn keep_socket() -> Result<(), String> {
    Err("no sockets here".to_owned())
}

#[cfg(not(target_os = "linux"))]
fn keep_epoll() -> Result<(), String> {
    Err("no epoll here".to_owned())
}

#[cfg(not(target_os = "linux"))]
fn hang_forks() -> Result<(), String> {
    Err("no fork handlers here".to_owned())
}
