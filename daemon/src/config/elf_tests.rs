//! Real files, made-up files and damaged files.

use super::*;
use proptest::prelude::*;
use std::io::Cursor;

/// A shared object of this machine with one program header a type, and one dynamic entry.
fn image(elf_type: u8, headers: &[u64], flags: u64) -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([elf_type, 0]);
    bytes.extend(machine.to_le_bytes());
    bytes.resize(32, 0);
    bytes.extend(64u64.to_le_bytes());
    bytes.resize(54, 0);
    bytes.extend(56u16.to_le_bytes());
    bytes.extend(u16::try_from(headers.len()).expect("few").to_le_bytes());
    bytes.resize(64, 0);
    let dynamic = 64 + 56 * headers.len() as u64;
    for header in headers {
        bytes.extend(u32::try_from(*header).expect("small").to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(dynamic.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(32u64.to_le_bytes());
        bytes.extend([0; 16]);
    }
    for number in [DT_FLAGS_1, flags, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

fn judge(bytes: &[u8]) -> Result<Kind, String> {
    inspect(&bytes[..bytes.len().min(64)], &mut Cursor::new(bytes))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn types_and_headers_decide() {
    assert_eq!(judge(&image(2, &[], 0)), Ok(Kind::Executable));
    assert_eq!(judge(&image(3, &[1, PT_DYNAMIC], 0)), Ok(Kind::SharedObject));
    assert_eq!(judge(&image(3, &[PT_DYNAMIC, PT_INTERP], 0)), Ok(Kind::Executable));
    assert_eq!(judge(&image(3, &[PT_DYNAMIC], DF_1_PIE)), Ok(Kind::Executable), "static pie");
    for (bytes, reason) in [
        (image(1, &[], 0), "object file"),
        (image(4, &[], 0), "core dump"),
        (image(9, &[], 0), "type 9"),
        (image(3, &[1], 0), "no dynamic section"),
    ] {
        let found = judge(&bytes).expect_err(reason);
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn other_machines_are_named() {
    let mut bytes = image(3, &[PT_DYNAMIC], 0);
    bytes[18] = 8;
    let found = judge(&bytes).expect_err("mips");
    assert!(found.contains("another machine (ELF machine 8, 64 bit)"), "{found}");
}

#[test]
fn what_is_no_elf_file_is_named() {
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (b"#!/bin/sh\n", "script"),
        (b"/* GNU ld script */ GROUP ( libc.so.6 )", "text file"),
        (b"!<arch>\n", "static library"),
        (b"MZ\x90\0", "Windows"),
        (b"\xcf\xfa\xed\xfe", "macOS"),
        (b"\0\x01\x02", "not an ELF file"),
        (b"\x7fELF", "truncated"),
        (b"\x7fELF\x02\x01\x01", "truncated"),
        (b"\x7fELF\x09\x09", "truncated"),
    ] {
        let found = judge(bytes).expect_err(reason);
        assert!(found.contains(reason), "{found}");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn real_files() {
    let program = std::env::current_exe().expect("this test");
    assert_eq!(kind(&program), Ok(Kind::Executable));
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let library = paths.into_iter().find(|path| path.contains("libgcc_s")).expect("libgcc_s");
    assert_eq!(kind(Path::new(library)), Ok(Kind::SharedObject));
    let not_a_file = kind(Path::new("/dev/zero")).expect_err("device").to_string();
    assert!(not_a_file.contains("not a regular file"), "{not_a_file}");
    assert!(matches!(kind(Path::new("/no/such")), Err(Fault::System { .. })));
}

#[test]
fn every_truncation_is_survived() {
    let whole = image(3, &[1, PT_DYNAMIC], DF_1_PIE);
    for length in 0..whole.len() {
        let _ = judge(&whole[..length]);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = judge(&bytes);
    }

    #[test]
    fn any_damage_is_survived(at in 4usize..240, value: u8, more: u8) {
        let mut bytes = image(3, &[1, PT_DYNAMIC], 0);
        let last = bytes.len() - 1;
        bytes[at.min(last)] = value;
        bytes[(at + 1).min(last)] = more;
        let _ = judge(&bytes);
    }
}
