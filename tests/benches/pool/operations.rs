//! Which cases there are, and who takes part.

use super::by_ours::Method;
use super::case::{Call, Case};
use super::drive::{Python, Who};
use mpserverd_tests::bench::report::Column;

/// A case with its contestants: some rows of a table.
#[derive(Debug)]
pub(crate) struct Operation {
    /// By which it is chosen.
    pub(crate) id: &'static str,
    pub(crate) table: &'static Table,
    /// The heading of its rows.
    pub(crate) row: &'static str,
    pub(crate) case: Case,
    pub(crate) contestants: &'static [(Column, Who)],
}

/// What stands above the rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) heading: &'static str,
    /// What must be known to read it.
    pub(crate) note: &'static str,
}

/// Its workers, once there, are the same however they were started.
pub(crate) const OURS: (Column, Who) = (["ours", "Pool"], Who::Ours(Method::Spawn));
const FORKSERVER: (Column, Who) = (["ours", "forkserver"], Who::Ours(Method::ForkServer));
const SPAWN: (Column, Who) = (["ours", "spawn"], Who::Ours(Method::Spawn));
const FORK: (Column, Who) = (["ours", "fork"], Who::Ours(Method::Fork));
const PYTHON: (Column, Who) = (["CPython", "Pool"], Who::Python(Python::Pool));
const EXECUTOR: (Column, Who) = (["CPython", "Executor"], Who::Python(Python::Executor));
const MANAGER: (Column, Who) = (["CPython", "Manager"], Who::Python(Python::Manager));
const PROCSPAWN: (Column, Who) = (["procspawn", "Pool"], Who::Procspawn);
pub(crate) const RAYON: (Column, Who) = (["rayon", "in-process"], Who::Rayon);
pub(crate) const FUTEX: (Column, Who) = (["futex", "bare"], Who::Futex);
pub(crate) const PROXIES: (Column, Who) = (["ours", "Manager"], Who::Manager);
pub(crate) const SOCKET_PAIR: (Column, Who) = (["socketpair", "raw"], Who::SocketPair);

const APPLY: Table = Table {
    heading: "apply: a small task, there and back",
    note: "A task that returns its number, in a pool of 2 workers, one after the other.
The futex is one word each way between two processes that sleep and wake each other; rayon's `install` goes to another thread.",
};

const MAP: Table = Table {
    heading: "map: tasks a second, with 2 workers",
    note: "A task gets a number and returns one. 10 µs and 1 ms are times that it has the processor. `default` is what a pool does that is told nothing:
of CPython's executor that is chunks of one. procspawn has no map: its user spawns one task an item, or one a vector of items.
rayon is the limit inside one process; the compiler knows neither its inputs nor what becomes of its results.",
};

const LARGE: Table = Table {
    heading: "map: large inputs and outputs, with 2 workers",
    note: "Vectors (of CPython: bytes) of 1 MiB as inputs, of which only the length comes back, or as outputs; chunks of one.",
};

const CREATE: Table = Table {
    heading: "A pool is made, and ended",
    note: "From just before it is made to the first answer, and until every worker is at work at once; from close and join until all processes are gone.
Ours by each start method, of which the forkserver's has some workers ready. CPython's pools fork; procspawn's executes.",
};

const RECYCLE: Table = Table {
    heading: "Workers are replaced after 10 tasks each, of 2 workers",
    note: "Tasks that do nothing, in chunks of one; a worker costs what all of them take longer than in a pool that keeps its workers.
CPython's Pool forks, its executor cannot and uses its forkserver. procspawn does not replace workers.",
};

const RECOVER: Table = Table {
    heading: "A worker is killed at its work, of 2 workers",
    note: "From just before the kill until the caller has the task's error, and until two workers are at work again.
CPython's Pool never tells: whoever waits for that task hangs. Its executor is broken by it: `whole` is a new one, made after the error.",
};

const SCALE: Table = Table {
    heading: "map: tasks a second with 1 worker and with 2",
    note: "Tasks of 10 µs in chunks of 100, and of 1 ms in chunks of one.",
};

const MEMORY: Table = Table {
    heading: "Memory that a worker has for itself, after a task",
    note: "Private memory from smaps_rollup, the middle one of 4 workers. A forked worker shares what it has not written with its parent.",
};

const CALLS: Table = Table {
    heading: "A manager's call, there and back",
    note: "Calls of proxies with small numbers. The socket pair passes 64 B to another process and back, without frames.",
};

macro_rules! operation {
    ($id:literal, $table:ident, $row:literal, $case:expr, [$($who:expr),* $(,)?]) => {
        Operation {
            id: $id,
            table: &$table,
            row: $row,
            case: $case,
            contestants: const { &[$($who),*] },
        }
    };
}

const fn map(nanos: u64, chunk: u64) -> Case {
    Case::Map { nanos, chunk: if chunk > 0 { Some(chunk) } else { None } }
}

const SHORT: u64 = 10_000;
const LONG: u64 = 1_000_000;

/// All of them, those of a table beside each other.
#[rustfmt::skip]
pub(crate) fn all() -> Vec<Operation> {
    vec![
        operation!("apply", APPLY, "apply", Case::Apply, [OURS, FUTEX, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-0-1", MAP, "nothing, chunk 1", map(0, 1), [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-0-chunks", MAP, "nothing, chunk 1000", map(0, 1000), [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-0-default", MAP, "nothing, default", map(0, 0), [OURS, PYTHON, EXECUTOR, RAYON]),
        operation!("map-10us-1", MAP, "10 µs, chunk 1", map(SHORT, 1), [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-10us-chunks", MAP, "10 µs, chunk 100", map(SHORT, 100), [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-10us-default", MAP, "10 µs, default", map(SHORT, 0), [OURS, PYTHON, EXECUTOR, RAYON]),
        operation!("map-1ms-1", MAP, "1 ms, chunk 1", map(LONG, 1), [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-1ms-chunks", MAP, "1 ms, chunk 10", map(LONG, 10), [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("map-1ms-default", MAP, "1 ms, default", map(LONG, 0), [OURS, PYTHON, EXECUTOR, RAYON]),
        operation!("large-inputs", LARGE, "inputs", Case::Inputs, [OURS, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("large-outputs", LARGE, "outputs", Case::Outputs, [OURS, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("create-2", CREATE, "2 workers", Case::Create(2), [FORKSERVER, SPAWN, FORK, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("create-16", CREATE, "16 workers", Case::Create(16), [FORKSERVER, SPAWN, FORK, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("create-200", CREATE, "200 workers", Case::Create(200), [FORKSERVER, SPAWN, FORK, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("recycle", RECYCLE, "recycling", Case::Recycle, [FORKSERVER, SPAWN, FORK, PYTHON, EXECUTOR]),
        operation!("recover", RECOVER, "recovery", Case::Recover, [FORKSERVER, SPAWN, FORK, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("scale-10us", SCALE, "10 µs", Case::Scale { nanos: SHORT, chunk: 100 }, [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("scale-1ms", SCALE, "1 ms", Case::Scale { nanos: LONG, chunk: 1 }, [OURS, PYTHON, EXECUTOR, PROCSPAWN, RAYON]),
        operation!("memory", MEMORY, "private", Case::Memory, [FORKSERVER, SPAWN, FORK, PYTHON, EXECUTOR, PROCSPAWN]),
        operation!("call-list-get", CALLS, "list, get", Case::Call(Call::ListGet), [PROXIES, SOCKET_PAIR, MANAGER]),
        operation!("call-list-set", CALLS, "list, set", Case::Call(Call::ListSet), [PROXIES, SOCKET_PAIR, MANAGER]),
        operation!("call-list-append", CALLS, "list, append", Case::Call(Call::ListAppend), [PROXIES, SOCKET_PAIR, MANAGER]),
        operation!("call-dict-get", CALLS, "dict, get", Case::Call(Call::DictGet), [PROXIES, SOCKET_PAIR, MANAGER]),
        operation!("call-dict-set", CALLS, "dict, set", Case::Call(Call::DictSet), [PROXIES, SOCKET_PAIR, MANAGER]),
    ]
}
