//! Where records of this process go, and up to which level.

use super::level;
use super::record::{Kind, Record};
use super::sender::Sender;
use super::switch::Switch;
use crate::sys::identity::Identity;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// Nowhere.
const NOWHERE: u8 = 0;
/// To standard error, as lines.
const STDERR: u8 = 1;
/// To the collector.
const COLLECTOR: u8 = 2;
static MODE: AtomicU8 = AtomicU8::new(NOWHERE);

/// Nobody has said.
const UNSET: u8 = u8::MAX;
static LEVEL: AtomicU8 = AtomicU8::new(UNSET);
/// Whether this process has set its level itself.
static IS_OWN_LEVEL: AtomicBool = AtomicBool::new(false);

static SENDER: Switch<Sender> = Switch::new();

static NAME: Switch<Name> = Switch::new();

thread_local!(static BUSY: Cell<bool> = const { Cell::new(false) });

/// This thread makes a record. What is logged meanwhile, by a signal handler or by the `Debug` of
/// a value, is not taken: the locks that it needs may be held by this very thread.
#[derive(Debug)]
pub(super) struct Busy(());

impl Busy {
    /// `None` if it does so already.
    #[inline]
    pub(super) fn begin() -> Option<Self> {
        (!BUSY.replace(true)).then(|| Self(()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

/// The name of a process. A fork gets a new one: the lock of its parent's may be held by a thread
/// that it does not have.
#[derive(Debug)]
struct Name {
    of: u64,
    text: RwLock<String>,
}

/// Under which name this process logs.
pub(crate) fn set_name(name: &str) {
    let of = Identity::own().0;
    match NAME.get().filter(|known| known.of == of) {
        Some(known) => {
            name.clone_into(&mut known.text.write().unwrap_or_else(PoisonError::into_inner));
        }
        // Without room for another one it keeps that of its parent.
        None => drop(NAME.set(Name { of, text: RwLock::new(name.to_owned()) })),
    }
}

/// Calls something with that name, without waiting for anybody: it is empty while it changes.
pub(super) fn with_name<R>(run: impl FnOnce(&str) -> R) -> R {
    match NAME.get().map(|name| name.text.try_read()) {
        None => run("MainProcess"),
        Some(Ok(name)) => run(&name),
        Some(Err(_)) => run(""),
    }
}

/// The level of this process, if somebody has set it.
pub(super) fn level() -> Option<LevelFilter> {
    let number = LEVEL.load(Ordering::Relaxed);
    (number != UNSET).then(|| level::filter(number))
}

/// Sets the level of this process.
pub(super) fn set_level(filter: LevelFilter) {
    IS_OWN_LEVEL.store(true, Ordering::Relaxed);
    LEVEL.store(level::number(filter), Ordering::Relaxed);
}

/// This process collects, and no longer sends. With `lines`, its own records are lines on standard
/// error; otherwise they are its subscriber's.
pub(super) fn become_collector(lines: bool) {
    MODE.store(if lines { STDERR } else { NOWHERE }, Ordering::Release);
}

/// This process sends, at this level.
pub(super) fn become_sender(sender: Sender, filter: Option<LevelFilter>) {
    set_inherited(filter);
    if SENDER.set(sender).is_ok() {
        MODE.store(COLLECTOR, Ordering::Release);
    }
}

/// The level that the starter has.
pub(super) fn set_inherited(filter: Option<LevelFilter>) {
    IS_OWN_LEVEL.store(false, Ordering::Relaxed);
    LEVEL.store(filter.map_or(UNSET, level::number), Ordering::Relaxed);
}

/// How this process sends, if it does.
#[inline]
pub(super) fn sender() -> Option<&'static Sender> {
    if MODE.load(Ordering::Acquire) == COLLECTOR { SENDER.get() } else { None }
}

/// Up to which level records go anywhere.
pub(super) fn threshold() -> LevelFilter {
    match MODE.load(Ordering::Acquire) {
        NOWHERE => LevelFilter::OFF,
        _ => level().unwrap_or(LevelFilter::TRACE),
    }
}

/// Whether a record of that level is wanted just now: the collector may have become less curious
/// since `tracing` was told.
#[inline]
pub(super) fn takes(level: Level) -> bool {
    if level > threshold() {
        return false;
    }
    match sender() {
        Some(sender) if !IS_OWN_LEVEL.load(Ordering::Relaxed) => level <= sender.wanted(),
        _ => true,
    }
}

/// Whether spans themselves are wanted, not only with events.
pub(super) fn wants_spans() -> bool {
    sender().is_some_and(Sender::wants_spans)
}

/// Takes a record.
pub(super) fn take(bytes: &[u8], kind: Kind, level: Level) {
    if let Some(sender) = sender() {
        let sent = sender.send(bytes, level == Level::ERROR);
        if !sent && kind == Kind::Event {
            sender.lost();
        }
    } else if MODE.load(Ordering::Acquire) == STDERR
        && kind == Kind::Event
        && let Some(record) = Record::read(bytes)
    {
        let mut line = String::new();
        super::stderr::line(&record, true, &mut line);
        super::stderr::write(&line);
    }
}

/// An event that could not become a record.
pub(super) fn lost() {
    if let Some(sender) = sender() {
        sender.lost();
    }
}
