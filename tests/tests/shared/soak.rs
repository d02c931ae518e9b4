//! Thousands of objects made, passed and dropped: the survivors have what they had before.

use super::Wide;
use mp::handles::{collect, provide};
use mp::{Array, ListItem, RawArray, RawValue, ShareableList, SharedMemory, Value};
use mpserverd_tests::suite::{PATIENCE, passed, value};
use mpserverd_tests::{eventually, proc, seeds};

/// One of each kind, in one value.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct OfEach {
    raw: RawValue<u64>,
    wide: Value<Wide>,
    small: RawArray<u16>,
    /// Has memory of its own.
    large: Array<u64>,
    segment: SharedMemory,
    list: ShareableList,
}

impl OfEach {
    fn new(number: u32) -> Self {
        Self {
            raw: RawValue::new(number.into()).unwrap(),
            wide: Value::new(Wide::of(number)).unwrap(),
            small: RawArray::from_slice(&[number as u16; 50]).unwrap(),
            large: Array::from_slice(&vec![number.into(); 20_000]).unwrap(),
            segment: SharedMemory::create(None, 5000).unwrap(),
            list: ShareableList::new([number.into(), "text".into(), ListItem::None]).unwrap(),
        }
    }

    /// Looks at everything, and changes everything.
    fn use_up(&self) -> u64 {
        let number = self.raw.fetch_add(1);
        assert_eq!(u64::from(self.wide.update(|wide| wide).number()), number);
        assert_eq!(self.small.get(49).unwrap(), number as u16);
        assert_eq!(self.large.fetch_add(19_999, 1).unwrap(), number);
        self.segment.cells::<u64>(8, 1).unwrap()[0].set(number);
        assert_eq!(self.list.get(0).unwrap(), ListItem::Int(number as i64));
        number
    }

    fn names(&self) -> [String; 2] {
        [self.segment.name().to_owned(), self.list.name().to_owned()]
    }
}

#[mp::task]
fn use_up(objects: Vec<OfEach>) -> (u64, Vec<OfEach>) {
    let sum = objects.iter().map(OfEach::use_up).sum();
    (sum, objects)
}

/// Descriptors, mappings and resident kilobytes of this process.
fn holdings() -> [usize; 3] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes = resident.trim().trim_end_matches(" kB").parse().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    [proc::fd_count(std::process::id()), maps, kilobytes]
}

/// Passes objects to another process and back, and within this one.
fn round(ctx: &mp::Context, at: u32) -> Vec<String> {
    let mut names = Vec::new();
    let objects = (0..20).map(|number| OfEach::new(at + number)).collect::<Vec<_>>();
    names.extend(objects.iter().flat_map(OfEach::names));
    let (sum, back) = value(ctx.process::<use_up>((objects,)));
    assert_eq!(sum, (0..20).map(|number| u64::from(at + number)).sum::<u64>());
    assert!(back.iter().all(|each| each.raw.get() == each.large.get(19_999).unwrap()));
    for number in 0..60 {
        let each = OfEach::new(number);
        names.extend(each.names());
        let (bytes, fds) = collect(|| serde_json::to_vec(&each).unwrap());
        let copy: OfEach = provide(fds, || serde_json::from_slice(&bytes)).unwrap();
        drop(each);
        assert_eq!(copy.use_up(), u64::from(number));
    }
    names
}

fn the_survivors_have_what_they_had(ctx: &mp::Context) {
    for at in 0..3 {
        round(ctx, at);
    }
    let _ = mp::active_children();
    let before = holdings();
    let mut names = Vec::new();
    for at in 0..seeds::count(12) as u32 {
        names.extend(round(ctx, at));
    }
    let mut after = holdings();
    let settled = eventually(PATIENCE, || {
        let _ = mp::active_children();
        after = holdings();
        // What an allocator keeps, and a daemon's connections.
        after[0] <= before[0] + 2 && after[1] <= before[1] + 12 && after[2] <= before[2] + 8192
    });
    assert!(settled, "{after:?} and {before:?} before: descriptors, mappings, kilobytes");
    let left = || names.iter().filter(|name| super::path(name).exists()).count();
    // Segments have an instant's copy in a process that is just being started.
    assert!(eventually(PATIENCE, || {
        drop(SharedMemory::create(None, 1));
        left() == 0
    }));
    println!("{} objects; {before:?} before, {after:?} after", names.len() * 3);
}

/// In a process that no other test uses.
#[mp::task]
fn soak(method: &str, socket: Option<std::path::PathBuf>) {
    let mut ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    if let Some(socket) = socket {
        ctx = ctx.with_socket(socket).with_fallback(mp::Fallback::Fail);
    }
    the_survivors_have_what_they_had(&ctx);
}

fn soaked(method: &str, socket: Option<std::path::PathBuf>) {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    passed(spawn.process::<soak>((method.to_owned(), socket)));
}

#[test]
fn nothing_is_left_after_spawned_workers() {
    soaked("spawn", None);
}

#[test]
fn nothing_is_left_after_forks() {
    soaked("fork", None);
}

#[test]
fn nothing_is_left_after_workers_of_a_daemon() {
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    soaked("forkserver", Some(daemon.socket()));
}
