//! Where inputs come from: words of the command line, or lines of a descriptor as they come.
//!
//! Lines are read only as fast as they are used, and only when `poll` says that a read does not
//! wait; nothing here is ever read whole.

use super::super::arguments;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// Longest line, in bytes: a line without an end must not eat the memory.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Bytes of one read.
const CHUNK: usize = 64 << 10;

/// One input, before it has an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// As it was given, for messages.
    pub text: String,
    /// The arguments that it means, or why it means none.
    pub arguments: Result<Vec<Value>, String>,
}

impl Input {
    /// A word or line: the one argument of a task.
    #[must_use]
    pub fn of_word(word: String) -> Self {
        Self { arguments: Ok(vec![arguments::value(&word)]), text: word }
    }

    fn of_line(line: &[u8]) -> Self {
        match std::str::from_utf8(line) {
            Ok(text) => Self::of_word(text.to_owned()),
            Err(_) => Self {
                text: String::from_utf8_lossy(line).into_owned(),
                arguments: Err("the input is not UTF-8, which JSON and strings must be".to_owned()),
            },
        }
    }
}

/// Something readable with a descriptor.
pub trait Readable: Read + AsFd + fmt::Debug {}
impl<T: Read + AsFd + fmt::Debug> Readable for T {}

/// Where inputs come from.
#[derive(Debug)]
pub struct Source {
    given: VecDeque<Input>,
    total: Option<u64>,
    stream: Option<Box<dyn Readable>>,
    /// Read and not yet used; the first `looked` bytes hold no end of a line.
    buffer: Vec<u8>,
    used: usize,
    looked: usize,
}

impl Source {
    /// These inputs.
    #[must_use]
    pub fn given(inputs: impl IntoIterator<Item = Input>) -> Self {
        let given: VecDeque<_> = inputs.into_iter().collect();
        let total = Some(given.len() as u64);
        Self { given, total, stream: None, buffer: Vec::new(), used: 0, looked: 0 }
    }

    /// The lines of a stream.
    #[must_use]
    pub fn lines(stream: impl Readable + 'static) -> Self {
        Self { total: None, stream: Some(Box::new(stream)), ..Self::given([]) }
    }

    /// How many inputs there are, where that is known beforehand.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Whether nothing is left, now and later.
    pub(super) fn is_done(&self) -> bool {
        self.given.is_empty() && self.stream.is_none() && self.used == self.buffer.len()
    }

    /// What to poll for reading before [`read`](Self::read), if a read can bring more.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(|stream| stream.as_fd())
    }

    /// The next input, if it is there already.
    pub(super) fn next(&mut self) -> Option<Input> {
        if let Some(input) = self.given.pop_front() {
            return Some(input);
        }
        let rest = &self.buffer[self.used..];
        if let Some(at) = rest[self.looked..].iter().position(|byte| *byte == b'\n') {
            let end = self.looked + at;
            let input = Input::of_line(&rest[..end]);
            self.used += end + 1;
            self.looked = 0;
            return Some(input);
        }
        self.looked = rest.len();
        if self.stream.is_some() || rest.is_empty() {
            return None;
        }
        // The last line has no end.
        let input = Input::of_line(rest);
        self.used = self.buffer.len();
        self.looked = 0;
        Some(input)
    }

    /// Reads some more; waits if `poll` did not say that it need not.
    ///
    /// # Errors
    /// What the system said, or that a line is too long.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.len() > LINE_BYTES_MAX {
            let what = format!("a line of the input has more than {LINE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let read = stream.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + read.as_ref().map_or(0, |got| *got));
        match read {
            Ok(0) => self.stream = None,
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                _ => return Err(error),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{Seek, Write};

    fn all(mut source: Source) -> Vec<Input> {
        let mut inputs = Vec::new();
        loop {
            inputs.extend(std::iter::from_fn(|| source.next()));
            if source.is_done() {
                return inputs;
            }
            source.read().expect("read");
        }
    }

    fn lines(text: &[u8]) -> Vec<Input> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(text).and_then(|()| file.rewind()).expect("written");
        all(Source::lines(file))
    }

    #[test]
    fn each_line_is_an_argument() {
        let inputs = lines(b"a b\n7\n\n{\"x\": 1}\nlast");
        let values = inputs.into_iter().map(|input| input.arguments.expect("arguments"));
        let expected =
            [json!("a b"), json!(7), json!(""), json!({"x": 1}), json!("last")].map(|v| vec![v]);
        assert_eq!(values.collect::<Vec<_>>(), expected);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n").len(), 1);
    }

    #[test]
    fn what_is_no_text_is_told() {
        let inputs = lines(b"ok\n\xff\xfe\n");
        assert!(inputs[0].arguments.is_ok());
        assert!(inputs[1].arguments.as_ref().is_err_and(|why| why.contains("UTF-8")));
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut source = Source::lines(io_zero());
        let error = loop {
            assert_eq!(source.next(), None);
            if let Err(error) = source.read() {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(source.buffer.capacity() < 4 * LINE_BYTES_MAX);
    }

    fn io_zero() -> std::fs::File {
        std::fs::File::open("/dev/zero").expect("zeros")
    }

    #[test]
    fn given_inputs_have_a_number() {
        let source = Source::given(["a", "b"].map(|word| Input::of_word(word.to_owned())));
        assert_eq!((source.total(), source.is_done()), (Some(2), false));
        assert_eq!(all(source).len(), 2);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
        #[test]
        fn lines_survive_any_cut(lines_in in proptest::collection::vec("[^\n]{0,200}", 0..40)) {
            // Long enough for several reads.
            let padded: Vec<_> = lines_in.iter().map(|line| line.repeat(50)).collect();
            let text: String = padded.iter().map(|line| format!("{line}\n")).collect();
            let found: Vec<_> = lines(text.as_bytes()).into_iter().map(|input| input.text).collect();
            assert_eq!(found, padded);
        }
    }
}
