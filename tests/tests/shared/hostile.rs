//! Others who send what is no object, write nonsense into one, or cut it off: errors, strange
//! values at most, and no access out of range.

use super::Wide;
use mp::handles::{collect, provide};
use mp::{Array, RawArray, RawValue, ShareError, ShareableList, SharedFd, SharedMemory, Value};
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::{end, passed};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// What is in a descriptor at an offset, as a message says it.
fn taken<T: DeserializeOwned>(fd: &SharedFd, offset: u64) -> Result<T, String> {
    let message = format!("[0,{offset}]");
    provide(vec![fd.clone()], || serde_json::from_str(&message)).map_err(|error| error.to_string())
}

/// A memfd with these bytes, sealed against shrinking if that is asked for.
fn memory(bytes: &[u8], sealed: bool) -> SharedFd {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"hostile", flags).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    if sealed {
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    }
    file.into()
}

/// The memory that an object lies in, and where.
fn memory_of(object: &impl serde::Serialize) -> (SharedFd, u64) {
    let (message, fds) = collect(|| serde_json::to_value(object));
    let offset = message.unwrap()[1].as_u64().unwrap();
    (fds.into_iter().next().unwrap(), offset)
}

fn file_of(fd: &SharedFd) -> File {
    fd.as_fd().try_clone_to_owned().unwrap().into()
}

#[test]
fn what_is_no_memory_of_ours_is_refused() {
    let null = SharedFd::from(File::open("/dev/null").unwrap());
    let pipe = SharedFd::from(std::io::pipe().unwrap().0);
    let disk = SharedFd::from(File::open(std::env::current_exe().unwrap()).unwrap());
    let unsealed = memory(&[0; 8192], false);
    for fd in [null, pipe, disk, unsealed] {
        let error = taken::<RawValue<u64>>(&fd, 64).unwrap_err();
        assert!(error.contains("RawValue: the descriptor that came with it is no"), "{error}");
        let error = taken::<RawArray<u64>>(&fd, 64).unwrap_err();
        assert!(error.contains("RawArray: the descriptor that came with it is no"), "{error}");
    }
    for length in [1, 15, 100, 8192] {
        let error = taken::<RawValue<u64>>(&memory(&vec![7; length], true), 64).unwrap_err();
        assert!(error.contains("no shared memory of this library"), "{length}: {error}");
    }
    let error = serde_json::from_str::<RawValue<u64>>("[0,64]").unwrap_err().to_string();
    assert!(error.contains("did not come along"), "{error}");
}

/// Our own headers, in a memfd of theirs.
#[test]
fn headers_that_lie_are_found_out() {
    let array = RawArray::from_slice(&[1u64; 100]).unwrap();
    let (fd, offset) = memory_of(&array);
    let original = {
        let file = file_of(&fd);
        let mut bytes = vec![0; offset as usize + 4096];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let forged = |at: usize, word: u64| {
        let mut bytes = original.clone();
        let at = offset as usize + at;
        bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        memory(&bytes, true)
    };
    assert_eq!(
        taken::<RawArray<u64>>(&memory(&original, true), offset).unwrap().to_vec(),
        [1; 100]
    );
    // Kind and size of the object; size and alignment of the elements; how many there are.
    for (at, words) in [
        (0, vec![0, 16, u64::MAX]),
        (8, vec![0, 10, 1 << 40, u64::MAX, u64::MAX - 15]),
        (16, vec![0, 4, u64::MAX]),
        (24, vec![0, 1, u64::MAX]),
        (32, vec![101, 1 << 40, u64::MAX / 8, u64::MAX / 8 + 2, u64::MAX]),
    ] {
        for word in words {
            let result = taken::<RawArray<u64>>(&forged(at, word), offset);
            assert!(result.is_err(), "{at}: {word}");
        }
    }
    // A shorter one is one.
    assert_eq!(taken::<RawArray<u64>>(&forged(32, 3), offset).unwrap().len(), 3);
    // Cut off in the middle of the elements.
    let cut = memory(&original[..offset as usize + 200], true);
    assert!(taken::<RawArray<u64>>(&cut, offset).is_err());
}

#[test]
fn places_that_are_none_are_refused() {
    let value = RawValue::new(1u64).unwrap();
    let (fd, offset) = memory_of(&value);
    for wrong in [0, 1, offset + 1, offset + 8, offset + 16, 1 << 40, u64::MAX, u64::MAX - 15] {
        let error = taken::<RawValue<u64>>(&fd, wrong).unwrap_err();
        assert!(error.contains("RawValue: there is no such object"), "{wrong}: {error}");
    }
    assert!(taken::<RawArray<u64>>(&fd, offset).is_err(), "another kind");
    assert!(taken::<RawValue<u64>>(&fd, offset).unwrap().is_same(&value));
}

/// Writes nonsense all over a descriptor, some of it such as might be an object.
#[mp::task]
fn scribble(fd: SharedFd, length: u64, seed: u64, ms: u64) {
    let mut moments = Moments::of(seed);
    let file = file_of(&fd);
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        for _ in 0..100 {
            let word = match moments.below(5) {
                0 => 0,
                1 => u64::MAX,
                2 => moments.below(64),
                3 => 1 << moments.below(64),
                _ => moments.below(u64::MAX),
            };
            let words = vec![word.to_ne_bytes(); 1 + moments.below(16) as usize].concat();
            file.write_all_at(&words, moments.below(length - 128) & !3).unwrap();
        }
    }
}

/// Runs in a process of its own: nobody else shall live in the memory that is spoilt.
#[mp::task]
fn live_with_a_scribbler(seed: u64) {
    let raw = RawValue::new(1u64).unwrap();
    let wide = RawValue::new(Wide::of(1)).unwrap();
    let array = RawArray::from_slice(&[Wide::of(1); 100]).unwrap();
    let bytes = RawArray::from_slice(b"bytes that end with a zero\0").unwrap();
    let (locked, slices) = (Value::new(Wide::of(1)).unwrap(), Array::from_slice(&[1; 64]).unwrap());
    let (fd, place) = memory_of(&array);
    let lived = seeds::count(1) * 1500;
    let context = mp::get_context(mp::StartMethod::Spawn);
    let scribbler = context.process::<scribble>((fd.clone(), 16 << 10, seed, lived));
    let scribbler = scribbler.start().unwrap();
    let (mut rounds, mut kinds) = (0, [0; 2]);
    while scribbler.is_alive() {
        rounds += 1;
        let _ = (raw.get(), raw.fetch_add(1), wide.get(), bytes.value());
        assert_eq!((array.to_vec().len(), array.iter().count()), (100, 100));
        array.set(99, Wide::of(3)).unwrap();
        assert!(array.get(100).is_err());
        let _ = (locked.get_obj().get(), locked.lock_timeout(Duration::from_millis(1)).is_ok());
        if let Ok(guard) = slices.lock_timeout(Duration::from_millis(1)) {
            guard.copy_from(0, &[5; 64]).unwrap();
            assert!(guard.copy_to(1, &mut [0; 64]).is_err());
        }
        // What it has made of the headers, anew each time.
        for at in (0..64).map(|at| at * 64).chain([place]) {
            if let Ok(found) = taken::<RawArray<u32>>(&fd, at) {
                kinds[0] += 1;
                assert_eq!(found.iter().take(100_000).count(), found.len().min(100_000));
                let _ = found.cells().last().map(|cell| cell.get());
            }
            kinds[1] += usize::from(taken::<RawValue<u64>>(&fd, at).map(|v| v.get()).is_ok());
        }
    }
    println!("{rounds} rounds, {kinds:?} objects found in the nonsense");
    assert!(rounds > 10);
    assert_eq!(end(&scribbler), 0);
}

#[test]
fn nonsense_all_over_the_memory_is_survived() {
    let seed = seeds::any();
    let context = mp::get_context(mp::StartMethod::Spawn);
    passed(context.process::<live_with_a_scribbler>((seed,)));
}

#[test]
fn nonsense_all_over_a_list_is_survived() {
    let seed = seeds::any();
    let list = ShareableList::new((0..40).map(|at| vec![at as u8; at * 3].into())).unwrap();
    let shm = list.shm();
    let file = File::options().write(true).open(super::path(list.name())).unwrap();
    let context = mp::get_context(mp::StartMethod::Spawn);
    let task = context.process::<scribble>((file.into(), shm.size() as u64, seed, 700));
    let scribbler = task.start().unwrap();
    let mut errors = 0;
    while scribbler.is_alive() {
        errors += list.iter().filter(Result::is_err).count();
        let _ = (list.index(&1.into()), list.format(), ShareableList::attach(list.name()).is_ok());
    }
    assert!(errors > 0);
    assert_eq!(end(&scribbler), 0);
}

/// Cuts a segment off and makes it longer again, in turn.
#[mp::task]
fn cut(name: &str, size: u64) {
    let file = File::options().write(true).open(super::path(name)).unwrap();
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        file.set_len(0).unwrap();
        file.set_len(size).unwrap();
        file.set_len(size / 2 + 1).unwrap();
    }
}

#[test]
fn copies_survive_who_cuts_the_segment_off() {
    let segment = SharedMemory::create(None, 1 << 16).unwrap();
    let context = mp::get_context(mp::StartMethod::Spawn);
    let cutter = context.process::<cut>((segment.name().to_owned(), 1 << 16)).start().unwrap();
    let (mut bytes, mut cuts) = (vec![0u8; 1 << 16], 0);
    while cutter.is_alive() {
        for result in [segment.read(0, &mut bytes), segment.write(100, &bytes[..60_000])] {
            match result {
                Ok(()) => {}
                Err(ShareError::Truncated { size: 65536, .. }) => cuts += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(end(&cutter), 0);
    assert!(cuts > 0);
    assert!(matches!(segment.cells::<u8>(0, 1), Err(ShareError::Truncated { .. }) | Ok(_)));
}
