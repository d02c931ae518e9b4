//! Numbers that processes share, for tests of what shall protect them.
//!
//! They lie in a nameless file and are read and written by system calls: nothing here depends on
//! the shared memory under test, and nothing here is atomic beyond one word.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Numbered words of 64 bits, all zero at first. Clones are the same words.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Words {
    #[serde(with = "mp::handles::fd")]
    file: File,
}

impl Clone for Words {
    fn clone(&self) -> Self {
        Self { file: self.file.try_clone().unwrap() }
    }
}

impl Words {
    /// So many of them.
    ///
    /// # Panics
    /// When there is no room for a file.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(count as u64 * 8).unwrap();
        Self { file }
    }

    /// Reads one.
    ///
    /// # Panics
    /// When there is no such word.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, index as u64 * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// Writes one.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn set(&self, index: usize, value: u64) {
        self.file.write_all_at(&value.to_ne_bytes(), index as u64 * 8).unwrap();
    }

    /// Adds to one: what another process does to it meanwhile is lost.
    pub fn add(&self, index: usize, value: u64) {
        self.set(index, self.get(index).wrapping_add(value));
    }
}
