//! A time limit for any future.

use super::ready::{Until, until};
use crate::error::TimeoutError;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

/// A future with a time limit, on any runtime: the counterpart of the `timeout` that calls without
/// `_async` have. When the time passes first, the future is dropped, which loses nothing for all
/// futures of this library (each says what dropping it does).
///
/// The time begins with this call. A time beyond what the clock can express is for ever. The
/// future is polled first: one that is ready at once needs no timer.
///
/// ```
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let event = mp::Event::new()?;
/// let waited = mp::timeout(event.wait_async(), Duration::from_millis(10)).await;
/// assert_eq!(waited, Err(mp::TimeoutError(Duration::from_millis(10))));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`TimeoutError`] when the time passes first.
pub fn timeout<F: Future>(
    future: F,
    within: Duration,
) -> impl Future<Output = Result<F::Output, TimeoutError>> {
    let at = Instant::now().checked_add(within);
    async move { before(future, &mut at.map(until)).await.ok_or(TimeoutError(within)) }
}

/// The same with a moment that may serve for several futures; `None` when it is over first.
pub(crate) async fn before<F: Future>(future: F, moment: &mut Option<Until>) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match moment {
            Some(moment) => Pin::new(moment).poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}
