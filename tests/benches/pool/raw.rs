//! Round trips between two processes without a pool or a manager.

use super::turns::{Run, each, latencies};
use mpserverd_tests::bench::raw::{Ticket, Words};
use mpserverd_tests::bench::text;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// Bytes of a message and of its answer.
const SMALL: usize = 64;

#[mp::task]
fn answer_words(ticket: Ticket) -> io::Result<()> {
    let words = Words::of(ticket)?;
    loop {
        words.await_and_clear(0);
        words.set(1)?;
    }
}

#[mp::task]
fn answer_socket(stream: mp::Passed<UnixStream>) -> io::Result<()> {
    let (mut stream, mut message) = (stream.0, [0; SMALL]);
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

fn context() -> mp::Context {
    mp::get_context(mp::StartMethod::Spawn)
}

/// One sets a word and wakes the other, who does the same.
pub(crate) fn futex() -> Result<Run, String> {
    let words = Words::new().map_err(text)?;
    let other = context().process::<answer_words>((words.ticket(),)).daemon(true).start();
    let other = other.map_err(text)?;
    Ok(Box::new(move |count| {
        let _alive = &other;
        latencies(count, || {
            words.set(0).map_err(text)?;
            words.await_and_clear(1);
            Ok(())
        })
    }))
}

/// Messages of a fixed size, there and back.
pub(crate) fn socket_pair() -> Result<Run, String> {
    let (mut ours, theirs) = UnixStream::pair().map_err(text)?;
    let other = context().process::<answer_socket>((mp::Passed(theirs),)).daemon(true).start();
    let other = other.map_err(text)?;
    let mut message = [7; SMALL];
    Ok(Box::new(move |count| {
        let _alive = &other;
        each(count, || {
            for _ in 0..count {
                ours.write_all(&message).map_err(text)?;
                ours.read_exact(&mut message).map_err(text)?;
            }
            Ok(())
        })
    }))
}
