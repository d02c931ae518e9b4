//! Connections: messages, handles in them, listeners and their handshake, `wait`; with hostile
//! peers, peers that are killed, and peers that are CPython.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod bytes;
mod close;
mod deaths;
mod frames;
mod handles;
mod handshake;
mod limits;
mod listener;
mod messages;
mod python;
mod storm;
mod threads;
mod wait;

use mp::{Connection, ConnectionError};
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A time that is never needed.
const LONG: Duration = mpserverd_tests::suite::PATIENCE;

/// A time that is short, for waits that must end without what they wait for.
const SHORT: Duration = Duration::from_millis(30);

/// One of our connections, and the other end of it as bytes.
fn against_bytes() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours.into(), theirs)
}

fn pipe() -> (Connection, Connection) {
    mp::pipe(true).unwrap()
}

/// A frame as CPython writes it.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether the last write end of a pipe is closed within the time that anything may take.
fn ends(reader: &mut PipeReader) -> bool {
    let ready = mp::wait(&[&reader.as_fd()], Some(mpserverd_tests::suite::PATIENCE));
    !ready.is_empty() && reader.read(&mut [0]).unwrap() == 0
}

fn is_eof<T>(result: &Result<T, ConnectionError>) -> bool {
    matches!(result, Err(ConnectionError::Eof))
}

fn is_timeout<T>(result: &Result<T, ConnectionError>) -> bool {
    matches!(result, Err(ConnectionError::TimedOut(_)))
}

fn is_closed<T>(result: &Result<T, ConnectionError>) -> bool {
    matches!(result, Err(ConnectionError::Closed { .. }))
}
