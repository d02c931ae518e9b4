//! What is measured, as a program that is measured is told.

use mpserverd_tests::bench::measure::Pace;
use mpserverd_tests::bench::report::Unit;
use serde::{Deserialize, Serialize};

/// Workers of a pool, where nothing else is said.
pub(crate) const WORKERS: usize = 2;
/// Bytes of a large input, or output.
pub(crate) const LARGE: usize = 1 << 20;
/// After so many tasks a worker is replaced.
pub(crate) const TASKS_A_WORKER: u64 = 10;
/// Workers whose memory is looked at.
pub(crate) const WEIGHED: usize = 4;
/// A worker is recycled so often in a turn that it may be said to cost something.
const RECYCLED: u64 = TASKS_A_WORKER * 4;

/// A call of a manager's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    ListGet,
    ListSet,
    ListAppend,
    DictGet,
    DictSet,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Case {
    /// One small task after the other, each awaited.
    Apply,
    /// Tasks that work for so many nanoseconds, so many in a chunk or as many as the pool likes.
    Map { nanos: u64, chunk: Option<u64> },
    /// Tasks with large inputs.
    Inputs,
    /// Tasks with large outputs.
    Outputs,
    /// A pool of so many workers is made, and ended.
    Create(usize),
    /// Workers are replaced every few tasks.
    Recycle,
    /// A worker is killed at its work.
    Recover,
    /// The same tasks with one worker, and with more.
    Scale { nanos: u64, chunk: u64 },
    /// What workers have of memory.
    Memory,
    /// What a call of a manager's object takes.
    Call(Call),
}

/// The figures of a case, by name; one that has no name is the only one.
pub(crate) type Figures = &'static [(&'static str, Unit)];

impl Case {
    pub(crate) fn figures(self) -> Figures {
        match self {
            Self::Apply => &[("p50", Unit::Time), ("p99", Unit::Time)],
            Self::Map { .. } => &[("", Unit::Rate)],
            Self::Inputs | Self::Outputs => &[("", Unit::Bandwidth(LARGE as u64))],
            Self::Create(_) => &[
                ("first answer", Unit::Time),
                ("all at work", Unit::Time),
                ("all gone", Unit::Time),
            ],
            Self::Recycle => &[("tasks", Unit::Rate), ("a worker", Unit::Time)],
            Self::Recover => &[("error", Unit::Time), ("whole", Unit::Time)],
            Self::Scale { .. } => {
                &[("1 worker", Unit::Rate), ("2 workers", Unit::Rate), ("gain", Unit::Gain)]
            }
            Self::Memory => &[("", Unit::Memory)],
            Self::Call(_) => &[("", Unit::Time)],
        }
    }

    pub(crate) fn pace(self) -> Pace {
        match self {
            Self::Apply | Self::Call(_) => Pace::ANY,
            Self::Map { chunk, .. } => Self::chunks(chunk.unwrap_or(1)),
            Self::Scale { chunk, .. } => Self::chunks(chunk),
            // No more than what may be on its way, and in memory, at once.
            Self::Inputs | Self::Outputs => Pace::Count { of: WORKERS as u64, most: 256 },
            Self::Recycle => Pace::Count { of: RECYCLED, most: RECYCLED * 256 },
            Self::Create(_) | Self::Recover | Self::Memory => Pace::ONCE,
        }
    }

    /// As much for each worker; results must be held at once.
    const fn chunks(chunk: u64) -> Pace {
        Pace::Count { of: chunk * WORKERS as u64, most: 1 << 22 }
    }

    /// It takes long: fewer rounds are enough.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Create(17..))
    }
}
