//! Queues: so many processes put and so many take, items of several sizes.

use super::connections::Kit;
use super::operation::{Member, Operation, Pace, Role, Unit, Variant, alone, member, ours, peer};
use super::operation::{python, size};
use super::values::memcpy;
use super::worker::{self, Order, Run, Span, now, repeat, repeat_many, text};
use crossbeam_channel::{Receiver, Sender, bounded};
use mpserverd_tests::bench::machine;
use serde::{Deserialize, Serialize};

/// Items that are put, or asked for, at once where that is what is measured.
const BATCH: u64 = 256;
/// Bytes that may be on their way between threads, and how many items.
const ON_THE_WAY: usize = 8 << 20;
const ITEMS_ON_THE_WAY: std::ops::RangeInclusive<usize> = 8..=1024;
/// Bytes that go through a queue in a turn at most: fewer than it holds.
const TURN_BYTES: u64 = 512 << 20;

const SMALL_NOTE: &str =
    "Items of 8 B are numbers, others vectors of bytes; `many` puts and takes 256 at a time.
Ours holds 4 MiB of vectors, or, with no bound, whatever was put. crossbeam-channel, bounded, between threads is the limit inside one process.";
const LARGE_NOTE: &str =
    "Ours holds 4 MiB, or, with no bound, whatever was put. memcpy copies as much as an item between two buffers of its own: in cache, always the same
two, which is what the goal takes; beyond L2, in turn among buffers of eight times that cache.";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    Put(mp::Queue<u64>),
    Get(mp::Queue<u64>),
    PutMany(mp::Queue<u64>),
    GetMany(mp::Queue<u64>),
    PutBytes(mp::Queue<Vec<u8>>, usize),
    GetBytes(mp::Queue<Vec<u8>>),
    /// With what comes by a server that it opens.
    IpcSend(usize),
    IpcReceive,
    /// So many threads that send items of so many bytes, and so many that receive.
    Threads(usize, usize, usize),
}

impl Part {
    pub(crate) fn prepare(self, control: &mp::Connection) -> Result<Run, String> {
        Ok(match self {
            Self::Put(queue) => repeat(move || queue.put(&7)),
            Self::Get(queue) => repeat(move || queue.get().map(drop)),
            Self::PutMany(queue) => put_many(queue),
            Self::GetMany(queue) => get_many(queue),
            Self::PutBytes(queue, bytes) => {
                let item = vec![7; bytes];
                repeat(move || queue.put(&item))
            }
            Self::GetBytes(queue) => repeat(move || queue.get().map(drop)),
            Self::IpcSend(bytes) => {
                let sender = Kit::receive(control)?.sender.ok_or("no sender")?;
                let item = vec![7; bytes];
                repeat(move || sender.send(&item))
            }
            Self::IpcReceive => {
                let receiver = Kit::receive(control)?.receiver.ok_or("no receiver")?;
                repeat(move || receiver.recv().map(drop))
            }
            Self::Threads(8, senders, receivers) => threads(7u64, 8, senders, receivers),
            Self::Threads(bytes, senders, receivers) => {
                threads(vec![7u8; bytes], bytes, senders, receivers)
            }
        })
    }
}

fn put_many(queue: mp::Queue<u64>) -> Run {
    let items = [7; BATCH as usize];
    repeat_many(move |count| {
        let mut left = count;
        while left > 0 {
            let now = left.min(BATCH);
            queue.put_many(&items[..now as usize])?;
            left -= now;
        }
        Ok::<(), mp::PutManyError>(())
    })
}

fn get_many(queue: mp::Queue<u64>) -> Run {
    repeat_many(move |count| {
        let mut left = count;
        while left > 0 {
            left -= queue.get_many(left.min(BATCH) as usize)?.len() as u64;
        }
        Ok::<(), mp::GetManyError<u64>>(())
    })
}

/// Items between threads of one process: each is made anew, as it is taken apart by its receiver.
fn threads<T: Clone + Send + 'static>(
    item: T,
    bytes: usize,
    senders: usize,
    receivers: usize,
) -> Run {
    let room = (ON_THE_WAY / bytes).clamp(*ITEMS_ON_THE_WAY.start(), *ITEMS_ON_THE_WAY.end());
    let (sender, receiver) = bounded::<T>(room);
    Box::new(move |order| {
        let Order::Count(count) = order else { return Err("it needs a count".to_owned()) };
        std::thread::scope(|scope| {
            let takes = || take(&receiver, count / receivers as u64);
            let taking = (0..receivers).map(|_| scope.spawn(takes)).collect::<Vec<_>>();
            // Each thread needs an item of its own: not every type can be shared.
            let items = vec![item.clone(); senders];
            let gives = |item: T| give(&sender, &item, count / senders as u64);
            let giving = items.into_iter().map(|item| scope.spawn(move || gives(item)));
            let giving = giving.collect::<Vec<_>>();
            let mut whole = Span { begin: u64::MAX, end: 0, count };
            for thread in giving {
                let begin = thread.join().map_err(|_| "a thread panicked")?;
                whole.begin = whole.begin.min(begin?);
            }
            for thread in taking {
                let end = thread.join().map_err(|_| "a thread panicked")?;
                whole.end = whole.end.max(end?);
            }
            Ok(whole)
        })
    })
}

/// Gives the time when it began.
fn give<T: Clone>(sender: &Sender<T>, item: &T, count: u64) -> Result<u64, String> {
    let begin = now();
    for _ in 0..count {
        sender.send(item.clone()).map_err(text)?;
    }
    Ok(begin)
}

/// Gives the time when it ended.
fn take<T>(receiver: &Receiver<T>, count: u64) -> Result<u64, String> {
    for _ in 0..count {
        drop(receiver.recv().map_err(text)?);
    }
    Ok(now())
}

fn part(part: Part) -> worker::Part {
    worker::Part::Queue(part)
}

/// How many put and how many take items of how many bytes.
#[derive(Clone, Copy)]
struct Shape {
    bytes: usize,
    producers: usize,
    consumers: usize,
}

/// Bytes that a bounded queue holds, as pipes, sockets and bounded channels do of their own accord.
/// One without a bound takes new memory, page by page, as long as who puts is faster.
const BOUND: u64 = 4 << 20;

impl Shape {
    fn members(
        self,
        put: impl Fn() -> Result<Member, String>,
        get: impl Fn() -> Result<Member, String>,
    ) -> Result<Vec<Member>, String> {
        let getting = (0..self.consumers).map(|_| get());
        getting.chain((0..self.producers).map(|_| put())).collect()
    }

    fn ours<T: mp::queue::QueueItem>(
        self,
        bounds: mp::QueueOptions,
        put: impl Fn(mp::Queue<T>) -> Part,
        get: impl Fn(mp::Queue<T>) -> Part,
    ) -> Result<Vec<Member>, String> {
        let queue = mp::Queue::<T>::with_options(bounds).map_err(text)?;
        self.members(
            || member(Role::Begins, part(put(queue.clone()))),
            || member(Role::Ends, part(get(queue.clone()))),
        )
    }

    fn one_by_one(self, bounds: mp::QueueOptions) -> Result<Vec<Member>, String> {
        if self.bytes == size_of::<u64>() {
            self.ours(bounds, Part::Put, Part::Get)
        } else {
            self.ours(bounds, |queue| Part::PutBytes(queue, self.bytes), Part::GetBytes)
        }
    }

    fn ipc_channel(self) -> Result<Vec<Member>, String> {
        let (sender, receiver) = ipc_channel::ipc::bytes_channel().map_err(text)?;
        let kit = Kit { sender: None, receiver: Some(receiver) };
        let mut members = vec![kit.member(Role::Ends, part(Part::IpcReceive))?];
        for _ in 0..self.producers {
            let kit = Kit { sender: Some(sender.clone()), receiver: None };
            members.push(kit.member(Role::Begins, part(Part::IpcSend(self.bytes)))?);
        }
        Ok(members)
    }

    fn variants(self) -> Vec<Variant> {
        let Self { bytes, producers, consumers } = self;
        let free = mp::QueueOptions::new();
        let mut all = Vec::new();
        if bytes == size_of::<u64>() {
            all.push(ours("put, get", move || self.one_by_one(free)));
            all.push(ours("many", move || self.ours(free, Part::PutMany, Part::GetMany)));
        } else {
            all.push(ours("put, get", move || self.one_by_one(free.max_bytes(BOUND))));
            all.push(ours("no bound", move || self.one_by_one(free)));
        }
        all.push(python("Queue", &[&"queue", &bytes, &producers, &consumers]));
        all.push(python("SimpleQueue", &[&"simplequeue", &bytes, &producers, &consumers]));
        if consumers == 1 {
            all.push(peer("ipc-channel", "bytes", move || self.ipc_channel()));
        }
        all.push(peer("crossbeam", "threads", move || {
            alone(part(Part::Threads(bytes, producers, consumers)))
        }));
        if bytes >= 64 << 10 && (producers, consumers) == (1, 1) {
            all.push(peer("memcpy", "in cache", move || memcpy(bytes, 0)));
            let spread = machine::beyond_l2();
            all.push(peer("memcpy", "beyond L2", move || memcpy(bytes, spread)));
        }
        all
    }

    fn operation(self) -> Operation {
        let Self { bytes, producers, consumers } = self;
        let large = bytes >= 64 << 10;
        let unit = if large { Unit::Items(bytes as u64) } else { Unit::Rate };
        let of = (producers * consumers) as u64;
        Operation {
            id: format!("queue-{bytes}-{producers}to{consumers}"),
            note: if large { LARGE_NOTE } else { SMALL_NOTE },
            table: if large { "Queue: bandwidth of large items" } else { "Queue: small items" },
            row: format!("{}, {producers} to {consumers}", size(bytes as u64)),
            unit,
            pace: Pace::Count { of, most: (TURN_BYTES / bytes as u64).max(of) },
            variants: self.variants(),
        }
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    for bytes in [8, 1 << 10, 64 << 10, 1 << 20] {
        for (producers, consumers) in [(1, 1), (4, 1), (1, 4), (4, 4)] {
            all.push(Shape { bytes, producers, consumers }.operation());
        }
    }
    all
}
