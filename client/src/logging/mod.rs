//! What workers log, and who gets it.
//!
//! Once a process has called [`log_to_stderr`] or [`forward`], it *collects*: the
//! [`tracing`](https://docs.rs/tracing) events and spans of every process that it starts, and of
//! those that they start, come to it through shared memory that was there before the worker was.
//! So an event is safe as soon as it is logged, whatever becomes of its process in the next
//! instruction. Nobody waits for the collector: what finds no room is counted, and the count is
//! reported.
//!
//! ```
//! use mpserverd_client as mp;
//!
//! let logger = mp::log_to_stderr(mp::logging::Level::INFO);
//! logger.info("ready"); // [INFO/MainProcess] ready
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `level` | levels, and what they are called in `multiprocessing` |
//! | `logger` | [`get_logger`], [`Logger`] |
//! | `tee` | [`Tee`], for who has a subscriber of its own |
//! | `central` | the subscriber of workers, and of collectors that have none |
//! | `spans` | which spans there are, and which a thread is in |
//! | `encode` | events and spans of this process as records |
//! | `record` | how records look |
//! | `sink` | where records of this process go |
//! | `memory` | where they lie |
//! | `sender` | a worker's end of that |
//! | `travel` | how a worker comes by it |
//! | `collector` | the thread at the other end, and those who wait for it |
//! | `intake` | records as they arrive: order, limits, losses |
//! | `stderr` | records as lines |
//! | `replay`, `callsite` | records as events and spans of this process |
//! | `switch` | a value that changes a few times and is read all the time |
//!
//! What must never be in here: a wait without end; a lock that a fork could copy while it is held;
//! trust in what a worker wrote.
//!
//! # Levels
//!
//! | `multiprocessing` | number | here |
//! |---|---|---|
//! | `SUBDEBUG` | 5 | [`SUBDEBUG`], which is `TRACE` |
//! | `DEBUG` | 10 | `DEBUG` |
//! | `INFO` | 20 | `INFO` |
//! | `SUBWARNING` | 25 | [`SUBWARNING`], which is `INFO` |
//! | `WARNING` | 30 | `WARN` |
//! | `ERROR`, `CRITICAL` | 40, 50 | `ERROR` |
//!
//! [`from_number`] gives the level of a number.
//!
//! # Which events
//!
//! There is one level for a process and its workers: that of the last [`log_to_stderr`],
//! [`forward`] or [`Logger::set_level`]. A worker has the level that its starter had when it
//! started it. If the collector's becomes lower later, so does that of all workers at once; a
//! higher one is for those that start from then on.
//!
//! A worker that has no subscriber gets one when it gets its task; so do Rust modules, whose copy
//! of `tracing` is their own. If the program sets a global subscriber *before* that (ahead of
//! `freeze_support`, or in an `init` or `after_fork` hook), that one gets the events and nothing
//! travels, unless it is wrapped in a [`Tee`]. A forked worker inherits the program's subscriber:
//! there its task's thread logs to the collector, and threads that the task makes use the
//! inherited one, again unless that is a [`Tee`]. A task that calls `init` of some subscriber
//! finds that there is one already.
//!
//! A panic in a worker is one event at `ERROR`, with the place of the panic.
//!
//! # Limits
//!
//! A process has room for a mebibyte of records that the collector has not taken yet, of which the
//! last 64 KiB are for errors. A record has at most 64 KiB: what is longer is cut and says so. Of
//! one process at most 10 000 events a second are passed on ([`set_rate_limit`]), and the last few
//! of those that are not, so that the last line before a crash is there. Up to 128 processes have
//! room of their own; more than that share.

mod callsite;
mod central;
mod collector;
mod encode;
mod intake;
mod level;
mod logger;
mod memory;
mod record;
mod replay;
mod sender;
mod sink;
mod spans;
mod stderr;
mod switch;
mod tee;
pub(crate) mod travel;

pub use collector::{RATE_LIMIT, set_rate_limit};
pub(crate) use collector::{close, ended, hush, settle, threads};
pub use level::{SUBDEBUG, SUBWARNING, from_number};
pub use logger::{Logger, get_logger};
pub(crate) use sink::set_name;
pub use tee::Tee;
pub use tracing::Level;
pub use tracing::level_filters::LevelFilter;

use collector::Output;
use mpserverd_proto::job::Panic;

/// The target of what the library itself logs, and of a [`Logger`].
pub const TARGET: &str = "multiprocessing";

/// Writes what this process and its workers log to standard error, up to a level; returns the
/// [`Logger`].
///
/// A line is `[LEVEL/ProcessName] message field=value`, with the names of levels that
/// `multiprocessing` has. That of another process ends with its `pid`; spans stand before the
/// message.
///
/// Events of this process are among them only if it has no subscriber yet: this then becomes the
/// global one. Otherwise that subscriber goes on getting them, and this is for the workers'.
/// Called again it sets the level, and adds nothing.
///
/// ```
/// use mpserverd_client as mp;
///
/// mp::log_to_stderr(mp::logging::SUBWARNING);
/// tracing::warn!(free = 3, "space gets short");
/// // [WARNING/MainProcess] space gets short free=3
/// ```
pub fn log_to_stderr(level: impl Into<LevelFilter>) -> Logger {
    collector::collect(Output::Stderr);
    sink::become_collector(true);
    let logger = get_logger();
    logger.set_level(level);
    central::install();
    logger
}

/// Gives what workers log, up to a level, to the subscriber of this process: the one that is the
/// default of this thread now; if there is none, the global one that will be.
///
/// Events keep level, target, name, fields, file and line, and the spans that they are in, which
/// keep their fields. Every event and every outermost span has two more fields, `process.name`
/// and `process.pid`. The subscriber's own filter applies as well. It is called by a thread of
/// this library, so what it does there delays no worker. [`join`](crate::Handle::join) and
/// [`result`](crate::Process::result) wait until it has got what that process logged, unless it
/// hangs: then for a second.
///
/// What `tracing` knows of a place where something is logged it knows for ever. After 4096 places
/// in workers, further ones share one for each level: their events have the target [`TARGET`],
/// fields `message` (its name) and `target`, and all values as one text in `fields`. So have fields
/// beyond the 28th.
///
/// Where the library's own subscriber is that default, because of [`log_to_stderr`] or in a
/// worker, events go on to where they went, and this sets the level.
///
/// ```
/// use mpserverd_client as mp;
///
/// // tracing_subscriber::fmt().init();
/// mp::logging::forward(mp::logging::Level::DEBUG);
/// ```
pub fn forward(level: impl Into<LevelFilter>) {
    if !central::is_default() {
        collector::collect(Output::of_now());
        sink::become_collector(false);
    }
    get_logger().set_level(level);
}

/// A panic, in a worker, is an event.
pub(crate) fn panicked(panic: &Panic) {
    if crate::current::is_worker() {
        let location = panic.location.as_deref().unwrap_or("an unknown place");
        tracing::error!(target: TARGET, location, "panicked: {}", panic.message);
    }
}
