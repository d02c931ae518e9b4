//! Maps whose results are taken one after the other.

use super::error::TaskFailure;
use super::feeder::Feeder;
use super::input::Feed;
use crate::error::TimeoutError;
use crate::sync::raw::atomics::Deadline;
use crate::task::Task;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

type AnyFeeder<'a> = Feeder<'a, Box<dyn Feed + 'a>>;
type Outcome<T> = Result<<T as Task>::Output, TaskFailure>;

/// Results of a map in the order of the inputs: of [`Pool::imap`](super::Pool::imap).
///
/// Inputs are taken by the thread that takes results, as the window has room. Dropping it cancels
/// what is left, and never waits.
///
/// ```no_run
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     mp::freeze_support();
///     let pool = mp::get_context(None).pool().build()?;
///     for result in pool.imap::<square>(0u64..)? {
///         let result = result?;
///         println!("{result}");
///         if result > 1000 {
///             break; // the rest is cancelled
///         }
///     }
///     Ok(())
/// }
/// ```
#[must_use = "dropping it cancels what is left"]
pub struct Imap<'a, T: Task> {
    feeder: AnyFeeder<'a>,
    /// Outcomes from number `given` on that have come.
    come: VecDeque<Option<Outcome<T>>>,
    given: u64,
    is_over: bool,
}

/// Results of a map as they come: of [`Pool::imap_unordered`](super::Pool::imap_unordered).
/// Otherwise as [`Imap`].
#[must_use = "dropping it cancels what is left"]
pub struct ImapUnordered<'a, T: Task> {
    feeder: AnyFeeder<'a>,
    come: VecDeque<Outcome<T>>,
    given: u64,
    is_over: bool,
}

impl<'a, T: Task> Imap<'a, T> {
    pub(super) fn new(feeder: AnyFeeder<'a>) -> Self {
        let mut imap = Self { feeder, come: VecDeque::new(), given: 0, is_over: false };
        imap.feeder.fill(Some(0));
        imap
    }

    fn next_in_order(&mut self) -> Option<Outcome<T>> {
        let next = self.come.front_mut()?.take()?;
        self.come.pop_front();
        self.given += 1;
        Some(next)
    }
}

impl<'a, T: Task> ImapUnordered<'a, T> {
    pub(super) fn new(feeder: AnyFeeder<'a>) -> Self {
        let mut imap = Self { feeder, come: VecDeque::new(), given: 0, is_over: false };
        imap.feeder.fill(Some(0));
        imap
    }
}

/// What both have in common.
macro_rules! iterate {
    ($name:ident, $next:expr, $take:expr) => {
        impl<T: Task> $name<'_, T> {
            /// The next result, unless it takes longer than this: then it is
            /// [`TaskFailure::Timeout`], and the same one can be asked for again. `None` at the
            /// end.
            pub fn next_timeout(&mut self, timeout: Duration) -> Option<Outcome<T>> {
                let begun = Instant::now();
                match self.next_within(Deadline::within(timeout)) {
                    Ok(next) => next,
                    Err(_) => Some(Err(TimeoutError(begun.elapsed()).into())),
                }
            }

            /// The same, but until this time.
            fn next_within(&mut self, deadline: Deadline) -> Result<Option<Outcome<T>>, TimedOut> {
                while !self.is_over {
                    let take: fn(&mut Self) = $take;
                    take(self);
                    let next: fn(&mut Self) -> Option<Outcome<T>> = $next;
                    if let Some(next) = next(self) {
                        self.feeder.fill(Some(self.given));
                        return Ok(Some(next));
                    }
                    self.feeder.fill(Some(self.given));
                    if self.feeder.is_over() {
                        self.is_over = true;
                        self.feeder.show_end();
                        let closed = self.feeder.closed();
                        return Ok(closed.map(|fate| Err(fate.failure())));
                    }
                    if !self.feeder.wait(deadline) {
                        return Err(TimedOut);
                    }
                }
                Ok(None)
            }
        }

        impl<T: Task> Iterator for $name<'_, T> {
            type Item = Outcome<T>;

            fn next(&mut self) -> Option<Outcome<T>> {
                self.next_within(Deadline::NEVER).unwrap_or(None)
            }
        }

        impl<T: Task> FusedIterator for $name<'_, T> {}

        impl<T: Task> Drop for $name<'_, T> {
            fn drop(&mut self) {
                self.feeder.cancel();
            }
        }

        impl<T: Task> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("task", &T::NAME)
                    .field("given", &self.given)
                    .field("feeder", &self.feeder)
                    .finish()
            }
        }
    };
}

/// The wait ended first.
struct TimedOut;

iterate!(Imap, Imap::next_in_order, |imap| {
    let (come, given) = (&mut imap.come, imap.given);
    imap.feeder.take::<T>(&mut |index, outcome| {
        let place = (index - given) as usize;
        if come.len() <= place {
            come.resize_with(place + 1, || None);
        }
        come[place] = Some(outcome);
    });
});

iterate!(
    ImapUnordered,
    |imap| {
        let next = imap.come.pop_front();
        imap.given += u64::from(next.is_some());
        next
    },
    |imap| {
        let come = &mut imap.come;
        imap.feeder.take::<T>(&mut |_, outcome| come.push_back(outcome));
    }
);
