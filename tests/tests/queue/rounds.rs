//! Producers and consumers in tight loops, one of them killed at a random instant, again and
//! again. Nothing may be lost but what a dead consumer held, nothing come twice, nothing come
//! torn, nobody be stuck.

use mp::{Consumer, Producer, Queue, QueueOptions, SharedFd};
use mpserverd_tests::crew::Crew;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What an item is: who made it, its number there, bytes that follow from both, now and then a
/// descriptor.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Item {
    from: u32,
    number: u32,
    body: Vec<u8>,
    fds: Vec<SharedFd>,
}

impl Item {
    fn new(from: u32, number: u32, fd: &SharedFd) -> Self {
        let mut moments = Moments::of(u64::from(from) << 32 | u64::from(number));
        let length = match moments.below(100) {
            0 => 300_000 + moments.below(300_000),
            1..10 => moments.below(20_000),
            _ => moments.below(60),
        };
        let body = (0..length).map(|at| (at + u64::from(number)) as u8).collect();
        let fds = if moments.below(20) == 0 { vec![fd.clone()] } else { Vec::new() };
        Self { from, number, body, fds }
    }

    /// Whether it is what its producer made of it.
    fn is_whole(&self, fd: &SharedFd) -> bool {
        let expected = Self::new(self.from, self.number, fd);
        self.body == expected.body
            && self.fds.len() == expected.fds.len()
            && self.fds.iter().all(|fd| nix::sys::stat::fstat(fd).is_ok())
    }
}

/// How many items a consumer takes at a time.
const HAUL: usize = 4;
/// How many members put; as many take.
const PRODUCERS: usize = 3;

#[mp::task]
fn produce(from: u32, queue: Producer<Item>, fd: SharedFd) {
    for number in 0.. {
        let item = Item::new(from, number, &fd);
        if number % 3 == 0 {
            queue.put(&item).unwrap();
        } else {
            queue.put_many([&item]).unwrap();
        }
    }
}

/// Tells of each item that it took: from whom, and its number, or all ones if it was torn.
#[mp::task]
fn consume(queue: Consumer<Item>, fd: SharedFd, report: mp::Passed<PipeWriter>) {
    for round in 0.. {
        let items =
            if round % 2 == 0 { queue.get_many(HAUL).unwrap() } else { vec![queue.get().unwrap()] };
        let mut text = Vec::new();
        for item in items {
            let number = if item.is_whole(&fd) { item.number } else { u32::MAX };
            text.extend([item.from.to_le_bytes(), number.to_le_bytes()].concat());
        }
        // One write, so it is told as a whole or not at all.
        (&report.0).write_all(&text).unwrap();
    }
}

/// What consumers have told, by producer.
struct Book {
    reader: PipeReader,
    seen: BTreeMap<u32, Vec<bool>>,
    total: u64,
}

impl Book {
    fn note(&mut self, from: u32, number: u32) {
        assert_ne!(number, u32::MAX, "an item of {from} came torn");
        let seen = self.seen.entry(from).or_default();
        if seen.len() <= number as usize {
            seen.resize(number as usize + 1, false);
        }
        assert!(!std::mem::replace(&mut seen[number as usize], true), "{from}: {number} twice");
        self.total += 1;
    }

    /// Reads what is there; tells how much that was.
    fn read(&mut self) -> u64 {
        let before = self.total;
        let mut bytes = [0; 1 << 16];
        while let Ok(length) = self.reader.read(&mut bytes) {
            for record in bytes[..length].chunks_exact(8) {
                let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
                self.note(word(0), word(4));
            }
        }
        self.total - before
    }

    fn missing(&self) -> usize {
        self.seen.values().flatten().filter(|seen| !**seen).count()
    }
}

fn kill_rounds(rounds: u64) {
    let daemon = Daemon::start(&["--spares", "4..16"]);
    let ctx = daemon.context();
    let mut moments = Moments::of(seeds::any());
    let (reader, report) = std::io::pipe().unwrap();
    mp::sys::fd::set_nonblocking(reader.as_fd(), true).unwrap();
    let mut book = Book { reader, seen: BTreeMap::new(), total: 0 };
    let (mut alarm, held) = std::io::pipe().unwrap();
    let fd = SharedFd::from(held);
    let options = QueueOptions::new().max_bytes(256 << 10).max_items(40);
    let queue = Queue::<Item>::with_options(options).unwrap();
    let mut next = 0;
    let mut crew = Crew::new(2 * PRODUCERS, |place| {
        if place < PRODUCERS {
            next += 1;
            ctx.process::<produce>((next, queue.producer(), fd.clone()))
        } else {
            let report = mp::Passed(report.try_clone().unwrap());
            ctx.process::<consume>((queue.consumer(), fd.clone(), report))
        }
    });
    let (mut dead_consumers, mut worst) = (0, Duration::ZERO);
    for _ in 0..rounds {
        let place = crew.kill_one(&mut moments, Duration::from_micros(1500));
        dead_consumers += usize::from(place >= PRODUCERS);
        // The others go on, without a new one.
        let begun = Instant::now();
        book.read();
        assert!(eventually(PATIENCE, || book.read() > 0), "nobody goes on: {queue:?}");
        worst = worst.max(begun.elapsed());
        crew.replace(place);
    }
    // First the producers end, then everything is taken, then the others end.
    (0..PRODUCERS).for_each(|place| crew.kill(place));
    assert!(eventually(PATIENCE, || {
        book.read();
        queue.empty()
    }));
    // What the living consumers hold they tell.
    std::thread::sleep(Duration::from_millis(200));
    book.read();
    drop(crew);
    let missing = book.missing();
    println!(
        "{rounds} rounds: {} items, {missing} lost with {dead_consumers} consumers, {worst:?} at \
         worst until somebody went on",
        book.total
    );
    assert!(missing <= dead_consumers * HAUL);
    // No copy of the descriptor that went along is left anywhere.
    drop((queue, fd));
    mp::sys::fd::set_nonblocking(alarm.as_fd(), true).unwrap();
    assert!(eventually(PATIENCE, || matches!(alarm.read(&mut [0]), Ok(0))), "a descriptor leaked");
}

#[test]
fn killed_at_random_nothing_is_lost_or_torn() {
    kill_rounds(seeds::count(150));
}

#[test]
#[ignore = "long: ten thousand rounds"]
fn killed_ten_thousand_times_nothing_is_lost_or_torn() {
    kill_rounds(seeds::count(10_000));
}
