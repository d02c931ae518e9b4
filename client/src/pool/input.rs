//! Inputs: what a map takes as items, and how they become bytes.

use super::engine::Packer;
use super::feeder::CHUNK_BYTES;
use crate::codec::CodecError;
use crate::handles::{SharedFd, collect};
use crate::runtime::panics;
use crate::straight;
use crate::sys::slice;
use crate::task::Task;
use mpserverd_proto::codec as wire;
use mpserverd_proto::job::Panic;
use serde::Serialize;
use std::borrow::Borrow;
use std::path::{Path, PathBuf};

/// A task of one argument: what [`Pool::map`](super::Pool::map) applies to each item. Every
/// [`#[task]`](macro@crate::task) of one argument is one.
pub trait Unary: Task {
    /// Its argument, as an owned value.
    type Arg;
}

impl<T, A> Unary for T
where
    T: Task<Args = (A,)>,
{
    type Arg = A;
}

/// An item that serves as an argument `A`: an `A`, or something borrowed that travels as one.
///
/// ```
/// use mpserverd_client as mp;
///
/// fn accepts<A>(_: impl mp::pool::Input<A>) {}
/// accepts::<u64>(7);
/// accepts::<u64>(&7);
/// accepts::<String>("borrowed");
/// accepts::<Vec<u8>>(&[1, 2, 3][..]);
/// accepts::<std::path::PathBuf>(std::path::Path::new("/etc"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input of a task that takes `{A}`",
    note = "items are `{A}` or `&{A}`; also `&str` for `String`, `&[T]` for `Vec<T>`, `&Path` for \
            `PathBuf`"
)]
pub trait Input<A> {
    /// What is written; it reads back as an `A`.
    type Wire: Serialize + ?Sized;

    /// Borrows it.
    fn wire(&self) -> &Self::Wire;

    /// Appends its bytes, if it needs no codec for that.
    #[doc(hidden)]
    fn append(&self, bytes: &mut Vec<u8>) -> bool {
        let _ = bytes;
        false
    }
}

impl<A: Serialize + 'static> Input<A> for A {
    type Wire = A;

    fn wire(&self) -> &A {
        self
    }

    fn append(&self, bytes: &mut Vec<u8>) -> bool {
        straight::append(self, bytes)
    }
}

impl<A: Serialize + 'static> Input<A> for &A {
    type Wire = A;

    fn wire(&self) -> &A {
        self
    }

    fn append(&self, bytes: &mut Vec<u8>) -> bool {
        straight::append(*self, bytes)
    }
}

impl Input<String> for &str {
    type Wire = str;

    fn wire(&self) -> &str {
        self
    }
}

impl<T: Serialize + 'static> Input<Vec<T>> for &[T] {
    type Wire = [T];

    fn wire(&self) -> &[T] {
        self
    }

    fn append(&self, bytes: &mut Vec<u8>) -> bool {
        slice::as_bytes(self).is_some_and(|string| straight::append_string(string, bytes))
    }
}

impl Input<PathBuf> for &Path {
    type Wire = Path;

    fn wire(&self) -> &Path {
        self
    }
}

/// Why no further inputs were packed.
#[derive(Debug)]
pub(crate) enum Fed {
    /// There are as many as there should be.
    Full,
    /// The last one has these handles.
    Handles(Vec<SharedFd>),
    /// The next one cannot travel.
    Unfit(CodecError),
    /// The iterator panicked in place of giving the next one.
    Panicked(Panic),
    /// There are no more.
    End,
}

/// Where encoded inputs come from, whatever their type.
pub(crate) trait Feed {
    /// Packs inputs until there are so many, or something comes in between.
    fn pack(&mut self, packer: &mut Packer, most: u64) -> Fed;

    /// How many are left, if that is known.
    fn left(&self) -> Option<u64>;
}

impl Feed for Box<dyn Feed + '_> {
    fn pack(&mut self, packer: &mut Packer, most: u64) -> Fed {
        (**self).pack(packer, most)
    }

    fn left(&self) -> Option<u64> {
        (**self).left()
    }
}

/// An iterator with the function that encodes its items.
pub(crate) struct Items<I, E> {
    items: I,
    encode: E,
    panicked: bool,
}

impl<I, E> Items<I, E>
where
    I: Iterator,
    E: Fn(&I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
{
    fn new(items: I, encode: E) -> Self {
        Self { items, encode, panicked: false }
    }

    fn run(&mut self, packer: &mut Packer, most: u64) -> Fed {
        while u64::from(packer.count()) < most && packer.bytes() < CHUNK_BYTES {
            let Some(item) = self.items.next() else { return Fed::End };
            let (done, fds) = collect(|| (self.encode)(&item, packer.open()));
            match done {
                Ok(()) => packer.keep(),
                Err(error) => {
                    packer.discard();
                    return Fed::Unfit(error);
                }
            }
            if !fds.is_empty() {
                return Fed::Handles(fds);
            }
        }
        Fed::Full
    }
}

impl<I, E> Feed for Items<I, E>
where
    I: Iterator,
    E: Fn(&I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
{
    fn pack(&mut self, packer: &mut Packer, most: u64) -> Fed {
        if self.panicked {
            return Fed::End;
        }
        match panics::catch(|| self.run(packer, most)) {
            Ok(fed) => fed,
            Err(panic) => {
                // Nobody knows what state it is in.
                self.panicked = true;
                packer.discard();
                Fed::Panicked(panic)
            }
        }
    }

    fn left(&self) -> Option<u64> {
        match self.items.size_hint() {
            (least, Some(most)) if least == most => Some(most as u64),
            _ => None,
        }
    }
}

/// Items that are the argument of a task of one.
pub(crate) fn arguments<T, I>(items: I) -> impl Feed
where
    T: Unary,
    I: Iterator,
    I::Item: Input<T::Arg>,
{
    Items::new(items, |item: &I::Item, into: &mut Vec<u8>| {
        if item.append(into) {
            return Ok(());
        }
        wire::encode_payload_into(&(item.wire(),), into)
    })
}

/// Items that are all arguments of a task, as a tuple.
pub(crate) fn tuples<T, I>(items: I) -> impl Feed
where
    T: Task,
    I: Iterator,
    I::Item: Borrow<T::Args>,
{
    Items::new(items, |item: &I::Item, into: &mut Vec<u8>| {
        wire::encode_payload_into::<T::Args>(item.borrow(), into)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_travel_leaves_nothing_behind() {
        let mut feed = Items::new(1..4u8, |item: &u8, into: &mut Vec<u8>| {
            into.push(*item);
            if *item == 2 { Err(CodecError::Unserializable("two".into())) } else { Ok(()) }
        });
        let mut packer = Packer::default();
        assert!(matches!(feed.pack(&mut packer, 9), Fed::Unfit(_)));
        assert_eq!((packer.count(), packer.bytes()), (1, 5));
        assert!(matches!(feed.pack(&mut packer, 9), Fed::End));
        assert_eq!((packer.count(), packer.bytes()), (2, 10));
    }

    #[test]
    fn a_panic_ends_the_iterator_at_its_place() {
        let items = (0..5u64).inspect(|at| assert!(*at < 2, "no third"));
        let mut feed = Items::new(items, |item: &u64, into: &mut Vec<u8>| {
            wire::encode_payload_into(&(*item,), into)
        });
        let mut packer = Packer::default();
        assert!(matches!(feed.pack(&mut packer, 1), Fed::Full));
        let fed = feed.pack(&mut packer, 9);
        assert!(matches!(fed, Fed::Panicked(panic) if panic.message == "no third"));
        assert!(matches!(feed.pack(&mut packer, 9), Fed::End));
        assert_eq!((packer.count(), packer.bytes()), (2, 24));
    }
}
