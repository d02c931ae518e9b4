//! Semaphores that are awaited.

use super::{Counter, Counting, Permit, SyncError};
use crate::reactor::{Seat, Whom, Word};
use crate::sync::awaited;
use crate::sync::raw::lock::NAP_SHORTEST;
use crate::sync::raw::lock::Queuer;
use crate::sync::raw::semaphore::Look;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// The word on which those sleep who wait for a permit.
struct Sleepers<T: Counting>(Counter<T>);

impl<T: Counting> Word for Sleepers<T> {
    fn word(&self) -> &AtomicU32 {
        self.0.raw().sleepers()
    }
}

impl<T: Counting + 'static> Counter<T> {
    async fn enter_async(&self) {
        let taken = awaited::lock(&self.object, |object| object.raw().inner()).await;
        self.raw().entered(self.ledger(), taken);
    }

    /// Takes a permit, however long that takes.
    pub(super) async fn acquire_async(&self) -> Result<(), SyncError> {
        self.enter_async().await;
        if self.raw().take_at_once(self.ledger()) {
            return Ok(());
        }
        let mut queuer = Queuer::new();
        let mut seat = Seat::new(Whom::One);
        let word: Arc<dyn Word> = Arc::new(Sleepers(self.clone()));
        loop {
            self.enter_async().await;
            let (expected, kept) = match self.raw().look(self.ledger(), &queuer) {
                Look::Done(done) => {
                    let limit = self.ledger().limit();
                    return done.map_err(|_| SyncError::TooManyHolders { object: T::NAME, limit });
                }
                Look::Again => continue,
                Look::Sleep { expected, kept } => (expected, kept),
            };
            let nap = if kept { NAP_SHORTEST } else { queuer.nap() };
            let woken = seat.sleep(word.clone(), expected, nap).await;
            self.raw().slept(self.ledger(), &mut queuer, woken);
        }
    }
}

/// Methods of both semaphores.
macro_rules! awaited {
    ($name:ident) => {
        impl super::$name {
            /// Takes a permit, however long that takes, without keeping a thread: the awaited
            /// [`acquire`](Self::acquire).
            ///
            /// Dropping the future takes no permit.
            ///
            /// ```
            /// use mpserverd_client as mp;
            ///
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
            #[doc = concat!("let semaphore = mp::", stringify!($name), "::new(1)?;")]
            /// semaphore.acquire_async().await?;
            /// assert!(semaphore.locked());
            /// semaphore.release()?;
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            /// [`SyncError::TooManyHolders`].
            pub async fn acquire_async(&self) -> Result<(), SyncError> {
                self.0.acquire_async().await
            }

            /// Takes a permit that is given back when it is dropped: the awaited
            /// [`permit`](Self::permit). It may go to another thread.
            ///
            /// Dropping the future takes no permit.
            ///
            /// # Errors
            /// [`SyncError::TooManyHolders`].
            pub async fn permit_async(&self) -> Result<Permit<'_>, SyncError> {
                self.0.acquire_async().await?;
                Ok(Permit::new(&self.0))
            }
        }
    };
}

awaited!(Semaphore);
awaited!(BoundedSemaphore);
