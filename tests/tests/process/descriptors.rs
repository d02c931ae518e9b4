//! Descriptors: those that are passed arrive, all others stay where they are.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Every descriptor of this process, with what it is.
#[mp::task]
fn open_descriptors() -> Vec<(i32, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut open = entries
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            // The directory that is being read has vanished by now.
            Some((number, std::fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .collect::<Vec<_>>();
    open.retain(|(_, what)| !what.ends_with("/fd"));
    open.sort();
    open
}

/// The first byte of each file that was passed.
#[mp::task]
fn read_passed() -> Vec<u8> {
    let passed = mp::passed_fds();
    assert!(mp::passed_fds().is_empty());
    let first = |fd: OwnedFd| {
        let mut byte = [0];
        File::from(fd).read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    };
    passed.into_iter().map(first).collect()
}

#[mp::task]
fn read_text(number: usize) -> String {
    let fd = mp::passed_fds().into_iter().nth(number).unwrap();
    std::io::read_to_string(File::from(fd)).unwrap()
}

suite![
    passed_ones_arrive_in_order,
    more_than_one_message_holds_arrive,
    too_many_are_refused,
    nothing_is_left_open_in_the_starter,
    none_of_the_starters_leaks,
];

fn file_with(byte: u8) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[byte], 0).unwrap();
    file
}

fn passed_ones_arrive_in_order(ctx: &mp::Context) {
    let process = ctx.process::<read_passed>(());
    let process = (1..=5).fold(process, |process, byte| process.pass_fd(file_with(byte)));
    assert_eq!(value(process), [1, 2, 3, 4, 5]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "passed").unwrap();
    let process = ctx.process::<read_text>((1,)).pass_fd(file_with(0));
    assert_eq!(value(process.pass_fd(File::open(file.path()).unwrap())), "passed");
}

fn more_than_one_message_holds_arrive(ctx: &mp::Context) {
    let files = (0..=255).map(file_with).collect::<Vec<_>>();
    for count in [247, 248, 249, 250, 252, 253, 254, 255, 300, 520, 700] {
        let mut process = ctx.process::<read_passed>(());
        for at in 0..count {
            process = process.pass_fd(files[at % 256].try_clone().unwrap());
        }
        let want = (0..count).map(|at| (at % 256) as u8).collect::<Vec<_>>();
        assert_eq!(value(process), want, "{count}");
    }
}

fn too_many_are_refused(ctx: &mp::Context) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let file = file_with(0);
    let mut process = ctx.process::<read_passed>(());
    for _ in 0..4097 {
        let Ok(copy) = file.try_clone() else {
            mpserverd_tests::skip("4097 descriptors exceed the hard limit");
            return;
        };
        process = process.pass_fd(copy);
    }
    match process.start() {
        Err(mp::StartError::TooManyFds { count: 4097, limit }) => assert!(limit > 4000),
        other => panic!("{other:?}"),
    }
}

fn nothing_is_left_open_in_the_starter(ctx: &mp::Context) {
    let start = || {
        let process = ctx.process::<read_passed>(()).pass_fd(file_with(3)).start().unwrap();
        assert_eq!(outcome(&process).unwrap(), [3]);
        assert_eq!(end(&process), 0);
        process.close().unwrap();
    };
    // The first ones open what is kept: connections, leases in advance.
    (0..5).for_each(|_| start());
    let count = || {
        let _ = mp::active_children();
        open_descriptors().len()
    };
    let before = count();
    (0..20).for_each(|_| start());
    // Other tests run in this process at the same time, but none opens so many for long.
    assert!(mpserverd_tests::eventually(suite::PATIENCE, || count() < before + 20));
}

fn none_of_the_starters_leaks(ctx: &mp::Context) {
    if ctx.method() == mp::StartMethod::Fork {
        // A copy of the starter has what the starter has.
        return;
    }
    let closing = (0..200).map(|_| file_with(1)).collect::<Vec<_>>();
    // Such as C libraries leave open: they survive exec.
    let surviving = (0..20).map(|_| file_with(2)).collect::<Vec<_>>();
    for file in &surviving {
        nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
            .unwrap();
    }
    let open = value(ctx.process::<open_descriptors>(()));
    let names =
        |fds: &[(i32, String)]| fds.iter().map(|(_, what)| what.clone()).collect::<Vec<_>>();
    let leaked = open.iter().filter(|(_, what)| what.contains("(deleted)")).collect::<Vec<_>>();
    assert!(leaked.is_empty(), "{leaked:?}");
    let (standard, own) = open.split_at(3);
    assert_eq!(standard.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
    // The job's socket, the controller's event, the starter's pidfd, /dev/null.
    let expected =
        ["socket:[", "anon_inode:[eventfd]", "anon_inode:[pidfd]", "pidfd:[", "/dev/null"];
    for (_, what) in own {
        assert!(expected.iter().any(|known| what.starts_with(known)), "{:?}", names(&open));
    }
    assert!(own.len() <= 4, "{:?}", names(&open));
    assert!(closing.iter().chain(&surviving).all(|file| file.as_raw_fd() > 2));
}
