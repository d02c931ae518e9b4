//! Inputs: what a map takes as items, and how they become bytes.

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

/// The next of some inputs.
#[derive(Debug)]
pub(crate) enum Fed {
    /// It was appended, and has these handles.
    Item(Vec<SharedFd>),
    /// It cannot travel; nothing was appended.
    Unfit(CodecError),
    /// The iterator panicked.
    Panicked(Panic),
    /// There are no more.
    End,
}

/// Where encoded inputs come from, whatever their type.
pub(crate) trait Feed {
    /// Appends the next one.
    fn next(&mut self, into: &mut Vec<u8>) -> Fed;

    /// How many are left, if that is known.
    fn left(&self) -> Option<u64>;
}

impl Feed for Box<dyn Feed + '_> {
    fn next(&mut self, into: &mut Vec<u8>) -> Fed {
        (**self).next(into)
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
}

impl<I, E> Feed for Items<I, E>
where
    I: Iterator,
    E: Fn(&I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
{
    fn next(&mut self, into: &mut Vec<u8>) -> Fed {
        if self.panicked {
            return Fed::End;
        }
        match panics::catch(|| self.items.next()) {
            Ok(None) => Fed::End,
            Ok(Some(item)) => encoded(into, |into| (self.encode)(&item, into)),
            Err(panic) => {
                // Nobody knows what state it is in.
                self.panicked = true;
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

fn encoded(into: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>) -> Fed {
    let before = into.len();
    let (done, fds) = collect(|| encode(into));
    match done {
        Ok(()) => Fed::Item(fds),
        Err(error) => {
            into.truncate(before);
            Fed::Unfit(error)
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

    struct Taker;

    impl Feed for Taker {
        fn next(&mut self, into: &mut Vec<u8>) -> Fed {
            encoded(into, |into| {
                into.push(1);
                Err(CodecError::Unserializable("no".into()))
            })
        }

        fn left(&self) -> Option<u64> {
            None
        }
    }

    #[test]
    fn what_cannot_travel_leaves_nothing_behind() {
        let mut bytes = vec![7];
        assert!(matches!(Taker.next(&mut bytes), Fed::Unfit(_)));
        assert_eq!(bytes, [7]);
    }

    #[test]
    fn a_panic_ends_the_iterator_at_its_place() {
        let items = (0..5u64).inspect(|at| assert!(*at < 2, "no third"));
        let mut feed = Items::new(items, |item: &u64, into: &mut Vec<u8>| {
            wire::encode_payload_into(&(*item,), into)
        });
        let mut bytes = Vec::new();
        assert!(matches!(feed.next(&mut bytes), Fed::Item(_)));
        assert!(matches!(feed.next(&mut bytes), Fed::Item(_)));
        assert!(
            matches!(feed.next(&mut bytes), Fed::Panicked(panic) if panic.message == "no third")
        );
        assert!(matches!(feed.next(&mut bytes), Fed::End));
        assert_eq!(bytes.len(), 16);
    }
}
