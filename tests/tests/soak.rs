//! Thousands of shared objects are made, travel and are dropped; nothing is left of them in those
//! who survive: no descriptor, no mapping, no memory, no name in `/dev/shm`.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds;
use mpserverd_tests::suite::{PATIENCE, end, outcome};

/// One of each.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Everything {
    lock: mp::Lock,
    rlock: mp::RLock,
    semaphore: mp::Semaphore,
    bounded: mp::BoundedSemaphore,
    condition: mp::Condition,
    event: mp::Event,
    barrier: mp::Barrier,
    value: mp::Value<u64>,
    raw: mp::RawValue<[u64; 9]>,
    array: mp::Array<u32>,
    large: mp::RawArray<u8>,
    queue: mp::Queue<String>,
    joinable: mp::JoinableQueue<u32>,
    simple: mp::SimpleQueue<u8>,
    connection: mp::Connection,
    segment: mp::SharedMemory,
    file: mp::Passed<std::fs::File>,
}

impl Everything {
    fn new() -> Result<(Self, mp::Connection), Box<dyn std::error::Error>> {
        let (ours, theirs) = mp::pipe(true)?;
        let all = Self {
            lock: mp::Lock::new()?,
            rlock: mp::RLock::new()?,
            semaphore: mp::Semaphore::new(2)?,
            bounded: mp::BoundedSemaphore::new(2)?,
            condition: mp::Condition::new()?,
            event: mp::Event::new()?,
            barrier: mp::Barrier::new(2, None)?,
            value: mp::Value::new(0)?,
            raw: mp::RawValue::new([0; 9])?,
            array: mp::Array::zeroed(100)?,
            large: mp::RawArray::zeroed(100_000)?,
            queue: mp::Queue::new()?,
            joinable: mp::JoinableQueue::new()?,
            simple: mp::SimpleQueue::new()?,
            connection: theirs,
            segment: mp::SharedMemory::create(None, 5000)?,
            file: mp::Passed(std::fs::File::open("/dev/null")?),
        };
        Ok((all, ours))
    }

    /// Uses each, as the other process.
    fn use_all(self) -> Result<(), Box<dyn std::error::Error>> {
        drop(self.lock.lock().map_err(|error| error.to_string())?);
        drop(self.rlock.lock().map_err(|error| error.to_string())?);
        self.semaphore.release()?;
        self.value.set(7);
        self.raw.set([7; 9]);
        self.large.copy_from(0, &[7; 1000])?;
        self.queue.put(&self.simple.get()?.to_string())?;
        self.joinable.get()?;
        self.joinable.task_done()?;
        self.segment.write(0, b"seven")?;
        self.event.set();
        self.connection.send(&7u32)?;
        Ok(())
    }

    /// Sees what the other process has done.
    fn check(&self, connection: &mp::Connection) -> Result<(), Box<dyn std::error::Error>> {
        assert!(self.event.wait(Some(PATIENCE)));
        assert_eq!(connection.recv_timeout::<u32>(PATIENCE)?, 7);
        assert_eq!(self.queue.get_timeout(PATIENCE)?, "7");
        self.joinable.join_timeout(PATIENCE)?;
        assert_eq!(self.value.value(), 7);
        assert_eq!((self.raw.get(), self.semaphore.get_value()), ([7; 9], 3));
        Ok(())
    }
}

/// What a process has: descriptors, mappings, resident KiB of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Belongings {
    fds: usize,
    maps: usize,
    kib: u64,
}

impl Belongings {
    fn now() -> Self {
        let count = |path| std::fs::read_dir(path).unwrap().count();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        Self { fds: count("/proc/self/fd"), maps, kib: kib("RssAnon:") + kib("RssShmem:") }
    }

    /// Whether there is no more than before, but for what allocators keep.
    fn is_no_more_than(self, before: Self) -> bool {
        self.fds <= before.fds && self.maps <= before.maps + 4 && self.kib <= before.kib + 4000
    }
}

#[mp::task]
fn partner(
    objects: mp::Consumer<Box<Everything>>,
    answers: mp::Producer<Option<Belongings>>,
) -> Belongings {
    for (round, all) in objects.iter().enumerate() {
        all.unwrap().use_all().unwrap();
        answers.put(&(round % 10 == 0).then(Belongings::now)).unwrap();
    }
    Belongings::now()
}

#[mp::task]
fn use_once(all: Box<Everything>) {
    all.use_all().unwrap();
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let mut names = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("psm_") || name.starts_with("mp"))
        .collect::<Vec<_>>();
    names.sort();
    names
}

/// Runs alone in its process, with a partner of its own.
#[mp::task]
fn soak(socket: std::path::PathBuf, rounds: u64) {
    let ctx = mp::get_context(mp::StartMethod::ForkServer).with_socket(socket);
    let (objects, taken) = mp::Queue::new().unwrap().split();
    let (answers, told) = mp::Queue::new().unwrap().split();
    let process = ctx.process::<partner>((taken, answers)).start().unwrap();
    let shm = names();
    let mut before = None;
    for round in 0..rounds {
        let (all, connection) = Everything::new().unwrap();
        all.simple.put(&7).unwrap();
        all.joinable.put(&7).unwrap();
        let all = Box::new(all);
        if round % 5 == 4 {
            // As an argument of a task, and back into nothing.
            let once = ctx.process::<use_once>((reborn(&all),)).start().unwrap();
            outcome(&once).unwrap();
            assert_eq!(end(&once), 0);
        } else {
            objects.put(&reborn(&all)).unwrap();
            let theirs = told.get_timeout(PATIENCE).unwrap();
            if round == 50 {
                before = theirs.map(|theirs| (Belongings::now(), theirs));
            }
        }
        all.check(&connection).unwrap();
    }
    let _ = mp::active_children();
    let ours = Belongings::now();
    drop(objects);
    let theirs = outcome(&process).unwrap();
    let (ours_before, theirs_before) = before.unwrap();
    println!("ours {ours_before:?} {ours:?}, theirs {theirs_before:?} {theirs:?}");
    assert!(ours.is_no_more_than(ours_before), "{ours_before:?} {ours:?}");
    assert!(theirs.is_no_more_than(theirs_before), "{theirs_before:?} {theirs:?}");
    assert_eq!(names(), shm);
}

/// The same objects as another set of handles, as if they had come from somewhere.
fn reborn(all: &Everything) -> Box<Everything> {
    let (bytes, fds) = mp::handles::collect(|| serde_json::to_vec(all).unwrap());
    mp::handles::provide(fds, || serde_json::from_slice(&bytes).unwrap())
}

fn run(rounds: u64) {
    let daemon = Daemon::start(&[]);
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let process = ctx.process::<soak>((daemon.socket(), rounds)).start().unwrap();
    let result = process.result_timeout(20 * PATIENCE);
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn nothing_is_left_of_a_thousand_objects() {
    run(seeds::count(130));
}

#[test]
#[ignore = "long: fifty thousand objects"]
fn nothing_is_left_of_fifty_thousand_objects() {
    run(seeds::count(3000));
}
