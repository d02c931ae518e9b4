//! A process that is measured: it does its part of an operation when told, and says how long that
//! took.
//!
//! It gets a connection and its part. Once it is ready it says so; then it answers each [`Order`]
//! with a [`Span`], until the connection ends.

use super::{connections, locks, queues, signals, values};
pub(crate) use mpserverd_tests::bench::measure::Order;
pub(crate) use mpserverd_tests::bench::{now, text};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// So often an operation is repeated before the clock is read, where time is what is ordered.
const REPEATS: u64 = 64;

/// What was done: when it began and ended, and how often it was done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) count: u64,
}

/// Obeys an order.
pub(crate) type Run = Box<dyn FnMut(Order) -> Result<Span, String>>;

/// What a process does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    Lock(locks::Part),
    Signal(signals::Part),
    Connection(connections::Part),
    Queue(queues::Part),
    Value(values::Part),
}

impl Part {
    fn prepare(self, control: &mp::Connection) -> Result<Run, String> {
        match self {
            Self::Lock(part) => part.prepare(),
            Self::Signal(part) => part.prepare(),
            Self::Connection(part) => part.prepare(control),
            Self::Queue(part) => part.prepare(control),
            Self::Value(part) => part.prepare(),
        }
    }
}

/// One that repeats something.
pub(crate) fn repeat<E: Display>(mut once: impl FnMut() -> Result<(), E> + 'static) -> Run {
    Box::new(move |order| {
        let begin = now();
        let mut done = 0;
        loop {
            let more = match order {
                Order::Count(count) => count - done,
                Order::Time(_) => REPEATS,
            };
            for _ in 0..more {
                once().map_err(text)?;
            }
            done += more;
            let end = now();
            if matches!(order, Order::Time(time) if end - begin < time) {
                continue;
            }
            return Ok(Span { begin, end, count: done });
        }
    })
}

/// One that does something so many times at once, which is faster.
pub(crate) fn repeat_many<E: Display>(mut many: impl FnMut(u64) -> Result<(), E> + 'static) -> Run {
    Box::new(move |order| {
        let Order::Count(count) = order else { return Err("it needs a count".to_owned()) };
        let begin = now();
        many(count).map_err(text)?;
        Ok(Span { begin, end: now(), count })
    })
}

#[mp::task]
pub(crate) fn perform(control: mp::Connection, part: Part) -> Result<(), String> {
    let mut run = part.prepare(&control);
    control.send(&run.as_ref().map(|_| ()).map_err(Clone::clone)).map_err(text)?;
    while let (Ok(run), Ok(order)) = (&mut run, control.recv::<Order>()) {
        control.send(&run(order)).map_err(text)?;
    }
    Ok(())
}
