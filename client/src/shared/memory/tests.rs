use super::*;
use crate::Codec;
use crate::parcel::Parcel;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(name)
}

/// A name that no other test uses.
fn unique(what: &str) -> String {
    format!("mps-unit-{what}-{}", std::process::id())
}

fn travelled(segment: &SharedMemory) -> SharedMemory {
    let parcel = Parcel::pack(Codec::Bincode, segment).expect("encodes");
    parcel.unpack(Codec::Bincode).expect("decodes")
}

#[test]
fn names_and_sizes_are_checked() {
    for name in ["", ".", "..", "a/b", "/a", "a\0b", &"x".repeat(256)] {
        let create = SharedMemory::create(Some(name), 1).unwrap_err();
        let attach = SharedMemory::attach(name).unwrap_err();
        assert!(matches!(create, ShareError::Name { .. }), "{name:?}: {create}");
        assert!(matches!(attach, ShareError::Name { .. }), "{name:?}: {attach}");
    }
    for size in [0, usize::MAX, i64::MAX as usize + 1] {
        let error = SharedMemory::create(None, size).unwrap_err();
        assert!(matches!(error, ShareError::Size { .. }), "{size}: {error}");
    }
    let error = SharedMemory::create(None, 1 << 60).unwrap_err();
    assert!(matches!(error, ShareError::System { call: "posix_fallocate", .. }), "{error}");
    let missing = SharedMemory::attach(&unique("missing")).unwrap_err();
    assert!(matches!(missing, ShareError::NotFound { .. }), "{missing}");
}

#[test]
fn the_last_one_takes_the_name_along() {
    let name = unique("last");
    let first = SharedMemory::create(Some(&name), 100).unwrap();
    let error = SharedMemory::create(Some(&name), 100).unwrap_err();
    assert!(matches!(error, ShareError::AlreadyExists { .. }), "{error}");
    let second = SharedMemory::attach(&name).unwrap();
    let looker = SharedMemory::options().tracked(false).attach(&name).unwrap();
    assert!(second.is_tracked() && !looker.is_tracked() && looker.is_same(&first));
    drop(first);
    assert!(path(&name).exists());
    let third = travelled(&second);
    drop(second);
    assert!(path(&name).exists() && third.is_tracked());
    third.close();
    assert!(!path(&name).exists());
    looker.write(0, b"still there").unwrap();
}

#[test]
fn a_name_is_unlinked_once() {
    let name = unique("once");
    let segment = SharedMemory::create(Some(&name), 1).unwrap();
    let other = SharedMemory::attach(&name).unwrap();
    segment.unlink().unwrap();
    for handle in [&segment, &other] {
        let error = handle.unlink().unwrap_err();
        assert!(matches!(error, ShareError::NotFound { .. }), "{error}");
    }
    // The name is somebody else's now: neither an unlink nor an end touches it.
    let new = SharedMemory::create(Some(&name), 1).unwrap();
    assert!(segment.unlink().is_err() && !new.is_same(&segment));
    drop((segment, other));
    assert!(path(&name).exists());
    drop(new);
    assert!(!path(&name).exists());
}

#[test]
fn what_is_not_tracked_stays() {
    let name = unique("untracked");
    let segment = SharedMemory::options().tracked(false).create(Some(&name), 10).unwrap();
    assert_eq!(path(&name).metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    drop(segment);
    let again = SharedMemory::attach(&name).unwrap();
    assert!(!again.is_tracked(), "nobody tracks it");
    again.unlink().unwrap();
    assert!(!path(&name).exists());
}

#[test]
fn what_nobody_uses_any_more_is_neither_found_nor_in_the_way() {
    let name = unique("unused");
    // As a killed process leaves it.
    let leave = || std::mem::drop(names::create(&name, 10, true, b"").unwrap());
    leave();
    assert!(path(&name).exists());
    let error = SharedMemory::attach(&name).unwrap_err();
    assert!(matches!(error, ShareError::NotFound { .. }) && !path(&name).exists(), "{error}");
    leave();
    let new = SharedMemory::create(Some(&name), 20).unwrap();
    assert_eq!(new.size(), 20);
    drop(new);
    leave();
    somebody_died();
    assert!(!path(&name).exists());
}

#[test]
fn what_was_cut_off_is_an_error() {
    let segment = SharedMemory::create(None, 8192).unwrap();
    assert!(segment.cells::<u8>(0, 8192).is_ok());
    let file = std::fs::File::options().write(true).open(path(segment.name())).unwrap();
    file.set_len(4096).unwrap();
    let truncated = |result: Result<(), ShareError>| match result {
        Err(ShareError::Truncated { now: 4096, size: 8192, .. }) => {}
        other => panic!("{other:?}"),
    };
    truncated(segment.read(4090, &mut [0u8; 10]));
    truncated(segment.write(0, &[0u8]));
    truncated(segment.cells::<u8>(0, 1).map(drop));
    segment.read(0, &mut [0u8; 4096]).unwrap();
}

#[test]
fn what_is_no_segment_is_refused() {
    let refused = |fd: std::fs::File, why: &str| {
        let value = (SharedFd::from(fd), "name".to_owned(), true);
        let parcel = Parcel::pack(Codec::Bincode, &value).unwrap();
        let error = parcel.unpack::<SharedMemory>(Codec::Bincode).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(std::fs::File::open("/dev/null").unwrap(), "no segment");
    refused(std::fs::File::open(std::env::current_exe().unwrap()).unwrap(), "no segment");
    refused(crate::sys::mapping::sealed_memory(4096).unwrap().into(), "no segment");
    let segment = SharedMemory::create(None, 1).unwrap();
    refused(std::fs::File::open(path(segment.name())).unwrap(), "read and written");

    let name = unique("directory");
    std::fs::create_dir(path(&name)).unwrap();
    let error = SharedMemory::attach(&name).unwrap_err();
    std::fs::remove_dir(path(&name)).unwrap();
    assert!(matches!(error, ShareError::Foreign { .. }), "{error}");
    std::fs::write(path(&name), b"").unwrap();
    let error = SharedMemory::attach(&name).unwrap_err();
    std::fs::remove_file(path(&name)).unwrap();
    assert!(matches!(error, ShareError::Size { .. }), "{error}");
}

#[test]
fn elements_are_checked_for_bounds_and_alignment() {
    let segment = SharedMemory::create(None, 100).unwrap();
    segment.write(8, &[1u64, 2]).unwrap();
    assert_eq!(segment.cells::<u64>(8, 2).unwrap()[1].get(), 2);
    assert!(matches!(segment.cells::<u64>(4, 1), Err(ShareError::Size { .. })));
    assert!(segment.cells::<u32>(4, 1).is_ok());
    for (offset, length) in [(96, 1), (100, 1), (usize::MAX, 1), (0, 13), (0, usize::MAX)] {
        let error = segment.cells::<u64>(offset, length).unwrap_err();
        assert!(matches!(error, ShareError::OutOfRange { .. }), "{offset} {length}: {error}");
    }
    assert!(segment.read(93, &mut [0u64]).is_err() && segment.write(101, &[0u8; 0]).is_err());
    segment.read(100, &mut [0u8; 0]).unwrap();
}
