//! What objects take of memory and descriptors, of the process that makes and uses them.

use super::remote::Python;
use super::worker::text;
use mpserverd_tests::bench::machine::{self, Taken};
use mpserverd_tests::bench::report::columns;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::time::Duration;

pub(crate) const ID: &str = "memory";
pub(crate) const TABLE: &str =
    "Memory: what a process has more of after it has made 1000 and used each once";

/// How many of a kind are made.
const COUNT: u64 = 1000;
/// How long that may take: a sign that it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    Lock,
    RLock,
    Semaphore,
    Condition,
    Event,
    Barrier,
    Value,
    Queue,
    SimpleQueue,
    Pipe,
}

const KINDS: [Kind; 10] = [
    Kind::Lock,
    Kind::RLock,
    Kind::Semaphore,
    Kind::Condition,
    Kind::Event,
    Kind::Barrier,
    Kind::Value,
    Kind::Queue,
    Kind::SimpleQueue,
    Kind::Pipe,
];

/// Makes an object and uses it once.
fn used(kind: Kind) -> Result<Box<dyn Any>, String> {
    Ok(match kind {
        Kind::Lock => {
            let lock = mp::Lock::new().map_err(text)?;
            drop(lock.lock().unwrap_or_else(mp::OwnerDied::into_inner));
            Box::new(lock)
        }
        Kind::RLock => {
            let lock = mp::RLock::new().map_err(text)?;
            drop(lock.lock().unwrap_or_else(mp::OwnerDied::into_inner));
            Box::new(lock)
        }
        Kind::Semaphore => {
            let semaphore = mp::Semaphore::new(1).map_err(text)?;
            semaphore.acquire(true, None).map_err(text)?;
            semaphore.release().map_err(text)?;
            Box::new(semaphore)
        }
        Kind::Condition => {
            let condition = mp::Condition::new().map_err(text)?;
            drop(condition.lock().unwrap_or_else(mp::OwnerDied::into_inner));
            Box::new(condition)
        }
        Kind::Event => {
            let event = mp::Event::new().map_err(text)?;
            event.set();
            Box::new(event)
        }
        Kind::Barrier => {
            let barrier = mp::Barrier::new(1, None).map_err(text)?;
            barrier.wait(None).map_err(text)?;
            Box::new(barrier)
        }
        Kind::Value => {
            let value = mp::Value::new(0u64).map_err(text)?;
            value.fetch_add(1);
            Box::new(value)
        }
        Kind::Queue => {
            let queue = mp::Queue::<u64>::new().map_err(text)?;
            queue.put(&7).map_err(text)?;
            queue.get().map_err(text)?;
            Box::new(queue)
        }
        Kind::SimpleQueue => {
            let queue = mp::SimpleQueue::<u64>::new().map_err(text)?;
            queue.put(&7).map_err(text)?;
            queue.get().map_err(text)?;
            Box::new(queue)
        }
        Kind::Pipe => {
            let (one, other) = mp::pipe(true).map_err(text)?;
            one.send(&7).map_err(text)?;
            other.recv::<i32>().map_err(text)?;
            Box::new((one, other))
        }
    })
}

/// KiB, descriptors and mappings that so many objects take.
type Numbers = [u64; 3];

#[mp::task]
fn hold(kind: Kind, count: u64) -> Result<Numbers, String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(text)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(text)?;
    // What the first of them brings with it is not of each.
    let first = used(kind)?;
    let before = machine::taken();
    let objects = (0..count).map(|_| used(kind)).collect::<Result<Vec<_>, _>>()?;
    let after = machine::taken();
    drop((first, objects));
    Ok(difference(before, after))
}

fn difference(before: Taken, after: Taken) -> Numbers {
    [
        after.resident_kib.saturating_sub(before.resident_kib),
        after.descriptors.saturating_sub(before.descriptors),
        after.mappings.saturating_sub(before.mappings),
    ]
}

fn ours(kind: Kind) -> Result<Numbers, String> {
    let context = mp::get_context(mp::StartMethod::Spawn);
    let process = context.process::<hold>((kind, COUNT)).daemon(true).start().map_err(text)?;
    process.result_timeout(PATIENCE).map_err(text)?
}

fn theirs(kind: Kind, python: &str) -> Result<Numbers, String> {
    let arguments = ["memory".to_owned(), format!("{kind:?}"), COUNT.to_string()];
    Python::start(python, &arguments)?.numbers()
}

/// Measures it and gives the table.
pub(crate) fn measure(python: Option<&str>) -> Result<String, String> {
    let heading = [
        ["", "memory", "descriptors", "mappings", "memory", "descriptors", "mappings"],
        ["", "ours", "ours", "ours", "CPython", "CPython", "CPython"],
    ];
    let mut rows = heading.map(|line| line.map(str::to_owned).to_vec()).to_vec();
    for kind in KINDS {
        let mut row = vec![format!("{kind:?}")];
        row.extend(shown(Some(ours(kind).map_err(|error| format!("{kind:?}: {error}"))?)));
        let theirs = python.map(|python| theirs(kind, python)).transpose();
        let theirs = theirs.unwrap_or_else(|error| {
            println!("note           memory: CPython {kind:?}: {error}");
            None
        });
        row.extend(shown(theirs));
        rows.push(row);
    }
    Ok(format!("{TABLE}\n\n{}", columns(&rows)))
}

fn shown(numbers: Option<Numbers>) -> [String; 3] {
    match numbers {
        Some([kib, descriptors, mappings]) => {
            [format!("{kib} KiB"), descriptors.to_string(), mappings.to_string()]
        }
        None => [const { String::new() }; 3].map(|_| "-".to_owned()),
    }
}
