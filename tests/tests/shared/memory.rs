//! `SharedMemory` between processes: who finds it, and how long its name lives.

use super::{die, is_gone, path, unique};
use mp::{RawValue, ShareError, SharedMemory};
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use mpserverd_tests::{eventually, suite};
use nix::sys::signal::Signal;

#[mp::task]
fn read(segment: SharedMemory) -> (String, usize, Vec<u8>) {
    let mut bytes = vec![0; 5];
    segment.read(0, &mut bytes).unwrap();
    segment.write(5, b" there").unwrap();
    (segment.name().to_owned(), segment.size(), bytes)
}

#[mp::task]
fn attach_and_add(name: &str) {
    let segment = SharedMemory::attach(name).unwrap();
    segment.cells::<u32>(0, 4).unwrap()[3].fetch_add(7);
}

#[mp::task]
fn look_untracked(name: &str) -> bool {
    SharedMemory::options().tracked(false).attach(name).unwrap().is_tracked()
}

#[mp::task]
fn make(name: Option<String>) -> SharedMemory {
    SharedMemory::create(name.as_deref(), 64).unwrap()
}

/// Creates or attaches a segment, says so and waits for its end.
#[mp::task]
fn hold(name: &str, creates: bool, ready: RawValue<u8>) {
    let held =
        if creates { SharedMemory::create(Some(name), 100) } else { SharedMemory::attach(name) };
    let held = held.unwrap();
    ready.set(1);
    std::thread::sleep(10 * PATIENCE);
    drop(held);
}

#[mp::task]
fn die_with_it(segment: SharedMemory) {
    assert!(segment.is_tracked());
    die()
}

/// Ends with a segment that is never dropped.
#[mp::task]
fn forget(name: &str, how: &str) {
    let segment = SharedMemory::create(Some(name), 100).unwrap();
    match how {
        "leaked" => std::mem::forget(segment),
        "exit" => std::process::exit(0),
        _ => panic!("with a segment on the stack"),
    }
}

suite![
    a_child_reads_and_writes,
    a_child_finds_it_by_name,
    it_arrives_without_its_name,
    what_a_child_makes_lives_on,
    a_killed_creator_takes_nothing_from_others,
    the_name_of_a_killed_creator_goes,
    a_killed_receiver_leaves_nothing,
    a_look_without_tracking_changes_nothing,
    what_is_never_dropped_goes_with_the_process,
    a_fork_holds_what_it_copied,
];

fn a_child_reads_and_writes(ctx: &mp::Context) {
    let segment = SharedMemory::create(None, 1000).unwrap();
    segment.write(0, b"hello").unwrap();
    let there = value(ctx.process::<read>((segment.clone(),)));
    assert_eq!(there, (segment.name().to_owned(), 1000, b"hello".to_vec()));
    let mut bytes = [0; 11];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello there");
}

fn a_child_finds_it_by_name(ctx: &mp::Context) {
    let segment = SharedMemory::create(Some(&unique("find")), 16).unwrap();
    for _ in 0..3 {
        value(ctx.process::<attach_and_add>((segment.name().to_owned(),)));
    }
    assert_eq!(segment.cells::<u32>(12, 1).unwrap()[0].get(), 21);
    assert!(path(segment.name()).exists(), "others have come and gone");
    let name = segment.name().to_owned();
    drop(segment);
    assert!(is_gone(&name));
}

fn it_arrives_without_its_name(ctx: &mp::Context) {
    let segment = SharedMemory::create(None, 11).unwrap();
    segment.write(0, b"12345").unwrap();
    segment.unlink().unwrap();
    assert_eq!(value(ctx.process::<read>((segment.clone(),))).2, b"12345");
}

fn what_a_child_makes_lives_on(ctx: &mp::Context) {
    for name in [None, Some(unique("made"))] {
        let process = ctx.process::<make>((name,)).start().unwrap();
        let segment = outcome(&process).unwrap();
        assert_eq!(end(&process), 0);
        let name = segment.name().to_owned();
        assert!(path(&name).exists() && segment.is_tracked());
        assert!(SharedMemory::attach(&name).unwrap().is_same(&segment));
        drop(segment);
        assert!(is_gone(&name));
    }
}

fn started(ctx: &mp::Context, name: &str, creates: bool) -> mp::Process<()> {
    let ready = RawValue::zeroed().unwrap();
    let process = ctx.process::<hold>((name.to_owned(), creates, ready.clone()));
    let process = process.daemon(true).start().unwrap();
    assert!(eventually(PATIENCE, || ready.get() == 1));
    process
}

fn a_killed_creator_takes_nothing_from_others(ctx: &mp::Context) {
    let name = unique("others");
    let creator = started(ctx, &name, true);
    let other = started(ctx, &name, false);
    for (process, signal) in [(&creator, Signal::SIGKILL), (&other, Signal::SIGTERM)] {
        assert!(path(&name).exists());
        assert!(matches!(
            SharedMemory::create(Some(&name), 1),
            Err(ShareError::AlreadyExists { .. })
        ));
        process.signal(signal as i32).unwrap();
        assert_eq!(end(process), -(signal as i32));
    }
    // Whoever sees them die removes it.
    assert!(eventually(PATIENCE, || !path(&name).exists()), "{name}");
}

fn the_name_of_a_killed_creator_goes(ctx: &mp::Context) {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let name = unique("creator");
        let creator = started(ctx, &name, true);
        let looker = SharedMemory::options().tracked(false).attach(&name).unwrap();
        creator.signal(signal as i32).unwrap();
        assert_eq!(end(&creator), -(signal as i32));
        assert!(is_gone(&name));
        // And the next one may have it.
        let new = SharedMemory::create(Some(&name), 5).unwrap();
        assert!(!new.is_same(&looker));
        looker.write(99, b"x").unwrap();
    }
}

fn a_killed_receiver_leaves_nothing(ctx: &mp::Context) {
    let segment = SharedMemory::create(None, 100).unwrap();
    let name = segment.name().to_owned();
    let process = ctx.process::<die_with_it>((segment.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    assert!(path(&name).exists());
    // Now the other way round: the receiver is the last one.
    let process = ctx.process::<die_with_it>((segment,)).start().unwrap();
    assert_eq!(end(&process), -9);
    assert!(is_gone(&name));
}

fn a_look_without_tracking_changes_nothing(ctx: &mp::Context) {
    let segment = SharedMemory::create(None, 100).unwrap();
    let name = segment.name().to_owned();
    assert!(!value(ctx.process::<look_untracked>((name.clone(),))));
    assert!(path(&name).exists());
    let looker = SharedMemory::options().tracked(false).attach(&name).unwrap();
    drop(segment);
    assert!(is_gone(&name));
    assert!(looker.unlink().is_err());
}

/// What a closure takes along is in both processes until each lets go of it.
fn a_fork_holds_what_it_copied(ctx: &mp::Context) {
    if ctx.method() != mp::StartMethod::Fork {
        return;
    }
    let segment = SharedMemory::create(None, 100).unwrap();
    let name = segment.name().to_owned();
    let (step, said) = (RawValue::zeroed().unwrap(), RawValue::new(0u8).unwrap());
    let (theirs, answer) = (step.clone(), said.clone());
    let process = ctx.process_fn(move || {
        assert!(eventually(PATIENCE, || theirs.get() == 1u8));
        answer.set(segment.cells::<u8>(0, 1).unwrap()[0].get() + 1);
    });
    let process = process.start().unwrap();
    // The closure is gone here, and so is this process's handle.
    assert!(path(&name).exists());
    assert!(!SharedMemory::options().tracked(false).attach(&name).unwrap().is_tracked());
    step.set(1);
    outcome(&process).unwrap();
    assert_eq!((end(&process), said.get()), (0, 1));
    assert!(is_gone(&name));
}

fn what_is_never_dropped_goes_with_the_process(ctx: &mp::Context) {
    for how in ["leaked", "exit", "panic"] {
        let name = unique(how);
        let process = ctx.process::<forget>((name.clone(), how.to_owned())).start().unwrap();
        let _ = end(&process);
        assert!(eventually(PATIENCE, || !path(&name).exists()), "{how}");
    }
}

/// Creates, attaches and drops one name as fast as possible; counts what it saw.
#[mp::task]
fn quarrel(name: &str, seed: u64) -> [u32; 3] {
    let mut moments = mpserverd_tests::seeds::Moments::of(seed);
    let mut seen = [0; 3];
    let mut held = Vec::new();
    for _ in 0..2000 {
        let got = match moments.below(3) {
            0 => SharedMemory::create(Some(name), 8),
            1 => SharedMemory::attach(name),
            _ => {
                held.clear();
                continue;
            }
        };
        match got {
            Ok(segment) => {
                seen[0] += 1;
                // The name is that of what this process holds: nobody may have removed it.
                let again = SharedMemory::attach(name).unwrap();
                assert!(again.is_same(&segment));
                held.push(segment);
                held.truncate(3);
            }
            Err(ShareError::AlreadyExists { .. }) => seen[1] += 1,
            Err(ShareError::NotFound { .. }) => seen[2] += 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

#[test]
fn a_name_that_is_held_is_never_lost_in_a_quarrel() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let name = unique("quarrel");
    let seed = mpserverd_tests::seeds::any();
    let start = |at| ctx.process::<quarrel>((name.clone(), seed + at)).start().unwrap();
    let processes = (0..4).map(start).collect::<Vec<_>>();
    let seen = processes.iter().map(|process| outcome(process).unwrap()).collect::<Vec<_>>();
    println!("{seen:?}");
    assert!(seen.iter().all(|seen| seen[0] > 0));
    assert!(is_gone(&name));
}

/// What the first byte of a segment says.
const KEEP: u8 = 1;
const UNLINK: u8 = 2;

/// Creates one name and keeps it, or unlinks what others have created and do not keep.
#[mp::task]
fn keep_or_unlink(name: &str, seed: u64) -> [u32; 2] {
    let mut moments = mpserverd_tests::seeds::Moments::of(seed);
    let decide = |segment: &SharedMemory, what| {
        let cells = segment.cells::<u8>(0, 1).unwrap();
        cells[0].compare_exchange(0, what).is_ok()
    };
    let (mut done, mut left) = ([0; 2], None);
    for _ in 0..1500 {
        if moments.below(2) == 0 {
            if moments.below(4) == 0 {
                left = None;
            }
            let Ok(segment) = SharedMemory::create(Some(name), 1) else { continue };
            // Some are left for others to unlink.
            if moments.below(2) == 0 {
                left = Some(segment);
            } else if decide(&segment, KEEP) {
                done[0] += 1;
                for _ in 0..moments.below(5) {
                    let found = SharedMemory::attach(name).unwrap();
                    assert!(found.is_same(&segment), "somebody removed a name that is kept");
                }
            }
        } else if let Ok(segment) = SharedMemory::attach(name)
            && decide(&segment, UNLINK)
        {
            // Twice, and at any time: the name may be another segment's by then.
            let first = segment.unlink();
            assert!(matches!(first, Ok(()) | Err(ShareError::NotFound { .. })), "{first:?}");
            assert!(matches!(segment.unlink(), Err(ShareError::NotFound { .. })));
            done[1] += u32::from(first.is_ok());
        }
    }
    drop(left);
    done
}

#[test]
fn an_unlink_never_takes_a_name_from_another_segment() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let name = unique("unlink");
    let seed = mpserverd_tests::seeds::any();
    let start = |at| ctx.process::<keep_or_unlink>((name.clone(), seed + at)).start().unwrap();
    let processes = (0..4).map(start).collect::<Vec<_>>();
    let done = processes.iter().map(|process| outcome(process).unwrap()).collect::<Vec<_>>();
    println!("{done:?}");
    let sum = |at: usize| done.iter().map(|done| done[at]).sum::<u32>();
    assert!(sum(0) > 0 && sum(1) > 0, "{done:?}");
    assert!(is_gone(&name));
}
