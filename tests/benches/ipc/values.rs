//! Values that are counted up, arrays that are copied, and what a copy costs that shares nothing.

use super::operation::{Member, Operation, Pace, Unit, Variant, alone, ours, peer};
use super::operation::{python, several, size};
use super::worker::{self, Run, repeat, text};
use mpserverd_tests::bench::raw::{Counter, Ticket};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::hint::black_box;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Direction {
    In,
    Out,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    FetchAdd(mp::Value<u64>),
    Update(mp::Value<u64>),
    RawFetchAdd(mp::RawValue<u64>),
    Counter(Ticket),
    /// `copy_from` or `copy_to`, under the lock.
    Array(mp::Array<u64>, Direction),
    RawArray(mp::RawArray<u64>, Direction),
    /// A guard's `slice`, which is a new vector.
    Slice(mp::Array<u64>),
    /// A guard's elements in place, one after the other.
    Cells(mp::Array<u64>, Direction),
    /// Copies of so many bytes, in turn among so many bytes of memory.
    Memcpy(usize, usize),
}

fn fine() -> Result<(), Infallible> {
    Ok(())
}

impl Part {
    pub(crate) fn prepare(self) -> Result<Run, String> {
        Ok(match self {
            Self::FetchAdd(value) => repeat(move || {
                black_box(value.fetch_add(1));
                fine()
            }),
            Self::Update(value) => repeat(move || {
                black_box(value.update(|value| value + 1));
                fine()
            }),
            Self::RawFetchAdd(value) => repeat(move || {
                black_box(value.fetch_add(1));
                fine()
            }),
            Self::Counter(ticket) => {
                let counter = Counter::of(ticket).map_err(text)?;
                repeat(move || {
                    black_box(counter.add(1));
                    fine()
                })
            }
            Self::Array(array, Direction::In) => {
                let own = vec![7; array.len()];
                repeat(move || array.copy_from(0, black_box(&own)))
            }
            Self::Array(array, Direction::Out) => {
                let mut own = vec![7; array.len()];
                repeat(move || array.copy_to(0, black_box(&mut own)))
            }
            Self::RawArray(array, Direction::In) => {
                let own = vec![7; array.len()];
                repeat(move || array.copy_from(0, black_box(&own)))
            }
            Self::RawArray(array, Direction::Out) => {
                let mut own = vec![7; array.len()];
                repeat(move || array.copy_to(0, black_box(&mut own)))
            }
            Self::Slice(array) => repeat(move || {
                let guard = array.lock().unwrap_or_else(mp::OwnerDied::into_inner);
                guard.slice(..).map(|copy| drop(black_box(copy)))
            }),
            Self::Cells(array, direction) => in_place(array, direction),
            Self::Memcpy(bytes, spread) => copies(bytes, spread),
        })
    }
}

fn in_place(array: mp::Array<u64>, direction: Direction) -> Run {
    let mut own = vec![7; array.len()];
    repeat(move || {
        let guard = array.lock().unwrap_or_else(mp::OwnerDied::into_inner);
        let cells = guard.cells().iter().zip(black_box(&mut own));
        match direction {
            Direction::In => cells.for_each(|(cell, own)| cell.set(*own)),
            Direction::Out => cells.for_each(|(cell, own)| *own = cell.get()),
        }
        fine()
    })
}

fn copies(bytes: usize, spread: usize) -> Run {
    let pairs = (spread / bytes / 2).max(1);
    let mut buffers = vec![(vec![7u8; bytes], vec![8u8; bytes]); pairs];
    let mut at = 0;
    repeat(move || {
        at = (at + 1) % pairs;
        let (from, to) = &mut buffers[at];
        black_box(&mut *to).copy_from_slice(black_box(from));
        fine()
    })
}

fn part(part: Part) -> worker::Part {
    worker::Part::Value(part)
}

/// One that copies so many bytes between two buffers of its own, in turn among pairs of buffers
/// of so many bytes together: 0 is a single pair.
pub(crate) fn memcpy(bytes: usize, spread: usize) -> Result<Vec<Member>, String> {
    alone(part(Part::Memcpy(bytes, spread)))
}

/// So many processes on the same object.
fn all_on<T>(
    count: usize,
    object: Result<T, String>,
    share: impl Fn(&T) -> Part,
) -> Result<Vec<Member>, String> {
    several(count, object, |object| part(share(object)))
}

fn counting(processes: usize) -> Vec<Variant> {
    let value = || mp::Value::new(0).map_err(text);
    vec![
        ours("fetch_add", move || {
            all_on(processes, value(), |value| Part::FetchAdd(value.clone()))
        }),
        ours("update", move || all_on(processes, value(), |value| Part::Update(value.clone()))),
        ours("RawValue", move || {
            let value = mp::RawValue::new(0).map_err(text);
            all_on(processes, value, |value| Part::RawFetchAdd(value.clone()))
        }),
        peer("AtomicU64", "raw", move || {
            let counter = Counter::new().map_err(text);
            all_on(processes, counter, |counter| Part::Counter(counter.ticket()))
        }),
        python("get_lock, +=", &[&"value", &processes]),
    ]
}

fn copying(bytes: usize, direction: Direction) -> Vec<Variant> {
    let array = move || mp::Array::zeroed(bytes / 8).map_err(text);
    let raw = move || mp::RawArray::zeroed(bytes / 8).map_err(text);
    let (name, one_by_one) = match direction {
        Direction::In => ("in", "= slice"),
        Direction::Out => ("out", "slice"),
    };
    let mut all = vec![
        ours("Array", move || alone(part(Part::Array(array()?, direction)))),
        ours("RawArray", move || alone(part(Part::RawArray(raw()?, direction)))),
        ours("in place", move || alone(part(Part::Cells(array()?, direction)))),
    ];
    if direction == Direction::Out {
        all.push(ours("new Vec", move || alone(part(Part::Slice(array()?)))));
    }
    all.push(peer("memcpy", "private", move || memcpy(bytes, 0)));
    all.push(python("memoryview", &[&"array", &name, &bytes]));
    if bytes <= 1 << 20 {
        all.push(python(one_by_one, &[&"slice", &name, &bytes]));
    }
    all
}

pub(crate) fn operations() -> Vec<Operation> {
    let counted = |id: &str, row: &str, pace, processes| Operation {
        id: id.to_owned(),
        table: "Value: incremented",
        note: "fetch_add and update take the lock of a Value; RawValue and AtomicU64 have none.",
        row: row.to_owned(),
        unit: Unit::Time,
        pace,
        variants: counting(processes),
    };
    let mut all = vec![
        counted("value", "by one process", Pace::ANY, 1),
        counted("value-contended", "by two at once, all of them", Pace::Time, 2),
    ];
    for (direction, name) in [(Direction::In, "in"), (Direction::Out, "out")] {
        for bytes in [1 << 20, 64 << 20] {
            let table = match direction {
                Direction::In => "Array: copied into",
                Direction::Out => "Array: copied out of",
            };
            all.push(Operation {
                id: format!("array-{name}-{}M", bytes >> 20),
                table,
                note: "Ours: a whole copy under the lock and without one, a guard's cells one by one, and
a new vector. memcpy copies between two buffers of its own.",
                row: size(bytes),
                unit: Unit::Bandwidth(bytes),
                pace: Pace::ANY,
                variants: copying(bytes as usize, direction),
            });
        }
    }
    all
}
