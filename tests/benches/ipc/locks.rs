//! Locks: taken and released by one process alone, and by two at once.

use super::operation::{Member, Operation, Pace, Unit, Variant, alone, ours, peer};
use super::operation::{python, several};
use super::worker::{self, Order, Run, Span, now, repeat, text};
use mpserverd_tests::bench::raw::{Mutex, Ticket};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    /// By its guard.
    Guard(mp::Lock),
    /// By `acquire` and `release`.
    Acquire(mp::Lock),
    RGuard(mp::RLock),
    Mutex(Ticket),
    /// So many threads on a lock of their process.
    Threads(usize),
}

impl Part {
    pub(crate) fn prepare(self) -> Result<Run, String> {
        Ok(match self {
            Self::Guard(lock) => repeat(move || match lock.lock() {
                Ok(guard) => {
                    drop(guard);
                    Ok(())
                }
                Err(_) => Err("its owner died"),
            }),
            Self::Acquire(lock) => repeat(move || {
                let taken = lock.acquire(true, None);
                debug_assert!(taken.is_held());
                lock.release()
            }),
            Self::RGuard(lock) => repeat(move || match lock.lock() {
                Ok(guard) => {
                    drop(guard);
                    Ok(())
                }
                Err(_) => Err("its owner died"),
            }),
            Self::Mutex(ticket) => {
                let mutex = Mutex::of(ticket).map_err(text)?;
                repeat(move || mutex.with(|| ()))
            }
            Self::Threads(count) => threads(count),
        })
    }
}

fn threads(count: usize) -> Run {
    let lock = Arc::new(parking_lot::Mutex::new(()));
    let one = move |lock: Arc<parking_lot::Mutex<()>>| {
        repeat(move || {
            drop(lock.lock());
            Ok::<(), Infallible>(())
        })
    };
    if count == 1 {
        return one(lock);
    }
    Box::new(move |order: Order| {
        std::thread::scope(|scope| {
            let started = (0..count).map(|_| scope.spawn(|| one(lock.clone())(order)));
            let started = started.collect::<Vec<_>>();
            let mut whole = Span { begin: now(), end: 0, count: 0 };
            for thread in started {
                let span = thread.join().map_err(|_| "a thread panicked".to_owned())??;
                whole.begin = whole.begin.min(span.begin);
                whole.end = whole.end.max(span.end);
                whole.count += span.count;
            }
            Ok(whole)
        })
    })
}

fn part(part: Part) -> worker::Part {
    worker::Part::Lock(part)
}

/// So many processes on the same object.
fn all_on<T>(
    count: usize,
    object: Result<T, String>,
    share: impl Fn(&T) -> Part,
) -> Result<Vec<Member>, String> {
    several(count, object, |object| part(share(object)))
}

fn variants(processes: usize) -> Vec<Variant> {
    let lock = || mp::Lock::new().map_err(text);
    let mutex = move |robust| {
        all_on(processes, Mutex::new(robust).map_err(text), |mutex| Part::Mutex(mutex.ticket()))
    };
    vec![
        ours("Lock", move || all_on(processes, lock(), |lock| Part::Guard(lock.clone()))),
        ours("acquire", move || all_on(processes, lock(), |lock| Part::Acquire(lock.clone()))),
        ours("RLock", move || {
            let lock = mp::RLock::new().map_err(text);
            all_on(processes, lock, |lock| Part::RGuard(lock.clone()))
        }),
        peer("pthread", "robust", move || mutex(true)),
        peer("pthread", "plain", move || mutex(false)),
        python("Lock", &[&"lock", &processes]),
        python("RLock", &[&"rlock", &processes]),
        peer("parking_lot", "threads", move || alone(part(Part::Threads(processes)))),
    ]
}

pub(crate) fn operations() -> Vec<Operation> {
    let operation = |id: &str, row: &str, pace, processes| Operation {
        id: id.to_owned(),
        table: "Lock: taken and released",
        note:
            "Ours: Lock and RLock by their guards, Lock by acquire and release. parking_lot is the
limit inside one process.",
        row: row.to_owned(),
        unit: Unit::Time,
        pace,
        variants: variants(processes),
    };
    vec![
        operation("lock", "by one process", Pace::ANY, 1),
        operation("lock-contended", "by two at once, all pairs", Pace::Time, 2),
    ]
}
