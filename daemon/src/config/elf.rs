//! Tells shared objects from programs and from everything else, by the first bytes of the file.
//!
//! The file is somebody else's: every number in it is checked before it is used, and nothing is
//! read beyond a few KiB. Nothing is loaded or executed here.

use mpserverd_proto::error::Fault;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What a file can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program, to be executed.
    Executable,
    /// A shared object, to be loaded.
    SharedObject,
}

const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
/// Marks a program that is laid out like a shared object; the dynamic linker refuses to load it.
const DF_1_PIE: u64 = 0x0800_0000;
/// Program headers and dynamic entries of real files are a few dozen; more are not looked at.
const ENTRIES_MAX: u64 = 1024;

/// Says what the file is.
///
/// # Errors
///
/// [`Fault::NotLoadable`] with what it is instead, [`Fault::System`] if it cannot be read.
pub fn kind(path: &Path) -> Result<Kind, Fault> {
    let system = |call: &str, error: std::io::Error| Fault::System {
        call: format!("{call} {}", path.display()),
        message: error.to_string(),
    };
    // Before opening: a fifo would block, a device might act.
    let metadata = std::fs::metadata(path).map_err(|error| system("stat", error))?;
    if !metadata.is_file() {
        return Err(Fault::NotLoadable("it is not a regular file".to_owned()));
    }
    let mut file = File::open(path).map_err(|error| system("open", error))?;
    let mut head = Vec::with_capacity(64);
    file.by_ref().take(64).read_to_end(&mut head).map_err(|error| system("read", error))?;
    inspect(&head, &mut file).map_err(Fault::NotLoadable)
}

/// Says what a file that begins like this is.
fn inspect(head: &[u8], file: &mut (impl Read + Seek)) -> Result<Kind, String> {
    if !head.starts_with(b"\x7fELF") {
        return Err(foreign(head));
    }
    let elf = Layout::of(head).ok_or("it is a truncated or damaged ELF file")?;
    elf.fits_this_machine(head)?;
    let dynamic = match elf.half(head, 16) {
        Some(1) => return Err("it is an object file (.o); link it with -shared".to_owned()),
        Some(2) => return Ok(Kind::Executable),
        Some(3) => elf.program_headers(head, file)?,
        Some(4) => return Err("it is a core dump".to_owned()),
        other => return Err(format!("its ELF type {} is unknown", other.unwrap_or_default())),
    };
    let Some((offset, size)) = dynamic else { return Ok(Kind::Executable) };
    let table = read_at(file, offset, size.min(ENTRIES_MAX * elf.word_bytes() * 2))
        .ok_or("its dynamic section lies outside the file")?;
    let entry = elf.word_bytes() as usize;
    let pie = table.chunks_exact(2 * entry).any(|pair| {
        elf.word(pair, 0) == Some(DT_FLAGS_1)
            && elf.word(pair, entry).is_some_and(|flags| flags & DF_1_PIE != 0)
    });
    Ok(if pie { Kind::Executable } else { Kind::SharedObject })
}

/// What a file is that is no ELF file.
fn foreign(head: &[u8]) -> String {
    let text = head.iter().all(|byte| matches!(byte, 9..=13 | 32..=126 | 128..));
    let what = match head {
        [] => "it is empty",
        [b'#', b'!', ..] => "it is a script (it starts with `#!`)",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => {
            "it is a static library (.a); link it with -shared"
        }
        [b'M', b'Z', ..] => "it is a Windows program or DLL",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            "it is a macOS program or library"
        }
        _ if text => "it is a text file",
        _ => "it is not an ELF file",
    };
    what.to_owned()
}

/// Bytes from a place in the file; `None` if they are not all there.
fn read_at(file: &mut (impl Read + Seek), offset: u64, size: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == size).then_some(bytes)
}

/// Width and byte order of an ELF file.
#[derive(Clone, Copy)]
struct Layout {
    wide: bool,
    little: bool,
}

impl Layout {
    fn of(head: &[u8]) -> Option<Self> {
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let little = match head.get(5)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        (head.len() >= if wide { 64 } else { 52 }).then_some(Self { wide, little })
    }

    fn word_bytes(self) -> u64 {
        if self.wide { 8 } else { 4 }
    }

    fn number(self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        let push = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little {
            bytes.iter().rev().fold(0, push)
        } else {
            bytes.iter().fold(0, push)
        })
    }

    fn half(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.number(bytes, at, 2)
    }

    fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.number(bytes, at, if self.wide { 8 } else { 4 })
    }

    fn fits_this_machine(self, head: &[u8]) -> Result<(), String> {
        let expected = match std::env::consts::ARCH {
            "x86_64" => 62,
            "aarch64" => 183,
            "riscv64" => 243,
            "x86" => 3,
            "arm" => 40,
            // No number known here: the dynamic linker will judge.
            _ => return Ok(()),
        };
        let machine = self.half(head, 18);
        let native = self.wide == cfg!(target_pointer_width = "64")
            && self.little == cfg!(target_endian = "little");
        if native && machine == Some(expected) {
            return Ok(());
        }
        Err(format!(
            "it was built for another machine (ELF machine {}, {} bit), this one is {}",
            machine.unwrap_or_default(),
            if self.wide { 64 } else { 32 },
            std::env::consts::ARCH
        ))
    }

    /// Where the dynamic section lies; `None` if the file names an interpreter.
    fn program_headers(
        self,
        head: &[u8],
        file: &mut (impl Read + Seek),
    ) -> Result<Option<(u64, u64)>, String> {
        let damaged = "it is a truncated or damaged ELF file";
        let (table, size, count) = if self.wide { (32, 54, 56) } else { (28, 42, 44) };
        let offset = self.word(head, table).ok_or(damaged)?;
        let size = self.half(head, size).ok_or(damaged)?;
        let count = self.half(head, count).ok_or(damaged)?;
        if size != if self.wide { 56 } else { 32 } || count > ENTRIES_MAX {
            return Err(damaged.to_owned());
        }
        let headers = read_at(file, offset, size * count).ok_or(damaged)?;
        let mut dynamic = None;
        // At least one byte a chunk: the size was compared above.
        for header in headers.chunks_exact(size as usize) {
            match self.number(header, 0, 4) {
                Some(PT_INTERP) => return Ok(None),
                Some(PT_DYNAMIC) => {
                    let (at, bytes) = if self.wide { (8, 32) } else { (4, 16) };
                    dynamic = self.word(header, at).zip(self.word(header, bytes));
                }
                _ => {}
            }
        }
        dynamic.map(Some).ok_or_else(|| "it has no dynamic section".to_owned())
    }
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
