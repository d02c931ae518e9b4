//! Reading a file that may be anything: a text, a picture, a device, four gigabytes of log.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Files above this size are not source code, whatever their name says.
pub const BYTES_MAX: u64 = 4 << 20;

/// Why a file cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The system refused.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Larger than [`BYTES_MAX`].
    #[error("{} exceeds the limit of {BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It contains a NUL byte, which no source file does.
    #[error("{} is a binary file (NUL byte at offset {offset})", .path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: usize,
    },
    /// It is not UTF-8.
    #[error("{} is not UTF-8 (at offset {offset})", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: usize,
    },
    /// A grammar could not make sense of it.
    #[error("{} cannot be parsed: {reason}", .path.display())]
    Grammar {
        /// The file.
        path: PathBuf,
        /// What the highlighter said.
        reason: String,
    },
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, SourceError> {
    let failed = |error| SourceError::Io { path: path.to_owned(), error };
    // Looked at before it is opened: opening a pipe would wait for somebody to write.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // One byte more than allowed tells a full file from one that is too large.
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(SourceError::TooLarge(path.to_owned()));
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(SourceError::Binary { path: path.to_owned(), offset });
    }
    String::from_utf8(bytes).map_err(|error| SourceError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// The first line of a file, as far as it is one.
pub(crate) fn first_line(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(String::new());
    }
    let mut line = Vec::new();
    BufReader::new(File::open(path)?.take(4096)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
